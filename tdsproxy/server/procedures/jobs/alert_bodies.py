"""Alerts and who is told of them: parameters and bodies. What is written to the event log raises them
(``agent.service``): backups and restores, errors of statements that are logged. Performance conditions and
WMI do not."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import one_of
from tdsproxy.server.procedures.jobs.messages import refuse

_FIND_ALERT: Final = """
DECLARE @id int = (SELECT id FROM dbo.sysalerts WHERE name = {0})
IF @id IS NULL """
_FIND_JOB: Final = f"""
IF @job_name IS NOT NULL BEGIN
    SELECT @job_id = job_id FROM dbo.sysjobs WHERE name = @job_name
    IF @job_id IS NULL {refuse(14262, "'@job_name'", "@job_name")}
END
"""
_CATEGORY: Final = (
    "(SELECT category_id FROM dbo.syscategories WHERE name = @category_name AND category_class = 2)"
)
_CHECK: Final = f"""
{one_of("@enabled", "0, 1")}
SELECT @category_name = NULLIF(NULLIF(@category_name, N''), N'[DEFAULT]')
IF @database_name <> N'' AND DB_ID(@database_name) IS NULL {refuse(15010, "@database_name")}
IF @category_name IS NOT NULL AND {_CATEGORY} IS NULL {refuse(14262, "'@category_name'", "@category_name")}
"""
_FIND_BOTH: Final = f"""{_FIND_ALERT.format("@alert_name")} {refuse(14262, "'@alert_name'", "@alert_name")}
DECLARE @operator int = (SELECT id FROM dbo.sysoperators WHERE name = @operator_name)
IF @operator IS NULL {refuse(14262, "'@operator_name'", "@operator_name")}
"""
_COUNT_METHODS: Final = """
UPDATE dbo.sysalerts SET has_notification = ISNULL((SELECT MAX(notification_method & 1)
    + MAX(notification_method & 2) + MAX(notification_method & 4) FROM dbo.sysnotifications
    WHERE alert_id = @id), 0) WHERE id = @id
"""

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_add_alert": (
        """@name sysname, @message_id int = 0, @severity int = 0, @enabled tinyint = 1,
@delay_between_responses int = 0, @notification_message nvarchar(512) = NULL,
@include_event_description_in tinyint = 5, @database_name sysname = NULL,
@event_description_keyword nvarchar(100) = NULL, @job_id uniqueidentifier = NULL, @job_name sysname = NULL,
@raise_snmp_trap bit = 0, @performance_condition nvarchar(512) = NULL, @category_name sysname = NULL,
@wmi_namespace sysname = NULL, @wmi_query nvarchar(512) = NULL""",
        f"""
IF EXISTS (SELECT * FROM dbo.sysalerts WHERE name = @name) {refuse(14261, "'@name'", "@name")}
IF @message_id = 0 AND @severity = 0 AND @performance_condition IS NULL AND @wmi_query IS NULL
    {refuse(14500)}
IF @performance_condition <> N'' {refuse(14287, "'@performance_condition'", "'object'")}
IF @wmi_query <> N'' OR @wmi_namespace <> N'' {refuse(14287, "'@wmi_namespace'", "'namespace'")}
IF @message_id > 0 SET @severity = 0
IF @severity NOT BETWEEN 0 AND 25 {refuse(14266, "'@severity'", "'0..25'")}
IF @job_id = 0x00 SET @job_id = NULL
{_CHECK}
SELECT @database_name = NULLIF(@database_name, N'')
{_FIND_JOB}
INSERT dbo.sysalerts (name, event_source, message_id, severity, enabled, delay_between_responses,
    last_occurrence_date, last_occurrence_time, last_response_date, last_response_time, notification_message,
    include_event_description, database_name, event_description_keyword, occurrence_count, count_reset_date,
    count_reset_time, job_id, has_notification, flags, performance_condition, category_id)
VALUES (@name, N'MSSQLSERVER', @message_id, @severity, @enabled, @delay_between_responses, 0, 0, 0, 0,
    @notification_message, @include_event_description_in, @database_name, @event_description_keyword, 0, 0, 0,
    ISNULL(@job_id, 0x00000000000000000000000000000000), 0, CAST(@raise_snmp_trap AS int),
    @performance_condition, ISNULL({_CATEGORY}, 98))
""",
    ),
    "sp_update_alert": (
        """@name sysname, @new_name sysname = NULL, @enabled tinyint = NULL, @message_id int = NULL,
@severity int = NULL, @delay_between_responses int = NULL, @notification_message nvarchar(512) = NULL,
@include_event_description_in tinyint = NULL, @database_name sysname = NULL,
@event_description_keyword nvarchar(100) = NULL, @job_id uniqueidentifier = NULL, @job_name sysname = NULL,
@category_name sysname = NULL""",
        f"""{_FIND_ALERT.format("@name")} {refuse(14262, "'@name'", "@name")}
IF @new_name <> @name AND EXISTS (SELECT * FROM dbo.sysalerts WHERE name = @new_name)
    {refuse(14261, "'@new_name'", "@new_name")}
{_CHECK}
IF @severity NOT BETWEEN 0 AND 25 {refuse(14266, "'@severity'", "'0..25'")}
{_FIND_JOB}
UPDATE dbo.sysalerts SET name = ISNULL(@new_name, name), enabled = ISNULL(@enabled, enabled),
    message_id = ISNULL(@message_id, message_id), severity = ISNULL(@severity, severity),
    delay_between_responses = ISNULL(@delay_between_responses, delay_between_responses),
    notification_message = ISNULL(@notification_message, notification_message),
    include_event_description = ISNULL(@include_event_description_in, include_event_description),
    database_name = ISNULL(@database_name, database_name),
    event_description_keyword = ISNULL(@event_description_keyword, event_description_keyword),
    job_id = ISNULL(@job_id, job_id), category_id = ISNULL({_CATEGORY}, category_id) WHERE id = @id
""",
    ),
    "sp_delete_alert": (
        "@name sysname",
        f"""{_FIND_ALERT.format("@name")} {refuse(14262, "'@name'", "@name")}
DELETE dbo.sysnotifications WHERE alert_id = @id
DELETE dbo.sysalerts WHERE id = @id
""",
    ),
    "sp_help_alert": (
        """@alert_name sysname = NULL, @order_by sysname = N'name', @alert_id int = NULL,
@category_name sysname = NULL, @legacy_format bit = 0""",
        """
SELECT a.id, a.name, a.event_source, a.event_category_id, a.event_id, a.message_id, a.severity, a.enabled,
    a.delay_between_responses, a.last_occurrence_date, a.last_occurrence_time, a.last_response_date,
    a.last_response_time, a.notification_message, a.include_event_description, a.database_name,
    a.event_description_keyword, a.occurrence_count, a.count_reset_date, a.count_reset_time, a.job_id,
    j.name AS job_name, a.has_notification, a.flags, a.performance_condition, c.name AS category_name,
    CAST(NULL AS sysname) AS wmi_namespace, CAST(NULL AS nvarchar(512)) AS wmi_query,
    CASE WHEN a.performance_condition IS NULL THEN 1 ELSE 2 END AS type
FROM dbo.sysalerts a LEFT JOIN dbo.sysjobs j ON j.job_id = a.job_id
    LEFT JOIN dbo.syscategories c ON c.category_id = a.category_id
WHERE (@alert_name IS NULL OR a.name = @alert_name) AND (@alert_id IS NULL OR a.id = @alert_id)
    AND (@category_name IS NULL OR c.name = @category_name) ORDER BY a.name
""",
    ),
    "sp_add_notification": (
        "@alert_name sysname, @operator_name sysname, @notification_method tinyint",
        f"""{_FIND_BOTH}
IF @notification_method NOT BETWEEN 1 AND 7 {refuse(14266, "'@notification_method'", "'1..7'")}
IF EXISTS (SELECT * FROM dbo.sysnotifications WHERE alert_id = @id AND operator_id = @operator)
    {refuse(14261, "'notification'", "@operator_name")}
INSERT dbo.sysnotifications (alert_id, operator_id, notification_method)
VALUES (@id, @operator, @notification_method)
{_COUNT_METHODS}
""",
    ),
    "sp_delete_notification": (
        "@alert_name sysname, @operator_name sysname",
        f"""{_FIND_BOTH}
DELETE dbo.sysnotifications WHERE alert_id = @id AND operator_id = @operator
IF @@ROWCOUNT = 0 {refuse(14262, "'notification'", "@operator_name")}
{_COUNT_METHODS}
""",
    ),
}

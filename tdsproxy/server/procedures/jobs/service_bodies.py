"""The service itself and what stands about it in msdb: subsystems, proxies, target servers, logs of steps,
plans and policies. There is one server, one subsystem, and no proxy."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import (
    FIND_JOB,
    FIND_SCHEDULE,
    FIND_STEP,
    JOB,
    OWN_JOB,
    OWN_OR_READ,
)
from tdsproxy.server.procedures.jobs.help_bodies import JOBS
from tdsproxy.server.procedures.jobs.messages import refuse
from tdsproxy.server.procedures.jobs.schedule_words import schedule_words

_FREQUENCY: Final = ", ".join(
    f"@{name} int = NULL"
    for name in (
        "freq_type",
        "freq_interval",
        "freq_subday_type",
        "freq_subday_interval",
        "freq_relative_interval",
        "freq_recurrence_factor",
        "active_start_date",
        "active_end_date",
        "active_start_time",
        "active_end_time",
    )
)
_SCHEDULE: Final = "@schedule_name sysname = NULL, @schedule_id int = NULL"
_EVERY_JOB: Final = """
DECLARE @job_id uniqueidentifier, @enabled tinyint, @owner_login_name sysname, @category_name sysname,
    @description nvarchar(512), @date_comparator char(1), @date_created datetime,
    @date_last_modified datetime, @job_type varchar(12), @subsystem nvarchar(40), @execution_status int
"""
_NO_PROXY: Final = f"""
DECLARE @which nvarchar(256) = ISNULL(@proxy_name, CAST(@proxy_id AS nvarchar(12)))
DECLARE @by sysname = CASE WHEN @proxy_name IS NULL THEN '@proxy_id' ELSE '@proxy_name' END
IF @which IS NOT NULL {refuse(14262, "@by", "@which")}
"""
_SUBSYSTEM: Final = refuse(14234, "'@subsystem'", "'sp_enum_sqlagent_subsystems'")
_ALERT_FLAGS: Final = ", ".join(
    f"CASE WHEN n.notification_method & {bit} > 0 THEN 1 ELSE 0 END AS use_{name}"
    for bit, name in ((1, "email"), (2, "pager"), (4, "netsend"))
)
_HAS: Final = ", ".join(
    f"CAST(CASE WHEN o.{column} IS NULL OR o.{column} = N'' THEN 0 ELSE 1 END AS int) AS has_{name}"
    for column, name in (
        ("email_address", "email"),
        ("pager_address", "pager"),
        ("netsend_address", "netsend"),
    )
)
_MATCHES: Final = """
(@enum_type = 'ALL' OR (@enum_type = 'ACTUAL' AND n.notification_method & @notification_method > 0)
    OR (@enum_type = 'TARGET' AND {0} = @target_name))
"""

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_help_jobsteplog": (
        f"{JOB}, @step_id int = NULL, @step_name sysname = NULL",
        f"""{FIND_JOB} {FIND_STEP}
SELECT p.job_id, @title AS job_name, p.step_id, p.step_name, p.step_uid, l.date_created, l.date_modified,
    CAST(l.log_size AS float) / 1048576 AS log_size, l.log
FROM dbo.sysjobsteps p JOIN dbo.sysjobstepslogs l ON l.step_uid = p.step_uid
WHERE p.job_id = @job_id AND (@step_id IS NULL OR p.step_id = @step_id)
    AND (@step_name IS NULL OR p.step_name = @step_name) ORDER BY p.step_id
""",
    ),
    "sp_delete_jobsteplog": (
        f"""{JOB}, @step_id int = NULL, @step_name sysname = NULL, @older_than datetime = NULL,
@larger_than int = NULL""",
        f"""{FIND_JOB} {OWN_JOB} {FIND_STEP}
DELETE dbo.sysjobstepslogs WHERE step_uid IN (SELECT step_uid FROM dbo.sysjobsteps WHERE job_id = @job_id
        AND (@step_id IS NULL OR step_id = @step_id) AND (@step_name IS NULL OR step_name = @step_name))
    AND (@older_than IS NULL OR date_modified < @older_than)
    AND (@larger_than IS NULL OR log_size > CAST(@larger_than AS bigint) * 1048576)
""",
    ),
    "sp_get_schedule_description": (
        f"{_FREQUENCY}, @schedule_description nvarchar(255) OUTPUT",
        f"SELECT @schedule_description = {schedule_words('@')}",
    ),
    "sp_help_jobcount": (
        _SCHEDULE,
        f"""{FIND_SCHEDULE}
SELECT COUNT(*) AS JobCount FROM dbo.sysjobschedules WHERE schedule_id = @schedule_id
""",
    ),
    "sp_help_jobs_in_schedule": (
        _SCHEDULE,
        f"""{FIND_SCHEDULE} {OWN_OR_READ} {_EVERY_JOB}
{
            JOBS.replace(
                "WHERE (@reads",
                "WHERE j.job_id IN (SELECT job_id FROM dbo.sysjobschedules"
                " WHERE schedule_id = @schedule_id) AND (@reads",
                1,
            )
        }
""",
    ),
    "sp_enum_sqlagent_subsystems": (
        "",
        """
SELECT CAST(N'TSQL' AS nvarchar(40)) AS subsystem,
    CAST(N'Transact-SQL Subsystem' AS nvarchar(512)) AS description,
    CAST(N'[Internal]' AS nvarchar(510)) AS subsystem_dll, CAST(N'[Internal]' AS nvarchar(510)) AS agent_exe,
    CAST(N'[Internal]' AS nvarchar(30)) AS start_entry_point,
    CAST(N'[Internal]' AS nvarchar(30)) AS event_entry_point,
    CAST(N'[Internal]' AS nvarchar(30)) AS stop_entry_point, 20 AS max_worker_threads, 1 AS subsystem_id
""",
    ),
    "sp_verify_subsystem": (
        "@subsystem nvarchar(40)",
        f"IF UPPER(LTRIM(RTRIM(@subsystem))) <> N'TSQL' {_SUBSYSTEM}",
    ),
    "sp_help_proxy": (
        "@proxy_id int = NULL, @proxy_name sysname = NULL, @subsystem_name sysname = NULL,"
        " @name nvarchar(256) = NULL",
        f"""{_NO_PROXY}
SELECT CAST(NULL AS int) AS proxy_id, CAST(NULL AS sysname) AS name, CAST(NULL AS nvarchar(4000)) AS
    credential_identity, CAST(NULL AS tinyint) AS enabled, CAST(NULL AS nvarchar(1024)) AS description,
    CAST(NULL AS varbinary(85)) AS user_sid, CAST(NULL AS int) AS credential_id,
    CAST(NULL AS int) AS credential_identity_exists WHERE 1 = 0
""",
    ),
    "sp_enum_login_for_proxy": (
        "@name nvarchar(256) = NULL, @proxy_id int = NULL, @proxy_name sysname = NULL",
        f"""{_NO_PROXY}
SELECT CAST(NULL AS int) AS proxy_id, CAST(NULL AS sysname) AS proxy_name, CAST(NULL AS int) AS flags,
    CAST(NULL AS sysname) AS name, CAST(NULL AS varbinary(85)) AS sid, CAST(NULL AS int) AS principal_id
WHERE 1 = 0
""",
    ),
    "sp_enum_proxy_for_subsystem": (
        "@proxy_id int = NULL, @proxy_name sysname = NULL, @subsystem_id int = NULL,"
        " @subsystem_name sysname = NULL",
        f"""{_NO_PROXY}
SELECT CAST(NULL AS int) AS subsystem_id, CAST(NULL AS nvarchar(40)) AS subsystem_name,
    CAST(NULL AS int) AS proxy_id, CAST(NULL AS sysname) AS proxy_name WHERE 1 = 0
""",
    ),
    "sp_help_targetserver": (
        "@server_name sysname = NULL",
        f"""
IF @server_name IS NOT NULL {refuse(14262, "'@server_name'", "@server_name")}
SELECT server_id, server_name, location, time_zone_adjustment, enlist_date, last_poll_date, status,
    0 AS unread_instructions, local_time_at_last_poll AS local_time, enlisted_by_nt_user, poll_interval
FROM dbo.systargetservers
""",
    ),
    "sp_help_targetservergroup": (
        "@name sysname = NULL",
        f"""
IF @name IS NOT NULL {refuse(14262, "'@name'", "@name")}
SELECT servergroup_id, name FROM dbo.systargetservergroups
""",
    ),
    "sp_help_downloadlist": (
        f"""{JOB}, @operation varchar(64) = NULL, @object_type varchar(64) = NULL,
@object_name sysname = NULL, @target_server sysname = NULL, @has_error tinyint = NULL, @status tinyint = NULL,
@date_posted datetime = NULL""",
        "SELECT * FROM dbo.sysdownloadlist",
    ),
    "sp_help_maintenance_plan": (
        "@plan_id uniqueidentifier = NULL",
        """
SELECT * FROM dbo.sysdbmaintplans WHERE @plan_id IS NULL OR plan_id = @plan_id
IF @plan_id IS NOT NULL SELECT database_name FROM dbo.sysdbmaintplan_databases WHERE plan_id = @plan_id
IF @plan_id IS NOT NULL SELECT job_id FROM dbo.sysdbmaintplan_jobs WHERE plan_id = @plan_id
""",
    ),
    "sp_syspolicy_purge_history": ("@include_system bit = 0", ""),
    "sp_help_notification": (
        """@object_type char(9), @name sysname, @enum_type char(10), @notification_method tinyint,
@target_name sysname = NULL""",
        f"""
SELECT @object_type = UPPER(@object_type), @enum_type = UPPER(@enum_type)
IF @object_type NOT IN ('ALERTS', 'OPERATORS') {refuse(14266, "'@object_type'", "'ALERTS, OPERATORS'")}
IF @object_type = 'ALERTS' AND NOT EXISTS (SELECT * FROM dbo.sysoperators WHERE name = @name)
    {refuse(14262, "'@name'", "@name")}
IF @object_type = 'OPERATORS' AND NOT EXISTS (SELECT * FROM dbo.sysalerts WHERE name = @name)
    {refuse(14262, "'@name'", "@name")}
IF @enum_type NOT IN ('ALL', 'ACTUAL', 'TARGET') {refuse(14266, "'@enum_type'", "'ALL, ACTUAL, TARGET'")}
IF @notification_method NOT IN (1, 2, 4, 7) {refuse(14266, "'@notification_method'", "'1, 2, 4, 7'")}
IF @object_type = 'ALERTS'
    SELECT a.id AS alert_id, a.name AS alert_name, {_ALERT_FLAGS}, {_HAS}
    FROM dbo.sysoperators o CROSS JOIN dbo.sysalerts a
        LEFT JOIN dbo.sysnotifications n ON n.alert_id = a.id AND n.operator_id = o.id
    WHERE o.name = @name AND {_MATCHES.format("a.name")} ORDER BY a.name
ELSE
    SELECT o.id AS operator_id, o.name AS operator_name, {_ALERT_FLAGS}, {_HAS}
    FROM dbo.sysalerts a CROSS JOIN dbo.sysoperators o
        LEFT JOIN dbo.sysnotifications n ON n.alert_id = a.id AND n.operator_id = o.id
    WHERE a.name = @name AND {_MATCHES.format("o.name")} ORDER BY o.name
""",
    ),
}

"""Categories, operators and the purging of history: parameters and bodies."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import FIND_JOB_IF_ANY, OPERATES, one_of
from tdsproxy.server.procedures.jobs.messages import refuse

_CLASS: Final = "CASE @class WHEN 'ALERT' THEN 2 WHEN 'OPERATOR' THEN 3 ELSE 1 END"
_CHECK_CLASS: Final = f"""
IF @class NOT IN ('JOB', 'ALERT', 'OPERATOR') {refuse(14266, "'@class'", "'JOB, ALERT, OPERATOR'")}
"""
_CHECK_TYPE: Final = f"""
IF @class = 'JOB' AND @type NOT IN ('LOCAL', 'MULTI-SERVER')
    {refuse(14266, "'@type'", "'LOCAL, MULTI-SERVER'")}
IF @class <> 'JOB' AND @type <> 'NONE' {refuse(14266, "'@type'", "'NONE'")}
"""
_OPERATOR_CATEGORY: Final = f"""
SELECT @category_name = NULLIF(NULLIF(@category_name, N''), N'[DEFAULT]')
IF @category_name IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.syscategories WHERE name = @category_name
    AND category_class = 3) {refuse(14262, "'@category_name'", "@category_name")}
"""
_OPERATOR_FIELDS: Final = (
    ("enabled", "tinyint", "1"),
    ("email_address", "nvarchar(100)", "NULL"),
    ("pager_address", "nvarchar(100)", "NULL"),
    ("weekday_pager_start_time", "int", "090000"),
    ("weekday_pager_end_time", "int", "180000"),
    ("saturday_pager_start_time", "int", "090000"),
    ("saturday_pager_end_time", "int", "180000"),
    ("sunday_pager_start_time", "int", "090000"),
    ("sunday_pager_end_time", "int", "180000"),
    ("pager_days", "tinyint", "0"),
    ("netsend_address", "nvarchar(100)", "NULL"),
)
_OPERATOR_NAMES: Final = ", ".join(name for name, _, _ in _OPERATOR_FIELDS)

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_add_category": (
        "@class varchar(8) = 'JOB', @type varchar(12) = 'LOCAL', @name sysname",
        f"""{_CHECK_CLASS} {_CHECK_TYPE}
IF EXISTS (SELECT * FROM dbo.syscategories WHERE name = @name AND category_class = {_CLASS})
    {refuse(14261, "'@name'", "@name")}
INSERT dbo.syscategories (category_id, category_class, category_type, name)
SELECT MAX(category_id) + CASE WHEN MAX(category_id) < 100 THEN 100 - MAX(category_id) ELSE 1 END, {_CLASS},
    CASE @type WHEN 'MULTI-SERVER' THEN 2 WHEN 'NONE' THEN 3 ELSE 1 END, @name FROM dbo.syscategories
""",
    ),
    "sp_update_category": (
        "@class varchar(8), @name sysname, @new_name sysname",
        f"""{_CHECK_CLASS}
DECLARE @number nvarchar(12) = {_CLASS}
DECLARE @id int = (SELECT category_id FROM dbo.syscategories WHERE name = @name AND category_class = {_CLASS})
IF @id IS NULL {refuse(14526, "@name", "@number")}
IF EXISTS (SELECT * FROM dbo.syscategories WHERE name = @new_name AND category_class = {_CLASS}
    AND category_id <> @id) {refuse(14261, "'@new_name'", "@new_name")}
IF @id < 100 {refuse(14276, "@name", "@class")}
UPDATE dbo.syscategories SET name = @new_name WHERE category_id = @id
""",
    ),
    "sp_delete_category": (
        "@class varchar(8), @name sysname",
        f"""{_CHECK_CLASS}
DECLARE @id int = (SELECT category_id FROM dbo.syscategories WHERE name = @name AND category_class = {_CLASS})
IF @id IS NULL {refuse(14262, "'@name'", "@name")}
IF @id < 100 {refuse(14276, "@name", "@class")}
UPDATE dbo.sysjobs SET category_id = 0 WHERE category_id = @id
DELETE dbo.syscategories WHERE category_id = @id
""",
    ),
    "sp_help_category": (
        "@class varchar(8) = 'JOB', @type varchar(12) = NULL, @name sysname = NULL, @suffix bit = 0",
        f"""{_CHECK_CLASS} {_CHECK_TYPE}
DECLARE @number nvarchar(12) = {_CLASS}
IF @name IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.syscategories WHERE name = @name
    AND category_class = {_CLASS}) {refuse(14526, "@name", "@number")}
SELECT category_id, category_type, name FROM dbo.syscategories WHERE category_class = {_CLASS}
    AND (@name IS NULL OR name = @name) AND (@type IS NULL
        OR category_type = CASE @type WHEN 'MULTI-SERVER' THEN 2 WHEN 'NONE' THEN 3 ELSE 1 END)
ORDER BY category_type, name
""",
    ),
    "sp_add_operator": (
        "@name sysname, "
        + ", ".join(f"@{name} {kind} = {default}" for name, kind, default in _OPERATOR_FIELDS)
        + ", @category_name sysname = NULL",
        f"""
IF EXISTS (SELECT * FROM dbo.sysoperators WHERE name = @name) {refuse(14261, "'@name'", "@name")}
{one_of("@enabled", "0, 1")}
{_OPERATOR_CATEGORY}
INSERT dbo.sysoperators (name, {_OPERATOR_NAMES}, last_email_date, last_email_time, last_pager_date,
    last_pager_time, last_netsend_date, last_netsend_time, category_id)
VALUES (@name, {", ".join(f"@{name}" for name, _, _ in _OPERATOR_FIELDS)}, 0, 0, 0, 0, 0, 0,
    ISNULL((SELECT category_id FROM dbo.syscategories WHERE name = @category_name
        AND category_class = 3), 99))
""",
    ),
    "sp_update_operator": (
        "@name sysname, @new_name sysname = NULL, "
        + ", ".join(f"@{name} {kind} = NULL" for name, kind, _ in _OPERATOR_FIELDS)
        + ", @category_name sysname = NULL",
        f"""
IF NOT EXISTS (SELECT * FROM dbo.sysoperators WHERE name = @name) {refuse(14262, "'@name'", "@name")}
IF @new_name <> @name AND EXISTS (SELECT * FROM dbo.sysoperators WHERE name = @new_name)
    {refuse(14261, "'@name'", "@new_name")}
{one_of("@enabled", "0, 1")}
{_OPERATOR_CATEGORY}
UPDATE dbo.sysoperators SET name = ISNULL(@new_name, name),
    {", ".join(f"{name} = ISNULL(@{name}, {name})" for name, _, _ in _OPERATOR_FIELDS)} WHERE name = @name
""",
    ),
    "sp_delete_operator": (
        "@name sysname, @reassign_to_operator sysname = NULL",
        f"""
DECLARE @id int = (SELECT id FROM dbo.sysoperators WHERE name = @name)
DECLARE @other int = ISNULL((SELECT id FROM dbo.sysoperators WHERE name = @reassign_to_operator), 0)
IF @id IS NULL {refuse(14262, "'@name'", "@name")}
IF @reassign_to_operator <> N'' AND @other = 0
    {refuse(14262, "'@reassign_to_operator'", "@reassign_to_operator")}
UPDATE dbo.sysnotifications SET operator_id = @other WHERE operator_id = @id AND @other > 0
    AND alert_id NOT IN (SELECT alert_id FROM dbo.sysnotifications WHERE operator_id = @other)
UPDATE dbo.sysjobs SET notify_email_operator_id = @other WHERE notify_email_operator_id = @id
UPDATE dbo.sysjobs SET notify_netsend_operator_id = @other WHERE notify_netsend_operator_id = @id
UPDATE dbo.sysjobs SET notify_page_operator_id = @other WHERE notify_page_operator_id = @id
DELETE dbo.sysnotifications WHERE operator_id = @id
DELETE dbo.sysoperators WHERE id = @id
""",
    ),
    "sp_help_operator": (
        "@operator_name sysname = NULL, @operator_id int = NULL",
        """
SELECT id, name, enabled, email_address, last_email_date, last_email_time, pager_address, last_pager_date,
    last_pager_time, weekday_pager_start_time, weekday_pager_end_time, saturday_pager_start_time,
    saturday_pager_end_time, sunday_pager_start_time, sunday_pager_end_time, pager_days, netsend_address,
    last_netsend_date, last_netsend_time, (SELECT name FROM dbo.syscategories c
        WHERE c.category_id = o.category_id) AS category_name
FROM dbo.sysoperators o WHERE (@operator_name IS NULL OR name = @operator_name)
    AND (@operator_id IS NULL OR id = @operator_id) ORDER BY name
""",
    ),
    "sp_purge_jobhistory": (
        "@job_name sysname = NULL, @job_id uniqueidentifier = NULL, @oldest_date datetime = NULL",
        f"""{FIND_JOB_IF_ANY}
DECLARE @all bit = CASE WHEN {OPERATES} THEN 1 ELSE 0 END
IF @job_id IS NOT NULL AND @owner <> SUSER_SID() AND @all = 0 {refuse(14392)}
DECLARE @day int = CONVERT(int, CONVERT(char(8), @oldest_date, 112))
DECLARE @time int = CONVERT(int, REPLACE(CONVERT(char(8), @oldest_date, 108), ':', ''))
DELETE dbo.sysjobhistory WHERE (@job_id IS NULL OR job_id = @job_id)
    AND (@all = 1 OR job_id IN (SELECT job_id FROM dbo.sysjobs WHERE owner_sid = SUSER_SID()))
    AND (@day IS NULL OR run_date < @day OR (run_date = @day AND run_time < @time))
DECLARE @count int = @@ROWCOUNT
RAISERROR(14226, 0, 1, @count)
""",
    ),
}

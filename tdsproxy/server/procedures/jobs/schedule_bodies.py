"""Schedules: parameters and bodies of the procedures that change them. A schedule that was changed has its
next run of 0: the agent works it out again."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import (
    ADMIN,
    FIND_JOB,
    FIND_SCHEDULE,
    JOB,
    OPERATES,
    OWN_JOB,
    OWN_SCHEDULE,
    SCHEDULE,
    find_schedule,
    one_of,
)
from tdsproxy.server.procedures.jobs.messages import refuse

_FIELDS: Final = (
    "enabled",
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


def _frequency(kind: int) -> str:
    return f"""
@enabled tinyint = 1, @freq_type int = {kind}, @freq_interval int = 0, @freq_subday_type int = 0,
@freq_subday_interval int = 0, @freq_relative_interval int = 0, @freq_recurrence_factor int = 0,
@active_start_date int = NULL, @active_end_date int = 99991231, @active_start_time int = 0,
@active_end_time int = 235959
"""


def _invalid(condition: str, reason: str) -> str:
    refused = refuse(14278, f"'{reason}'")
    return f"IF {condition} {refused}"


def _date(name: str) -> str:
    return f"""
IF {name} IS NOT NULL AND ({name} < 19900101 OR TRY_CONVERT(date, CAST({name} AS char(8)), 112) IS NULL)
    {refuse(14287, f"'{name}'", "'date'")}
"""


def _time(name: str) -> str:
    return f"""
IF {name} NOT BETWEEN 0 AND 235959 OR {name} / 100 % 100 > 59 OR {name} % 100 > 59
    {refuse(14287, f"'{name}'", "'time'")}
"""


_CHECK: Final = f"""
{one_of("@enabled", "0, 1")}
IF @freq_type = 2 {refuse(14295)}
{one_of("@freq_type", "1, 4, 8, 16, 32, 64, 128")}
SELECT @freq_subday_type = CASE @freq_subday_type WHEN 0 THEN 1 ELSE @freq_subday_type END,
    @active_start_date = ISNULL(NULLIF(@active_start_date, 0),
        CONVERT(int, CONVERT(char(8), GETDATE(), 112))),
    @active_end_date = ISNULL(NULLIF(@active_end_date, 0), 99991231)
{_date("@active_start_date")}
{_date("@active_end_date")}
{_time("@active_start_time")}
{_time("@active_end_time")}
IF @active_end_date < @active_start_date {refuse(14288, "'@active_end_date'", "'@active_start_date'")}
IF @freq_type IN (4, 8, 16, 32)
BEGIN
    IF @freq_subday_type NOT IN (1, 2, 4, 8)
        {refuse(14266, "'@freq_subday_type'", "'0x1, 0x2, 0x4, 0x8'")}
    {
    _invalid(
        "@freq_subday_type = 2 AND @freq_subday_interval < 10",
        "@freq_subday_interval must be at least 10 seconds.",
    )
}
    {
    _invalid(
        "@freq_subday_type IN (4, 8) AND @freq_subday_interval < 1",
        "@freq_subday_interval must be at least 1.",
    )
}
    {_invalid("@freq_type = 4 AND @freq_interval < 1", "@freq_interval must be at least 1 for a daily job.")}
    {
    _invalid(
        "@freq_type = 8 AND @freq_interval NOT BETWEEN 1 AND 127",
        "@freq_interval must be a valid day of the week bitmask [Sunday = 1 .. Saturday = 64] for a"
        " weekly job.",
    )
}
    {
    _invalid(
        "@freq_type = 16 AND @freq_interval NOT BETWEEN 1 AND 31",
        "@freq_interval must be between 1 and 31 for a monthly job.",
    )
}
    {
    _invalid(
        "@freq_type = 32 AND @freq_relative_interval NOT IN (1, 2, 4, 8, 16)",
        "@freq_relative_interval must be one of 1st (0x1), 2nd (0x2), 3rd [0x4], 4th (0x8) or Last (0x10).",
    )
}
    {
    _invalid(
        "@freq_type = 32 AND @freq_interval NOT BETWEEN 1 AND 10",
        "@freq_interval must be between 1 and 10 (1 = Sunday .. 7 = Saturday, 8 = Day, 9 = Weekday,"
        " 10 = Weekend-day) for a monthly-relative job.",
    )
}
    {
    _invalid(
        "@freq_type IN (8, 16, 32) AND @freq_recurrence_factor < 1",
        "@freq_recurrence_factor must be at least 1.",
    )
}
END
"""
_ADD: Final = f"""
{_CHECK}
{"IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) IS NULL"}
    {refuse(14234, "'@owner_login_name'", "'sp_helplogins'")}
IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) <> SUSER_SID() AND NOT ({ADMIN})
    {refuse(14366)}
SELECT @schedule_uid = ISNULL(@schedule_uid, NEWID())
INSERT dbo.sysschedules (schedule_uid, originating_server_id, name, owner_sid, {", ".join(_FIELDS)},
    date_created, date_modified, version_number)
VALUES (@schedule_uid, 0, @name, ISNULL(SUSER_SID(@owner_login_name), SUSER_SID()),
    {", ".join(f"@{name}" for name in _FIELDS)}, GETDATE(), GETDATE(), 1)
SELECT @schedule_id = SCOPE_IDENTITY()
"""
_UPDATE_PARAMETERS: Final = ", ".join(f"@{name} int = NULL" for name in _FIELDS)
_UPDATE: Final = f"""
SELECT {", ".join(f"@{name} = ISNULL(@{name}, {name})" for name in _FIELDS)}
FROM dbo.sysschedules WHERE schedule_id = @schedule_id
{_CHECK}
UPDATE dbo.sysschedules SET name = ISNULL(@new_name, name), {", ".join(f"{n} = @{n}" for n in _FIELDS)},
    date_modified = GETDATE(), version_number = version_number + 1 WHERE schedule_id = @schedule_id
UPDATE dbo.sysjobschedules SET next_run_date = 0, next_run_time = 0 WHERE schedule_id = @schedule_id
"""
_MORE_THAN_ENABLED: Final = " OR ".join(
    f"@{name} IS NOT NULL" for name in ("new_name", "owner_login_name", *_FIELDS[1:])
)
"""Of sp_update_schedule, before what is not given is filled in."""
_OF_JOB: Final = f"""
DECLARE @schedule_id int = (SELECT s.schedule_id FROM dbo.sysschedules s JOIN dbo.sysjobschedules js
    ON js.schedule_id = s.schedule_id WHERE js.job_id = @job_id AND s.name = @name)
IF @schedule_id IS NULL {refuse(14262, "'@schedule_name'", "@name")}
"""

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_add_schedule": (
        f"""@schedule_name sysname, {_frequency(0)}, @owner_login_name sysname = NULL,
@schedule_uid uniqueidentifier = NULL OUTPUT, @schedule_id int = NULL OUTPUT,
@originating_server sysname = NULL""",
        f"DECLARE @name sysname = @schedule_name {_ADD}",
    ),
    "sp_add_jobschedule": (
        f"""{JOB}, @name sysname, {_frequency(1)}, @schedule_id int = NULL OUTPUT, @automatic_post bit = 1,
@schedule_uid uniqueidentifier = NULL OUTPUT""",
        f"""DECLARE @owner_login_name sysname {FIND_JOB} {OWN_JOB} {_ADD}
INSERT dbo.sysjobschedules (schedule_id, job_id, next_run_date, next_run_time)
    VALUES (@schedule_id, @job_id, 0, 0)
""",
    ),
    "sp_update_schedule": (
        f"""@schedule_id int = NULL, @name sysname = NULL, @new_name sysname = NULL, {_UPDATE_PARAMETERS},
@owner_login_name sysname = NULL, @automatic_post bit = 1""",
        f"""
DECLARE @schedule_name sysname = @name
SELECT @owner_login_name = NULLIF(@owner_login_name, N'')
IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) IS NULL
    {refuse(14262, "'@owner_login_name'", "@owner_login_name")}
{find_schedule("@name")}
IF @schedule_owner <> SUSER_SID() AND (NOT {OPERATES} OR ({_MORE_THAN_ENABLED}) AND NOT ({ADMIN}))
    {refuse(14394)}
IF SUSER_SID(@owner_login_name) <> @schedule_owner AND NOT ({ADMIN}) {refuse(14366)}
{_UPDATE}
IF @owner_login_name IS NOT NULL
    UPDATE dbo.sysschedules SET owner_sid = SUSER_SID(@owner_login_name) WHERE schedule_id = @schedule_id
""",
    ),
    "sp_update_jobschedule": (
        f"{JOB}, @name sysname, @new_name sysname = NULL, {_UPDATE_PARAMETERS}, @automatic_post bit = 1",
        f"{FIND_JOB} {OWN_JOB} {_OF_JOB} {_UPDATE}",
    ),
    "sp_delete_jobschedule": (
        f"{JOB}, @name sysname, @keep_schedule int = 0, @automatic_post bit = 1",
        f"""{FIND_JOB} {OWN_JOB} {_OF_JOB}
DELETE dbo.sysjobschedules WHERE job_id = @job_id AND schedule_id = @schedule_id
IF @keep_schedule = 0 DELETE dbo.sysschedules WHERE schedule_id = @schedule_id
    AND schedule_id NOT IN (SELECT schedule_id FROM dbo.sysjobschedules)
""",
    ),
    "sp_attach_schedule": (
        f"{JOB}, {SCHEDULE}, @automatic_post bit = 1",
        f"""{FIND_JOB} {OWN_JOB} {FIND_SCHEDULE}
IF NOT EXISTS (SELECT * FROM dbo.sysjobschedules WHERE job_id = @job_id AND schedule_id = @schedule_id)
    INSERT dbo.sysjobschedules (schedule_id, job_id, next_run_date, next_run_time)
        VALUES (@schedule_id, @job_id, 0, 0)
""",
    ),
    "sp_detach_schedule": (
        f"{JOB}, {SCHEDULE}, @delete_unused_schedule bit = 0, @automatic_post bit = 1",
        f"""{FIND_JOB} IF @owner <> SUSER_SID() AND NOT ({ADMIN}) {refuse(14391)}
{FIND_SCHEDULE}
DELETE dbo.sysjobschedules WHERE job_id = @job_id AND schedule_id = @schedule_id
IF @delete_unused_schedule = 1 DELETE dbo.sysschedules WHERE schedule_id = @schedule_id
    AND schedule_id NOT IN (SELECT schedule_id FROM dbo.sysjobschedules)
""",
    ),
    "sp_delete_schedule": (
        f"{SCHEDULE}, @force_delete bit = 0, @automatic_post bit = 1",
        f"""{FIND_SCHEDULE} {OWN_SCHEDULE}
IF @force_delete = 0 AND EXISTS (SELECT * FROM dbo.sysjobschedules WHERE schedule_id = @schedule_id)
    {refuse(14372)}
DELETE dbo.sysjobschedules WHERE schedule_id = @schedule_id
DELETE dbo.sysschedules WHERE schedule_id = @schedule_id
""",
    ),
}

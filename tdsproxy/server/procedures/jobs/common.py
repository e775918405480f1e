"""T-SQL that several procedures of jobs share: finding a job or a schedule by its id or its name."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.messages import refuse

ADMIN: Final = "ISNULL(IS_SRVROLEMEMBER('sysadmin'), 0) = 1"
OPERATES: Final = f"({ADMIN} OR ISNULL(IS_MEMBER('SQLAgentOperatorRole'), 0) = 1)"
READS: Final = f"({ADMIN} OR ISNULL(IS_MEMBER('SQLAgentReaderRole'), 0) = 1)"
OWN_OR_READ: Final = f"""
DECLARE @reads bit = CASE WHEN {READS} THEN 1 ELSE 0 END
"""
"""Before what names ``@reads``: whether the caller sees the jobs of others."""

JOB: Final = "@job_id uniqueidentifier = NULL, @job_name sysname = NULL"
FIND_JOB: Final = f"""
IF (@job_id IS NULL AND @job_name IS NULL) OR (@job_id IS NOT NULL AND @job_name IS NOT NULL
    AND NOT EXISTS (SELECT * FROM dbo.sysjobs WHERE job_id = @job_id AND name = @job_name))
    {refuse(14294, "'@job_id'", "'@job_name'")}
DECLARE @shown nvarchar(128) = ISNULL(@job_name, CONVERT(nvarchar(36), @job_id))
IF @job_id IS NULL SELECT @job_id = job_id FROM dbo.sysjobs WHERE name = @job_name
DECLARE @owner varbinary(85) = (SELECT owner_sid FROM dbo.sysjobs WHERE job_id = @job_id)
IF @owner IS NULL OR (@owner <> SUSER_SID() AND NOT {READS})
BEGIN
    DECLARE @key sysname = CASE WHEN @job_name IS NULL THEN '@job_id' ELSE '@job_name' END
    {refuse(14262, "@key", "@shown")}
END
"""
FIND_JOB_IF_ANY: Final = f"IF @job_id IS NOT NULL OR @job_name IS NOT NULL BEGIN {FIND_JOB} END"
OWN_JOB: Final = f"IF @owner <> SUSER_SID() AND NOT ({ADMIN}) {refuse(14525)}"
"""After ``FIND_JOB``, where the job is changed."""
TOUCH_JOB: Final = (
    "UPDATE dbo.sysjobs SET version_number = version_number + 1, date_modified = GETDATE()"
    " WHERE job_id = @job_id"
)

FIND_STEP: Final = f"""
DECLARE @last int = (SELECT ISNULL(MAX(step_id), 0) FROM dbo.sysjobsteps WHERE job_id = @job_id)
DECLARE @title sysname = (SELECT name FROM dbo.sysjobs WHERE job_id = @job_id)
DECLARE @range nvarchar(30) = N'1..' + CAST(@last AS nvarchar(12))
IF @step_id IS NOT NULL AND @last = 0 {refuse(14528, "@title")}
IF @step_id NOT BETWEEN 1 AND @last {refuse(14266, "'@step_id'", "@range")}
IF @step_id IS NOT NULL SELECT @step_name = NULL
IF @step_name IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.sysjobsteps WHERE job_id = @job_id
    AND step_name = @step_name) {refuse(14262, "'@step_name'", "@step_name")}
"""
"""After ``FIND_JOB``: ``@step_id`` and ``@step_name``, if they are given, name a step; the former wins."""

SCHEDULE: Final = "@schedule_id int = NULL, @schedule_name sysname = NULL"


def find_schedule(name: str) -> str:
    """Of ``@schedule_id`` and ``@schedule_name`` one must be given, and say which schedule is meant; ``name``
    is what the procedure calls the latter."""
    return f"""
SELECT @schedule_name = NULLIF(@schedule_name, N'')
IF (@schedule_id IS NULL AND @schedule_name IS NULL)
    OR (@schedule_id IS NOT NULL AND @schedule_name IS NOT NULL)
    {refuse(14373, "'@schedule_id'", f"'{name}'")}
IF @schedule_id IS NULL AND (SELECT COUNT(*) FROM dbo.sysschedules WHERE name = @schedule_name) > 1
    {refuse(14371, "@schedule_name", "'@schedule_id'", f"'{name}'")}
DECLARE @which nvarchar(128) = ISNULL(@schedule_name, CAST(@schedule_id AS nvarchar(12)))
DECLARE @by sysname = CASE WHEN @schedule_id IS NULL THEN '@schedule_name' ELSE '@schedule_id' END
IF @schedule_id IS NULL SELECT @schedule_id = schedule_id FROM dbo.sysschedules WHERE name = @schedule_name
DECLARE @schedule_owner varbinary(85) = (SELECT owner_sid FROM dbo.sysschedules
    WHERE schedule_id = @schedule_id)
IF @schedule_owner IS NULL OR (@schedule_owner <> SUSER_SID() AND NOT {READS})
    {refuse(14262, "@by", "@which")}
"""


FIND_SCHEDULE: Final = find_schedule("@schedule_name")
OWN_SCHEDULE: Final = f"IF @schedule_owner <> SUSER_SID() AND NOT ({ADMIN}) {refuse(14394)}"
"""After ``FIND_SCHEDULE``, where the schedule is changed."""


def one_of(name: str, values: str) -> str:
    """A check that a parameter is one of some numbers, parted by commas; NULL passes."""
    refused = refuse(14266, f"'{name}'", f"'{values}'")
    return f"IF {name} NOT IN ({values}) {refused}"

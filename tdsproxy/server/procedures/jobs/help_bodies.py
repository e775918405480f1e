"""What there is to know of jobs: the sp_help_ procedures. A job runs when the newest session's row of
sysjobactivity has a start and no stop."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import (
    FIND_JOB,
    FIND_JOB_IF_ANY,
    FIND_SCHEDULE,
    FIND_STEP,
    JOB,
    OWN_OR_READ,
)
from tdsproxy.server.procedures.jobs.messages import refuse
from tdsproxy.server.procedures.jobs.schedule_words import schedule_words

_SESSION: Final = "(SELECT MAX(session_id) FROM dbo.syssessions)"
_ACTIVITY: Final = (
    f"LEFT JOIN dbo.sysjobactivity a ON a.job_id = j.job_id AND a.session_id = {_SESSION}"
    " AND a.start_execution_date IS NOT NULL AND a.stop_execution_date IS NULL"
)
_NOT_ASKED: Final = "N'(Description not requested.)'"
_ASKED: Final = (
    f"CAST(CASE WHEN @include_description = 1 THEN {schedule_words('s.')} ELSE {_NOT_ASKED} END"
    " AS nvarchar(255))"
)


def _operator(kind: str) -> str:
    number = f"notify_{kind}_operator_id"
    return f"(SELECT o.name FROM dbo.sysoperators o WHERE o.id = j.{number}) AS notify_{kind}_operator"


JOBS: Final = f"""
SELECT j.job_id, CAST(@@SERVERNAME AS nvarchar(30)) AS originating_server, j.name, j.enabled, j.description,
    j.start_step_id, c.name AS category, SUSER_SNAME(j.owner_sid) AS owner, j.notify_level_eventlog,
    j.notify_level_email, j.notify_level_netsend, j.notify_level_page, {_operator("email")},
    {_operator("netsend")}, {_operator("page")}, j.delete_level, j.date_created, j.date_modified,
    j.version_number, ISNULL(s.last_run_date, 0) AS last_run_date,
    ISNULL(s.last_run_time, 0) AS last_run_time,
    CAST(ISNULL(s.last_run_outcome, 5) AS int) AS last_run_outcome,
    ISNULL(n.next_run_date, 0) AS next_run_date, ISNULL(n.next_run_time, 0) AS next_run_time,
    ISNULL(n.schedule_id, 0) AS next_run_schedule_id,
    CASE WHEN a.job_id IS NULL THEN 4 ELSE 1 END AS current_execution_status,
    ISNULL((SELECT CAST(p.step_id AS nvarchar(12)) + N' (' + p.step_name + N')' FROM dbo.sysjobsteps p
        WHERE p.job_id = a.job_id AND p.step_id = a.last_executed_step_id), N'0 (unknown)')
        AS current_execution_step,
    0 AS current_retry_attempt,
    (SELECT COUNT(*) FROM dbo.sysjobsteps p WHERE p.job_id = j.job_id) AS has_step,
    (SELECT COUNT(*) FROM dbo.sysjobschedules d WHERE d.job_id = j.job_id) AS has_schedule,
    (SELECT COUNT(*) FROM dbo.sysjobservers t WHERE t.job_id = j.job_id) AS has_target, 1 AS type
FROM dbo.sysjobs j LEFT JOIN dbo.syscategories c ON c.category_id = j.category_id
    LEFT JOIN dbo.sysjobservers s ON s.job_id = j.job_id
    LEFT JOIN dbo.sysjobschedules n ON n.job_id = j.job_id AND n.next_run_date > 0
        AND NOT EXISTS (SELECT * FROM dbo.sysjobschedules m WHERE m.job_id = n.job_id AND m.next_run_date > 0
            AND (m.next_run_date < n.next_run_date OR (m.next_run_date = n.next_run_date
                AND (m.next_run_time < n.next_run_time OR (m.next_run_time = n.next_run_time
                    AND m.schedule_id < n.schedule_id)))))
    {_ACTIVITY}
WHERE (@reads = 1 OR j.owner_sid = SUSER_SID()) AND (@job_id IS NULL OR j.job_id = @job_id)
    AND (@enabled IS NULL OR j.enabled = @enabled)
    AND (@owner_login_name IS NULL OR SUSER_SNAME(j.owner_sid) = @owner_login_name)
    AND (@category_name IS NULL OR c.name = @category_name)
    AND (@description IS NULL OR j.description LIKE @description)
    AND (@date_created IS NULL OR CASE @date_comparator
        WHEN '<' THEN IIF(j.date_created < @date_created, 1, 0)
        WHEN '>' THEN IIF(j.date_created > @date_created, 1, 0)
        ELSE IIF(j.date_created = @date_created, 1, 0) END = 1)
    AND (@date_last_modified IS NULL OR CASE @date_comparator
        WHEN '<' THEN IIF(j.date_modified < @date_last_modified, 1, 0)
        WHEN '>' THEN IIF(j.date_modified > @date_last_modified, 1, 0)
        ELSE IIF(j.date_modified = @date_last_modified, 1, 0) END = 1)
    AND (@job_type IS NULL OR UPPER(@job_type) = 'LOCAL')
    AND (@subsystem IS NULL OR EXISTS (SELECT * FROM dbo.sysjobsteps p WHERE p.job_id = j.job_id
        AND p.subsystem = @subsystem))
    AND (ISNULL(@execution_status, 0) = CASE WHEN a.job_id IS NULL THEN 4 ELSE 1 END
        OR @execution_status IS NULL OR (@execution_status = 0 AND a.job_id IS NOT NULL))
ORDER BY j.job_id
"""
_ACTION: Final = (
    "CASE {0} WHEN 1 THEN N'1 (Quit with success)' WHEN 2 THEN N'2 (Quit with failure)'"
    " WHEN 3 THEN N'3 (Goto next step)' WHEN 4 THEN N'4 (Goto step)' END AS {0}"
)


def _steps(*, words: bool, where: str) -> str:
    success, failure, flags = "on_success_action", "on_fail_action", "flags"
    if words:
        success, failure = _ACTION.format(success), _ACTION.format(failure)
        flags = "CAST(flags AS nvarchar(12)) + CASE flags WHEN 0 THEN N' (Normal)' ELSE N'' END AS flags"
    return f"""
SELECT step_id, step_name, subsystem, command, {flags}, cmdexec_success_code, {success}, on_success_step_id,
    {failure}, on_fail_step_id, server, database_name, database_user_name, retry_attempts, retry_interval,
    os_run_priority, output_file_name, last_run_outcome, last_run_duration, last_run_retries, last_run_date,
    last_run_time, proxy_id
FROM dbo.sysjobsteps WHERE job_id = @job_id {where} ORDER BY step_id
"""


_SCHEDULES: Final = """
SELECT s.schedule_id, s.name AS schedule_name, s.enabled, s.freq_type, s.freq_interval, s.freq_subday_type,
    s.freq_subday_interval, s.freq_relative_interval, s.freq_recurrence_factor, s.active_start_date,
    s.active_end_date, s.active_start_time, s.active_end_time, s.date_created,
    {0} AS schedule_description, js.next_run_date, js.next_run_time, s.schedule_uid,
    (SELECT COUNT(*) FROM dbo.sysjobschedules k WHERE k.schedule_id = s.schedule_id) AS job_count
FROM dbo.sysjobschedules js JOIN dbo.sysschedules s ON s.schedule_id = js.schedule_id
WHERE js.job_id = @job_id
"""
_TARGETS: Final = """
SELECT server_id, @@SERVERNAME AS server_name, CAST(NULL AS datetime) AS enlist_date,
    CAST(NULL AS datetime) AS last_poll_date, last_run_date, last_run_time, last_run_duration,
    last_run_outcome, last_outcome_message
FROM dbo.sysjobservers WHERE job_id = @job_id
"""
_HISTORY_WHERE: Final = """
FROM dbo.sysjobhistory h JOIN dbo.sysjobs j ON j.job_id = h.job_id
WHERE (@reads = 1 OR j.owner_sid = SUSER_SID()) AND (@job_id IS NULL OR h.job_id = @job_id)
    AND (@step_id IS NULL OR h.step_id = @step_id)
    AND (@sql_message_id IS NULL OR h.sql_message_id = @sql_message_id)
    AND (@sql_severity IS NULL OR h.sql_severity = @sql_severity)
    AND (@start_run_date IS NULL OR h.run_date >= @start_run_date)
    AND (@end_run_date IS NULL OR h.run_date <= @end_run_date)
    AND (@start_run_time IS NULL OR h.run_time >= @start_run_time)
    AND (@end_run_time IS NULL OR h.run_time <= @end_run_time)
    AND (@minimum_run_duration IS NULL OR h.run_duration >= @minimum_run_duration)
    AND (@run_status IS NULL OR h.run_status = @run_status)
    AND (@minimum_retries IS NULL OR h.retries_attempted >= @minimum_retries)
"""
_OPERATORS: Final = ", ".join(
    f"(SELECT o.name FROM dbo.sysoperators o WHERE o.id = h.operator_id_{kind}) AS operator_{kind}"
    for kind in ("emailed", "netsent", "paged")
)
_ORDER: Final = "ORDER BY CASE WHEN @oldest_first = 1 THEN h.instance_id ELSE -h.instance_id END"

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_help_job": (
        f"""{JOB}, @job_aspect varchar(9) = NULL, @job_type varchar(12) = NULL,
@owner_login_name sysname = NULL, @subsystem nvarchar(40) = NULL, @category_name sysname = NULL,
@enabled tinyint = NULL, @execution_status int = NULL, @date_comparator char(1) = NULL,
@date_created datetime = NULL, @date_last_modified datetime = NULL, @description nvarchar(512) = NULL""",
        f"""{FIND_JOB_IF_ANY} {OWN_OR_READ}
SELECT @job_aspect = ISNULL(UPPER(@job_aspect), 'ALL')
IF @job_id IS NOT NULL AND @job_aspect NOT IN ('JOB', 'STEPS', 'SCHEDULES', 'TARGETS', 'ALL')
    {refuse(14266, "'@job_aspect'", "'JOB, STEPS, SCHEDULES, TARGETS, ALL'")}
IF @job_id IS NULL OR @job_aspect IN ('ALL', 'JOB') BEGIN {JOBS} END
IF @job_id IS NOT NULL AND @job_aspect IN ('ALL', 'STEPS') BEGIN {_steps(words=True, where="")} END
IF @job_id IS NOT NULL AND @job_aspect IN ('ALL', 'SCHEDULES')
BEGIN {_SCHEDULES.format(_NOT_ASKED)} END
IF @job_id IS NOT NULL AND @job_aspect IN ('ALL', 'TARGETS') BEGIN {_TARGETS} END
""",
    ),
    "sp_help_jobstep": (
        f"{JOB}, @step_id int = NULL, @step_name sysname = NULL, @suffix bit = 0",
        f"""{FIND_JOB} {FIND_STEP}
{
            _steps(
                words=False,
                where="AND (@step_id IS NULL OR step_id = @step_id)"
                " AND (@step_name IS NULL OR step_name = @step_name)",
            )
        }
""",
    ),
    "sp_help_jobschedule": (
        f"""{JOB}, @schedule_name sysname = NULL, @schedule_id int = NULL, @include_description bit = 0""",
        f"""
SELECT @schedule_name = NULLIF(@schedule_name, N''), @job_name = NULLIF(@job_name, N'')
IF @schedule_id IS NULL AND @job_id IS NULL AND @job_name IS NULL {refuse(14273)}
IF @schedule_id IS NOT NULL AND (@job_id IS NOT NULL OR @job_name IS NOT NULL OR @schedule_name IS NOT NULL)
    {refuse(14273)}
IF @schedule_id IS NOT NULL
BEGIN
    DECLARE @number nvarchar(12) = @schedule_id
    DECLARE @uses int = (SELECT COUNT(*) FROM dbo.sysjobschedules WHERE schedule_id = @schedule_id)
    IF @uses > 1 {refuse(14369, "@number")}
    IF @uses = 0 {refuse(14262, "'@schedule_id'", "@number")}
    SELECT @job_id = job_id FROM dbo.sysjobschedules WHERE schedule_id = @schedule_id
END
{FIND_JOB}
IF @schedule_name IS NOT NULL AND NOT EXISTS (SELECT * FROM dbo.sysjobschedules js JOIN dbo.sysschedules s
    ON s.schedule_id = js.schedule_id WHERE js.job_id = @job_id AND s.name = @schedule_name)
    {refuse(14262, "'@schedule_name'", "@schedule_name")}
{_SCHEDULES.format(_ASKED)}
    AND (@schedule_name IS NULL OR s.name = @schedule_name)
    AND (@schedule_id IS NULL OR s.schedule_id = @schedule_id) ORDER BY s.schedule_id
""",
    ),
    "sp_help_schedule": (
        """@schedule_id int = NULL, @schedule_name sysname = NULL, @attached_schedules_only bit = NULL,
@include_description bit = 0""",
        f"""{OWN_OR_READ}
IF @schedule_id IS NOT NULL OR @schedule_name <> N'' BEGIN {FIND_SCHEDULE} END
SELECT @schedule_name = NULLIF(@schedule_name, N'')
SELECT s.schedule_id, s.schedule_uid, s.name AS schedule_name, s.enabled, s.freq_type, s.freq_interval,
    s.freq_subday_type, s.freq_subday_interval, s.freq_relative_interval, s.freq_recurrence_factor,
    s.active_start_date, s.active_end_date, s.active_start_time, s.active_end_time, s.date_created,
    {_ASKED} AS schedule_description,
    (SELECT COUNT(*) FROM dbo.sysjobschedules k WHERE k.schedule_id = s.schedule_id) AS job_count
FROM dbo.sysschedules s WHERE (@reads = 1 OR s.owner_sid = SUSER_SID())
    AND (@schedule_id IS NULL OR s.schedule_id = @schedule_id)
    AND (@schedule_name IS NULL OR s.name = @schedule_name)
    AND (ISNULL(@attached_schedules_only, 0) = 0
        OR EXISTS (SELECT * FROM dbo.sysjobschedules k WHERE k.schedule_id = s.schedule_id))
ORDER BY s.schedule_id
""",
    ),
    "sp_help_jobserver": (
        f"{JOB}, @show_last_run_details tinyint = 0",
        f"{FIND_JOB} {_TARGETS}",
    ),
    "sp_help_jobhistory": (
        f"""{JOB}, @step_id int = NULL, @sql_message_id int = NULL, @sql_severity int = NULL,
@start_run_date int = NULL, @end_run_date int = NULL, @start_run_time int = NULL, @end_run_time int = NULL,
@minimum_run_duration int = NULL, @run_status int = NULL, @minimum_retries int = NULL,
@oldest_first int = 0, @server sysname = NULL, @mode varchar(7) = 'SUMMARY'""",
        f"""{FIND_JOB_IF_ANY} {OWN_OR_READ}
IF UPPER(@mode) NOT IN ('SUMMARY', 'FULL', 'SEM') {refuse(14266, "'@mode'", "'SUMMARY, FULL, SEM'")}
IF UPPER(@mode) = 'FULL'
    SELECT h.instance_id, h.job_id, j.name AS job_name, h.step_id, h.step_name, h.sql_message_id,
        h.sql_severity, h.message, h.run_status, h.run_date, h.run_time, h.run_duration, {_OPERATORS},
        h.retries_attempted, h.server {_HISTORY_WHERE} {_ORDER}
ELSE
    SELECT h.job_id, j.name AS job_name, h.run_status, h.run_date, h.run_time, h.run_duration, {_OPERATORS},
        h.retries_attempted, h.server {_HISTORY_WHERE} AND h.step_id = 0 {_ORDER}
""",
    ),
    "sp_help_jobactivity": (
        f"{JOB}, @session_id int = NULL",
        f"""{FIND_JOB_IF_ANY} {OWN_OR_READ}
SELECT a.session_id, a.job_id, j.name AS job_name, a.run_requested_date, a.run_requested_source,
    a.queued_date, a.start_execution_date, a.last_executed_step_id, a.last_executed_step_date AS
    last_exectued_step_date, a.stop_execution_date, a.next_scheduled_run_date, a.job_history_id, h.message,
    h.run_status, h.operator_id_emailed, h.operator_id_netsent, h.operator_id_paged
FROM dbo.sysjobactivity a JOIN dbo.sysjobs j ON j.job_id = a.job_id
    LEFT JOIN dbo.sysjobhistory h ON h.instance_id = a.job_history_id
WHERE a.session_id = ISNULL(@session_id, {_SESSION}) AND (@reads = 1 OR j.owner_sid = SUSER_SID())
    AND (@job_id IS NULL OR a.job_id = @job_id)
ORDER BY j.name
""",
    ),
}

"""Jobs, their steps and their server: parameters and bodies of the procedures that change them."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.jobs.common import (
    ADMIN,
    FIND_JOB,
    JOB,
    OPERATES,
    OWN_JOB,
    TOUCH_JOB,
    one_of,
)
from tdsproxy.server.procedures.jobs.messages import refuse

_LEVELS: Final = "\n".join(
    one_of(f"@{name}", "0, 1, 2, 3")
    for name in (
        "notify_level_eventlog",
        "notify_level_email",
        "notify_level_netsend",
        "notify_level_page",
        "delete_level",
    )
)
_OPERATORS: Final = "\n".join(
    f"""
IF @notify_{kind}_operator_name <> N''
    AND NOT EXISTS (SELECT * FROM dbo.sysoperators WHERE name = @notify_{kind}_operator_name)
    {refuse(14234, f"'@notify_{kind}_operator_name'", "'sp_help_operator'")}
DECLARE @{kind}_operator int = CASE @notify_{kind}_operator_name WHEN N'' THEN 0
    ELSE (SELECT id FROM dbo.sysoperators WHERE name = @notify_{kind}_operator_name) END
"""
    for kind in ("email", "netsend", "page")
)
_CATEGORY: Final = f"""
SELECT @category_name = NULLIF(@category_name, N''), @owner_login_name = NULLIF(@owner_login_name, N'')
IF @category_name IS NOT NULL
BEGIN
    SELECT @category_id = (SELECT category_id FROM dbo.syscategories WHERE name = @category_name
        AND category_class = 1)
    IF @category_id IS NULL {refuse(14234, "'@category_name'", "'sp_help_category'")}
END
"""
_OWNER: Final = f"""
IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) IS NULL
    {refuse(14234, "'@owner_login_name'", "'sp_helplogins'")}
"""
_MORE_THAN_ENABLED: Final = " OR ".join(
    f"@{name} IS NOT NULL"
    for name in (
        "new_name",
        "description",
        "start_step_id",
        "category_name",
        "owner_login_name",
        "notify_level_eventlog",
        "notify_level_email",
        "notify_level_netsend",
        "notify_level_page",
        "notify_email_operator_name",
        "notify_netsend_operator_name",
        "notify_page_operator_name",
        "delete_level",
    )
)
"""Of sp_update_job: members of SQLAgentOperatorRole may switch others' jobs on and off, no more."""
_STEP: Final = """
@subsystem nvarchar(40) = {0}, @command nvarchar(max) = NULL, @additional_parameters nvarchar(max) = NULL,
@cmdexec_success_code int = {1}, @on_success_action tinyint = {2}, @on_success_step_id int = {1},
@on_fail_action tinyint = {3}, @on_fail_step_id int = {1}, @server sysname = NULL,
@database_name sysname = NULL, @database_user_name sysname = NULL, @retry_attempts int = {1},
@retry_interval int = {1}, @os_run_priority int = {1}, @output_file_name nvarchar(200) = NULL,
@flags int = {1}, @proxy_id int = NULL, @proxy_name sysname = NULL
"""
_CHECK_STEP: Final = f"""
SELECT @server = NULLIF(@server, N''), @database_name = NULLIF(@database_name, N''),
    @database_user_name = NULLIF(@database_user_name, N''), @proxy_name = NULLIF(@proxy_name, N'')
IF @proxy_name IS NOT NULL {refuse(14262, "'@proxy_name'", "@proxy_name")}
DECLARE @proxy nvarchar(12) = @proxy_id
IF @proxy_id IS NOT NULL {refuse(14262, "'@proxy_id'", "@proxy")}
IF @output_file_name <> N'' AND NOT ({ADMIN}) {refuse(14390, "'@output_file_name'")}
IF @database_user_name IS NOT NULL AND NOT ({ADMIN}) {refuse(14390, "'@database_user_name'")}
IF @subsystem NOT IN ('TSQL', 'CmdExec', 'PowerShell', 'SSIS', 'ANALYSISQUERY', 'ANALYSISCOMMAND', 'Snapshot',
    'LogReader', 'Distribution', 'Merge', 'QueueReader', 'ActiveScripting', 'Dts')
    {refuse(14234, "'@subsystem'", "'sp_enum_sqlagent_subsystems'")}
IF @on_success_action NOT IN (1, 2, 3, 4) {refuse(14266, "'@on_success_action'", "'1, 2, 3, 4'")}
IF @on_success_action = 4 AND (@on_success_step_id < 1 OR @on_success_step_id = @step_id)
    {refuse(14235, "'@on_success_step'", "@step_id")}
IF @on_fail_action NOT IN (1, 2, 3, 4) {refuse(14266, "'@on_failure_action'", "'1, 2, 3, 4'")}
IF @on_fail_action = 4 AND (@on_fail_step_id < 1 OR @on_fail_step_id = @step_id)
    {refuse(14235, "'@on_failure_step'", "@step_id")}
DECLARE @most int = (SELECT ISNULL(MAX(step_id), 0) FROM dbo.sysjobsteps WHERE job_id = @job_id)
IF @on_success_action = 4 AND @on_success_step_id > @most RAISERROR(14236, 0, 1, '@on_success_step_id')
IF @on_fail_action = 4 AND @on_fail_step_id > @most RAISERROR(14236, 0, 1, '@on_fail_step_id')
{one_of("@os_run_priority", "-15, -1, 0, 1, 15")}
IF @flags NOT BETWEEN 0 AND 114 {refuse(14266, "'@flags'", "'0..114'")}
IF (@flags & 4 <> 0 AND @subsystem <> 'TSQL') OR @flags & 24 = 24
    OR (@flags & 64 <> 0 AND @subsystem <> 'CmdExec')
    {refuse(14545, "'@flags'", "@subsystem")}
IF @subsystem = 'TSQL' AND DB_ID(@database_name) IS NULL AND @database_name IS NOT NULL
    {refuse(14262, "'@database_name'", "@database_name")}
"""

BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_add_job": (
        """@job_name sysname, @enabled tinyint = 1, @description nvarchar(512) = NULL, @start_step_id int = 1,
@category_name sysname = NULL, @category_id int = NULL, @owner_login_name sysname = NULL,
@notify_level_eventlog int = 2, @notify_level_email int = 0, @notify_level_netsend int = 0,
@notify_level_page int = 0, @notify_email_operator_name sysname = NULL,
@notify_netsend_operator_name sysname = NULL, @notify_page_operator_name sysname = NULL,
@delete_level int = 0, @job_id uniqueidentifier = NULL OUTPUT, @originating_server sysname = NULL""",
        f"""
SELECT @job_name = LTRIM(RTRIM(@job_name))
IF EXISTS (SELECT * FROM dbo.sysjobs WHERE name = @job_name) {refuse(14261, "'@name'", "@job_name")}
{one_of("@enabled", "0, 1")}
{_LEVELS}
{_CATEGORY}
{_OWNER}
IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) <> SUSER_SID() AND NOT ({ADMIN})
    {refuse(14515)}
{_OPERATORS}
SELECT @job_id = ISNULL(@job_id, NEWID())
INSERT dbo.sysjobs (job_id, originating_server_id, name, enabled, description, start_step_id, category_id,
    owner_sid, notify_level_eventlog, notify_level_email, notify_level_netsend, notify_level_page,
    notify_email_operator_id, notify_netsend_operator_id, notify_page_operator_id, delete_level,
    date_created, date_modified, version_number)
VALUES (@job_id, 0, @job_name, @enabled, ISNULL(@description, N'No description available.'), @start_step_id,
    ISNULL(@category_id, 0), ISNULL(SUSER_SID(@owner_login_name), SUSER_SID()), @notify_level_eventlog,
    @notify_level_email, @notify_level_netsend, @notify_level_page, ISNULL(@email_operator, 0),
    ISNULL(@netsend_operator, 0), ISNULL(@page_operator, 0), @delete_level, GETDATE(), GETDATE(), 1)
""",
    ),
    "sp_update_job": (
        f"""{JOB}, @new_name sysname = NULL, @enabled tinyint = NULL, @description nvarchar(512) = NULL,
@start_step_id int = NULL, @category_name sysname = NULL, @owner_login_name sysname = NULL,
@notify_level_eventlog int = NULL, @notify_level_email int = NULL, @notify_level_netsend int = NULL,
@notify_level_page int = NULL, @notify_email_operator_name sysname = NULL,
@notify_netsend_operator_name sysname = NULL, @notify_page_operator_name sysname = NULL,
@delete_level int = NULL, @automatic_post bit = 1""",
        f"""{FIND_JOB}
IF @owner <> SUSER_SID() AND (NOT {OPERATES} OR ({_MORE_THAN_ENABLED}) AND NOT ({ADMIN})) {refuse(14525)}
IF @owner_login_name IS NOT NULL AND SUSER_SID(@owner_login_name) <> @owner AND NOT ({ADMIN})
    {refuse(14390, "'@owner_login_name'")}
DECLARE @category_id int
IF EXISTS (SELECT * FROM dbo.sysjobs WHERE name = @new_name AND job_id <> @job_id)
    {refuse(14261, "'@name'", "@new_name")}
{one_of("@enabled", "0, 1")}
{_LEVELS}
{_CATEGORY}
{_OWNER}
{_OPERATORS}
UPDATE dbo.sysjobs SET name = ISNULL(@new_name, name), enabled = ISNULL(@enabled, enabled),
    description = ISNULL(@description, description), start_step_id = ISNULL(@start_step_id, start_step_id),
    category_id = ISNULL(@category_id, category_id),
    owner_sid = ISNULL(SUSER_SID(@owner_login_name), owner_sid),
    notify_level_eventlog = ISNULL(@notify_level_eventlog, notify_level_eventlog),
    notify_level_email = ISNULL(@notify_level_email, notify_level_email),
    notify_level_netsend = ISNULL(@notify_level_netsend, notify_level_netsend),
    notify_level_page = ISNULL(@notify_level_page, notify_level_page),
    notify_email_operator_id = ISNULL(@email_operator, notify_email_operator_id),
    notify_netsend_operator_id = ISNULL(@netsend_operator, notify_netsend_operator_id),
    notify_page_operator_id = ISNULL(@page_operator, notify_page_operator_id),
    delete_level = ISNULL(@delete_level, delete_level), date_modified = GETDATE(),
    version_number = version_number + 1
WHERE job_id = @job_id
IF @enabled IS NOT NULL
    UPDATE dbo.sysjobschedules SET next_run_date = 0, next_run_time = 0 WHERE job_id = @job_id
""",
    ),
    "sp_delete_job": (
        f"""{JOB}, @originating_server sysname = NULL, @delete_history bit = 1,
@delete_unused_schedule bit = 1""",
        f"""{FIND_JOB} {OWN_JOB}
DECLARE @schedules TABLE (id int)
INSERT @schedules SELECT schedule_id FROM dbo.sysjobschedules WHERE job_id = @job_id
DELETE dbo.sysjobschedules WHERE job_id = @job_id
IF @delete_unused_schedule = 1
    DELETE dbo.sysschedules WHERE schedule_id IN (SELECT id FROM @schedules)
        AND schedule_id NOT IN (SELECT schedule_id FROM dbo.sysjobschedules)
IF @delete_history = 1 DELETE dbo.sysjobhistory WHERE job_id = @job_id
DELETE dbo.sysjobactivity WHERE job_id = @job_id
DELETE dbo.sysjobservers WHERE job_id = @job_id
DELETE dbo.sysjobstepslogs WHERE step_uid IN (SELECT step_uid FROM dbo.sysjobsteps WHERE job_id = @job_id)
DELETE dbo.sysjobsteps WHERE job_id = @job_id
DELETE dbo.sysjobs WHERE job_id = @job_id
""",
    ),
    "sp_add_jobstep": (
        f"""{JOB}, @step_id int = NULL, @step_name sysname, {_STEP.format("N'TSQL'", 0, 1, 2)},
@step_uid uniqueidentifier = NULL OUTPUT""",
        f"""{FIND_JOB} {OWN_JOB}
DECLARE @next int = (SELECT ISNULL(MAX(step_id), 0) + 1 FROM dbo.sysjobsteps WHERE job_id = @job_id)
DECLARE @places nvarchar(30) = N'1..' + CAST(@next AS nvarchar(12))
IF @step_id NOT BETWEEN 1 AND @next {refuse(14266, "'@step_id'", "@places")}
IF EXISTS (SELECT * FROM dbo.sysjobsteps WHERE job_id = @job_id AND step_name = @step_name)
    {refuse(14261, "'@step_name'", "@step_name")}
SELECT @step_id = ISNULL(@step_id, @next), @step_uid = ISNULL(@step_uid, NEWID())
{_CHECK_STEP}
IF @step_id < @next
BEGIN
    UPDATE dbo.sysjobsteps SET step_id = -step_id - 1 WHERE job_id = @job_id AND step_id >= @step_id
    UPDATE dbo.sysjobsteps SET step_id = -step_id WHERE job_id = @job_id AND step_id < 0
    UPDATE dbo.sysjobsteps SET on_success_step_id = on_success_step_id + 1
        WHERE job_id = @job_id AND on_success_step_id >= @step_id
    UPDATE dbo.sysjobsteps SET on_fail_step_id = on_fail_step_id + 1
        WHERE job_id = @job_id AND on_fail_step_id >= @step_id
END
INSERT dbo.sysjobsteps (job_id, step_id, step_name, subsystem, command, flags, additional_parameters,
    cmdexec_success_code, on_success_action, on_success_step_id, on_fail_action, on_fail_step_id, server,
    database_name, database_user_name, retry_attempts, retry_interval, os_run_priority, output_file_name,
    last_run_outcome, last_run_duration, last_run_retries, last_run_date, last_run_time, proxy_id, step_uid)
VALUES (@job_id, @step_id, @step_name, @subsystem, @command, @flags, @additional_parameters,
    @cmdexec_success_code, @on_success_action, @on_success_step_id, @on_fail_action, @on_fail_step_id,
    @server, CASE WHEN @subsystem = 'TSQL' THEN ISNULL(@database_name, N'master') ELSE @database_name END,
    @database_user_name, @retry_attempts, @retry_interval, @os_run_priority, NULLIF(@output_file_name, N''),
    0, 0, 0, 0, 0, @proxy_id, @step_uid)
{TOUCH_JOB}
""",
    ),
    "sp_update_jobstep": (
        f"""{JOB}, @step_id int, @step_name sysname = NULL, {_STEP.format(*["NULL"] * 4)}""",
        f"""{FIND_JOB} {OWN_JOB}
DECLARE @number nvarchar(12) = @step_id
IF EXISTS (SELECT * FROM dbo.sysjobsteps WHERE job_id = @job_id AND step_name = @step_name
    AND step_id <> @step_id) {refuse(14261, "'@step_name'", "@step_name")}
IF NOT EXISTS (SELECT * FROM dbo.sysjobsteps WHERE job_id = @job_id AND step_id = @step_id)
    {refuse(14262, "'@step_id'", "@number")}
SELECT @subsystem = ISNULL(@subsystem, subsystem), @flags = ISNULL(@flags, flags),
    @on_success_action = ISNULL(@on_success_action, on_success_action),
    @on_success_step_id = ISNULL(@on_success_step_id, on_success_step_id),
    @on_fail_action = ISNULL(@on_fail_action, on_fail_action),
    @on_fail_step_id = ISNULL(@on_fail_step_id, on_fail_step_id)
FROM dbo.sysjobsteps WHERE job_id = @job_id AND step_id = @step_id
{_CHECK_STEP}
UPDATE dbo.sysjobsteps SET step_name = ISNULL(@step_name, step_name),
    subsystem = ISNULL(@subsystem, subsystem), command = ISNULL(@command, command),
    additional_parameters = ISNULL(@additional_parameters, additional_parameters),
    cmdexec_success_code = ISNULL(@cmdexec_success_code, cmdexec_success_code),
    on_success_action = ISNULL(@on_success_action, on_success_action),
    on_success_step_id = ISNULL(@on_success_step_id, on_success_step_id),
    on_fail_action = ISNULL(@on_fail_action, on_fail_action),
    on_fail_step_id = ISNULL(@on_fail_step_id, on_fail_step_id),
    database_name = ISNULL(@database_name, database_name),
    database_user_name = ISNULL(@database_user_name, database_user_name), flags = ISNULL(@flags, flags),
    retry_attempts = ISNULL(@retry_attempts, retry_attempts),
    retry_interval = ISNULL(@retry_interval, retry_interval),
    os_run_priority = ISNULL(@os_run_priority, os_run_priority),
    output_file_name = CASE @output_file_name WHEN N'' THEN NULL
        ELSE ISNULL(@output_file_name, output_file_name) END
WHERE job_id = @job_id AND step_id = @step_id
{TOUCH_JOB}
""",
    ),
    "sp_delete_jobstep": (
        f"{JOB}, @step_id int",
        f"""{FIND_JOB} {OWN_JOB}
DECLARE @last int = (SELECT ISNULL(MAX(step_id), 0) FROM dbo.sysjobsteps WHERE job_id = @job_id)
DECLARE @steps nvarchar(40) = N'0 (all steps)' + CASE WHEN @last > 0
    THEN N' ..' + CAST(@last AS nvarchar(12)) ELSE N'' END
IF @step_id NOT BETWEEN 0 AND @last {refuse(14266, "'@step_id'", "@steps")}
DELETE dbo.sysjobstepslogs WHERE step_uid IN (SELECT step_uid FROM dbo.sysjobsteps WHERE job_id = @job_id
    AND (step_id = @step_id OR @step_id = 0))
DELETE dbo.sysjobsteps WHERE job_id = @job_id AND (step_id = @step_id OR @step_id = 0)
UPDATE dbo.sysjobs SET start_step_id = 1 WHERE job_id = @job_id AND (@step_id = 0
    OR start_step_id = @last AND @last > 1)
IF @step_id > 0
BEGIN
    UPDATE dbo.sysjobsteps SET step_id = -step_id WHERE job_id = @job_id AND step_id > @step_id
    UPDATE dbo.sysjobsteps SET step_id = -step_id - 1 WHERE job_id = @job_id AND step_id < 0
    UPDATE dbo.sysjobsteps SET on_success_step_id = 0, on_success_action = 1
        WHERE job_id = @job_id AND on_success_step_id = @step_id
    UPDATE dbo.sysjobsteps SET on_fail_step_id = 0, on_fail_action = 2
        WHERE job_id = @job_id AND on_fail_step_id = @step_id
    UPDATE dbo.sysjobsteps SET on_success_step_id = on_success_step_id - 1
        WHERE job_id = @job_id AND on_success_step_id > @step_id
    UPDATE dbo.sysjobsteps SET on_fail_step_id = on_fail_step_id - 1
        WHERE job_id = @job_id AND on_fail_step_id > @step_id
END
{TOUCH_JOB}
""",
    ),
    "sp_add_jobserver": (
        f"{JOB}, @server_name sysname = N'(LOCAL)', @automatic_post bit = 1",
        f"""{FIND_JOB} {OWN_JOB}
IF UPPER(@server_name) NOT IN ('(LOCAL)', UPPER(@@SERVERNAME))
    {refuse(14262, "'@server_name'", "@server_name")}
IF EXISTS (SELECT * FROM dbo.sysjobservers WHERE job_id = @job_id)
BEGIN
    SELECT @shown = name FROM dbo.sysjobs WHERE job_id = @job_id
    {refuse(14269, "@shown", "@server_name")}
END
INSERT dbo.sysjobservers (job_id, server_id, last_run_outcome, last_outcome_message, last_run_date,
    last_run_time, last_run_duration) VALUES (@job_id, 0, 5, NULL, 0, 0, 0)
""",
    ),
    "sp_delete_jobserver": (
        f"{JOB}, @server_name sysname",
        f"""{FIND_JOB} {OWN_JOB}
IF NOT EXISTS (SELECT * FROM dbo.sysjobservers WHERE job_id = @job_id)
BEGIN
    SELECT @shown = name FROM dbo.sysjobs WHERE job_id = @job_id
    {refuse(14270, "@shown", "@server_name")}
END
DELETE dbo.sysjobservers WHERE job_id = @job_id
""",
    ),
}

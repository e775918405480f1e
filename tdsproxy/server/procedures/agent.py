"""Jobs of SQL Server Agent: kept in msdb as its procedures keep them, and run when sp_start_job says so.

The procedures are T-SQL; their tables are made in msdb when the first of them is called. No schedule starts a
job by itself.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import apsw

from tdsproxy.server.procedures.define import Parameters, Replies
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument, StoredProcedure
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Message, Rows
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

MESSAGES: Final = {
    14226: "%ld history entries purged.",
    14243: "Job '%s' started successfully.",
    14254: "Job '%s' stopped successfully.",
    14261: "The specified %s ('%s') already exists.",
    14262: "The specified %s ('%s') does not exist.",
}
"""The texts of sys.messages that these procedures raise by number."""

_TABLES: Final = """
IF OBJECT_ID('dbo.sysjobs', 'U') IS NULL
BEGIN
    CREATE TABLE dbo.sysjobs (job_id uniqueidentifier NOT NULL PRIMARY KEY, originating_server_id int NOT NULL
        DEFAULT 0, name sysname NOT NULL, enabled tinyint NOT NULL, description nvarchar(512) NULL,
        start_step_id int NOT NULL, category_id int NOT NULL, owner_sid varbinary(85) NOT NULL,
        notify_level_eventlog int NOT NULL, notify_level_email int NOT NULL,
        notify_level_netsend int NOT NULL, notify_level_page int NOT NULL,
        notify_email_operator_id int NOT NULL DEFAULT 0,
        notify_netsend_operator_id int NOT NULL DEFAULT 0, notify_page_operator_id int NOT NULL DEFAULT 0,
        delete_level int NOT NULL, date_created datetime NOT NULL, date_modified datetime NOT NULL,
        version_number int NOT NULL)
    CREATE TABLE dbo.sysjobsteps (job_id uniqueidentifier NOT NULL, step_id int NOT NULL, step_name sysname
        NOT NULL, subsystem nvarchar(40) NOT NULL, command nvarchar(max) NULL, flags int NOT NULL,
        additional_parameters nvarchar(max) NULL, cmdexec_success_code int NOT NULL, on_success_action tinyint
        NOT NULL, on_success_step_id int NOT NULL, on_fail_action tinyint NOT NULL, on_fail_step_id int
        NOT NULL, server sysname NULL, database_name sysname NULL, database_user_name sysname NULL,
        retry_attempts int NOT NULL, retry_interval int NOT NULL, os_run_priority int NOT NULL,
        output_file_name nvarchar(200) NULL, last_run_outcome int NOT NULL DEFAULT 0, last_run_duration int
        NOT NULL DEFAULT 0, last_run_retries int NOT NULL DEFAULT 0, last_run_date int NOT NULL DEFAULT 0,
        last_run_time int NOT NULL DEFAULT 0, proxy_id int NULL, step_uid uniqueidentifier NULL,
        PRIMARY KEY (job_id, step_id))
    CREATE TABLE dbo.sysjobservers (job_id uniqueidentifier NOT NULL, server_id int NOT NULL, last_run_outcome
        tinyint NOT NULL DEFAULT 5, last_outcome_message nvarchar(4000) NULL, last_run_date int NOT NULL
        DEFAULT 0, last_run_time int NOT NULL DEFAULT 0, last_run_duration int NOT NULL DEFAULT 0)
    CREATE TABLE dbo.sysschedules (schedule_id int IDENTITY PRIMARY KEY,
        schedule_uid uniqueidentifier NOT NULL, originating_server_id int NOT NULL DEFAULT 0,
        name sysname NOT NULL, owner_sid varbinary(85) NOT NULL, enabled int NOT NULL, freq_type int NOT NULL,
        freq_interval int NOT NULL, freq_subday_type int NOT NULL,
        freq_subday_interval int NOT NULL, freq_relative_interval int NOT NULL, freq_recurrence_factor int
        NOT NULL, active_start_date int NOT NULL, active_end_date int NOT NULL,
        active_start_time int NOT NULL, active_end_time int NOT NULL, date_created datetime NOT NULL,
        date_modified datetime NOT NULL, version_number int NOT NULL DEFAULT 1)
    CREATE TABLE dbo.sysjobschedules (schedule_id int NULL, job_id uniqueidentifier NULL, next_run_date int
        NOT NULL, next_run_time int NOT NULL)
    CREATE TABLE dbo.sysjobhistory (instance_id int IDENTITY PRIMARY KEY, job_id uniqueidentifier NOT NULL,
        step_id int NOT NULL, step_name sysname NOT NULL, sql_message_id int NOT NULL, sql_severity int
        NOT NULL, message nvarchar(4000) NULL, run_status int NOT NULL, run_date int NOT NULL, run_time int
        NOT NULL, run_duration int NOT NULL, operator_id_emailed int NOT NULL DEFAULT 0, operator_id_netsent
        int NOT NULL DEFAULT 0, operator_id_paged int NOT NULL DEFAULT 0, retries_attempted int NOT NULL,
        server sysname NOT NULL)
    CREATE TABLE dbo.syscategories (category_id int NOT NULL PRIMARY KEY, category_class int NOT NULL,
        category_type tinyint NOT NULL, name sysname NOT NULL)
    INSERT dbo.syscategories VALUES (0, 1, 1, N'[Uncategorized (Local)]'), (1, 1, 1, N'Jobs from MSX'),
        (2, 1, 2, N'[Uncategorized (Multi-Server)]'), (3, 1, 1, N'Database Maintenance'),
        (4, 1, 1, N'Web Assistant'), (5, 1, 1, N'Full-Text'), (6, 1, 1, N'Log Shipping')
END
"""
_FIND_JOB: Final = """
IF @job_id IS NULL SELECT @job_id = job_id FROM dbo.sysjobs WHERE name = @job_name
IF NOT EXISTS (SELECT * FROM dbo.sysjobs WHERE job_id = @job_id)
BEGIN
    DECLARE @key sysname = CASE WHEN @job_name IS NULL THEN '@job_id' ELSE '@job_name' END
    DECLARE @shown nvarchar(128) = ISNULL(@job_name, CONVERT(nvarchar(36), @job_id))
    RAISERROR(14262, 16, 1, @key, @shown)
    RETURN 1
END
"""
_JOB: Final = "@job_id uniqueidentifier = NULL, @job_name sysname = NULL"
_FREQUENCY: Final = """
@enabled tinyint = 1, @freq_type int = 0, @freq_interval int = 0, @freq_subday_type int = 0,
@freq_subday_interval int = 0, @freq_relative_interval int = 0, @freq_recurrence_factor int = 0,
@active_start_date int = NULL, @active_end_date int = 99991231, @active_start_time int = 0,
@active_end_time int = 235959
"""
_ADD_SCHEDULE: Final = """
SELECT @schedule_uid = ISNULL(@schedule_uid, NEWID())
INSERT dbo.sysschedules (schedule_uid, name, owner_sid, enabled, freq_type, freq_interval, freq_subday_type,
    freq_subday_interval, freq_relative_interval, freq_recurrence_factor, active_start_date, active_end_date,
    active_start_time, active_end_time, date_created, date_modified)
VALUES (@schedule_uid, @name, SUSER_SID(), @enabled, @freq_type, @freq_interval, @freq_subday_type,
    @freq_subday_interval, @freq_relative_interval, @freq_recurrence_factor,
    ISNULL(@active_start_date, CONVERT(int, CONVERT(char(8), GETDATE(), 112))), @active_end_date,
    @active_start_time, @active_end_time, GETDATE(), GETDATE())
SELECT @schedule_id = SCOPE_IDENTITY()
"""
_FIND_SCHEDULE: Final = """
IF @schedule_id IS NULL SELECT @schedule_id = schedule_id FROM dbo.sysschedules WHERE name = @schedule_name
IF NOT EXISTS (SELECT * FROM dbo.sysschedules WHERE schedule_id = @schedule_id)
BEGIN
    DECLARE @which nvarchar(128) = ISNULL(@schedule_name, CAST(@schedule_id AS nvarchar(12)))
    RAISERROR(14262, 16, 1, '@schedule_name', @which)
    RETURN 1
END
"""
_SCHEDULE: Final = "@schedule_id int = NULL, @schedule_name sysname = NULL"
_STEP: Final = """
@subsystem nvarchar(40) = {0}, @command nvarchar(max) = NULL, @additional_parameters nvarchar(max) = NULL,
@cmdexec_success_code int = {1}, @on_success_action tinyint = {2}, @on_success_step_id int = {1},
@on_fail_action tinyint = {3}, @on_fail_step_id int = {1}, @server sysname = NULL,
@database_name sysname = NULL, @database_user_name sysname = NULL, @retry_attempts int = {1},
@retry_interval int = {1}, @os_run_priority int = {1}, @output_file_name nvarchar(200) = NULL,
@flags int = {1}, @proxy_id int = NULL, @proxy_name sysname = NULL
"""
_BODIES: Final[dict[str, tuple[str, str]]] = {
    "sp_add_category": (
        "@class varchar(8) = 'JOB', @type varchar(12) = 'LOCAL', @name sysname",
        """
IF EXISTS (SELECT * FROM dbo.syscategories WHERE name = @name)
BEGIN
    RAISERROR(14261, 16, 1, '@name', @name)
    RETURN 1
END
INSERT dbo.syscategories SELECT MAX(category_id) + CASE WHEN MAX(category_id) < 100 THEN 100 ELSE 1 END,
    CASE @class WHEN 'ALERT' THEN 2 WHEN 'OPERATOR' THEN 3 ELSE 1 END,
    CASE @type WHEN 'MULTI-SERVER' THEN 2 WHEN 'NONE' THEN 3 ELSE 1 END, @name FROM dbo.syscategories
RETURN 0
""",
    ),
    "sp_add_job": (
        """@job_name sysname, @enabled tinyint = 1, @description nvarchar(512) = NULL, @start_step_id int = 1,
@category_name sysname = NULL, @category_id int = NULL, @owner_login_name sysname = NULL,
@notify_level_eventlog int = 2, @notify_level_email int = 0, @notify_level_netsend int = 0,
@notify_level_page int = 0, @notify_email_operator_name sysname = NULL,
@notify_netsend_operator_name sysname = NULL, @notify_page_operator_name sysname = NULL,
@delete_level int = 0, @job_id uniqueidentifier = NULL OUTPUT, @originating_server sysname = NULL""",
        """
IF EXISTS (SELECT * FROM dbo.sysjobs WHERE name = @job_name)
BEGIN
    RAISERROR(14261, 16, 1, '@name', @job_name)
    RETURN 1
END
SELECT @category_id = ISNULL(@category_id, 0)
IF @category_name IS NOT NULL
BEGIN
    SELECT @category_id = NULL
    SELECT @category_id = category_id FROM dbo.syscategories WHERE name = @category_name
    IF @category_id IS NULL
    BEGIN
        RAISERROR(14262, 16, 1, '@category_name', @category_name)
        RETURN 1
    END
END
SELECT @job_id = NEWID()
INSERT dbo.sysjobs (job_id, name, enabled, description, start_step_id, category_id, owner_sid,
    notify_level_eventlog, notify_level_email, notify_level_netsend, notify_level_page, delete_level,
    date_created, date_modified, version_number)
VALUES (@job_id, @job_name, @enabled, ISNULL(@description, N'No description available.'), @start_step_id,
    @category_id, ISNULL(SUSER_SID(@owner_login_name), SUSER_SID()), @notify_level_eventlog,
    @notify_level_email, @notify_level_netsend, @notify_level_page, @delete_level, GETDATE(), GETDATE(), 1)
RETURN 0
""",
    ),
    "sp_update_job": (
        f"""{_JOB}, @new_name sysname = NULL, @enabled tinyint = NULL, @description nvarchar(512) = NULL,
@start_step_id int = NULL, @category_name sysname = NULL, @owner_login_name sysname = NULL,
@notify_level_eventlog int = NULL, @notify_level_email int = NULL, @notify_level_netsend int = NULL,
@notify_level_page int = NULL, @notify_email_operator_name sysname = NULL,
@notify_netsend_operator_name sysname = NULL, @notify_page_operator_name sysname = NULL,
@delete_level int = NULL, @automatic_post bit = 1""",
        f"""{_FIND_JOB}
UPDATE dbo.sysjobs SET name = ISNULL(@new_name, name), enabled = ISNULL(@enabled, enabled),
    description = ISNULL(@description, description), start_step_id = ISNULL(@start_step_id, start_step_id),
    category_id = ISNULL((SELECT category_id FROM dbo.syscategories WHERE name = @category_name),
        category_id),
    owner_sid = ISNULL(SUSER_SID(@owner_login_name), owner_sid),
    notify_level_eventlog = ISNULL(@notify_level_eventlog, notify_level_eventlog),
    delete_level = ISNULL(@delete_level, delete_level), date_modified = GETDATE(),
    version_number = version_number + 1
WHERE job_id = @job_id
RETURN 0
""",
    ),
    "sp_delete_job": (
        f"""{_JOB}, @originating_server sysname = NULL, @delete_history bit = 1,
@delete_unused_schedule bit = 1""",
        f"""{_FIND_JOB}
DECLARE @schedules TABLE (id int)
INSERT @schedules SELECT schedule_id FROM dbo.sysjobschedules WHERE job_id = @job_id
DELETE dbo.sysjobschedules WHERE job_id = @job_id
IF @delete_unused_schedule = 1
    DELETE dbo.sysschedules WHERE schedule_id IN (SELECT id FROM @schedules)
        AND schedule_id NOT IN (SELECT schedule_id FROM dbo.sysjobschedules)
IF @delete_history = 1 DELETE dbo.sysjobhistory WHERE job_id = @job_id
DELETE dbo.sysjobservers WHERE job_id = @job_id
DELETE dbo.sysjobsteps WHERE job_id = @job_id
DELETE dbo.sysjobs WHERE job_id = @job_id
RETURN 0
""",
    ),
    "sp_add_jobstep": (
        f"""{_JOB}, @step_id int = NULL, @step_name sysname, {_STEP.format("N'TSQL'", 0, 1, 2)},
@step_uid uniqueidentifier = NULL OUTPUT""",
        f"""{_FIND_JOB}
SELECT @step_id = ISNULL(@step_id, (SELECT ISNULL(MAX(step_id), 0) + 1 FROM dbo.sysjobsteps
    WHERE job_id = @job_id)), @step_uid = NEWID()
UPDATE dbo.sysjobsteps SET step_id = step_id + 1 WHERE job_id = @job_id AND step_id >= @step_id
INSERT dbo.sysjobsteps (job_id, step_id, step_name, subsystem, command, flags, additional_parameters,
    cmdexec_success_code, on_success_action, on_success_step_id, on_fail_action, on_fail_step_id, server,
    database_name, database_user_name, retry_attempts, retry_interval, os_run_priority, output_file_name,
    proxy_id, step_uid)
VALUES (@job_id, @step_id, @step_name, @subsystem, @command, @flags, @additional_parameters,
    @cmdexec_success_code, @on_success_action, @on_success_step_id, @on_fail_action, @on_fail_step_id,
    @server, CASE WHEN @subsystem = 'TSQL' THEN ISNULL(@database_name, N'master') ELSE @database_name END,
    @database_user_name, @retry_attempts, @retry_interval, @os_run_priority, @output_file_name, @proxy_id,
    @step_uid)
RETURN 0
""",
    ),
    "sp_update_jobstep": (
        f"""{_JOB}, @step_id int, @step_name sysname = NULL, {_STEP.format(*["NULL"] * 4)}""",
        f"""{_FIND_JOB}
UPDATE dbo.sysjobsteps SET step_name = ISNULL(@step_name, step_name),
    subsystem = ISNULL(@subsystem, subsystem), command = ISNULL(@command, command),
    on_success_action = ISNULL(@on_success_action, on_success_action),
    on_success_step_id = ISNULL(@on_success_step_id, on_success_step_id),
    on_fail_action = ISNULL(@on_fail_action, on_fail_action),
    on_fail_step_id = ISNULL(@on_fail_step_id, on_fail_step_id),
    database_name = ISNULL(@database_name, database_name), flags = ISNULL(@flags, flags),
    retry_attempts = ISNULL(@retry_attempts, retry_attempts),
    retry_interval = ISNULL(@retry_interval, retry_interval),
    output_file_name = ISNULL(@output_file_name, output_file_name)
WHERE job_id = @job_id AND step_id = @step_id
RETURN 0
""",
    ),
    "sp_delete_jobstep": (
        f"{_JOB}, @step_id int",
        f"""{_FIND_JOB}
DELETE dbo.sysjobsteps WHERE job_id = @job_id AND (step_id = @step_id OR @step_id = 0)
UPDATE dbo.sysjobsteps SET step_id = step_id - 1 WHERE job_id = @job_id AND step_id > @step_id
    AND @step_id > 0
RETURN 0
""",
    ),
    "sp_add_jobserver": (
        f"{_JOB}, @server_name sysname = N'(LOCAL)', @automatic_post bit = 1",
        f"""{_FIND_JOB}
IF EXISTS (SELECT * FROM dbo.sysjobservers WHERE job_id = @job_id)
BEGIN
    RAISERROR('The specified job is already targeted at server ''%s''.', 16, 1, @server_name)
    RETURN 1
END
INSERT dbo.sysjobservers (job_id, server_id) VALUES (@job_id, 0)
RETURN 0
""",
    ),
    "sp_add_schedule": (
        f"""@schedule_name sysname, {_FREQUENCY}, @owner_login_name sysname = NULL,
@schedule_uid uniqueidentifier = NULL OUTPUT, @schedule_id int = NULL OUTPUT,
@originating_server sysname = NULL""",
        f"DECLARE @name sysname = @schedule_name {_ADD_SCHEDULE} RETURN 0",
    ),
    "sp_add_jobschedule": (
        f"""{_JOB}, @name sysname, {_FREQUENCY}, @schedule_id int = NULL OUTPUT, @automatic_post bit = 1,
@schedule_uid uniqueidentifier = NULL OUTPUT""",
        f"""{_FIND_JOB} {_ADD_SCHEDULE}
INSERT dbo.sysjobschedules VALUES (@schedule_id, @job_id, 0, 0)
RETURN 0
""",
    ),
    "sp_attach_schedule": (
        f"{_JOB}, {_SCHEDULE}, @automatic_post bit = 1",
        f"""{_FIND_JOB} {_FIND_SCHEDULE}
IF NOT EXISTS (SELECT * FROM dbo.sysjobschedules WHERE job_id = @job_id AND schedule_id = @schedule_id)
    INSERT dbo.sysjobschedules VALUES (@schedule_id, @job_id, 0, 0)
RETURN 0
""",
    ),
    "sp_detach_schedule": (
        f"{_JOB}, {_SCHEDULE}, @delete_unused_schedule bit = 0, @automatic_post bit = 1",
        f"""{_FIND_JOB} {_FIND_SCHEDULE}
DELETE dbo.sysjobschedules WHERE job_id = @job_id AND schedule_id = @schedule_id
RETURN 0
""",
    ),
    "sp_delete_schedule": (
        f"{_SCHEDULE}, @force_delete bit = 0, @automatic_post bit = 1",
        f"""{_FIND_SCHEDULE}
DELETE dbo.sysjobschedules WHERE schedule_id = @schedule_id
DELETE dbo.sysschedules WHERE schedule_id = @schedule_id
RETURN 0
""",
    ),
    "sp_purge_jobhistory": (
        """@job_name sysname = NULL, @job_id uniqueidentifier = NULL, @oldest_date datetime = NULL""",
        """
IF @job_id IS NULL SELECT @job_id = job_id FROM dbo.sysjobs WHERE name = @job_name
DELETE dbo.sysjobhistory WHERE (job_id = @job_id OR (@job_id IS NULL AND @job_name IS NULL))
    AND (@oldest_date IS NULL OR run_date < CONVERT(int, CONVERT(char(8), @oldest_date, 112)))
DECLARE @count int = @@ROWCOUNT
RAISERROR(14226, 0, 1, @count)
RETURN 0
""",
    ),
    "sp_help_job": (
        f"{_JOB}, @job_aspect varchar(9) = NULL, @enabled tinyint = NULL",
        """
SELECT j.job_id, @@SERVERNAME AS originating_server, j.name, j.enabled, j.description, j.start_step_id,
    c.name AS category, SUSER_SNAME(j.owner_sid) AS owner, j.notify_level_eventlog, j.date_created,
    j.date_modified, j.version_number, ISNULL(s.last_run_date, 0) AS last_run_date,
    ISNULL(s.last_run_time, 0) AS last_run_time, ISNULL(s.last_run_outcome, 5) AS last_run_outcome,
    (SELECT COUNT(*) FROM dbo.sysjobsteps p WHERE p.job_id = j.job_id) AS has_step,
    (SELECT COUNT(*) FROM dbo.sysjobschedules d WHERE d.job_id = j.job_id) AS has_schedule,
    (SELECT COUNT(*) FROM dbo.sysjobservers t WHERE t.job_id = j.job_id) AS has_target,
    4 AS current_execution_status
FROM dbo.sysjobs j LEFT JOIN dbo.syscategories c ON c.category_id = j.category_id
    LEFT JOIN dbo.sysjobservers s ON s.job_id = j.job_id
WHERE (j.job_id = @job_id OR @job_id IS NULL) AND (j.name = @job_name OR @job_name IS NULL)
    AND (j.enabled = @enabled OR @enabled IS NULL)
ORDER BY j.name
RETURN 0
""",
    ),
}


def agent_procedure(name: str, schema: str | None, database: str) -> StoredProcedure | None:
    """One of the procedures of jobs, which are msdb's."""
    found = _BODIES.get(name.lower())
    if found is None or database.lower() != "msdb" or (schema or "dbo").lower() != "dbo":
        return None
    definition = _parsed(name.lower())
    return StoredProcedure(
        definition.name.object, definition.parameters, definition.body, 0, definition.text, database="msdb"
    )


@lru_cache(maxsize=64)
def _parsed(name: str) -> ast.CreateProcedure:
    parameters, body = _BODIES[name]
    text = f"CREATE PROCEDURE {name} {parameters} AS SET NOCOUNT ON {_TABLES} {body}"
    statement = parse(text).statements[0]
    if not isinstance(statement, ast.CreateProcedure):
        raise TypeError("a system procedure's text holds another statement")
    return statement


# ------------------------------------------------------------------ running


def start_job(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sp_start_job: the steps run in a session of their own, while the caller goes on."""
    names = "@job_name @job_id @error_flag @server_name @step_name @output_flag"
    given = Parameters("sp_start_job", names, arguments)
    name, number = given.text("@job_name"), given.value("@job_id", t.UNIQUEIDENTIFIER)
    job = JobRun(session.engine.agent_session(session.rights.login))
    try:
        found = job.find(name, None if number is None else str(number))
    except SqlError:
        job.session.close()
        raise
    threading.Thread(target=job.run, args=(found[0], given.text("@step_name")), daemon=True).start()
    yield Message(14243, 0, 1, MESSAGES[14243] % found[1])
    return 0


class JobRun:
    """One run of a job."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def find(self, name: str | None, number: str | None) -> tuple[str, str]:
        """The job's id and name. Raises SqlError 14262."""
        where = f"name = {_quoted(name)}" if name is not None else f"job_id = {_quoted(number or '')}"
        rows, failure = self._run(
            f"SELECT CAST(job_id AS nvarchar(36)), name FROM msdb.dbo.sysjobs WHERE {where}"
        )
        if not rows or failure is not None:
            key = "@job_name" if name is not None else "@job_id"
            raise SqlError.of(14262, 16, 1, MESSAGES[14262] % (key, name or number or ""))
        return str(rows[0][0]), str(rows[0][1])

    def run(self, job: str, first: str | None) -> None:
        """Runs the steps as their actions lead on, and writes the history."""
        try:
            self._steps(job, first)
        except (SqlError, apsw.Error):
            return  # the server ends, or the session was killed
        finally:
            self.session.close()

    def _steps(self, job: str, first: str | None) -> None:
        rows, _ = self._run(
            "SELECT s.step_id, s.step_name, s.subsystem, s.command, s.database_name, s.on_success_action,"
            " s.on_success_step_id, s.on_fail_action, s.on_fail_step_id, j.start_step_id"
            " FROM msdb.dbo.sysjobsteps s JOIN msdb.dbo.sysjobs j ON j.job_id = s.job_id"
            f" WHERE s.job_id = '{job}' ORDER BY s.step_id"
        )
        steps = {int(str(row[0])): row for row in rows}
        current = int(str(rows[0][9])) if rows else 0
        if first is not None:
            current = next((n for n, row in steps.items() if str(row[1]).lower() == first.lower()), current)
        succeeded, last, ran = False, "", 0
        while current in steps and ran < 1000:
            row = steps[current]
            ran += 1
            last = f"{current} ({row[1]})"
            failure = self._step(str(row[2]), str(row[3] or ""), str(row[4] or "master"))
            succeeded = failure is None
            said = "The step succeeded." if failure is None else f"{failure.text}  The step failed."
            self._note(job, current, str(row[1]), failure, said, succeeded=succeeded)
            action, following = int(str(row[5 if succeeded else 7])), int(str(row[6 if succeeded else 8]))
            if action in (1, 2):
                succeeded = action == 1
                break
            current = current + 1 if action == 3 else following
        outcome = "succeeded" if succeeded else "failed"
        login = self.session.rights.login.name
        text = (
            f"The job {outcome}.  The Job was invoked by User {login}.  The last step to run was step {last}."
        )
        self._note(job, 0, "(Job outcome)", None, text, succeeded=succeeded)
        self._run(
            f"UPDATE msdb.dbo.sysjobservers SET last_run_outcome = {int(succeeded)},"
            f" last_outcome_message = {_quoted(text)},"
            " last_run_date = CONVERT(int, CONVERT(char(8), GETDATE(), 112)),"
            " last_run_time = CONVERT(int, REPLACE(CONVERT(char(8), GETDATE(), 108), ':', ''))"
            f" WHERE job_id = '{job}'"
        )

    def _step(self, subsystem: str, command: str, database: str) -> Message | None:
        """Runs one step; the error that it failed with."""
        if subsystem.upper() != "TSQL":
            return Message(0, 16, 1, f"The subsystem {subsystem} is not available.")
        self._run(f"USE [{database.replace(']', ']]')}]")
        return self._run(command)[1]

    def _note(
        self, job: str, step: int, name: str, failure: Message | None, text: str, *, succeeded: bool
    ) -> None:
        number, severity = (0, 0) if failure is None else (failure.number, failure.severity)
        self._run(
            "INSERT msdb.dbo.sysjobhistory (job_id, step_id, step_name, sql_message_id, sql_severity,"
            " message, run_status, run_date, run_time, run_duration, retries_attempted, server) VALUES"
            f" ('{job}', {step}, {_quoted(name)}, {number}, {severity}, {_quoted(text[:4000])},"
            f" {int(succeeded)}, CONVERT(int, CONVERT(char(8), GETDATE(), 112)),"
            " CONVERT(int, REPLACE(CONVERT(char(8), GETDATE(), 108), ':', '')), 0, 0, @@SERVERNAME)"
        )

    def _run(self, text: str) -> tuple[list[tuple[object, ...]], Message | None]:
        """One batch: the rows, and the last error."""
        rows: list[tuple[object, ...]] = []
        failure: Message | None = None
        for reply in self.session.run_batch(text):
            if isinstance(reply, Rows):
                rows += reply.rows
            elif isinstance(reply, Message) and reply.is_error:
                failure = reply
        return rows, failure


def _quoted(text: str | None) -> str:
    return "NULL" if text is None else "N'" + text.replace("'", "''") + "'"

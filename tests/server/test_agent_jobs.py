"""Jobs of SQL Server Agent in msdb."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, errors, infos

__all__ = ["shared_world", "sql"]

_WAIT = (
    "DECLARE @n int = 0; WHILE @n < 600 AND NOT EXISTS (SELECT * FROM msdb.dbo.sysjobhistory h"
    " JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id WHERE j.name = '{0}' AND h.step_id = 0)"
    " BEGIN WAITFOR DELAY '00:00:00.100'; SET @n += 1 END"
)


@pytest.fixture
def job(sql: Client) -> str:
    """A job with two steps in the database of ``sql``; its name."""
    database = str(sql.value("SELECT DB_NAME()"))
    sql.run("CREATE TABLE done(step int)")
    sql.run(
        f"DECLARE @id binary(16); EXEC msdb.dbo.sp_add_job @job_name = N'{database}', @job_id = @id OUTPUT;"
        f" EXEC msdb.dbo.sp_add_jobstep @job_id = @id, @step_name = 'one', @database_name = '{database}',"
        " @command = 'INSERT done VALUES (1)', @on_success_action = 3;"
        f" EXEC msdb.dbo.sp_add_jobstep @job_name = '{database}', @step_name = 'two',"
        f" @database_name = '{database}', @command = 'INSERT done VALUES (2); RAISERROR(''odd'', 16, 1)';"
        " EXEC msdb.dbo.sp_add_jobschedule @job_id = @id, @name = 'daily', @freq_type = 4,"
        " @freq_interval = 1;"
        " EXEC msdb.dbo.sp_add_jobserver @job_id = @id"
    )
    return database


def test_a_started_job_runs_its_steps_and_writes_history(sql: Client, job: str) -> None:
    replies = sql.replies(f"EXEC msdb.dbo.sp_start_job N'{job}'")
    assert [(m.number, m.text) for m in infos(replies)] == [(14243, f"Job '{job}' started successfully.")]
    sql.run(_WAIT.format(job))
    assert sql.rows(
        "SELECT h.step_id, h.run_status, h.sql_message_id FROM msdb.dbo.sysjobhistory h"
        f" JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id WHERE j.name = '{job}' ORDER BY h.instance_id"
    ) == [(1, 1, 0), (2, 0, 50000), (0, 0, 0)]
    assert sql.rows("SELECT step FROM done ORDER BY step") == [(1,), (2,)]


def test_tables_of_a_job(sql: Client, job: str) -> None:
    assert sql.rows(
        "SELECT c.name, s.freq_type, (SELECT COUNT(*) FROM msdb.dbo.sysjobsteps t WHERE t.job_id = j.job_id)"
        " FROM msdb.dbo.sysjobs j JOIN msdb.dbo.sysjobschedules js ON js.job_id = j.job_id"
        " JOIN msdb.dbo.sysschedules s ON s.schedule_id = js.schedule_id"
        f" JOIN msdb.dbo.syscategories c ON c.category_id = j.category_id WHERE j.name = '{job}'"
    ) == [("[Uncategorized (Local)]", 4, 2)]
    sql.run(f"EXEC msdb.dbo.sp_update_job @job_name = '{job}', @enabled = 0; EXEC msdb..sp_help_job")
    assert sql.rows(f"SELECT enabled FROM msdb.dbo.sysjobs WHERE name = '{job}'") == [(0,)]
    sql.run(f"EXEC msdb.dbo.sp_delete_job @job_name = '{job}'")
    assert sql.rows(f"SELECT COUNT(*) FROM msdb.dbo.sysjobs WHERE name = '{job}'") == [(0,)]


def test_refusals(sql: Client, job: str) -> None:
    failure = errors(sql.replies(f"EXEC msdb.dbo.sp_add_job @job_name = '{job}'"))[0]
    assert (failure.number, failure.text) == (14261, f"The specified @name ('{job}') already exists.")
    assert sql.error("EXEC msdb.dbo.sp_start_job 'nope'") == 14262
    assert sql.error("EXEC msdb.dbo.sp_delete_job @job_name = 'nope'") == 14262
    assert sql.error("EXEC master.dbo.sp_add_job 'x'") == 2812


def test_a_step_runs_as_the_user_that_it_names(sql: Client) -> None:
    database = str(sql.value("SELECT DB_NAME()"))
    sql.run("CREATE TABLE seen(who sysname); CREATE TABLE hidden(n int)")
    sql.run("CREATE USER clerk WITHOUT LOGIN")
    sql.run("GRANT INSERT ON seen TO clerk")
    sql.run(
        f"EXEC msdb.dbo.sp_add_job @job_name = N'{database}'; EXEC msdb.dbo.sp_add_jobstep"
        f" @job_name = N'{database}', @step_name = 'one', @database_name = '{database}',"
        " @command = 'INSERT seen VALUES (USER_NAME()); INSERT hidden VALUES (1)',"
        " @database_user_name = N'clerk';"
        f" EXEC msdb.dbo.sp_add_jobserver @job_name = N'{database}'; EXEC msdb.dbo.sp_start_job N'{database}'"
    )
    sql.run(_WAIT.format(database))
    assert sql.rows("SELECT who FROM seen") == [("clerk",)]
    assert sql.rows(
        "SELECT h.run_status, h.sql_message_id FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j"
        f" ON j.job_id = h.job_id WHERE j.name = '{database}' AND h.step_id = 1"
    ) == [(0, 229)]

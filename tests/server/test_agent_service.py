"""What stands about the jobs in msdb: logs of steps, schedules in words, properties, subsystems, servers."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, columns, rows

__all__ = ["shared_world", "sql"]

_WAIT = (
    "DECLARE @n int = 0; WHILE @n < 1200 AND {1} > (SELECT COUNT(*) FROM msdb.dbo.sysjobhistory h"
    " JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id WHERE j.name = '{0}' AND h.step_id = 0)"
    " BEGIN WAITFOR DELAY '00:00:00.050'; SET @n += 1 END"
)


@pytest.fixture
def job(sql: Client) -> str:
    """A job whose first step's log replaces the one before, and whose second step's is added to it."""
    name = str(sql.value("SELECT DB_NAME()"))
    sql.run(
        f"EXEC msdb.dbo.sp_add_job @job_name = '{name}';"
        f" EXEC msdb.dbo.sp_add_jobstep @job_name = '{name}', @step_name = 'one', @flags = 8,"
        " @command = 'PRINT ''first''', @on_success_action = 3;"
        f" EXEC msdb.dbo.sp_add_jobstep @job_name = '{name}', @step_name = 'two', @flags = 16,"
        " @command = 'PRINT ''second''';"
        f" EXEC msdb.dbo.sp_add_jobserver @job_name = '{name}'"
    )
    return name


def _run(sql: Client, job: str, times: int = 1) -> None:
    for done in range(1, times + 1):
        sql.run(f"EXEC msdb.dbo.sp_start_job '{job}'")
        sql.run(_WAIT.format(job, done))


def _logs(sql: Client, job: str) -> list[tuple[object, ...]]:
    replies = sql.replies(f"EXEC msdb.dbo.sp_help_jobsteplog @job_name = '{job}'")
    named = columns(replies)
    assert named == [
        *("job_id", "job_name", "step_id", "step_name", "step_uid"),
        *("date_created", "date_modified", "log_size", "log"),
    ]
    return [(row[2], str(row[8]).count("Began Executing"), row[7]) for row in rows(replies)]


def test_output_of_steps_in_the_table(sql: Client, job: str) -> None:
    _run(sql, job, 2)
    found = _logs(sql, job)
    assert [row[:2] for row in found] == [(1, 1), (2, 2)]
    log = str(sql.value("SELECT log FROM msdb.dbo.sysjobstepslogs WHERE log LIKE '%''one''%'"))
    assert log.startswith(f"Job '{job}' : Step 1, 'one' : Began Executing ")
    assert log.endswith("\r\n\r\nfirst [SQLSTATE 01000]\r\n")
    sql.run(f"EXEC msdb.dbo.sp_delete_jobsteplog @job_name = '{job}', @larger_than = 1")
    sql.run(f"EXEC msdb.dbo.sp_delete_jobsteplog @job_name = '{job}', @step_id = 1")
    assert [row[0] for row in _logs(sql, job)] == [2]
    assert sql.error(f"EXEC msdb.dbo.sp_help_jobsteplog @job_name = '{job}', @step_id = 3") == 14266
    sql.run(f"EXEC msdb.dbo.sp_delete_job @job_name = '{job}'")
    assert sql.value("SELECT COUNT(*) FROM msdb.dbo.sysjobstepslogs") == 0


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("1, 0, 0, 0, 0, 0, 20260102, 99991231, 30000, 235959", "Once on 20260102 at 30000"),
        ("4, 1, 1, 0, 0, 0, 20260102, 99991231, 30000, 235959", "Every day at 30000"),
        (
            "8, 42, 4, 15, 0, 2, 20260102, 99991231, 0, 235959",
            "Every 2 week(s) on Monday, Wednesday, Friday every 15 minute(s) between 0 and 235959",
        ),
        (
            "16, 31, 8, 6, 0, 1, 20260102, 99991231, 0, 235959",
            "Every 1 months(s) on day 31 of that month every 6 hour(s) between 0 and 235959",
        ),
        (
            "32, 9, 1, 0, 16, 3, 20260102, 99991231, 30000, 235959",
            "Every 3 months(s) on the last week day of that month at 30000",
        ),
        (
            "64, 0, 0, 0, 0, 0, 20260102, 99991231, 0, 235959",
            "Automatically when SQLServerAgent starts.",
        ),
    ],
)
def test_schedules_in_words(sql: Client, schedule: str, words: str) -> None:
    said = f"EXEC msdb.dbo.sp_get_schedule_description {schedule}, @d OUTPUT"
    assert sql.rows(f"DECLARE @d nvarchar(255); {said}; SELECT @d") == [(words,)]


def test_a_schedule_is_described_when_that_is_asked_for(sql: Client, job: str) -> None:
    sql.run(
        f"EXEC msdb.dbo.sp_add_jobschedule @job_name = '{job}', @name = '{job}', @freq_type = 4,"
        " @freq_interval = 1, @freq_subday_type = 1, @active_start_time = 10203"
    )
    for text, place in (
        (f"EXEC msdb.dbo.sp_help_schedule @schedule_name = '{job}'", 15),
        (f"EXEC msdb.dbo.sp_help_jobschedule @job_name = '{job}'", 14),
    ):
        assert sql.rows(text)[0][place] == "(Description not requested.)"
        assert sql.rows(f"{text}, @include_description = 1")[0][place] == "Every day at 10203"
    assert sql.rows(f"EXEC msdb.dbo.sp_help_jobcount @schedule_name = '{job}'") == [(1,)]
    assert [
        row[2]
        for row in sql.rows(
            f"EXEC msdb.dbo.sp_help_jobs_in_schedule '{job}'",
        )
    ] == [job]
    assert sql.rows(
        "SELECT name, SUSER_SNAME(owner_sid), originating_server"
        f" FROM msdb.dbo.sysschedules_localserver_view WHERE name = '{job}'"
    ) == [(job, "sa", "SERVER")]


def test_the_history_is_as_long_as_the_properties_say(sql: Client, job: str) -> None:
    sql.run("EXEC msdb.dbo.sp_set_sqlagent_properties 1, 1, 500, 2")
    got = sql.replies("EXEC msdb.dbo.sp_get_sqlagent_properties")
    values = dict(zip(columns(got), rows(got)[0], strict=True))
    assert (values["jobhistory_max_rows"], values["jobhistory_max_rows_per_job"]) == (500, 2)
    assert (values["auto_start"], values["idle_cpu_percent"], values["errorlogging_level"]) == (1, 10, 3)
    sql.run(f"EXEC msdb.dbo.sp_start_job '{job}'")
    sql.run(_WAIT.format(job, 1))
    left = (
        "SELECT step_id FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id"
        f" WHERE j.name = '{job}' ORDER BY step_id"
    )
    assert sql.rows(left) == [(0,), (2,)]
    sql.run("EXEC msdb.dbo.sp_set_sqlagent_properties @jobhistory_max_rows = 1000")
    for wrong in ("@jobhistory_max_rows = 1", "@jobhistory_max_rows_per_job = 5000", "@auto_start = 7"):
        assert sql.error(f"EXEC msdb.dbo.sp_set_sqlagent_properties {wrong}") == 14266


def test_subsystems_servers_and_proxies(sql: Client) -> None:
    assert sql.rows("SELECT subsystem_id, subsystem FROM msdb.dbo.syssubsystems") == [(1, "TSQL")]
    assert sql.rows("SELECT * FROM msdb.dbo.sysoriginatingservers_view") == [(0, "SERVER", False)]
    for procedure in (
        *("sp_help_targetserver", "sp_help_targetservergroup", "sp_help_proxy", "sp_enum_login_for_proxy"),
        *("sp_enum_proxy_for_subsystem", "sp_help_downloadlist", "sp_help_maintenance_plan"),
        "sp_syspolicy_purge_history",
    ):
        assert sql.rows(f"EXEC msdb.dbo.{procedure}") == []
    sql.run("EXEC msdb.dbo.sp_verify_subsystem 'tsql'")
    assert sql.error("EXEC msdb.dbo.sp_verify_subsystem 'Carrier'") == 14234
    assert sql.error("EXEC msdb.dbo.sp_help_targetserver 'elsewhere'") == 14262
    assert sql.rows("SELECT msdb.dbo.fn_syspolicy_is_automation_enabled()") == [(False,)]
    assert sql.rows("SELECT msdb.dbo.SQLAGENT_SUSER_SNAME(0x01)") == [("sa",)]


def test_who_is_told_of_which_alert(sql: Client) -> None:
    name = str(sql.value("SELECT DB_NAME()"))
    sql.run(
        f"EXEC msdb.dbo.sp_add_operator '{name}', @email_address = 'a@b.example';"
        f" EXEC msdb.dbo.sp_add_alert '{name}', @severity = 17;"
        f" EXEC msdb.dbo.sp_add_notification '{name}', '{name}', 1"
    )
    assert [
        row[1:] for row in sql.rows(f"EXEC msdb.dbo.sp_help_notification 'ALERTS', '{name}', 'ACTUAL', 1")
    ] == [(name, 1, 0, 0, 1, 0, 0)]
    assert sql.rows(f"EXEC msdb.dbo.sp_help_notification 'OPERATORS', '{name}', 'ACTUAL', 2") == []
    assert sql.error("EXEC msdb.dbo.sp_help_notification 'ALERTS', 'nobody', 'ALL', 7") == 14262

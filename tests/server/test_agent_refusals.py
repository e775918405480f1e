"""What the procedures of SQL Server Agent refuse, by number and text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.scratch import shared_world
from tests.server.support import Client, World, errors, infos

__all__ = ["shared_world"]

_STEP = "sp_add_jobstep @job_name = 'j', @step_name = 'new'"
_CLASSES = "The specified '@class' is invalid (valid values are: JOB, ALERT, OPERATOR)."
_BOTH = "Supply either @schedule_id or @schedule_name to identify the schedule."
_WHICH = "You must provide either @job_id or @job_name (and, optionally, @schedule_name), or @schedule_id."
_STOP = "Specify either a job_name, job_id, or an originating_server."


@pytest.fixture(scope="module")
def sa(shared_world: World) -> Iterator[Client]:
    """sa's session in msdb, where the job ``j`` has two steps and a schedule that ``k`` has too, and an alert
    tells ``first`` of two operators."""
    client = shared_world.login()
    client.run(
        "USE msdb; EXEC sp_add_job 'j'; EXEC sp_add_job 'k';"
        " EXEC sp_add_jobstep @job_name = 'j', @step_name = 'one', @command = 'SELECT 1';"
        " EXEC sp_add_jobstep @job_name = 'j', @step_name = 'two', @command = 'SELECT 2';"
        " EXEC sp_add_schedule 'shared', @freq_type = 4, @freq_interval = 1;"
        " EXEC sp_attach_schedule @job_name = 'j', @schedule_name = 'shared';"
        " EXEC sp_attach_schedule @job_name = 'k', @schedule_name = 'shared';"
        " EXEC sp_add_operator 'first'; EXEC sp_add_operator 'second';"
        " EXEC sp_add_alert 'alert', @severity = 20; EXEC sp_add_notification 'alert', 'first', 1"
    )
    yield client
    client.session.close()


@pytest.mark.parametrize(
    ("statement", "number", "told"),
    [
        ("sp_stop_job", 14232, _STOP),
        ("sp_stop_job @job_name = 'j', @job_id = '00000000-0000-0000-0000-000000000000'", 14232, _STOP),
        ("sp_help_job @job_name = 'j', @job_aspect = 'TYPO'", 14266, "JOB, STEPS, SCHEDULES, TARGETS, ALL"),
        ("sp_help_jobhistory @mode = 'LONG'", 14266, "SUMMARY, FULL, SEM"),
        ("sp_help_jobstep @job_name = 'j', @step_id = 3", 14266, "(valid values are: 1..2)"),
        ("sp_help_jobstep @job_name = 'k', @step_id = 1", 14528, 'Job "k" has no steps defined.'),
        ("sp_help_jobstep @job_name = 'j', @step_name = 'x'", 14262, "@step_name ('x')"),
        ("sp_help_jobschedule", 14273, _WHICH),
        ("sp_help_jobschedule @job_name = 'j', @schedule_id = 1", 14273, _WHICH),
        ("sp_help_jobschedule @schedule_id = @s", 14369, "is used by more than one job."),
        ("sp_help_jobschedule @schedule_id = 77", 14262, "@schedule_id ('77')"),
        ("sp_help_jobschedule @job_name = 'j', @schedule_name = 'x'", 14262, "@schedule_name ('x')"),
        ("sp_help_schedule @schedule_name = 'x'", 14262, "@schedule_name ('x')"),
        ("sp_help_schedule @schedule_id = @s, @schedule_name = 'shared'", 14373, _BOTH),
        ("sp_delete_schedule", 14373, _BOTH),
        ("sp_attach_schedule @job_name = 'j'", 14373, _BOTH),
        ("sp_update_schedule @enabled = 0", 14373, "Supply either @schedule_id or @name"),
        ("sp_update_schedule @name = 'shared', @owner_login_name = 'x'", 14262, "@owner_login_name ('x')"),
        (f"{_STEP}, @on_success_action = 5", 14266, "'@on_success_action' is invalid"),
        (f"{_STEP}, @on_success_action = 4", 14235, "'@on_success_step' is invalid"),
        (f"{_STEP}, @on_fail_action = 4, @on_fail_step_id = 3", 14235, "greater than 0 but excluding 3"),
        (f"{_STEP}, @flags = 200", 14266, "0..114"),
        (f"{_STEP}, @flags = 4, @subsystem = 'CmdExec'", 14545, "The @flags parameter is not valid"),
        (f"{_STEP}, @flags = 24", 14545, "for a job step of type 'TSQL'."),
        (f"{_STEP}, @os_run_priority = 7", 14266, "-15, -1, 0, 1, 15"),
        (f"{_STEP}, @database_name = 'nowhere'", 14262, "@database_name ('nowhere')"),
        ("sp_update_jobstep @job_name = 'j', @step_id = 1, @on_fail_action = 4", 14235, "excluding 1"),
        ("sp_add_category 'JOBS', 'LOCAL', 'x'", 14266, _CLASSES),
        ("sp_add_category 'JOB', 'NONE', 'x'", 14266, "LOCAL, MULTI-SERVER"),
        ("sp_add_category 'ALERT', 'LOCAL', 'x'", 14266, "(valid values are: NONE)"),
        ("sp_help_category 'x'", 14266, _CLASSES),
        ("sp_help_category @name = 'x'", 14526, 'category "x" does not exist for category class "1".'),
        ("sp_delete_category 'JOB', 'x'", 14262, "@name ('x')"),
        (
            "sp_delete_category 'JOB', 'Database Maintenance'",
            14276,
            "'Database Maintenance' is a permanent JOB category and cannot be deleted.",
        ),
        ("sp_update_category 'JOB', 'x', 'y'", 14526, 'category "x" does not exist for category class "1".'),
        ("sp_update_category 'JOB', 'Full-Text', 'y'", 14276, "is a permanent JOB category"),
        ("sp_update_category 'JOB', 'Full-Text', 'Log Shipping'", 14261, "@new_name ('Log Shipping')"),
        ("sp_add_operator 'x', @category_name = 'y'", 14262, "@category_name ('y')"),
        ("sp_add_operator 'x', @enabled = 2", 14266, "'@enabled' is invalid"),
        ("sp_update_operator 'first', @new_name = 'second'", 14261, "@name ('second')"),
        ("sp_delete_operator 'first', 'x'", 14262, "@reassign_to_operator ('x')"),
        ("sp_add_alert 'x', @severity = 1, @database_name = 'nowhere'", 15010, "'nowhere' does not exist."),
        ("sp_add_alert 'x', @severity = 1, @category_name = 'y'", 14262, "@category_name ('y')"),
        ("sp_add_alert 'x', @severity = 1, @enabled = 2", 14266, "'@enabled' is invalid"),
        ("sp_update_alert 'alert', @severity = 26", 14266, "0..25"),
    ],
)
def test_refused(sa: Client, statement: str, number: int, told: str) -> None:
    shared = "DECLARE @s int = (SELECT schedule_id FROM sysschedules WHERE name = 'shared')"
    (failure,) = errors(sa.replies(f"{shared}; EXEC {statement}"))
    assert (failure.number, failure.severity) == (number, 16)
    assert told in failure.text


def test_a_category_that_stays_keeps_its_jobs(sa: Client) -> None:
    sa.run("EXEC sp_add_job 'm', @category_name = 'Database Maintenance'")
    assert sa.error("EXEC sp_delete_category 'JOB', 'Database Maintenance'") == 14276
    assert sa.rows("SELECT category_id FROM sysjobs WHERE name = 'm'") == [(3,)]


def test_a_category_is_renamed(sa: Client) -> None:
    sa.run("EXEC sp_add_category 'JOB', 'LOCAL', 'before'; EXEC sp_update_category 'JOB', 'before', 'after'")
    assert sa.rows("SELECT name FROM syscategories WHERE category_id >= 100") == [("after",)]


def test_a_schedule_alone_says_which_job_is_meant(sa: Client) -> None:
    sa.run("EXEC sp_add_jobschedule @job_name = 'j', @name = 'own', @freq_type = 1")
    own = "DECLARE @s int = (SELECT schedule_id FROM sysschedules WHERE name = 'own')"
    assert [row[1] for row in sa.rows(f"{own}; EXEC sp_help_jobschedule @schedule_id = @s")] == ["own"]


def test_a_step_that_is_not_there_yet_is_warned_of(sa: Client) -> None:
    replies = sa.replies(
        "EXEC sp_add_jobstep @job_name = 'k', @step_name = 'a', @on_success_action = 4,"
        " @on_success_step_id = 2, @database_name = N'master', @flags = 4"
    )
    assert [(m.number, m.text) for m in infos(replies)] == [
        (14236, "Warning: Non-existent step referenced by @on_success_step_id.")
    ]
    sa.run("EXEC sp_delete_jobstep @job_name = 'k', @step_id = 0")


def test_a_schedule_changes_hands(sa: Client) -> None:
    sa.run("CREATE LOGIN heir WITH PASSWORD = 'Heir-pass-1'")
    sa.run("EXEC sp_add_schedule 'given', @freq_type = 1")
    sa.run("EXEC sp_update_schedule @name = 'given', @owner_login_name = 'heir'")
    assert sa.rows("SELECT SUSER_SNAME(owner_sid) FROM sysschedules WHERE name = 'given'") == [("heir",)]


def test_who_takes_over_from_an_operator_is_told(sa: Client) -> None:
    sa.run("EXEC sp_add_operator 'leaving'; EXEC sp_add_notification 'alert', 'leaving', 1")
    sa.run("EXEC sp_delete_operator 'leaving', 'second'")
    assert sa.rows(
        "SELECT o.name FROM sysnotifications n JOIN sysoperators o ON o.id = n.operator_id ORDER BY o.name"
    ) == [("first",), ("second",)]

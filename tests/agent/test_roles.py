"""Who may do what with whose jobs: the roles of SQL Server Agent, by logins that have one each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytds
import pytest

from tests.agent.test_running_agent import outcomes, run, run_batch, wait_for
from tests.running import PASSWORD, Running, running

LOGINS = {
    "nobody": None,
    "user": "SQLAgentUserRole",
    "reader": "SQLAgentReaderRole",
    "operator": "SQLAgentOperatorRole",
}
HIDDEN = {"nobody": 229, "user": 14262, "reader": 14525, "operator": 14525}
SWITCHED = {**HIDDEN, "operator": None}
ACCESS = [
    ("sp_update_job @job_name = N'theirs', @enabled = 1", SWITCHED),
    ("sp_update_job @job_name = N'theirs', @description = N'x'", HIDDEN),
    ("sp_update_job @job_name = N'theirs', @enabled = 1, @new_name = N'x'", HIDDEN),
    ("sp_delete_job @job_name = N'theirs'", HIDDEN),
    ("sp_add_jobstep @job_name = N'theirs', @step_name = N'more'", HIDDEN),
    ("sp_update_jobstep @job_name = N'theirs', @step_id = 1, @command = N'x'", HIDDEN),
    ("sp_delete_jobstep @job_name = N'theirs', @step_id = 1", HIDDEN),
    ("sp_delete_jobserver @job_name = N'theirs', @server_name = N'(LOCAL)'", HIDDEN),
    ("sp_add_jobschedule @job_name = N'theirs', @name = N'more', @freq_type = 64", HIDDEN),
    (
        "sp_detach_schedule @job_name = N'theirs', @schedule_name = N'plan'",
        {**HIDDEN, "reader": 14391, "operator": 14391},
    ),
    ("sp_update_schedule @name = N'plan', @enabled = 1", {**SWITCHED, "reader": 14394}),
    (
        "sp_update_schedule @name = N'plan', @freq_interval = 2",
        {**HIDDEN, "reader": 14394, "operator": 14394},
    ),
    ("sp_delete_schedule @schedule_name = N'plan'", {**HIDDEN, "reader": 14394, "operator": 14394}),
    ("sp_start_job @job_name = N'idle', @output_flag = 0", {**SWITCHED, "reader": 14393}),
    ("sp_stop_job @job_name = N'theirs'", {**HIDDEN, "reader": 14393, "operator": 22022}),
    ("sp_purge_jobhistory @job_name = N'theirs'", {**SWITCHED, "reader": 14392}),
    ("sp_help_jobstep @job_name = N'theirs'", {**SWITCHED, "reader": None}),
    (
        "sp_add_job @job_name = N'for sa', @owner_login_name = N'sa'",
        {**dict.fromkeys(LOGINS, 14515), "nobody": 229},
    ),
    ("sp_add_operator @name = N'x'", dict.fromkeys(LOGINS, 229)),
    ("sp_add_category @name = N'x'", dict.fromkeys(LOGINS, 229)),
    ("sp_help_operator", {**dict.fromkeys(LOGINS, 229), "operator": None}),
]


def _setup() -> Iterator[str]:
    for login in LOGINS:
        yield f"CREATE LOGIN [{login}] WITH PASSWORD = '{PASSWORD}'"
    yield "USE msdb"
    for login, role in LOGINS.items():
        if role is not None:
            yield f"CREATE USER [{login}] FOR LOGIN [{login}]; ALTER ROLE {role} ADD MEMBER [{login}]"
    for job in ("theirs", "idle"):
        yield f"EXEC sp_add_job @job_name = N'{job}'"
        yield (
            f"EXEC sp_add_jobstep @job_name = N'{job}', @step_name = N'only',"
            " @command = N'BACKUP DATABASE model TO DISK = N''NUL'''"
        )
        yield f"EXEC sp_add_jobserver @job_name = N'{job}'"
    yield (
        "EXEC sp_add_jobschedule @job_name = N'theirs', @name = N'plan', @freq_type = 4, @freq_interval = 1,"
        " @active_start_date = 20990101"
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("roles") / "data") as made:
        run(made, "\nGO\n".join(_setup()))
        yield made


@pytest.fixture(scope="module")
def cursors(server: Running) -> Iterator[dict[str, Any]]:
    """One of each login."""
    with contextlib.ExitStack() as stack:
        connections = {login: stack.enter_context(server.connect(user=login)) for login in LOGINS}
        yield {login: connection.cursor() for login, connection in connections.items()}


def attempt(cursor: Any, call: str) -> int | None:
    """The number of the error, or None."""
    try:
        run_batch(cursor, call)
    except pytds.Error as error:
        return int(getattr(error, "number", -1))
    return None


@pytest.mark.parametrize(("call", "expected"), ACCESS)
def test_what_roles_may_do_with_the_jobs_of_others(
    cursors: dict[str, Any], call: str, expected: dict[str, int | None]
) -> None:
    found = {login: attempt(cursor, f"EXEC msdb.dbo.{call}") for login, cursor in cursors.items()}
    assert found == expected


def test_everybody_with_a_role_has_jobs_of_their_own(server: Running, cursors: dict[str, Any]) -> None:
    add = (
        "EXEC msdb.dbo.sp_add_job @job_name = N'of {0}'; EXEC msdb.dbo.sp_add_jobstep"
        " @job_name = N'of {0}', @step_name = N'only', @command = N'PRINT SUSER_SNAME()';"
        " EXEC msdb.dbo.sp_add_jobserver @job_name = N'of {0}';"
        " EXEC msdb.dbo.sp_update_job @job_name = N'of {0}', @description = N'mine';"
        " EXEC msdb.dbo.sp_start_job @job_name = N'of {0}'"
    )
    assert attempt(cursors["nobody"], add.format("nobody")) == 229
    for login in ("user", "reader", "operator"):
        assert attempt(cursors[login], add.format(login)) is None
        wait_for(lambda job=f"of {login}": outcomes(server, job))
        assert "succeeded" in outcomes(server, f"of {login}")[0][1]
        assert run(
            server,
            "SELECT h.message FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id"
            f" WHERE j.name = N'of {login}' AND h.step_id = 1",
        )[0][0].startswith(f"Executed as user: {login}. {login} ")
    step = "EXEC msdb.dbo.sp_update_jobstep @job_name = N'of user', @step_id = 1"
    assert attempt(cursors["user"], f"{step}, @output_file_name = N'x.txt'") == 14390
    assert attempt(cursors["user"], f"{step}, @database_user_name = N'dbo'") == 14390
    assert shown(cursors["user"]) == {"of user"}
    assert shown(cursors["reader"]) == shown(cursors["operator"]) >= {"theirs", "of user", "of operator"}
    assert attempt(cursors["user"], "SELECT * FROM msdb.dbo.sysjobs") == 229
    assert attempt(cursors["nobody"], "SELECT * FROM msdb.dbo.sysjobs_view") == 229
    assert attempt(cursors["user"], "EXEC msdb.dbo.sp_delete_job @job_name = N'of user'") is None


def shown(cursor: Any) -> set[Any]:
    """The names of the jobs that a login sees, the same in three places."""
    listed = {row[2] for row in run_batch(cursor, "EXEC msdb.dbo.sp_help_job")}
    assert {row[0] for row in run_batch(cursor, "SELECT name FROM msdb.dbo.sysjobs_view")} == listed
    assert {row[1] for row in run_batch(cursor, "EXEC msdb.dbo.sp_help_jobhistory")} <= listed
    assert run_batch(cursor, "USE msdb; SELECT IS_MEMBER('SQLAgentUserRole')") == [(1,)]
    return listed

"""Who may do what with whose jobs: the roles of SQL Server Agent, by logins that have one each."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytds
import pytest

from tdsproxy.agent.settings import write_settings
from tests.agent.receiver import mail_server
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


def test_operators_are_written_to(server: Running) -> None:
    settings = {"host": "127.0.0.1", "to": ["ops@example.org"], "sender": "agent@example.org"}
    run(
        server,
        "USE msdb;\nGO\nEXEC sp_add_operator @name = N'DBA',"
        " @email_address = N'dba@example.org; two@example.org'"
        "\nGO\nEXEC sp_add_job @job_name = N'told', @notify_level_email = 2,"
        " @notify_email_operator_name = N'dba'"
        "\nGO\nEXEC sp_add_jobstep @job_name = N'told', @step_name = N'only',"
        " @command = N'BACKUP DATABASE none TO DISK = N''NUL'''"
        "\nGO\nEXEC sp_add_jobserver @job_name = N'told'",
    )
    with mail_server() as (port, mails):
        write_settings(server.store, {"notices": {"mail": {**settings, "port": port}}})
        run(server, "EXEC msdb.dbo.sp_start_job N'told'")
        wait_for(lambda: outcomes(server, "told") and any("To: dba@example.org" in mail for mail in mails))
        run(
            server, "EXEC msdb.dbo.sp_notify_operator @name = N'DBA', @subject = N'Look', @message = N'Here.'"
        )
        # the mail to the notices' own address may come between the two
        wait_for(lambda: any("Subject: Look" in mail for mail in mails))
    told = next(mail for mail in mails if "Subject: SQL Server Job System: 'told' completed on" in mail)
    assert "To: dba@example.org, two@example.org" in told
    assert "STATUS: \tFailed" in told
    assert "MESSAGES:\tThe job failed.  The Job was invoked by User sa." in told
    assert any("Subject: Look" in mail and "Here." in mail for mail in mails)
    shown = run(server, "EXEC msdb.dbo.sp_help_jobhistory @job_name = N'told'")
    assert shown[0][6] == "DBA"
    assert run(server, "SELECT COUNT(*) FROM msdb.dbo.sysoperators WHERE last_email_date > 20200101") == [
        (1,)
    ]

    write_settings(server.store, {})
    run(server, "EXEC msdb.dbo.sp_start_job N'told'")
    wait_for(lambda: len(outcomes(server, "told")) == 2)
    assert outcomes(server, "told")[1][1].endswith("  NOTE: Failed to notify 'DBA' via email.")
    with server.connect() as connection:
        cursor = connection.cursor()
        assert attempt(cursor, "EXEC msdb.dbo.sp_notify_operator @name = N'DBA', @message = N'x'") == 15281
        assert attempt(cursor, "EXEC msdb.dbo.sp_notify_operator @name = N'none', @message = N'x'") == 14262
        assert attempt(cursor, "EXEC msdb.dbo.sp_notify_operator @message = N'x'") == 14294


def test_failures_of_managed_backup_go_to_its_addresses(server: Running) -> None:
    run(
        server,
        "CREATE DATABASE kept\nGO\nEXEC msdb.managed_backup.sp_set_parameter"
        " N'SSMBackup2WANotificationEmailIds', N'one@example.org; two@example.org'\nGO\n"
        "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 1, @database_name = N'kept',"
        " @container_url = N's3://127.0.0.1:1/none'",
    )
    with mail_server() as (port, mails):
        mail = {"host": "127.0.0.1", "to": ["ops@example.org"], "sender": "agent@example.org", "port": port}
        write_settings(server.store, {"notices": {"mail": mail}})
        # Its own time may have come just now: then it runs already. So may that of the log backup: it fails,
        # too, and is told of.
        with contextlib.suppress(pytds.Error):
            run(server, "EXEC msdb.dbo.sp_start_job N'policy managed backup of kept: full backup'")
        subject = "Subject: policy managed backup of kept: full backup failed"
        wait_for(lambda: any(subject in text for text in mails))
    told = next(text for text in mails if subject in text)
    assert "To: one@example.org, two@example.org" in told
    assert "The job failed." in told
    day = "DATEADD(DAY, -1, GETDATE())"
    (counts,) = run(server, f"SELECT * FROM msdb.managed_backup.fn_get_health_status({day}, NULL)")
    assert sum(counts[:4]) >= 1
    (event,) = run(server, "EXEC msdb.managed_backup.sp_get_backup_diagnostics @xevent_channel = 'Admin'")[:1]
    assert event[0] == "SSMBackup2WAAdminXevent"
    write_settings(server.store, {})
    run(server, "EXEC msdb.managed_backup.sp_backup_master_switch 0")


def test_no_command_of_the_system_is_run(server: Running, cursors: dict[str, Any]) -> None:
    mark = server.store / "touched"
    for login, name, subsystem, why in (
        (
            "user",
            "shell of a user",
            "CmdExec",
            "Non-SysAdmins have been denied permission to run CmdExec job steps",
        ),
        ("sa", "shell of sa", "PowerShell", "The PowerShell subsystem failed to load"),
    ):
        text = (
            f"EXEC msdb.dbo.sp_add_job @job_name = N'{name}';"
            f" EXEC msdb.dbo.sp_add_jobstep @job_name = N'{name}',"
            f" @step_name = N'only', @subsystem = N'{subsystem}', @command = N'touch {mark}';"
            f" EXEC msdb.dbo.sp_add_jobserver @job_name = N'{name}'; EXEC msdb.dbo.sp_start_job N'{name}'"
        )
        if login == "sa":
            run(server, text)
        else:
            assert attempt(cursors[login], text) is None
        wait_for(lambda job=name: outcomes(server, job))
        assert outcomes(server, name)[0][0] == 0
        (said,) = run(
            server,
            "SELECT h.message FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id"
            f" WHERE j.name = N'{name}' AND h.step_id = 1",
        )
        assert f"Executed as user: {login}. {why}" in said[0]
        assert said[0].endswith("  The step failed.")
    assert not mark.exists()

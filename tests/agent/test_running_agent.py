"""The agent of a running server: scripts of Management Studio, managed backup, processes that are killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytds
import pytest

from tdsproxy.tsql.script import split_batches
from tests.running import Running, running

SCRIPT = Path(__file__).with_name("generated_job.sql")
LIMIT = 120.0


def run(server: Running, text: str) -> list[tuple[Any, ...]]:
    """The rows of the last result set."""
    rows: list[tuple[Any, ...]] = []
    with server.connect() as connection:
        cursor = connection.cursor()
        for batch in split_batches(text):
            rows = run_batch(cursor, batch.text) or rows
    return rows


def run_batch(cursor: Any, text: str) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    cursor.execute(text)
    while True:
        if cursor.description:
            rows = [tuple(row) for row in cursor.fetchall()]
        if not cursor.nextset():
            return rows


def wait_for(what: Callable[[], object]) -> object:
    deadline = time.monotonic() + LIMIT
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return found


def outcomes(server: Running, job: str) -> list[tuple[Any, ...]]:
    return run(
        server,
        "SELECT h.run_status, h.message FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j"
        f" ON j.job_id = h.job_id WHERE j.name = N'{job}' AND h.step_id = 0 ORDER BY h.instance_id",
    )


def keeper_of(server: Running) -> int:
    return int((server.store / "keeper.lock").read_text())


def add_job(server: Running, name: str, command: str, **schedule: int) -> None:
    quoted = command.replace("'", "''")
    run(
        server,
        f"EXEC msdb.dbo.sp_add_job @job_name = N'{name}'; EXEC msdb.dbo.sp_add_jobstep @job_name = N'{name}',"
        f" @step_name = N'only', @command = N'{quoted}', @database_name = N'shop';"
        f" EXEC msdb.dbo.sp_add_jobserver @job_name = N'{name}'",
    )
    if schedule:
        given = ", ".join(f"@{key} = {value}" for key, value in schedule.items())
        run(server, f"EXEC msdb.dbo.sp_add_jobschedule @job_name = N'{name}', @name = N'plan', {given}")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("agent") / "data") as made:
        run(made, "CREATE DATABASE shop")
        run(made, "CREATE TABLE shop.dbo.notes(text nvarchar(100))")
        yield made


def test_a_script_of_management_studio(server: Running) -> None:
    run(server, SCRIPT.read_text())
    assert run(
        server,
        "SELECT j.name, c.name, o.name, s.freq_type, s.freq_interval, t.server_id,"
        " (SELECT COUNT(*) FROM msdb.dbo.sysjobsteps p WHERE p.job_id = j.job_id)"
        " FROM msdb.dbo.sysjobs j JOIN msdb.dbo.syscategories c ON c.category_id = j.category_id"
        " JOIN msdb.dbo.sysoperators o ON o.id = j.notify_email_operator_id"
        " JOIN msdb.dbo.sysjobschedules js ON js.job_id = j.job_id"
        " JOIN msdb.dbo.sysschedules s ON s.schedule_id = js.schedule_id"
        " JOIN msdb.dbo.sysjobservers t ON t.job_id = j.job_id WHERE j.name = 'Nightly shop'",
    ) == [("Nightly shop", "Shop upkeep", "Night shift", 8, 62, 0, 3)]
    run(server, "EXEC msdb.dbo.sp_start_job N'Nightly shop'")
    wait_for(lambda: outcomes(server, "Nightly shop"))
    assert outcomes(server, "Nightly shop") == [
        (
            1,
            "The job succeeded.  The Job was invoked by User sa.  The last step to run was step 2 (Note).",
        )
    ]
    assert run(server, "SELECT text FROM shop.dbo.notes") == [("Nightly shop step 2",)]
    run(
        server,
        "EXEC msdb.dbo.sp_update_job @job_name = N'Nightly shop', @notify_email_operator_name = N'',"
        " @notify_netsend_operator_name = N'', @category_name = N'', @owner_login_name = N''",
    )
    assert run(
        server,
        "SELECT notify_email_operator_id, SUSER_SNAME(owner_sid), category_id / 100 FROM msdb.dbo.sysjobs"
        " WHERE name = N'Nightly shop'",
    ) == [(0, "sa", 1)]
    with pytest.raises(Exception, match=r"The specified @proxy_name \('p'\) does not exist"):
        run(
            server,
            "EXEC msdb.dbo.sp_add_jobstep @job_name = N'Nightly shop', @step_name = N'x', @proxy_name = N'p'",
        )
    output = (server.backup_directory / "nightly.txt").read_text()
    assert "BACKUP DATABASE successfully processed" in output
    assert "The backup set on file 1 is valid." in output
    with contextlib.closing(server.connect()) as connection:
        cursor = connection.cursor()
        use, script = split_batches(SCRIPT.read_text())
        cursor.execute(use.text)
        with pytest.raises(Exception, match="already exists"):
            run_batch(cursor, script.text)
        cursor.execute("SELECT @@TRANCOUNT")
        assert cursor.fetchall() == [(0,)]


def test_what_help_tells(server: Running) -> None:
    # Not due while the test runs, at whatever time that is.
    add_job(server, "asked", "SELECT 1", freq_type=4, freq_interval=1, active_start_date=20990101)

    def next_run() -> object:
        return run(
            server, "SELECT next_run_date FROM msdb.dbo.sysjobschedules WHERE next_run_date > 0"
        ) and run(server, "EXEC msdb.dbo.sp_help_jobschedule @job_name = N'asked'")

    assert wait_for(next_run)
    (row,) = run(server, "EXEC msdb.dbo.sp_help_job @job_name = N'asked', @job_aspect = 'JOB'")
    assert (row[2], row[21], row[25], row[29]) == ("asked", 5, 4, 1)
    assert len(row) == 32
    run(server, "EXEC msdb.dbo.sp_help_jobactivity")
    assert run(server, "EXEC msdb.dbo.sp_enum_sqlagent_subsystems")[0][:2] == (
        "TSQL",
        "Transact-SQL Subsystem",
    )
    assert run(server, "EXEC msdb.dbo.sp_help_proxy") == []
    with pytest.raises(Exception, match=r"The specified @proxy_name \('p'\) does not exist"):
        run(server, "EXEC msdb.dbo.sp_help_proxy @proxy_name = N'p'")
    run(server, "EXEC msdb.dbo.sp_help_jobhistory @job_name = N'asked', @mode = 'FULL'")


def test_steps_are_renumbered_with_what_leads_to_them(server: Running) -> None:
    run(server, "EXEC msdb.dbo.sp_add_job @job_name = N'steps'")
    for name, more in (
        ("a", "@on_success_action = 4, @on_success_step_id = 3"),
        ("b", "@on_fail_action = 4, @on_fail_step_id = 1"),
        ("c", "@on_fail_action = 4, @on_fail_step_id = 2"),
        ("new", "@step_id = 2"),
    ):
        run(server, f"EXEC msdb.dbo.sp_add_jobstep @job_name = N'steps', @step_name = N'{name}', {more}")
    assert steps_of(server) == [
        (1, "a", 4, 4, 2, 0),
        (2, "new", 1, 0, 2, 0),
        (3, "b", 1, 0, 4, 1),
        (4, "c", 1, 0, 4, 3),
    ]
    run(server, "EXEC msdb.dbo.sp_delete_jobstep @job_name = N'steps', @step_id = 1")
    assert steps_of(server) == [(1, "new", 1, 0, 2, 0), (2, "b", 1, 0, 2, 0), (3, "c", 1, 0, 4, 2)]
    with pytest.raises(Exception, match=r"valid values are: 0 \(all steps\) \.\.3"):
        run(server, "EXEC msdb.dbo.sp_delete_jobstep @job_name = N'steps', @step_id = 4")
    run(server, "EXEC msdb.dbo.sp_delete_jobstep @job_name = N'steps', @step_id = 0")
    assert steps_of(server) == []


def steps_of(server: Running) -> list[tuple[Any, ...]]:
    """Number, name, and where each step of the job leads."""
    rows = run(server, "EXEC msdb.dbo.sp_help_jobstep @job_name = N'steps'")
    return [(row[0], row[1], *row[6:10]) for row in rows]


def test_stopping_a_step_that_runs(server: Running) -> None:
    add_job(server, "long", "WAITFOR DELAY '01:00:00'")
    run(server, "EXEC msdb.dbo.sp_start_job N'long'")
    wait_for(
        lambda: run(
            server,
            "SELECT 1 FROM msdb.dbo.sysjobactivity a JOIN msdb.dbo.sysjobs j ON j.job_id = a.job_id"
            " WHERE j.name = 'long' AND a.last_executed_step_id = 1 AND a.stop_execution_date IS NULL",
        )
    )
    with pytest.raises(Exception, match="refused because the job is already running"):
        run(server, "EXEC msdb.dbo.sp_start_job N'long'")
    run(server, "EXEC msdb.dbo.sp_stop_job N'long'")
    wait_for(lambda: outcomes(server, "long"))
    status, message = outcomes(server, "long")[0]
    assert status == 3
    assert message.startswith("The job was stopped prior to completion by User sa.")
    with pytest.raises(Exception, match="refused because the job is not currently running"):
        run(server, "EXEC msdb.dbo.sp_stop_job N'long'")


def test_managed_backup_is_set_read_back_and_acted_on(server: Running) -> None:
    run(
        server,
        "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 1, @database_name = 'shop',"
        " @container_url = 'managed/{database}', @retention_days = 14;"
        " EXEC msdb.managed_backup.sp_backup_config_schedule @database_name = 'shop',"
        " @scheduling_option = 'Custom', @full_backup_freq_type = 'Weekly',"
        " @days_of_week = 'Monday | Friday', @backup_begin_time = '17:30', @backup_duration = '02:00',"
        " @log_backup_freq = '00:05'",
    )
    assert run(
        server,
        "SELECT db_name, is_managed_backup_enabled, retention_days, storage_url"
        " FROM msdb.managed_backup.fn_backup_db_config('SHOP')",
    ) == [("shop", True, 14, "managed/{database}")]
    assert run(
        server, "SELECT is_smart_backup_enabled FROM msdb.managed_backup.fn_backup_instance_config()"
    ) == [(False,)]
    assert run(
        server,
        "SELECT s.freq_type, s.freq_interval, s.active_start_time FROM msdb.dbo.sysschedules s"
        " WHERE s.name LIKE 'managed backup of shop%' ORDER BY s.freq_type DESC",
    ) == [(8, 2 | 32, 173000), (4, 1, 0)]
    run(
        server,
        "EXEC msdb.managed_backup.sp_backup_on_demand @database_name = 'shop', @type = 'Database'",
    )
    log_backup = "policy managed backup of shop: log backup"
    # Five minutes may be over just now: then it runs already, and ran for nothing before the full backup.
    with contextlib.suppress(pytds.Error):
        run(server, f"EXEC msdb.dbo.sp_start_job N'{log_backup}'")
    wait_for(lambda: any(status == 1 for status, _ in outcomes(server, log_backup)))
    folder = server.backup_directory / "managed" / "shop"
    # The next log backup may have begun: what is not a backup yet has a hidden name.
    names = [path.name for path in folder.iterdir()]
    assert {name[:9] for name in names if name[0] != "."} == {"shop_FULL", "shop_LOG_"}
    with pytest.raises(Exception, match="Provide a valid retention period"):
        run(
            server,
            "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 1, @retention_days = 31",
        )
    run(server, "EXEC msdb.managed_backup.sp_backup_master_switch 0")
    assert run(server, "SELECT COUNT(*) FROM msdb.dbo.sysjobs WHERE name LIKE 'policy managed%'") == [(0,)]
    refused(server, 45208, "sp_backup_on_demand @database_name = 'nope', @type = 'Log'")
    run(server, "EXEC msdb.managed_backup.sp_backup_master_switch 1")
    refused(server, 45207, "sp_backup_on_demand @database_name = 'nope', @type = 'Log'")
    run(server, "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 0, @database_name = 'shop'")


def test_managed_backup_goes_on_when_a_database_is_renamed(server: Running) -> None:
    run(server, "CREATE DATABASE early")
    run(server, "ALTER DATABASE early MODIFY NAME = former")
    run(
        server,
        "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 1, @database_name = 'former',"
        " @container_url = 'managed/{database}', @retention_days = 14",
    )
    run(server, "ALTER DATABASE former MODIFY NAME = [later*]")
    assert run(
        server,
        "SELECT db_name, is_managed_backup_enabled, retention_days"
        " FROM msdb.managed_backup.fn_backup_db_config(NULL) WHERE db_name IN ('former', 'later*')",
    ) == [("later*", True, 14)]
    jobs = "SELECT DISTINCT LEFT(name, 31) FROM msdb.dbo.sysjobs WHERE name LIKE 'policy managed%'"
    assert run(server, jobs) == [("policy managed backup of later*",)]
    run(server, "EXEC msdb.managed_backup.sp_backup_on_demand @database_name = 'later*', @type = 'Database'")
    assert run(server, "SELECT database_name FROM msdb.dbo.backupset WHERE name LIKE '%later*%'") == [
        ("later*",)
    ]
    run(
        server,
        "EXEC msdb.managed_backup.sp_backup_config_basic @enable_backup = 0, @database_name = 'later*'",
    )
    run(server, "DROP DATABASE [later*]")


def refused(server: Running, number: int, call: str) -> None:
    with pytest.raises(pytds.Error) as raised:
        run(server, f"EXEC msdb.managed_backup.{call}")
    assert raised.value.number == number


@pytest.mark.parametrize(
    ("number", "call"),
    [
        (45203, "sp_backup_master_switch NULL"),
        (45204, "sp_set_parameter N'SSMBackup2WADebugXevent', N''"),
        (45205, "sp_backup_config_basic @database_name = 'shop'"),
        (45206, "sp_backup_on_demand 'shop', 'Everything'"),
        (45212, "sp_backup_config_basic @credential_name = 'c', @enable_backup = 1"),
        (45212, "sp_backup_config_advanced @encryption_algorithm = 'ROT_13'"),
        (45212, "sp_set_parameter N'Other', N'true'"),
        (45212, "sp_set_parameter N'SSMBackup2WADebugXevent', N'perhaps'"),
        (45212, "sp_set_parameter N'SSMBackup2WANotificationEmailIds', N'nobody'"),
        (45213, "sp_backup_config_schedule 'shop', 'Custom', 'Daily', NULL, '17:00'"),
        (45214, "sp_backup_config_schedule 'shop', 'Custom', 'Weekly', NULL, '17:00', '02:00', '00:05'"),
        (45215, "sp_backup_config_advanced @local_cache_path = 'C:\\x'"),
        (45216, "sp_backup_config_schedule 'shop', 'System', 'Daily'"),
        (45217, "sp_backup_config_advanced 'shop', 'NO_ENCRYPTION', 'CERTIFICATE', 'c'"),
        (45218, "sp_backup_config_advanced 'shop', 'AES_256'"),
        (45219, "sp_backup_config_schedule 'shop', 'Custom', 'Daily', 'Monday', '17:00', '02:00', '00:05'"),
    ],
)
def test_what_managed_backup_refuses(server: Running, number: int, call: str) -> None:
    refused(server, number, call)


def test_parameters_of_managed_backup(server: Running) -> None:
    run(
        server,
        "EXEC msdb.managed_backup.sp_set_parameter N'FileRetentionDebugXevent', N'True';"
        " EXEC msdb.managed_backup.sp_set_parameter N'SSMBackup2WANotificationEmailIds', N'a@b.c; d@e.f'",
    )
    assert run(server, "SELECT * FROM msdb.managed_backup.fn_get_parameter(N'fileretentionDebugXevent')") == [
        ("FileRetentionDebugXevent", "true")
    ]
    names = {row[0] for row in run(server, "SELECT * FROM msdb.managed_backup.fn_get_parameter(NULL)")}
    assert names >= {"FileRetentionDebugXevent", "SSMBackup2WANotificationEmailIds"}
    settings = run(server, "SELECT * FROM msdb.managed_backup.fn_get_current_xevent_settings()")
    assert ("FileRetentionDebugXevent", "true", "true") in settings
    assert ("StorageOperationDebugXevent", "true", "false") in settings
    assert ("SSMBackup2WAAdminXevent", "false", "true") in settings
    assert run(
        server,
        "DECLARE @text nvarchar(max); EXEC msdb.managed_backup.sp_get_encryption_option"
        " 'AES_128', 1, N'a]b', @text OUTPUT; SELECT @text",
    ) == [("ENCRYPTION (ALGORITHM = AES_128, SERVER ASYMMETRIC KEY = [a]]b])",)]


def test_the_commands_of_a_shell(server: Running) -> None:
    add_job(server, "shelled", "BACKUP DATABASE shop TO DISK = N'shelled.bak' WITH INIT")
    assert "The job succeeded.  The Job was invoked by User sa." in tdsproxy(server, "run", "shelled")
    listed = json.loads(tdsproxy(server, "jobs", "--json"))["jobs"]
    (found,) = [job for job in listed if job["name"] == "shelled"]
    assert (found["last_outcome"], found["doing"], found["next_run"]) == ("succeeded", "", None)
    rows = json.loads(tdsproxy(server, "history", "shelled", "--json"))["history"]
    assert [(row["step"], row["status"]) for row in rows] == [("0", "1"), ("1", "1")]


def tdsproxy(server: Running, *words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tdsproxy", "agent", *words, "--store", str(server.store)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_jobs_go_on_when_the_listener_is_killed(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        run(server, "CREATE DATABASE shop")
        add_job(
            server,
            "often",
            "BACKUP DATABASE shop TO DISK = N'often.bak' WITH INIT",
            freq_type=4,
            freq_interval=1,
            freq_subday_type=2,
            freq_subday_interval=10,
        )
        medium = server.backup_directory / "often.bak"
        wait_for(medium.exists)
        keeper = keeper_of(server)
        server.process.kill()
        server.process.wait(LIMIT)
        for _ in range(2):  # one run may have been going on when the listener died; each makes a file anew
            before = medium.stat().st_ino
            wait_for(lambda before=before: medium.stat().st_ino != before)
        assert keeper_of(server) == keeper
    with running(tmp_path / "data") as server:
        assert all(row[0] == 1 for row in outcomes(server, "often"))
        assert keeper_of(server) == keeper
    wait_for(lambda: not _alive(keeper))


@pytest.mark.slow
def test_a_run_that_the_kill_of_the_keeper_cut_off(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        run(server, "CREATE DATABASE shop")
        # the agent begins a little after the server: what it finds then would run at once
        wait_for(lambda: run(server, "SELECT 1 FROM msdb.dbo.syssessions"))
        add_job(server, "long", "WAITFOR DELAY '01:00:00'", freq_type=64)
        run(server, "EXEC msdb.dbo.sp_start_job N'long'")
        wait_for(lambda: run(server, "SELECT 1 FROM msdb.dbo.sysjobactivity WHERE last_executed_step_id = 1"))
        os.kill(keeper_of(server), signal.SIGKILL)
        # the listener comes back by itself, and with it the agent: what was cut off is shown as ended
        wait_for(lambda: outcomes(server, "long"))
        assert outcomes(server, "long")[0] == (
            3,
            "The job was stopped prior to completion by Shutdown Sequence 0."
            "  The last step to run was step 1 (only).",
        )
        # and what runs when the agent starts runs again
        wait_for(
            lambda: run(
                server,
                "SELECT 1 FROM msdb.dbo.sysjobactivity WHERE run_requested_source = '3'"
                " AND last_executed_step_id = 1",
            )
        )
        keeper = keeper_of(server)
    # The job runs when the last server goes: it gets its time of grace, then the keeper ends.
    wait_for(lambda: not Path(f"/proc/{keeper}").exists())


@pytest.mark.slow
def test_a_job_each_ten_seconds(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        run(server, "CREATE DATABASE shop")
        run(server, "CREATE TABLE shop.dbo.ran(at datetime2 DEFAULT SYSDATETIME())")
        add_job(
            server,
            "ten",
            "INSERT dbo.ran DEFAULT VALUES",
            freq_type=4,
            freq_interval=1,
            freq_subday_type=2,
            freq_subday_interval=10,
        )
        wait_for(lambda: len(outcomes(server, "ten")) >= 3)
        done = outcomes(server, "ten")
        assert all(status == 1 for status, _ in done)
        starts = [
            dt.datetime.strptime(f"{date} {time:06d}", "%Y%m%d %H%M%S")
            for date, time in run(
                server,
                "SELECT run_date, run_time FROM msdb.dbo.sysjobhistory WHERE step_id = 0"
                " ORDER BY instance_id",
            )
        ]
        # One that came late may be followed by the next within less than ten seconds.
        assert len(starts) <= math.ceil((starts[-1] - starts[0]).total_seconds() / 10) + 1, "no run twice"
        assert run(server, "SELECT COUNT(*) FROM shop.dbo.ran")[0][0] >= 3


def _alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False

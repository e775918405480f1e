"""Alerts of a running server: what raises them runs their jobs and writes to their operators."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.agent.settings import write_settings
from tests.agent.receiver import mail_server
from tests.running import Running, running

pytestmark = pytest.mark.slow
_LIMIT = 120.0


@dataclass
class World:
    server: Running
    mails: list[str]

    def sql(self, text: str, *, fails: bool = False) -> list[tuple[Any, ...]]:
        with self.server.connect() as connection:
            cursor = connection.cursor()
            try:
                cursor.execute(text)
                found = cursor.fetchall() if cursor.description else []
                while cursor.nextset():
                    found = cursor.fetchall() if cursor.description else found
            except Exception:
                if not fails:
                    raise
                return []
            assert not fails
            return [tuple(row) for row in found]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("alerts")
    with mail_server() as (port, mails), running(directory) as server:
        mail = {"host": "127.0.0.1", "port": port, "to": ["dba@x"], "sender": "db@x"}
        write_settings(server.store, {"notices": {"mail": mail}})
        yield World(server, mails)


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_failed_backup_raises_the_alerts_of_its_number(world: World) -> None:
    world.sql(
        "CREATE DATABASE shop; CREATE DATABASE other;"
        " EXEC msdb.dbo.sp_add_operator 'op', @email_address = 'op@x';"
        " EXEC msdb.dbo.sp_add_job 'mend'; EXEC msdb.dbo.sp_add_jobstep @job_name = 'mend',"
        " @step_name = 'one', @command = 'PRINT 1'; EXEC msdb.dbo.sp_add_jobserver @job_name = 'mend';"
        " EXEC msdb.dbo.sp_add_alert 'failed', @message_id = 3041, @database_name = 'shop',"
        " @job_name = 'mend', @delay_between_responses = 3600, @notification_message = 'Look';"
        " EXEC msdb.dbo.sp_add_notification 'failed', 'op', 1;"
        " EXEC msdb.dbo.sp_add_alert 'off', @message_id = 3041, @enabled = 0;"
        " EXEC msdb.dbo.sp_add_alert 'by severity', @severity = 16"
    )
    world.sql("BACKUP DATABASE other TO DISK = '/nowhere/allowed/o.bak'", fails=True)
    count = "SELECT name, occurrence_count FROM msdb.dbo.sysalerts ORDER BY name"
    _until(lambda: ("by severity", 1) in world.sql(count))
    assert world.sql(count) == [("by severity", 1), ("failed", 0), ("off", 0)]
    for times in (1, 2):
        world.sql("BACKUP DATABASE shop TO DISK = '/nowhere/allowed/s.bak'", fails=True)
        _until(lambda times=times: ("failed", times) in world.sql(count))  # type: ignore[misc]
    ran = (
        "SELECT h.message FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id"
        " WHERE j.name = 'mend' AND h.step_id = 0"
    )
    _until(lambda: bool(world.sql(ran)))
    assert [row[0].split("  ")[1] for row in world.sql(ran)] == ["The Job was invoked by Alert 1 (failed)."]
    _until(lambda: any("'failed' occurred" in text for text in world.mails))
    mails = [text for text in world.mails if "'failed' occurred" in text]
    assert len(mails) == 1
    assert "To: op@x" in mails[0]
    assert "COMMENT:\tLook" in mails[0].replace("\r\n", "\n")
    assert world.sql("SELECT COUNT(*) FROM msdb.dbo.sysalerts WHERE last_response_date > 0") == [(2,)]


def test_a_backup_raises_the_alert_of_its_message(world: World) -> None:
    world.sql("CREATE DATABASE kept; EXEC msdb.dbo.sp_add_alert 'done', @message_id = 18264")
    world.sql("BACKUP DATABASE kept TO DISK = 'kept.bak'")
    _until(lambda: world.sql("SELECT occurrence_count FROM msdb.dbo.sysalerts WHERE name = 'done'") == [(1,)])


def test_what_nothing_can_raise_is_refused(world: World) -> None:
    world.sql("EXEC msdb.dbo.sp_add_alert 'p', @performance_condition = N'a|b||>|1'", fails=True)
    world.sql("EXEC msdb.dbo.sp_add_alert 'w', @wmi_namespace = N'x', @wmi_query = N'y'", fails=True)
    assert world.sql("SELECT COUNT(*) FROM msdb.dbo.sysalerts WHERE name IN ('p', 'w')") == [(0,)]


def test_errors_of_statements_raise_alerts_when_they_are_logged(world: World) -> None:
    world.sql(
        "EXEC sp_addmessage 50010, 16, 'of a user', @with_log = 'true';"
        " EXEC sp_addmessage 50011, 16, 'plain';"
        " EXEC sp_altermessage 8134, 'WITH_LOG', 'true';"
        " EXEC msdb.dbo.sp_add_alert 'marked', @message_id = 50010;"
        " EXEC msdb.dbo.sp_add_alert 'plain', @message_id = 50011;"
        " EXEC msdb.dbo.sp_add_alert 'zero', @message_id = 8134;"
        " EXEC msdb.dbo.sp_add_alert 'severe', @severity = 19;"
        " EXEC msdb.dbo.sp_add_alert 'words', @severity = 14, @event_description_keyword = 'lamp'"
    )
    world.sql("RAISERROR (50011, 16, 1)", fails=True)
    world.sql("SELECT 1 / 0", fails=True)
    world.sql("BEGIN TRY RAISERROR (50010, 16, 1) END TRY BEGIN CATCH END CATCH")
    world.sql("RAISERROR ('the lamp', 14, 1)", fails=True)
    world.sql("RAISERROR ('a lamp', 14, 1) WITH LOG", fails=True)
    world.sql("RAISERROR ('a fan', 14, 1) WITH LOG", fails=True)
    # Within a transaction that holds what alerts are written to: they are raised when it has ended.
    world.sql(
        "BEGIN TRANSACTION; UPDATE msdb.dbo.sysalerts SET enabled = enabled;"
        " RAISERROR ('%d%% is much', 19, 1, 99) WITH LOG; COMMIT",
        fails=True,
    )
    counts = (
        "SELECT name, occurrence_count FROM msdb.dbo.sysalerts"
        " WHERE name IN ('marked', 'plain', 'zero', 'severe', 'words') ORDER BY name"
    )
    _until(lambda: ("severe", 1) in world.sql(counts))
    expected = [("marked", 1), ("plain", 0), ("severe", 1), ("words", 1), ("zero", 1)]
    assert world.sql(counts) == expected
    log = (world.server.store / "errorlog").read_text()
    assert "Error: 50010, Severity: 16, State: 1." in log
    assert "99% is much" in log
    assert "the lamp" not in log

"""Backups and restores while they run: what the views show of them, and how they are stopped.

The server is slow here at a named place (``TDSPROXY_SLOW_AT``), so that a statement runs as long as a test
needs.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytds
import pytest

from tdsproxy.keeper.options import KeeperOptions
from tdsproxy.keeper.start import connect_sync
from tests.clients.dbapi import CLIENTS
from tests.running import Running, running

LIMIT = 120.0
ROWS = 2000
"""Of a page each: many runs of pages, each of which is slow."""
MANY_RUNS = "MAXTRANSFERSIZE = 65536"
"""More than a hundred of them, so that no backup ends before it is stopped."""


@dataclass
class Statement:
    """One that runs in a session of its own."""

    server: Running
    text: str
    spid: int = 0
    errors: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.connection = self.server.connect()
        with self.connection.cursor() as cursor:
            cursor.execute("SELECT @@SPID")
            self.spid = cursor.fetchone()[0]
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            with self.connection.cursor() as cursor:
                cursor.execute(self.text)
                while cursor.nextset():
                    continue
        except (pytds.Error, OSError) as error:
            self.errors.append(str(error))

    def ended(self) -> bool:
        self.thread.join(LIMIT)
        with contextlib.suppress(pytds.Error, OSError):
            self.connection.close()
        return not self.thread.is_alive()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("running")
    with running(place / "store", env={"TDSPROXY_SLOW_AT": "backup.run-written=0.4"}) as found:
        ask(found, "CREATE DATABASE a")
        ask(found, "CREATE TABLE a.dbo.t (i int, x char(4000))")
        many = "sys.all_columns CROSS JOIN (VALUES (1), (2)) v (n)"
        rows = f"SELECT TOP {ROWS} 1, REPLICATE('x', 4000) FROM {many}"
        ask(found, f"INSERT a.dbo.t {rows}")
        ask(found, "CREATE DATABASE b")
        yield found


def ask(server: Running, text: str) -> list[tuple[Any, ...]]:
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute(text)
        rows = list(cursor.fetchall()) if cursor.description else []
        while cursor.nextset():
            continue
        return rows


def number_of(server: Running, text: str) -> int:
    """The number of the last error of ``text``; 0 for none."""
    try:
        ask(server, text)
    except pytds.Error as error:
        return int(getattr(error, "number", -1))
    return 0


REQUEST = (
    "SELECT command, percent_complete, estimated_completion_time, total_elapsed_time"
    " FROM sys.dm_exec_requests WHERE session_id = {}"
)


def seen(server: Running, statement: Statement, *, beyond: float = 0.0) -> tuple[Any, ...]:
    """The statement's row in sys.dm_exec_requests once it is so far."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        rows = ask(server, REQUEST.format(statement.spid))
        if rows and rows[0][0].startswith("BACKUP") and rows[0][1] > beyond:
            return rows[0]
        assert statement.thread.is_alive(), statement.errors
    raise AssertionError("the statement was never seen")


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def files(server: Running) -> list[Path]:
    return sorted(server.backup_directory.iterdir())


def test_progress_is_shown_and_kill_leaves_nothing(server: Running) -> None:
    before = files(server)
    statement = Statement(server, f"BACKUP DATABASE a TO DISK = 'killed.bak' WITH INIT, {MANY_RUNS}")
    command, percent, left, elapsed = seen(server, statement)
    assert command == "BACKUP DATABASE"
    assert 0 < percent <= 100
    assert left > 0 or percent == 100
    assert elapsed > 0
    (who,) = ask(server, f"SELECT cmd FROM sys.sysprocesses WHERE spid = {statement.spid}")
    assert who[0].strip() == "BACKUP DATABASE"
    # Another backup of the database must wait its turn, and SQL Server refuses; other databases need not.
    assert number_of(server, "BACKUP DATABASE a TO DISK = 'second.bak'") == 3013
    ask(server, "BACKUP DATABASE b TO DISK = 'b.bak' WITH INIT")
    assert statement.thread.is_alive()
    assert number_of(server, f"KILL {statement.spid}") == 0
    assert statement.ended()
    assert len(statement.errors) == 1
    assert [file for file in files(server) if file not in before and file.name != "b.bak"] == []
    assert ask(server, "SELECT COUNT(*) FROM msdb.dbo.backupset WHERE database_name = 'a'") == [(0,)]
    assert ask(server, "SELECT COUNT(*) FROM a.dbo.t") == [(ROWS,)]


@pytest.mark.slow
def test_kill_leaves_stripes_and_mirrors_as_they_were(server: Running) -> None:
    media = "DISK = 's1.bak', DISK = 's2.bak' MIRROR TO DISK = 't1.bak', DISK = 't2.bak'"
    before = files(server)
    statement = Statement(server, f"BACKUP DATABASE a TO {media} WITH FORMAT, {MANY_RUNS}")
    seen(server, statement)
    assert number_of(server, f"KILL {statement.spid}") == 0
    assert statement.ended()
    assert files(server) == before
    ask(server, f"BACKUP DATABASE b TO {media} WITH FORMAT")
    contents = {file: file.read_bytes() for file in files(server)}
    for options in ("NOINIT", "INIT", "FORMAT"):
        statement = Statement(server, f"BACKUP DATABASE a TO {media} WITH {options}, {MANY_RUNS}")
        seen(server, statement)
        assert number_of(server, f"KILL {statement.spid}") == 0
        assert statement.ended()
        assert {file: file.read_bytes() for file in files(server)} == contents
    assert ask(server, "SELECT COUNT(*) FROM msdb.dbo.backupset WHERE database_name = 'a'") == [(0,)]
    assert number_of(server, "RESTORE VERIFYONLY FROM DISK = 't1.bak', DISK = 's2.bak'") == 0


def test_a_database_taken_offline_ends_its_backup(server: Running) -> None:
    statement = Statement(server, f"BACKUP DATABASE a TO DISK = 'offline.bak' WITH INIT, {MANY_RUNS}")
    seen(server, statement)
    assert number_of(server, "ALTER DATABASE a SET OFFLINE WITH NO_WAIT") == 5069
    ask(server, "ALTER DATABASE a SET OFFLINE WITH ROLLBACK IMMEDIATE")
    assert statement.ended()
    assert statement.errors
    assert not (server.backup_directory / "offline.bak").exists()
    ask(server, "ALTER DATABASE a SET ONLINE")
    assert ask(server, "SELECT COUNT(*) FROM a.dbo.t") == [(ROWS,)]


def test_a_cursor_of_pyodbc_that_is_closed_early_leaves_no_backup(server: Running) -> None:
    """Microsoft's driver cancels a BACKUP whose results nobody has read: SQL Server's users know it."""
    client = next(item for item in CLIENTS if item.name == "msodbcsql18")
    with client.connect(server) as connection:
        cursor = connection.cursor()
        cursor.execute("BACKUP DATABASE b TO DISK = N'early.bak' WITH INIT")
        client.drain(cursor)
        for medium in ("early.bak", "early2.bak"):
            cursor.execute(f"BACKUP DATABASE a TO DISK = N'{medium}' WITH NOINIT, STATS = 1, {MANY_RUNS}")
            cursor.close()
            cursor = connection.cursor()
        cursor.execute("RESTORE HEADERONLY FROM DISK = N'early.bak'")
        assert [row.Position for row in cursor.fetchall()] == [1]
        client.drain(cursor)
    assert not (server.backup_directory / "early2.bak").exists()


def test_kill_is_refused(server: Running) -> None:
    assert number_of(server, "KILL 0") == 6101
    assert number_of(server, "KILL 7") == 6107
    assert number_of(server, "KILL 3000") == 6106
    assert number_of(server, "DECLARE @k varchar(20) = CONCAT('KILL ', @@SPID); EXEC(@k)") == 6104
    with server.connect() as other, other.cursor() as cursor:
        cursor.execute("SELECT @@SPID")
        spid = cursor.fetchone()[0]
        assert number_of(server, f"KILL {spid} WITH STATUSONLY") == 6120
        assert number_of(server, f"BEGIN TRAN; KILL {spid}") == 6115


@pytest.mark.slow
def test_a_session_of_another_process_is_killed(server: Running) -> None:
    """``server`` beside ``serve``: the keeper knows the sessions of both."""
    with running(server.store, command="server") as other:
        statement = Statement(other, f"BACKUP DATABASE a TO DISK = 'elsewhere.bak' WITH INIT, {MANY_RUNS}")
        seen(other, statement)
        assert number_of(server, f"KILL {statement.spid} WITH STATUSONLY") == 6120
        assert number_of(server, f"KILL {statement.spid}") == 0
        assert statement.ended()
        assert len(statement.errors) == 1
        with other.connect() as idle, idle.cursor() as cursor:
            cursor.execute("SELECT @@SPID")
            spid = cursor.fetchone()[0]
            assert number_of(server, f"KILL {spid}") == 0
            # The other process is told, and ends it when it comes to that.
            until(lambda: number_of(server, f"KILL {spid}") == 6106)
            with pytest.raises((pytds.Error, OSError)):
                cursor.execute("SELECT 1")
        assert number_of(other, "SELECT 1") == 0
    assert not (server.backup_directory / "elsewhere.bak").exists()


@pytest.mark.slow
def test_a_backup_from_the_shell_is_killed(server: Running) -> None:
    words = [sys.executable, "-m", "tdsproxy", "backup", "a", "shell.bak", "--max-rate", "100K"]
    words += ["--store", str(server.store)]
    with contextlib.closing(connect_sync(KeeperOptions(server.store))) as keeper:
        shell = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
        spids: list[int] = []
        deadline = time.monotonic() + LIMIT
        while not spids and time.monotonic() < deadline:
            spids = [found.spid for found in keeper.running() if found.command == "BACKUP DATABASE"]
            assert spids or shell.poll() is None
            time.sleep(0.02)
        assert spids
        assert number_of(server, f"KILL {spids[0]}") == 0
        _, errors = shell.communicate(timeout=LIMIT)
    assert shell.returncode == 1
    assert "The session was killed." in errors
    assert not (server.backup_directory / "shell.bak").exists()

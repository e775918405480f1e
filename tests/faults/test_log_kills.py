"""Keepers that die under load: what was acknowledged is in a restore to now, and no gap goes unsaid."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.keeper.address import LOCK_NAME
from tests.running import Running, start

MOVE = "MOVE N'x' TO N'/var/opt/mssql/data/y.mdf', MOVE N'x_log' TO N'/var/opt/mssql/data/y.ldf'"


class Writer(threading.Thread):
    """Inserts numbers until it is stopped; ``acknowledged`` is the last one that the server confirmed."""

    def __init__(self, server: Running) -> None:
        super().__init__(name="writer", daemon=True)
        self.acknowledged = 0
        self.stopped = threading.Event()
        self._connection = server.connect(database="x")

    def run(self) -> None:
        cursor = self._connection.cursor()
        while not self.stopped.is_set():
            cursor.execute(f"INSERT INTO dbo.t VALUES ({self.acknowledged + 1})")
            self.acknowledged += 1
        self._connection.close()

    def reaches(self, count: int, seconds: float = 120.0) -> None:
        deadline = time.monotonic() + seconds
        while self.acknowledged < count:
            assert self.is_alive()
            assert time.monotonic() < deadline, f"only {self.acknowledged} rows were written"
            time.sleep(0.002)

    def stop(self) -> int:
        self.stopped.set()
        self.join(120)
        assert not self.is_alive()
        return self.acknowledged


def run(connection: Any, text: str) -> list[tuple[Any, ...]]:
    cursor = connection.cursor()
    cursor.execute(text)
    rows: list[tuple[Any, ...]] = []
    while True:
        if cursor.description:
            rows = [tuple(row) for row in cursor.fetchall()]
        if not cursor.nextset():
            return rows


def keeper_of(store: Path) -> int:
    pid = int((store / LOCK_NAME).read_text())
    assert pid > 0
    return pid


@pytest.mark.slow
def test_keepers_killed_under_load_lose_no_commit(tmp_path: Path) -> None:
    server = start(tmp_path / "store")
    try:
        with server.connect() as connection:
            run(connection, "CREATE DATABASE x")
            run(connection, "CREATE TABLE x.dbo.t (n int PRIMARY KEY)")
            run(connection, "BACKUP DATABASE x TO DISK = 'x.bak'")
            writer = Writer(server)
            writer.start()
            for kills in range(1, 4):
                writer.reaches(writer.acknowledged + 100)
                killed = keeper_of(server.store)
                os.kill(killed, signal.SIGKILL)
                writer.reaches(writer.acknowledged + 100)
                run(connection, f"BACKUP LOG x TO DISK = 'x{kills}.trn' WITH INIT")
                assert keeper_of(server.store) != killed
            written = writer.stop()
            stop = run(connection, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            run(connection, f"RESTORE DATABASE y FROM DISK = 'x.bak' WITH {MOVE}, STOPAT = '{stop}'")
            assert run(connection, "SELECT COUNT(*), MAX(n) FROM y.dbo.t") == [(written, written)]
            for number in range(1, 4):
                how = "RECOVERY" if number == 3 else "NORECOVERY"
                if number == 1:
                    run(
                        connection, f"RESTORE DATABASE y FROM DISK = 'x.bak' WITH {MOVE}, NORECOVERY, REPLACE"
                    )
                run(connection, f"RESTORE LOG y FROM DISK = 'x{number}.trn' WITH {how}")
            count, last = run(connection, "SELECT COUNT(*), MAX(n) FROM y.dbo.t")[0]
            assert count == last >= 600
    finally:
        server.stop()


def test_a_database_lost_under_load_comes_back_from_backup_and_archive(tmp_path: Path) -> None:
    server = start(tmp_path / "store", "--capture", "sync")
    # The connection that is open dies with its server.
    with contextlib.suppress(OSError), server.connect() as connection:
        run(connection, "CREATE DATABASE x")
        run(connection, "CREATE TABLE x.dbo.t (n int PRIMARY KEY)")
        run(connection, "BACKUP DATABASE x TO DISK = 'x.bak'")
        writer = Writer(server)
        writer.start()
        writer.reaches(200)
        # Stopped first: it could have another keeper before it is killed.
        server.process.send_signal(signal.SIGSTOP)
        os.kill(keeper_of(server.store), signal.SIGKILL)
        server.process.kill()
        server.process.wait(60)
    writer.join(60)
    acknowledged = writer.acknowledged
    for suffix in ("", "-wal", "-shm"):
        (server.store / f"x.db{suffix}").unlink(missing_ok=True)
    again = start(server.store)
    try:
        with again.connect() as connection:
            stop = run(connection, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            run(connection, f"RESTORE DATABASE x FROM DISK = 'x.bak' WITH REPLACE, STOPAT = '{stop}'")
            count, last = run(connection, "SELECT COUNT(*), MAX(n) FROM x.dbo.t")[0]
            assert count == last
            # One more may have been committed, and its acknowledgement lost.
            assert count in (acknowledged, acknowledged + 1)
    finally:
        again.stop()


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A writer whose server is killed ends by an exception that is no news."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)

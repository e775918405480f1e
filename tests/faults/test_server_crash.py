"""SIGKILL of the serving process amid commits: what was acknowledged is there, and nothing is half done."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

import pytds
import pytest

from tests.running import Running, running, start

SESSIONS = 4
AMOUNT = 100


def _execute(connection: object, sql: str) -> list[tuple[object, ...]]:
    cursor = connection.cursor()  # type: ignore[attr-defined]
    cursor.execute(sql)
    found: list[tuple[object, ...]] = []
    while True:
        if cursor.description:
            found += [tuple(row) for row in cursor.fetchall()]
        if not cursor.nextset():
            return found


def _prepare(server: Running) -> None:
    with server.connect() as connection:
        _execute(connection, "CREATE DATABASE bank")
        _execute(
            connection,
            "CREATE TABLE bank.dbo.account (id int PRIMARY KEY, balance int NOT NULL);"
            f" INSERT bank.dbo.account VALUES (0, {AMOUNT}), (1, {AMOUNT}), (2, {AMOUNT});"
            " CREATE TABLE bank.dbo.entry (session int, n int, part int, PRIMARY KEY (session, n, part));"
            " CREATE TABLE bank.dbo.single (id int IDENTITY PRIMARY KEY, session int, n int)",
        )


class Writer(threading.Thread):
    """Commits until the server is gone; remembers what was acknowledged and how far it had got."""

    def __init__(self, server: Running, session: int, enough: threading.Semaphore) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.acknowledged = 0
        self.begun = 0
        self.singles: list[int] = []
        self.failure: BaseException | None = None
        self._server = server
        self._enough = enough

    def run(self) -> None:
        with contextlib.suppress(OSError, EOFError, pytds.Error):
            connection = self._server.connect(database="bank")
            while True:
                n = self.begun = self.acknowledged + 1
                source, target = n % 3, (n + self.session + 1) % 3
                _execute(
                    connection,
                    "SET XACT_ABORT ON; BEGIN TRAN;"
                    f" INSERT entry VALUES ({self.session}, {n}, 1);"
                    f" UPDATE account SET balance = balance - 1 WHERE id = {source};"
                    f" UPDATE account SET balance = balance + 1 WHERE id = {target};"
                    f" INSERT entry VALUES ({self.session}, {n}, 2); COMMIT",
                )
                self.acknowledged = n
                made = _execute(
                    connection,
                    f"INSERT single OUTPUT inserted.id VALUES ({self.session}, {n})",
                )
                self.singles.append(int(str(made[0][0])))
                self._enough.release()


def _integrity(path: Path) -> str:
    connection = sqlite3.connect(path, timeout=60)
    try:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
    finally:
        connection.close()


@pytest.mark.parametrize("commits", [5, pytest.param(60, marks=pytest.mark.slow)])
def test_every_acknowledged_commit_survives_a_kill(tmp_path: Path, commits: int) -> None:
    store = tmp_path / "store"
    server = start(store)
    try:
        _prepare(server)
        enough = threading.Semaphore(0)
        writers = [Writer(server, session, enough) for session in range(SESSIONS)]
        for writer in writers:
            writer.start()
        for _ in range(commits):
            assert enough.acquire(timeout=120)
    finally:
        server.process.kill()
        server.process.wait(60)
    for writer in writers:
        writer.join(60)
        assert not writer.is_alive()
    with running(store) as again, again.connect(database="bank") as connection:
        entries = _execute(connection, "SELECT session, n, COUNT(*) FROM entry GROUP BY session, n")
        there = {(session, n) for session, n, _ in entries}
        assert all(parts == 2 for _, _, parts in entries)
        for writer in writers:
            expected = {(writer.session, n) for n in range(1, writer.acknowledged + 1)}
            mine = {pair for pair in there if pair[0] == writer.session}
            assert expected <= mine <= expected | {(writer.session, writer.begun)}
        singles = [int(str(row[0])) for row in _execute(connection, "SELECT id FROM single")]
        given = [number for writer in writers for number in writer.singles]
        assert len(set(given)) == len(given)
        assert set(given) <= set(singles)
        assert len(singles) <= len(given) + SESSIONS
        assert _execute(connection, "SELECT SUM(balance) FROM account") == [(3 * AMOUNT,)]
        made = _execute(connection, "INSERT single OUTPUT inserted.id VALUES (9, 9)")
        assert int(str(made[0][0])) > max(singles)
    assert _integrity(store / "bank.db") == "ok"


def test_a_rebuild_that_a_kill_interrupts_did_not_happen(tmp_path: Path) -> None:
    store = tmp_path / "store"
    server = start(store)
    try:
        with server.connect() as connection:
            _execute(connection, "CREATE DATABASE big")
            _execute(
                connection,
                "USE big; CREATE TABLE t (id int PRIMARY KEY, v varchar(50)); INSERT t VALUES (1, 'a')"
                + "; INSERT t SELECT id + (SELECT MAX(id) FROM t), 'b' FROM t" * 10,
            )
            _execute(
                connection, "BEGIN TRAN; ALTER TABLE t ADD w int NOT NULL DEFAULT 5; DELETE t WHERE id > 9"
            )
    finally:
        server.process.kill()
        server.process.wait(60)
    with running(store) as again, again.connect(database="big") as connection:
        assert _execute(connection, "SELECT COUNT(*), MAX(id) FROM t") == [(1024, 1024)]
        names = _execute(connection, "SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('t')")
        assert {row[0] for row in names} == {"id", "v"}
        _execute(connection, "ALTER TABLE t ADD w int NOT NULL DEFAULT 5")
        assert _execute(connection, "SELECT SUM(w) FROM t") == [(5 * 1024,)]
    assert _integrity(store / "big.db") == "ok"


def test_a_client_that_vanishes_gives_up_its_locks(tmp_path: Path) -> None:
    with running(tmp_path / "store") as server:
        _prepare(server)
        gone = server.connect(database="bank", autocommit=False)
        gone.cursor().execute("UPDATE account SET balance = 0")
        done = threading.Event()

        def write() -> None:
            with server.connect(database="bank") as connection:
                _execute(connection, "UPDATE account SET balance = balance + 1 WHERE id = 0")
                done.set()

        writer = threading.Thread(target=write, daemon=True)
        writer.start()
        gone.close()
        assert done.wait(60)
        writer.join(60)
        with server.connect(database="bank") as connection:
            assert _execute(connection, "SELECT SUM(balance) FROM account") == [(3 * AMOUNT + 1,)]

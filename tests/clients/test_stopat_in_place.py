"""An accident taken back in place, while another process has the database open and reads it all the time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, running

ROWS = 3000
OBSERVE = """
import json, select, sqlite3, sys
handle = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
seen = []
print("ready", flush=True)
while True:
    asked = select.select([sys.stdin], [], [], 0)[0]
    # In one transaction: what each of these reads is one state of the database, or there is no such thing.
    handle.execute("BEGIN")
    kinds = handle.execute("SELECT v, COUNT(*) FROM t GROUP BY v ORDER BY v").fetchall()
    total = handle.execute("SELECT COUNT(*), SUM(n) FROM t").fetchone()
    handle.execute("COMMIT")
    state = [dict(kinds), total]
    if not seen or seen[-1] != state:
        seen.append(state)
    if asked:
        if not sys.stdin.readline():
            break
        print(json.dumps([seen, handle.execute("PRAGMA integrity_check").fetchone()[0]]), flush=True)
        seen = seen[-1:]
"""


class Observer:
    """Another process with the database open; what it saw since it was asked last."""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", OBSERVE, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def saw(self) -> list[dict[str, int]]:
        """The states, one after the other: how many rows have which value. Each must be whole."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        seen, integrity = json.loads(self._line())
        assert integrity == "ok"
        for kinds, (count, total) in seen:
            assert sum(kinds.values()) == count
            assert total == count * (count + 1) // 2
        return [kinds for kinds, _ in seen]

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("in_place") / "store") as made:
        yield made


def run(connection: Any, text: str) -> list[str]:
    """What the batch said."""
    cursor = connection.cursor()
    cursor.execute(text)
    while cursor.nextset():
        continue
    return [str(error.args[0]) for _, error in cursor.messages]


def now(connection: Any) -> str:
    cursor = connection.cursor()
    cursor.execute("SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
    return str(cursor.fetchone()[0])


def make(connection: Any, name: str) -> None:
    """A database with rows of one value, and a full backup of it."""
    run(connection, f"CREATE DATABASE {name}")
    run(connection, f"CREATE TABLE {name}.dbo.t (n int PRIMARY KEY, v varchar(10), filler varchar(200))")
    insert(connection, name, 1, ROWS, "good")
    run(connection, f"BACKUP DATABASE {name} TO DISK = '{name}.bak'")


def insert(connection: Any, name: str, first: int, last: int, value: str) -> None:
    numbers = f"SELECT {first} AS n UNION ALL SELECT n + 1 FROM c WHERE n < {last}"
    run(
        connection,
        f"WITH c AS ({numbers}) INSERT INTO {name}.dbo.t SELECT n, '{value}', REPLICATE('x', 200) FROM c"
        " OPTION (MAXRECURSION 0)",
    )


def test_an_accident_is_taken_back_under_open_handles_and_so_is_that(server: Running) -> None:
    good = {"good": ROWS}
    newer, fork = {"bad": ROWS, "newer": 10}, {**good, "fork": 5}
    restore = "RESTORE DATABASE x FROM DISK = 'x.bak' WITH REPLACE, STOPAT = "
    with server.connect() as connection:
        make(connection, "x")
        before = now(connection)
        observer = Observer(server.store / "x.db")
        try:
            run(connection, "UPDATE x.dbo.t SET v = 'bad'")
            insert(connection, "x", ROWS + 1, ROWS + 10, "newer")
            later = now(connection)
            # How much of it the other process came to see is its own affair.
            assert observer.saw()[-1] == newer
            run(connection, f"{restore}'{before}'")
            assert observer.saw() == [newer, good]
            # Whoever has it open goes on with what was restored, and so does its log.
            insert(connection, "x", ROWS + 1, ROWS + 5, "fork")
            on_the_fork = now(connection)
            assert observer.saw() == [good, fork]
            run(connection, f"{restore}'{later}'")
            assert observer.saw() == [fork, newer]
            run(connection, f"{restore}'{on_the_fork}'")
            assert observer.saw() == [newer, fork]
        finally:
            observer.close()


def test_the_undo_brings_back_what_was_replaced(server: Running) -> None:
    with server.connect() as connection:
        make(connection, "z")
        before = now(connection)
        insert(connection, "z", ROWS + 1, ROWS + 10, "newer")
        newer, good = {"good": ROWS, "newer": 10}, {"good": ROWS}
        observer = Observer(server.store / "z.db")
        try:
            assert observer.saw() == [newer]
            restore = f"RESTORE DATABASE z FROM DISK = 'z.bak' WITH REPLACE, STOPAT = '{before}'"
            said = run(connection, restore)
            assert observer.saw() == [newer, good]
            (kept,) = [line.split("'")[3] for line in said if "former content" in line]
            run(connection, f"RESTORE DATABASE z FROM DATABASE_SNAPSHOT = '{kept}'")
            assert observer.saw() == [good, newer]
        finally:
            observer.close()

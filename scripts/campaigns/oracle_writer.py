"""The other processes of the oracle campaign, run as a script.

``make PATH`` makes a database with the standard library's SQLite. ``write PATH JOURNAL WRITER SEED COUNT
SHELL`` commits random transactions, by the standard library or (SHELL 1) through a ``sqlite3`` shell, and
notes each in JOURNAL before and after its COMMIT. ``read`` prints what is in each database whose path it
reads from standard input, as JSON.
"""

from __future__ import annotations

import json
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scripts.campaigns.oracle_model import SCHEMA, Generator, content, sqlite

_BUSY_SECONDS = 60


class Database(Protocol):
    """A connection of some kind, outside of transactions in autocommit."""

    def run(self, sql: str) -> None: ...

    def number(self, sql: str) -> int: ...


class Library:
    """The standard library's."""

    def __init__(self, path: str, rng: random.Random) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_SECONDS)
        self._connection.execute(f"PRAGMA synchronous={rng.choice(['OFF', 'NORMAL', 'FULL'])}")
        # So small that large transactions spill into the WAL before they commit.
        self._connection.execute("PRAGMA cache_size=20")

    def run(self, sql: str) -> None:
        self._connection.execute(sql).fetchall()

    def number(self, sql: str) -> int:
        return int(self._connection.execute(sql).fetchone()[0])


class Shell:
    """The command line shell, a process of its own."""

    def __init__(self, path: str) -> None:
        self._process = subprocess.Popen(
            ["sqlite3", "-batch", "-bail", path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.run(f".timeout {_BUSY_SECONDS * 1000}")

    def _say(self, text: str) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise EOFError("the shell has ended")
        return line.strip()

    def run(self, sql: str) -> None:
        end = "" if sql.startswith(".") else ";"
        answer = self._say(f"{sql}{end}\nSELECT 'done';")
        if answer != "done":
            raise ValueError(answer)

    def number(self, sql: str) -> int:
        return int(self._say(sql + ";"))


def make(path: str) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    for sql in SCHEMA:
        connection.execute(sql.replace("VARCHAR(MAX)", "TEXT"))
    connection.close()


def write(path: str, journal: str, writer: int, seed: int, count: int, shell: bool) -> None:
    rng = random.Random(seed)
    database: Database = Shell(path) if shell else Library(path, rng)
    generator = Generator(writer, rng)
    print("ready", flush=True)
    with Path(journal).open("a", encoding="utf-8") as notes:
        for _ in range(count):
            if rng.random() < 0.12:
                time.sleep(rng.uniform(0.03, 0.4))
            if rng.random() < 0.01:
                database.run("VACUUM")
            actions = generator.transaction()
            database.run("BEGIN IMMEDIATE")
            database.run("UPDATE seq SET n = n + 1")
            number = database.number("SELECT n FROM seq")
            done = []
            for action in actions:
                database.run("SAVEPOINT s")
                database.run(sqlite(action))
                if rng.random() < 0.15:
                    database.run("ROLLBACK TO s")
                else:
                    done.append(action)
                database.run("RELEASE s")
            if rng.random() < 0.1:
                database.run("ROLLBACK")
                continue
            notes.write(json.dumps([number, time.time_ns(), None, done]) + "\n")
            notes.flush()
            before = time.time_ns()
            database.run("COMMIT")
            notes.write(json.dumps([number, before, time.time_ns(), None]) + "\n")
            notes.flush()
            generator.committed(done)


def read(path: str) -> dict[str, object]:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
    rows = connection.execute("SELECT id, v, length(body), substr(body, 1, 1) FROM items").fetchall()
    found = {
        "number": connection.execute("SELECT n FROM seq").fetchone()[0],
        "content": content(rows, [int(n[1:]) for n in names if n[0] == "t" and n[1:].isdecimal()]),
        "integrity": connection.execute("PRAGMA integrity_check(1)").fetchone()[0],
    }
    connection.close()
    return found


def main() -> None:
    command, *rest = sys.argv[1:]
    if command == "make":
        make(rest[0])
    elif command == "write":
        path, journal, *numbers, shell = rest
        write(path, journal, *map(int, numbers), shell == "1")
    elif command == "read":
        for line in sys.stdin:
            print(json.dumps(read(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()

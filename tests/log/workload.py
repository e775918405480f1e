"""Random work on a database, in another process and with the standard library's SQLite, and its oracle.

Commands: ``init PATH JSON``; ``write PATH JOURNAL SEED SECONDS [AUTOCHECKPOINT]`` commits random transactions
until the time is over, but at least some, or until JOURNAL.stop exists, and notes each in JOURNAL (one JSON
line: its number, the times just before and just after its commit, its statements). Where there is a file
PATH.capturing, it goes on only as long as the process whose id is there lives, and waits when it has gone.
``keep PATH`` has it open; ``disturb PATH SECONDS KINDS`` checkpoints or vacuums all the time, until the time
is over or PATH.stop exists; ``verify JOURNALS... -- IMAGES...`` prints, per image, which transaction it ends
with and whether it equals the state replayed from the journals.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
import sqlite3
import sys
import time
from pathlib import Path

Statement = tuple[str, list[object]]
_LEAST = 20
"""Commits, however little time there was for them."""
_UNSEEN = 2
"""Transactions while nobody captures: so few that they overwrite only a part of the WAL."""


def connect(path: str, timeout: float = 20.0) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, timeout=timeout)
    connection.execute("PRAGMA journal_mode=WAL")
    return connection


def init(path: str, options: dict[str, int]) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={options.get('page_size', 4096)}")
    connection.execute(f"PRAGMA auto_vacuum={options.get('auto_vacuum', 0)}")
    connection.execute("PRAGMA journal_mode=WAL")
    for sql, values in FIRST:
        connection.execute(sql, values)
    connection.close()


FIRST: list[Statement] = [
    ("CREATE TABLE seq(n INTEGER)", []),
    ("INSERT INTO seq VALUES(0)", []),
    ("CREATE TABLE items(id INTEGER PRIMARY KEY, name TEXT, body BLOB)", []),
    ("CREATE INDEX by_name ON items(name)", []),
]


class Writer:
    """Commits random transactions."""

    def __init__(self, path: str, journal: str, seed: int) -> None:
        self.connection = connect(path)
        self.rng = random.Random(seed)
        self.seed = seed
        self.tables = 0
        self.connection.execute(f"PRAGMA synchronous={self.rng.choice(['OFF', 'NORMAL', 'FULL'])}")
        # So small that large transactions spill into the WAL before they commit.
        self.connection.execute("PRAGMA cache_size=10")
        self.journal = Path(journal).open("a", encoding="utf-8")  # noqa: SIM115

    def statement(self) -> Statement:
        rng = self.rng
        kind = rng.random()
        if kind < 0.45:
            size = rng.choice((10, 100, 1000, 9000, 60000))
            return (
                "INSERT INTO items(name, body) VALUES(?, ?)",
                [f"n{rng.randrange(50)}", f"x:{size}:{rng.random()}"],
            )
        if kind < 0.65:
            return ("UPDATE items SET name = name || ? WHERE id % ? = 0", ["u", rng.randrange(3, 40)])
        if kind < 0.8:
            return ("DELETE FROM items WHERE id % ? = ?", [rng.randrange(4, 12), rng.randrange(4)])
        if kind < 0.9:
            self.tables += 1
            return (
                f"CREATE TABLE t{self.seed}_{self.tables} AS SELECT id, name FROM items WHERE id % 5 = 0",
                [],
            )
        if self.tables:
            return (f"DROP TABLE IF EXISTS t{self.seed}_{rng.randint(1, self.tables)}", [])
        return ("DELETE FROM items WHERE id % 17 = 0", [])

    def transaction(self) -> bool:
        """One more; whether it was committed."""
        rng, run = self.rng, self.connection.execute
        run("BEGIN IMMEDIATE")
        done: list[Statement] = []
        for _ in range(rng.choice((1, 1, 1, 2, 5, 30 if rng.random() < 0.2 else 3))):
            statement = self.statement()
            if rng.random() < 0.15:
                run("SAVEPOINT s")
                perform(self.connection, statement)
                run("ROLLBACK TO s")
                run("RELEASE s")
                continue
            perform(self.connection, statement)
            done.append(statement)
        if rng.random() < 0.15:
            run("ROLLBACK")
            return False
        (number,) = run("UPDATE seq SET n = n + 1 RETURNING n").fetchall()[0]
        earlier = time.time_ns()
        run("COMMIT")
        later = time.time_ns()
        self.journal.write(json.dumps([number, earlier, later, done]) + "\n")
        self.journal.flush()
        return True


def perform(connection: sqlite3.Connection, statement: Statement) -> None:
    sql, values = statement
    bound = [blob(value) if isinstance(value, str) and value.startswith("x:") else value for value in values]
    connection.execute(sql, bound)


def blob(text: str) -> bytes:
    """Bytes that follow from their description."""
    return random.Random(text).randbytes(int(text.split(":")[1]))


def write(path: str, journal: str, seed: int, seconds: float, autocheckpoint: int) -> None:
    writer = Writer(path, journal, seed)
    writer.connection.execute(f"PRAGMA wal_autocheckpoint={autocheckpoint}")
    deadline = time.monotonic() + seconds
    print("ready", flush=True)
    stop = Path(journal + ".stop")
    done, left = 0, _UNSEEN
    while (time.monotonic() < deadline or done < _LEAST) and not stop.exists():
        left = _UNSEEN if is_captured(path) else left - 1
        if left < 0:
            time.sleep(0.002)
            continue
        done += writer.transaction()
        if writer.rng.random() < 0.1:
            time.sleep(writer.rng.choice((0.001, 0.01, 0.15)))


def is_captured(path: str) -> bool:
    """Whether the process lives that captures, if there is said to be one."""
    try:
        pid = int(Path(path + ".capturing").read_text())
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not Path(path + ".capturing").exists()
    return state not in "XZ"


def keep(path: str) -> None:
    """Have the database open until killed, so that nobody is the last one to close it."""
    connection = connect(path)
    connection.execute("SELECT count(*) FROM items").fetchall()
    print("ready", flush=True)
    sys.stdin.read()


def disturb(path: str, seconds: float, kinds: list[str]) -> None:
    rng = random.Random(5)
    deadline = time.monotonic() + seconds
    print("ready", flush=True)
    done = dict.fromkeys(kinds, 0)
    stop = Path(path + ".stop")
    while time.monotonic() < deadline and not stop.exists():
        # Opened anew now and then: the last one to close a database checkpoints it, too.
        connection = connect(path, 0.05)
        for _ in range(rng.randrange(1, 20)):
            kind = rng.choice(kinds)
            with contextlib.suppress(sqlite3.OperationalError):
                if kind == "VACUUM":
                    connection.execute("VACUUM")
                elif kind == "READ":
                    connection.execute("BEGIN")
                    connection.execute("SELECT count(*) FROM items").fetchall()
                    time.sleep(rng.choice((0.001, 0.05)))
                    connection.execute("COMMIT")
                else:
                    connection.execute(f"PRAGMA wal_checkpoint({kind})").fetchall()
                done[kind] += 1
            time.sleep(rng.choice((0, 0.001, 0.005)))
        connection.close()
    print(json.dumps(done), flush=True)


def digest(connection: sqlite3.Connection) -> str:
    found = hashlib.sha256()
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY 1")
    ]
    for name in names:
        found.update(name.encode())
        for row in connection.execute(f'SELECT * FROM "{name}" ORDER BY 1'):
            found.update(repr(row).encode())
    return found.hexdigest()


def verify(journals: list[str], images: list[str]) -> None:
    lines = [json.loads(line) for journal in journals for line in Path(journal).read_text().splitlines()]
    transactions = {line[0]: line[3] for line in lines}
    seen: list[tuple[int, str, str, str]] = []
    for image in images:
        connection = sqlite3.connect(f"file:{image}?mode=rw", uri=True)
        (number,) = connection.execute("SELECT n FROM seq").fetchone()
        (integrity,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
        seen.append((number, image, digest(connection), integrity))
        connection.close()
    replayed = sqlite3.connect(":memory:", isolation_level=None)
    for statement in FIRST:
        perform(replayed, statement)
    at = 0
    results = {}
    for number, image, found, integrity in sorted(seen):
        while at < number:
            at += 1
            for sql, values in transactions[at]:
                perform(replayed, (sql, values))
            replayed.execute("UPDATE seq SET n = n + 1")
        results[image] = [number, integrity == "ok" and found == digest(replayed)]
    print(json.dumps(results))


def main() -> None:
    command, *rest = sys.argv[1:]
    if command == "init":
        init(rest[0], json.loads(rest[1]))
    elif command == "write":
        write(rest[0], rest[1], int(rest[2]), float(rest[3]), int(rest[4]) if rest[4:] else 1000)
    elif command == "keep":
        keep(rest[0])
    elif command == "disturb":
        disturb(rest[0], float(rest[1]), rest[2].split(","))
    elif command == "verify":
        middle = rest.index("--")
        verify(rest[:middle], rest[middle + 1 :])


if __name__ == "__main__":
    main()

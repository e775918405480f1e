"""SQLite work in another process, with the standard library's SQLite: run as a script by tests.

Commands: ``build PATH JSON`` makes a database; ``check PATH`` prints integrity and content; ``commit PATH
COUNT [STEP]`` commits numbered transactions, one line of output each, and waits for a line of input behind
each STEP of them; ``hold PATH read|write|exclusive`` keeps a
lock until standard input ends; ``damage PATH`` makes it no database, ``overwrite PATH PAGE`` destroys one
page, ``flip PATH BYTE`` changes one bit, ``cut PATH SIZE`` takes the rest away; ``serve`` runs commands that
come to an end, as they come in.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import sqlite3
import sys
from pathlib import Path


def build(path: str, options: dict[str, object]) -> None:
    """A database with tables of several kinds, overflow pages, and pages that were freed."""
    rng = random.Random(int(str(options.get("seed", 0))))
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(f"PRAGMA page_size={options.get('page_size', 4096)}")
    connection.execute(f"PRAGMA auto_vacuum={options.get('auto_vacuum', 0)}")
    connection.execute(f"PRAGMA journal_mode={options.get('journal', 'wal')}")
    connection.execute("PRAGMA synchronous=OFF")
    rows = int(str(options.get("rows", 200)))
    if options.get("empty"):
        connection.close()
        return
    connection.execute("CREATE TABLE plain(id INTEGER PRIMARY KEY, body TEXT)")
    connection.execute("CREATE TABLE keyed(name TEXT PRIMARY KEY, value BLOB) WITHOUT ROWID")
    connection.execute("CREATE INDEX by_body ON plain(body)")
    connection.execute("BEGIN")
    for number in range(rows):
        size = rng.choice((5, 50, 700, 9000))
        connection.execute("INSERT INTO plain(body) VALUES(?)", (rng.randbytes(size // 2).hex(),))
        connection.execute("INSERT INTO keyed VALUES(?, ?)", (f"key {number}", rng.randbytes(size)))
    if options.get("full_text"):
        connection.execute("CREATE VIRTUAL TABLE words USING fts5(body)")
        for number in range(rows):
            text = " ".join(rng.choices(("north", "south", "tide", "storm", f"n{number}"), k=30))
            connection.execute("INSERT INTO words VALUES(?)", (text,))
    for _ in range(int(str(options.get("megabytes", 0)))):
        connection.execute("INSERT INTO keyed VALUES(hex(randomblob(8)), ?)", (rng.randbytes(1 << 20),))
    connection.execute("COMMIT")
    if options.get("free"):
        connection.execute("DELETE FROM plain WHERE id % 3 = 0")
    if options.get("leave_wal"):
        # Killed by its parent while it has the database open, so that the WAL stays.
        print("built", flush=True)
        sys.stdin.read()
    connection.close()


def check(path: str) -> None:
    """Print what integrity_check says and what the tables hold, of each row a digest."""
    connection = sqlite3.connect(path)
    tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_schema WHERE type='table'")]
    content = {
        name: [
            hashlib.sha1(repr(row).encode()).hexdigest()
            for row in connection.execute(f'SELECT * FROM "{name}" ORDER BY 1')
        ]
        for name in sorted(tables)
    }
    result = {
        "integrity": [row[0] for row in connection.execute("PRAGMA integrity_check")],
        "page_size": connection.execute("PRAGMA page_size").fetchone()[0],
        "page_count": connection.execute("PRAGMA page_count").fetchone()[0],
        "journal": connection.execute("PRAGMA journal_mode").fetchone()[0],
        "content": content,
    }
    connection.close()
    print(json.dumps(result))


def commit(path: str, count: int, step: int = 0) -> None:
    """Commit ``count`` numbered transactions to table ``log``; each also moves value between two accounts."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    connection.execute("CREATE TABLE IF NOT EXISTS log(n INTEGER PRIMARY KEY, filler BLOB)")
    connection.execute("CREATE TABLE IF NOT EXISTS account(id INTEGER PRIMARY KEY, value INTEGER)")
    connection.execute("INSERT OR IGNORE INTO account VALUES(1, 0), (2, 0)")
    connection.execute("PRAGMA synchronous=NORMAL")
    busy = 0
    rng = random.Random(1)
    print("ready", flush=True)
    number = connection.execute("SELECT coalesce(max(n), 0) FROM log").fetchone()[0]
    count += number
    while number < count:
        number += 1
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO log VALUES(?, ?)", (number, rng.randbytes(rng.randrange(3000))))
            connection.execute("UPDATE account SET value = value - 1 WHERE id = 1")
            connection.execute("UPDATE account SET value = value + 1 WHERE id = 2")
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:
            busy += 1
            print("busy", error, flush=True)
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            number -= 1
        else:
            print(number, flush=True)
            if step and number % step == 0:
                sys.stdin.readline()
    print("done", busy, flush=True)
    connection.close()


def hold(path: str, kind: str) -> None:
    """Hold a read or a write transaction until standard input ends."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0.2)
    connection.execute({"read": "BEGIN", "write": "BEGIN IMMEDIATE"}.get(kind, "BEGIN EXCLUSIVE"))
    connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
    print("held", flush=True)
    sys.stdin.read()
    connection.execute("ROLLBACK")
    connection.close()


def visit(path: str) -> None:
    """Open the file, and when a line comes try to read and to write; print what came of it."""
    connection = sqlite3.connect(path, isolation_level=None, timeout=0)
    print("opened", flush=True)
    sys.stdin.readline()
    found: list[object] = []
    for statement in ("SELECT count(*) FROM plain", "INSERT INTO plain(body) VALUES('lost?')"):
        try:
            rows = connection.execute(statement).fetchall()
            found.append(rows[0][0] if rows else "written")
        except sqlite3.OperationalError as error:
            found.append(str(error))
    print(json.dumps(found), flush=True)
    connection.close()


def serve() -> None:
    """Run the commands that come in, one JSON list a line, and answer each with what it printed."""
    for line in sys.stdin:
        output = io.StringIO()
        error = ""
        try:
            with contextlib.redirect_stdout(output):
                run(*json.loads(line))
        except (sqlite3.Error, OSError) as caught:
            error = f"{type(caught).__name__}: {caught}"
        print(json.dumps({"output": output.getvalue(), "error": error}), flush=True)


def main() -> None:
    """Run the command in the arguments."""
    if sys.argv[1] == "serve":
        serve()
    else:
        run(*sys.argv[1:])


def run(command: str, path: str, *rest: str) -> None:
    """Run one command."""
    if command == "build":
        build(path, json.loads(rest[0]))
    elif command == "check":
        check(path)
    elif command == "commit":
        commit(path, *map(int, rest))
    elif command == "hold":
        hold(path, rest[0])
    elif command == "visit":
        visit(path)
    elif command == "damage":
        with Path(path).open("r+b") as file:
            file.write(b"no database" * 100)
    elif command == "cut":
        with Path(path).open("r+b") as file:
            file.truncate(int(rest[0]))
    elif command == "flip":
        with Path(path).open("r+b") as file:
            file.seek(int(rest[0]))
            byte = file.read(1)
            file.seek(int(rest[0]))
            file.write(bytes([byte[0] ^ 1]))
    elif command == "overwrite":
        with Path(path).open("r+b") as file:
            file.seek((int(rest[0]) - 1) * 4096)
            file.write(b"\xa5" * 4096)


if __name__ == "__main__":
    main()

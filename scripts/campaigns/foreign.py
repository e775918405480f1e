"""SQLite work in a process of its own, with the standard library's SQLite: run as a script by campaigns.

``make PATH JSON`` makes a database. ``write PATH WRITER JSON`` commits until standard input ends, one line
for each commit. ``check PATH`` prints what is in a database, as JSON.
"""

from __future__ import annotations

import json
import random
import sqlite3
import sys
import threading
from typing import Any


def make(path: str, page_size: int, journal: str, auto_vacuum: int, ballast: int, seed: int) -> None:
    """``ballast`` is in bytes."""
    rng = random.Random(seed)
    db = sqlite3.connect(path, isolation_level=None)
    db.execute(f"PRAGMA page_size={page_size}")
    db.execute(f"PRAGMA auto_vacuum={auto_vacuum}")
    db.execute(f"PRAGMA journal_mode={journal}")
    db.execute("PRAGMA synchronous=OFF")
    db.execute("BEGIN")
    db.execute("CREATE TABLE journal(seq INTEGER PRIMARY KEY, writer INTEGER, n INTEGER, filler BLOB)")
    db.execute("CREATE TABLE counter(id INTEGER PRIMARY KEY, value INTEGER)")
    db.execute("INSERT INTO counter VALUES(1, 0)")
    db.execute("CREATE TABLE ballast(id INTEGER PRIMARY KEY, data BLOB)")
    while ballast > 0:
        size = min(ballast, rng.choice((100, 5_000, 300_000)))
        db.execute("INSERT INTO ballast(data) VALUES(?)", (rng.randbytes(size),))
        ballast -= size
    db.execute("COMMIT")
    db.close()


def write(path: str, writer: int, timeout: float, most: int, seed: int) -> None:
    """Each commit takes the next number of all, and the next of its writer."""
    rng = random.Random(seed)
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    db = sqlite3.connect(path, timeout=timeout, isolation_level=None)
    db.execute("PRAGMA synchronous=NORMAL")
    n = 0
    while not ended.is_set() and n < most:
        n += 1
        db.execute("BEGIN IMMEDIATE")
        db.execute("UPDATE counter SET value = value + 1")
        (seq,) = db.execute("SELECT value FROM counter").fetchone()
        filler = rng.randbytes(rng.choice((10, 300, 9_000)))
        db.execute("INSERT INTO journal VALUES(?, ?, ?, ?)", (seq, writer, n, filler))
        # Pages in the middle of the file change as well.
        db.execute("UPDATE ballast SET data = data WHERE id = ?", (rng.randrange(1, 50),))
        db.execute("COMMIT")
        print(seq, flush=True)
    db.close()


def check(path: str) -> dict[str, Any]:
    """What must be one prefix of the commits. Read only: nothing is checkpointed by this."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)
    found: dict[str, Any] = {}
    count, low, high = db.execute("SELECT count(*), min(seq), max(seq) FROM journal").fetchone()
    found["journal"] = [count, low or 1, high or 0]
    found["counter"] = db.execute("SELECT value FROM counter").fetchone()[0]
    found["writers"] = db.execute(
        "SELECT writer, count(*), min(n), max(n) FROM journal GROUP BY writer"
    ).fetchall()
    found["ballast"] = db.execute("SELECT count(*), sum(length(data)) FROM ballast").fetchone()
    found["integrity"] = db.execute("PRAGMA integrity_check").fetchone()[0]
    found["page_size"] = db.execute("PRAGMA page_size").fetchone()[0]
    db.close()
    return found


def main() -> None:
    command, path, *rest = sys.argv[1:]
    if command == "make":
        make(path, **json.loads(rest[0]))
    elif command == "write":
        write(path, int(rest[0]), **json.loads(rest[1]))
    elif command == "check":
        print(json.dumps(check(path)))


if __name__ == "__main__":
    main()

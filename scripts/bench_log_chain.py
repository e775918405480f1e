"""The part of ``scripts/bench log`` that goes through a running server: what synchronous capture costs each
commit, a differential beside its full backup, STOPAT beside a plain restore."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scripts.bench_figures import note
from scripts.campaigns.product import Product, product, rows, run

COMMITS = 400
TRANSACTIONS = 100_000
SHARE = 100
"""One page in so many is changed."""
LOG_SPEED = 0.3

# In another process, with the standard library's SQLite.
FILL = """
import random, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous=OFF")
rng = random.Random(1)
connection.execute("CREATE TABLE filled(id INTEGER PRIMARY KEY, note TEXT)")
for start in range(0, int(sys.argv[2]), 2000):
    with connection:
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO filled(note) VALUES(?)", [(rng.randbytes(450).hex() * 4,) for _ in range(2000)]
        )
"""
CHANGE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("UPDATE filled SET note = 'x' || substr(note, 2) WHERE id % ? = 7", (int(sys.argv[2]),))
"""
WRITE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
connection.execute("PRAGMA synchronous=OFF")
connection.execute("CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, note TEXT)")
for number in range(int(sys.argv[2])):
    connection.execute("INSERT INTO orders(customer, note) VALUES(?, ?)", (number % 1000, "note %d" % number))
"""


def work(code: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def timed(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def sync() -> None:
    """The time of a single-row commit of one session, without and with synchronous capture."""
    found: dict[str, list[float]] = {}
    for capture in ("async", "sync"):
        with product() as made:
            made.start(TDSPROXY_CAPTURE=capture)
            with made.cursor(autocommit=True) as cursor:
                run(cursor, "CREATE DATABASE x")
                run(cursor, "CREATE TABLE x.dbo.t (n int PRIMARY KEY)")
                run(cursor, "BACKUP DATABASE x TO DISK = 'x.bak'")
                found[capture] = sorted(
                    timed(lambda n=n: cursor.execute(f"INSERT x.dbo.t VALUES ({n})")) * 1000
                    for n in range(COMMITS)
                )
    before, after = (statistics.median(found[capture]) for capture in ("async", "sync"))
    note("log", "synchronous capture, a commit", after - before, "ms", detail=f"{before:.2f} ms without")
    print(
        f"sync    commit {before:.2f} ms -> {after:.2f} ms: {after - before:+.2f} ms each  (p99"
        f" {found['async'][-COMMITS // 100]:.2f} -> {found['sync'][-COMMITS // 100]:.2f} ms)",
        flush=True,
    )


def _filled(made: Product, cursor: Any, megabytes: int) -> Path:
    run(cursor, "CREATE DATABASE x")
    path = made.file("x")
    # Two rows of 3,600 characters fill two pages.
    work(FILL, path, megabytes * 250)
    return path


def differential(megabytes: int) -> None:
    """A differential after one page in a hundred was changed, beside the full backup."""
    with product() as made:
        made.start()
        with made.cursor(autocommit=True) as cursor:
            path = _filled(made, cursor, megabytes)
            full = timed(lambda: run(cursor, "BACKUP DATABASE x TO DISK = 'f.bak' WITH INIT"))
            work(CHANGE, path, SHARE)
            text = "BACKUP DATABASE x TO DISK = 'd.bak' WITH DIFFERENTIAL, INIT"
            changed = timed(lambda: run(cursor, text))
        sizes = [made.medium(name).stat().st_size for name in ("f.bak", "d.bak")]
    note("log", "differential after 1 %, time", 100 * changed / full, "% of full", 5)
    note("log", "differential after 1 %, bytes", 100 * sizes[1] / sizes[0], "% of full", 2)
    print(
        f"differential  after 1 %: {changed:.2f} of {full:.2f} s = {changed / full:.1%} (goal 5 %),"
        f" {sizes[1] / 1e6:.1f} of {sizes[0] / 1e6:.0f} MB = {sizes[1] / sizes[0]:.1%} (goal 2 %)",
        flush=True,
    )


def _write_speed(directory: Path) -> float:
    """Bytes a second, written one after the other and synced."""
    block = os.urandom(1 << 20)
    path = directory / "sequential"

    def write() -> None:
        with path.open("wb") as file:
            for _ in range(256):
                file.write(block)
            file.flush()
            os.fsync(file.fileno())

    seconds = timed(write)
    path.unlink()
    return 256 * len(block) / seconds


def stopat(megabytes: int, transactions: int = TRANSACTIONS) -> None:
    """STOPAT = now through the log of small transactions, beside a restore of the full backup alone."""
    with product() as made:
        made.start()
        with made.cursor(autocommit=True) as cursor:
            path = _filled(made, cursor, megabytes)
            run(cursor, "BACKUP DATABASE x TO DISK = 'f.bak' WITH INIT")
            work(WRITE, path, transactions)
            move = "MOVE 'x' TO '/r/{0}.mdf', MOVE 'x_log' TO '/r/{0}.ldf'"
            restore = "RESTORE DATABASE {0} FROM DISK = 'f.bak' WITH " + move
            plain = timed(lambda: run(cursor, restore.format("p")))
            now = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            rolled = timed(lambda: run(cursor, restore.format("s") + f", STOPAT = '{now}'"))
            (count,) = rows(cursor, "SELECT COUNT(*) FROM s.dbo.orders")[0]
            run(cursor, "BACKUP LOG x TO DISK = 'l.trn' WITH INIT")
            (size,) = rows(cursor, "SELECT MAX(backup_size) FROM msdb.dbo.backupset WHERE type = 'L'")[0]
        speed = _write_speed(made.store)
    log_speed = float(size) / max(rolled - plain, 1e-9) / speed
    detail = f"{count} transactions, {rolled:.2f} s beside {plain:.2f} s"
    note("log", "STOPAT", log_speed, "x write speed", LOG_SPEED, at_most=False, detail=detail)
    allowed = plain + float(size) / (LOG_SPEED * speed)
    print(
        f"stopat  plain {plain:.2f} s, through {count} transactions ({float(size) / 1e6:.0f} MB of log)"
        f" {rolled:.2f} s; allowed {allowed:.2f} s at {LOG_SPEED} x {speed / 1e6:.0f} MB/s: the log went at"
        f" {float(size) / max(rolled - plain, 1e-9) / speed:.2f} x",
        flush=True,
    )

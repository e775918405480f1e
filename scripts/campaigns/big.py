"""A large database, backed up and restored by statements: how much memory each process takes.

A case is a gigabyte. Writers go on during the backup.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import Product, memory_of, product, run

MOST_BYTES = 300_000_000
"""That each process may have resident."""
_POLL_SECONDS = 0.05
_PATIENCE = 3600.0
"""Seconds: a statement on a large database and a busy machine takes long."""
_ROOM = 7
"""Times the database's size: it, its log, a copy of it, its backups."""
_STEP = 64 << 20
_MAKE = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
connection.execute("CREATE TABLE rows_(id INTEGER PRIMARY KEY, body BLOB)")
"""
_FILL = """
import random, sqlite3, sys
path, size, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
rng = random.Random(seed)
connection = sqlite3.connect(path, timeout=60, isolation_level=None)
connection.execute("PRAGMA synchronous=OFF")
done = 0
while done < size:
    connection.execute("BEGIN")
    for _ in range(64):
        connection.execute("INSERT INTO rows_(body) VALUES(?)", (rng.randbytes(16_000) + bytes(16_000),))
    connection.execute("COMMIT")
    done += 64 * 32_000
connection.close()
"""
_SUM = """
import sqlite3, sys
connection = sqlite3.connect("file:%s?mode=ro" % sys.argv[1], uri=True, timeout=60)
print(connection.execute("SELECT count(*), sum(id), sum(length(body)) FROM rows_").fetchone())
print(connection.execute("PRAGMA quick_check").fetchone()[0])
connection.close()
"""


class _Memory:
    """The most that each process had while it was watched."""

    def __init__(self, made: Product) -> None:
        self._made = made
        self._stop = threading.Event()
        self.most = {"keeper": 0, "listener": 0}
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        while not self._stop.wait(_POLL_SECONDS):
            for name, pid in (("keeper", self._made.keeper_pid()), ("listener", self._made.listener_pid)):
                if pid is not None:
                    try:
                        self.most[name] = max(self.most[name], memory_of(pid))
                    except OSError:
                        continue

    def __enter__(self) -> _Memory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def main(plan: Plan, tally: Tally) -> None:
    rng = random.Random(plan.seed)
    with product() as made:
        size = plan.cases << 30
        free = shutil.disk_usage(made.directory).free
        check(free > _ROOM * size, f"{_ROOM * size} bytes are needed, {free} are free")
        _run(made, size, rng, tally)


def _python(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, check=False
    )
    check(done.returncode == 0, done.stderr.strip()[-300:])
    return done.stdout


@contextmanager
def _timed(tally: Tally, what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    tally.peak(f"seconds of {what}", time.monotonic() - begun)


def _run(made: Product, size: int, rng: random.Random, tally: Tally) -> None:
    made.start()
    with made.running.connect(timeout=_PATIENCE) as connection, connection.cursor() as cursor:
        run(cursor, "CREATE DATABASE big")
        run(cursor, "ALTER DATABASE big SET RECOVERY SIMPLE")
        path = made.file("big")
        _python(_MAKE, path)
        with _timed(tally, "filling"):
            _python(_FILL, path, size, rng.randrange(1 << 30))
        expected = _python(_SUM, path)
        with _Memory(made) as memory:
            stripes = ", ".join(f"DISK = 'big{number}.bak'" for number in range(2))
            with _timed(tally, "backup"):
                run(cursor, f"BACKUP DATABASE big TO {stripes} WITH COMPRESSION, FORMAT")
            _python(_FILL, path, _STEP, rng.randrange(1 << 30))
            changed = _python(_SUM, path)
            with _timed(tally, "differential"):
                run(cursor, f"BACKUP DATABASE big TO {stripes} WITH DIFFERENTIAL")
            with _timed(tally, "verification"):
                run(cursor, f"RESTORE VERIFYONLY FROM {stripes}")
            with _timed(tally, "restore over it"):
                run(cursor, f"RESTORE DATABASE big FROM {stripes} WITH REPLACE")
            check(_python(_SUM, path) == expected, "the restored database is another one")
            moves = "MOVE 'big' TO '/data/copy.mdf', MOVE 'big_log' TO '/data/copy.ldf'"
            with _timed(tally, "restore to a new name"):
                run(cursor, f"RESTORE DATABASE copy FROM {stripes} WITH NORECOVERY, {moves}")
                run(cursor, f"RESTORE DATABASE copy FROM {stripes} WITH FILE = 2")
            check(_python(_SUM, made.file("copy")) == changed, "the differential leads elsewhere")
            run(cursor, "DROP DATABASE copy")
        for name, most in memory.most.items():
            tally.peak(f"megabytes of the {name}", most / 1e6)
            check(most < MOST_BYTES, f"the {name} had {most} bytes resident")
        tally.add("gigabytes", size >> 30)

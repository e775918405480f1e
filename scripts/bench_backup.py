#!/usr/bin/env python3
"""Backup and restore beside SQLite's own tools, in one run: medians and ratios, ours / theirs.

    scripts/bench_backup.py [--megabytes 1024] [--runs 3] [--directory DIR]

* backup: ours without compression, beside ``sqlite3 DB '.backup FILE'``
* compressed: ours WITH COMPRESSION, beside ``.backup`` followed by ``zstd -3 -T2``
* restore: ours of the compressed backup to a new name, beside ``zstd -d``, ``cp`` and ``sync``

All leave durable files: after each of theirs, the file is synced, too. Contents: text rows with an index,
about half of it random.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw

from tdsproxy.backup.operations import BackupOptions, backup_database, restore_database
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.documents import FileEntry, SetDescription

ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO orders(customer, note, amount)
SELECT 'customer ' || (abs(random()) % 100000),
       'order ' || i || ' ' || hex(randomblob(300)) || ' to be delivered in the usual way, with care',
       random() FROM n
"""


def make_database(path: Path, megabytes: int) -> None:
    """A database of about that size, in WAL mode, checkpointed."""
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("PRAGMA synchronous=OFF").fetchall()
    connection.execute(
        "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT, note TEXT, amount INTEGER)"
    ).fetchall()
    connection.execute("CREATE INDEX by_customer ON orders(customer)").fetchall()
    while path.stat().st_size < megabytes << 20:
        with connection:
            for _ in range(5):
                connection.execute(ROWS).fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()


def description() -> SetDescription:
    """A set of a database named ``bench``."""
    guid = uuid.uuid4
    return SetDescription(
        database_name="bench",
        set_guid=guid(),
        family_guid=guid(),
        database_guid=guid(),
        recovery_fork_guid=guid(),
        first_recovery_fork_guid=guid(),
        files=(
            FileEntry(logical_name="bench", physical_name="bench.db", type="D", file_id=1, unique_id=guid()),
        ),
    )


def run(*command: str | Path) -> None:
    """Run a tool."""
    subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)


class Bench:
    """The measurements on one database, in one directory."""

    def __init__(self, directory: Path, runs: int) -> None:
        self._directory = directory
        self._runs = runs
        self.source = directory / "bench.db"

    def _path(self, name: str) -> Path:
        return self._directory / name

    def compare(
        self,
        title: str,
        ours: Callable[[], None],
        theirs: Callable[[], None],
        made: dict[str, list[str]],
    ) -> None:
        """Measure both in turn and print the medians; ``made`` names the files that each begins without."""
        times: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(self._runs):
            for who, work in (("theirs", theirs), ("ours", ours)):
                for name in made[who]:
                    self._path(name).unlink(missing_ok=True)
                os.sync()
                begun = time.perf_counter()
                work()
                times[who].append(time.perf_counter() - begun)
        mine, other = statistics.median(times["ours"]), statistics.median(times["theirs"])
        rate = self.source.stat().st_size / mine / 1e6
        line = f"ours {mine:7.2f} s ({rate:6.0f} MB/s)  theirs {other:7.2f} s  ratio {mine / other:.2f}"
        print(f"{title:12} {line}", flush=True)

    def backup(self) -> None:
        """Without compression."""
        self.compare(
            "backup",
            lambda: self._ours("plain.bak", BackupOptions()),
            lambda: self._copy_and_sync("copy.db"),
            {"ours": ["plain.bak"], "theirs": ["copy.db"]},
        )

    def compressed(self) -> None:
        """WITH COMPRESSION."""

        def theirs() -> None:
            self._copy_and_sync("copy.db")
            run("zstd", "-q", "-f", "-3", "-T2", self._path("copy.db"), "-o", self._path("copy.zst"))
            run("sync", self._path("copy.zst"))

        self.compare(
            "compressed",
            lambda: self._ours("zstd.bak", BackupOptions(compression=True)),
            theirs,
            {"ours": ["zstd.bak"], "theirs": ["copy.db", "copy.zst"]},
        )
        sizes = [self._path(name).stat().st_size / 1e6 for name in ("zstd.bak", "copy.zst")]
        print(f"{'':12} sizes: ours {sizes[0]:.0f} MB, theirs {sizes[1]:.0f} MB")

    def restore(self) -> None:
        """To a new name, from what ``compressed`` left."""

        def theirs() -> None:
            run("zstd", "-q", "-f", "-d", self._path("copy.zst"), "-o", self._path("unpacked.db"))
            run("cp", self._path("unpacked.db"), self._path("theirs.db"))
            run("sync", self._path("theirs.db"))

        self.compare(
            "restore",
            lambda: _done(restore_database(DiskDevice(self._path("zstd.bak")), 1, self._path("ours.db"))),
            theirs,
            {"ours": ["ours.db"], "theirs": ["unpacked.db", "theirs.db"]},
        )

    def _ours(self, name: str, options: BackupOptions) -> None:
        backup_database(self.source, DiskDevice(self._path(name)), description(), options)

    def _copy_and_sync(self, name: str) -> None:
        run("sqlite3", self.source, f".backup '{self._path(name)}'")
        run("sync", self._path(name))


def _done(result: object) -> None:
    del result


def main() -> None:
    """Make the database, measure, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--directory", type=Path, default=None, help="where to work (default: a temporary one)"
    )
    options = parser.parse_args()
    missing = [tool for tool in ("sqlite3", "zstd") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-backup-") as name:
        bench = Bench(Path(name), options.runs)
        make_database(bench.source, options.megabytes)
        print(f"database of {bench.source.stat().st_size / 1e6:.0f} MB, median of {options.runs} runs")
        bench.backup()
        bench.compressed()
        bench.restore()


if __name__ == "__main__":
    main()

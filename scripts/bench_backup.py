#!/usr/bin/env python3
"""Backup and restore beside other tools, in one run: medians and ratios, with the goal behind each.

    scripts/bench backup [--megabytes 1024] [--runs 3] [--directory DIR] [--only NAME ...]

* backup: without compression, beside ``sqlite3 DB '.backup FILE'`` * compressed, compressed-low: LEVEL =
MEDIUM and LOW, beside ``zstd -T2`` of the same level on the same file * encrypted: WITH ENCRYPTION beside
without, both compressed * striped: four stripes beside one medium * restore: of a compressed backup to a new
name, beside ``zstd -d``, ``cp`` and ``sync`` * restore-live: over a database that is there, beside the same
* restore-open: over one that another process has open, beside the same
* commits: the 99th percentile of single-row commits during a compressed backup, beside that while ``zstd
-T2``
  compresses a copy

All leave durable files: after each of theirs, the file is synced, too. Processor time, user and system,
stands beside the times by the clock: on a busy machine it is the better guide; so is what was written, in
sizes of the database, where the disk is uneven. Contents: text rows with an
index, about half of it random.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import apsw

from scripts.bench_figures import note
from tdsproxy.backup.operations import BackupOptions, backup_database, restore_database
from tdsproxy.media.codecs import Compression
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import EncryptionEnvelope, FileEntry, SetDescription
from tdsproxy.media.encryption import AesGcm, new_set_key
from tdsproxy.media.sealing import SetSealing

ROWS = """
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
INSERT INTO orders(customer, note, amount)
SELECT 'customer ' || (abs(random()) % 100000),
       'order ' || i || ' ' || hex(randomblob(300)) || ' to be delivered in the usual way, with care',
       random() FROM n
"""
STRIPES = 4
ENVELOPE = EncryptionEnvelope(algorithm="aes_256", thumbprint=bytes(20))
READER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("SELECT count(*) FROM commits").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""
WRITER = """
import sys, time
import apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(60_000)
connection.execute("PRAGMA synchronous = FULL")
print("ready", flush=True)
until = None
import select
times = []
while not select.select([sys.stdin], [], [], 0)[0]:
    begun = time.perf_counter()
    connection.execute("INSERT INTO commits(at) VALUES(1)")
    times.append(time.perf_counter() - begun)
    time.sleep(0.001)
times.sort()
print(len(times), times[len(times) * 99 // 100] if times else 0.0, flush=True)
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
    connection.execute("CREATE TABLE commits(at INTEGER)").fetchall()
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


@dataclass(frozen=True)
class Times:
    """One run: by the clock, and of the processors, seconds; and the bytes given to the disk."""

    clock: float
    processor: float
    written: int


@contextmanager
def measured(into: list[Times]) -> Iterator[None]:
    """Append what the block takes, the processes that it waits for included."""

    def used() -> float:
        return sum(
            usage.ru_utime + usage.ru_stime
            for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        )

    processor, written, clock = used(), _written(), time.perf_counter()
    yield
    into.append(Times(time.perf_counter() - clock, used() - processor, _written() - written))


def _written() -> int:
    """Bytes that this process, and those that it waited for, gave to the disk; proc_pid_io(5)."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("write_bytes:"))


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
        goal: float,
        ours: Callable[[], None],
        theirs: Callable[[], None],
        made: tuple[list[str], list[str]],
    ) -> None:
        """Measure both in turn and print the medians; ``made`` names the files that ours and theirs begin
        without."""
        mine: list[Times] = []
        other: list[Times] = []
        for _ in range(self._runs):
            for into, work, names in ((other, theirs, made[1]), (mine, ours, made[0])):
                for name in names:
                    self._path(name).unlink(missing_ok=True)
                os.sync()
                with measured(into):
                    work()
        size = self.source.stat().st_size
        clocks = [statistics.median(item.clock for item in found) for found in (mine, other)]
        used = [statistics.median(item.processor for item in found) for found in (mine, other)]
        written = [statistics.median(item.written for item in found) / size for found in (mine, other)]
        print(
            f"{title:14} ours {clocks[0]:7.2f} s ({size / clocks[0] / 1e6:5.0f} MB/s)  "
            f"theirs {clocks[1]:7.2f} s  ratio {clocks[0] / clocks[1]:.2f} (goal {goal})  "
            f"processors {used[0]:.2f} / {used[1]:.2f} = {used[0] / max(used[1], 1e-9):.2f}  "
            f"written {written[0]:.2f} / {written[1]:.2f}",
            flush=True,
        )
        detail = f"{clocks[0]:.2f} s beside {clocks[1]:.2f} s; {size / clocks[0] / 1e6:.0f} MB/s"
        note("backup", title, clocks[0] / clocks[1], "x", goal, detail=detail)

    def backup(self) -> None:
        """Without compression."""

        def theirs() -> None:
            run("sqlite3", self.source, f".backup '{self._path('copy.db')}'")
            run("sync", self._path("copy.db"))

        self.compare(
            "backup",
            1.0,
            lambda: self._ours(BackupOptions(), "plain.bak"),
            theirs,
            (["plain.bak"], ["copy.db"]),
        )

    def compressed(self, title: str = "compressed", level: str = "MEDIUM") -> None:
        """WITH COMPRESSION."""
        codec = Compression.of("ZSTD", level)
        self.compare(
            title,
            1.05,
            lambda: self._ours(BackupOptions(compression=True, codec=codec), "zstd.bak"),
            lambda: self._zstd(self.source, codec.level),
            (["zstd.bak"], ["copy.zst"]),
        )
        sizes = [self._path(name).stat().st_size / 1e6 for name in ("zstd.bak", "copy.zst")]
        print(f"{'':14} sizes: ours {sizes[0]:.0f} MB, theirs {sizes[1]:.0f} MB")

    def compressed_low(self) -> None:
        """LEVEL = LOW, which COMPRESSION alone is."""
        self.compressed("compressed-low", "LOW")

    def encrypted(self) -> None:
        """WITH ENCRYPTION."""
        plain = BackupOptions(compression=True)
        sealing = SetSealing(ENVELOPE, AesGcm(new_set_key("AES_256")))
        self.compare(
            "encrypted",
            1.1,
            lambda: self._ours(replace(plain, sealing=sealing), "sealed.bak"),
            lambda: self._ours(plain, "plain.bak"),
            (["sealed.bak"], ["plain.bak"]),
        )

    def striped(self) -> None:
        """Several media."""
        names = [f"stripe{number}.bak" for number in range(STRIPES)]
        self.compare(
            "striped",
            1.0,
            lambda: self._ours(BackupOptions(), *names),
            lambda: self._ours(BackupOptions(), "plain.bak"),
            (names, ["plain.bak"]),
        )

    def restore(self) -> None:
        """To a new name."""
        self._restore("restore", 1.1, ["ours.db"])

    def restore_live(self) -> None:
        """Over a database that is there."""
        shutil.copyfile(self.source, self._path("ours.db"))
        self._restore("restore-live", 2.5, [])

    def restore_open(self) -> None:
        """Over a database that another process has open."""
        shutil.copyfile(self.source, self._path("ours.db"))
        with subprocess.Popen(
            [sys.executable, "-c", READER, str(self._path("ours.db"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as reader:
            try:
                assert reader.stdout is not None
                reader.stdout.readline()
                self._restore("restore-open", 2.5, [])
            finally:
                reader.kill()

    def _restore(self, title: str, goal: float, begin_without: list[str]) -> None:
        medium = DiskDevice(self._path("restored.bak"))
        if not medium.path.exists():
            codec = Compression.of("ZSTD", "MEDIUM")
            self._ours(BackupOptions(compression=True, codec=codec), medium.path.name)
            self._zstd(self.source, codec.level)

        def theirs() -> None:
            run("zstd", "-q", "-f", "-d", self._path("copy.zst"), "-o", self._path("unpacked.db"))
            run("cp", self._path("unpacked.db"), self._path("theirs.db"))
            run("sync", self._path("theirs.db"))

        self.compare(
            title,
            goal,
            lambda: _done(restore_database(medium, 1, self._path("ours.db"), replace=True)),
            theirs,
            (begin_without, ["unpacked.db", "theirs.db"]),
        )

    def commits(self) -> None:
        """What writers notice."""
        copy = self._path("copied.db")
        shutil.copyfile(self.source, copy)
        codec = Compression.of("ZSTD", "MEDIUM")
        options = BackupOptions(compression=True, codec=codec, format=True)
        found: dict[str, list[float]] = {"ours": [], "theirs": []}
        for _ in range(self._runs):
            for who, work in (
                ("theirs", lambda: self._zstd(copy, codec.level)),
                ("ours", lambda: self._ours(options, "zstd.bak")),
            ):
                os.sync()
                found[who].append(self._latency(work))
        mine, other = (statistics.median(found[who]) for who in ("ours", "theirs"))
        print(
            f"{'commits':14} p99 ours {mine * 1e3:7.2f} ms  theirs {other * 1e3:7.2f} ms  "
            f"ratio {mine / other:.2f} (goal 1.2)  single runs {_range(found['ours'])} / "
            f"{_range(found['theirs'])}",
            flush=True,
        )
        detail = (
            f"{mine * 1e3:.2f} ms beside {other * 1e3:.2f} ms while zstd works; single runs "
            f"{_range(found['ours'])} beside {_range(found['theirs'])}"
        )
        note("backup", "p99 of commits meanwhile", mine / other, "x", 1.2, detail=detail)

    def _latency(self, work: Callable[[], None]) -> float:
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.source)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as writer:
            assert writer.stdin is not None
            assert writer.stdout is not None
            try:
                writer.stdout.readline()
                work()
                writer.stdin.write("stop\n")
                writer.stdin.flush()
                return float(writer.stdout.readline().split()[1])
            finally:
                writer.kill()

    def _ours(self, options: BackupOptions, *names: str) -> None:
        devices = DeviceSet(tuple(DiskDevice(self._path(name)) for name in names))
        backup_database(self.source, devices, description(), options)

    def _zstd(self, source: Path, level: int) -> None:
        run("zstd", "-q", "-f", f"-{level}", "-T2", source, "-o", self._path("copy.zst"))
        run("sync", self._path("copy.zst"))


def _range(seconds: list[float]) -> str:
    """How far single runs lie apart, in ms: a ratio within it says nothing."""
    return f"{min(seconds) * 1e3:.1f} to {max(seconds) * 1e3:.1f} ms"


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
    parser.add_argument("--only", nargs="+", default=None, help="some of the measurements")
    options = parser.parse_args()
    missing = [tool for tool in ("sqlite3", "zstd") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"not installed: {', '.join(missing)}")
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="bench-backup-") as name:
        bench = Bench(Path(name), options.runs)
        measurements = {
            "backup": bench.backup,
            "compressed": bench.compressed,
            "compressed-low": bench.compressed_low,
            "encrypted": bench.encrypted,
            "striped": bench.striped,
            "restore": bench.restore,
            "restore-live": bench.restore_live,
            "restore-open": bench.restore_open,
            "commits": bench.commits,
        }
        unknown = set(options.only or ()) - set(measurements)
        if unknown:
            raise SystemExit(f"no such measurement: {', '.join(sorted(unknown))}")
        make_database(bench.source, options.megabytes)
        print(f"database of {bench.source.stat().st_size / 1e6:.0f} MB, median of {options.runs} runs")
        for title, measure in measurements.items():
            if options.only is None or title in options.only:
                measure()


if __name__ == "__main__":
    main()

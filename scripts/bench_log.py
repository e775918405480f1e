#!/usr/bin/env python3
"""What capturing the log costs other processes that write, as ratios: with capture / without, in one run.

    scripts/bench_log.py [--seconds 8] [--runs 3] [--directory DIR] [--megabytes 1024] [--only NAME]

Four processes write single-row transactions over the C library, with a busy timeout and else its defaults.

* paced: 1,000 commits/s together, synchronous=FULL: 99th percentile of a commit's time (goal: at most 1.2)
* full, normal: as fast as they can: commits/s (goals: at least 0.9 and 0.6)

The WAL's largest size with capture is printed, too (goal: under 256 MB).

Through a running server:

* sync: what synchronous capture adds to a commit
* differential: after 1 % of the pages changed, beside the full backup (goals: 5 % of its time, 2 % of its
  size)
* stopat: STOPAT = now through the log of 100,000 small transactions (goal: a plain restore, and the log's
  bytes at 0.3 x the speed of sequential writing)
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import uuid
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts import bench_log_chain as chain
from scripts.bench_figures import note
from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer

WRITERS = 4
WRITER = """
import json, random, sqlite3, sys, time
path, seconds, rate, synchronous, seed = sys.argv[1:]
seconds, rate = float(seconds), float(rate)
connection = sqlite3.connect(path, isolation_level=None, timeout=30)
connection.execute("PRAGMA synchronous=" + synchronous)
rng = random.Random(seed)
notes = [rng.randbytes(100).hex() for _ in range(200)]
clock, times = time.perf_counter, []
print("ready", flush=True)
sys.stdin.readline()
begun = clock()
due, number = begun, 0
while True:
    now = clock()
    if now - begun >= seconds:
        break
    if rate:
        if now < due:
            time.sleep(due - now)
        due = max(due + 1 / rate, clock() - 0.5)
    note = notes[number % 200]
    number += 1
    start = clock()
    connection.execute("INSERT INTO orders(customer, note) VALUES(?, ?)", (number % 1000, note))
    times.append(clock() - start)
print(json.dumps(times))
"""


def make(path: Path) -> None:
    """An empty table with an index, in WAL mode."""
    code = (
        "import sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None);"
        "c.execute('PRAGMA journal_mode=WAL');"
        "c.execute('CREATE TABLE orders(id INTEGER PRIMARY KEY, customer INTEGER, note TEXT)');"
        "c.execute('CREATE INDEX by_customer ON orders(customer)')"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def write(path: Path, seconds: float, rate: float, synchronous: str) -> list[float]:
    """The times of all commits of four writers."""
    processes = [
        subprocess.Popen(
            [
                sys.executable,
                "-c",
                WRITER,
                str(path),
                str(seconds),
                str(rate / WRITERS),
                synchronous,
                str(number),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(WRITERS)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    times: list[float] = []
    for process in processes:
        times += json.loads(process.communicate()[0])
    return times


class Measurement:
    """Runs with and without capture, each on a fresh database."""

    def __init__(self, directory: Path, seconds: float) -> None:
        self._directory = directory
        self._seconds = seconds
        self.largest_wal = 0
        self.problems: list[str] = []

    def run(self, rate: float, synchronous: str, captured: bool) -> list[float]:
        """The times of the commits."""
        with tempfile.TemporaryDirectory(dir=self._directory) as name, ExitStack() as stack:
            path = Path(name) / "bench.db"
            make(path)
            if captured:
                stack.enter_context(self._capturing(path))
            return write(path, self._seconds, rate, synchronous)

    def _capturing(self, path: Path) -> ExitStack:
        stack = ExitStack()
        archive = Archive(path.parent / "log", uuid.uuid4(), uuid.uuid4(), lsns.FIRST)
        stack.callback(archive.close)
        capturer = Capturer(path, archive, report=self.problems.append)
        stack.callback(capturer.close)
        over = threading.Event()
        wal = path.with_name(path.name + "-wal")

        def look() -> None:
            while not over.wait(0.02):
                if wal.exists():
                    self.largest_wal = max(self.largest_wal, wal.stat().st_size)

        watcher = threading.Thread(target=look)
        watcher.start()
        stack.callback(watcher.join)
        stack.callback(over.set)
        return stack


def percentile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[int(len(times) * share)] * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", type=Path, default=None)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--transactions", type=int, default=chain.TRANSACTIONS)
    names = ["paced", "full", "normal", "sync", "differential", "stopat"]
    parser.add_argument("--only", choices=names, default=None)
    options = parser.parse_args()
    measurement = Measurement(options.directory or Path(tempfile.gettempdir()), options.seconds)
    for name, rate, synchronous in (("paced", 1000, "FULL"), ("full", 0, "FULL"), ("normal", 0, "NORMAL")):
        if options.only not in (None, name):
            continue
        found: dict[bool, list[float]] = {False: [], True: []}
        tails: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(options.runs):
            for captured in (False, True):
                times = measurement.run(rate, synchronous, captured)
                tails[captured].append(percentile(times, 0.99))
                found[captured].append(percentile(times, 0.99) if rate else len(times) / options.seconds)
        without, with_capture = statistics.median(found[False]), statistics.median(found[True])
        unit = "ms p99" if rate else "commits/s"
        print(
            f"{name:7} without {without:9.2f} {unit}  with {with_capture:9.2f}  "
            f"ratio {with_capture / without:.2f}  (p99 {statistics.median(tails[False]):.2f} -> "
            f"{statistics.median(tails[True]):.2f} ms)",
            flush=True,
        )
        goal = {"paced": 1.2, "full": 0.9, "normal": 0.6}[name]
        detail = f"{without:.2f} {unit} without capture, {with_capture:.2f} with"
        note("log", f"{name}, {unit}", with_capture / without, "x", goal, at_most=bool(rate), detail=detail)
    if measurement.largest_wal:
        print(f"largest WAL with capture: {measurement.largest_wal / 1e6:.0f} MB", flush=True)
        note("log", "largest WAL", measurement.largest_wal / 1e6, "MB", 256)
    for problem in measurement.problems:
        print(f"problem: {problem}")
    if options.only in (None, "sync"):
        chain.sync()
    if options.only in (None, "differential"):
        chain.differential(options.megabytes)
    if options.only in (None, "stopat"):
        chain.stopat(options.megabytes, options.transactions)


if __name__ == "__main__":
    main()

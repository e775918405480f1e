#!/usr/bin/env python3
"""BACKUP TO URL and RESTORE FROM URL against a local S3 server, beside obstore alone, in one run.

    scripts/bench cloud [--megabytes 1024] [--pairs 5] [--seconds 120] [--directory DIR]

* backup: without compression, to one URL, beside obstore's upload of a ready file of that size to the same
server. Both are done in pairs, each first in every other one; the ratio is the median of the pairs' ratios.
The goal is 0.8 * memory: how much more the keeper takes at most during it than at rest; the goal is under
150 MB * restore: beside obstore's download into a file, once

No pair is begun when the seconds are over, but two are always done. The S3 server (moto) runs in a process of
its own and is the slow part of all of it: "cpu" says how many seconds each side has computed for one of them,
and how many the server. The threads of a backup that compute give way to everybody else (nice 10): beside
other work on the machine the ratio falls.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import obstore
from obstore.store import S3Store

from scripts.bench_backup import make_database
from scripts.bench_figures import note
from tests.objects.s3_server import IDENTITY, KEY, SECRET
from tests.running import Running, running

ROOT = Path(__file__).resolve().parent.parent
SERVER = """
import sys, threading
from tests.objects.s3_server import s3_server
with s3_server() as s3:
    s3.bucket("bench")
    print(s3.port, flush=True)
    sys.stdin.read()
"""
PART = 10 << 20


@dataclass(frozen=True)
class Taken:
    """Seconds: of time, of the one process's computing, and of the server's meanwhile."""

    wall: float
    cpu: float
    server: float


def cpu(pid: int) -> float:
    """Seconds that all threads of a process have computed."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def timed(work: Callable[[], object], pid: int, server: int) -> Taken:
    before = time.perf_counter(), cpu(pid), cpu(server)
    work()
    after = time.perf_counter(), cpu(pid), cpu(server)
    return Taken(*(end - begin for begin, end in zip(before, after, strict=True)))


class Memory:
    """The resident memory of a process: at rest, and the most while the block runs (MB)."""

    def __init__(self, pid: int) -> None:
        self._status = Path(f"/proc/{pid}/status")
        self._stop = threading.Event()
        self.rest = self.most = self._now()

    def _now(self) -> float:
        line = next(line for line in self._status.read_text().splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def __enter__(self) -> Memory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._stop.wait(0.02):
            self.most = max(self.most, self._now())

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def run(server: Running, text: str) -> None:
    connection = server.connect(timeout=3600)
    try:
        cursor = connection.cursor()
        cursor.execute(text)
        while cursor.nextset():
            pass
    finally:
        connection.close()


def measure(asked: argparse.Namespace, directory: Path, s3: subprocess.Popen[str], port: int) -> None:
    store = directory / "store"
    store.mkdir()
    make_database(store / "big.db", asked.megabytes)
    size = (store / "big.db").stat().st_size
    url = f"s3://127.0.0.1:{port}/bench"
    peer = S3Store(
        "bench",
        endpoint=f"http://127.0.0.1:{port}",
        access_key_id=KEY,
        secret_access_key=SECRET,
        region="us-east-1",
        client_options={"allow_http": True, "timeout": "300s"},
    )

    def upload() -> None:
        obstore.put(peer, "ready.db", store / "big.db", chunk_size=PART)

    def download() -> None:
        with (directory / "down").open("wb") as file:
            for piece in obstore.get(peer, "ready.db").stream(min_chunk_size=4 << 20):
                file.write(piece)

    with running(store) as server:
        run(server, f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        run(server, f"BACKUP DATABASE model TO URL = '{url}/warm.bak' WITH FORMAT")
        keeper = int((store / "keeper.lock").read_text())
        taken: list[tuple[float, float]] = []

        def backup() -> None:
            with Memory(keeper) as memory:
                run(server, f"BACKUP DATABASE big TO URL = '{url}/big.bak' WITH FORMAT")
            taken.append((memory.most - memory.rest, memory.rest))

        def both(number: int) -> tuple[Taken, Taken]:
            """Ours and theirs, which is first in every other one."""
            sides = [(backup, keeper), (upload, os.getpid())]
            done = [timed(work, pid, s3.pid) for work, pid in sides[:: 1 if number % 2 else -1]]
            ours, theirs = done if number % 2 else done[::-1]
            return ours, theirs

        obstore.put(peer, "warm.db", bytes(64 << 20), chunk_size=PART)
        pairs: list[tuple[Taken, Taken]] = []
        until = time.monotonic() + asked.seconds
        while len(pairs) < asked.pairs and (len(pairs) < 2 or time.monotonic() < until):
            pairs.append(both(len(pairs) + 1))
        ours, theirs = ([pair[side] for pair in pairs] for side in (0, 1))
        _show("backup", size, ours, theirs, " (goal 0.80)")
        more, rest = max(taken)
        print(f"memory   {more:7.1f} MB more than at rest, {rest:.1f} MB (goal under 150)")
        down = timed(download, os.getpid(), s3.pid)
        moves = "MOVE 'big' TO '/var/opt/mssql/data/r.mdf', MOVE 'big_log' TO '/var/opt/mssql/data/r.ldf'"
        text = f"RESTORE DATABASE r FROM URL = '{url}/big.bak' WITH {moves}"
        _show("restore", size, [timed(lambda: run(server, text), keeper, s3.pid)], [down], "")


def _show(what: str, size: int, ours: list[Taken], theirs: list[Taken], goal: str) -> None:
    ratios = [peer.wall / mine.wall for mine, peer in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    rate, peer_rate = (size / 1e6 / statistics.median(one.wall for one in side) for side in (ours, theirs))
    print(f"{what:8} {rate:7.1f} MB/s   obstore {peer_rate:7.1f} MB/s   ratio {ratio:.2f}{goal}")
    print(f"{'':8} ratios of the pairs: {', '.join(f'{one:.2f}' for one in ratios)}")
    for name, side in (("ours", ours), ("obstore", theirs)):
        mine, server = (statistics.median(getattr(one, kind) for one in side) for kind in ("cpu", "server"))
        print(f"{'':8} cpu of {name}: {mine:.1f} s, of the server {server:.1f} s")
    note("cloud", what, ratio, "x obstore", at_most=False, detail=f"{rate:.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory, prefix="bench-cloud-") as directory:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            measure(asked, Path(directory), server, port)
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()

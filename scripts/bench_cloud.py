#!/usr/bin/env python3
"""BACKUP TO URL and RESTORE FROM URL against a local S3 server, beside obstore alone, in one run.

    scripts/bench cloud [--megabytes 1024] [--runs 3] [--directory DIR]

* backup: without compression, to one URL, beside obstore's upload of a ready file of that size to the same
server; the goal is 0.8 of its rate * memory: how much more the keeper takes at most during it than at rest;
the goal is under 150 MB * restore: beside obstore's download into a file

The S3 server (moto) runs in a process of its own and is the slow part of all of it.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
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


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


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


def measure(directory: Path, megabytes: int, runs: int, port: int) -> None:
    store = directory / "store"
    store.mkdir()
    make_database(store / "big.db", megabytes)
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
        theirs, ours, down, restore = [], [], [], []
        for number in range(runs):
            theirs.append(timed(upload))
            with Memory(keeper) as memory:
                ours.append(
                    timed(lambda: run(server, f"BACKUP DATABASE big TO URL = '{url}/big.bak' WITH FORMAT"))
                )
            taken.append((memory.most - memory.rest, memory.rest))
            down.append(timed(download))
            moves = f"MOVE 'big' TO 'r{number}.mdf', MOVE 'big_log' TO 'r{number}.ldf'"
            moves = moves.replace("TO '", "TO '/var/opt/mssql/data/")
            text = f"RESTORE DATABASE r{number} FROM URL = '{url}/big.bak' WITH {moves}"
            restore.append(timed(lambda text=text: run(server, text)))
            run(server, f"DROP DATABASE r{number}")
    megabytes_ = size / 1e6
    _show("backup", megabytes_, ours, theirs, " (goal 0.80)")
    more, rest = max(taken)
    print(f"memory   {more:7.1f} MB more than at rest, {rest:.1f} MB (goal under 150)")
    _show("restore", megabytes_, restore, down, "")


def _show(what: str, megabytes: float, ours: list[float], theirs: list[float], goal: str) -> None:
    mine, peer = statistics.median(ours), statistics.median(theirs)
    rates = f"{megabytes / mine:7.1f} MB/s   obstore {megabytes / peer:7.1f} MB/s"
    print(f"{what:8} {rates}   ratio {peer / mine:.2f}{goal}")
    note("cloud", what, peer / mine, "x obstore", at_most=False, detail=f"{megabytes / mine:.0f} MB/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--directory", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=asked.directory, prefix="bench-cloud-") as directory:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER],
            cwd=ROOT,
            env=None,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            measure(Path(directory), asked.megabytes, asked.runs, port)
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    main()

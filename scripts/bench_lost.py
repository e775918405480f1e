#!/usr/bin/env python3
"""A machine is lost under load: what is lost with it, and how long it takes to have everything back.

    scripts/bench lost [--megabytes 100] [--seconds 10] [--interval 1] [--directory DIR]

A store with a database of that size is synchronised to a local S3 server (moto, a process of its own), and
followed by a standby. Rows are committed one by one, each noted when its commit was acknowledged. Then server
and keeper are killed (SIGKILL), the store is deleted, and

* lost machine: ``tdsproxy restore --all --take-over`` makes a store of the object store alone
* standby: ``tdsproxy restore --all --recovery`` on the standby

Of each: the seconds until the database answers a query, the commits that were acknowledged and are not there,
and how long before the kill the oldest of them was, beside the lag that was shown at the kill. A commit from
before the moment that was shown as safe may never be lost: the run fails then.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench_cloud import SERVER
from scripts.bench_figures import note
from tests.keeper.shop import read_state, wait_for
from tests.objects.s3_server import KEY, SECRET
from tests.running import Running, running

ROOT = Path(__file__).resolve().parent.parent
_ROW = 2000


@dataclass(frozen=True)
class Loss:
    """``shown`` is the lag in seconds at the kill, ``lost`` counts commits, ``oldest`` is how many seconds
    before the kill the first of them was acknowledged (0 without one)."""

    seconds: float
    shown: float
    lost: int
    oldest: float


class Load:
    """Commits rows until it fails; ``acknowledged`` are times (ns) by id."""

    def __init__(self, server: Running) -> None:
        self._connection = server.connect()
        self.acknowledged: list[int] = []
        self.end = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        cursor = self._connection.cursor()
        while not self.end.is_set():
            try:
                cursor.execute(f"INSERT shop.dbo.t VALUES ({len(self.acknowledged)}, 'x')")
            except (pytds.Error, OSError):  # the server was killed
                return
            self.acknowledged.append(time.time_ns())

    def join(self) -> None:
        self._thread.join(120)


def _command(*words: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    return dict(json.loads(done.stdout))


def _there(server: Running) -> int:
    connection = server.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT COUNT(*), COALESCE(MAX(id), -1) FROM shop.dbo.t")
    ((count, last),) = cursor.fetchall()
    connection.close()
    if count != last + 1:
        raise SystemExit(f"{count} rows, but the last one is {last}: a commit in between is lost")
    return int(count)


def _loss(load: Load, killed: int, through: int, there: int, seconds: float) -> Loss:
    lost = load.acknowledged[there:]
    if lost and lost[0] <= through:
        raise SystemExit(f"row {there} was acknowledged before the moment that was shown as safe")
    oldest = (killed - lost[0]) / 1e9 if lost else 0.0
    return Loss(seconds, (killed - through) / 1e9, len(lost), max(0.0, oldest))


def measure(directory: Path, megabytes: int, seconds: float, interval: float, port: str) -> dict[str, Loss]:
    """By what was done."""
    secret = directory / "secret"
    secret.write_text(f"{KEY}:{SECRET}")
    url = f"s3://127.0.0.1:{port}/bench/one"
    sync = ("--sync", url, "--sync-secret-file", str(secret), "--sync-interval", str(interval))
    follow = ("--follow", url, "--follow-secret-file", str(secret), "--follow-interval", str(interval))
    with running(directory / "store", *sync) as server:
        connection = server.connect()
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.dbo.filler (text varchar(4000))")
        rows = (megabytes << 20) // _ROW
        cursor.execute(
            "INSERT shop.dbo.filler"
            f" SELECT CONVERT(varchar(4000), CRYPT_GEN_RANDOM({_ROW // 2}), 2)"
            f" FROM GENERATE_SERIES(1, {rows})"
        )
        cursor.execute("CREATE TABLE shop.dbo.t (id int PRIMARY KEY, text varchar(10))")
        cursor.execute("BACKUP DATABASE shop TO DISK = 'shop.bak' WITH COMPRESSION")
        connection.close()
        begun = time.time_ns()

        def sent() -> dict[str, Any]:
            return read_state(server.store, ".sync")

        wait_for(lambda: (sent().get("through_ns") or 0) > begun and not sent().get("files_waiting"))
        with running(directory / "standby", *follow) as standby:

            def followed() -> dict[str, Any]:
                return read_state(standby.store, ".follow")

            load = Load(server)
            first = time.time_ns()
            wait_for(lambda: bool(load.acknowledged) and (followed().get("through_ns") or 0) > first)
            time.sleep(seconds)
            keeper = int((server.store / "keeper.lock").read_text())
            safe, behind = int(sent()["through_ns"]), int(followed()["through_ns"])
            killed = time.time_ns()
            os.kill(keeper, signal.SIGKILL)
            server.process.kill()
            load.end.set()
            load.join()
            shutil.rmtree(server.store)
            started = time.monotonic()
            _command("restore", "--all", "--recovery", "--store", str(standby.store), "--json")
            there = _there(standby)
            found = {"standby": _loss(load, killed, behind, there, time.monotonic() - started)}
        started = time.monotonic()
        words = ("restore", "--all", "--from", url, "--take-over", "--store", str(directory / "new"))
        _command(*words, "--secret-file", str(secret), "--json")
        with running(directory / "new") as new:
            there = _there(new)
            found["lost machine"] = _loss(load, killed, safe, there, time.monotonic() - started)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--interval", type=float, default=1.0)
    parser.add_argument("--directory", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.directory) as directory:
        server = subprocess.Popen(
            [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
        )
        try:
            assert server.stdout is not None
            port = server.stdout.readline().strip()
            found = measure(Path(directory), given.megabytes, given.seconds, given.interval, port)
        finally:
            server.kill()
            server.wait()
    for name, loss in found.items():
        print(
            f"{name}: back after {loss.seconds:.1f} s; {loss.lost} commits lost,"
            f" the first {loss.oldest:.2f} s before the kill; shown lag {loss.shown:.2f} s"
        )
        note("lost", f"{name}: until it answers", loss.seconds, "s")
        note("lost", f"{name}: commits lost", loss.oldest, "s", loss.shown)


if __name__ == "__main__":
    main()

"""A database whose rows are known with the time at which each was acknowledged."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.running import Running

LIMIT = 120.0


def read_state(store: Path, directory: str) -> dict[str, Any]:
    """What a keeper has noted of its synchronisation (``.sync``) or following (``.follow``)."""
    with contextlib.suppress(FileNotFoundError):
        return dict(json.loads((store / directory / "state.json").read_text()))
    return {}


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def tdsproxy(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=120, check=False
    )


class Shop:
    """``rows`` are the times (ns) at which each row was acknowledged, by their ids."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._connection = server.connect()
        self.rows: list[int] = []
        self.run("CREATE DATABASE shop")
        self.run("CREATE TABLE shop.dbo.t (id int)")
        self.run("BACKUP DATABASE shop TO DISK = 'shop.bak'")

    def run(self, text: str) -> None:
        cursor = self._connection.cursor()
        cursor.execute(text)
        while cursor.nextset():
            pass

    def insert(self, count: int = 1) -> None:
        for _ in range(count):
            self.run(f"INSERT shop.dbo.t VALUES ({len(self.rows)})")
            self.rows.append(time.time_ns())

    def state(self) -> dict[str, Any]:
        return read_state(self._server.store, ".sync")

    def shipped(self) -> None:
        """Waits until all rows are where the store is synchronised to."""
        last = self.rows[-1]
        wait_for(
            lambda: (self.state().get("through_ns") or 0) > last and not self.state().get("files_waiting")
        )

    def until(self, through_ns: int) -> list[int]:
        """The rows that were acknowledged up to a time."""
        return [number for number, at in enumerate(self.rows) if at <= through_ns]

    def crash(self) -> None:
        """Server and keeper are killed, at once: neither sees that the other one has gone."""
        self._server.process.send_signal(signal.SIGSTOP)
        os.kill(int((self._server.store / "keeper.lock").read_text()), signal.SIGKILL)
        self._server.process.kill()
        self._server.process.wait(LIMIT)


def ids(server: Running) -> list[int]:
    """The rows that are in the database now, in order."""
    connection = server.connect()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT id FROM shop.dbo.t ORDER BY id")
        return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()

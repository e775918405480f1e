"""Runs the real commands for tests: a server process on a free port of loopback, and its end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PASSWORD = "Demo-pass-1"
START_LIMIT = 150.0
"""Seconds: several times what a start takes on a machine that is very busy."""

EXACT = {"TDSPROXY_CAPTURE": "sync"}
"""Environment of a server whose log knows each commit's time however late the keeper looks: for tests that
restore to a moment between two commits."""


@dataclass(frozen=True)
class Running:
    """A ``tdsproxy serve`` or ``server`` that answers on ``host``:``port``."""

    host: str
    port: int
    store: Path
    process: subprocess.Popen[bytes]
    log: Path

    password: str = PASSWORD

    @property
    def certificate(self) -> Path:
        return self.store / "tls" / "cert.pem"

    @property
    def backup_directory(self) -> Path:
        return self.store / "backup"

    def connect(self, **arguments: Any) -> Any:
        """A pytds connection as sa, with autocommit."""
        import pytds

        arguments.setdefault("user", "sa")
        arguments.setdefault("password", self.password)
        arguments.setdefault("autocommit", True)
        arguments.setdefault("login_timeout", 120)
        return pytds.connect(server=self.host, port=self.port, **arguments)

    def stop(self) -> int:
        """SIGTERM, and the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(5)
            raise


def start(store: Path, *arguments: str, command: str = "serve", env: dict[str, str] | None = None) -> Running:
    """Start it and wait until it answers. Raises AssertionError with its log when it does not."""
    store.parent.mkdir(parents=True, exist_ok=True)
    ready = store.parent / f"{store.name}-{command}-{time.monotonic_ns()}.ready"
    log = ready.with_suffix(".log")
    environment = {**os.environ, "TDSPROXY_SA_PASSWORD": PASSWORD, "PYTHONFAULTHANDLER": "1", **(env or {})}
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tdsproxy",
                command,
                "--store",
                str(store),
                "--listen",
                "127.0.0.1:0",
                "--ready-file",
                str(ready),
                *arguments,
            ],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=environment,
        )
    deadline = time.monotonic() + START_LIMIT
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"tdsproxy {command} did not get ready:\n{_why(process, log, store)}")
        time.sleep(0.005)
    answer = json.loads(ready.read_text())
    return Running(answer["host"], answer["port"], store, process, log)


def _why(process: subprocess.Popen[bytes], log: Path, store: Path) -> str:
    """What the logs say and, of a process that hangs, where its threads are; it is ended."""
    with contextlib.suppress(OSError, ValueError):
        keeper = int((store / "keeper.lock").read_text())
        if os.fsencode(store) in Path(f"/proc/{keeper}/cmdline").read_bytes():
            os.kill(keeper, signal.SIGABRT)
    # With PYTHONFAULTHANDLER this writes the stacks.
    process.send_signal(signal.SIGABRT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)
    texts = [path.read_text(errors="replace") for path in (log, store / "keeper.log") if path.exists()]
    return "\n".join(texts)


@contextlib.contextmanager
def running(store: Path, *arguments: str, command: str = "serve", **more: Any) -> Iterator[Running]:
    server = start(store, *arguments, command=command, **more)
    try:
        yield server
    finally:
        server.stop()

"""Running ``sqlite_process`` from tests."""

from __future__ import annotations

import atexit
import functools
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("sqlite_process.py")


@functools.cache
def _server() -> subprocess.Popen[str]:
    """One process for all commands that come to an end: starting an interpreter takes longer than they do."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(60)


def run(command: str, path: Path, *arguments: str) -> str:
    """Run one command to its end and return what it printed."""
    process = _server()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([command, str(path), *arguments]) + "\n")
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    if answer["error"]:
        raise RuntimeError(answer["error"])
    return str(answer["output"])


def build(path: Path, **options: object) -> None:
    """Make a database at ``path``."""
    run("build", path, json.dumps(options))


def check(path: Path) -> dict[str, Any]:
    """What another SQLite sees in ``path``."""
    found: dict[str, Any] = json.loads(run("check", path))
    return found


@contextmanager
def started(command: str, path: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command that goes on; killed at the end."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), command, str(path), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()

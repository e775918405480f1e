"""Running ``sqlite_process`` from tests."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("sqlite_process.py")


def run(command: str, path: Path, *arguments: str) -> str:
    """Run one command to its end and return what it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), command, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


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
        process.communicate(timeout=30)


def read_line(process: subprocess.Popen[str]) -> str:
    """The next line that the process prints."""
    assert process.stdout is not None
    return process.stdout.readline().strip()

"""The running product as a campaign sees it: a listener and its store's keeper, to be killed and watched."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytds

from tests.running import Running, start

KEEPER_LOCK = "keeper.lock"
PATIENCE = 60.0
"""Seconds after which whatever was waited for counts as hanging."""

_INTEGRITY = """
import sqlite3, sys
for path in sys.argv[1:]:
    connection = sqlite3.connect("file:%s?mode=ro" % path, uri=True, timeout=20)
    print(connection.execute("PRAGMA integrity_check").fetchone()[0].splitlines()[0])
    connection.close()
"""


def until(condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def is_running(pid: int) -> bool:
    """Whether there is such a process that is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def memory_of(pid: int) -> int:
    """Resident bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def threads_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def integrity(paths: Sequence[Path]) -> list[str]:
    """What ``PRAGMA integrity_check`` of another process's SQLite says of each file."""
    done = subprocess.run(
        [sys.executable, "-c", _INTEGRITY, *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    lines = done.stdout.splitlines()
    return lines + [done.stderr.strip()[-200:]] * (len(paths) - len(lines))


class Product:
    """``tdsproxy serve`` over a store in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = directory / "store"
        self.victim_file = directory / "victim.pid"
        """While it is there, a keeper that was started with a crash point kills the process named in it."""
        self._running: Running | None = None
        self._logs: list[Path] = []

    # ------------------------------------------------------------------ life

    def start(self, *arguments: str, **environment: str) -> None:
        """The listener, and by it the keeper unless one runs."""
        self._running = start(self.store, *arguments, env=environment)
        self._logs.append(self._running.log)

    @property
    def running(self) -> Running:
        assert self._running is not None
        return self._running

    @property
    def listener_pid(self) -> int:
        return self.running.process.pid

    @property
    def listener_lives(self) -> bool:
        return self.running.process.poll() is None

    def keeper_pid(self) -> int | None:
        """The keeper of this store, when it runs."""
        try:
            pid = int((self.store / KEEPER_LOCK).read_text() or 0)
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if os.fsencode(self.store) in command and is_running(pid) else None

    def arm(self, pid: int) -> None:
        """From now on a named place kills this process."""
        made = self.victim_file.with_suffix(".new")
        made.write_text(str(pid))
        made.rename(self.victim_file)

    def disarm(self) -> None:
        self.victim_file.unlink(missing_ok=True)

    def kill_listener(self) -> None:
        self.running.process.kill()
        self.running.process.wait(PATIENCE)

    def kill_keeper(self) -> int | None:
        """Its process id; None when there was none."""
        pid = self.keeper_pid()
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return pid

    def kill_everything(self) -> None:
        """All processes whose command names this store."""
        if self._running is not None and self.listener_lives:
            self.kill_listener()
        mine = os.fsencode(self.store)
        for entry in Path("/proc").iterdir():
            if not entry.name.isdecimal() or int(entry.name) == os.getpid():
                continue
            with contextlib.suppress(OSError):
                if mine in (entry / "cmdline").read_bytes():
                    os.kill(int(entry.name), signal.SIGKILL)

    # ------------------------------------------------------------------ use

    def connect(self, **arguments: Any) -> Any:
        """A pytds connection as sa."""
        return self.running.connect(timeout=PATIENCE, **arguments)

    @contextlib.contextmanager
    def cursor(self, **arguments: Any) -> Iterator[Any]:
        with self.connect(**arguments) as connection:
            yield connection.cursor()

    def medium(self, name: str) -> Path:
        return self.store / "backup" / name

    def file(self, database: str) -> Path:
        return self.store / f"{database}.db"

    # ------------------------------------------------------------------ logs

    def log_text(self) -> str:
        paths = [*self._logs, self.store / "keeper.log"]
        return "\n".join(path.read_text(errors="replace") for path in paths if path.exists())

    def forget_logs(self) -> None:
        """What earlier listeners wrote is of no interest any more."""
        self._logs.clear()

    def tracebacks(self) -> list[str]:
        """The distinct tracebacks in the logs: where, and what."""
        found: dict[str, None] = {}
        inner: list[str] | None = None
        for line in self.log_text().splitlines():
            if line.startswith("Traceback "):
                inner = []
            elif inner is not None and line.startswith(" "):
                inner.append(line.strip())
            elif inner is not None and line:
                place = next((text for text in reversed(inner) if text.startswith("File ")), "")
                found[f"{place.rpartition('/')[2]}: {line}"] = None
                inner = None
        return list(found)


@contextlib.contextmanager
def product() -> Iterator[Product]:
    """A product that is not started yet; at the end nothing of it is left."""
    made = Product(Path(tempfile.mkdtemp(prefix="tdsproxy-torture-")))
    try:
        yield made
    finally:
        made.kill_everything()
        shutil.rmtree(made.directory, ignore_errors=True)


def run(cursor: Any, sql: str) -> None:
    """A statement to its end. Raises pytds.Error."""
    cursor.execute(sql)
    while cursor.nextset():
        continue


def rows(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    """The rows of the first result set."""
    cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()]


def named_rows(cursor: Any, sql: str) -> list[dict[str, Any]]:
    cursor.execute(sql)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


LOST = (pytds.Error, OSError)
"""What a client sees of a server that dies."""

"""Starting the process of a store's keeper. Little is imported here: a server does this first of all, so
that both get ready at the same time.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from tdsproxy.keeper.address import LOG_NAME, KeeperUnavailable, connect_socket
from tdsproxy.keeper.options import KeeperOptions

_DEADLINE_SECONDS: Final = 60.0
_LOG_LIMIT: Final = 1_000_000


def is_listening(store: Path) -> bool:
    """Whether a keeper accepts connections for the store."""
    try:
        connect_socket(store).close()
    except OSError:
        return False
    return True


def ensure_keeper(options: KeeperOptions) -> int | None:
    """Returns when a keeper listens: None when there was one already (its own options are in force), or the
    process id of the one started here. Raises KeeperUnavailable.

    The keeper is a process of its own session: it outlives the one that started it, and stops by itself
    when it has had no client for a while. It writes its log to ``STORE/keeper.log``.
    """
    deadline = time.monotonic() + _DEADLINE_SECONDS
    while time.monotonic() < deadline:
        if is_listening(options.store):
            return None
        started = _start(options, deadline)
        if started is not None:
            return started
    raise KeeperUnavailable(f"the keeper of {options.store} does not start: see {LOG_NAME} there")


def _start(options: KeeperOptions, deadline: float) -> int | None:
    """The process id of a keeper that has become ready; None when it ended before (another one may own
    the store by now)."""
    options.store.mkdir(mode=0o700, parents=True, exist_ok=True)
    reading, writing = os.pipe()
    command = (sys.executable, "-m", "tdsproxy.keeper")
    try:
        log = _open_log(options.store / LOG_NAME)
        try:
            process = subprocess.Popen(
                [*command, *options.arguments(), "--ready-fd", str(writing)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
            )
        finally:
            os.close(log)
            os.close(writing)
        if select.select([reading], [], [], max(0.0, deadline - time.monotonic()))[0] and os.read(
            reading, 16
        ):
            _reap_later(process)
            return process.pid
    finally:
        os.close(reading)
    if process.poll() is None:
        process.terminate()
    process.wait()
    return None


def _reap_later(process: subprocess.Popen[bytes]) -> None:
    """A keeper that stops before its starter must not stay behind as a zombie."""
    import threading

    threading.Thread(target=process.wait, name="keeper reaper", daemon=True).start()


def _open_log(path: Path) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    if os.fstat(descriptor).st_size > _LOG_LIMIT:
        os.ftruncate(descriptor, 0)
    return descriptor

"""The keeper's process: one for a store, from its lock to its last client.

It owns ``STORE/keeper.lock`` (flock, with its process id inside) and listens on ``STORE/keeper.sock``,
which only its own user may reach. It stops on SIGTERM or SIGINT, and when it has had no client for a while.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from tdsproxy.catalog.catalog import initialise
from tdsproxy.commands.environment import CommandEnvironment, ServerIdentity
from tdsproxy.commands.locks import DatabaseLocks
from tdsproxy.commands.open_keys import OpenMasterKeys
from tdsproxy.commands.paths import DevicePaths
from tdsproxy.commands.request import NativeRequest
from tdsproxy.commands.startup import begin
from tdsproxy.keeper.address import LOCK_NAME, SOCKET_NAME, socket_address
from tdsproxy.keeper.agency import StoreAgent
from tdsproxy.keeper.audit import Audit
from tdsproxy.keeper.connection import ClientConnection
from tdsproxy.keeper.log_events import LogEvents
from tdsproxy.keeper.log_format import configure
from tdsproxy.keeper.options import KeeperOptions, parse_arguments, read_wanted
from tdsproxy.keeper.sessions import SessionRegistry
from tdsproxy.keeper.supervision import Supervision, only_looks
from tdsproxy.keeper.sync_procedures import sync_procedures
from tdsproxy.log.records import LogError
from tdsproxy.log.service import LogService
from tdsproxy.media.pace import TokenBucket
from tdsproxy.objects.options import Reaching
from tdsproxy.store.install import remove_leftovers
from tdsproxy.store.threads import ENDED, task_ended, tell_of_ends
from tdsproxy.store.upload_notes import notes
from tdsproxy.tsql.replies import Reply

if TYPE_CHECKING:
    from tdsproxy.keeper.follow import Follow
    from tdsproxy.keeper.sync import Sync

EXIT_OWNED = 3
"""The exit status when another keeper owns the store."""

_WORKERS = 64
_TEND_SECONDS = 60.0
_LOCK_SECONDS = 1.0
_LOCK_RETRY_SECONDS = 0.02
_FIRST_CLIENT_SECONDS = 15.0
_PEER = struct.Struct("3i")

_log = logging.getLogger(__name__)


class StoreOwned(Exception):
    """Another keeper holds the store's lock."""


def take_lock(store: Path) -> int:
    """The descriptor that holds the store's lock. Raises StoreOwned when another process keeps it; one that
    is about to stop is waited for."""
    descriptor = os.open(store / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StoreOwned(str(store)) from None
            time.sleep(_LOCK_RETRY_SECONDS)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        return descriptor


def listen(store: Path) -> socket.socket:
    """The store's socket, for this user alone. To be called by the owner of the lock: what lies there is
    left over."""
    with suppress(FileNotFoundError):
        (store / SOCKET_NAME).unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with socket_address(store) as address:
            listener.bind(address)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    listener.listen(64)
    return listener


def peer_is_trusted(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side runs as our user or as root (SO_PEERCRED, unix(7))."""
    connection = writer.get_extra_info("socket")
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
    uid = _PEER.unpack(raw)[1]
    return uid in (0, os.geteuid())


class Keeper:
    """Serves the clients of one store. The store's lock must be held."""

    def __init__(self, options: KeeperOptions) -> None:
        self._options = options
        self._audit = Audit(options.store)
        self._supervision = Supervision(options.store)
        for path in remove_leftovers(options.store):
            _log.info("removed %s, left behind by a restore that was killed", path)
        self._catalog = initialise(options.store)
        self._catalog.databases.release_seat()
        self._catalog.databases.refresh()
        open_keys = OpenMasterKeys()
        self._sessions = SessionRegistry(self._catalog.databases, on_end=open_keys.close)
        self._environment = CommandEnvironment(
            self._catalog,
            DevicePaths.of_store(options.store, options.backup_directory, options.allowed, options.mappings),
            self._sessions,
            DatabaseLocks(),
            ServerIdentity.of_this_machine(options.server_name),
            procedures=self._supervision.procedures,
            logs=LogService(
                options.store,
                report=_report_log,
                keep_bytes=options.log_bytes,
                keep_seconds=options.log_seconds,
            ),
            open_keys=open_keys,
            reaching=Reaching(options.s3_http, options.ca_file),
            allowance=TokenBucket(options.max_rate) if options.max_rate else None,
        )
        self._logs = self._environment.logs
        self._agent = StoreAgent(self._environment, options, self._run, self._supervision.mail)
        asked = {
            **self._supervision.procedures,
            **self._agent.procedures,
            **sync_procedures(lambda: self._options.sync),
        }
        self._environment = replace(self._environment, agent=self._agent, procedures=asked)
        self._orphaned = False
        self._waited = False
        self._supervision.bind(self._environment, self._run, self._agent.alert)
        begin(self._environment)
        self._unfinished = notes(options.store)
        self._sync = self._begin_sync()
        self._follow = self._begin_to_follow()
        self._log_events = None if self._logs is None else LogEvents(self._logs, self._catalog)
        self._executor = ThreadPoolExecutor(_WORKERS, "statement")
        self._connections: dict[ClientConnection, asyncio.Task[None]] = {}
        self._stopping = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None

    def stop(self) -> None:
        """Lets ``serve`` return soon."""
        self._stopping.set()

    async def serve(self, listener: socket.socket) -> None:
        """Returns when the keeper was told to stop, or nobody has needed it for a while."""
        asyncio.get_running_loop().set_exception_handler(task_ended)
        server = await asyncio.start_unix_server(self._accept, sock=listener)
        self._watch_idle(max(_FIRST_CLIENT_SECONDS, self._options.idle_seconds))
        self._executor.submit(_warm_up)
        if self._unfinished:
            self._executor.submit(self._remove_unfinished)
        self._supervision.start()
        tending = asyncio.create_task(self._tend_logs())
        try:
            await self._stopping.wait()
        finally:
            tending.cancel()
            await asyncio.to_thread(self._agent.close)
            # From here on a client that comes finds no socket and starts another keeper, which waits for us.
            with suppress(FileNotFoundError):
                (self._options.store / SOCKET_NAME).unlink()
            server.close()
            await asyncio.to_thread(self._supervision.close)
            await self._end_statements()
            for connection in list(self._connections):
                connection.close()
            if self._connections:
                await asyncio.wait(self._connections.values(), timeout=self._options.grace_seconds)
            self._executor.shutdown(wait=True, cancel_futures=True)
            if self._log_events is not None:
                self._log_events.close()
            if self._follow is not None:
                await asyncio.to_thread(self._follow.close)
            if self._sync is not None:
                await asyncio.to_thread(self._sync.close)
            if self._logs is not None:
                self._logs.close()
            self._catalog.close()

    def _remove_unfinished(self) -> None:
        """What a keeper that was killed has left in object stores."""
        from tdsproxy.commands.unfinished_uploads import remove_unfinished

        remove_unfinished(self._environment, self._unfinished)

    def _serve_elsewhere(self, wanted: str) -> None:
        """Who serves the store has found this keeper, which may have been started by a command: it sends and
        follows as he was told, not as the command was."""
        sync, follow = read_wanted(wanted)
        if self._stopping.is_set():
            return
        if sync is not None and self._sync is None:
            self._options = replace(self._options, sync=sync)
            self._sync = self._begin_sync()
        elif sync is not None and self._options.sync is not None and self._options.sync.url != sync.url:
            _log.warning("it goes on sending to %s, not to %s", self._options.sync.url, sync.url)
        if follow is not None and self._follow is None:
            self._options = replace(self._options, follow=follow)
            self._agent.follow(self._options)
            self._follow = self._begin_to_follow()

    def _begin_sync(self) -> Sync | None:
        if self._options.sync is None:
            return None
        from tdsproxy.keeper.sync import Sync

        sync = Sync(self._environment, self._options.sync)
        sync.start()
        return sync

    def _begin_to_follow(self) -> Follow | None:
        if self._options.follow is None:
            return None
        from tdsproxy.keeper.follow import Follow

        follow = Follow(replace(self._environment, cancelled=threading.Event()), self._options.follow)
        follow.start()
        return follow

    async def _tend_logs(self) -> None:
        """What is kept of the logs shrinks as time goes by, too."""
        while self._logs is not None:
            await asyncio.sleep(_TEND_SECONDS)
            try:
                await asyncio.to_thread(self._logs.tidy_all)
            except (LogError, OSError) as error:
                _log.warning("the logs can't be tidied: %s", error)
            except Exception:  # noqa: BLE001 - it goes on: logs that are never tidied fill the disk
                _log.exception("the logs can't be tidied", extra={ENDED: "tidying of the logs"})

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._stopping.is_set() or not peer_is_trusted(writer):
            writer.close()
            return
        connection = ClientConnection(
            reader,
            writer,
            sessions=self._sessions,
            runner=self._run,
            executor=self._executor,
            log_events=self._log_events,
            progress=self._environment.running.progress,
            on_welcome=self._welcomed,
        )
        task = asyncio.current_task()
        if task is not None:
            self._connections[connection] = task
        if self._idle is not None:
            self._idle.cancel()
        try:
            await connection.serve()
        finally:
            self._connections.pop(connection, None)
            if connection.serves and not connection.took_leave:
                self._orphaned = True  # a listener was killed: what it was there for goes on
            if not self._is_needed():
                self._watch_idle(self._options.idle_seconds)

    def _welcomed(self, connection: ClientConnection) -> None:
        self._waited = False
        if connection.serves:
            self._orphaned = False
            self._serve_elsewhere(connection.wants)
            self._agent.schedule()
        if not self._is_needed():
            # The agent's own server has come after the last client went: that is no reason to stay.
            self._watch_idle(self._options.idle_seconds)

    def _is_needed(self) -> bool:
        """Whether there is a client besides the agent's own."""
        own = self._agent.server_pid
        return any(connection.pid != own for connection in self._connections)

    def _watch_idle(self, seconds: float) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._idle = asyncio.get_running_loop().call_later(seconds, self._stop_if_idle)

    def _stop_if_idle(self) -> None:
        if self._is_needed():
            return
        if self._orphaned and self._agent.has_schedules and self._options.store.exists():
            self._watch_idle(self._options.idle_seconds)
            return
        self._agent.drain()
        if self._agent.busy and not self._waited:
            # As statements do, jobs that run get a time of grace; then they are stopped.
            self._waited = True
            self._watch_idle(self._options.grace_seconds)
            return
        _log.info("no client for a while: stopping")
        self.stop()

    async def _end_statements(self) -> None:
        """Running statements may end by themselves within the grace time, then they are cancelled."""
        running = {future for connection in self._connections for future in connection.statements}
        if running:
            _log.info("waiting for %d running statements", len(running))
            await asyncio.wait(running, timeout=self._options.grace_seconds)
        for connection in self._connections:
            connection.cancel_all()
        left = {future for connection in self._connections for future in connection.statements}
        if left:
            await asyncio.wait(left)

    def _run(self, request: NativeRequest, cancelled: threading.Event) -> Generator[Reply, None, None]:
        from tdsproxy.commands.dispatch import run

        replies = run(request, replace(self._environment, cancelled=cancelled))
        if only_looks(request):
            return replies
        audited = self._audit.follow(request, replies, cancelled.is_set)
        return self._supervision.follow(request, audited, cancelled.is_set)


def _report_log(text: str) -> None:
    _log.warning("%s", text)


def _warm_up() -> None:
    """Loads the parser before the first statement needs it."""
    from tdsproxy.commands import dispatch

    dispatch.warm_up()


async def _main(options: KeeperOptions, ready: int | None) -> None:
    keeper = Keeper(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, keeper.stop)
    listener = listen(options.store)
    _log.info("keeper %d owns %s", os.getpid(), options.store)
    if ready is not None:
        os.write(ready, b"ready\n")
        os.close(ready)
    await keeper.serve(listener)


def main(words: Sequence[str] | None = None) -> int:
    """The exit status: 0, or ``EXIT_OWNED`` when another keeper owns the store."""
    options, ready = parse_arguments(sys.argv[1:] if words is None else words)
    configure(options.log_level, as_json=options.log_json)
    tell_of_ends()
    options = replace(options, store=options.store.absolute())
    options.store.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = take_lock(options.store)
    except StoreOwned:
        _log.info("another keeper owns %s", options.store)
        return EXIT_OWNED
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(_main(options, ready))
    finally:
        os.close(lock)
    _log.info("keeper stopped")
    return 0


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:  # a dependency on Linux only
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory

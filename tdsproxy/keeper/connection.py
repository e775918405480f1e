"""The keeper's side of one client."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from typing import Any
from uuid import UUID

from tdsproxy.commands.request import NativeRequest, SessionOrigin, StatementProgress
from tdsproxy.keeper import protocol
from tdsproxy.keeper.log_events import LogEvents
from tdsproxy.keeper.protocol import Kind, ProtocolError
from tdsproxy.keeper.sessions import SessionRegistry
from tdsproxy.keeper.wire import read_message
from tdsproxy.log.records import CaptureStopped
from tdsproxy.tsql.replies import Reply

Runner = Callable[[NativeRequest, threading.Event], Generator[Reply, None, None]]
"""Runs a statement; the event is set when its replies are not wanted any more."""

_log = logging.getLogger(__name__)


class ClientConnection:
    """Reads a client's messages until it goes; its statements run in worker threads meanwhile."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        sessions: SessionRegistry,
        runner: Runner,
        executor: Executor,
        log_events: LogEvents | None = None,
        progress: Callable[[], Sequence[StatementProgress]] = tuple,
        on_welcome: Callable[[ClientConnection], object] = lambda connection: None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._sessions = sessions
        self._runner = runner
        self._executor = executor
        self._log_events = log_events
        self._progress = progress
        self._on_welcome = on_welcome
        self.pid = 0
        self.serves = False
        self.wants = ""
        """Whether the client is a server with clients of its own."""
        self.took_leave = False
        """Whether the client said that it goes; one that didn't was killed."""
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, threading.Event] = {}
        self._statements: set[asyncio.Future[None]] = set()
        self._releases: dict[int, threading.Event] = {}
        self._next_token = 0
        self._closed = False
        self._guard = threading.Lock()

    async def serve(self) -> None:
        """Returns when the client has gone and its statements have stopped."""
        base: int | None = None
        try:
            base = await self._welcome()
            while True:
                kind, fields = await read_message(self._reader)
                self._handle(kind, fields)
        except (asyncio.IncompleteReadError, ConnectionError):
            _log.debug("client %s has gone", base)
        except ProtocolError as error:
            _log.warning("client %s: %s", base, error)
        finally:
            await self._finish(base)

    async def _welcome(self) -> int:
        kind, fields = await read_message(self._reader)
        if kind is not Kind.HELLO or len(fields) != 5:
            raise ProtocolError("expected a greeting")
        if fields[0] != protocol.VERSION:
            self._send(Kind.WELCOME, protocol.VERSION, 0, os.getpid())
            raise ProtocolError(f"the client speaks version {fields[0]!r}")
        try:
            base = self._sessions.join(self, int(fields[2]))
        except LookupError as error:
            raise ProtocolError(str(error)) from error
        self.pid, self.serves, self.wants = int(fields[1]), bool(fields[3]), str(fields[4])
        self._send(Kind.WELCOME, protocol.VERSION, base, os.getpid())
        self._on_welcome(self)
        return base

    async def _finish(self, base: int | None) -> None:
        with self._guard:
            self._closed = True
            releases = list(self._releases.values())
        for done in releases:
            done.set()
        self.cancel_all()
        if self._statements:
            await asyncio.wait(self._statements)
        if base is not None:
            await self._loop.run_in_executor(self._executor, self._sessions.leave, base)
        self._writer.close()

    def cancel_all(self) -> None:
        """Lets every running statement of this client stop soon."""
        for cancelled in self._running.values():
            cancelled.set()

    @property
    def statements(self) -> set[asyncio.Future[None]]:
        """The statements that run."""
        return self._statements

    def close(self) -> None:
        self._writer.close()

    def _handle(self, kind: Kind, fields: list[Any]) -> None:
        try:
            if kind is Kind.RUN:
                self._start(fields[0], protocol.unpack_request(fields[1]))
            elif kind is Kind.CANCEL:
                cancelled = self._running.get(fields[0])
                if cancelled is not None:
                    cancelled.set()
            elif kind is Kind.PROGRESS:
                (id_,) = fields
                self._send(Kind.RUNNING, id_, [list(found) for found in self._progress()])
            elif kind is Kind.NOTE:
                spid, login, database, origin = fields
                self._sessions.note(self, spid, login, database, SessionOrigin(*origin))
            elif kind is Kind.COMMIT:
                id_, database, frame, committed_ns, durable = fields
                self._committed(id_, UUID(bytes=database), frame, committed_ns, durable)
            elif kind is Kind.MARK:
                id_, database, name, description, login = fields
                self._mark(id_, UUID(bytes=database), name, description, login)
            elif kind is Kind.BYE:
                self.took_leave = True
            elif kind is Kind.RELEASED:
                done = self._releases.pop(fields[0], None)
                if done is not None:
                    done.set()
            else:
                raise ProtocolError(f"unexpected {kind.name}")
        except (IndexError, ValueError, TypeError) as error:
            raise ProtocolError(f"malformed {kind.name}") from error

    def _start(self, id_: int, request: NativeRequest) -> None:
        if id_ in self._running:
            raise ProtocolError(f"statement {id_} runs already")
        cancelled = threading.Event()
        self._running[id_] = cancelled
        future = self._loop.run_in_executor(self._executor, self._run, id_, request, cancelled)
        self._statements.add(future)
        future.add_done_callback(lambda done: self._ended(id_, done))

    def _committed(self, id_: int, database: UUID, frame: int, committed_ns: int, durable: bool) -> None:
        events = self._log_events
        if events is not None:
            events.note_commit(database, frame, committed_ns)
        if events is None or not durable:
            self._send(Kind.END, id_, None)
            return
        future = asyncio.wrap_future(events.make_durable(database), loop=self._loop)
        self._statements.add(future)
        future.add_done_callback(lambda done: self._durable(id_, done))

    def _durable(self, id_: int, done: asyncio.Future[None]) -> None:
        self._statements.discard(done)
        error = None if done.cancelled() else done.exception()
        failed = done.cancelled() or error is not None
        if error is not None and not isinstance(error, CaptureStopped):
            # Why a log is not captured has been told; this has not.
            _log.error("a commit can't be made durable in the log", exc_info=error)
        self._send(Kind.END, id_, "the log is not durable" if failed else None)

    def _mark(self, id_: int, database: UUID, name: str | None, description: str, login: str | None) -> None:
        events = self._log_events
        if events is None:
            self._send(Kind.END, id_, None)
            return

        def work() -> None:
            if login is None or name is None:
                events.announce(database, name, description)
            else:
                events.record(database, name, description, login)

        future = self._loop.run_in_executor(self._executor, work)
        self._statements.add(future)
        future.add_done_callback(lambda done: self._ended(id_, done))

    def _run(self, id_: int, request: NativeRequest, cancelled: threading.Event) -> None:
        """In a worker thread."""
        with closing(self._runner(request, cancelled)) as replies:
            for reply in replies:
                message = protocol.frame(Kind.REPLIES, id_, [protocol.pack_reply(reply)])
                self._loop.call_soon_threadsafe(self._write, message)

    def _ended(self, id_: int, done: asyncio.Future[None]) -> None:
        self._running.pop(id_, None)
        self._statements.discard(done)
        error = None if done.cancelled() else done.exception()
        # The end first: whoever waits for it is told, whatever becomes of the log's line.
        self._send(Kind.END, id_, None if error is None else type(error).__name__)
        if error is not None:
            _log.error("a statement failed in an unforeseen way", exc_info=error)

    # ------------------------------------------------------------------ asked by the registry, in any thread

    def kill(self, spid: int) -> None:
        self._loop.call_soon_threadsafe(self._send, Kind.KILL, spid)

    def release(self, database: str) -> threading.Event:
        done = threading.Event()
        with self._guard:
            if self._closed:
                done.set()
                return done
            self._next_token += 1
            token = self._next_token
            self._releases[token] = done
        self._loop.call_soon_threadsafe(self._send, Kind.RELEASE, token, database)
        return done

    def _send(self, kind: Kind, *fields: Any) -> None:
        self._write(protocol.frame(kind, *fields))

    def _write(self, message: bytes) -> None:
        if not self._writer.is_closing():
            self._writer.write(message)

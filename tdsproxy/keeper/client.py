"""How sessions reach the keeper of their store: an asyncio client, and a face of it for threads."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from tdsproxy.commands.request import NativeRequest, SessionOrigin, StatementProgress
from tdsproxy.keeper import protocol
from tdsproxy.keeper.address import KeeperUnavailable as KeeperUnavailable
from tdsproxy.keeper.address import connect_socket
from tdsproxy.keeper.protocol import Kind, ProtocolError
from tdsproxy.keeper.wire import read_message
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Reply

T = TypeVar("T")
Starter = Callable[[], Awaitable[None]]
"""Returns when the store has a keeper that listens; starts one when there is none."""

_GREETING_SECONDS = 30.0
_CHANGE_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 0.01
_RETURN_SECONDS = 0.3
_LONGEST_PAUSE_SECONDS = 5.0
_NOTE_SECONDS = 1.0
_DURABLE_SECONDS = 30.0
_RETRY_SECONDS = 0.05
_ANSWER_SECONDS = 2.0
_log = logging.getLogger(__name__)


class KeeperLost(SqlError):
    """The keeper went away while a statement ran: nobody knows how it would have ended."""

    def __init__(self) -> None:
        super().__init__(Message(3204, 16, 1, "The backup or restore was aborted."))


class CommitNote:
    """A commit that the keeper is told of: ``answered`` when nothing more is to be waited for, ``known`` when
    the keeper has done what it was asked for."""

    def __init__(self) -> None:
        self.answered = threading.Event()
        self.known = False

    def answer(self, *, known: bool) -> None:
        self.known = known
        self.answered.set()


class _Statement:
    """One that runs: its replies as they come, None at the end; ``failed`` when the end is not its own."""

    def __init__(self) -> None:
        self.replies: asyncio.Queue[Reply | None] = asyncio.Queue()
        self.ended = False
        self.failed = False

    def end(self, *, failed: bool) -> None:
        if not self.ended:
            self.ended = True
            self.failed = failed
            self.replies.put_nowait(None)


class KeeperClient:
    """One connection to a store's keeper; for one event loop.

    With a ``starter`` a lost connection is made again by the next ``run``, starting a keeper if need be; the
    sessions that were noted are told again. One that ``serves`` clients comes back by itself: the store's
    jobs run as long as it is there.
    """

    def __init__(
        self, store: Path, starter: Starter | None = None, *, serves: bool = False, wants: str = ""
    ) -> None:
        self._store = store
        self._serves = serves
        self._wants = wants
        self._starter = starter
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listening: asyncio.Task[None] | None = None
        self._connecting = asyncio.Lock()
        self._statements: dict[int, _Statement] = {}
        self._notes: dict[int, CommitNote] = {}
        self._questions: dict[int, asyncio.Future[list[StatementProgress]]] = {}
        self._next_id = 0
        self._sessions: dict[int, tuple[str, str, SessionOrigin]] = {}
        self._on_release: list[Callable[[str], None]] = []
        self._on_kill: list[Callable[[int], None]] = []
        self._callbacks: set[asyncio.Task[None]] = set()
        self._spid_base = 0
        self._closed = False

    @classmethod
    async def connect(
        cls, store: Path, starter: Starter | None = None, *, serves: bool = False, wants: str = ""
    ) -> KeeperClient:
        """Raises KeeperUnavailable."""
        client = cls(store.absolute(), starter, serves=serves, wants=wants)
        await client._ensure_connected()
        return client

    @property
    def spid_base(self) -> int:
        """The sessions of this client are numbered from here on, ``port.SPID_BLOCK`` of them."""
        return self._spid_base

    def on_release(self, callback: Callable[[str], None]) -> None:
        """See ``port.KeeperPort``; the callback runs in a thread of its own."""
        self._on_release.append(callback)

    def on_kill(self, callback: Callable[[int], None]) -> None:
        """See ``port.KeeperPort``; the callback runs in a thread of its own."""
        self._on_kill.append(callback)

    def note_session(
        self, spid: int, login: str, database: str | None, origin: SessionOrigin = SessionOrigin()
    ) -> None:
        """Tells a session's current database; None when it has ended."""
        if database is None:
            if self._sessions.pop(spid, None) is None:
                return
        else:
            if self._sessions.get(spid) == (login, database, origin):
                return
            self._sessions[spid] = (login, database, origin)
        if self._writer is not None:
            self._send(Kind.NOTE, spid, login, database, list(origin))

    def note_commit(
        self, database: UUID, frame: int, committed_ns: int, note: CommitNote, *, durable: bool = False
    ) -> None:
        """Tells of a commit; ``note`` is answered when the keeper knows, with ``durable`` when the commit is
        in the archive of the log for good. Nobody is told while there is no keeper: a new one looks for
        itself."""
        if self._writer is None:
            note.answer(known=False)
            return
        self._next_id += 1
        self._notes[self._next_id] = note
        self._send(Kind.COMMIT, self._next_id, database.bytes, frame, committed_ns, durable)

    async def return_to_keeper(self) -> None:
        """Connects again when the keeper has gone. Raises KeeperUnavailable."""
        await self._notice_loss()
        await self._ensure_connected()

    async def mark(self, database: UUID, name: str | None, description: str, login: str | None) -> None:
        """Tells of a mark, before its commit (``login`` None) or after it, and waits until the keeper knows.
        Raises KeeperUnavailable, KeeperLost."""
        await self._ensure_connected()
        self._next_id += 1
        id_ = self._next_id
        statement = _Statement()
        self._statements[id_] = statement
        self._send(Kind.MARK, id_, database.bytes, name, description, login)
        try:
            while await statement.replies.get() is not None:
                continue
        finally:
            del self._statements[id_]
        if statement.failed:
            raise KeeperLost

    async def running(self) -> list[StatementProgress]:
        """The statements that run now; none while there is no keeper."""
        if self._writer is None:
            return []
        self._next_id += 1
        answer: asyncio.Future[list[StatementProgress]] = asyncio.get_running_loop().create_future()
        id_ = self._next_id
        self._questions[id_] = answer
        self._send(Kind.PROGRESS, id_)
        try:
            return await asyncio.wait_for(answer, _ANSWER_SECONDS)
        except TimeoutError:
            return []
        finally:
            self._questions.pop(id_, None)

    async def run(self, request: NativeRequest) -> AsyncIterator[Reply]:
        """The statement's replies as they come. Closing the generator cancels the statement and returns when
        it has stopped. Raises KeeperUnavailable, KeeperLost."""
        await self._notice_loss()
        await self._ensure_connected()
        self._next_id += 1
        id_ = self._next_id
        statement = _Statement()
        self._statements[id_] = statement
        self._send(Kind.RUN, id_, protocol.pack_request(request))
        try:
            while (reply := await statement.replies.get()) is not None:
                yield reply
        finally:
            if not statement.ended:
                self._send(Kind.CANCEL, id_)
                while await statement.replies.get() is not None:
                    continue
            del self._statements[id_]
        if statement.failed:
            raise KeeperLost

    async def close(self) -> None:
        """Running statements are cancelled by the keeper."""
        self._closed = True
        for task in list(self._callbacks):
            task.cancel()
        if self._writer is not None:
            self._send(Kind.BYE)
            self._writer.close()
        if self._listening is not None:
            self._listening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._listening

    # ------------------------------------------------------------------ the connection

    async def _notice_loss(self) -> None:
        """A statement must not go to a keeper that is gone: nobody could tell whether it ran."""
        writer, listening = self._writer, self._listening
        if writer is not None and listening is not None and _hung_up(writer):
            await asyncio.wait([listening])

    async def _ensure_connected(self) -> None:
        async with self._connecting:
            if self._writer is not None:
                return
            if self._closed:
                raise KeeperUnavailable("the client is closed")
            deadline = time.monotonic() + (0.0 if self._starter is None else _CHANGE_SECONDS)
            pause = _FIRST_PAUSE_SECONDS
            while True:
                if self._starter is not None:
                    await self._starter()
                try:
                    await asyncio.wait_for(self._greet(), _GREETING_SECONDS)
                    return
                except (ConnectionError, FileNotFoundError, asyncio.IncompleteReadError) as error:
                    # A keeper that is just stopping can be found and not answer any more: there is another
                    # when it has ended, which takes its time on a busy machine.
                    if time.monotonic() > deadline:
                        raise KeeperUnavailable(f"no keeper answers for {self._store}") from error
                    await asyncio.sleep(pause)
                    pause *= 2
                except (OSError, ProtocolError) as error:
                    raise KeeperUnavailable(f"no keeper answers for {self._store}") from error

    async def _greet(self) -> None:
        connection = connect_socket(self._store)
        reader, writer = await asyncio.open_unix_connection(sock=connection)
        hello = (protocol.VERSION, os.getpid(), self._spid_base, self._serves, self._wants)
        writer.write(protocol.frame(Kind.HELLO, *hello))
        try:
            kind, fields = await read_message(reader)
            if kind is not Kind.WELCOME or fields[0] != protocol.VERSION:
                raise ProtocolError("the keeper speaks another version")
        except (asyncio.IncompleteReadError, ProtocolError):
            writer.close()
            raise
        self._spid_base = fields[1]
        self._reader, self._writer = reader, writer
        for spid, (login, database, origin) in self._sessions.items():
            self._send(Kind.NOTE, spid, login, database, list(origin))
        self._listening = asyncio.create_task(self._listen(reader))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        try:
            while True:
                self._handle(*await read_message(reader))
        except (asyncio.IncompleteReadError, ConnectionError, ProtocolError) as error:
            if not self._closed:
                _log.warning("the keeper has gone: %s", type(error).__name__)
        finally:
            if self._writer is not None:
                self._writer.close()
            self._writer = None
            for statement in self._statements.values():
                statement.end(failed=True)
            for note in self._notes.values():
                note.answer(known=False)
            self._notes.clear()
            for answer in self._questions.values():
                if not answer.done():
                    answer.set_result([])
            wanted = self._serves or bool(self._sessions)
            if wanted and self._starter is not None and not self._closed:
                self._start_callback(self._come_back())

    async def _come_back(self) -> None:
        """A keeper must know of the sessions that there are, also one that another client has started."""
        pause = _RETURN_SECONDS
        while not self._closed:
            await asyncio.sleep(pause)
            try:
                await self._ensure_connected()
            except KeeperUnavailable as error:
                _log.warning("%s", error)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
                if self._serves:
                    continue
            return

    def _handle(self, kind: Kind, fields: list[Any]) -> None:
        if kind is Kind.REPLIES:
            statement = self._statements.get(fields[0])
            if statement is not None:
                for reply in fields[1]:
                    statement.replies.put_nowait(protocol.unpack_reply(reply))
        elif kind is Kind.END:
            id_, failure = fields
            note = self._notes.pop(id_, None)
            if note is not None:
                note.answer(known=failure is None)
            statement = self._statements.get(id_)
            if statement is not None:
                statement.end(failed=failure is not None)
        elif kind is Kind.RELEASE:
            self._start_callback(self._release(*fields))
        elif kind is Kind.RUNNING:
            id_, statements = fields
            answer = self._questions.get(id_)
            if answer is not None and not answer.done():
                answer.set_result([StatementProgress(*statement) for statement in statements])
        elif kind is Kind.KILL:
            self._start_callback(self._kill(*fields))
        else:
            raise ProtocolError(f"unexpected {kind.name}")

    def _start_callback(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._callbacks.add(task)
        task.add_done_callback(self._callbacks.discard)

    async def _release(self, token: int, database: str) -> None:
        try:
            for callback in self._on_release:
                await asyncio.to_thread(callback, database)
        finally:
            self._send(Kind.RELEASED, token)

    async def _kill(self, spid: int) -> None:
        for callback in self._on_kill:
            await asyncio.to_thread(callback, spid)

    def _send(self, kind: Kind, *fields: Any) -> None:
        if self._writer is not None and not self._writer.is_closing():
            self._writer.write(protocol.frame(kind, *fields))


class SyncKeeper:
    """A ``KeeperClient`` for threads other than its loop's; implements ``port.KeeperPort``."""

    def __init__(
        self, client: KeeperClient, loop: asyncio.AbstractEventLoop, *, durable_commits: bool = False
    ) -> None:
        """With ``durable_commits`` a commit is acknowledged only when it is in the archive of the log."""
        self._client = client
        self._durable_commits = durable_commits
        self._loop = loop
        self._thread: threading.Thread | None = None

    @classmethod
    def open(
        cls,
        store: Path,
        starter: Starter | None = None,
        *,
        durable_commits: bool = False,
        serves: bool = False,
        wants: str = "",
    ) -> SyncKeeper:
        """With an event loop in a thread of its own. Raises KeeperUnavailable."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, name="keeper client", daemon=True)
        thread.start()
        try:
            connecting = KeeperClient.connect(store, starter, serves=serves, wants=wants)
            client = asyncio.run_coroutine_threadsafe(connecting, loop).result()
        except BaseException:
            _stop(loop, thread)
            raise
        keeper = cls(client, loop, durable_commits=durable_commits)
        keeper._thread = thread
        return keeper

    @property
    def spid_base(self) -> int:
        return self._client.spid_base

    def run(self, request: NativeRequest) -> SyncReplies:
        """See ``port.KeeperPort``. Iterating raises KeeperUnavailable, KeeperLost."""
        return SyncReplies(self._client.run(request), self._loop)

    def running(self) -> list[StatementProgress]:
        """See ``port.KeeperPort``."""
        try:
            return self._wait(self._client.running())
        except RuntimeError:  # the loop is closed
            return []

    def note_session(
        self, spid: int, login: str, database: str | None, origin: SessionOrigin = SessionOrigin()
    ) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._client.note_session, spid, login, database, origin)

    def note_commit(self, database: UUID, frame: int, committed_ns: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            if self._durable_commits:
                self._make_durable(database, frame, committed_ns)
            else:
                self._tell(database, frame, committed_ns, durable=False).answered.wait(_NOTE_SECONDS)

    def _tell(self, database: UUID, frame: int, committed_ns: int, *, durable: bool) -> CommitNote:
        note = CommitNote()
        tell = partial(self._client.note_commit, database, frame, committed_ns, note, durable=durable)
        self._loop.call_soon_threadsafe(tell)
        return note

    def _make_durable(self, database: UUID, frame: int, committed_ns: int) -> None:
        """A keeper that has gone is replaced by another, which captures what the first has not."""
        deadline = time.monotonic() + _DURABLE_SECONDS
        while True:
            note = self._tell(database, frame, committed_ns, durable=True)
            note.answered.wait(max(0.0, deadline - time.monotonic()))
            if note.known:
                return
            if time.monotonic() >= deadline:
                _log.error("a commit was acknowledged although it is not durable in the log yet")
                return
            with contextlib.suppress(KeeperUnavailable):
                self._wait(self._client.return_to_keeper())
            time.sleep(_RETRY_SECONDS)

    def announce_mark(self, database: UUID, name: str | None, description: str) -> None:
        """See ``port.KeeperPort``. Raises KeeperUnavailable, KeeperLost."""
        self._wait(self._client.mark(database, name, description, None))

    def note_mark(self, database: UUID, name: str, description: str, login: str) -> None:
        """See ``port.KeeperPort``. Raises KeeperUnavailable, KeeperLost."""
        self._wait(self._client.mark(database, name, description, login))

    def on_release(self, callback: Callable[[str], None]) -> None:
        self._client.on_release(callback)

    def on_kill(self, callback: Callable[[int], None]) -> None:
        self._client.on_kill(callback)

    def close(self) -> None:
        """Closes the client, and the loop when it is ours."""
        if self._thread is not None:
            self._wait(self._client.close())
            _stop(self._loop, self._thread)
            self._thread = None

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _hung_up(writer: asyncio.StreamWriter) -> bool:
    """Whether the other side has closed the connection, also when the loop has not seen it yet."""
    if writer.is_closing():
        return True
    poll = select.poll()
    poll.register(writer.get_extra_info("socket").fileno(), select.POLLRDHUP)
    return any(events & (select.POLLRDHUP | select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


class SyncReplies:
    """The replies of one statement for the thread that asked; implements ``port.NativeReplies``."""

    def __init__(self, replies: AsyncIterator[Reply], loop: asyncio.AbstractEventLoop) -> None:
        self._replies = replies
        self._loop = loop
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False

    def __iter__(self) -> SyncReplies:
        return self

    def __next__(self) -> Reply:
        reply = None if self._cancelled else self._wait(self._step())
        if reply is None:
            raise StopIteration
        return reply

    def cancel(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and the statement with it
            self._loop.call_soon_threadsafe(self._cancel)

    def close(self) -> None:
        self._wait(_close(self._replies))

    async def _step(self) -> Reply | None:
        self._task = asyncio.current_task()
        if self._cancelled:
            return None
        try:
            return await anext(self._replies, None)
        except asyncio.CancelledError:
            if not self._cancelled:
                raise
            return None

    def _cancel(self) -> None:
        # Once: whoever insists must not break off the wait for the statement's end.
        if self._cancelled:
            return
        self._cancelled = True
        if self._task is not None:
            self._task.cancel()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


async def _close(replies: AsyncIterator[Reply]) -> None:
    closer = getattr(replies, "aclose", None)
    if closer is not None:
        await closer()


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> None:
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()

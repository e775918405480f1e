"""The server side of one TDS connection: handshake, login, then requests and their answers.

The event loop reads and writes; a session's statements run in the session's own thread. The reader never
waits for a statement, so an attention is seen while one runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from tdsproxy.frontend import logins
from tdsproxy.frontend.calls import BadRequest, Call, read_call
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.handler import Server, Session
from tdsproxy.frontend.handshake import Accepted, HandshakeSettings, greet, read_login
from tdsproxy.frontend.replies import Format, ReplyEncoder, attention_done, failed_done
from tdsproxy.frontend.requests import (
    Attention,
    Event,
    Ignored,
    Request,
    RequestReader,
    is_whole_request,
)
from tdsproxy.frontend.streams import ByteStream
from tdsproxy.frontend.worker import Outbox, OutboxClosed, SessionLimit, SessionWorker
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import (
    DEFAULT_PACKET_SIZE,
    HEADER_SIZE,
    MAX_PACKET_SIZE,
    PacketType,
    PacketWriter,
    packetize,
)
from tdsproxy.tds.packets import Message as TdsMessage
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Reply, Rows

log = logging.getLogger(__name__)

CHUNK: Final = 16 * 1024
"""Token bytes gathered in the session's thread before they are handed to the event loop."""

CANCEL_INTERVAL: Final = 0.05
"""Seconds between two calls of ``cancel`` while a cancelled request has not ended: the first may have come
before the request began to run."""

CANCEL_PATIENCE: Final = 2.0
"""Seconds after which an attention is acknowledged although its request has not ended: clients drop the
connection after five. The session's next request waits for the old one."""

SEVERE: Final = Message(
    0, 11, 0, "A severe error occurred on the current command.  The results, if any, should be discarded."
)
TOO_MANY: Final = Message(
    17809,
    16,
    1,
    "Could not connect because the maximum number of user connections has already been reached. "
    "The connection has been closed.",
)


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """``limit`` counts sessions, shared by the connections of one listener."""

    handshake: HandshakeSettings
    limit: SessionLimit
    max_packet_size: int = MAX_PACKET_SIZE


class _Running:
    """The request at work. ``direct`` sends a short answer from the session's thread. ``over`` (of a request
    that goes the short way) says that its answer is written or given up; ``answered`` is there when somebody
    waits for that."""

    __slots__ = ("answered", "cancelled", "direct", "outbox", "over", "writer")

    def __init__(
        self, outbox: Outbox, writer: PacketWriter, direct: Callable[[bytes], int] | None = None
    ) -> None:
        self.outbox = outbox
        self.writer = writer
        self.direct = direct
        self.cancelled = False
        self.over = False
        self.answered: asyncio.Future[None] | None = None


class Connection:
    """One client. ``serve`` returns when the connection is over; everything is released by then.

    ``stream`` may be a channel already, whose client has been ``accepted``: behind the proxy.
    """

    def __init__(
        self,
        stream: ByteStream | PacketChannel,
        server: Server,
        settings: ConnectionSettings,
        *,
        accepted: Accepted | None = None,
    ) -> None:
        self._channel = stream if isinstance(stream, PacketChannel) else PacketChannel(stream)
        self._server = server
        self._settings = settings
        self._accepted = accepted
        self._packet_size = DEFAULT_PACKET_SIZE
        self._format = Format(server.name)
        self._running: _Running | None = None
        self._reader: RequestReader | None = None
        self._waiting = False
        self._rest_queued = False
        self._stopping = False
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def _address(self) -> str:
        return self._channel.peer

    def stop(self) -> None:
        """End the connection as soon as no request runs."""
        self._stopping = True
        if self._reader is not None:
            self._reader.stop()

    async def serve(self) -> None:
        """Raises nothing that the client caused; a broken connection just ends it."""
        try:
            crowded = self._settings.limit.crowded
            with self._settings.limit.slot() as granted:
                if granted or not crowded:
                    await self._serve(granted)
        except ProtocolError as error:
            log.info("%s: closed for a breach of protocol: %s", self._address, error)
            self._channel.abort()
        except ConnectionError as error:
            log.debug("%s: %s", self._address, error)
        finally:
            self._channel.close()

    async def _serve(self, granted: bool) -> None:
        accepted = self._accepted
        try:
            if accepted is None:
                async with asyncio.timeout(self._settings.handshake.deadline):
                    accepted = await self._accept()
        except TimeoutError:
            log.info("%s: no login within the time allowed", self._address)
            self._channel.abort()
            return
        if accepted is None:
            return
        self._format = Format(self._server.name, logins.version(accepted.login))
        if not granted:
            await self._refuse(TOO_MANY)
            return
        worker = SessionWorker("session")
        session: Session | None = None
        try:
            session = await self._login(accepted, worker)
            if session is not None:
                await self._converse(session, worker)
        finally:
            if session is not None:
                self._settings.limit.leave(accepted.login.user)
                # In the session's thread, behind whatever still runs there; not awaited by the listener.
                worker.submit(_closer(session))
            worker.stop()

    # Login

    async def _accept(self) -> Accepted | None:
        major, minor, build = self._server.version

        async def introduce(_fedauth: bool) -> tuple[tuple[int, int, int, int], int | None]:
            return (major, minor, build, 0), None

        greeting = await greet(self._channel, self._settings.handshake, introduce)
        if greeting is None:
            return None
        return await read_login(self._channel, greeting)

    async def _refuse(self, *messages: Message) -> None:
        data = ReplyEncoder(self._format).failure(messages)
        self._channel.write(packetize(PacketType.TABULAR_RESULT, data, DEFAULT_PACKET_SIZE))
        with contextlib.suppress(ConnectionError):
            await self._channel.drain()

    async def _login(self, accepted: Accepted, worker: SessionWorker) -> Session | None:
        encrypted = accepted.encrypted
        request = logins.request(accepted.login, address=self._address, encrypted=encrypted)
        try:
            session = await worker.submit(lambda: self._server.login(request))
        except SqlError as error:
            await self._refuse(*error.messages)
            return None
        if not self._settings.limit.enter(accepted.login.user):
            worker.submit(_closer(session))
            await self._refuse(TOO_MANY)
            return None
        session.when_ended(_stopper(asyncio.get_running_loop(), self.stop))
        size = logins.grant(
            accepted.login.packet_size, encrypted=encrypted, most=self._settings.max_packet_size
        )
        data = logins.response(accepted.login, session, self._server, self._format, size)
        self._channel.write(
            packetize(PacketType.TABULAR_RESULT, data, DEFAULT_PACKET_SIZE, session.spid & 0xFFFF)
        )
        self._packet_size = size
        # Some clients keep to the size they asked for even when less was granted to them.
        self._channel.max_packet = MAX_PACKET_SIZE
        return session

    # Requests

    async def _converse(self, session: Session, worker: SessionWorker) -> None:
        await self._channel.drain()
        reader = RequestReader(self._channel, lambda: self._cancel(session))
        self._reader = reader
        if self._stopping:
            reader.stop()
        reading = asyncio.create_task(reader.run())
        reading.add_done_callback(lambda _task: self._cancel(session, gone=True))

        def offered(data: bytes) -> bool:
            return self._waiting and reader.idle and self._short(data, session, worker)

        try:
            while True:
                self._channel.divert(offered)
                self._waiting = True
                try:
                    event = await reader.next_event()
                finally:
                    self._waiting = False
                    self._channel.divert(None)
                if self._running is not None:
                    await self._settled(self._running)
                if event is None:
                    return
                await self._answer(event, session, worker)
        finally:
            for task in self._tasks:
                task.cancel()
            reading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await reading

    # The short way: a request that has come whole while nothing else goes on is handed to the session's
    # thread at once, and a short answer is sent from there. No coroutine is woken for it, nor the loop.

    def _short(self, data: bytes, session: Session, worker: SessionWorker) -> bool:
        """Take the request that ``data`` is all of; False when it is not of that kind. Called in the loop."""
        before = self._running
        if before is not None and not (before.over or before.outbox.claimed):
            return False
        if not is_whole_request(data, self._channel.max_packet):
            return False
        try:
            call = read_call(TdsMessage(data[0], data[1], data[HEADER_SIZE:]), self._format.version)
        except (BadRequest, ProtocolError):
            return False  # said on the long way
        outbox = Outbox(asyncio.get_running_loop(), lambda: self._short_answer(running, call))
        direct = self._channel.direct()
        if direct is not None and (before is None or before.over or before.outbox.left):
            self._rest_queued = False
        running = _Running(outbox, PacketWriter(self._packet_size, session.spid & 0xFFFF), direct)
        self._running = running
        worker.run(lambda: self._produce(call, session, running))
        return True

    def _short_answer(self, running: _Running, call: Call) -> None:
        """The answer is there, or its beginning. Called in the loop."""
        if running.over or running.outbox.claimed:
            if running.outbox.left:
                self._short_over(running)
            return
        data, flush, last = running.outbox.take()
        if not last or self._channel.full:
            # A long answer, or a slow client: on the usual way from here.
            running.outbox.listen()
            task = asyncio.ensure_future(self._long_answer(running, call, data, flush=flush, last=last))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            return
        self._write_last(running, call, data)
        self._short_over(running)

    async def _long_answer(
        self, running: _Running, call: Call, data: bytes, *, flush: bool, last: bool
    ) -> None:
        try:
            with contextlib.suppress(ConnectionError):
                while not last:
                    await self._write_some(running.writer, data, flush=flush)
                    data, flush, last = await running.outbox.get()
                self._write_last(running, call, data)
                await self._channel.drain()
        finally:
            self._short_over(running)

    def _short_over(self, running: _Running) -> None:
        running.over = True
        if running.answered is not None and not running.answered.done():
            running.answered.set_result(None)

    async def _settled(self, running: _Running) -> None:
        """Returns when the answer to a request that went the short way is written or given up."""
        if running.over or (running.outbox.settle() and running.outbox.claimed):
            return
        running.answered = asyncio.get_running_loop().create_future()
        await running.answered

    def _send_directly(self, direct: Callable[[bytes], int], data: bytes, outbox: Outbox, spid: int) -> None:
        """In the session's thread: the whole answer, past the loop."""
        packets = packetize(PacketType.TABULAR_RESULT, data, self._packet_size, spid)
        taken = direct(packets)
        if taken == len(packets):
            outbox.leave()
            return
        # A slow client: the rest goes the usual way, and so does what this thread answers next.
        self._rest_queued = True
        rest = packets[taken:]

        def queue_rest() -> None:
            self._channel.write(rest)
            outbox.leave()

        outbox.call(queue_rest)

    async def _answer(self, event: Event, session: Session, worker: SessionWorker) -> None:
        spid = session.spid & 0xFFFF
        if isinstance(event, Attention):
            self._send(attention_done(self._format), spid)
        elif isinstance(event, Ignored) or event.cancelled:
            if isinstance(event, Request) and event.bulk is not None:
                event.bulk.close()
            self._send(failed_done(self._format), spid)
        else:
            await self._run(event, session, worker)
        await self._channel.drain()

    def _send(self, data: bytes, spid: int) -> None:
        self._channel.write(packetize(PacketType.TABULAR_RESULT, data, self._packet_size, spid))

    def _cancel(self, session: Session, *, gone: bool = False) -> None:
        """Called in the loop when an attention came, or when the client went."""
        running = self._running
        if running is None or running.over or running.outbox.claimed:
            return
        if gone:
            running.outbox.close()
        if not running.cancelled:
            running.cancelled = True
            self._insist(session, running, CANCEL_PATIENCE)

    def _insist(self, session: Session, running: _Running, patience: float) -> None:
        """Cancel until the request has ended; out of patience, end its answer without it."""
        if running.outbox.finished or running.outbox.claimed:
            return
        session.cancel()
        if patience <= 0:
            running.outbox.close()
        asyncio.get_running_loop().call_later(
            CANCEL_INTERVAL, self._insist, session, running, patience - CANCEL_INTERVAL
        )

    async def _run(self, request: Request, session: Session, worker: SessionWorker) -> None:
        spid = session.spid & 0xFFFF
        bulk = request.bulk
        try:
            call = read_call(request.message, self._format.version, bulk)
        except BadRequest as error:
            self._send(ReplyEncoder(self._format).failure((error.message,)), spid)
            return
        outbox = Outbox(asyncio.get_running_loop())
        running = _Running(outbox, PacketWriter(self._packet_size, spid))
        finished = worker.submit(lambda: self._produce(call, session, running))
        if bulk is not None:
            finished.add_done_callback(lambda _done: bulk.close())
        self._running = running
        try:
            await self._deliver(running, call)
            if outbox.complete:
                await finished
        finally:
            self._running = None

    async def _deliver(self, running: _Running, call: Call) -> None:
        """Send what the session's thread produces, until its end or until it is given up."""
        while True:
            data, flush, last = await running.outbox.get()
            if last:
                self._write_last(running, call, data)
                return
            await self._write_some(running.writer, data, flush=flush)

    def _write_last(self, running: _Running, call: Call, data: bytes) -> None:
        if not running.outbox.complete:
            data += failed_done(self._format, in_rpc=call.is_rpc)
        self._channel.write(running.writer.finish(data))

    async def _write_some(self, writer: PacketWriter, data: bytes, *, flush: bool) -> None:
        packets = writer.add(data)
        if flush:
            packets += writer.flush()
        if packets:
            self._channel.write(packets)
            await self._channel.drain()

    def _produce(self, call: Call, session: Session, running: _Running) -> None:
        """In the session's thread: run the request and hand over its tokens."""
        encoder = ReplyEncoder(self._format, in_rpc=call.is_rpc)
        with contextlib.suppress(OutboxClosed):
            try:
                if call.reset is not None:
                    encoder.reset(session.reset(keep_transaction=call.reset))
                for number, step in enumerate(call.steps):
                    if number:
                        encoder.next_call()
                    self._step(step(session), encoder, running)
                    if running.cancelled:
                        break
            except SqlError as error:
                encoder.fail(error.messages)
            except OutboxClosed:
                raise
            except Exception:
                log.exception("%s: a request ended with an internal error", self._address)
                encoder.fail((SEVERE,))
            data = encoder.finish(cancelled=running.cancelled)
            if running.direct is not None and not self._rest_queued and running.outbox.claim():
                self._send_directly(running.direct, data, running.outbox, session.spid & 0xFFFF)
            else:
                running.outbox.finish(data)
            return
        running.outbox.finish()

    def _step(self, replies: Iterator[Reply], encoder: ReplyEncoder, running: _Running) -> None:
        """What a cancelled request still says is sent, too (the end of its transaction), but for rows."""
        try:
            for reply in replies:
                if running.cancelled and isinstance(reply, Rows):
                    continue
                flush = encoder.add(reply)
                if flush or encoder.size >= CHUNK:
                    running.outbox.put(encoder.take(), flush=flush)
        finally:
            close = getattr(replies, "close", None)
            if close is not None:
                close()


def _stopper(loop: asyncio.AbstractEventLoop, stop: Callable[[], None]) -> Callable[[], None]:
    def ended() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, and every connection with it
            loop.call_soon_threadsafe(stop)

    return ended


def _closer(session: Session) -> Callable[[], None]:
    def close() -> None:
        try:
            session.close()
        except Exception:
            log.exception("a session could not be closed")

    return close

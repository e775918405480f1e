"""An upstream that answers with the bytes it was given, and keeps what came."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.listener import Listener
from tdsproxy.frontend.streams import SocketStream
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.proxy.session import ProxySession, ProxySettings
from tdsproxy.proxy.upstream import UpstreamSettings
from tdsproxy.tds.packets import PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, EncryptionPolicy, Prelogin, build_prelogin
from tdsproxy.tds.tokens import EnvChangeType, TokenBuilder
from tests.proxy.fakes import FakeKeeper

BUILDER = TokenBuilder()
LOGGED_IN = (
    BUILDER.database("master", "master")
    + BUILDER.collation()
    + BUILDER.language("us_english", "")
    + BUILDER.login_ack((16, 0, 4236))
    + BUILDER.env_change(EnvChangeType.PACKET_SIZE, "4096", "4096")
    + BUILDER.done()
)
LISTENERS: dict[int, Listener] = {}
"""The proxies' listeners by port."""

Handler = Callable[["Peer"], Awaitable[None]]


@dataclass
class Peer:
    """One connection to the upstream."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: bytearray = field(default_factory=bytearray)

    async def packet(self) -> tuple[int, int, bytes]:
        """Type, status and payload."""
        header = await self.reader.readexactly(8)
        payload = await self.reader.readexactly(int.from_bytes(header[2:4], "big") - 8)
        self.received += header + payload
        return header[0], header[1], payload

    async def message(self) -> tuple[int, bytes]:
        kind, status, body = await self.packet()
        while not status & 1:
            _kind, status, more = await self.packet()
            body += more
        return kind, body

    async def answer(self, tokens: bytes) -> None:
        self.writer.write(packetize(PacketType.TABULAR_RESULT, tokens, 4096))
        await self.writer.drain()

    async def log_in(self, tokens: bytes = LOGGED_IN) -> bytes:
        """Greet and answer the login with ``tokens``; the LOGIN7."""
        await self.message()
        await self.answer(
            build_prelogin(Prelogin((16, 0, 4236, 0), Encryption.NOT_SUPPORTED, instance="", mars=False))
        )
        _kind, body = await self.message()
        await self.answer(tokens)
        return body


@contextlib.asynccontextmanager
async def behind(handler: Handler, *, deadline: float = 60.0) -> AsyncIterator[tuple[int, list[Peer]]]:
    """The port of a proxy whose upstream is ``handler``, and the upstream's connections."""
    peers: list[Peer] = []
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        peers.append(peer)
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            await handler(peer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    upstream = server.sockets[0].getsockname()[1]
    settings = ProxySettings(
        HandshakeSettings(EncryptionPolicy.OFF, None, deadline),
        UpstreamSettings("127.0.0.1", upstream),
        SessionLimit(1000),
    )
    listener = Listener(lambda stream: ProxySession(stream, FakeKeeper(), settings))
    _host, port = await listener.start("127.0.0.1", 0)
    LISTENERS[port] = listener
    try:
        yield port, peers
    finally:
        del LISTENERS[port]
        await listener.close(5)
        server.close()
        for task in tasks:
            task.cancel()


async def connect(port: int) -> SocketStream:
    _transport, stream = await asyncio.get_running_loop().create_connection(SocketStream, "127.0.0.1", port)
    return stream

"""The leg to the server behind: its PRELOGIN, its TLS, whole requests and their answers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.streams import SocketStream
from tdsproxy.proxy.frames import MessageCounter
from tdsproxy.tds.errors import ProtocolError, TooLarge
from tdsproxy.tds.packets import (
    DEFAULT_PACKET_SIZE,
    MAX_PACKET_SIZE,
    PacketType,
    packetize,
)
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin, parse_prelogin
from tdsproxy.tds.tls import TlsTunnel, client_context, strict_client_context

VERSION: Final = (9, 0, 0, 0)
"""Under 11: no server takes the proxy for an ODBC driver, which would change its answer about MARS."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""The longest answer that is gathered whole."""


FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""Seconds between two attempts to connect; they double."""


class UpstreamUnreachable(Exception):
    """The upstream can't be reached, or does not speak TDS."""


class UpstreamTls(Enum):
    """OFF: in clear, always. LOGIN: the login alone is encrypted where the upstream allows it. WANTED: all is
    encrypted where the upstream can. REQUIRED: an upstream that can't is not used. STRICT: TDS 8.0."""

    OFF = "off"
    LOGIN = "login"
    WANTED = "wanted"
    REQUIRED = "required"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """``context`` None means that nothing is encrypted. One that verifies certificates makes every other
    mode REQUIRED, as an upstream that says it can't encrypt has shown none; ``certificate_name`` is the name
    that the certificate must bear, None for ``host``. ``deadline`` in seconds for connection and handshake;
    for ``patience`` seconds an upstream that does not accept connections is tried again."""

    host: str
    port: int
    mode: UpstreamTls = UpstreamTls.OFF
    context: ssl.SSLContext | None = None
    certificate_name: str | None = None
    deadline: float = 15.0
    patience: float = 0.0

    @property
    def verifies(self) -> bool:
        """Whether the upstream's certificate has to prove who it is."""
        return self.context is not None and self.context.verify_mode is ssl.CERT_REQUIRED

    @property
    def server_hostname(self) -> str | None:
        return (self.certificate_name or self.host) if self.verifies else None


def upstream_context(
    mode: UpstreamTls, *, verify: bool, authorities: Path | None = None
) -> ssl.SSLContext | None:
    """The TLS of a leg to the upstream. ``authorities``: a file of trusted certificates instead of the
    system's. Raises OSError and ssl.SSLError for a file that can't be used."""
    if mode is UpstreamTls.OFF:
        return None
    make = strict_client_context if mode is UpstreamTls.STRICT else client_context
    return make(verify=verify, authorities=authorities)


class UpstreamLeg:
    """One connection to the upstream."""

    def __init__(self, channel: PacketChannel, prelogin: Prelogin, *, encrypted: bool) -> None:
        self.channel = channel
        self.prelogin = prelogin
        self.encrypted = encrypted
        self.packet_size = DEFAULT_PACKET_SIZE
        self.spid = 0
        self.counter = MessageCounter()
        channel.max_packet = MAX_PACKET_SIZE

    @classmethod
    async def connect(cls, settings: UpstreamSettings, *, fedauth: bool) -> UpstreamLeg:
        """Raises UpstreamUnreachable."""
        stream: SocketStream | None = None
        try:
            async with asyncio.timeout(settings.deadline + settings.patience):
                stream = await _reach(settings)
                return await cls._greet(PacketChannel(stream), settings, fedauth=fedauth)
        except (OSError, TimeoutError, ProtocolError) as error:
            if stream is not None:
                stream.abort()
            reason = str(error) or type(error).__name__
            raise UpstreamUnreachable(f"{settings.host}:{settings.port}: {reason}") from error

    @classmethod
    async def _greet(
        cls, channel: PacketChannel, settings: UpstreamSettings, *, fedauth: bool
    ) -> UpstreamLeg:
        context = settings.context
        strict = context is not None and settings.mode is UpstreamTls.STRICT
        if context is not None and strict:
            await channel.handshake(
                TlsTunnel(context, server_side=False, wrapped=False, server_hostname=settings.server_hostname)
            )
        body = build_prelogin(
            Prelogin(
                version=VERSION,
                encryption=_asked(settings.mode),
                instance="",
                thread_id=0,
                mars=False,
                fedauth_required=1 if fedauth else None,
            )
        )
        channel.write(packetize(PacketType.PRELOGIN, body, DEFAULT_PACKET_SIZE))
        await channel.drain()
        packet = await channel.next_packet()
        if packet is None or packet.type != PacketType.TABULAR_RESULT or not packet.is_last:
            raise ProtocolError("no answer to PRELOGIN")
        reply = parse_prelogin(packet.payload)
        if strict:
            return cls(channel, reply, encrypted=True)
        full = reply.encryption in (Encryption.ON, Encryption.REQUIRED)
        login_only = reply.encryption is Encryption.OFF and settings.mode is UpstreamTls.LOGIN
        if full and context is None:
            raise ProtocolError("the server demands encryption")
        if not (full or login_only) and (settings.mode is UpstreamTls.REQUIRED or settings.verifies):
            raise ProtocolError("the server does not encrypt, and nothing else is allowed")
        if context is not None and (full or login_only):
            await channel.handshake(
                TlsTunnel(
                    context,
                    server_side=False,
                    login_only=login_only,
                    server_hostname=settings.server_hostname,
                )
            )
        return cls(channel, reply, encrypted=full)

    async def send(self, kind: int, body: bytes, status: int = 0) -> None:
        """A whole message. ``status`` holds the reset bits, for its first packet. Under TLS each packet is a
        record of its own, as servers expect of a login."""
        data = packetize(kind, body, self.packet_size, status_first=status)
        for start in range(0, len(data), self.packet_size):
            self.channel.write(data[start : start + self.packet_size])
        await self.channel.drain()

    async def payloads(self) -> AsyncIterator[bytes]:
        """The payloads of the next message's packets. Raises ConnectionError at the end of the stream."""
        while (packet := await self.channel.next_packet()) is not None:
            self.spid = packet.spid
            yield packet.payload
            if packet.is_last:
                return
        raise ConnectionResetError("the upstream has closed the connection")

    async def message(self) -> bytes:
        """The body of the next message. Raises ConnectionError at the end of the stream, TooLarge."""
        parts: list[bytes] = []
        size = 0
        async for payload in self.payloads():
            size += len(payload)
            if size > MAX_ANSWER:
                raise TooLarge("the upstream's answer is too long to be gathered")
            parts.append(payload)
        return b"".join(parts)

    def close(self) -> None:
        self.channel.close()

    def abort(self) -> None:
        self.channel.abort()


def _asked(mode: UpstreamTls) -> Encryption:
    """The ENCRYPTION byte of our PRELOGIN. Under TDS 8.0 it means nothing (MS-TDS 2.2.6.5)."""
    if mode is UpstreamTls.LOGIN:
        return Encryption.OFF
    if mode in (UpstreamTls.WANTED, UpstreamTls.REQUIRED):
        return Encryption.ON
    return Encryption.NOT_SUPPORTED


async def _reach(settings: UpstreamSettings) -> SocketStream:
    """A connected socket, tried again while the upstream has ``patience``. Raises OSError."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + settings.patience
    pause = FIRST_PAUSE
    while True:
        try:
            _transport, stream = await loop.create_connection(SocketStream, settings.host, settings.port)
        except OSError:
            if loop.time() + pause > give_up:
                raise
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        else:
            return stream

"""The leg to the server behind: its PRELOGIN, its TLS, whole requests and their answers."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
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
from tdsproxy.tds.tls import TlsTunnel

VERSION: Final = (9, 0, 0, 0)
"""Under 11: no server takes the proxy for an ODBC driver, which would change its answer about MARS."""

MAX_ANSWER: Final = 64 * 1024 * 1024
"""The longest answer that is gathered whole."""


class UpstreamUnreachable(Exception):
    """The upstream can't be reached, or does not speak TDS."""


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """``tls`` None means that nothing is encrypted; else the upstream is asked to, and one that can't is used
    in clear. ``deadline`` in seconds for connection and handshake."""

    host: str
    port: int
    tls: ssl.SSLContext | None = None
    deadline: float = 15.0


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
            async with asyncio.timeout(settings.deadline):
                loop = asyncio.get_running_loop()
                _transport, stream = await loop.create_connection(SocketStream, settings.host, settings.port)
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
        asked = Encryption.NOT_SUPPORTED if settings.tls is None else Encryption.ON
        body = build_prelogin(
            Prelogin(
                version=VERSION,
                encryption=asked,
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
        wants = reply.encryption in (Encryption.ON, Encryption.REQUIRED)
        if wants and settings.tls is None:
            raise ProtocolError("the server demands encryption")
        if wants and settings.tls is not None:
            name = settings.host if settings.tls.check_hostname else None
            await channel.handshake(TlsTunnel(settings.tls, server_side=False, server_hostname=name))
        return cls(channel, reply, encrypted=wants)

    async def send(self, kind: int, body: bytes, status: int = 0) -> None:
        """A whole message. ``status`` holds the reset bits, for its first packet. Under TLS each packet is a
        record of its own, as servers expect of a login."""
        data = packetize(kind, body, self.packet_size, status_first=status)
        for start in range(0, len(data), self.packet_size):
            self.channel.write(data[start : start + self.packet_size])
        await self.channel.drain()

    async def message(self) -> bytes:
        """The body of the next message. Raises ConnectionError at the end of the stream, TooLarge."""
        parts: list[bytes] = []
        size = 0
        while (packet := await self.channel.next_packet()) is not None:
            self.spid = packet.spid
            size += len(packet.payload)
            if size > MAX_ANSWER:
                raise TooLarge("the upstream's answer is too long to be gathered")
            parts.append(packet.payload)
            if packet.is_last:
                return b"".join(parts)
        raise ConnectionResetError("the upstream has closed the connection")

    def close(self) -> None:
        self.channel.close()

    def abort(self) -> None:
        self.channel.abort()

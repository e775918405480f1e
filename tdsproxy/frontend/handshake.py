"""From the first byte to the LOGIN7: PRELOGIN, its encryption, TLS in PRELOGIN packets or around all.

The first byte says what speaks: 12 PRELOGIN, 10 a LOGIN7 without one (jTDS), 16 the ClientHello of TDS
8.0; anything else is no client of ours and is dropped without an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tdsproxy.frontend.certificates import ServerContexts
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import MAX_LOGIN7, Login7, parse_login7
from tdsproxy.tds.packets import DEFAULT_PACKET_SIZE, MessageAssembler, Packet, PacketType, packetize
from tdsproxy.tds.prelogin import (
    Encryption,
    EncryptionMode,
    EncryptionPolicy,
    Prelogin,
    build_prelogin,
    negotiate,
    parse_prelogin,
    reply_to,
)
from tdsproxy.tds.tls import TlsTunnel

log = logging.getLogger(__name__)

MAX_PRELOGIN: Final = 4096
TLS_RECORD_HANDSHAKE: Final = 0x16

Version = tuple[int, int, int, int]
Introduce = Callable[[bool], Awaitable[tuple[Version, int | None]]]
"""Called once a client has shown itself, with whether it sent FEDAUTHREQUIRED; gives the server's version
and the FEDAUTHREQUIRED byte to answer."""


@dataclass(frozen=True, slots=True)
class HandshakeSettings:
    """``contexts`` None means that there is no TLS at all; what they give may change between two connections.
    ``deadline`` in seconds bounds the time from the connection to the LOGIN7."""

    policy: EncryptionPolicy = EncryptionPolicy.WANTED
    contexts: ServerContexts | None = None
    deadline: float = 15.0


@dataclass(frozen=True, slots=True)
class Greeting:
    """What the first exchange has settled. ``first`` is the first packet of a LOGIN7 that came without
    PRELOGIN. ``encrypted`` is whether the whole session is inside TLS; under login-only it is False."""

    prelogin: Prelogin | None
    encrypted: bool
    first: Packet | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """A LOGIN7 as it was read, and as it came."""

    login: Login7
    body: bytes
    encrypted: bool


async def greet(channel: PacketChannel, settings: HandshakeSettings, introduce: Introduce) -> Greeting | None:
    """The exchange up to where the LOGIN7 comes; None when the connection is over (ended by the peer, no
    TDS client, or refused). Raises ProtocolError and ConnectionError."""
    first = await channel.first_byte()
    if first is None:
        return None
    strict = first == TLS_RECORD_HANDSHAKE
    if settings.policy is EncryptionPolicy.STRICT and not strict:
        log.info("%s: a client that does not begin with TLS (TDS 8.0) was refused", channel.peer)
        return None
    if strict:
        if settings.contexts is None:
            return None
        channel.start_tls(TlsTunnel(settings.contexts.strict, server_side=True, wrapped=False))
        first = await channel.first_byte()
    if first == PacketType.LOGIN7 and not strict:
        if settings.policy is EncryptionPolicy.REQUIRED:
            log.info("%s: a client without PRELOGIN can't encrypt and was refused", channel.peer)
            return None
        await introduce(False)
        packet = await channel.next_packet()
        return None if packet is None else Greeting(None, encrypted=False, first=packet)
    if first != PacketType.PRELOGIN:
        return None
    packet = await channel.next_packet()
    if packet is None:
        return None
    if not packet.is_last or len(packet.payload) > MAX_PRELOGIN:
        raise ProtocolError("PRELOGIN of more than one packet")
    client = parse_prelogin(packet.payload)
    answer, mode = _settle(client, settings, strict=strict)
    version, fedauth = await introduce(client.fedauth_required is not None)
    reply = reply_to(client, version=version, encryption=answer, fedauth_required=fedauth)
    body = build_prelogin(reply)
    channel.write(packetize(PacketType.TABULAR_RESULT, body, DEFAULT_PACKET_SIZE))
    await channel.drain()
    if mode is EncryptionMode.REFUSE:
        log.info("%s: a client that can't encrypt was refused", channel.peer)
        return None
    if mode is EncryptionMode.CLEAR:
        if settings.policy is EncryptionPolicy.WANTED and not strict and settings.contexts is not None:
            log.info("%s: the client can't encrypt and is served in clear", channel.peer)
        return Greeting(client, encrypted=strict)
    if settings.contexts is None:
        raise ProtocolError("TLS was agreed on without a certificate")
    login_only = mode is EncryptionMode.LOGIN_ONLY
    channel.start_tls(TlsTunnel(settings.contexts.wrapped, server_side=True, login_only=login_only))
    return Greeting(client, encrypted=not login_only)


def _settle(
    client: Prelogin, settings: HandshakeSettings, *, strict: bool
) -> tuple[Encryption, EncryptionMode]:
    if strict or settings.contexts is None:
        return Encryption.NOT_SUPPORTED, EncryptionMode.CLEAR
    return negotiate(client, settings.policy)


async def read_login(channel: PacketChannel, greeting: Greeting) -> Accepted | None:
    """The LOGIN7; None when the connection ended. Raises ProtocolError when something else came."""
    assembler = MessageAssembler(MAX_LOGIN7)
    packet = greeting.first or await channel.next_packet()
    while packet is not None:
        if packet.type != PacketType.LOGIN7:
            raise ProtocolError(f"a packet of type {packet.type} instead of LOGIN7")
        message = assembler.add(packet)
        if message is not None:
            return Accepted(parse_login7(message.payload), message.payload, greeting.encrypted)
        packet = await channel.next_packet()
    return None

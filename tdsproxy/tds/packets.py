"""Packets and messages (MS-TDS 2.2.3): cutting a byte stream up, and building it.

A message is a run of packets of one type that ends with the EOM status bit.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Final

from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge

HEADER_SIZE: Final = 8
DEFAULT_PACKET_SIZE: Final = 4096
MIN_PACKET_SIZE: Final = 512
MAX_PACKET_SIZE: Final = 32767
MAX_TLS_PACKET_SIZE: Final = 16383
"""The largest packet to grant while TLS stays on: a TLS record holds 16384 bytes."""

# type, status, length (big-endian, header included), SPID (big-endian), packet id, window
_HEADER: Final = struct.Struct(">BBHHBB")


class PacketType(IntEnum):
    SQL_BATCH = 1
    PRE_TDS7_LOGIN = 2
    RPC = 3
    TABULAR_RESULT = 4
    ATTENTION = 6
    BULK_LOAD = 7
    FEDAUTH_TOKEN = 8
    TRANSACTION_MANAGER = 14
    LOGIN7 = 16
    SSPI = 17
    PRELOGIN = 18


class Status(IntFlag):
    NORMAL = 0
    EOM = 0x01
    IGNORE = 0x02
    RESET_CONNECTION = 0x08
    RESET_CONNECTION_SKIP_TRAN = 0x10


RESET_BITS: Final = Status.RESET_CONNECTION | Status.RESET_CONNECTION_SKIP_TRAN


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet as received. ``status`` may hold bits without a name here (SqlClient's soft flush 04);
    ``raw`` is the whole packet for relaying it unchanged."""

    type: int
    status: int
    spid: int
    packet_id: int
    payload: bytes = field(repr=False)
    raw: bytes = field(repr=False)

    @property
    def is_last(self) -> bool:
        return bool(self.status & Status.EOM)


class PacketReader:
    """Cuts received bytes into packets, whatever way they arrive.

    ``max_packet`` bounds the length field; assign it when the phase changes. Unread bytes stay in
    ``leftover``.
    """

    __slots__ = ("_buffer", "_pos", "max_packet")

    def __init__(self, max_packet: int = MAX_PACKET_SIZE) -> None:
        self.max_packet = max_packet
        self._buffer = bytearray()
        self._pos = 0

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        if self._pos:
            del self._buffer[: self._pos]
            self._pos = 0
        self._buffer += data

    def next_packet(self) -> Packet | None:
        """The next whole packet, or None until more is fed. Raises ``ProtocolError`` on an impossible
        length, as soon as its header is there."""
        start = self._pos
        buffer = self._buffer
        if len(buffer) - start < HEADER_SIZE:
            return None
        kind, status, length, spid, packet_id, _window = _HEADER.unpack_from(buffer, start)
        if not HEADER_SIZE <= length <= self.max_packet:
            raise ProtocolError(f"packet length {length} is not within 8..{self.max_packet}")
        if len(buffer) - start < length:
            return None
        self._pos = start + length
        raw = bytes(buffer[start : start + length])
        return Packet(kind, status, spid, packet_id, raw[HEADER_SIZE:], raw)

    def __iter__(self) -> Iterator[Packet]:
        """The whole packets at hand; ends, without error, when more bytes are needed."""
        while (packet := self.next_packet()) is not None:
            yield packet

    def first_byte(self) -> int | None:
        """The first unread byte: it tells TDS from TLS when the encryption changes."""
        return self._buffer[self._pos] if self._pos < len(self._buffer) else None

    @property
    def pending(self) -> int:
        """How many bytes wait unread."""
        return len(self._buffer) - self._pos

    def take_leftover(self) -> bytes:
        """Remove and return the unread bytes, for the layer that comes next."""
        rest = bytes(self._buffer[self._pos :])
        self._buffer.clear()
        self._pos = 0
        return rest


@dataclass(frozen=True, slots=True)
class Message:
    """``status_of_first`` carries the reset bits, which count in the first packet only. ``ignored`` means
    that the sender took the message back (IGNORE with EOM): answer it with one failed DONE."""

    type: int
    status_of_first: int
    payload: bytes = field(repr=False)
    ignored: bool = False


class MessageAssembler:
    """Gathers packets into messages of at most ``max_size`` payload bytes."""

    __slots__ = ("_parts", "_size", "_status", "_type", "max_size")

    def __init__(self, max_size: int) -> None:
        self.max_size = max_size
        self._parts: list[bytes] = []
        self._size = 0
        self._type: int | None = None
        self._status = 0

    @property
    def in_message(self) -> bool:
        """Whether a message has begun and its last packet is still to come."""
        return self._type is not None

    @property
    def current_type(self) -> int | None:
        return self._type

    def add(self, packet: Packet) -> Message | None:
        """Take a packet; returns the message that it completes. Raises ``ProtocolError`` when the type
        changes inside a message, ``TooLarge`` beyond the bound."""
        if self._type is None:
            self._type = packet.type
            self._status = packet.status
        elif packet.type != self._type:
            raise ProtocolError(f"a packet of type {packet.type} inside a message of type {self._type}")
        self._size += len(packet.payload)
        if self._size > self.max_size:
            raise TooLarge(f"a message of more than {self.max_size} bytes")
        self._parts.append(packet.payload)
        if not packet.is_last:
            return None
        message = Message(
            self._type, self._status, b"".join(self._parts), ignored=bool(packet.status & Status.IGNORE)
        )
        self.drop()
        return message

    def drop(self) -> None:
        """Forget an unfinished message (an attention came in the middle of it)."""
        self._parts.clear()
        self._size = 0
        self._type = None
        self._status = 0


def packetize(type: int, payload: bytes, packet_size: int, spid: int = 0, status_first: int = 0) -> bytes:
    """A whole message as packets of at most ``packet_size`` bytes, numbered from 1. ``status_first`` is
    added to the first packet's status (the reset bits). Only an empty payload makes an empty packet."""
    if not HEADER_SIZE < packet_size <= 0xFFFF:
        raise EncodeError(f"packet size {packet_size}")
    room = packet_size - HEADER_SIZE
    size = len(payload)
    if size <= room:
        return _HEADER.pack(type, status_first | 1, HEADER_SIZE + size, spid, 1, 0) + payload
    out = []
    number = 1
    for start in range(0, size, room):
        piece = payload[start : start + room]
        status = 1 if start + room >= size else 0
        if start == 0:
            status |= status_first
        out.append(_HEADER.pack(type, status, HEADER_SIZE + len(piece), spid, number & 0xFF, 0))
        out.append(piece)
        number += 1
    return b"".join(out)


ATTENTION: Final = _HEADER.pack(PacketType.ATTENTION, 1, HEADER_SIZE, 0, 1, 0)
"""The attention message: the one packet that may be empty."""


class PacketWriter:
    """Builds one response while its tokens arise.

    ``add`` returns the full packets that are ready to send, mostly none. One packet's worth is held back
    until ``finish``, so the packet with EOM is never an empty one. Status is exactly 0 or 1: some clients
    compare it whole.
    """

    __slots__ = ("_buffer", "_number", "_room", "_spid", "_type")

    def __init__(self, packet_size: int, spid: int = 0, type: int = PacketType.TABULAR_RESULT) -> None:
        if not HEADER_SIZE < packet_size <= 0xFFFF:
            raise EncodeError(f"packet size {packet_size}")
        self._room = packet_size - HEADER_SIZE
        self._spid = spid
        self._type = type
        self._buffer = bytearray()
        self._number = 1

    @property
    def pending(self) -> int:
        """Bytes held back."""
        return len(self._buffer)

    def _packet(self, piece: bytes | bytearray, status: int) -> bytes:
        header = _HEADER.pack(
            self._type, status, HEADER_SIZE + len(piece), self._spid, self._number & 0xFF, 0
        )
        self._number += 1
        return header + piece

    def add(self, data: bytes) -> bytes:
        """Append token bytes; returns the packets that are now full."""
        buffer = self._buffer
        buffer += data
        room = self._room
        if len(buffer) <= room:
            return b""
        out = []
        start = 0
        while len(buffer) - start > room:
            out.append(self._packet(buffer[start : start + room], 0))
            start += room
        del buffer[:start]
        return b"".join(out)

    def flush(self) -> bytes:
        """What is held back as a packet without EOM, for a client that waits for a sign of life. Call it
        only when another token will follow. Empty when nothing is held back."""
        if not self._buffer:
            return b""
        packet = self._packet(self._buffer, 0)
        self._buffer.clear()
        return packet

    def finish(self, data: bytes = b"") -> bytes:
        """Append the last tokens and return the rest of the message, its last packet with EOM; the writer
        then starts a new message. Raises ``EncodeError`` when nothing is left for that packet."""
        out = self.add(data)
        if not self._buffer:
            raise EncodeError("a message cannot end with an empty packet")
        out += self._packet(self._buffer, 1)
        self._buffer.clear()
        self._number = 1
        return out

"""Reading a connection in order while staying deaf to nothing: an attention is seen while a request runs."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, Final, cast

from tdsproxy.frontend.bulk import SPOOLED
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import HEADER_SIZE, Message, MessageAssembler, Packet, PacketType, Status

MAX_MESSAGE: Final = 256 * 1024 * 1024
"""The longest request: 65,536 packets of 4,096 bytes, as SQL Server bounds a batch."""

QUEUE_BYTES: Final = 1024 * 1024
"""Pipelined requests beyond this stay unread until the ones before them are answered."""

QUEUE_EVENTS: Final = 1000
"""So many requests and attentions may wait; beyond, nothing is read. It bounds what a client costs that sends
without reading."""

REQUEST_TYPES: Final = frozenset(
    {PacketType.SQL_BATCH, PacketType.RPC, PacketType.BULK_LOAD, PacketType.TRANSACTION_MANAGER}
)


_SHORT_TYPES: Final = frozenset({PacketType.SQL_BATCH, PacketType.RPC})


def is_whole_request(data: bytes, max_packet: int) -> bool:
    """Whether ``data`` is one batch or RPC in a single packet, without a reset, and nothing else."""
    return (
        HEADER_SIZE < len(data) <= max_packet
        and data[0] in _SHORT_TYPES
        and data[1] == Status.EOM
        and data[2] << 8 | data[3] == len(data)
    )


@dataclass(slots=True)
class Request:
    """A whole request. ``cancelled`` is set when an attention came behind it. ``bulk`` holds the payload of a
    bulk load, whose ``message`` has none; whoever takes the request closes it."""

    message: Message
    cancelled: bool = False
    bulk: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class Attention:
    """To be acknowledged, once what came before it is answered."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """A request that its sender took back in the middle (IGNORE with EOM): one failed DONE answers it."""


Event = Request | Attention | Ignored


@dataclass(slots=True)
class RequestReader:
    """Turns packets into events. ``run`` reads until the client goes; ``next_event`` hands them out.

    ``on_attention`` is called, in the loop, as soon as an attention arrives, before its event is queued.
    """

    channel: PacketChannel
    on_attention: Callable[[], None]
    _events: deque[Event] = field(default_factory=deque)
    _queued: int = 0
    _arrived: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)
    _ended: bool = False
    _stopped: bool = False
    _assembler: MessageAssembler = field(default_factory=lambda: MessageAssembler(MAX_MESSAGE))
    _error: Exception | None = None
    _bulk: BinaryIO | None = None

    async def run(self) -> None:
        """Read until the end of the connection, or until what arrives is not TDS."""
        assembler = self._assembler
        try:
            while (packet := await self.channel.next_packet()) is not None:
                if packet.type == PacketType.ATTENTION:
                    assembler.drop()
                    self._drop_bulk()
                    await self._wait_for_room(sys.maxsize)
                    self._attention()
                    continue
                if packet.type not in REQUEST_TYPES:
                    raise ProtocolError(f"a packet of type {packet.type} after the login")
                if packet.type == PacketType.BULK_LOAD:
                    packet = self._put_aside(packet)
                message = assembler.add(packet)
                if message is not None:
                    await self._put(message)
        except (ConnectionError, ProtocolError) as error:
            self._error = error
        finally:
            self._drop_bulk()
            self._ended = True
            self._arrived.set()

    def _put_aside(self, packet: Packet) -> Packet:
        """Bulk data may be gigabytes: they wait in a file. What is left is the packet without them."""
        try:
            if self._bulk is None:
                self._bulk = cast("BinaryIO", tempfile.SpooledTemporaryFile(SPOOLED))  # noqa: SIM115
            self._bulk.write(packet.payload)
        except OSError as error:
            raise ConnectionAbortedError(f"a bulk load can't be put aside: {error}") from error
        return Packet(packet.type, packet.status, packet.spid, packet.packet_id, b"", b"")

    def _drop_bulk(self) -> None:
        if self._bulk is not None:
            self._bulk.close()
            self._bulk = None

    def _attention(self) -> None:
        for event in self._events:
            if isinstance(event, Request):
                event.cancelled = True
        self.on_attention()
        self._events.append(Attention())
        self._arrived.set()

    async def _wait_for_room(self, most: int = QUEUE_BYTES) -> None:
        while (self._queued > most and self._events) or len(self._events) >= QUEUE_EVENTS:
            self._room.clear()
            await self._room.wait()

    async def _put(self, message: Message) -> None:
        await self._wait_for_room()
        self._queued += len(message.payload)
        bulk, self._bulk = self._bulk, None
        if message.ignored and bulk is not None:
            bulk.close()
        self._events.append(Ignored() if message.ignored else Request(message, bulk=bulk))
        self._arrived.set()

    async def next_event(self) -> Event | None:
        """The next event in order; None when the connection is over, or when it was stopped and nothing
        waits. Raises ProtocolError when it ended with bytes that are not TDS."""
        while not (self._events or self._ended):
            if self._stopped:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        if self._ended:
            if isinstance(self._error, ProtocolError):
                raise self._error
            return None  # nobody is left to answer what still waits
        event = self._events.popleft()
        if isinstance(event, Request):
            self._queued -= len(event.message.payload)
        self._room.set()
        return event

    def stop(self) -> None:
        """``next_event`` waits no more."""
        self._stopped = True
        self._arrived.set()

    @property
    def idle(self) -> bool:
        """Whether no request waits, and none has arrived in part."""
        return not (self._events or self._ended or self._stopped or self._assembler.in_message)

    @property
    def ended(self) -> bool:
        return self._ended

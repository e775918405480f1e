"""The client leg's packets in order, and its attentions as soon as they come."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import Packet, PacketType

READ_AHEAD: Final = 1024 * 1024
"""Bytes of requests that may wait; beyond, the client is made to wait, too."""

_ALLOWED: Final = frozenset(
    {
        PacketType.SQL_BATCH,
        PacketType.RPC,
        PacketType.BULK_LOAD,
        PacketType.TRANSACTION_MANAGER,
        PacketType.ATTENTION,
    }
)


class ClientEvents:
    """Reads while a request is answered. ``urgent`` is offered each attention that finds nothing queued, and
    says whether it has dealt with it."""

    def __init__(self, channel: PacketChannel, urgent: Callable[[], bool]) -> None:
        self._channel = channel
        self._urgent = urgent
        self._queue: deque[Packet] = deque()
        self._size = 0
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self._ended = False
        self._error: ProtocolError | None = None

    @property
    def ended(self) -> bool:
        return self._ended

    async def run(self) -> None:
        """Read until the client goes."""
        try:
            while (packet := await self._channel.next_packet()) is not None:
                if packet.type not in _ALLOWED:
                    raise ProtocolError(f"a packet of type {packet.type} after the login")
                if packet.type == PacketType.ATTENTION and not self._queue and self._urgent():
                    continue
                self._queue.append(packet)
                self._size += len(packet.raw)
                self._arrived.set()
                while self._size > READ_AHEAD:
                    self._room.clear()
                    await self._room.wait()
        except ProtocolError as error:
            self._error = error
        except ConnectionError:
            return
        finally:
            self._ended = True
            self._arrived.set()

    async def next(self) -> Packet | None:
        """The next packet; None when the client has gone. Raises ProtocolError."""
        while not (self._queue or self._ended):
            self._arrived.clear()
            await self._arrived.wait()
        if self._ended:
            if self._error is not None:
                raise self._error
            return None
        packet = self._queue.popleft()
        self._size -= len(packet.raw)
        self._room.set()
        return packet

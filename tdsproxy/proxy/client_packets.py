"""The client leg's packets in order, and its attentions as soon as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import Packet, PacketType

READ_AHEAD: Final = 1024 * 1024
"""Bytes of requests that are taken while another is answered; what is beyond makes the client wait."""

_ALLOWED: Final = frozenset(
    {
        PacketType.SQL_BATCH,
        PacketType.RPC,
        PacketType.BULK_LOAD,
        PacketType.TRANSACTION_MANAGER,
        PacketType.ATTENTION,
    }
)


class ClientPackets:
    """While nobody waits in ``next`` the leg is watched instead: ``urgent`` is offered each attention that
    finds no request queued before it and says whether it has dealt with it; ``gone`` is called when the
    client has ended, or has sent what is no TDS."""

    def __init__(self, channel: PacketChannel, urgent: Callable[[], bool], gone: Callable[[], None]) -> None:
        self._channel = channel
        self._urgent = urgent
        self._gone = gone
        self._queue: deque[Packet] = deque()
        self._size = 0
        self._error: ProtocolError | None = None

    async def next(self) -> Packet | None:
        """The next packet; None when the client has gone. Raises ProtocolError."""
        if self._queue:
            packet = self._queue.popleft()
            self._size -= len(packet.raw)
            return packet
        if self._error is not None:
            raise self._error
        found = await self._channel.next_packet()
        if found is not None and found.type not in _ALLOWED:
            raise ProtocolError(f"a packet of type {found.type} after the login")
        return found

    def watch(self) -> None:
        """A request is at work: look at what comes without waiting for it."""
        self._channel.watch(self._look)
        self._look()

    def unwatch(self) -> None:
        """The request has ended."""
        self._channel.watch(None)

    def _look(self) -> None:
        try:
            while self._error is None and self._size <= READ_AHEAD:
                packet = self._channel.poll()
                if packet is None:
                    break
                if packet.type not in _ALLOWED:
                    raise ProtocolError(f"a packet of type {packet.type} after the login")
                if packet.type == PacketType.ATTENTION and not self._queue and self._urgent():
                    continue
                self._queue.append(packet)
                self._size += len(packet.raw)
        except ProtocolError as error:
            self._error = error
        if self._channel.ended or self._error is not None:
            self._channel.watch(None)
            self._gone()

"""Requests of our own on the client's session, and what an attention of the client's means for them."""

from __future__ import annotations

import asyncio

from tdsproxy.proxy.upstream import UpstreamLeg
from tdsproxy.tds.packets import ATTENTION, PacketType


class Interrupted(Exception):
    """An attention came, or the client went."""


class Talk:
    """One at a time; belongs to the event loop."""

    def __init__(self, leg: UpstreamLeg) -> None:
        self._leg = leg
        self._waiting = False
        self.interrupted = asyncio.Event()

    @property
    def is_waiting(self) -> bool:
        """Whether an answer is due."""
        return self._waiting

    def interrupt(self) -> None:
        """The request that runs is to end; its answer is read all the same."""
        if not self.interrupted.is_set():
            self.interrupted.set()
            if self._waiting:
                self._leg.channel.write(ATTENTION)

    def check(self) -> None:
        """Raises Interrupted."""
        if self.interrupted.is_set():
            raise Interrupted

    async def begin(self, kind: PacketType, body: bytes, status: int = 0) -> None:
        """Send a request. Raises Interrupted, ConnectionError."""
        self.check()
        self._waiting = True
        await self._leg.send(kind, body, status)

    async def next(self) -> tuple[bytes, bool]:
        """The payload of the answer's next packet, and whether it is the last; then also the acknowledgement
        of an attention that was sent meanwhile has been read. Raises ConnectionError."""
        packet = await self._leg.channel.next_packet()
        if packet is None:
            raise ConnectionResetError("the upstream has closed the connection")
        self._leg.spid = packet.spid
        if packet.is_last:
            if self.interrupted.is_set():
                await self._leg.message()
            self._waiting = False
        return packet.payload, packet.is_last

    async def ask(self, kind: PacketType, body: bytes, status: int = 0) -> bytes:
        """A request and its whole answer. Raises Interrupted, ConnectionError, TooLarge."""
        self.check()
        self._waiting = True
        try:
            await self._leg.send(kind, body, status)
            answer = await self._leg.message()
            if self.interrupted.is_set():
                await self._leg.message()  # the acknowledgement of the attention that was sent after it
            return answer
        finally:
            self._waiting = False

"""The answer to a request that is run here, as the client gets it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.proxy.upstream import UpstreamLeg
from tdsproxy.tds.packets import PacketWriter
from tdsproxy.tsql.replies import Done, DoneKind, Reply
from tdsproxy.tsql.replies import Message as SqlMessage


class Answer:
    """The answer to one request, written to the client as it arises."""

    def __init__(
        self, client: PacketChannel, leg: UpstreamLeg, format_: Format, *, in_rpc: bool = False
    ) -> None:
        self.encoder = ReplyEncoder(format_, in_rpc=in_rpc)
        self.in_rpc = in_rpc
        self._client = client
        self._writer = PacketWriter(leg.packet_size, leg.spid)
        self.begun = False

    async def add(self, reply: Reply) -> None:
        if self.in_rpc and isinstance(reply, Done) and reply.kind is DoneKind.BATCH:
            reply = replace(reply, kind=DoneKind.IN_PROC)
        self.begun = True
        flush = self.encoder.add(reply)
        packets = self._writer.add(self.encoder.take())
        if flush:
            packets += self._writer.flush()
        await self._write(packets)

    async def _write(self, packets: bytes) -> None:
        if packets:
            self._client.write(packets)
            await self._client.drain()

    async def send(self, *, at_once: bool = False) -> None:
        """What the encoder has ready; with ``at_once`` no packet waits to be full."""
        packets = self._writer.add(self.encoder.take())
        if at_once:
            packets += self._writer.flush()
        await self._write(packets)

    async def hand_over(self) -> None:
        """What comes next is the upstream's: send all there is, without an end."""
        await self._write(self._writer.add(self.encoder.more()) + self._writer.flush())

    async def splice(self, tokens: bytes) -> None:
        """Another server's whole answer in the middle of ours."""
        self.encoder.whole(tokens)
        await self._write(self._writer.add(self.encoder.take()))

    async def pass_on(self, tokens: bytes) -> None:
        """The beginning of another server's answer, cut anywhere; its rest follows."""
        self.begun = True
        self.encoder.raw(tokens)
        await self._write(self._writer.add(self.encoder.take()))

    async def end_with(self, tokens: bytes) -> None:
        """Another server's whole answer is the end of ours."""
        if self.in_rpc:
            await self.splice(tokens)
            return
        await self._write(self._writer.finish(self.encoder.more() + tokens))

    async def end(self, messages: Sequence[SqlMessage]) -> None:
        self.encoder.fail(messages)
        await self.finish()

    async def finish(self, *, cancelled: bool = False) -> None:
        await self._write(self._writer.finish(self.encoder.finish(cancelled=cancelled)))

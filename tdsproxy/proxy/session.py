"""One client in front of another server: two legs, and the statements that are run in between.

The client leg is read all the time, for attentions; everything else happens one request after the other.
What is not ours passes packet by packet as it came.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.connection import TOO_MANY
from tdsproxy.frontend.handshake import Accepted, HandshakeSettings, greet, read_login
from tdsproxy.frontend.replies import Format, ReplyEncoder, attention_done, failed_done
from tdsproxy.frontend.streams import ByteStream
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.proxy.client_packets import ClientPackets
from tdsproxy.proxy.interception import Interception, Outcome
from tdsproxy.proxy.local import LocalServer, may_be_ours
from tdsproxy.proxy.login import login_body, read_answer
from tdsproxy.proxy.natives import KeeperRuns, Origin
from tdsproxy.proxy.splice import MAX_ATTENTIONS, Splice
from tdsproxy.proxy.upstream import UpstreamLeg, UpstreamSettings, UpstreamUnreachable
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import MAX_LOGIN7
from tdsproxy.tds.packets import (
    ATTENTION,
    DEFAULT_PACKET_SIZE,
    MAX_PACKET_SIZE,
    RESET_BITS,
    Message,
    MessageAssembler,
    Packet,
    PacketType,
    Status,
    packetize,
)
from tdsproxy.tds.versions import negotiate_version
from tdsproxy.tsql.replies import Message as SqlMessage

log = logging.getLogger(__name__)

MAX_SEARCHED: Final = 4 * 1024 * 1024
"""A request beyond this many bytes passes unsearched: no native statement needs so many."""

GONE: Final = SqlMessage(10054, 16, 1, "The server behind the proxy can't be reached.")
"""What a client is told that logs in while the upstream can't be reached, or goes away. Clients take 10054
for a passing failure; some try again by themselves."""

STAND_IN: Final = (16, 0, 4236, 0)
"""The version in the answer to PRELOGIN while the upstream can't say its own."""

_LOGIN_STEPS: Final = frozenset({PacketType.SSPI, PacketType.FEDAUTH_TOKEN})
"""What a client may send between its LOGIN7 and the end of the login."""

_SEARCHED: Final = frozenset({PacketType.SQL_BATCH, PacketType.RPC})


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """``limit`` counts sessions, shared by the connections of one listener. ``local`` answers what is about
    msdb; without one it is the upstream's."""

    handshake: HandshakeSettings
    upstream: UpstreamSettings
    limit: SessionLimit
    local: LocalServer | None = None


class ProxySession:
    """An ``Endpoint`` of the listener."""

    def __init__(self, stream: ByteStream, keeper: KeeperRuns, settings: ProxySettings) -> None:
        self._client = PacketChannel(stream)
        self._keeper = keeper
        self._settings = settings
        self._leg: UpstreamLeg | None = None
        self._login_name: str | None = None
        self._expected = 0
        self._own: Interception | None = None
        self._interception: Interception | None = None
        self._splice: Splice | None = None
        self._busy = False
        self._stopping = False

    def stop(self) -> None:
        """End as soon as no request runs."""
        self._stopping = True
        if not self._busy and (self._splice is None or not self._splice.busy):
            self._client.close()

    async def serve(self) -> None:
        """Returns when either side has ended the connection."""
        try:
            crowded = self._settings.limit.crowded
            with self._settings.limit.slot() as granted:
                if granted or not crowded:
                    await self._serve(granted)
        except ProtocolError as error:
            log.info("%s: closed for a breach of protocol: %s", self._client.peer, error)
            self._client.abort()
        except ConnectionError as error:
            log.debug("%s: %s", self._client.peer, error)
            self._client.abort()  # in the middle of an answer there is no honest end
        finally:
            self._client.close()
            if self._leg is not None:
                self._leg.close()
            if self._interception is not None:
                self._interception.close()
            if self._login_name is not None:
                self._settings.limit.leave(self._login_name)

    # Login

    async def _serve(self, granted: bool) -> None:
        try:
            async with asyncio.timeout(self._settings.handshake.deadline):
                accepted = await self._accept(granted)
        except TimeoutError:
            log.info("%s: no login within the time allowed", self._client.peer)
            self._client.abort()
            return
        if accepted is None:
            return
        if self._leg is None:
            self._refuse(accepted, GONE if granted else TOO_MANY)
            return
        try:
            async with asyncio.timeout(self._settings.upstream.deadline):
                format_ = await self._login(accepted, self._leg)
        except (ConnectionError, TimeoutError) as error:
            log.warning("the upstream went away during a login: %s", error)
            self._refuse(accepted, GONE)
            return
        if format_ is not None:
            login = accepted.login
            origin = Origin(login.host, login.application, self._client.peer)
            await self._converse(self._leg, format_, origin)

    def _refuse(self, accepted: Accepted, message: SqlMessage) -> None:
        format_ = Format("", negotiate_version(accepted.login.tds_version))
        tokens = ReplyEncoder(format_).failure((message,))
        self._client.write(packetize(PacketType.TABULAR_RESULT, tokens, DEFAULT_PACKET_SIZE))

    async def _accept(self, granted: bool) -> Accepted | None:
        async def introduce(fedauth: bool) -> tuple[tuple[int, int, int, int], int | None]:
            if not granted:
                return STAND_IN, None
            try:
                leg = await UpstreamLeg.connect(self._settings.upstream, fedauth=fedauth)
            except UpstreamUnreachable as error:
                # The client hears of it in answer to its login: what closes before says nothing.
                log.warning("%s: the upstream can't be reached: %s", self._client.peer, error)
                return STAND_IN, None
            self._leg = leg
            return leg.prelogin.version, leg.prelogin.fedauth_required

        greeting = await greet(self._client, self._settings.handshake, introduce)
        return None if greeting is None else await read_login(self._client, greeting)

    async def _login(self, accepted: Accepted, leg: UpstreamLeg) -> Format | None:
        """Log in to the upstream as the client; None when that failed, and the client knows."""
        login = accepted.login
        version = negotiate_version(login.tds_version)
        body = login_body(login, accepted.body, encrypted=accepted.encrypted or leg.encrypted)
        kind = int(PacketType.LOGIN7)
        name = ""
        while True:
            await leg.send(kind, body)
            answer = read_answer(await leg.message(), version)
            name = answer.server_name or name
            if answer.rerouted:
                log.warning("the upstream sends its clients elsewhere; they are kept here")
            if answer.version is not None and not self._settings.limit.enter(login.user):
                log.info("%s: %r has as many sessions as a login may have", self._client.peer, login.user)
                self._refuse(accepted, TOO_MANY)
                return None
            if answer.version is not None:
                self._login_name = login.user
            self._client.write(
                packetize(PacketType.TABULAR_RESULT, answer.body, DEFAULT_PACKET_SIZE, leg.spid)
            )
            await self._client.drain()
            if answer.version is not None:
                leg.packet_size = answer.packet_size or DEFAULT_PACKET_SIZE
                self._client.max_packet = MAX_PACKET_SIZE
                return Format(name, answer.version)
            if not answer.pending:
                return None
            assembler = MessageAssembler(MAX_LOGIN7)
            found: Message | None = None
            while found is None:
                packet = await self._client.next_packet()
                if packet is None:
                    return None
                if packet.type not in _LOGIN_STEPS:
                    raise ProtocolError(f"a packet of type {packet.type} inside a login")
                found = assembler.add(packet)
            kind, body = found.type, found.payload

    # Requests

    async def _converse(self, leg: UpstreamLeg, format_: Format, origin: Origin) -> None:
        packets = ClientPackets(self._client, lambda: self._urgent(leg), lambda: self._client_gone(leg))
        interception = Interception(self._client, leg, self._keeper, format_, origin, self._settings.local)
        self._interception = interception
        splice = Splice(self._client, leg, lambda: interception.has_handles, self._answered)
        self._splice = splice
        while not self._stopping:
            leg.channel.watch(lambda: self._upstream_changed(leg, splice))
            splice.join()
            try:
                first = await packets.next()
            finally:
                due = splice.part()
                leg.channel.watch(None)
            if first is None:
                return
            self._busy = True
            try:
                if due:
                    await self._take_over(due, first, packets, leg)
                    if first.type == PacketType.ATTENTION:
                        continue
                await self._request(first, packets, leg, interception, format_)
            finally:
                self._busy = False

    def _upstream_changed(self, leg: UpstreamLeg, splice: Splice) -> None:
        """While no request runs the upstream has nothing to say but that it has gone."""
        if leg.channel.ended:
            if splice.busy:
                self._client.abort()  # in the middle of an answer there is no honest end
            else:
                self._client.close()

    def _answered(self) -> None:
        """The splice has nothing more to wait for."""
        if self._stopping:
            self._client.close()

    async def _take_over(self, due: int, first: Packet, packets: ClientPackets, leg: UpstreamLeg) -> None:
        """The client did not wait for the answers that are due, or cut its attention in pieces."""
        self._expected = due
        if first.type == PacketType.ATTENTION:
            self._expected += 1
            leg.channel.write(ATTENTION)
        await self._relay(packets, leg)

    def _urgent(self, leg: UpstreamLeg) -> bool:
        """An attention came. Called by the reader, while the request may be running. Raises ProtocolError."""
        if self._own is not None:
            self._own.cancel()
            return True
        if self._expected:
            if self._expected > MAX_ATTENTIONS:
                raise ProtocolError("attentions without end")
            self._expected += 1
            leg.channel.write(ATTENTION)
            return True
        return False

    def _client_gone(self, leg: UpstreamLeg) -> None:
        if self._own is not None:
            self._own.cancel()
        leg.abort()

    async def _request(
        self,
        first: Packet,
        packets: ClientPackets,
        leg: UpstreamLeg,
        interception: Interception,
        format_: Format,
    ) -> None:
        if first.type == PacketType.ATTENTION:
            await self._forward(packets, leg, first.raw)
            return
        if first.type not in _SEARCHED:
            await self._stream(first, packets, leg)
            return
        whole = [first]
        size = len(first.payload)
        while not whole[-1].is_last:
            if size > MAX_SEARCHED:
                await self._stream(None, packets, leg, *whole)
                return
            following = await packets.next()
            if following is None:
                return
            if following.type == PacketType.ATTENTION:
                # Nothing of the request has been sent on: it is as if it had never been.
                await self._answer(attention_done(format_), leg)
                return
            if following.type != first.type:
                raise ProtocolError("a request inside a request")
            whole.append(following)
            size += len(following.payload)
        if whole[-1].status & Status.IGNORE:
            await self._answer(failed_done(format_), leg)
            return
        body = first.payload if len(whole) == 1 else b"".join(packet.payload for packet in whole)
        if may_be_ours(body) or (first.type == PacketType.RPC and interception.has_handles):
            message = Message(first.type, first.status, body)
            if await self._intercept(message, packets, leg, interception, format_):
                return
        elif first.status & RESET_BITS:
            interception.forget()
        await self._forward(packets, leg, *(packet.raw for packet in whole))

    async def _answer(self, tokens: bytes, leg: UpstreamLeg) -> None:
        self._client.write(packetize(PacketType.TABULAR_RESULT, tokens, leg.packet_size, leg.spid))
        await self._client.drain()

    async def _intercept(
        self,
        message: Message,
        packets: ClientPackets,
        leg: UpstreamLeg,
        interception: Interception,
        format_: Format,
    ) -> bool:
        """Run the request here; False when it is the upstream's after all."""
        self._own = interception
        packets.watch()
        try:
            outcome = await interception.run(message)
        finally:
            packets.unwatch()
            self._own = None
        attentions = interception.take_attentions()
        if outcome is Outcome.NOT_OURS:
            if attentions:  # it came while the request was looked at: the request does not run at all
                await self._answer(failed_done(format_), leg)
        elif outcome is Outcome.RELAY:
            for _ in range(attentions):
                leg.channel.write(ATTENTION)
            self._expected = 1 + attentions
            await self._relay(packets, leg)
            return True
        for _ in range(attentions):
            await self._answer(attention_done(format_), leg)
        return outcome is Outcome.ANSWERED or attentions > 0

    # Passing on

    async def _stream(
        self, first: Packet | None, packets: ClientPackets, leg: UpstreamLeg, *before: Packet
    ) -> None:
        """A request whose packets pass as they come: a bulk load, or a very long one."""
        for packet in before:
            leg.channel.write(packet.raw)
        await leg.channel.drain()
        item = first if first is not None else await packets.next()
        while item is not None:
            if item.type == PacketType.ATTENTION or item.is_last:
                await self._forward(packets, leg, item.raw)
                return
            leg.channel.write(item.raw)
            await leg.channel.drain()
            item = await packets.next()

    async def _forward(self, packets: ClientPackets, leg: UpstreamLeg, *data: bytes) -> None:
        """The last packets of a request, then its answer."""
        self._expected = 1
        for packet in data:
            leg.channel.write(packet)
        await leg.channel.drain()
        await self._relay(packets, leg)

    async def _relay(self, packets: ClientPackets, leg: UpstreamLeg) -> None:
        """Pass the answers on that are due: one, and one more for each attention sent meanwhile."""
        packets.watch()
        try:
            while self._expected > 0:
                data = await leg.channel.read()
                if not data:
                    raise ConnectionResetError("the upstream has closed the connection")
                self._expected -= leg.counter.feed(data)
                self._client.write(data)
                await self._client.drain()
        finally:
            packets.unwatch()
            self._expected = 0

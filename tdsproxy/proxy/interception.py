"""Running what is ours: a batch or an RPC with native statements, between two ends of the same answer."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Final, Protocol, TypeVar

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.frontend.calls import rpc_request
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.keeper.client import KeeperUnavailable
from tdsproxy.proxy.plan import Part, Plan, make_plan
from tdsproxy.proxy.probe import HELD_BACK, Held, Probe, SessionFacts, carried, without_assignment
from tdsproxy.proxy.rpcs import (
    Handles,
    Kind,
    Prepared,
    StatementCall,
    bind,
    declared_variables,
    statement_call,
)
from tdsproxy.proxy.upstream import MAX_ANSWER, UpstreamLeg
from tdsproxy.tds.errors import ProtocolError, TooLarge, UnsupportedType
from tdsproxy.tds.headers import AllHeaders, build_batch, parse_batch
from tdsproxy.tds.packets import (
    ATTENTION,
    RESET_BITS,
    Message,
    PacketType,
    PacketWriter,
    Status,
    packetize,
)
from tdsproxy.tds.rpc import ProcId, RpcCall, RpcParam, build_rpc, parse_rpc
from tdsproxy.tds.types import intn
from tdsproxy.tsql import types as sql
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.gate import may_be_native
from tdsproxy.tsql.replies import Command, Done, DoneKind, Reply, ReturnStatus, ReturnValue
from tdsproxy.tsql.replies import Message as SqlMessage

log = logging.getLogger(__name__)

T = TypeVar("T")

CANCEL_PATIENCE: Final = 2.0
"""Seconds that a cancelled statement gets before its client hears of the end; it stops in the background."""

LONG: Final = 16 * 1024
"""Characters of a batch, or bytes of an RPC, from which on it is parsed beside the event loop."""

NO_KEEPER: Final = SqlMessage(
    3013, 16, 1, "The keeper of the store does not answer. The statement was not run."
)


class KeeperRuns(Protocol):
    """The part of a keeper client that runs statements."""

    def run(self, request: NativeRequest) -> AsyncIterator[Reply]: ...


class Outcome(Enum):
    """ANSWERED: the client has its whole answer. RELAY: the rest of it comes from the upstream and is to be
    passed on. NOT_OURS: nothing was answered, the request is to be forwarded."""

    ANSWERED = 1
    RELAY = 2
    NOT_OURS = 3


class _Cancelled(Exception):
    """An attention came, or the client went."""


@dataclass(frozen=True, slots=True)
class Origin:
    """What a client says of itself, and where its connection comes from."""

    host: str = ""
    application: str = ""
    address: str = ""


class Interception:
    """Runs requests of one connection, one at a time; remembers the statements prepared here."""

    def __init__(
        self,
        client: PacketChannel,
        leg: UpstreamLeg,
        keeper: KeeperRuns,
        format_: Format,
        origin: Origin,
    ) -> None:
        self._origin = origin
        self._client = client
        self._leg = leg
        self._keeper = keeper
        self._format = format_
        self._handles = Handles()
        self._attentions = 0
        self._cancelled = asyncio.Event()
        self._waiting = False
        self._stopping: set[asyncio.Task[None]] = set()

    @property
    def has_handles(self) -> bool:
        """Whether an RPC may name a statement that was prepared here."""
        return bool(self._handles)

    def forget(self) -> None:
        """The session was reset."""
        self._handles.clear()

    def cancel(self) -> None:
        """An attention came while ``run`` is at work, or the client went."""
        self._attentions += 1
        if not self._cancelled.is_set():
            self._cancelled.set()
            if self._waiting:
                self._leg.channel.write(ATTENTION)

    def take_attentions(self) -> int:
        """How many attentions are to be acknowledged."""
        count, self._attentions = self._attentions, 0
        self._cancelled.clear()
        return count

    async def run(self, message: Message) -> Outcome:
        """Take a request as far as it is ours. Raises ConnectionError and ProtocolError."""
        if message.status_of_first & RESET_BITS:
            self._handles.clear()
        if message.type == PacketType.SQL_BATCH:
            return await self._batch(message)
        return await self._rpc(message)

    # Batches

    async def _batch(self, message: Message) -> Outcome:
        try:
            batch = parse_batch(message.payload, self._format.version)
        except ProtocolError:
            return Outcome.NOT_OURS
        answer = _Answer(self._client, self._leg, self._format)
        try:
            plan = await _off_the_loop(len(batch.text), lambda: make_plan(batch.text))
        except SyntaxError_ as error:
            await answer.end(error.messages)
            return Outcome.ANSWERED
        if plan is None:
            return Outcome.NOT_OURS
        run = _Run(plan, batch.headers, message.status_of_first & RESET_BITS, {})
        return await self._execute(run, answer)

    async def _execute(self, run: _Run, answer: _Answer) -> Outcome:
        """A batch's parts, in order."""
        try:
            for part in run.plan.parts:
                outcome = await self._part(part, run, answer)
                if outcome is not None:
                    return outcome
        except _Cancelled:
            await answer.finish(cancelled=True)
            return Outcome.ANSWERED
        await answer.finish()
        return Outcome.ANSWERED

    async def _part(self, part: Part, run: _Run, answer: _Answer) -> Outcome | None:
        """One part; None when the next may follow."""
        if self._cancelled.is_set():
            raise _Cancelled
        if part.native is None:
            return await self._rest(part, run, answer)
        probe = Probe(part, run.held)
        body = await self._ask_through(probe, run, answer)
        found = probe.read(body, self._format.version)
        if self._cancelled.is_set():
            raise _Cancelled
        if found is None:  # an error has ended the batch before the statement was reached
            await answer.end_with(probe.strip(body, self._format.version))
            return Outcome.ANSWERED
        if found.facts is None:  # the session runs nothing now (PARSEONLY, NOEXEC, FMTONLY)
            if not (answer.begun or part.text or found.before):
                return Outcome.NOT_OURS
            answer.encoder.raw(found.before)
            await answer.finish()
            return Outcome.ANSWERED
        answer.encoder.raw(found.before)
        run.held.update(found.values)
        await self._native(part, run, found.facts, answer)
        return None

    async def _rest(self, part: Part, run: _Run, answer: _Answer) -> Outcome:
        """The statements behind the last native one."""
        own = carried(part, run.held)
        version = self._format.version
        if answer.in_rpc:
            body = await self._ask(own.text, run)
            await answer.end_with(without_assignment(body, version) if own.assigns else body)
            return Outcome.ANSWERED
        await answer.hand_over()
        await self._leg.send(PacketType.SQL_BATCH, run.batch(own.text, version), run.take_status())
        ended = own.assigns and await self._first_packet()
        return Outcome.ANSWERED if ended else Outcome.RELAY

    async def _first_packet(self) -> bool:
        """Pass the first packet of an answer on without the DONE of the assignment in front; True when it was
        the last one, too."""
        packet = await self._leg.channel.next_packet()
        if packet is None:
            raise ConnectionResetError("the upstream has closed the connection")
        payload = without_assignment(packet.payload, self._format.version)
        if packet.is_last and not payload:
            payload = packet.payload  # it is the only end that there is
        if payload:
            kind = PacketType.TABULAR_RESULT
            data = bytearray(packetize(kind, payload, self._leg.packet_size, packet.spid))
            data[1] = packet.status & Status.EOM
            self._client.write(bytes(data))
            await self._client.drain()
        return packet.is_last

    async def _ask(self, text: str, run: _Run) -> bytes:
        """A batch of our own making on the client's session; its whole answer."""
        self._waiting = True
        try:
            body = run.batch(text, self._format.version)
            await self._leg.send(PacketType.SQL_BATCH, body, run.take_status())
            answer = await self._leg.message()
            if self._cancelled.is_set():
                await self._leg.message()  # the acknowledgement of the attention that was sent after it
            return answer
        finally:
            self._waiting = False

    async def _ask_through(self, probe: Probe, run: _Run, answer: _Answer) -> bytes:
        """A part and its question: what the client is to see of the answer is passed on while it comes, but
        for its end with the question in it."""
        self._waiting = True
        version = self._format.version
        held = bytearray()
        try:
            await self._leg.send(PacketType.SQL_BATCH, run.batch(probe.text, version), run.take_status())
            reached = False
            async for payload in self._leg.payloads():
                since = len(held)
                held += payload
                reached = reached or probe.reached(held, since)
                if not reached and len(held) > HELD_BACK:
                    await answer.pass_on(probe.pass_on(held, version))
                elif len(held) > MAX_ANSWER:
                    raise TooLarge("the upstream's answer is too long to be gathered")
            if self._cancelled.is_set():
                await self._leg.message()  # the acknowledgement of the attention that was sent after it
            return bytes(held)
        finally:
            self._waiting = False

    async def _native(self, part: Part, run: _Run, facts: SessionFacts, answer: _Answer) -> None:
        if part.native is None:
            return
        request = NativeRequest(
            part.native_text(run.plan.source),
            SessionContext(
                login=facts.login,
                database=facts.database,
                spid=facts.spid,
                server_roles=facts.server_roles,
                in_transaction=facts.in_transaction or run.headers.in_transaction,
                quoted_identifier=facts.quoted_identifier,
                host=self._origin.host,
                application=self._origin.application,
                address=self._origin.address,
            ),
            line=part.native.line,
            variables={name: held.value for name, held in run.held.items()},
        )
        try:
            async for reply in self._replies(request):
                await answer.add(reply)
        except KeeperUnavailable as error:
            log.error("the keeper can't be reached: %s", error)
            answer.encoder.fail((NO_KEEPER,))
        except SqlError as error:
            answer.encoder.fail(error.messages)
        if self._cancelled.is_set():
            raise _Cancelled

    async def _replies(self, request: NativeRequest) -> AsyncIterator[Reply]:
        """The keeper's replies until they end or an attention comes."""
        replies = self._keeper.run(request)
        cancelled = asyncio.create_task(self._cancelled.wait())
        step: asyncio.Task[Reply | None] | None = None
        try:
            while True:
                step = asyncio.create_task(_next(replies))
                await asyncio.wait({step, cancelled}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    return
                reply = step.result()
                if reply is None:
                    return
                yield reply
        finally:
            cancelled.cancel()
            await self._let_go(replies, step)

    async def _let_go(self, replies: AsyncIterator[Reply], step: asyncio.Task[Reply | None] | None) -> None:
        """Cancel the statement and give it a moment; what takes longer goes on without us."""

        async def close() -> None:
            if step is not None and not step.done():
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError, SqlError, KeeperUnavailable):
                    await step
            closer = getattr(replies, "aclose", None)
            if closer is not None:
                await closer()

        task = asyncio.create_task(close())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
        await asyncio.wait({task}, timeout=CANCEL_PATIENCE)

    # RPCs

    async def _rpc(self, message: Message) -> Outcome:
        try:
            request = parse_rpc(message.payload, self._format.version)
        except (UnsupportedType, ProtocolError):
            return Outcome.NOT_OURS
        calls = [(call, statement_call(rpc_request(call))) for call in request.calls]
        try:
            plans = await _off_the_loop(
                len(message.payload), lambda: [self._rpc_plan(said) for _call, said in calls]
            )
        except SyntaxError_ as error:
            await _Answer(self._client, self._leg, self._format, in_rpc=True).end(error.messages)
            return Outcome.ANSWERED
        if not any(
            plan is not None or self._is_own(said) for plan, (_c, said) in zip(plans, calls, strict=True)
        ):
            return Outcome.NOT_OURS
        answer = _Answer(self._client, self._leg, self._format, in_rpc=True)
        status = int(message.status_of_first & RESET_BITS)
        try:
            for index, (call, said) in enumerate(calls):
                if index:
                    answer.encoder.next_call()
                status = await self._call(call, said, plans[index], request.headers, status, answer)
        except _Cancelled:
            await answer.finish(cancelled=True)
            return Outcome.ANSWERED
        await answer.finish()
        return Outcome.ANSWERED

    def _rpc_plan(self, said: StatementCall | None) -> Plan | None:
        """The plan of the statement that an RPC runs or prepares, when it is ours. Raises SyntaxError_."""
        if said is None:
            return None
        if said.kind is Kind.EXECUTE:
            prepared = self._handles.get(said.handle)
            if prepared is None:
                return None
            text, declarations = prepared.text, prepared.declarations
        elif said.text is None or not may_be_native(said.text.encode("utf-16-le", "surrogatepass")):
            return None
        else:
            text, declarations = said.text, said.declarations
        variables = declared_variables(declarations)
        return None if variables is None else make_plan(text, declared=variables)

    def _is_own(self, said: StatementCall | None) -> bool:
        return said is not None and said.handle in self._handles

    async def _call(
        self,
        call: RpcCall,
        said: StatementCall | None,
        plan: Plan | None,
        headers: AllHeaders,
        status: int,
        answer: _Answer,
    ) -> int:
        """One call of an RPC message; the reset bits that are still to be sent."""
        if said is None or (plan is None and not (said.kind is Kind.UNPREPARE and self._is_own(said))):
            return await self._pass_call(call, said, headers, status, answer)
        if said.kind is not Kind.EXECUTE and said.handle is not None:
            await self._release(said, headers)
        handle = None
        if said.text is not None and said.kind in (Kind.PREPARE, Kind.PREPEXEC):
            handle = self._handles.add(Prepared(said.text, said.declarations))
        if plan is not None and said.kind is not Kind.PREPARE:
            declarations = said.declarations
            if said.kind is Kind.EXECUTE:
                prepared = self._handles.get(said.handle)
                declarations = "" if prepared is None else prepared.declarations
            held = bind(declared_variables(declarations) or (), said.arguments)
            run = _Run(plan, headers, status, held)
            for part in plan.parts:
                if await self._part(part, run, answer) is not None:
                    break
            status = run.take_status()
        await answer.add(ReturnStatus(0))
        if handle is not None:
            await answer.add(ReturnValue(0, said.handle_name, sql.INT, handle))
        await answer.add(Done(Command.EXECUTE, kind=DoneKind.PROC))
        return status

    async def _release(self, said: StatementCall, headers: AllHeaders) -> None:
        """The handle given with an sp_unprepare or sp_prepexec ends: ours here, another at the upstream."""
        if said.handle is None:
            return
        if said.handle in self._handles:
            self._handles.drop(said.handle)
            return
        unprepare = RpcCall(ProcId.UNPREPARE, params=(RpcParam("", 0, intn(4), said.handle),))
        await self._leg.send(PacketType.RPC, build_rpc([unprepare], headers, self._format.version))
        await self._leg.message()

    async def _pass_call(
        self, call: RpcCall, said: StatementCall | None, headers: AllHeaders, status: int, answer: _Answer
    ) -> int:
        """A call that is the upstream's, within a message that is not all of it."""
        if said is not None and said.handle in self._handles and said.handle is not None:
            self._handles.drop(said.handle)
            first = replace(call.params[0], value=None)
            call = replace(call, params=(first, *call.params[1:]))
        self._waiting = True
        try:
            body = build_rpc([call], headers, self._format.version)
            await self._leg.send(PacketType.RPC, body, status)
            tokens = await self._leg.message()
            if self._cancelled.is_set():
                await self._leg.message()
                raise _Cancelled
        finally:
            self._waiting = False
        await answer.splice(tokens)
        return 0


class _Run:
    """A plan at work: the values of its variables so far, and the reset bits until they are sent."""

    def __init__(self, plan: Plan, headers: AllHeaders, status: int, held: dict[str, Held]) -> None:
        self.plan = plan
        self.headers = headers
        self.held = held
        self._status = status

    def take_status(self) -> int:
        status, self._status = self._status, 0
        return status

    def batch(self, text: str, version: int) -> bytes:
        return build_batch(text, self.headers, version)


class _Answer:
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


async def _off_the_loop(size: int, work: Callable[[], T]) -> T:
    """``work`` on a text of ``size``: parsing a long one must not hold up other sessions."""
    return work() if size <= LONG else await asyncio.to_thread(work)


async def _next(replies: AsyncIterator[Reply]) -> Reply | None:
    return await anext(replies, None)

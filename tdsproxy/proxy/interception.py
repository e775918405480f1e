"""Running what is ours: a batch or an RPC with native statements, between two ends of the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import Enum
from typing import Final, TypeVar

from tdsproxy.frontend.calls import rpc_request
from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.handler import RpcParameter
from tdsproxy.frontend.replies import Format
from tdsproxy.proxy.answer import Answer
from tdsproxy.proxy.local import LocalServer, is_local_procedure
from tdsproxy.proxy.natives import KeeperRuns, NativeRuns, Origin
from tdsproxy.proxy.own_session import OwnSession
from tdsproxy.proxy.plan import Part, Plan, make_plan
from tdsproxy.proxy.probe import HELD_BACK, Held, Probe, SessionFacts, carried, without_assignment
from tdsproxy.proxy.remote_interpreter import Claim, claim
from tdsproxy.proxy.remote_run import Ended, Programme, RemoteRun
from tdsproxy.proxy.rpcs import (
    Handles,
    Kind,
    Prepared,
    StatementCall,
    TooManyPrepared,
    bind,
    declared_variables,
    statement_call,
)
from tdsproxy.proxy.talk import Interrupted, Talk
from tdsproxy.proxy.upstream import MAX_ANSWER, UpstreamLeg
from tdsproxy.tds.errors import ProtocolError, TooLarge, UnsupportedType
from tdsproxy.tds.headers import AllHeaders, build_batch, parse_batch
from tdsproxy.tds.packets import (
    RESET_BITS,
    Message,
    PacketType,
    Status,
    packetize,
)
from tdsproxy.tds.rpc import ProcId, RpcCall, RpcParam, build_rpc, parse_rpc
from tdsproxy.tds.types import intn
from tdsproxy.tsql import types as sql
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Command, Done, DoneKind, ReturnStatus, ReturnValue
from tdsproxy.tsql.scalar import TypedValue

T = TypeVar("T")

LONG: Final = 16 * 1024
"""Characters of a batch, or bytes of an RPC, from which on it is parsed beside the event loop."""


_ORDINALS: Final = {Kind.EXECUTESQL: 0, Kind.PREPEXEC: 1, Kind.EXECUTE: -1}
"""Where the parameters of a call stand, from where they stand in one of sp_executesql."""


class Outcome(Enum):
    """ANSWERED: the client has its whole answer. RELAY: the rest of it comes from the upstream and is to be
    passed on. NOT_OURS: nothing was answered, the request is to be forwarded."""

    ANSWERED = 1
    RELAY = 2
    NOT_OURS = 3


class Interception:
    """Runs requests of one connection, one at a time; remembers the statements prepared here."""

    def __init__(
        self,
        client: PacketChannel,
        leg: UpstreamLeg,
        keeper: KeeperRuns,
        format_: Format,
        origin: Origin,
        local: LocalServer | None = None,
    ) -> None:
        self._client = client
        self._leg = leg
        self._format = format_
        self._handles = Handles()
        self._attentions = 0
        self._talk = Talk(leg)
        self._natives = NativeRuns(keeper, origin, self._talk)
        self._own = OwnSession(local, origin)

    @property
    def has_handles(self) -> bool:
        """Whether an RPC may name a statement that was prepared here."""
        return bool(self._handles)

    def forget(self) -> None:
        """The session was reset."""
        self._handles.clear()

    def close(self) -> None:
        """The connection has ended."""
        self._own.close()

    def cancel(self) -> None:
        """An attention came while ``run`` is at work, or the client went."""
        self._attentions += 1
        self._talk.interrupt()
        self._own.cancel()

    def take_attentions(self) -> int:
        """How many attentions are to be acknowledged."""
        count, self._attentions = self._attentions, 0
        self._talk.interrupted.clear()
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
        answer = Answer(self._client, self._leg, self._format)
        try:
            plan = await _off_the_loop(len(batch.text), lambda: self._judge(batch.text))
        except SyntaxError_ as error:
            await answer.end(error.messages)
            return Outcome.ANSWERED
        if plan is None:
            return Outcome.NOT_OURS
        status = int(message.status_of_first & RESET_BITS)
        if isinstance(plan, Programme):
            return await self._programme(plan, batch.headers, status, answer)
        run = _Run(plan, batch.headers, status, {})
        return await self._execute(run, answer)

    def _judge(self, text: str) -> Plan | Programme | None:
        """What is to be done about a batch; None: nothing. Raises SyntaxError_."""
        found = claim(text, local=self._own.is_possible)
        if found is Claim.NO:
            return None
        plan = make_plan(text) if found is Claim.NATIVE else None
        return plan or Programme(text, in_msdb=found is Claim.IN_MSDB)

    async def _programme(
        self, programme: Programme, headers: AllHeaders, status: int, answer: Answer
    ) -> Outcome:
        run = RemoteRun(self._talk, self._natives, self._format, headers, status, answer, self._own)
        try:
            ran = await run.run(programme)
        except Interrupted:
            await answer.finish(cancelled=True)
            return Outcome.ANSWERED
        if not ran:
            return Outcome.NOT_OURS
        await answer.finish()
        return Outcome.ANSWERED

    async def _execute(self, run: _Run, answer: Answer) -> Outcome:
        """A batch's parts, in order."""
        try:
            for part in run.plan.parts:
                outcome = await self._part(part, run, answer)
                if outcome is not None:
                    return outcome
        except Interrupted:
            await answer.finish(cancelled=True)
            return Outcome.ANSWERED
        await answer.finish()
        return Outcome.ANSWERED

    async def _part(self, part: Part, run: _Run, answer: Answer) -> Outcome | None:
        """One part; None when the next may follow."""
        self._talk.check()
        if part.native is None:
            return await self._rest(part, run, answer)
        probe = Probe(part, run.held)
        body = await self._ask_through(probe, run, answer)
        found = probe.read(body, self._format.version)
        self._talk.check()
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

    async def _rest(self, part: Part, run: _Run, answer: Answer) -> Outcome:
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
        body = run.batch(text, self._format.version)
        return await self._talk.ask(PacketType.SQL_BATCH, body, run.take_status())

    async def _ask_through(self, probe: Probe, run: _Run, answer: Answer) -> bytes:
        """A part and its question: what the client is to see of the answer is passed on while it comes, but
        for its end with the question in it."""
        version = self._format.version
        held = bytearray()
        await self._talk.begin(PacketType.SQL_BATCH, run.batch(probe.text, version), run.take_status())
        reached = last = False
        while not last:
            payload, last = await self._talk.next()
            since = len(held)
            held += payload
            reached = reached or probe.reached(held, since)
            if not reached and len(held) > HELD_BACK:
                await answer.pass_on(probe.pass_on(held, version))
            elif len(held) > MAX_ANSWER:
                raise TooLarge("the upstream's answer is too long to be gathered")
        return bytes(held)

    async def _native(self, part: Part, run: _Run, facts: SessionFacts, answer: Answer) -> None:
        if part.native is None:
            return
        held = {name: each.value for name, each in run.held.items()}
        text = part.native_text(run.plan.source)
        if run.headers.in_transaction:
            facts = replace(facts, transactions=max(1, facts.transactions))
        try:
            async for reply in self._natives.run(text, part.native.line, facts, held):
                await answer.add(reply)
        except SqlError as error:
            answer.encoder.fail(error.messages)
        self._talk.check()

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
            await Answer(self._client, self._leg, self._format, in_rpc=True).end(error.messages)
            return Outcome.ANSWERED
        if not any(
            plan is not None or self._is_own(said) or self._is_local(call)
            for plan, (call, said) in zip(plans, calls, strict=True)
        ):
            return Outcome.NOT_OURS
        answer = Answer(self._client, self._leg, self._format, in_rpc=True)
        status = int(message.status_of_first & RESET_BITS)
        try:
            for index, (call, said) in enumerate(calls):
                if index:
                    answer.encoder.next_call()
                status = await self._call(call, said, plans[index], request.headers, status, answer)
        except Interrupted:
            await answer.finish(cancelled=True)
            return Outcome.ANSWERED
        await answer.finish()
        return Outcome.ANSWERED

    def _rpc_plan(self, said: StatementCall | None) -> Plan | Programme | None:
        """The plan of the statement that an RPC runs or prepares, when it is ours. Raises SyntaxError_."""
        if said is None:
            return None
        if said.kind is Kind.EXECUTE:
            prepared = self._handles.get(said.handle)
            if prepared is None:
                return None
            text, declarations = prepared.text, prepared.declarations
        elif said.text is None:
            return None
        else:
            text, declarations = said.text, said.declarations
        variables = declared_variables(declarations)
        if variables is None:
            return None
        values = [each.value for each in said.arguments]
        found = claim(text, values=values, local=self._own.is_possible)
        if found is Claim.NATIVE:
            plan = make_plan(text, declared=variables)
            if plan is not None:
                return plan
        if found is Claim.NO or any(each.type is None for each in said.arguments):
            return None  # a table can't be handed on from here
        return _rpc_programme(text, declarations, said.arguments, in_msdb=found is Claim.IN_MSDB)

    def _is_local(self, call: RpcCall) -> bool:
        return (
            self._own.is_possible
            and isinstance(call.procedure, str)
            and is_local_procedure(split_name(call.procedure))
        )

    async def _local_call(self, call: RpcCall, headers: AllHeaders, status: int, answer: Answer) -> int:
        """The call of a procedure of ours, msdb's for instance."""
        run = RemoteRun(self._talk, self._natives, self._format, headers, status, answer, self._own)
        if not await run.call(rpc_request(call)):
            return await self._pass_call(call, None, headers, 0, answer)
        return 0

    def _is_own(self, said: StatementCall | None) -> bool:
        return said is not None and said.handle in self._handles

    async def _call(
        self,
        call: RpcCall,
        said: StatementCall | None,
        plan: Plan | Programme | None,
        headers: AllHeaders,
        status: int,
        answer: Answer,
    ) -> int:
        """One call of an RPC message; the reset bits that are still to be sent."""
        if self._is_local(call):
            return await self._local_call(call, headers, status, answer)
        if said is None or (plan is None and not (said.kind is Kind.UNPREPARE and self._is_own(said))):
            return await self._pass_call(call, said, headers, status, answer)
        if said.kind is not Kind.EXECUTE and said.handle is not None:
            await self._release(said, headers)
        handle = None
        if said.text is not None and said.kind in (Kind.PREPARE, Kind.PREPEXEC):
            try:
                handle = self._handles.add(Prepared(said.text, said.declarations))
            except TooManyPrepared as error:
                answer.encoder.fail(error.messages)
                return status
        if isinstance(plan, Programme) and said.kind is not Kind.PREPARE:
            return await self._call_programme(plan, said, handle, headers, status, answer)
        if isinstance(plan, Plan) and said.kind is not Kind.PREPARE:
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

    async def _call_programme(
        self,
        programme: Programme,
        said: StatementCall,
        handle: int | None,
        headers: AllHeaders,
        status: int,
        answer: Answer,
    ) -> int:
        """A call whose statement is interpreted; the reset bits that are still to be sent."""
        ended = Ended()
        run = RemoteRun(self._talk, self._natives, self._format, headers, status, answer, self._own)
        await run.run(programme, ended)
        shift = _ORDINALS[said.kind]
        for reply in ended.replies:
            if isinstance(reply, ReturnValue):
                reply = replace(reply, ordinal=reply.ordinal + shift)
            await answer.add(reply)
            if isinstance(reply, ReturnStatus) and handle is not None:
                await answer.add(ReturnValue(0, said.handle_name, sql.INT, handle))
        return 0

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
        self, call: RpcCall, said: StatementCall | None, headers: AllHeaders, status: int, answer: Answer
    ) -> int:
        """A call that is the upstream's, within a message that is not all of it."""
        if said is not None and said.handle in self._handles and said.handle is not None:
            self._handles.drop(said.handle)
            first = replace(call.params[0], value=None)
            call = replace(call, params=(first, *call.params[1:]))
        body = build_rpc([call], headers, self._format.version)
        tokens = await self._talk.ask(PacketType.RPC, body, status)
        self._talk.check()
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


def _rpc_programme(
    text: str, declarations: str, arguments: Sequence[RpcParameter], *, in_msdb: bool
) -> Programme:
    """What an RPC runs when it has to be interpreted."""
    given = [TypedValue(value, sql.nvarchar(sql.MAX)) for value in (text, declarations)]
    passed = [Argument(None, each) for each in given]
    for each in arguments:
        value = None if each.default or each.type is None else TypedValue(each.value, each.type)
        passed.append(Argument(each.name or None, value, _kept if each.output else None))
    return Programme(text, tuple(passed), in_msdb=in_msdb)


def _kept(_made: TypedValue) -> None:
    """An output's value: the interpreter keeps it for the answer."""


async def _off_the_loop(size: int, work: Callable[[], T]) -> T:
    """``work`` on a text of ``size``: parsing a long one must not hold up other sessions."""
    return work() if size <= LONG else await asyncio.to_thread(work)

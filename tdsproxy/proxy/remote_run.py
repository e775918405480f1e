"""A batch with control flow around its native statements: interpreted here, in a thread of its own, while the
queries in it are the upstream's."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeVar

from tdsproxy.frontend.connection import SEVERE
from tdsproxy.frontend.handler import RpcRequest
from tdsproxy.frontend.replies import Format
from tdsproxy.proxy.answer import Answer
from tdsproxy.proxy.exchange import Exchange, Statement
from tdsproxy.proxy.local import MSDB
from tdsproxy.proxy.local_evaluator import LocalEvaluator
from tdsproxy.proxy.natives import NativeRuns
from tdsproxy.proxy.own_session import OwnSession
from tdsproxy.proxy.probe import SessionFacts
from tdsproxy.proxy.remote_evaluator import Link, Passed, RemoteEvaluator
from tdsproxy.proxy.remote_interpreter import RemoteInterpreter
from tdsproxy.proxy.talk import Interrupted, Talk
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import AllHeaders, build_batch
from tdsproxy.tds.packets import PacketType
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Done, DoneKind, Message, Reply, ReturnStatus
from tdsproxy.tsql.signals import BatchEnded, Cancelled
from tdsproxy.tsql.state import Frame, Options, SessionState
from tdsproxy.tsql.values import Value

log = logging.getLogger(__name__)

T = TypeVar("T")

FULL: Final = 32 * 1024
"""Bytes of an answer that are sent on together."""


TOO_DEEP: Final = Message(
    191,
    15,
    1,
    "Some part of your SQL statement is nested too deeply. Rewrite the query or break it up into smaller"
    " queries.",
)


@dataclass(frozen=True, slots=True)
class Programme:
    """A batch, or with ``arguments`` the call of sp_executesql that it came in."""

    text: str
    arguments: tuple[Argument, ...] | None = None
    in_msdb: bool = False
    """It is ours only where msdb is the current database."""


@dataclass(slots=True)
class Ended:
    """What ``RemoteRun`` leaves the replies of the call's end to: an RPC says its handle in front of them."""

    replies: list[Reply] = field(default_factory=list)


class _Link(Link):
    """The thread's ways to the upstream, the keeper and the client. Each waits in the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        talk: Talk,
        natives: NativeRuns,
        version: int,
        headers: AllHeaders,
        status: int,
        answer: Answer,
    ) -> None:
        self._loop = loop
        self._talk = talk
        self._natives = natives
        self._version = version
        self._headers = headers
        self._status = status
        self._answer = answer

    def wait(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    @property
    def cancelled(self) -> bool:
        return self._talk.interrupted.is_set()

    @property
    def is_waiting(self) -> bool:
        """Whether a request is on its way that has not been answered."""
        return self._talk.is_waiting

    def ask(self, exchange: Exchange) -> Iterator[bytes]:
        status, self._status = self._status, 0
        body = build_batch(exchange.text, self._headers, self._version)
        try:
            self.wait(self._talk.begin(PacketType.SQL_BATCH, body, status))
        except Interrupted:
            raise Cancelled from None
        last = False
        while not last:
            payload, last = self.wait(self._talk.next())
            yield payload
        if exchange.descriptor is not None:
            self._headers = replace(self._headers, descriptor=exchange.descriptor)
        if self.cancelled:
            raise Cancelled

    def native(
        self, text: str, line: int, facts: SessionFacts, variables: dict[str, Value]
    ) -> Iterator[Reply]:
        replies = self._natives.run(text, line, facts, variables)
        try:
            while (reply := self.wait(_next(replies))) is not None:
                yield reply
        finally:
            self.wait(_close(replies))
        if self.cancelled:
            raise Cancelled

    def pass_on(self, raw: bytes) -> None:
        self._answer.encoder.raw(raw)
        self._answer.begun = True
        if self._answer.encoder.size > FULL:
            self.wait(self._answer.send())

    def check(self) -> None:
        if self.cancelled:
            raise Cancelled

    def add(self, reply: Reply) -> None:
        if isinstance(reply, Passed):
            return
        self._answer.begun = True
        if self._answer.encoder.add(reply) or self._answer.encoder.size > FULL:
            self.wait(self._answer.send(at_once=True))


class RemoteRun:
    """Runs one programme; its replies go to ``answer``, whose end is left to the caller."""

    def __init__(
        self,
        talk: Talk,
        natives: NativeRuns,
        format_: Format,
        headers: AllHeaders,
        status: int,
        answer: Answer,
        own: OwnSession,
    ) -> None:
        loop = asyncio.get_running_loop()
        self._own = own
        self._link = _Link(loop, talk, natives, format_.version, headers, status, answer)
        self._version = format_.version
        self._answer = answer

    async def run(self, programme: Programme, ended: Ended | None = None) -> bool:
        """False when nothing was answered, as it is the upstream's after all: the session runs no statements
        now (PARSEONLY, NOEXEC, FMTONLY), or msdb is not its database. Raises Interrupted, ConnectionError,
        ProtocolError."""
        return await self._own.submit(lambda: self._guarded(lambda: self._interpret(programme, ended)))

    async def call(self, request: RpcRequest) -> bool:
        """Run a procedure in the session of the embedded server; see ``run``."""
        return await self._own.submit(lambda: self._guarded(lambda: self._work_call(request)))

    def _work_call(self, request: RpcRequest) -> bool:
        facts = self._first_facts()
        session = None if facts is None else self._own.session(facts)
        if session is None:
            return False
        for reply in session.run_rpc(request):
            self._link.add(reply)
        self._link.check()
        return True

    def _guarded(self, work: Callable[[], bool]) -> bool:
        """Whatever goes wrong here ends the request, not the connection, as long as no answer of the
        upstream's is due."""
        try:
            return work()
        except Cancelled:
            raise Interrupted from None
        except (ConnectionError, ProtocolError):
            raise
        except RecursionError:
            self._answer.encoder.fail((TOO_DEEP,))
        except SqlError as error:
            self._answer.encoder.fail(error.messages)
        except Exception:
            if self._link.is_waiting:
                raise
            log.exception("a request ended with an internal error")
            self._answer.encoder.fail((SEVERE,))
        return True

    def _interpret(self, programme: Programme, ended: Ended | None) -> bool:
        facts = self._first_facts()
        if facts is None:
            return self._answer.begun
        if programme.in_msdb and facts.database.lower() != MSDB and not self._answer.begun:
            return False
        remote = self._evaluator(facts)
        interpreter = RemoteInterpreter(
            remote, lambda: self._link.cancelled, local=isinstance(remote, LocalEvaluator)
        )
        if self._own.left:
            with contextlib.suppress(SqlError):  # a reset has ended them
                remote.drop(self._own.left)
            self._own.left = []
        options = Options(facts.nocount, facts.xact_abort, facts.quoted_identifier)
        frame = Frame(SessionState(), options, text=programme.text)
        try:
            for reply in self._replies(programme, interpreter, remote, frame):
                if ended is None:
                    self._link.add(reply)
                else:
                    self._hold_end(reply, ended)
        finally:
            if not (self._link.cancelled or self._link.is_waiting):
                _leave(remote, frame)
            self._own.left = remote.left
        return True

    def _evaluator(self, facts: SessionFacts) -> RemoteEvaluator:
        session = self._own.session(facts)
        if session is None:
            return RemoteEvaluator(self._link, facts, self._version)
        return LocalEvaluator(self._link, facts, self._version, session)

    def _hold_end(self, reply: Reply, ended: Ended) -> None:
        """The call's status, outputs and end wait for what the RPC has to say in between."""
        if ended.replies or _ends_call(reply):
            ended.replies.append(reply)
        else:
            self._link.add(reply)

    def _first_facts(self) -> SessionFacts | None:
        exchange = Exchange(Statement(""), self._version)
        for payload in self._link.ask(exchange):
            for piece in exchange.feed(payload):
                self._link.pass_on(piece.raw)  # what a reset has changed
        return None if exchange.standing is None else exchange.standing.facts

    @staticmethod
    def _replies(
        programme: Programme, interpreter: RemoteInterpreter, remote: RemoteEvaluator, frame: Frame
    ) -> Iterator[Reply]:
        if programme.arguments is not None:
            return interpreter.rpc(ast.Name("sp_executesql"), programme.arguments, frame)
        try:
            batch = remote.parse(programme.text, frame)
        except SyntaxError_ as error:
            return interpreter.report(error, frame, None)
        return interpreter.run(batch, frame)


def _leave(remote: RemoteEvaluator, frame: Frame) -> None:
    """The batch is over: its table variables end, its options stay."""
    try:
        remote.drop_tables(frame)
        remote.settle(frame)
    except BatchEnded:
        return  # the session runs nothing any more


def _ends_call(reply: Reply) -> bool:
    return isinstance(reply, ReturnStatus) or (isinstance(reply, Done) and reply.kind is DoneKind.PROC)


async def _next(replies: AsyncIterator[Reply]) -> Reply | None:
    return await anext(replies, None)


async def _close(replies: AsyncIterator[Reply]) -> None:
    closer = getattr(replies, "aclose", None)
    if closer is not None:
        await closer()

"""A server behind the wire whose answers are scripted."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tdsproxy.frontend.bulk import BulkData
from tdsproxy.frontend.handler import LoginRequest, RpcRequest, TransactionAction, TransactionRequest
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import (
    Column,
    Command,
    DatabaseChanged,
    Done,
    DoneKind,
    Message,
    Reply,
    ResultSet,
    ReturnStatus,
    ReturnValue,
    Rows,
    TransactionBegun,
    TransactionEnded,
)

DESCRIPTOR = b"\x01\0\0\0\x33\0\0\0"


@dataclass
class FakeSession:
    """``batches`` maps texts to answers; ``WAIT`` runs until it is cancelled, ``STUBBORN`` a while longer."""

    request: LoginRequest
    spid: int = 51
    database: str = "master"
    language: str = "us_english"
    batches: dict[str, Callable[[], Iterator[Reply]]] = field(default_factory=dict)
    calls: list[object] = field(default_factory=list)
    started: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)
    closed: threading.Event = field(default_factory=threading.Event)
    threads: set[int] = field(default_factory=set)

    def run_batch(self, text: str) -> Iterator[Reply]:
        self.threads.add(threading.get_ident())
        self.calls.append(text)
        self.cancelled.clear()
        if text == "WAIT":
            yield Done(Command.INSERT, 1)
            self.started.set()
            self.cancelled.wait(60)
            return
        if text == "STUBBORN":
            self.started.set()
            self.release.wait(60)
            yield Done(Command.NONE)
            return
        if text.startswith("ERROR"):
            raise SqlError.of(208, 16, 1, "Invalid object name 'x'.")
        if text == "BUG":
            raise RuntimeError("a defect")
        if text in self.batches:
            yield from self.batches[text]()
            return
        if not text.lstrip().upper().startswith("SELECT"):
            yield Done(Command.SET)
            return
        yield ResultSet((Column("n", t.INT, nullable=False), Column("s", t.nvarchar(10))))
        yield Rows([(1, "one"), (2, None)])
        yield Done(Command.SELECT, 2)

    def run_bulk(self, data: BulkData) -> Iterator[Reply]:
        self.calls.append(list(data.rows()) if data.columns() else [])
        yield Done(0xF0, len(self.calls[-1]))  # type: ignore[arg-type]

    def run_rpc(self, request: RpcRequest) -> Iterator[Reply]:
        self.calls.append(request)
        if request.procedure == "WAIT":
            self.started.set()
            self.cancelled.wait(60)
            return
        yield ResultSet((Column("p", t.INT),))
        yield Rows([(len(request.parameters),)])
        yield Done(Command.SELECT, 1, kind=DoneKind.IN_PROC)
        yield ReturnStatus(0)
        for index, parameter in enumerate(request.parameters):
            if parameter.output and parameter.type is not None:
                yield ReturnValue(index, parameter.name, parameter.type, parameter.value)
        yield Done(Command.EXECUTE, kind=DoneKind.PROC)

    def when_ended(self, callback: Callable[[], None]) -> None:
        self.ended = callback

    def run_transaction(self, request: TransactionRequest) -> Iterator[Reply]:
        self.calls.append(request)
        if request.action is TransactionAction.BEGIN:
            yield TransactionBegun(DESCRIPTOR)
            yield Done(Command.BEGIN_TRANSACTION)
        else:
            yield TransactionEnded(DESCRIPTOR, committed=request.action is TransactionAction.COMMIT)
            if request.begin_after:
                yield TransactionBegun(DESCRIPTOR)
            yield Done(Command.COMMIT)

    def reset(self, *, keep_transaction: bool) -> list[Reply]:
        self.calls.append(("reset", keep_transaction))
        return [DatabaseChanged("master", "other"), Message(5701, 0, 2, "Changed database context.")]

    def cancel(self) -> None:
        self.cancelled.set()

    def close(self) -> None:
        self.cancelled.set()
        self.closed.set()


@dataclass
class FakeServer:
    name: str = "FAKE"
    version: tuple[int, int, int] = (16, 0, 4236)
    batches: dict[str, Callable[[], Iterator[Reply]]] = field(default_factory=dict)
    sessions: list[FakeSession] = field(default_factory=list)

    def login(self, request: LoginRequest) -> FakeSession:
        if request.password != "secret":
            raise SqlError.of(18456, 14, 1, f"Login failed for user '{request.user}'.")
        session = FakeSession(request, database=request.database or "master", batches=self.batches)
        self.sessions.append(session)
        return session

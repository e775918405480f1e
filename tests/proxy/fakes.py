"""An upstream and a keeper whose answers are scripted."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from tdsproxy.commands.request import NativeRequest
from tdsproxy.frontend.handler import LoginRequest
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Message, Reply, ResultSet, Rows
from tests.frontend.fakes import FakeServer, FakeSession

PROBE = re.compile(r"\nSELECT 1 AS \[(tdsproxy \w+)\], (.*)$", re.DOTALL)
QUESTIONS = 7


@dataclass
class Upstream(FakeSession):
    """``variables`` are the values that a probe finds; ``silent`` answers a probe without a row; ``failing``
    is a part whose error ends the batch."""

    variables: dict[str, str | None] = field(default_factory=dict)
    silent: bool = False
    failing: str = ""
    transactions: int = 0

    def run_batch(self, text: str) -> Iterator[Reply]:
        match = PROBE.search(text)
        if match is None:
            yield from super().run_batch(text)
            return
        own = text[: match.start()]
        self.calls.append(own)
        interpreted = match.group(2).startswith("@@ERROR")
        if interpreted and not self.silent:
            yield ResultSet((Column(match.group(1), t.INT, nullable=False),))
            yield Rows([(0,)])
            yield Done(Command.SELECT, 1)
        if "SELECT @" in own:
            yield Done(Command.SELECT, 1)
        if self.failing and self.failing in own:
            yield Message(8134, 16, 1, "Divide by zero error encountered.")
            yield Done(Command.SELECT, error=True)
            return
        if "PRINT" in own:
            yield Message(0, 0, 1, "printed")
            yield Done(Command.NONE)
        names = re.findall(r"@[A-Za-z]\w*", match.group(2)[match.group(2).rindex("dbcreator") :])
        columns = [Column(match.group(1), t.INT, nullable=False)]
        columns += [Column(f"s{n}", t.INT) for n in range(3)] if interpreted else []
        columns += [Column(f"q{n}", t.nvarchar(128) if n in (0, 3) else t.INT) for n in range(QUESTIONS)]
        columns += [Column(name, t.nvarchar(100)) for name in names]
        yield ResultSet(tuple(columns))
        if not self.silent:
            standing = (1, 0, 0, 0) if interpreted else (1,)
            facts = (*standing, "shop", self.transactions, 256, "sa", 1, self.spid, 0)
            yield Rows([(*facts, *(self.variables.get(name.lower()) for name in names))])
        yield Done(Command.SELECT, 0 if self.silent else 1)


@dataclass
class UpstreamServer(FakeServer):
    changes: dict[str, object] = field(default_factory=dict)

    def login(self, request: LoginRequest) -> FakeSession:
        session = super().login(request)
        upstream = Upstream(session.request, database=session.database, batches=self.batches)
        for name, value in self.changes.items():
            setattr(upstream, name, value)
        self.sessions[-1] = upstream
        return upstream


@dataclass
class FakeKeeper:
    """Each statement answers with one message and its end; ``HOLD`` in its text waits to be cancelled."""

    requests: list[NativeRequest] = field(default_factory=list)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self, request: NativeRequest) -> AsyncIterator[Reply]:
        self.requests.append(request)
        yield Message(3211, 0, 1, f"statement {len(self.requests)}")
        if "HOLD" in request.text:
            self.started.set()
            try:
                await asyncio.Event().wait()
            finally:
                self.cancelled.set()
        if "FAIL" in request.text:
            yield Message(3201, 16, 1, "Cannot open backup device.", request.line)
            yield Message(3013, 16, 1, "BACKUP DATABASE is terminating abnormally.", request.line)
            yield Done(Command.BACKUP_DATABASE, error=True)
            return
        yield Done(Command.BACKUP_DATABASE)

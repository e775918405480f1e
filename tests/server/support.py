"""A server in a temporary directory, without a wire: requests in, replies out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn
from uuid import UUID

from tdsproxy.agent.book import JobBook
from tdsproxy.agent.clock import SystemClock
from tdsproxy.agent.running import StepError, StepWork, Zoned
from tdsproxy.agent.service import Agent
from tdsproxy.commands.dispatch import run
from tdsproxy.commands.environment import CommandEnvironment, ServerIdentity
from tdsproxy.commands.locks import DatabaseLocks
from tdsproxy.commands.paths import DevicePaths
from tdsproxy.commands.request import KnownSession, NativeRequest, SessionOrigin, StatementProgress
from tdsproxy.commands.running import RunningStatements
from tdsproxy.frontend.handler import LoginRequest, RpcParameter, RpcRequest
from tdsproxy.keeper.agency_procedures import AgencyProcedures
from tdsproxy.server.engine import Engine
from tdsproxy.server.job_steps import SessionSteps
from tdsproxy.server.passwords import hash_password
from tdsproxy.server.session import Session
from tdsproxy.tsql.replies import Done, Message, Reply, ResultSet, ReturnStatus, ReturnValue, Rows
from tdsproxy.tsql.values import Value

PASSWORD = "Sesame-1"
_HASH = hash_password(PASSWORD)


def _absent() -> NoReturn:
    """No policies here."""
    raise AssertionError


class LocalReplies:
    """A native statement's replies, run in this thread."""

    def __init__(self, request: NativeRequest, env: CommandEnvironment) -> None:
        self._cancelled = env.cancelled
        self._replies = run(request, env)

    def __iter__(self) -> Iterator[Reply]:
        return self

    def __next__(self) -> Reply:
        return next(self._replies)

    def cancel(self) -> None:
        self._cancelled.set()

    def close(self) -> None:
        self._replies.close()


class JobsAlone(Agent):
    """Has jobs, but none of the keeper's managed backup."""

    def renamed(self, old: str, new: str) -> None:
        """Nobody has settings that go by names."""


class LocalSteps:
    """The steps of jobs, run in sessions of the engine; implements ``agent.running.StepRunner``."""

    def __init__(self, engine: Engine) -> None:
        self._steps = SessionSteps(engine)
        self.output: dict[str, list[str]] = {}

    def run(self, work: StepWork, cancelled: threading.Event) -> Iterator[Message | str]:
        if work.subsystem.upper() != "TSQL":
            raise StepError(f"The {work.subsystem} subsystem failed to load")
        return self._steps.run(work.login, work.database, work.text, cancelled, work.user)

    def write_output(self, name: str, lines: Sequence[str], *, append: bool) -> None:
        self.output[name] = [*(self.output.get(name, []) if append else []), *lines]


class LocalKeeper:
    """A keeper without a process of its own: implements ``keeper.port.KeeperPort``."""

    spid_base = 51

    def __init__(self, store: Path) -> None:
        self.store = store
        self.current: dict[int, str] = {}
        self.requests: list[NativeRequest] = []
        self._locks = DatabaseLocks()
        self._release: list[Callable[[str], None]] = []
        self._kill: list[Callable[[int], None]] = []
        self.engine: Engine | None = None
        self._agent: JobsAlone | None = None
        self.clock: Zoned = SystemClock()
        self._statements = RunningStatements()

    @property
    def agent(self) -> JobsAlone:
        if self._agent is None:
            assert self.engine is not None
            steps = LocalSteps(self.engine)
            book = JobBook(self.store, "SERVER")
            self._agent = JobsAlone(book, self.engine.catalog.logins, steps, self.clock)
        return self._agent

    def close(self) -> None:
        if self._agent is not None:
            self._agent.close()

    def run(self, request: NativeRequest) -> LocalReplies:
        assert self.engine is not None
        self.requests.append(request)
        env = CommandEnvironment(
            self.engine.catalog,
            DevicePaths.of_store(self.store, None, (), ()),
            self,
            self._locks,
            ServerIdentity("SERVER", "MACHINE"),
            threading.Event(),
            running=self._statements,
            agent=self.agent,
            procedures=AgencyProcedures(lambda: self.agent, _absent, _absent).procedures,
        )
        return LocalReplies(request, env)

    def running(self) -> Sequence[StatementProgress]:
        return ()

    def login_of(self, spid: int) -> str | None:
        return None

    def listed(self) -> Sequence[KnownSession]:
        return [KnownSession(spid, "sa", name, SessionOrigin()) for spid, name in self.current.items()]

    def note_session(
        self, spid: int, login: str, database: str | None, origin: SessionOrigin = SessionOrigin()
    ) -> None:
        if database is None:
            self.current.pop(spid, None)
        else:
            self.current[spid] = database

    def note_commit(self, database: UUID, frame: int, committed_ns: int) -> None:
        return

    def announce_mark(self, database: UUID, name: str | None, description: str) -> None:
        return

    def note_mark(self, database: UUID, name: str, description: str, login: str) -> None:
        return

    def on_release(self, callback: Callable[[str], None]) -> None:
        self._release.append(callback)

    def on_kill(self, callback: Callable[[int], None]) -> None:
        self._kill.append(callback)

    # commands.environment.Sessions

    def users_of(self, database: str) -> Collection[int]:
        return [spid for spid, name in list(self.current.items()) if name.lower() == database.lower()]

    def kill(self, spid: int) -> None:
        self.end([spid])

    def end(self, spids: Collection[int]) -> None:
        for spid in spids:
            for callback in self._kill:
                callback(spid)
            self.current.pop(spid, None)

    def release(self, database: str) -> None:
        for callback in self._release:
            callback(database)


@dataclass
class Client:
    """A session, and what it answers in a form that tests can read."""

    session: Session

    def replies(self, text: str) -> list[Reply]:
        return list(self.session.run_batch(text))

    def rows(self, text: str) -> list[tuple[Value, ...]]:
        """The rows of the batch's result sets; fails on an error."""
        replies = self.replies(text)
        assert not errors(replies), errors(replies)
        return rows(replies)

    def value(self, text: str) -> Value:
        return self.rows(text)[0][0]

    def run(self, text: str) -> None:
        """A batch that must not fail."""
        found = errors(self.replies(text))
        assert not found, found

    def error(self, text: str) -> int:
        """The number of the first error of a batch that must fail."""
        return errors(self.replies(text))[0].number

    def rpc(self, procedure: str | int, *parameters: RpcParameter) -> list[Reply]:
        return list(self.session.run_rpc(RpcRequest(procedure, parameters)))


class World:
    """An engine over a store of its own, with ``sa``."""

    def __init__(self, directory: Path) -> None:
        store = directory / "store"
        self.keeper = LocalKeeper(store)
        self.engine = Engine(store, self.keeper, name="SERVER")
        self.keeper.engine = self.engine
        self.engine.catalog.logins.create("sa", _HASH)

    def login(self, user: str = "sa", password: str = PASSWORD, **changes: object) -> Client:
        request = LoginRequest(user, password, **changes)  # type: ignore[arg-type]
        return Client(self.engine.login(request))

    def close(self) -> None:
        self.keeper.close()
        self.engine.close()


def rows(replies: Sequence[Reply]) -> list[tuple[Value, ...]]:
    return [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]


def columns(replies: Sequence[Reply]) -> list[str]:
    return [column.name for reply in replies if isinstance(reply, ResultSet) for column in reply.columns]


def errors(replies: Sequence[Reply]) -> list[Message]:
    return [reply for reply in replies if isinstance(reply, Message) and reply.is_error]


def infos(replies: Sequence[Reply]) -> list[Message]:
    return [reply for reply in replies if isinstance(reply, Message) and not reply.is_error]


def dones(replies: Sequence[Reply]) -> list[Done]:
    return [reply for reply in replies if isinstance(reply, Done)]


def status(replies: Sequence[Reply]) -> int | None:
    return next((reply.value for reply in replies if isinstance(reply, ReturnStatus)), None)


def outputs(replies: Sequence[Reply]) -> list[tuple[int, str, Value]]:
    return [(r.ordinal, r.name, r.value) for r in replies if isinstance(r, ReturnValue)]

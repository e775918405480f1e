"""A store in a temporary directory, and statements run in it without a keeper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import apsw

from tdsproxy.catalog.catalog import Catalog, initialise
from tdsproxy.commands.dispatch import run
from tdsproxy.commands.environment import CommandEnvironment, ServerIdentity
from tdsproxy.commands.locks import DatabaseLocks
from tdsproxy.commands.paths import DevicePaths
from tdsproxy.commands.request import KnownSession, NativeRequest, SessionContext, SessionOrigin
from tdsproxy.log.service import LogService
from tdsproxy.tsql.replies import Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.values import Value

ADMIN = SessionContext("sa", spid=51, server_roles=frozenset({"sysadmin"}))


@dataclass
class FakeSessions:
    """Sessions by number and current database; ``end`` lets them go at once."""

    databases: dict[int, str] = field(default_factory=dict)
    released: list[str] = field(default_factory=list)
    ended: list[int] = field(default_factory=list)
    logins: dict[int, str] = field(default_factory=dict)
    on_end: Callable[[int], object] = lambda spid: None

    def users_of(self, database: str) -> Collection[int]:
        # A copy: tests let sessions go while a statement in another thread looks at them.
        return [spid for spid, name in list(self.databases.items()) if name.lower() == database.lower()]

    def login_of(self, spid: int) -> str | None:
        return self.logins.get(spid, "sa") if spid in self.databases else None

    def listed(self) -> Sequence[KnownSession]:
        return [
            KnownSession(spid, self.logins.get(spid, "sa"), name, SessionOrigin())
            for spid, name in sorted(self.databases.items())
        ]

    def kill(self, spid: int) -> None:
        self.end([spid])

    def end(self, spids: Collection[int]) -> None:
        for spid in spids:
            del self.databases[spid]
            self.ended.append(spid)
            self.on_end(spid)

    def release(self, database: str) -> None:
        self.released.append(database)


class Workshop:
    """One store; ``media`` is an allowed directory that scripts call ``/tmp``."""

    def __init__(self, directory: Path, *, logged: bool = False) -> None:
        self.store = directory / "store"
        self.media = directory / "media"
        self.media.mkdir(exist_ok=True)
        self.catalog: Catalog = initialise(self.store)
        self.sessions = FakeSessions()
        self.reports: list[str] = []
        self.env = CommandEnvironment(
            self.catalog,
            DevicePaths.of_store(self.store, None, (self.media,), (("/tmp", self.media),)),
            self.sessions,
            DatabaseLocks(),
            ServerIdentity("SERVER", "MACHINE"),
            logs=LogService(self.store, report=self.reports.append) if logged else None,
        )

    def close(self) -> None:
        if self.env.logs is not None:
            self.env.logs.close()
        self.catalog.close()

    def run(
        self,
        text: str,
        *,
        session: SessionContext = ADMIN,
        line: int = 1,
        cancelled: threading.Event | None = None,
        variables: dict[str, Value] | None = None,
        **changes: object,
    ) -> list[Reply]:
        request = NativeRequest(text, replace(session, **changes), line, variables or {})
        env = replace(self.env, cancelled=cancelled or threading.Event())
        return list(run(request, env))

    def fill(self, database: str, sql: str) -> None:
        """Runs SQLite SQL on a database."""
        connection = apsw.Connection(str(self.store / f"{database}.db"))
        try:
            connection.execute(sql)
        finally:
            connection.close()

    def rows(self, database: str, sql: str) -> list[list[object]]:
        connection = apsw.Connection(str(self.store / f"{database}.db"))
        try:
            return [list(row) for row in connection.execute(sql)]
        finally:
            connection.close()

    def history(self, sql: str) -> list[tuple[object, ...]]:
        return list(self.catalog._msdb.read(sql))


def messages(replies: Sequence[Reply]) -> list[Message]:
    return [reply for reply in replies if isinstance(reply, Message)]


def numbers(replies: Sequence[Reply]) -> list[int]:
    return [reply.number for reply in messages(replies)]


def dones(replies: Sequence[Reply]) -> list[Done]:
    return [reply for reply in replies if isinstance(reply, Done)]


def table(replies: Sequence[Reply]) -> list[dict[str, Value]]:
    """The rows of the one result set, by column name."""
    (columns,) = [reply.columns for reply in replies if isinstance(reply, ResultSet)]
    rows = [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]
    return [dict(zip([c.name for c in columns], row, strict=True)) for row in rows]

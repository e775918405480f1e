"""Who uses which database: the sessions that the keeper's clients have told of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.catalog.databases import Databases
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.request import KnownSession, SessionOrigin
from tdsproxy.keeper.port import SPID_BLOCK

FIRST_SPID = 51
"""SQL Server keeps the numbers below for itself."""
_BLOCKS = 16


class Client(Protocol):
    """What the registry asks of a client's connection, from any thread."""

    def kill(self, spid: int) -> None: ...

    def release(self, database: str) -> threading.Event:
        """The event is set when the client has let the database go, or has gone itself."""
        ...


@dataclass(frozen=True, slots=True)
class NotedSession:
    login: str
    database: str
    client: Client
    origin: SessionOrigin


class SessionRegistry:
    """Usable from any thread; implements ``commands.environment.Sessions``.

    ``patience`` is how long, in seconds, one client may take to end a session or to let a database go;
    ``on_end`` hears of each session that has ended.
    """

    def __init__(
        self,
        databases: Databases,
        patience: float = 10.0,
        on_end: Callable[[int], object] = lambda spid: None,
    ) -> None:
        self._databases = databases
        self._patience = patience
        self._on_end = on_end
        self._changed = threading.Condition()
        self._sessions: dict[int, NotedSession] = {}
        self._clients: dict[int, Client] = {}

    def join(self, client: Client, wanted_base: int = 0) -> int:
        """Registers a client and returns the number from which its sessions count. Raises LookupError when
        there are too many clients."""
        bases = [FIRST_SPID + block * SPID_BLOCK for block in range(_BLOCKS)]
        with self._changed:
            free = [base for base in bases if base not in self._clients]
            if not free:
                raise LookupError("too many clients")
            base = wanted_base if wanted_base in free else free[0]
            self._clients[base] = client
            return base

    def leave(self, base: int) -> None:
        """The client has gone, and its sessions with it."""
        with self._changed:
            client = self._clients.pop(base, None)
            gone = [spid for spid, session in self._sessions.items() if session.client is client]
            for spid in gone:
                del self._sessions[spid]
            self._changed.notify_all()
        for spid in gone:
            self._on_end(spid)
            self._databases.release_seat(spid)

    def note(
        self,
        client: Client,
        spid: int,
        login: str,
        database: str | None,
        origin: SessionOrigin = SessionOrigin(),
    ) -> None:
        """A session's current database; None when it has ended."""
        with self._changed:
            if database is None:
                self._sessions.pop(spid, None)
            else:
                self._sessions[spid] = NotedSession(login, database, client, origin)
            self._changed.notify_all()
        if database is None:
            self._on_end(spid)
            self._databases.release_seat(spid)

    @property
    def client_count(self) -> int:
        with self._changed:
            return len(self._clients)

    def users_of(self, database: str) -> Collection[int]:
        key = name_key(database)
        with self._changed:
            return [spid for spid, session in self._sessions.items() if name_key(session.database) == key]

    def login_of(self, spid: int) -> str | None:
        with self._changed:
            session = self._sessions.get(spid)
        return None if session is None else session.login

    def listed(self) -> Sequence[KnownSession]:
        with self._changed:
            known = sorted(self._sessions.items())
        return [KnownSession(spid, found.login, found.database, found.origin) for spid, found in known]

    def kill(self, spid: int) -> None:
        with self._changed:
            session = self._sessions.get(spid)
        if session is not None:
            session.client.kill(spid)

    def end(self, spids: Collection[int]) -> None:
        wanted = set(spids)
        with self._changed:
            doomed = {spid: self._sessions[spid] for spid in wanted if spid in self._sessions}
        for spid, session in doomed.items():
            session.client.kill(spid)
        deadline = time.monotonic() + self._patience
        with self._changed:
            while doomed.keys() & self._sessions.keys():
                if not self._changed.wait(deadline - time.monotonic()) and time.monotonic() >= deadline:
                    break
            for spid in doomed:
                self._sessions.pop(spid, None)

    def release(self, database: str) -> None:
        with self._changed:
            clients = list(self._clients.values())
        waits = [client.release(database) for client in clients]
        deadline = time.monotonic() + self._patience
        for done in waits:
            done.wait(max(0.0, deadline - time.monotonic()))

"""What a native statement runs in: the catalog, the places it may name, the store's other users."""

from __future__ import annotations

import datetime as dt
import socket
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from tdsproxy.backup.restart import EVERY_BYTES
from tdsproxy.catalog.catalog import Catalog
from tdsproxy.catalog.databases import Database
from tdsproxy.commands.locks import Part
from tdsproxy.commands.open_keys import OpenMasterKeys
from tdsproxy.commands.paths import DevicePaths
from tdsproxy.commands.request import KnownSession
from tdsproxy.commands.running import RunningStatements
from tdsproxy.log.service import LogService
from tdsproxy.media.object_device import ObjectLocks
from tdsproxy.media.pace import Pace, TokenBucket
from tdsproxy.objects.options import Reaching
from tdsproxy.tsql.values import Value


class Sessions(Protocol):
    """The sessions of all clients of the store."""

    def users_of(self, database: str) -> Collection[int]:
        """The sessions whose current database this is."""
        ...

    def login_of(self, spid: int) -> str | None:
        """The login of a session; None when there is no such session."""
        ...

    def listed(self) -> Sequence[KnownSession]:
        """All of them, by their numbers."""
        ...

    def end(self, spids: Collection[int]) -> None:
        """Ends sessions and waits until they have gone, for a bounded time."""
        ...

    def kill(self, spid: int) -> None:
        """Asks the client of a session to end it, and does not wait; nothing where there is none."""
        ...

    def release(self, database: str) -> None:
        """Asks every client to close its handles on the database's file, and waits for the answers."""
        ...


class Locks(Protocol):
    """One operation at a time on each part of a database."""

    def hold(self, database: str, part: Part = Part.ALL) -> AbstractContextManager[bool]:
        """Yields whether that was free; when it was, it is held until the block ends."""
        ...


class Agent(Protocol):
    """Who runs jobs. Both methods raise SqlError 22022 when it refuses, 14262 for a job that is not there."""

    def start(self, job_id: UUID, step: str | None, login: str) -> None:
        """``login`` wants a job to run now, from the step of this name on; None: from its first."""
        ...

    def stop(self, job_id: UUID, login: str) -> None:
        """``login`` wants a job that runs to end."""
        ...

    def renamed(self, old: str, new: str) -> None:
        """A database has another name now. Raises nothing."""
        ...

    def outcomes(self) -> Mapping[tuple[str, str], int]:
        """How many runs have ended since the keeper began, by job and result: succeeded, failed, canceled."""
        ...


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """What backup headers and msdb say of the server that wrote them."""

    server_name: str
    machine_name: str
    version: tuple[int, int, int] = (16, 0, 4236)

    @classmethod
    def of_this_machine(cls, server_name: str = "") -> ServerIdentity:
        machine = socket.gethostname().split(".")[0].upper() or "LOCALHOST"
        return cls(server_name or machine, machine)


@dataclass(frozen=True, slots=True)
class CommandEnvironment:
    """``cancelled`` is set, from any thread, when nobody wants the running statement's result any more.
    ``clock`` gives local time. ``logs`` None: no log is kept, whatever the recovery models say.
    ``reaching`` is how devices of type URL are reached, ``object_locks`` who writes which.
    ``restart_bytes``: after so much of a restore what was written is durable and noted, for RESTART.
    ``allowance`` is what statements may read from media and write to them together, None: any rate.
    ``procedures`` are those of rooms that stand beside this one, by their names in lower case."""

    catalog: Catalog
    paths: DevicePaths
    sessions: Sessions
    locks: Locks
    identity: ServerIdentity = field(default_factory=ServerIdentity.of_this_machine)
    cancelled: threading.Event = field(default_factory=threading.Event)
    clock: Callable[[], dt.datetime] = dt.datetime.now
    logs: LogService | None = None
    running: RunningStatements = field(default_factory=RunningStatements)
    open_keys: OpenMasterKeys = field(default_factory=OpenMasterKeys)
    agent: Agent | None = None
    reaching: Reaching = field(default_factory=Reaching)
    object_locks: ObjectLocks = field(default_factory=ObjectLocks)
    procedures: Mapping[str, Callable[..., list[tuple[Value, ...]]]] = field(default_factory=dict)
    restart_bytes: int = EVERY_BYTES
    allowance: TokenBucket | None = None

    def pace(self) -> Pace | None:
        """How fast media may be read and written, until the statement is cancelled."""
        bucket = self.allowance
        return None if bucket is None else lambda size: bucket.take(size, self.cancelled.wait)

    def database(self, name: str) -> Database | None:
        """The database of this name; a file that was put into the store since counts."""
        found = self.catalog.databases.find(name)
        if found is None:
            self.catalog.databases.refresh()
            found = self.catalog.databases.find(name)
        return found

"""What a native statement is run with: one plain record, the same whoever asks.

The text is parsed where it runs, so that a proxy, a procedure in the embedded server, a job step and a
shell send the same thing and get the same errors.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class SessionContext:
    """The session that asks, as far as native statements need it.

    ``database`` is its current database; ``spid`` its @@SPID, unique among the sessions of the store;
    ``server_roles`` the fixed server roles of ``login`` in lower case (``sysadmin``, ``dbcreator`` ...);
    ``database_roles`` maps database names (lower case) to the roles that the login has there;
    ``lock_timeout_ms`` is SET LOCK_TIMEOUT, negative for ever. ``host`` and ``application`` are what the
    client says of itself, ``address`` is where its connection comes from, empty for none.
    """

    login: str
    database: str = "master"
    spid: int = 0
    server_roles: frozenset[str] = frozenset()
    database_roles: dict[str, frozenset[str]] = field(default_factory=dict)
    in_transaction: bool = False
    quoted_identifier: bool = True
    host: str = ""
    application: str = ""
    lock_timeout_ms: int = -1
    address: str = ""


@dataclass(frozen=True, slots=True)
class NativeRequest:
    """One native statement: BACKUP, RESTORE, or CREATE, ALTER, DROP DATABASE from the embedded server.

    ``text`` is the statement alone; ``line`` the line of its first character in the client's batch, for the
    messages; ``variables`` the values of the variables it names, keyed by name with its sign in lower case
    (a variable that is declared but NULL is present with None; one that is absent is undeclared: 137).
    ``max_rate`` is how many bytes a second it may read from media or write to them; None: what the store's
    owner allows all.
    """

    text: str
    session: SessionContext
    line: int = 1
    variables: dict[str, Value] = field(default_factory=dict)
    max_rate: int | None = None


class SessionOrigin(NamedTuple):
    """Where a session comes from, as its client said. ``since`` is when it logged in, local, in ISO form."""

    host: str = ""
    application: str = ""
    client_pid: int = 0
    address: str = ""
    since: str = ""


class KnownSession(NamedTuple):
    """A session of any process of the store."""

    spid: int
    login: str
    database: str
    origin: SessionOrigin


class StatementProgress(NamedTuple):
    """A running statement as others see it: ``percent`` of 100 done, ``milliseconds_left`` as estimated;
    ``done`` of ``total`` are bytes, a total of 0 says that nothing is known yet."""

    spid: int
    command: str
    database: str
    percent: float
    milliseconds_left: int
    elapsed_milliseconds: int
    done: int = 0
    total: int = 0

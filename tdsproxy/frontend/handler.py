"""What stands behind the server side of a TDS connection.

``frontend`` speaks TDS; whatever answers implements ``Server`` and ``Session``. The methods of a session
that return iterators run in a worker thread, one request at a time; ``cancel`` may come from any thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from tdsproxy.frontend.bulk import BulkData
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """A LOGIN7 as the server behind needs it. ``odbc`` is OptionFlags2's ODBC bit: it decides the SET
    options a session starts with. ``password`` None means integrated security was asked for."""

    user: str
    password: str | None = field(repr=False)
    database: str = ""
    host: str = ""
    application: str = ""
    library: str = ""
    language: str = ""
    client_pid: int = 0
    odbc: bool = True
    new_password: str | None = field(default=None, repr=False)
    address: str = ""
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class RpcTable:
    """A table-valued parameter: the table type's name as the client gave it (parts may be empty), a column
    for each of the type's, in its order, and rows of their values. A column that the client leaves to its
    default has ``type`` None, and no value counts."""

    database: str
    schema: str
    name: str
    types: tuple[SqlType | None, ...] = ()
    rows: tuple[tuple[Value, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class RpcParameter:
    """A parameter as it came: ``name`` with its sign, or empty when it is positional; ``default`` when the
    client asked for the default value. A table-valued or unknown type has ``type`` None."""

    name: str
    type: SqlType | None
    value: Value
    output: bool = False
    default: bool = False
    table: RpcTable | None = None


@dataclass(frozen=True, slots=True)
class RpcRequest:
    """``procedure`` is a name as written (``[sys].sp_tables``) or a ProcID (10 is sp_executesql)."""

    procedure: str | int
    parameters: tuple[RpcParameter, ...]
    no_metadata: bool = False


class TransactionAction(Enum):
    BEGIN = 5
    COMMIT = 7
    ROLLBACK = 8
    SAVE = 9


@dataclass(frozen=True, slots=True)
class TransactionRequest:
    """A Transaction Manager request (MS-TDS 2.2.6.9). ``begin_after`` asks for a new transaction behind a
    commit or rollback. ``isolation``: 0 unchanged, 1 read uncommitted .. 4 serializable, 5 snapshot."""

    action: TransactionAction
    name: str = ""
    isolation: int = 0
    begin_after: bool = False


class Session(Protocol):
    """One logged-in session. Replies end with the last statement's ``Done``; an RPC's with
    ``ReturnStatus``, its ``ReturnValue`` records and a ``Done`` of kind PROC."""

    @property
    def spid(self) -> int: ...

    @property
    def database(self) -> str: ...

    @property
    def language(self) -> str: ...

    def run_batch(self, text: str) -> Iterator[Reply]: ...

    def run_rpc(self, request: RpcRequest) -> Iterator[Reply]: ...

    def run_transaction(self, request: TransactionRequest) -> Iterator[Reply]: ...

    def run_bulk(self, data: BulkData) -> Iterator[Reply]:
        """The rows for the INSERT BULK that came right before; 4819 without one."""
        ...

    def reset(self, *, keep_transaction: bool) -> list[Reply]:
        """What a request with the RESETCONNECTION bit does first; the replies precede the response's."""
        ...

    def cancel(self) -> None:
        """Stop the running request soon; its iterator ends early. No effect when none runs."""
        ...

    def when_ended(self, callback: Callable[[], None]) -> None:
        """``callback`` is called, in any thread, when somebody else ends the session (KILL, SINGLE_USER WITH
        ROLLBACK IMMEDIATE): its connection has to be closed once what runs is answered."""
        ...

    def close(self) -> None:
        """The client has gone: cancel, roll back, release. Idempotent."""
        ...


class Server(Protocol):
    @property
    def name(self) -> str:
        """@@SERVERNAME, in every message."""
        ...

    @property
    def version(self) -> tuple[int, int, int]:
        """(16, 0, 4236): PRELOGIN and LOGINACK."""
        ...

    def login(self, request: LoginRequest) -> Session:
        """Raises SqlError (18456, 4060 with 18456, 18452); the connection is then closed."""
        ...

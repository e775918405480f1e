"""What running a statement yields: plain records that the wire, the terminal and job history render.

A reply stream is what SQL Server would send, without the wire's form. ``Done`` never says "more
follows": whoever renders the stream knows which one is last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final, Protocol

from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(frozen=True, slots=True)
class Message:
    """An INFO (severity 10 or less) or ERROR message.

    ``severity`` is what goes on the wire: SQL Server sends the messages of severity 10 with class 0.
    ``line`` counts from 1 in the batch, or in the procedure named.
    """

    number: int
    severity: int
    state: int
    text: str
    line: int = 1
    procedure: str = ""

    @property
    def is_error(self) -> bool:
        return self.severity > 10


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a result set (MS-TDS 2.2.7.4 COLMETADATA).

    ``updatable_unknown`` is set for columns that come straight from a table, ``computed`` for
    expressions; the columns of RESTORE HEADERONLY have neither.
    """

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    computed: bool = False
    updatable_unknown: bool = False
    collation: str | None = None


@dataclass(frozen=True, slots=True)
class ResultSet:
    """The columns of the result set whose rows follow."""

    columns: tuple[Column, ...]
    reused: bool = field(default=False, compare=False)
    """The same object comes again and again: worth remembering its form on the wire."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the result set begun last: a tuple of ``Value`` a row, in the columns' order."""

    rows: list[tuple[Value, ...]]


class ColumnLoader(Protocol):
    """Turns the stored form of values into the values."""

    def column(self, place: int, stored: Sequence[Any]) -> Sequence[Value]:
        """The values of a column of the result."""

    def __call__(self, rows: Sequence[Sequence[Any]]) -> list[tuple[Value, ...]]: ...


class StoredRows(Rows):
    """Rows as they lie in the store, which become values only when somebody asks for those."""

    __slots__ = ("loader", "stored")

    loader: ColumnLoader
    stored: list[tuple[Any, ...]]

    def __init__(self, stored: list[tuple[Any, ...]], loader: ColumnLoader) -> None:
        object.__setattr__(self, "stored", stored)
        object.__setattr__(self, "loader", loader)

    @property
    def rows(self) -> list[tuple[Value, ...]]:
        return self.loader(self.stored)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rows) and self.rows == other.rows

    def __hash__(self) -> int:
        return hash(len(self.stored))

    def __repr__(self) -> str:
        return f"Rows(rows={self.rows!r})"


@dataclass(frozen=True, slots=True)
class Order:
    """The 1-based result columns that the rows are sorted by (MS-TDS 2.2.7.17)."""

    columns: tuple[int, ...]


class DoneKind(Enum):
    BATCH = "done"  # a statement of a batch
    IN_PROC = "doneInProc"  # a statement of a procedure, of EXEC('...') or of an RPC
    PROC = "doneProc"  # the end of a procedure, of EXEC('...') or of an RPC


@dataclass(frozen=True, slots=True)
class Done:
    """A statement has ended. ``command`` is the CurCmd value (see ``Command``); ``count`` None means that
    the row count is not valid. Under SET NOCOUNT ON a count is there and not valid (captured): ``counted``
    is False then."""

    command: int
    count: int | None = None
    error: bool = False
    kind: DoneKind = DoneKind.BATCH
    counted: bool = True


@dataclass(frozen=True, slots=True)
class ReturnStatus:
    """The value that a procedure returned."""

    value: int


@dataclass(frozen=True, slots=True)
class ReturnValue:
    """An output parameter of an RPC, or a function's value; ``name`` as the caller wrote it."""

    ordinal: int
    name: str
    type: SqlType
    value: Value


@dataclass(frozen=True, slots=True)
class DatabaseChanged:
    """The session's current database (ENVCHANGE 1); message 5701 is sent as a ``Message`` of its own."""

    new: str
    old: str


@dataclass(frozen=True, slots=True)
class LanguageChanged:
    new: str
    old: str


@dataclass(frozen=True, slots=True)
class TransactionBegun:
    """ENVCHANGE 8; ``descriptor`` is 8 bytes."""

    descriptor: bytes


@dataclass(frozen=True, slots=True)
class TransactionEnded:
    """ENVCHANGE 9 (committed) or 10 (rolled back)."""

    descriptor: bytes
    committed: bool


Reply = (
    Message
    | ResultSet
    | Rows
    | Order
    | Done
    | ReturnStatus
    | ReturnValue
    | DatabaseChanged
    | LanguageChanged
    | TransactionBegun
    | TransactionEnded
)


class Command:
    """CurCmd values, from captures of SQL Server 2022 and 2025."""

    NONE: Final = 0
    SELECT: Final = 0xC1
    SELECT_INTO: Final = 0xC2
    INSERT: Final = 0xC3
    DELETE: Final = 0xC4
    UPDATE: Final = 0xC5
    CREATE_TABLE: Final = 0xC6
    DROP_TABLE: Final = 0xC7
    CREATE_INDEX: Final = 0xC8
    DROP_INDEX: Final = 0xC9
    CREATE_DATABASE: Final = 203
    DROP_DATABASE: Final = 204
    CREATE_VIEW: Final = 0xCF
    DROP_VIEW: Final = 0xD0
    ROLLBACK: Final = 0xD2
    BEGIN_TRANSACTION: Final = 0xD4
    COMMIT: Final = 0xD5
    ALTER_DATABASE: Final = 215
    ALTER_TABLE: Final = 0xD8
    CREATE_PROCEDURE: Final = 222
    DROP_PROCEDURE: Final = 223
    EXECUTE: Final = 0xE0
    USE: Final = 226
    BACKUP_DATABASE: Final = 228
    RESTORE_DATABASE: Final = 229
    RESTORE_ROWS: Final = 230
    TRUNCATE_TABLE: Final = 234
    BACKUP_LOG: Final = 235
    SET: Final = 0xF9
    RESTORE_HEADERONLY: Final = 250
    PARSE_ERROR: Final = 253
    MERGE: Final = 279
    RESTORE_FILELISTONLY: Final = 376
    RESTORE_VERIFYONLY: Final = 377

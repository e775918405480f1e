"""What a session carries from statement to statement, as the interpreter and its evaluator share it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from tdsproxy.tsql import ast
from tdsproxy.tsql.functions.registry import CaughtError
from tdsproxy.tsql.replies import Column, Message
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


@dataclass(slots=True)
class Options:
    """SET options. A procedure, a string or an RPC starts with its caller's and what it changes ends with
    it, so a frame has its own copy."""

    nocount: bool = False
    xact_abort: bool = False
    quoted_identifier: bool = True
    ansi_nulls: bool = True
    date_first: int = 7
    date_format: str = "mdy"
    language: str = "us_english"
    others: dict[str, str] = field(default_factory=dict)
    """Every other option by its upper-case name (``ARITHABORT``: ``ON``)."""

    def copy(self) -> Options:
        return Options(
            self.nocount,
            self.xact_abort,
            self.quoted_identifier,
            self.ansi_nulls,
            self.date_first,
            self.date_format,
            self.language,
            dict(self.others),
        )


@dataclass(slots=True)
class SessionState:
    """@@ERROR and its kin: one per session, whatever frame runs."""

    error: int = 0
    rowcount: int = 0
    fetch_status: int = 0
    cursor_rows: int = 0
    caught: list[CaughtError] = field(default_factory=list)
    """The errors of the CATCH blocks that run, innermost last."""
    caught_messages: list[tuple[Message, ...]] = field(default_factory=list)
    """The messages of ``caught``, for a bare THROW."""
    cursors: dict[str, Cursor] = field(default_factory=dict)
    """GLOBAL cursors, by lower-case name."""
    inserting: bool = False
    """An INSERT ... EXEC runs: it cannot be nested."""
    doomed: bool = False
    """An error that dooms its transaction was caught: XACT_STATE() is -1."""


@dataclass(slots=True)
class VariableCell:
    """A declared variable. ``value`` already has the type's shape."""

    type: SqlType
    value: Value = None


@dataclass(frozen=True, slots=True)
class TableVariable:
    """A declared table variable: its definition, and where the evaluator keeps its rows."""

    name: str
    columns: tuple[ast.ColumnDefinition, ...]
    constraints: tuple[ast.Constraint, ...] = ()


@dataclass(frozen=True, slots=True)
class CursorKeys:
    """``table`` is the evaluator's own; ``keys`` has the key of each row of a cursor."""

    table: object
    keys: list[tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class CursorRows:
    """What a cursor holds when it has been opened."""

    columns: tuple[Column, ...]
    rows: list[tuple[Value, ...]]
    messages: list[Message]
    keys: CursorKeys | None = None


@dataclass(slots=True)
class Cursor:
    """A cursor. Its rows are read when it is opened (INSENSITIVE); ``at`` counts from 1, 0 is before the
    first row."""

    name: str
    query: ast.Query
    scroll: bool = False
    columns: tuple[Column, ...] | None = None
    """None while it is closed."""
    rows: list[tuple[Value, ...]] = field(default_factory=list)
    at: int = 0
    keys: CursorKeys | None = None
    """How the rows are found again in the table that they come from; None when the cursor is read-only."""
    read_only: bool = False

    @property
    def is_open(self) -> bool:
        return self.columns is not None


class FrameKind(Enum):
    BATCH = "batch"
    RPC = "rpc"  # sp_executesql and its kin, called by a client or by EXEC
    STRING = "string"  # EXEC ('...')
    PROCEDURE = "procedure"
    TRIGGER = "trigger"
    FUNCTION = "function"


@dataclass(slots=True, eq=False)
class Frame:
    """One scope of variables: a batch, a procedure, a string, an RPC.

    ``variables`` and ``tables`` are keyed by the lower-case name with its sign. ``storage`` is for the
    evaluator's own use (what belongs to this scope and ends with it).
    """

    session: SessionState
    options: Options
    kind: FrameKind = FrameKind.BATCH
    nest_level: int = 0
    procedure: str = ""
    procedure_id: int = 0
    database: str | None = None
    """The database that is current while the frame runs; None is the caller's."""
    text: str = ""
    parent: Frame | None = None
    variables: dict[str, VariableCell] = field(default_factory=dict)
    tables: dict[str, TableVariable] = field(default_factory=dict)
    storage: dict[str, object] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    """LOCAL cursors, by lower-case name."""
    try_depth: int = 0
    """How many TRY blocks of this frame are open."""
    return_status: int | None = None
    """Set by RETURN n."""
    worst_severity: int = 0
    """The highest severity of the errors of this frame's own statements: gives a procedure's status."""

    @property
    def in_proc(self) -> bool:
        """Whether statements end with DONEINPROC rather than DONE."""
        return self.kind is not FrameKind.BATCH

    def get(self, name: str) -> TypedValue | None:
        cell = self.variables.get(name.lower())
        return None if cell is None else TypedValue(cell.value, cell.type)

    def catches(self, *, above: bool = False) -> bool:
        """Whether an error of this frame ends in a CATCH block: of its own (not with ``above``) or of a
        caller."""
        frame = self.parent if above else self
        while frame is not None:
            if frame.try_depth:
                return True
            frame = frame.parent
        return False

    def declare(self, name: str, type_: SqlType, value: Value = None) -> None:
        self.variables[name.lower()] = VariableCell(type_, value)

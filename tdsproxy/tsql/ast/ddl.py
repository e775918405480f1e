"""Statements that make, change and drop objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node
from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.expressions import Expr, Predicate
    from tdsproxy.tsql.ast.names import Name, TypeName
    from tdsproxy.tsql.ast.queries import Query


class Reference(Node):
    """The REFERENCES part of a foreign key."""

    table: Name
    columns: tuple[str, ...] = ()
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"


class Constraint(Node):
    """``kind`` is ``PRIMARY KEY``, UNIQUE, ``FOREIGN KEY``, CHECK or DEFAULT; ``columns`` as (name,
    descending). ``text`` is the source text of a CHECK's predicate or a DEFAULT's expression."""

    kind: str
    name: str | None = None
    columns: tuple[tuple[str, bool], ...] = ()
    reference: Reference | None = None
    check: Predicate | None = None
    default: Expr | None = None
    for_column: str | None = None
    clustered: bool | None = None
    text: str = ""


class ColumnDefinition(Node):
    """``computed`` is the expression of ``name AS expr`` (then ``type`` is None). ``nullable`` None when
    neither NULL nor NOT NULL was written."""

    name: str
    type: TypeName | None
    nullable: bool | None = None
    identity: tuple[int, int] | None = None
    """(seed, increment)."""
    collation: str | None = None
    constraints: tuple[Constraint, ...] = ()
    computed: Expr | None = None
    computed_text: str = ""
    persisted: bool = False
    rowguidcol: bool = False
    generated: bool = False
    """GENERATED ALWAYS, of a table with versions."""


class IndexDefinition(Node):
    name: str | None
    columns: tuple[tuple[str, bool], ...]
    unique: bool = False
    clustered: bool | None = None
    include: tuple[str, ...] = ()
    where: Predicate | None = None
    where_text: str = ""


class CreateTable(Statement):
    name: Name
    columns: tuple[ColumnDefinition, ...]
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[IndexDefinition, ...] = ()


class AlterTable(Statement):
    """``action``: one of the Alter... records below."""

    name: Name
    action: AddColumns | DropColumns | AlterColumn | DropConstraints | SwitchConstraints


class AddColumns(Node):
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    with_check: bool = True


class DropColumns(Node):
    """``constraints`` are those dropped by the same statement, before the columns."""

    names: tuple[str, ...]
    if_exists: bool = False
    constraints: tuple[str, ...] = ()


class AlterColumn(Node):
    column: ColumnDefinition


class DropConstraints(Node):
    names: tuple[str, ...]
    if_exists: bool = False


class SwitchConstraints(Node):
    """CHECK / NOCHECK CONSTRAINT, ENABLE / DISABLE TRIGGER: ``names`` empty for ALL."""

    action: str
    names: tuple[str, ...]


class CreateIndex(Statement):
    table: Name
    index: IndexDefinition


class DropIndex(Statement):
    """(index name, table) pairs."""

    items: tuple[tuple[str, Name], ...]
    if_exists: bool = False


class AlterIndex(Statement):
    """REBUILD, REORGANIZE, DISABLE: accepted; ``action`` in upper case, ``name`` None for ALL."""

    name: str | None
    table: Name
    action: str


class CreateView(Statement):
    name: Name
    columns: tuple[str, ...]
    query: Query
    text: str
    """The whole statement, to the byte."""
    alter: bool = False
    or_alter: bool = False


class Parameter(Node):
    """A procedure's or function's parameter (``name`` with its sign)."""

    name: str
    type: TypeName
    default: Expr | None = None
    output: bool = False
    readonly: bool = False


class CreateProcedure(Statement):
    name: Name
    parameters: tuple[Parameter, ...]
    body: tuple[Statement, ...]
    text: str
    alter: bool = False
    or_alter: bool = False


class CreateFunction(Statement):
    """``returns``: a type, or ``TABLE`` with ``query`` (inline) or ``table`` (multi-statement)."""

    name: Name
    parameters: tuple[Parameter, ...]
    returns: TypeName | None
    body: tuple[Statement, ...]
    text: str
    query: Query | None = None
    table: tuple[ColumnDefinition, ...] = ()
    table_variable: str | None = None
    alter: bool = False
    or_alter: bool = False
    table_constraints: tuple[Constraint, ...] = ()


class CreateTrigger(Statement):
    name: Name
    table: Name
    timing: str
    """AFTER or ``INSTEAD OF``."""
    events: tuple[str, ...]
    body: tuple[Statement, ...]
    text: str
    alter: bool = False
    or_alter: bool = False


class CreateSchema(Statement):
    name: str
    authorization: str | None = None


class DropObject(Statement):
    """DROP of TABLE, VIEW, PROCEDURE, FUNCTION, TRIGGER, SCHEMA, SYNONYM, SEQUENCE, TYPE (``kind``)."""

    kind: str
    names: tuple[Name, ...]
    if_exists: bool = False


class CreateSynonym(Statement):
    name: Name
    target: Name


class CreateType(Statement):
    """An alias type (``base``) or a table type (``columns``). ``text`` is the whole statement."""

    name: Name
    base: TypeName | None
    nullable: bool = True
    columns: tuple[ColumnDefinition, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    indexes: tuple[IndexDefinition, ...] = ()
    text: str = ""


class CreateSequence(Statement):
    """``options`` are (START, n), (INCREMENT, n), (MINVALUE, n or None for NO MINVALUE), (CYCLE, 1 or None),
    (CACHE, n)."""

    name: Name
    type: TypeName | None
    options: tuple[tuple[str, int | None], ...] = ()
    alter: bool = False


class AlterSchema(Statement):
    """ALTER SCHEMA s TRANSFER object."""

    schema: str
    object: Name

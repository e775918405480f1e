"""What the compiler passes around: typed pieces of SQL, relations, scopes, parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec

from tdsproxy.store.encoding import Stored, storable_text, to_storage
from tdsproxy.tsql import ast
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.replies import Column
from tdsproxy.tsql.scalar import Environment, evaluate
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

CASE_INSENSITIVE: Final = "ts_ci"


class BoundColumn(msgspec.Struct, frozen=True):
    """A column of a relation. ``sql`` reads it; ``updatable`` says that it comes straight from a table."""

    name: str
    sql: str
    type: SqlType
    nullable: bool = True
    identity: bool = False
    updatable: bool = False
    aggregate: bool = False
    collation: str = CASE_INSENSITIVE
    base: str | None = None
    """The table column that it shows unchanged."""


class Typed(msgspec.Struct, frozen=True):
    """A compiled expression: ``sql`` yields a value of ``type`` in storage form.

    ``column`` is set for a plain column, ``literal`` for a literal, ``source`` for an expression without
    columns, which can still be evaluated (and converted) before the query runs.
    """

    sql: str
    type: SqlType
    nullable: bool = True
    column: BoundColumn | None = None
    literal: ast.Literal | None = None
    source: ast.Expr | None = None
    aggregate: bool = False
    collation: str = CASE_INSENSITIVE
    explicit: bool = False
    """Whether a COLLATE clause gave the collation."""
    json: bool = False
    """Whether it is JSON by a function or FOR JSON: FOR JSON does not quote it."""

    def described(self, name: str) -> Column:
        """The result column that the expression makes (flags as SQL Server 2022 sends them)."""
        type_ = SqlType("int") if self.type.name == "null" else self.type
        column = self.column
        if column is not None:
            return Column(
                name,
                type_,
                self.nullable,
                identity=column.identity,
                computed=not (column.identity or column.updatable or column.aggregate),
                updatable_unknown=column.updatable and not column.identity,
            )
        return Column(name, type_, self.nullable, computed=not self.aggregate)


class Given(ast.Expr, kw_only=True):
    """An expression that was compiled elsewhere: an argument in the query of an inline function."""

    typed: Typed


class Relation(msgspec.Struct):
    """Something with columns in a FROM clause. ``name`` is what its columns may be qualified with;
    ``qualifiers`` the schema and database that may stand before it when no alias was given.
    ``row_key`` are the SQL expressions that address its row when it is a table."""

    name: str
    columns: tuple[BoundColumn, ...]
    qualifiers: tuple[str, ...] = ()
    row_key: tuple[str, ...] = ()
    table: object | None = None

    def find(self, name: str) -> BoundColumn | None:
        lowered = name.lower()
        for column in self.columns:
            if column.name.lower() == lowered:
                return column
        return None

    def matches(self, qualifier: tuple[str, ...]) -> bool:
        """Whether ``qualifier`` (from the left: database, schema, name) names this relation."""
        if qualifier[-1].lower() != self.name.lower():
            return False
        rest = [part.lower() for part in qualifier[:-1]]
        if not rest:
            return True
        mine = [part.lower() for part in self.qualifiers]
        if len(rest) > len(mine):
            return False
        return all(want in ("", have) for want, have in zip(reversed(rest), reversed(mine), strict=False))

    def made_nullable(self) -> Relation:
        """The same on the optional side of an outer join."""
        return Relation(
            self.name,
            tuple(msgspec.structs.replace(column, nullable=True) for column in self.columns),
            self.qualifiers,
            self.row_key,
            self.table,
        )


class CommonTableBinding(msgspec.Struct):
    """A CTE in reach: its name in the generated SQL and its columns."""

    sql_name: str
    columns: tuple[BoundColumn, ...]
    table: object | None = None
    keys: int = 0


class Scope(msgspec.Struct):
    """The relations that names may refer to, and the query around them."""

    relations: list[Relation] = msgspec.field(default_factory=list)
    parent: Scope | None = None
    common: dict[str, CommonTableBinding] = msgspec.field(default_factory=dict)
    groups: dict[str, Typed] | None = None
    """In a grouped query: the SQL of each grouping expression. Columns outside of aggregates must be among
    them."""
    in_aggregate: int = 0
    absent: frozenset[str] = frozenset()
    """Of several grouping sets: the SQL of the expressions that this one does not group by."""

    def common_table(self, name: str) -> CommonTableBinding | None:
        scope: Scope | None = self
        while scope is not None:
            found = scope.common.get(name.lower())
            if found is not None:
                return found
            scope = scope.parent
        return None

    def resolve(self, reference: ast.ColumnRef) -> tuple[BoundColumn, Scope]:
        """The column meant by ``reference`` and the scope that has it. Raises 207, 209, 4104."""
        scope: Scope | None = self
        while scope is not None:
            found = scope.own(reference)
            if found is not None:
                return found, scope
            scope = scope.parent
        if len(reference.parts) == 1:
            raise BatchAborted.of(207, 16, 1, f"Invalid column name '{reference.parts[0]}'.", reference.line)
        scope = self
        while scope is not None:
            if any(relation.matches(reference.parts[:-1]) for relation in scope.relations):
                name = reference.parts[-1]
                raise BatchAborted.of(207, 16, 1, f"Invalid column name '{name}'.", reference.line)
            scope = scope.parent
        text = ".".join(reference.parts)
        raise BatchAborted.of(
            4104, 16, 1, f'The multi-part identifier "{text}" could not be bound.', reference.line
        )

    def own(self, reference: ast.ColumnRef) -> BoundColumn | None:
        """The column in this scope alone; None when it has none of that name."""
        name = reference.parts[-1]
        qualifier = reference.parts[:-1]
        found: BoundColumn | None = None
        for relation in self.relations:
            if qualifier and not relation.matches(qualifier):
                continue
            column = relation.find(name)
            if column is None:
                continue
            if found is not None:
                raise BatchAborted.of(209, 16, 1, f"Ambiguous column name '{name}'.", reference.line)
            found = column
        return found


# ------------------------------------------------------------------ parameters


class Bind(msgspec.Struct, frozen=True):
    """A value that is computed before the query runs: ``expr`` (a variable, a call without columns),
    converted to ``type``."""

    expr: ast.Expr
    type: SqlType
    change: Callable[[Stored], Stored] | None = None
    """What is done to the stored value before it is bound."""

    def stored(self, env: Environment) -> Stored:
        value = evaluate(self.expr, env)
        raw = stored(convert(value.value, value.type, self.type), self.type)
        return raw if self.change is None else self.change(raw)


Bindings = dict[str, Stored]


def stored(value: Value, type_: SqlType) -> Stored:
    """``to_storage`` for values that functions made: text may hold halves of UTF-16 pairs."""
    raw = to_storage(value, type_)
    return storable_text(raw) if isinstance(raw, str) else raw


class Parameters:
    """The parameters of one generated statement, ``:p1``, ``:p2`` ... Equal ones share a number."""

    def __init__(self) -> None:
        self._items: list[Bind | Stored] = []
        self._numbers: dict[Bind, int] = {}

    def bind(self, expr: ast.Expr, type_: SqlType, change: Callable[[Stored], Stored] | None = None) -> str:
        key = Bind(expr, type_, change)
        number = self._numbers.get(key)
        if number is None:
            self._items.append(key)
            number = self._numbers[key] = len(self._items)
        return f":p{number}"

    def constant(self, value: Stored) -> str:
        self._items.append(value)
        return f":p{len(self._items)}"

    def slot(self) -> tuple[str, str]:
        """A parameter that whoever runs the statement fills in for each row: its SQL and its key."""
        self._items.append(None)
        return f":p{len(self._items)}", f"p{len(self._items)}"

    @property
    def varies(self) -> bool:
        """Whether a value depends on who runs the statement, and when."""
        return any(isinstance(item, Bind) and not isinstance(item.expr, ast.Literal) for item in self._items)

    def values(self, env: Environment) -> Bindings:
        """The values by name; some may belong to text that the compiler threw away again."""
        return {
            f"p{number}": item.stored(env) if isinstance(item, Bind) else item
            for number, item in enumerate(self._items, 1)
        }


# ------------------------------------------------------------------ conversions of rows

Loader = Callable[[Stored], object]


def error(number: int, text: str, line: int = 1, *, severity: int = 16, state: int = 1) -> SqlError:
    """A compile-time error: it ends the batch."""
    return BatchAborted.of(number, severity, state, text, line)

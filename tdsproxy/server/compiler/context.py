"""What one compilation works with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tdsproxy.server.catalogview import SystemCatalog
from tdsproxy.server.compiler.binder import FunctionBinder
from tdsproxy.server.compiler.typed import Parameters
from tdsproxy.server.schema import DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.schema_reader import SchemaReader
from tdsproxy.server.workspace import Workspace
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.scalar import Environment
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.user_functions import FunctionParameter, ScalarFunction, TableValued
    from tdsproxy.tsql.scalar import TypedValue


class Names(Protocol):
    """Where a statement's names lead, in the frame that runs it."""

    @property
    def database(self) -> str:
        """The current database."""

    @property
    def environment(self) -> Environment:
        """Variables, globals and functions, for what has no columns."""

    @property
    def temp_scopes(self) -> tuple[str, ...]:
        """The scopes whose #tables are in reach, innermost first."""

    def pseudo_table(self, name: str) -> FoundTable | None:
        """``inserted`` or ``deleted`` inside a trigger."""

    def table_variable(self, name: str) -> TableInfo | None:
        """The table behind ``@name``."""

    def is_parameter(self, table: TableInfo) -> bool:
        """Whether the table was passed by the caller, and can't be written."""

    def resolve_type(self, type_name: ast.TypeName) -> SqlType: ...

    def user_function(self, name: ast.Name) -> ScalarFunction | None:
        """A scalar function made by CREATE FUNCTION."""

    def table_function(self, name: ast.Name) -> TableValued | None:
        """A table function made by CREATE FUNCTION."""

    def next_value(self, name: ast.Name) -> tuple[SqlType, tuple[object, ...], Callable[[], Stored]]:
        """The type of a sequence, its key among others, and what gives its next value. Raises SqlError
        208."""

    def default_argument(self, parameter: FunctionParameter) -> TypedValue:
        """The value of the word DEFAULT for a parameter."""

    def parse_expression(self, text: str) -> ast.Expr:
        """A stored T-SQL expression (a default, a computed column)."""

    def parse_predicate(self, text: str) -> ast.Predicate:
        """A stored T-SQL condition (a CHECK constraint)."""

    def view_query(self, module: ModuleInfo) -> tuple[ast.Query, tuple[str, ...]]:
        """A view's query and its column names ('' where it gives none), parsed."""


@dataclass(frozen=True, slots=True)
class FoundTable:
    """A table and where it is: ``schema`` is the attached SQLite schema, ``database`` its T-SQL name."""

    table: TableInfo
    schema: str
    database: str


@dataclass(slots=True)
class Context:
    """The state of one compilation. ``database`` is where unqualified names are looked up: inside a view
    it is the view's database."""

    workspace: Workspace
    reader: SchemaReader
    binder: FunctionBinder
    catalog: SystemCatalog
    names: Names
    parameters: Parameters = field(default_factory=Parameters)
    database: str = ""
    aliases: list[int] = field(default_factory=lambda: [0])
    notices: list[tuple[int, int, str]] = field(default_factory=list)
    """Messages of class 0 that the compilation gives rise to: (number, state, text)."""
    locked: set[str] = field(default_factory=set)
    """The schemas of the tables whose rows a hint (UPDLOCK, HOLDLOCK ...) keeps from changing until the end
    of the transaction."""
    depth: int = 0
    bound_to_frame: bool = False
    """Whether the compilation holds for its frame alone: it names what belongs to it, or has looked at the
    values of its variables."""
    files: set[str] = field(default_factory=set)
    """The databases that names led to."""
    keys_wanted: bool = False
    """Whether derived tables, CTEs and views show the keys of the rows that they are made of: they are
    written through."""
    extra_tables: dict[str, Callable[[], FoundTable]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.database:
            self.database = self.names.database

    def alias(self, prefix: str = "r") -> str:
        """A name that nothing else in the statement has."""
        self.aliases[0] += 1
        return f"{prefix}{self.aliases[0]}"

    @contextmanager
    def without_keys(self) -> Iterator[None]:
        """Queries whose rows are not those of a table."""
        wanted, self.keys_wanted = self.keys_wanted, False
        try:
            yield
        finally:
            self.keys_wanted = wanted

    def schema(self, sqlite_schema: str) -> DatabaseSchema:
        """The objects of an attached database."""
        return self.reader.read(sqlite_schema)

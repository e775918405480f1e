"""Names as one frame sees them, for the compiler."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.schema import ModuleInfo, TableInfo
from tdsproxy.server.triggers import PSEUDO
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.environment import FrameEnvironment
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.scalar import Environment
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator
    from tdsproxy.server.user_functions import FunctionParameter, ScalarFunction, TableValued
    from tdsproxy.tsql.scalar import TypedValue

SESSION_SCOPE = "#0"


def frames_of(frame: Frame) -> Iterator[Frame]:
    """The frame and its callers, innermost first."""
    current: Frame | None = frame
    while current is not None:
        yield current
        current = current.parent


def temp_scope(frame: Frame) -> str:
    """The scope that #tables made in ``frame`` belong to."""
    if not frame.in_proc:
        return SESSION_SCOPE
    scope = frame.storage.setdefault("temp_scope", f"#{id(frame):x}")
    return str(scope)


class FrameNames:
    """``compiler.context.Names`` for a frame."""

    def __init__(self, evaluator: SqliteEvaluator, frame: Frame) -> None:
        self._evaluator = evaluator
        self._frame = frame
        self._environment = FrameEnvironment(evaluator.host, frame)

    @property
    def database(self) -> str:
        return self._evaluator.host.database(self._frame)

    @property
    def environment(self) -> Environment:
        return self._environment

    @property
    def temp_scopes(self) -> tuple[str, ...]:
        scopes = [str(f.storage["temp_scope"]) for f in frames_of(self._frame) if "temp_scope" in f.storage]
        return (*scopes, SESSION_SCOPE)

    def pseudo_table(self, name: str) -> FoundTable | None:
        tables = self._frame.storage.get(PSEUDO)
        return tables.get(name.lower()) if isinstance(tables, dict) else None

    def table_variable(self, name: str) -> TableInfo | None:
        return self._evaluator.table_variables.table(name, self._frame)

    def is_parameter(self, table: TableInfo) -> bool:
        return self._evaluator.table_variables.is_shared(table, self._frame)

    def resolve_type(self, type_name: ast.TypeName) -> SqlType:
        return self._evaluator.host.resolve_type(type_name, self._frame)

    def user_function(self, name: ast.Name) -> ScalarFunction | None:
        return self._evaluator.host.user_functions.scalar(name, self._frame)

    def table_function(self, name: ast.Name) -> TableValued | None:
        return self._evaluator.host.user_functions.table(name, self._frame)

    def next_value(self, name: ast.Name) -> tuple[SqlType, tuple[object, ...], Callable[[], Stored]]:
        return self._evaluator.sequences.next_value(name, self._frame)

    def default_argument(self, parameter: FunctionParameter) -> TypedValue:
        return self._evaluator.host.user_functions.default(parameter, self._frame)

    def parse_expression(self, text: str) -> ast.Expr:
        return parse_expression(text)

    def parse_predicate(self, text: str) -> ast.Predicate:
        return parse_predicate(text)

    def view_query(self, module: ModuleInfo) -> tuple[ast.Query, tuple[str, ...]]:
        statement = parse(module.text, quoted_identifier=module.quoted_identifier).statements[0]
        if not isinstance(statement, ast.CreateView):
            raise TypeError(f"{module.name} is stored as a view and holds another statement")
        return statement.query, statement.columns


def parse_expression(text: str) -> ast.Expr:
    """The expression in ``text``."""
    statement = parse(f"SELECT {text}").statements[0]
    if isinstance(statement, ast.QueryStatement) and isinstance(statement.query, ast.Select):
        return statement.query.items[0].expr
    raise TypeError(f"{text!r} is not an expression")


def parse_predicate(text: str) -> ast.Predicate:
    """The condition in ``text``."""
    statement = parse(f"SELECT 1 WHERE {text}").statements[0]
    if isinstance(statement, ast.QueryStatement) and isinstance(statement.query, ast.Select):
        where = statement.query.where
        if where is not None:
            return where
    raise TypeError(f"{text!r} is not a condition")

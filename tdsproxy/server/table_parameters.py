"""Table-valued parameters that clients send: each becomes a table variable of the call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from tdsproxy.frontend.bulk import BulkColumn
from tdsproxy.frontend.handler import RpcParameter, RpcTable
from tdsproxy.server.bulk_load import BulkTarget, Loader
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame, TableVariable
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


@contextmanager
def tables_of(
    session: Session, parameters: Sequence[RpcParameter], frame: Frame
) -> Iterator[dict[int, Argument]]:
    """The arguments that are tables, by their place; they live as long as the context.

    Raises SqlError 500, 2715, and what inserting a row raises."""
    if not any(parameter.table is not None for parameter in parameters):
        yield {}
        return
    made: dict[int, Argument] = {}
    session.evaluator.enter(frame)
    try:
        for place, parameter in enumerate(parameters):
            if parameter.table is not None:
                variable = f"@table {place}"
                _declare(session, variable, parameter, place + 1, frame)
                made[place] = Argument(parameter.name or None, None, table=(variable, frame))
        yield made
    finally:
        for _reply in session.evaluator.leave(frame):
            continue


def _declare(session: Session, variable: str, parameter: RpcParameter, number: int, frame: Frame) -> None:
    table = parameter.table or RpcTable("", "", "")
    name = ast.Name(table.name, table.schema or None, table.database or None)
    declared = session.evaluator.table_type(variable, ast.TypeName(name, None), frame)
    if declared is None:
        shown = ".".join(part for part in (table.database, table.schema, table.name) if part)
        raise SqlError.of(
            2715, 16, 3, f"Column, parameter, or variable #{number}: Cannot find data type {shown}."
        )
    frame.tables[variable] = declared
    if not table.types:
        return
    if len(table.types) != len(declared.columns):
        raise SqlError.of(
            500,
            16,
            1,
            f"Trying to pass a table-valued parameter with {len(table.types)} column(s) where the"
            f" corresponding user-defined table type requires {len(declared.columns)} column(s).",
        )
    _Given(session, variable, declared, table).insert(frame)


class _Given:
    """The rows that a client gave, as a bulk load takes them."""

    def __init__(self, session: Session, variable: str, declared: TableVariable, table: RpcTable) -> None:
        self._evaluator = session.evaluator.sql
        self._table = table
        self._places = [n for n, type_ in enumerate(table.types) if type_ is not None]
        names = [declared.columns[n].name for n in self._places]
        definitions = tuple(ast.ColumnDefinition(name, None) for name in names)
        self._statement = ast.InsertBulk(ast.Name(variable), "", definitions)
        given = [type_ for type_ in table.types if type_ is not None]
        self._columns = tuple(BulkColumn(name, type_) for name, type_ in zip(names, given, strict=True))

    def rows(self) -> Iterator[tuple[Value, ...]]:
        for row in self._table.rows:
            yield tuple(row[n] for n in self._places)

    def insert(self, frame: Frame) -> None:
        loader = Loader(self._evaluator, self._statement, frame)
        target = BulkTarget(self._statement, keep_nulls=True, check_constraints=True, fire_triggers=False)
        for _reply in self._evaluator.run(partial(loader.insert, target, self._columns, self), frame):
            continue

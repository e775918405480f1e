"""SELECT ... INTO: a table with the query's columns, then its rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from msgspec.structs import replace

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.compiler.expressions import parse_type
from tdsproxy.server.compiler.typed import error
from tdsproxy.server.schema import ColumnInfo, IdentityInfo
from tdsproxy.server.workspace import quoted
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator


class SelectInto:
    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator

    def run(self, query: ast.Select, frame: Frame) -> Iterator[Reply]:
        """Creates the table and fills it. Raises 2714 when the name is taken, 1038 for a column without
        name."""
        target = query.into
        if target is None:
            return
        evaluator = self._evaluator
        counted, made_identity = _without_identity(query)
        compiled = evaluator.selects.compile(ast.replace(counted, into=None), frame)
        columns: list[ColumnInfo] = []
        seen: set[str] = set()
        for number, output in enumerate(compiled.query.columns, 1):
            described = output.described()
            if not output.name:
                raise error(
                    1038,
                    "An object or column name is missing or empty. For SELECT INTO statements, verify each"
                    " column has a name. For other statements, look for empty alias names. Aliases defined as"
                    ' "" or [] are not allowed. Change the alias to a valid name.',
                    query.line,
                    severity=15,
                    state=5,
                )
            if output.name.lower() in seen:
                raise error(
                    2705,
                    f"Column names in each table must be unique. Column name '{output.name}' in table"
                    f" '{target.object}' is specified more than once.",
                    query.line,
                    state=3,
                )
            seen.add(output.name.lower())
            identity = made_identity[1] if made_identity and made_identity[0] == number - 1 else None
            if described.identity and not any(column.identity for column in columns):
                identity = self._identity_of(query)
            kind = described.type
            if kind.name == "varchar" and kind.length == 0:
                kind = t.varchar(1)
            elif kind.name == "nvarchar" and kind.length == 0:
                kind = t.nvarchar(1)
            columns.append(ColumnInfo(output.name, kind, described.nullable, number, identity))
        env = evaluator.environment(frame)
        place = evaluator.ddl.place(target, frame)
        with evaluator.changing(place.schema, place.database, query.line):
            evaluator.ddl.must_be_new(place, target, query.line)
            builder = evaluator.table_builder(
                place.owner, target.object, place.sqlite_name, frame, query.line, place.object_id
            )
            table = replace(builder.table, columns=tuple(columns))
            evaluator.ddl.create(table, place)
            found = FoundTable(table, place.schema, place.database)
            names = [column.name for column in columns]
            listed, places = ", ".join(map(quoted, names)), ", ".join("?" * len(names))
            sql = f"INSERT INTO {found.schema}.{quoted(table.sqlite_name)} ({listed}) VALUES ({places})"
            with evaluator.workspace.reads_only():
                rows = list(compiled.stored_rows(env))
            if made_identity is not None:
                rows = _numbered(rows, *made_identity)
            evaluator.workspace.connection.executemany(sql, rows)
            position = next((n for n, column in enumerate(columns) if column.identity), None)
            if position is not None and rows:
                numbers = [row[position] for row in rows if isinstance(row[position], int)]
                evaluator.seed_identity(place.schema, table, max(int(str(n)) for n in numbers))
        yield Done(Command.SELECT_INTO, len(rows))

    @staticmethod
    def _identity_of(query: ast.Select) -> IdentityInfo | None:
        """An identity column stays one unless the query joins, groups or unites."""
        if len(query.sources) == 1 and isinstance(query.sources[0], ast.TableSource) and not query.group:
            return IdentityInfo(1, 1)
        return None


def _without_identity(query: ast.Select) -> tuple[ast.Select, tuple[int, IdentityInfo] | None]:
    """The query with a number in place of ``IDENTITY(type, seed, increment)``, and where that stands."""
    for place, item in enumerate(query.items):
        call = item.expr
        if (
            not isinstance(call, ast.FunctionCall)
            or call.name.object.upper() != "IDENTITY"
            or call.name.schema
        ):
            continue
        seed, increment = (*(_whole(part) for part in call.args[1:]), 1, 1)[:2]
        zero = ast.Literal(value=0, type=t.INT, line=call.line)
        kind = ast.TypeName(ast.Name("identity"), _type_of(call))
        cast = ast.Cast(operand=zero, type=kind, line=call.line)
        items = (*query.items[:place], ast.replace(item, expr=cast), *query.items[place + 1 :])
        return ast.replace(query, items=items), (place, IdentityInfo(seed, increment))
    return query, None


def _whole(expr: ast.Expr) -> int:
    """A whole number as it is written, 1 for anything else."""
    if isinstance(expr, ast.Unary):
        inner = _whole(expr.operand)
        return -inner if expr.op == "-" else inner
    return expr.value if isinstance(expr, ast.Literal) and isinstance(expr.value, int) else 1


def _type_of(call: ast.FunctionCall) -> SqlType:
    """The type that the first argument of IDENTITY() names."""
    kind = call.args[0] if call.args else None
    if isinstance(kind, ast.Literal) and isinstance(kind.value, str):
        return parse_type(kind.value)
    raise error(102, "Incorrect syntax near 'IDENTITY'.", call.line, severity=15)


def _numbered(rows: list[tuple[Stored, ...]], place: int, identity: IdentityInfo) -> list[tuple[Stored, ...]]:
    """The rows with the values of the identity column at ``place``."""
    return [
        (*row[:place], identity.seed + number * identity.increment, *row[place + 1 :])
        for number, row in enumerate(rows)
    ]

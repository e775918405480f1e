"""OPENJSON and the xml method nodes() in FROM: virtual tables over one argument."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.typed import BoundColumn, Relation, Scope, error, stored
from tdsproxy.server.compiler.xpath import Place, reference, select
from tdsproxy.server.workspace import quoted
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.json_text import (
    ARRAY,
    OBJECT,
    find,
    json_members,
    member_text,
    not_found,
    parse_json,
    parse_path,
    quoted_json,
)
from tdsproxy.tsql.types import MAX, SqlType

if TYPE_CHECKING:
    from tdsproxy.server.compiler.queries import QueryCompiler

_TEXT = t.nvarchar(MAX)


@dataclass(frozen=True, slots=True)
class _JsonColumn:
    """A column of OPENJSON's WITH."""

    name: str
    type: SqlType
    path: str
    as_json: bool


class RowsetCompiler:
    def __init__(self, context: Context, queries: QueryCompiler) -> None:
        self._context = context
        self._queries = queries

    def compile(self, source: ast.FunctionSource, scope: Scope) -> str | None:
        """The FROM text of OPENJSON and nodes(); None for any other function."""
        name = source.call.name
        if name.schema is None and name.object.upper() == "OPENJSON":
            return self._openjson(source, scope)
        if name.schema is not None and name.object.lower() == "nodes" and len(source.call.args) == 1:
            return self._nodes(source, scope)
        return None

    def _openjson(self, source: ast.FunctionSource, scope: Scope) -> str:
        args = [
            self._queries.expressions.converted(self._queries.expressions.value(arg, scope), _TEXT).sql
            for arg in source.call.args
        ]
        if not 1 <= len(args) <= 2:
            raise error(174, "The OPENJSON function requires 1 to 2 arguments.", source.line, severity=15)
        if source.schema:
            columns = tuple(
                _JsonColumn(
                    column.name,
                    column.type.type or self._context.names.resolve_type(column.type),
                    column.path or f"$.{_step(column.name)}",
                    column.as_json,
                )
                for column in source.schema
            )
            table = self._context.binder.table(
                ("openjson", columns),
                lambda json, path=None: _json_rows(json, path, columns),
                [column.name for column in columns],
                ["json", "path"],
            )
            shown = [(column.name, column.type) for column in columns]
        else:
            table = self._context.binder.table(
                ("openjson",), _json_members, ["key", "value", "type"], ["json", "path"]
            )
            shown = [("key", t.nvarchar(4000)), ("value", _TEXT), ("type", t.INT)]
        return self._related(source, scope, table, args, shown)

    def _nodes(self, source: ast.FunctionSource, scope: Scope) -> str:
        name = source.call.name
        path = source.call.args[0]
        if not isinstance(path, ast.Literal) or not isinstance(path.value, str):
            raise error(
                8172,
                'The argument 1 of the XML data type method "nodes" must be a string literal.',
                source.line,
            )
        operand: ast.Expr
        if (name.schema or "").startswith("@"):
            operand = ast.Variable(name=name.schema or "", line=source.line)
        else:
            parts = tuple(part for part in (name.server, name.database, name.schema) if part)
            operand = ast.ColumnRef(parts=parts, line=source.line)
        made = self._queries.expressions.value(operand, scope)
        if made.type.name != "xml":
            raise error(258, f"Cannot call methods on {made.type.name}.", source.line, severity=15)
        xpath = path.value
        table = self._context.binder.table(
            ("nodes", xpath), lambda xml: _nodes(xml, xpath), ["node"], ["xml"]
        )
        return self._related(source, scope, table, [made.sql], [("node", t.XML)])

    def _related(
        self,
        source: ast.FunctionSource,
        scope: Scope,
        table: str,
        args: list[str],
        shown: list[tuple[str, SqlType]],
    ) -> str:
        alias = self._context.alias()
        names = source.columns or tuple(name for name, _ in shown)
        columns = tuple(
            BoundColumn(given, f"{alias}.{quoted(name)}", type_)
            for given, (name, type_) in zip(names, shown, strict=False)
        )
        scope.relations.append(Relation(source.alias or source.call.name.object, columns))
        return f"{table}({', '.join(args)}) AS {alias}"


def _step(name: str) -> str:
    return name if name.isidentifier() else quoted_json(name)


def _json_members(json: Stored, path: Stored = None) -> Iterator[tuple[Stored, ...]]:
    if json is not None:
        yield from json_members(str(json), parse_path("$" if path is None else str(path)))


def _json_rows(json: Stored, path: Stored, columns: tuple[_JsonColumn, ...]) -> Iterable[tuple[Stored, ...]]:
    if json is None:
        return
    text = str(json)
    found = find(parse_json(text), parse_path("$" if path is None else str(path)))
    if found is None:
        return
    rows = [node for _, node, _ in found.members] if found.kind == ARRAY else [found]
    for row in rows:
        values: list[Stored] = []
        for column in columns:
            where = parse_path(column.path)
            node = find(row, where)
            if node is not None and node.kind in (ARRAY, OBJECT) and not column.as_json:
                if where.strict:
                    raise not_found()
                node = None
            value = None if node is None else member_text(text, node)
            if column.as_json and node is not None and node.kind not in (ARRAY, OBJECT):
                value = None
            values.append(None if value is None else stored(convert(value, _TEXT, column.type), column.type))
        yield tuple(values)


def _nodes(xml: Stored, path: str) -> Iterator[tuple[Stored, ...]]:
    if xml is not None:
        for item in select(str(xml), path):
            if isinstance(item, Place):
                yield (reference(str(xml), item),)

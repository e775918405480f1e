"""Runs compiled queries: result sets in chunks, assignment to variables, SELECT INTO."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import apsw

from tdsproxy.server.compiled_queries import CompiledQueries
from tdsproxy.server.compiler.binder import loader
from tdsproxy.server.compiler.compiled import CompiledQuery
from tdsproxy.server.compiler.context import Context
from tdsproxy.server.compiler.inspect import expressions_of
from tdsproxy.server.compiler.queries import QueryCompiler, main_source
from tdsproxy.server.compiler.typed import error
from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.row_decoding import RowDecoder
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.replies import Command, Done, Message, Order, Reply, ResultSet, Rows, StoredRows
from tdsproxy.tsql.scalar import Environment, TypedValue, evaluate
from tdsproxy.tsql.state import CursorKeys, CursorRows, Frame
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

FIRST_CHUNK: Final = 64
_FEWEST: Final = 16
_MOST: Final = 2000
_CHUNK_BYTES: Final = 1024 * 1024
_LONG: Final = 64 * 1024
"""What a value without a bound is taken for."""
_COLUMN_VARIABLE: Final = "@\0c"


def _width(type_: SqlType) -> int:
    if type_.name in ("text", "ntext", "image", "xml", "sql_variant") or type_.length == MAX:
        return _LONG
    return 8 if type_.length is None else 16 + type_.length


Decoder = Callable[[Sequence[Stored]], tuple[Value, ...]]


def decoder(types: Sequence[SqlType]) -> Decoder:
    """How a stored row becomes a row of values."""
    loads = [loader(type_) for type_ in types]

    def decode(row: Sequence[Stored]) -> tuple[Value, ...]:
        return tuple(None if raw is None else load(raw) for raw, load in zip(row, loads, strict=True))

    return decode


@dataclass(frozen=True)
class Compiled:
    """A query ready to run."""

    query: CompiledQuery
    context: Context
    line: int = 1

    @cached_property
    def result_set(self) -> ResultSet:
        return ResultSet(tuple(output.described() for output in self.query.columns), reused=True)

    @cached_property
    def _decode(self) -> RowDecoder:
        return RowDecoder([column.type for column in self.result_set.columns])

    def rows(self, stored: list[tuple[Stored, ...]]) -> Rows:
        """Some of its rows as they are sent."""
        return StoredRows(stored, self._decode)

    @cached_property
    def most_at_once(self) -> int:
        """How many rows may be read before they are handed on: their memory stays bounded."""
        width = sum(_width(column.type) for column in self.result_set.columns)
        return max(_FEWEST, min(_MOST, _CHUNK_BYTES // max(1, width)))

    def begin(self, env: Environment) -> Begun:
        """The query runs from here on; its cursor is to be closed."""
        with sqlite_errors(self.line):
            bindings = self.context.parameters.values(env)
            cursor = self.context.workspace.connection.cursor()
            try:
                cursor.execute(self.query.sql, bindings)
            except BaseException:
                cursor.close()
                raise
        return Begun(self, cursor, [])

    def stored_rows(self, env: Environment) -> Iterator[tuple[Stored, ...]]:
        """The rows in storage form."""
        with sqlite_errors(self.line):
            bindings = self.context.parameters.values(env)
            cursor = self.context.workspace.connection.cursor()
            try:
                yield from cursor.execute(self.query.sql, bindings)
            finally:
                cursor.close()

    @property
    def types(self) -> list[SqlType]:
        return [output.described().type for output in self.query.columns]


@dataclass(frozen=True, slots=True)
class Begun:
    """A query that runs already: its first rows are read."""

    compiled: Compiled
    cursor: apsw.Cursor
    rows: list[tuple[Stored, ...]]

    def read(self, rows: list[tuple[Stored, ...]], most: int) -> None:
        """Adds up to ``most`` more rows: fewer only at the end. What came before an error is there, too."""
        if self.rows:
            rows += self.rows
            self.rows.clear()
        with sqlite_errors(self.compiled.line):
            rows.extend(islice(self.cursor, max(0, most - len(rows))))


class SelectRunner:
    """SELECT statements of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self.begun: Begun | None = None
        self._known = CompiledQueries(evaluator.reader, evaluator.workspace.find_database)
        evaluator.workspace.on_attach.append(lambda database, schema: self._known.clear())

    def compile(self, query: ast.Query, frame: Frame) -> Compiled:
        """Compiles ``query`` as ``frame`` sees it. Raises SqlError."""
        context = self._evaluator.compilation(frame)
        with sqlite_errors(query.line):
            compiled = Compiled(QueryCompiler(context).query(query), context, query.line)
        self._evaluator.keep_rows(context)
        return compiled

    def _compile_again(self, query: ast.Query, frame: Frame) -> Compiled:
        """As ``compile``, for a query that is likely to be run again."""
        database = self._evaluator.host.database(frame)
        known = self._known.find(query, database, frame)
        if known is not None:
            self._evaluator.keep_rows(known.context)
            return known
        compiled = self.compile(query, frame)
        self._known.keep(query, database, frame, compiled)
        return compiled

    def run(self, statement: ast.QueryStatement, frame: Frame) -> Iterator[Reply]:
        query = statement.query
        if isinstance(query, ast.Select) and query.into is not None:
            yield from self._evaluator.select_into.run(query, frame)
            return
        with self._evaluator.workspace.reading():
            if isinstance(query, ast.Select) and any(item.variable for item in query.items):
                yield from self._assign(query, frame)
            else:
                yield from self._result_set(query, frame)

    def _result_set(self, query: ast.Query, frame: Frame) -> Iterator[Reply]:
        compiled = self._compile_again(query, frame)
        yield from self.notices(compiled.context, query.line)
        if query.for_ is not None:
            yield from self._evaluator.for_clause(compiled, query.for_, main_source(query), frame)
            return
        limit = self._row_limit(frame)
        env = self._evaluator.environment(frame)
        yield compiled.result_set
        if compiled.query.order:
            yield Order(compiled.query.order)
        count = 0
        begun = self._begun_already(compiled) or compiled.begin(env)
        most = FIRST_CHUNK
        try:
            while limit is None or count < limit:
                chunk: list[tuple[Stored, ...]] = []
                wanted = most if limit is None else min(most, limit - count)
                try:
                    begun.read(chunk, wanted)
                finally:
                    count += len(chunk)
                    if chunk:
                        yield compiled.rows(chunk)
                if len(chunk) < wanted:
                    break
                most = min(4 * most, compiled.most_at_once)
        finally:
            begun.cursor.close()
        yield Done(Command.SELECT, count)

    def _begun_already(self, compiled: Compiled) -> Begun | None:
        begun = self.begun
        if begun is None or begun.compiled is not compiled:
            return None
        self.begun = None
        return begun

    def forget_begun(self) -> None:
        """Ends what ``begun`` has begun, unless it was taken over."""
        if self.begun is not None:
            self.begun.cursor.close()
            self.begun = None

    def known(self, query: ast.Query) -> Compiled | None:
        """What is kept of a query's compilation."""
        return self._known.known(query)

    def schemas_of(self, query: ast.Query) -> tuple[str, ...]:
        """The SQLite schemas that its compilation has looked at."""
        return self._known.schemas_of(query)

    @staticmethod
    def _row_limit(frame: Frame) -> int | None:
        """SET ROWCOUNT."""
        text = frame.options.others.get("ROWCOUNT", "0")
        return int(text) if text.isdigit() and int(text) > 0 else None

    @staticmethod
    def notices(context: Context, line: int) -> Iterator[Message]:
        for number, state, text in context.notices:
            yield Message(number, 0, state, text, line)

    def rows(self, query: ast.Query, frame: Frame) -> tuple[Compiled, list[tuple[Value, ...]]]:
        """All rows of ``query``."""
        with self._evaluator.workspace.reading():
            compiled = self._compile_again(query, frame)
            decode = decoder(compiled.types)
            env = self._evaluator.environment(frame)
            return compiled, [decode(row) for row in compiled.stored_rows(env)]

    def cursor(self, query: ast.Query, frame: Frame) -> CursorRows:
        """All rows of a cursor's query, with the keys of the table's rows that they show."""
        with self._evaluator.workspace.reading():
            context = self._evaluator.compilation(frame)
            context.keys_wanted = True
            with sqlite_errors(query.line):
                compiled = Compiled(QueryCompiler(context).query(query), context, query.line)
            self._evaluator.keep_rows(context)
            columns = tuple(output.described() for output in compiled.query.columns)
            stored = list(compiled.stored_rows(self._evaluator.environment(frame)))
        width = len(columns)
        rows = RowDecoder([column.type for column in columns])([row[:width] for row in stored])
        keys = None
        if compiled.query.table is not None and compiled.query.keys:
            keys = CursorKeys(compiled.query.table, [row[width:] for row in stored])
        return CursorRows(columns, rows, list(self.notices(context, query.line)), keys)

    # ------------------------------------------------------------------ SELECT @v = ...

    def _assign(self, query: ast.Select, frame: Frame) -> Iterator[Reply]:
        targets = []
        for item in query.items:
            if item.variable is None:
                raise error(
                    141,
                    "A SELECT statement that assigns a value to a variable must not be combined with"
                    " data-retrieval operations.",
                    query.line,
                    severity=15,
                )
            cell = frame.variables.get(item.variable.lower())
            if cell is None:
                raise error(
                    137,
                    f'Must declare the scalar variable "{item.variable}".',
                    query.line,
                    severity=15,
                    state=1,
                )
            targets.append((item, cell))
        assigned = {(item.variable or "").lower() for item, _ in targets}
        columns: list[ast.Expr] = []
        formulas: list[ast.Expr] = []
        for item, _ in targets:
            expr = item.expr
            if item.assign_op != "=":
                expr = ast.Binary(
                    op=item.assign_op[:-1],
                    left=ast.Variable(name=item.variable or "", line=item.expr.line),
                    right=item.expr,
                    line=item.expr.line,
                )
            formulas.append(_split(expr, assigned, columns))
        projected = ast.replace(
            query,
            items=tuple(ast.SelectItem(expr) for expr in columns)
            or (ast.SelectItem(ast.Literal(value=1, type=SqlType("int"))),),
        )
        compiled = self.compile(projected, frame)
        yield from self.notices(compiled.context, query.line)
        decode = decoder(compiled.types)
        env = self._evaluator.environment(frame)
        types = compiled.types
        count = 0
        plain = all(isinstance(f, ast.Variable) and f.name.startswith(_COLUMN_VARIABLE) for f in formulas)
        last: tuple[Value, ...] | None = None
        for stored in list(compiled.stored_rows(env)):
            count += 1
            last = decode(stored)
            if not plain:
                self._assign_row(targets, formulas, last, types, env)
        if plain and last is not None:
            self._assign_row(targets, formulas, last, types, env)
        yield Done(Command.SELECT, count)

    @staticmethod
    def _assign_row(
        targets: list[tuple[ast.SelectItem, Any]],
        formulas: list[ast.Expr],
        row: tuple[Value, ...],
        types: list[SqlType],
        env: Environment,
    ) -> None:
        surroundings = RowEnvironment(env, row, types)
        for (_, cell), formula in zip(targets, formulas, strict=True):
            made = evaluate(formula, surroundings)
            cell.value = convert(made.value, made.type, cell.type)


class RowEnvironment:
    """An environment in which the columns of one row are variables, too."""

    def __init__(self, inner: Environment, row: tuple[Value, ...], types: list[SqlType]) -> None:
        self._inner = inner
        self._row = row
        self._types = types

    @property
    def functions(self) -> Any:
        return self._inner.functions

    @property
    def context(self) -> Any:
        return self._inner.context

    def variable(self, name: str) -> TypedValue:
        if name.startswith(_COLUMN_VARIABLE):
            index = int(name[len(_COLUMN_VARIABLE) :])
            return TypedValue(self._row[index], self._types[index])
        return self._inner.variable(name)

    def global_variable(self, name: str) -> TypedValue:
        return self._inner.global_variable(name)


def _split(expr: ast.Expr, assigned: set[str], columns: list[ast.Expr]) -> ast.Expr:
    """``expr`` with every largest part that doesn't depend on ``assigned`` variables made a column of the
    query; such parts are collected in ``columns``."""
    if isinstance(expr, ast.Variable) and expr.name.lower() in assigned:
        return expr
    depends = any(
        isinstance(node, ast.Variable) and node.name.lower() in assigned for node in expressions_of(expr)
    )
    if not depends:
        if isinstance(expr, ast.Literal | ast.Variable | ast.DatePart):
            return expr if not isinstance(expr, ast.Variable) else _column(expr, columns)
        return _column(expr, columns)
    if isinstance(expr, ast.Subquery):
        return _column(expr, columns)
    changes: dict[str, Any] = {}
    for name in ast.field_names(expr):
        value = getattr(expr, name)
        changed = _split_value(value, assigned, columns)
        if changed is not value:
            changes[name] = changed
    return ast.replace(expr, **changes)


def _split_value(value: Any, assigned: set[str], columns: list[ast.Expr]) -> Any:
    if isinstance(value, ast.Expr):
        if isinstance(value, ast.Predicate) and not any(
            isinstance(node, ast.Variable) and node.name.lower() in assigned for node in expressions_of(value)
        ):
            case = ast.Case(
                operand=None,
                whens=((value, ast.Literal(value=1, type=SqlType("int"))),),
                otherwise=ast.Literal(value=0, type=SqlType("int")),
            )
            return ast.Comparison(
                op="=", left=_column(case, columns), right=ast.Literal(value=1, type=SqlType("int"))
            )
        return _split(value, assigned, columns)
    if isinstance(value, tuple) and any(isinstance(v, ast.Expr | tuple) for v in value):
        return tuple(_split_value(v, assigned, columns) for v in value)
    return value


def _column(expr: ast.Expr, columns: list[ast.Expr]) -> ast.Expr:
    columns.append(expr)
    return ast.Variable(name=f"{_COLUMN_VARIABLE}{len(columns) - 1}", line=expr.line)

"""INSERT: with VALUES, a query, EXEC's result sets or DEFAULT VALUES."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.compiler.typed import error
from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.output import OutputRows
from tdsproxy.server.schema import ColumnInfo
from tdsproxy.server.triggers import Watch
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Column, Command, Done, Reply
from tdsproxy.tsql.scalar import NeedsQuery, evaluate
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.compiler.context import Context
    from tdsproxy.server.evaluator import SqliteEvaluator
    from tdsproxy.server.instead_of import Replaced


class _Default:
    """The word DEFAULT in a VALUES row."""

    __slots__ = ()


Row = list[Stored | _Default]


class InsertRunner:
    """INSERT of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._dml = evaluator.dml

    def run(self, statement: ast.Insert, frame: Frame) -> Iterator[Reply]:
        """INSERT with VALUES, a query or DEFAULT VALUES."""
        context = self._evaluator.compilation(frame)
        trigger = self._dml.instead.target(context, statement.target, "INSERT", frame)
        if trigger is not None:
            columns = () if statement.default_values else self.insert_columns(statement, trigger.found)
            rows = partial(self._rows, statement, columns, trigger.found, context, frame)
            yield from self._instead(statement, trigger, columns, rows, frame)
            return
        with sqlite_errors(statement.line):
            found = self._dml.target(context, statement.target)
            named = self._dml.view_columns(context, statement.target, statement.columns)
            statement = ast.replace(statement, columns=named)
            columns = self.insert_columns(statement, found)
        if statement.default_values:
            columns = ()
        rows = partial(self._rows, statement, columns, found, context, frame)
        yield from self._insert_rows(statement, found, columns, rows, context, frame)

    def _rows(
        self,
        statement: ast.Insert,
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
        context: Context,
        frame: Frame,
    ) -> Iterator[Row]:
        """The rows that the statement gives, with the values of ``columns``."""
        if statement.default_values:
            return iter([[]])
        if statement.rows is not None:
            return self._value_rows(statement, columns, found, context, frame)
        return self._query_rows(statement, columns, found, context, frame)

    def _instead(
        self,
        statement: ast.Insert,
        trigger: Replaced,
        columns: tuple[ColumnInfo, ...],
        rows: Callable[[], Iterator[Row]],
        frame: Frame,
    ) -> Iterator[Reply]:
        """INSERT into a table or view with an INSTEAD OF trigger: nothing but the trigger runs."""
        found = trigger.found
        defaults = self.defaults(found, columns, frame)
        everything = tuple(column for column in found.table.columns if column.computed is None)
        places = {column.name: place for place, column in enumerate(columns)}
        made: list[tuple[Stored, ...]] = []
        with self._evaluator.workspace.reading():
            for row in list(rows()):
                values: list[Stored] = []
                for column in everything:
                    value = row[places[column.name]] if column.name in places else _Default()
                    if isinstance(value, _Default):
                        value = (
                            defaults[column]() if column in defaults else self._default_value(column, frame)
                        )
                    values.append(value)
                made.append(tuple(values))
        yield from self._dml.instead.fire(trigger, everything, ([], made), None, frame, statement.line)
        yield Done(Command.INSERT, len(made))

    def results(
        self,
        statement: ast.Insert,
        results: Sequence[tuple[tuple[Column, ...], list[tuple[Value, ...]]]],
        frame: Frame,
    ) -> Iterator[Reply]:
        """INSERT ... EXEC: the result sets that EXEC gave."""
        context = self._evaluator.compilation(frame)
        trigger = self._dml.instead.target(context, statement.target, "INSERT", frame)
        found = self._dml.target(context, statement.target) if trigger is None else trigger.found
        columns = self.insert_columns(statement, found)
        for described, _ in results:
            if len(described) != len(columns):
                raise self._width_error()

        def rows() -> Iterator[Row]:
            for described, values in results:
                types = [column.type for column in described]
                for row in values:
                    yield [
                        self._dml.assigned(value, type_, column, found, statement.line)
                        for value, type_, column in zip(row, types, columns, strict=True)
                    ]

        if trigger is not None:
            yield from self._instead(statement, trigger, columns, rows, frame)
            return
        yield from self._insert_rows(statement, found, columns, rows, context, frame)

    @staticmethod
    def _width_error(line: int = 1) -> SqlError:
        return error(213, "Column name or number of supplied values does not match table definition.", line)

    def _insert_rows(
        self,
        statement: ast.Insert,
        found: FoundTable,
        columns: tuple[ColumnInfo, ...],
        rows: Callable[[], Iterator[Row]],
        context: Context,
        frame: Frame,
    ) -> Iterator[Reply]:
        output = OutputRows.compile(self._evaluator, statement.output, found, frame, inserted=True)
        count = 0
        fired = self._dml.fired(found, "INSERT", statement.output, statement.line, frame)
        watch = Watch(self._evaluator, found, output, fired)
        with (
            self._evaluator.triggers.transaction(bool(fired)),
            self._evaluator.writing(found, statement.line),
        ):
            writer = self._dml.writer(context, found, "INSERT", statement.line)
            defaults = self.defaults(found, columns, frame)
            names = tuple(column.name for column in columns)
            extra = tuple(column.name for column in defaults)
            with self._evaluator.workspace.reads_only():
                pending = list(rows())
            for row in pending:
                given: list[str] = []
                values: list[Stored] = []
                for name, column, value in zip(names, columns, row, strict=True):
                    if isinstance(value, _Default):
                        if column.default is None and (column.identity or column.rowid):
                            continue
                        values.append(self._default_value(column, frame))
                    else:
                        values.append(value)
                    given.append(name)
                for name, make in zip(extra, defaults.values(), strict=True):
                    given.append(name)
                    values.append(make())
                key = writer.insert(tuple(given), values)
                count += 1
                if watch.active:
                    watch.add(None, watch.read(key))
            writer.finish()
            if output is not None:
                output.store(frame)
            self._evaluator.note_identity(writer.last_identity, frame)
            rows_seen = (watch.deleted, watch.inserted)
            yield from self._evaluator.triggers.fire(fired, found, watch.columns, rows_seen, None, frame)
        if output is not None:
            yield from output.replies()
        yield Done(Command.INSERT, count)

    def insert_columns(self, statement: ast.Insert, found: FoundTable) -> tuple[ColumnInfo, ...]:
        """The columns that the statement gives values for. Raises SqlError 109, 110, 207, 213, 264, 271, 273,
        544, 545, 8101."""
        table = found.table
        identity_insert = self._evaluator.identity_insert_on(found)
        if not statement.columns:
            plain = [
                column for column in table.columns if column.writable and column.type.name != "timestamp"
            ]
            wanted = tuple(column for column in plain if not column.identity)
            if identity_insert and statement.rows and len(statement.rows[0]) == len(plain):
                raise error(
                    8101,
                    "An explicit value for the identity column in table"
                    f" '{self._shown(found)}' can only be specified when a column list is used and"
                    " IDENTITY_INSERT is ON.",
                    statement.line,
                )
            if statement.rows is not None:
                width = len(statement.rows[0])
                if width != len(wanted):
                    if width == len(plain) and len(plain) != len(wanted):
                        raise error(
                            8101,
                            "An explicit value for the identity column in table"
                            f" '{self._shown(found)}' can only be specified when a column list is used and"
                            " IDENTITY_INSERT is ON.",
                            statement.line,
                        )
                    raise self._width_error(statement.line)
            return wanted
        made = []
        seen: set[str] = set()
        for name in statement.columns:
            column = table.column(name)
            if column is None:
                raise error(207, f"Invalid column name '{name}'.", statement.line)
            if column.name in seen:
                raise error(
                    264,
                    f"The column name '{name}' is specified more than once in the SET clause or column list"
                    " of an INSERT. A column cannot be assigned more than one value in the same clause.",
                    statement.line,
                )
            seen.add(column.name)
            if column.type.name == "timestamp":
                raise error(
                    273,
                    "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list"
                    " to exclude the timestamp column, or insert a DEFAULT into the timestamp column.",
                    statement.line,
                )
            if not column.writable:
                raise error(
                    271,
                    f'The column "{column.name}" cannot be modified because it is either a computed column or'
                    " is the result of a UNION operator.",
                    statement.line,
                )
            if column.identity and not identity_insert:
                raise SqlError.of(
                    544,
                    16,
                    1,
                    f"Cannot insert explicit value for identity column in table '{table.name}' when"
                    " IDENTITY_INSERT is set to OFF.",
                    statement.line,
                )
            made.append(column)
        if identity_insert and table.identity_column is not None and table.identity_column not in made:
            raise error(
                545,
                f"Explicit value must be specified for identity column in table '{table.name}' either when"
                " IDENTITY_INSERT is set to ON or when a replication user is inserting into a NOT FOR"
                " REPLICATION identity column.",
                statement.line,
            )
        if statement.rows is not None and len(statement.rows[0]) != len(made):
            few = len(statement.rows[0]) < len(made)
            raise error(
                109 if few else 110,
                f"There are {'more' if few else 'fewer'} columns in the INSERT statement than values"
                " specified in the VALUES clause. The number of values in the VALUES clause must match the"
                " number of"
                " columns specified in the INSERT statement.",
                statement.line,
                severity=15,
            )
        return tuple(made)

    @staticmethod
    def _shown(found: FoundTable) -> str:
        return found.table.name

    def defaults(
        self, found: FoundTable, columns: tuple[ColumnInfo, ...], frame: Frame
    ) -> dict[ColumnInfo, Callable[[], Stored]]:
        """The columns that INSERT doesn't name and that have a value all the same."""
        made: dict[ColumnInfo, Callable[[], Stored]] = {}
        named = {column.name for column in columns}
        for column in found.table.columns:
            if column.name in named or not column.writable:
                continue
            if column.default is not None:
                made[column] = self._dml.default_maker(column, frame)
            elif column.type.name == "timestamp":
                made[column] = partial(self._evaluator.next_timestamp, found.schema)
        return made

    def _default_value(self, column: ColumnInfo, frame: Frame) -> Stored:
        if column.default is None:
            return None
        return self._dml.default_maker(column, frame)()

    def _value_rows(
        self,
        statement: ast.Insert,
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
        context: Context,
        frame: Frame,
    ) -> Iterator[Row]:
        env = self._evaluator.environment(frame)
        for row in statement.rows or ():
            if len(row) != len(columns):
                raise error(
                    10709,
                    "The number of columns for each row in a table value constructor must be the same.",
                    statement.line,
                    severity=15,
                )
            made: Row = []
            for expr, column in zip(row, columns, strict=True):
                if expr is None:
                    made.append(_Default())
                    continue
                if isinstance(expr, ast.ColumnRef):
                    raise error(
                        128,
                        f'The name "{expr.parts[-1]}" is not permitted in this context. Valid expressions are'
                        " constants, constant expressions, and (in some contexts) variables. Column names are"
                        " not permitted.",
                        expr.line,
                        severity=15,
                    )
                try:
                    value = evaluate(expr, env)
                except NeedsQuery:
                    value = self._evaluator.scalar(expr, frame)
                made.append(self._dml.assigned(value.value, value.type, column, found, statement.line))
            yield made

    def _query_rows(
        self,
        statement: ast.Insert,
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
        context: Context,
        frame: Frame,
    ) -> Iterator[Row]:
        query = statement.query
        if query is None:
            raise error(102, "Incorrect syntax near 'INSERT'.", statement.line, severity=15)
        if statement.with_:
            query = ast.replace(query, with_=(*statement.with_, *query.with_))
        compiled = self._evaluator.selects.compile(query, frame)
        outputs = compiled.query.columns
        if len(outputs) != len(columns):
            if not statement.columns:
                raise self._width_error(statement.line)
            few = len(outputs) < len(columns)
            raise error(
                120 if few else 121,
                f"The select list for the INSERT statement contains {'fewer' if few else 'more'} items than"
                " the insert list. The number of SELECT values must match the number of INSERT columns.",
                statement.line,
                severity=15,
            )
        converters = [
            self._dml.converter(output.type, column, found, statement.line)
            for output, column in zip(outputs, columns, strict=True)
        ]
        env = self._evaluator.environment(frame)
        limit = None
        if statement.top is not None:
            number = evaluate(statement.top.count, env).value
            limit = number if isinstance(number, int) else None
        for index, stored in enumerate(list(compiled.stored_rows(env))):
            if limit is not None and index >= limit:
                break
            yield [
                raw if convert_ is None else convert_(raw)
                for raw, convert_ in zip(stored, converters, strict=True)
            ]

"""INSERT, UPDATE, DELETE, TRUNCATE: rows are read first, then written one by one in one savepoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.binder import loader
from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.expressions import same_storage
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.typed import Relation, Scope, error
from tdsproxy.server.failures import failed, sqlite_errors
from tdsproxy.server.output import OutputRows
from tdsproxy.server.schema import ColumnInfo, ModuleInfo
from tdsproxy.server.table_writer import RowKey, TableWriter
from tdsproxy.server.workspace import TEMP, quoted
from tdsproxy.store.encoding import Stored, to_storage
from tdsproxy.tsql import ast
from tdsproxy.tsql.conversions import Truncation, assign, convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Column, Command, Done, Reply
from tdsproxy.tsql.scalar import NeedsQuery, evaluate
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

Row = list[Stored]


class DmlRunner:
    """DML of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace

    # ------------------------------------------------------------------ targets

    def target(self, context: Context, name: ast.Name) -> FoundTable:
        """The table that DML names. Raises 208, and 4405 or 4406 for a view that can't be written."""
        compiler = QueryCompiler(context)
        found = compiler.sources.find_table(name)
        if isinstance(found, ModuleInfo) and found.kind == "SN":
            parts = found.text.split("\0")
            padded = [part or None for part in ([""] * 3 + parts)[-3:]]
            return self.target(context, ast.Name(parts[-1], padded[1], padded[0], line=name.line))
        if isinstance(found, ModuleInfo):
            raise error(
                4406,
                f"Update or insert of view or function '{name.object}' failed because it contains a derived"
                " or constant field.",
                name.line,
            )
        if found is None:
            raise compiler.sources.invalid_object(name)
        return found

    def writer(self, context: Context, found: FoundTable, verb: str, line: int) -> TableWriter:
        """A writer for one statement, with the checks that SQLite can't make."""
        if found.schema != TEMP:
            file = self._work.find_database(found.database)
            if file is not None and file.read_only:
                raise SqlError.of(
                    3906,
                    16,
                    1,
                    f'Failed to update database "{file.name}" because the database is read-only.',
                    line,
                )
        checks = []
        if verb != "DELETE":
            for check in found.table.checks:
                if check.native is None and not check.disabled:
                    checks.append((check.name, check.column, self._check(context, found, check.text)))
        objects = context.schema(found.schema)
        return TableWriter(self._work, found, objects, verb, line, checks)

    def _check(self, context: Context, found: FoundTable, text: str) -> Callable[[RowKey], bool]:
        inner = self._evaluator.compilation_like(context)
        compiler = QueryCompiler(inner)
        alias = inner.alias()
        relation = compiler.sources.relation(found, alias, found.table.name)
        scope = Scope(relations=[relation])
        condition = compiler.expressions.predicate(inner.names.parse_predicate(text), scope)
        slots = [inner.parameters.slot() for _ in relation.row_key]
        where = " AND ".join(f"{key} = {sql}" for key, (sql, _) in zip(relation.row_key, slots, strict=True))
        source = f"{found.schema}.{quoted(found.table.sqlite_name)} AS {alias}"
        sql = f"SELECT 1 FROM {source} WHERE {where} AND NOT {condition}"
        values = inner.parameters.values(inner.names.environment)

        def violated(key: RowKey) -> bool:
            for (_, slot), part in zip(slots, key, strict=True):
                values[slot] = part
            return self._work.value(sql, values) is not None

        return violated

    # ------------------------------------------------------------------ INSERT

    def insert(self, statement: ast.Insert, frame: Frame) -> Iterator[Reply]:
        """INSERT with VALUES, a query or DEFAULT VALUES."""
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            found = self.target(context, statement.target)
            columns = self._insert_columns(statement, found)
        if statement.default_values:
            rows: Callable[[], Iterator[list[Stored | _Default]]] = lambda: iter([[]])  # noqa: E731
            columns = ()
        elif statement.rows is not None:
            rows = lambda: self._value_rows(statement, columns, found, context, frame)  # noqa: E731
        else:
            rows = lambda: self._query_rows(statement, columns, found, context, frame)  # noqa: E731
        yield from self._insert_rows(statement, found, columns, rows, context, frame)

    def insert_results(
        self,
        statement: ast.Insert,
        results: Sequence[tuple[tuple[Column, ...], list[tuple[Value, ...]]]],
        frame: Frame,
    ) -> Iterator[Reply]:
        """INSERT ... EXEC: the result sets that EXEC gave."""
        context = self._evaluator.compilation(frame)
        found = self.target(context, statement.target)
        columns = self._insert_columns(statement, found)
        for described, _ in results:
            if len(described) != len(columns):
                raise self._width_error()

        def rows() -> Iterator[list[Stored | _Default]]:
            for described, values in results:
                types = [column.type for column in described]
                for row in values:
                    yield [
                        self.assigned(value, type_, column, found, statement.line)
                        for value, type_, column in zip(row, types, columns, strict=True)
                    ]

        yield from self._insert_rows(statement, found, columns, rows, context, frame)

    @staticmethod
    def _width_error(line: int = 1) -> SqlError:
        return error(213, "Column name or number of supplied values does not match table definition.", line)

    def _insert_rows(
        self,
        statement: ast.Insert,
        found: FoundTable,
        columns: tuple[ColumnInfo, ...],
        rows: Callable[[], Iterator[list[Stored | _Default]]],
        context: Context,
        frame: Frame,
    ) -> Iterator[Reply]:
        output = OutputRows.compile(self._evaluator, statement.output, found, frame, inserted=True)
        count = 0
        with self._evaluator.writing(found, statement.line):
            writer = self.writer(context, found, "INSERT", statement.line)
            writer.lock()
            defaults = self._defaults(found, columns, frame)
            names = tuple(column.name for column in columns)
            extra = tuple(column.name for column in defaults)
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
                if output is not None:
                    output.add(None, output.read(key))
            writer.finish()
            if output is not None:
                output.store(frame)
            self._evaluator.note_identity(writer.last_identity, frame)
        if output is not None:
            yield from output.replies()
        yield Done(Command.INSERT, count)

    def _insert_columns(self, statement: ast.Insert, found: FoundTable) -> tuple[ColumnInfo, ...]:
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
                    f"The column name '{name}' is specified more than once in the SET clause or column list of"
                    " an INSERT. A column cannot be assigned more than one value in the same clause.",
                    statement.line,
                )
            seen.add(column.name)
            if column.type.name == "timestamp":
                raise error(
                    273,
                    "Cannot insert an explicit value into a timestamp column. Use INSERT with a column list to"
                    " exclude the timestamp column, or insert a DEFAULT into the timestamp column.",
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
                f"There are {'more' if few else 'fewer'} columns in the INSERT statement than values specified"
                " in the VALUES clause. The number of values in the VALUES clause must match the number of"
                " columns specified in the INSERT statement.",
                statement.line,
                severity=15,
            )
        return tuple(made)

    @staticmethod
    def _shown(found: FoundTable) -> str:
        return found.table.name

    def _defaults(
        self, found: FoundTable, columns: tuple[ColumnInfo, ...], frame: Frame
    ) -> dict[ColumnInfo, Callable[[], Stored]]:
        """The columns that INSERT doesn't name and that have a value all the same."""
        made: dict[ColumnInfo, Callable[[], Stored]] = {}
        named = {column.name for column in columns}
        for column in found.table.columns:
            if column.name in named or not column.writable:
                continue
            if column.default is not None:
                made[column] = self.default_maker(column, frame)
            elif column.type.name == "timestamp":
                made[column] = self._evaluator.next_timestamp
        return made

    def _default_value(self, column: ColumnInfo, frame: Frame) -> Stored:
        if column.default is None:
            return None
        return self.default_maker(column, frame)()

    def default_maker(self, column: ColumnInfo, frame: Frame) -> Callable[[], Stored]:
        default = column.default
        if default is None:
            return lambda: None
        expr = self._evaluator.default_expression(default.text)
        env = self._evaluator.environment(frame)

        def make() -> Stored:
            try:
                value = evaluate(expr, env)
            except NeedsQuery:
                value = self._evaluator.scalar(expr, frame)
            return to_storage(convert(value.value, value.type, column.type), column.type)

        return make

    def assigned(
        self, value: Value, source: SqlType, column: ColumnInfo, found: FoundTable, line: int
    ) -> Stored:
        """A value as it is stored in ``column``. Raises 2628 with the table's and column's names."""
        try:
            return to_storage(assign(value, source, column.type), column.type)
        except Truncation as cut:
            kept = cut.kept
            if isinstance(kept, bytes):
                kept = "0x" + kept.hex().upper()
            schema = found.table.schema if found.schema != TEMP else "dbo"
            raise failed(
                2628,
                16,
                1,
                f"String or binary data would be truncated in table '{found.database}.{schema}."
                f"{found.table.name}', column '{column.name}'. Truncated value: '{kept}'.",
                line,
            ) from cut

    def _value_rows(
        self,
        statement: ast.Insert,
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
        context: Context,
        frame: Frame,
    ) -> Iterator[list[Stored | _Default]]:
        env = self._evaluator.environment(frame)
        for row in statement.rows or ():
            if len(row) != len(columns):
                raise error(
                    10709,
                    "The number of columns for each row in a table value constructor must be the same.",
                    statement.line,
                    severity=15,
                )
            made: list[Stored | _Default] = []
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
                made.append(self.assigned(value.value, value.type, column, found, statement.line))
            yield made

    def _query_rows(
        self,
        statement: ast.Insert,
        columns: tuple[ColumnInfo, ...],
        found: FoundTable,
        context: Context,
        frame: Frame,
    ) -> Iterator[list[Stored | _Default]]:
        query = statement.query
        if query is None:
            raise error(102, "Incorrect syntax near 'INSERT'.", statement.line, severity=15)
        if statement.with_:
            query = replace(query, with_=(*statement.with_, *query.with_))
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
            self.converter(output.type, column, found, statement.line)
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

    def converter(
        self, source: SqlType, column: ColumnInfo, found: FoundTable, line: int
    ) -> Callable[[Stored], Stored] | None:
        """How a stored value of ``source`` becomes one of ``column``; None when it is the same."""
        if source == column.type or source.name == "null" or same_storage(source, column.type):
            return None
        load = loader(source)

        def run(raw: Stored) -> Stored:
            value = None if raw is None else load(raw)
            return self.assigned(value, source, column, found, line)

        return run

    # ------------------------------------------------------------------ UPDATE

    def update(self, statement: ast.Update, frame: Frame) -> Iterator[Reply]:
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            compiler, scope, source, relation, prefix = self._sources(statement, context)
            found = self._found(relation)
            plan = self._assignments(statement, found, relation, frame)
            context.keys_wanted = False
        output = OutputRows.compile(
            self._evaluator, statement.output, found, frame, inserted=True, deleted=True
        )
        with self._evaluator.writing(found, statement.line):
            writer = self.writer(context, found, "UPDATE", statement.line)
            writer.lock()
            values = []
            for assignment, column in plan:
                expr = assignment.value
                if column is not None and expr is None:
                    expr = (
                        self._evaluator.default_expression(column.default.text)
                        if column.default
                        else ast.Literal(value=None, type=SqlType("null"))
                    )
                if expr is None:
                    raise error(102, "Incorrect syntax near '='.", statement.line, severity=15)
                if assignment.op != "=":
                    left: ast.Expr = (
                        ast.ColumnRef(parts=assignment.column or (column.name,), line=expr.line)
                        if column is not None
                        else ast.Variable(name=assignment.variable or "", line=expr.line)
                    )
                    expr = ast.Binary(op=assignment.op[:-1], left=left, right=expr, line=expr.line)
                values.append(compiler.expressions.value(expr, scope))
            where = (
                f" WHERE {compiler.expressions.predicate(statement.where, scope)}"
                if statement.where is not None
                else ""
            )
            items = ", ".join([*relation.row_key, *(value.sql for value in values)])
            sql = f"{prefix}SELECT {items} FROM {source}{where}{self._top(statement.top, compiler, scope)}"
            env = self._evaluator.environment(frame)
            bindings = context.parameters.values(env)
            stored = self._first_per_key(self._work.run(sql, bindings), len(relation.row_key))
            width = len(relation.row_key)
            converters = [
                None if column is None else self.converter(value.type, column, found, statement.line)
                for (_, column), value in zip(plan, values, strict=True)
            ]
            targets = [index for index, (_, column) in enumerate(plan) if column is not None]
            names = tuple(column.name for _, column in plan if column is not None)
            stamp = next((c for c in found.table.columns if c.type.name == "timestamp"), None)
            changes: list[tuple[RowKey, Row]] = []
            for row in stored:
                converted = [
                    raw if make is None else make(raw)
                    for raw, make in zip(row[width:], converters, strict=True)
                ]
                made = [converted[index] for index in targets]
                if stamp is not None:
                    made.append(self._evaluator.next_timestamp())
                changes.append((row[:width], made))
            if stamp is not None:
                names = (*names, stamp.name)
            if names:
                self._apply(writer, names, changes, output)
            writer.finish()
            if output is not None:
                output.store(frame)
            if stored:
                self._set_variables(plan, values, stored[-1][width:], frame)
        if output is not None:
            yield from output.replies()
        yield Done(Command.UPDATE, len(stored))

    def _apply(
        self,
        writer: TableWriter,
        names: tuple[str, ...],
        changes: list[tuple[RowKey, Row]],
        output: OutputRows | None,
    ) -> None:
        """Writes the changes. T-SQL checks unique keys when all rows are changed, SQLite at each row: a
        statement that shifts keys succeeds in one order of the rows."""
        try:
            with self._work.statement():
                self._apply_in_order(writer, names, changes, output)
        except SqlError as failure:
            if failure.number not in (2627, 2601) or len(changes) < 2:
                raise
            writer.touched.clear()
            if output is not None:
                output.clear()
            with self._work.statement():
                self._apply_in_order(writer, names, changes[::-1], output)

    @staticmethod
    def _apply_in_order(
        writer: TableWriter,
        names: tuple[str, ...],
        changes: list[tuple[RowKey, Row]],
        output: OutputRows | None,
    ) -> None:
        for key, values in changes:
            before = output.read(key) if output is not None else None
            after = writer.update(key, names, values)
            if output is not None:
                output.add(before, output.read(after))

    @staticmethod
    def _set_variables(
        plan: list[tuple[ast.SetColumn, ColumnInfo | None]],
        values: Sequence[object],
        row: Sequence[Stored],
        frame: Frame,
    ) -> None:
        for (assignment, _), value, raw in zip(plan, values, row, strict=True):
            if assignment.variable is None:
                continue
            cell = frame.variables.get(assignment.variable.lower())
            type_ = getattr(value, "type", None)
            if cell is not None and isinstance(type_, SqlType):
                typed = None if raw is None else loader(type_)(raw)
                cell.value = convert(typed, type_, cell.type)

    @staticmethod
    def _first_per_key(rows: Sequence[tuple[object, ...]], width: int) -> list[tuple[Stored, ...]]:
        """Each target row once: a join may find it several times, and the first match wins."""
        seen: set[tuple[object, ...]] = set()
        made: list[tuple[Stored, ...]] = []
        for row in rows:
            key = row[:width]
            if key in seen or None in key:
                continue
            seen.add(key)
            made.append(row)  # type: ignore[arg-type]
        return made

    def _assignments(
        self, statement: ast.Update, found: FoundTable, relation: Relation, frame: Frame
    ) -> list[tuple[ast.SetColumn, ColumnInfo | None]]:
        plan: list[tuple[ast.SetColumn, ColumnInfo | None]] = []
        seen: set[str] = set()
        for assignment in statement.assignments:
            column = None
            if assignment.variable is not None and frame.get(assignment.variable) is None:
                raise error(
                    137,
                    f'Must declare the scalar variable "{assignment.variable}".',
                    statement.line,
                    severity=15,
                )
            if assignment.column is not None:
                name = assignment.column[-1]
                shown = relation.find(name)
                column = found.table.column((shown.base if shown is not None else None) or name)
                if column is None or shown is None:
                    raise error(207, f"Invalid column name '{name}'.", statement.line)
                if shown.base is None and not column.computed:
                    raise error(
                        4406,
                        f"Update or insert of view or function '{relation.name}' failed because it contains a"
                        " derived or constant field.",
                        statement.line,
                    )
                if column.name in seen:
                    raise error(
                        264,
                        f"The column name '{name}' is specified more than once in the SET clause or column list"
                        " of an INSERT. A column cannot be assigned more than one value in the same clause."
                        " Modify the clause to make sure that a column is updated only once. If this statement"
                        " updates or inserts columns into a view, column aliasing can conceal the duplication"
                        " in your code.",
                        statement.line,
                    )
                seen.add(column.name)
                if column.identity is not None:
                    raise error(8102, f"Cannot update identity column '{column.name}'.", statement.line)
                if not column.writable:
                    raise error(
                        271,
                        f'The column "{column.name}" cannot be modified because it is either a computed column'
                        " or is the result of a UNION operator.",
                        statement.line,
                    )
                if column.type.name == "timestamp":
                    raise error(272, "Cannot update a timestamp column.", statement.line)
            plan.append((assignment, column))
        return plan

    def _top(self, top: ast.Top | None, compiler: QueryCompiler, scope: Scope) -> str:
        if top is None:
            return ""
        return f" LIMIT {compiler.expressions.value(top.count, Scope()).sql}"

    @staticmethod
    def _found(relation: Relation) -> FoundTable:
        if not isinstance(relation.table, FoundTable):
            raise error(4418, f"Derived table '{relation.name}' is not updatable.", 1)
        return relation.table

    def _sources(
        self, statement: ast.Update | ast.Delete, context: Context
    ) -> tuple[QueryCompiler, Scope, str, Relation, str]:
        """The FROM of an UPDATE or DELETE and the relation in it that is written."""
        compiler = QueryCompiler(context)
        context.keys_wanted = True
        scope = Scope()
        prefix = ""
        if statement.with_:
            prefix = compiler.common_tables(statement.with_, scope) + " "
        target = statement.target
        if statement.sources:
            source = compiler.sources.compile(statement.sources, scope)
            relation = self._among(target, scope)
            if relation is None:
                own = compiler.sources.compile([ast.TableSource(name=target, line=statement.line)], scope)
                relation = scope.relations[-1]
                source = f"{source} CROSS JOIN {own}"
        else:
            source = compiler.sources.compile([ast.TableSource(name=target, line=statement.line)], scope)
            relation = scope.relations[0]
        if not isinstance(relation.table, FoundTable):
            name = statement.target
            if compiler.sources.find_table(name) is None and scope.common_table(name.object) is None:
                raise compiler.sources.invalid_object(name)
            raise error(
                4418,
                f"Derived table '{relation.name}' is not updatable because a column of the derived table is"
                " derived or constant.",
                statement.line,
            )
        return compiler, scope, source, relation, prefix

    @staticmethod
    def _among(target: ast.Name, scope: Scope) -> Relation | None:
        wanted = target.object.lower()
        if target.schema is None and target.database is None:
            for relation in scope.relations:
                if relation.name.lower() == wanted:
                    return relation
        for relation in scope.relations:
            table = relation.table
            if isinstance(table, FoundTable) and table.table.name.lower() == wanted:
                if target.database and target.database.lower() != table.database.lower():
                    continue
                if target.schema and target.schema.lower() != table.table.schema.lower():
                    continue
                return relation
        return None

    # ------------------------------------------------------------------ DELETE

    def delete(self, statement: ast.Delete, frame: Frame) -> Iterator[Reply]:
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            compiler, scope, source, relation, prefix = self._sources(statement, context)
            context.keys_wanted = False
            found = self._found(relation)
        output = OutputRows.compile(self._evaluator, statement.output, found, frame, deleted=True)
        with self._evaluator.writing(found, statement.line):
            writer = self.writer(context, found, "DELETE", statement.line)
            writer.lock()
            if not statement.sources and statement.where is None and statement.top is None and output is None:
                count = writer.delete_all()
            else:
                where = (
                    f" WHERE {compiler.expressions.predicate(statement.where, scope)}"
                    if statement.where is not None
                    else ""
                )
                items = ", ".join(relation.row_key)
                top = self._top(statement.top, compiler, scope)
                sql = f"{prefix}SELECT {items} FROM {source}{where}{top}"
                bindings = context.parameters.values(self._evaluator.environment(frame))
                keys = self._first_per_key(self._work.run(sql, bindings), len(relation.row_key))
                for key in keys:
                    if output is not None:
                        output.add(output.read(key), None)
                    writer.delete(key)
                count = len(keys)
            writer.finish()
            if output is not None:
                output.store(frame)
        if output is not None:
            yield from output.replies()
        yield Done(Command.DELETE, count)

    def truncate(self, statement: ast.Truncate, frame: Frame) -> Iterator[Reply]:
        context = self._evaluator.compilation(frame)
        compiler = QueryCompiler(context)
        found = compiler.sources.find_table(statement.target)
        if not isinstance(found, FoundTable):
            parts = [p for p in (statement.target.schema, statement.target.object) if p]
            raise error(
                4701,
                f'Cannot find the object "{".".join(parts)}" because it does not exist or you do not have'
                " permissions.",
                statement.line,
            )
        objects = context.schema(found.schema)
        for child, _ in objects.referencing(found.table):
            if child.object_id != found.table.object_id:
                raise error(
                    4712,
                    f"Cannot truncate table '{found.table.name}' because it is being referenced by a FOREIGN"
                    " KEY constraint.",
                    statement.line,
                )
        with self._evaluator.writing(found, statement.line):
            writer = self.writer(context, found, "DELETE", statement.line)
            writer.delete_all()
            self._evaluator.seed_identity(found.schema, found.table)
        yield Done(Command.TRUNCATE_TABLE)


class _Default:
    """The word DEFAULT in a VALUES row."""

    __slots__ = ()

"""UPDATE, DELETE, TRUNCATE, and what all DML shares: rows are read first, then written one by one in one
savepoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.binder import loader
from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.storage_rules import same_storage
from tdsproxy.server.compiler.typed import Relation, Scope, error, stored
from tdsproxy.server.failures import failed, sqlite_errors
from tdsproxy.server.instead_of import InsteadOf
from tdsproxy.server.output import OutputRows
from tdsproxy.server.read_only import read_only
from tdsproxy.server.schema import ColumnInfo, ModuleInfo
from tdsproxy.server.table_writer import RowKey, TableWriter
from tdsproxy.server.triggers import Watch
from tdsproxy.server.workspace import is_temporary, quoted
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast, cursors
from tdsproxy.tsql.conversions import Truncation, assign, convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.scalar import NeedsQuery, evaluate
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import BIGINT, FLOAT, SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

Row = list[Stored]


class DmlRunner:
    """DML of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace
        self.instead = InsteadOf(evaluator, self)

    # ------------------------------------------------------------------ targets

    def target(self, context: Context, name: ast.Name) -> FoundTable:
        """The table that DML names. Raises 208, and 4405 or 4406 for a view that can't be written."""
        compiler = QueryCompiler(context)
        found = compiler.sources.find_table(name)
        if isinstance(found, ModuleInfo) and found.kind == "SN":
            parts = found.text.split("\0")
            padded = [part or None for part in ([""] * 3 + parts)[-3:]]
            return self.target(context, ast.Name(parts[-1], padded[1], padded[0], line=name.line))
        if isinstance(found, ModuleInfo) and found.kind == "V":
            return self._through_view(context, name)[0]
        if isinstance(found, ModuleInfo):
            raise error(
                4406,
                f"Update or insert of view or function '{name.object}' failed because it contains a derived"
                " or constant field.",
                name.line,
            )
        if found is None:
            raise compiler.sources.invalid_object(name)
        self._may_be_written(found, context, name)
        return found

    @staticmethod
    def _may_be_written(found: FoundTable, context: Context, name: ast.Name) -> None:
        """Raises SqlError 10700."""
        if found.table.name.startswith("@") and context.names.is_parameter(found.table):
            raise read_only(name.object, name.line)

    def _through_view(self, context: Context, name: ast.Name) -> tuple[FoundTable, Relation]:
        """The one table behind a view, and the view's columns. Raises 4406 when it has no such table."""
        context.keys_wanted = True
        scope = Scope()
        QueryCompiler(context).sources.compile([ast.TableSource(name=name, line=name.line)], scope)
        context.keys_wanted = False
        relation = scope.relations[0]
        if not isinstance(relation.table, FoundTable):
            raise error(
                4406,
                f"Update or insert of view or function '{name.object}' failed because it contains a derived"
                " or constant field.",
                name.line,
            )
        return relation.table, relation

    def view_columns(self, context: Context, name: ast.Name, columns: tuple[str, ...]) -> tuple[str, ...]:
        """The table's columns behind those that INSERT names of ``name``; the same when it is a table."""
        found = QueryCompiler(context).sources.find_table(name)
        if not (isinstance(found, ModuleInfo) and found.kind == "V"):
            return columns
        table, relation = self._through_view(context, name)
        made = []
        for column in columns or tuple(shown.name for shown in relation.columns):
            shown = relation.find(column)
            if shown is None:
                raise error(207, f"Invalid column name '{column}'.", name.line)
            if shown.base is None:
                raise error(
                    4406,
                    f"Update or insert of view or function '{name.object}' failed because it contains a"
                    " derived or constant field.",
                    name.line,
                )
            own = table.table.column(shown.base)
            if columns or own is None or own.identity is None:
                made.append(shown.base)
        return tuple(made)

    def writer(self, context: Context, found: FoundTable, verb: str, line: int) -> TableWriter:
        """A writer for one statement, with the checks that SQLite can't make."""
        if not is_temporary(found.schema):
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

    # ------------------------------------------------------------------ values

    def assigned(
        self, value: Value, source: SqlType, column: ColumnInfo, found: FoundTable, line: int
    ) -> Stored:
        """A value as it is stored in ``column``. Raises 2628 with the table's and column's names."""
        try:
            return stored(assign(value, source, column.type), column.type)
        except Truncation as cut:
            kept = cut.kept
            if isinstance(kept, bytes):
                kept = "0x" + kept.hex().upper()
            schema = found.table.schema if not is_temporary(found.schema) else "dbo"
            raise failed(
                2628,
                16,
                1,
                f"String or binary data would be truncated in table '{found.database}.{schema}."
                f"{found.table.name}', column '{column.name}'. Truncated value: '{kept}'.",
                line,
            ) from cut

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
            return stored(convert(value.value, value.type, column.type), column.type)

        return make

    # ------------------------------------------------------------------ UPDATE

    def update(self, statement: ast.Update, frame: Frame) -> Iterator[Reply]:
        instead = self.instead.change(statement, "UPDATE", frame)
        if instead is not None:
            yield from instead
            return
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            compiler, scope, source, relation, prefix = self._sources(statement, context)
            found = self._found(relation)
            self._may_be_written(found, context, statement.target)
            plan = self._assignments(statement, found, relation, frame)
            context.keys_wanted = False
        joined = [] if statement.output is None else [r for r in scope.relations if r is not relation]
        output = OutputRows.compile(
            self._evaluator, statement.output, found, frame, inserted=True, deleted=True, extra=joined
        )
        fired = self.fired(found, "UPDATE", statement.output, statement.line, frame)
        watch = Watch(self._evaluator, found, output, fired)
        with (
            self._evaluator.triggers.transaction(bool(fired)),
            self._evaluator.writing(found, statement.line),
        ):
            writer = self.writer(context, found, "UPDATE", statement.line)
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
            where = self._where(statement, compiler, scope, relation, frame)
            items = ", ".join([*relation.row_key, *(value.sql for value in values), *_columns(joined)])
            top = self._top(statement.top, compiler, f"{source}{where}")
            sql = f"{prefix}SELECT {items} FROM {source}{where}{top}"
            env = self._evaluator.environment(frame)
            bindings = context.parameters.values(env)
            with self._work.reads_only():
                matched = self._first_per_key(self._work.run(sql, bindings), len(relation.row_key))
            width = len(relation.row_key)
            watch.joined = [row[width + len(values) :] for row in matched]
            matched = [row[: width + len(values)] for row in matched] if joined else matched
            converters = [
                None if column is None else self.converter(value.type, column, found, statement.line)
                for (_, column), value in zip(plan, values, strict=True)
            ]
            targets = [index for index, (_, column) in enumerate(plan) if column is not None]
            names = tuple(column.name for _, column in plan if column is not None)
            stamp = next((c for c in found.table.columns if c.type.name == "timestamp"), None)
            changes: list[tuple[RowKey, Row]] = []
            for row in matched:
                converted = [
                    raw if make is None else make(raw)
                    for raw, make in zip(row[width:], converters, strict=True)
                ]
                made = [converted[index] for index in targets]
                if stamp is not None:
                    made.append(self._evaluator.next_timestamp(found.schema))
                changes.append((row[:width], made))
            if stamp is not None:
                names = (*names, stamp.name)
            if names:
                self.apply(writer, names, changes, watch)
            writer.finish()
            if output is not None:
                output.store(frame)
            if matched:
                self._set_variables(plan, values, matched[-1][width:], frame)
            yield from self._evaluator.triggers.fire(
                fired,
                found,
                watch.columns,
                (watch.deleted, watch.inserted),
                frozenset(name.lower() for name in names),
                frame,
            )
        if output is not None:
            yield from output.replies()
        yield Done(Command.UPDATE, len(matched))

    def fired(
        self, found: FoundTable, event: str, output: ast.OutputClause | None, line: int, frame: Frame
    ) -> list[ModuleInfo]:
        """The AFTER triggers that the statement fires. Raises SqlError 334."""
        triggers = self._evaluator.triggers.after(found, event, frame)
        if triggers and output is not None and output.into is None:
            raise error(
                334,
                f"The target table '{found.table.name}' of the DML statement cannot have any enabled triggers"
                " if the statement contains an OUTPUT clause without INTO clause.",
                line,
            )
        return triggers

    def apply(
        self,
        writer: TableWriter,
        names: tuple[str, ...],
        changes: list[tuple[RowKey, Row]],
        watch: Watch,
    ) -> None:
        """Writes the changes. T-SQL checks unique keys when all rows are changed, SQLite at each row: a
        statement that exchanges keys fails row by row, and its rows are taken out and put in again."""
        try:
            with self._work.statement():
                self._apply_in_order(writer, names, changes, watch)
        except SqlError as failure:
            if failure.number not in (2627, 2601) or len(changes) < 2 or not writer.may_replace(names):
                raise
            writer.touched.clear()
            watch.clear()
            with self._work.statement():
                before = [watch.read(key) for key, _ in changes] if watch.active else []
                after = writer.replace(names, changes)
                for old, key in zip(before, after, strict=False):
                    watch.add(old, watch.read(key))

    @staticmethod
    def _apply_in_order(
        writer: TableWriter,
        names: tuple[str, ...],
        changes: list[tuple[RowKey, Row]],
        watch: Watch,
    ) -> None:
        for key, values in changes:
            before = watch.read(key) if watch.active else None
            after = writer.update(key, names, values)
            if watch.active:
                watch.add(before, watch.read(after))

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
                        f"The column name '{name}' is specified more than once in the SET clause or column"
                        " list of an INSERT. A column cannot be assigned more than one value in the same"
                        " clause."
                        " Modify the clause to make sure that a column is updated only once. If this"
                        " statement updates or inserts columns into a view, column aliasing can conceal the"
                        " duplication"
                        " in your code.",
                        statement.line,
                    )
                seen.add(column.name)
                self._may_be_set(column, statement.line)
            plan.append((assignment, column))
        return plan

    @staticmethod
    def _where(
        statement: ast.Update | ast.Delete,
        compiler: QueryCompiler,
        scope: Scope,
        relation: Relation,
        frame: Frame,
    ) -> str:
        """The WHERE of an UPDATE or DELETE. Raises SqlError 16916, 16917, 16929, 16931, 16933."""
        if statement.current_of is None:
            if statement.where is None:
                return ""
            return f" WHERE {compiler.expressions.predicate(statement.where, scope)}"
        table, key = cursors.current_key(statement.current_of, frame)
        found = relation.table
        if (
            not isinstance(table, FoundTable)
            or not isinstance(found, FoundTable)
            or (table.schema, table.table.sqlite_name) != (found.schema, found.table.sqlite_name)
        ):
            text = "The cursor does not include the table being modified or the table is not updatable."
            raise SqlError.of(16933, 16, 1, text, statement.line)
        parameters = compiler.context.parameters
        conditions = [
            f"{column} = {parameters.constant(value)}"  # type: ignore[arg-type]
            for column, value in zip(relation.row_key, key, strict=True)
        ]
        return f" WHERE {' AND '.join(conditions)}"

    @staticmethod
    def _may_be_set(column: ColumnInfo, line: int) -> None:
        """Raises SqlError 271, 272, 8102."""
        if column.identity is not None:
            raise error(8102, f"Cannot update identity column '{column.name}'.", line)
        if not column.writable:
            raise error(
                271,
                f'The column "{column.name}" cannot be modified because it is either a computed column or is'
                " the result of a UNION operator.",
                line,
            )
        if column.type.name == "timestamp":
            raise error(272, "Cannot update a timestamp column.", line)

    def updated_columns(
        self, assignments: Sequence[ast.SetColumn], found: FoundTable, line: int
    ) -> tuple[ColumnInfo, ...]:
        """The columns of a table that assignments name. Raises SqlError 207, 271, 272, 8102."""
        made = []
        for assignment in assignments:
            name = (assignment.column or ("",))[-1]
            column = found.table.column(name)
            if column is None:
                raise error(207, f"Invalid column name '{name}'.", line)
            self._may_be_set(column, line)
            made.append(column)
        return tuple(made)

    @staticmethod
    def _top(top: ast.Top | None, compiler: QueryCompiler, rows: str) -> str:
        """The LIMIT for TOP of the ``rows`` of FROM and WHERE. To SQLite a negative one is none at all."""
        if top is None:
            return ""
        expressions = compiler.expressions
        count = expressions.value(top.count, Scope())
        if not top.percent:
            return f" LIMIT max({expressions.converted(count, BIGINT).sql}, 0)"
        percent = expressions.converted(count, FLOAT).sql
        return f" LIMIT (SELECT max(CAST(ceil(count(*) * {percent} / 100.0) AS INTEGER), 0) FROM {rows})"

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
            prefix = compiler.common.compile(statement.with_, scope) + " "
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
        instead = self.instead.change(statement, "DELETE", frame)
        if instead is not None:
            yield from instead
            return
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            compiler, scope, source, relation, prefix = self._sources(statement, context)
            context.keys_wanted = False
            found = self._found(relation)
            self._may_be_written(found, context, statement.target)
        joined = [] if statement.output is None else [r for r in scope.relations if r is not relation]
        output = OutputRows.compile(
            self._evaluator, statement.output, found, frame, deleted=True, extra=joined
        )
        fired = self.fired(found, "DELETE", statement.output, statement.line, frame)
        watch = Watch(self._evaluator, found, output, fired)
        with (
            self._evaluator.triggers.transaction(bool(fired)),
            self._evaluator.writing(found, statement.line),
        ):
            writer = self.writer(context, found, "DELETE", statement.line)
            whole = not (statement.sources or statement.where or statement.top or statement.current_of)
            if whole and not watch.active:
                count = writer.delete_all()
            else:
                where = self._where(statement, compiler, scope, relation, frame)
                items = ", ".join([*relation.row_key, *_columns(joined)])
                top = self._top(statement.top, compiler, f"{source}{where}")
                sql = f"{prefix}SELECT {items} FROM {source}{where}{top}"
                bindings = context.parameters.values(self._evaluator.environment(frame))
                with self._work.reads_only():
                    rows_found = self._first_per_key(self._work.run(sql, bindings), len(relation.row_key))
                width = len(relation.row_key)
                watch.joined = [row[width:] for row in rows_found]
                keys = [row[:width] for row in rows_found]
                for key in keys:
                    if watch.active:
                        watch.add(watch.read(key), None)
                    writer.delete(key)
                count = len(keys)
            writer.finish()
            if output is not None:
                output.store(frame)
            rows = (watch.deleted, watch.inserted)
            yield from self._evaluator.triggers.fire(fired, found, watch.columns, rows, None, frame)
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


def _columns(relations: Sequence[Relation]) -> list[str]:
    return [column.sql for relation in relations for column in relation.columns]

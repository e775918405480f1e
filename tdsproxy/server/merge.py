"""MERGE: what each row of the join asks for is read first, then written as UPDATE, DELETE and INSERT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.typed import Relation, Scope, Typed, error
from tdsproxy.server.failures import failed, sqlite_errors
from tdsproxy.server.output import OutputRows
from tdsproxy.server.schema import ColumnInfo, ModuleInfo
from tdsproxy.server.table_writer import RowKey, TableWriter
from tdsproxy.server.triggers import Watch
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

MATCHED = "MATCHED"
BY_TARGET = "NOT MATCHED"
BY_SOURCE = "NOT MATCHED BY SOURCE"
Convert = Callable[[Stored], Stored]


@dataclass(slots=True)
class _Plan:
    """What one WHEN clause writes: ``columns`` get ``values``; DEFAULT is None."""

    action: ast.MergeAction
    columns: tuple[ColumnInfo, ...] = ()
    values: list[Typed | None] = field(default_factory=list)
    converters: list[Convert | None] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Work:
    """One row's work: the plan, the target's key (empty for INSERT), the values, the source's columns."""

    plan: _Plan
    key: RowKey
    values: tuple[Stored, ...]
    source: tuple[Stored, ...]


class MergeRunner:
    """MERGE statements of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace
        self._dml = evaluator.dml

    def run(self, statement: ast.Merge, frame: Frame) -> Iterator[Reply]:
        context = self._evaluator.compilation(frame)
        made = _Compiled(self._evaluator, statement, context, frame)
        with sqlite_errors(statement.line):
            made.open()
        found = made.found
        kinds = {action.kind for action in statement.actions}
        fired: dict[str, list[ModuleInfo]] = {}
        for event in ("INSERT", "UPDATE", "DELETE"):
            wanted = event in kinds
            fired[event] = (
                self._dml.fired(found, event, statement.output, statement.line, frame) if wanted else []
            )
        output = OutputRows.compile(
            self._evaluator,
            statement.output,
            found,
            frame,
            inserted=True,
            deleted=True,
            extra=made.source_relations,
            action=True,
        )
        watches = {event: Watch(self._evaluator, found, output, fired[event]) for event in fired}
        count = 0
        with (
            self._evaluator.triggers.transaction(any(fired.values())),
            self._evaluator.writing(found, statement.line),
        ):
            with self._work.reads_only(), sqlite_errors(statement.line):
                work = made.work()
            for event in ("UPDATE", "DELETE", "INSERT"):
                rows = [item for item in work if item.plan.action.kind == event]
                if rows:
                    writer = self._dml.writer(context, found, event, statement.line)
                    self._write(event, rows, writer, watches[event], output, found, frame)
                    writer.finish()
                    if event == "INSERT":
                        self._evaluator.note_identity(writer.last_identity, frame)
                count += len(rows)
            if output is not None:
                output.store(frame)
            for event, watch in watches.items():
                rows_seen = (watch.deleted, watch.inserted)
                if watch.deleted or watch.inserted:
                    yield from self._evaluator.triggers.fire(
                        fired[event], found, watch.columns, rows_seen, made.updated, frame
                    )
        if output is not None:
            yield from output.replies()
        yield Done(Command.MERGE, count)

    def _write(
        self,
        event: str,
        rows: Sequence[_Work],
        writer: TableWriter,
        watch: Watch,
        output: OutputRows | None,
        found: FoundTable,
        frame: Frame,
    ) -> None:
        for item in rows:
            if output is not None:
                output.about(event, item.source)
            if event == "DELETE":
                if watch.active:
                    watch.add(watch.read(item.key), None)
                writer.delete(item.key)
                continue
            names = [column.name for column in item.plan.columns]
            values = list(item.values)
            for place, (value, column) in enumerate(zip(item.plan.values, item.plan.columns, strict=True)):
                if value is None:
                    values[place] = self._dml.default_maker(column, frame)()
            if event == "UPDATE":
                before = watch.read(item.key) if watch.active else None
                after = writer.update(item.key, tuple(names), values)
                if watch.active:
                    watch.add(before, watch.read(after))
                continue
            for column, make in self._evaluator.inserts.defaults(found, item.plan.columns, frame).items():
                names.append(column.name)
                values.append(make())
            key = writer.insert(tuple(names), values)
            if watch.active:
                watch.add(None, watch.read(key))


class _Compiled:
    """The queries of one MERGE."""

    def __init__(
        self, evaluator: SqliteEvaluator, statement: ast.Merge, context: Context, frame: Frame
    ) -> None:
        self._evaluator = evaluator
        self._statement = statement
        self._context = context
        self._frame = frame
        self._compiler = QueryCompiler(context)
        self._prefix = ""
        self._common = Scope()
        self.source_relations: list[Relation] = []
        self.updated: frozenset[str] | None = None

    def open(self) -> None:
        """Finds the target and the source's columns. Raises SqlError 208 ..."""
        statement = self._statement
        if statement.with_:
            self._context.keys_wanted = True
            self._prefix = self._compiler.common.compile(statement.with_, self._common) + " "
            self._context.keys_wanted = False
        scope = self._scope()
        self._target(scope)
        relation = scope.relations[0]
        if not isinstance(relation.table, FoundTable):
            raise error(
                4418,
                f"Derived table '{relation.name}' is not updatable because a column of the derived table is"
                " derived or constant.",
                statement.line,
            )
        self.found: FoundTable = relation.table
        scope = self._scope()
        self._compiler.sources.compile((statement.source,), scope)
        self.source_relations = scope.relations
        names = {
            (assignment.column or ("",))[-1].lower()
            for action in statement.actions
            for assignment in action.assignments
        }
        self.updated = frozenset(names)

    def _scope(self, parent: Scope | None = None) -> Scope:
        return Scope(parent=parent, common=dict(self._common.common))

    def _target(self, scope: Scope) -> str:
        """The target's FROM text; its relation is the scope's last."""
        statement = self._statement
        self._context.keys_wanted = True
        try:
            table = ast.TableSource(name=statement.target, alias=statement.alias, line=statement.line)
            return self._compiler.sources.compile((table,), scope)
        finally:
            self._context.keys_wanted = False

    # ------------------------------------------------------------------ the rows

    def work(self) -> list[_Work]:
        """What is to be done, read before anything is written. Raises SqlError 8672."""
        made = [*self._matched(), *self._unmatched_target(), *self._unmatched_source()]
        top = self._statement.top
        if top is not None:
            env = self._evaluator.environment(self._frame)
            scope = self._scope()
            count = self._compiler.expressions.converted(
                self._compiler.expressions.value(top.count, scope), t.BIGINT
            )
            values = self._context.parameters.values(env)
            number = int(str(self._evaluator.workspace.value(f"SELECT {count.sql}", values)))
            made = made[: -(-len(made) * number // 100)] if top.percent else made[:number]
        return made

    def _actions(self, when: str) -> list[ast.MergeAction]:
        return [action for action in self._statement.actions if action.when == when]

    def _matched(self) -> list[_Work]:
        actions = self._actions(MATCHED)
        if not actions:
            return []
        scope = self._scope()
        target = self._target(scope)
        key = scope.relations[-1].row_key
        source = self._compiler.sources.compile((self._statement.source,), scope)
        on = self._compiler.expressions.predicate(self._statement.on, scope)
        found = self._rows(
            actions, scope, key, f"{target} CROSS JOIN {source} WHERE {on}", scope.relations[1:]
        )
        seen: set[RowKey] = set()
        for item in found:
            if item.key in seen:
                raise failed(
                    8672,
                    16,
                    1,
                    "The MERGE statement attempted to UPDATE or DELETE the same row more than once. This"
                    " happens when a target row matches more than one source row. A MERGE statement cannot"
                    " UPDATE/DELETE the same row of the target table multiple times. Refine the ON clause to"
                    " ensure a target row matches at most one source row, or use the GROUP BY clause to group"
                    " the source rows.",
                    self._statement.line,
                )
            seen.add(item.key)
        return found

    def _unmatched_target(self) -> list[_Work]:
        actions = self._actions(BY_TARGET)
        if not actions:
            return []
        scope = self._scope()
        source = self._compiler.sources.compile((self._statement.source,), scope)
        inner = self._scope(scope)
        target = self._target(inner)
        on = self._compiler.expressions.predicate(self._statement.on, inner)
        text = f"{source} WHERE NOT EXISTS (SELECT 1 FROM {target} WHERE {on})"
        return self._rows(actions, scope, (), text, scope.relations)

    def _unmatched_source(self) -> list[_Work]:
        actions = self._actions(BY_SOURCE)
        if not actions:
            return []
        scope = self._scope()
        target = self._target(scope)
        key = scope.relations[-1].row_key
        inner = self._scope(scope)
        source = self._compiler.sources.compile((self._statement.source,), inner)
        on = self._compiler.expressions.predicate(self._statement.on, inner)
        text = f"{target} WHERE NOT EXISTS (SELECT 1 FROM {source} WHERE {on})"
        return self._rows(actions, scope, key, text, [])

    def _rows(
        self,
        actions: Sequence[ast.MergeAction],
        scope: Scope,
        key: tuple[str, ...],
        text: str,
        shown: Sequence[Relation],
    ) -> list[_Work]:
        """The work of the actions of one kind of WHEN, whose rows are those of FROM ``text``."""
        plans = [self._plan(action, scope) for action in actions]
        whens = []
        for number, action in enumerate(actions):
            condition = "1"
            if action.condition is not None:
                condition = self._compiler.expressions.predicate(action.condition, scope)
            whens.append(f"WHEN {condition} THEN {number}")
        which = f"(CASE {' '.join(whens)} END)"
        items = [which, *key]
        for number, plan in enumerate(plans):
            for value in plan.values:
                # An expression of another action must not fail for this row.
                items.append(
                    "NULL"
                    if value is None
                    else value.sql
                    if len(plans) == 1
                    else f"(CASE WHEN {which} = {number} THEN {value.sql} END)"
                )
        source = [column.sql for relation in shown for column in relation.columns]
        sql = f"{self._prefix}SELECT {', '.join([*items, *source])} FROM {text}"
        bindings = self._context.parameters.values(self._evaluator.environment(self._frame))
        made = []
        for row in self._evaluator.workspace.run(sql, bindings):
            if row[0] is not None:
                made.append(self._one(plans, int(str(row[0])), row, len(key)))
        return made

    @staticmethod
    def _one(plans: Sequence[_Plan], number: int, row: tuple[object, ...], keys: int) -> _Work:
        stored: tuple[Stored, ...] = row  # type: ignore[assignment]
        start = 1 + keys
        for plan in plans[:number]:
            start += len(plan.values)
        plan = plans[number]
        values = [
            raw if convert is None else convert(raw)
            for raw, convert in zip(stored[start : start + len(plan.values)], plan.converters, strict=True)
        ]
        everything = 1 + keys + sum(len(other.values) for other in plans)
        return _Work(plan, stored[1 : 1 + keys], tuple(values), stored[everything:])

    def _plan(self, action: ast.MergeAction, scope: Scope) -> _Plan:
        line = self._statement.line
        dml, inserts, found = self._evaluator.dml, self._evaluator.inserts, self.found
        if action.kind == "DELETE":
            return _Plan(action)
        expressions: list[ast.Expr | None]
        if action.kind == "UPDATE":
            columns = dml.updated_columns(action.assignments, found, line)
            expressions = []
            for assignment in action.assignments:
                expr = assignment.value
                if expr is not None and assignment.op != "=":
                    left = ast.ColumnRef(parts=assignment.column or ("",), line=expr.line)
                    expr = ast.Binary(op=assignment.op[:-1], left=left, right=expr, line=expr.line)
                expressions.append(expr)
        else:
            insert = ast.Insert(
                target=self._statement.target,
                columns=action.columns,
                rows=None if action.values is None else (action.values,),
                line=line,
            )
            columns = () if action.values is None else inserts.insert_columns(insert, found)
            expressions = list(action.values or ())
        values = [
            None if expr is None else self._compiler.expressions.value(expr, scope) for expr in expressions
        ]
        converters = [
            None if value is None else dml.converter(value.type, column, found, line)
            for value, column in zip(values, columns, strict=True)
        ]
        return _Plan(action, columns, values, converters)

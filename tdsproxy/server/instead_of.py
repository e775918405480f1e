"""Statements on tables and views that INSTEAD OF triggers take over: their rows are made and not written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.typed import Relation, Scope, error
from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.schema import ColumnInfo, ModuleInfo, TableInfo
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.dml import DmlRunner
    from tdsproxy.server.evaluator import SqliteEvaluator


@dataclass(frozen=True, slots=True)
class Replaced:
    """A table or view, shown as a table, and the trigger that takes its statement over."""

    found: FoundTable
    trigger: ModuleInfo


class InsteadOf:
    def __init__(self, evaluator: SqliteEvaluator, dml: DmlRunner) -> None:
        self._evaluator = evaluator
        self._dml = dml

    def target(self, context: Context, name: ast.Name, event: str, frame: Frame) -> Replaced | None:
        """The trigger that runs instead of ``event`` on what ``name`` means; None without one."""
        if name.object.startswith(("#", "@")):
            return None
        compiler = QueryCompiler(context)
        found = compiler.sources.find_table(name)
        if isinstance(found, FoundTable):
            trigger = self._evaluator.triggers.instead(found.schema, found.table.object_id, event, frame)
            return None if trigger is None else Replaced(found, trigger)
        if not isinstance(found, ModuleInfo) or found.kind != "V" or found.foreign:
            return None
        work = self._evaluator.workspace
        database = work.database(name.database or context.database)
        schema = work.attach(database)
        trigger = self._evaluator.triggers.instead(schema, found.object_id, event, frame)
        if trigger is None:
            return None
        scope = Scope()
        compiler.sources.compile([ast.TableSource(name=name, line=name.line)], scope)
        table = TableInfo(
            found.schema, found.name, found.object_id, found.name, _columns(scope.relations[0], None)
        )
        return Replaced(FoundTable(table, schema, database.name), trigger)

    def fire(
        self,
        replaced: Replaced,
        columns: Sequence[ColumnInfo],
        rows: tuple[Sequence[tuple[Stored, ...]], Sequence[tuple[Stored, ...]]],
        updated: frozenset[str] | None,
        frame: Frame,
        line: int,
    ) -> Iterator[Reply]:
        """Runs the trigger with ``rows`` as deleted and inserted."""
        found = replaced.found
        with self._evaluator.triggers.transaction(True), self._evaluator.writing(found, line):
            yield from self._evaluator.triggers.fire([replaced.trigger], found, columns, rows, updated, frame)

    def change(self, statement: ast.Update | ast.Delete, event: str, frame: Frame) -> Iterator[Reply] | None:
        """An UPDATE or DELETE that a trigger takes over; None when there is none."""
        context = self._evaluator.compilation(frame)
        with sqlite_errors(statement.line):
            name = _behind_alias(statement)
            if name is None:
                return None
            replaced = self.target(context, name, event, frame)
        if replaced is None:
            return None
        return self._change(statement, replaced, context, frame)

    def _change(
        self, statement: ast.Update | ast.Delete, replaced: Replaced, context: Context, frame: Frame
    ) -> Iterator[Reply]:
        compiler = QueryCompiler(context)
        scope = Scope()
        prefix = ""
        if statement.with_:
            prefix = compiler.common.compile(statement.with_, scope) + " "
        target = statement.target
        sources = statement.sources or (ast.TableSource(name=target, line=statement.line),)
        source = compiler.sources.compile(sources, scope)
        relation = next(
            (r for r in scope.relations if r.name.lower() == target.object.lower()), scope.relations[0]
        )
        columns = _columns(relation, replaced.found.table)
        values: list[str] = []
        places: list[tuple[int, ColumnInfo, object]] = []
        if isinstance(statement, ast.Update):
            for assignment in statement.assignments:
                name = (assignment.column or ("",))[-1]
                column = next((c for c in columns if c.name.lower() == name.lower()), None)
                if column is None or assignment.value is None:
                    raise error(207, f"Invalid column name '{name}'.", statement.line)
                expr = assignment.value
                if assignment.op != "=":
                    left = ast.ColumnRef(parts=assignment.column or (name,), line=expr.line)
                    expr = ast.Binary(op=assignment.op[:-1], left=left, right=expr, line=expr.line)
                made = compiler.expressions.converted(compiler.expressions.value(expr, scope), column.type)
                values.append(made.sql)
                places.append((columns.index(column), column, made))
        where = ""
        if statement.where is not None:
            where = f" WHERE {compiler.expressions.predicate(statement.where, scope)}"
        shown = [column.sql for column in relation.columns if column.name in {c.name for c in columns}]
        sql = f"{prefix}SELECT {', '.join([*shown, *values])} FROM {source}{where}"
        bindings = context.parameters.values(self._evaluator.environment(frame))
        with self._evaluator.workspace.reading(), sqlite_errors(statement.line):
            rows = self._evaluator.workspace.run(sql, bindings)
        width = len(columns)
        deleted: list[tuple[Stored, ...]] = [row[:width] for row in rows]  # type: ignore[misc]
        inserted: list[tuple[Stored, ...]] = []
        for row in rows if isinstance(statement, ast.Update) else ():
            new = list(row[:width])
            for (place, _, _), value in zip(places, row[width:], strict=True):
                new[place] = value
            inserted.append(tuple(new))  # type: ignore[arg-type]
        updated = None
        if isinstance(statement, ast.Update):
            updated = frozenset(column.name.lower() for _, column, _ in places)
        yield from self.fire(replaced, columns, (deleted, inserted), updated, frame, statement.line)
        yield Done(Command.UPDATE if isinstance(statement, ast.Update) else Command.DELETE, len(rows))


def _columns(relation: Relation, table: TableInfo | None) -> tuple[ColumnInfo, ...]:
    """The columns that inserted and deleted have: those of a table that are stored, or a view's."""
    if table is not None and table.columns and table.created:
        return tuple(column for column in table.columns if column.computed is None)
    return tuple(
        ColumnInfo(column.name, column.type, True, number)
        for number, column in enumerate(relation.columns, 1)
    )


def _behind_alias(statement: ast.Update | ast.Delete) -> ast.Name | None:
    """The name of the table or view that is changed; None where it is a CTE."""
    target = statement.target
    if target.schema is None and any(
        table.name.lower() == target.object.lower() for table in statement.with_
    ):
        return None
    if target.schema is None:
        waiting: list[ast.Source] = list(statement.sources)
        while waiting:
            source = waiting.pop()
            if isinstance(source, ast.Join):
                waiting += (source.left, source.right)
            elif source.alias is not None and source.alias.lower() == target.object.lower():
                return source.name if isinstance(source, ast.TableSource) else None
    return target

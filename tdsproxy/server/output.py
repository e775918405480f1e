"""The OUTPUT clause of DML."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from tdsproxy.server.compiler.compiled import Output
from tdsproxy.server.compiler.context import Context, FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.typed import BoundColumn, Relation, Scope
from tdsproxy.server.select_run import decoder
from tdsproxy.server.table_writer import RowKey
from tdsproxy.server.workspace import quoted
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Reply, ResultSet, Rows
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

Stored_ = tuple[Stored, ...]


class OutputRows:
    """What OUTPUT yields for the rows of one statement: ``inserted`` and ``deleted`` are parameters of one
    SELECT without FROM, filled in for each row."""

    def __init__(
        self,
        evaluator: SqliteEvaluator,
        clause: ast.OutputClause,
        found: FoundTable,
        frame: Frame,
        *,
        inserted: bool,
        deleted: bool,
        extra: Sequence[Relation] = (),
        action: bool = False,
    ) -> None:
        self._evaluator = evaluator
        self._clause = clause
        self._context: Context = evaluator.compilation(frame)
        self._columns = [column for column in found.table.columns if column.computed is None]
        listed = ", ".join(quoted(column.name) for column in self._columns)
        where = " AND ".join(f"{key if key == 'rowid' else quoted(key)} = ?" for key in found.table.row_key)
        target = f"{found.schema}.{quoted(found.table.sqlite_name)}"
        self._read = f"SELECT {listed} FROM {target} WHERE {where}"
        scope = Scope()
        self._slots: dict[str, list[str]] = {}
        for name, wanted in (("inserted", inserted), ("deleted", deleted)):
            if wanted:
                scope.relations.append(self._relation(name))
        self._extra: list[str] = []
        scope.relations += [self._given(relation, self._extra) for relation in extra]
        self._action = ""
        if action:
            sql, self._action = self._context.parameters.slot()
            scope.relations.append(Relation("", (BoundColumn("$action", sql, t.nvarchar(10), False),)))
        compiler = QueryCompiler(self._context)
        select = ast.Select(items=clause.items)
        self._outputs: list[Output] = compiler.select_list(select, scope)[0]
        self._sql = "SELECT " + ", ".join(output.typed.sql for output in self._outputs)
        self._values = self._context.parameters.values(evaluator.environment(frame))
        self._decode = decoder([output.described().type for output in self._outputs])
        self._rows: list[tuple[Value, ...]] = []
        self._found = found

    @classmethod
    def compile(
        cls,
        evaluator: SqliteEvaluator,
        clause: ast.OutputClause | None,
        found: FoundTable,
        frame: Frame,
        *,
        inserted: bool = False,
        deleted: bool = False,
        extra: Sequence[Relation] = (),
        action: bool = False,
    ) -> OutputRows | None:
        """``extra`` are relations whose columns the clause may name, too, and ``action`` MERGE's $action:
        their values are given to ``about``."""
        if clause is None:
            return None
        return cls(
            evaluator, clause, found, frame, inserted=inserted, deleted=deleted, extra=extra, action=action
        )

    def _given(self, relation: Relation, slots: list[str]) -> Relation:
        """A relation whose columns are parameters."""
        columns = []
        for column in relation.columns:
            sql, key = self._context.parameters.slot()
            slots.append(key)
            columns.append(BoundColumn(column.name, sql, column.type, True, collation=column.collation))
        return Relation(relation.name, tuple(columns), relation.qualifiers)

    def about(self, action: str, extra: Stored_) -> None:
        """What the next row that is added comes from."""
        if self._action:
            self._values[self._action] = action
        for place, key in enumerate(self._extra):
            self._values[key] = extra[place] if place < len(extra) else None

    def _relation(self, name: str) -> Relation:
        columns = []
        slots = []
        for column in self._columns:
            sql, key = self._context.parameters.slot()
            slots.append(key)
            columns.append(
                BoundColumn(
                    column.name,
                    sql,
                    column.type,
                    column.nullable,
                    identity=column.identity is not None,
                    updatable=True,
                )
            )
        self._slots[name] = slots
        return Relation(name, tuple(columns))

    def read(self, key: RowKey) -> Stored_:
        """The row as it is now."""
        rows = self._evaluator.workspace.run(self._read, key)
        return rows[0]  # type: ignore[return-value]

    def add(self, deleted: Stored_ | None, inserted: Stored_ | None) -> None:
        """One row of the statement, before and after."""
        for name, row in (("deleted", deleted), ("inserted", inserted)):
            slots = self._slots.get(name)
            if slots is not None:
                self._values.update(zip(slots, row or (None,) * len(slots), strict=True))
        for made in self._evaluator.workspace.run(self._sql, self._values):
            self._rows.append(self._decode(made))  # type: ignore[arg-type]

    def clear(self) -> None:
        self._rows.clear()

    def store(self, frame: Frame) -> None:
        """OUTPUT INTO: writes the rows to the target."""
        into = self._clause.into
        if into is None:
            return
        statement = ast.Insert(target=into, columns=self._clause.into_columns)
        described = tuple(output.described() for output in self._outputs)
        for _reply in self._evaluator.inserts.results(statement, [(described, self._rows)], frame):
            continue

    def replies(self) -> Iterator[Reply]:
        if self._clause.into is not None:
            return
        described = tuple(replace(output.described(), identity=False) for output in self._outputs)
        yield ResultSet(described)
        if self._rows:
            yield Rows(self._rows)

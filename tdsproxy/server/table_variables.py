"""Table variables: tables of SQLite's temp schema that live as long as their frame and survive ROLLBACK."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

import apsw

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.metadata import Metadata
from tdsproxy.server.schema import TableInfo
from tdsproxy.server.table_sql import create_table
from tdsproxy.server.workspace import TEMP, Workspace, quoted
from tdsproxy.tsql.state import Frame, TableVariable

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

_KEY = "table_variables"
_SHARED = "table_parameters"
"""Those of a caller, which has passed them as arguments."""


class TableVariables:
    """The table variables of all frames of a session."""

    def __init__(self, workspace: Workspace, evaluator: SqliteEvaluator) -> None:
        self._work = workspace
        self._evaluator = evaluator
        self._numbers = itertools.count(1)
        self._live: dict[str, TableInfo] = {}
        self._left: list[str] = []
        workspace.on_rollback.append(self._keep)

    def table(self, name: str, frame: Frame) -> TableInfo | None:
        """The table behind ``@name`` in ``frame``, made when it is first asked for."""
        declared = frame.tables.get(name.lower())
        if declared is None:
            return None
        shared = frame.storage.get(_SHARED)
        passed = shared.get(name.lower()) if isinstance(shared, dict) else None
        if isinstance(passed, TableInfo):
            return passed
        made = frame.storage.setdefault(_KEY, {})
        if not isinstance(made, dict):
            raise TypeError("a frame's table variables are kept as a dict")
        table = made.get(name.lower())
        if not isinstance(table, TableInfo):
            table = self._create(declared, frame)
            made[name.lower()] = table
        return table

    def share(self, variable: str, source: str, caller: Frame, inner: Frame) -> None:
        """Makes ``variable`` of ``inner`` the same table as ``source`` of ``caller``, which keeps it."""
        table = self.table(source, caller)
        if table is None:
            return
        inner.tables[variable.lower()] = caller.tables[source.lower()]
        shared = inner.storage.setdefault(_SHARED, {})
        if isinstance(shared, dict):
            shared[variable.lower()] = table

    @staticmethod
    def is_shared(table: TableInfo, frame: Frame) -> bool:
        """Whether the caller has passed the table as an argument."""
        shared = frame.storage.get(_SHARED)
        return isinstance(shared, dict) and any(table is passed for passed in shared.values())

    def found(self, name: str, frame: Frame) -> FoundTable | None:
        table = self.table(name, frame)
        return None if table is None else FoundTable(table, TEMP, "tempdb")

    def _create(self, declared: TableVariable, frame: Frame) -> TableInfo:
        sqlite_name = f"{declared.name}#{next(self._numbers)}"
        builder = self._evaluator.table_builder("dbo", declared.name, sqlite_name, frame, 1)
        builder.columns(declared.columns)
        for constraint in declared.constraints:
            builder.constraint(constraint)
        table = builder.table
        self._work.run(create_table(table, TEMP))
        seed = table.identity_column
        if seed is not None and seed.identity is not None and seed.rowid and seed.identity.seed != 1:
            self._evaluator.seed_identity(TEMP, table)
        self._live[sqlite_name] = table
        return table

    def leave(self, frame: Frame) -> None:
        """Drops the frame's table variables."""
        made = frame.storage.pop(_KEY, None)
        if isinstance(made, dict):
            for table in made.values():
                if isinstance(table, TableInfo):
                    self._live.pop(table.sqlite_name, None)
                    self._left.append(table.sqlite_name)
        self._drop()

    def drop_later(self, sqlite_name: str) -> None:
        """Drops a temporary table as soon as SQLite allows it."""
        self._left.append(sqlite_name)
        self._drop()

    def _drop(self) -> None:
        """Drops what was left behind. SQLite drops nothing while a query reads: what a function called by a
        query leaves waits for the next occasion."""
        while self._left:
            try:
                self._work.run(f"DROP TABLE IF EXISTS {TEMP}.{quoted(self._left[-1])}")
            except apsw.LockedError:
                return
            self._left.pop()

    def _keep(self) -> Callable[[], None]:
        """Before a rollback: remembers rows; what it returns puts them back."""
        kept: list[tuple[TableInfo, list[tuple[object, ...]], int | None, object]] = []
        for table in self._live.values():
            target = f"{TEMP}.{quoted(table.sqlite_name)}"
            names = ", ".join(quoted(c.name) for c in table.columns if c.computed is None)
            rows = self._work.run(f"SELECT {names} FROM {target} ORDER BY rowid")
            last = Metadata(self._work, TEMP).last_identity(table.sqlite_name)
            sequence = None
            if any(column.rowid and column.identity for column in table.columns):
                sequence = self._work.value(
                    f"SELECT seq FROM {TEMP}.sqlite_sequence WHERE name = ?", (table.sqlite_name,)
                )
            kept.append((table, rows, last, sequence))

        def restore() -> None:
            for table, rows, last, sequence in kept:
                target = f"{TEMP}.{quoted(table.sqlite_name)}"
                exists = self._work.value(
                    f"SELECT 1 FROM {TEMP}.sqlite_schema WHERE name = ?", (table.sqlite_name,)
                )
                if exists is None:
                    self._work.run(create_table(table, TEMP))
                self._work.run(f"DELETE FROM {target}")
                names = [quoted(c.name) for c in table.columns if c.computed is None]
                places = ", ".join("?" * len(names))
                for row in rows:
                    self._work.run(f"INSERT INTO {target} ({', '.join(names)}) VALUES ({places})", row)
                if last is not None:
                    Metadata(self._work, TEMP).save_identity(table.sqlite_name, last)
                if sequence is not None:
                    self._work.run(f"DELETE FROM {TEMP}.sqlite_sequence WHERE name = ?", (table.sqlite_name,))
                    self._work.run(
                        f"INSERT INTO {TEMP}.sqlite_sequence VALUES (?, ?)", (table.sqlite_name, sequence)
                    )

        return restore

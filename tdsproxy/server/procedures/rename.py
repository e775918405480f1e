"""sp_rename: tables, columns, indexes, constraints and modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.metadata import Metadata, now_text
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.schema import DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.schema_reader import sqlite_name_of
from tdsproxy.server.workspace import quoted
from tdsproxy.tsql import ast
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_CAUTION: Final = "Caution: Changing any part of an object name could break scripts and stored procedures."


def _rename(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_rename", "@objname @newname @objtype", arguments)
    old, new = given.text("@objname") or "", given.text("@newname") or ""
    kind = (given.text("@objtype") or "OBJECT").upper()
    if kind == "DATABASE":
        text = f"ALTER DATABASE {_bracketed(old)} MODIFY NAME = {_bracketed(new)}"
        batch = session.evaluator.parse(text, frame)
        inner = Frame(frame.session, frame.options.copy(), frame.kind, text=text, parent=frame)
        yield from session.evaluator.execute(batch.statements[0], inner)
        return 0

    def work() -> Iterator[Reply]:
        Renamer(session, old, new, kind).run()
        yield Message(15477, 0, 1, _CAUTION)

    yield from session.evaluator.sql.run(work, frame)
    return 0


class Renamer:
    def __init__(self, session: Session, old: str, new: str, kind: str) -> None:
        self._session = session
        self._old = old
        self._new = new
        self._kind = kind
        self._sql = session.evaluator.sql
        self._work = session.workspace
        self._schema = self._work.schema_of(session.database)
        self._objects: DatabaseSchema = session.evaluator.objects(session.database)
        self._metadata = Metadata(self._work, self._schema)

    def run(self) -> None:
        """Raises SqlError 15225, 15335."""
        change = self._change()
        self._session.rights.require_definition("ALTER", self._session.database)
        with self._sql.changing(self._schema, self._session.database, 1):
            change()

    def _change(self) -> Callable[[], None]:
        name = split_name(self._old)
        if self._kind in ("COLUMN", "INDEX"):
            return self._part(self._table(ast.Name(name.schema or "", name.database)), name.object)
        table = self._table(name)
        if table is not None:
            self._must_be_free(table.schema)
            return lambda: self._rename_table(table)
        module = self._objects.module(name.schema or "dbo", name.object)
        if module is not None:
            self._must_be_free(module.schema)
            return lambda: self._module(module)
        for owner in self._objects.tables.values():
            if owner.constraint(name.object) is not None:
                return lambda: self._constraint(owner, name.object)
        raise self._missing()

    def _part(self, table: TableInfo | None, old: str) -> Callable[[], None]:
        if table is None:
            raise self._missing()
        if self._kind == "COLUMN" and table.column(old) is not None:
            if table.column(self._new) is not None:
                raise self._taken("COLUMN")
            return lambda: self._column(table, old)
        if self._kind == "INDEX" and any(i.name.lower() == old.lower() for i in table.indexes):
            return lambda: self._index(table, old)
        raise self._missing()

    def _table(self, name: ast.Name) -> TableInfo | None:
        return self._objects.table(name.schema or "dbo", name.object)

    def _must_be_free(self, schema: str) -> None:
        if self._objects.table(schema, self._new) or self._objects.module(schema, self._new):
            raise self._taken("OBJECT")

    def _missing(self) -> SqlError:
        return SqlError.of(
            15225,
            11,
            1,
            f"No item by the name of '{self._old}' could be found in the current database"
            f" '{self._session.database}', given that @itemtype was input as"
            f" '{'(null)' if self._kind == 'OBJECT' else self._kind}'.",
        )

    def _taken(self, kind: str) -> SqlError:
        return SqlError.of(
            15335,
            11,
            1,
            f"Error: The new name '{self._new}' is already in use as a {kind} name and would cause a"
            " duplicate that is not permitted.",
        )

    # ------------------------------------------------------------------ what is renamed

    def _save(self, table: TableInfo) -> None:
        self._metadata.save_table(replace(table, known=True, modified=now_text()))

    def _rename_table(self, table: TableInfo) -> None:
        made = sqlite_name_of(table.schema, self._new)
        self._work.run(f"ALTER TABLE {self._schema}.{quoted(table.sqlite_name)} RENAME TO {quoted(made)}")
        last = self._metadata.last_identity(table.sqlite_name)
        if last is not None:
            self._metadata.save_identity(table.sqlite_name, None)
            self._metadata.save_identity(made, last)
        self._save(replace(table, name=self._new, sqlite_name=made))
        for child, _ in self._objects.referencing(table):
            if child.object_id != table.object_id:
                keys = tuple(
                    replace(key, referenced_table=made)
                    if key.referenced_table.lower() == table.sqlite_name.lower()
                    else key
                    for key in child.foreign_keys
                )
                self._save(replace(child, foreign_keys=keys))

    def _column(self, table: TableInfo, old: str) -> None:
        column = table.column(old)
        if column is not None and column.computed is None:
            self._work.run(
                f"ALTER TABLE {self._schema}.{quoted(table.sqlite_name)}"
                f" RENAME COLUMN {quoted(column.name)} TO {quoted(self._new)}"
            )

        def named(name: str) -> str:
            return self._new if name.lower() == old.lower() else name

        self._save(
            replace(
                table,
                columns=tuple(replace(c, name=named(c.name)) for c in table.columns),
                keys=tuple(
                    replace(k, columns=tuple((named(n), down) for n, down in k.columns)) for k in table.keys
                ),
                indexes=tuple(
                    replace(
                        i,
                        columns=tuple((named(n), down) for n, down in i.columns),
                        include=tuple(map(named, i.include)),
                    )
                    for i in table.indexes
                ),
                foreign_keys=tuple(
                    replace(f, columns=tuple(map(named, f.columns))) for f in table.foreign_keys
                ),
            )
        )

    def _index(self, table: TableInfo, old: str) -> None:
        self._save(
            replace(
                table,
                indexes=tuple(
                    replace(i, name=self._new) if i.name.lower() == old.lower() else i for i in table.indexes
                ),
            )
        )

    def _constraint(self, table: TableInfo, old: str) -> None:
        lowered = old.lower()
        self._save(
            replace(
                table,
                keys=tuple(
                    replace(k, name=self._new) if k.name.lower() == lowered else k for k in table.keys
                ),
                checks=tuple(
                    replace(c, name=self._new) if c.name.lower() == lowered else c for c in table.checks
                ),
                foreign_keys=tuple(
                    replace(f, name=self._new) if f.name.lower() == lowered else f for f in table.foreign_keys
                ),
                columns=tuple(
                    replace(c, default=replace(c.default, name=self._new))
                    if c.default is not None and c.default.name.lower() == lowered
                    else c
                    for c in table.columns
                ),
            )
        )

    def _module(self, module: ModuleInfo) -> None:
        self._metadata.save_module(replace(module, name=self._new, modified=now_text()))


def _bracketed(name: str) -> str:
    return "[" + split_name(name).object.replace("]", "]]") + "]"


PROCEDURES: Final[dict[str, SystemProcedure]] = {"sp_rename": _rename}

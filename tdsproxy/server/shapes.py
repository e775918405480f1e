"""What the catalog shows as tables and is stored otherwise: the columns of views, and what tempdb holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.schema import BUILT_IN_SCHEMAS, ColumnInfo, DatabaseSchema, ModuleInfo, TableInfo
from tdsproxy.server.workspace import TEMP
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator
    from tdsproxy.tsql.state import Frame

_NAME_LENGTH: Final = 116
"""How long SQL Server makes the name of a #table before the digits that tell those of sessions apart."""


class Shapes:
    """Of one session. A view's columns are bound once for each state of its database's objects."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._views: dict[str, tuple[DatabaseSchema, tuple[TableInfo, ...]]] = {}

    def views(self, database: str, frame: Frame) -> tuple[TableInfo, ...]:
        """The views of a database, each in the form of a table. One that can't be bound has no columns."""
        objects = self._evaluator.objects(database)
        kept = self._views.get(database.lower())
        if kept is not None and kept[0] is objects:
            return kept[1]
        with self._evaluator.reader.nested():
            made = tuple(
                TableInfo(view.schema, view.name, view.object_id, "", self._columns(view, database, frame))
                for view in objects.modules.values()
                if view.kind == "V"
            )
        self._views[database.lower()] = (objects, made)
        return made

    def _columns(self, view: ModuleInfo, database: str, frame: Frame) -> tuple[ColumnInfo, ...]:
        context = self._evaluator.compilation(frame)
        context.database = database
        if view.foreign:
            return ()
        try:
            query, names = context.names.view_query(view)
            compiled = QueryCompiler(context).query(query)
        except SqlError:
            return ()
        found = []
        for place, output in enumerate(compiled.columns):
            described = output.described()
            type_ = described.type if described.type.name != "null" else t.INT
            name = names[place] if place < len(names) else output.name
            found.append(ColumnInfo(name, type_, described.nullable, place + 1))
        return tuple(found)

    def temporary(self) -> DatabaseSchema:
        """tempdb as this session sees it: its #tables under the names that the catalog gives them, and every
        ##table."""
        tables: dict[tuple[str, str], TableInfo] = {}
        reader = self._evaluator.reader
        for schema in (TEMP, self._evaluator.workspace.global_temp()):
            for table in reader.read(schema).tables.values():
                if not table.name.startswith("#"):
                    continue
                name = table.name
                if not name.startswith("##"):
                    name = f"{name.ljust(_NAME_LENGTH, '_')}{table.object_id & 0xFFFFFFFFFFFF:012X}"
                tables["dbo", name.lower()] = replace(table, schema="dbo", name=name)
        return DatabaseSchema(tables, {}, BUILT_IN_SCHEMAS)

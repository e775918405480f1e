"""DDL on tables, indexes, views, modules and schemas."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from tdsproxy.server.alter import AlterRunner
from tdsproxy.server.compiler.collations import collation_of
from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.sources import bound_column
from tdsproxy.server.compiler.typed import Relation, Scope, error
from tdsproxy.server.definitions import TableBuilder
from tdsproxy.server.frame_names import parse_predicate, temp_scope
from tdsproxy.server.metadata import Metadata, now_text
from tdsproxy.server.plain_sql import native_check
from tdsproxy.server.read_only import check_table_parameters
from tdsproxy.server.schema import DatabaseSchema, IndexInfo, KeyInfo, ModuleInfo, TableInfo
from tdsproxy.server.schema_reader import sqlite_name_of
from tdsproxy.server.sequences import value_name
from tdsproxy.server.table_sql import create_index, create_table
from tdsproxy.server.triggers import parsed_trigger
from tdsproxy.server.workspace import GLOBAL, TEMP, is_temporary, quoted
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.replies import Command, Done, Message, Reply
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType

if TYPE_CHECKING:
    from tdsproxy.server.evaluator import SqliteEvaluator

_DML_EVENTS: Final = frozenset({"INSERT", "UPDATE", "DELETE"})
_KIND_WORDS: Final = {
    "TABLE": ("U", "table"),
    "VIEW": ("V", "view"),
    "PROCEDURE": ("P", "procedure"),
    "FUNCTION": ("FN", "function"),
    "TRIGGER": ("TR", "trigger"),
    "SYNONYM": ("SN", "synonym"),
    "SEQUENCE": ("SO", "sequence object"),
    "TYPE": ("TT", "type"),
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an object goes: the attached schema, the database, the T-SQL schema (or #scope) that owns it,
    its name in the file and the id that it gets."""

    schema: str
    database: str
    owner: str
    sqlite_name: str
    object_id: int


class DdlRunner:
    """DDL of one session."""

    def __init__(self, evaluator: SqliteEvaluator) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace
        self.alter = AlterRunner(evaluator, self)

    def handlers(self) -> dict[type[ast.Statement], Callable[[Any, Frame], Iterator[Reply]]]:
        return {
            ast.CreateTable: self.create_table,
            ast.AlterTable: self.alter.run,
            ast.CreateIndex: self.create_index,
            ast.DropIndex: self.drop_index,
            ast.AlterIndex: self.alter_index,
            ast.CreateView: self.create_view,
            ast.CreateProcedure: self.create_procedure,
            ast.CreateFunction: self.create_function,
            ast.CreateTrigger: self.create_trigger,
            ast.CreateSchema: self.create_schema,
            ast.CreateSynonym: self.create_synonym,
            ast.DropObject: self.drop,
        }

    # ------------------------------------------------------------------ places

    def place(self, name: ast.Name, frame: Frame, kind: str = "U") -> Place:
        """Where an object called ``name`` would be made."""
        if name.object.startswith("##"):
            schema = self._work.global_temp()
            return Place(schema, "tempdb", "#0", name.object, self._new_id(schema, kind, "#0", name.object))
        if name.object.startswith("#"):
            scope = temp_scope(frame)
            suffix = "" if scope == "#0" else scope
            sqlite_name = f"{name.object}{suffix}"
            return Place(TEMP, "tempdb", scope, sqlite_name, self._new_id(TEMP, kind, scope, name.object))
        database = name.database or self._evaluator.host.database(frame)
        if database.lower() == "tempdb":
            return Place(TEMP, "tempdb", "#0", name.object, self._new_id(TEMP, kind, "#0", name.object))
        file = self._work.database(database)
        if file.read_only:
            raise SqlError.of(
                3906, 16, 1, f'Failed to update database "{file.name}" because the database is read-only.'
            )
        schema = self._work.attach(file)
        owner = name.schema or "dbo"
        objects = self._evaluator.reader.read(schema)
        for known in objects.schemas:
            if known.name.lower() == owner.lower():
                owner = known.name
                break
        else:
            raise error(
                2760,
                f'The specified schema name "{owner}" either does not exist or you do not have permission to'
                " use it.",
                name.line,
            )
        return Place(
            schema,
            file.name,
            owner,
            sqlite_name_of(owner, name.object),
            self._new_id(schema, kind, owner, name.object),
        )

    def _new_id(self, schema: str, kind: str, owner: str, name: str) -> int:
        from tdsproxy.server.schema import object_id_of

        metadata = Metadata(self._work, schema)
        if metadata.exists():
            return metadata.new_id(kind, owner, name)
        return object_id_of(kind, owner, name)

    def must_be_new(self, place: Place, name: ast.Name, line: int) -> None:
        """Raises 2714 when the name is taken."""
        objects = self._evaluator.reader.read(place.schema)
        if objects.table(place.owner, name.object) or objects.module(place.owner, name.object):
            raise error(
                2714,
                f"There is already an object named '{name.object}' in the database.",
                line,
                state=6,
            )

    def objects(self, place: Place) -> DatabaseSchema:
        return self._evaluator.reader.read(place.schema)

    # ------------------------------------------------------------------ tables

    def builder(
        self, schema: str, name: str, sqlite_name: str, frame: Frame, line: int, object_id: int = 0
    ) -> TableBuilder:
        return TableBuilder(
            schema,
            name,
            sqlite_name,
            resolve=lambda type_name: self._evaluator.host.resolve_type(type_name, frame),
            computed=lambda table, expr: self._computed(table, expr, frame),
            parent=lambda parent: self._parent(parent, frame),
            line=line,
            object_id=object_id,
        )

    def builder_of(self, table: TableInfo, frame: Frame, line: int) -> TableBuilder:
        return TableBuilder.of(
            table,
            resolve=lambda type_name: self._evaluator.host.resolve_type(type_name, frame),
            computed=lambda made, expr: self._computed(made, expr, frame),
            parent=lambda parent: self._parent(parent, frame),
            line=line,
        )

    def _computed(self, table: TableInfo, expr: ast.Expr, frame: Frame) -> tuple[SqlType, bool]:
        context = self._evaluator.compilation(frame)
        columns = tuple(bound_column(column, "r0") for column in table.columns if column.computed is None)
        scope = Scope(relations=[Relation(table.name, columns)])
        made = QueryCompiler(context).expressions.value(expr, scope)
        return made.described("").type, made.nullable

    def _parent(self, name: ast.Name, frame: Frame) -> TableInfo | None:
        found = QueryCompiler(self._evaluator.compilation(frame)).sources.find_table(name)
        return found.table if isinstance(found, FoundTable) else None

    def create_table(self, statement: ast.CreateTable, frame: Frame) -> Iterator[Reply]:
        name = statement.name
        place = self.place(name, frame)
        with self._evaluator.changing(place.schema, place.database, statement.line):
            self.must_be_new(place, name, statement.line)
            builder = self.builder(
                place.owner, name.object, place.sqlite_name, frame, statement.line, place.object_id
            )
            builder.columns(statement.columns)
            for constraint in statement.constraints:
                builder.constraint(constraint)
            for definition in statement.indexes:
                builder.index(
                    definition, self._index_name(place.schema, builder.table, definition.name or "ix")
                )
            self._constraint_names_free(place, builder.table, statement.line)
            self.create(builder.table, place)
        yield Done(Command.CREATE_TABLE)

    def _constraint_names_free(self, place: Place, table: TableInfo, line: int) -> None:
        if is_temporary(place.schema):
            return
        taken = {
            item.name.lower()
            for other in self.objects(place).tables.values()
            if other.object_id != table.object_id and other.schema.lower() == table.schema.lower()
            for item in other.constraints()
        }
        for item in table.constraints():
            if item.name.lower() in taken:
                raise error(
                    2714,
                    f"There is already an object named '{item.name}' in the database.",
                    line,
                    state=5,
                )

    def create(self, table: TableInfo, place: Place) -> None:
        """Makes the table with its indexes and its metadata."""
        self._work.run(create_table(table, place.schema))
        for index in table.indexes:
            self.make_index(table, index, place.schema)
        Metadata(self._work, place.schema).save_table(table)
        self._evaluator.seed_identity(place.schema, table)
        if place.schema == GLOBAL:
            self._evaluator.global_tables.add(table.sqlite_name)

    def make_index(self, table: TableInfo, index: IndexInfo, schema: str) -> None:
        where = native_check(parse_predicate(index.where), table.columns) if index.where else None
        computed = {column.name for column in table.columns if column.computed is not None}
        if any(name in computed for name, _ in index.columns):
            index = replace(
                index,
                unique=False,
                columns=tuple(pair for pair in index.columns if pair[0] not in computed),
            )
            if not index.columns:
                first = next(column for column in table.columns if column.computed is None)
                index = replace(index, columns=((first.name, False),))
        self._work.run(create_index(table, index, schema, where))

    def _index_name(self, schema: str, table: TableInfo, name: str) -> str:
        """A name for SQLite, where index names are per database: the T-SQL name when it is free."""
        candidate = name
        number = 0
        while self._work.value(
            f"SELECT 1 FROM {schema}.sqlite_schema WHERE name = ? COLLATE NOCASE", (candidate,)
        ):
            number += 1
            candidate = f"{name}.{table.sqlite_name}" + (f".{number}" if number > 1 else "")
        return candidate

    # ------------------------------------------------------------------ indexes

    def table_of(self, name: ast.Name, frame: Frame) -> FoundTable | None:
        found = QueryCompiler(self._evaluator.compilation(frame)).sources.find_table(name)
        return found if isinstance(found, FoundTable) else None

    def create_index(self, statement: ast.CreateIndex, frame: Frame) -> Iterator[Reply]:
        found = self.table_of(statement.table, frame)
        shown = ".".join(p for p in (statement.table.schema, statement.table.object) if p)
        if found is None:
            raise error(
                1088,
                f'Cannot find the object "{shown}" because it does not exist or you do not have permissions.',
                statement.line,
                state=12,
            )
        definition = statement.index
        name = definition.name or "index"
        if any(index.name.lower() == name.lower() for _, index in found.table.numbered_indexes):
            raise error(
                1913,
                "The operation failed because an index or statistics with name"
                f" '{name}' already exists on table '{shown}'.",
                statement.line,
            )
        if definition.clustered and any(i.clustered for _, i in found.table.numbered_indexes):
            existing = next(i for _, i in found.table.numbered_indexes if i.clustered)
            raise error(
                1902,
                f"Cannot create more than one clustered index on table '{shown}'. Drop the existing clustered"
                f" index '{existing.name}' before creating another.",
                statement.line,
                state=3,
            )
        with self._evaluator.changing(found.schema, found.database, statement.line):
            builder = self.builder_of(found.table, frame, statement.line)
            made = builder.index(definition, self._index_name(found.schema, found.table, name))
            if made.unique and not made.where:
                self.no_duplicates(found, made, statement.line)
            self.make_index(builder.table, made, found.schema)
            Metadata(self._work, found.schema).save_table(replace(builder.table, known=True))
        yield Done(Command.CREATE_INDEX)

    def no_duplicates(self, found: FoundTable, unique: IndexInfo | KeyInfo, line: int) -> None:
        """Raises 1505 when rows are equal under the columns' collations."""
        columns = [
            column
            for name, _ in unique.columns
            if (column := found.table.column(name)) is not None and column.computed is None
        ]
        keys = [
            quoted(c.name) + (f" COLLATE {collation_of(c.collation or '')}" if c.type.is_character else "")
            for c in columns
        ]
        if not keys:
            return
        target = f"{found.schema}.{quoted(found.table.sqlite_name)}"
        listed = ", ".join(keys)
        rows = self._work.run(
            f"SELECT {', '.join(quoted(c.name) for c in columns)}, count(*) OVER (PARTITION BY {listed})"
            f" AS n, row_number() OVER (PARTITION BY {listed}) AS k FROM {target}"
            " ORDER BY n DESC, k DESC LIMIT 1"
        )
        if rows and int(str(rows[0][-2])) > 1:
            shown = ", ".join("<NULL>" if value is None else str(value) for value in rows[0][:-2])
            schema = "dbo" if is_temporary(found.schema) else found.table.schema
            raise error(
                1505,
                "The CREATE UNIQUE INDEX statement terminated because a duplicate key was found for the"
                f" object name '{schema}.{found.table.name}' and the index name '{unique.name}'. The"
                f" duplicate key value is ({shown}).",
                line,
            )

    def drop_index(self, statement: ast.DropIndex, frame: Frame) -> Iterator[Reply]:
        for name, table_name in statement.items:
            found = self.table_of(table_name, frame)
            shown = ".".join(p for p in (table_name.schema, table_name.object) if p)
            index = None
            if found is not None:
                index = next(
                    (i for _, i in found.table.numbered_indexes if i.name.lower() == name.lower()), None
                )
            if found is None or index is None:
                if statement.if_exists:
                    continue
                raise SqlError.of(
                    3701,
                    11,
                    7,
                    f"Cannot drop the index '{shown}.{name}', because it does not exist or you do not have"
                    " permission.",
                    statement.line,
                )
            if isinstance(index, KeyInfo):
                kind = "PRIMARY KEY" if index.primary else "UNIQUE KEY"
                raise error(
                    3723,
                    f"An explicit DROP INDEX is not allowed on index '{shown}.{name}'. It is being used for"
                    f" {kind} constraint enforcement.",
                    statement.line,
                    state=4,
                )
            with self._evaluator.changing(found.schema, found.database, statement.line):
                self._work.run(f"DROP INDEX {found.schema}.{quoted(index.sqlite_name)}")
                kept = tuple(i for i in found.table.indexes if i is not index)
                if found.table.known:
                    Metadata(self._work, found.schema).save_table(replace(found.table, indexes=kept))
        yield Done(Command.DROP_INDEX)

    def alter_index(self, statement: ast.AlterIndex, frame: Frame) -> Iterator[Reply]:
        if self.table_of(statement.table, frame) is None:
            shown = ".".join(p for p in (statement.table.schema, statement.table.object) if p)
            raise error(
                1088,
                f'Cannot find the object "{shown}" because it does not exist or you do not have permissions.',
                statement.line,
                state=9,
            )
        yield Done(Command.NONE)

    # ------------------------------------------------------------------ modules

    def create_view(self, statement: ast.CreateView, frame: Frame) -> Iterator[Reply]:
        context = self._evaluator.compilation(frame)
        compiled = QueryCompiler(context).query(statement.query)
        QueryCompiler.column_names(statement.columns, compiled.columns, statement.name.object, statement.line)
        self._save_module(statement, "V", frame)
        yield Done(Command.CREATE_VIEW)

    def create_procedure(self, statement: ast.CreateProcedure, frame: Frame) -> Iterator[Reply]:
        self._check_tables(statement, frame)
        self._save_module(statement, "P", frame)
        yield Done(Command.CREATE_PROCEDURE)

    def create_function(self, statement: ast.CreateFunction, frame: Frame) -> Iterator[Reply]:
        kind = "FN" if statement.returns is not None else "IF" if statement.query is not None else "TF"
        self._check_tables(statement, frame)
        self._save_module(statement, kind, frame)
        yield Done(Command.NONE)

    def _check_tables(self, statement: ast.CreateProcedure | ast.CreateFunction, frame: Frame) -> None:
        types = self._evaluator.types
        check_table_parameters(
            statement.parameters, statement.body, lambda name: types.table("", name.name, frame) is not None
        )

    def create_trigger(self, statement: ast.CreateTrigger, frame: Frame) -> Iterator[Reply]:
        """A DML trigger. Others are refused: one that is accepted and never fires would lose what it was to
        keep."""
        if statement.table.object in ("DATABASE", "ALL SERVER") or not _DML_EVENTS.issuperset(
            statement.events
        ):
            raise error(
                40510,
                "Statement 'CREATE TRIGGER' is not supported in this version of SQL Server.",
                statement.line,
            )
        found = QueryCompiler(self._evaluator.compilation(frame)).sources.find_table(statement.table)
        view = isinstance(found, ModuleInfo) and found.kind == "V"
        parent = found.table if isinstance(found, FoundTable) else found
        shown = ".".join(p for p in (statement.table.schema, statement.table.object) if p)
        if (
            parent is None
            or (isinstance(parent, ModuleInfo) and not view)
            or shown.startswith(("#", "@"))
            or (view and statement.timing == "AFTER")
        ):
            raise error(
                8197,
                f"The object '{shown}' does not exist or is invalid for this operation.",
                statement.line,
                state=4,
            )
        if statement.name.schema is None:
            statement = ast.replace(statement, name=ast.replace(statement.name, schema=parent.schema))
        if statement.timing == "INSTEAD OF":
            self._one_instead_of(statement, parent, shown, frame)
        self._save_module(statement, "TR", frame, parent.object_id)
        yield Done(Command.NONE)

    def _one_instead_of(
        self, statement: ast.CreateTrigger, parent: TableInfo | ModuleInfo, shown: str, frame: Frame
    ) -> None:
        objects = self._evaluator.reader.read(self._work.schema_of(self._evaluator.host.database(frame)))
        for module in objects.modules.values():
            if module.kind != "TR" or module.parent_id != parent.object_id:
                continue
            other = parsed_trigger(module.text, module.quoted_identifier)
            common = [event for event in statement.events if event in other.events]
            if (
                other.timing == "INSTEAD OF"
                and common
                and other.name.object.lower() != (statement.name.object.lower())
            ):
                raise error(
                    2111,
                    f"Cannot create trigger '{statement.name.object}' on table '{shown}' because an"
                    f" INSTEAD OF {common[0]} trigger already exists on this object.",
                    statement.line,
                )

    def _save_module(
        self,
        statement: ast.CreateView | ast.CreateProcedure | ast.CreateFunction | ast.CreateTrigger,
        kind: str,
        frame: Frame,
        parent_id: int = 0,
    ) -> None:
        name = statement.name
        place = self.place(name, frame, kind)
        objects = self.objects(place)
        existing = objects.module(place.owner, name.object)
        functions = ("FN", "IF", "TF")
        same = existing is not None and (
            existing.kind == kind or (existing.kind in functions and kind in functions)
        )
        taken = objects.table(place.owner, name.object) is not None or existing is not None
        line = statement.line
        if taken and (statement.alter or statement.or_alter) and not same:
            raise SqlError.of(
                2010,
                16,
                1,
                f"Cannot perform alter on '{name.object}' because it is an incompatible object type.",
                line,
            )
        if taken and not (statement.alter or statement.or_alter):
            raise SqlError.of(
                2714, 16, 3, f"There is already an object named '{name.object}' in the database.", line
            )
        if statement.alter and existing is None:
            shown = ".".join(part for part in (name.schema, name.object) if part)
            raise SqlError.of(208, 16, 6, f"Invalid object name '{shown}'.", line)
        now = now_text()
        module = ModuleInfo(
            place.owner,
            existing.name if existing is not None else name.object,
            existing.object_id if existing is not None else place.object_id,
            kind,
            statement.text,
            existing.created if existing is not None else now,
            now,
            parent_id,
            frame.options.quoted_identifier,
            frame.options.ansi_nulls,
        )
        with self._evaluator.changing(place.schema, place.database, line):
            Metadata(self._work, place.schema).save_module(module)
        if place.schema == GLOBAL:
            self._evaluator.global_tables.add(module.name)

    def create_schema(self, statement: ast.CreateSchema, frame: Frame) -> Iterator[Reply]:
        file = self._work.database(self._evaluator.host.database(frame))
        schema = self._work.attach(file)
        if self._evaluator.reader.read(schema).has_schema(statement.name):
            raise error(
                2714,
                f"There is already an object named '{statement.name}' in the database.",
                statement.line,
                state=6,
            )
        with self._evaluator.changing(schema, file.name, statement.line):
            Metadata(self._work, schema).add_schema(statement.name)
        yield Done(Command.PARSE_ERROR)

    def create_synonym(self, statement: ast.CreateSynonym, frame: Frame) -> Iterator[Reply]:
        name, target = statement.name, statement.target
        place = self.place(name, frame, "SN")
        self.must_be_new(place, name, statement.line)
        text = "\0".join((target.database or "", target.schema or "", target.object))
        now = now_text()
        module = ModuleInfo(place.owner, name.object, place.object_id, "SN", text, now, now)
        with self._evaluator.changing(place.schema, place.database, statement.line):
            Metadata(self._work, place.schema).save_module(module)
        yield Done(Command.NONE)

    # ------------------------------------------------------------------ DROP

    def drop(self, statement: ast.DropObject, frame: Frame) -> Iterator[Reply]:
        failures: list[Message] = []
        for name in statement.names:
            try:
                if statement.kind == "SCHEMA":
                    self._drop_schema(name, statement, frame)
                elif statement.kind == "TABLE":
                    self._drop_table(name, statement, frame)
                else:
                    self._drop_module(name, statement, frame)
            except BatchAborted:
                raise
            except SqlError as failure:  # the others in the list are dropped all the same
                failures += failure.messages
        if failures:
            raise SqlError(*failures)
        command = {
            "TABLE": Command.DROP_TABLE,
            "VIEW": Command.DROP_VIEW,
            "PROCEDURE": Command.DROP_PROCEDURE,
            "SCHEMA": Command.PARSE_ERROR,
        }.get(statement.kind, Command.NONE)
        yield Done(command)

    def _missing(self, name: ast.Name, statement: ast.DropObject) -> SqlError:
        word = _KIND_WORDS.get(statement.kind, ("", statement.kind.lower()))[1]
        shown = ".".join(part for part in (name.database, name.schema, name.object) if part)
        return SqlError.of(
            3701,
            11,
            5,
            f"Cannot drop the {word} '{shown}', because it does not exist or you do not have permission.",
            statement.line,
        )

    def _drop_table(self, name: ast.Name, statement: ast.DropObject, frame: Frame) -> None:
        found = self.table_of(name, frame)
        if found is None:
            if statement.if_exists:
                return
            raise self._missing(name, statement)
        objects = self._evaluator.reader.read(found.schema)
        for child, key in objects.referencing(found.table):
            if child.object_id != found.table.object_id:
                raise SqlError.of(
                    3726,
                    16,
                    1,
                    f"Could not drop object '{'.'.join(p for p in (name.schema, name.object) if p)}' because"
                    " it is referenced by a FOREIGN KEY constraint.",
                    statement.line,
                )
            del key
        with self._evaluator.changing(found.schema, found.database, statement.line):
            self._work.run(f"DROP TABLE {found.schema}.{quoted(found.table.sqlite_name)}")
            metadata = Metadata(self._work, found.schema)
            if metadata.exists():
                metadata.drop_object(found.table.object_id)
                metadata.save_identity(found.table.sqlite_name, None)

    def _drop_module(self, name: ast.Name, statement: ast.DropObject, frame: Frame) -> None:
        kind = _KIND_WORDS.get(statement.kind, ("", ""))[0]
        kinds = {"FN": ("FN", "IF", "TF"), "TT": ("TT", "ST")}.get(kind, (kind,))
        file = self._work.find_database(name.database or self._evaluator.host.database(frame))
        module = None
        schema = ""
        if name.object.startswith("#"):
            temporary = self._evaluator.temp_module(name.object, frame)
            if temporary is not None:
                with self._evaluator.changing(temporary[0], "tempdb", statement.line):
                    Metadata(self._work, temporary[0]).drop_object(temporary[1].object_id)
                return
        elif file is not None:
            schema = self._work.attach(file)
            module = self._evaluator.reader.read(schema).module(name.schema or "dbo", name.object)
        if file is None or module is None or module.kind not in kinds:
            other = module.kind if module is not None else None
            if other is None and self.table_of(name, frame) is not None:
                other = "U"
            if other is not None and not (module is None and statement.if_exists):
                word = _word_of(other)
                raise SqlError.of(
                    3705,
                    16,
                    1,
                    f"Cannot use DROP {statement.kind} with '{name.object}' because '{name.object}' is a"
                    f" {word}. Use DROP {word.upper()}.",
                    statement.line,
                )
            if statement.if_exists:
                return
            raise self._missing(name, statement)
        with self._evaluator.changing(schema, file.name, statement.line):
            if module.foreign:
                self._work.run(f"DROP VIEW {schema}.{quoted(sqlite_name_of(module.schema, module.name))}")
            else:
                metadata = Metadata(self._work, schema)
                metadata.drop_object(module.object_id)
                if module.kind == "SO":
                    metadata.save_identity(value_name(module), None)

    def _drop_schema(self, name: ast.Name, statement: ast.DropObject, frame: Frame) -> None:
        file = self._work.database(self._evaluator.host.database(frame))
        schema = self._work.attach(file)
        objects = self._evaluator.reader.read(schema)
        own = {known for _, known in Metadata(self._work, schema).schemas()}
        match = next((known for known in own if known.lower() == name.object.lower()), None)
        if match is None:
            if statement.if_exists:
                return
            raise SqlError.of(
                15151,
                16,
                1,
                f"Cannot drop the schema '{name.object}', because it does not exist or you do not have"
                " permission.",
                statement.line,
            )
        for owner, inside in [*objects.tables, *objects.modules]:
            if owner == match.lower():
                raise error(
                    3729,
                    f"Cannot drop schema '{match}' because it is being referenced by object '{inside}'.",
                    statement.line,
                )
        with self._evaluator.changing(schema, file.name, statement.line):
            Metadata(self._work, schema).drop_schema(match)


def _word_of(kind: str) -> str:
    return dict(_KIND_WORDS.values()).get(kind, "function")

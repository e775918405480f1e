"""ALTER TABLE: by SQLite's own statement where it has one, else by rebuilding the table.

A rebuild follows SQLite's procedure for changes that ALTER TABLE doesn't know (lang_altertable, section 7):
foreign keys deferred, a new table, the rows copied, the old table dropped, the new one renamed, indexes
made again, foreign keys checked, all in one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import apsw
from msgspec.structs import replace

from tdsproxy.server.compiler.context import FoundTable
from tdsproxy.server.compiler.queries import QueryCompiler
from tdsproxy.server.compiler.typed import Scope, error
from tdsproxy.server.failures import StatementTerminated, failed
from tdsproxy.server.metadata import Metadata, now_text
from tdsproxy.server.schema import CheckInfo, ColumnInfo, DefaultInfo, ForeignKeyInfo, KeyInfo, TableInfo
from tdsproxy.server.table_sql import create_table
from tdsproxy.server.workspace import is_temporary, quoted, text_literal
from tdsproxy.store.encoding import Stored
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Message, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.ddl import DdlRunner
    from tdsproxy.server.evaluator import SqliteEvaluator

_SCRATCH = "__tds_rebuild"


class AlterRunner:
    def __init__(self, evaluator: SqliteEvaluator, ddl: DdlRunner) -> None:
        self._evaluator = evaluator
        self._work = evaluator.workspace
        self._ddl = ddl

    def run(self, statement: ast.AlterTable, frame: Frame) -> Iterator[Reply]:
        found = self._ddl.table_of(statement.name, frame)
        if found is None:
            shown = ".".join(p for p in (statement.name.schema, statement.name.object) if p)
            raise error(
                4902,
                f'Cannot find the object "{shown}" because it does not exist or you do not have permissions.',
                statement.line,
            )
        with self._evaluator.changing(found.schema, found.database, statement.line):
            action = statement.action
            match action:
                case ast.AddColumns():
                    self._add(found, action, frame, statement.line)
                case ast.DropColumns():
                    self._drop_columns(found, action, statement.line)
                case ast.AlterColumn():
                    self._alter_column(found, action, frame, statement.line)
                case ast.DropConstraints():
                    self._drop_constraints(found, action, statement.line)
                case ast.SwitchConstraints():
                    self._switch(found, action, statement.line)
        yield Done(Command.ALTER_TABLE)

    # ------------------------------------------------------------------ ADD

    def _add(self, found: FoundTable, action: ast.AddColumns, frame: Frame, line: int) -> None:
        builder = self._ddl.builder_of(found.table, frame, line)
        before = found.table
        for definition in action.columns:
            if before.column(definition.name) is not None:
                raise error(
                    2705,
                    f"Column names in each table must be unique. Column name '{definition.name}' in table"
                    f" '{before.name}' is specified more than once.",
                    line,
                    state=4,
                )
        added = builder.columns(action.columns)
        for constraint in action.constraints:
            if constraint.name and before.constraint(constraint.name):
                raise StatementTerminated(
                    Message(
                        2714,
                        16,
                        5,
                        f"There is already an object named '{constraint.name}' in the database.",
                        line,
                    ),
                    Message(1750, 16, 1, "Could not create constraint or index. See previous errors.", line),
                )
            builder.constraint(constraint)
        after = builder.table
        values: dict[str, list[Stored] | Stored] = {}
        count = int(str(self._work.value(f"SELECT count(*) FROM {self._target(found)}")))
        for column in added:
            made = after.column(column.name) or column
            values[made.name] = self._first_values(made, count, frame, line, after, found.schema)
        if not action.with_check:
            old = {check.name for check in before.checks}
            after = replace(
                after,
                checks=tuple(c if c.name in old else replace(c, native=None) for c in after.checks),
            )
        elif not added:
            self._new_checks_hold(found, before, after, frame, line)
        self._uniques_hold(found, before, after, line)
        self.rebuild(found, after, values)
        identity = next((column.identity for column in added if column.identity), None)
        if identity is not None:
            last = identity.seed + identity.increment * (count - 1) if count else None
            self._evaluator.seed_identity(found.schema, after, last)
        if action.with_check:
            self._foreign_keys_hold(found, before, after, line)

    def _first_values(
        self, column: ColumnInfo, count: int, frame: Frame, line: int, table: TableInfo, schema: str
    ) -> list[Stored] | Stored:
        """What existing rows get in a new column: its default when it may not be NULL."""
        if not count or column.computed is not None:
            return None
        if column.identity is not None:
            seed, step = column.identity.seed, column.identity.increment
            return [seed + step * number for number in range(count)]
        if column.type.name == "timestamp":
            return [self._evaluator.next_timestamp(schema) for _ in range(count)]
        if column.nullable:
            return None
        if column.default is None:
            raise error(
                4901,
                "ALTER TABLE only allows columns to be added that can contain nulls, or have a DEFAULT"
                " definition specified, or the column being added is an identity or timestamp column, or"
                " alternatively if none of the previous conditions are satisfied the table must be empty to"
                f" allow addition of this column. Column '{column.name}' cannot be added to non-empty table"
                f" '{table.name}' because it does not satisfy these conditions.",
                line,
            )
        return self._evaluator.dml.default_maker(column, frame)()

    def _new_checks_hold(
        self, found: FoundTable, before: TableInfo, after: TableInfo, frame: Frame, line: int
    ) -> None:
        old = {check.name for check in before.checks}
        for check in after.checks:
            if check.name in old:
                continue
            context = self._evaluator.compilation(frame)
            compiler = QueryCompiler(context)
            alias = context.alias()
            relation = compiler.sources.relation(found, alias, found.table.name)
            condition = compiler.expressions.predicate(
                context.names.parse_predicate(check.text), Scope(relations=[relation])
            )
            sql = f"SELECT 1 FROM {self._target(found)} AS {alias} WHERE NOT {condition} LIMIT 1"
            if self._work.value(sql, context.parameters.values(context.names.environment)) is not None:
                raise self._alter_conflict("CHECK", check.name, found, found.table, check.column, line)

    def _foreign_keys_hold(self, found: FoundTable, before: TableInfo, after: TableInfo, line: int) -> None:
        old = {key.name for key in before.foreign_keys}
        added = [key for key in after.foreign_keys if key.name not in old]
        if not added:
            return
        rows = self._work.run(
            f"SELECT fkid FROM pragma_foreign_key_check(?, {text_literal(found.schema)}) LIMIT 1",
            (after.sqlite_name,),
        )
        if not rows:
            return
        key = added[-1]
        objects = self._evaluator.reader.read(found.schema)
        parent = next(
            (t for t in objects.tables.values() if t.sqlite_name.lower() == key.referenced_table.lower()),
            after,
        )
        raise self._alter_conflict("FOREIGN KEY", key.name, found, parent, key.referenced_columns[0], line)

    @staticmethod
    def _alter_conflict(
        kind: str, name: str, found: FoundTable, table: TableInfo, column: str | None, line: int
    ) -> SqlError:
        tail = f", column '{column}'" if column else ""
        shown = table.name if is_temporary(found.schema) else f"{table.schema}.{table.name}"
        return SqlError.of(
            547,
            16,
            0,
            f'The ALTER TABLE statement conflicted with the {kind} constraint "{name}". The conflict occurred'
            f' in database "{found.database}", table "{shown}"{tail}.',
            line,
        )

    def _uniques_hold(self, found: FoundTable, before: TableInfo, after: TableInfo, line: int) -> None:
        old = {key.name for key in before.keys}
        for key in after.keys:
            if key.name not in old and all(before.column(name) for name, _ in key.columns):
                if key.primary:
                    for name, _ in key.columns:
                        column = before.column(name)
                        if column is not None and column.nullable:
                            raise StatementTerminated(
                                Message(
                                    8111,
                                    16,
                                    1,
                                    f"Cannot define PRIMARY KEY constraint on nullable column in table"
                                    f" '{after.name}'.",
                                    line,
                                ),
                                Message(
                                    1750,
                                    16,
                                    0,
                                    "Could not create constraint or index. See previous errors.",
                                    line,
                                ),
                            )
                try:
                    self._ddl.no_duplicates(found, key, line)
                except SqlError as failure:
                    raise StatementTerminated(
                        *failure.messages,
                        Message(
                            1750, 16, 1, "Could not create constraint or index. See previous errors.", line
                        ),
                    ) from failure

    # ------------------------------------------------------------------ DROP

    def _drop_columns(self, found: FoundTable, action: ast.DropColumns, line: int) -> None:
        table = found.table
        dropped: set[str] = set()
        for name in action.names:
            column = table.column(name)
            if column is None:
                if action.if_exists:
                    continue
                raise error(
                    4924,
                    f"ALTER TABLE DROP COLUMN failed because column '{name}' does not exist in table"
                    f" '{table.name}'.",
                    line,
                )
            self._not_needed(table, column, line, "DROP COLUMN")
            dropped.add(column.name)
        kept = tuple(column for column in table.columns if column.name not in dropped)
        if not kept:
            raise error(
                4923,
                "ALTER TABLE DROP COLUMN failed because"
                f" '{table.columns[0].name}' is the only data column in table '{table.name}'. A table must"
                " have at least one data column.",
                line,
            )
        self.rebuild(found, replace(table.with_columns(kept), modified=now_text()), {})

    @staticmethod
    def _not_needed(table: TableInfo, column: ColumnInfo, line: int, action: str) -> None:
        """Raises 5074 with 4922 when a constraint or index depends on the column."""
        lowered = column.name.lower()
        needing: list[tuple[str, str]] = []
        needing += [
            ("object", key.name) for key in table.keys if lowered in {n.lower() for n, _ in key.columns}
        ]
        needing += [
            ("index", index.name)
            for index in table.indexes
            if lowered in {n.lower() for n, _ in index.columns} | {n.lower() for n in index.include}
        ]
        needing += [
            ("object", key.name) for key in table.foreign_keys if lowered in {n.lower() for n in key.columns}
        ]
        needing += [("object", check.name) for check in table.checks if check.column == column.name]
        if column.default is not None and action == "DROP COLUMN":
            needing.append(("object", column.default.name))
        if needing:
            raise StatementTerminated(
                *(
                    Message(5074, 16, 1, f"The {kind} '{name}' is dependent on column '{column.name}'.", line)
                    for kind, name in needing
                ),
                Message(
                    4922,
                    16,
                    9,
                    f"ALTER TABLE {action} {column.name} failed because one or more objects access this"
                    " column.",
                    line,
                ),
            )

    def _drop_constraints(self, found: FoundTable, action: ast.DropConstraints, line: int) -> None:
        table = found.table
        objects = self._evaluator.reader.read(found.schema)
        for name in action.names:
            constraint = table.constraint(name)
            if constraint is None:
                if action.if_exists:
                    continue
                raise StatementTerminated(
                    Message(3728, 16, 1, f"'{name}' is not a constraint.", line),
                    Message(3727, 16, 0, "Could not drop constraint. See previous errors.", line),
                )
            match constraint:
                case KeyInfo():
                    columns = {part.lower() for part, _ in constraint.columns}
                    for child, key in objects.referencing(table):
                        if {part.lower() for part in key.referenced_columns} == columns:
                            raise StatementTerminated(
                                Message(
                                    3725,
                                    16,
                                    0,
                                    f"The constraint '{constraint.name}' is being referenced by table"
                                    f" '{child.name}', foreign key constraint '{key.name}'.",
                                    line,
                                ),
                                Message(3727, 16, 0, "Could not drop constraint. See previous errors.", line),
                            )
                    kept = tuple(key for key in table.keys if key is not constraint)
                    table = replace(table, keys=kept)
                    if constraint.primary:
                        table = replace(table, columns=tuple(replace(c, rowid=False) for c in table.columns))
                case ForeignKeyInfo():
                    table = replace(
                        table, foreign_keys=tuple(k for k in table.foreign_keys if k is not constraint)
                    )
                case CheckInfo():
                    table = replace(table, checks=tuple(c for c in table.checks if c is not constraint))
                case DefaultInfo():
                    table = replace(
                        table,
                        columns=tuple(
                            replace(c, default=None) if c.default is constraint else c for c in table.columns
                        ),
                    )
        self.rebuild(found, replace(table, modified=now_text()), {})

    def _switch_triggers(self, found: FoundTable, action: ast.SwitchConstraints, line: int) -> None:
        """ENABLE and DISABLE TRIGGER."""
        objects = self._evaluator.reader.read(found.schema)
        own = {
            module.name.lower(): module
            for module in objects.modules.values()
            if module.kind == "TR" and module.parent_id == found.table.object_id
        }
        for name in action.names or tuple(own):
            module = own.get(name.lower())
            if module is None:
                raise error(
                    1088,
                    f'Cannot find the object "{name}" because it does not exist or you do not have'
                    " permissions.",
                    line,
                    state=120,
                )
            disabled = action.action.startswith("DISABLE")
            Metadata(self._work, found.schema).save_module(replace(module, disabled=disabled))

    def _switch(self, found: FoundTable, action: ast.SwitchConstraints, line: int) -> None:
        if "TRIGGER" in action.action:
            self._switch_triggers(found, action, line)
            return
        disable = action.action.startswith("NOCHECK")
        names = {name.lower() for name in action.names}
        table = found.table
        for name in action.names:
            if not isinstance(table.constraint(name), ForeignKeyInfo | CheckInfo):
                raise StatementTerminated(
                    Message(4917, 16, 0, f"Constraint '{name}' does not exist.", line),
                    Message(
                        4916, 16, 0, "Could not enable or disable the constraint. See previous errors.", line
                    ),
                )
        table = replace(
            table,
            foreign_keys=tuple(
                replace(k, disabled=disable) if not names or k.name.lower() in names else k
                for k in table.foreign_keys
            ),
            checks=tuple(
                # One that comes back isn't tried on the rows that are there, so SQLite can't have it.
                replace(c, disabled=disable, native=c.native if disable else None)
                if not names or c.name.lower() in names
                else c
                for c in table.checks
            ),
        )
        self.rebuild(found, replace(table, modified=now_text()), {})

    # ------------------------------------------------------------------ ALTER COLUMN

    def _alter_column(self, found: FoundTable, action: ast.AlterColumn, frame: Frame, line: int) -> None:
        table = found.table
        definition = action.column
        old = table.column(definition.name)
        if old is None:
            raise error(
                4924,
                f"ALTER TABLE ALTER COLUMN failed because column '{definition.name}' does not exist in table"
                f" '{table.name}'.",
                line,
            )
        if definition.type is None:
            return
        type_ = self._evaluator.host.resolve_type(definition.type, frame)
        keyed = any(old.name in {n for n, _ in key.columns} for key in table.keys)
        if keyed and type_.name != old.type.name:
            self._not_needed(table, old, line, "ALTER COLUMN")
        nullable = definition.nullable if definition.nullable is not None else True
        if any(key.primary and old.name in {n for n, _ in key.columns} for key in table.keys):
            nullable = False
        new = replace(old, type=type_, nullable=nullable, collation=definition.collation or old.collation)
        after = replace(
            table,
            columns=tuple(new if c.name == old.name else c for c in table.columns),
            modified=now_text(),
        )
        target = self._target(found)
        rows = self._work.run(f"SELECT {quoted(old.name)} FROM {target} ORDER BY rowid")
        convert_ = self._evaluator.dml.converter(old.type, new, found, line)
        values: list[Stored] = []
        for (raw,) in rows:
            stored: Stored = raw  # type: ignore[assignment]
            made = stored if convert_ is None else convert_(stored)
            if made is None and not nullable:
                raise failed(
                    515,
                    16,
                    2,
                    f"Cannot insert the value NULL into column '{new.name}', table"
                    f" '{found.database}.{table.schema}.{table.name}'; column does not allow nulls. UPDATE"
                    " fails.",
                    line,
                )
            values.append(made)
        self.rebuild(found, after, {new.name: values} if convert_ is not None else {})

    # ------------------------------------------------------------------ the rebuild

    @staticmethod
    def _target(found: FoundTable) -> str:
        return f"{found.schema}.{quoted(found.table.sqlite_name)}"

    def rebuild(self, found: FoundTable, after: TableInfo, values: dict[str, list[Stored] | Stored]) -> None:
        """Makes the table look like ``after``. ``values`` holds, by column name, one value for all rows or a
        list of them in rowid order; columns of the old table that aren't in it are copied."""
        before = found.table
        schema = found.schema
        after = replace(after, known=True)
        if self._same_in_sqlite(before, after):
            Metadata(self._work, schema).save_table(after)
            return
        sequence = None
        if any(column.rowid and column.identity for column in before.columns):
            sequence = self._work.value(
                f"SELECT seq FROM {schema}.sqlite_sequence WHERE name = ?", (before.sqlite_name,)
            )
        # With foreign keys on, DROP TABLE deletes the rows first and cascades, and RENAME rewrites the
        # references of other tables. The PRAGMA that switches them off does nothing inside a transaction;
        # this does.
        self._work.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 0)
        self._work.run("PRAGMA legacy_alter_table=ON")
        try:
            self._work.run(create_table(after, schema, _SCRATCH))
            self._copy(found, after, values)
            self._work.run(f"DROP TABLE {self._target(found)}")
            self._work.run(f"ALTER TABLE {schema}.{_SCRATCH} RENAME TO {quoted(after.sqlite_name)}")
        finally:
            self._work.run("PRAGMA legacy_alter_table=OFF")
            self._work.connection.config(apsw.SQLITE_DBCONFIG_ENABLE_FKEY, 1)
        for index in after.indexes:
            self._ddl.make_index(after, index, schema)
        Metadata(self._work, schema).save_table(after)
        if isinstance(sequence, int):
            self._evaluator.seed_identity(schema, after, sequence)

    def _copy(self, found: FoundTable, after: TableInfo, values: dict[str, list[Stored] | Stored]) -> None:
        """Copies the rows into the scratch table."""
        before, schema = found.table, found.schema
        common = [
            column.name
            for column in after.columns
            if column.computed is None
            and column.name not in values
            and (old := before.column(column.name)) is not None
            and old.computed is None
        ]
        constants = {name: v for name, v in values.items() if not isinstance(v, list)}
        lists = {name: v for name, v in values.items() if isinstance(v, list)}
        plain = [name for name in constants if (c := after.column(name)) and c.computed is None]
        names = [*common, *plain]
        select = [quoted(name) for name in common] + ["?"] * len(plain)
        rowid = before.row_key == ("rowid",)
        alias_in_new = any(column.rowid for column in after.columns)
        if rowid and not alias_in_new:
            names_sql = ", ".join(["rowid", *map(quoted, names)])
            select_sql = ", ".join(["rowid", *select])
        else:
            names_sql = ", ".join(map(quoted, names))
            select_sql = ", ".join(select)
        order = " ORDER BY rowid" if rowid else ""
        if lists:
            self._copy_with_lists(found, names, lists, constants, common, rowid and not alias_in_new)
        else:
            self._work.run(
                f"INSERT INTO {schema}.{_SCRATCH} ({names_sql})"
                f" SELECT {select_sql} FROM {self._target(found)}{order}",
                tuple(constants[name] for name in plain),
            )

    def _copy_with_lists(
        self,
        found: FoundTable,
        names: Sequence[str],
        lists: dict[str, list[Stored]],
        constants: dict[str, Stored],
        common: Sequence[str],
        keep_rowid: bool,
    ) -> None:
        listed = ", ".join(["rowid", *map(quoted, common)])
        rows = self._work.run(f"SELECT {listed} FROM {self._target(found)} ORDER BY rowid")
        plain = [name for name in names if name not in common]
        columns = [*(["rowid"] if keep_rowid else []), *map(quoted, [*common, *plain, *lists])]
        places = ", ".join("?" * len(columns))
        sql = f"INSERT INTO {found.schema}.{_SCRATCH} ({', '.join(columns)}) VALUES ({places})"
        for number, row in enumerate(rows):
            given = [
                *(row if keep_rowid else row[1:]),
                *(constants[name] for name in plain),
                *(values[number] for values in lists.values()),
            ]
            self._work.connection.execute(sql, given)

    @staticmethod
    def _same_in_sqlite(before: TableInfo, after: TableInfo) -> bool:
        """Whether only our metadata changes."""
        return (
            before.known
            and create_table(before, "x") == create_table(after, "x")
            and before.indexes == after.indexes
        )

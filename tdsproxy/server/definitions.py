"""From the syntax of CREATE TABLE to a table's definition."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from tdsproxy.server.compiler.inspect import expressions_of
from tdsproxy.server.compiler.typed import error
from tdsproxy.server.metadata import now_text
from tdsproxy.server.plain_sql import native_check, native_default
from tdsproxy.server.schema import (
    DEFAULT_COLLATION,
    CheckInfo,
    ColumnInfo,
    DefaultInfo,
    ForeignKeyInfo,
    IdentityInfo,
    IndexInfo,
    KeyInfo,
    TableInfo,
    object_id_of,
)
from tdsproxy.tsql import ast
from tdsproxy.tsql.types import SqlType

TypeResolver = Callable[[ast.TypeName], SqlType]
ComputedType = Callable[[TableInfo, ast.Expr], tuple[SqlType, bool]]
"""Type and nullability of a computed column's expression in a table with the other columns."""
Parent = Callable[[ast.Name], "TableInfo | None"]

_COLLATION: Final = re.compile(
    r"database_default$|[A-Za-z]\w*?_(?:CP\d+_)?(?:(?:CI|CS)_(?:AI|AS)(?:_KS)?(?:_WS)?(?:_VSS)?(?:_SC)?(?:_UTF8)?"
    r"|BIN2?(?:_UTF8)?)$",
    re.IGNORECASE,
)
_IDENTITY_TYPES: Final = frozenset({"tinyint", "smallint", "int", "bigint", "decimal"})


class TableBuilder:
    """Builds one table's definition; ``names_taken`` are constraint names that are in use already."""

    def __init__(
        self,
        schema: str,
        name: str,
        sqlite_name: str,
        *,
        resolve: TypeResolver,
        computed: ComputedType,
        parent: Parent,
        line: int = 1,
        object_id: int = 0,
    ) -> None:
        self._resolve = resolve
        self._computed = computed
        self._parent = parent
        self._line = line
        self._numbers = itertools.count(1)
        now = now_text()
        self.table = TableInfo(
            schema,
            name,
            object_id or object_id_of("U", schema, name),
            sqlite_name,
            (),
            created=now,
            modified=now,
            known=True,
        )

    @classmethod
    def of(
        cls, table: TableInfo, *, resolve: TypeResolver, computed: ComputedType, parent: Parent, line: int
    ) -> TableBuilder:
        """A builder that adds to an existing table."""
        made = cls(
            table.schema,
            table.name,
            table.sqlite_name,
            resolve=resolve,
            computed=computed,
            parent=parent,
            line=line,
        )
        made.table = replace(table, modified=now_text())
        return made

    # ------------------------------------------------------------------ names

    def _system_name(self, kind: str, column: str = "") -> str:
        table = self.table.name.lstrip("#@")
        taken = {item.name.lower() for item in self.table.constraints()}
        while True:
            number = object_id_of(kind, self.table.schema, f"{table}.{column}.{next(self._numbers)}")
            if kind in ("PK", "UQ"):
                name = f"{kind}__{table[:8]}__{number * 0x9E3779B1 & 0xFFFFFFFFFFFFFFFF:016X}"
            else:
                name = f"{kind}__{table[:9]}__{column[:5]}__{number:08X}"
            if name.lower() not in taken:
                return name

    def _name(self, constraint: ast.Constraint, kind: str, column: str = "") -> tuple[str, int, bool]:
        name = constraint.name or self._system_name(kind, column)
        return name, object_id_of(kind, self.table.schema, name), constraint.name is None

    # ------------------------------------------------------------------ columns

    def columns(self, definitions: Sequence[ast.ColumnDefinition]) -> list[ColumnInfo]:
        """Adds columns with their own constraints; returns them."""
        made = [self.column(definition) for definition in definitions if definition.computed is None]
        plain = {column.name.lower(): column for column in made}
        for definition in definitions:
            if definition.computed is not None:
                made_column = self._computed_column(definition)
                plain[definition.name.lower()] = made_column
        ordered = [plain[definition.name.lower()] for definition in definitions]
        existing = [c for c in self.table.columns if c.name.lower() not in plain]
        self.table = self.table.with_columns((*existing, *ordered))
        for definition in definitions:
            for constraint in definition.constraints:
                self.constraint(constraint, definition.name)
        return ordered

    def column(self, definition: ast.ColumnDefinition) -> ColumnInfo:
        if self.table.column(definition.name) is not None:
            raise error(
                2705,
                f"Column names in each table must be unique. Column name '{definition.name}' in table"
                f" '{self.table.name}' is specified more than once.",
                self._line,
                state=4,
            )
        if definition.type is None:
            raise error(102, f"Incorrect syntax near '{definition.name}'.", self._line, severity=15)
        if definition.generated:
            words = (
                "GENERATED ALWAYS AS ROW START"  # without versions the table would not keep what it is for
            )
            text = f"Statement '{words}' is not supported in this version of SQL Server."
            raise error(40510, text, self._line)
        type_ = self._resolve(definition.type)
        primary = any(constraint.kind == "PRIMARY KEY" for constraint in definition.constraints)
        identity = IdentityInfo(*definition.identity) if definition.identity else None
        if identity is not None and (type_.name not in _IDENTITY_TYPES or type_.scale):
            raise error(
                2749,
                f"Identity column '{definition.name}' must be of data type int, bigint, smallint, tinyint, or"
                " decimal or numeric with a scale of 0, unencrypted, and constrained to be nonnullable.",
                self._line,
                state=2,
            )
        nullable = definition.nullable if definition.nullable is not None else True
        if primary or identity is not None or type_.name == "timestamp":
            nullable = False
        self._check_collation(definition.collation, type_)
        made = ColumnInfo(
            definition.name,
            type_,
            nullable,
            len(self.table.columns) + 1,
            identity,
            collation=_own_collation(definition.collation),
            rowguidcol=definition.rowguidcol,
        )
        if identity is not None and self.table.identity_column is not None:
            raise error(
                2744,
                f"Multiple identity columns specified for table '{self.table.name}'. Only one identity column"
                " per table is allowed.",
                self._line,
                state=2,
            )
        self.table = self.table.with_columns((*self.table.columns, made))
        return made

    def _check_collation(self, collation: str | None, type_: SqlType) -> None:
        if collation is None:
            return
        if not type_.is_character:
            raise error(447, f"Expression type {type_.name} is invalid for COLLATE clause.", self._line)
        if not _COLLATION.match(collation):
            raise error(448, f"Invalid collation '{collation}'.", self._line, state=2)

    def _computed_column(self, definition: ast.ColumnDefinition) -> ColumnInfo:
        if definition.computed is None:
            raise error(102, f"Incorrect syntax near '{definition.name}'.", self._line, severity=15)
        type_, nullable = self._computed(self.table, definition.computed)
        made = ColumnInfo(
            definition.name,
            type_,
            nullable if definition.nullable is None else definition.nullable,
            len(self.table.columns) + 1,
            computed=definition.computed_text,
            persisted=definition.persisted,
        )
        self.table = self.table.with_columns((*self.table.columns, made))
        return made

    # ------------------------------------------------------------------ constraints

    def constraint(self, constraint: ast.Constraint, column: str | None = None) -> None:
        """Adds a constraint; ``column`` is the one that it was written with."""
        match constraint.kind:
            case "PRIMARY KEY" | "UNIQUE":
                self._key(constraint, column)
            case "FOREIGN KEY":
                self._foreign_key(constraint, column)
            case "CHECK":
                self._check(constraint, column)
            case "DEFAULT":
                self._default(constraint, column or constraint.for_column or "")

    def _known(self, name: str, line: int) -> ColumnInfo:
        found = self.table.column(name)
        if found is None:
            raise error(
                1911,
                f"Column name '{name}' does not exist in the target table or view.",
                line,
            )
        return found

    def _key(self, constraint: ast.Constraint, column: str | None) -> None:
        primary = constraint.kind == "PRIMARY KEY"
        if primary and self.table.primary_key is not None:
            number = 8110 if column or not self.table.created else 1779
            text = (
                f"Cannot add multiple PRIMARY KEY constraints to table '{self.table.name}'."
                if number == 8110
                else f"Table '{self.table.name}' already has a primary key defined on it."
            )
            raise error(number, text, self._line)
        pairs = constraint.columns or (((column or ""), False),)
        columns = tuple((self._known(name, self._line).name, down) for name, down in pairs)
        name, object_id, system = self._name(constraint, "PK" if primary else "UQ")
        clustered = constraint.clustered
        if clustered is None:
            clustered = primary and not any(key.clustered for key in self.table.keys)
        key = KeyInfo(name, object_id, primary, columns, clustered, system)
        if primary:
            keyed = {name.lower() for name, _ in columns}
            for name, _ in columns:
                made = self.table.column(name)
                if made is not None and made.nullable and self.table.row_key:
                    self._not_null(name)
            del keyed
        self.table = replace(self.table, keys=(*self.table.keys, key))
        self._choose_rowid()

    def _not_null(self, name: str) -> None:
        self.table = replace(
            self.table,
            columns=tuple(
                replace(column, nullable=False) if column.name == name else column
                for column in self.table.columns
            ),
        )

    def _choose_rowid(self) -> None:
        """An integer IDENTITY that is the primary key by itself becomes SQLite's INTEGER PRIMARY KEY."""
        key = self.table.primary_key
        if key is None or len(key.columns) != 1 or key.columns[0][1]:
            return
        column = self.table.column(key.columns[0][0])
        if (
            column is None
            or column.identity is None
            or not column.type.is_integer
            or column.identity.increment != 1
        ):
            return
        self.table = replace(
            self.table,
            columns=tuple(replace(c, rowid=True) if c.name == column.name else c for c in self.table.columns),
        )

    def _foreign_key(self, constraint: ast.Constraint, column: str | None) -> None:
        reference = constraint.reference
        if reference is None:
            raise error(102, "Incorrect syntax near 'FOREIGN'.", self._line, severity=15)
        own = tuple(name for name, _ in constraint.columns) or ((column,) if column else ())
        name, object_id, system = self._name(constraint, "FK", own[0] if own else "")
        own = tuple(self._foreign_column(part, name) for part in own)
        parent = self.table if self._is_self(reference.table) else self._parent(reference.table)
        if parent is None:
            shown = ".".join(part for part in (reference.table.schema, reference.table.object) if part)
            raise _pair(1767, f"Foreign key '{name}' references invalid table '{shown}'.", self._line)
        targets = reference.columns
        if not targets:
            primary = parent.primary_key
            if primary is None:
                raise _pair(
                    1773,
                    f"Foreign key '{name}' has implicit reference to object '{parent.name}' which does not"
                    " have a primary key defined on it.",
                    self._line,
                )
            targets = tuple(part for part, _ in primary.columns)
        lowered = {part.lower() for part in targets}
        named = []
        for part in targets:
            found = parent.column(part)
            if found is None:
                raise _pair(
                    1770,
                    f"Foreign key '{name}' references invalid column '{part}' in referenced table"
                    f" '{parent.name}'.",
                    self._line,
                )
            named.append(found.name)
        unique = [{c.lower() for c, _ in key.columns} for key in parent.keys]
        unique += [{c.lower() for c, _ in i.columns} for i in parent.indexes if i.unique and not i.where]
        if lowered not in unique:
            raise _pair(
                1776,
                f"There are no primary or candidate keys in the referenced table '{parent.schema}."
                f"{parent.name}' that match the referencing column list in the foreign key '{name}'.",
                self._line,
            )
        if len(named) != len(own):
            raise error(
                8139,
                f"Number of referencing columns in foreign key differs from number of referenced columns,"
                f" table '{self.table.schema}.{self.table.name}'.",
                self._line,
            )
        for mine, theirs in zip(own, named, strict=True):
            self._same_type(name, parent, mine, theirs)
        made = ForeignKeyInfo(
            name,
            object_id,
            own,
            parent.schema,
            parent.sqlite_name,
            tuple(named),
            reference.on_delete,
            reference.on_update,
            system,
        )
        self.table = replace(self.table, foreign_keys=(*self.table.foreign_keys, made))

    def _foreign_column(self, name: str, key: str) -> str:
        found = self.table.column(name)
        if found is None:
            raise _pair(
                1769,
                f"Foreign key '{key}' references invalid column '{name}' in referencing table"
                f" '{self.table.name}'.",
                self._line,
            )
        return found.name

    def _same_type(self, key: str, parent: TableInfo, mine: str, theirs: str) -> None:
        a, b = self.table.column(mine), parent.column(theirs)
        if a is None or b is None:
            return
        lengths = a.type.is_character and b.type.is_character
        if a.type.name != b.type.name or (
            not lengths and (a.type.precision, a.type.scale) != (b.type.precision, b.type.scale)
        ):
            raise _pair(
                1778,
                f"Column '{parent.name}.{theirs}' is not the same data type as referencing column"
                f" '{self.table.name}.{mine}' in foreign key '{key}'.",
                self._line,
            )

    def _is_self(self, name: ast.Name) -> bool:
        return (
            name.object.lower() == self.table.name.lower()
            and (name.schema or "dbo").lower() == self.table.schema.lower()
        )

    def _check(self, constraint: ast.Constraint, column: str | None) -> None:
        if constraint.check is None:
            raise error(102, "Incorrect syntax near 'CHECK'.", self._line, severity=15)
        names = {name.lower() for name in _columns_in(constraint.check)}
        for name in sorted(names):
            if self.table.column(name) is None:
                raise error(207, f"Invalid column name '{name}'.", self._line)
        only = next(iter(names)) if len(names) == 1 else None
        found = self.table.column(only) if only else None
        name, object_id, system = self._name(constraint, "CK", column or "")
        native = native_check(constraint.check, self.table.columns)
        if any((c := self.table.column(n)) is not None and c.computed for n in names):
            native = None
        made = CheckInfo(name, object_id, constraint.text, found.name if found else None, native, system)
        self.table = replace(self.table, checks=(*self.table.checks, made))

    def _default(self, constraint: ast.Constraint, column: str) -> None:
        found = self._known(column, self._line)
        if found.default is not None:
            raise _pair(1781, "Column already has a DEFAULT bound to it.", self._line)
        if found.identity is not None:
            raise error(
                1754,
                f"Defaults cannot be created on columns with an IDENTITY attribute. Table"
                f" '{self.table.name}', column '{found.name}'.",
                self._line,
            )
        if constraint.default is None:
            raise error(102, "Incorrect syntax near 'DEFAULT'.", self._line, severity=15)
        name, object_id, system = self._name(constraint, "DF", column)
        made = DefaultInfo(
            name, object_id, constraint.text, system, native_default(constraint.default, found.type)
        )
        self.table = replace(
            self.table,
            columns=tuple(
                replace(c, default=made) if c.name == found.name else c for c in self.table.columns
            ),
        )

    def index(self, definition: ast.IndexDefinition, sqlite_name: str) -> IndexInfo:
        """Adds an index."""
        columns = tuple((self._known(name, self._line).name, down) for name, down in definition.columns)
        include = tuple(self._known(name, self._line).name for name in definition.include)
        made = IndexInfo(
            definition.name or self._system_name("IX", columns[0][0]),
            columns,
            definition.unique,
            bool(definition.clustered),
            include,
            definition.where_text,
            sqlite_name,
        )
        self.table = replace(self.table, indexes=(*self.table.indexes, made))
        return made


def _own_collation(name: str | None) -> str | None:
    """A column's collation where it is not the default."""
    if name is None or name.lower() in ("database_default", DEFAULT_COLLATION.lower()):
        return None
    return name


def _columns_in(node: object) -> Iterator[str]:
    for item in expressions_of(node):
        if isinstance(item, ast.ColumnRef):
            yield item.parts[-1]


def _pair(number: int, text: str, line: int) -> Exception:
    """An error about a constraint, followed by 1750."""
    from tdsproxy.server.failures import StatementTerminated
    from tdsproxy.tsql.replies import Message

    return StatementTerminated(
        Message(number, 16, 0, text, line),
        Message(1750, 16, 1, "Could not create constraint or index. See previous errors.", line),
    )

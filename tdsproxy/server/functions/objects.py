"""OBJECT_ID, OBJECT_NAME, COLUMNPROPERTY, TYPE_NAME and their kin."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.server.functions.context import ServerContext, database_by_id
from tdsproxy.server.functions.define import asks, text, whole
from tdsproxy.server.schema import (
    BUILT_IN_SCHEMAS,
    CheckInfo,
    ColumnInfo,
    DatabaseSchema,
    DefaultInfo,
    ForeignKeyInfo,
    KeyInfo,
    ModuleInfo,
    TableInfo,
)
from tdsproxy.server.sysviews.objects import constraint_kind
from tdsproxy.server.triggers import parsed_trigger
from tdsproxy.server.typeinfo import SYSNAME_ID, TYPE_IDS, base_name, numbers, sample, type_by_id
from tdsproxy.tsql import types as t
from tdsproxy.tsql.functions.registry import FunctionDef, constant
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value, Variant

_PART: Final = re.compile(r'\s*(?:\[((?:[^\]]|\]\])*)\]|"((?:[^"]|"")*)"|([^.\[\]"]*))\s*(\.|$)')


def split_name(name: str) -> list[str] | None:
    """The parts of a possibly quoted multi-part name, from the left; None when it is not one."""
    parts: list[str] = []
    position = 0
    while True:
        match = _PART.match(name, position)
        if match is None:
            return None
        bracketed, quoted, plain, dot = match.groups()
        if bracketed is not None:
            parts.append(bracketed.replace("]]", "]"))
        elif quoted is not None:
            parts.append(quoted.replace('""', '"'))
        else:
            parts.append(plain.strip())
        position = match.end()
        if not dot:
            return parts if len(parts) <= 4 else None


@dataclass(frozen=True, slots=True)
class _Found:
    id: int
    name: str
    schema: str
    kind: str
    item: TableInfo | ModuleInfo | KeyInfo | ForeignKeyInfo | CheckInfo | DefaultInfo | None = None
    parent: int = 0


def _everything(objects: DatabaseSchema) -> list[_Found]:
    found = []
    for table in objects.tables.values():
        found.append(_Found(table.object_id, table.name, table.schema, "U", table))
        for item in table.constraints():
            found.append(
                _Found(item.object_id, item.name, table.schema, constraint_kind(item), item, table.object_id)
            )
    for module in objects.modules.values():
        found.append(
            _Found(module.object_id, module.name, module.schema, module.kind, module, module.parent_id)
        )
    return found


def _system(schema: str | None, name: str) -> _Found | None:
    # The views' own modules import this package's siblings; looked up late to keep the imports a tree.
    from tdsproxy.server.procedures import is_system_procedure
    from tdsproxy.server.sysviews.catalog import find_view, system_object_id

    view = find_view(schema or "sys", name)
    if view is not None:
        return _Found(system_object_id(view), view.name, view.schema, "V")
    if (schema is None or schema.lower() in ("sys", "dbo")) and is_system_procedure(name):
        return _Found(-1, name, "sys", "P")
    return None


def _by_name(context: ServerContext, name: str) -> tuple[_Found, str] | None:
    """The object and its database."""
    parts = split_name(name)
    if not parts or not parts[-1]:
        return None
    database = parts[-3] if len(parts) >= 3 and parts[-3] else context.database_name
    schema = parts[-2] if len(parts) >= 2 and parts[-2] else None
    wanted = parts[-1].lower()
    if wanted.startswith("#"):
        if database.lower() != "tempdb":
            return None
        id_ = context.temporary_object_id(parts[-1])
        return None if id_ is None else (_Found(id_, parts[-1], "dbo", "U"), "tempdb")
    objects = context.objects(database)
    if objects is None:
        return None
    where = (schema or context.user.default_schema or "dbo").lower()
    direct = objects.table(where, wanted) or objects.module(where, wanted)
    if isinstance(direct, TableInfo):
        return _Found(direct.object_id, direct.name, direct.schema, "U", direct), database
    if direct is not None:
        return _Found(direct.object_id, direct.name, direct.schema, direct.kind, direct), database
    for found in _everything(objects):
        if found.name.lower() == wanted and found.schema.lower() == where:
            return found, database
    system = _system(schema, parts[-1])
    return (system, database) if system else None


def _by_id(context: ServerContext, id_: int, database_id: int | None = None) -> _Found | None:
    database = None
    if database_id is not None:
        facts = database_by_id(context, database_id)
        if facts is None:
            return None
        database = facts.name
    objects = context.objects(database)
    if objects is None:
        return None
    found = next((x for x in _everything(objects) if x.id == id_), None)
    if found is None and id_ < 0:
        from tdsproxy.server.sysviews.catalog import VIEWS, system_object_id

        view = next((v for v in VIEWS.values() if system_object_id(v) == id_), None)
        return None if view is None else _Found(id_, view.name, view.schema, "V")
    return found


def _object_id(context: ServerContext, name: str, kind: str | None = None) -> Value:
    found = _by_name(context, name)
    if found is None:
        return None
    wanted = (kind or "").strip().upper()
    if wanted and wanted != found[0].kind:
        return None
    return found[0].id


def _object_name(context: ServerContext, id_: int, database_id: int | None = None) -> Value:
    found = _by_id(context, id_, database_id)
    return found.name if found else None


def _object_schema_name(context: ServerContext, id_: int, database_id: int | None = None) -> Value:
    found = _by_id(context, id_, database_id)
    return found.schema if found else None


def _definition(context: ServerContext, id_: int) -> Value:
    found = _by_id(context, id_)
    item = found.item if found else None
    return item.text if isinstance(item, ModuleInfo | CheckInfo | DefaultInfo) else None


# --------------------------------------------------------------------------- schemas


def _schema_ids(context: ServerContext) -> dict[str, int]:
    objects = context.objects()
    own = objects.schemas if objects else ()
    return {schema.name: schema.schema_id for schema in (*BUILT_IN_SCHEMAS, *own)}


def _schema_name(context: ServerContext, id_: int | None = None) -> Value:
    if id_ is None:
        return context.user.default_schema or "dbo"
    return next((name for name, number in _schema_ids(context).items() if number == id_), None)


def _schema_id(context: ServerContext, name: str | None = None) -> Value:
    wanted = (context.user.default_schema or "dbo") if name is None else name
    return next(
        (number for known, number in _schema_ids(context).items() if known.lower() == wanted.lower()), None
    )


# --------------------------------------------------------------------------- properties

_EVENTS: Final = ("INSERT", "UPDATE", "DELETE")
_KIND_FLAGS: Final = {
    "istable": ("U", "S"),
    "isusertable": ("U",),
    "isview": ("V",),
    "isprocedure": ("P",),
    "isscalarfunction": ("FN",),
    "isinlinefunction": ("IF",),
    "istablefunction": ("IF", "TF"),
    "istrigger": ("TR",),
    "isprimarykey": ("PK",),
    "isuniquecnst": ("UQ",),
    "isforeignkey": ("F",),
    "ischeckcnst": ("C",),
    "isdefaultcnst": ("D",),
    "isconstraint": ("PK", "UQ", "F", "C", "D"),
}


def _table_flags(table: TableInfo) -> dict[str, bool]:
    return {
        "tablehasprimarykey": table.primary_key is not None,
        "tablehasidentity": table.identity_column is not None,
        "tablehasforeignkey": bool(table.foreign_keys),
        "tablehasuniquecnst": any(not key.primary for key in table.keys),
        "tablehascheckcnst": bool(table.checks),
        "tablehasdefaultcnst": any(column.default for column in table.columns),
        "tablehasindex": bool(table.numbered_indexes),
        "tablehasclustindex": any(number == 1 for number, _ in table.numbered_indexes),
        "tablehasnonclustindex": any(number > 1 for number, _ in table.numbered_indexes),
        "tablehastimestamp": any(column.type.name == "timestamp" for column in table.columns),
        "tablehasrowguidcol": any(column.rowguidcol for column in table.columns),
        "tablehastextimage": any(column.type.name in ("text", "ntext", "image") for column in table.columns),
        "tabletemporaltype": False,
        "isansinullson": True,
        "isquotedidenton": True,
        "istablememoryoptimized": False,
    }


def _trigger_flags(module: ModuleInfo) -> dict[str, bool]:
    definition = parsed_trigger(module.text, module.quoted_identifier)
    return {
        **{f"execis{event.lower()}trigger": event in definition.events for event in _EVENTS},
        "execisaftertrigger": definition.timing == "AFTER",
        "execisinsteadoftrigger": definition.timing != "AFTER",
        "execistriggerdisabled": module.disabled,
    }


def _object_property(context: ServerContext, id_: int, name: str) -> Value:
    found = _by_id(context, id_)
    if found is None:
        return None
    word = name.strip().lower()
    if word in _KIND_FLAGS:
        return int(found.kind in _KIND_FLAGS[word])
    if word == "ismsshipped":
        return int(found.id < 0)
    if word == "ownerid":
        return 1
    if word == "schemaid":
        return _schema_id(context, found.schema)
    if word in ("execisansinullson", "execisquotedidenton") and isinstance(found.item, ModuleInfo):
        item = found.item
        return int(item.ansi_nulls if word == "execisansinullson" else item.quoted_identifier)
    if found.kind == "TR" and isinstance(found.item, ModuleInfo):
        flag = _trigger_flags(found.item).get(word)
        return None if flag is None else int(flag)
    if isinstance(found.item, TableInfo):
        flag = _table_flags(found.item).get(word)
        return None if flag is None else int(flag)
    return None


def _object_property_ex(context: ServerContext, id_: int, name: str) -> Value:
    if name.strip().lower() == "basetype":
        found = _by_id(context, id_)
        return Variant(t.char(2), found.kind.ljust(2)) if found else None
    value = _object_property(context, id_, name)
    return whole(value) if isinstance(value, int) else None


def _columns(context: ServerContext, id_: int) -> tuple[ColumnInfo, ...]:
    found = _by_id(context, id_)
    return found.item.columns if found and isinstance(found.item, TableInfo) else ()


def _column_property(context: ServerContext, id_: int, column: str, name: str) -> Value:
    wanted = column.rstrip().lower()
    info = next((c for c in _columns(context, id_) if c.name.lower() == wanted), None)
    if info is None:
        return None
    about = numbers(info.type)
    flags: dict[str, Value] = {
        "allowsnull": int(info.nullable),
        "columnid": info.ordinal,
        "iscomputed": int(info.computed is not None),
        "isidentity": int(info.identity is not None),
        "isidnotforrepl": 0,
        "isrowguidcol": int(info.rowguidcol),
        "issparse": 0,
        "ishidden": 0,
        "precision": about.precision or (info.type.length if info.type.length != t.MAX else -1),
        "scale": about.scale if info.type.is_number or info.type.is_temporal else None,
        "charmaxlen": info.type.length,
        "usesansitrim": 1 if info.type.is_character or info.type.is_binary else None,
        "isxmlindexable": 0,
        "generatedalwaystype": 0,
    }
    return flags.get(name.strip().lower())


def _column_name(context: ServerContext, id_: int, ordinal: int) -> Value:
    return next((c.name for c in _columns(context, id_) if c.ordinal == ordinal), None)


def _column_length(context: ServerContext, table: str, column: str) -> Value:
    found = _by_name(context, table)
    if found is None or not isinstance(found[0].item, TableInfo):
        return None
    info = found[0].item.column(column)
    return numbers(info.type).length if info else None


def _index_property(context: ServerContext, id_: int, index: str, name: str) -> Value:
    found = _by_id(context, id_)
    if found is None or not isinstance(found.item, TableInfo):
        return None
    for number, item in found.item.numbered_indexes:
        if item.name.lower() == index.lower():
            unique = isinstance(item, KeyInfo) or item.unique
            return {"indexid": number, "isclustered": int(number == 1), "isunique": int(unique)}.get(
                name.strip().lower()
            )
    return None


# --------------------------------------------------------------------------- types


def _type_id(context: ServerContext, name: str) -> Value:
    del context
    parts = split_name(name)
    word = parts[-1].lower() if parts else ""
    return SYSNAME_ID if word == "sysname" else TYPE_IDS.get(word)


def _type_property(context: ServerContext, name: str, wanted: str) -> Value:
    del context
    parts = split_name(name)
    word = parts[-1].lower() if parts else ""
    if word not in TYPE_IDS:
        return None
    about = numbers(sample(word))
    answers: dict[str, Value] = {
        "allowsnull": 1,
        "precision": about.precision or about.length,
        "scale": about.scale,
        "usesansitrim": None,
        "ownerid": 4,
    }
    return answers.get(wanted.strip().lower())


def _variant_property(
    value: Value, name: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    """SQL_VARIANT_PROPERTY: what is no variant yet is described as one of its type."""
    type_, plain = (value.type, value.value) if isinstance(value, Variant) else (arg_types[0], value)
    if type_.name == "sql_variant":
        return None
    about = numbers(type_)
    size = about.length
    if isinstance(plain, str):
        size = len(plain.encode("utf-16-le", "surrogatepass")) if type_.is_unicode else len(plain)
    elif isinstance(plain, bytes):
        size = len(plain)
    answers: dict[str, Value] = {
        "basetype": text(base_name(type_)),
        "precision": whole(about.precision),
        "scale": whole(about.scale),
        "totalbytes": whole(size + _variant_head(type_)),
        "maxlength": whole(about.length),
        "collation": text("SQL_Latin1_General_CP1_CI_AS") if type_.is_character else None,
    }
    return answers.get(str(name).strip().lower())


def _variant_head(type_: SqlType) -> int:
    """Bytes of metadata in a stored sql_variant: base type, version, and what the type needs besides."""
    if type_.is_character:
        return 8
    if type_.is_binary or type_.name == "decimal":
        return 4
    return 3 if type_.name in t.SCALED_TIME_TYPES else 2


_NAME: Final = t.nvarchar(128)

FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    asks("OBJECT_ID", 1, 2, t.INT, _object_id),
    asks("OBJECT_NAME", 1, 2, _NAME, _object_name),
    asks("OBJECT_SCHEMA_NAME", 1, 2, _NAME, _object_schema_name),
    asks("OBJECT_DEFINITION", 1, 1, t.nvarchar(t.MAX), _definition),
    asks("OBJECTPROPERTY", 2, 2, t.INT, _object_property),
    asks("OBJECTPROPERTYEX", 2, 2, t.SQL_VARIANT, _object_property_ex),
    asks("COLUMNPROPERTY", 3, 3, t.INT, _column_property),
    asks("INDEXPROPERTY", 3, 3, t.INT, _index_property),
    asks("COL_NAME", 2, 2, _NAME, _column_name),
    asks("COL_LENGTH", 2, 2, t.SMALLINT, _column_length),
    asks("SCHEMA_NAME", 0, 1, _NAME, _schema_name),
    asks("SCHEMA_ID", 0, 1, t.INT, _schema_id),
    asks("TYPE_ID", 1, 1, t.INT, _type_id),
    asks("TYPE_NAME", 1, 1, _NAME, lambda c, id_: type_by_id(id_)),
    asks("TYPEPROPERTY", 2, 2, t.INT, _type_property),
    asks("STATS_DATE", 2, 2, t.DATETIME, lambda c, id_, stats: None),
    FunctionDef("SQL_VARIANT_PROPERTY", 2, 2, constant(t.SQL_VARIANT), _variant_property, wants_types=True),
)

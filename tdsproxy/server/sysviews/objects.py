"""The views on a database's own objects: tables, columns, indexes, constraints, modules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from tdsproxy.server.identity import COLLATION
from tdsproxy.server.schema import (
    BUILT_IN_SCHEMAS,
    CheckInfo,
    ColumnInfo,
    DefaultInfo,
    ForeignKeyInfo,
    IndexInfo,
    KeyInfo,
    ModuleInfo,
    TableInfo,
)
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import EPOCH, Scope
from tdsproxy.server.typeinfo import SYSNAME_ID, TYPE_IDS, numbers, sample
from tdsproxy.store.encoding import from_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.definition_text import expression_text, predicate_text
from tdsproxy.tsql.values import DateTime, Value, Variant

_KIND_WORDS: Final = {
    "U": "USER_TABLE",
    "V": "VIEW",
    "P": "SQL_STORED_PROCEDURE",
    "FN": "SQL_SCALAR_FUNCTION",
    "IF": "SQL_INLINE_TABLE_VALUED_FUNCTION",
    "TF": "SQL_TABLE_VALUED_FUNCTION",
    "TR": "SQL_TRIGGER",
    "SN": "SYNONYM",
    "SO": "SEQUENCE_OBJECT",
    "TT": "TYPE_TABLE",
    "PK": "PRIMARY_KEY_CONSTRAINT",
    "UQ": "UNIQUE_CONSTRAINT",
    "F": "FOREIGN_KEY_CONSTRAINT",
    "C": "CHECK_CONSTRAINT",
    "D": "DEFAULT_CONSTRAINT",
    "S": "SYSTEM_TABLE",
}
_FK_ACTIONS: Final = {"NO ACTION": 0, "CASCADE": 1, "SET NULL": 2, "SET DEFAULT": 3}

Constraint = KeyInfo | ForeignKeyInfo | CheckInfo | DefaultInfo


def moment_of(text: str) -> DateTime:
    if not text:
        return EPOCH
    try:
        value = from_storage(text, t.DATETIME)
    except ValueError:
        return EPOCH
    return value if isinstance(value, DateTime) else EPOCH


def schema_ids(scope: Scope) -> dict[str, int]:
    known = {schema.name.lower(): schema.schema_id for schema in BUILT_IN_SCHEMAS}
    known.update({schema.name.lower(): schema.schema_id for schema in scope.objects.schemas})
    return known


def _tables(scope: Scope) -> Iterable[TableInfo]:
    return scope.objects.tables.values()


def _modules(scope: Scope, *kinds: str) -> Iterator[ModuleInfo]:
    for module in scope.objects.modules.values():
        if not kinds or module.kind in kinds:
            yield module


def constraint_kind(item: Constraint) -> str:
    if isinstance(item, KeyInfo):
        return "PK" if item.primary else "UQ"
    if isinstance(item, ForeignKeyInfo):
        return "F"
    return "C" if isinstance(item, CheckInfo) else "D"


# --------------------------------------------------------------------------- objects

OBJECT_COLUMNS: Final = """
name sysname!, object_id int!, principal_id int, schema_id int!, parent_object_id int!, type char(2),
type_desc nvarchar(60), create_date datetime!, modify_date datetime!, is_ms_shipped bit!, is_published bit!,
is_schema_published bit!
"""


def _object(
    name: str, id_: int, schema_id: int, kind: str, created: str, modified: str, parent: int = 0
) -> dict[str, Value]:
    return {
        "name": name,
        "object_id": id_,
        "schema_id": schema_id,
        "parent_object_id": parent,
        "type": kind.ljust(2),
        "type_desc": _KIND_WORDS.get(kind, kind),
        "create_date": moment_of(created),
        "modify_date": moment_of(modified or created),
    }


def _table_object(scope: Scope, table: TableInfo) -> dict[str, Value]:
    schema_id = schema_ids(scope).get(table.schema.lower(), 1)
    return _object(table.name, table.object_id, schema_id, "U", table.created, table.modified)


def _module_object(scope: Scope, module: ModuleInfo) -> dict[str, Value]:
    schema_id = schema_ids(scope).get(module.schema.lower(), 1)
    return _object(
        module.name,
        module.object_id,
        schema_id,
        module.kind,
        module.created,
        module.modified,
        module.parent_id,
    )


def _constraint_object(scope: Scope, table: TableInfo, item: Constraint) -> dict[str, Value]:
    schema_id = schema_ids(scope).get(table.schema.lower(), 1)
    return _object(
        item.name,
        item.object_id,
        schema_id,
        constraint_kind(item),
        table.created,
        table.modified,
        table.object_id,
    )


def _objects(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        yield _table_object(scope, table)
        for item in table.constraints():
            yield _constraint_object(scope, table, item)
    for module in _modules(scope):
        yield _module_object(scope, module)


def _is_large(column: ColumnInfo) -> bool:
    """Whether the column's values lie outside of the row, in a file group of their own (TEXTIMAGE_ON)."""
    return column.type.length == t.MAX or column.type.name in ("text", "ntext", "image", "xml")


def _tables_rows(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        yield _table_object(scope, table) | {
            "max_column_id_used": len(table.columns),
            "uses_ansi_nulls": 1,
            "lock_on_bulk_load": 0,
            "text_in_row_limit": 0,
            "large_value_types_out_of_row": 0,
            "lock_escalation": 0,
            "lock_escalation_desc": "TABLE",
            "is_filetable": 0,
            "is_memory_optimized": 0,
            "durability": 0,
            "durability_desc": "SCHEMA_AND_DATA",
            "temporal_type": 0,
            "temporal_type_desc": "NON_TEMPORAL_TABLE",
            "is_remote_data_archive_enabled": 0,
            "is_external": 0,
            "is_node": 0,
            "is_edge": 0,
            "lob_data_space_id": int(any(_is_large(column) for column in table.columns)),
            "ledger_type": 0,
            "ledger_type_desc": "NON_LEDGER_TABLE",
            "is_replicated": 0,
            "has_replication_filter": 0,
            "is_merge_published": 0,
            "is_sync_tran_subscribed": 0,
            "has_unchecked_assembly_data": 0,
            "is_tracked_by_cdc": 0,
            "is_dropped_ledger_table": 0,
        }


def views(scope: Scope) -> Iterator[Row]:
    for module in _modules(scope, "V"):
        yield _module_object(scope, module) | VIEW_FACTS


def _procedures(scope: Scope) -> Iterator[Row]:
    for module in _modules(scope, "P"):
        yield _module_object(scope, module)


def _sql_modules(scope: Scope) -> Iterator[Row]:
    for module in _modules(scope, "V", "P", "FN", "IF", "TF", "TR"):
        yield {
            "object_id": module.object_id,
            "definition": module.text,
            "uses_ansi_nulls": int(module.ansi_nulls),
            "uses_quoted_identifier": int(module.quoted_identifier),
            "is_schema_bound": 0,
            "uses_database_collation": 0,
            "is_recompiled": 0,
            "null_on_null_input": 0,
            "uses_native_compilation": 0,
            "is_inlineable": 0,
            "inline_type": 0,
        }


def _triggers(scope: Scope) -> Iterator[Row]:
    for module in _modules(scope, "TR"):
        yield _module_object(scope, module) | {
            "parent_class": 1,
            "parent_class_desc": "OBJECT_OR_COLUMN",
            "parent_id": module.parent_id,
            "is_disabled": int(module.disabled),
            "is_instead_of_trigger": int(bool(re.search(r"\bINSTEAD\s+OF\b", module.text, re.IGNORECASE))),
        }


def _synonyms(scope: Scope) -> Iterator[Row]:
    for module in _modules(scope, "SN"):
        yield _module_object(scope, module) | {"base_object_name": module.text}


def _schemas(scope: Scope) -> Iterator[Row]:
    for name, id_ in sorted(_schema_rows(scope), key=lambda pair: pair[1]):
        yield {"name": name, "schema_id": id_, "principal_id": id_ if id_ < 5 else 1}


def _schema_rows(scope: Scope) -> set[tuple[str, int]]:
    return {(s.name, s.schema_id) for s in (*BUILT_IN_SCHEMAS, *scope.objects.schemas)}


# --------------------------------------------------------------------------- columns and types

_COLUMN_COLUMNS: Final = """
object_id int!, name sysname, column_id int!, system_type_id tinyint!, user_type_id int!,
max_length smallint!, precision tinyint!, scale tinyint!, collation_name sysname, is_nullable bit,
is_ansi_padded bit!, is_rowguidcol bit!, is_identity bit!, is_computed bit!, is_filestream bit!,
is_replicated bit, is_non_sql_subscribed bit, is_merge_published bit, is_dts_replicated bit,
is_xml_document bit!, xml_collection_id int!, default_object_id int!, rule_object_id int!, is_sparse bit,
is_column_set bit, generated_always_type tinyint, generated_always_type_desc nvarchar(60),
encryption_type int, encryption_type_desc nvarchar(64), encryption_algorithm_name sysname,
column_encryption_key_id int, column_encryption_key_database_name sysname, is_hidden bit!, is_masked bit!,
graph_type int, graph_type_desc nvarchar(60), is_data_deletion_filter_column bit,
ledger_view_column_type int, ledger_view_column_type_desc nvarchar(60), is_dropped_ledger_column bit
"""


def _column(table: TableInfo, column: ColumnInfo) -> dict[str, Value]:
    about = numbers(column.type)
    return {
        "object_id": table.object_id,
        "name": column.name,
        "column_id": column.ordinal,
        "system_type_id": about.id,
        "user_type_id": about.id,
        "max_length": about.length,
        "precision": about.precision,
        "scale": about.scale,
        "collation_name": (column.collation or COLLATION) if column.type.is_character else None,
        "is_nullable": int(column.nullable),
        "is_ansi_padded": int(column.type.is_character or column.type.is_binary),
        "is_rowguidcol": int(column.rowguidcol),
        "is_identity": int(column.identity is not None),
        "is_computed": int(column.computed is not None),
        "default_object_id": column.default.object_id if column.default else 0,
        "is_replicated": 0,
        "is_non_sql_subscribed": 0,
        "is_merge_published": 0,
        "is_dts_replicated": 0,
        "is_sparse": 0,
        "is_column_set": 0,
        "generated_always_type": 0,
        "generated_always_type_desc": "NOT_APPLICABLE",
        "is_data_deletion_filter_column": 0,
        "is_dropped_ledger_column": 0,
    }


def _columns(scope: Scope) -> Iterator[Row]:
    for table in (*_tables(scope), *scope.views()):
        for column in table.columns:
            yield _column(table, column)


def _identity_columns(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        column = table.identity_column
        if column is not None and column.identity is not None:
            yield _column(table, column) | {
                "seed_value": Variant(column.type, column.identity.seed),
                "increment_value": Variant(column.type, column.identity.increment),
                "last_value": None,
                "is_not_for_replication": 0,
            }


def _computed_columns(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        for column in table.columns:
            if column.computed is not None:
                yield _column(table, column) | {
                    "definition": expression_text(column.computed),
                    "uses_database_collation": 1,
                    "is_persisted": int(column.persisted),
                }


def _types(scope: Scope) -> Iterator[Row]:
    for name, id_ in (*TYPE_IDS.items(), ("sysname", TYPE_IDS["nvarchar"])):
        type_ = t.SYSNAME if name == "sysname" else sample(name)
        about = numbers(type_)
        yield {
            "name": name,
            "system_type_id": id_,
            "user_type_id": SYSNAME_ID if name == "sysname" else id_,
            "schema_id": 4,
            "max_length": about.length,
            "precision": about.precision,
            "scale": about.scale,
            "collation_name": COLLATION if type_.is_character and name != "xml" else None,
            "is_nullable": int(name != "sysname"),
            "is_user_defined": 0,
        }


# --------------------------------------------------------------------------- indexes and constraints

INDEX_COLUMNS: Final = """
object_id int!, name sysname, index_id int!, type tinyint!, type_desc nvarchar(60), is_unique bit,
data_space_id int!, ignore_dup_key bit, is_primary_key bit, is_unique_constraint bit, fill_factor tinyint!,
is_padded bit, is_disabled bit, is_hypothetical bit, is_ignored_in_optimization bit, allow_row_locks bit,
allow_page_locks bit, has_filter bit, filter_definition nvarchar(max), compression_delay int,
suppress_dup_key_messages bit, auto_created bit, optimize_for_sequential_key bit
"""


def _indexes(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        yield from index_rows(table)


def index_rows(table: TableInfo) -> Iterator[Row]:
    common: dict[str, Value] = {
        "object_id": table.object_id,
        "data_space_id": 1,
        "ignore_dup_key": 0,
        "is_padded": 0,
        "is_disabled": 0,
        "is_hypothetical": 0,
        "is_ignored_in_optimization": 0,
        "allow_row_locks": 1,
        "allow_page_locks": 1,
        "has_filter": 0,
        "is_unique": 0,
        "is_primary_key": 0,
        "is_unique_constraint": 0,
        "suppress_dup_key_messages": 0,
        "auto_created": 0,
        "optimize_for_sequential_key": 0,
    }
    listed = table.numbered_indexes
    if not any(number == 1 for number, _ in listed):
        yield common | {"index_id": 0, "type": 0, "type_desc": "HEAP"}
    for number, index in listed:
        row = common | {
            "name": index.name,
            "index_id": number,
            "type": 1 if number == 1 else 2,
            "type_desc": "CLUSTERED" if number == 1 else "NONCLUSTERED",
        }
        if isinstance(index, KeyInfo):
            row |= {
                "is_unique": 1,
                "is_primary_key": int(index.primary),
                "is_unique_constraint": int(not index.primary),
            }
        else:
            row |= {
                "is_unique": int(index.unique),
                "has_filter": int(bool(index.where)),
                "filter_definition": predicate_text(index.where) if index.where else None,
            }
        yield row


def _index_columns(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        ordinals = {column.name.lower(): column.ordinal for column in table.columns}
        for number, index in table.numbered_indexes:
            place = 0
            for name, descending in index.columns:
                place += 1
                yield {
                    "object_id": table.object_id,
                    "index_id": number,
                    "index_column_id": place,
                    "column_id": ordinals.get(name.lower(), 0),
                    "key_ordinal": place,
                    "is_descending_key": int(descending),
                    "is_included_column": 0,
                }
            for name in index.include if isinstance(index, IndexInfo) else ():
                place += 1
                yield {
                    "object_id": table.object_id,
                    "index_id": number,
                    "index_column_id": place,
                    "column_id": ordinals.get(name.lower(), 0),
                    "key_ordinal": 0,
                    "is_descending_key": 0,
                    "is_included_column": 1,
                }


def _key_constraints(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        for number, index in table.numbered_indexes:
            if isinstance(index, KeyInfo):
                yield _constraint_object(scope, table, index) | {
                    "unique_index_id": number,
                    "is_system_named": int(index.system_named),
                    "is_enforced": 1,
                }


def _parent(scope: Scope, key: ForeignKeyInfo) -> TableInfo | None:
    return next(
        (x for x in _tables(scope) if x.sqlite_name.lower() == key.referenced_table.lower()),
        None,
    )


def _foreign_keys(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        for key in table.foreign_keys:
            parent = _parent(scope, key)
            yield _constraint_object(scope, table, key) | {
                "referenced_object_id": parent.object_id if parent else None,
                "key_index_id": 1,
                "is_disabled": int(key.disabled),
                "is_not_trusted": int(key.disabled),
                "delete_referential_action": _FK_ACTIONS.get(key.on_delete, 0),
                "delete_referential_action_desc": key.on_delete.replace(" ", "_"),
                "update_referential_action": _FK_ACTIONS.get(key.on_update, 0),
                "update_referential_action_desc": key.on_update.replace(" ", "_"),
                "is_system_named": int(key.system_named),
            }


def _foreign_key_columns(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        own = {column.name.lower(): column.ordinal for column in table.columns}
        for key in table.foreign_keys:
            parent = _parent(scope, key)
            theirs = {c.name.lower(): c.ordinal for c in parent.columns} if parent else {}
            for place, (column, other) in enumerate(
                zip(key.columns, key.referenced_columns, strict=False), 1
            ):
                yield {
                    "constraint_object_id": key.object_id,
                    "constraint_column_id": place,
                    "parent_object_id": table.object_id,
                    "parent_column_id": own.get(column.lower(), 0),
                    "referenced_object_id": parent.object_id if parent else 0,
                    "referenced_column_id": theirs.get(other.lower(), 0),
                }


def _check_constraints(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        for check in table.checks:
            column = table.column(check.column) if check.column else None
            yield _constraint_object(scope, table, check) | {
                "is_disabled": int(check.disabled),
                "is_not_trusted": int(check.disabled),
                "parent_column_id": column.ordinal if column else 0,
                "definition": predicate_text(check.text),
                "uses_database_collation": 1,
                "is_system_named": int(check.system_named),
            }


def _default_constraints(scope: Scope) -> Iterator[Row]:
    for table in _tables(scope):
        for column in table.columns:
            if column.default is not None:
                yield _constraint_object(scope, table, column.default) | {
                    "parent_column_id": column.ordinal,
                    "definition": expression_text(column.default.text),
                    "is_system_named": int(column.default.system_named),
                }


MODULE_COLUMNS: Final = """
object_id int!, definition nvarchar(max), uses_ansi_nulls bit, uses_quoted_identifier bit,
is_schema_bound bit, uses_database_collation bit, is_recompiled bit, null_on_null_input bit,
execute_as_principal_id int, uses_native_compilation bit, inline_type bit, is_inlineable bit
"""

VIEW_COLUMNS: Final = f"""
{OBJECT_COLUMNS}, is_replicated bit, has_replication_filter bit, has_opaque_metadata bit!,
has_unchecked_assembly_data bit!, with_check_option bit!, is_date_correlation_view bit!,
is_tracked_by_cdc bit, has_snapshot bit, ledger_view_type tinyint,
ledger_view_type_desc nvarchar(60), is_dropped_ledger_view bit
"""

VIEW_FACTS: Final[dict[str, Value]] = {
    "is_replicated": 0,
    "has_replication_filter": 0,
    "is_tracked_by_cdc": 0,
    "has_snapshot": 0,
    "ledger_view_type": 0,
    "ledger_view_type_desc": "NON_LEDGER_VIEW",
    "is_dropped_ledger_view": 0,
}

_TABLE_EXTRA: Final = """
lob_data_space_id int!, filestream_data_space_id int, max_column_id_used int!, lock_on_bulk_load bit!,
uses_ansi_nulls bit, is_replicated bit, has_replication_filter bit, is_merge_published bit,
is_sync_tran_subscribed bit, has_unchecked_assembly_data bit!, text_in_row_limit int,
large_value_types_out_of_row bit, is_tracked_by_cdc bit, lock_escalation tinyint,
lock_escalation_desc nvarchar(60), is_filetable bit, is_memory_optimized bit, durability tinyint,
durability_desc nvarchar(60), temporal_type tinyint, temporal_type_desc nvarchar(60), history_table_id int,
is_remote_data_archive_enabled bit, is_external bit!, history_retention_period int,
history_retention_period_unit int, history_retention_period_unit_desc nvarchar(10), is_node bit,
is_edge bit, data_retention_period int, data_retention_period_unit int,
data_retention_period_unit_desc nvarchar(10), ledger_type tinyint, ledger_type_desc nvarchar(60),
ledger_view_id int, is_dropped_ledger_table bit
"""

VIEWS: Final[tuple[View, ...]] = (
    view("sys.objects", OBJECT_COLUMNS, _objects),
    view("sys.all_objects", OBJECT_COLUMNS, _objects),
    view("sys.tables", f"{OBJECT_COLUMNS}, {_TABLE_EXTRA}", _tables_rows),
    view("sys.views", VIEW_COLUMNS, views),
    view(
        "sys.procedures",
        f"{OBJECT_COLUMNS}, is_auto_executed bit!, is_execution_replicated bit,"
        "is_repl_serializable_only bit, skips_repl_constraints bit",
        _procedures,
    ),
    view("sys.sql_modules", MODULE_COLUMNS, _sql_modules),
    view(
        "sys.triggers",
        "name sysname!, object_id int!, parent_class tinyint!, parent_class_desc nvarchar(60),"
        " parent_id int!,"
        "type char(2)!, type_desc nvarchar(60), create_date datetime!, modify_date datetime!,"
        "is_ms_shipped bit!, is_disabled bit!, is_not_for_replication bit!, is_instead_of_trigger bit!",
        _triggers,
    ),
    view("sys.synonyms", f"{OBJECT_COLUMNS}, base_object_name nvarchar(1035)", _synonyms),
    view("sys.schemas", "name sysname!, schema_id int!, principal_id int", _schemas),
    view("sys.columns", _COLUMN_COLUMNS, _columns),
    view(
        "sys.identity_columns",
        f"{_COLUMN_COLUMNS}, seed_value sql_variant, increment_value sql_variant, last_value sql_variant,"
        "is_not_for_replication bit",
        _identity_columns,
    ),
    view(
        "sys.computed_columns",
        f"{_COLUMN_COLUMNS}, definition nvarchar(max), uses_database_collation bit!, is_persisted bit!",
        _computed_columns,
    ),
    view(
        "sys.types",
        "name sysname!, system_type_id tinyint!, user_type_id int!, schema_id int!, principal_id int,"
        "max_length smallint!, precision tinyint!, scale tinyint!, collation_name sysname, is_nullable bit,"
        "is_user_defined bit!, is_assembly_type bit!, default_object_id int!, rule_object_id int!,"
        "is_table_type bit!",
        _types,
    ),
    view("sys.indexes", INDEX_COLUMNS, _indexes),
    view(
        "sys.index_columns",
        "object_id int!, index_id int!, index_column_id int!, column_id int!, key_ordinal tinyint!,"
        "partition_ordinal tinyint!, is_descending_key bit, is_included_column bit,"
        "column_store_order_ordinal tinyint!",
        _index_columns,
    ),
    view(
        "sys.key_constraints",
        f"{OBJECT_COLUMNS}, unique_index_id int, is_system_named bit!, is_enforced bit",
        _key_constraints,
    ),
    view(
        "sys.foreign_keys",
        f"{OBJECT_COLUMNS}, referenced_object_id int, key_index_id int, is_disabled bit!,"
        "is_not_for_replication bit!, is_not_trusted bit!, delete_referential_action tinyint,"
        "delete_referential_action_desc nvarchar(60), update_referential_action tinyint,"
        "update_referential_action_desc nvarchar(60), is_system_named bit!",
        _foreign_keys,
    ),
    view(
        "sys.foreign_key_columns",
        "constraint_object_id int!, constraint_column_id int!, parent_object_id int!, parent_column_id int!,"
        "referenced_object_id int!, referenced_column_id int!",
        _foreign_key_columns,
    ),
    view(
        "sys.check_constraints",
        f"{OBJECT_COLUMNS}, is_disabled bit!, is_not_for_replication bit!, is_not_trusted bit!,"
        "parent_column_id int!, definition nvarchar(max), uses_database_collation bit, is_system_named bit!",
        _check_constraints,
    ),
    view(
        "sys.default_constraints",
        f"{OBJECT_COLUMNS}, parent_column_id int!, definition nvarchar(max), is_system_named bit!",
        _default_constraints,
    ),
    view(
        "sys.sysobjects",
        "name sysname!, id int!, xtype char(2)!, uid smallint, info smallint, status int,"
        "base_schema_ver int, replinfo int, parent_obj int!, crdate datetime!, ftcatid smallint,"
        "schema_ver int, stats_schema_ver int, type char(2), userstat smallint, sysstat smallint,"
        "indexdel smallint, refdate datetime!, version int, deltrig int, instrig int, updtrig int,"
        "seltrig int, category int, cache smallint",
        lambda scope: (
            {
                "name": row["name"],
                "id": row["object_id"],
                "xtype": row["type"],
                "type": row["type"],
                "uid": row["schema_id"],
                "parent_obj": row["parent_object_id"],
                "crdate": row["create_date"],
                "refdate": row["create_date"],
                "status": 0,
                "category": 0,
            }
            for row in _objects(scope)
        ),
    ),
    view(
        "sys.syscolumns",
        "name sysname, id int!, xtype tinyint!, typestat tinyint, xusertype smallint, length smallint!,"
        "xprec tinyint!, xscale tinyint!, colid smallint, xoffset smallint, bitpos tinyint, reserved tinyint,"
        "colstat smallint, cdefault int!, domain int!, number smallint, colorder smallint,"
        " autoval varbinary(8000),"
        "offset smallint, collationid int, status tinyint, type tinyint!, usertype smallint,"
        " printfmt varchar(255),"
        "prec smallint, scale int, iscomputed int, isoutparam int, isnullable int, collation sysname",
        lambda scope: (
            {
                "name": row["name"],
                "id": row["object_id"],
                "xtype": row["system_type_id"],
                "xusertype": row["user_type_id"],
                "length": row["max_length"],
                "xprec": row["precision"],
                "xscale": row["scale"],
                "colid": row["column_id"],
                "colorder": row["column_id"],
                "cdefault": row["default_object_id"],
                "type": row["system_type_id"],
                "usertype": row["user_type_id"],
                "prec": row["precision"],
                "scale": row["scale"],
                "iscomputed": row["is_computed"],
                "isoutparam": 0,
                "isnullable": row["is_nullable"],
                "collation": row["collation_name"],
                "status": 0x80 if row["is_identity"] else 0,
            }
            for row in _columns(scope)
        ),
    ),
)

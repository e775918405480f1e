"""INFORMATION_SCHEMA (ISO 9075-11) as SQL Server gives it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.schema import ColumnInfo, DefaultInfo, ForeignKeyInfo, KeyInfo, TableInfo
from tdsproxy.server.sequences import KIND as SEQUENCE
from tdsproxy.server.sequences import sequence_of
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.modules import parameters_of
from tdsproxy.server.sysviews.objects import moment_of
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.server.typeinfo import base_name, numbers
from tdsproxy.tsql import types as t
from tdsproxy.tsql.definition_text import expression_text, predicate_text
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value, Variant


def _tables(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        yield {
            "TABLE_CATALOG": scope.database.name,
            "TABLE_SCHEMA": table.schema,
            "TABLE_NAME": table.name,
            "TABLE_TYPE": "BASE TABLE",
        }
    for module in scope.objects.modules.values():
        if module.kind == "V":
            yield {
                "TABLE_CATALOG": scope.database.name,
                "TABLE_SCHEMA": module.schema,
                "TABLE_NAME": module.name,
                "TABLE_TYPE": "VIEW",
            }


def _measures(type_: SqlType) -> dict[str, Value]:
    about = numbers(type_)
    row: dict[str, Value] = {}
    if type_.name in t.LENGTH_TYPES:
        row["CHARACTER_MAXIMUM_LENGTH"] = type_.length
        row["CHARACTER_OCTET_LENGTH"] = about.length
    elif type_.name in ("text", "image", "ntext"):
        row["CHARACTER_MAXIMUM_LENGTH"] = 1073741823 if type_.name == "ntext" else 2147483647
        row["CHARACTER_OCTET_LENGTH"] = 2147483646 if type_.name == "ntext" else 2147483647
    elif type_.name == "xml":
        row["CHARACTER_MAXIMUM_LENGTH"] = row["CHARACTER_OCTET_LENGTH"] = -1
    if type_.is_number and type_.name != "bit":
        row["NUMERIC_PRECISION"] = about.precision
        row["NUMERIC_PRECISION_RADIX"] = 2 if type_.name in t.APPROXIMATE_TYPES else 10
        if type_.name not in t.APPROXIMATE_TYPES:
            row["NUMERIC_SCALE"] = about.scale
    if type_.is_temporal:
        row["DATETIME_PRECISION"] = 0 if type_.name == "date" else about.scale
    if type_.is_unicode and type_.name != "xml":
        row["CHARACTER_SET_NAME"] = "UNICODE"
    elif type_.is_character and type_.name != "xml":
        row["CHARACTER_SET_NAME"] = "iso_1"
    return row


def _column(scope: Scope, table: TableInfo, column: ColumnInfo) -> Row:
    return {
        "TABLE_CATALOG": scope.database.name,
        "TABLE_SCHEMA": table.schema,
        "TABLE_NAME": table.name,
        "COLUMN_NAME": column.name,
        "ORDINAL_POSITION": column.ordinal,
        "COLUMN_DEFAULT": expression_text(column.default.text) if column.default else None,
        "IS_NULLABLE": "YES" if column.nullable else "NO",
        "DATA_TYPE": base_name(column.type),
        "COLLATION_NAME": scope.database.collation
        if column.type.is_character and column.type.name != "xml"
        else None,
        **_measures(column.type),
    }


def _columns(scope: Scope) -> Iterator[Row]:
    for table in (*scope.objects.tables.values(), *scope.views()):
        for column in table.columns:
            yield _column(scope, table, column)


def _schemata(scope: Scope) -> Iterator[Row]:
    names = {schema.name: schema for schema in scope.objects.schemas}
    for name in ("dbo", "guest", "INFORMATION_SCHEMA", "sys", *names):
        if name in ("dbo", "guest", "INFORMATION_SCHEMA", "sys") and name in names:
            names.pop(name)
        yield {
            "CATALOG_NAME": scope.database.name,
            "SCHEMA_NAME": name,
            "SCHEMA_OWNER": name if name in ("dbo", "guest", "INFORMATION_SCHEMA", "sys") else "dbo",
            "DEFAULT_CHARACTER_SET_NAME": "iso_1",
        }


def _views(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind == "V":
            yield {
                "TABLE_CATALOG": scope.database.name,
                "TABLE_SCHEMA": module.schema,
                "TABLE_NAME": module.name,
                "VIEW_DEFINITION": module.text[:4000],
                "CHECK_OPTION": "NONE",
                "IS_UPDATABLE": "NO",
            }


def _routines(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind in ("P", "FN", "IF", "TF"):
            yield {
                "SPECIFIC_CATALOG": scope.database.name,
                "SPECIFIC_SCHEMA": module.schema,
                "SPECIFIC_NAME": module.name,
                "ROUTINE_CATALOG": scope.database.name,
                "ROUTINE_SCHEMA": module.schema,
                "ROUTINE_NAME": module.name,
                "ROUTINE_TYPE": "PROCEDURE" if module.kind == "P" else "FUNCTION",
                "ROUTINE_BODY": "SQL",
                "ROUTINE_DEFINITION": module.text[:4000],
                "IS_DETERMINISTIC": "NO",
                "SQL_DATA_ACCESS": "MODIFIES" if module.kind == "P" else "READS",
                "CREATED": moment_of(module.created),
                "LAST_ALTERED": moment_of(module.modified or module.created),
            }


def _constraint(scope: Scope, table: TableInfo, name: str) -> dict[str, Value]:
    return {
        "CONSTRAINT_CATALOG": scope.database.name,
        "CONSTRAINT_SCHEMA": table.schema,
        "CONSTRAINT_NAME": name,
        "TABLE_CATALOG": scope.database.name,
        "TABLE_SCHEMA": table.schema,
        "TABLE_NAME": table.name,
    }


def _table_constraints(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        kinds = [(key.name, "PRIMARY KEY" if key.primary else "UNIQUE") for key in table.keys]
        kinds += [(key.name, "FOREIGN KEY") for key in table.foreign_keys]
        kinds += [(check.name, "CHECK") for check in table.checks]
        for name, kind in kinds:
            yield _constraint(scope, table, name) | {
                "CONSTRAINT_TYPE": kind,
                "IS_DEFERRABLE": "NO",
                "INITIALLY_DEFERRED": "NO",
            }


def _key_columns(key: KeyInfo | ForeignKeyInfo) -> list[str]:
    return [name for name, _ in key.columns] if isinstance(key, KeyInfo) else list(key.columns)


def _key_usage(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        keys: list[KeyInfo | ForeignKeyInfo] = [*table.keys, *table.foreign_keys]
        for key in keys:
            for place, column in enumerate(_key_columns(key), 1):
                yield _constraint(scope, table, key.name) | {
                    "COLUMN_NAME": column,
                    "ORDINAL_POSITION": place,
                }


def _column_usage(scope: Scope) -> Iterator[Row]:
    for row in _key_usage(scope):
        yield {name: value for name, value in row.items() if name != "ORDINAL_POSITION"}
    for table in scope.objects.tables.values():
        for check in table.checks:
            if check.column:
                yield _constraint(scope, table, check.name) | {"COLUMN_NAME": check.column}


def _referential(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for key in table.foreign_keys:
            parent = next(
                (
                    other
                    for other in scope.objects.tables.values()
                    if other.sqlite_name.lower() == key.referenced_table.lower()
                ),
                None,
            )
            wanted = {name.lower() for name in key.referenced_columns}
            keys = parent.keys if parent else ()
            unique = next((k.name for k in keys if {n.lower() for n, _ in k.columns} == wanted), None)
            yield {
                "CONSTRAINT_CATALOG": scope.database.name,
                "CONSTRAINT_SCHEMA": table.schema,
                "CONSTRAINT_NAME": key.name,
                "UNIQUE_CONSTRAINT_CATALOG": scope.database.name,
                "UNIQUE_CONSTRAINT_SCHEMA": parent.schema if parent else None,
                "UNIQUE_CONSTRAINT_NAME": unique,
                "MATCH_OPTION": "SIMPLE",
                "UPDATE_RULE": key.on_update,
                "DELETE_RULE": key.on_delete,
            }


def _sequences(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind != SEQUENCE:
            continue
        info = sequence_of(module)
        about = numbers(info.sql_type)
        yield {
            "SEQUENCE_CATALOG": scope.database.name,
            "SEQUENCE_SCHEMA": module.schema,
            "SEQUENCE_NAME": module.name,
            "DATA_TYPE": base_name(info.sql_type),
            "NUMERIC_PRECISION": about.precision,
            "NUMERIC_PRECISION_RADIX": 10,
            "NUMERIC_SCALE": about.scale,
            "START_VALUE": Variant(info.sql_type, info.start),
            "MINIMUM_VALUE": Variant(info.sql_type, info.minimum),
            "MAXIMUM_VALUE": Variant(info.sql_type, info.maximum),
            "INCREMENT": Variant(info.sql_type, info.increment),
            "CYCLE_OPTION": int(info.cycle),
        }


def _parameters(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind not in ("P", "FN", "IF", "TF"):
            continue
        parameters, returns = parameters_of(module)
        given = [(p.name, p.type.type, "INOUT" if p.output else "IN", "NO") for p in parameters]
        first = [] if returns is None else [("", returns.type, "OUT", "YES")]
        for place, (name, type_, mode, result) in enumerate((*first, *given), 0 if first else 1):
            yield {
                "SPECIFIC_CATALOG": scope.database.name,
                "SPECIFIC_SCHEMA": module.schema,
                "SPECIFIC_NAME": module.name,
                "ORDINAL_POSITION": place,
                "PARAMETER_MODE": mode,
                "IS_RESULT": result,
                "AS_LOCATOR": "NO",
                "PARAMETER_NAME": name,
                "DATA_TYPE": "table type" if type_ is None else base_name(type_),
                **({} if type_ is None else _measures(type_)),
            }


def _table_usage(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for item in table.constraints():
            if not isinstance(item, DefaultInfo):
                yield _constraint(scope, table, item.name)


def _checks(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for check in table.checks:
            yield {
                "CONSTRAINT_CATALOG": scope.database.name,
                "CONSTRAINT_SCHEMA": table.schema,
                "CONSTRAINT_NAME": check.name,
                "CHECK_CLAUSE": predicate_text(check.text),
            }


_CONSTRAINT_COLUMNS: Final = """
CONSTRAINT_CATALOG nvarchar(128), CONSTRAINT_SCHEMA nvarchar(128), CONSTRAINT_NAME sysname!,
TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname
"""

VIEWS: Final[tuple[View, ...]] = (
    view(
        "INFORMATION_SCHEMA.TABLES",
        "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname!,"
        " TABLE_TYPE varchar(10)",
        _tables,
    ),
    view(
        "INFORMATION_SCHEMA.COLUMNS",
        "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME nvarchar(128)!,"
        "COLUMN_NAME sysname, ORDINAL_POSITION int, COLUMN_DEFAULT nvarchar(4000), IS_NULLABLE varchar(3),"
        "DATA_TYPE nvarchar(128), CHARACTER_MAXIMUM_LENGTH int, CHARACTER_OCTET_LENGTH int,"
        "NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint, NUMERIC_SCALE int,"
        "DATETIME_PRECISION smallint, CHARACTER_SET_CATALOG sysname, CHARACTER_SET_SCHEMA sysname,"
        "CHARACTER_SET_NAME sysname, COLLATION_CATALOG sysname, COLLATION_SCHEMA sysname,"
        "COLLATION_NAME sysname, DOMAIN_CATALOG sysname, DOMAIN_SCHEMA sysname, DOMAIN_NAME sysname",
        _columns,
    ),
    view(
        "INFORMATION_SCHEMA.SCHEMATA",
        "CATALOG_NAME nvarchar(128), SCHEMA_NAME nvarchar(128)!, SCHEMA_OWNER nvarchar(128),"
        "DEFAULT_CHARACTER_SET_CATALOG varchar(6), DEFAULT_CHARACTER_SET_SCHEMA varchar(3),"
        "DEFAULT_CHARACTER_SET_NAME sysname",
        _schemata,
    ),
    view(
        "INFORMATION_SCHEMA.VIEWS",
        "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME nvarchar(128)!,"
        "VIEW_DEFINITION nvarchar(4000), CHECK_OPTION varchar(7), IS_UPDATABLE varchar(2)!",
        _views,
    ),
    view(
        "INFORMATION_SCHEMA.ROUTINES",
        "SPECIFIC_CATALOG nvarchar(128), SPECIFIC_SCHEMA nvarchar(128), SPECIFIC_NAME nvarchar(128)!,"
        "ROUTINE_CATALOG nvarchar(128), ROUTINE_SCHEMA nvarchar(128), ROUTINE_NAME nvarchar(128)!,"
        "ROUTINE_TYPE nvarchar(20), MODULE_CATALOG sysname, MODULE_SCHEMA sysname, MODULE_NAME sysname,"
        "UDT_CATALOG sysname, UDT_SCHEMA sysname, UDT_NAME sysname, DATA_TYPE sysname,"
        "CHARACTER_MAXIMUM_LENGTH int, CHARACTER_OCTET_LENGTH int, ROUTINE_BODY nvarchar(30),"
        "ROUTINE_DEFINITION nvarchar(4000), EXTERNAL_NAME nvarchar(128), EXTERNAL_LANGUAGE nvarchar(30),"
        "PARAMETER_STYLE nvarchar(30), IS_DETERMINISTIC nvarchar(10), SQL_DATA_ACCESS nvarchar(30),"
        "IS_NULL_CALL nvarchar(10), SQL_PATH sysname, SCHEMA_LEVEL_ROUTINE nvarchar(10),"
        "MAX_DYNAMIC_RESULT_SETS smallint, IS_USER_DEFINED_CAST nvarchar(10),"
        "IS_IMPLICITLY_INVOCABLE nvarchar(10), CREATED datetime!, LAST_ALTERED datetime!",
        _routines,
    ),
    view(
        "INFORMATION_SCHEMA.TABLE_CONSTRAINTS",
        f"{_CONSTRAINT_COLUMNS}, CONSTRAINT_TYPE varchar(11), IS_DEFERRABLE varchar(2)!,"
        "INITIALLY_DEFERRED varchar(2)!",
        _table_constraints,
    ),
    view(
        "INFORMATION_SCHEMA.KEY_COLUMN_USAGE",
        f"{_CONSTRAINT_COLUMNS}, COLUMN_NAME nvarchar(128), ORDINAL_POSITION int!",
        _key_usage,
    ),
    view(
        "INFORMATION_SCHEMA.CONSTRAINT_COLUMN_USAGE",
        "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME nvarchar(128)!,"
        "COLUMN_NAME nvarchar(128), CONSTRAINT_CATALOG nvarchar(128), CONSTRAINT_SCHEMA nvarchar(128),"
        "CONSTRAINT_NAME sysname!",
        _column_usage,
    ),
    view(
        "INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS",
        "CONSTRAINT_CATALOG nvarchar(128), CONSTRAINT_SCHEMA nvarchar(128), CONSTRAINT_NAME sysname!,"
        "UNIQUE_CONSTRAINT_CATALOG nvarchar(128), UNIQUE_CONSTRAINT_SCHEMA nvarchar(128),"
        "UNIQUE_CONSTRAINT_NAME sysname, MATCH_OPTION varchar(7), UPDATE_RULE varchar(11),"
        "DELETE_RULE varchar(11)",
        _referential,
    ),
    view(
        "INFORMATION_SCHEMA.PARAMETERS",
        "SPECIFIC_CATALOG nvarchar(128), SPECIFIC_SCHEMA nvarchar(128), SPECIFIC_NAME nvarchar(128)!,"
        "ORDINAL_POSITION int!, PARAMETER_MODE nvarchar(10), IS_RESULT nvarchar(10), AS_LOCATOR nvarchar(10),"
        "PARAMETER_NAME nvarchar(128), DATA_TYPE nvarchar(128), CHARACTER_MAXIMUM_LENGTH int,"
        "CHARACTER_OCTET_LENGTH int, COLLATION_CATALOG sysname, COLLATION_SCHEMA sysname,"
        "COLLATION_NAME sysname, CHARACTER_SET_CATALOG sysname, CHARACTER_SET_SCHEMA sysname,"
        "CHARACTER_SET_NAME sysname, NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint,"
        "NUMERIC_SCALE int, DATETIME_PRECISION smallint, INTERVAL_TYPE nvarchar(30),"
        "INTERVAL_PRECISION smallint, USER_DEFINED_TYPE_CATALOG sysname, USER_DEFINED_TYPE_SCHEMA sysname,"
        "USER_DEFINED_TYPE_NAME sysname, SCOPE_CATALOG sysname, SCOPE_SCHEMA sysname, SCOPE_NAME sysname",
        _parameters,
    ),
    view(
        "INFORMATION_SCHEMA.CONSTRAINT_TABLE_USAGE",
        "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname!,"
        "CONSTRAINT_CATALOG nvarchar(128), CONSTRAINT_SCHEMA nvarchar(128), CONSTRAINT_NAME sysname!",
        _table_usage,
    ),
    view(
        "INFORMATION_SCHEMA.DOMAINS",
        "DOMAIN_CATALOG nvarchar(128), DOMAIN_SCHEMA nvarchar(128), DOMAIN_NAME sysname!,"
        "DATA_TYPE nvarchar(128), CHARACTER_MAXIMUM_LENGTH int, CHARACTER_OCTET_LENGTH int,"
        "COLLATION_NAME sysname, NUMERIC_PRECISION tinyint, NUMERIC_SCALE int, DOMAIN_DEFAULT nvarchar(4000)",
    ),
    *(
        view(f"INFORMATION_SCHEMA.{name}", f"GRANTOR nvarchar(128), GRANTEE nvarchar(128), {columns}")
        for name, columns in (
            (
                "TABLE_PRIVILEGES",
                "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname!,"
                "PRIVILEGE_TYPE varchar(10), IS_GRANTABLE varchar(3)",
            ),
            (
                "COLUMN_PRIVILEGES",
                "TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname!,"
                "COLUMN_NAME sysname, PRIVILEGE_TYPE varchar(10), IS_GRANTABLE varchar(3)",
            ),
        )
    ),
    *(
        view(
            f"INFORMATION_SCHEMA.{name}",
            "VIEW_CATALOG nvarchar(128), VIEW_SCHEMA nvarchar(128), VIEW_NAME sysname!,"
            f"TABLE_CATALOG nvarchar(128), TABLE_SCHEMA nvarchar(128), TABLE_NAME sysname!{columns}",
        )
        for name, columns in (("VIEW_TABLE_USAGE", ""), ("VIEW_COLUMN_USAGE", ", COLUMN_NAME sysname"))
    ),
    view(
        "INFORMATION_SCHEMA.SEQUENCES",
        "SEQUENCE_CATALOG nvarchar(128), SEQUENCE_SCHEMA nvarchar(128), SEQUENCE_NAME sysname!,"
        "DATA_TYPE nvarchar(128), NUMERIC_PRECISION tinyint, NUMERIC_PRECISION_RADIX smallint,"
        "NUMERIC_SCALE int, START_VALUE sql_variant!, MINIMUM_VALUE sql_variant, MAXIMUM_VALUE sql_variant,"
        "INCREMENT sql_variant!, CYCLE_OPTION bit, DECLARED_DATA_TYPE sysname,"
        "DECLARED_NUMERIC_PRECISION tinyint, DECLARED_NUMERIC_SCALE smallint",
        _sequences,
    ),
    view(
        "INFORMATION_SCHEMA.CHECK_CONSTRAINTS",
        "CONSTRAINT_CATALOG nvarchar(128), CONSTRAINT_SCHEMA nvarchar(128), CONSTRAINT_NAME sysname!,"
        "CHECK_CLAUSE nvarchar(4000)",
        _checks,
    ),
)

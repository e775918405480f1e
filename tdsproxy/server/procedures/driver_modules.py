"""What drivers ask about the parameters of procedures and about permissions: sp_sproc_columns,
sp_table_privileges, sp_column_privileges."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.procedures.drivers import matches, objects_of, type_facts
from tdsproxy.server.schema import ModuleInfo, TableInfo
from tdsproxy.server.sysviews.modules import parameters_of
from tdsproxy.tsql import types as t
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_ACTIONS: Final = ("DELETE", "INSERT", "REFERENCES", "SELECT", "UPDATE")
_COLUMN_ACTIONS: Final = ("INSERT", "REFERENCES", "SELECT", "UPDATE")
_RETURN, _INPUT, _INPUT_OUTPUT = 5, 1, 2
"""COLUMN_TYPE: the return value, an input parameter, one for both ways."""


def _procedure_columns(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_sproc_columns",
        "@procedure_name @procedure_owner @procedure_qualifier @column_name @ODBCVer @fUsePattern",
        arguments,
    )
    patterns = given.number("@fUsePattern") != 0
    version = given.number("@ODBCVer") or 2
    database, objects = objects_of(session, given.text("@procedure_qualifier"))
    rows: list[dict[str, Value]] = []
    for module in objects.modules.values() if objects else ():
        if module.kind not in ("P", "FN", "IF", "TF"):
            continue
        if not matches(module.name, given.text("@procedure_name"), patterns=patterns):
            continue
        if not matches(module.schema, given.text("@procedure_owner"), patterns=patterns):
            continue
        rows += [
            row
            for row in _parameters(database, module, version)
            if matches(str(row["COLUMN_NAME"]), given.text("@column_name"), patterns=patterns)
        ]
    rows.sort(
        key=lambda r: (str(r["PROCEDURE_OWNER"]), str(r["PROCEDURE_NAME"]), int(str(r["ORDINAL_POSITION"])))
    )
    yield from result(
        "PROCEDURE_QUALIFIER sysname, PROCEDURE_OWNER sysname, PROCEDURE_NAME nvarchar(134)!,"
        "COLUMN_NAME sysname!, COLUMN_TYPE smallint!, DATA_TYPE smallint!, TYPE_NAME sysname!, PRECISION int,"
        "LENGTH int, SCALE smallint, RADIX smallint, NULLABLE smallint!, REMARKS varchar(254),"
        "COLUMN_DEF nvarchar(4000), SQL_DATA_TYPE smallint!, SQL_DATETIME_SUB smallint,"
        "CHAR_OCTET_LENGTH int, ORDINAL_POSITION int!, IS_NULLABLE varchar(254), SS_DATA_TYPE tinyint",
        rows,
    )
    return 0


def _parameters(database: str, module: ModuleInfo, version: int) -> Iterator[dict[str, Value]]:
    parameters, returns = parameters_of(module)
    group = 1 if module.kind == "P" else 0
    common: dict[str, Value] = {
        "PROCEDURE_QUALIFIER": database,
        "PROCEDURE_OWNER": module.schema,
        "PROCEDURE_NAME": f"{module.name};{group}",
    }
    if module.kind in ("IF", "TF"):
        first: dict[str, Value] = {"COLUMN_NAME": "@TABLE_RETURN_VALUE", "COLUMN_TYPE": 3, "NULLABLE": 0}
        yield {**common, **type_facts(t.INT, version), **first, "TYPE_NAME": "table", "ORDINAL_POSITION": 0}
    else:
        type_ = t.INT if returns is None or returns.type is None else returns.type
        nullable = int(module.kind != "P")
        yield {**common, **type_facts(type_, version), **_named("@RETURN_VALUE", _RETURN, 0, nullable)}
    for place, parameter in enumerate(parameters, 1):
        found: SqlType | None = parameter.type.type
        if found is not None:
            kind = _INPUT_OUTPUT if parameter.output else _INPUT
            yield {**common, **type_facts(found, version), **_named(parameter.name, kind, place, 1)}


def _named(name: str, kind: int, place: int, nullable: int) -> dict[str, Value]:
    return {
        "COLUMN_NAME": name,
        "COLUMN_TYPE": kind,
        "ORDINAL_POSITION": place,
        "NULLABLE": nullable,
        "IS_NULLABLE": "YES" if nullable else "NO",
    }


def _grants(
    session: Session, database: str, table: TableInfo, actions: Sequence[str]
) -> Iterator[dict[str, Value]]:
    """The owner has every permission and may pass it on; others have what GRANT gave them."""
    common: dict[str, Value] = {
        "TABLE_QUALIFIER": database,
        "TABLE_OWNER": table.schema,
        "TABLE_NAME": table.name,
        "GRANTOR": "dbo",
    }
    for action in actions:
        yield {**common, "GRANTEE": "dbo", "PRIVILEGE": action, "IS_GRANTABLE": "YES"}
    for grant in session.grants_of(database):
        if grant.object_id == table.object_id and grant.permission in actions and grant.state == "G":
            yield {**common, "GRANTEE": grant.grantee, "PRIVILEGE": grant.permission, "IS_GRANTABLE": "NO"}


def _table_privileges(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_table_privileges", "@table_name @table_owner @table_qualifier @fUsePattern", arguments
    )
    patterns = given.number("@fUsePattern") != 0
    database, objects = objects_of(session, given.text("@table_qualifier"))
    rows: list[dict[str, Value]] = []
    for table in objects.tables.values() if objects else ():
        named = matches(table.name, given.text("@table_name"), patterns=patterns)
        if named and matches(table.schema, given.text("@table_owner"), patterns=patterns):
            rows += _grants(session, database, table, _ACTIONS)
    rows.sort(key=lambda r: tuple(str(r[n]) for n in ("TABLE_OWNER", "TABLE_NAME", "PRIVILEGE", "GRANTEE")))
    yield from result(
        "TABLE_QUALIFIER sysname, TABLE_OWNER sysname!, TABLE_NAME sysname!, GRANTOR sysname!,"
        "GRANTEE sysname!, PRIVILEGE varchar(32)!, IS_GRANTABLE varchar(3)",
        rows,
    )
    return 0


def _column_privileges(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_column_privileges", "@table_name @table_owner @table_qualifier @column_name", arguments
    )
    database, objects = objects_of(session, given.text("@table_qualifier"))
    rows: list[dict[str, Value]] = []
    for table in objects.tables.values() if objects else ():
        if not matches(table.name, given.text("@table_name"), patterns=False):
            continue
        if not matches(table.schema, given.text("@table_owner"), patterns=False):
            continue
        rows += [
            {**row, "COLUMN_NAME": column.name}
            for column in table.columns
            if matches(column.name, given.text("@column_name"), patterns=True)
            for row in _grants(session, database, table, _COLUMN_ACTIONS)
        ]
    rows.sort(key=lambda r: (str(r["COLUMN_NAME"]), str(r["PRIVILEGE"])))
    yield from result(
        "TABLE_QUALIFIER sysname, TABLE_OWNER sysname!, TABLE_NAME sysname!, COLUMN_NAME sysname!,"
        "GRANTOR sysname!, GRANTEE sysname!, PRIVILEGE varchar(32)!, IS_GRANTABLE varchar(3)",
        rows,
    )
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_sproc_columns": _procedure_columns,
    "sp_sproc_columns_90": _procedure_columns,
    "sp_sproc_columns_100": _procedure_columns,
    "sp_table_privileges": _table_privileges,
    "sp_column_privileges": _column_privileges,
}

"""What ODBC and JDBC drivers call: sp_tables, sp_columns, sp_datatype_info, keys, statistics."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.schema import ColumnInfo, DatabaseSchema, KeyInfo, TableInfo
from tdsproxy.server.typeinfo import base_name, numbers
from tdsproxy.tsql import types as t
from tdsproxy.tsql.definition_text import expression_text
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.operators import like
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session


@dataclass(frozen=True, slots=True)
class OdbcType:
    """One row of sp_datatype_info. ``code`` is the concise ODBC type, ``sub`` the datetime subcode."""

    name: str
    code: int
    precision: int
    prefix: str | None = None
    suffix: str | None = None
    create: str | None = None
    searchable: int = 2
    case_sensitive: int = 0
    unsigned: int | None = None
    money: int = 0
    low: int | None = None
    high: int | None = None
    sub: int | None = None
    radix: int | None = None
    verbose: int | None = None

    @property
    def old_code(self) -> int:
        """The code for ODBC 2 applications: datetime had another number then."""
        return {91: -9, 93: 11, -154: -9, -155: -9}.get(self.code, self.code)


ODBC_TYPES: Final = (
    OdbcType("sql_variant", -150, 8000),
    OdbcType("uniqueidentifier", -11, 36, "'", "'"),
    OdbcType("ntext", -10, 1073741823, "N'", "'", None, 1),
    OdbcType("xml", -152, 0, "N'", "'", None, 0, 1),
    OdbcType("nvarchar", -9, 4000, "N'", "'", "max length", 3),
    OdbcType("sysname", -9, 128, "N'", "'", None, 3),
    OdbcType("nchar", -8, 4000, "N'", "'", "length", 3),
    OdbcType("bit", -7, 1),
    OdbcType("tinyint", -6, 3, unsigned=1, low=0, high=0, radix=10),
    OdbcType("bigint", -5, 19, unsigned=0, low=0, high=0, radix=10),
    OdbcType("image", -4, 2147483647, "0x", searchable=0),
    OdbcType("varbinary", -3, 8000, "0x", None, "max length"),
    OdbcType("binary", -2, 8000, "0x", None, "length"),
    OdbcType("timestamp", -2, 8, "0x"),
    OdbcType("text", -1, 2147483647, "'", "'", None, 1),
    OdbcType("char", 1, 8000, "'", "'", "length", 3),
    OdbcType("numeric", 2, 38, None, None, "precision,scale", unsigned=0, low=0, high=38, radix=10),
    OdbcType("decimal", 3, 38, None, None, "precision,scale", unsigned=0, low=0, high=38, radix=10),
    OdbcType("money", 3, 19, "$", unsigned=0, money=1, low=4, high=4, radix=10),
    OdbcType("smallmoney", 3, 10, "$", unsigned=0, money=1, low=4, high=4, radix=10),
    OdbcType("int", 4, 10, unsigned=0, low=0, high=0, radix=10),
    OdbcType("smallint", 5, 5, unsigned=0, low=0, high=0, radix=10),
    OdbcType("float", 6, 53, unsigned=0, radix=2),
    OdbcType("real", 7, 24, unsigned=0, radix=2),
    OdbcType("varchar", 12, 8000, "'", "'", "max length", 3),
    OdbcType("date", 91, 10, "'", "'", None, 3, sub=1, verbose=9),
    OdbcType("time", -154, 16, "'", "'", "scale", 3, low=0, high=7, verbose=-154),
    OdbcType("datetime2", 93, 27, "'", "'", "scale", 3, low=0, high=7, sub=3, verbose=9),
    OdbcType("datetimeoffset", -155, 34, "'", "'", "scale", 3, low=0, high=7, verbose=-155),
    OdbcType("datetime", 93, 23, "'", "'", None, 3, low=3, high=3, sub=3, verbose=9),
    OdbcType("smalldatetime", 93, 16, "'", "'", None, 3, low=0, high=0, sub=3, verbose=9),
)
_BY_NAME: Final = {item.name: item for item in ODBC_TYPES}

_TYPE_COLUMNS: Final = """
TYPE_NAME sysname!, DATA_TYPE smallint!, PRECISION int, LITERAL_PREFIX varchar(32),
LITERAL_SUFFIX varchar(32),
CREATE_PARAMS varchar(32), NULLABLE smallint!, CASE_SENSITIVE smallint!, SEARCHABLE smallint!,
UNSIGNED_ATTRIBUTE smallint, MONEY smallint!, AUTO_INCREMENT smallint, LOCAL_TYPE_NAME sysname!,
MINIMUM_SCALE smallint, MAXIMUM_SCALE smallint, SQL_DATA_TYPE smallint!, SQL_DATETIME_SUB smallint,
NUM_PREC_RADIX int, INTERVAL_PRECISION smallint, USERTYPE smallint
"""


def _data_types(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_datatype_info", "@data_type @ODBCVer", arguments)
    wanted = given.number("@data_type") or 0
    version = given.number("@ODBCVer") or 2
    rows: list[dict[str, Value]] = []
    for item in ODBC_TYPES:
        code = item.code if version >= 3 else item.old_code
        if wanted not in (0, code):
            continue
        rows.append(
            {
                "TYPE_NAME": item.name,
                "DATA_TYPE": code,
                "PRECISION": item.precision,
                "LITERAL_PREFIX": item.prefix,
                "LITERAL_SUFFIX": item.suffix,
                "CREATE_PARAMS": item.create,
                "NULLABLE": 0 if item.name in ("sysname", "timestamp") else 1,
                "CASE_SENSITIVE": item.case_sensitive,
                "SEARCHABLE": item.searchable,
                "UNSIGNED_ATTRIBUTE": item.unsigned,
                "MONEY": item.money,
                "AUTO_INCREMENT": None if item.unsigned is None else 0,
                "LOCAL_TYPE_NAME": item.name,
                "MINIMUM_SCALE": item.low,
                "MAXIMUM_SCALE": item.high,
                "SQL_DATA_TYPE": item.verbose or item.code,
                "SQL_DATETIME_SUB": item.sub,
                "NUM_PREC_RADIX": item.radix,
                "INTERVAL_PRECISION": None,
                "USERTYPE": 0,
            }
        )
    rows.sort(key=lambda row: int(str(row["DATA_TYPE"])))
    yield from result(_TYPE_COLUMNS, rows)
    return 0


# --------------------------------------------------------------------------- tables and columns


def matches(text: str, pattern: str | None, *, patterns: bool) -> bool:
    """Whether ``text`` is what was asked for; None asks for all."""
    if pattern is None:
        return True
    if not patterns:
        return text.lower() == pattern.lower()
    return like(text, pattern, None)


def objects_of(session: Session, database: str | None) -> tuple[str, DatabaseSchema | None]:
    """The database's name, the current one for None, and its objects, None where there is no such one."""
    name = database or session.database
    return name, session.find_objects(name)


_TABLE_COLUMNS: Final = """
TABLE_QUALIFIER sysname, TABLE_OWNER sysname, TABLE_NAME sysname, TABLE_TYPE varchar(32), REMARKS varchar(254)
"""


def _listed(session: Session, database: str | None) -> Iterator[tuple[str, str, str, str]]:
    """(database, schema, name, type) of everything that can be selected from."""
    name, objects = objects_of(session, database)
    if objects is None:
        return
    for table in objects.tables.values():
        yield name, table.schema, table.name, "TABLE"
    for module in objects.modules.values():
        if module.kind == "V":
            yield name, module.schema, module.name, "VIEW"


def _tables(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_tables", "@table_name @table_owner @table_qualifier @table_type @fUsePattern", arguments
    )
    name, owner, qualifier = (given.text(n) for n in ("@table_name", "@table_owner", "@table_qualifier"))
    kinds = given.text("@table_type")
    patterns = given.number("@fUsePattern") != 0
    rows: list[dict[str, Value]]
    if qualifier == "%" and name == "" and owner == "":
        rows = [
            {"TABLE_QUALIFIER": d.name}
            for d in session.visible_databases()
            if d.online and session.rights.may_use(d.name)
        ]
        yield from result(_TABLE_COLUMNS, rows)
        return 0
    if kinds == "%" and not any((name, owner, qualifier)):
        rows = [{"TABLE_TYPE": kind} for kind in ("SYSTEM TABLE", "TABLE", "VIEW")]
        yield from result(_TABLE_COLUMNS, rows)
        return 0
    # jTDS puts quotation marks around the list of types, too.
    listed = (kinds or "").strip().strip('"')
    wanted = {part.strip().strip("'").upper() for part in listed.split(",") if part.strip()}
    rows = [
        {"TABLE_QUALIFIER": database, "TABLE_OWNER": schema, "TABLE_NAME": table, "TABLE_TYPE": kind}
        for database, schema, table, kind in _listed(session, qualifier)
        if (not wanted or kind in wanted)
        and matches(table, name or None, patterns=patterns)
        and matches(schema, owner or None, patterns=patterns)
    ]
    order = {"SYSTEM TABLE": 0, "TABLE": 1, "VIEW": 2}
    rows.sort(key=lambda r: (order[str(r["TABLE_TYPE"])], str(r["TABLE_OWNER"]), str(r["TABLE_NAME"])))
    yield from result(_TABLE_COLUMNS, rows)
    return 0


_COLUMN_COLUMNS: Final = """
TABLE_QUALIFIER sysname, TABLE_OWNER sysname, TABLE_NAME sysname!, COLUMN_NAME sysname!, DATA_TYPE smallint!,
TYPE_NAME sysname!, PRECISION int, LENGTH int, SCALE smallint, RADIX smallint, NULLABLE smallint!,
REMARKS varchar(254), COLUMN_DEF nvarchar(4000), SQL_DATA_TYPE smallint!, SQL_DATETIME_SUB smallint,
CHAR_OCTET_LENGTH int, ORDINAL_POSITION int!, IS_NULLABLE varchar(254)
"""
_COLUMN_COLUMNS_100: Final = (
    _COLUMN_COLUMNS
    + """, SS_IS_SPARSE smallint, SS_IS_COLUMN_SET smallint, SS_IS_COMPUTED smallint, SS_IS_IDENTITY smallint,
SS_UDT_CATALOG_NAME sysname, SS_UDT_SCHEMA_NAME sysname, SS_UDT_ASSEMBLY_TYPE_NAME sysname,
SS_XML_SCHEMACOLLECTION_CATALOG_NAME sysname, SS_XML_SCHEMACOLLECTION_SCHEMA_NAME sysname,
SS_XML_SCHEMACOLLECTION_NAME sysname, SS_DATA_TYPE tinyint"""
)


def _measures(type_: SqlType) -> tuple[int, int, int | None, int | None]:
    """(PRECISION, LENGTH, SCALE, RADIX) as ODBC counts them."""
    about = numbers(type_)
    if type_.name in t.LENGTH_TYPES:
        if type_.length == t.MAX:
            return 0, 0, None, None
        return type_.length or 1, about.length, None, None
    if type_.name == "decimal":
        precision = type_.precision or 18
        return precision, precision + 2, type_.scale or 0, 10
    if type_.name in ("money", "smallmoney"):
        return about.precision, about.precision + 2, 4, 10
    if type_.is_integer:
        return about.precision, about.length, 0, 10
    if type_.name in t.APPROXIMATE_TYPES:
        return (53 if type_.name == "float" else 24), about.length, None, 2
    if type_.name in ("datetime", "smalldatetime", "datetime2"):
        return about.precision, 16, about.scale, None
    if type_.name == "date":
        return 10, 6, None, None
    if type_.name == "time":
        return about.precision, 12, about.scale, None
    if type_.name == "datetimeoffset":
        return about.precision, 20, about.scale, None
    if type_.name == "uniqueidentifier":
        return 36, 16, None, None
    if type_.name in ("text", "image"):
        return 2147483647, 2147483647, None, None
    if type_.name == "ntext":
        return 1073741823, 2147483646, None, None
    if type_.name == "sql_variant":
        return 8000, 8000, None, None
    return max(about.precision, about.length, 0), max(about.length, 0), None, None


_SS_TYPES: Final = {
    "image": 34, "text": 35, "uniqueidentifier": 37, "varbinary": 37, "varchar": 39, "binary": 45,
    "char": 47, "timestamp": 45, "nvarchar": 39, "nchar": 39, "ntext": 35, "bit": 50, "tinyint": 48,
    "smallint": 52, "int": 56, "smalldatetime": 58, "real": 59, "money": 60, "datetime": 61, "float": 62,
    "decimal": 106, "numeric": 108, "smallmoney": 122, "bigint": 108, "date": 0, "time": 0, "datetime2": 0,
    "datetimeoffset": 0, "sql_variant": 39, "xml": 0,
}  # fmt: skip
_SS_NULLABLE: Final = {
    "tinyint": 38, "smallint": 38, "int": 38, "smalldatetime": 111, "real": 109, "money": 110,
    "datetime": 111, "float": 109, "smallmoney": 110,
}  # fmt: skip


def type_facts(type_: SqlType, version: int) -> dict[str, Value]:
    """The columns about a type that sp_columns and sp_sproc_columns have in common."""
    name = base_name(type_)
    odbc = _BY_NAME.get(name, _BY_NAME["nvarchar"])
    precision, length, scale, radix = _measures(type_)
    return {
        "DATA_TYPE": odbc.code if version >= 3 else odbc.old_code,
        "TYPE_NAME": name,
        "PRECISION": precision,
        "LENGTH": length,
        "SCALE": scale,
        "RADIX": radix,
        "SQL_DATA_TYPE": odbc.verbose or odbc.code,
        "SQL_DATETIME_SUB": odbc.sub,
        "CHAR_OCTET_LENGTH": length if type_.is_character or type_.is_binary else None,
        "SS_DATA_TYPE": _SS_TYPES.get(name, 0),
    }


def _column_row(database: str, table: TableInfo, column: ColumnInfo, version: int) -> dict[str, Value]:
    name = base_name(column.type)
    facts = type_facts(column.type, version)
    return {
        **facts,
        "TABLE_QUALIFIER": database,
        "TABLE_OWNER": table.schema,
        "TABLE_NAME": table.name,
        "COLUMN_NAME": column.name,
        "TYPE_NAME": f"{name} identity" if column.identity else name,
        "NULLABLE": int(column.nullable),
        "COLUMN_DEF": expression_text(column.default.text) if column.default else None,
        "ORDINAL_POSITION": column.ordinal,
        "IS_NULLABLE": "YES" if column.nullable else "NO",
        "SS_IS_SPARSE": 0,
        "SS_IS_COLUMN_SET": 0,
        "SS_IS_COMPUTED": int(column.computed is not None),
        "SS_IS_IDENTITY": int(column.identity is not None),
        "SS_DATA_TYPE": _SS_NULLABLE.get(name, facts["SS_DATA_TYPE"])
        if column.nullable
        else facts["SS_DATA_TYPE"],
    }


def _columns(session: Session, frame: Frame, arguments: Sequence[Argument], *, wide: bool) -> Replies:
    given = Parameters(
        "sp_columns_100" if wide else "sp_columns",
        "@table_name @table_owner @table_qualifier @column_name @NameScope @ODBCVer @fUsePattern"
        if wide
        else "@table_name @table_owner @table_qualifier @column_name @ODBCVer",
        arguments,
    )
    patterns = not wide or given.number("@fUsePattern") != 0
    version = given.number("@ODBCVer") or 2
    database, objects = objects_of(session, given.text("@table_qualifier"))
    rows = []
    views = session.evaluator.sql.shapes.views(database, frame) if objects else ()
    for table in (*objects.tables.values(), *views) if objects else ():
        if not matches(table.name, given.text("@table_name"), patterns=patterns):
            continue
        if not matches(table.schema, given.text("@table_owner"), patterns=patterns):
            continue
        rows += [
            _column_row(database, table, column, version)
            for column in table.columns
            if matches(column.name, given.text("@column_name"), patterns=patterns)
        ]
    rows.sort(key=lambda r: (str(r["TABLE_OWNER"]), str(r["TABLE_NAME"]), int(str(r["ORDINAL_POSITION"]))))
    columns = _COLUMN_COLUMNS_100 if wide else _COLUMN_COLUMNS + ", SS_DATA_TYPE tinyint"
    yield from result(columns, rows)
    return 0


def _columns_old(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    return (yield from _columns(session, frame, arguments, wide=False))


def _columns_100(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    return (yield from _columns(session, frame, arguments, wide=True))


# --------------------------------------------------------------------------- keys and indexes


def _primary_keys(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_pkeys", "@table_name @table_owner @table_qualifier", arguments)
    database, objects = objects_of(session, given.text("@table_qualifier"))
    rows: list[dict[str, Value]] = []
    for table in _named(objects, given.required("@table_name"), given.text("@table_owner")):
        key = table.primary_key
        for place, (column, _) in enumerate(key.columns if key else (), 1):
            rows.append(
                {
                    "TABLE_QUALIFIER": database,
                    "TABLE_OWNER": table.schema,
                    "TABLE_NAME": table.name,
                    "COLUMN_NAME": column,
                    "KEY_SEQ": place,
                    "PK_NAME": key.name if key else None,
                }
            )
    yield from result(
        "TABLE_QUALIFIER sysname, TABLE_OWNER sysname, TABLE_NAME sysname!, COLUMN_NAME sysname!,"
        "KEY_SEQ smallint!, PK_NAME sysname",
        rows,
    )
    return 0


def _named(objects: DatabaseSchema | None, name: str | None, owner: str | None) -> list[TableInfo]:
    if objects is None:
        return []
    return [
        table
        for table in objects.tables.values()
        if matches(table.name, name, patterns=False) and matches(table.schema, owner, patterns=False)
    ]


_FK_RULES: Final = {"CASCADE": 0, "NO ACTION": 1, "SET NULL": 2, "SET DEFAULT": 3}


def _foreign_keys(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_fkeys",
        "@pktable_name @pktable_owner @pktable_qualifier @fktable_name @fktable_owner @fktable_qualifier",
        arguments,
    )
    database, objects = objects_of(
        session, given.text("@pktable_qualifier") or given.text("@fktable_qualifier")
    )
    rows: list[dict[str, Value]] = []
    for table in _named(objects, given.text("@fktable_name"), given.text("@fktable_owner")):
        for key in table.foreign_keys:
            parent = next(
                (
                    x
                    for x in (objects.tables.values() if objects else ())
                    if x.sqlite_name.lower() == key.referenced_table.lower()
                ),
                None,
            )
            if parent is None or not matches(parent.name, given.text("@pktable_name"), patterns=False):
                continue
            if not matches(parent.schema, given.text("@pktable_owner"), patterns=False):
                continue
            primary = parent.primary_key
            for place, (own, other) in enumerate(zip(key.columns, key.referenced_columns, strict=False), 1):
                rows.append(
                    {
                        "PKTABLE_QUALIFIER": database,
                        "PKTABLE_OWNER": parent.schema,
                        "PKTABLE_NAME": parent.name,
                        "PKCOLUMN_NAME": other,
                        "FKTABLE_QUALIFIER": database,
                        "FKTABLE_OWNER": table.schema,
                        "FKTABLE_NAME": table.name,
                        "FKCOLUMN_NAME": own,
                        "KEY_SEQ": place,
                        "UPDATE_RULE": _FK_RULES.get(key.on_update, 1),
                        "DELETE_RULE": _FK_RULES.get(key.on_delete, 1),
                        "FK_NAME": key.name,
                        "PK_NAME": primary.name if primary else None,
                        "DEFERRABILITY": 7,
                    }
                )
    yield from result(
        "PKTABLE_QUALIFIER sysname, PKTABLE_OWNER sysname, PKTABLE_NAME sysname!, PKCOLUMN_NAME sysname!,"
        "FKTABLE_QUALIFIER sysname, FKTABLE_OWNER sysname, FKTABLE_NAME sysname!, FKCOLUMN_NAME sysname!,"
        "KEY_SEQ smallint!, UPDATE_RULE smallint, DELETE_RULE smallint, FK_NAME sysname, PK_NAME sysname,"
        "DEFERRABILITY smallint",
        rows,
    )
    return 0


def _statistics(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_statistics",
        "@table_name @table_owner @table_qualifier @index_name @is_unique @accuracy",
        arguments,
    )
    database, objects = objects_of(session, given.text("@table_qualifier"))
    rows: list[dict[str, Value]] = []
    for table in _named(objects, given.required("@table_name"), given.text("@table_owner")):
        place = {"TABLE_QUALIFIER": database, "TABLE_OWNER": table.schema, "TABLE_NAME": table.name}
        rows.append({**place, "TYPE": 0})
        for number, index in table.numbered_indexes:
            unique = isinstance(index, KeyInfo) or index.unique
            if given.text("@is_unique") == "Y" and not unique:
                continue
            if not matches(index.name, given.text("@index_name"), patterns=True):
                continue
            for ordinal, (column, descending) in enumerate(index.columns, 1):
                rows.append(
                    {
                        **place,
                        "NON_UNIQUE": int(not unique),
                        "INDEX_QUALIFIER": table.name,
                        "INDEX_NAME": index.name,
                        "TYPE": 1 if number == 1 else 3,
                        "SEQ_IN_INDEX": ordinal,
                        "COLUMN_NAME": column,
                        "COLLATION": "D" if descending else "A",
                    }
                )
    yield from result(
        "TABLE_QUALIFIER sysname, TABLE_OWNER sysname, TABLE_NAME sysname!, NON_UNIQUE smallint,"
        "INDEX_QUALIFIER sysname, INDEX_NAME sysname, TYPE smallint!, SEQ_IN_INDEX smallint,"
        "COLUMN_NAME sysname, COLLATION char(1), CARDINALITY int, PAGES int, FILTER_CONDITION varchar(128)",
        rows,
    )
    return 0


def _stored_procedures(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_stored_procedures", "@sp_name @sp_owner @sp_qualifier @fUsePattern", arguments)
    patterns = given.number("@fUsePattern") != 0
    database, objects = objects_of(session, given.text("@sp_qualifier"))
    rows: list[dict[str, Value]] = []
    for module in objects.modules.values() if objects else ():
        if module.kind not in ("P", "FN", "IF", "TF"):
            continue
        if not matches(module.name, given.text("@sp_name"), patterns=patterns):
            continue
        rows.append(
            {
                "PROCEDURE_QUALIFIER": database,
                "PROCEDURE_OWNER": module.schema,
                "PROCEDURE_NAME": f"{module.name};{1 if module.kind == 'P' else 0}",
                "NUM_INPUT_PARAMS": -1,
                "NUM_OUTPUT_PARAMS": -1,
                "NUM_RESULT_SETS": -1,
                "PROCEDURE_TYPE": 2,
            }
        )
    yield from result(
        "PROCEDURE_QUALIFIER sysname, PROCEDURE_OWNER sysname, PROCEDURE_NAME nvarchar(134)!,"
        "NUM_INPUT_PARAMS int!, NUM_OUTPUT_PARAMS int!, NUM_RESULT_SETS int!, REMARKS varchar(254),"
        "PROCEDURE_TYPE smallint!",
        rows,
    )
    return 0


def _special_columns(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_special_columns",
        "@table_name @table_owner @table_qualifier @col_type @scope @nullable @ODBCVer",
        arguments,
    )
    _, objects = objects_of(session, given.text("@table_qualifier"))
    rows: list[dict[str, Value]] = []
    for table in _named(objects, given.text("@table_name"), given.text("@table_owner")):
        key = table.primary_key
        for name, _ in key.columns if key else ():
            column = table.column(name)
            if column is not None:
                row = _column_row("", table, column, given.number("@ODBCVer") or 2)
                rows.append({**row, "SCOPE": 1, "PSEUDO_COLUMN": 1})
    yield from result(
        "SCOPE smallint, COLUMN_NAME sysname!, DATA_TYPE smallint!, TYPE_NAME sysname!, PRECISION int,"
        "LENGTH int, SCALE smallint, PSEUDO_COLUMN smallint",
        rows,
    )
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_datatype_info": _data_types,
    "sp_datatype_info_90": _data_types,
    "sp_datatype_info_100": _data_types,
    "sp_tables": _tables,
    "sp_columns": _columns_old,
    "sp_columns_90": _columns_old,
    "sp_columns_100": _columns_100,
    "sp_columns_170": _columns_100,
    "sp_pkeys": _primary_keys,
    "sp_fkeys": _foreign_keys,
    "sp_statistics": _statistics,
    "sp_statistics_100": _statistics,
    "sp_stored_procedures": _stored_procedures,
    "sp_special_columns": _special_columns,
    "sp_special_columns_100": _special_columns,
}

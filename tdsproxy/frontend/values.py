"""T-SQL types and values to the wire's and back.

The wire codec takes and gives plain tuples for temporal values; here they get their T-SQL names. Clients
before TDS 7.3 know neither the date types nor, before 7.2, the (max) types: they get what SQL Server gives
them, character strings and text, ntext, image.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.tds import types as wire
from tdsproxy.tds.types import TypeId, TypeInfo
from tdsproxy.tds.values import VariantValue
from tdsproxy.tds.versions import TdsVersion, has_date_types, is_wide
from tdsproxy.tsql import types as sql
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import (
    TICKS_PER_SECOND,
    Date,
    DateTime,
    DateTimeOffset,
    Time,
    Value,
    Variant,
)

_FIXED: Final = {
    "bit": wire.BIT,
    "tinyint": wire.TINYINT,
    "smallint": wire.SMALLINT,
    "int": wire.INT,
    "bigint": wire.BIGINT,
    "float": wire.FLOAT,
    "real": wire.REAL,
    "money": wire.MONEY,
    "smallmoney": wire.SMALLMONEY,
    "datetime": wire.DATETIME,
    "smalldatetime": wire.SMALLDATETIME,
}
_NULLABLE: Final = {
    "bit": wire.BITN,
    "tinyint": wire.intn(1),
    "smallint": wire.intn(2),
    "int": wire.intn(4),
    "bigint": wire.intn(8),
    "float": wire.fltn(8),
    "real": wire.fltn(4),
    "money": wire.moneyn(8),
    "smallmoney": wire.moneyn(4),
    "datetime": wire.datetimn(8),
    "smalldatetime": wire.datetimn(4),
    "null": wire.intn(4),
    "uniqueidentifier": wire.GUID,
    "date": wire.DATE,
    "text": wire.TEXT,
    "ntext": wire.NTEXT,
    "image": wire.IMAGE,
    "xml": wire.XML,
    "sql_variant": wire.SQL_VARIANT,
    "timestamp": wire.binary(8),
}

# What clients without the date types get: nvarchar of the longest text (MS-TDS 2.2.5.4.1).
_DATE_TEXT_LENGTHS: Final = {"date": 10, "time": 16, "datetime2": 27, "datetimeoffset": 34}


def type_info(type_: SqlType, *, nullable: bool, version: int) -> TypeInfo:
    """The TYPE_INFO of a column or return value of this type, for a client of this TDS version."""
    name = type_.name
    if name in _DATE_TEXT_LENGTHS and not has_date_types(version):
        return wire.nvarchar(_DATE_TEXT_LENGTHS[name])
    if not is_wide(version):
        narrow = _narrow(type_)
        if narrow is not None:
            return narrow
    if not nullable and name in _FIXED:
        return _FIXED[name]
    if name in _NULLABLE:
        return _NULLABLE[name]
    if name == "decimal":
        precision = 18 if type_.precision is None else type_.precision
        return wire.decimaln(precision, type_.scale or 0, numeric=type_.numeric)
    return _sized(type_)


def _sized(type_: SqlType) -> TypeInfo:
    name = type_.name
    if name in sql.SCALED_TIME_TYPES:
        scale = 7 if type_.scale is None else type_.scale
        return {"time": wire.time, "datetime2": wire.datetime2, "datetimeoffset": wire.datetimeoffset}[name](
            scale
        )
    # A zero length arises from '' and from empty expressions; on the wire it is one.
    length = None if type_.length == MAX else max(1, type_.length or 1)
    if name == "nvarchar":
        return wire.nvarchar(length)
    if name == "varchar":
        return wire.varchar(length)
    if name == "varbinary":
        return wire.varbinary(length)
    if name == "nchar":
        return wire.nchar(length or 1)
    if name == "char":
        return wire.char(length or 1)
    if name == "binary":
        return wire.binary(length or 1)
    raise ValueError(f"type {type_} has no form on the wire")


def _narrow(type_: SqlType) -> TypeInfo | None:
    """The stand-ins of TDS 7.1 for the types that came with 7.2; None for the older ones."""
    if type_.name == "xml" or (type_.name == "nvarchar" and type_.length == MAX):
        return wire.NTEXT
    if type_.length == MAX:
        return wire.TEXT if type_.name == "varchar" else wire.IMAGE
    return None


_USER_TYPES: Final = {"timestamp": 0x50}


def user_type(type_: SqlType) -> int:
    """COLMETADATA's UserType: 80 marks timestamp, all else is 0."""
    return _USER_TYPES.get(type_.name, 0)


def as_text(type_: SqlType) -> Callable[[Value], Value]:
    """How values of a date type are shown to clients that lack it."""

    def convert(value: Value) -> Value:
        return None if value is None else temporal_text(value, type_.scale if type_.scale is not None else 7)

    return convert


def needs_text(type_: SqlType, version: int) -> bool:
    """Whether values of this type go to this client as character strings."""
    return type_.name in _DATE_TEXT_LENGTHS and not has_date_types(version)


def _date_text(days: int) -> str:
    return dt.date.fromordinal(days + 1).isoformat()


def _time_text(ticks: int, scale: int) -> str:
    seconds, fraction = divmod(ticks, TICKS_PER_SECOND)
    text = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    return f"{text}.{fraction:07}"[: 9 + scale] if scale else text


def temporal_text(value: Value, scale: int) -> str:
    """A date or time as ODBC writes it, with ``scale`` digits of fractional seconds."""
    if isinstance(value, DateTimeOffset):
        minutes = value.ticks // (60 * TICKS_PER_SECOND) + value.offset
        days, ticks = value.days, value.ticks + value.offset * 60 * TICKS_PER_SECOND
        carry = minutes // 1440
        ticks -= carry * 86_400 * TICKS_PER_SECOND
        sign = "-" if value.offset < 0 else "+"
        hours, rest = divmod(abs(value.offset), 60)
        return f"{_date_text(days + carry)} {_time_text(ticks, scale)} {sign}{hours:02}:{rest:02}"
    if isinstance(value, DateTime):
        return f"{_date_text(value.days)} {_time_text(value.ticks, scale)}"
    if isinstance(value, Time):
        return _time_text(value.ticks, scale)
    if isinstance(value, Date):
        return _date_text(value.days)
    raise TypeError(f"{type(value).__name__} is not a temporal value")


_BY_ID: Final = {
    TypeId.BIT: sql.BIT,
    TypeId.BITN: sql.BIT,
    TypeId.TINYINT: sql.TINYINT,
    TypeId.SMALLINT: sql.SMALLINT,
    TypeId.INT: sql.INT,
    TypeId.BIGINT: sql.BIGINT,
    TypeId.REAL: sql.REAL,
    TypeId.FLOAT: sql.FLOAT,
    TypeId.MONEY: sql.MONEY,
    TypeId.SMALLMONEY: sql.SMALLMONEY,
    TypeId.DATETIME: sql.DATETIME,
    TypeId.SMALLDATETIME: sql.SMALLDATETIME,
    TypeId.GUID: sql.UNIQUEIDENTIFIER,
    TypeId.DATE: sql.DATE,
    TypeId.TEXT: sql.TEXT,
    TypeId.NTEXT: sql.NTEXT,
    TypeId.IMAGE: sql.IMAGE,
    TypeId.XML: sql.XML,
    TypeId.SQL_VARIANT: sql.SQL_VARIANT,
    TypeId.NULL: sql.NULL,
}
_INTEGERS: Final = {1: sql.TINYINT, 2: sql.SMALLINT, 4: sql.INT, 8: sql.BIGINT}
_CHARACTERS: Final = {
    TypeId.VARCHAR: ("varchar", 1),
    TypeId.LEGACY_VARCHAR: ("varchar", 1),
    TypeId.CHAR: ("char", 1),
    TypeId.LEGACY_CHAR: ("char", 1),
    TypeId.NVARCHAR: ("nvarchar", 2),
    TypeId.NCHAR: ("nchar", 2),
    TypeId.VARBINARY: ("varbinary", 1),
    TypeId.LEGACY_VARBINARY: ("varbinary", 1),
    TypeId.BINARY: ("binary", 1),
    TypeId.LEGACY_BINARY: ("binary", 1),
}


def sql_type(info: TypeInfo) -> SqlType | None:
    """The T-SQL type that a parameter's TYPE_INFO declares; None for table-valued and CLR types."""
    known = _by_id(info.type_id)
    if known is None:
        return None
    if known in _BY_ID:
        return _BY_ID[known]
    if known is TypeId.INTN:
        return _INTEGERS[info.length]
    if known is TypeId.FLTN:
        return sql.REAL if info.length == 4 else sql.FLOAT
    if known is TypeId.MONEYN:
        return sql.SMALLMONEY if info.length == 4 else sql.MONEY
    if known is TypeId.DATETIMN:
        return sql.SMALLDATETIME if info.length == 4 else sql.DATETIME
    if known in wire.DECIMALS:
        numeric = known in (TypeId.NUMERICN, TypeId.LEGACY_NUMERIC)
        return sql.decimal(info.precision, info.scale, numeric=numeric)
    if known in wire.SCALED_TIMES:
        name = {TypeId.TIME: "time", TypeId.DATETIME2: "datetime2"}.get(known, "datetimeoffset")
        return SqlType(name, scale=info.scale)
    if known in _CHARACTERS:
        name, unit = _CHARACTERS[known]
        return SqlType(name, MAX if info.is_plp else max(1, info.length // unit))
    if known is TypeId.JSON:
        return sql.nvarchar(MAX)
    return None


def _by_id(number: int) -> TypeId | None:
    try:
        return TypeId(number)
    except ValueError:
        return None


def variant_to_wire(value: Value) -> VariantValue | None:
    """A sql_variant with its base type's TYPE_INFO. A value that says no type is of the obvious one."""
    if value is None:
        return None
    if isinstance(value, Variant):
        return VariantValue(type_info(value.type, nullable=False, version=TdsVersion.V7_4), value.value)
    return VariantValue(type_info(_obvious(value), nullable=False, version=TdsVersion.V7_4), value)


def _obvious(value: Value) -> SqlType:
    if isinstance(value, int):
        return sql.INT if -(2**31) <= value < 2**31 else sql.BIGINT
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return sql.numeric(38, max(0, -exponent) if isinstance(exponent, int) else 0)
    if isinstance(value, str):
        return sql.nvarchar(max(1, min(4000, len(value))))
    if isinstance(value, bytes):
        return sql.varbinary(max(1, min(8000, len(value))))
    by_class = {float: sql.FLOAT, Date: sql.DATE, Time: sql.time(), DateTime: sql.datetime2()}
    by_class |= {DateTimeOffset: sql.datetimeoffset(), UUID: sql.UNIQUEIDENTIFIER}
    return by_class[type(value)]


def _variant_from_wire(value: VariantValue) -> Variant:
    base = sql_type(value.type_info)
    if base is None:
        raise ValueError("a sql_variant of a type that it can't hold")
    inner = from_wire(value.value, base)
    if inner is None or isinstance(inner, Variant):
        raise ValueError("a sql_variant holds one plain value")
    return Variant(base, inner)


def from_wire(value: object, type_: SqlType) -> Value:
    """Name the temporal tuples of a decoded value; everything else is already a T-SQL value."""
    if isinstance(value, VariantValue):
        return _variant_from_wire(value)
    if isinstance(value, tuple):
        if type_.name == "date":
            return Date(*value)
        if type_.name == "time":
            return Time(*value)
        if type_.name == "datetimeoffset":
            return DateTimeOffset(*value)
        if type_.name in sql.TEMPORAL_TYPES:
            return DateTime(*value)
    return value  # type: ignore[return-value]

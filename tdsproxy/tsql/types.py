"""T-SQL data types as the binder, the replies and the catalog name them.

A type is a base name with length, precision and scale where it has them. Nullability belongs to a
column or an expression, not to the type.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MAX: Final = -1
"""Length of the ``(max)`` types."""


@dataclass(frozen=True, slots=True)
class SqlType:
    """One T-SQL type.

    ``name`` is the base name in lower case: bit, tinyint, smallint, int, bigint, decimal (also for
    numeric), money, smallmoney, float, real, date, time, datetime, smalldatetime, datetime2,
    datetimeoffset, char, varchar, nchar, nvarchar, text, ntext, binary, varbinary, image,
    uniqueidentifier, xml, sql_variant, timestamp, table, cursor, null (the type of a bare NULL).

    ``length`` counts characters for n/char types (UTF-16 units for the n types, bytes in the code page
    for the others) and bytes for binary ones; ``MAX`` for (max). ``scale`` is also the fractional
    seconds digits of time, datetime2 and datetimeoffset. ``numeric`` remembers that a decimal was
    declared (or arose) as numeric: on the wire NUMERICN and DECIMALN differ.
    """

    name: str
    length: int | None = None
    precision: int | None = None
    scale: int | None = None
    numeric: bool = False

    def __str__(self) -> str:
        if self.name in LENGTH_TYPES:
            return f"{self.name}({'max' if self.length == MAX else self.length})"
        if self.name == "decimal":
            return f"{'numeric' if self.numeric else 'decimal'}({self.precision},{self.scale})"
        if self.name in SCALED_TIME_TYPES:
            return f"{self.name}({self.scale})"
        return self.name

    @property
    def is_character(self) -> bool:
        return self.name in CHARACTER_TYPES

    @property
    def is_unicode(self) -> bool:
        return self.name in UNICODE_TYPES

    @property
    def is_binary(self) -> bool:
        return self.name in BINARY_TYPES

    @property
    def is_integer(self) -> bool:
        return self.name in INTEGER_TYPES

    @property
    def is_exact(self) -> bool:
        return self.name in EXACT_TYPES

    @property
    def is_number(self) -> bool:
        return self.name in EXACT_TYPES or self.name in APPROXIMATE_TYPES

    @property
    def is_temporal(self) -> bool:
        return self.name in TEMPORAL_TYPES


INTEGER_TYPES: Final = frozenset({"tinyint", "smallint", "int", "bigint"})
EXACT_TYPES: Final = INTEGER_TYPES | {"bit", "decimal", "money", "smallmoney"}
APPROXIMATE_TYPES: Final = frozenset({"float", "real"})
UNICODE_TYPES: Final = frozenset({"nchar", "nvarchar", "ntext", "xml"})
CHARACTER_TYPES: Final = UNICODE_TYPES | {"char", "varchar", "text"}
BINARY_TYPES: Final = frozenset({"binary", "varbinary", "image", "timestamp"})
LENGTH_TYPES: Final = frozenset({"char", "varchar", "nchar", "nvarchar", "binary", "varbinary"})
SCALED_TIME_TYPES: Final = frozenset({"time", "datetime2", "datetimeoffset"})
TEMPORAL_TYPES: Final = SCALED_TIME_TYPES | {"date", "datetime", "smalldatetime"}

NULL: Final = SqlType("null")
BIT: Final = SqlType("bit")
TINYINT: Final = SqlType("tinyint")
SMALLINT: Final = SqlType("smallint")
INT: Final = SqlType("int")
BIGINT: Final = SqlType("bigint")
MONEY: Final = SqlType("money", precision=19, scale=4)
SMALLMONEY: Final = SqlType("smallmoney", precision=10, scale=4)
FLOAT: Final = SqlType("float", precision=53)
REAL: Final = SqlType("real", precision=24)
DATE: Final = SqlType("date")
DATETIME: Final = SqlType("datetime")
SMALLDATETIME: Final = SqlType("smalldatetime")
UNIQUEIDENTIFIER: Final = SqlType("uniqueidentifier")
SYSNAME: Final = SqlType("nvarchar", 128)
TEXT: Final = SqlType("text")
NTEXT: Final = SqlType("ntext")
IMAGE: Final = SqlType("image")
XML: Final = SqlType("xml")
SQL_VARIANT: Final = SqlType("sql_variant")
TIMESTAMP: Final = SqlType("timestamp", 8)


def decimal(precision: int = 18, scale: int = 0, *, numeric: bool = False) -> SqlType:
    return SqlType("decimal", precision=precision, scale=scale, numeric=numeric)


def numeric(precision: int = 18, scale: int = 0) -> SqlType:
    return SqlType("decimal", precision=precision, scale=scale, numeric=True)


def time(scale: int = 7) -> SqlType:
    return SqlType("time", scale=scale)


def datetime2(scale: int = 7) -> SqlType:
    return SqlType("datetime2", scale=scale)


def datetimeoffset(scale: int = 7) -> SqlType:
    return SqlType("datetimeoffset", scale=scale)


def char(length: int = 1) -> SqlType:
    return SqlType("char", length)


def varchar(length: int = 1) -> SqlType:
    return SqlType("varchar", length)


def nchar(length: int = 1) -> SqlType:
    return SqlType("nchar", length)


def nvarchar(length: int = 1) -> SqlType:
    return SqlType("nvarchar", length)


def binary(length: int = 1) -> SqlType:
    return SqlType("binary", length)


def varbinary(length: int = 1) -> SqlType:
    return SqlType("varbinary", length)

"""The numbers by which the catalog describes a T-SQL type: ids, lengths in bytes, precision and scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType

TYPE_IDS: Final = {
    "image": 34,
    "text": 35,
    "uniqueidentifier": 36,
    "date": 40,
    "time": 41,
    "datetime2": 42,
    "datetimeoffset": 43,
    "tinyint": 48,
    "smallint": 52,
    "int": 56,
    "smalldatetime": 58,
    "real": 59,
    "money": 60,
    "datetime": 61,
    "float": 62,
    "sql_variant": 98,
    "ntext": 99,
    "bit": 104,
    "decimal": 106,
    "numeric": 108,
    "smallmoney": 122,
    "bigint": 127,
    "varbinary": 165,
    "varchar": 167,
    "binary": 173,
    "char": 175,
    "timestamp": 189,
    "nvarchar": 231,
    "nchar": 239,
    "xml": 241,
}
"""sys.types.system_type_id."""

SYSNAME_ID: Final = 256

_PLAIN: Final = {
    "bit": (1, 1, 0),
    "tinyint": (1, 3, 0),
    "smallint": (2, 5, 0),
    "int": (4, 10, 0),
    "bigint": (8, 19, 0),
    "money": (8, 19, 4),
    "smallmoney": (4, 10, 4),
    "float": (8, 53, 0),
    "real": (4, 24, 0),
    "date": (3, 10, 0),
    "datetime": (8, 23, 3),
    "smalldatetime": (4, 16, 0),
    "uniqueidentifier": (16, 0, 0),
    "text": (16, 0, 0),
    "ntext": (16, 0, 0),
    "image": (16, 0, 0),
    "xml": (-1, 0, 0),
    "sql_variant": (8016, 0, 0),
    "timestamp": (8, 0, 0),
}


@dataclass(frozen=True, slots=True)
class TypeNumbers:
    """``length`` in bytes, -1 for (max)."""

    id: int
    length: int
    precision: int
    scale: int


def base_name(type_: SqlType) -> str:
    """The type's name as the catalog writes it: numeric is not decimal there."""
    return "numeric" if type_.name == "decimal" and type_.numeric else type_.name


def numbers(type_: SqlType) -> TypeNumbers:
    """What sys.columns shows of a column of this type."""
    name = base_name(type_)
    id_ = TYPE_IDS.get(name, TYPE_IDS["int"])
    if name in t.LENGTH_TYPES:
        length = type_.length or 1
        width = 2 if name in ("nchar", "nvarchar") else 1
        return TypeNumbers(id_, -1 if length == t.MAX else length * width, 0, 0)
    if type_.name == "decimal":
        precision = type_.precision or 18
        size = 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17
        return TypeNumbers(id_, size, precision, type_.scale or 0)
    if name in t.SCALED_TIME_TYPES:
        scale = 7 if type_.scale is None else type_.scale
        extra = 0 if scale <= 2 else 1 if scale <= 4 else 2
        size, digits = {"time": (3, 8), "datetime2": (6, 19), "datetimeoffset": (8, 26)}[name]
        return TypeNumbers(id_, size + extra, digits + (scale + 1 if scale else 0), scale)
    length, precision, scale = _PLAIN.get(name, (4, 10, 0))
    return TypeNumbers(id_, length, precision, scale)


def sample(name: str) -> SqlType:
    """The type as sys.types lists it: the largest of its kind."""
    if name in ("nvarchar", "nchar"):
        return SqlType(name, 4000)
    if name in t.LENGTH_TYPES:
        return SqlType(name, 8000)
    if name in ("decimal", "numeric"):
        return t.decimal(38, 38, numeric=name == "numeric")
    if name in t.SCALED_TIME_TYPES:
        return SqlType(name, scale=7)
    return SqlType(name)


def type_by_id(id_: int) -> str | None:
    """The name of a user_type_id."""
    if id_ == SYSNAME_ID:
        return "sysname"
    return next((name for name, number in TYPE_IDS.items() if number == id_), None)

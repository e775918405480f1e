"""How types lie in SQLite: which values can be compared or taken over as they are."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.compiler.binder import INTEGER_RANGES
from tdsproxy.tsql.types import MAX, SqlType


def number_in_sqlite(type_: SqlType) -> bool:
    """Whether values lie in SQLite as exact numbers (not as sortable text)."""
    if type_.is_integer or type_.name in ("bit", "smallmoney"):
        return True
    return type_.name == "decimal" and (
        (type_.precision or 18) <= 15 or (not type_.scale and (type_.precision or 18) <= 18)
    )


def both_exact(left: SqlType, right: SqlType) -> bool:
    return number_in_sqlite(left) and number_in_sqlite(right)


_INTEGER_DIGITS: Final = {"bit": 1, "tinyint": 3, "smallint": 5, "int": 10, "bigint": 19}


def same_storage(source: SqlType, target: SqlType) -> bool:
    """Whether every value of ``source`` lies in SQLite just as the same value of ``target``."""
    if source.is_integer and target.is_integer:
        low, high = INTEGER_RANGES[source.name]
        least, most = INTEGER_RANGES[target.name]
        return least <= low and high <= most
    if source.name == "bit" and target.is_integer:
        return True
    if target.name == "decimal" and number_in_sqlite(target) and source.name in _INTEGER_DIGITS:
        return (target.precision or 18) - (target.scale or 0) >= _INTEGER_DIGITS[source.name]
    if source.name == "decimal" and target.name == "decimal":
        if not (number_in_sqlite(source) and number_in_sqlite(target)):
            return False
        whole_source = (source.precision or 18) - (source.scale or 0)
        whole_target = (target.precision or 18) - (target.scale or 0)
        return whole_target >= whole_source and (target.scale or 0) >= (source.scale or 0)
    varying = ("varchar", "nvarchar")
    if target.name in varying and source.name in (*varying, "char", "nchar", "text", "ntext"):
        if target.name == "varchar" and source.is_unicode:
            return False
        if target.length == MAX:
            return True
        return source.length is not None and source.length != MAX and source.length <= (target.length or 0)
    if target.name == "varbinary" and source.name in ("varbinary", "binary"):
        return target.length == MAX or (
            source.length is not None and source.length != MAX and source.length <= (target.length or 0)
        )
    return source.name == "float" and target.name == "float"


def fits(left: SqlType, right: SqlType, result: SqlType) -> bool:
    """Whether a concatenation can't exceed the length of its type."""
    if result.length == MAX or result.length is None:
        return True
    if MAX in (left.length, right.length) or left.length is None or right.length is None:
        return False
    return left.length + right.length <= result.length

"""Which pairs of types convert, and whether CAST must be written (sql-docs, "CAST and CONVERT")."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql.types import SqlType

_FAMILIES: Final = {
    **dict.fromkeys(("bit", "tinyint", "smallint", "int", "bigint"), "integer"),
    "decimal": "decimal",
    **dict.fromkeys(("money", "smallmoney"), "money"),
    **dict.fromkeys(("float", "real"), "float"),
    **dict.fromkeys(("datetime", "smalldatetime"), "datetime"),
    **dict.fromkeys(("datetime2", "datetimeoffset"), "moment"),
    "date": "date",
    "time": "time",
    **dict.fromkeys(("char", "varchar", "nchar", "nvarchar"), "text"),
    **dict.fromkeys(("text", "ntext"), "lob"),
    "image": "image",
    **dict.fromkeys(("binary", "varbinary"), "binary"),
    "timestamp": "timestamp",
    "uniqueidentifier": "guid",
    "xml": "xml",
    "sql_variant": "variant",
    "table": "table",
    "cursor": "cursor",
}
_NUMBERS: Final = frozenset({"integer", "decimal", "money", "float"})
_NEVER: Final = frozenset(
    {
        *((n, t) for n in _NUMBERS for t in ("date", "time", "moment", "guid", "lob", "xml")),
        *((t, n) for n in _NUMBERS for t in ("date", "time", "moment", "guid", "lob", "xml", "image")),
        *((n, "image") for n in ("decimal", "money", "float")),
        ("binary", "float"),
        ("timestamp", "float"),
        *((d, x) for d in ("datetime", "date", "time", "moment") for x in ("guid", "lob", "xml", "image")),
        *((x, d) for d in ("datetime", "date", "time", "moment") for x in ("guid", "lob", "xml", "image")),
        ("date", "time"),
        ("time", "date"),
        *((d, "timestamp") for d in ("date", "time", "moment")),
        *(("timestamp", d) for d in ("date", "time", "moment")),
        *(("guid", x) for x in ("lob", "xml", "image", "timestamp")),
        *((x, "guid") for x in ("lob", "xml", "image", "timestamp")),
        ("image", "text"),
        ("image", "lob"),
        ("lob", "image"),
        ("lob", "binary"),
        ("lob", "timestamp"),
        ("binary", "lob"),
        ("timestamp", "lob"),
        ("timestamp", "xml"),
        ("xml", "lob"),
        ("xml", "image"),
        ("xml", "timestamp"),
        *((x, "variant") for x in ("lob", "image", "xml", "timestamp")),
        *(("variant", x) for x in ("lob", "image", "xml", "timestamp")),
    }
)
_EXPLICIT: Final = frozenset(
    {
        ("text", "binary"),
        ("text", "timestamp"),
        ("lob", "binary"),
        ("money", "timestamp"),
        *(("datetime", n) for n in _NUMBERS),
        *((d, "binary") for d in ("datetime", "date", "time", "moment", "float")),
        *(("variant", x) for x in _FAMILIES.values() if x != "variant"),
        ("xml", "text"),
        ("xml", "binary"),
    }
)


def family(type_: SqlType) -> str:
    return _FAMILIES.get(type_.name, type_.name)


def convertible(source: SqlType, target: SqlType) -> bool:
    """Whether CAST takes the pair at all."""
    if source.name == "null" or source.name == target.name:
        return True
    pair = (family(source), family(target))
    if "table" in pair or "cursor" in pair:
        return False
    return pair not in _NEVER


def implicit(source: SqlType, target: SqlType) -> bool:
    """Whether the pair converts without CAST."""
    return convertible(source, target) and (family(source), family(target)) not in _EXPLICIT

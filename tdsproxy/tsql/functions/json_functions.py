"""ISJSON, JSON_VALUE, JSON_QUERY, JSON_MODIFY, JSON_PATH_EXISTS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import always, text
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.json_text import (
    ARRAY,
    OBJECT,
    Path,
    find,
    json_modify,
    json_query,
    json_value,
    parse_json,
    parse_path,
    quoted_json,
)
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value

MODIFY_WITH_JSON: Final = "$JSON_MODIFY"
"""JSON_MODIFY whose new value is JSON itself: what another JSON function gives is not quoted."""
JSON_RESULTS: Final = frozenset({"JSON_ARRAY", "JSON_OBJECT", "JSON_QUERY", "JSON_MODIFY", MODIFY_WITH_JSON})
"""The functions whose results FOR JSON and JSON_MODIFY take as JSON."""
_KINDS: Final = {"VALUE": range(6), "SCALAR": (1, 2), "ARRAY": (ARRAY,), "OBJECT": (OBJECT,)}


def _isjson(value: Value, kind: Value = None, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    if value is None:
        return None
    try:
        node = parse_json(text(value, arg_types[0]))
    except SqlError:
        return 0
    wanted = (ARRAY, OBJECT) if kind is None else _KINDS.get(str(kind).upper(), ())
    return int(node.kind in wanted)


def _path(value: Value) -> Path:
    return parse_path("$" if value is None else str(value))


def _value(json: Value, path: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    where = _path(path)
    found = json_value(text(json, arg_types[0]), where)
    if found is not None and len(found) > 4000:
        if where.strict:
            message = "String value in the specified JSON path would be truncated."
            raise SqlError.of(13625, 16, 1, message)
        return None
    return found


def _query(json: Value, path: Value = None, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    if json is None:
        return None
    return json_query(text(json, arg_types[0]), _path(path))


def _exists(json: Value, path: Value, *, arg_types: Sequence[SqlType], result_type: SqlType) -> Value:
    try:
        return int(find(parse_json(text(json, arg_types[0])), _path(path)) is not None)
    except SqlError:
        return 0


def json_scalar(value: Value, type_: SqlType) -> str:
    """A value as JSON."""
    if value is None:
        return "null"
    if type_.name == "bit":
        return "true" if value else "false"
    if type_.is_number:
        style = 2 if type_.name in t.APPROXIMATE_TYPES or "money" in type_.name else None
        return str(convert(value, type_, t.nvarchar(60), style))
    style = 126 if type_.is_temporal else None
    return quoted_json(str(convert(value, type_, t.nvarchar(MAX), style)))


def _modify(
    json: Value, path: Value, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    if json is None or path is None:
        return None
    new = None if value is None else json_scalar(value, arg_types[2])
    return json_modify(text(json, arg_types[0]), _path(path), new)


def _modify_json(
    json: Value, path: Value, value: Value, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    if json is None or path is None:
        return None
    new = None if value is None else text(value, arg_types[2])
    return json_modify(text(json, arg_types[0]), _path(path), new)


def _items(rule: Value, values: Sequence[Value], types: Sequence[SqlType]) -> list[str | None]:
    """Each value as JSON, None for a NULL that is left out; ``rule`` as the parser writes it."""
    nulls, _, kinds = str(rule).partition(" ")
    made: list[str | None] = []
    for value, type_, kind in zip(values, types, kinds, strict=True):
        if value is None:
            made.append("null" if nulls == "null" else None)
        else:
            made.append(text(value, type_) if kind == "j" else json_scalar(value, type_))
    return made


def _object(rule: Value, *arguments: Value, arg_types: Sequence[SqlType], result_type: SqlType) -> str:
    items = _items(rule, arguments[1::2], arg_types[2::2])
    keys = [
        quoted_json("" if key is None else text(key, type_))
        for key, type_ in zip(arguments[::2], arg_types[1::2], strict=True)
    ]
    pairs = [f"{key}:{item}" for key, item in zip(keys, items, strict=True) if item is not None]
    return "{" + ",".join(pairs) + "}"


def _array(rule: Value, *arguments: Value, arg_types: Sequence[SqlType], result_type: SqlType) -> str:
    items = _items(rule, arguments, arg_types[1:])
    return "[" + ",".join(item for item in items if item is not None) + "]"


FUNCTIONS: Final = (
    FunctionDef("JSON_OBJECT", 1, None, always(t.nvarchar(MAX)), _object, strict=False, wants_types=True),
    FunctionDef("JSON_ARRAY", 1, None, always(t.nvarchar(MAX)), _array, strict=False, wants_types=True),
    FunctionDef("ISJSON", 1, 2, always(t.INT), _isjson, strict=False, wants_types=True),
    FunctionDef("JSON_VALUE", 2, 2, always(t.nvarchar(4000)), _value, wants_types=True),
    FunctionDef("JSON_QUERY", 1, 2, always(t.nvarchar(MAX)), _query, strict=False, wants_types=True),
    FunctionDef("JSON_PATH_EXISTS", 2, 2, always(t.INT), _exists, wants_types=True),
    FunctionDef("JSON_MODIFY", 3, 3, always(t.nvarchar(MAX)), _modify, strict=False, wants_types=True),
    FunctionDef(
        MODIFY_WITH_JSON, 3, 3, always(t.nvarchar(MAX)), _modify_json, strict=False, wants_types=True
    ),
)

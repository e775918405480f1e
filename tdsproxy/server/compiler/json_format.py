"""Rows as JSON text: FOR JSON PATH and AUTO."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.json_functions import json_scalar
from tdsproxy.tsql.json_text import quoted_json
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_Tree = dict[str, "str | _Tree"]


def json_row(
    names: Sequence[str],
    types: Sequence[SqlType],
    raw: Sequence[bool],
    row: Sequence[Value],
    clause: ast.XmlClause,
) -> str:
    """One row as a JSON object; dotted names nest, ``raw`` columns are JSON already."""
    tree: _Tree = {}
    nulls = "INCLUDE_NULL_VALUES" in clause.options
    for name, type_, is_json, value in zip(names, types, raw, row, strict=True):
        if value is None and not nulls:
            continue
        place = tree
        steps = name.split(".") if clause.mode == "PATH" else [name]
        for step in steps[:-1]:
            inner = place.setdefault(step, {})
            if isinstance(inner, str):
                raise _conflict(name)
            place = inner
        if steps[-1] in place:
            raise _conflict(name)
        place[steps[-1]] = _json(value, type_, is_json=is_json)
    return _object(tree)


def checked_names(names: Sequence[str], line: int) -> None:
    """Raises SqlError 13605: every column needs a name."""
    for number, name in enumerate(names, 1):
        if not name:
            raise SqlError.of(
                13605,
                16,
                1,
                "Column expressions and data sources without names or aliases cannot be formatted as JSON"
                f" text using FOR JSON clause. Add alias to the unnamed column or table (column {number}).",
                line,
            )


def _conflict(name: str) -> SqlError:
    return SqlError.of(
        13601,
        16,
        1,
        f"Property '{name}' cannot be generated in JSON output due to a conflict with another column name or"
        " alias. Use different names and aliases for each column in SELECT list.",
    )


def _json(value: Value, type_: SqlType, *, is_json: bool) -> str:
    if value is None:
        return "null"
    if is_json and isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return quoted_json(base64.b64encode(value).decode())
    return json_scalar(value, type_)


def _object(tree: _Tree) -> str:
    parts = (
        f"{quoted_json(name)}:{value if isinstance(value, str) else _object(value)}"
        for name, value in tree.items()
    )
    return "{" + ",".join(parts) + "}"


def json_frame(clause: ast.XmlClause) -> tuple[str, str]:
    """What stands before and behind the rows."""
    if "WITHOUT_ARRAY_WRAPPER" in clause.options:
        return "", ""
    return (f"{{{quoted_json(clause.root)}:[", "]}") if clause.root else ("[", "]")

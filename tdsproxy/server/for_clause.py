"""FOR XML and FOR JSON over the rows of a query."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal

from tdsproxy.server.select_run import Compiled, decoder
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import Environment
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_XML_NAME = "XML_F52E2B61-18A1-11d1-B105-00805F49916B"
_JSON_NAME = "JSON_F52E2B61-18A1-11d1-B105-00805F49916B"


def for_replies(compiled: Compiled, clause: ast.XmlClause, env: Environment) -> Iterator[Reply]:
    """The one-column result set of FOR XML or FOR JSON."""
    decode = decoder(compiled.types)
    names = [output.name for output in compiled.query.columns]
    rows = [decode(row) for row in compiled.stored_rows(env)]
    if clause.kind == "XML":
        text = xml_text(names, compiled.types, rows, clause)
        column = Column(_XML_NAME, t.NTEXT)
    else:
        text = json_text(names, compiled.types, rows, clause)
        column = Column(_JSON_NAME, t.NTEXT)
    yield ResultSet((column,))
    if rows:
        yield Rows([(text,)])
    yield Done(Command.SELECT, len(rows))


def xml_text(
    names: list[str], types: list[SqlType], rows: list[tuple[Value, ...]], clause: ast.XmlClause
) -> str:
    """The rows as XML: PATH and RAW, with ELEMENTS, ROOT; names with ``@`` are attributes in PATH."""
    element = clause.path if clause.path is not None else "row"
    elements = clause.mode == "PATH" or "ELEMENTS" in clause.options
    parts = []
    for row in rows:
        attributes, content = "", ""
        for name, type_, value in zip(names, types, row, strict=True):
            if value is None:
                continue
            text = _shown(value, type_)
            escaped = text if type_.name == "xml" else _escaped(text)
            if (clause.mode == "PATH" and name.startswith("@")) or not elements:
                attributes += f' {name.lstrip("@")}="{escaped.replace(chr(34), "&quot;")}"'
            elif name in ("", "*", "text()", "data()", "node()"):
                content += (" " if name == "data()" and content else "") + escaped
            else:
                for step in name.split("/"):
                    content += f"<{step}>"
                content += escaped + "".join(f"</{step}>" for step in reversed(name.split("/")))
        if not element:
            parts.append(content)
        elif content:
            parts.append(f"<{element}{attributes}>{content}</{element}>")
        else:
            parts.append(f"<{element}{attributes}/>")
    body = "".join(parts)
    return f"<{clause.root}>{body}</{clause.root}>" if clause.root else body


def json_text(
    names: list[str], types: list[SqlType], rows: list[tuple[Value, ...]], clause: ast.XmlClause
) -> str:
    """The rows as JSON; dotted names make nested objects."""
    made = []
    nulls = "INCLUDE_NULL_VALUES" in clause.options
    for row in rows:
        item: dict[str, object] = {}
        for name, type_, value in zip(names, types, row, strict=True):
            if value is None and not nulls:
                continue
            inner = item
            *outer, last = name.split(".")
            for step in outer:
                inner = inner.setdefault(step, {})  # type: ignore[assignment]
            inner[last] = _plain(value, type_)
        made.append(item)
    if "WITHOUT_ARRAY_WRAPPER" in clause.options:
        return ",".join(json.dumps(item, ensure_ascii=False, separators=(",", ":")) for item in made)
    whole: object = {clause.root: made} if clause.root else made
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"))


def _plain(value: Value, type_: SqlType) -> object:
    if type_.name == "bit":
        return bool(value)
    if isinstance(value, int | float | str) or value is None:
        return value
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral() and not type_.scale else float(value)
    return _shown(value, type_)


def _shown(value: Value, type_: SqlType) -> str:
    style = 126 if type_.is_temporal else None
    text = convert(value, type_, t.nvarchar(t.MAX), style)
    return str(text)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

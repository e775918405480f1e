"""Rows as XML and JSON text: FOR XML PATH and RAW, FOR JSON; and reading values out of XML again."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from decimal import Decimal
from xml.etree import ElementTree

from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value


def xml_text(
    names: Sequence[str], types: Sequence[SqlType], rows: list[tuple[Value, ...]], clause: ast.XmlClause
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


def row_text(
    names: Sequence[str], types: Sequence[SqlType], row: tuple[Value, ...], clause: ast.XmlClause
) -> str:
    """One row without what frames the whole."""
    if clause.kind == "XML":
        return xml_text(names, types, [row], ast.replace(clause, root=None))
    options = (*clause.options, "WITHOUT_ARRAY_WRAPPER")
    return json_text(names, types, [row], ast.replace(clause, root=None, options=options))


def text_frame(clause: ast.XmlClause) -> tuple[str, str]:
    """What stands before and behind the rows."""
    if clause.kind == "XML":
        return (f"<{clause.root}>", f"</{clause.root}>") if clause.root else ("", "")
    if "WITHOUT_ARRAY_WRAPPER" in clause.options:
        return "", ""
    return (f"{{{json.dumps(clause.root)}:[", "]}") if clause.root else ("[", "]")


def json_text(
    names: Sequence[str], types: Sequence[SqlType], rows: list[tuple[Value, ...]], clause: ast.XmlClause
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


# ------------------------------------------------------------------ the xml methods


def xml_value(text: str, path: str) -> str | None:
    """The text at ``path``: ``.``, ``(/a/b)[1]``, ``a/@b``, ``text()[1]``; None when nothing is there."""
    found = xml_nodes(text, path)
    if not found:
        return None
    first = found[0]
    return first if isinstance(first, str) else "".join(first.itertext())


def xml_query(text: str, path: str) -> str:
    """The nodes at ``path`` as XML."""
    parts = []
    for node in xml_nodes(text, path):
        if isinstance(node, str):
            parts.append(_escaped(node))
        elif node.tag == "fragment":
            parts.append(_escaped(node.text or ""))
            parts += [ElementTree.tostring(child, encoding="unicode") for child in node]
        else:
            parts.append(ElementTree.tostring(node, encoding="unicode"))
    return "".join(parts)


def xml_nodes(text: str, path: str) -> list[ElementTree.Element | str]:
    """What a simple path selects. Raises SqlError 9455 for text that is not XML."""
    try:
        # XML in SQL Server is a fragment: several elements and text side by side.
        root = ElementTree.fromstring(f"<fragment>{_PROLOG.sub('', text)}</fragment>")
    except ElementTree.ParseError as error:
        raise SqlError.of(9455, 16, 1, f"XML parsing: {error}") from error
    nodes: list[ElementTree.Element | str] = [root]
    plain = _SINGLE.sub("", path.strip()).strip("()")
    if plain in (".", "", "/"):
        return nodes
    deep = False
    for step in plain.split("/"):
        if step in (".", ""):
            deep = deep or (step == "" and plain.startswith("//"))
            continue
        name = _SINGLE.sub("", step)
        made: list[ElementTree.Element | str] = []
        for node in nodes:
            if isinstance(node, str):
                continue
            if name == "text()":
                made += [part for part in (node.text, *(child.tail for child in node)) if part]
            elif name.startswith("@"):
                value = node.get(name[1:])
                made += [] if value is None else [value]
            else:
                made += node.iter(name) if deep else [c for c in node if name in ("*", c.tag)]
        deep = False
        nodes = made
    return nodes


_PROLOG = re.compile(r"^\s*<\?xml[^>]*\?>")
_SINGLE = re.compile(r"\[1\]")

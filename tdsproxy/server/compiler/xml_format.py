"""Rows as XML text: FOR XML PATH, RAW and AUTO."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tdsproxy.server.compiler.json_format import json_frame, json_row
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_TEXT_NAMES: Final = frozenset({"", "*", "text()", "data()", "node()"})
_XSI: Final = ' xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"'


@dataclass(slots=True)
class _Element:
    """An element that is being written; neighbours of one name share it."""

    name: str
    attributes: str = ""
    content: list[_Element | str] = field(default_factory=list)

    def text(self) -> str:
        inner = "".join(part if isinstance(part, str) else part.text() for part in self.content)
        if not self.name:
            return inner
        if inner:
            return f"<{self.name}{self.attributes}>{inner}</{self.name}>"
        return f"<{self.name}{self.attributes}/>"

    def child(self, name: str) -> _Element:
        """The element that goes on, when the last one has that name, or a new one."""
        last = self.content[-1] if self.content else None
        if isinstance(last, _Element) and last.name == name:
            return last
        made = _Element(name)
        self.content.append(made)
        return made


def xml_row(
    names: Sequence[str],
    types: Sequence[SqlType],
    row: Sequence[Value],
    clause: ast.XmlClause,
    table: str = "row",
) -> str:
    """One row as XML; ``table`` names its element in AUTO."""
    root = _Element(_row_name(clause, table))
    options = clause.options
    elements = clause.mode == "PATH" or any(option.startswith("ELEMENTS") for option in options)
    nil = "ELEMENTS XSINIL" in options
    for name, type_, value in zip(names, types, row, strict=True):
        if value is None:
            if nil and not name.startswith("@") and name not in _TEXT_NAMES:
                _at(root, name).attributes += ' xsi:nil="true"'
            continue
        text = _shown(value, type_)
        if not elements:
            root.attributes += f' {xml_name(name)}="{_attribute(text)}"'
        elif clause.mode == "PATH":
            _path_column(root, name, text if type_.name == "xml" else escaped(text), text, type_)
        else:
            _append(root, xml_name(name), text if type_.name == "xml" else escaped(text))
    if nil and root.name and not clause.root:
        root.attributes = _XSI + root.attributes
    return root.text()


def _row_name(clause: ast.XmlClause, table: str) -> str:
    if clause.mode == "AUTO":
        return xml_name(table)
    return clause.path if clause.path is not None else "row"


def _append(root: _Element, name: str, content: str) -> None:
    root.content.append(_Element(name, content=[content]))


def _at(root: _Element, path: str) -> _Element:
    made = root
    for step in path.split("/"):
        made = made.child(xml_name(step))
    return made


def _path_column(root: _Element, name: str, content: str, text: str, type_: SqlType) -> None:
    """A column of FOR XML PATH: ``@a``, ``a/b``, ``a/@b``, ``text()``, ``data()``, ``*``."""
    *steps, last = name.split("/")
    place = root
    for step in steps:
        place = place.child(xml_name(step))
    if last.startswith("@"):
        if place.content:
            raise SqlError.of(
                6852,
                16,
                1,
                f"Attribute-centric column '{name}' must not come after a non-attribute-centric sibling in"
                " XML hierarchy in FOR XML PATH.",
            )
        place.attributes += f' {xml_name(last[1:])}="{_attribute(text)}"'
    elif last in _TEXT_NAMES:
        if last == "data()" and place.content and isinstance(place.content[-1], str):
            content = " " + content
        place.content.append(content)
    elif steps:
        place.content.append(_Element(xml_name(last), content=[content]))
    else:
        root.content.append(_Element(xml_name(last), content=[content]))


def xml_frame(clause: ast.XmlClause) -> tuple[str, str]:
    """What stands before and behind the rows."""
    if not clause.root:
        return "", ""
    nil = _XSI if "ELEMENTS XSINIL" in clause.options else ""
    return f"<{clause.root}{nil}>", f"</{clause.root}>"


def row_text(
    names: Sequence[str],
    types: Sequence[SqlType],
    raw: Sequence[bool],
    row: Sequence[Value],
    clause: ast.XmlClause,
    table: str,
) -> str:
    """One row without what frames the whole."""
    if clause.kind == "JSON":
        return json_row(names, types, raw, row, clause)
    return xml_row(names, types, row, clause, table)


def text_frame(clause: ast.XmlClause) -> tuple[str, str]:
    """What stands before and behind the rows."""
    return json_frame(clause) if clause.kind == "JSON" else xml_frame(clause)


def _shown(value: Value, type_: SqlType) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if type_.name == "bit":
        return "1" if value else "0"
    style = 126 if type_.is_temporal else 2 if type_.name in t.APPROXIMATE_TYPES else None
    if "money" in type_.name:
        style = 2
    return str(convert(value, type_, t.nvarchar(t.MAX), style))


_NOT_IN_NAMES: Final = re.compile(r"[^\w.:-]|^[\d.-]")


def xml_name(name: str) -> str:
    """A column's name as XML name: what may not stand in one is written ``_x0020_``."""
    return _NOT_IN_NAMES.sub(lambda found: f"_x{ord(found[0]):04X}_", name)


def escaped(text: str) -> str:
    """Text between tags."""
    if not any(sign in text for sign in "&<>\r"):
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return text.replace("\r", "&#x0D;")


def _attribute(text: str) -> str:
    text = escaped(text).replace('"', "&quot;")
    return text.replace("\n", "&#x0A;").replace("\t", "&#x09;")

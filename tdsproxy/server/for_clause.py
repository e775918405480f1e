"""FOR XML and FOR JSON as the last clause of a statement."""

from __future__ import annotations

from collections.abc import Iterator

from tdsproxy.server.compiler.xml_format import json_text, xml_text
from tdsproxy.server.select_run import Compiled, decoder
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import Environment

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

"""FOR XML and FOR JSON as the last clause of a statement."""

from __future__ import annotations

from collections.abc import Iterator

from tdsproxy.server.compiler.json_format import checked_names
from tdsproxy.server.compiler.xml_format import row_text, text_frame
from tdsproxy.server.select_run import Compiled, decoder
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import Environment

_XML_NAME = "XML_F52E2B61-18A1-11d1-B105-00805F49916B"
_JSON_NAME = "JSON_F52E2B61-18A1-11d1-B105-00805F49916B"


def for_replies(compiled: Compiled, clause: ast.XmlClause, table: str, env: Environment) -> Iterator[Reply]:
    """The one-column result set of FOR XML or FOR JSON."""
    decode = decoder(compiled.types)
    names = [output.name for output in compiled.query.columns]
    rows = [decode(row) for row in compiled.stored_rows(env)]
    is_json = clause.kind == "JSON"
    if is_json:
        checked_names(names, compiled.line)
    raw = [output.typed.json for output in compiled.query.columns]
    before, after = text_frame(clause)
    separator = "," if is_json else ""
    text = separator.join(row_text(names, compiled.types, raw, row, clause, table) for row in rows)
    text = f"{before}{text}{after}"
    type_ = t.XML if "TYPE" in clause.options else t.NTEXT
    column = Column(_JSON_NAME if is_json else _XML_NAME, type_)
    yield ResultSet((column,))
    if rows:
        yield Rows([(text,)])
    yield Done(Command.SELECT, len(rows))

"""The parser of T-SQL batches: recursive descent with precedence climbing, no semicolons needed.

The layers, each a class on top of the one before: cursor, typenames, expressions, predicates, sources,
queries, dml, tables, databases, security, flow, modules, keys, statements. ``grammar/tsql.ebnf`` has the
grammar that they follow.
"""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.parser.statements import Statements

__all__ = ["parse"]


def parse(text: str, *, quoted_identifier: bool = True) -> ast.Batch:
    """Return the syntax tree of one batch (no GO lines: they are the client's).

    ``quoted_identifier`` is the session's setting: with it ``"x"`` is a name, without it a string.
    Raises SyntaxError_ with SQL Server's number, text and line when the batch does not parse; nothing of
    it may run then.
    """
    return Statements(text, quoted_identifier=quoted_identifier).batch()

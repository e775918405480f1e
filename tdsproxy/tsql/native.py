"""One native statement alone, as a request carries it (``commands.request.NativeRequest``)."""

from __future__ import annotations

from tdsproxy.tsql import ast
from tdsproxy.tsql.parser.statements import Statements


def parse_native(text: str, *, quoted_identifier: bool = True, line: int = 1) -> ast.Statement:
    """Return the one statement of ``text``: a ``NativeStatement``, or CREATE, ALTER, DROP DATABASE.

    ``line`` is the line of the text's first character in the client's batch, for the messages. Raises
    SyntaxError_: 155 for an unknown WITH option, 102 or 156 for anything else, also for a second statement
    or one of another kind.
    """
    parser = Statements(text, quoted_identifier=quoted_identifier, line=line)
    while parser.accept(";"):
        pass
    first = parser.tok
    try:
        statement = parser.statement()
    except RecursionError:  # as for whole batches
        raise parser.too_deep() from None
    native = (ast.NativeStatement, ast.CreateDatabase, ast.AlterDatabase, ast.DropDatabase)
    if not isinstance(statement, native):
        raise parser.error(first)
    while parser.accept(";"):
        pass
    if not parser.at_end:
        raise parser.error()
    return statement

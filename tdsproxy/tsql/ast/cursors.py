"""Statements on cursors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.expressions import Expr
    from tdsproxy.tsql.ast.queries import Query


class DeclareCursor(Statement):
    name: str
    query: Query
    options: tuple[str, ...] = ()


class CursorAction(Statement):
    """``action`` OPEN, CLOSE or DEALLOCATE; ``cursor`` a name, or a variable with its sign."""

    action: str
    cursor: str


class Fetch(Statement):
    """``direction`` NEXT, PRIOR, FIRST, LAST, ABSOLUTE or RELATIVE."""

    cursor: str
    direction: str = "NEXT"
    count: Expr | None = None
    into: tuple[str, ...] = ()

"""Statements on the server itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.expressions import Expr


class Dbcc(Statement):
    """``command`` in upper case; ``args`` as expressions, bare words as string literals."""

    command: str
    args: tuple[Expr, ...] = ()
    options: tuple[str, ...] = ()


class Kill(Statement):
    session: Expr
    status_only: bool = False


class Checkpoint(Statement):
    pass


class Reconfigure(Statement):
    override: bool = False


class Unsupported(Statement):
    """A statement that is read whole and refused when it is to run."""

    words: str


class Accepted(Statement):
    """A statement that is read whole and does nothing here (UPDATE STATISTICS, SETUSER ...)."""

    words: str


class ExecuteAs(Statement):
    """``EXECUTE AS USER = 'name'``: ``kind`` is LOGIN, USER or CALLER."""

    kind: str
    name: Expr | None = None
    no_revert: bool = False


class Revert(Statement):
    pass

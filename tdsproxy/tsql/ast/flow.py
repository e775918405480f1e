"""Statements that steer a batch, and the procedures it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tdsproxy.tsql.ast.node import Node
from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.ddl import ColumnDefinition, Constraint, IndexDefinition
    from tdsproxy.tsql.ast.expressions import Expr, Predicate, Variable
    from tdsproxy.tsql.ast.names import Name, TypeName


class Declaration(Node):
    """``table`` holds the columns of a table variable, then ``type`` is None."""

    name: str
    type: TypeName | None
    value: Expr | None = None
    table: tuple[ColumnDefinition, ...] = ()
    table_constraints: tuple[Constraint, ...] = ()
    table_indexes: tuple[IndexDefinition, ...] = ()


class Declare(Statement):
    items: tuple[Declaration, ...]


class SetVariable(Statement):
    """``op`` is ``=``, ``+=`` ..., or ``modify`` for ``SET @x.modify(...)`` with the call as ``value``."""

    name: str
    value: Expr
    op: str = "="


class SetOption(Statement):
    """``SET NOCOUNT, XACT_ABORT ON``: ``names`` in upper case (``TRANSACTION ISOLATION LEVEL`` is one name),
    ``value`` ON, OFF, words in upper case, a literal's text, or an expression (a variable)."""

    names: tuple[str, ...]
    value: str
    expr: Expr | None = None


class SetIdentityInsert(Statement):
    table: Name
    on: bool


class Block(Statement):
    statements: tuple[Statement, ...]


class If(Statement):
    condition: Predicate
    then: Statement
    otherwise: Statement | None = None


class While(Statement):
    condition: Predicate
    body: Statement


class Break(Statement):
    pass


class Continue(Statement):
    pass


class Goto(Statement):
    label: str


class Label(Statement):
    name: str


class Return(Statement):
    value: Expr | None = None


class TryCatch(Statement):
    try_: tuple[Statement, ...]
    catch: tuple[Statement, ...]


class Throw(Statement):
    """All None for the bare form."""

    number: Expr | None = None
    message: Expr | None = None
    state: Expr | None = None


class Raiserror(Statement):
    message: Expr
    severity: Expr
    state: Expr
    args: tuple[Expr, ...] = ()
    options: tuple[str, ...] = ()
    """LOG, NOWAIT, SETERROR."""


class Print(Statement):
    value: Expr


class WaitFor(Statement):
    """``kind`` DELAY or TIME."""

    kind: str
    value: Expr


class Use(Statement):
    database: str


class ExecArgument(Node):
    """``value`` None is DEFAULT. ``name`` with its sign for ``@p = value``."""

    value: Expr | None
    name: str | None = None
    output: bool = False


class Execute(Statement):
    """EXEC of a procedure; ``procedure`` is a name or a variable that holds one. ``result`` is the variable
    of ``EXEC @rc = p``. A batch that starts with a bare procedure name is this, too."""

    procedure: Name | Variable
    arguments: tuple[ExecArgument, ...] = ()
    result: str | None = None


class ExecuteString(Statement):
    """``EXEC ('...' + @v)``; the parts are concatenated. ``at`` names a linked server."""

    parts: tuple[Expr, ...]
    at: str | None = None


class Transaction(Statement):
    """``action`` BEGIN, COMMIT, ROLLBACK or SAVE; ``name`` a literal name or a variable; ``mark`` the text of
    WITH MARK ('' when none was given), or a variable."""

    action: str
    name: str | Variable | None = None
    mark: str | Variable | None = None

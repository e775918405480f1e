"""Statements on logins, users, roles and permissions."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from tdsproxy.tsql.ast.statements import Statement

if TYPE_CHECKING:
    from tdsproxy.tsql.ast.names import Name


class CreateLogin(Statement):
    """``password`` as written; never repr'd into a log. ``options`` in upper case words to text."""

    secret: ClassVar[frozenset[str]] = frozenset({"password", "old_password"})

    name: str
    password: str | None = None
    options: tuple[tuple[str, str], ...] = ()
    alter: bool = False
    old_password: str | None = None
    disable: bool | None = None
    hashed: bool = False


class DropLogin(Statement):
    name: str


class CreateUser(Statement):
    name: str
    login: str | None = None
    default_schema: str | None = None
    alter: bool = False
    without_login: bool = False


class DropUser(Statement):
    name: str
    if_exists: bool = False


class AlterRole(Statement):
    """ALTER [SERVER] ROLE r ADD | DROP MEMBER m; CREATE/DROP ROLE have ``action`` CREATE/DROP."""

    role: str
    action: str
    member: str | None = None
    server: bool = False


class Permission(Statement):
    """GRANT, DENY, REVOKE: ``permissions`` in upper case."""

    action: str
    permissions: tuple[str, ...]
    on: Name | None
    principals: tuple[str, ...]

"""GRANT, DENY and REVOKE within a database, kept in its own file as its users are.

``__tds_permissions`` has a row for each permission of a user or role on an object (its object_id; 0 is the
database): G granted, D denied.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import apsw
import msgspec

from tdsproxy.server.workspace import Workspace
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS {s}.__tds_permissions(object_id INTEGER NOT NULL, grantee TEXT NOT NULL"
    " COLLATE NOCASE, permission TEXT NOT NULL, state TEXT NOT NULL,"
    " PRIMARY KEY (object_id, grantee, permission)) WITHOUT ROWID"
)
_SERVER: Final = frozenset(
    {
        *("CONTROL SERVER", "SHUTDOWN", "CONNECT SQL", "CONNECT ANY DATABASE", "CREATE ANY DATABASE"),
        *("ADMINISTER BULK OPERATIONS", "VIEW SERVER STATE", "VIEW SERVER PERFORMANCE STATE"),
        *("VIEW ANY DATABASE", "VIEW ANY DEFINITION", "ALTER SERVER STATE", "ALTER SETTINGS", "ALTER TRACE"),
        *("ALTER ANY LOGIN", "ALTER ANY DATABASE", "ALTER ANY CREDENTIAL", "ALTER ANY CONNECTION"),
        *("ALTER ANY EVENT SESSION", "ALTER ANY LINKED SERVER", "IMPERSONATE ANY LOGIN"),
    }
)
"""Permissions on the server: accepted, and decided by the fixed server roles."""


class Grant(msgspec.Struct, frozen=True):
    """``state`` is G or D; ``object_id`` 0 is the database."""

    object_id: int
    grantee: str
    permission: str
    state: str


class Grants:
    """The permissions of one attached database."""

    def __init__(self, workspace: Workspace, schema: str) -> None:
        self._work = workspace
        self._schema = schema

    def all(self) -> list[Grant]:
        try:
            rows = self._work.run(
                "SELECT object_id, grantee, permission, state"
                f" FROM {self._schema}.__tds_permissions ORDER BY 1, 2, 3"
            )
        except apsw.SQLError:
            return []
        return [Grant(int(str(id_)), str(who), str(what), str(state)) for id_, who, what, state in rows]

    def change(self, action: str, object_id: int, grantee: str, permission: str) -> None:
        """``action`` is GRANT, DENY or REVOKE."""
        self._work.run(_CREATE.format(s=self._schema))
        if action == "REVOKE":
            self._work.run(
                f"DELETE FROM {self._schema}.__tds_permissions"
                " WHERE object_id = ? AND grantee = ? AND permission = ?",
                (object_id, grantee, permission),
            )
            return
        self._work.run(
            f"INSERT OR REPLACE INTO {self._schema}.__tds_permissions VALUES (?, ?, ?, ?)",
            (object_id, grantee, permission, action[0]),
        )


def run_permission(session: Session, statement: ast.Permission) -> None:
    """Raises SqlError 15151, 15247."""
    database = session.database
    if statement.on is None and _SERVER.issuperset(statement.permissions):
        session.rights.require_server_role("sysadmin", "securityadmin")
        return
    session.rights.require_owner(database, "Grantor does not have GRANT permission.")
    object_id = 0
    if statement.on is not None:
        object_id = _object_id(session, statement.on)
    known = {user.name.lower(): user.name for user in session.users_of(database)}
    for name in statement.principals:
        if name.lower() not in known:
            raise _missing("user", name)
    words = list(_expanded(statement.permissions))
    schema = session.workspace.schema_of(database)
    with session.evaluator.sql.changing(schema, database, statement.line):
        grants = Grants(session.workspace, schema)
        for name in statement.principals:
            for word in words:
                grants.change(statement.action, object_id, known[name.lower()], word)


def _expanded(permissions: Sequence[str]) -> Iterator[str]:
    for word in permissions:
        short = {"EXEC": "EXECUTE"}.get(word, word)
        if short in ("ALL", "ALL PRIVILEGES"):
            yield from ("SELECT", "INSERT", "UPDATE", "DELETE", "EXECUTE", "REFERENCES")
        else:
            yield short


def _object_id(session: Session, name: ast.Name) -> int:
    """The object's id; 0 for a schema or the database itself, which stand for all of their objects."""
    objects = session.objects_of(name.database or session.database)
    found = objects.table(name.schema or "dbo", name.object) or objects.module(
        name.schema or "dbo", name.object
    )
    if found is not None:
        return found.object_id
    if name.schema is None and (
        objects.has_schema(name.object) or name.object.lower() == session.database.lower()
    ):
        return 0
    raise _missing("object", name.object)


def _missing(kind: str, name: str) -> SqlError:
    return SqlError.of(
        15151,
        16,
        1,
        f"Cannot find the {kind} '{name}', because it does not exist or you do not have permission.",
    )


def verdict(grants: Sequence[Grant], who: frozenset[str], action: str, object_id: int) -> str | None:
    """D when ``action`` on an object is denied to one of ``who`` (lower-case names), G when it is granted."""
    found = {
        grant.state
        for grant in grants
        if grant.object_id in (0, object_id)
        and grant.permission in (action, "CONTROL")
        and grant.grantee.lower() in who
    }
    return "D" if "D" in found else "G" if found else None


def type_code(permission: str) -> str:
    """``sys.database_permissions.type``."""
    codes = {"SELECT": "SL", "INSERT": "IN", "UPDATE": "UP", "DELETE": "DL", "EXECUTE": "EX"}
    codes |= {"REFERENCES": "RF", "CONTROL": "CL", "ALTER": "AL", "VIEW DEFINITION": "VW", "CONNECT": "CO"}
    codes |= {"BACKUP DATABASE": "BADB", "BACKUP LOG": "BALO", "CREATE TABLE": "CRTB", "CREATE VIEW": "CRVW"}
    return codes.get(permission, "".join(word[:2] for word in permission.split())[:4]).ljust(4)

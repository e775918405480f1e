"""Users and roles of a database, kept in the database's own file, so that a backup carries them.

``__tds_users`` holds users and roles that were made here, ``__tds_members`` who is in which role. dbo, guest
and the fixed roles are in no table.
"""

from __future__ import annotations

from typing import Final

import apsw

from tdsproxy.server.sysviews.scope import EPOCH, UserFacts
from tdsproxy.server.sysviews.security import DATABASE_ROLE_IDS
from tdsproxy.server.workspace import Workspace

_CREATE: Final = (
    "CREATE TABLE IF NOT EXISTS {s}.__tds_users(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE"
    " UNIQUE, kind TEXT NOT NULL, sid BLOB, default_schema TEXT)",
    "CREATE TABLE IF NOT EXISTS {s}.__tds_members(role TEXT NOT NULL COLLATE NOCASE, member TEXT NOT NULL"
    " COLLATE NOCASE, PRIMARY KEY (role, member)) WITHOUT ROWID",
)
_FIRST_ID: Final = 5


class Users:
    """The users of one attached database (``schema`` is its SQLite schema)."""

    def __init__(self, workspace: Workspace, schema: str) -> None:
        self._work = workspace
        self._schema = schema

    def _exists(self) -> bool:
        try:
            found = self._work.value(f"SELECT 1 FROM {self._schema}.sqlite_schema WHERE name = '__tds_users'")
        except apsw.SQLError:
            return False
        return found is not None

    def _ensure(self) -> None:
        for statement in _CREATE:
            self._work.run(statement.format(s=self._schema))

    def made(self) -> list[UserFacts]:
        """The users and roles that were made by CREATE USER and CREATE ROLE."""
        if not self._exists():
            return []
        roles: dict[str, set[str]] = {}
        for role, member in self._work.run(f"SELECT role, member FROM {self._schema}.__tds_members"):
            roles.setdefault(str(member).lower(), set()).add(str(role).lower())
        rows = self._work.run(
            f"SELECT id, name, kind, sid, default_schema FROM {self._schema}.__tds_users ORDER BY id"
        )
        return [
            UserFacts(
                id=int(str(id_)),
                name=str(name),
                sid=sid if isinstance(sid, bytes) else None,
                kind=str(kind),
                default_schema=None if default_schema is None else str(default_schema),
                roles=frozenset(roles.get(str(name).lower(), ())),
            )
            for id_, name, kind, sid, default_schema in rows
        ]

    def all(self, owner_sid: bytes) -> list[UserFacts]:
        """Everybody, in the order of ids; dbo belongs to the database's owner."""
        made = self.made()
        everybody = [
            UserFacts(1, "dbo", owner_sid, default_schema="dbo", roles=frozenset({"db_owner"})),
            UserFacts(2, "guest", b"\x00", default_schema="guest"),
            UserFacts(3, "INFORMATION_SCHEMA"),
            UserFacts(4, "sys"),
            *made,
        ]
        everybody += [
            UserFacts(id_, name, b"", "R", fixed_role=name != "public", created=EPOCH)
            for name, id_ in DATABASE_ROLE_IDS.items()
        ]
        return sorted(everybody, key=lambda user: user.id)

    def find(self, name: str) -> UserFacts | None:
        wanted = name.lower()
        return next((user for user in self.made() if user.name.lower() == wanted), None)

    def of_sid(self, sid: bytes) -> UserFacts | None:
        return next((user for user in self.made() if user.sid == sid and user.kind == "S"), None)

    def create(self, name: str, kind: str, sid: bytes | None, default_schema: str | None) -> None:
        self._ensure()
        self._work.run(
            f"INSERT INTO {self._schema}.__tds_users(id, name, kind, sid, default_schema)"
            f" SELECT max({_FIRST_ID - 1}, coalesce(max(id), 0)) + 1, ?, ?, ?, ?"
            f" FROM {self._schema}.__tds_users",
            (name, kind, sid, default_schema),
        )

    def change(self, name: str, *, sid: bytes | None = None, default_schema: str | None = None) -> None:
        self._ensure()
        self._work.run(
            f"UPDATE {self._schema}.__tds_users SET sid = coalesce(?, sid),"
            " default_schema = coalesce(?, default_schema) WHERE name = ?",
            (sid, default_schema, name),
        )

    def drop(self, name: str) -> None:
        self._ensure()
        self._work.run(f"DELETE FROM {self._schema}.__tds_users WHERE name = ?", (name,))
        self._work.run(f"DELETE FROM {self._schema}.__tds_members WHERE member = ? OR role = ?", (name, name))

    def add_member(self, role: str, member: str) -> None:
        self._ensure()
        self._work.run(f"INSERT OR IGNORE INTO {self._schema}.__tds_members VALUES (?, ?)", (role, member))

    def drop_member(self, role: str, member: str) -> None:
        self._ensure()
        self._work.run(
            f"DELETE FROM {self._schema}.__tds_members WHERE role = ? AND member = ?", (role, member)
        )

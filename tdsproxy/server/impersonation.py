"""EXECUTE AS and REVERT: whose rights a session has for a while."""

from __future__ import annotations

import dataclasses
import secrets
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tdsproxy.server.rights import DBO, GUEST, Rights
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_WITHOUT_LOGIN: Final = bytes.fromhex("010500000000000903000000")
"""How the sid of a user without login begins: S-1-9-3, and four numbers of its own behind it."""


def new_sid() -> bytes:
    """The sid of a new user without login."""
    return _WITHOUT_LOGIN + secrets.token_bytes(16)


def sid_text(sid: bytes) -> str:
    """A sid as SUSER_SNAME() shows it where no login has it: ``S-1-9-3-...``."""
    numbers = struct.unpack(f"<{(len(sid) - 8) // 4}I", sid[8:])
    return "-".join(["S", str(sid[0]), str(int.from_bytes(sid[2:8], "big")), *map(str, numbers)])


@dataclass(frozen=True, slots=True)
class _Switch:
    """What REVERT goes back to. ``database`` is where EXECUTE AS USER was said."""

    rights: Rights
    database: str | None
    no_revert: bool


class Impersonation:
    """The contexts of one session, one upon the other."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._switches: list[_Switch] = []
        self.original = session.rights.login

    @property
    def depth(self) -> int:
        return len(self._switches)

    @property
    def active(self) -> bool:
        return bool(self._switches)

    def execute_as(self, statement: ast.ExecuteAs, name: str) -> None:
        """Raises SqlError 15406, 15517."""
        session = self._session
        if statement.kind == "CALLER":
            return
        if statement.kind == "LOGIN":
            rights, database = self._login(name), None
        else:
            rights, database = self._user(name), session.database
        self._switches.append(_Switch(session.rights, database, statement.no_revert))
        session.rights = rights

    def _login(self, name: str) -> Rights:
        session = self._session
        login = session.engine.catalog.logins.find(name)
        if login is None or not (session.rights.is_sysadmin or login.name == session.rights.login.name):
            raise SqlError.of(
                15406,
                16,
                1,
                f'Cannot execute as the server principal because the principal "{name}" does not exist,'
                " this type of principal cannot be impersonated, or you do not have permission.",
            )
        return session.rights.as_login(login)

    def _user(self, name: str) -> Rights:
        session = self._session
        entry = session.engine.catalog.databases.find(session.database)
        found = DBO if name.lower() == "dbo" else session.users_table(session.database).find(name)
        found = GUEST if name.lower() == "guest" else found
        owns = session.rights.is_sysadmin or "db_owner" in session.rights.roles(session.database)
        itself = found is not None and session.rights.user(session.database).name == found.name
        if found is None or found.kind != "S" or entry is None or not (owns or itself):
            raise SqlError.of(
                15517,
                16,
                1,
                f'Cannot execute as the database principal because the principal "{name}" does not exist,'
                " this type of principal cannot be impersonated, or you do not have permission.",
            )
        logins = session.engine.catalog.logins.all()
        if found is DBO:
            known = next((login for login in logins if login.name.lower() == entry.owner.lower()), None)
        else:
            known = next((login for login in logins if login.sid == found.sid), None)
        sid = found.sid or b"\x00"
        login = known or dataclasses.replace(self.original, id=0, name=sid_text(sid), sid=sid)
        # No right on the server comes with a user.
        login = dataclasses.replace(login, roles=frozenset())
        return session.rights.as_user(login, session.database, found)

    def revert(self) -> None:
        """Raises SqlError 15199 in another database than where EXECUTE AS USER was said, 15357 for one that
        can't be taken back."""
        if not self._switches:
            return
        last = self._switches[-1]
        if last.no_revert:
            raise SqlError.of(
                15357,
                16,
                1,
                'The current security context was set by "Execute As WITH NO REVERT". It cannot be reverted.',
            )
        if last.database is not None and last.database.lower() != self._session.database.lower():
            raise SqlError.of(
                15199,
                16,
                1,
                "The current security context cannot be reverted. Please switch to the original database"
                " where 'Execute As' was called and try it again.",
            )
        self.back_to(len(self._switches) - 1)

    def back_to(self, depth: int) -> None:
        """Ends the contexts that a module or dynamic SQL leaves behind."""
        while len(self._switches) > depth:
            self._session.rights = self._switches.pop().rights

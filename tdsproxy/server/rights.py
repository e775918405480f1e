"""What a login may do: fixed server roles, ownership and the fixed roles of databases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.logins import Login
from tdsproxy.server.sysviews.scope import UserFacts
from tdsproxy.tsql.errors import SqlError

_GUEST_DATABASES: Final = frozenset({"master", "tempdb", "msdb"})

_READ: Final = frozenset({"db_owner", "db_datareader"})
_WRITE: Final = frozenset({"db_owner", "db_datawriter"})
_DEFINE: Final = frozenset({"db_owner", "db_ddladmin"})
NEEDED: Final = {
    "SELECT": _READ,
    "INSERT": _WRITE,
    "UPDATE": _WRITE,
    "DELETE": _WRITE,
    "EXECUTE": frozenset({"db_owner"}),
    "ALTER": _DEFINE,
}

DBO: Final = UserFacts(1, "dbo", default_schema="dbo", roles=frozenset({"db_owner"}))
GUEST: Final = UserFacts(2, "guest", b"\x00", default_schema="guest")


class Rights:
    """The rights of one login. ``find_database`` looks a database up by name; ``find_user`` gives the user of
    a sid in a database that can be read, None without one; ``permission`` says whether GRANT (G) or DENY (D)
    decides about an action of one of some users and roles on ``schema.name``, None when nothing was said."""

    def __init__(
        self,
        login: Login,
        find_database: Callable[[str], Database | None],
        find_user: Callable[[str, bytes], UserFacts | None],
        permission: Callable[[str, frozenset[str], str, str, str], str | None] = lambda *_: None,
    ) -> None:
        self.login = login
        self._find_database = find_database
        self._find_user = find_user
        self._permission = permission

    def as_login(self, login: Login) -> Rights:
        """Those of another login."""
        return Rights(login, self._find_database, self._find_user, self._permission)

    def as_user(self, login: Login, database: str, user: UserFacts) -> Rights:
        """Those of a user of one database, who is a stranger in all others."""
        return _UserRights(login, self._find_database, self._find_user, self._permission, database, user)

    @property
    def server_roles(self) -> frozenset[str]:
        return self.login.roles

    @property
    def is_sysadmin(self) -> bool:
        return "sysadmin" in self.login.roles

    def user(self, database: str) -> UserFacts:
        """The user that the login is in ``database``: dbo, one of its own, or guest."""
        found = self._user(database)
        return GUEST if found is None else found

    def _user(self, database: str) -> UserFacts | None:
        if self.is_sysadmin:
            return DBO
        facts = self._find_database(database)
        if facts is None:
            return None
        if facts.owner.lower() == self.login.name.lower():
            return DBO
        return self._find_user(database, self.login.sid)

    def may_use(self, database: str) -> bool:
        """Whether the login may make ``database`` its current one."""
        name = database.lower()
        return self.is_sysadmin or name in _GUEST_DATABASES or self._user(database) is not None

    def roles(self, database: str) -> frozenset[str]:
        """The fixed roles that the login has in ``database``."""
        found = self._user(database)
        return found.roles if found else frozenset()

    def require_use(self, database: str) -> None:
        """Raises SqlError 916."""
        if not self.may_use(database):
            raise SqlError.of(
                916,
                14,
                2,
                f'The server principal "{self.login.name}" is not able to access the database'
                f' "{database}" under the current security context.',
            )

    def require(self, action: str, database: str, schema: str, name: str) -> None:
        """Raises SqlError 229 unless a role allows ``action`` (SELECT, INSERT ...) on an object."""
        if self.is_sysadmin:
            return
        roles = self.roles(database)
        found = None
        if "db_owner" not in roles:
            who = frozenset({self.user(database).name.lower(), "public", *roles})
            found = self._permission(database, who, action, schema, name)
        if found == "G":
            return
        if roles & NEEDED[action] and found is None:
            denied = {"SELECT": "db_denydatareader"}.get(action, "db_denydatawriter")
            if denied not in roles:
                return
        raise SqlError.of(
            229,
            14,
            5,
            f"The {action} permission was denied on the object '{name}', database '{database}',"
            f" schema '{schema}'.",
        )

    def require_definition(self, what: str, database: str) -> None:
        """Raises SqlError 262 unless objects may be made in ``database``; ``what`` is ``CREATE TABLE`` ..."""
        if not self.is_sysadmin and not self.roles(database) & _DEFINE:
            raise SqlError.of(262, 14, 1, f"{what} permission denied in database '{database}'.")

    def require_owner(self, database: str, message: str) -> None:
        """Raises SqlError 15247 unless the login owns the database."""
        if not self.is_sysadmin and "db_owner" not in self.roles(database):
            raise SqlError.of(15247, 16, 1, message)

    def require_server_role(self, *roles: str) -> None:
        """Raises SqlError 15247 without one of the fixed server roles."""
        if not self.is_sysadmin and not self.login.roles & set(roles):
            raise SqlError.of(15247, 16, 1, "User does not have permission to perform this action.")


class _UserRights(Rights):
    def __init__(
        self,
        login: Login,
        find_database: Callable[[str], Database | None],
        find_user: Callable[[str, bytes], UserFacts | None],
        permission: Callable[[str, frozenset[str], str, str, str], str | None],
        database: str,
        user: UserFacts,
    ) -> None:
        super().__init__(login, find_database, find_user, permission)
        self._database = database.lower()
        self._only = user

    def _user(self, database: str) -> UserFacts | None:
        return self._only if database.lower() == self._database else None

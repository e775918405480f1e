"""What the handlers of native statements share: the request, its operands, and questions about rights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.database_users import is_owner
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.messages import message
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.commands.running import RunningStatement
from tdsproxy.tsql.replies import Done, Reply
from tdsproxy.tsql.values import DateTime

BACKUP_ROLES = frozenset({"db_owner", "db_backupoperator"})


@dataclass(frozen=True, slots=True)
class Context:
    """One statement's surroundings; ``command`` is the CurCmd value of its DONE tokens; ``running`` is told
    how far it is. ``logical_names`` are the logical devices that it names, by what they stand for."""

    env: CommandEnvironment
    request: NativeRequest
    operands: Operands
    command: int
    running: RunningStatement | None = None
    logical_names: dict[str, str] = field(default_factory=dict)

    @property
    def session(self) -> SessionContext:
        return self.request.session

    def info(self, number: int, *values: object) -> Iterator[Reply]:
        """An info message with the DONE that SQL Server sends behind each."""
        yield message(number, *values, line=self.request.line)
        yield Done(self.command)

    def now(self) -> DateTime:
        """The server's time, for msdb's rows."""
        return DateTime.of(self.env.clock())

    # ------------------------------------------------------------------ rights

    @property
    def is_admin(self) -> bool:
        return "sysadmin" in self.session.server_roles

    @property
    def may_create_databases(self) -> bool:
        return self.is_admin or "dbcreator" in self.session.server_roles

    def owns(self, database: Database) -> bool:
        """Whether the login is the database's owner, a member of sysadmin or of dbcreator."""
        return self.may_create_databases or name_key(database.owner) == name_key(self.session.login)

    def roles_in(self, database: Database) -> frozenset[str] | None:
        """The session's roles in a database; None when the login has no user there."""
        if self.is_admin or name_key(database.owner) == name_key(self.session.login):
            return frozenset({"db_owner"})
        for name, roles in self.session.database_roles.items():
            if name_key(name) == name_key(database.name):
                return frozenset(role.lower() for role in roles)
        return None

    def may_alter(self, database: Database) -> bool:
        return self.owns(database) or "db_owner" in (self.roles_in(database) or ())

    # ------------------------------------------------------------------ other sessions

    def is_current(self, database: Database) -> bool:
        """Whether the session itself is in the database."""
        return name_key(self.session.database) == name_key(database.name)

    def others_in(self, database: Database) -> list[int]:
        """The other sessions whose current database this is, and the holder of its only seat."""
        users = set(self.env.sessions.users_of(database.name))
        if database.holder is not None:
            users.add(database.holder)
        return sorted(users - {self.session.spid})

    def may_enter(self, spid: int, database: Database) -> bool:
        """Whether a session's login may use a database in restricted mode: members of sysadmin, dbcreator
        and db_owner."""
        name = self.env.sessions.login_of(spid)
        login = None if name is None else self.env.catalog.logins.find(name)
        if login is None:
            return False
        if login.roles & {"sysadmin", "dbcreator"} or name_key(database.owner) == name_key(login.name):
            return True
        return is_owner(database.path(self.env.catalog.store), login.sid)

    def database_files(self) -> list[Path]:
        """The files of all databases: none of them may be opened as a backup device."""
        store = self.env.catalog.store
        return [database.path(store) for database in self.env.catalog.databases.all() if database.file]

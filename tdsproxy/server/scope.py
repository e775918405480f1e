"""What views and functions may ask, answered from the catalog and the live sessions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from tdsproxy.catalog.configurations import Configurations
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.devices import BackupDevice
from tdsproxy.catalog.keys import Credential, DatabaseKey, Keys
from tdsproxy.catalog.logins import Login
from tdsproxy.catalog.user_messages import UserMessage
from tdsproxy.server.counts import ServerCounts
from tdsproxy.server.grants import Grant
from tdsproxy.server.identity import ServerIdentity
from tdsproxy.server.procedures.asking import look
from tdsproxy.server.schema import DatabaseSchema, TableInfo
from tdsproxy.server.session_facts import facts_of, visible_sessions
from tdsproxy.server.system_messages import stored_message
from tdsproxy.server.sysviews.scope import DatabaseFacts, LoginFacts, SessionFacts, UserFacts
from tdsproxy.store.file_keys import StoredKey
from tdsproxy.tsql.database_options import shown_columns
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.registry import CaughtError
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_PAGE = 8192


def database_facts(
    database: Database, logins: Mapping[str, bytes], size: int | None, *, encrypted: bool = False
) -> DatabaseFacts:
    """A catalog entry as the views show it. ``logins`` gives the sids by lower-case name; ``size`` is the
    file's length in bytes, None when there is no file."""
    chain, redo = database.chain, database.redo
    pages = max(1024, -(-(size or 0) // _PAGE))
    return DatabaseFacts(
        id=database.id,
        name=database.name,
        state=database.state.name,
        recovery_model=database.recovery_model.name,
        user_access=database.user_access.name,
        created=DateTime.of(database.created),
        owner_sid=logins.get(database.owner.lower(), b"\x01"),
        compatibility_level=database.compatibility,
        collation=database.collation,
        read_only=database.read_only or database.standby is not None,
        options={**shown_columns(database.options), "is_encrypted": int(encrypted)},
        logical_name=database.data_name,
        log_name=database.log_name,
        data_file=database.data_path,
        log_file=database.log_path,
        pages=pages,
        broker_guid=database.guid if database.id != 2 else UUID(int=0),
        database_guid=database.guid,
        family_guid=database.family,
        fork_guid=database.fork,
        data_file_guid=None if database.id < 4 else database.data_file_guid,
        log_file_guid=None if database.id < 4 else database.log_file_guid,
        holder=database.holder,
        standby=database.standby is not None,
        log_backup_lsn=chain.log_backup_lsn,
        first_fork_guid=chain.first_fork if chain.fork_point_lsn is not None else database.fork,
        fork_point_lsn=chain.fork_point_lsn,
        differential_base_lsn=chain.base_lsn,
        differential_base_guid=chain.base_guid,
        differential_base_time=None if chain.base_ns is None else _local(chain.base_ns),
        redo_start_lsn=None if redo is None else redo.lsn,
        redo_start_fork=None if redo is None else redo.fork,
        source_database_id=database.source,
    )


def _local(ns: int) -> DateTime:
    return DateTime.of(dt.datetime.fromtimestamp(ns / 10**9))


def login_facts(login: Login) -> LoginFacts:
    return LoginFacts(
        id=login.id,
        name=login.name,
        sid=login.sid,
        disabled=login.disabled,
        created=DateTime.of(login.created),
        default_database=login.default_database,
        roles=login.roles,
    )


class DatabaseScope:
    """What the system views of one database read (``sysviews.scope.Scope``)."""

    def __init__(self, session: Session, database: str) -> None:
        self._session = session
        self._name = database

    @property
    def identity(self) -> ServerIdentity:
        return self._session.engine.identity

    @property
    def started(self) -> DateTime:
        return self._session.engine.started

    @property
    def spid(self) -> int:
        return self._session.spid

    @property
    def database(self) -> DatabaseFacts:
        wanted = self._name.rstrip().lower()
        return next(d for d in self.databases() if d.name.lower() == wanted)

    @property
    def objects(self) -> DatabaseSchema:
        if self._name.lower() == "tempdb":
            return self._session.evaluator.sql.shapes.temporary()
        return self._session.objects_of(self._name)

    def views(self) -> Sequence[TableInfo]:
        return self._session.views_of(self._name)

    def databases(self) -> Sequence[DatabaseFacts]:
        return self._session.visible_databases()

    def sessions(self) -> Sequence[SessionFacts]:
        return visible_sessions(self._session)

    def logins(self) -> Sequence[LoginFacts]:
        return self._session.logins()

    def users(self) -> Sequence[UserFacts]:
        return self._session.users_of(self._name)

    @property
    def user(self) -> UserFacts:
        return self._session.rights.user(self._name)

    def grants(self) -> Sequence[Grant]:
        return self._session.grants_of(self._name)

    def row_count(self, table: TableInfo) -> int:
        return self._session.row_count_of(self._name, table)

    def counts(self) -> ServerCounts:
        if not self._session.rights.is_sysadmin:
            raise SqlError(
                Message(
                    300,
                    14,
                    1,
                    "VIEW SERVER PERFORMANCE STATE permission was denied on object 'server', database"
                    " 'master'.",
                ),
                Message(297, 16, 1, "The user does not have permission to perform this action."),
            )
        return self._session.engine.counts()

    @property
    def configurations(self) -> Configurations:
        return self._session.engine.catalog.configurations

    @property
    def devices(self) -> Sequence[BackupDevice]:
        return self._session.engine.catalog.devices.all()

    @property
    def messages(self) -> Sequence[UserMessage]:
        return self._session.engine.catalog.messages.all()

    def described(self, text: str, declarations: str) -> Iterable[Mapping[str, Value]]:
        from tdsproxy.server.procedures.describing import rows_of_text

        return rows_of_text(self._session, text, declarations)

    def described_object(self, object_id: int) -> Iterable[Mapping[str, Value]]:
        from tdsproxy.server.procedures.describing import rows_of_object

        return rows_of_object(self._session, object_id)

    def look(self, procedure: str, *values: Value) -> list[tuple[Value, ...]]:
        return look(self._session, procedure, *values)

    @property
    def keys(self) -> Keys | None:
        rights = self._session.rights
        owns = rights.is_sysadmin or "db_owner" in rights.roles("master")
        return self._session.engine.catalog.keys if owns else None

    @property
    def database_keys(self) -> Sequence[tuple[UUID, DatabaseKey, StoredKey]]:
        catalog = self._session.engine.catalog
        documents = dict(catalog.file_keys.all()) if self.keys is not None else {}
        found = [
            (database, key, documents.get(key.salt)) for database, key in catalog.keys.database_keys().items()
        ]
        return [(database, key, document) for database, key, document in found if document is not None]

    @property
    def credentials(self) -> Sequence[Credential]:
        rights = self._session.rights
        sees = rights.is_sysadmin or "securityadmin" in rights.server_roles
        return self._session.engine.catalog.keys.credentials() if sees else ()


class SessionFunctions:
    """What functions ask of a session (``functions.context.ServerContext``), as one frame sees it."""

    def __init__(self, session: Session, frame: Frame) -> None:
        self._session = session
        self.frame = frame

    def now(self) -> DateTimeOffset:
        return self._session.statement_time()

    @property
    def date_first(self) -> int:
        return self.frame.options.date_first

    @property
    def caught(self) -> CaughtError | None:
        caught = self.frame.session.caught
        return caught[-1] if caught else None

    def random(self, seed: int | None) -> float:
        return self._session.random(seed)

    def transaction_state(self) -> int:
        return self._session.transaction_state()

    @property
    def identity(self) -> ServerIdentity:
        return self._session.engine.identity

    @property
    def session(self) -> SessionFacts:
        return facts_of(self._session)

    @property
    def database_name(self) -> str:
        return self._session.database

    @property
    def identity_scope(self) -> Decimal | None:
        return self._session.scope_identity(self.frame)

    @property
    def last_identity(self) -> Decimal | None:
        return self._session.last_identity()

    @property
    def values(self) -> dict[str, Value]:
        return self._session.values

    @property
    def server_roles(self) -> frozenset[str]:
        return self._session.rights.server_roles

    @property
    def user(self) -> UserFacts:
        return self._session.rights.user(self._session.database)

    def databases(self) -> Sequence[DatabaseFacts]:
        return self._session.visible_databases()

    def logins(self) -> Sequence[LoginFacts]:
        return self._session.logins()

    def users(self) -> Sequence[UserFacts]:
        return self._session.users_of(self._session.database)

    def message_text(self, number: int) -> str | None:
        found = stored_message(self._session.engine.catalog, number)
        return None if found is None else found.text

    def may_use(self, database: str) -> bool:
        return self._session.rights.may_use(database)

    def objects(self, database: str | None = None) -> DatabaseSchema | None:
        return self._session.find_objects(self._session.database if database is None else database)

    def temporary_object_id(self, name: str) -> int | None:
        return self._session.temporary_object_id(name, self.frame)

    def identity_of(self, table: str, part: str) -> Decimal | None:
        return self._session.identity_of(table, part)

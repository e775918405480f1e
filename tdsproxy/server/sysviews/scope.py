"""What the system views read: plain records of databases, sessions, logins and users.

The engine makes them; a view never opens a file or takes a lock itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol
from uuid import UUID

import msgspec

from tdsproxy.catalog.configurations import Configurations
from tdsproxy.catalog.devices import BackupDevice
from tdsproxy.catalog.keys import Credential, DatabaseKey, Keys
from tdsproxy.catalog.user_messages import UserMessage
from tdsproxy.server.counts import ServerCounts
from tdsproxy.server.grants import Grant
from tdsproxy.server.identity import ServerIdentity
from tdsproxy.server.schema import DatabaseSchema, TableInfo
from tdsproxy.store.file_keys import StoredKey
from tdsproxy.tsql.values import DateTime, Value

STATES = {
    "ONLINE": 0,
    "RESTORING": 1,
    "RECOVERING": 2,
    "RECOVERY_PENDING": 3,
    "SUSPECT": 4,
    "EMERGENCY": 5,
    "OFFLINE": 6,
}
RECOVERY_MODELS = {"FULL": 1, "BULK_LOGGED": 2, "SIMPLE": 3}
USER_ACCESS = {"MULTI_USER": 0, "SINGLE_USER": 1, "RESTRICTED_USER": 2}
SYSTEM_DATABASES = ("master", "tempdb", "model", "msdb")
EPOCH = DateTime(737790, 0)
NO_GUID = UUID(int=0)


class DatabaseFacts(msgspec.Struct, frozen=True):
    """A database as the catalog knows it. ``pages`` is its size in pages of 8 KB."""

    id: int
    name: str
    state: str = "ONLINE"
    recovery_model: str = "SIMPLE"
    user_access: str = "MULTI_USER"
    created: DateTime = EPOCH
    owner_sid: bytes = b"\x01"
    compatibility_level: int = 160
    collation: str = "SQL_Latin1_General_CP1_CI_AS"
    read_only: bool = False
    standby: bool = False
    options: Mapping[str, int | str] = msgspec.field(default_factory=dict)
    logical_name: str = ""
    log_name: str = ""
    data_file: str = ""
    log_file: str = ""
    pages: int = 1024
    log_pages: int = 1024
    broker_guid: UUID = NO_GUID
    database_guid: UUID | None = None
    family_guid: UUID | None = None
    fork_guid: UUID | None = None
    data_file_guid: UUID | None = None
    log_file_guid: UUID | None = None
    log_backup_lsn: int | None = None
    """Where the next log backup begins; None for a pseudo-simple database."""
    first_fork_guid: UUID | None = None
    fork_point_lsn: int | None = None
    differential_base_lsn: int | None = None
    differential_base_guid: UUID | None = None
    differential_base_time: DateTime | None = None
    redo_start_lsn: int | None = None
    redo_start_fork: UUID | None = None
    holder: int | None = None
    """The session that has the seat of a SINGLE_USER database."""
    source_database_id: int | None = None

    @property
    def online(self) -> bool:
        return self.state == "ONLINE"

    @property
    def is_system(self) -> bool:
        return self.name.lower() in SYSTEM_DATABASES


class TransactionFacts(msgspec.Struct, frozen=True):
    """An open transaction. ``number`` is unique in the server; ``writes`` has the databases whose write locks
    it holds, by id, and since when."""

    number: int
    name: str
    began: DateTime
    descriptor: bytes
    by_user: bool = True
    writes: Mapping[int, DateTime] = msgspec.field(default_factory=dict)


class SessionFacts(msgspec.Struct, frozen=True):
    """A session as sys.dm_exec_sessions shows it."""

    spid: int
    login: str
    login_sid: bytes
    original_login: str
    database_id: int
    login_time: DateTime
    host: str = ""
    application: str = ""
    library: str = ""
    client_pid: int = 0
    address: str = ""
    encrypted: bool = False
    running: bool = False
    request_text: str = ""
    request_command: str = ""
    request_start: DateTime = EPOCH
    request_end: DateTime | None = None
    isolation: int = 2
    language: str = "us_english"
    date_format: str = "mdy"
    date_first: int = 7
    text_size: int = 2147483647
    lock_timeout: int = -1
    quoted_identifier: bool = True
    arithabort: bool = False
    ansi_defaults: bool = True
    context_info: bytes | None = None
    open_transactions: int = 0
    row_count: int = 0
    last_error: int = 0
    command: str = ""
    percent: float = 0.0
    milliseconds_left: int = 0
    transaction: TransactionFacts | None = None


class LoginFacts(msgspec.Struct, frozen=True):
    """A login or a server role. ``kind`` is S (SQL login) or R (server role)."""

    id: int
    name: str
    sid: bytes
    kind: str = "S"
    disabled: bool = False
    created: DateTime = EPOCH
    default_database: str = "master"
    roles: frozenset[str] = frozenset()
    check_policy: bool = False


class UserFacts(msgspec.Struct, frozen=True):
    """A database user or role. ``kind`` is S (user) or R (role)."""

    id: int
    name: str
    sid: bytes | None = None
    kind: str = "S"
    fixed_role: bool = False
    default_schema: str | None = None
    roles: frozenset[str] = frozenset()
    created: DateTime = EPOCH


class Scope(Protocol):
    """What a view's rows are made from: the server, and the database in whose name it was asked for."""

    @property
    def identity(self) -> ServerIdentity: ...

    @property
    def started(self) -> DateTime: ...

    @property
    def spid(self) -> int: ...

    @property
    def database(self) -> DatabaseFacts: ...

    @property
    def objects(self) -> DatabaseSchema: ...

    def views(self) -> Sequence[TableInfo]:
        """The views of the database in the form of tables."""
        ...

    def databases(self) -> Sequence[DatabaseFacts]: ...

    def sessions(self) -> Sequence[SessionFacts]: ...

    def logins(self) -> Sequence[LoginFacts]: ...

    def users(self) -> Sequence[UserFacts]: ...

    @property
    def user(self) -> UserFacts:
        """The session's user in the database."""
        ...

    def grants(self) -> Sequence[Grant]:
        """What GRANT and DENY have said in the database."""
        ...

    def row_count(self, table: TableInfo) -> int:
        """The rows of a table of the database."""
        ...

    def counts(self) -> ServerCounts:
        """What the server counts. Raises SqlError 300 for who may not see its state."""
        ...

    @property
    def configurations(self) -> Configurations: ...

    @property
    def devices(self) -> Sequence[BackupDevice]: ...

    @property
    def messages(self) -> Sequence[UserMessage]: ...

    def described(self, text: str, declarations: str) -> Iterable[Mapping[str, Value]]:
        """The columns of the first result set of a batch, as sys.dm_exec_describe_first_result_set has
        them."""
        ...

    def described_object(self, object_id: int) -> Iterable[Mapping[str, Value]]:
        """As ``described``, of a procedure of the current database."""
        ...

    def look(self, procedure: str, *values: Value) -> list[tuple[Value, ...]]:
        """The rows of one of the keeper's procedures about files."""
        ...

    @property
    def keys(self) -> Keys | None:
        """The keys of master, for a session that may see them."""
        ...

    @property
    def database_keys(self) -> Sequence[tuple[UUID, DatabaseKey, StoredKey]]:
        """The keys of databases, by their GUIDs, for a session that may see them."""
        ...

    @property
    def credentials(self) -> Sequence[Credential]:
        """Those that the session may see."""
        ...

"""What master.db remembers of keys: the master key, certificates, asymmetric keys, credentials.

Secrets are in here only as ``key_wrapping`` seals them; nothing of this module opens one. The tables belong
to master, so BACKUP and RESTORE of master carry them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Any, Final, TypeVar
from uuid import UUID

import apsw

from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.names import name_key

FIRST_CERTIFICATE_ID: Final = 256
FIRST_CREDENTIAL_ID: Final = 65536

CREATE_TABLES: Final = (
    """
CREATE TABLE IF NOT EXISTS __tds_master_key (
  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),
  guid TEXT NOT NULL,
  by_service BLOB,
  created TEXT NOT NULL,
  modified TEXT NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS __tds_master_key_passwords (id INTEGER PRIMARY KEY NOT NULL, sealed BLOB NOT NULL)
""",
    """
CREATE TABLE IF NOT EXISTS __tds_certificates (
  id INTEGER PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  owner_id INTEGER NOT NULL,
  der BLOB NOT NULL,
  protection TEXT NOT NULL,
  private BLOB,
  begin_dialog INTEGER NOT NULL,
  backed_up TEXT,
  created TEXT NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS __tds_asymmetric_keys (
  id INTEGER PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  owner_id INTEGER NOT NULL,
  der BLOB NOT NULL,
  bits INTEGER NOT NULL,
  protection TEXT NOT NULL,
  private BLOB,
  created TEXT NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS __tds_credentials (
  id INTEGER PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  identity TEXT NOT NULL,
  secret BLOB,
  created TEXT NOT NULL,
  modified TEXT NOT NULL
)""",
    """
CREATE TABLE IF NOT EXISTS __tds_database_keys (
  database TEXT PRIMARY KEY NOT NULL,
  salt TEXT NOT NULL,
  encrypted INTEGER NOT NULL
)""",
)


class Protection(StrEnum):
    """What seals a private key; the values are those of sys.certificates.pvt_key_encryption_type."""

    MASTER_KEY = "MK"
    PASSWORD = "PW"
    NONE = "NA"


@dataclass(frozen=True, slots=True)
class MasterKey:
    """Master's database master key: sealed by the service master key (None: not so), and by passwords."""

    guid: UUID
    by_service: bytes | None = field(repr=False)
    passwords: tuple[bytes, ...] = field(repr=False)
    created: dt.datetime
    modified: dt.datetime

    @property
    def purpose(self) -> str:
        """What its sealed forms were made for."""
        return f"master key {self.guid}"


@dataclass(frozen=True, slots=True)
class Certificate:
    """``der`` is the certificate, ``private`` its sealed PKCS #8 key; ``backed_up`` is when that was last
    written to a file. Times are local."""

    id: int
    name: str
    owner_id: int
    der: bytes = field(repr=False)
    protection: Protection
    private: bytes | None = field(repr=False)
    begin_dialog: bool
    backed_up: dt.datetime | None
    created: dt.datetime

    @property
    def thumbprint(self) -> bytes:
        return hashlib.sha1(self.der, usedforsecurity=False).digest()

    @property
    def purpose(self) -> str:
        """What its sealed private key was made for."""
        return f"private key 0x{self.thumbprint.hex()}"


@dataclass(frozen=True, slots=True)
class AsymmetricKey:
    """``der`` is the public key (SubjectPublicKeyInfo), ``private`` the sealed PKCS #8 key."""

    id: int
    name: str
    owner_id: int
    der: bytes = field(repr=False)
    bits: int
    protection: Protection
    private: bytes | None = field(repr=False)
    created: dt.datetime

    @property
    def thumbprint(self) -> bytes:
        return hashlib.sha1(self.der, usedforsecurity=False).digest()

    @property
    def purpose(self) -> str:
        """What its sealed private key was made for."""
        return f"private key 0x{self.thumbprint.hex()}"


@dataclass(frozen=True, slots=True)
class Credential:
    """``secret`` is sealed by the service master key; None when there is none."""

    id: int
    name: str
    identity: str
    secret: bytes | None = field(repr=False)
    created: dt.datetime
    modified: dt.datetime

    @property
    def purpose(self) -> str:
        """What its sealed secret was made for."""
        return f"credential {self.id}"


@dataclass(frozen=True, slots=True)
class DatabaseKey:
    """A database encryption key: ``salt`` names its file (``store.file_keys``), ``encrypted`` tells that the
    database's file is under it."""

    salt: bytes
    encrypted: bool


_Record = TypeVar("_Record", Certificate, AsymmetricKey, Credential)
_TABLES: Final[dict[type[Any], tuple[str, int]]] = {
    Certificate: ("__tds_certificates", FIRST_CERTIFICATE_ID),
    AsymmetricKey: ("__tds_asymmetric_keys", FIRST_CERTIFICATE_ID),
    Credential: ("__tds_credentials", FIRST_CREDENTIAL_ID),
}
_MOMENTS: Final = frozenset({"created", "modified", "backed_up"})


def now() -> dt.datetime:
    """Local time, to the millisecond that SQL Server keeps of it."""
    moment = dt.datetime.now()
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


class Keys:
    """The tables of keys. For any thread; names are compared as those of databases are.

    Whoever reads, decides and writes does so within ``with keys.write()``.
    """

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    @contextmanager
    def write(self) -> Iterator[None]:
        """A write transaction. The tables are made with the first: the master of an older store has none."""
        with self._file.write():
            for statement in CREATE_TABLES:
                self._file.read(statement)
            yield

    # ------------------------------------------------------------------ the master key

    def master_key(self) -> MasterKey | None:
        rows = self._rows("SELECT guid, by_service, created, modified FROM __tds_master_key")
        if not rows:
            return None
        guid, by_service, created, modified = rows[0]
        passwords = self._rows("SELECT sealed FROM __tds_master_key_passwords ORDER BY id")
        return MasterKey(
            UUID(guid),
            by_service,
            tuple(row[0] for row in passwords),
            dt.datetime.fromisoformat(created),
            dt.datetime.fromisoformat(modified),
        )

    def set_master_key(self, key: MasterKey) -> None:
        """Makes ``key`` the master key."""
        with self.write():
            self.drop_master_key()
            self._file.read(
                "INSERT INTO __tds_master_key VALUES (1, ?, ?, ?, ?)",
                (str(key.guid), key.by_service, key.created.isoformat(" "), key.modified.isoformat(" ")),
            )
            for sealed in key.passwords:
                self._file.read("INSERT INTO __tds_master_key_passwords (sealed) VALUES (?)", (sealed,))

    def drop_master_key(self) -> None:
        with self.write():
            self._file.read("DELETE FROM __tds_master_key")
            self._file.read("DELETE FROM __tds_master_key_passwords")

    # ------------------------------------------------------------------ the keys of databases

    def database_keys(self) -> dict[UUID, DatabaseKey]:
        """By the GUIDs of the databases."""
        rows = self._rows("SELECT database, salt, encrypted FROM __tds_database_keys")
        return {UUID(row[0]): DatabaseKey(bytes.fromhex(row[1]), bool(row[2])) for row in rows}

    def set_database_key(self, database: UUID, key: DatabaseKey | None) -> None:
        """None: the database has none any more."""
        with self.write():
            self._file.read("DELETE FROM __tds_database_keys WHERE database = ?", (str(database),))
            if key is not None:
                row = (str(database), key.salt.hex(), int(key.encrypted))
                self._file.read("INSERT INTO __tds_database_keys VALUES (?, ?, ?)", row)

    # ------------------------------------------------------------------ what has a name

    def certificates(self) -> list[Certificate]:
        """In the order of their ids, as the other two."""
        return self._all(Certificate)

    def asymmetric_keys(self) -> list[AsymmetricKey]:
        return self._all(AsymmetricKey)

    def credentials(self) -> list[Credential]:
        return self._all(Credential)

    def certificate(self, name: str) -> Certificate | None:
        return _named(self.certificates(), name)

    def asymmetric_key(self, name: str) -> AsymmetricKey | None:
        return _named(self.asymmetric_keys(), name)

    def credential(self, name: str) -> Credential | None:
        return _named(self.credentials(), name)

    def next_id(self, kind: type[Any]) -> int:
        """The id of the next record of this kind; meaningful within the ``write`` block that stores it."""
        table, first = _TABLES[kind]
        rows = self._rows(f"SELECT max(id) FROM {table}")
        return max(first, int(rows[0][0] or 0) + 1) if rows else first

    def store(self, record: Certificate | AsymmetricKey | Credential) -> None:
        """Adds the record, or replaces the one of the same id."""
        row = {each.name: _stored(getattr(record, each.name)) for each in fields(record)}
        row["key"] = name_key(record.name)
        table = _TABLES[type(record)][0]
        marks = ", ".join("?" * len(row))
        with self.write():
            self._file.read(
                f"INSERT OR REPLACE INTO {table} ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )

    def drop(self, record: Certificate | AsymmetricKey | Credential) -> None:
        with self.write():
            self._file.read(f"DELETE FROM {_TABLES[type(record)][0]} WHERE id = ?", (record.id,))

    def _all(self, kind: type[_Record]) -> list[_Record]:
        names = [each.name for each in fields(kind)]
        rows = self._rows(f"SELECT {', '.join(names)} FROM {_TABLES[kind][0]} ORDER BY id")
        return [kind(**_loaded(dict(zip(names, row, strict=True)))) for row in rows]

    def _rows(self, sql: str) -> Sequence[tuple[Any, ...]]:
        try:
            return self._file.read(sql)
        except apsw.SQLError as error:
            if "no such table" in str(error):
                return []
            raise


def _named(records: Iterable[_Record], name: str) -> _Record | None:
    key = name_key(name)
    return next((record for record in records if name_key(record.name) == key), None)


def _stored(value: Any) -> Any:
    if isinstance(value, dt.datetime):
        return value.isoformat(" ")
    if isinstance(value, bool):
        return int(value)
    return str(value) if isinstance(value, Protection) else value


def _loaded(row: dict[str, Any]) -> dict[str, Any]:
    for name in _MOMENTS & row.keys():
        if row[name] is not None:
            row[name] = dt.datetime.fromisoformat(row[name])
    if "protection" in row:
        row["protection"] = Protection(row["protection"])
    if "begin_dialog" in row:
        row["begin_dialog"] = bool(row["begin_dialog"])
    return row

"""Logins: who may connect, and with which fixed server roles."""

from __future__ import annotations

import datetime as dt
import secrets
from dataclasses import dataclass, field
from typing import Any, Final

from tdsproxy.catalog.file import CatalogFile, Memo, Row
from tdsproxy.catalog.names import name_key

SA: Final = "sa"
SA_SID: Final = b"\x01"
SERVER_ROLES: Final = (
    "sysadmin",
    "securityadmin",
    "serveradmin",
    "setupadmin",
    "processadmin",
    "diskadmin",
    "dbcreator",
    "bulkadmin",
)
FIRST_PRINCIPAL_ID: Final = 259
"""sa is principal 1; the ids below this one are those of server roles and certificates' logins."""

CREATE_TABLE: Final = """
CREATE TABLE IF NOT EXISTS __tds_logins (
  id INTEGER PRIMARY KEY NOT NULL,
  key TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL,
  sid BLOB NOT NULL,
  password_hash TEXT NOT NULL,
  disabled INTEGER NOT NULL,
  default_database TEXT NOT NULL,
  default_language TEXT NOT NULL,
  roles TEXT NOT NULL,
  created TEXT NOT NULL,
  modified TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class Login:
    """``password_hash`` is a salted hash that says its own form; the password is kept nowhere. ``roles`` are
    fixed server roles in lower case. ``created`` and ``modified`` are local times."""

    id: int
    name: str
    sid: bytes
    password_hash: str = field(repr=False)
    disabled: bool
    default_database: str
    default_language: str
    roles: frozenset[str]
    created: dt.datetime
    modified: dt.datetime


_FIELDS: Final = (
    "id",
    "name",
    "sid",
    "password_hash",
    "disabled",
    "default_database",
    "default_language",
    "roles",
    "created",
    "modified",
)
_SELECT: Final = f"SELECT {', '.join(_FIELDS)} FROM __tds_logins"


def _login(row: Row) -> Login:
    raw: dict[str, Any] = dict(zip(_FIELDS, row, strict=True))
    raw["disabled"] = bool(raw["disabled"])
    raw["roles"] = frozenset(raw["roles"].split())
    for name in ("created", "modified"):
        raw[name] = dt.datetime.fromisoformat(raw[name])
    return Login(**raw)


def _stored(value: Any) -> Any:
    if isinstance(value, frozenset | set):
        return " ".join(sorted(value))
    return int(value) if isinstance(value, bool) else value


class Logins:
    """The table of logins in master.db. Names are compared without case."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file
        self._found: Memo[Login | None] = Memo(file)

    def all(self) -> list[Login]:
        """In the order of their ids."""
        return [_login(row) for row in self._file.read(f"{_SELECT} ORDER BY id")]

    def find(self, name: str) -> Login | None:
        return self._found.get(name, lambda: self._read(name))

    def _read(self, name: str) -> Login | None:
        rows = self._file.read(f"{_SELECT} WHERE key = ?", (name_key(name),))
        return _login(rows[0]) if rows else None

    def create(
        self,
        name: str,
        password_hash: str,
        *,
        default_database: str = "master",
        default_language: str = "us_english",
        roles: frozenset[str] = frozenset(),
        disabled: bool = False,
        sid: bytes | None = None,
    ) -> Login:
        """Raises KeyError when there is a login of this name. ``sa`` gets its well-known id and sid."""
        now = dt.datetime.now().isoformat(" ", "milliseconds")
        is_sa = name_key(name) == SA
        with self._file.write():
            if self.find(name) is not None:
                raise KeyError(name)
            rows = self._file.read("SELECT max(id) FROM __tds_logins")
            next_id = max(FIRST_PRINCIPAL_ID, int(rows[0][0] or 0) + 1)
            row = {
                "id": 1 if is_sa else next_id,
                "key": name_key(name),
                "name": name,
                "sid": SA_SID if is_sa else sid or secrets.token_bytes(16),
                "password_hash": password_hash,
                "disabled": int(disabled),
                "default_database": default_database,
                "default_language": default_language,
                "roles": _stored(roles | {"sysadmin"} if is_sa else roles),
                "created": now,
                "modified": now,
            }
            marks = ", ".join("?" * len(row))
            self._file.read(
                f"INSERT INTO __tds_logins ({', '.join(row)}) VALUES ({marks})", tuple(row.values())
            )
            created = self.find(name)
        if created is None:
            raise KeyError(name)
        return created

    def update(self, name: str, **changes: Any) -> Login:
        """Changes ``name``, ``password_hash``, ``disabled``, ``default_database``, ``default_language`` or
        ``roles``. Raises LookupError for an unknown login, KeyError when a new name is taken."""
        unknown = changes.keys() - (set(_FIELDS) - {"id", "sid", "created", "modified"})
        if unknown:
            raise TypeError(f"no such field: {', '.join(sorted(unknown))}")
        row = {field_: _stored(value) for field_, value in changes.items()}
        row["modified"] = dt.datetime.now().isoformat(" ", "milliseconds")
        with self._file.write():
            login = self.find(name)
            if login is None:
                raise LookupError(name)
            if "name" in changes:
                other = self.find(changes["name"])
                if other is not None and other.id != login.id:
                    raise KeyError(changes["name"])
                row["key"] = name_key(changes["name"])
            sets = ", ".join(f"{field_} = ?" for field_ in row)
            self._file.read(f"UPDATE __tds_logins SET {sets} WHERE id = ?", (*row.values(), login.id))
            changed = self.find(changes.get("name", name))
        if changed is None:
            raise LookupError(name)
        return changed

    def drop(self, name: str) -> None:
        """Raises LookupError for an unknown login."""
        with self._file.write():
            if self.find(name) is None:
                raise LookupError(name)
            self._file.read("DELETE FROM __tds_logins WHERE key = ?", (name_key(name),))

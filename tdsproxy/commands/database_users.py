"""Who owns a database, as the tables of users within its own file say it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import apsw

from tdsproxy.store.errors import DatabaseUnreadable
from tdsproxy.store.file_keys import connect

_OWNERS: Final = (
    "SELECT 1 FROM __tds_users u JOIN __tds_members m ON m.member = u.name COLLATE NOCASE"
    " WHERE u.sid = ? AND m.role = 'db_owner' COLLATE NOCASE LIMIT 1"
)
_BUSY_MILLISECONDS: Final = 1000


def is_owner(path: Path, sid: bytes) -> bool:
    """Whether the login with this sid is a member of db_owner; False where no user was ever made."""
    try:
        connection = connect(path, apsw.SQLITE_OPEN_READONLY)
    except DatabaseUnreadable:
        return False
    try:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        return bool(connection.execute(_OWNERS, (sid,)).fetchall())
    except apsw.Error:
        return False
    finally:
        connection.close()

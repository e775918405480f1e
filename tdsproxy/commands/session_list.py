"""The sessions of all processes of the store, and how much their backups and restores have moved: what a
session that may see them asks the keeper."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.tsql.values import Value


def _sessions(context: Context, values: Sequence[Value]) -> list[Row]:
    """Number, login, database, and what its ``SessionOrigin`` has. Raises CommandError 229."""
    if "sysadmin" not in context.session.server_roles:
        raise fail(229, "EXECUTE", "tds_sessions", "msdb", "dbo")
    return [
        (found.spid, found.login, found.database, *found.origin) for found in context.env.sessions.listed()
    ]


def _moved(context: Context, values: Sequence[Value]) -> list[Row]:
    """The keys of databases' names, and bytes since the keeper's start. Raises CommandError 229."""
    if "sysadmin" not in context.session.server_roles:
        raise fail(229, "EXECUTE", "tds_moved", "msdb", "dbo")
    return list(context.env.running.moved().items())


PROCEDURES: Final[dict[str, Procedure]] = {"tds_sessions": _sessions, "tds_moved": _moved}

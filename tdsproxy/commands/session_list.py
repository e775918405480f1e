"""The sessions of all processes of the store: what a session that may see them asks the keeper."""

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


PROCEDURES: Final[dict[str, Procedure]] = {"tds_sessions": _sessions}

"""KILL of a session that another process serves: only the keeper knows the clients of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.tsql.values import Value


def _kill(context: Context, values: Sequence[Value]) -> list[Row]:
    """Arguments: the session's number, and 1 when it is only asked after. A row with 1 when there is one,
    else with 0. Raises CommandError 6102."""
    if not context.session.server_roles & {"sysadmin", "processadmin"}:
        raise fail(6102)
    spid, only_asked = int(str(values[0])), bool(values[1])
    if context.env.sessions.login_of(spid) is None:
        return [(0,)]
    if not only_asked:
        context.env.sessions.kill(spid)
    return [(1,)]


PROCEDURES: Final[dict[str, Procedure]] = {"tds_kill": _kill}

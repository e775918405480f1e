"""KILL: one session ends another."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import look
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_ASK: Final = "tds_kill"
"""The keeper's procedure: the session's number, and whether it is only asked after; 1 when there is one."""
_LAST_OF_SYSTEM: Final = 50
"""The sessions up to here are SQL Server's own."""


def run_kill(session: Session, statement: ast.Kill, frame: Frame) -> Iterator[Reply]:
    """What the session runs is cancelled and undone, its connection closed. Raises SqlError 6101, 6102, 6104,
    6106, 6107, 6115, 6120."""
    made = session.interpreter.scalar(statement.session, frame)
    wanted = convert(made.value, made.type, t.INT)
    spid = wanted if isinstance(wanted, int) else 0
    line = statement.line
    if not session.rights.is_sysadmin and "processadmin" not in session.rights.server_roles:
        raise SqlError.of(6102, 14, 1, "User does not have permission to use the KILL statement.", line)
    if session.transaction_count() > 0:
        raise SqlError.of(6115, 16, 1, "KILL command cannot be used inside user transactions.", line)
    if spid <= 0:
        raise SqlError.of(6101, 16, 1, f"Session ID {spid} is not valid.", line)
    if spid == session.spid:
        raise SqlError.of(6104, 16, 1, "Cannot use KILL to kill your own process.", line)
    if spid <= _LAST_OF_SYSTEM:
        raise SqlError.of(6107, 14, 1, "Only user processes can be killed.", line)
    here = session.engine.session(spid) is not None
    if not here and not _ask(session, spid, only_asked=True):
        raise SqlError.of(6106, 16, 2, f"Process ID {spid} is not an active process ID.", line)
    if statement.status_only:
        raise SqlError.of(
            6120,
            16,
            1,
            f"Status report cannot be obtained. Rollback operation for Process ID {spid} is not in progress.",
            line,
        )
    if here:
        session.engine.kill(spid)
    else:
        _ask(session, spid, only_asked=False)
    yield Done(Command.NONE)


def _ask(session: Session, spid: int, *, only_asked: bool) -> bool:
    """Of another process that serves the store; whether there is such a session. Raises SqlError."""
    return any(row[0] == 1 for row in look(session, _ASK, spid, int(only_asked)))

"""What sessions and the shell ask of the agent: sp_start_job, sp_stop_job, and what it is about to do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import Agent
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.values import Value


def _agent(context: Context) -> Agent:
    """Raises SqlError 22022."""
    if context.env.agent is None:
        raise SqlError.of(
            22022,
            16,
            1,
            "SQLServerAgent is not currently running so it cannot be notified of this action.",
        )
    return context.env.agent


def _start(context: Context, values: Sequence[Value]) -> list[Row]:
    step = None if len(values) < 2 or values[1] is None else str(values[1])
    _agent(context).start(UUID(str(values[0])), step, context.session.login)
    return []


def _stop(context: Context, values: Sequence[Value]) -> list[Row]:
    _agent(context).stop(UUID(str(values[0])), context.session.login)
    return []


PROCEDURES: Final[dict[str, Procedure]] = {
    "sp_agent_start": _start,
    "sp_agent_stop": _stop,
}

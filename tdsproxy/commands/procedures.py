"""System procedures that run where the files and msdb are, for the sessions that ask.

A request's text is ``EXEC name @a1, @a2 ...`` with the values as variables; the answer is rows of plain
columns, which the session shapes into what the procedure returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.commands import (
    agent_procedures,
    backup_list,
    detaching,
    file_procedures,
    following,
    history_procedures,
    history_rebuild,
    killing,
    log_space,
    restore_plan,
    restore_ranges,
    restore_verification,
    session_list,
    status,
)
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows

_PROCEDURES: Final[dict[str, Procedure]] = {
    **agent_procedures.PROCEDURES,
    **backup_list.PROCEDURES,
    **detaching.PROCEDURES,
    **file_procedures.PROCEDURES,
    **following.PROCEDURES,
    **history_procedures.PROCEDURES,
    **history_rebuild.PROCEDURES,
    **killing.PROCEDURES,
    **log_space.PROCEDURES,
    **restore_plan.PROCEDURES,
    **restore_ranges.PROCEDURES,
    **restore_verification.PROCEDURES,
    **session_list.PROCEDURES,
    **status.PROCEDURES,
}


def run_procedure(context: Context, statement: ast.Execute) -> Iterator[Reply]:
    """Raises CommandError for what is refused or fails."""
    name = statement.procedure
    procedure = None
    if isinstance(name, ast.Name):
        called = name.object.lower()
        procedure = _PROCEDURES.get(called) or context.env.procedures.get(called)
    if procedure is None:
        raise fail(3015, "EXECUTE")
    given = context.request.variables
    rows = procedure(context, [given.get(f"@a{n}") for n in range(1, len(statement.arguments) + 1)])
    width = max(map(len, rows), default=1)
    yield ResultSet(tuple(Column(f"c{place}", t.nvarchar(4000), True) for place in range(width)))
    yield Rows(list(rows))
    yield Done(Command.SELECT, len(rows))

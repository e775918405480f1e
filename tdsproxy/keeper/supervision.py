"""What the keeper does for whoever operates the store, beside running statements: its procedures.

Everything is loaded when it is first asked for, so that the keeper starts fast.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.tsql.values import Value

Rows = list[tuple[Value, ...]]
Procedure = Callable[[Context, Sequence[Value]], Rows]


def _retention(context: Context, values: Sequence[Value]) -> Rows:
    from tdsproxy.agent.retention_run import procedures

    context.env.catalog.operations.make()
    return procedures(lambda database: None)["sp_retention"](context, values)


PROCEDURES: Final[dict[str, Procedure]] = {"sp_retention": _retention}

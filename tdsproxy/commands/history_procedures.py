"""Forgetting backups: sp_delete_backuphistory and sp_delete_database_backuphistory of msdb."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.tsql.values import DateTime, Value


def _delete_old(context: Context, values: Sequence[Value]) -> list[Row]:
    _require_admin(context, "sp_delete_backuphistory")
    oldest = values[0] if values else None
    if isinstance(oldest, DateTime):
        context.env.catalog.history.forget_before(oldest)
    return []


def _delete_of_database(context: Context, values: Sequence[Value]) -> list[Row]:
    _require_admin(context, "sp_delete_database_backuphistory")
    context.env.catalog.history.forget_database(str(values[0]))
    return []


def _require_admin(context: Context, procedure: str) -> None:
    """Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", procedure, "msdb", "dbo")


PROCEDURES: Final[dict[str, Procedure]] = {
    "sp_delete_backuphistory": _delete_old,
    "sp_delete_database_backuphistory": _delete_of_database,
}

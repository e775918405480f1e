"""How much log each database has: what sys.dm_db_log_space_usage and sys.dm_db_log_stats show."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.catalog.databases import Database
from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.log_chain import status_of
from tdsproxy.log.lsn import bytes_between, format_lsn
from tdsproxy.tsql.values import DateTime, Value


def _space(context: Context, values: Sequence[Value]) -> list[Row]:
    """A row for each database: its id, bytes of its WAL and of its archive on disk, where the log begins
    and ends (LSNs as ``format_lsn`` writes them), bytes since its last log backup, and when that was; None
    for what there is not."""
    backed_up: dict[str, DateTime] = {}
    for item in context.env.catalog.history.listed(None):
        if item.type == "L" and item.finished is not None:
            backed_up[item.database.lower()] = item.finished
    return [
        _row(context.env, database, backed_up.get(database.name.lower()))
        for database in context.env.catalog.databases.all()
    ]


def _row(env: CommandEnvironment, database: Database, backed_up: DateTime | None) -> Row:
    chain = status_of(env, database)
    start, last, since = chain.log_start, chain.last_lsn, None
    if start is not None and last is not None:
        since = max(0, bytes_between(start, last))
    wal = 0
    if database.file:
        path = database.path(env.catalog.store)
        file = path.with_name(f"{path.name}-wal")
        wal = file.stat().st_size if file.exists() else 0
    return (
        database.id,
        wal,
        chain.archive_bytes,
        None if start is None else format_lsn(start),
        None if last is None else format_lsn(last),
        since,
        backed_up,
    )


PROCEDURES: Final[dict[str, Procedure]] = {"tds_log_space": _space}

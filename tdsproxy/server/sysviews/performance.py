"""sys.dm_os_performance_counters: what is counted here, of the counters that SQL Server has.

Counts of sessions are those of this process; sessions, sizes, and what backups and restores have moved are
the store's. Counters "per second" are counts since the start: who asks divides the difference of two looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tdsproxy.catalog.names import name_key
from tdsproxy.server.sysviews.log_space import log_spaces
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope

_VALUE: Final = 65792
"""``cntr_type`` of a value as it stands (PERF_COUNTER_LARGE_RAWCOUNT)."""
_PER_SECOND: Final = 272696576
"""``cntr_type`` of a count whose growth by the second is meant (PERF_COUNTER_BULK_COUNT)."""
_WIDTH: Final = 128
_PAGE_KB: Final = 8
_KB: Final = 1024
_TOTAL: Final = "_Total"
_DATABASES: Final = {
    "Data File(s) Size (KB)": _VALUE,
    "Log File(s) Size (KB)": _VALUE,
    "Log File(s) Used Size (KB)": _VALUE,
    "Percent Log Used": _VALUE,
    "Active Transactions": _VALUE,
    "Transactions/sec": _PER_SECOND,
    "Write Transactions/sec": _PER_SECOND,
    "Backup/Restore Throughput/sec": _PER_SECOND,
}


def counters(scope: Scope) -> Iterator[Row]:
    counts = scope.counts()
    sessions = scope.sessions()
    active: dict[int, int] = {}
    for session in sessions:
        for database in () if session.transaction is None else session.transaction.writes:
            active[database] = active.get(database, 0) + 1
    moved = {str(name): int(str(size)) for name, size in scope.look("tds_moved")}
    total: dict[str, int] = dict.fromkeys(_DATABASES, 0)
    for found in log_spaces(scope):
        facts = found.database
        values = {
            "Data File(s) Size (KB)": facts.pages * _PAGE_KB,
            "Log File(s) Size (KB)": found.total // _KB,
            "Log File(s) Used Size (KB)": found.used // _KB,
            "Percent Log Used": int(found.percent),
            "Active Transactions": active.get(facts.id, 0),
            "Transactions/sec": counts.total.transactions.get(facts.id, 0),
            "Write Transactions/sec": counts.total.writes.get(facts.id, 0),
            "Backup/Restore Throughput/sec": moved.get(name_key(facts.name), 0),
        }
        for name, value in values.items():
            total[name] += value
        yield from _rows("Databases", facts.name, values, _DATABASES)
    size = total["Log File(s) Size (KB)"]
    total["Percent Log Used"] = 100 * total["Log File(s) Used Size (KB)"] // size if size else 0
    yield from _rows("Databases", _TOTAL, total, _DATABASES)
    general = {
        "User Connections": (len(sessions), _VALUE),
        "Logins/sec": (counts.logins, _PER_SECOND),
        "Logouts/sec": (counts.logouts, _PER_SECOND),
        "Transactions": (sum(session.transaction is not None for session in sessions), _VALUE),
    }
    for name, (value, kind) in general.items():
        yield _row("General Statistics", name, "", value, kind)
    yield _row("SQL Statistics", "Batch Requests/sec", "", counts.total.requests, _PER_SECOND)


def _rows(part: str, instance: str, values: Mapping[str, int], kinds: Mapping[str, int]) -> Iterator[Row]:
    for name, value in values.items():
        yield _row(part, name, instance, value, kinds[name])


def _row(part: str, name: str, instance: str, value: int, kind: int) -> Row:
    return {
        "object_name": f"SQLServer:{part}".ljust(_WIDTH),
        "counter_name": name.ljust(_WIDTH),
        "instance_name": instance.ljust(_WIDTH),
        "cntr_value": value,
        "cntr_type": kind,
    }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.dm_os_performance_counters",
        "object_name nchar(128)!, counter_name nchar(128)!, instance_name nchar(128), cntr_value bigint!,"
        " cntr_type int!",
        counters,
    ),
)

"""How the store stands: each database with its chain, its last backups, and what would be lost now."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tdsproxy.catalog.databases import Database, RecoveryModel
from tdsproxy.catalog.listing import ListedSet
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.elsewhere import read_follow_state, read_sync_state
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure
from tdsproxy.commands.log_chain import status_of
from tdsproxy.commands.restore_ranges import ranges_of
from tdsproxy.commands.stop_points import time_text
from tdsproxy.log.records import LogError
from tdsproxy.log.service import ChainState, ChainStatus
from tdsproxy.media.null_device import is_null
from tdsproxy.tsql.values import DateTime, Value

KINDS: Final = {"D": "full", "I": "differential", "L": "log"}
_MODELS: Final = {
    RecoveryModel.FULL: "FULL",
    RecoveryModel.BULK_LOGGED: "BULK_LOGGED",
    RecoveryModel.SIMPLE: "SIMPLE",
}


@dataclass(frozen=True, slots=True)
class LastBackup:
    """The newest backup of a kind: when it finished (server's clock), how long ago, its sizes in bytes."""

    finished: str
    seconds_ago: float
    size: int
    compressed_size: int
    devices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DatabaseStatus:
    """One database. ``size``: its files on disk, in bytes. ``chain`` is one of ChainState's words,
    ``capture_lag`` how far behind the log's archive is, in seconds (None: no log is kept). ``at_risk``:
    seconds of commits that are in no backup."""

    name: str
    state: str
    recovery_model: str
    size: int
    chain: str
    chain_reason: str | None
    capture_lag: float | None
    log_bytes: int
    last: dict[str, LastBackup] = field(default_factory=dict)
    at_risk: float | None = None
    ranges: tuple[dict[str, str | None], ...] = ()

    @property
    def chain_ok(self) -> bool:
        return self.chain != ChainState.BROKEN.value


def database_statuses(env: CommandEnvironment) -> list[DatabaseStatus]:
    """Of the user databases, without their restorable ranges: that takes no reading of media."""
    sets: dict[str, list[ListedSet]] = {}
    for item in env.catalog.history.listed(None):
        sets.setdefault(name_key(item.database), []).append(item)
    return [
        _status(env, database, sets.get(name_key(database.name), []))
        for database in env.catalog.databases.all()
        if not database.is_system
    ]


def _status(env: CommandEnvironment, database: Database, sets: Sequence[ListedSet]) -> DatabaseStatus:
    now = env.clock()
    chain = status_of(env, database)
    path = database.path(env.catalog.store)
    last = {}
    sets = [item for item in sets if _brings_back(item, database)]
    for kind, word in KINDS.items():
        newest = next(
            (item for item in reversed(sets) if item.type == kind and not (kind != "L" and item.copy_only)),
            None,
        )
        if newest is not None and newest.finished is not None:
            last[word] = _last(newest, now)
    return DatabaseStatus(
        name=database.name,
        state=database.state.name,
        recovery_model=_MODELS[database.recovery_model],
        size=_on_disk(path) if database.file else 0,
        chain=chain.state.value,
        chain_reason=chain.reason,
        capture_lag=_lag(env, database),
        log_bytes=chain.archive_bytes,
        last=last,
        at_risk=0.0 if last and _all_backed_up(chain) else _at_risk(chain.last_committed_ns, last, now),
    )


def _brings_back(item: ListedSet, database: Database) -> bool:
    """Not the backups of another database that had the name before, nor what was written to nowhere."""
    kept = not item.devices or not all(map(is_null, item.devices))
    return kept and item.family in (None, database.family)


def _on_disk(path: Path) -> int:
    """Of a young database nearly everything lies in the WAL."""
    files = (path, path.with_name(f"{path.name}-wal"))
    return sum(file.stat().st_size for file in files if file.exists())


def _last(item: ListedSet, now: dt.datetime) -> LastBackup:
    assert item.finished is not None
    finished = item.finished.to_python()
    ago = max(0.0, (now.replace(tzinfo=None) - finished).total_seconds())
    text = finished.isoformat(timespec="seconds")
    return LastBackup(text, ago, item.size, item.compressed_size, item.devices)


def _lag(env: CommandEnvironment, database: Database) -> float | None:
    if env.logs is None or not env.logs.is_kept(database.guid):
        return None
    try:
        return max(0.0, (time.time_ns() - env.logs.captured_until_ns(database.guid)) / 1e9)
    except LogError:
        return None


def _all_backed_up(chain: ChainStatus) -> bool:
    """Whether the next log backup would find nothing."""
    return chain.log_start is not None and chain.last_lsn is not None and chain.log_start >= chain.last_lsn


def _at_risk(committed_ns: int | None, last: dict[str, LastBackup], now: dt.datetime) -> float | None:
    """Seconds since the newest backup, 0 when nothing was committed after it; None: there is no backup."""
    ages = [item.seconds_ago for item in last.values()]
    if not ages:
        return None
    newest = min(ages)
    if committed_ns is not None and committed_ns / 1e9 < now.timestamp() - newest - 1:
        return 0.0
    return newest


def _ranges(context: Context, database: Database) -> tuple[dict[str, str | None], ...]:
    return tuple(
        {
            "from": time_text(item.start_ns),
            "to": time_text(item.end_ns),
            "device": item.base.device.name,
            "file": str(item.base.info.position),
            "through": "captured log" if item.needs_archive else "backups",
        }
        for item in ranges_of(context, database)
    )


def document(context: Context, *, ranges: bool = True) -> dict[str, Any]:
    """Everything as one JSON object: ``databases``, ``running``, ``server``, ``time``; ``sync`` and
    ``standby`` are what ``commands.elsewhere`` reads."""
    env = context.env
    databases = []
    for item in database_statuses(env):
        plain = {**asdict(item), "chain_ok": item.chain_ok}
        database = env.catalog.databases.find(item.name)
        if ranges and database is not None:
            plain["ranges"] = _ranges(context, database)
        databases.append(plain)
    return {
        "server": env.identity.server_name,
        "time": env.clock().isoformat(timespec="seconds"),
        "databases": databases,
        "running": [item._asdict() for item in env.running.progress() if item.command],
        "jobs": _jobs(env),
        "sync": _lagging(read_sync_state(env.catalog.store)),
        "standby": _lagging(read_follow_state(env.catalog.store)),
    }


def _lagging(state: dict[str, Any] | None) -> dict[str, Any] | None:
    """With ``lag``: seconds since the newest moment that all is there of."""
    if state is None:
        return None
    through = state.get("through_ns")
    return {**state, "lag": max(0.0, (time.time_ns() - through) / 1e9) if through else None}


def _jobs(env: CommandEnvironment) -> list[dict[str, Any]]:
    """The enabled jobs with their next runs, those that run first first."""
    rows = env.catalog.operations.next_runs()
    return [{"name": name, "next_run": moment} for name, moment in rows]


def backups(context: Context) -> list[dict[str, Any]]:
    """The backup sets that msdb knows, for a timeline."""
    return [
        {
            "database": item.database,
            "type": KINDS.get(item.type, item.type),
            "finished": None if item.finished is None else item.finished.to_python().isoformat(),
            "size": item.size,
            "compressed_size": item.compressed_size,
            "copy_only": item.copy_only,
            "devices": list(item.devices),
            "file": item.position,
        }
        for item in context.env.catalog.history.listed(None)
    ]


def status(context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
    """``sp_status @what``: one row with a JSON text; ``what`` is ``ranges`` (the default), ``plain`` or
    ``timeline`` (with the backups, too). Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", "sp_status", "msdb", "dbo")
    what = str(values[0]) if values and values[0] is not None else "ranges"
    found = document(context, ranges=what != "plain")
    if what == "timeline":
        found["backups"] = backups(context)
        found["trials"] = trials(context)
    return [(json.dumps(found, ensure_ascii=False),)]


def trials_by_database(env: CommandEnvironment) -> dict[str, float]:
    """Seconds since the last trial restore of each database that succeeded, by its name in lower case."""
    found: dict[str, float] = {}
    for row in env.catalog.operations.trials():
        name, moment = str(row["database_name"]).lower(), row["trial_date"]
        if row["succeeded"] and name not in found and isinstance(moment, DateTime):
            found[name] = max(0.0, (env.clock() - moment.to_python()).total_seconds())
    return found


def trials(context: Context) -> list[dict[str, Any]]:
    """The trial restores, the newest first."""
    return [
        {
            "database": row["database_name"],
            "time": _iso(row["trial_date"]),
            "stop_at": _iso(row["stop_at"]),
            "sets": row["backup_sets"],
            "seconds": int(str(row["duration_ms"])) / 1000,
            "rows": None if row["rows"] is None else int(str(row["rows"])),
            "succeeded": bool(row["succeeded"]),
            "message": row["message"],
        }
        for row in context.env.catalog.operations.trials()
    ]


def _iso(value: Value) -> str | None:
    return value.to_python().isoformat(timespec="seconds") if isinstance(value, DateTime) else None


PROCEDURES: Final[dict[str, Procedure]] = {"sp_status": status}

"""What ``msdb.managed_backup`` tells of its own doings: its backups, its events, its health, its parameters.

Its backup sets are found in msdb by their names, its events are the history of its jobs.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from tdsproxy.agent.managed import DEFAULT_DAYS, EVENTS, PREFIX, ManagedSettings, available, event_of
from tdsproxy.agent.schedule import date_of, seconds_of
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.agent.service import Agent

Row = tuple[Value, ...]
Procedure = Callable[[Context, Sequence[Value]], list[Row]]

JOB_PREFIX: Final = f"policy {PREFIX}"
FLAG: Final = "managed backup parameter "
"""What the names of server settings begin with that hold its parameters."""
EVER_CONFIGURED: Final = "SSMBackup2WAEverConfigured"
NOTIFIED: Final = "SSMBackup2WANotificationEmailIds"
PARAMETERS: Final = (
    NOTIFIED,
    "SSMBackup2WAEnableUserDefinedPolicy",
    "SSMBackup2WADebugXevent",
    "FileRetentionDebugXevent",
    "FileRetentionOperationalXevent",
    "StorageOperationDebugXevent",
)
_USUAL_MINUTES: Final = 30
_BAD_CREDENTIAL: Final = frozenset({3288, 3225})
_UNREACHED: Final = frozenset({3201, 3202, 3203, 3271})
_SQL: Final = range(1, 50000)
_JOB: Final = 0


@dataclass(frozen=True, slots=True)
class _Event:
    """A row of the history of a job of managed backup. ``moment`` is local."""

    moment: dt.datetime
    job: str
    step: int
    number: int
    succeeded: bool
    text: str


class ManagedProcedures:
    """``settings`` are those that hold for a database, by its name."""

    def __init__(self, agent: Callable[[], Agent], settings: Callable[[str], ManagedSettings]) -> None:
        self._agent = agent
        self._settings = settings

    @property
    def procedures(self) -> dict[str, Procedure]:
        """Of ``CommandEnvironment``."""
        return {
            "sp_agent_managed_sets": self._sets,
            "sp_agent_managed_events": self._events,
            "sp_agent_managed_health": self._health,
            "sp_agent_managed_flags": self._flags,
            "sp_agent_managed_flag_put": self._put_flag,
        }

    def _sets(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A database: a row of fn_available_backups each."""
        _require_admin(context, "sp_agent_managed_sets")
        name = str(values[0] or "")
        days = self._settings(name.lower()).days or DEFAULT_DAYS
        return available(context.env.catalog.history.named(name, PREFIX), days)

    def _events(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """Begin and end or None, part of a channel's name or None: kind, text and moment, oldest first."""
        _require_admin(context, "sp_agent_managed_events")
        enabled = {name for name, _, on in self._xevents(context) if on}
        wanted = str(values[2] or "").lower()
        rows: list[Row] = []
        for event in self._within(context, values):
            kind = event_of(is_job=event.step == _JOB, succeeded=event.succeeded)
            if kind in enabled and wanted in kind.lower():
                rows.append((kind, f"{event.job}: {event.text}"[:512], DateTime.of(event.moment)))
        return rows

    def _health(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """Begin and end or None: the counts of fn_get_health_status."""
        _require_admin(context, "sp_agent_managed_health")
        storage = sql = credential = other = loops = retained = 0
        for event in self._within(context, values):
            if event.step == _JOB:
                loops += 1
                retained += int(event.succeeded and event.job.endswith(": full backup"))
            elif event.succeeded:
                continue
            elif event.number in _BAD_CREDENTIAL:
                credential += 1
            elif event.number in _UNREACHED:
                storage += 1
            elif event.number in _SQL:
                sql += 1
            else:
                other += 1
        return [(storage, sql, credential, other, self._lost(context), loops, retained)]

    def _lost(self, context: Context) -> int:
        """Backups on disk whose files have gone. Those in object stores are not asked for each."""
        paths = {
            str(row[0]) for row in self._all_sets(context) if row[0] is not None and "://" not in str(row[0])
        }
        found = (context.env.paths.locate(path, ()) for path in paths)
        return sum(path is None or not path.exists() for path in found)

    def _all_sets(self, context: Context) -> Iterator[Row]:
        for database in context.env.catalog.databases.all():
            yield from available(context.env.catalog.history.named(database.name, PREFIX), DEFAULT_DAYS)

    # ------------------------------------------------------------------ parameters

    def _flags(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """What has been set (``flag``: name and value), and the events there are (``event``: name, whether it
        can be switched, whether it is on)."""
        _require_admin(context, "sp_agent_managed_flags")
        rows: list[Row] = [("flag", name, value) for name, value in self._set(context).items()]
        for name, configurable, on in self._xevents(context):
            rows.append(("event", name, f"{_word(configurable)} {_word(on)}"))
        return rows

    def _put_flag(self, context: Context, values: Sequence[Value]) -> list[Row]:
        _require_admin(context, "sp_agent_managed_flag_put")
        context.env.catalog.set_setting(FLAG + str(values[0]), str(values[1]))
        return []

    @staticmethod
    def _set(context: Context) -> dict[str, str]:
        catalog = context.env.catalog
        found = {name: catalog.setting(FLAG + name) for name in (*PARAMETERS, EVER_CONFIGURED)}
        return {name: value for name, value in found.items() if value is not None}

    def _xevents(self, context: Context) -> list[tuple[str, bool, bool]]:
        given = self._set(context)
        return [
            (name, configurable, not configurable or given.get(name, "").lower() == "true")
            for name, configurable in EVENTS
        ]

    # ------------------------------------------------------------------ history

    def _within(self, context: Context, values: Sequence[Value]) -> list[_Event]:
        now = context.env.clock().replace(tzinfo=None)
        begin, end = (value.to_python() if isinstance(value, DateTime) else None for value in values[:2])
        first = begin or now - dt.timedelta(minutes=_USUAL_MINUTES)
        last = end or now
        return [event for event in self._history() if first <= event.moment <= last]

    def _history(self) -> list[_Event]:
        agent = self._agent()
        names: Mapping[UUID, str] = {
            UUID(str(row[0])): str(row[2])
            for row in agent.rows("sysjobs")
            if str(row[2]).startswith(JOB_PREFIX)
        }
        found = []
        for row in agent.rows("sysjobhistory"):
            job = names.get(UUID(str(row[1])))
            if job is not None:
                found.append(_event(job, row))
        return sorted(found, key=lambda event: event.moment)


def _event(job: str, row: Sequence[Any]) -> _Event:
    moment = dt.datetime.combine(date_of(int(row[8])), dt.time()) + dt.timedelta(
        seconds=seconds_of(int(row[9]))
    )
    return _Event(moment, job, int(row[2]), int(row[4]), int(row[7]) == 1, str(row[6] or ""))


def _word(value: bool) -> str:
    return "true" if value else "false"


def _require_admin(context: Context, procedure: str) -> None:
    """Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", procedure, "msdb", "dbo")

"""Which backup sets, and how much of the captured log, bring a database back: the newest state that can be
reached, or that of a moment."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.backup.plan import LogStep, Moment, Plan, Point, TooEarly, find_plan
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.lineage import Lineage
from tdsproxy.commands.log_sources import MediaPlace, Place, Sources, data_sets, point_of
from tdsproxy.commands.stop_points import nanoseconds, read_moment, time_text
from tdsproxy.media.documents import FULL as FULL_SET
from tdsproxy.tsql.values import Value

COLUMNS: Final = ("what", "devices", "file", "through", "model")
"""Of ``sp_restore_plan``, a row a step: the devices each on a line; ``through`` is a time of the server's
clock as STOPAT takes it, up to which the step knows the database; ``model`` the recovery model of the set."""

FULL: Final = "full"
DIFFERENTIAL: Final = "differential"
LOG: Final = "log"
CAPTURED: Final = "captured log"


@dataclass(frozen=True, slots=True)
class _Way:
    full: MediaPlace
    start: Point
    plan: Plan[Place]
    reaches: int


def restore_plan(context: Context, values: Sequence[Value]) -> list[Row]:
    """The steps from the newest full backup that leads to the moment (second value; NULL: now), or, if none
    does, as near before it as anything leads. Raises CommandError 911, 262."""
    name = str(values[0])
    moment = read_moment(values[1]) if len(values) > 1 else None
    wanted = None if moment is None else nanoseconds(moment)
    best: _Way | None = None
    for way in _ways(context, _lineage(context, name), wanted):
        if way.plan.reached:
            return list(_rows(way))
        if best is None or way.reaches > best.reaches:
            best = way
    return [] if best is None else list(_rows(best))


def _lineage(context: Context, name: str) -> Lineage:
    """Of the database with the name, or of the last one that msdb knows under it."""
    database = context.env.database(name)
    if database is not None:
        if context.roles_in(database) is None:
            raise fail(262, "RESTORE DATABASE", database.name)
        return Lineage.of(context, database)
    if not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    lineage = Lineage.of_name(context, name)
    if lineage is None:
        raise fail(911, name)
    return lineage


def _ways(context: Context, lineage: Lineage, moment: int | None) -> Iterator[_Way]:
    """From each full backup of the database, the newest first."""
    now = time.time_ns()
    database = context.env.database(lineage.name)
    for full in reversed(data_sets(context, lineage.family)):
        description = full.info.header.description
        if description.backup_type != FULL_SET:
            continue
        start = point_of(full.info, description.set_guid)
        if not lineage.has(description, start):
            continue
        if database is not None:
            sources = Sources.of(context, database)
        else:
            sources = Sources.find(context, None, description)
        wanted = max(now, _ahead(start, sources)) if moment is None else moment
        try:
            plan = find_plan(start, sources.differentials, sources.logs, sources.forks, Moment(wanted))
        except TooEarly:
            continue
        yield _Way(full, start, plan, _reaches(start, plan))


def _ahead(start: Point, sources: Sources) -> int:
    """The newest state's time when the clock is behind it, because it was set back; else 0."""
    now = time.time_ns()
    known = (start.through_ns, *(source.through_ns for source in sources.logs))
    return max((through for through in known if through > now), default=0)


def _reaches(start: Point, plan: Plan[Place]) -> int:
    if plan.logs:
        return plan.logs[-1].source.through_ns
    return start.through_ns if plan.differential is None else plan.differential.reaches.through_ns


def _rows(way: _Way) -> Iterator[Row]:
    yield _row(FULL, way.full, way.start.through_ns)
    if way.plan.differential is not None:
        differential = way.plan.differential
        yield _row(DIFFERENTIAL, differential.place, differential.reaches.through_ns)
    for step in way.plan.logs:
        yield _row(_kind(step), step.source.place, step.source.through_ns)


def _kind(step: LogStep[Place]) -> str:
    return CAPTURED if step.source.is_archive else LOG


def _row(what: str, place: Place, through: int) -> Row:
    if not isinstance(place, MediaPlace):
        return (what, None, None, time_text(through), "FULL")
    names = "\n".join(device.name for device in place.device.devices)
    description = place.info.header.description
    return (what, names, str(place.info.position), time_text(through), description.recovery_model)


PROCEDURES: Final[dict[str, Procedure]] = {"sp_restore_plan": restore_plan}

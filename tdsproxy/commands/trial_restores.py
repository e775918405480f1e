"""Trial restores: a database as it was at some moment is restored from its backup sets into a scratch file,
looked at, and the result is noted in msdb. Nothing of what is there is touched."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.backup import operations
from tdsproxy.backup.errors import OperationCancelled, TargetError, WrongSet
from tdsproxy.backup.plan import Moment, Plan, TooEarly, find_plan
from tdsproxy.catalog.databases import Database
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_databases import take_key
from tdsproxy.commands.lineage import Lineage
from tdsproxy.commands.log_sources import MediaPlace, Place, Sources, point_of, whole_sets
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.name_patterns import matches
from tdsproxy.commands.recovery import new_image
from tdsproxy.commands.stop_points import local_time, nanoseconds, read_moment, time_text
from tdsproxy.log.records import LogError
from tdsproxy.media.errors import MediaError
from tdsproxy.tsql.values import DateTime, Value

COLUMNS: Final = ("database", "moment", "succeeded", "sets", "seconds", "text")
"""Of ``sp_trial_restore``."""

# Prime to most counts of moments: the choice wanders over all of them.
_STRIDE: Final = 7919


@dataclass(frozen=True, slots=True)
class _Way:
    """The full set, and what leads on from it to ``moment``."""

    moment: int
    sets: tuple[MediaPlace, ...]


def trial_restore(
    context: Context, values: Sequence[Value], patterns: Sequence[str]
) -> list[tuple[Value, ...]]:
    """``sp_trial_restore @database, @moment``: one row. Without a database the one of ``patterns`` that was
    not proven for the longest time; without a moment one of those to which its backup sets lead, another one
    each time. Raises CommandError 911."""
    given = [*values, None, None]
    database = _database(context, given[0], patterns)
    if database is None:
        return []
    moment = read_moment(given[1])
    way = _way(context, database, None if moment is None else nanoseconds(moment))
    return [_tried(context, database, way)]


def _database(context: Context, name: Value, patterns: Sequence[str]) -> Database | None:
    if name is not None:
        found = context.env.database(str(name))
        if found is None:
            raise fail(911, str(name))
        return found
    last: dict[str, int] = {}
    for place, row in enumerate(context.env.catalog.operations.trials()):
        last.setdefault(str(row["database_name"]).lower(), place)
    backed_up = {
        item.database.lower() for item in context.env.catalog.history.listed(None) if item.type == "D"
    }
    candidates = [
        database
        for database in context.env.catalog.databases.all()
        if not database.is_system
        and database.name.lower() in backed_up
        and any(matches(database.name, pattern) for pattern in patterns)
    ]
    never = len(last) + 10**6
    return max(candidates, key=lambda item: last.get(item.name.lower(), never), default=None)


def _way(context: Context, database: Database, moment: int | None) -> _Way | None:
    sources = Sources.of(context, database)
    logs = [source for source in sources.logs if not source.is_archive]
    lineage = Lineage.of(context, database)
    wholes = sorted(
        (
            place
            for place in whole_sets(context, database.family)
            if lineage.has(place.info.header.description, point_of(place.info, None))
        ),
        key=lambda place: point_of(place.info, None).consistent_ns,
        reverse=True,
    )
    if moment is None:
        ends = {point_of(place.info, None).consistent_ns for place in wholes}
        ends |= {item.reaches.consistent_ns for item in sources.differentials}
        ends |= {source.through_ns for source in logs}
        moments = sorted(ends, reverse=True)
        if not moments:
            return None
        rows = context.env.catalog.operations.trials()
        tried = sum(str(row["database_name"]).lower() == database.name.lower() for row in rows)
        moment = moments[tried * _STRIDE % len(moments)]
    for place in wholes:
        start = point_of(place.info, place.info.header.description.set_guid)
        try:
            plan: Plan[Place] = find_plan(
                start, sources.differentials, logs, sources.forks, Moment(time_ns=moment)
            )
        except TooEarly:
            continue
        if plan.reached and all(step.until_lsn is None for step in plan.logs):
            between = [] if plan.differential is None else [plan.differential.place]
            steps = [*between, *(step.source.place for step in plan.logs)]
            return _Way(moment, (place, *(step for step in steps if isinstance(step, MediaPlace))))
    return None


def _tried(context: Context, database: Database, way: _Way | None) -> tuple[Value, ...]:
    begun = time.monotonic()
    tables: int | None = None
    rows: int | None = None
    if way is None:
        problems = ["no backup sets lead to a moment"]
    else:
        try:
            with sql_failures(database.name, database.data_path):
                first = way.sets[0]
                take_key(context, operations.read_set(first.device, first.info.position))
                found = operations.verify_restore(
                    [(place.device, place.info.position) for place in way.sets],
                    new_image(context.env),
                    cancel=context.env.cancelled,
                )
            problems, tables, rows = list(found.problems), found.tables, found.rows
        except CommandError as error:
            problems = [item.text for item in error.messages]
        except (MediaError, LogError, OperationCancelled, TargetError, WrongSet) as error:
            problems = [str(error)]
    seconds = time.monotonic() - begun
    text = "; ".join(problems) if problems else f"{tables} tables with {rows} rows are sound"
    context.env.catalog.operations.record_trial(
        {
            "database_name": database.name,
            "trial_date": DateTime.of(context.env.clock()),
            "stop_at": None if way is None else DateTime.of(local_time(way.moment).to_python()),
            "backup_sets": 0 if way is None else len(way.sets),
            "duration_ms": round(seconds * 1000),
            "tables": tables,
            "rows": rows,
            "succeeded": not problems,
            "message": text[:4000],
        }
    )
    shown = None if way is None else time_text(way.moment)
    number = "0" if way is None else str(len(way.sets))
    return (database.name, shown, str(int(not problems)), number, f"{seconds:.3f}", text)

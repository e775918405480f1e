"""A standby's databases: rolled forward by the log that arrives from elsewhere, readable in between.

What arrives are segments of the other store's archive, below ``STORE/log`` as if they had been captured here.
The database stays in STANDBY, and its image is always further than what readers see, never behind: whoever
takes over recovers the image.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from tdsproxy.backup.image import roll_forward
from tdsproxy.backup.plan import LogStep, Moment, Point, TooEarly, find_plan
from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.catalog.recovery import Redo
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.log_sources import Place, Sources
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.point_in_time import chained, end_of, fork_of
from tdsproxy.commands.recovery import image_name, image_path, show_standby, take_image
from tdsproxy.commands.roll_forward import finished
from tdsproxy.commands.undo_files import FOLLOWED
from tdsproxy.log.service import why_broken
from tdsproxy.tsql.values import Value

_BEYOND: Final = "its log leads to LSN"


def undo_file(store: Path, database: Database) -> Path:
    """Of a database in STANDBY by following."""
    return store / f"{database.file}{FOLLOWED}"


def follow_log(context: Context, values: Sequence[Value]) -> list[Row]:
    """As far as the log leads that has arrived: the LSN, the time of the last commit (ns since 1970), and why
    it leads no further, although there is more, or NULL.

    The second value tells whether readers are to see it. Raises CommandError 229, 3117, 911.
    """
    if not context.is_admin:
        raise fail(229, "EXECUTE", "sp_follow_log", "master", "sys")
    name = str(values[0])
    database = context.env.database(name)
    if database is None:
        raise fail(911, name)
    if database.redo is None or (database.state is not DatabaseState.RESTORING and database.standby is None):
        raise fail(3117)
    show = len(values) < 2 or str(values[1]) != "0"
    with sql_failures(name, database.data_path):
        redo = _advance(context, database, database.redo)
        if show and _shown(database) != redo.lsn:
            current = context.env.catalog.databases.by_id(database.id)
            show_standby(context.env, current or database, undo_file(context.env.catalog.store, database))
        stuck = _stuck(context, database, redo)
    return [(str(redo.lsn), str(redo.ns), stuck)]


def _stuck(context: Context, database: Database, redo: Redo) -> str | None:
    """Why log that has arrived can't be applied; None when all of it has been."""
    if context.env.logs is None:
        return None
    archives = context.env.logs.archives(database.guid)
    own = next((archive for archive in archives if archive.fork == redo.fork), None)
    if own is not None and own.was_torn:
        return f"{_BEYOND} {redo.lsn}: what follows is not what had arrived of it before, or is damaged"
    if all(archive.last_lsn() <= redo.lsn for archive in archives):
        return None
    if own is None or own.last_lsn() <= redo.lsn:
        return f"{_BEYOND} {redo.lsn}: the database was restored there and is on another recovery fork"
    if own.first_lsn() > redo.lsn:
        return f"{_BEYOND} {redo.lsn}: what has arrived begins at {own.first_lsn()}, the rest was given up"
    if own.unbroken_since() > redo.lsn:
        return f"{_BEYOND} {redo.lsn}, where it is broken: {why_broken(own)}"
    return None


def _shown(database: Database) -> int | None:
    """The LSN of the content that readers see."""
    if database.standby is None or database.redo is None:
        return None
    try:
        return int(msgspec.json.decode(Path(database.standby).read_bytes())["lsn"])
    except (OSError, ValueError, KeyError, TypeError, msgspec.DecodeError):
        return None


def _advance(context: Context, database: Database, redo: Redo) -> Redo:
    env = context.env
    if env.logs is None:
        return redo
    env.logs.reopen(database.guid)
    sources = Sources.of(context, database)
    start = Point(redo.lsn, redo.fork, redo.base_guid, redo.ns, redo.ns)
    try:
        plan = find_plan(start, (), sources.logs, sources.forks, Moment(time.time_ns()))
    except TooEarly:  # the clock here is behind the one there
        return redo
    if not plan.logs or end_of(plan.logs[-1]) <= redo.lsn:
        return redo
    end = end_of(plan.logs[-1])
    if redo.unfinished and redo.pending_lsn is not None and end < redo.pending_lsn:
        return redo
    if not redo.image:
        redo = msgspec.structs.replace(redo, image=image_name(env, take_image(env, database)))
    begun = msgspec.structs.replace(redo, unfinished=True, pending=None, pending_stop=None, pending_lsn=end)
    env.catalog.databases.update(database.id, redo=begun)
    reading: list[LogStep[Place]] = []
    result = roll_forward(image_path(env, redo), chained(plan.logs, reading), None, env.cancelled)
    after = msgspec.structs.replace(
        finished(redo),
        lsn=end,
        fork=fork_of(plan.logs, end),
        ns=max(redo.ns, result.last_committed_ns or 0),
        base=redo.base and not result.transactions,
        rolled=True,
        logged=redo.logged or end != redo.lsn,
        ends_chain=True,
    )
    env.catalog.databases.update(database.id, redo=after)
    return after


PROCEDURES: Final[dict[str, Procedure]] = {"sp_follow_log": follow_log}

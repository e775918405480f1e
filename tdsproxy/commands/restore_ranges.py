"""The ranges of time to which a database can be restored, by msdb's sets and the archives of its log."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from tdsproxy.backup.plan import Point, restorable
from tdsproxy.catalog.databases import Database
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.kept_content import kept_name
from tdsproxy.commands.lineage import Lineage
from tdsproxy.commands.log_sources import MediaPlace, Place, Sources, point_of, whole_sets
from tdsproxy.commands.stop_points import time_text
from tdsproxy.tsql.values import Value

COLUMNS: Final = ("from", "to", "device", "file", "through", "database")
"""Of ``restore_ranges``: times of the server's clock, as STOPAT takes them."""

_THROUGH: Final = {True: "captured log", False: "backups"}


@dataclass(frozen=True, slots=True)
class RestorableRange:
    """STOPAT reaches every moment from ``start_ns`` to ``end_ns`` (ns since 1970, UTC) from the data backup
    ``base`` on; ``needs_archive`` tells that backups alone do not."""

    start_ns: int
    end_ns: int
    base: MediaPlace
    needs_archive: bool


def ranges_of(context: Context, database: Database) -> list[RestorableRange]:
    """Ascending, none touching the next."""
    sources = Sources.of(context, database)
    now = time.time_ns()
    lineage = Lineage.of(context, database)
    starts: list[tuple[Point, Place]] = []
    for place in whole_sets(context, database.family):
        description = place.info.header.description
        point = point_of(place.info, description.set_guid)
        if lineage.has(description, point):
            starts.append((point, place))
    found = restorable(starts, sources.differentials, sources.logs, sources.forks, now)
    return [
        RestorableRange(item.start_ns, item.end_ns, item.base, item.needs_archive)
        for item in found
        if isinstance(item.base, MediaPlace)
    ]


def restore_ranges(context: Context, arguments: Sequence[Value]) -> list[tuple[Value, ...]]:
    """The rows behind ``tdsproxy history --points x``: the ranges of the database that is named, then the
    content that its last restore replaced. Raises CommandError 911, 262."""
    name = str(arguments[0]) if arguments and arguments[0] is not None else context.session.database
    database = context.env.database(name)
    if database is None:
        raise fail(911, name)
    if context.roles_in(database) is None:
        raise fail(262, "BACKUP DATABASE", database.name)
    rows: list[tuple[Value, ...]] = [
        (
            time_text(item.start_ns),
            time_text(item.end_ns),
            item.base.device.name,
            str(item.base.info.position),
            _THROUGH[item.needs_archive],
            database.name,
        )
        for item in ranges_of(context, database)
    ]
    if database.kept is not None:
        moment = time_text(database.kept.ns)
        rows.append((moment, moment, kept_name(database.kept), None, "kept content", database.name))
    return rows


PROCEDURES: Final = {"sp_restore_ranges": restore_ranges}

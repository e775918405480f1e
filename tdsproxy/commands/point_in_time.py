"""STOPAT in one statement: from a full backup on by differential and log backups and the captured log.

SQL Server stops behind the full backup and leaves the database RESTORING (4322). Here a RESTORE DATABASE
that is to end in RECOVERY goes on by itself, as far as msdb's history and the archives of the log lead, and
says in informational messages what it used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

import msgspec

from tdsproxy.backup import operations
from tdsproxy.backup.image import roll_forward
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.history import KnownSet
from tdsproxy.catalog.recovery import Fork, Redo
from tdsproxy.commands.context import Context
from tdsproxy.commands.log_sources import (
    Source,
    Stretch,
    fork_of_known,
    open_known,
    stop_at,
    way,
)
from tdsproxy.commands.recovery import image_path
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.commands.roll_forward import after_differential
from tdsproxy.commands.roll_rules import consistent_ns_of
from tdsproxy.commands.stop_points import StopPoint, time_text
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import CaptureStopped, LogError, Transaction
from tdsproxy.media.documents import SetDescription
from tdsproxy.media.errors import MediaError
from tdsproxy.media.reader import SetInfo


@dataclass(frozen=True, slots=True)
class Completed:
    """How far it went: ``reached`` the stop or not, ``told`` what an info message says of each step."""

    redo: Redo
    reached: bool
    told: Sequence[str]


def goes_on(info: SetInfo, options: RestoreOptions) -> bool:
    """Whether the statement is to be the whole recovery."""
    return (
        options.stop is not None and options.recovers and info.header.description.recovery_model != "SIMPLE"
    )


def complete(
    context: Context,
    existing: Database | None,
    redo: Redo,
    description: SetDescription,
    stop: StopPoint,
) -> Completed:
    """Rolls the image of ``redo``, the full backup ``description``, forward to the stop.

    Raises LogError, OperationCancelled, StoreError, OSError.
    """
    told: list[str] = []
    unreadable: set[UUID] = set()
    lineage = _Lineage.find(context, existing, description)
    redo = _differential(context, redo, description, lineage, stop, told)
    image = image_path(context.env, redo)
    while True:
        sources = _sources(context, redo, description, lineage, stop, unreadable)
        reading: list[Source] = []
        try:
            result = roll_forward(image, _chained(sources, reading), stop_at(stop), context.env.cancelled)
            break
        except MediaError:
            # The image takes whole pages: the same log from another source makes it right again.
            known = reading[-1].known
            if known is None:
                raise
            unreadable.add(known.set_guid)
    used = reading if result.reached else sources
    end = sources[-1] if sources else None
    inside = result.reached
    through = end.through_ns if end is not None else redo.ns
    reached = inside or (stop.time is not None and stop.time <= through)
    lsn = redo.lsn
    if inside:
        lsn = max(lsn, result.last_lsn or lsn)
    elif end is not None:
        lsn = end.last
    fork = next((source.fork for source in sources if source.first <= lsn <= source.last), redo.fork)
    if not inside and end is not None:
        fork = end.fork
    told += [source.told for source in used]
    if reached:
        moment = result.last_committed_ns or redo.ns
        told.append(
            f"STOPAT: the last transaction restored was committed at {time_text(moment)} (LSN {lsn})."
        )
    after = msgspec.structs.replace(
        redo,
        lsn=lsn,
        fork=fork,
        ns=max(redo.ns, result.last_committed_ns or 0),
        base=redo.base and not result.transactions,
    )
    return Completed(after, reached, told)


def _chained(sources: Sequence[Source], reading: list[Source]) -> Iterator[Transaction]:
    for source in sources:
        reading.append(source)
        yield from source.read()


@dataclass(frozen=True, slots=True)
class _Lineage:
    """The database whose log leads on: its GUID, its forks, the archives that there are, and up to when
    nothing is missing in the one that is written now."""

    guid: UUID
    forks: tuple[Fork, ...]
    archives: dict[UUID, Archive]
    live: UUID | None
    live_through_ns: int

    @classmethod
    def find(cls, context: Context, existing: Database | None, description: SetDescription) -> _Lineage:
        """By the GUID that the backup names; else the database that is replaced, when it is of the family."""
        databases = context.env.catalog.databases
        guid = description.database_guid
        owner = next((d for d in databases.all() if d.guid == guid), None)
        if owner is None and existing is not None and existing.family == description.family_guid:
            owner, guid = existing, existing.guid
        logs = context.env.logs
        archives: dict[UUID, Archive] = {}
        live: UUID | None = None
        # Of a database that nobody can write to, nothing is missing.
        through = time.time_ns()
        if logs is not None:
            if logs.is_kept(guid):
                live = logs.archive(guid).fork
                try:
                    logs.capture_now(guid)
                    through = logs.captured_until_ns(guid)
                except CaptureStopped:
                    if owner is not None and owner.path(context.env.catalog.store).exists():
                        through = logs.archive(guid).last_committed_ns()
            archives = {archive.fork: archive for archive in logs.archives(guid)}
        return cls(guid, tuple(databases.forks(guid)), archives, live, through)

    def through(self, fork: UUID) -> int:
        return self.live_through_ns if fork == self.live else time.time_ns()


def _differential(
    context: Context,
    redo: Redo,
    description: SetDescription,
    lineage: _Lineage,
    stop: StopPoint,
    told: list[str],
) -> Redo:
    """The newest differential backup of the full one that does not go beyond the stop."""
    stretches = {s.fork: s.end for s in way(redo.fork, redo.lsn, lineage.forks, stop)}
    for known in context.env.catalog.history.sets_of_family(description.family_guid, "I"):
        end = stretches.get(known.fork)
        if known.base_guid != redo.base_guid or known.fork not in stretches:
            continue
        if end is not None and known.last_lsn > end:
            continue
        found = open_known(context, known)
        if found is None:
            continue
        device, info = found
        too_late = (stop.time is not None and consistent_ns_of(info) > stop.time) or (
            stop.time is None and (stop.lsn is None or stop.lsn < known.last_lsn)
        )
        if too_late:
            continue
        image = image_path(context.env, redo)
        operations.apply_differential(device, info.position, image, cancel=context.env.cancelled)
        name = PurePath(known.device).name
        told.append(f"STOPAT: differential backup '{name}' (file {info.position}) was used.")
        return after_differential(redo, info)
    return redo


def _sources(
    context: Context,
    redo: Redo,
    description: SetDescription,
    lineage: _Lineage,
    stop: StopPoint,
    unreadable: set[UUID],
) -> list[Source]:
    """What leads from the image to the stop, as far as there is something."""
    history = context.env.catalog.history.sets_of_family(description.family_guid, "L")
    known = [item for item in history if item.set_guid not in unreadable]
    found: list[Source] = []
    lsn = redo.lsn
    for stretch in way(redo.fork, redo.lsn, lineage.forks, stop):
        while stretch.end is None or lsn < stretch.end:
            source = _from_media(context, known, stretch, lsn) or _from_archive(lineage, stretch, lsn)
            if source is None:
                break
            found.append(source)
            lsn = source.last
            if source.archive is not None:
                break
            if stop.time is not None and source.known is not None and source.through_ns > stop.time:
                return found
        if stretch.end is not None and lsn < stretch.end:
            return found
    return found


def _from_media(context: Context, known: list[KnownSet], stretch: Stretch, lsn: int) -> Source | None:
    fitting = [
        item
        for item in known
        if item.first_lsn <= lsn < item.last_lsn and stretch.fork in fork_of_known(item, lsn)
    ]
    fitting.sort(key=lambda item: item.last_lsn, reverse=True)
    for item in fitting:
        opened = open_known(context, item)
        if opened is None:
            known.remove(item)
            continue
        device, info = opened
        last = item.last_lsn if stretch.end is None else min(item.last_lsn, stretch.end)
        through = info.trailer.through_ns or info.trailer.consistent_ns or 0
        return Source(lsn, last, item.fork, through, device, item, info.position)
    return None


def _from_archive(lineage: _Lineage, stretch: Stretch, lsn: int) -> Source | None:
    archive = lineage.archives.get(stretch.fork)
    if archive is None:
        return None
    last = archive.last_lsn() if stretch.end is None else min(archive.last_lsn(), stretch.end)
    begun = next((fork for fork in lineage.forks if fork.fork == stretch.fork), None)
    at_point = begun is not None and begun.point_lsn == lsn
    if last < lsn or (archive.first_lsn() > lsn and not at_point):
        return None
    try:
        next(iter(archive.read(max(lsn, archive.first_lsn()), last)), None)
    except LogError:
        return None
    return Source(lsn, last, stretch.fork, lineage.through(stretch.fork), archive=archive)

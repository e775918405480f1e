"""STOPAT in one statement: from a full backup on by differential and log backups and the captured log.

SQL Server stops behind the full backup and leaves the database RESTORING (4322). Here a RESTORE DATABASE
that is to end in RECOVERY goes on by itself, as far as msdb's history and the archives of the log lead, and
says in informational messages what it used.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from tdsproxy.backup import operations
from tdsproxy.backup.image import roll_forward
from tdsproxy.backup.plan import LogSource, LogStep, Moment, find_plan
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.recovery import Redo
from tdsproxy.commands.context import Context
from tdsproxy.commands.log_sources import MediaPlace, Place, Sources, point_of, read, told
from tdsproxy.commands.log_times import doubts
from tdsproxy.commands.recovery import image_path
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.commands.roll_forward import after_differential, stop_at
from tdsproxy.commands.stop_points import StopPoint, time_text
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import ArchiveDamaged, Transaction
from tdsproxy.media.errors import MediaError
from tdsproxy.media.reader import SetInfo


@dataclass(frozen=True, slots=True)
class Completed:
    """How far it went: ``reached`` the stop or not, ``told`` what an info message says of each step, ``used``
    the backup sets in order."""

    redo: Redo
    reached: bool
    told: tuple[str, ...]
    used: tuple[MediaPlace, ...] = ()


def goes_on(info: SetInfo, options: RestoreOptions) -> bool:
    """Whether the statement is to be the whole recovery."""
    return (
        options.stop is not None and options.recovers and info.header.description.recovery_model != "SIMPLE"
    )


def complete(
    context: Context, existing: Database | None, redo: Redo, info: SetInfo, stop: StopPoint
) -> Completed:
    """Rolls the image of ``redo``, made from the full set ``info``, forward to the stop.

    Raises MediaError, LogError, OperationCancelled, OSError; the image is then of no use.
    """
    env = context.env
    image = image_path(env, redo)
    description = info.header.description
    sources = Sources.find(context, existing, description)
    # A mark may be anywhere: as far as anything leads.
    moment = Moment(stop.time, stop.lsn) if stop.mark is None else Moment(time.time_ns())
    start = point_of(info, description.set_guid)
    if stop.mark is not None:
        sources.differentials.clear()
    plan = find_plan(start, sources.differentials, sources.logs, sources.forks, moment)
    said: list[str] = []
    chosen = plan.differential
    if chosen is not None and isinstance(chosen.place, MediaPlace):
        place = chosen.place
        operations.apply_differential(place.device, place.info.position, image, cancel=env.cancelled)
        said.append(f"STOPAT: differential backup {place.shown} was used.")
        redo = after_differential(redo, place.info)
        start = chosen.reaches
    while True:
        reading: list[LogStep[Place]] = []
        try:
            result = roll_forward(image, chained(plan.logs, reading), stop_at(stop), env.cancelled)
            break
        except (MediaError, ArchiveDamaged):
            # Pages from before the damage may be in the image already. They are whole, so the same log from
            # other sources makes it right again, but only if that leads at least as far.
            sources.without(reading[-1].source)
            plan = find_plan(start, (), sources.logs, sources.forks, moment)
            if not plan.reached:
                raise
    used = reading if result.reached else list(plan.logs)
    lsn, fork = redo.lsn, redo.fork
    if result.reached:
        lsn = max(lsn, result.last_lsn or lsn)
    elif used:
        lsn = end_of(used[-1])
    if used:
        fork = fork_of(used, lsn)
    reached = result.reached or (stop.mark is None and plan.reached)
    said += [told(step) for step in used]
    said += doubts(used, stop.time)
    ns = max(redo.ns, result.last_committed_ns or 0)
    if reached:
        said.append(f"STOPAT: the last transaction restored was committed at {time_text(ns)} (LSN {lsn}).")
    base = redo.base and not result.transactions
    backed, known = _backed(used, sources.logs, redo.fork, lsn)
    after = msgspec.structs.replace(
        redo, lsn=lsn, fork=fork, ns=ns, base=base, logged=not base, backed_lsn=backed, ends_chain=not known
    )
    places = [step.source.place for step in used]
    if chosen is not None:
        places.insert(0, chosen.place)
    sets = tuple(place for place in places if isinstance(place, MediaPlace))
    return Completed(after, reached, tuple(said), sets)


def _backed(
    steps: Sequence[LogStep[Place]], sources: Sequence[LogSource[Place]], fork: UUID, lsn: int
) -> tuple[int | None, bool]:
    """Up to where the log that was used is in log backups (None: all of it), and whether the next log backup
    can hold the rest: a set knows of two forks, so the rest must lie on the one on which the last set ended,
    be it the data backup, on ``fork``."""
    backed: int | None = None
    before = fork
    for step in steps:
        if step.first_lsn >= lsn:
            continue
        until = min(lsn, end_of(step))
        if not isinstance(step.source.place, Archive):
            before = step.source.fork_at(until - 1)
            continue
        fork = step.source.fork
        at = step.first_lsn
        while at < until:
            ends = [
                source.last_lsn
                for source in sources
                if not source.is_archive and source.first_lsn <= at < source.last_lsn
                if source.fork_at(at) == fork == source.fork_at(source.last_lsn - 1)
            ]
            if not ends:
                break
            at = max(ends)
        if at > step.first_lsn:
            before = fork
        if at < until:
            backed = at
            break
    if backed is None:
        return None, True
    forks = {step.source.fork_at(max(backed, step.first_lsn)) for step in steps if end_of(step) > backed}
    return backed, forks == {before}


def chained(steps: Sequence[LogStep[Place]], reading: list[LogStep[Place]]) -> Iterator[Transaction]:
    """The transactions of the steps; ``reading`` gets each step when it is begun."""
    for step in steps:
        reading.append(step)
        yield from read(step)


def end_of(step: LogStep[Place]) -> int:
    """Up to where (exclusive) the step leads."""
    return step.source.last_lsn if step.until_lsn is None else step.until_lsn


def fork_of(steps: Sequence[LogStep[Place]], lsn: int) -> UUID:
    """The fork on which the log that led to ``lsn`` lies."""
    step = next((step for step in steps if step.first_lsn < lsn <= end_of(step)), steps[-1])
    return step.source.fork_at(lsn - 1) if lsn > step.first_lsn else step.source.fork_at(lsn)

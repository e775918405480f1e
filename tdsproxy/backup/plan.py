"""Which backup sets and archives lead from a full backup to a moment. Pure.

A database's history is a tree of recovery forks; a restore that ends in RECOVERY begins a new one at the LSN
that it reached. The path to a moment leads along the fork that was the database's at that moment, and
its ancestors. All LSN ranges are half open, times are nanoseconds since 1970, UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Place = TypeVar("Place")


@dataclass(frozen=True, slots=True)
class Point:
    """A state of the database: that at ``lsn`` on ``fork``, with the full backup ``base_guid`` as its base.

    It last committed at ``consistent_ns``, and not again up to ``through_ns``.
    """

    lsn: int
    fork: UUID
    base_guid: UUID | None
    consistent_ns: int
    through_ns: int


@dataclass(frozen=True, slots=True)
class ForkLine:
    """A recovery fork: it left ``parent`` (None: it is the first) at ``point_lsn``, when it was
    ``created_ns``; its own transactions have LSNs from ``start_lsn`` on."""

    fork: UUID
    parent: UUID | None
    point_lsn: int | None
    start_lsn: int
    created_ns: int


@dataclass(frozen=True, slots=True)
class LogSource(Generic[Place]):
    """A log backup, or the live archive of a fork: all transactions of the range.

    Up to ``fork_point_lsn`` they are those of ``first_fork``, from there on those of ``fork``; without such a
    point the two are the same. Up to ``through_ns`` nothing was committed that is not in it. ``place`` is the
    caller's, ``is_archive`` tells the live archive.
    """

    place: Place
    first_lsn: int
    last_lsn: int
    first_fork: UUID
    fork: UUID
    through_ns: int
    fork_point_lsn: int | None = None
    is_archive: bool = False

    def pieces(self) -> list[tuple[UUID, int]]:
        """Its forks in order, each with the end of what lies on it."""
        if self.fork_point_lsn is None:
            return [(self.fork, self.last_lsn)]
        return [(self.first_fork, self.fork_point_lsn), (self.fork, self.last_lsn)]

    def fork_at(self, lsn: int) -> UUID:
        """On which fork a transaction with this LSN lies."""
        return self.first_fork if self.fork_point_lsn is not None and lsn < self.fork_point_lsn else self.fork


@dataclass(frozen=True, slots=True)
class DifferentialSource(Generic[Place]):
    """A differential backup: it leads from its base to ``reaches``."""

    place: Place
    base_guid: UUID
    reaches: Point


@dataclass(frozen=True, slots=True)
class Moment:
    """Where to: the last state committed at or before ``time_ns``, or the one with the transaction that holds
    ``lsn``. One of them is given."""

    time_ns: int | None = None
    lsn: int | None = None


@dataclass(frozen=True, slots=True)
class LogStep(Generic[Place]):
    """Roll forward through ``source`` from ``first_lsn`` on; ``until_lsn`` (exclusive) is where the path
    leaves its fork, None: as far as the moment, or the source, goes."""

    source: LogSource[Place]
    first_lsn: int
    until_lsn: int | None = None


@dataclass(frozen=True, slots=True)
class Plan(Generic[Place]):
    """What to restore on the full backup, in order. ``reached`` is false when it ends before the moment:
    it then leads as far as anything does."""

    differential: DifferentialSource[Place] | None
    logs: tuple[LogStep[Place], ...]
    reached: bool


class TooEarly(Exception):
    """The moment lies before the state that the full backup restores (4338)."""


@dataclass(frozen=True, slots=True)
class _Stretch:
    """One fork of the path; it is left at ``until`` (None: it is the last)."""

    fork: UUID
    until: int | None


def find_plan(
    start: Point,
    differentials: Iterable[DifferentialSource[Place]],
    logs: Sequence[LogSource[Place]],
    forks: Sequence[ForkLine],
    moment: Moment,
) -> Plan[Place]:
    """The way from ``start`` to ``moment``. A differential that is nearest before it saves log; log sets are
    preferred to the live archive where both reach the moment. Raises TooEarly."""
    if not _may_begin(start, moment):
        raise TooEarly
    path = _path(start, forks, moment)
    best: Plan[Place] | None = None
    furthest = -1
    usable = [item for item in differentials if _usable(item, start, path, forks, moment)]
    usable.sort(key=lambda item: item.reaches.lsn, reverse=True)
    for differential in (*usable, None):
        begin = differential.reaches if differential is not None else start
        steps, reached, lsn = _roll(begin, logs, _from(begin, path), moment)
        found = Plan(differential, tuple(steps), reached)
        if reached:
            return found
        if lsn > furthest:
            best, furthest = found, lsn
    assert best is not None
    return best


def leads_on(start: Point, forks: Sequence[ForkLine], moment: Moment) -> bool:
    """Whether the fork that was the database's at the moment goes on from the state ``start``."""
    begun = [line for line in forks if _has_begun(line, moment)]
    if not begun:
        return True
    current = max(begun, key=lambda item: (item.created_ns, item.start_lsn))
    return _descent(current, {line.fork: line for line in forks}, start) is not None


def descends(forks: Sequence[ForkLine], point: Point) -> bool:
    """Whether the database whose forks these are once was in the state ``point``, be it before its first
    fork left the one of another database."""
    known = {line.fork: line for line in forks}
    return any(_descent(line, known, point) is not None for line in forks)


@dataclass(frozen=True, slots=True)
class TimeRange(Generic[Place]):
    """Every moment from ``start_ns`` to ``end_ns`` can be restored, from ``base`` on. ``needs_archive`` tells
    that log backups alone do not lead to all of them."""

    start_ns: int
    end_ns: int
    base: Place
    needs_archive: bool = False


def restorable(
    starts: Iterable[tuple[Point, Place]],
    differentials: Sequence[DifferentialSource[Place]],
    logs: Sequence[LogSource[Place]],
    forks: Sequence[ForkLine],
    now_ns: int,
) -> list[TimeRange[Place]]:
    """The ranges of time that lead somewhere, ascending, none touching the next. ``starts`` are the full
    backups with the states that they restore; of those that begin a range, ``base`` is the first."""
    found: list[TimeRange[Place]] = []
    for point, place in starts:
        begin = point.consistent_ns
        # From the beginning of a fork on, a moment is one of that fork.
        edges = sorted({line.created_ns for line in forks if line.created_ns > begin})
        for end in (*edges, now_ns + 1):
            moment = Moment(time_ns=end - 1)
            path = _path(point, forks, moment)
            nearer = [item.reaches for item in differentials if _usable(item, point, path, forks, moment)]
            for state in (point, *nearer):
                through, archive = _furthest(state, logs, _from(state, path))
                first, last = max(begin, state.consistent_ns), min(through, end - 1)
                if last >= first:
                    found.append(TimeRange(first, last, place, archive))
            begin = max(begin, end)
    return _merged(found)


_FOREVER = 1 << 62


def _furthest(start: Point, logs: Sequence[LogSource[Place]], path: Sequence[_Stretch]) -> tuple[int, bool]:
    """Up to which time the path leads, -1 when not to its last fork; and whether through an archive."""
    steps, _, _ = _roll(start, logs, path, Moment(time_ns=_FOREVER))
    archive = any(step.source.is_archive for step in steps)
    if not steps:
        return (start.through_ns if path[-1].fork == start.fork else -1), False
    last = steps[-1]
    whole = last.until_lsn is None and last.source.fork == path[-1].fork
    return (last.source.through_ns if whole else -1), archive


def _merged(ranges: Iterable[TimeRange[Place]]) -> list[TimeRange[Place]]:
    merged: list[TimeRange[Place]] = []
    for item in sorted(ranges, key=lambda item: (item.start_ns, -item.end_ns)):
        if merged and item.start_ns <= merged[-1].end_ns + 1:
            last = merged[-1]
            if item.end_ns > last.end_ns:
                archive = last.needs_archive or item.needs_archive
                merged[-1] = TimeRange(last.start_ns, item.end_ns, last.base, archive)
        else:
            merged.append(item)
    return merged


def _may_begin(point: Point, moment: Moment) -> bool:
    if moment.time_ns is not None:
        return point.consistent_ns <= moment.time_ns
    return moment.lsn is None or point.lsn <= moment.lsn


def _path(start: Point, forks: Sequence[ForkLine], moment: Moment) -> list[_Stretch]:
    """The forks from the start's to the one that was current at the moment."""
    known = {line.fork: line for line in forks}
    begun = [line for line in forks if _has_begun(line, moment)]
    for line in sorted(begun, key=lambda item: (item.created_ns, item.start_lsn), reverse=True):
        path = _descent(line, known, start)
        if path is not None:
            return path
    return [_Stretch(start.fork, None)]


def _has_begun(line: ForkLine, moment: Moment) -> bool:
    if moment.time_ns is not None:
        return line.created_ns <= moment.time_ns
    return moment.lsn is not None and line.start_lsn <= moment.lsn


def _descent(line: ForkLine, known: dict[UUID, ForkLine], start: Point) -> list[_Stretch] | None:
    """The stretches from the start's fork down to ``line``; None if it does not descend from the start."""
    path = [_Stretch(line.fork, None)]
    seen = {line.fork}
    while line.fork != start.fork:
        if line.parent is None or line.point_lsn is None or line.parent in seen:
            return None
        path.insert(0, _Stretch(line.parent, line.point_lsn))
        seen.add(line.parent)
        if line.parent == start.fork:
            break
        if line.parent not in known:
            return None
        line = known[line.parent]
    until = path[0].until
    return path if until is None or start.lsn <= until else None


def _usable(
    item: DifferentialSource[Place],
    start: Point,
    path: Sequence[_Stretch],
    forks: Sequence[ForkLine],
    moment: Moment,
) -> bool:
    reaches = item.reaches
    on_path = any(
        stretch.fork == reaches.fork and (stretch.until is None or reaches.lsn <= stretch.until)
        for stretch in path
    )
    # Forks of a database without a log are not noted: what goes on from its base there names it, no more.
    on_path = on_path or not any(reaches.fork in (line.fork, line.parent) for line in forks)
    fits = item.base_guid == start.base_guid and reaches.lsn >= start.lsn
    return fits and on_path and _may_begin(reaches, moment)


def _from(begin: Point, path: Sequence[_Stretch]) -> Sequence[_Stretch]:
    """The path, or, from a state on a fork of which nothing is known, that fork alone."""
    return path if any(stretch.fork == begin.fork for stretch in path) else [_Stretch(begin.fork, None)]


def _roll(
    begin: Point, logs: Sequence[LogSource[Place]], path: Sequence[_Stretch], moment: Moment
) -> tuple[list[LogStep[Place]], bool, int]:
    """(steps, whether the moment is reached, how far they lead). Each step goes as far as any can: what can
    be applied from further on is never less."""
    steps: list[LogStep[Place]] = []
    index = next(number for number, stretch in enumerate(path) if stretch.fork == begin.fork)
    lsn, through = begin.lsn, begin.through_ns
    while True:
        while (until := path[index].until) is not None and lsn >= until:
            index += 1
            # What the old fork did after it was left says nothing about the new one.
            through = begin.consistent_ns if lsn == begin.lsn else 0
        if path[index].until is None and _reaches(lsn, through, moment):
            return steps, True, lsn
        best: tuple[tuple[bool, int, int, bool], LogSource[Place], int, int] | None = None
        for source in logs:
            end = _leads_to(source, lsn, path, index)
            if end is None:
                continue
            last = _at_end(path, index, end)
            whole = end == source.last_lsn and source.fork == path[-1].fork
            known = source.through_ns if last and whole else 0
            if end == lsn and known <= through:
                continue
            goes = last and _reaches(end, known, moment)
            rank = (True, 0, 0, not source.is_archive) if goes else (False, end, known, not source.is_archive)
            if best is None or rank > best[0]:
                best = (rank, source, end, known)
        if best is None:
            return steps, False, lsn
        _, source, end, known = best
        steps.append(LogStep(source, lsn, end if end < source.last_lsn else None))
        lsn, through = end, known


def _reaches(lsn: int, through: int, moment: Moment) -> bool:
    if moment.time_ns is not None:
        return moment.time_ns <= through
    return moment.lsn is not None and moment.lsn < lsn


def _at_end(path: Sequence[_Stretch], index: int, lsn: int) -> bool:
    """Whether ``lsn``, reached from the stretch ``index`` on, lies on the last stretch."""
    return all(stretch.until is None or lsn >= stretch.until for stretch in path[index:])


def _leads_to(source: LogSource[Place], lsn: int, path: Sequence[_Stretch], index: int) -> int | None:
    """How far along the path the source leads from ``lsn`` on; None if it cannot be applied there."""
    if not source.first_lsn <= lsn <= source.last_lsn or source.fork_at(lsn) != path[index].fork:
        return None
    for fork, end in source.pieces():
        if end < lsn or (end == lsn and fork != source.fork):
            continue
        if fork != path[index].fork:
            # The source went over to a fork that the path does not.
            return lsn
        until = path[index].until
        if until is None or until > end:
            lsn = end
            continue
        if until < end:
            return until
        lsn = end
        index += 1
    return lsn

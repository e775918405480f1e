"""Which backup sets are kept, and which may go. Pure: records in, decisions with their reasons out.

What a policy promises is a union of rules: a set stays as long as one of them wants it, or another set that
stays can't be restored without it. Restore points are full and differential sets. Grandfather, father and son
each keep the newest restore point of as many days, weeks (ISO 8601), months and years *that have one*: when
backups stop coming, none of the old ones goes. An age is a promise, too: what is younger stays, and can be
restored. Beyond the size the oldest is given up of what generations, age and count keep, never what the
window, an expiration date or the newest state needs. All times are nanoseconds since 1970, UTC; days and
weeks are those of the time zone of ``now``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from tdsproxy.agent.policies import Retention
from tdsproxy.backup.plan import (
    DifferentialSource,
    ForkLine,
    LogSource,
    Moment,
    Plan,
    Point,
    TooEarly,
    descends,
    find_plan,
    leads_on,
)

_SECOND: Final = 10**9


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A backup set as retention sees it. ``reaches`` is the state that a full or differential set restores,
    ``base_guid`` (of a differential) its full set, ``log`` the range of a log set; a set of another kind has
    none of them. Sets with the same ``media`` go together or not at all. ``problem`` says why nothing is
    known of what the set depends on: it stays."""

    guid: UUID
    database: str
    owner: UUID
    """The database_guid."""
    family: UUID
    finished_ns: int
    bytes: int
    media: Hashable
    reaches: Point | None = None
    base_guid: UUID | None = None
    log: tuple[int, int, UUID, UUID, int, int | None] | None = None
    """FirstLSN, LastLSN, first fork, last fork, through_ns, fork_point_lsn."""
    copy_only: bool = False
    expires_ns: int | None = None
    problem: str | None = None

    @property
    def is_full(self) -> bool:
        return self.reaches is not None and self.base_guid is None

    @property
    def is_differential(self) -> bool:
        return self.reaches is not None and self.base_guid is not None

    @property
    def kind(self) -> str:
        if self.reaches is None:
            return "log" if self.log is not None else "other"
        return "full" if self.base_guid is None else "differential"


@dataclass(frozen=True, slots=True)
class Decision:
    """``reasons`` say why a set stays, or, of one that goes, why none keeps it. ``archive``: it belongs into
    the cold storage class."""

    set: StoredSet
    keep: bool
    reasons: tuple[str, ...]
    archive: bool = False


Policies = Callable[[str], Retention | None]
"""The policy of a database by its name; None: it has none, and all of its sets stay."""


def decide(
    sets: Sequence[StoredSet],
    forks: Mapping[UUID, Sequence[ForkLine]],
    policies: Policies,
    now: dt.datetime,
    bases: Collection[UUID] = (),
) -> list[Decision]:
    """One decision a set, in the order of ``sets``, that of their recording. ``forks`` are those of each
    database_guid; ``bases`` the full sets that databases go on from as they are now, which after a restore
    need not be the newest; ``now`` has a time zone."""
    if now.tzinfo is None:
        raise ValueError("now has no time zone")
    whole = _Whole(sets)
    owners: dict[UUID, list[StoredSet]] = {}
    for item in sets:
        owners.setdefault(item.owner, []).append(item)
    for owner, own in owners.items():
        name = max(own, key=lambda item: item.finished_ns).database
        policy = policies(name)
        if policy is None:
            for item in own:
                whole.keep(item, "no policy covers its database")
        else:
            _Database(whole, own, forks.get(owner, ()), policy, now).decide()
    for item in sets:
        if item.guid in bases and item.guid not in whole.reasons:
            whole.keep(item, "the next differential backup builds on it")
    whole.close()
    return [whole.decision(item, policies(item.database), now) for item in sets]


@dataclass(slots=True)
class _Whole:
    """What is kept so far, over all databases."""

    sets: Sequence[StoredSet]
    reasons: dict[UUID, list[str]] = field(default_factory=dict)

    def keep(self, item: StoredSet, reason: str) -> None:
        found = self.reasons.setdefault(item.guid, [])
        if reason not in found:
            found.append(reason)

    def close(self) -> None:
        """Full sets that kept differentials build on, and sets that share media with kept ones."""
        for item, reason in closure(self.sets, set(self.reasons)):
            self.keep(item, reason)

    def decision(self, item: StoredSet, policy: Retention | None, now: dt.datetime) -> Decision:
        reasons = self.reasons.get(item.guid)
        if not reasons:
            return Decision(item, False, ("no rule of its policy keeps it, and no set that stays needs it",))
        limit = None if policy is None else policy.archive_after_days
        old = limit is not None and item.finished_ns < _ns(now) - _days(limit)
        return Decision(item, True, tuple(reasons), old)


def closure(sets: Iterable[StoredSet], kept: set[UUID]) -> list[tuple[StoredSet, str]]:
    """What must stay beside the ``kept`` ones, each with the reason: the bases of differentials, and what
    lies on the same media, as far as that leads."""
    found: list[tuple[StoredSet, str]] = []
    by_guid = {item.guid: item for item in sets}
    by_media: dict[Hashable, list[StoredSet]] = {}
    for item in by_guid.values():
        by_media.setdefault(item.media, []).append(item)
    seen = set(kept)
    waiting = [by_guid[guid] for guid in kept if guid in by_guid]
    while waiting:
        item = waiting.pop()
        needed: list[tuple[StoredSet, str]] = []
        if item.base_guid is not None and item.base_guid in by_guid:
            needed.append((by_guid[item.base_guid], f"the differential {_told(item)} builds on it"))
        needed += [(other, f"it shares its media with {_told(item)}") for other in by_media[item.media]]
        for other, reason in needed:
            if other.guid not in seen:
                seen.add(other.guid)
                found.append((other, reason))
                waiting.append(other)
    return found


class _Database:
    """The rules of one policy on the sets of one database."""

    def __init__(
        self,
        whole: _Whole,
        own: Sequence[StoredSet],
        forks: Sequence[ForkLine],
        policy: Retention,
        now: dt.datetime,
    ) -> None:
        self._whole = whole
        self._policy = policy
        self._now = now
        self._now_ns = _ns(now)
        self._own = own
        # Of two that were finished at the same time the one that was recorded later is the newer.
        self._points = sorted(
            (item for item in reversed(own) if item.reaches is not None and item.problem is None),
            key=lambda item: item.finished_ns,
            reverse=True,
        )
        family = {item.family for item in own}
        kin = [item for item in whole.sets if item.family in family]
        self._chains = _Chains(kin, {item.guid for item in own}, forks)

    def decide(self) -> None:
        policy = self._policy
        window = self._span(policy.window_days, "recovery window")
        age = self._span(policy.age_days, "age")
        hard: list[tuple[StoredSet, str]] = [*self._held(), *self._newest(), *window]
        soft: list[tuple[StoredSet, str]] = [*self._generations(), *age, *self._counted()]
        soft = self._within_size(hard, soft)
        for item, reason in (*hard, *soft):
            self._whole.keep(item, reason)

    def _held(self) -> Iterable[tuple[StoredSet, str]]:
        for item in self._own:
            if item.problem is not None:
                yield item, item.problem
            elif item.expires_ns is not None and item.expires_ns > self._now_ns:
                yield item, f"its expiration date is {self._local(item.expires_ns):%Y-%m-%d %H:%M}"

    def _newest(self) -> Iterable[tuple[StoredSet, str]]:
        """The newest state, and what the next differential builds on."""
        for item in self._chains.leading_to(self._now_ns):
            yield item, "the newest state needs it"
        for item in self._points:
            if item.is_full:
                yield item, "it is the newest full backup"
                break
        for item in self._points:
            if item.is_full and not item.copy_only:
                yield item, "the next differential backup builds on it"
                break

    def _span(self, days: float | None, what: str) -> Iterable[tuple[StoredSet, str]]:
        """What the moments of the last ``days`` need, and all that was made since."""
        if days is None:
            return
        begin = self._now_ns - _days(days)
        said = f"the {what} of {days:g} day{'' if days == 1 else 's'}"
        for item in self._own:
            if item.finished_ns >= begin:
                yield item, f"within {said}"
        for moment in (begin, *self._chains.edges(begin, self._now_ns)):
            for item in self._chains.leading_to(moment):
                yield item, f"{said} begins with it" if moment == begin else f"a restore in {said} needs it"

    def _generations(self) -> Iterable[tuple[StoredSet, str]]:
        policy = self._policy
        rules: tuple[tuple[str, int, Callable[[dt.datetime], Hashable]], ...] = (
            ("daily", policy.daily, lambda at: at.date()),
            ("weekly", policy.weekly, lambda at: at.isocalendar()[:2]),
            ("monthly", policy.monthly, lambda at: (at.year, at.month)),
            ("yearly", policy.yearly, lambda at: at.year),
        )
        for name, number, period_of in rules:
            last: Hashable = None
            found = 0
            for item in self._points:
                if found == number:
                    break
                period = period_of(self._local(item.finished_ns))
                if period != last:
                    last = period
                    found += 1
                    yield item, f"{name} {found} of {number}"

    def _counted(self) -> Iterable[tuple[StoredSet, str]]:
        """The newest full sets, and all that was made since the oldest of them."""
        number = self._policy.count or 0
        fulls = [item for item in self._points if item.is_full][:number]
        if fulls:
            begin = (fulls[-1].finished_ns, self._own.index(fulls[-1]))
            for place, item in enumerate(self._own):
                if (item.finished_ns, place) >= begin:
                    yield item, f"the newest {number} full backups and what builds on them"

    def _within_size(
        self, hard: Sequence[tuple[StoredSet, str]], soft: list[tuple[StoredSet, str]]
    ) -> list[tuple[StoredSet, str]]:
        """What of ``soft`` stays: the oldest is given up while all together is too large."""
        limit = self._policy.size_bytes
        if limit is None:
            return soft
        fixed = {item.guid for item, _ in hard}
        sizes = {item.guid: item.bytes for item in self._own}
        while soft:
            kept = fixed | {item.guid for item, _ in soft}
            kept |= {item.guid for item, _ in closure(self._own, kept)}
            free = [item for item, _ in soft if item.guid not in fixed]
            if not free or sum(size for guid, size in sizes.items() if guid in kept) <= limit:
                break
            oldest = min(free, key=lambda item: item.finished_ns)
            soft = [(item, reason) for item, reason in soft if item.guid != oldest.guid]
            if oldest.reaches is not None:
                soft = self._without_loose_logs(soft, kept - {oldest.guid})
        return soft

    def _without_loose_logs(
        self, soft: list[tuple[StoredSet, str]], kept: set[UUID]
    ) -> list[tuple[StoredSet, str]]:
        """Without the logs that only led on from what is given up."""
        starts = [item.finished_ns for item in self._points if item.guid in kept]
        begin = min(starts, default=self._now_ns)
        return [
            (item, reason) for item, reason in soft if item.reaches is not None or item.finished_ns >= begin
        ]

    def _local(self, ns: int) -> dt.datetime:
        return dt.datetime.fromtimestamp(ns // _SECOND, self._now.tzinfo)


class _Chains:
    """The ways to a database's moments through the sets of its family, without the live archives: they come
    and go. Of another database of the family only what this one goes on from begins a way, never what
    the other one did since."""

    def __init__(self, sets: Sequence[StoredSet], own: Collection[UUID], forks: Sequence[ForkLine]) -> None:
        readable = [item for item in sets if item.problem is None]
        bases = {item.base_guid for item in readable if item.guid in own}
        self._forks = forks
        self._fulls = sorted(
            (
                (item.reaches, item)
                for item in reversed(readable)
                if item.is_full and item.reaches is not None
                if item.guid in own or item.guid in bases or descends(forks, item.reaches)
            ),
            key=lambda pair: (pair[0].consistent_ns, pair[0].lsn, pair[1].finished_ns),
            reverse=True,
        )
        self._differentials = [
            DifferentialSource(item, item.base_guid, item.reaches)
            for item in readable
            if item.base_guid is not None and item.reaches is not None
            if item.guid in own or descends(forks, item.reaches)
        ]
        self._logs = [_log_source(item) for item in readable if item.log is not None]
        points = [
            item.reaches.through_ns for item in readable if item.reaches is not None and item.guid in own
        ]
        logs = (item for item in readable if item.log is not None and item.guid in own)
        self._end = max([*points, *(_log_source(item).through_ns for item in logs)], default=0)

    def edges(self, begin: int, end: int) -> list[int]:
        """The moments in between from which on another fork is the database's."""
        return sorted({line.created_ns for line in self._forks if begin < line.created_ns <= end})

    def leading_to(self, moment: int) -> list[StoredSet]:
        """What restores the moment, or, where nothing does, the last state before it: of the fork that was
        the database's, and of any."""
        wanted = Moment(time_ns=min(moment, self._end))
        found: list[tuple[bool, int, list[StoredSet]]] = []
        for start, item in self._fulls:
            try:
                plan = find_plan(start, self._differentials, self._logs, self._forks, wanted)
            except TooEarly:
                continue
            used = [item, *_used(plan)]
            if plan.reached:
                return used
            found.append((leads_on(start, self._forks, wanted), _reach(start, plan), used))
        if not found:
            return []
        nearest = max(found, key=lambda way: way[:2])[2]
        return [*nearest, *(item for item in max(found, key=lambda way: way[1])[2] if item not in nearest)]


def _reach(start: Point, plan: Plan[StoredSet]) -> int:
    if plan.logs:
        return plan.logs[-1].source.through_ns
    return start.through_ns if plan.differential is None else plan.differential.reaches.through_ns


def _used(plan: Plan[StoredSet]) -> Iterable[StoredSet]:
    if plan.differential is not None:
        yield plan.differential.place
    for step in plan.logs:
        yield step.source.place


def _log_source(item: StoredSet) -> LogSource[StoredSet]:
    assert item.log is not None
    first, last, first_fork, fork, through, point = item.log
    return LogSource(item, first, last, first_fork, fork, through, point)


def _told(item: StoredSet) -> str:
    at = dt.datetime.fromtimestamp(item.finished_ns // _SECOND)
    return (
        f"of {at:%Y-%m-%d %H:%M:%S}" if item.kind == "differential" else f"the set of {at:%Y-%m-%d %H:%M:%S}"
    )


def _ns(moment: dt.datetime) -> int:
    return round(moment.timestamp() * _SECOND)


def _days(days: float) -> int:
    return round(days * 86400) * _SECOND

"""Retention keeps what is promised, and nothing else."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest

from tdsproxy.agent.policies import Retention
from tdsproxy.agent.retention import Decision, StoredSet, decide
from tdsproxy.backup.plan import DifferentialSource, ForkLine, LogSource, Point, TimeRange, restorable

SECOND = 10**9
DAY = 86400 * SECOND
OWNER = UUID(int=1)
FAMILY = UUID(int=2)
NOTHING = Retention(daily=0, weekly=0, monthly=0, yearly=0)


def at(text: str) -> dt.datetime:
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def ns(moment: dt.datetime) -> int:
    return int(moment.timestamp()) * SECOND


class History:
    """A database that is backed up, with its recovery forks, and what its backup sets are."""

    def __init__(self, begin: dt.datetime, name: str = "shop", owner: UUID = OWNER) -> None:
        self.now_ns = ns(begin)
        self.sets: list[StoredSet] = []
        self.name, self.owner = name, owner
        self.family = UUID(int=owner.int + 1)
        self._number = owner.int * 1_000_000
        self.lsn = 100
        self.log_start = 100
        self.base: StoredSet | None = None
        self.left: tuple[UUID, int] | None = None
        self.forks = [ForkLine(self._guid(), None, None, 0, self.now_ns)]

    def _guid(self) -> UUID:
        self._number += 1
        return UUID(int=self._number)

    @property
    def fork(self) -> UUID:
        return self.forks[-1].fork

    def goes_on(self, nanoseconds: int) -> None:
        self.now_ns += nanoseconds
        self.lsn += 10

    def _add(self, **more: object) -> StoredSet:
        guid = self._guid()
        item = StoredSet(
            guid, self.name, self.owner, self.family, self.now_ns, 100, more.pop("media", None) or guid
        )
        item = replace(item, **more)  # type: ignore[arg-type]
        self.sets.append(item)
        return item

    def full(self, **more: object) -> StoredSet:
        point = Point(self.lsn, self.fork, None, self.now_ns, self.now_ns)
        item = self._add(reaches=point, **more)
        assert item.reaches is not None
        item = replace(item, reaches=replace(item.reaches, base_guid=item.guid))
        self.sets[-1] = item
        if not item.copy_only:
            self.base = item
        return item

    def differential(self, **more: object) -> StoredSet:
        assert self.base is not None
        point = Point(self.lsn, self.fork, self.base.guid, self.now_ns, self.now_ns)
        return self._add(reaches=point, base_guid=self.base.guid, **more)

    def log(self, **more: object) -> StoredSet:
        first, self.log_start = self.log_start, self.lsn
        left, self.left = self.left, None
        first_fork, point = (self.fork, None) if left is None else left
        ranged = (first, self.lsn, first_fork, self.fork, self.now_ns, point)
        return self._add(log=ranged, **more)

    def chain_breaks(self) -> None:
        """Commits are lost to the log: it goes on behind them."""
        self.left = None
        self.lsn += 10
        self.log_start = self.lsn

    def restore_to(self, lsn: int) -> None:
        """A new fork leaves the present one, and its log begins there."""
        self.now_ns += SECOND
        old = self.forks[-1]
        point = max(lsn, old.start_lsn)
        self.lsn += 10
        self.forks.append(ForkLine(self._guid(), old.fork, point, self.lsn, self.now_ns))
        self.left, self.log_start = (old.fork, point), point


def ranges(sets: Iterable[StoredSet], forks: Sequence[ForkLine], now: int) -> list[TimeRange[StoredSet]]:
    """What can be restored with these sets."""
    readable = list(sets)
    fulls = [(item.reaches, item) for item in readable if item.is_full and item.reaches is not None]
    changes = [
        DifferentialSource(item, item.base_guid, item.reaches)
        for item in readable
        if item.base_guid is not None and item.reaches is not None
    ]
    logs = [
        LogSource(item, item.log[0], item.log[1], item.log[2], item.log[3], item.log[4], item.log[5])
        for item in readable
        if item.log is not None
    ]
    return restorable(fulls, changes, logs, forks, now)


def promised(
    sets: Iterable[StoredSet], forks: Sequence[ForkLine], begin: int, now: int
) -> list[tuple[int, int]]:
    """The moments of a window that can be restored."""
    return [
        (max(begin, item.start_ns), item.end_ns) for item in ranges(sets, forks, now) if item.end_ns >= begin
    ]


def kept(decisions: Iterable[Decision]) -> list[StoredSet]:
    return [item.set for item in decisions if item.keep]


def dates(decisions: Iterable[Decision]) -> list[str]:
    stamps = [dt.datetime.fromtimestamp(item.finished_ns / SECOND, dt.UTC) for item in kept(decisions)]
    return [f"{stamp:%Y-%m-%d}" for stamp in stamps]


def run(history: History, policy: Retention | None, now: dt.datetime) -> list[Decision]:
    return decide(history.sets, {history.owner: history.forks}, lambda name: policy, now)


def daily_fulls(begin: str, end: str) -> History:
    history = History(at(begin))
    while history.now_ns <= ns(at(end)):
        history.full()
        history.goes_on(DAY)
    return history


def test_the_default_table_keeps_exactly_seven_four_twelve_and_seven() -> None:
    history = daily_fulls("2017-01-01 02:00", "2026-11-22 02:00")
    assert dates(run(history, Retention(), at("2026-11-22 12:00"))) == [
        "2020-12-31", "2021-12-31", "2022-12-31", "2023-12-31", "2024-12-31",
        "2025-12-31", "2026-01-31", "2026-02-28", "2026-03-31", "2026-04-30", "2026-05-31", "2026-06-30",
        "2026-07-31", "2026-08-31", "2026-09-30", "2026-10-31",
        "2026-11-01", "2026-11-08", "2026-11-15",
        "2026-11-16", "2026-11-17", "2026-11-18", "2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22",
    ]  # fmt: skip


def test_the_default_table_day_by_day_ends_with_the_same_sets() -> None:
    history = History(at("2017-01-01 02:00"))
    everything: list[StoredSet] = []
    while history.now_ns <= ns(at("2019-03-05 02:00")):
        everything.append(history.full())
        now = dt.datetime.fromtimestamp(history.now_ns / SECOND, dt.UTC)
        history.sets = kept(run(history, Retention(), now))
        history.goes_on(DAY)
    at_once = daily_fulls("2017-01-01 02:00", "2019-03-05 02:00")
    assert dates(run(at_once, Retention(), at("2019-03-05 02:00"))) == [
        f"{dt.datetime.fromtimestamp(item.finished_ns / SECOND, dt.UTC):%Y-%m-%d}" for item in history.sets
    ]


def test_generations_stay_when_backups_stop_coming() -> None:
    history = daily_fulls("2024-01-01 02:00", "2024-03-10 02:00")
    then = dates(run(history, Retention(), at("2024-03-10 12:00")))
    assert dates(run(history, Retention(), at("2026-01-01 12:00"))) == then


def test_a_kept_differential_keeps_its_base() -> None:
    history = History(at("2026-01-04 02:00"))
    base = history.full()
    history.goes_on(DAY)
    change = history.differential()
    history.goes_on(DAY)
    history.full()
    policy = replace(NOTHING, daily=2)
    found = {item.set.guid: item for item in run(history, policy, at("2026-01-06 12:00"))}
    assert all(item.keep for item in found.values())
    assert found[base.guid].reasons == ("the differential of 2026-01-05 02:00:00 builds on it",)
    assert found[change.guid].reasons == ("daily 2 of 2",)


def test_what_the_next_differential_builds_on_stays_behind_copies() -> None:
    history = History(at("2026-01-04 02:00"))
    base = history.full()
    history.goes_on(DAY)
    copy = history.full(copy_only=True)
    found = {item.set.guid: item for item in run(history, NOTHING, at("2026-01-06 12:00"))}
    assert found[base.guid].reasons == ("the next differential backup builds on it",)
    assert found[copy.guid].keep


def test_sets_on_one_medium_go_together() -> None:
    history = History(at("2026-01-04 02:00"))
    for media in ("a", "a", "b"):
        history.full(media=media)
        history.goes_on(DAY)
    assert [item.keep for item in run(history, NOTHING, at("2026-01-08 12:00"))] == [False, False, True]
    history.sets[1] = replace(history.sets[1], expires_ns=ns(at("2026-02-01 00:00")))
    decisions = run(history, NOTHING, at("2026-01-08 12:00"))
    assert [item.keep for item in decisions] == [True, True, True]
    assert decisions[0].reasons == ("it shares its media with the set of 2026-01-05 02:00:00",)
    assert decisions[1].reasons == ("its expiration date is 2026-02-01 00:00",)


def test_a_restore_back_keeps_what_the_new_fork_hangs_on() -> None:
    history = History(at("2026-01-01 02:00"))
    history.full()
    logs = []
    for _ in range(3):
        history.goes_on(DAY)
        logs.append(history.log())
    history.goes_on(DAY)
    history.full()
    history.goes_on(DAY)
    history.log()
    assert logs[1].log is not None
    history.restore_to(logs[1].log[1])
    history.goes_on(DAY)
    history.log()
    history.goes_on(DAY // 4)
    history.full()
    now = dt.datetime.fromtimestamp(history.now_ns / SECOND, dt.UTC)
    decisions = run(history, replace(NOTHING, window_days=1.5), now)
    # From the first full set through two logs to the point where the new fork begins.
    assert [item.keep for item in decisions] == [True, True, True, False, True, True, True, True]


def copy_of(history: History, base: StoredSet) -> History:
    """A full set of ``history`` restored under another name, without a log: no forks are noted."""
    copy = History(dt.datetime.fromtimestamp(history.now_ns / SECOND, dt.UTC), "copy", UUID(int=70))
    copy.family, copy.base, copy.lsn = history.family, base, history.lsn
    return copy


def test_backups_of_a_restored_copy_stand_in_for_none_of_the_original() -> None:
    history = History(at("2026-01-01 02:00"))
    first = history.full()
    copy = copy_of(history, first)
    copy.goes_on(3 * DAY)
    copy.full()
    history.goes_on(10 * DAY)
    history.full()
    sets = [*history.sets, *copy.sets]
    sets.sort(key=lambda item: item.finished_ns)
    decisions = decide(sets, {}, lambda name: replace(NOTHING, window_days=5), at("2026-01-12 02:00"))
    assert {item.set.guid for item in decisions if item.keep} == {item.guid for item in sets}


def test_the_log_of_a_copy_does_not_hang_on_later_backups_of_the_original() -> None:
    history = History(at("2026-01-01 02:00"))
    first = history.full()
    assert first.reaches is not None
    copy = copy_of(history, first)
    copy.forks = [ForkLine(copy.fork, history.fork, first.reaches.lsn, history.lsn, history.now_ns + SECOND)]
    copy.left, copy.log_start = (history.fork, first.reaches.lsn), first.reaches.lsn
    for _ in range(10):
        for work in (history.full, history.log):
            history.goes_on(DAY // 2)
            work()
        copy.goes_on(DAY)
        copy.log()
    sets = [*history.sets, *copy.sets]
    forks = {history.owner: history.forks, copy.owner: copy.forks}
    decisions = decide(sets, forks, lambda name: replace(NOTHING, window_days=3), at("2026-01-11 03:00"))
    present = {item.set.guid for item in decisions if item.keep}
    assert first.guid in present
    assert all(item.guid in present for item in copy.sets)


def test_after_a_restore_without_a_log_the_newest_state_stays() -> None:
    """An old full set was restored, and differentials build on it, not on the one that is newer."""
    history = History(at("2026-01-01 02:00"))
    first = history.full()
    history.goes_on(4 * DAY)
    history.full()
    history.base = first
    history.forks = [ForkLine(UUID(int=99), None, None, 0, 0)]
    history.goes_on(DAY)
    last = history.differential()
    decisions = decide(history.sets, {}, lambda name: replace(NOTHING, window_days=3), at("2026-02-01 02:00"))
    assert {first.guid, last.guid} <= {item.set.guid for item in decisions if item.keep}


def test_what_the_next_differential_builds_on_is_what_the_database_says() -> None:
    history = daily_fulls("2026-01-01 02:00", "2026-01-10 02:00")
    restored = history.sets[2]
    policy = replace(NOTHING, count=1)
    decisions = decide(history.sets, {}, lambda name: policy, at("2026-01-10 12:00"), {restored.guid})
    assert [item.set.guid for item in decisions if item.keep] == [restored.guid, history.sets[-1].guid]


def test_the_begin_of_a_window_is_on_the_fork_that_was_the_databases() -> None:
    """Between a restore back and the next full set there is a differential only."""
    history = History(at("2026-01-01 02:00"))
    first = history.full()
    history.goes_on(4 * DAY)
    history.full()
    history.base = first
    assert first.reaches is not None
    history.restore_to(first.reaches.lsn)
    history.goes_on(DAY)
    middle = history.differential()
    history.goes_on(10 * DAY)
    history.full()
    decisions = run(history, replace(NOTHING, window_days=5), at("2026-01-16 12:00"))
    assert {first.guid, middle.guid} <= {item.set.guid for item in decisions if item.keep}


def test_without_a_policy_all_stays() -> None:
    history = daily_fulls("2020-01-01 02:00", "2020-02-01 02:00")
    decisions = run(history, None, at("2026-01-01 00:00"))
    assert {item.reasons for item in decisions} == {("no policy covers its database",)}


def test_what_cannot_be_read_stays() -> None:
    history = daily_fulls("2020-01-01 02:00", "2020-01-05 02:00")
    history.sets[0] = replace(history.sets[0], problem="its media can't be read")
    first, *others = run(history, NOTHING, at("2026-01-01 00:00"))
    assert first.keep
    assert first.reasons == ("its media can't be read",)
    assert [item.keep for item in others] == [False, False, False, True]


def test_count_and_age() -> None:
    history = daily_fulls("2026-01-01 02:00", "2026-01-20 02:00")
    now = at("2026-01-20 12:00")
    assert dates(run(history, replace(NOTHING, count=3), now)) == ["2026-01-18", "2026-01-19", "2026-01-20"]
    # The moment two days ago is restored from the backup before it.
    by_age = dates(run(history, replace(NOTHING, age_days=2), now))
    assert by_age == ["2026-01-18", "2026-01-19", "2026-01-20"]


def test_size_gives_up_the_oldest_but_never_the_window() -> None:
    history = daily_fulls("2026-01-01 02:00", "2026-01-20 02:00")
    now = at("2026-01-20 12:00")
    policy = Retention(size_bytes=500)
    assert dates(run(history, policy, now)) == [f"2026-01-{day}" for day in (16, 17, 18, 19, 20)]
    window = replace(policy, size_bytes=100, window_days=2)
    assert dates(run(history, window, now)) == ["2026-01-18", "2026-01-19", "2026-01-20"]
    assert dates(run(history, replace(policy, size_bytes=0), now)) == ["2026-01-20"]


def test_archive_tier_is_for_what_is_old() -> None:
    history = daily_fulls("2026-01-01 02:00", "2026-01-20 02:00")
    decisions = run(history, Retention(archive_after_days=10), at("2026-01-20 12:00"))
    assert dates(item for item in decisions if item.archive) == ["2026-01-04"]


def scenario(
    seed: int,
    days: int,
    policy: Retention,
    each: int = 1,
    restores: float = 0.01,
    hours_between: Sequence[int] = (3, 6, 12),
) -> None:
    """Random work with retention each day; each promise is checked each day, and each ``each`` days whether
    something stays that needn't."""
    chance = random.Random(seed)
    history = History(at("2021-01-01 00:00"))
    everything = Generations(policy)
    hours = chance.choice(hours_between)
    full_each = chance.choice([1, 3, 7])
    for day in range(days):
        outage = chance.random() < 0.03
        for hour in range(0, 24, hours):
            history.goes_on(hours * 3600 * SECOND + chance.randrange(60) * SECOND)
            before = len(history.sets)
            if outage:
                continue
            if hour == 0 and (day % full_each == 0 or history.base is None):
                history.full()
            elif hour == 0 and chance.random() < 0.8:
                history.differential()
            elif chance.random() < 0.9:
                history.log()
            if chance.random() < 0.01:
                history.full(copy_only=True)
            if chance.random() < 0.01:
                history.chain_breaks()
            everything.note(history.sets[before:])
            if chance.random() < restores and history.sets:
                history.restore_to(history.lsn - chance.randrange(200))
                if chance.random() < 0.5:
                    history.goes_on(SECOND)
                    history.full()
                    everything.note(history.sets[-1:])
        now = dt.datetime.fromtimestamp(history.now_ns / SECOND, dt.UTC)
        decisions = run(history, policy, now)
        begin = history.now_ns - int((policy.window_days or 0) * DAY)
        before_ranges = promised(history.sets, history.forks, begin, history.now_ns)
        survivors = kept(decisions)
        assert promised(survivors, history.forks, begin, history.now_ns) == before_ranges
        wanted = everything.wanted()
        present = {item.guid for item in survivors}
        assert wanted <= present, f"day {day}"
        if day % each == 0:
            needless(decisions, wanted, history, begin)
        history.sets = survivors


class Generations:
    """The restore points that grandfather, father and son keep, straightforwardly, of all that ever were."""

    def __init__(self, policy: Retention) -> None:
        self._rules: list[tuple[int, str, dict[str, UUID]]] = [
            (policy.daily, "%Y-%m-%d", {}),
            (policy.weekly, "%G-%V", {}),
            (policy.monthly, "%Y-%m", {}),
            (policy.yearly, "%Y", {}),
        ]

    def note(self, sets: Iterable[StoredSet]) -> None:
        for item in sets:
            if item.reaches is not None:
                stamp = dt.datetime.fromtimestamp(item.finished_ns / SECOND, dt.UTC)
                for _, form, newest in self._rules:
                    newest[stamp.strftime(form)] = item.guid

    def wanted(self) -> set[UUID]:
        return {newest[period] for number, _, newest in self._rules for period in sorted(newest)[-number:]}


def needless(decisions: Sequence[Decision], wanted: set[UUID], history: History, begin: int) -> None:
    """Of what is kept beyond generations and window, each is needed: without it a promise were broken."""
    survivors = kept(decisions)
    why = {item.set.guid: item.reasons for item in decisions}
    bases = {item.base_guid for item in survivors}
    whole = promised(survivors, history.forks, begin, history.now_ns)
    newest = max((item.finished_ns for item in survivors if item.is_full), default=0)
    last = ranges(survivors, history.forks, history.now_ns)[-1:]
    for item in survivors:
        if item.guid in wanted or item.guid in bases or item.finished_ns >= begin:
            continue
        if item.is_full and (item.finished_ns == newest or item is history.base):
            continue
        without = [other for other in survivors if other is not item]
        same = promised(without, history.forks, begin, history.now_ns) == whole
        same = same and ranges(without, history.forks, history.now_ns)[-1:] == last
        if same:
            # Another way leads there, too: then it is one of those that go from the newest start.
            now = dt.datetime.fromtimestamp(history.now_ns / SECOND, dt.UTC)
            alone = replace(NOTHING, window_days=(history.now_ns - begin) / DAY)
            needed = {need.guid for need in kept(run(history, alone, now))}
            assert item.guid in needed, why[item.guid]


@pytest.mark.parametrize("seed", [1, 2])
def test_random_histories(seed: int) -> None:
    scenario(seed, 40, Retention(window_days=5, daily=4, weekly=2, monthly=2))


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("seed", [11])
def test_random_histories_of_five_years(seed: int) -> None:
    scenario(seed, 5 * 365, Retention(window_days=7), each=30, restores=0.001, hours_between=(12,))

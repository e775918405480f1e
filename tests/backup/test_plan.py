"""The way to a moment, on random histories: a model of what each step does is the judge."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsproxy.backup.plan import (
    DifferentialSource,
    ForkLine,
    LogSource,
    LogStep,
    Moment,
    Plan,
    Point,
    TooEarly,
    find_plan,
    restorable,
)

BASE = UUID(int=999)


@dataclass(frozen=True)
class Commit:
    lsn: int
    ns: int
    fork: UUID


@dataclass
class World:
    """A database's life: commits, backups, restores to earlier points, with one clock and one LSN counter."""

    random: random.Random
    lsn: int = 100
    ns: int = 1000
    commits: list[Commit] = field(default_factory=list)
    forks: list[ForkLine] = field(default_factory=list)
    logs: list[LogSource[str]] = field(default_factory=list)
    differentials: list[DifferentialSource[str]] = field(default_factory=list)
    start: Point | None = None
    # Where the next log backup begins, on which fork, and where that one was left for the present one.
    log_lsn: int = 100
    log_fork: UUID = BASE
    log_point: int | None = None
    # The live archive of each fork: where it begins and, once the fork was left, when and where it ended.
    archives: dict[UUID, tuple[int, int | None, int | None]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.forks.append(ForkLine(UUID(int=1), None, None, self.lsn, 0))
        self.log_fork = self.fork
        self.archives[self.fork] = (self.lsn, None, None)

    @property
    def fork(self) -> UUID:
        return self.forks[-1].fork

    def tick(self) -> int:
        self.ns += self.random.randrange(1, 4)
        return self.ns

    def commit(self) -> None:
        self.commits.append(Commit(self.lsn, self.tick(), self.fork))
        self.lsn += self.random.randrange(1, 4)

    def line(self, fork: UUID) -> ForkLine:
        return next(line for line in self.forks if line.fork == fork)

    def held(self, lsn: int, fork: UUID) -> list[Commit]:
        """What a state holds: the commits before ``lsn`` on the fork and its ancestors."""
        found: list[Commit] = []
        limit: int | None = lsn
        current: UUID | None = fork
        while current is not None:
            line = self.line(current)
            found += [c for c in self.commits if c.fork == current and (limit is None or c.lsn < limit)]
            current, limit = line.parent, line.point_lsn
        return sorted(found, key=lambda commit: commit.lsn)

    def point(self) -> Point:
        held = self.held(self.lsn, self.fork)
        return Point(self.lsn, self.fork, BASE, held[-1].ns if held else 0, self.tick())

    def differential(self) -> None:
        self.differentials.append(DifferentialSource(f"diff {len(self.differentials)}", BASE, self.point()))

    def log_backup(self) -> None:
        # The clock may have gone on since the last commit when the log was captured to its end.
        through = self.tick()
        self.logs.append(
            LogSource(
                f"log {len(self.logs)}",
                self.log_lsn,
                self.lsn,
                self.log_fork,
                self.fork,
                through,
                self.log_point,
            )
        )
        if self.random.random() < 0.8:
            # Else it was copy-only.
            self.log_lsn, self.log_fork, self.log_point = self.lsn, self.fork, None

    def restore(self) -> None:
        """To a point that the present fork, or an ancestor of it, went through; the base stays."""
        assert self.start is not None
        held = [c for c in self.held(self.lsn, self.fork) if c.lsn >= self.start.lsn]
        if not held:
            return
        last = self.random.choice(held)
        after = [c.lsn for c in self.held(self.lsn, self.fork) if c.lsn > last.lsn]
        line = self.line(last.fork)
        del line
        point = min(after, default=self.lsn)
        # The next commit may lie on a later fork: its point is where the state ends on this one.
        for item in self.forks:
            if item.parent == last.fork and item.point_lsn is not None and item.point_lsn > last.lsn:
                point = min(point, item.point_lsn)
        left_at = self.tick()
        begin, _, _ = self.archives[self.fork]
        self.archives[self.fork] = (begin, self.lsn, left_at)
        self.lsn += 1
        self.forks.append(ForkLine(UUID(int=len(self.forks) + 1), last.fork, point, self.lsn, left_at))
        self.archives[self.fork] = (self.lsn, None, None)
        self.log_lsn, self.log_fork, self.log_point = point, last.fork, point

    def live(self) -> Iterator[LogSource[str]]:
        """The archives; that of a fork begins where the fork was left its parent."""
        for fork, (begin, end, left_at) in self.archives.items():
            line = self.line(fork)
            through = left_at if left_at is not None else self.ns
            last = end if end is not None else self.lsn
            if line.point_lsn is None or line.parent is None:
                yield LogSource(f"archive {fork.int}", begin, last, fork, fork, through, None, True)
            else:
                yield LogSource(
                    f"archive {fork.int}",
                    line.point_lsn,
                    last,
                    line.parent,
                    fork,
                    through,
                    line.point_lsn,
                    True,
                )


def grow(seed: int) -> World:
    world = World(random.Random(seed))
    for _ in range(world.random.randrange(4)):
        world.commit()
    world.start = world.point()
    kinds = ["commit", "commit", "commit", "commit", "log", "differential", "restore"]
    for _ in range(world.random.randrange(2, 40)):
        kind = world.random.choice(kinds)
        if kind == "commit":
            world.commit()
        elif kind == "log":
            world.log_backup()
        elif kind == "differential":
            world.differential()
        else:
            world.restore()
    world.tick()
    return world


def expected(world: World, moment: int) -> list[Commit]:
    """What the database held at that time: the state of the fork that it was on, up to then."""
    assert world.start is not None
    line = max((line for line in world.forks if line.created_ns <= moment), key=lambda item: item.created_ns)
    return [c for c in world.held(1 << 60, line.fork) if c.ns <= moment]


def carry_out(world: World, plan: Plan[str], moment: int) -> list[Commit]:
    """What a restore holds that follows the plan; fails where a step cannot be applied."""
    assert world.start is not None
    state = plan.differential.reaches if plan.differential is not None else world.start
    held, lsn, fork = world.held(state.lsn, state.fork), state.lsn, state.fork
    assert all(commit.ns <= moment for commit in held)
    for number, step in enumerate(plan.logs):
        source = step.source
        assert step.first_lsn == lsn
        assert source.first_lsn <= lsn <= source.last_lsn
        point = source.fork_point_lsn
        begins_on = source.fork if point is None or lsn >= point else source.first_fork
        crosses = point is not None and lsn <= point
        assert fork == begins_on or (crosses and fork == source.first_fork)
        until = source.last_lsn if step.until_lsn is None else step.until_lsn
        inside = [
            c
            for c in world.commits
            if lsn <= c.lsn < until
            and (c.fork == source.fork and (point is None or c.lsn >= point))
            | (c.fork == source.first_fork and (point is None or c.lsn < point))
        ]
        applied = [c for c in inside if c.ns <= moment]
        if number < len(plan.logs) - 1:
            assert applied == inside
        held += applied
        lsn = until
        if point is None or lsn > point:
            fork = source.fork
    return held


@settings(max_examples=150, deadline=None)
@given(seed=st.integers(0, 10**9), share=st.floats(0, 1), lost=st.floats(0, 1))
def test_the_way_leads_to_what_was_there(seed: int, share: float, lost: float) -> None:
    world = grow(seed)
    assert world.start is not None
    moment = world.start.consistent_ns + int(share * (world.ns - world.start.consistent_ns))
    everything = [*world.logs, *world.live()]
    complete = find_plan(world.start, world.differentials, everything, world.forks, Moment(time_ns=moment))
    assert complete.reached
    assert carry_out(world, complete, moment) == expected(world, moment)
    # Whatever is missing, what a plan says that it reaches is right.
    kept = [source for source in everything if world.random.random() > lost]
    found = find_plan(world.start, world.differentials, kept, world.forks, Moment(time_ns=moment))
    held = carry_out(world, found, moment)
    wanted = expected(world, moment)
    if found.reached:
        assert held == wanted
    else:
        assert held == wanted[: len(held)]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**9), lost=st.floats(0, 1))
def test_a_moment_lies_in_a_range_exactly_when_something_leads_there(seed: int, lost: float) -> None:
    world = grow(seed)
    assert world.start is not None
    kept = [source for source in (*world.logs, *world.live()) if world.random.random() > lost]
    ranges = restorable([(world.start, "full")], world.differentials, kept, world.forks, world.ns)
    assert all(a.end_ns + 1 < b.start_ns for a, b in itertools.pairwise(ranges))
    for moment in range(world.start.consistent_ns, world.ns + 1):
        reached = find_plan(
            world.start, world.differentials, kept, world.forks, Moment(time_ns=moment)
        ).reached
        assert reached == any(item.start_ns <= moment <= item.end_ns for item in ranges), moment


def test_before_the_full_backup_nothing_leads() -> None:
    start = Point(100, UUID(int=1), BASE, 50, 60)
    with pytest.raises(TooEarly):
        find_plan(start, [], [], [], Moment(time_ns=49))
    with pytest.raises(TooEarly):
        find_plan(start, [], [], [], Moment(lsn=99))
    for moment in (50, 60):
        assert find_plan(start, [], [], [], Moment(time_ns=moment)) == Plan(None, (), True)
    assert find_plan(start, [], [], [], Moment(time_ns=61)) == Plan(None, (), False)


def test_sets_before_the_archive_and_a_differential_first() -> None:
    fork = UUID(int=1)
    start = Point(100, fork, BASE, 50, 60)
    near = DifferentialSource("near", BASE, Point(180, fork, BASE, 78, 79))
    other = DifferentialSource("other", UUID(int=5), Point(190, fork, UUID(int=5), 80, 81))
    late = DifferentialSource("late", BASE, Point(300, fork, BASE, 200, 201))
    first = LogSource("first", 90, 150, fork, fork, 70)
    second = LogSource("second", 150, 250, fork, fork, 90)
    live = LogSource("live", 90, 400, fork, fork, 500, None, True)
    sources = [live, second, first]
    plan = find_plan(start, [late, other, near], sources, [], Moment(time_ns=85))
    assert plan == Plan(near, (LogStep(second, 180),), True)
    assert find_plan(start, [], sources, [], Moment(time_ns=65)).logs == (LogStep(first, 100),)
    assert find_plan(start, [], [first, second], [], Moment(lsn=249)) == Plan(
        None, (LogStep(first, 100), LogStep(second, 150)), True
    )
    assert not find_plan(start, [], [first, second], [], Moment(lsn=250)).reached
    assert find_plan(start, [near], sources, [], Moment(time_ns=450)).logs == (LogStep(live, 180),)
    # A gap before the second: the differential leads over it.
    assert find_plan(start, [near], [second], [], Moment(time_ns=90)).reached
    assert find_plan(start, [], [second], [], Moment(time_ns=90)) == Plan(None, (), False)


def test_a_later_stop_on_the_fork_that_was_left() -> None:
    """Restored at 100 to LSN 150: times before 100 lie on the old fork, though the new one begins before."""
    old, new = UUID(int=1), UUID(int=2)
    start = Point(100, old, BASE, 10, 11)
    forks = [ForkLine(old, None, None, 1, 0), ForkLine(new, old, 150, 300, 100)]
    archive = LogSource("old", 50, 290, old, old, 100, None, True)
    fresh = LogSource("new", 150, 400, old, new, 200, 150, True)
    assert find_plan(start, [], [archive, fresh], forks, Moment(time_ns=99)).logs == (LogStep(archive, 100),)
    assert find_plan(start, [], [archive, fresh], forks, Moment(time_ns=130)).logs == (
        LogStep(archive, 100, 150),
        LogStep(fresh, 150),
    )
    assert find_plan(start, [], [archive, fresh], forks, Moment(lsn=310)).reached
    assert find_plan(start, [], [archive, fresh], forks, Moment(lsn=280)).logs == (LogStep(archive, 100),)

"""What must be true of databases and media after a kill: the expectations, and the comparison. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.campaigns.outcome import check

INFINITY = float("inf")


@dataclass(frozen=True, slots=True)
class Span:
    """How many commits of a writer must at least and can at most be there."""

    low: int
    high: int


@dataclass(frozen=True, slots=True)
class BankContent:
    """A state of the database that is never restored over: by writer, its commits."""

    spans: dict[int, Span]


@dataclass(frozen=True, slots=True)
class VictimContent:
    """A state of the database that is restored over: its version, and the numbered commits in it."""

    version: int
    late: frozenset[int]


@dataclass(frozen=True, slots=True)
class SetRecord:
    """A backup set, known by its unique ``label``."""

    label: str
    database: str
    content: BankContent | VictimContent


@dataclass
class Medium:
    """A file of backup sets. ``possible`` are the lists of sets that it may hold, as far as is known."""

    name: str
    possible: list[list[SetRecord]] = field(default_factory=lambda: [[]])

    @property
    def sets(self) -> list[SetRecord]:
        (known,) = self.possible
        return known

    def begin(self, new: SetRecord, *, replaces: bool) -> None:
        """A backup has begun: until its end is known the medium may hold it or not."""
        known = self.sets
        self.possible = [known, [new] if replaces else [*known, new]]

    def acknowledged(self) -> None:
        self.possible = self.possible[-1:]

    def seen(self, labels: Sequence[str]) -> None:
        """HEADERONLY's answer decides. Raises Violation when it is none of what may be there."""
        for candidate in self.possible:
            if [record.label for record in candidate] == list(labels):
                self.possible = [candidate]
                return
        expected = " or ".join(str([record.label for record in candidate]) for candidate in self.possible)
        check(False, f"{self.name} holds {list(labels)} instead of {expected}")


@dataclass(slots=True)
class Commit:
    """One numbered commit and when, by the client's clock; ``ended`` None was never acknowledged."""

    number: int
    began: float
    ended: float | None = None


@dataclass(frozen=True, slots=True)
class RestoreAttempt:
    """A restore over the database; ``ended`` None was never acknowledged."""

    content: VictimContent
    began: float
    ended: float | None


def check_victim(
    before: VictimContent,
    commits: Sequence[Commit],
    attempt: RestoreAttempt | None,
    found: VictimContent,
) -> None:
    """Whether ``found`` is what can have become of ``before`` after the commits and the restore.

    Raises Violation.
    """
    problems = []
    if attempt is None or attempt.ended is None:
        problem = _kept(before, commits, found)
        if problem is None:
            return
        problems.append(f"as not restored: {problem}")
    if attempt is not None:
        problem = _restored(commits, attempt, found)
        if problem is None:
            return
        problems.append(f"as restored: {problem}")
    check(False, "the database restored over is neither old nor new: " + "; ".join(problems))


def _kept(before: VictimContent, commits: Sequence[Commit], found: VictimContent) -> str | None:
    if found.version != before.version:
        return f"version {found.version} instead of {before.version}"
    acknowledged = {commit.number for commit in commits if commit.ended is not None}
    missing = (before.late | acknowledged) - found.late
    if missing:
        return f"acknowledged commits {_some(missing)} are missing"
    extra = found.late - before.late - {commit.number for commit in commits}
    return f"commits {_some(extra)} came back" if extra else None


def _restored(commits: Sequence[Commit], attempt: RestoreAttempt, found: VictimContent) -> str | None:
    if found.version != attempt.content.version:
        return f"version {found.version} instead of {attempt.content.version}"
    missing = attempt.content.late - found.late
    if missing:
        return f"commits {_some(missing)} of the backup are missing"
    after = found.late - attempt.content.late
    known = {commit.number for commit in commits}
    if not after <= known:
        return f"commits {_some(after - known)} survived the restore"
    cut = min(after, default=None)
    for commit in commits:
        there = commit.number in after
        acknowledged = commit.ended is not None
        if there and acknowledged and commit.ended < attempt.began:  # type: ignore[operator]
            return f"commit {commit.number} of before the restore is still there"
        if not there and acknowledged and commit.began > (attempt.ended or INFINITY):
            return f"commit {commit.number} of after the restore is missing"
        if not there and acknowledged and cut is not None and commit.number > cut:
            return f"commit {commit.number} is missing between others"
    return None


def _some(numbers: frozenset[int] | set[int]) -> str:
    listed = sorted(numbers)
    return f"{listed[:5]}{' ...' if len(listed) > 5 else ''}"


def check_chain(sets: Sequence[dict[str, Any]], what: str) -> None:
    """Log backups in their order, as HEADERONLY's rows: each begins where an earlier one ended, or before.

    Raises Violation.
    """
    end = sets[0]["LastLSN"] if sets else 0
    for row in sets[1:]:
        check(
            row["FirstLSN"] <= end,
            f"{what}: {row['BackupName']} begins at {row['FirstLSN']}, those before it end at {end}",
        )
        end = max(end, row["LastLSN"])


def check_spans(found: dict[int, tuple[int, int, int]], content: BankContent, what: str) -> None:
    """``found`` is (count, lowest, highest) of each writer's numbers. Raises Violation."""
    for writer, span in content.spans.items():
        count, low, high = found.get(writer, (0, 1, 0))
        check(low == 1 and high == count, f"{what}: writer {writer} has {count} of {low}..{high}")
        check(
            span.low <= count <= span.high,
            f"{what}: writer {writer} has {count} commits instead of {span.low} to {span.high}",
        )

"""What a campaign is given and what it ends in."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field


class Violation(Exception):
    """Something that must hold did not."""


def check(condition: bool, what: str) -> None:
    """Raises Violation with ``what`` when the condition does not hold."""
    if not condition:
        raise Violation(what)


@dataclass(frozen=True, slots=True)
class Plan:
    """``cases`` to run within ``seconds``; the same ``seed`` makes the same choices. ``share`` is the part
    (0 to 1] of the campaign's full size that this run is."""

    cases: int
    share: float
    seconds: float
    seed: int


@dataclass
class Tally:
    """What was done and seen, by name, and what was violated."""

    counts: Counter[str] = field(default_factory=Counter)
    highest: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def add(self, name: str, count: int = 1) -> None:
        self.counts[name] += count

    def peak(self, name: str, value: float) -> None:
        self.highest[name] = max(value, self.highest.get(name, value))

    def violated(self, what: str) -> None:
        self.violations.append(what)
        print(f"VIOLATION: {what}", flush=True)

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    def closing_line(self, name: str, seed: int) -> str:
        parts = [f"{count} {what}" for what, count in self.counts.items()]
        parts += [f"{what} at most {value:.4g}" for what, value in self.highest.items()]
        parts += [f"{len(self.violations)} violations", f"{self.seconds:.0f} s", f"seed {seed}"]
        return f"{name}: " + ", ".join(parts)

"""What the benches note for ``scripts/bench all``: a line of JSON per figure, in the file that the
environment names."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

FILE: Final = "TDSPROXY_BENCH_FIGURES"


@dataclass(frozen=True, slots=True)
class Figure:
    """``goal`` None: there is none. ``at_most``: less is better."""

    bench: str
    name: str
    value: float
    unit: str
    goal: float | None = None
    at_most: bool = True
    detail: str = ""

    @property
    def met(self) -> bool | None:
        if self.goal is None:
            return None
        return self.value <= self.goal if self.at_most else self.value >= self.goal


def note(
    bench: str,
    name: str,
    value: float,
    unit: str = "x",
    goal: float | None = None,
    *,
    at_most: bool = True,
    detail: str = "",
) -> None:
    """Remember a figure, if anybody collects them."""
    path = os.environ.get(FILE)
    if path:
        figure = Figure(bench, name, value, unit, goal, at_most, detail)
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(figure)) + "\n")


def read(path: Path) -> list[Figure]:
    """The figures noted in ``path``, in their order."""
    if not path.exists():
        return []
    return [Figure(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines()]

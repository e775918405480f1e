from __future__ import annotations

import threading
from collections.abc import Generator

import pytest

from tdsproxy.commands.progress import Report, run_with_progress


def collect(steps: list[tuple[int, int]], stats: int) -> list[int]:
    def operation(report: Report) -> str:
        for done, total in steps:
            report(done, total)
        return "result"

    told = []
    result = []

    def consume() -> Generator[int, None, None]:
        result.append((yield from run_with_progress(operation, stats, threading.Event())))

    told.extend(consume())
    assert result == ["result"]
    return told


@pytest.mark.parametrize(
    ("steps", "stats", "told"),
    [
        ([(0, 10), (10, 10)], 50, [50, 100]),
        ([(0, 0)], 50, [50, 100]),
        ([(n, 100) for n in range(101)], 10, [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]),
        ([(n, 100) for n in range(101)], 30, [30, 60, 90, 100]),
        ([(n, 7) for n in range(8)], 100, [100]),
        ([(1, 2), (1, 2), (2, 2)], 25, [25, 50, 75, 100]),
    ],
)
def test_each_multiple_is_told_once(steps: list[tuple[int, int]], stats: int, told: list[int]) -> None:
    assert collect(steps, stats) == told


def test_a_failure_is_raised_where_the_steps_are_read() -> None:
    def operation(report: Report) -> None:
        report(1, 2)
        raise OSError("full")

    steps = run_with_progress(operation, 50, threading.Event())
    assert next(steps) == 50
    with pytest.raises(OSError, match="full"):
        next(steps)


def test_closing_stops_the_operation() -> None:
    cancelled = threading.Event()
    ended = threading.Event()

    def operation(report: Report) -> None:
        report(1, 2)
        assert cancelled.wait(60)
        ended.set()

    steps = run_with_progress(operation, 50, cancelled)
    next(steps)
    steps.close()
    assert ended.is_set()

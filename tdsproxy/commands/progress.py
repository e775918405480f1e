"""Long operations that report how far they are: the work in a thread, its percentages as a stream."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

from tdsproxy.commands.context import Context
from tdsproxy.tsql.replies import Reply

T = TypeVar("T")

Report = Callable[[int, int], None]
"""Called with (done, total)."""


class _Outcome(Generic[T]):
    def __init__(self) -> None:
        self.result: T | None = None
        self.error: BaseException | None = None


def run_with_progress(
    operation: Callable[[Report], T], stats: int | None, cancelled: threading.Event
) -> Generator[int, None, T]:
    """Yields each multiple of ``stats`` percent as it is reached, the last one 100, and returns what
    ``operation`` returns. Raises what it raises.

    The operation must end soon after ``cancelled`` is set. Closing the generator sets it and waits.
    """
    if stats is None:
        return operation(_ignore)
    steps: queue.SimpleQueue[int | None] = queue.SimpleQueue()
    outcome: _Outcome[T] = _Outcome()
    thread = threading.Thread(
        target=_work, args=(operation, stats, steps, outcome), name="operation", daemon=True
    )
    thread.start()
    told = 0
    try:
        while (percent := steps.get()) is not None:
            told = percent
            yield percent
    except GeneratorExit:
        cancelled.set()
        raise
    finally:
        thread.join()
    if outcome.error is not None:
        raise outcome.error
    for percent in _steps_between(told, 100, stats):
        yield percent
    result: T = outcome.result  # type: ignore[assignment]
    return result


def reported(
    context: Context, operation: Callable[[Report], T], stats: int | None
) -> Generator[Reply, None, T]:
    """The operation's progress as 3211 messages; returns its result. Raises what it raises."""

    def work(report: Report) -> T:
        def both(done: int, total: int) -> None:
            if context.running is not None:
                context.running.report(done, total)
            report(done, total)

        return operation(both)

    steps = run_with_progress(work, stats, context.env.cancelled)
    try:
        while True:
            try:
                percent = next(steps)
            except StopIteration as end:
                result: T = end.value
                return result
            yield from context.info(3211, percent)
    finally:
        steps.close()


def _ignore(done: int, total: int) -> None:
    return


def _work(
    operation: Callable[[Report], T],
    stats: int,
    steps: queue.SimpleQueue[int | None],
    outcome: _Outcome[T],
) -> None:
    told = 0

    def report(done: int, total: int) -> None:
        # 100 is said when the operation has ended.
        nonlocal told
        percent = min(99, done * 100 // total) if total else 0
        for step in _steps_between(told, percent, stats):
            told = step
            steps.put(step)

    try:
        outcome.result = operation(report)
    except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
        outcome.error = error
    finally:
        steps.put(None)


def _steps_between(told: int, percent: int, stats: int) -> list[int]:
    """The multiples of ``stats`` above ``told`` up to ``percent``; 100 ends the last step however long."""
    steps = list(range(told - told % stats + stats, percent + 1, stats))
    if percent == 100 and told < 100 and 100 not in steps:
        steps.append(100)
    return steps

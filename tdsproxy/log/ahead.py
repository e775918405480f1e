"""Doing the next pieces of work while the caller uses the last one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

_WAITING = 3


def ahead(
    given: Iterable[Given], work: Callable[[Given], Made], name: str = "log-read"
) -> Generator[tuple[Given, Made], None, None]:
    """``work`` on each item, in order, by a thread of its own that is a few items ahead.

    ``given`` is iterated by the caller's thread. Raises what either raises; to be closed if not exhausted.
    """
    waiting: deque[tuple[Given, Future[Made]]] = deque()
    with ThreadPoolExecutor(1, name) as worker:
        try:
            for item in given:
                waiting.append((item, worker.submit(work, item)))
                if len(waiting) >= _WAITING:
                    first, made = waiting.popleft()
                    yield first, made.result()
            while waiting:
                first, made = waiting.popleft()
                yield first, made.result()
        finally:
            for _, made in waiting:
                made.cancel()

"""A bounded pipeline: one thread feeds, a few work, results come back in order.

Memory is bounded by the depth. The work itself (hashing, Zstandard, file reads and writes) releases the
interpreter lock.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

WORKERS = max(2, min(8, os.cpu_count() or 2))
DEPTH = 3 * WORKERS
NICENESS = 10
"""Of the threads that work, above that of the process: whoever commits meanwhile goes first."""


def _give_way() -> None:
    if sys.platform != "linux":
        # Only there is a niceness a thread's own.
        return
    with contextlib.suppress(OSError):
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)


def ordered_map(
    work: Callable[[_Item], _Result],
    items: Iterable[_Item],
    *,
    workers: int = WORKERS,
    depth: int = DEPTH,
    name: str = "backup",
) -> Generator[_Result, None, None]:
    """``work`` on each of ``items`` in ``workers`` threads; results in the order of the items.

    At most ``depth`` items are under way or finished and not yet taken. An item is fetched only when there
    is room. The first exception, of the items or of the work, ends it; no work is left running then, nor
    after ``close`` of the generator.
    """
    pool = ThreadPoolExecutor(workers, thread_name_prefix=name, initializer=_give_way)
    pending: deque[Future[_Result]] = deque()
    try:
        for item in items:
            pending.append(pool.submit(work, item))
            if len(pending) >= depth:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)

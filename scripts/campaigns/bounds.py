"""Readers fed within this process: what they may take of time and memory, and what of theirs is a finding."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import Final

from scripts.campaigns.outcome import Tally

MEMORY: Final = 512 << 20
"""Bytes of address space by which the process may grow."""
LONGEST: Final = 20
"""Seconds of processor time that nothing may take; a busy machine does not count."""
MANY: Final = 500
"""Inputs between two looks at the clock."""


class TooLong(Exception):
    """A reader did not come to an end."""


def _stopped(_signal: int, _frame: FrameType | None) -> None:
    raise TooLong


@contextmanager
def bounded(tally: Tally) -> Iterator[None]:
    """Whatever grows without bound, or does not come to an end, is stopped: MemoryError, TooLong."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    used = pages * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    handled = signal.signal(signal.SIGVTALRM, _stopped)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, handled)
        resource.setrlimit(resource.RLIMIT_AS, before)
    tally.peak("MB resident", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def feed(
    name: str,
    one: Callable[[int], tuple[Callable[[], object], str]],
    allowed: tuple[type[Exception], ...],
    cases: int,
    end: float,
    tally: Tally,
) -> None:
    """``one`` gives for each number what is to be done, and how the input is told. What is raised and is not
    ``allowed`` is a finding, once for each place. ``end`` is when, by the monotonic clock, it is enough."""
    done = 0
    seen: set[tuple[str, str]] = set()
    while done < cases and time.monotonic() < end:
        for number in range(done, min(done + MANY, cases)):
            done += 1
            work, told = one(number)
            signal.setitimer(signal.ITIMER_VIRTUAL, LONGEST)
            try:
                work()
            except allowed:
                continue
            except Exception as error:  # noqa: BLE001 - whatever else it is, it is a finding
                where = (type(error).__name__, _place(error.__traceback__))
                if where not in seen:
                    seen.add(where)
                    tally.violated(f"{name}: {where[0]} at {where[1]}: {str(error)[:300]}; {told}")
            finally:
                signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    tally.add(f"of {name}", done)


def _place(traceback: TracebackType | None) -> str:
    """The innermost line of an error: what happens there again is the same finding."""
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    if traceback is None:
        return ""
    return f"{Path(traceback.tb_frame.f_code.co_filename).name}:{traceback.tb_lineno}"

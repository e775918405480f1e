"""How sure the time of a STOPAT is: commits of other processes that the capture found late."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from tdsproxy.backup.plan import LogStep
from tdsproxy.commands.log_sources import Place
from tdsproxy.commands.stop_points import time_text
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import LogError

# What a commit of another process may be late for without a word.
_SAID_NS = 25_000_000


def doubts(used: Iterable[LogStep[Place]], stop_ns: int | None) -> Iterator[str]:
    """What an info message says when a transaction behind the stop may have been committed before it."""
    if stop_ns is None:
        return
    for archive in {id(step.source.place): step.source.place for step in used}.values():
        late = None
        with contextlib.suppress(LogError):  # what lies behind the stop was not needed
            late = archive.late_at(stop_ns) if isinstance(archive, Archive) else None
        if late is not None and late[1] - late[0] > _SAID_NS:
            yield (
                f"STOPAT: a transaction that was committed between {time_text(late[0])} and"
                f" {time_text(late[1])} is not restored: another process made it, and it was found late."
            )

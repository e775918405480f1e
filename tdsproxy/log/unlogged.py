"""Backups of a database whose log is not captured at the moment.

Nobody can tell which of the commits that are captured later such a backup holds already, and rolled over it
they would mix two states: so no range of the log may lead from its LSNs to later ones.
"""

from __future__ import annotations

import time

from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import Gap


def break_behind(archive: Archive, lsn: int) -> None:
    """A backup has been numbered up to ``lsn``: ``record_break`` is to write a gap that ends behind it."""
    archive.break_at = max(lsn, archive.break_at or 0)


def record_break(archive: Archive) -> None:
    """The gap that ``break_behind`` asked for, if it did. Durable when it returns. Raises OSError."""
    if archive.break_at is None:
        return
    last = archive.last_lsn()
    after = lsns.advance(max(last, archive.break_at), 1)
    reason = "a backup was taken while the log was not captured"
    archive.append_gap(Gap(last, after, time.time_ns(), reason), archive.position())
    archive.break_at = None

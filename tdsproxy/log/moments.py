"""Which transactions of a log were committed up to a moment."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from tdsproxy.log import codec
from tdsproxy.log.ranges import SegmentFile, records
from tdsproxy.log.segment import Kind, SegmentReader


def lsn_at(segments: Sequence[SegmentFile], first_lsn: int, committed_ns: int) -> int:
    """See ``Archive.lsn_at``."""
    start = _segment_before(segments, committed_ns)
    found = start or first_lsn
    for reader, at, record in records(segments, start, None):
        if record.kind is Kind.PART:
            continue
        if record.first_ns > committed_ns:
            break
        if record.last_ns <= committed_ns:
            found = record.end_lsn
            continue
        for entry in codec.unpack_directory(reader.body(at, record)[0]):
            if entry.committed_ns > committed_ns:
                return found
            found = entry.next_lsn
    return found


def late_at(segments: Sequence[SegmentFile], time_ns: int) -> tuple[int, int] | None:
    """See ``Archive.late_at``."""
    for reader, at, record in records(segments, _segment_before(segments, time_ns), None):
        if record.kind is Kind.PART or record.last_ns <= time_ns:
            continue
        for entry in codec.unpack_directory(reader.body(at, record)[0]):
            if entry.committed_ns > time_ns:
                since = entry.committed_ns - entry.late_ns
                return (since, entry.committed_ns) if since <= time_ns else None
    return None


def _segment_before(segments: Sequence[SegmentFile], committed_ns: int) -> int:
    """The LSN with which the last segment begins that can hold a commit before the time."""
    for item in reversed(segments[1:]):
        # Truncated meanwhile: then it is not the one either.
        with contextlib.suppress(FileNotFoundError):
            reader = SegmentReader(item.path, item.end)
            reader.close()
            if reader.header is not None and reader.header.last_committed_ns <= committed_ns:
                return item.first_lsn
    return 0


def time_ranges(segments: Sequence[SegmentFile]) -> list[tuple[int, int, int, int]]:
    """See ``Archive.time_ranges``."""
    found: list[tuple[int, int, int, int]] = []
    start: tuple[int, int] | None = None
    end, last_ns = 0, 0
    for _, _, record in records(segments, 0, None, every=True):
        if record.kind is Kind.GAP:
            if start is not None:
                found.append((start[0], end, start[1], last_ns))
            start = None
        elif record.kind is Kind.BLOCK:
            start = start or (record.first_lsn, record.first_ns)
            end, last_ns = record.end_lsn, record.last_ns
    if start is not None:
        found.append((start[0], end, start[1], last_ns))
    return found

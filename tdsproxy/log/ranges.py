"""The records of a range of the log, over the segments that hold it."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.log import segment
from tdsproxy.log.records import ArchiveDamaged, LogGap
from tdsproxy.log.segment import Kind, RecordHeader, SegmentReader


@dataclass(slots=True)
class SegmentFile:
    """One file. ``end`` is where the next record goes."""

    path: Path
    first_lsn: int
    end: int


def records(
    segments: Sequence[SegmentFile], first_lsn: int, last_lsn: int | None, *, every: bool = False
) -> Iterator[tuple[SegmentReader, int, RecordHeader]]:
    """The records of the range; with ``every`` also gaps and positions. A reader lives until the next
    segment's. Raises ArchiveDamaged where one does not follow another, LogGap, OSError."""
    follows: int | None = None
    starts = [item.first_lsn for item in segments]
    begin = max(0, bisect.bisect_right(starts, first_lsn) - 1)
    for item in segments[begin:]:
        if last_lsn is not None and item.first_lsn >= last_lsn:
            if follows is not None and follows < last_lsn:
                raise ArchiveDamaged(f"the log from {follows} to {item.first_lsn} is missing")
            return
        try:
            reader = SegmentReader(item.path, item.end)
        except FileNotFoundError as error:
            raise LogGap(f"the log before {item.path.name} has been given up") from error
        try:
            if reader.header is None or reader.header.first_lsn != item.first_lsn:
                raise ArchiveDamaged(f"{item.path} does not begin as this segment of the log")
            if follows not in (None, item.first_lsn):
                raise ArchiveDamaged(f"the log from {follows} to {item.first_lsn} is missing")
            follows = item.first_lsn
            end = segment.HEADER_SIZE
            for at, record in reader.records():
                end = at + record.size
                if record.first_lsn != follows:
                    raise ArchiveDamaged(f"{item.path}: no record of {follows} is before the one at {at}")
                follows = record.end_lsn
                if last_lsn is not None and record.first_lsn >= last_lsn:
                    break
                wanted = record.first_lsn >= first_lsn or record.end_lsn > first_lsn
                if wanted and (every or record.kind in (Kind.BLOCK, Kind.PART)):
                    yield reader, at, record
            else:
                # Damage behind the range is in nobody's way.
                if end != item.end and (last_lsn is None or follows < last_lsn):
                    raise ArchiveDamaged(f"{item.path} is damaged at {end}")
        finally:
            reader.close()

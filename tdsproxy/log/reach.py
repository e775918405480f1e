"""How far a log reached whose end can't be read any more, so that no LSN is given twice."""

from __future__ import annotations

from pathlib import Path

from tdsproxy.log import lsn as lsns
from tdsproxy.log.records import ArchiveDamaged
from tdsproxy.log.segment import RECORD_MAGIC_BYTES, RecordHeader, parse_record_header


def reach_of(path: Path, start: int, last_lsn: int) -> int:
    """No transaction of the segment from offset ``start`` on had a higher LSN than this; of those before,
    ``last_lsn`` is the end.

    The headers of records have checksums of their own: those that are whole are believed, wherever they
    lie. What a torn header said can't be known: the next virtual log file is begun then. Raises OSError.
    """
    data = path.read_bytes()
    reach, images, at = last_lsn, 0, start
    while at < len(data):
        found = _header(data, at)
        if found is None:
            at = data.find(RECORD_MAGIC_BYTES, at + 1)
            if at < 0:
                # Not only the end of a transaction whose parts are known may be lost.
                return lsns.next_file(lsns.advance(reach, images))
            continue
        reach, images = max(reach, found.end_lsn), images + found.raw_length
        at += found.size
    return reach


def _header(data: bytes, at: int) -> RecordHeader | None:
    try:
        return parse_record_header(data, at)
    except ArchiveDamaged:
        return None

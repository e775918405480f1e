"""Writing into the file of a segment, and what to do when a sync of it has failed."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tdsproxy.log.segment import HEADER_SIZE, SegmentReader

_CHUNK: Final = 1 << 20


def write_all(descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
    """Writes all of ``pieces``, one behind the other. Raises OSError; some may then be written."""
    left = [memoryview(piece) for piece in pieces if piece]
    while left:
        written = os.pwritev(descriptor, left, offset)
        offset += written
        while left and written >= len(left[0]):
            written -= len(left.pop(0))
        if left and written:
            left[0] = left[0][written:]


def write_again(descriptor: int, path: Path, end: int) -> None:
    """Writes the first ``end`` bytes once more, if they still are what was appended.

    A failed fsync(2) is told once: the kernel calls the pages clean then, wherever they are,
    and the next sync would succeed without them. Raises OSError.
    """
    if not path.exists():
        return  # It was given up meanwhile.
    reader = SegmentReader(path, end)
    try:
        whole = HEADER_SIZE
        for at, record in reader.records():
            if reader.header is None or not reader.is_whole(at, record):
                break
            whole = at + record.size
    finally:
        reader.close()
    if reader.header is None or whole != end:
        raise OSError(errno.EIO, "the disk does not give back what was written to it", str(path))
    for at in range(0, whole, _CHUNK):
        write_all(descriptor, [os.pread(descriptor, min(_CHUNK, whole - at), at)], at)

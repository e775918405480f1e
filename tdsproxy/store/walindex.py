"""The WAL index (``-shm``): which frame of the WAL holds the newest image of a page.

Layout (sqlite.org/walformat.html, section 2): native byte order, blocks of 32 KiB. Block 0 begins with two
copies of a 48-byte header and the checkpoint information, 136 bytes in all; then, in every block, the page
numbers of its frames (4,062 in block 0, 4,096 in the others), then a hash table that is not needed here.

The index is trusted as every SQLite reader trusts it: whoever created it has verified the frames' checksum
chain, and each commit enters its frames only when they are complete.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass

HEADER_SIZE = 48
_INFO_OFFSET = 96
_FIRST_BLOCK_START = 136
_FIRST_BLOCK_FRAMES = 4062
_BLOCK_FRAMES = 4096
_VERSION = 3007000

_HEADER = struct.Struct("=III BBH II 2I 2I 2I")

BlockSource = Callable[[int], memoryview | None]


@dataclass(frozen=True, slots=True)
class IndexHeader:
    """One consistent copy of the header. ``max_frame`` 0 means that the WAL holds nothing."""

    change: int
    page_size: int
    max_frame: int
    page_count: int
    salts: tuple[int, int]


def _checksum(data: bytes) -> tuple[int, int]:
    s0 = s1 = 0
    words = struct.unpack(f"={len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + first + s1) & 0xFFFFFFFF
        s1 = (s1 + second + s0) & 0xFFFFFFFF
    return s0, s1


def read_header(block: memoryview | bytes) -> IndexHeader | None:
    """The header in block 0; None while a writer is changing it, or before it is made."""
    first = bytes(block[:HEADER_SIZE])
    second = bytes(block[HEADER_SIZE : 2 * HEADER_SIZE])
    if first != second:
        return None
    (version, _, change, initialised, _, raw_size, max_frame, page_count, _, _, _, _, c0, c1) = (
        _HEADER.unpack(first)
    )
    if version != _VERSION or not initialised or (c0, c1) != _checksum(first[:40]):
        return None
    page_size = (raw_size & 0xFE00) + ((raw_size & 1) << 16)
    # The salts are copied from the WAL header as they lie there, big-endian.
    salts = struct.unpack_from(">II", first, 32)
    return IndexHeader(change, page_size, max_frame, page_count, (salts[0], salts[1]))


def backfilled(block: memoryview | bytes) -> int:
    """How many frames have been copied into the main file already (``nBackfill``)."""
    return int.from_bytes(bytes(block[_INFO_OFFSET : _INFO_OFFSET + 4]), sys.byteorder)


def frame_pages(source: BlockSource, max_frame: int) -> array[int] | None:
    """The page numbers of frames 1..``max_frame``, in that order; None if a block is missing."""
    pages = array("I")
    number = 0
    while len(pages) < max_frame:
        block = source(number)
        if block is None:
            return None
        start = _FIRST_BLOCK_START if number == 0 else 0
        room = _FIRST_BLOCK_FRAMES if number == 0 else _BLOCK_FRAMES
        take = min(room, max_frame - len(pages))
        pages.frombytes(bytes(block[start : start + 4 * take]))
        number += 1
    return pages


def newest_frames(pages: array[int], page_count: int) -> tuple[array[int], array[int]]:
    """For each page up to ``page_count`` that is in the WAL, its last frame: two arrays, sorted by page."""
    newest = dict(zip(pages, range(1, len(pages) + 1), strict=True))
    numbers = array("I", sorted(page for page in newest if 0 < page <= page_count))
    return numbers, array("I", map(newest.__getitem__, numbers))

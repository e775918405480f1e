"""The format of SQLite's write-ahead log: bytes in, committed transactions out.

Source: sqlite.org/fileformat2.html, section 4. A WAL is a header of 32 bytes and frames, each a header of 24
bytes and the image of a page. A frame belongs to the current generation when it carries the header's salts
and continues the cumulative checksum; a transaction ends with a frame that names the database's size.

Who may trust what: SQLite enters a commit in the WAL index only when its frames are complete, and whoever
rebuilds the index verifies the whole checksum chain first. Frames up to the index's last one, under a held
read transaction, are therefore only compared by salts (``Splitter``).

Such a frame may even lack salts and checksum. When a transaction rewrites one of its frames, SQLite leaves
both out (zeros) in the frames that follow and fills them in at the commit, from the rewritten frame on. Older
libraries (seen with 3.40.1) then miss some when a savepoint was rolled back in between. The commit counts
for every reader all the same, until a crash makes SQLite read the WAL again: then it is lost. So a frame
without a seal counts if the index names its page.

Where a WAL is met again after a pause, the cumulative checksum in the header of the last known frame proves
that everything up to it is the same. Bytes that come without an index are verified word by word
(``verified``).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

HEADER_SIZE = 32
FRAME_HEADER_SIZE = 24
_MAGIC = 0x377F0682
_VERSION = 3007000
_HEADER = struct.Struct(">8I")
_FRAME = struct.Struct(">6I")
_MASK = 0xFFFFFFFF
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))

Checksum = tuple[int, int]


@dataclass(frozen=True, slots=True)
class WalHeader:
    """``big_endian`` is the byte order of the checksums' input; ``checksum`` is the header's own."""

    page_size: int
    sequence: int
    salts: tuple[int, int]
    checksum: Checksum
    big_endian: bool


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """``page_count`` is 0 but in the last frame of a transaction."""

    page: int
    page_count: int
    salts: tuple[int, int]
    checksum: Checksum


def checksum(data: bytes | memoryview, state: Checksum, *, big_endian: bool) -> Checksum:
    """Continue the cumulative checksum over ``data``, whose length is a multiple of 8."""
    s0, s1 = state
    words = struct.unpack(f"{'>' if big_endian else '<'}{len(data) // 4}I", data)
    for first, second in zip(words[::2], words[1::2], strict=True):
        s0 = (s0 + first + s1) & _MASK
        s1 = (s1 + second + s0) & _MASK
    return s0, s1


def parse_header(data: bytes) -> WalHeader | None:
    """The header in the first 32 bytes; None when they are not a valid one."""
    if len(data) < HEADER_SIZE:
        return None
    magic, version, page_size, sequence, salt1, salt2, c0, c1 = _HEADER.unpack_from(data, 0)
    big_endian = bool(magic & 1)
    if magic & ~1 != _MAGIC or version != _VERSION or page_size not in _PAGE_SIZES:
        return None
    if checksum(data[:24], (0, 0), big_endian=big_endian) != (c0, c1):
        return None
    return WalHeader(page_size, sequence, (salt1, salt2), (c0, c1), big_endian)


def parse_frame(data: bytes | memoryview, at: int = 0) -> FrameHeader:
    """The header of the frame at ``at``. Raises struct.error when there are too few bytes."""
    page, page_count, salt1, salt2, c0, c1 = _FRAME.unpack_from(data, at)
    return FrameHeader(page, page_count, (salt1, salt2), (c0, c1))


def frame_offset(frame: int, page_size: int) -> int:
    """Where frame ``frame`` (from 1) begins in the file."""
    return HEADER_SIZE + (frame - 1) * (FRAME_HEADER_SIZE + page_size)


@dataclass(frozen=True, slots=True)
class Commit:
    """What a transaction, or a part of a large one, wrote: of each page the last image.

    ``page_count`` is the database's size after it, 0 for a part that is not the last. ``frame`` is its last
    frame, ``checksum`` the cumulative one there.
    """

    frame: int
    page_count: int
    pages: list[tuple[int, bytes]]
    checksum: Checksum


class StrangeFrame(Exception):
    """A frame is not of the generation that is read."""


class Splitter:
    """Cuts frames that the WAL index calls committed into transactions.

    ``frame`` is the last frame before those that will be fed. A transaction of more than ``part_bytes`` comes
    in parts. ``page_in_index`` tells the page of a frame, for frames without a seal of their own.
    """

    def __init__(
        self,
        page_size: int,
        salts: tuple[int, int],
        frame: int,
        part_bytes: int,
        page_in_index: Callable[[int], int] = lambda frame: 0,
    ) -> None:
        self._page_in_index = page_in_index
        self._page_size = page_size
        self._salts = salts
        self._frame = frame
        self._most = max(1, part_bytes // page_size)
        self._pages: dict[int, bytes] = {}
        self._parted = False
        self._last_commit: tuple[int, int, bytes] | None = None

    def feed(self, data: bytes) -> Iterator[Commit]:
        """``data`` are whole frames. Raises StrangeFrame."""
        size = self._page_size
        step = FRAME_HEADER_SIZE + size
        unpack = _FRAME.unpack_from
        pages = self._pages
        for at in range(0, len(data), step):
            page, page_count, salt1, salt2, c0, c1 = unpack(data, at)
            self._frame += 1
            if (salt1, salt2) != self._salts and (
                salt1 or salt2 or c0 or c1 or page != self._page_in_index(self._frame)
            ):
                raise StrangeFrame(f"frame {self._frame} belongs to another generation of the WAL")
            image = data[at + FRAME_HEADER_SIZE : at + step]
            if page_count:
                # Padding to a whole sector repeats the commit frame: that is no transaction of its own.
                repeated = not pages and not self._parted and (page, page_count, image) == self._last_commit
                pages[page] = image
                self._last_commit = (page, page_count, image)
                found = [] if repeated else [item for item in pages.items() if item[0] <= page_count]
                self._pages = pages = {}
                self._parted = False
                yield Commit(self._frame, page_count, found, (c0, c1))
            else:
                pages[page] = image
                if len(pages) >= self._most:
                    found = list(pages.items())
                    self._pages = pages = {}
                    self._parted = True
                    yield Commit(self._frame, 0, found, (c0, c1))


def verified(data: bytes) -> Iterator[Commit]:
    """The transactions of a whole WAL, as far as its checksum chain holds and ends with a commit.

    Pure: for a WAL that nobody has open. Yields nothing when the header is not valid.
    """
    header = parse_header(data)
    if header is None:
        return
    size = header.page_size
    state = header.checksum
    pages: dict[int, bytes] = {}
    step = FRAME_HEADER_SIZE + size
    for frame, at in enumerate(range(HEADER_SIZE, len(data) - step + 1, step), 1):
        head = parse_frame(data, at)
        if head.salts != header.salts or head.page == 0:
            return
        image = data[at + FRAME_HEADER_SIZE : at + step]
        state = checksum(data[at : at + 8], state, big_endian=header.big_endian)
        state = checksum(image, state, big_endian=header.big_endian)
        if state != head.checksum:
            return
        pages[head.page] = image
        if head.page_count:
            found = [item for item in pages.items() if item[0] <= head.page_count]
            yield Commit(frame, head.page_count, found, state)
            pages = {}

"""Transactions as bytes, for the archive and for the log sets of a backup.

A *block* is self-contained: a directory (who, when, which pages) and the images of the pages, apart, so that
the directory can be read without the images. All integers are little-endian:

    block      u32 length of the directory, directory, images
    directory  entries one after the other
    entry      u8 flags (1: the transaction goes on in the next block; 2: it was found late), LSN and next LSN
               (each u64 file, u64 block, u32 slot), i64 time, u32 page size, u32 page count, u32 pages,
               u16 and u16 lengths of the mark and its description, u32 page number each,
               mark and description in UTF-8, with flag 2 a u64: by how many ns it may have been made earlier
    images     the pages of all entries, in their order

Of a transaction that is spread over blocks every part but the last has flag 1; what the last part says of it
as a whole counts. A page that occurs in several parts has the image of the last of them.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from tdsproxy.log import lsn as lsns
from tdsproxy.log.records import ArchiveDamaged, Pages, Transaction

BLOCK_BYTES = 1 << 20
CONTINUES = 1
LATE = 2

_LENGTH = struct.Struct("<I")
_LATE = struct.Struct("<Q")
_ENTRY = struct.Struct("<B QQI QQI q III HH")
_SPOOL_BYTES = 64 << 20
_LONGEST_MARK = 0xFFFF


# Not frozen: there is one for every transaction that is read, and a frozen one takes twice as long to make.
@dataclass(slots=True)
class Entry:
    """What a directory says about a transaction, or a part of one, and its page numbers."""

    continues: bool
    lsn: int
    next_lsn: int
    committed_ns: int
    page_size: int
    page_count: int
    numbers: tuple[int, ...]
    mark: str | None
    mark_description: str | None
    late_ns: int = 0


def pack_entry(entry: Entry) -> bytes:
    """One entry of a directory."""
    mark = text = b""
    if entry.mark is not None:
        mark = entry.mark.encode("utf-8", "surrogatepass")[:_LONGEST_MARK]
        text = (entry.mark_description or "").encode("utf-8", "surrogatepass")[:_LONGEST_MARK]
    numbers = entry.numbers
    head = _ENTRY.pack(
        (CONTINUES if entry.continues else 0) | (LATE if entry.late_ns else 0),
        *lsns.parts(entry.lsn),
        *lsns.parts(entry.next_lsn),
        entry.committed_ns,
        entry.page_size,
        entry.page_count,
        len(numbers),
        len(mark),
        len(text),
    )
    late = _LATE.pack(entry.late_ns) if entry.late_ns else b""
    return b"".join((head, struct.pack(f"<{len(numbers)}I", *numbers), mark, text, late))


def unpack_directory(data: bytes) -> list[Entry]:
    """The entries of a directory. Raises ArchiveDamaged."""
    entries: list[Entry] = []
    at, end = 0, len(data)
    file_unit, block_unit = lsns.FILE_UNIT, lsns.BLOCK_UNIT
    try:
        while at < end:
            (flags, f0, b0, s0, f1, b1, s1, committed, size, count, pages, mark_length, text_length) = (
                _ENTRY.unpack_from(data, at)
            )
            at += _ENTRY.size
            numbers = struct.unpack_from(f"<{pages}I", data, at)
            at += 4 * pages
            mark = text = None
            late = 0
            if mark_length or text_length:
                mark = data[at : at + mark_length].decode("utf-8", "surrogatepass")
                at += mark_length
                text = data[at : at + text_length].decode("utf-8", "surrogatepass")
                at += text_length
            if flags & LATE:
                (late,) = _LATE.unpack_from(data, at)
                at += _LATE.size
            entries.append(
                Entry(
                    bool(flags & CONTINUES),
                    f0 * file_unit + b0 * block_unit + s0,
                    f1 * file_unit + b1 * block_unit + s1,
                    committed,
                    size,
                    count,
                    numbers,
                    mark or None,
                    text or None,
                    late,
                )
            )
    except (struct.error, UnicodeDecodeError) as error:
        raise ArchiveDamaged(f"the directory of a block of the log is malformed: {error}") from error
    if at != len(data):
        raise ArchiveDamaged("the directory of a block of the log ends inside an entry")
    return entries


def entry_of(transaction: Transaction, numbers: Sequence[int], *, continues: bool = False) -> Entry:
    """The entry of the transaction for these of its pages."""
    return Entry(
        continues,
        transaction.lsn,
        transaction.next_lsn,
        transaction.committed_ns,
        transaction.page_size,
        transaction.page_count,
        tuple(numbers),
        transaction.mark,
        transaction.mark_description,
        transaction.late_ns,
    )


class _Builder:
    """Collects entries and images of one block."""

    def __init__(self) -> None:
        self.directory: list[bytes] = []
        self.images: list[bytes] = []
        self.size = 0

    def add(self, entry: Entry, images: Sequence[bytes]) -> None:
        packed = pack_entry(entry)
        self.directory.append(packed)
        self.images.extend(images)
        self.size += len(packed) + entry.page_size * len(images)

    def take(self) -> bytes:
        directory = b"".join(self.directory)
        block = b"".join((_LENGTH.pack(len(directory)), directory, *self.images))
        self.__init__()  # type: ignore[misc]
        return block


def encode_blocks(transactions: Iterable[Transaction], block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The transactions as a stream of blocks, each of about ``block_bytes`` (before any compression).

    A transaction that is longer is spread over several blocks.
    """
    builder = _Builder()
    for transaction in transactions:
        most = max(1, block_bytes // transaction.page_size)
        numbers: list[int] = []
        images: list[bytes] = []
        for number, image in transaction.pages:
            if len(numbers) >= most:
                builder.add(entry_of(transaction, numbers, continues=True), images)
                yield builder.take()
                numbers, images = [], []
            numbers.append(number)
            images.append(image)
        builder.add(entry_of(transaction, numbers), images)
        if builder.size >= block_bytes:
            yield builder.take()
    if builder.directory:
        yield builder.take()


def split_block(block: bytes) -> tuple[list[Entry], memoryview]:
    """The entries of a block and its images. Raises ArchiveDamaged."""
    if len(block) < _LENGTH.size:
        raise ArchiveDamaged("a block of the log is too short")
    (length,) = _LENGTH.unpack_from(block, 0)
    end = _LENGTH.size + length
    if end > len(block):
        raise ArchiveDamaged("a block of the log ends inside its directory")
    entries = unpack_directory(block[_LENGTH.size : end])
    images = memoryview(block)[end:]
    check_images(entries, len(images))
    return entries, images


def check_images(entries: Sequence[Entry], length: int) -> None:
    """Raise ArchiveDamaged unless the images of the entries are ``length`` bytes."""
    if sum(entry.page_size * len(entry.numbers) for entry in entries) != length:
        raise ArchiveDamaged("a block of the log does not hold the pages that its directory names")


def page_list(entry: Entry, images: memoryview, at: int = 0) -> list[tuple[int, bytes]]:
    """The pages of an entry whose images begin at ``at``."""
    size = entry.page_size
    return [
        (number, bytes(images[at + index * size : at + (index + 1) * size]))
        for index, number in enumerate(entry.numbers)
    ]


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a large transaction: its entry, and where to get its images again."""

    entry: Entry
    images: Callable[[], memoryview]


class PartedPages:
    """The pages of a transaction in several parts, fetched part by part when they are iterated."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._parts = parts
        self._page_count = parts[-1].entry.page_count
        # In which part a page has its last image.
        self._last: dict[int, int] = {}
        for index, part in enumerate(parts):
            for number in part.entry.numbers:
                self._last[number] = index
        self._length = sum(1 for number in self._last if number <= self._page_count)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        for index, part in enumerate(self._parts):
            entry, size = part.entry, part.entry.page_size
            images = part.images()
            for place, number in enumerate(entry.numbers):
                if number <= self._page_count and self._last[number] == index:
                    yield number, bytes(images[place * size : (place + 1) * size])

    def __contains__(self, item: object) -> bool:
        return any(item == page for page in self)


def transaction_of(entry: Entry, pages: Pages) -> Transaction:
    """The transaction that the entry, its last part, describes."""
    return Transaction(
        entry.lsn,
        entry.next_lsn,
        entry.committed_ns,
        entry.page_size,
        entry.page_count,
        pages,
        entry.mark,
        entry.mark_description,
        entry.late_ns,
    )


def decode_blocks(blocks: Iterable[bytes]) -> Iterator[Transaction]:
    """The transactions of blocks given in the order in which they were made.

    The parts of a large transaction are kept in memory or, beyond 64 MiB, in a temporary file while it is
    the current one: its pages must be read before the next transaction is asked for.
    Raises ArchiveDamaged when a block is malformed, or the last part of a transaction is missing.
    """
    with tempfile.SpooledTemporaryFile(max_size=_SPOOL_BYTES) as spool:

        def fetch(offset: int, length: int) -> Callable[[], memoryview]:
            def images() -> memoryview:
                spool.seek(offset)
                return memoryview(spool.read(length))

            return images

        parts: list[Part] = []
        for block in blocks:
            entries, images = split_block(block)
            at = 0
            for entry in entries:
                length = entry.page_size * len(entry.numbers)
                if parts and entry.lsn != parts[0].entry.lsn:
                    raise ArchiveDamaged("a transaction of the log lacks its last part")
                if entry.continues or parts:
                    if not parts:
                        spool.seek(0)
                        spool.truncate()
                    offset = spool.seek(0, 2)
                    spool.write(images[at : at + length])
                    parts.append(Part(entry, fetch(offset, length)))
                    if not entry.continues:
                        yield transaction_of(entry, PartedPages(parts))
                        parts = []
                else:
                    yield transaction_of(entry, page_list(entry, images, at))
                at += length
        if parts:
            raise ArchiveDamaged("the last transaction of the log lacks its last part")

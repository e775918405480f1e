"""Transactions into log blocks and back, as ``format`` lays them out. Pure."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.media import format as layout

Pages = Collection[tuple[int, bytes]]

_HEAD = struct.Struct("<II16s16sqIIHH4x")
_NO_TEXT = 0xFFFF
_LONGEST_TEXT = 0xFFFE


class TransactionLike(Protocol):
    """A committed transaction. LSNs from ``lsn`` up to, not including, ``next_lsn``; times are nanoseconds
    since 1970, UTC; ``pages`` are numbers with whole images, of each page one."""

    @property
    def lsn(self) -> int: ...
    @property
    def next_lsn(self) -> int: ...
    @property
    def committed_ns(self) -> int: ...
    @property
    def page_size(self) -> int: ...
    @property
    def page_count(self) -> int: ...
    @property
    def pages(self) -> Pages: ...
    @property
    def mark(self) -> str | None: ...
    @property
    def mark_description(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class StoredTransaction:
    """A transaction of a set. ``pages`` may be read more than once; those of a large one are read and checked
    while they are iterated."""

    lsn: int
    next_lsn: int
    committed_ns: int
    page_size: int
    page_count: int
    pages: Pages
    mark: str | None = None
    mark_description: str | None = None


@dataclass(frozen=True, slots=True)
class LogBlock:
    """The decoded payload of a log record, and what its header and its index entry say."""

    data: bytes
    first: int
    count: int
    lsn: int
    next_lsn: int
    first_ns: int
    last_ns: int
    flags: int = 0


def pack_blocks(transactions: Iterable[TransactionLike]) -> Iterator[LogBlock]:
    """Cut transactions, in the order of their LSNs, into blocks. Holds one block in memory.

    Raises FormatError when they are not in order, or when the images are not as long as the page size says.
    """
    number = 0
    parts: list[bytes] = []
    size = 0
    first: TransactionLike | None = None
    last: TransactionLike | None = None
    for transaction in transactions:
        if transaction.next_lsn <= transaction.lsn or (last and transaction.lsn < last.next_lsn):
            raise layout.FormatError(f"transaction {transaction.lsn} is out of order")
        room = len(transaction.pages) * transaction.page_size
        if first and last and size + room > layout.LOG_BLOCK_BYTES:
            yield _block(parts, number, first, last)
            number += len(parts)
            parts, size, first = [], 0, None
        last = transaction
        if room > layout.LOG_BLOCK_BYTES:
            yield from _pieces(transaction, number)
            number += 1
            continue
        first = first or transaction
        pages = list(transaction.pages)
        parts.append(_pack(transaction, pages, len(pages)))
        size += room
    if first and last:
        yield _block(parts, number, first, last)


def _block(parts: list[bytes], number: int, first: TransactionLike, last: TransactionLike) -> LogBlock:
    return LogBlock(
        b"".join(parts),
        number,
        len(parts),
        first.lsn,
        last.next_lsn,
        first.committed_ns,
        last.committed_ns,
    )


def _pieces(transaction: TransactionLike, number: int) -> Iterator[LogBlock]:
    total = len(transaction.pages)
    step = max(1, layout.LOG_BLOCK_BYTES // transaction.page_size)
    done = 0
    pages: list[tuple[int, bytes]] = []

    def piece() -> LogBlock:
        nonlocal done
        flags = layout.CONTINUES if done else 0
        done += len(pages)
        if done < total:
            flags |= layout.UNFINISHED
        return LogBlock(
            _pack(transaction, pages, total),
            number,
            0 if done < total else 1,
            transaction.lsn,
            transaction.next_lsn,
            transaction.committed_ns,
            transaction.committed_ns,
            flags,
        )

    for page in transaction.pages:
        pages.append(page)
        if len(pages) == step:
            yield piece()
            pages = []
    if pages:
        yield piece()
    if done != total:
        raise layout.FormatError(f"transaction {transaction.lsn} has {done} pages instead of {total}")


def _text(text: str | None) -> tuple[int, bytes]:
    if text is None:
        return _NO_TEXT, b""
    data = text.encode("utf-8", "surrogatepass")
    if len(data) > _LONGEST_TEXT:
        raise layout.FormatError("the name of a mark is too long")
    return len(data), data


def _pack(transaction: TransactionLike, pages: list[tuple[int, bytes]], total: int) -> bytes:
    mark_length, mark = _text(transaction.mark)
    note_length, note = _text(transaction.mark_description)
    head = _HEAD.pack(
        len(pages),
        total,
        transaction.lsn.to_bytes(16, "little"),
        transaction.next_lsn.to_bytes(16, "little"),
        transaction.committed_ns,
        transaction.page_size,
        transaction.page_count,
        mark_length,
        note_length,
    )
    images = [image for _, image in pages]
    if any(len(image) != transaction.page_size for image in images):
        raise layout.FormatError(f"transaction {transaction.lsn} has an image of another size")
    numbers = struct.pack(f"<{len(pages)}I", *(number for number, _ in pages))
    return b"".join((head, mark, note, numbers, *images))


@dataclass(frozen=True, slots=True)
class Piece:
    """One transaction, or the part of one, that lies in a block; ``total`` pages are all of its pages."""

    lsn: int
    next_lsn: int
    committed_ns: int
    page_size: int
    page_count: int
    total: int
    pages: list[tuple[int, bytes]]
    mark: str | None
    mark_description: str | None

    def whole(self, pages: Pages | None = None) -> StoredTransaction:
        """The transaction with these pages; by default its own."""
        return StoredTransaction(
            self.lsn,
            self.next_lsn,
            self.committed_ns,
            self.page_size,
            self.page_count,
            self.pages if pages is None else pages,
            self.mark,
            self.mark_description,
        )


def unpack_block(data: bytes | memoryview) -> Iterator[Piece]:
    """What lies in a block, in order. Raises FormatError."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        if len(view) - at < _HEAD.size:
            raise layout.FormatError("a transaction is cut off")
        count, total, lsn, end, committed, page_size, page_count, mark_length, note_length = (
            _HEAD.unpack_from(view, at)
        )
        at += _HEAD.size
        mark, at = _read_text(view, at, mark_length)
        note, at = _read_text(view, at, note_length)
        images = at + 4 * count
        stop = images + count * page_size
        if stop > len(view) or count > total or (count and page_size == 0):
            raise layout.FormatError("a transaction's pages are cut off")
        numbers = struct.unpack_from(f"<{count}I", view, at)
        if any(not 1 <= number <= page_count for number in numbers):
            raise layout.FormatError("a transaction has a page beyond the database's end")
        pages = [
            (number, bytes(view[images + index * page_size : images + (index + 1) * page_size]))
            for index, number in enumerate(numbers)
        ]
        at = stop
        yield Piece(
            int.from_bytes(lsn, "little"),
            int.from_bytes(end, "little"),
            committed,
            page_size,
            page_count,
            total,
            pages,
            mark,
            note,
        )


def _read_text(view: memoryview, at: int, length: int) -> tuple[str | None, int]:
    if length == _NO_TEXT:
        return None, at
    if at + length > len(view):
        raise layout.FormatError("the name of a mark is cut off")
    try:
        return bytes(view[at : at + length]).decode("utf-8", "surrogatepass"), at + length
    except UnicodeDecodeError as error:
        raise layout.FormatError("the name of a mark is no text") from error


def pack_page_list(numbers: list[int], images: bytes | bytearray | memoryview) -> bytes:
    """The payload of a page list."""
    return struct.pack(f"<{len(numbers)}I", *numbers) + bytes(images)


def unpack_page_list(data: bytes | memoryview, count: int, page_size: int) -> tuple[list[int], memoryview]:
    """(page numbers, ascending; their images one behind the other). Raises FormatError."""
    view = memoryview(data)
    if len(view) != count * (4 + page_size):
        raise layout.FormatError("a page list has another length than its count says")
    numbers = list(struct.unpack_from(f"<{count}I", view, 0))
    if any(a >= b for a, b in itertools.pairwise(numbers)):
        raise layout.FormatError("a page list is out of order")
    return numbers, view[4 * count :]

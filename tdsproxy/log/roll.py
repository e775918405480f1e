"""Rolling a file forward through the log: whole page images, the last one of each page wins."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.log.records import LogError, Transaction


@dataclass(frozen=True, slots=True)
class StopAt:
    """Where to stop; exactly one of ``time_ns``, ``lsn`` and ``mark`` is given.

    * ``time_ns`` (STOPAT): the last transaction committed at or before it is the last applied.
    * ``lsn`` (STOPATMARK = 'lsn:n'): the transaction that holds this LSN is the last applied; with ``before``
      (STOPBEFOREMARK) it isn't any more.
    * ``mark`` (STOPATMARK, STOPBEFOREMARK): the same for the first transaction of that name (compared without
      case) that was committed at or after ``after_ns``.
    """

    time_ns: int | None = None
    lsn: int | None = None
    mark: str | None = None
    before: bool = False
    after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RollResult:
    """What was applied. ``last_lsn`` is the end (exclusive) of the last transaction applied, or None.

    ``reached``: the stop lies within the log that was read (a later transaction, the LSN or the mark was
    seen). The caller may know that the log is complete up to a later time and then treat a STOPAT as reached
    although no transaction lies behind it. Without a stop ``reached`` is true.
    """

    last_lsn: int | None
    last_committed_ns: int | None
    reached: bool
    transactions: int
    pages_written: int


_BUFFER_BYTES = 256 << 20
_RUN_PAGES = 256


class _Image:
    """The file that is rolled forward: the newest images wait in memory and are written in page order."""

    def __init__(self, path: Path, buffer_bytes: int) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._pages: dict[int, bytes] = {}
        self._size = 0
        self._bytes = 0
        self._budget = buffer_bytes
        # The smallest size since the last flush: what lay beyond it is gone, also if the file grew again.
        self._least: int | None = None
        self._count: int | None = None
        self.written = 0

    def add(self, transaction: Transaction, cancelled: Callable[[], bool]) -> None:
        size = transaction.page_size
        if self._size not in (0, size):
            raise LogError(f"the log has pages of {size} bytes, the database of {self._size}")
        self._size = size
        count = transaction.page_count
        if self._count is not None and count < self._count:
            self._pages = {number: image for number, image in self._pages.items() if number <= count}
            self._bytes = len(self._pages) * size
        self._least = count if self._least is None else min(self._least, count)
        self._count = count
        pages = self._pages
        for number, image in transaction.pages:
            if number <= count:
                if number not in pages:
                    self._bytes += size
                pages[number] = image
                if self._bytes >= self._budget:
                    self.flush(cancelled)
                    pages = self._pages

    def flush(self, cancelled: Callable[[], bool]) -> None:
        if self._count is None or self._least is None:
            return
        size = self._size
        if os.fstat(self._descriptor).st_size > self._least * size:
            os.ftruncate(self._descriptor, self._least * size)
        numbers = sorted(self._pages)
        at = 0
        while at < len(numbers):
            if cancelled():
                raise InterruptedError("rolling forward was cancelled")
            end = at + 1
            while end < len(numbers) and end - at < _RUN_PAGES and numbers[end] == numbers[end - 1] + 1:
                end += 1
            run = memoryview(b"".join([self._pages[number] for number in numbers[at:end]]))
            offset = (numbers[at] - 1) * size
            while run:
                written = os.pwrite(self._descriptor, run, offset)
                run = run[written:]
                offset += written
            at = end
        self.written += len(numbers)
        os.ftruncate(self._descriptor, self._count * size)
        self._pages, self._bytes, self._least = {}, 0, self._count

    def finish(self, cancelled: Callable[[], bool]) -> None:
        self.flush(cancelled)
        os.fsync(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)


def _stops_before(stop: StopAt, transaction: Transaction) -> bool:
    """Whether the transaction lies behind the stop."""
    if stop.time_ns is not None:
        return transaction.committed_ns > stop.time_ns
    if stop.lsn is not None:
        return transaction.lsn > stop.lsn or (stop.before and transaction.next_lsn > stop.lsn)
    return stop.before and _is_mark(stop, transaction)


def _stops_after(stop: StopAt, transaction: Transaction) -> bool:
    """Whether the transaction is known to be the last before the stop."""
    if stop.lsn is not None:
        return transaction.next_lsn > stop.lsn
    return stop.mark is not None and _is_mark(stop, transaction)


def _is_mark(stop: StopAt, transaction: Transaction) -> bool:
    if stop.mark is None or transaction.mark is None:
        return False
    if stop.after_ns is not None and transaction.committed_ns < stop.after_ns:
        return False
    return stop.mark.rstrip(" ").casefold() == transaction.mark.rstrip(" ").casefold()


def apply(
    image: Path,
    transactions: Iterable[Transaction],
    stop: StopAt | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    buffer_bytes: int = _BUFFER_BYTES,
) -> RollResult:
    """Write the transactions, in order and up to the stop, into ``image``, which nobody has open; sync.

    Of each page only the last image is written, as long as those that wait fit into ``buffer_bytes``.
    Nothing is read beyond the transaction at which the stop is known to be reached. Raises what reading the
    transactions raises (the image is then useless), LogError when page sizes differ, InterruptedError when
    ``cancelled``, OSError.
    """
    last: Transaction | None = None
    applied = 0
    reached = stop is None
    file = _Image(image, buffer_bytes)
    try:
        for transaction in transactions:
            if cancelled():
                raise InterruptedError("rolling forward was cancelled")
            if stop is not None and _stops_before(stop, transaction):
                reached = True
                break
            file.add(transaction, cancelled)
            applied += 1
            last = transaction
            if stop is not None and _stops_after(stop, transaction):
                reached = True
                break
        file.finish(cancelled)
    finally:
        file.close()
    return RollResult(
        last.next_lsn if last is not None else None,
        last.committed_ns if last is not None else None,
        reached,
        applied,
        file.written,
    )

"""The transactions of a set's log, in order, every block checked."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Decompressor
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.log_blocks import Piece, StoredTransaction, unpack_block
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.set_reader import LogPlace, MediaSetReader, SetPlace


@dataclass(frozen=True, slots=True)
class _LargePages:
    """The pages of a transaction that lies in several blocks, read while they are iterated."""

    log: LogReader
    blocks: tuple[LogPlace, ...]
    total: int

    def __len__(self) -> int:
        return self.total

    def __contains__(self, item: object) -> bool:
        return any(page == item for page in self)

    def __iter__(self) -> Iterator[tuple[int, bytes]]:
        found = 0
        for entry in self.blocks:
            for piece in self.log.pieces(entry):
                found += len(piece.pages)
                yield from piece.pages
        if found != self.total:
            raise self.log.damaged(self.blocks[0], f"{found} pages instead of {self.total}")


class LogReader:
    """The log of one set, valid as long as its medium's reader is open. For one thread at a time.

    Raises MediaDamaged, DeviceError, KeyMissing.
    """

    def __init__(self, reader: MediaSetReader, place: SetPlace, info: SetInfo) -> None:
        self._reader = reader
        self._place = place
        self._decompressor = Decompressor()
        self._entries = reader.log_index(place, info)
        self._cipher = reader.cipher(info)

    @property
    def first_ns(self) -> int | None:
        """When the first transaction was committed; None if there is none."""
        return self._entries[0].first_ns if self._entries else None

    def damaged(self, entry: LogPlace, detail: str) -> MediaDamaged:
        """What to raise when a block's content is wrong."""
        return self._reader.log_damaged(self._place, entry, detail)

    def pieces(self, entry: LogPlace) -> Iterator[Piece]:
        """What lies in one block."""
        run = self._reader.block(self._place, entry, self._cipher)
        try:
            yield from unpack_block(run.decode(self._decompressor))
        except layout.FormatError as error:
            raise self.damaged(entry, str(error)) from error

    def transactions(self, first_lsn: int = 0) -> Iterator[StoredTransaction]:
        """Those that begin at ``first_lsn`` or later."""
        rest = deque(entry for entry in self._entries if entry.next_lsn > first_lsn)
        last = 0
        while rest:
            entry = rest.popleft()
            if entry.flags & layout.CONTINUES:
                raise self.damaged(entry, "it goes on with a transaction that did not begin")
            if entry.flags & layout.UNFINISHED:
                found: Iterable[StoredTransaction] = [self._large(entry, rest)]
            else:
                found = (piece.whole() for piece in self.pieces(entry) if self._is_whole(entry, piece))
            for transaction in found:
                if transaction.lsn < last or transaction.next_lsn <= transaction.lsn:
                    raise self.damaged(entry, "its transactions are out of order")
                last = transaction.next_lsn
                if transaction.lsn >= first_lsn:
                    yield transaction

    def _is_whole(self, entry: LogPlace, piece: Piece) -> bool:
        if len(piece.pages) != piece.total:
            raise self.damaged(entry, "a transaction is not whole")
        return True

    def _large(self, entry: LogPlace, rest: deque[LogPlace]) -> StoredTransaction:
        blocks = [entry]
        while blocks[-1].flags & layout.UNFINISHED:
            if not rest or not rest[0].flags & layout.CONTINUES:
                raise self.damaged(blocks[-1], "its transaction does not go on")
            blocks.append(rest.popleft())
        first = next(self.pieces(entry), None)
        if first is None:
            raise self.damaged(entry, "the block is empty")
        return first.whole(_LargePages(self, tuple(blocks), first.total))

"""The archive of one database's log on one recovery fork: ``STORE/log/DATABASE-GUID/FORK-GUID/*.seg``."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

from tdsproxy.log.records import Gap, Transaction, WalPosition


class Archive:
    """Append-only; one process, any number of reading threads, one that appends.

    All LSN ranges are half open: ``first_lsn`` belongs to them, ``last_lsn`` doesn't.
    """

    def __init__(self, directory: Path, database: uuid.UUID, fork: uuid.UUID, base_lsn: int) -> None:
        """Opens the archive in ``directory``, or makes it, to begin at ``base_lsn``.

        A torn end of the last segment is dropped. Raises ArchiveDamaged, OSError.
        """
        raise NotImplementedError

    def first_lsn(self) -> int:
        """From where on transactions can be read, gaps permitting."""
        raise NotImplementedError

    def last_lsn(self) -> int:
        """The end of the log (exclusive): the LSN that the next transaction will have."""
        raise NotImplementedError

    def last_committed_ns(self) -> int:
        """The time of the last transaction; 0 if there has been none."""
        raise NotImplementedError

    def position(self) -> WalPosition | None:
        """What of which WAL the archive ends with."""
        raise NotImplementedError

    def gaps(self) -> Sequence[Gap]:
        """All gaps that are still in the archive, in order."""
        raise NotImplementedError

    def unbroken_since(self) -> int:
        """The LSN behind the last gap; without any, ``first_lsn()``."""
        raise NotImplementedError

    def read(self, first_lsn: int, last_lsn: int | None = None) -> Iterator[Transaction]:
        """The transactions with ``first_lsn <= lsn < last_lsn`` (default: up to the end), in order.

        Raises LogGap, before the first one, when the range begins before the archive does, ends behind its
        end, or has a gap in it; ArchiveDamaged while reading.
        """
        raise NotImplementedError

    def changed_pages(self, first_lsn: int, last_lsn: int | None = None) -> set[int]:
        """The numbers of the pages that the transactions of the range wrote. Raises as ``read``."""
        raise NotImplementedError

    def lsn_at(self, committed_ns: int) -> int:
        """The end (exclusive) of the last transaction committed at or before the time; ``first_lsn()`` if none."""
        raise NotImplementedError

    def time_ranges(self) -> list[tuple[int, int, int, int]]:
        """The stretches without a gap: (first LSN, last LSN, first time, last time in ns)."""
        raise NotImplementedError

    def size(self) -> int:
        """Bytes on disk."""
        raise NotImplementedError

    def truncate(self, before_lsn: int) -> int:
        """Gives up whole segments that end at or before ``before_lsn``; returns the bytes freed."""
        raise NotImplementedError

    def trim(self, before_lsn: int, keep_bytes: int) -> int:
        """As ``truncate``, but oldest first and only while the archive is larger than ``keep_bytes``."""
        raise NotImplementedError

    def close(self) -> None:
        """Sync and let go. May be called twice."""
        raise NotImplementedError

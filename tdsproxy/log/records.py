"""What the log holds, in order: transactions, and the gaps where it could not be kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

Pages = Collection[tuple[int, bytes]]
"""Page numbers (from 1) with whole images. May be read more than once; of a large transaction the images
are fetched while it is iterated, so don't copy them into a list without need."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """One committed transaction: it takes the LSNs from ``lsn`` up to, not including, ``next_lsn``.

    ``committed_ns`` is UTC in nanoseconds since 1970 and never decreases from one to the next.
    ``page_count`` is the size of the database after it; no page lies beyond that. Of each page there is one
    image, the last. ``mark`` is the name that BEGIN TRANSACTION ... WITH MARK gave. ``late_ns``: another
    process's commit was found late, and may have been made so much before ``committed_ns``.
    """

    lsn: int
    next_lsn: int
    committed_ns: int
    page_size: int
    page_count: int
    pages: Pages
    mark: str | None = None
    mark_description: str | None = None
    late_ns: int = 0


@dataclass(frozen=True, slots=True)
class Gap:
    """A place where commits may be missing: nothing may be rolled forward across it.

    It takes the LSNs from ``lsn`` up to ``next_lsn``, so that every LSN tells on which side it lies.
    """

    lsn: int
    next_lsn: int
    noticed_ns: int
    reason: str


@dataclass(frozen=True, slots=True)
class WalPosition:
    """How far a WAL has been captured: all of its frames up to ``frame`` (0: none).

    ``salts`` name the generation of the WAL, ``checksum`` is the cumulative one in the header of that frame:
    if a WAL has the same at that place, all that precedes it is the same, too. ``main`` is (inode, size,
    change time in ns) of the main file, noted only when every captured frame had been copied into it:
    while it still is so, whatever is not captured lies in the WAL that is there now, from frame 1 on.
    """

    salts: tuple[int, int]
    frame: int
    checksum: tuple[int, int]
    inode: int
    main: tuple[int, int, int] | None = None


class LogError(Exception):
    """The log cannot do what was asked."""


class LogGap(LogError):
    """The transactions asked for are not all there; ``gap`` says why when the archive knows."""

    def __init__(self, message: str, gap: Gap | None = None) -> None:
        super().__init__(message)
        self.gap = gap


class ArchiveDamaged(LogError):
    """Bytes of the archive are not those that were written."""


class CaptureStopped(LogError):
    """Commits are not captured at present, so the end of the log can't be told."""

"""Capturing the commits of one database, whoever makes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tdsproxy.log.archive import Archive

CHECKPOINT_BYTES = 32 << 20


class Capturer:
    """Follows the WAL of ``path`` into ``archive``, with a thread of its own, until ``close``."""

    def __init__(
        self,
        path: Path,
        archive: Archive,
        *,
        report: Callable[[str], None] = lambda message: None,
        checkpoint_bytes: int = CHECKPOINT_BYTES,
        clock_ns: Callable[[], int] | None = None,
    ) -> None:
        """Opens the database, makes it a WAL one if it isn't, continues where the archive ends and starts.

        If it can't be shown that nothing was committed unseen since, a Gap is recorded. ``report`` is told,
        in one sentence each, what an operator must know. Raises StoreError, OSError.
        """
        raise NotImplementedError

    def capture_now(self) -> int:
        """Everything committed before the call is in the archive, durable, when it returns.

        Returns the end (exclusive) of the log. Raises CaptureStopped.
        """
        raise NotImplementedError

    def captured_until_ns(self) -> int:
        """A time up to which all commits are in the archive (as of the last look at the WAL)."""
        raise NotImplementedError

    def wake(self) -> None:
        """Something may have been committed; returns at once."""
        raise NotImplementedError

    def note_commit(self, frame: int, committed_ns: int) -> None:
        """A commit of ours, as SQLite's WAL hook told: ``frame`` is its count of pages in the WAL.

        To be called before the commit is acknowledged: then its time in the log is not after that.
        """
        raise NotImplementedError

    def announce_mark(self, name: str | None, description: str | None = None) -> None:
        """The next commit carries this mark (None: it doesn't after all).

        The caller holds the database's write lock (BEGIN IMMEDIATE) until that commit. Raises CaptureStopped.
        """
        raise NotImplementedError

    @property
    def stopped(self) -> str | None:
        """Why nothing is captured at present; None while all is well."""
        raise NotImplementedError

    def close(self, final: bool = True) -> None:
        """Ends the thread; with ``final`` captures what there is first. May be called twice."""
        raise NotImplementedError

"""What can go wrong with a database file."""

from __future__ import annotations

from pathlib import Path


class StoreError(Exception):
    """A database file cannot be read, held or replaced; ``path`` is the main file."""

    def __init__(self, path: Path, message: str) -> None:
        super().__init__(message)
        self.path = path


class CannotUnwrap(ValueError):
    """What seals a secret is another key or password, or the sealed secret was changed."""


class DatabaseMissing(StoreError):
    """There is no file at the path."""


class DatabaseBusy(StoreError):
    """Another connection holds a lock that we need and did not release it in time (SQLITE_BUSY)."""


class DatabaseUnreadable(StoreError):
    """The file is no SQLite database that can be opened: damaged, encrypted or foreign."""


class SnapshotBroken(StoreError):
    """The pages under a held read transaction are not what the WAL index promised.

    Happens when another process ignores SQLite's locks, or when the process's own locks were lost.
    """


class InstallFailed(StoreError):
    """The restored image could not be put in place; the old content is still there."""

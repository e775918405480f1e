"""What a store remembers of a database's log: how far it is backed up, and how far a restore has come.

LSNs are the decimal numbers of SQL Server (numeric(25,0)); moments are nanoseconds since 1970, UTC.
"""

from __future__ import annotations

from uuid import UUID

import msgspec


class LogChain(msgspec.Struct, frozen=True, kw_only=True):
    """The backups that the next one builds on.

    ``log_backup_lsn`` is where the next log backup begins, None while the database is pseudo-simple: in
    SIMPLE, or without a full backup since it left it. ``first_fork`` is the recovery fork that this LSN lies
    on, and ``fork_point_lsn`` where the database left it for its present one (None: they are the same).
    ``begins`` says that no log backup of the chain was taken yet. ``base_lsn``, ``base_guid`` and ``base_ns``
    are the last full backup's that was not copy-only: the base of differentials. ``unlogged_lsn`` is the last
    number of a backup that was taken while the log was not captured: the log has a gap, or gets one, behind.
    """

    log_backup_lsn: int | None = None
    first_fork: UUID | None = None
    fork_point_lsn: int | None = None
    begins: bool = True
    base_lsn: int | None = None
    base_guid: UUID | None = None
    base_ns: int | None = None
    unlogged_lsn: int | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """What the last restore in place replaced: a copy of the database's content, and what the catalog said
    of it.

    ``copy`` is the file, relative to the store; its name without suffix is what RESTORE ... FROM
    DATABASE_SNAPSHOT calls it. ``ns`` is when it was replaced. ``lsn`` is the end of the log, on ``fork``,
    that led to it, None where that is not known.
    """

    copy: str
    ns: int
    fork: UUID
    lsn: int | None
    chain: LogChain
    family: UUID
    recovery_model: int
    read_only: bool
    collation: str
    compatibility: int
    data_name: str
    data_path: str
    data_file_guid: UUID
    log_name: str
    log_path: str
    log_file_guid: UUID


class Redo(msgspec.Struct, frozen=True, kw_only=True):
    """How far a database in the middle of a restore has been rolled forward.

    ``image`` is the file, relative to the store, that is rolled forward; empty for a database whose own
    file it is (its tail was backed up WITH NORECOVERY). The log is needed from ``lsn`` on, on ``fork``.
    ``base_guid`` and ``base_lsn`` name the full backup, ``base`` says that nothing but it is in the image.
    ``rolled`` says that what was applied last is a log: a log set that ends at ``lsn`` has been applied,
    where after a full or differential set it is one of a time without commits; ``logged`` that log was
    applied since the last full or differential set. ``unfinished`` says that a
    roll forward was interrupted: pages of different states may lie in the image until the same has been
    applied again, which is the set ``pending``, up to ``pending_stop``, or all of it (None: the log that
    arrived from another store, up to ``pending_lsn``). ``recovering`` says that all is applied and the image
    is being put in place: whoever finds it so finishes that. ``ns`` is the time that the content has reached.
    ``ends_chain`` says that log backups cannot go on from this content: its log is not known, or would lie on
    too many forks. ``backed_lsn`` is up to where its log is in log backups (None: up to ``lsn``). ``former``
    is what the file holds that the image will replace, ``copy`` and ``ns`` not known yet. ``damaged`` says
    that something of what was applied was damaged: whoever goes on says that errors are no reason to stop.
    """

    image: str
    fork: UUID
    lsn: int
    base_guid: UUID | None = None
    base_lsn: int | None = None
    base: bool = False
    rolled: bool = False
    logged: bool = False
    unfinished: bool = False
    pending: UUID | None = None
    pending_stop: str | None = None
    pending_lsn: int | None = None
    recovering: bool = False
    ns: int = 0
    ends_chain: bool = False
    backed_lsn: int | None = None
    former: Kept | None = None
    damaged: bool = False


class PageRedo(msgspec.Struct, frozen=True, kw_only=True):
    """Pages of a database in use that are being restored: their numbers, ascending, and how far they are.

    ``redo.image`` holds nothing but these pages, each at its place. The database was at ``target_lsn`` when
    the restore of the pages began: they must be rolled forward at least so far.
    """

    numbers: tuple[int, ...]
    target_lsn: int
    redo: Redo


class Fork(msgspec.Struct, frozen=True, kw_only=True):
    """One recovery fork of a database: it left ``parent`` at ``point_lsn``, and its log begins at
    ``start_lsn``. ``database`` is the database's GUID. ``through_ns`` is when its log was no longer kept
    although the database could be written to (SIMPLE); None: whatever was committed is in the log."""

    database: UUID
    fork: UUID
    parent: UUID | None
    point_lsn: int | None
    start_lsn: int
    created_ns: int
    through_ns: int | None = None


def encode(document: LogChain | Redo | PageRedo | Kept) -> str:
    """The document as JSON."""
    return msgspec.json.encode(document).decode()


def decode_chain(text: str | None) -> LogChain:
    return LogChain() if not text else msgspec.json.decode(text, type=LogChain)


def decode_redo(text: str | None) -> Redo | None:
    return None if not text else msgspec.json.decode(text, type=Redo)


def decode_page_redo(text: str | None) -> PageRedo | None:
    return None if not text else msgspec.json.decode(text, type=PageRedo)


def decode_kept(text: str | None) -> Kept | None:
    return None if not text else msgspec.json.decode(text, type=Kept)

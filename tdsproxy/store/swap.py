"""Putting an image in place of an existing database by a rename: only for a file that nobody has open.

A process that kept the old file open would read the old pages beside the new file's WAL, so there must be
proof. It is the kernel's: a write lease (fcntl(2), F_SETLEASE) is given only for a file that has no other
descriptor in any process, and while it is held whoever opens the file waits in open(2). The way:

1. The write lock is taken, and the log captured to its end; what had the file open for that lets go of it.
   If another process holds the lock of a reader, the rename is out of the question, and nothing has happened.
2. The file is opened again, for an instant by nobody else, and the lease is taken. What the file and its WAL
   were in step 1 they must be now; else somebody committed in between, and all begins again in the other way.
3. The WAL is copied into the file, and the file leaves WAL mode: it needs nothing beside it now.
4. The old file gets a second name, ``.undo/.NAME.former``; the image is renamed over the first one.
5. Who came in the instant before the rename has the old file, under the name of the new one: as soon as a WAL
   of that name is there SQLite would read both as one. So the old file stays locked, exclusively, until the
   kernel gives the lease once more, which proves that nobody has it.

Killed before 4 the old database is there, though maybe no more in WAL mode; after it the new one. What the
second name means is found out by ``settle_former``. Nothing is copied: each page was written once.

A file that the disk cannot read any more (``is_lost_to_disk``) is replaced in the same way, but as it lies
there, with the WAL and the journal that belong to it (``swap_lost``).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, InstallFailed, SnapshotBroken
from tdsproxy.store.file_keys import connect
from tdsproxy.store.files import UNDO_DIRECTORY, fsync_directory, rename_durably, sidecars
from tdsproxy.store.snapshot import PageView, open_database

FORMER_SUFFIX: Final = ".former"

_WAL_VERSIONS: Final = b"\x02\x02"
_VERSIONS_AT: Final = 18
_COOKIE_AT: Final = 40
_COOKIE: Final = struct.Struct(">I")
_MAX_COOKIE: Final = 0x7FFF_FFFF
# SQLite's lock of readers: SHARED_FIRST and SHARED_SIZE of its os_unix.c, part of the file format.
_SHARED_FIRST: Final = file_header.PENDING_BYTE + 2
_SHARED_SIZE: Final = 510
# struct flock of Linux on 64 bits: type, whence, start, length, process.
_FLOCK: Final = struct.Struct("hhqqi4x")
# A time of modification so old is not that of a write which is still to come.
_OLD_NS: Final = 5_000_000_000
_LATE_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class _Rest:
    """What a file and its WAL are while nobody can write. ``frames`` None: the WAL holds none."""

    inode: int
    size: int
    modified_ns: int
    frames: tuple[int, tuple[int, int]] | None


def swap(
    image: Path,
    target: Path,
    *,
    busy_milliseconds: int,
    cancelled: Callable[[], bool],
    locked: Callable[[], None],
) -> Path | None:
    """Make ``image``, complete and synced, the database ``target``; returns the old file's new name,
    ``former_path``.

    None when there is no proof that nobody has the file open, or the file is none in WAL mode: it is what it
    was, and so is the image. ``locked`` may have been called then. Raises DatabaseBusy, InstallFailed (it was
    cancelled), OSError, and what ``locked`` raises; the file is then what it was, the image maybe used up.
    """
    if not _is_suitable(image, target):
        return None
    rest = _at_rest(target, busy_milliseconds, cancelled, locked)
    if rest is None:
        return None
    try:
        alone = connect(target)
    except DatabaseUnreadable:
        return None
    former: tuple[Path, int] | None = None
    try:
        descriptor = _only_descriptor(rest.inode, target)
        if descriptor is None:
            return None
        with _leased(descriptor) as granted:
            if not granted or _rest_of(alone, target) != rest:
                return None
            former = _rename_leased(alone, descriptor, image, target, cancelled)
    except (apsw.Error, SnapshotBroken):
        return None
    finally:
        alone.close()
    if former is None:
        return None
    path, locked_descriptor = former
    _close_when_alone(locked_descriptor)
    return path


def is_lost_to_disk(target: Path) -> bool:
    """Whether the disk fails to read what SQLite needs of the file to open it."""
    try:
        connection = open_database(target, 0)
    except DatabaseUnreadable as error:
        return isinstance(error.__cause__, apsw.IOError)
    except OSError as error:
        return error.errno in (None, errno.EIO)
    try:
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.execute("PRAGMA schema_version").fetchall()
    except apsw.IOError:
        return True
    except apsw.Error:
        return False
    finally:
        connection.close()
    return False


def swap_lost(
    image: Path, target: Path, *, cancelled: Callable[[], bool], locked: Callable[[], None]
) -> Path | None:
    """``swap`` for a file that SQLite cannot open: nothing of it is read. Its WAL and its journal go with it,
    under its second name. Raises InstallFailed, OSError, and what ``locked`` raises."""
    if not _is_suitable(image, target):
        return None
    before = _outside(target)
    # This process may have it open for the capture of its log.
    locked()
    if _descriptors(target.stat().st_ino, target):
        return None
    descriptor = os.open(target, os.O_RDWR | os.O_CLOEXEC)
    kept = os.dup(descriptor)
    former = former_path(target)
    done = False
    try:
        with _leased(descriptor) as granted:
            if not granted or _outside(target) != before or not _prepared(image, target, former, 0, kept):
                return None
            if cancelled():
                raise InstallFailed(target, "the restore was cancelled")
            if not _nobody_waits(descriptor):
                return None
            _move_sidecars(target, former)
            crashpoints.reach("install.sidecars-kept")
            image.replace(target)
            try:
                fsync_directory(target.parent)
            except OSError:
                # As in _rename_leased.
                former.replace(target)
                raise
            done = True
    finally:
        os.close(descriptor)
        if not done:
            try:
                _move_sidecars(former, target)
                former.unlink(missing_ok=True)
            finally:
                # The lock ends with it.
                os.close(kept)
    _close_when_alone(kept)
    return former


def _outside(target: Path) -> list[tuple[int, int, int] | None]:
    """What shows from outside that somebody has written the file or what belongs to it."""
    found: list[tuple[int, int, int] | None] = []
    for path in (target, *_belongings(target)):
        try:
            status = path.stat()
        except FileNotFoundError:
            found.append(None)
        else:
            found.append((status.st_ino, status.st_size, status.st_mtime_ns))
    return found


def _belongings(path: Path) -> list[Path]:
    """What holds content of the database beside its file; the WAL index is none, and goes."""
    return [one for one in sidecars(path) if not one.name.endswith("-shm")]


def _move_sidecars(source: Path, target: Path) -> None:
    """WAL and journal of ``source`` become those of ``target``, durably."""
    moved = False
    for one, other in zip(_belongings(source), _belongings(target), strict=True):
        if one.exists():
            one.replace(other)
            moved = True
    for path in (source, target):
        path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    if moved:
        fsync_directory(target.parent)
        fsync_directory(source.parent)


def _is_suitable(image: Path, target: Path) -> bool:
    """A link, of either kind, must go on leading to the database; and a rename needs one file system."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        status = target.lstat()
        return (
            not target.is_symlink() and status.st_nlink == 1 and status.st_dev == image.parent.stat().st_dev
        )
    except OSError:
        return False


def _at_rest(
    target: Path, busy_milliseconds: int, cancelled: Callable[[], bool], locked: Callable[[], None]
) -> _Rest | None:
    """What the file is after the last commit, with the log captured; None when others have it open."""
    live = open_database(target, busy_milliseconds, cancelled)
    try:
        try:
            # The WAL must stay as it is when this connection is the last one to close.
            live.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            live.execute("BEGIN IMMEDIATE").fetchall()
        except (apsw.BusyError, apsw.LockedError) as error:
            raise DatabaseBusy(target, f"{target} is in use: {error}") from error
        except apsw.Error:
            return None
        descriptors = _descriptors(target.stat().st_ino, target)
        if not descriptors or _others_read(descriptors[0]):
            return None
        crashpoints.reach("install.locked")
        locked()
        try:
            rest = _state_of(live, target)
        except SnapshotBroken:
            return None
        if rest is not None and time.time_ns() - rest.modified_ns < _OLD_NS:
            # A write that is still to come must give the file another time than it has.
            older = rest.modified_ns - _OLD_NS
            os.utime(target, ns=(target.stat().st_atime_ns, older))
            rest = _Rest(rest.inode, rest.size, older, rest.frames)
        return rest
    finally:
        live.close()


def _rest_of(connection: apsw.Connection, target: Path) -> _Rest | None:
    connection.execute("BEGIN").fetchall()
    try:
        connection.execute("PRAGMA schema_version").fetchall()
        return _state_of(connection, target)
    finally:
        connection.execute("ROLLBACK").fetchall()


def _state_of(connection: apsw.Connection, target: Path) -> _Rest | None:
    """None for a file that is not in WAL mode. The connection has a transaction open."""
    view = PageView(connection, target)
    try:
        if view.commit is None:
            return None
        _, last_frame, salts = view.commit
        status = target.stat()
        frames = (last_frame, salts) if last_frame else None
        return _Rest(status.st_ino, status.st_size, status.st_mtime_ns, frames)
    finally:
        view.close()


def _descriptors(inode: int, target: Path) -> list[int]:
    """The descriptors that this process has of the file."""
    device = target.stat().st_dev
    found = []
    for path in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            status = path.stat()
            if (status.st_ino, status.st_dev) == (inode, device):
                found.append(int(path.name))
    return found


def _only_descriptor(inode: int, target: Path) -> int | None:
    """SQLite's own descriptor: a further one must not be opened, for its end would end SQLite's locks."""
    found = _descriptors(inode, target)
    return found[0] if len(found) == 1 else None


def _others_read(descriptor: int) -> bool:
    """Whether another process holds the lock that each connection to a file in WAL mode has."""
    asked = _FLOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, _SHARED_FIRST, _SHARED_SIZE, 0)
    kind = _FLOCK.unpack(fcntl.fcntl(descriptor, fcntl.F_GETLK, asked))[0]
    return bool(kind != fcntl.F_UNLCK)


@contextlib.contextmanager
def _leased(descriptor: int) -> Iterator[bool]:
    """Holds the lease if it can be had."""
    try:
        # The kernel tells of those who wait by a signal; this one is ignored unless somebody listens.
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_WRLCK)
    except OSError:
        # Somebody has it open, or it is not our file, or there are no leases on this file system.
        yield False
        return
    try:
        yield True
    finally:
        # A lease that was broken for too long is gone.
        with contextlib.suppress(OSError):
            fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def _nobody_waits(descriptor: int) -> bool:
    return fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_WRLCK


def _rename_leased(
    alone: apsw.Connection, descriptor: int, image: Path, target: Path, cancelled: Callable[[], bool]
) -> tuple[Path, int] | None:
    """The old file's new name, and a descriptor of it that is locked."""
    former = former_path(target)
    cookie = int(str(alone.execute("PRAGMA schema_version").fetchall()[0][0]))
    kept = os.dup(descriptor)
    renamed = False
    try:
        mode = alone.execute("PRAGMA journal_mode=DELETE").fetchall()[0][0]
        if mode != "delete" or any(path.exists() for path in sidecars(target)):
            return None
        crashpoints.reach("install.alone")
        if not _prepared(image, target, former, cookie, kept):
            return None
        crashpoints.reach("install.former-kept")
        if cancelled():
            raise InstallFailed(target, "the restore was cancelled")
        if not _nobody_waits(descriptor):
            return None
        image.replace(target)
        renamed = True
        crashpoints.reach("install.renamed")
        try:
            fsync_directory(target.parent)
        except OSError:
            # Which of the two would be there after a power cut, nobody knows; the old one is what to have.
            former.replace(target)
            renamed = False
            raise
        return former, kept
    finally:
        if not renamed:
            # A file system that refuses it has no lock to give back.
            with contextlib.suppress(OSError):
                _lock(kept, fcntl.F_UNLCK)
            os.close(kept)
            former.unlink(missing_ok=True)
            alone.execute("PRAGMA journal_mode=WAL").fetchall()


def _lock(descriptor: int, kind: int = fcntl.F_WRLCK) -> None:
    """Locks the file as SQLite's EXCLUSIVE does, for the open file and not for the process: the lock lasts as
    long as any descriptor that dup(2) made of this one, whatever other ones are closed. Raises OSError."""
    wanted = _FLOCK.pack(kind, os.SEEK_SET, file_header.PENDING_BYTE, 2 + _SHARED_SIZE, 0)
    fcntl.fcntl(descriptor, fcntl.F_OFD_SETLK, wanted)


def _close_when_alone(descriptor: int) -> None:
    """Closes the replaced file, locked as it is, when nobody else has it: nearly always at once, else in a
    thread."""
    # Who looked the name up before the rename opens the file within this time, or has been seen.
    time.sleep(_LATE_SECONDS)
    if _is_alone(descriptor):
        os.close(descriptor)
        return

    def wait() -> None:
        while not _is_alone(descriptor):
            time.sleep(_LATE_SECONDS)
        os.close(descriptor)

    threading.Thread(target=wait, name="replaced file", daemon=True).start()


def _is_alone(descriptor: int) -> bool:
    with _leased(descriptor) as granted:
        return granted


def _prepared(image: Path, target: Path, former: Path, cookie: int, descriptor: int) -> bool:
    """False when a file system or the rights of this process do not allow it."""
    try:
        _resemble(image, target, cookie)
        _link(target, former)
        _lock(descriptor)
    except OSError:
        return False
    return True


def _link(target: Path, former: Path) -> None:
    if not former.parent.exists():
        former.parent.mkdir(mode=0o700)
        fsync_directory(former.parent.parent)
    former.unlink(missing_ok=True)
    os.link(target, former)
    fsync_directory(former.parent)


def _resemble(image: Path, target: Path, cookie: int) -> None:
    """What others expect of the file: its owner, who may open it, WAL mode, and a schema cookie that it never
    had."""
    status, own = target.stat(), image.stat()
    if (own.st_uid, own.st_gid) != (status.st_uid, status.st_gid):
        os.chown(image, status.st_uid, status.st_gid)
    image.chmod(status.st_mode & 0o7777)
    for name in os.listxattr(target):
        os.setxattr(image, name, os.getxattr(target, name))
    # Nobody has the image open.
    descriptor = os.open(image, os.O_RDWR | os.O_CLOEXEC)
    try:
        head = os.pread(descriptor, file_header.SIZE, 0)
        parsed = file_header.parse(head)
        if parsed is not None and not parsed.encrypted:
            (present,) = _COOKIE.unpack_from(head, _COOKIE_AT)
            changed = max(present, cookie) % _MAX_COOKIE + 1
            os.pwrite(descriptor, _COOKIE.pack(changed), _COOKIE_AT)
        os.pwrite(descriptor, _WAL_VERSIONS, _VERSIONS_AT)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def former_path(target: Path) -> Path:
    """The second name of the old file while it is replaced."""
    return target.parent / UNDO_DIRECTORY / f".{target.stem}{FORMER_SUFFIX}"


def settle_former(target: Path, undo: Path | None) -> Path | None:
    """What a replacement left that was killed, or has just been done: the old file gets the name ``undo``
    (None: it goes), durably; a mere second name of the present file goes. Returns ``undo`` if it is there.

    Raises OSError.
    """
    former = former_path(target)
    if not former.exists():
        return None
    if target.exists() and former.samefile(target):
        # It was not replaced; what belongs to it may already have been put aside.
        if not any(path.exists() for path in _belongings(target)):
            _move_sidecars(former, target)
        former.unlink()
        return None
    if undo is None:
        for path in (*_belongings(former), former):
            path.unlink(missing_ok=True)
        return None
    _move_sidecars(former, undo)
    rename_durably(former, undo)
    return undo

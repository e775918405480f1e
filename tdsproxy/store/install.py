"""Putting a restored image in place of a database, under the locks of everyone who has it open.

A new name gets the image by a rename; so does an existing database that demonstrably nobody has open
(``swap``). An existing database that others have open gets the image's pages *through SQLite*, in one write
transaction: other processes' connections see the old content until it commits, and the new after it.
Between taking the write lock and committing, the old content is copied aside (``.undo/``), so the copy is
exactly what the restore replaced.

So with others each page is written four times, each for a reason of its own. The image: nothing is replaced
before the whole set has been checked, and a restore that is killed goes on from it. The copy in ``.undo``:
the file keeps its inode, so what is kept must lie elsewhere, durable before the commit. The WAL: it alone
makes the change visible at once to readers in other processes, whether this one lives or dies, and leaves
them the old pages until they end. The main file: the checkpoint, for a WAL may not stay that big. To write
the main file directly, under locks, would save the WAL; but a kill lets go of the locks, and others would
read a mixture until the restore goes on. To leave out equal pages SQLite would have to be told so; its
backup API copies all.

Cases that the backup API does not do by itself:

* Page sizes differ and the live file is in WAL mode, where a page size cannot change: the image is
  converted first by VACUUM INTO with the live file's page size. Contents are equal, pages are laid out
  anew, and rowids of tables without an INTEGER PRIMARY KEY may change, as with any VACUUM.
* The live file is no readable database any more: ``SQLITE_DBCONFIG_RESET_DATABASE`` lets SQLite treat it as
  empty; what was there is kept aside byte for byte.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import apsw

from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, InstallFailed, SnapshotBroken, StoreError
from tdsproxy.store.file_keys import connect
from tdsproxy.store.files import (
    SUFFIX,
    UNDO_DIRECTORY,
    clear_sidecars,
    fsync_directory,
    rename_durably,
    sidecars,
)
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import PageView, Snapshot, copy_pages, open_database
from tdsproxy.store.swap import FORMER_SUFFIX, is_lost_to_disk, settle_former, swap, swap_lost

_COPY_PAGES = 4096
_IMAGE_SUFFIX = ".restoring"
_UNDO_SUFFIX = ".new"
_UNREADABLE = (apsw.NotADBError, apsw.CorruptError)
# Of the file's header: journal mode, change counter, schema cookie, version-valid-for and library version.
_COUNTERS = ((18, 20), (24, 28), (40, 44), (92, 100))
_LOCKED = (apsw.BusyError, apsw.LockedError)


@dataclass(frozen=True, slots=True)
class Installed:
    """How an image was put in place. ``undo`` is the copy of the old content, None when there was none."""

    path: Path
    undo: Path | None = None
    converted_page_size: bool = False


def install_new(image: Path, target: Path) -> Installed:
    """Make ``image``, complete and synced, the new database ``target``, which must not exist.

    WAL and journal files that an earlier database of that name left behind would be replayed over the
    image, so they go first. Raises InstallFailed when the target exists, OSError.
    """
    if target.exists():
        raise InstallFailed(target, f"{target} exists")
    clear_sidecars(target)
    crashpoints.reach("install.before-rename")
    rename_durably(image, target)
    crashpoints.reach("install.after-rename")
    return Installed(target)


def replace_live(
    image: Path,
    target: Path,
    *,
    keep_undo: bool = True,
    keep_older: bool = False,
    busy_milliseconds: int = 5_000,
    cancelled: Callable[[], bool] = lambda: False,
    locked: Callable[[], None] = lambda: None,
) -> Installed:
    """Give the existing database ``target`` the content of ``image``, by a rename or in one transaction.

    ``image`` is used up. Copies of what was replaced before go, unless ``keep_older``. ``locked`` is called
    while the old content is still there and nobody else can write any more; what it raises ends the attempt.
    It is called once more when somebody opens the file behind the first time. Raises DatabaseBusy when the
    write lock can't be had in ``busy_milliseconds``,
    InstallFailed, OSError; the old content is then untouched. ``cancelled`` is asked until the commit begins;
    true raises InstallFailed.
    """
    _never_empty(image)
    source_wal = leave_wal_mode(image)
    settle_former(target, _undo_path(target))
    try:
        former = None
        if is_lost_to_disk(target):
            former = swap_lost(image, target, cancelled=cancelled, locked=locked)
        else:
            former = swap(
                image, target, busy_milliseconds=busy_milliseconds, cancelled=cancelled, locked=locked
            )
    except BaseException:
        image.unlink(missing_ok=True)
        raise
    if former is not None:
        undo = _named(target, keep_undo=keep_undo, keep_older=keep_older)
        crashpoints.reach("install.after-commit")
        return Installed(target, undo)
    leave_wal_mode(image)
    live = open_database(target, busy_milliseconds, cancelled)
    converted: Path | None = None
    try:
        state = _state_of(live, target)
        if state.wal and state.page_size is not None and _page_size(image) not in (None, state.page_size):
            converted = _convert(image, state.page_size)
        undo = _copy_into(live, converted or image, target, state, keep_undo, cancelled, locked)
        # It is committed: from here on a disk that fails must not make it look undone.
        if undo is not None and not keep_older:
            with contextlib.suppress(OSError):
                _drop_older(undo, target)
        crashpoints.reach("install.after-commit")
        _settle(live, source_wal or state.wal)
    finally:
        live.close()
        for path in (image, converted):
            if path is not None:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)
    return Installed(target, undo, converted is not None)


def _named(target: Path, *, keep_undo: bool, keep_older: bool) -> Path | None:
    """The former content gets its name, and those before it go. The replacement is done, so a disk that fails
    now can't undo it: whatever names the file has, ``settle_former`` finds out later."""
    undo = _undo_path(target) if keep_undo else None
    with contextlib.suppress(OSError):
        settle_former(target, undo)
    with contextlib.suppress(OSError):
        if undo is not None and undo.exists() and not keep_older:
            _drop_older(undo, target)
        _unfinished_undo(target).unlink(missing_ok=True)
    return undo if undo is not None and undo.exists() else None


@dataclass(frozen=True, slots=True)
class _State:
    """What the live file is; None members when SQLite cannot read it at all."""

    readable: bool
    page_size: int | None = None
    wal: bool = False


def _state_of(live: apsw.Connection, target: Path) -> _State:
    try:
        # Neither needs a sound schema.
        live.execute("PRAGMA schema_version").fetchall()
    except _UNREADABLE:
        return _State(False)
    except _LOCKED as error:
        raise DatabaseBusy(target, f"{target} is in use: {error}") from error
    head = bytearray(file_header.SIZE)
    PageFile(live).read_into(memoryview(head), 0)
    parsed = file_header.parse(bytes(head))
    return _State(True, parsed.page_size, parsed.wal) if parsed is not None else _State(True)


def _copy_into(
    live: apsw.Connection,
    image: Path,
    target: Path,
    state: _State,
    keep_undo: bool,
    cancelled: Callable[[], bool],
    locked: Callable[[], None],
) -> Path | None:
    if state.readable:
        # Acknowledged means durable: in WAL mode only FULL syncs the log at the commit. Where the schema is
        # damaged the pragma fails, and the library's default, which is FULL, holds.
        with contextlib.suppress(*_UNREADABLE):
            live.execute("PRAGMA synchronous=FULL").fetchall()
    else:
        live.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 1)
    source = connect(image)
    undo: _OldContent | None = None
    try:
        backup = live.backup("main", source, "main")
        try:
            # A step of no page takes the write lock; from here on the old content stands still. It must not
            # be a page: the step that copies the last one commits.
            backup.step(0)
            crashpoints.reach("install.locked")
            locked()
            if keep_undo:
                undo = _OldContent(live, target, state.readable)
            crashpoints.reach("install.undo-kept")
            with _written_early(target) as write_out:
                while not backup.done:
                    if cancelled():
                        raise InstallFailed(target, "the restore was cancelled")
                    crashpoints.reach("install.copying")
                    if undo is not None and backup.remaining <= _COPY_PAGES:
                        undo.settle()
                    backup.step(_COPY_PAGES)
                    write_out()
        except BaseException:
            # Closing reports the error of the last step again.
            with contextlib.suppress(apsw.Error):
                backup.close(True)
            if undo is not None:
                # Nothing was replaced, so the copy made before is still the one to keep.
                undo.drop()
            raise
        backup.close()
    except _LOCKED as error:
        raise DatabaseBusy(target, f"{target} is in use: {error}") from error
    except apsw.Error as error:
        raise InstallFailed(target, f"SQLite cannot replace the content of {target}: {error}") from error
    finally:
        source.close()
        if not state.readable:
            live.config(apsw.SQLITE_DBCONFIG_RESET_DATABASE, 0)
    return undo.path if undo is not None else None


@contextlib.contextmanager
def _written_early(target: Path) -> Iterator[Callable[[], None]]:
    """Yields what lets the kernel begin to write what came to the WAL, so that the sync at the commit is
    short.

    The file can be opened and closed here: SQLite holds no locks on a WAL.
    """
    try:
        descriptor = os.open(f"{target}-wal", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield lambda: None
        return
    done = os.fstat(descriptor).st_size

    def write_out() -> None:
        nonlocal done
        size = os.fstat(descriptor).st_size
        if size > done:
            # Pages that are not written yet are not dropped by this.
            os.posix_fadvise(descriptor, done, size - done, os.POSIX_FADV_DONTNEED)
            done = size

    try:
        yield write_out
    finally:
        os.close(descriptor)


class _OldContent:
    """A copy of the content that is about to be replaced, byte for byte where SQLite cannot read it.

    It is made here, under the write lock; ``settle`` waits until it is durable and has its name, which goes
    on in a thread while the new content is written.
    """

    def __init__(self, live: apsw.Connection, target: Path, readable: bool) -> None:
        directory = target.parent / UNDO_DIRECTORY
        if not directory.exists():
            directory.mkdir(mode=0o700)
            fsync_directory(directory.parent)
        self.path = _undo_path(target)
        self._temporary = _unfinished_undo(target)
        try:
            if not (readable and _copy_state(live, target, self._temporary)):
                _copy_bytes(PageFile(live), self._temporary)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="undo")
        self._settled = self._pool.submit(self._make_durable)

    def _make_durable(self) -> None:
        descriptor = os.open(self._temporary, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        rename_durably(self._temporary, self.path)

    def settle(self) -> None:
        """Raises OSError."""
        self._settled.result()
        self._pool.shutdown()

    def drop(self) -> None:
        """Nothing was replaced."""
        self._pool.shutdown(wait=True)
        for path in (self._temporary, self.path):
            path.unlink(missing_ok=True)


def _undo_path(target: Path) -> Path:
    moment = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%S%f")
    return target.parent / UNDO_DIRECTORY / f"{target.stem}-{moment}{SUFFIX}"


def _unfinished_undo(target: Path) -> Path:
    return target.parent / UNDO_DIRECTORY / f".{target.stem}{_UNDO_SUFFIX}"


def is_installed(image: Path, target: Path) -> bool:
    """Whether ``image`` is by another name what ``target`` is: a rename has put it in place."""
    return image.exists() and target.exists() and image.samefile(target)


def holds(target: Path, content: Path) -> bool:
    """Whether the database ``target`` has, but for SQLite's counters, the pages of the file ``content``,
    which nobody has open; false where that cannot be told, as of encrypted files, or when the page sizes
    differ."""
    try:
        with Snapshot(target) as snapshot, content.open("rb") as file:
            head = file_header.parse(file.read(file_header.SIZE))
            if head is None or head.page_size != snapshot.page_size:
                return False
            if file.seek(0, os.SEEK_END) != snapshot.size:
                return False
            for first, pages in snapshot.stream():
                file.seek((first - 1) * snapshot.page_size)
                wanted = bytearray(file.read(len(pages)))
                found = bytearray(pages)
                for start, end in _COUNTERS if first == 1 else ():
                    wanted[start:end] = found[start:end] = bytes(end - start)
                if found != wanted:
                    return False
    except (StoreError, OSError, apsw.Error):
        return False
    return True


def undo_copies(target: Path) -> list[Path]:
    """The copies of what restores replaced in the database ``target``, the latest last."""
    found: list[Path] = []
    for path in sorted((target.parent / UNDO_DIRECTORY).glob(f"*{SUFFIX}")):
        stem, dash, _ = path.stem.rpartition("-")
        if dash and stem == target.stem:
            found.append(path)
    return found


def remove_copy(copy: Path) -> None:
    """A copy of what a restore replaced goes, with what belongs to it. Raises OSError."""
    for path in (*sidecars(copy), copy):
        path.unlink(missing_ok=True)


def settle_copy(copy: Path) -> None:
    """What the disk could not read was kept as it lay there, and its WAL or journal beside it: they go into
    the file, or out of it. Raises DatabaseUnreadable."""
    if not any(path.exists() for path in sidecars(copy)):
        return
    connection = open_database(copy, 0)
    try:
        connection.execute("PRAGMA schema_version").fetchall()
        mode = connection.execute("PRAGMA journal_mode=DELETE").fetchall()
    except apsw.Error as error:
        raise DatabaseUnreadable(copy, f"SQLite cannot read {copy}: {error}") from error
    finally:
        connection.close()
    if mode != [("delete",)]:
        raise DatabaseUnreadable(copy, f"the WAL of {copy} cannot be ended")


def _drop_older(undo: Path, target: Path) -> None:
    for path in undo_copies(target):
        if path != undo:
            remove_copy(path)


def _copy_state(live: apsw.Connection, target: Path, path: Path) -> bool:
    """The committed state that ``live`` sees; false where the file does not have all of its pages."""
    try:
        view = PageView(live, target)
        try:
            copy_pages(view.page_size, view.page_count, view.read_run, path, durable=False)
            view.check()
        finally:
            view.close()
    except SnapshotBroken:
        return False
    return True


def _copy_bytes(file: PageFile, path: Path) -> None:
    size = file.size()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        buffer = memoryview(bytearray(1 << 20))
        for offset in range(0, size, len(buffer)):
            part = buffer[: min(len(buffer), size - offset)]
            file.read_into(part, offset)
            while part:
                part = part[os.write(descriptor, part) :]
    finally:
        os.close(descriptor)


def _head(image: Path) -> file_header.FileHeader | None:
    # The image is nobody's database yet, so a plain descriptor is harmless.
    with image.open("rb") as file:
        return file_header.parse(file.read(file_header.SIZE))


def leave_wal_mode(image: Path) -> bool:
    """Make an image, which nobody has open, openable without a WAL beside it; true if it was in WAL mode."""
    head = _head(image)
    if head is None or not head.wal:
        return False
    with image.open("r+b") as file:
        file.seek(18)
        file.write(b"\x01\x01")
        file.flush()
        os.fsync(file.fileno())
    return True


def _never_empty(image: Path) -> None:
    """A database without a page gets its first: SQLite's backup of none commits before anything is kept."""
    if image.stat().st_size:
        return
    connection = apsw.Connection(str(image))
    try:
        connection.execute("PRAGMA journal_mode=WAL").fetchall()
    finally:
        connection.close()


def _page_size(image: Path) -> int | None:
    head = _head(image)
    return head.page_size if head is not None else None


def _convert(image: Path, page_size: int) -> Path:
    head = _head(image)
    if head is not None and head.encrypted:
        raise InstallFailed(image, "the pages of an encrypted file keep their size")
    converted = image.with_name(image.name + ".converted")
    converted.unlink(missing_ok=True)
    source = connect(image)
    try:
        # Only once the file has been read does the pragma mean the next page size, not this one.
        source.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        source.execute(f"PRAGMA page_size={page_size}").fetchall()
        source.execute("VACUUM INTO ?", (str(converted),)).fetchall()
    except BaseException as error:
        converted.unlink(missing_ok=True)
        if isinstance(error, apsw.Error):
            raise InstallFailed(image, f"the page size can't be made {page_size}: {error}") from error
        raise
    finally:
        source.close()
    return converted


def _settle(live: apsw.Connection, wal: bool) -> None:
    """After the commit: the journal mode that the content had, and a WAL that does not stay big.

    Nothing here can harm the restore any more: a lock that others hold is left to them, and what a failing
    or full disk does not take stays in the WAL, which is durable, for the next checkpoint.
    """
    live.set_busy_handler(None)
    with contextlib.suppress(apsw.Error):
        if wal:
            live.execute("PRAGMA journal_mode=WAL").fetchall()
        live.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def image_path(target: Path) -> Path:
    """Where the image of ``target`` is built: beside it, so that a rename can put it in place."""
    return target.with_name(f".{target.name}{_IMAGE_SUFFIX}")


def remove_leftovers(store: Path) -> list[Path]:
    """Remove what killed restores left in a store; for its owner, while nothing is being restored there.
    The former content that one of them kept gets its name.

    Returns what was removed. Raises OSError.
    """
    if not store.is_dir():
        return []
    for former in (store / UNDO_DIRECTORY).glob(f".*{FORMER_SUFFIX}"):
        target = store / f"{former.name[1 : -len(FORMER_SUFFIX)]}{SUFFIX}"
        settle_former(target, _undo_path(target))
    patterns = (f".*{SUFFIX}{_IMAGE_SUFFIX}*", f"{UNDO_DIRECTORY}/.*{_UNDO_SUFFIX}")
    found = [path for pattern in patterns for path in store.glob(pattern)]
    for path in found:
        path.unlink()
    return found


def wait_for_release(path: Path, seconds: float, poll: float = 0.05) -> None:
    """Wait until no other connection, of any process, has ``path`` open. Raises DatabaseBusy.

    Proof is the exclusive lock, taken for a moment.
    """
    deadline = time.monotonic() + seconds
    while True:
        connection = open_database(path, 0)
        try:
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
            connection.execute("BEGIN EXCLUSIVE").fetchall()
            connection.execute("ROLLBACK").fetchall()
            return
        except _LOCKED as error:
            if time.monotonic() >= deadline:
                raise DatabaseBusy(path, f"{path} is in use: {error}") from error
        except _UNREADABLE as error:
            raise DatabaseUnreadable(path, f"SQLite cannot read {path}: {error}") from error
        finally:
            connection.close()
        time.sleep(poll)

"""RESTORE DATABASE and RESTORE VERIFYONLY: a backup set, every byte checked, as a database file."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.backup.errors import (
    InsufficientSpace,
    OperationCancelled,
    TargetError,
    TargetExists,
    WrongSet,
)
from tdsproxy.backup.pipeline import ordered_map
from tdsproxy.media.codecs import Decompressor
from tdsproxy.media.device import MediaDevice
from tdsproxy.media.documents import FULL, Image
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.reader import MediaReader, SetInfo, SetLocation, StoredRun
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.errors import DatabaseBusy, InstallFailed
from tdsproxy.store.install import image_path, install_new, replace_live

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    del done, total


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A database that is restored and durable at ``path``.

    ``undo`` is a copy of the content that was replaced, None for a new database.
    """

    path: Path
    info: SetInfo
    undo: Path | None
    converted_page_size: bool
    seconds: float


def restore_database(
    device: MediaDevice,
    position: int,
    target: Path,
    *,
    replace: bool = False,
    keep_undo: bool = True,
    busy_milliseconds: int = 5_000,
    progress: Progress = _no_progress,
    cancel: threading.Event | None = None,
) -> RestoreResult:
    """Make the full backup at ``position`` the database file ``target``.

    The file is built beside, under a temporary name, and checked: seals, page order and count, digest over
    the whole content. Only then is it put in place: a new name by a rename, an existing database (only with
    ``replace``) through SQLite in one transaction. When it raises, the target is what it was. ``progress``
    gets (bytes done, bytes in all) of the content. Raises OperationCancelled, TargetExists, TargetError,
    InsufficientSpace, WrongSet, MediaError, StoreError (DatabaseBusy: others hold the target).
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    with MediaReader(device.open_read()) as reader:
        location = reader.find(position)
        info = reader.info(location)
        if info.header.description.backup_type != FULL:
            raise WrongSet(info.header.description.backup_type)
        existing = target.exists()
        if existing and not replace:
            raise TargetExists(target)
        _check_space(target, info.header.image, existing)
        image = image_path(target)
        try:
            build_image(reader, location, info, image, progress, stop)
            crashpoints.reach("restore.image-ready")
            if stop.is_set():
                raise OperationCancelled("the restore was cancelled")
            if existing:
                installed = replace_live(
                    image,
                    target,
                    keep_undo=keep_undo,
                    busy_milliseconds=busy_milliseconds,
                    cancelled=stop.is_set,
                )
            else:
                installed = install_new(image, target)
        except (InstallFailed, DatabaseBusy) as error:
            if stop.is_set():
                raise OperationCancelled("the restore was cancelled") from error
            raise
        except OSError as error:
            raise _target_error(target, error) from error
        finally:
            with contextlib.suppress(OSError):
                image.unlink(missing_ok=True)
    return RestoreResult(
        installed.path, info, installed.undo, installed.converted_page_size, time.monotonic() - begun
    )


def _target_error(target: Path, error: OSError) -> TargetError:
    number = error.errno if error.errno is not None else 5
    return TargetError(target, number, os.strerror(number))


def _check_space(target: Path, image: Image, existing: bool) -> None:
    needed = image.page_size * image.page_count
    try:
        if existing:
            # A live database gets the pages through its WAL, and its old content is kept aside.
            needed = 2 * needed + target.stat().st_size
        status = os.statvfs(target.parent)
    except OSError as error:
        raise _target_error(target, error) from error
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise InsufficientSpace(target, needed, free)


def verify_set(
    device: MediaDevice,
    position: int,
    *,
    progress: Progress = _no_progress,
    cancel: threading.Event | None = None,
) -> SetInfo:
    """Read the whole set at ``position`` and check everything, as a restore would, without writing.

    Raises OperationCancelled, MediaError.
    """
    stop = cancel if cancel is not None else threading.Event()
    with MediaReader(device.open_read()) as reader:
        location = reader.find(position)
        info = reader.info(location)
        _consume(reader, location, info, lambda run, data: None, progress, stop)
        return info


def build_image(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    path: Path,
    progress: Progress = _no_progress,
    stop: threading.Event | None = None,
) -> None:
    """Write the pages of a set as a complete, synced SQLite file at ``path``, whatever was there before.

    Raises OperationCancelled, MediaDamaged, DeviceError, OSError (the file; it is removed).
    """
    image = info.header.image
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:

        def write(run: StoredRun, data: bytes | memoryview) -> None:
            offset = (run.header.first - 1) * image.page_size
            rest = memoryview(data)
            at = offset
            while rest:
                written = os.pwrite(descriptor, rest, at)
                rest = rest[written:]
                at += written
            # The kernel begins to write these pages out, so that the sync at the end is short.
            os.posix_fadvise(descriptor, offset, at - offset, os.POSIX_FADV_DONTNEED)

        _consume(reader, location, info, write, progress, stop or threading.Event())
        os.ftruncate(descriptor, image.page_size * image.page_count)
        crashpoints.reach("restore.image-written")
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def _consume(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    use: Callable[[StoredRun, bytes | memoryview], None],
    progress: Progress,
    stop: threading.Event,
) -> None:
    """Check each run and hand it to ``use``, in several threads; then check that all pages were there."""
    image = info.header.image
    total = image.page_count * image.page_size
    decompressor = Decompressor()

    def feed() -> Iterator[StoredRun]:
        for run in reader.runs(location, info):
            if stop.is_set():
                raise OperationCancelled("the operation was cancelled")
            yield run

    def work(run: StoredRun) -> StoredRun:
        use(run, reader.decode_run(run, decompressor))
        return run

    progress(0, total)
    done = pages = 0
    # Closed at once when something fails: no thread may use the file after that.
    with contextlib.closing(ordered_map(work, feed(), name="restore")) as finished:
        for run in finished:
            crashpoints.reach("restore.run-written")
            done += run.header.raw_length
            pages += run.header.count
            progress(done, total)
    lock = file_header.lock_page(image.page_size)
    expected = image.page_count - (1 if image.page_count >= lock else 0)
    if pages != expected:
        raise MediaDamaged(
            reader.name, "pages", location.offset, f"{pages} pages instead of {expected} are there"
        )

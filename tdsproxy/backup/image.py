"""The content of backup sets, every byte checked, into a SQLite file that nobody has open: the *image*."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from tdsproxy.backup.differential_backup import stretches
from tdsproxy.backup.errors import InsufficientSpace, OperationCancelled, TargetError
from tdsproxy.backup.media_set import Progress, no_progress
from tdsproxy.backup.pipeline import ordered_map
from tdsproxy.log import roll
from tdsproxy.log.records import Transaction
from tdsproxy.log.roll import RollResult, StopAt
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Decompressor
from tdsproxy.media.documents import Image
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.log_blocks import unpack_block, unpack_page_list
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import MediaReader, SetInfo, SetLocation, StoredRun
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header

Data = bytes | memoryview


def target_error(target: Path, error: OSError) -> TargetError:
    """What to raise for an OSError of the file that is written."""
    number = error.errno if error.errno is not None else 5
    return TargetError(target, number, os.strerror(number))


def check_space(target: Path, image: Image, existing: bool) -> None:
    """Raises InsufficientSpace when a database of the size of ``image`` does not fit, TargetError."""
    needed = image.page_size * image.page_count
    try:
        if existing:
            # A live database gets the pages through its WAL, and its old content is kept aside.
            needed = 2 * needed + target.stat().st_size
        status = os.statvfs(target.parent)
    except OSError as error:
        raise target_error(target, error) from error
    free = status.f_bavail * status.f_frsize
    if free < needed:
        raise InsufficientSpace(target, needed, free)


def build_image(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    path: Path,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
) -> None:
    """Write the pages of a full set as a complete, synced SQLite file at ``path``, whatever was there before.

    The set's log is checked, not rolled forward. Raises OperationCancelled, MediaDamaged, DeviceError,
    OSError (the file; it is removed).
    """
    image = info.header.image
    with contextlib.suppress(FileNotFoundError):
        path.unlink()
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        pages = _write_content(reader, location, info, descriptor, progress, stop)
        lock = file_header.lock_page(image.page_size)
        expected = image.page_count - (1 if image.page_count >= lock else 0)
        if pages != expected:
            raise MediaDamaged(
                reader.name, "pages", location.offset, f"{pages} pages instead of {expected} are there"
            )
        crashpoints.reach("restore.image-written")
        os.fsync(descriptor)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def write_changed_pages(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    path: Path,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
) -> None:
    """Put the pages of a differential set into the image at ``path``, and sync it.

    The set's log is checked, not rolled forward. Raises as ``build_image``; the file is then of no state.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _write_content(reader, location, info, descriptor, progress, stop)
        crashpoints.reach("restore.pages-written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_content(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    descriptor: int,
    progress: Progress,
    stop: threading.Event | None,
) -> int:
    """Write the pages, and give the file its size; returns their number."""
    image = info.header.image
    size = image.page_size

    def write(offset: int, data: Data) -> None:
        rest = memoryview(data)
        at = offset
        while rest:
            written = os.pwrite(descriptor, rest, at)
            rest = rest[written:]
            at += written
        # The kernel begins to write these pages out, so that the sync at the end is short.
        os.posix_fadvise(descriptor, offset, at - offset, os.POSIX_FADV_DONTNEED)

    def use(run: StoredRun, data: Data) -> None:
        if run.header.kind == layout.PAGES:
            write((run.header.first - 1) * size, data)
        elif run.header.kind == layout.PAGE_LIST:
            numbers, images = _page_list(reader, run, data, image)
            for at, first, count in stretches(numbers):
                write((first - 1) * size, images[at * size : (at + count) * size])
        else:
            _check_block(reader, run, data)

    pages = _consume(reader, location, info, use, progress, stop or threading.Event())
    os.ftruncate(descriptor, size * image.page_count)
    return pages


def _page_list(reader: MediaReader, run: StoredRun, data: Data, image: Image) -> tuple[list[int], memoryview]:
    try:
        numbers, images = unpack_page_list(data, run.header.count, image.page_size)
    except layout.FormatError as error:
        raise MediaDamaged(reader.name, "pages", run.offset, str(error)) from error
    if numbers and not (numbers[0] == run.header.first and numbers[-1] <= image.page_count):
        raise MediaDamaged(reader.name, "pages", run.offset, "a page list does not fit the database")
    return numbers, images


def _check_block(reader: MediaReader, run: StoredRun, data: Data) -> None:
    try:
        for _ in unpack_block(data):
            pass
    except layout.FormatError as error:
        raise MediaDamaged(reader.name, "log", run.offset, str(error)) from error


def check_content(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
) -> None:
    """Read and check all of a set, of any kind, as a restore would. Raises OperationCancelled, MediaError."""

    def use(run: StoredRun, data: Data) -> None:
        if run.header.kind == layout.PAGE_LIST:
            _page_list(reader, run, data, info.header.image)
        elif run.header.kind == layout.LOG:
            _check_block(reader, run, data)

    _consume(reader, location, info, use, progress, stop or threading.Event())


def _consume(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    use: Callable[[StoredRun, Data], None],
    progress: Progress,
    stop: threading.Event,
) -> int:
    """Check each record and hand it to ``use``, in several threads; returns the number of pages."""
    total = info.trailer.backup_size
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
            if run.header.kind != layout.LOG:
                pages += run.header.count
            progress(done, total)
    return pages


def transactions(log: LogReader, first_lsn: int = 0) -> Iterator[Transaction]:
    """The transactions of a set's log from ``first_lsn`` on, as ``roll`` takes them. Raises MediaError."""
    for stored in log.transactions(first_lsn):
        yield Transaction(
            stored.lsn,
            stored.next_lsn,
            stored.committed_ns,
            stored.page_size,
            stored.page_count,
            stored.pages,
            stored.mark,
            stored.mark_description,
        )


def roll_own_log(
    reader: MediaReader,
    location: SetLocation,
    info: SetInfo,
    path: Path,
    stop: threading.Event | None = None,
) -> None:
    """Roll the image of a full or differential set forward to the set's LastLSN, through its own log.

    Raises OperationCancelled, MediaError, OSError.
    """
    if info.trailer.transaction_count:
        roll_forward(path, transactions(LogReader(reader, location, info)), None, stop)


def roll_forward(
    path: Path, log: Iterator[Transaction], stop_at: StopAt | None, stop: threading.Event | None = None
) -> RollResult:
    """``log.roll.apply``, but cancelled by an event. Raises OperationCancelled and what it raises."""
    event = stop if stop is not None else threading.Event()
    try:
        return roll.apply(path, log, stop_at, cancelled=event.is_set)
    except InterruptedError as error:
        raise OperationCancelled("the restore was cancelled") from error

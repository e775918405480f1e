"""The content of backup sets, every byte checked, into a SQLite file that nobody has open: the *image*."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tdsproxy.backup.differential_backup import stretches
from tdsproxy.backup.errors import InsufficientSpace, OperationCancelled, TargetError
from tdsproxy.backup.media_set import Progress, no_progress
from tdsproxy.backup.pipeline import DEPTH, ordered_map
from tdsproxy.backup.restart import Restart, RestartPoint
from tdsproxy.log import roll
from tdsproxy.log.records import Transaction
from tdsproxy.log.roll import RollResult, StopAt
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Decompressor
from tdsproxy.media.documents import Image
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.log_blocks import unpack_block, unpack_page_list
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import SetInfo, StoredRun
from tdsproxy.media.set_reader import MediaSetReader, SetPlace
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header

Data = bytes | memoryview
OnDamage = Callable[[MediaDamaged], None]
"""Called, from any thread, for each damaged run or list of pages of a set of which the rest is wanted;
without it, the first one is raised."""


def target_error(target: Path, error: OSError) -> TargetError:
    """What to raise for an OSError of the file that is written."""
    number = error.errno if error.errno is not None else 5
    return TargetError(target, number, os.strerror(number))


def check_space(target: Path, image: Image, existing: bool, there: int = 0) -> None:
    """Raises InsufficientSpace when a database of the size of ``image`` does not fit, TargetError. ``there``
    bytes of it have their place already."""
    needed = max(0, image.page_size * image.page_count - there)
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
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    path: Path,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
    on_damage: OnDamage | None = None,
    restart: Restart | None = None,
) -> None:
    """Write the pages of a full set as a complete, synced SQLite file at ``path``, whatever was there before.

    The set's log is checked, not rolled forward. Pages that ``on_damage`` was told of are zeros. With
    ``restart`` it begins there, and notes how far it has come. Raises OperationCancelled, MediaDamaged,
    DeviceError, OSError (the file; it is removed, unless ``restart`` keeps it).
    """
    image = info.header.image
    flags = os.O_RDWR | os.O_CLOEXEC
    if restart is None or not restart.at.records:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        flags |= os.O_CREAT | os.O_EXCL
    descriptor = os.open(path, flags, 0o644)
    try:
        pages = _write_content(reader, place, info, descriptor, progress, stop, on_damage, restart)
        lock = file_header.lock_page(image.page_size)
        expected = image.page_count - (1 if image.page_count >= lock else 0)
        if pages != expected and on_damage is None:
            raise MediaDamaged(
                reader.name, "pages", place.offset, f"{pages} pages instead of {expected} are there"
            )
        crashpoints.reach("restore.image-written")
        os.fsync(descriptor)
    except BaseException as error:
        if restart is None or not restart.keeps(error):
            path.unlink(missing_ok=True)
        raise
    finally:
        os.close(descriptor)


def write_changed_pages(
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    path: Path,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
    on_damage: OnDamage | None = None,
) -> None:
    """Put the pages of a differential set into the image at ``path``, and sync it.

    The set's log is checked, not rolled forward. Raises as ``build_image``; the file is then of no state.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        _write_content(reader, place, info, descriptor, progress, stop, on_damage)
        crashpoints.reach("restore.pages-written")
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_content(
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    descriptor: int,
    progress: Progress,
    stop: threading.Event | None,
    on_damage: OnDamage | None,
    restart: Restart | None = None,
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
            numbers, images = _page_list(run, data, image)
            for at, first, count in stretches(numbers):
                write((first - 1) * size, images[at * size : (at + count) * size])
        else:
            _check_block(run, data)

    def noted(point: RestartPoint) -> None:
        if restart is not None and restart.is_due(point):
            os.fdatasync(descriptor)
            restart.note(point)
            crashpoints.reach("restore.point-noted")

    begin = restart.at if restart is not None else RestartPoint()
    pages = _consume(
        reader, place, info, use, progress, stop or threading.Event(), on_damage, begin=begin, noted=noted
    )
    os.ftruncate(descriptor, size * image.page_count)
    return pages


def _page_list(run: StoredRun, data: Data, image: Image) -> tuple[list[int], memoryview]:
    try:
        numbers, images = unpack_page_list(data, run.header.count, image.page_size)
    except layout.FormatError as error:
        raise run.damaged(str(error)) from error
    if numbers and not (numbers[0] == run.header.first and numbers[-1] <= image.page_count):
        raise run.damaged("a page list does not fit the database")
    return numbers, images


def _check_block(run: StoredRun, data: Data) -> None:
    try:
        for _ in unpack_block(data):
            pass
    except layout.FormatError as error:
        raise run.damaged(str(error)) from error


def check_content(
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
    on_damage: OnDamage | None = None,
) -> None:
    """Read and check all of a set, of any kind, as a restore would. Raises OperationCancelled, MediaError."""

    def use(run: StoredRun, data: Data) -> None:
        if run.header.kind == layout.PAGE_LIST:
            _page_list(run, data, info.header.image)
        elif run.header.kind == layout.LOG:
            _check_block(run, data)

    _consume(reader, place, info, use, progress, stop or threading.Event(), on_damage)


def _everything(run: StoredRun) -> bool:
    del run
    return True


def _consume(
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    use: Callable[[StoredRun, Data], None],
    progress: Progress,
    stop: threading.Event,
    on_damage: OnDamage | None,
    wanted: Callable[[StoredRun], bool] = _everything,
    *,
    begin: RestartPoint | None = None,
    noted: Callable[[RestartPoint], None] = lambda point: None,
) -> int:
    """Check each record that is wanted and hand it to ``use``, in several threads; returns the number of
    pages that went by. ``noted`` hears of each point before which nothing is under way any more."""
    total = info.trailer.backup_size
    decompressor = Decompressor()
    point = begin or RestartPoint()

    def feed() -> Iterator[StoredRun]:
        first = point.records
        runs = reader.runs_from(place, info, first) if first else reader.runs(place, info, on_damage)
        for run in runs:
            if stop.is_set():
                raise OperationCancelled("the operation was cancelled")
            yield run

    def work(run: StoredRun) -> StoredRun:
        if wanted(run):
            try:
                use(run, run.decode(decompressor))
            except MediaDamaged as error:
                if on_damage is None or error.page is None:
                    raise
                on_damage(error)
        return run

    progress(point.size, total)
    # Closed at once when something fails: no thread may use the file after that.
    depth = DEPTH if reader.buffers is None else max(1, min(DEPTH, reader.buffers))
    with contextlib.closing(ordered_map(work, feed(), depth=depth, name="restore")) as finished:
        for run in finished:
            crashpoints.reach("restore.run-written")
            point = RestartPoint(
                point.records + 1,
                point.pages + (run.header.count if run.header.kind != layout.LOG else 0),
                point.size + run.header.raw_length,
            )
            noted(point)
            progress(point.size, total)
    return point.pages


def write_single_pages(
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    path: Path,
    numbers: frozenset[int],
    progress: Progress = no_progress,
    stop: threading.Event | None = None,
) -> None:
    """Put those pages of a set that are among ``numbers`` at their places in the file at ``path``, which is
    made where it is missing, and get there as far as the set's own log leads.

    The rest of the file are holes. Raises OperationCancelled, MediaError, OSError.
    """
    image = info.header.image
    size = image.page_size
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def wanted(run: StoredRun) -> bool:
        head = run.header
        if head.kind == layout.PAGES:
            return any(head.first <= number < head.first + head.count for number in numbers)
        return head.kind == layout.PAGE_LIST

    def use(run: StoredRun, data: Data) -> None:
        view = memoryview(data)
        if run.header.kind == layout.PAGES:
            found: Iterable[tuple[int, int]] = (
                (number, index)
                for index, number in enumerate(range(run.header.first, run.header.first + run.header.count))
            )
        else:
            listed, view = _page_list(run, data, image)
            found = ((number, index) for index, number in enumerate(listed))
        for number, index in found:
            if number in numbers:
                os.pwrite(descriptor, view[index * size : (index + 1) * size], (number - 1) * size)

    try:
        _consume(reader, place, info, use, progress, stop or threading.Event(), None, wanted)
        os.ftruncate(descriptor, size * image.page_count)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    if info.trailer.transaction_count:
        own = transactions(LogReader(reader, place, info))
        roll_forward(path, only_pages(own, numbers), None, stop)


def only_pages(log: Iterable[Transaction], numbers: frozenset[int]) -> Iterator[Transaction]:
    """The transactions with none but these pages."""
    for transaction in log:
        pages = [page for page in transaction.pages if page[0] in numbers]
        yield dataclasses.replace(transaction, pages=pages)


def read_single_pages(path: Path, page_size: int, numbers: Iterable[int]) -> dict[int, bytes]:
    """The pages of the file; those beyond its end are left out. Raises OSError."""
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        for number in numbers:
            file.seek((number - 1) * page_size)
            data = file.read(page_size)
            if len(data) == page_size:
                found[number] = data
    return found


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
    reader: MediaSetReader,
    place: SetPlace,
    info: SetInfo,
    path: Path,
    stop: threading.Event | None = None,
) -> None:
    """Roll the image of a full or differential set forward to the set's LastLSN, through its own log.

    Raises OperationCancelled, MediaError, OSError.
    """
    if info.trailer.transaction_count:
        roll_forward(path, transactions(LogReader(reader, place, info)), None, stop)


def roll_forward(
    path: Path, log: Iterator[Transaction], stop_at: StopAt | None, stop: threading.Event | None = None
) -> RollResult:
    """``log.roll.apply``, but cancelled by an event. Raises OperationCancelled and what it raises."""
    event = stop if stop is not None else threading.Event()
    try:
        return roll.apply(path, log, stop_at, cancelled=event.is_set)
    except InterruptedError as error:
        raise OperationCancelled("the restore was cancelled") from error

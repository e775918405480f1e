"""BACKUP DATABASE ... WITH DIFFERENTIAL: the pages that changed since a full backup, as they are now."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from uuid import UUID

import msgspec

from tdsproxy.backup import page_map as maps
from tdsproxy.backup.database_backup import described, without_tail, write_tail
from tdsproxy.backup.errors import BaseMissing
from tdsproxy.backup.media_set import (
    BackupResult,
    LogTail,
    Progress,
    SetEnd,
    no_progress,
    write_set,
)
from tdsproxy.backup.options import BackupOptions
from tdsproxy.backup.page_map import PageMap, page_hashes
from tdsproxy.backup.pipeline import ordered_map
from tdsproxy.backup.set_sink import Pages, SetSink
from tdsproxy.backup.source_check import SourceCheck
from tdsproxy.log.records import LogError
from tdsproxy.media import format as layout
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import CHANGES, DIFFERENTIAL, SetDescription
from tdsproxy.media.log_blocks import pack_page_list
from tdsproxy.media.writer import EncodedRecord
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.snapshot import Snapshot


def backup_differential(
    source: Path,
    changed_pages: Iterable[int] | None,
    device: Devices,
    description: SetDescription,
    options: BackupOptions = BackupOptions(),
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
    *,
    log: Callable[[], LogTail] | None = None,
    page_map: Path | None = None,
    check: SourceCheck | None = None,
) -> BackupResult:
    """Back up what differs in ``source`` from the full backup ``description.differential_base_guid``.

    ``changed_pages``, for a database whose log is kept: the numbers, in any order, also of pages that are no
    more, that any transaction from the base's FirstLSN on wrote. They are iterated only *after* ``log`` was
    called, which is called when the snapshot is held (see ``backup_database``), so a generator that asks
    the archive sees all that the snapshot holds. None: the pages are found by the hashes in the directory
    ``page_map`` that the full backup noted, as when they can't be read to the end (LogError, OSError). In
    both cases what this backup holds counts as changed there from now on.

    Durable, or without a trace, as ``backup_database``. ``progress`` gets (bytes looked at, bytes in all).
    ``check`` looks at the source before. Raises SourceDamaged, BaseMissing when the hashes are not there,
    OperationCancelled, StoreError, MediaError, and what ``changed_pages``, ``log`` and ``options.check``
    raise.
    """
    base = description.differential_base_guid
    if base is None:
        raise ValueError("a differential backup names its base")
    if description.backup_type not in CHANGES:
        description = msgspec.structs.replace(description, backup_type=DIFFERENTIAL)
    stop = cancel if cancel is not None else threading.Event()
    known: PageMap | None = None
    if changed_pages is None:
        if page_map is None:
            raise ValueError("neither pages nor a map to find them by")
        known = maps.load(page_map, base)
    elif page_map is not None:
        # Should the log get a gap, the next differential finds its pages by the hashes.
        with contextlib.suppress(BaseMissing):
            known = maps.load(page_map, base)

    def content(sink: SetSink) -> SetEnd:
        with Snapshot(source, cancelled=stop.is_set) as snapshot:
            begun_ns = time.time_ns()
            tail = log() if log is not None else None
            numbers = _read(changed_pages, known, base)
            if numbers is not None:
                pages = _existing(numbers, snapshot)
            else:
                assert known is not None
                if known.page_size != snapshot.page_size:
                    raise BaseMissing(base, "the page size was another one")
                pages = _changed(sink, snapshot, known, progress)
            found = msgspec.structs.replace(description, is_by_hashes=numbers is None)
            sink.write_header(*described(snapshot, found, len(pages) * snapshot.page_size))
            _write_lists(sink, snapshot, pages, options.run_bytes, progress)
            snapshot.check()
        if known is not None:
            known.forget(pages)
            tail = tail if tail is None else without_tail(known, tail)
        end = write_tail(sink, tail, begun_ns)
        return dataclasses.replace(end, is_damaged=check is not None and check.damaged)

    def keep_map() -> None:
        if known is not None and page_map is not None:
            known.save(page_map)
            crashpoints.reach("backup.map-kept")

    if check is not None:
        check.look(source, stop)
    return write_set(device, description.set_guid, options, stop, content, keep_map)


def _read(changed_pages: Iterable[int] | None, known: PageMap | None, base: UUID) -> set[int] | None:
    """The pages; None when there are none or they can't be read, so that the hashes must tell. Raises
    BaseMissing when those can't either."""
    if changed_pages is None:
        return None
    try:
        return set(changed_pages)
    except (LogError, OSError) as error:
        if known is None:
            raise BaseMissing(
                base, f"neither the log nor hashes of pages tell what changed: {error}"
            ) from error
        return None


def _existing(pages: Iterable[int], snapshot: Snapshot) -> list[int]:
    lock = file_header.lock_page(snapshot.page_size)
    return sorted({page for page in pages if 1 <= page <= snapshot.page_count and page != lock})


def _changed(sink: SetSink, snapshot: Snapshot, known: PageMap, progress: Progress) -> list[int]:
    """Compare all pages; the run that is being hashed and the one being read are in memory."""
    size = snapshot.page_size

    def feed() -> Iterator[tuple[int, memoryview]]:
        for first, count in snapshot.runs(layout.RUN_BYTES):
            sink.check_cancelled()
            data = memoryview(bytearray(count * size))
            snapshot.read_run(first, data)
            yield first, data

    def compare(run: tuple[int, memoryview]) -> tuple[list[int], int]:
        first, data = run
        return known.changed(first, page_hashes(data, size)), len(data)

    pages: list[int] = []
    done = 0
    with contextlib.closing(ordered_map(compare, feed())) as found:
        for changed, looked_at in found:
            pages += changed
            done += looked_at
            progress(done, snapshot.size)
    return pages


def _write_lists(
    sink: SetSink, snapshot: Snapshot, pages: Sequence[int], run_bytes: int, progress: Progress
) -> None:
    size = snapshot.page_size
    total = len(pages) * size
    per_list = max(1, run_bytes // size)
    done = 0

    def feed() -> Iterator[Pages]:
        for start in range(0, len(pages), per_list):
            numbers = list(pages[start : start + per_list])
            images = memoryview(bytearray(len(numbers) * size))
            for at, first, count in stretches(numbers):
                snapshot.read_run(first, images[at * size : (at + count) * size])
            data = memoryview(pack_page_list(numbers, images))
            yield Pages(numbers[0], len(numbers), data, layout.PAGE_LIST)

    def written(record: EncodedRecord) -> None:
        nonlocal done
        done += record.header.count * size
        progress(done, total)

    sink.write_pages(feed(), written)


def stretches(numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """Ascending numbers as stretches without a hole: (index of the first, the first, how many)."""
    start = 0
    for index in range(1, len(numbers) + 1):
        if index == len(numbers) or numbers[index] != numbers[index - 1] + 1:
            yield start, numbers[start], index - start
            start = index

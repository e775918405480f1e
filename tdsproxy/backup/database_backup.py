"""BACKUP DATABASE: one committed state of a database, as a backup set on a medium.

Where the database's log is kept, the set holds, behind the pages, the log from before the snapshot to after
it, and so restores exactly the state at its LastLSN.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import msgspec

from tdsproxy.backup.facts import hidden_name, snapshot_with_facts
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
from tdsproxy.backup.set_sink import Pages, SetSink
from tdsproxy.backup.source_check import SourceCheck
from tdsproxy.log.records import Transaction
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import Image, SetDescription
from tdsproxy.media.writer import EncodedRecord
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.snapshot import Snapshot


def backup_database(
    source: Path,
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
    """Back up the database file ``source``, while others read and write it.

    Streams in constant memory. When it returns, the set is on the disk: file and directory are synced. When
    it raises, whatever it wrote is gone and earlier sets are as they were. ``progress`` gets (bytes done,
    bytes in all).

    ``log``, for a database whose log is kept, is called once the snapshot is held. It captures up to the last
    commit and gives the log from ``description.first_lsn``, which was captured before this function was
    called, up to there; the set's LastLSN is its end. ``page_map`` is the
    directory (``page_map.map_directory``) in which the hashes of all pages are noted for later differentials
    and checks. ``check`` looks at the pages before and while they are read.

    Raises OperationCancelled, StoreError, MediaError, SourceDamaged, OSError (map), what ``log`` and
    ``options.check`` raise.
    """
    stop = cancel if cancel is not None else threading.Event()
    hashes: list[PageMap] = []
    secret = options.sealing is not None or description.database_key is not None
    hide = partial(hidden_name, description.set_guid) if secret else None

    def content(sink: SetSink) -> SetEnd:
        with snapshot_with_facts(source, stop.is_set) as (snapshot, counter):
            begun_ns = time.time_ns()
            tail = log() if log is not None else None
            if check is not None:
                check.begin(snapshot.page_size)
            sink.write_header(*described(snapshot, description, snapshot.size))
            found = (
                PageMap(description.set_guid, snapshot.page_size, snapshot.page_count)
                if page_map is not None
                else None
            )
            if counter is not None:
                counter.begin()
            _write_pages(sink, snapshot, found, check, options.run_bytes, progress)
            facts = counter.end(hide, snapshot.size) if counter is not None else None
            snapshot.check()
        if found is not None:
            if check is not None:
                # What damage left is nothing to compare with.
                found.forget(check.pages)
            hashes.append(found)
        if found is not None and tail is not None:
            tail = without_tail(found, tail)
        end = write_tail(sink, tail, begun_ns)
        return dataclasses.replace(end, is_damaged=check is not None and check.damaged, facts=facts)

    def keep_map() -> None:
        for found in hashes:
            if page_map is not None:
                found.save(page_map)
                crashpoints.reach("backup.map-kept")

    if check is not None:
        check.look(source, stop)
    return write_set(device, description.set_guid, options, stop, content, keep_map)


def described(
    snapshot: Snapshot, description: SetDescription, backup_size: int
) -> tuple[SetDescription, Image]:
    """The description with the sizes of the data file, and the image, of a snapshot."""
    head = bytearray(snapshot.page_size)
    if snapshot.page_count:
        snapshot.read_run(1, memoryview(head))
    parsed = file_header.parse(bytes(head))
    files = tuple(
        msgspec.structs.replace(entry, size=snapshot.size, backup_size=backup_size)
        if entry.type == "D" and entry.is_present
        else entry
        for entry in description.files
    )
    image = Image(
        page_size=snapshot.page_size,
        page_count=snapshot.page_count,
        wal=snapshot.wal,
        reserved=parsed.reserved if parsed else 0,
        library_version=parsed.library_version if parsed else 0,
    )
    return msgspec.structs.replace(description, files=files), image


def without_tail(found: PageMap, tail: LogTail) -> LogTail:
    """The tail, of which all pages are taken for changed when it is read: a restore rolls them forward."""

    def forgetting() -> Iterator[Transaction]:
        for transaction in tail.transactions:
            found.forget(number for number, _ in transaction.pages)
            yield transaction

    return dataclasses.replace(tail, transactions=forgetting())


def write_tail(sink: SetSink, tail: LogTail | None, begun_ns: int) -> SetEnd:
    """The log behind the pages of a snapshot that was taken at ``begun_ns``."""
    if tail is None:
        return SetEnd(None, begun_ns, begun_ns)
    last_ns = sink.write_log(tail.transactions)
    known = [ns for ns in (last_ns, tail.consistent_ns) if ns is not None]
    consistent = max(known) if known else begun_ns
    through = tail.through_ns if tail.through_ns is not None else consistent
    return SetEnd(tail.last_lsn, consistent, max(consistent, through))


def _write_pages(
    sink: SetSink,
    snapshot: Snapshot,
    found: PageMap | None,
    check: SourceCheck | None,
    run_bytes: int,
    progress: Progress,
) -> None:
    """Read, compress, seal and write the snapshot's runs."""
    progress(0, snapshot.size)
    done = 0
    room = max(run_bytes, snapshot.page_size)

    def feed() -> Iterator[Pages]:
        for first, count in snapshot.runs(run_bytes):
            buffer = sink.buffer(room)
            data = buffer[: count * snapshot.page_size]
            snapshot.read_run(first, data)
            yield Pages(first, count, data, buffer=buffer)

    def note(pages: Pages) -> None:
        if found is None and (check is None or not check.compares):
            return
        hashes = page_hashes(pages.data, snapshot.page_size)
        if check is not None:
            check.compare(snapshot.path, pages.first, hashes)
        if found is not None:
            found.put(pages.first, hashes)

    def written(record: EncodedRecord) -> None:
        nonlocal done
        done += record.header.raw_length
        progress(done, snapshot.size)

    sink.write_pages(feed(), written, note)

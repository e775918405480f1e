"""BACKUP DATABASE: one committed state of a database, as a backup set on a medium."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.media_info import MediaInfo, collect
from tdsproxy.backup.pipeline import DEPTH, WORKERS, ordered_map
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import DEFAULT_LEVEL, Compressor
from tdsproxy.media.device import LockedMedium, MediaDevice, WriteHandle
from tdsproxy.media.documents import Image, MediaHeader, SetDescription, SetHeader, SetTrailer
from tdsproxy.media.errors import DeviceCancelled, MediaIncompatible
from tdsproxy.media.reader import MediaMap, MediaReader
from tdsproxy.media.writer import EncodedRun, SetWriter, encode_run, write_media_header
from tdsproxy.store import crashpoints
from tdsproxy.store import header as file_header
from tdsproxy.store.errors import DatabaseBusy
from tdsproxy.store.snapshot import Snapshot

Progress = Callable[[int, int], None]


def _no_progress(done: int, total: int) -> None:
    del done, total


def _no_check(info: MediaInfo | None) -> None:
    del info


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """How a medium is written.

    ``init`` drops the sets that are there and keeps the media header; ``format`` starts a new medium.
    Without either, the set is appended. ``compression`` None means: as the medium's other sets, none on a
    new medium. ``check`` is called once the medium is locked, with what is on it (None for a new or
    unreadable one that will be formatted): it raises whatever forbids the backup (expiry, media name ...).
    """

    init: bool = False
    format: bool = False
    compression: bool | None = None
    level: int = DEFAULT_LEVEL
    media_name: str | None = None
    media_description: str | None = None
    block_size: int = layout.ALIGNMENT
    check: Callable[[MediaInfo | None], None] = _no_check


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup set that is durable. ``seconds`` is the time it took."""

    position: int
    media: MediaHeader
    header: SetHeader
    trailer: SetTrailer
    seconds: float


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be written where; ``end`` None replaces the medium as a whole."""

    media: MediaHeader
    position: int
    end: int | None
    new_header: bool
    adopt: tuple[layout.Anchor, ...] = ()


def backup_database(
    source: Path,
    device: MediaDevice,
    description: SetDescription,
    options: BackupOptions = BackupOptions(),
    progress: Progress = _no_progress,
    cancel: threading.Event | None = None,
) -> BackupResult:
    """Back up the database file ``source``, while others read and write it.

    Streams in constant memory. When it returns, the set is on the disk: file and directory are synced. When
    it raises, whatever it wrote is gone and earlier sets are as they were. ``progress`` gets (bytes done,
    bytes in all). Raises OperationCancelled, StoreError, MediaError, and what ``options.check`` raises.
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    try:
        with device.lock(stop.is_set) as medium:
            plan = _plan(medium, options)
            with Snapshot(source, cancelled=stop.is_set) as snapshot:
                header, trailer = _write(medium, plan, snapshot, description, options, progress, stop)
    except DeviceCancelled as error:
        raise OperationCancelled(str(error)) from error
    except DatabaseBusy as error:
        if stop.is_set():
            raise OperationCancelled(str(error)) from error
        raise
    return BackupResult(plan.position, plan.media, header, trailer, time.monotonic() - begun)


def _plan(medium: LockedMedium, options: BackupOptions) -> _Plan:
    handle = medium.reader()
    if handle is None:
        options.check(None)
        return _Plan(_new_media_header(options), 1, 0, True)
    if options.format:
        options.check(None)
        return _Plan(_new_media_header(options), 1, None, True)
    with MediaReader(handle) as reader:
        found = reader.map()
        options.check(collect(reader, found))
    media = found.header
    if media.family_count != 1 or media.mirror_count != 1:
        raise MediaIncompatible(handle.name, "families", "the medium is one of a larger media set")
    if options.compression is not None and options.compression != media.compressed:
        raise MediaIncompatible(handle.name, "compression", "the medium was formatted otherwise")
    if options.init:
        return _Plan(media, 1, None, True)
    if found.damage is not None:
        raise found.damage
    return _Plan(media, len(found.sets) + 1, found.end, False, _unclosed(found))


def _unclosed(found: MediaMap) -> tuple[layout.Anchor, ...]:
    """Anchors for sets that are whole, but whose writer died before it could close them."""
    return tuple(
        layout.Anchor(
            place.offset,
            place.position,
            place.set_guid,
            True,
            place.length,
            place.trailer,
            place.scanned_trailer_digest,
        )
        for place in found.sets
        if place.scanned_trailer_digest is not None and place.damage is None
    )


def _new_media_header(options: BackupOptions) -> MediaHeader:
    # SQL Server fills only the first four bytes of a media family's id.
    family = uuid.UUID(bytes=uuid.uuid4().bytes[:4] + bytes(12))
    return MediaHeader(
        media_set_id=uuid.uuid4(),
        media_family_id=family,
        created=_now(),
        name=options.media_name,
        description=options.media_description,
        block_size=options.block_size,
        compressed=bool(options.compression),
    )


def _now() -> dt.datetime:
    return dt.datetime.now().astimezone()


def _write(
    medium: LockedMedium,
    plan: _Plan,
    snapshot: Snapshot,
    description: SetDescription,
    options: BackupOptions,
    progress: Progress,
    stop: threading.Event,
) -> tuple[SetHeader, SetTrailer]:
    handle = medium.replace() if plan.end is None else medium.append(plan.end)
    for anchor in plan.adopt:
        handle.patch(anchor.offset, anchor.pack())
    if plan.new_header:
        write_media_header(handle, plan.media)
    header = _set_header(plan, snapshot, description, options)
    writer = SetWriter(handle, plan.position, description.set_guid)
    writer.write_header(header)
    crashpoints.reach("backup.header-written")
    compressor = Compressor(options.level if plan.media.compressed else None)
    progress(0, snapshot.size)
    done = 0
    encoded = _encoded_runs(snapshot, compressor, description.set_guid, writer.next_sequence, stop)
    with contextlib.closing(encoded) as runs:
        for run in runs:
            writer.write_run(run)
            crashpoints.reach("backup.run-written")
            done += run.header.raw_length
            progress(done, snapshot.size)
    snapshot.check()
    trailer, closed = writer.write_trailer(writer.write_index(), _now())
    crashpoints.reach("backup.trailer-written")
    _finish(handle, writer, closed, stop)
    return header, trailer


def _finish(handle: WriteHandle, writer: SetWriter, closed: layout.Anchor, stop: threading.Event) -> None:
    handle.sync()
    crashpoints.reach("backup.synced")
    if stop.is_set():
        raise OperationCancelled("the backup was cancelled")
    writer.close(closed)
    crashpoints.reach("backup.closed")
    handle.sync()
    crashpoints.reach("backup.before-publish")
    handle.publish()
    crashpoints.reach("backup.published")


def _set_header(
    plan: _Plan, snapshot: Snapshot, description: SetDescription, options: BackupOptions
) -> SetHeader:
    head = bytearray(snapshot.page_size)
    if snapshot.page_count:
        snapshot.read_run(1, memoryview(head))
    parsed = file_header.parse(bytes(head))
    files = tuple(
        msgspec.structs.replace(entry, size=snapshot.size, backup_size=snapshot.size)
        if entry.type == "D" and entry.is_present
        else entry
        for entry in description.files
    )
    return SetHeader(
        description=msgspec.structs.replace(description, files=files),
        image=Image(
            page_size=snapshot.page_size,
            page_count=snapshot.page_count,
            wal=snapshot.wal,
            reserved=parsed.reserved if parsed else 0,
            library_version=parsed.library_version if parsed else 0,
        ),
        started=_now(),
        compression="ZSTD" if plan.media.compressed else None,
        compression_level=options.level if plan.media.compressed else None,
        family_count=plan.media.family_count,
        family_sequence=plan.media.family_sequence,
    )


@dataclass(frozen=True, slots=True)
class _Run:
    sequence: int
    first_page: int
    count: int
    data: memoryview


def _encoded_runs(
    snapshot: Snapshot,
    compressor: Compressor,
    set_guid: uuid.UUID,
    sequence: int,
    stop: threading.Event,
) -> Generator[EncodedRun, None, None]:
    """Read, compress and seal the snapshot's runs. A result's memory is reused after two more steps."""
    room = max(layout.RUN_BYTES, snapshot.page_size)
    # Those in the pipeline, the one being read, and the one that the consumer is writing.
    buffers = deque(memoryview(bytearray(room)) for _ in range(DEPTH + 2))

    def feed() -> Iterator[_Run]:
        for number, (first, count) in enumerate(snapshot.runs(layout.RUN_BYTES), sequence):
            if stop.is_set():
                raise OperationCancelled("the backup was cancelled")
            buffer = buffers[0]
            buffers.rotate(-1)
            data = buffer[: count * snapshot.page_size]
            snapshot.read_run(first, data)
            yield _Run(number, first, count, data)

    def encode(run: _Run) -> EncodedRun:
        return encode_run(compressor, set_guid, run.sequence, run.first_page, run.count, run.data)

    return ordered_map(encode, feed(), workers=WORKERS, depth=DEPTH)

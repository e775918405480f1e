"""Writing one backup set onto a medium: what all kinds of backup have in common.

The medium is locked, looked at, and then either the set is appended or the medium replaced; see ``format``
for what makes a set exist.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.media_info import MediaInfo, collect
from tdsproxy.backup.pipeline import ordered_map
from tdsproxy.log.records import Transaction
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import DEFAULT_LEVEL, Compressor
from tdsproxy.media.device import LockedMedium, MediaDevice, WriteHandle
from tdsproxy.media.documents import Image, MediaHeader, SetDescription, SetHeader, SetTrailer
from tdsproxy.media.errors import DeviceCancelled, MediaIncompatible
from tdsproxy.media.log_blocks import LogBlock, pack_blocks
from tdsproxy.media.reader import MediaMap, MediaReader
from tdsproxy.media.writer import EncodedBlock, SetWriter, encode_block, write_media_header
from tdsproxy.store import crashpoints
from tdsproxy.store.errors import DatabaseBusy

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Nobody wants to know."""
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

    @property
    def last_lsn(self) -> int:
        """The set's LastLSN: the end (exclusive) of what it restores."""
        return final_last_lsn(self.header, self.trailer)


def final_last_lsn(header: SetHeader, trailer: SetTrailer) -> int:
    """The trailer's LastLSN, which is known only when the set is complete; else the description's."""
    return trailer.last_lsn if trailer.last_lsn is not None else header.description.last_lsn


@dataclass(frozen=True, slots=True)
class LogTail:
    """The log that belongs to a set, up to ``last_lsn`` (exclusive).

    ``transactions`` are read once, in order. ``consistent_ns`` is when the last commit before ``last_lsn``
    happened (None: not known), and up to ``through_ns`` no commit happened that is not among them (None: up
    to ``consistent_ns``). Nanoseconds since 1970, UTC.
    """

    last_lsn: int
    transactions: Iterable[Transaction] = field(default=())
    consistent_ns: int | None = None
    through_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SetEnd:
    """What is known of a set when its content is written."""

    last_lsn: int | None = None
    consistent_ns: int | None = None
    through_ns: int | None = None
    is_damaged: bool = False


@dataclass(frozen=True, slots=True)
class _Plan:
    """What will be written where; ``end`` None replaces the medium as a whole."""

    media: MediaHeader
    position: int
    end: int | None
    new_header: bool
    adopt: tuple[layout.Anchor, ...] = ()


class SetSink:
    """An open set, for the content of one kind of backup: the header, then pages, then log."""

    def __init__(
        self,
        writer: SetWriter,
        media: MediaHeader,
        set_guid: uuid.UUID,
        options: BackupOptions,
        stop: threading.Event,
    ) -> None:
        self.writer = writer
        self.compressor = Compressor(options.level if media.compressed else None)
        self.stop = stop
        self.set_guid = set_guid
        self._media = media
        self._level = options.level if media.compressed else None
        self.header: SetHeader | None = None

    def write_header(self, description: SetDescription, image: Image) -> None:
        """To be called first."""
        self.header = SetHeader(
            description=description,
            image=image,
            started=now(),
            compression="ZSTD" if self._media.compressed else None,
            compression_level=self._level,
            family_count=self._media.family_count,
            family_sequence=self._media.family_sequence,
        )
        self.writer.write_header(self.header)
        crashpoints.reach("backup.header-written")

    def check_cancelled(self) -> None:
        """Raises OperationCancelled."""
        if self.stop.is_set():
            raise OperationCancelled("the backup was cancelled")

    def write_log(
        self, transactions: Iterable[Transaction], written: Callable[[int], None] = lambda size: None
    ) -> int | None:
        """The log behind the pages; returns the time of its last commit. ``written`` gets the bytes of each
        block. Raises what reading the transactions raises, OperationCancelled."""
        last_ns: int | None = None
        with contextlib.closing(self._encoded(transactions)) as blocks:
            for encoded in blocks:
                self.writer.write_block(encoded)
                crashpoints.reach("backup.log-written")
                last_ns = encoded.block.last_ns
                written(encoded.header.raw_length)
        return last_ns

    def _encoded(self, transactions: Iterable[Transaction]) -> Generator[EncodedBlock, None, None]:
        def feed() -> Iterator[tuple[int, LogBlock]]:
            for numbered in zip(itertools.count(self.writer.next_sequence), pack_blocks(transactions)):
                self.check_cancelled()
                yield numbered

        def encode(numbered: tuple[int, LogBlock]) -> EncodedBlock:
            return encode_block(self.compressor, self.set_guid, *numbered)

        return ordered_map(encode, feed())


def write_set(
    device: MediaDevice,
    set_guid: uuid.UUID,
    options: BackupOptions,
    cancel: threading.Event | None,
    content: Callable[[SetSink], SetEnd],
    before_publish: Callable[[], None] = lambda: None,
) -> BackupResult:
    """Write one set with the ``content``, durably.

    When it raises, whatever it wrote is gone and earlier sets are as they were. ``before_publish`` is called
    when the set is complete and synced but does not exist yet. Raises OperationCancelled, StoreError,
    MediaError, and what ``content``, ``before_publish`` and ``options.check`` raise.
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    try:
        with device.lock(stop.is_set) as medium:
            plan = _plan(medium, options)
            handle = medium.replace() if plan.end is None else medium.append(plan.end)
            for anchor in plan.adopt:
                handle.patch(anchor.offset, anchor.pack())
            if plan.new_header:
                write_media_header(handle, plan.media)
            writer = SetWriter(handle, plan.position, set_guid)
            sink = SetSink(writer, plan.media, set_guid, options, stop)
            end = content(sink)
            if sink.header is None:
                raise ValueError("the content wrote no header")
            trailer, closed = writer.write_trailer(
                writer.write_index(),
                now(),
                is_damaged=end.is_damaged,
                last_lsn=end.last_lsn,
                last_valid_restore_time=moment(end.through_ns),
                consistent_ns=end.consistent_ns,
                through_ns=end.through_ns,
            )
            crashpoints.reach("backup.trailer-written")
            _finish(handle, writer, closed, stop, before_publish)
    except DeviceCancelled as error:
        raise OperationCancelled(str(error)) from error
    except DatabaseBusy as error:
        if stop.is_set():
            raise OperationCancelled(str(error)) from error
        raise
    return BackupResult(plan.position, plan.media, sink.header, trailer, time.monotonic() - begun)


def _finish(
    handle: WriteHandle,
    writer: SetWriter,
    closed: layout.Anchor,
    stop: threading.Event,
    before_publish: Callable[[], None],
) -> None:
    handle.sync()
    crashpoints.reach("backup.synced")
    before_publish()
    if stop.is_set():
        raise OperationCancelled("the backup was cancelled")
    writer.close(closed)
    crashpoints.reach("backup.closed")
    handle.sync()
    crashpoints.reach("backup.before-publish")
    handle.publish()
    crashpoints.reach("backup.published")


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
        created=now(),
        name=options.media_name,
        description=options.media_description,
        block_size=options.block_size,
        compressed=bool(options.compression),
    )


def now() -> dt.datetime:
    """Now, with the offset from UTC."""
    return dt.datetime.now().astimezone()


def moment(ns: int | None) -> dt.datetime | None:
    """The local time, with its offset, of nanoseconds since 1970."""
    if ns is None:
        return None
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).astimezone() + dt.timedelta(
        microseconds=ns % 1_000_000_000 // 1000
    )

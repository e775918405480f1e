"""Another codec for media that are there already: their content, positions and GUIDs stay what they are."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.media_set import Progress, no_progress
from tdsproxy.backup.pipeline import ordered_map
from tdsproxy.media.codecs import Compression, Compressor, Decompressor
from tdsproxy.media.device import LockedMedium, MediaDevice, WriteHandle
from tdsproxy.media.documents import FamilyContent
from tdsproxy.media.errors import DeviceCancelled, MediaEmpty, MediaIncompatible
from tdsproxy.media.log_blocks import LogBlock
from tdsproxy.media.reader import MediaMap, MediaReader, SetInfo, SetLocation, StoredRun
from tdsproxy.media.set_reader import MediaSetReader
from tdsproxy.media.writer import (
    EncodedRecord,
    Encoder,
    SetWriter,
    Slot,
    WholeSet,
    stored_size,
    write_media_header,
)
from tdsproxy.store import crashpoints


@dataclass(frozen=True, slots=True)
class Recoded:
    """``sets`` backup sets were written anew; bytes of all the media together."""

    sets: int
    bytes_before: int
    bytes_after: int


def recode(
    devices: Sequence[MediaDevice],
    compression: Compression | None,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
) -> Recoded:
    """Write the media of one copy of a media set anew, each beside itself and then over it by a rename.

    ``devices`` are all its families, in any order; copies in mirrors stay as they are. Everything is checked
    on the way. What an interrupted backup left is dropped. When it raises, all media are what they were, but
    for an error in the renames themselves: then some are and some are not, which harms nothing, as the
    content is the same. ``progress`` gets (bytes done, bytes in all) of the content.

    Raises OperationCancelled, MediaError; MediaIncompatible for encrypted sets.
    """
    stop = cancel if cancel is not None else threading.Event()
    try:
        with contextlib.ExitStack() as held:
            ordered = sorted(devices, key=lambda device: device.identity or "")
            media = [held.enter_context(device.lock(stop.is_set)) for device in ordered]
            return _recode(ordered, media, compression, progress, stop)
    except DeviceCancelled as error:
        raise OperationCancelled(str(error)) from error


def _recode(
    devices: Sequence[MediaDevice],
    media: Sequence[LockedMedium],
    compression: Compression | None,
    progress: Progress,
    stop: threading.Event,
) -> Recoded:
    by_name: dict[str, LockedMedium] = {}
    readers: list[MediaReader] = []
    before = 0
    for device, medium in zip(devices, media, strict=True):
        there = medium.reader()
        if there is None:
            raise MediaEmpty(device.name, "the file is empty")
        before += there.size()
        by_name[device.name] = medium
        readers.append(MediaReader(there))
    reader = MediaSetReader(readers)
    reader.check_complete()
    maps = reader.maps()
    places = [reader.find(position) for position in range(1, _complete_sets(maps) + 1)]
    infos = [reader.info(place) for place in places]
    if any(info.header.encryption is not None for info in infos):
        raise MediaIncompatible(reader.name, "encrypted", "what is encrypted cannot be compressed otherwise")
    handles = [by_name[one.name].replace() for one in reader.families]
    for one, handle in zip(reader.families, handles, strict=True):
        header = msgspec.structs.replace(one.header, compressed=compression is not None)
        write_media_header(handle, header)
    work = _Work(
        reader.families, handles, compression, progress, stop, sum(i.trailer.backup_size for i in infos)
    )
    for place, info in zip(places, infos, strict=True):
        work.write_set(place.position, place.locations, info)
    crashpoints.reach("recode.written")
    after = sum(handle.offset for handle in handles)
    for handle in handles:
        handle.sync()
    work.close_sets()
    for handle in handles:
        handle.sync()
    if stop.is_set():
        raise OperationCancelled("the media were not recoded")
    crashpoints.reach("recode.before-publish")
    for handle in handles:
        handle.publish()
    return Recoded(len(places), before, after)


def _complete_sets(maps: Sequence[MediaMap]) -> int:
    """How many sets all media hold. Raises MediaDamaged."""
    for found in maps:
        if found.damage is not None:
            raise found.damage
    return min(len(found.sets) for found in maps)


class _Work:
    """The writing of all sets onto all families."""

    def __init__(
        self,
        families: Sequence[MediaReader],
        handles: Sequence[WriteHandle],
        compression: Compression | None,
        progress: Progress,
        stop: threading.Event,
        total: int,
    ) -> None:
        self._families = families
        self._handles = handles
        self._compression = compression
        self._compressor = Compressor(compression)
        self._progress = progress
        self._stop = stop
        self._total = total
        self._done = 0
        self._writers: list[SetWriter] = []

    def write_set(self, position: int, locations: Sequence[SetLocation], info: SetInfo) -> None:
        """One set onto all families, up to its trailers."""
        writers = [
            self._write_content(family, handle, location, position)
            for family, handle, location in zip(self._families, self._handles, locations, strict=True)
        ]
        trailer = info.trailer
        whole = WholeSet(
            finished=trailer.finished,
            content=FamilyContent(
                run_count=trailer.run_count,
                page_count=trailer.page_count,
                log_block_count=trailer.log_block_count,
                transaction_count=trailer.transaction_count,
                digest=trailer.set_digest,
            ),
            families=len(self._families),
            backup_size=trailer.backup_size,
            stored_size=stored_size(writers),
            is_damaged=trailer.is_damaged,
            last_lsn=trailer.last_lsn,
            last_valid_restore_time=trailer.last_valid_restore_time,
            consistent_ns=trailer.consistent_ns,
            through_ns=trailer.through_ns,
            facts=trailer.facts,
        )
        for writer in writers:
            writer.write_trailer(whole)
        self._writers += writers

    def close_sets(self) -> None:
        """Close the anchors; all trailers are durable."""
        for writer in self._writers:
            writer.close()

    def _write_content(
        self, family: MediaReader, handle: WriteHandle, location: SetLocation, position: int
    ) -> SetWriter:
        info = family.info(location)
        writer = SetWriter(handle, position, location.set_guid)
        compression = self._compression
        writer.write_header(
            msgspec.structs.replace(
                info.header,
                compression=compression.algorithm if compression else None,
                compression_level=compression.level if compression else None,
            )
        )
        decompressor = Decompressor()
        encoder = Encoder(location.set_guid, self._compressor)
        blocks = iter(family.index(location, info)[1])

        def feed() -> Iterator[tuple[StoredRun, LogBlock | None]]:
            for run in family.records(location, info):
                if self._stop.is_set():
                    raise OperationCancelled("the media were not recoded")
                head = run.header
                block = None
                if run.is_log:
                    entry = next(blocks)
                    block = LogBlock(
                        b"",
                        head.first,
                        head.count,
                        entry.lsn,
                        entry.next_lsn,
                        entry.first_ns,
                        entry.last_ns,
                        head.flags,
                    )
                yield run, block

        def work(item: tuple[StoredRun, LogBlock | None]) -> EncodedRecord:
            run, block = item
            return encoder.again(
                Slot(run.family, run.header.sequence), run.header, memoryview(run.decode(decompressor)), block
            )

        with contextlib.closing(ordered_map(work, feed(), name="recode")) as records:
            for record in records:
                writer.write(record)
                self._done += record.header.raw_length
                self._progress(self._done, self._total)
        writer.write_index()
        return writer

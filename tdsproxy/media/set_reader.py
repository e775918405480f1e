"""Reading a media set: the devices that together hold it, and the content of its backup sets in order."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final
from uuid import UUID

from tdsproxy.media import format as layout
from tdsproxy.media.device_set import Devices, device_set
from tdsproxy.media.documents import FamilyContent, Image, MediaHeader, SetTrailer
from tdsproxy.media.errors import (
    FamiliesMissing,
    FamilyCountWrong,
    FamilyTwice,
    ForeignFamily,
    MediaDamaged,
    SetMismatch,
)
from tdsproxy.media.pace import PacedReader
from tdsproxy.media.reader import (
    MediaMap,
    MediaReader,
    SetInfo,
    SetLocation,
    StoredRun,
)
from tdsproxy.media.replacement import finish_replacement
from tdsproxy.media.sealing import ChunkCipher, Keys, SealBroken, no_keys

_UNNAMED_SET: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class SetPlace:
    """A backup set on the families of a media set; ``locations`` in their order."""

    position: int
    set_guid: UUID
    locations: tuple[SetLocation, ...]

    @property
    def offset(self) -> int:
        """Where it begins on the first family, for messages."""
        return self.locations[0].offset


@dataclass(frozen=True, slots=True)
class LogPlace:
    """A block of log and the index of the family that holds it, from 0. The other members are those of
    ``format.LogEntry``."""

    family: int
    entry: layout.LogEntry

    @property
    def offset(self) -> int:
        return self.entry.offset

    @property
    def lsn(self) -> int:
        return self.entry.lsn

    @property
    def next_lsn(self) -> int:
        return self.entry.next_lsn

    @property
    def first_ns(self) -> int:
        return self.entry.first_ns

    @property
    def last_ns(self) -> int:
        return self.entry.last_ns

    @property
    def count(self) -> int:
        return self.entry.count

    @property
    def flags(self) -> int:
        return self.entry.flags


class MediaSetReader:
    """Whole media sets, and single families of them where nothing but headers is asked for.

    Raises what ``MediaReader`` raises, FamilyTwice, ForeignFamily; KeyMissing when the content of an
    encrypted set is asked for.
    """

    def __init__(
        self, readers: Sequence[MediaReader], keys: Keys = no_keys, buffers: int | None = None
    ) -> None:
        """Takes over the readers; they may come in any order. ``buffers`` as in ``DeviceSet``."""
        self.buffers = buffers
        check_families([(reader.name, reader.header) for reader in readers])
        self._families = sorted(readers, key=lambda reader: reader.header.family_sequence)
        self._keys = keys
        self.given = tuple(readers)
        self.name = readers[0].name
        self.header: MediaHeader = readers[0].header

    @property
    def families(self) -> Sequence[MediaReader]:
        """In the order of their numbers."""
        return self._families

    def check_complete(self) -> None:
        """Raises FamiliesMissing, FamilyCountWrong."""
        count, given = self.header.family_count, len(self._families)
        if given < count:
            raise FamiliesMissing(self.name, count, given)
        if given > count:
            raise FamilyCountWrong(self.name, count, given)

    def maps(self) -> list[MediaMap]:
        """What lies on each family."""
        return [reader.map() for reader in self._families]

    def find(self, position: int) -> SetPlace:
        """The set at ``position``, on all families. Raises SetMissing, MediaEmpty, MediaDamaged,
        FamiliesMissing, FamilyCountWrong, SetMismatch."""
        self.check_complete()
        locations = tuple(reader.find(position) for reader in self._families)
        guid = _most_common([location.set_guid for location in locations])
        for reader, location in zip(self._families, locations, strict=True):
            if location.set_guid != guid:
                raise SetMismatch(reader.name, reader.header.family_sequence, position)
        return SetPlace(position, guid, locations)

    def info(self, place: SetPlace) -> SetInfo:
        """Header and trailer of the set as its first family has them; those of the others fit. Raises
        MediaDamaged."""
        infos = self._infos(place)
        first = infos[0]
        if len(infos) == 1:
            return first
        whole = _whole(first.trailer)
        for reader, location, info in zip(self._families, place.locations, infos, strict=True):
            if info.header.description != first.header.description or info.header.image != first.header.image:
                raise MediaDamaged(reader.name, "set header", location.offset, "it is not that of the others")
            if _whole(info.trailer) != whole:
                at = location.offset + location.trailer
                raise MediaDamaged(reader.name, "trailer", at, "it is not that of the others")
        return first

    def _infos(self, place: SetPlace) -> list[SetInfo]:
        return [
            reader.info(location) for reader, location in zip(self._families, place.locations, strict=True)
        ]

    # Content

    def cipher(self, info: SetInfo) -> ChunkCipher | None:
        """What opens the content of a set, None for one in clear. Raises KeyMissing."""
        envelope = info.header.encryption
        return None if envelope is None else self._keys(envelope)

    def runs(
        self, place: SetPlace, info: SetInfo, on_damage: Callable[[MediaDamaged], None] | None = None
    ) -> Iterator[StoredRun]:
        """The records of a set's content in order: page runs or page lists, then blocks of log.

        The structure is checked here, the payloads when the caller decodes them. The end is reached without
        an error only if everything fits. With ``on_damage`` the indexes lead on behind damaged pages, each
        of which is passed to it; log is never left out. Raises MediaDamaged, DeviceError, KeyMissing.
        """
        cipher = self.cipher(info)
        infos = self._infos(place)
        if on_damage is not None:
            yield from self._sound_runs(place, infos, cipher, on_damage)
            return
        streams = [
            reader.records(location, one, cipher)
            for reader, location, one in zip(self._families, place.locations, infos, strict=True)
        ]
        check = _Order(info.header.image)
        contents = hashlib.sha256()
        with contextlib.ExitStack() as closing:
            for stream in streams:
                closing.callback(stream.close)
            for run in _in_turn(streams):
                wrong = check.add(run.header)
                if wrong:
                    raise run.damaged(wrong)
                yield run
                contents.update(run.header.content_digest)
            for number, stream in enumerate(streams):
                # What one family holds behind the end of the others.
                rest = next(stream, None)
                if rest is not None:
                    raise rest.damaged(f"family {number + 1} holds more than its share")
        self._check_whole(place, info, cipher, check.content(contents.digest()[: layout.DIGEST_SIZE]))

    def runs_from(self, place: SetPlace, info: SetInfo, first: int) -> Iterator[StoredRun]:
        """The records of ``runs`` from number ``first``, counted from 0, on: what lies before is not read.

        The indexes must be those of the set, and lead to the rest. Raises as ``runs``.
        """
        cipher = self.cipher(info)
        entries = list(self._entries(place, self._infos(place)))
        contents = hashlib.sha256()
        check = _Order(info.header.image)
        for _, entry in entries:
            contents.update(entry.content_digest)
        digest = contents.digest()[: layout.DIGEST_SIZE]
        if digest != info.trailer.set_digest:
            location = place.locations[0]
            at = location.offset + info.trailer.index_offset
            raise MediaDamaged(self._families[0].name, "index", at, "it does not list what the trailer names")
        self._check_seal(place, info, cipher)
        for family, entry in entries[first:]:
            reader, location = self._families[family], place.locations[family]
            if isinstance(entry, layout.LogEntry):
                yield reader.block_at(location, entry, cipher)
                continue
            run = reader.run_at(location, entry, cipher)
            wrong = check.add(run.header)
            if wrong:
                raise run.damaged(wrong)
            yield run

    def _check_whole(
        self, place: SetPlace, info: SetInfo, cipher: ChunkCipher | None, found: FamilyContent
    ) -> None:
        trailer = info.trailer
        named = FamilyContent(
            run_count=trailer.run_count,
            page_count=trailer.page_count,
            log_block_count=trailer.log_block_count,
            transaction_count=trailer.transaction_count,
            digest=trailer.set_digest,
        )
        if found != named:
            location = place.locations[0]
            at = location.offset + location.trailer
            raise MediaDamaged(
                self._families[0].name, "pages", at, "the content is not what the trailer names"
            )
        self._check_seal(place, info, cipher)

    def _check_seal(self, place: SetPlace, info: SetInfo, cipher: ChunkCipher | None) -> None:
        if cipher is None:
            return
        trailer, location = info.trailer, place.locations[0]
        at = location.offset + location.trailer
        associated = layout.associated_data(place.set_guid, layout.TRAILER_SEAL, layout.TRAILER)
        try:
            sealed = cipher.open(layout.TRAILER_SEAL, trailer.sealed_digest or b"", associated)
        except SealBroken as error:
            raise MediaDamaged(self._families[0].name, "trailer", at, str(error)) from error
        if sealed != trailer.set_digest:
            raise MediaDamaged(self._families[0].name, "trailer", at, "the sealed set digest is another one")

    def _sound_runs(
        self,
        place: SetPlace,
        infos: Sequence[SetInfo],
        cipher: ChunkCipher | None,
        on_damage: Callable[[MediaDamaged], None],
    ) -> Iterator[StoredRun]:
        """By the indexes, which must be sound."""
        for family, entry in self._entries(place, infos):
            reader, location = self._families[family], place.locations[family]
            if isinstance(entry, layout.LogEntry):
                yield reader.block_at(location, entry, cipher)
                continue
            try:
                run = reader.run_at(location, entry, cipher)
            except MediaDamaged as error:
                on_damage(error)
                continue
            yield run

    def _entries(
        self, place: SetPlace, infos: Sequence[SetInfo]
    ) -> Iterator[tuple[int, layout.IndexEntry | layout.LogEntry]]:
        """The index entries of all families in the order of the content."""
        lists: list[list[layout.IndexEntry | layout.LogEntry]] = [
            [*pages, *blocks]
            for pages, blocks in (
                reader.index(location, one)
                for reader, location, one in zip(self._families, place.locations, infos, strict=True)
            )
        ]
        for step in range(max(map(len, lists), default=0)):
            for family, entries in enumerate(lists):
                if step < len(entries):
                    yield family, entries[step]

    def page_index(self, place: SetPlace, info: SetInfo) -> list[tuple[int, layout.IndexEntry]]:
        """Where the runs or lists of pages lie: (index of the family, entry), in order; for ``run``. Raises
        MediaDamaged."""
        del info
        found = self._entries(place, self._infos(place))
        return [(family, entry) for family, entry in found if isinstance(entry, layout.IndexEntry)]

    def run(self, place: SetPlace, info: SetInfo, family: int, entry: layout.IndexEntry) -> StoredRun:
        """The record behind an entry of ``page_index``. Raises MediaDamaged, KeyMissing."""
        return self._families[family].run_at(place.locations[family], entry, self.cipher(info))

    def log_index(self, place: SetPlace, info: SetInfo) -> list[LogPlace]:
        """Where the blocks of a set's log lie, in order, checked against the set digest. Raises
        MediaDamaged."""
        contents = hashlib.sha256()
        blocks: list[LogPlace] = []
        for family, entry in self._entries(place, self._infos(place)):
            contents.update(entry.content_digest)
            if isinstance(entry, layout.LogEntry):
                blocks.append(LogPlace(family, entry))
        if contents.digest()[: layout.DIGEST_SIZE] != info.trailer.set_digest:
            location = place.locations[0]
            at = location.offset + info.trailer.index_offset
            raise MediaDamaged(self._families[0].name, "index", at, "it does not list what the trailer names")
        return blocks

    def block(self, place: SetPlace, log: LogPlace, cipher: ChunkCipher | None) -> StoredRun:
        """The record behind an entry of ``log_index``. Raises MediaDamaged."""
        return self._families[log.family].block_at(place.locations[log.family], log.entry, cipher)

    def log_damaged(self, place: SetPlace, log: LogPlace, detail: str) -> MediaDamaged:
        """What to raise when a block's content is wrong."""
        at = place.locations[log.family].offset + log.offset
        return MediaDamaged(self._families[log.family].name, "log", at, detail)

    def close(self) -> None:
        """Free all handles."""
        for reader in self._families:
            reader.close()

    def __enter__(self) -> MediaSetReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def open_media(devices: Devices) -> MediaSetReader:
    """Open all devices for reading; mirrors are not looked at. Raises MediaMissing, DeviceError, NotMedia,
    UnsupportedVersion, MediaEmpty, MediaDamaged (a media header), FamilyTwice, ForeignFamily."""
    found = device_set(devices)
    finish_replacement(found.devices)
    with contextlib.ExitStack() as opened:
        readers: list[MediaReader] = []
        for device in found.devices:
            handle = device.open_read()
            if found.pace is not None:
                handle = PacedReader(handle, found.pace)
            opened.callback(handle.close)
            readers.append(MediaReader(handle))
        reader = MediaSetReader(readers, found.keys, found.buffers)
        opened.pop_all()
    return reader


def check_families(headers: Sequence[tuple[str, MediaHeader]]) -> None:
    """``headers`` of named devices are those of different families of one media set. Raises ForeignFamily,
    FamilyTwice, FamilyCountWrong."""
    _, first = headers[0]
    seen: dict[int, str] = {}
    for name, header in headers:
        if header.family_count < len(headers):
            raise FamilyCountWrong(name, header.family_count, len(headers))
        if header.media_set_id != first.media_set_id or header.family_count != first.family_count:
            raise ForeignFamily(name, "it belongs to another media set")
        if header.family_sequence in seen:
            raise FamilyTwice(name, header.family_sequence, seen[header.family_sequence])
        seen[header.family_sequence] = name


def _most_common(guids: Sequence[UUID]) -> UUID:
    """Of as many, the one that comes first."""
    return max(guids, key=guids.count, default=_UNNAMED_SET)


def _whole(trailer: SetTrailer) -> tuple[object, ...]:
    return (
        trailer.run_count,
        trailer.page_count,
        trailer.log_block_count,
        trailer.transaction_count,
        trailer.backup_size,
        trailer.set_digest,
        trailer.sealed_digest,
        trailer.last_lsn,
        trailer.finished,
    )


def _in_turn(streams: Sequence[Iterator[StoredRun]]) -> Iterator[StoredRun]:
    """The first of each, then the second of each, until one has no more."""
    while True:
        for stream in streams:
            run = next(stream, None)
            if run is None:
                return
            yield run


class _Order:
    """Whether the records of a set's content follow each other as they must."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._next_page = 1
        self._page_kind: int | None = None
        self._unfinished = False
        self._runs = self._pages = self._blocks = self._transactions = 0

    def add(self, head: layout.RecordHeader) -> str | None:
        """What is wrong with ``head`` as the next record; None if nothing is."""
        if head.kind == layout.LOG:
            if head.first != self._transactions or bool(head.flags & layout.CONTINUES) != self._unfinished:
                return "a block of log is out of order"
            self._unfinished = bool(head.flags & layout.UNFINISHED)
            self._blocks += 1
            self._transactions += head.count
            return None
        if self._page_kind not in (None, head.kind):
            return f"a record of kind {head.kind} lies there"
        if self._blocks or head.first < self._next_page:
            return "a run is out of order"
        length = self._image.page_size + (4 if head.kind == layout.PAGE_LIST else 0)
        if head.first + head.count - 1 > self._image.page_count or head.raw_length != head.count * length:
            return "a run does not fit the database"
        self._page_kind = head.kind
        self._runs += 1
        self._pages += head.count
        self._next_page = head.first + head.count
        return None

    def content(self, digest: bytes) -> FamilyContent:
        """What was added, with the digest over it."""
        return FamilyContent(
            run_count=self._runs,
            page_count=self._pages,
            log_block_count=self._blocks,
            transaction_count=self._transactions,
            digest=digest,
        )

"""Reading one medium: which sets are there, what they say, and the records of their content.

What several media hold together is read through ``set_reader``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar
from uuid import UUID

import msgspec

from tdsproxy.media import format as layout
from tdsproxy.media.codecs import CodecError, Decompressor
from tdsproxy.media.device import ReadHandle
from tdsproxy.media.documents import FamilyContent, MediaHeader, SetHeader, SetTrailer
from tdsproxy.media.errors import MediaDamaged, MediaEmpty, NotMedia, SetMissing, UnsupportedVersion
from tdsproxy.media.sealing import ChunkCipher, SealBroken

_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))
_CONTENT = (layout.PAGES, layout.PAGE_LIST, layout.LOG)
# sqlite.org/limits.html, SQLITE_MAX_PAGE_COUNT
_MOST_PAGES = 4294967294

_Document = TypeVar("_Document", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class SetLocation:
    """A complete set: where it lies, how long it is, where its trailer begins (from the anchor).

    ``trailer_digest`` is what the anchor promises; a set whose writer died before it closed the anchor has
    none, but ``scanned_trailer_digest``, found by reading the set. ``damage`` is what keeps the set from
    being used, None for a sound one.
    """

    position: int
    offset: int
    length: int
    trailer: int
    set_guid: UUID
    trailer_digest: bytes | None = None
    scanned_trailer_digest: bytes | None = None
    damage: MediaDamaged | None = None


@dataclass(frozen=True, slots=True)
class MediaMap:
    """What lies on a medium. ``end`` is where the next set is appended; bytes behind it are an interrupted
    append. ``damage`` is set when what follows the last set cannot be told from damaged sets: then nothing
    may be appended."""

    header: MediaHeader
    sets: tuple[SetLocation, ...]
    end: int
    damage: MediaDamaged | None = None


@dataclass(frozen=True, slots=True)
class SetInfo:
    """One complete set as HEADERONLY needs it."""

    position: int
    header: SetHeader
    trailer: SetTrailer
    length: int


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run of pages, a page list or a block of log as it lies on a medium. Only its header is read yet, so
    that other threads can read the payload; ``offset`` is its record's in the medium. ``cipher`` opens it
    where the set is encrypted, ``family`` counts from 1."""

    reader: MediaReader
    header: layout.RecordHeader
    offset: int
    cipher: ChunkCipher | None = None
    family: int = 1

    @property
    def is_log(self) -> bool:
        """Whether it is a block of log."""
        return self.header.kind == layout.LOG

    def damaged(self, detail: str, *, cut_off: bool = False) -> MediaDamaged:
        """What to raise when it is not what was written."""
        head = self.header
        page = head.first if head.kind in (layout.PAGES, layout.PAGE_LIST) else None
        return MediaDamaged(self.reader.name, part_of(head), self.offset, detail, page=page, cut_off=cut_off)

    def decode(self, decompressor: Decompressor) -> bytes | memoryview:
        """The decoded payload, all digests checked. For any thread. Raises MediaDamaged, DeviceError."""
        head = self.header
        payload: bytes | memoryview = self.reader.payload(self)
        stored = layout.digest(payload)
        if stored != head.stored_digest:
            raise self.damaged("the digest does not match")
        if bool(head.flags & layout.SEALED) != (self.cipher is not None):
            raise self.damaged("the payload is sealed otherwise than the set's header says")
        try:
            if self.cipher is not None:
                number = layout.seal_number(self.family, head.sequence)
                payload = self.cipher.open(number, payload, _associated(head, number))
            data = decompressor.decompress(head.codec, payload, head.raw_length)
        except (CodecError, SealBroken) as error:
            raise self.damaged(str(error)) from error
        if self.cipher is not None or head.codec == layout.STORED:
            content = stored
        else:
            content = layout.digest(data)
        if content != head.content_digest:
            raise self.damaged("the content digest does not match")
        return data


def _associated(head: layout.RecordHeader, number: int) -> bytes:
    return layout.associated_data(
        head.set_guid, number, head.kind, head.codec, head.flags, head.first, head.count, head.raw_length
    )


class MediaReader:
    """A medium that is being read; owns the handle and closes it.

    Raises NotMedia, UnsupportedVersion, MediaEmpty, MediaDamaged, DeviceError.
    """

    def __init__(self, handle: ReadHandle) -> None:
        self._handle = handle
        self.name = handle.name
        try:
            self.header = self._read_media_header()
        except BaseException:
            handle.close()
            raise

    def _read_media_header(self) -> MediaHeader:
        data = self._handle.read_at(0, layout.MEDIA_HEADER_SIZE)
        if not data:
            raise MediaEmpty(self.name, "the file is empty")
        try:
            document = layout.unpack_media_header(data)
        except layout.ForeignContent as error:
            # Our magic with one byte changed is still our medium, and damaged.
            if _nearly(data[: len(layout.MEDIA_MAGIC)], layout.MEDIA_MAGIC):
                raise MediaDamaged(self.name, "media header", 0, str(error)) from error
            raise NotMedia(self.name, str(error)) from error
        except layout.NewerVersion as error:
            raise UnsupportedVersion(self.name, str(error)) from error
        except layout.FormatError as error:
            raise MediaDamaged(self.name, "media header", 0, str(error)) from error
        return self._decode(document, MediaHeader, "media header", 0)

    def _decode(self, document: bytes, kind: type[_Document], part: str, offset: int) -> _Document:
        try:
            return msgspec.json.decode(document, type=kind)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise MediaDamaged(self.name, part, offset, str(error)) from error

    # What is there

    def map(self) -> MediaMap:
        """Walk the medium from set to set; reads a few hundred bytes for each."""
        size = self._handle.size()
        offset = layout.MEDIA_HEADER_SIZE
        sets: list[SetLocation] = []
        damage: MediaDamaged | None = None
        while offset < size:
            position = len(sets) + 1
            location, damage = self._locate(offset, position, size)
            if location is None:
                break
            sets.append(location)
            offset += location.length
        return MediaMap(self.header, tuple(sets), offset, damage)

    def _locate(
        self, offset: int, position: int, size: int
    ) -> tuple[SetLocation | None, MediaDamaged | None]:
        """The set at ``offset``; else None and, if that is no interrupted append, the damage."""
        data = self._handle.read_at(offset, layout.ANCHOR_SIZE)
        damage: MediaDamaged | None = None
        try:
            anchor = layout.unpack_anchor(data, offset)
        except layout.FormatError as error:
            anchor = None
            damage = MediaDamaged(self.name, "anchor", offset, str(error))
        if anchor is not None and anchor.closed:
            smallest = layout.ANCHOR_SIZE + 2 * layout.RECORD_HEADER_SIZE
            if anchor.length < smallest or not layout.ANCHOR_SIZE < anchor.trailer < anchor.length:
                return None, MediaDamaged(self.name, "anchor", offset, "its lengths cannot be")
            if anchor.position != position:
                damage = MediaDamaged(self.name, "anchor", offset, f"it is that of set {anchor.position}")
            if offset + anchor.length > size:
                return None, MediaDamaged(
                    self.name, "pages", size, "the medium is cut off inside a set", cut_off=True
                )
            return (
                SetLocation(
                    position,
                    offset,
                    anchor.length,
                    anchor.trailer,
                    anchor.set_guid,
                    anchor.trailer_digest,
                    None,
                    damage,
                ),
                None,
            )
        if anchor is not None and damage is None and self._handle.is_whole:
            whole = self._to_the_end(offset, anchor, position, size)
            if whole is not None:
                return whole, None
        found = self._scan(offset, anchor.set_guid if anchor is not None else None)
        if found is not None:
            guid, trailer, length, seal = found
            return SetLocation(position, offset, length, trailer, guid, None, seal, damage), None
        if self._ends_with_set(offset, size):
            return None, damage or MediaDamaged(self.name, "pages", offset, "the set cannot be followed")
        return None, None

    def _scan(self, offset: int, guid: UUID | None) -> tuple[UUID, int, int, bytes] | None:
        """Follow the records of a set whose anchor does not tell where it ends.

        (guid, offset of the trailer, length, digest of the trailer) if it is whole.
        """
        at = offset + layout.ANCHOR_SIZE
        sequence = 0
        records: list[tuple[int, layout.RecordHeader]] = []
        while True:
            try:
                head = layout.unpack_record_header(self._handle.read_at(at, layout.RECORD_HEADER_SIZE))
            except layout.FormatError:
                return None
            guid = guid or head.set_guid
            if head.sequence != sequence or head.set_guid != guid:
                return None
            records.append((at, head))
            sequence += 1
            end = at + layout.RECORD_HEADER_SIZE + head.stored_length
            if head.kind == layout.TRAILER:
                break
            at = end
        # Nobody has promised that these bytes are durable, so each is looked at.
        for start, record in records:
            payload = self._handle.read_at(start + layout.RECORD_HEADER_SIZE, record.stored_length)
            if len(payload) != record.stored_length or layout.digest(payload) != record.stored_digest:
                return None
        return guid, at - offset, end - offset, records[-1][1].stored_digest

    def _to_the_end(self, offset: int, anchor: layout.Anchor, position: int, size: int) -> SetLocation | None:
        """The set at ``offset`` of a medium that was published as a whole, if it is the last one there. Its
        anchor could not be closed, and nothing of it can be missing."""
        mark = layout.unpack_end_mark(self._handle.read_at(size - layout.END_MARK_SIZE, layout.END_MARK_SIZE))
        if mark is None or mark[1] != offset or anchor.position != position:
            return None
        try:
            head = layout.unpack_record_header(
                self._handle.read_at(offset + mark[0], layout.RECORD_HEADER_SIZE)
            )
        except layout.FormatError:
            return None
        end = offset + mark[0] + layout.RECORD_HEADER_SIZE + head.stored_length
        if head.kind != layout.TRAILER or head.set_guid != anchor.set_guid or end != size:
            return None
        return SetLocation(
            position, offset, size - offset, mark[0], anchor.set_guid, head.stored_digest, None
        )

    def _ends_with_set(self, after: int, size: int) -> bool:
        """Whether the medium's last bytes are a sound trailer of a set at or behind ``after``."""
        start = size - layout.END_MARK_SIZE
        if start < after:
            return False
        mark = layout.unpack_end_mark(self._handle.read_at(start, layout.END_MARK_SIZE))
        if mark is None or not after <= mark[1] <= mark[1] + mark[0] < size:
            return False
        at = mark[0] + mark[1]
        try:
            head = layout.unpack_record_header(self._handle.read_at(at, layout.RECORD_HEADER_SIZE))
        except layout.FormatError:
            return False
        return head.kind == layout.TRAILER and at + layout.RECORD_HEADER_SIZE + head.stored_length == size

    # One set

    def find(self, position: int) -> SetLocation:
        """The complete set at ``position``. Raises SetMissing, MediaEmpty, MediaDamaged."""
        found = self.map()
        if 1 <= position <= len(found.sets):
            location = found.sets[position - 1]
            if location.damage is not None:
                raise location.damage
            return location
        if found.damage is not None:
            raise found.damage
        if not found.sets:
            raise MediaEmpty(self.name, "no backup set was completed on this medium")
        raise SetMissing(self.name, position, len(found.sets))

    def info(self, location: SetLocation) -> SetInfo:
        """Header and trailer of a set, checked. Raises MediaDamaged."""
        if location.damage is not None:
            raise location.damage
        header, header_digest = self._set_header(location)
        trailer = self._trailer(location)
        if trailer.header_digest != header_digest:
            raise MediaDamaged(self.name, "set header", location.offset, "it is not the trailer's")
        image = header.image
        if image.page_size not in _PAGE_SIZES or not 0 <= image.page_count <= _MOST_PAGES:
            raise MediaDamaged(self.name, "set header", location.offset, "its image cannot be")
        if not layout.ANCHOR_SIZE < trailer.index_offset <= location.trailer or trailer.index_records < 0:
            raise MediaDamaged(self.name, "trailer", location.offset + location.trailer, "no index there")
        return SetInfo(location.position, header, trailer, location.length)

    def _set_header(self, location: SetLocation) -> tuple[SetHeader, bytes]:
        at = location.offset + layout.ANCHOR_SIZE
        head, payload = self._record(location, at, "set header", layout.SET_HEADER)
        return self._decode(payload, SetHeader, "set header", at), head.content_digest

    def _trailer(self, location: SetLocation) -> SetTrailer:
        at = location.offset + location.trailer
        head, payload = self._record(location, at, "trailer", layout.TRAILER)
        if location.trailer_digest not in (None, head.stored_digest):
            raise MediaDamaged(self.name, "trailer", at, "it is not the anchor's")
        mark = layout.unpack_end_mark(payload[-layout.END_MARK_SIZE :])
        end = location.trailer + layout.RECORD_HEADER_SIZE + head.stored_length
        if mark != (location.trailer, location.offset) or end != location.length:
            raise MediaDamaged(self.name, "trailer", at, "it does not end the set")
        return self._decode(layout.split_trailer(payload), SetTrailer, "trailer", at)

    def _record(
        self, location: SetLocation, at: int, part: str, kind: int
    ) -> tuple[layout.RecordHeader, bytes]:
        head = self._record_header(location, at, part)
        if head.kind != kind:
            raise MediaDamaged(self.name, part, at, f"a record of kind {head.kind} lies there")
        payload = self._handle.read_at(at + layout.RECORD_HEADER_SIZE, head.stored_length)
        if len(payload) != head.stored_length or layout.digest(payload) != head.stored_digest:
            raise MediaDamaged(self.name, part, at, "the digest does not match")
        return head, payload

    def _record_header(self, location: SetLocation, at: int, part: str) -> layout.RecordHeader:
        try:
            head = layout.unpack_record_header(self._handle.read_at(at, layout.RECORD_HEADER_SIZE))
        except layout.FormatError as error:
            raise MediaDamaged(self.name, part, at, str(error)) from error
        if head.set_guid != location.set_guid:
            raise MediaDamaged(self.name, part, at, "the record belongs to another set")
        return head

    def records(
        self, location: SetLocation, info: SetInfo, cipher: ChunkCipher | None = None
    ) -> Generator[StoredRun, None, None]:
        """The records of the set's content on this medium, in order.

        The numbering, the indexes and the digest over the content are checked; the end is reached without an
        error only if all of them fit. Raises MediaDamaged, DeviceError.
        """
        trailer_at = location.offset + location.trailer
        at = location.offset + layout.ANCHOR_SIZE
        at += layout.RECORD_HEADER_SIZE + self._record_header(location, at, "set header").stored_length
        index_at = location.offset + info.trailer.index_offset
        contents = hashlib.sha256()
        check = _Listing()
        family = self.header.family_sequence
        sequence = 1
        while at < index_at:
            head = self._record_header(location, at, "pages")
            if head.kind not in _CONTENT:
                raise MediaDamaged(self.name, "pages", at, f"a record of kind {head.kind} lies there")
            run = StoredRun(self, head, at, cipher, family)
            if head.sequence != sequence:
                raise run.damaged("a record is out of order")
            yield run
            contents.update(head.content_digest)
            check.note(at - location.offset, head)
            sequence += 1
            at += layout.RECORD_HEADER_SIZE + head.stored_length
        found = check.content(contents.digest()[: layout.DIGEST_SIZE])
        if found != content_of(info.trailer):
            raise MediaDamaged(self.name, "pages", at, "the content is not what the trailer names")
        pages, log = hashlib.sha256(), hashlib.sha256()
        for head, payload in self._index_records(location, info.trailer):
            if head.kind == layout.INDEX:
                pages.update(payload)
            else:
                log.update(self._log_summary(payload, trailer_at))
        if at != index_at or pages.digest() != check.pages_digest or log.digest() != check.log_digest:
            raise MediaDamaged(self.name, "index", trailer_at, "it does not list what is there")

    def payload(self, run: StoredRun) -> bytes:
        """A record's payload as it lies there. For any thread. Raises MediaDamaged, DeviceError."""
        at = run.offset + layout.RECORD_HEADER_SIZE
        payload = self._handle.read_at(at, run.header.stored_length)
        if len(payload) != run.header.stored_length:
            raise run.damaged("the medium is cut off inside a record", cut_off=True)
        return payload

    def _log_summary(self, payload: bytes, at: int) -> bytes:
        """Of each entry of a log index what the block's record says, too."""
        try:
            entries = layout.unpack_log_index(payload)
        except layout.FormatError as error:
            raise MediaDamaged(self.name, "index", at, str(error)) from error
        return b"".join(
            _log_summary(entry.offset, entry.stored_length, entry.count, entry.codec, entry.flags)
            + entry.content_digest
            for entry in entries
        )

    def _index_records(
        self, location: SetLocation, trailer: SetTrailer
    ) -> Iterator[tuple[layout.RecordHeader, bytes]]:
        """The records of both indexes, checked; their end must be the trailer."""
        at = location.offset + trailer.index_offset
        for _ in range(trailer.index_records):
            head = self._record_header(location, at, "index")
            head, payload = self._record(
                location, at, "index", layout.LOG_INDEX if head.kind == layout.LOG_INDEX else layout.INDEX
            )
            yield head, payload
            at += layout.RECORD_HEADER_SIZE + head.stored_length
        if at != location.offset + location.trailer:
            raise MediaDamaged(self.name, "index", at, "it does not end at the trailer")

    def index(
        self, location: SetLocation, info: SetInfo
    ) -> tuple[list[layout.IndexEntry], list[layout.LogEntry]]:
        """Where the runs of pages and the blocks of log lie on this medium, checked against the digest over
        its content. Raises MediaDamaged."""
        contents = hashlib.sha256()
        pages: list[layout.IndexEntry] = []
        blocks: list[layout.LogEntry] = []
        at = location.offset + info.trailer.index_offset
        try:
            for head, payload in self._index_records(location, info.trailer):
                if head.kind == layout.INDEX:
                    pages += layout.unpack_index(payload)
                else:
                    blocks += layout.unpack_log_index(payload)
        except layout.FormatError as error:
            raise MediaDamaged(self.name, "index", at, str(error)) from error
        for page_entry in pages:
            contents.update(page_entry.content_digest)
        for block_entry in blocks:
            contents.update(block_entry.content_digest)
        if contents.digest()[: layout.DIGEST_SIZE] != content_of(info.trailer).digest:
            raise MediaDamaged(self.name, "index", at, "it does not list what the trailer names")
        return pages, blocks

    def run_at(
        self, location: SetLocation, entry: layout.IndexEntry, cipher: ChunkCipher | None = None
    ) -> StoredRun:
        """The run or list of pages behind an entry of ``index``. Raises MediaDamaged."""
        at = location.offset + entry.offset
        try:
            head = self._record_header(location, at, "pages")
        except MediaDamaged as error:
            raise MediaDamaged(self.name, "pages", at, error.detail, page=entry.first_page) from error
        found = layout.IndexEntry(
            entry.offset, head.first, head.count, head.stored_length, head.codec, head.content_digest
        )
        if head.kind not in (layout.PAGES, layout.PAGE_LIST) or found != entry:
            detail = "the run is not the one that the index names"
            raise MediaDamaged(self.name, "pages", at, detail, page=entry.first_page)
        return StoredRun(self, head, at, cipher, self.header.family_sequence)

    def block_at(
        self, location: SetLocation, entry: layout.LogEntry, cipher: ChunkCipher | None = None
    ) -> StoredRun:
        """The block of log behind an entry of ``index``. Raises MediaDamaged."""
        at = location.offset + entry.offset
        head = self._record_header(location, at, "log")
        fields = (head.kind, head.count, head.stored_length, head.codec, head.flags, head.content_digest)
        expected = (
            layout.LOG,
            entry.count,
            entry.stored_length,
            entry.codec,
            entry.flags,
            entry.content_digest,
        )
        if fields != expected:
            raise MediaDamaged(self.name, "log", at, "the block is not the one that the index names")
        return StoredRun(self, head, at, cipher, self.header.family_sequence)

    def close(self) -> None:
        """Free the handle."""
        self._handle.close()

    def __enter__(self) -> MediaReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def part_of(head: layout.RecordHeader) -> str:
    """As ``MediaDamaged`` names it."""
    return "log" if head.kind == layout.LOG else "pages"


def content_of(trailer: SetTrailer) -> FamilyContent:
    """What the medium that a trailer lies on holds of the set."""
    if trailer.family is not None:
        return trailer.family
    return FamilyContent(
        run_count=trailer.run_count,
        page_count=trailer.page_count,
        log_block_count=trailer.log_block_count,
        transaction_count=trailer.transaction_count,
        digest=trailer.set_digest,
    )


def _log_summary(offset: int, stored_length: int, count: int, codec: int, flags: int) -> bytes:
    return b"%d %d %d %d %d " % (offset, stored_length, count, codec, flags)


class _Listing:
    """What a medium's records come to, and the indexes that they ask for."""

    def __init__(self) -> None:
        self._runs = self._pages = self._blocks = self._transactions = 0
        self._page_entries = hashlib.sha256()
        self._log_entries = hashlib.sha256()

    def note(self, offset: int, head: layout.RecordHeader) -> None:
        """The next record; it lies at ``offset`` from the anchor."""
        if head.kind == layout.LOG:
            self._blocks += 1
            self._transactions += head.count
            summary = _log_summary(offset, head.stored_length, head.count, head.codec, head.flags)
            self._log_entries.update(summary + head.content_digest)
            return
        self._runs += 1
        self._pages += head.count
        entry = layout.IndexEntry(
            offset, head.first, head.count, head.stored_length, head.codec, head.content_digest
        )
        self._page_entries.update(entry.pack())

    def content(self, digest: bytes) -> FamilyContent:
        """Of what was noted, with the digest over it."""
        return FamilyContent(
            run_count=self._runs,
            page_count=self._pages,
            log_block_count=self._blocks,
            transaction_count=self._transactions,
            digest=digest,
        )

    @property
    def pages_digest(self) -> bytes:
        return self._page_entries.digest()

    @property
    def log_digest(self) -> bytes:
        return self._log_entries.digest()


def _nearly(found: bytes, wanted: bytes) -> bool:
    return len(found) == len(wanted) and sum(a != b for a, b in zip(found, wanted, strict=True)) <= 2

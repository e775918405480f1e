"""Writing one backup set onto one medium, in the order that ``format`` fixes."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Compressor
from tdsproxy.media.device import Part, WriteHandle
from tdsproxy.media.documents import (
    ContentFacts,
    FamilyContent,
    MediaHeader,
    SetHeader,
    SetTrailer,
    encode,
)
from tdsproxy.media.log_blocks import LogBlock
from tdsproxy.media.sealing import ChunkCipher


@dataclass(frozen=True, slots=True)
class EncodedRecord:
    """Pages or a block of log, compressed and sealed, ready to be written.

    ``block`` is given for log. ``borrowed`` tells that the payload is the buffer that was encoded, which must
    stay as it is until the record is written.
    """

    header: layout.RecordHeader
    payload: Part
    block: LogBlock | None = None
    borrowed: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a record of the content goes: ``family`` from 1, and its sequence number there."""

    family: int
    sequence: int


def slot_of(number: int, families: int) -> Slot:
    """Where content number ``number``, from 0, goes: in turn to each family, behind its set header."""
    return Slot(number % families + 1, number // families + 1)


class Encoder:
    """Compresses, seals and digests the content of one set. For any thread; frees the interpreter lock."""

    def __init__(self, set_guid: UUID, compressor: Compressor, cipher: ChunkCipher | None = None) -> None:
        self._set_guid = set_guid
        self._compressor = compressor
        self._cipher = cipher

    def pages(
        self, slot: Slot, first_page: int, count: int, data: memoryview, kind: int = layout.PAGES
    ) -> EncodedRecord:
        """``count`` pages in a run, or a list of as many."""
        return self._encode(slot, kind, 0, first_page, count, data, None)

    def log(self, slot: Slot, block: LogBlock) -> EncodedRecord:
        """A block of log."""
        data = memoryview(block.data)
        return self._encode(slot, layout.LOG, block.flags, block.first, block.count, data, block)

    def again(
        self, slot: Slot, head: layout.RecordHeader, data: memoryview, block: LogBlock | None
    ) -> EncodedRecord:
        """What was encoded as ``head`` says, in this encoder's way; ``block`` names what its index entry
        says."""
        flags = head.flags & ~layout.SEALED
        return self._encode(slot, head.kind, flags, head.first, head.count, data, block)

    def _encode(
        self,
        slot: Slot,
        kind: int,
        flags: int,
        first: int,
        count: int,
        data: memoryview,
        block: LogBlock | None,
    ) -> EncodedRecord:
        codec, payload = self._compressor.compress(data)
        if self._cipher is None:
            content = layout.digest(data)
            stored = content if codec == layout.STORED else layout.digest(payload)
        else:
            flags |= layout.SEALED
            number = layout.seal_number(slot.family, slot.sequence)
            associated = layout.associated_data(
                self._set_guid, number, kind, codec, flags, first, count, len(data)
            )
            payload = self._cipher.seal(number, payload, associated)
            content = stored = layout.digest(payload)
        header = layout.RecordHeader(
            kind,
            slot.sequence,
            self._set_guid,
            len(payload),
            len(data),
            content,
            stored,
            codec,
            flags,
            first,
            count,
        )
        return EncodedRecord(header, payload, block, payload is data)

    def sealed_digest(self, set_digest: bytes) -> bytes | None:
        """What the trailer of an encrypted set holds."""
        if self._cipher is None:
            return None
        associated = layout.associated_data(self._set_guid, layout.TRAILER_SEAL, layout.TRAILER)
        return self._cipher.seal(layout.TRAILER_SEAL, set_digest, associated)


@dataclass(frozen=True, slots=True)
class WholeSet:
    """What all trailers of a set say alike; the members are those of ``SetTrailer``."""

    finished: dt.datetime
    content: FamilyContent
    families: int
    backup_size: int
    stored_size: int
    is_damaged: bool = False
    last_lsn: int | None = None
    last_valid_restore_time: dt.datetime | None = None
    consistent_ns: int | None = None
    through_ns: int | None = None
    sealed_digest: bytes | None = None
    facts: ContentFacts | None = None


def write_media_header(handle: WriteHandle, header: MediaHeader) -> None:
    """Put the media header at the start of an empty medium. Raises DeviceError."""
    handle.append([layout.pack_media_header(encode(header))])


class SetWriter:
    """One backup set on one medium, written from where ``handle`` stands. Raises DeviceError."""

    def __init__(self, handle: WriteHandle, position: int, set_guid: UUID) -> None:
        self._handle = handle
        self._anchor = layout.Anchor(handle.offset, position, set_guid)
        self._sequence = 0
        self._entries = bytearray()
        self._contents = hashlib.sha256()
        self._runs = 0
        self._pages = 0
        self._log_entries = bytearray()
        self._log_blocks = 0
        self._transactions = 0
        self._header_digest = b""
        self._index: tuple[int, int] = (0, 0)
        self._closed: layout.Anchor | None = None
        handle.append([self._anchor.pack()])

    @property
    def offset(self) -> int:
        """Bytes of the set so far."""
        return self._handle.offset - self._anchor.offset

    def write_header(self, header: SetHeader) -> None:
        """The set's first record."""
        document = encode(header)
        self._header_digest = layout.digest(document)
        self._record(layout.SET_HEADER, document)

    def write(self, record: EncodedRecord) -> None:
        """The next record of the content: pages in ascending order, then log, numbered without gaps."""
        head, block = record.header, record.block
        if head.sequence != self._sequence:
            raise ValueError(f"content {head.sequence} written as record {self._sequence}")
        if block is None:
            entry = layout.IndexEntry(
                self.offset, head.first, head.count, head.stored_length, head.codec, head.content_digest
            )
            self._entries += entry.pack()
            self._runs += 1
            self._pages += head.count
        else:
            log_entry = layout.LogEntry(
                self.offset,
                head.stored_length,
                head.count,
                block.lsn,
                block.next_lsn,
                block.first_ns,
                block.last_ns,
                head.codec,
                head.flags,
                head.content_digest,
            )
            self._log_entries += log_entry.pack()
            self._log_blocks += 1
            self._transactions += head.count
        self._handle.append([head.pack(), record.payload])
        self._contents.update(head.content_digest)
        self._sequence += 1

    def _record(self, kind: int, payload: bytes, first: int = 0, count: int = 0) -> None:
        seal = layout.digest(payload)
        header = layout.RecordHeader(
            kind,
            self._sequence,
            self._anchor.set_guid,
            len(payload),
            len(payload),
            seal,
            seal,
            first=first,
            count=count,
        )
        self._handle.append([header.pack(), payload])
        self._sequence += 1

    @property
    def content(self) -> FamilyContent:
        """What was written onto this medium."""
        return FamilyContent(
            run_count=self._runs,
            page_count=self._pages,
            log_block_count=self._log_blocks,
            transaction_count=self._transactions,
            digest=self._contents.digest()[: layout.DIGEST_SIZE],
        )

    def write_index(self) -> None:
        """All index records; no content follows."""
        offset = self.offset
        records = 0
        for kind, entries, size in (
            (layout.INDEX, self._entries, layout.INDEX_ENTRY_SIZE),
            (layout.LOG_INDEX, self._log_entries, layout.LOG_ENTRY_SIZE),
        ):
            for start in range(0, len(entries), layout.INDEX_ENTRIES * size):
                part = bytes(entries[start : start + layout.INDEX_ENTRIES * size])
                self._record(kind, part, start // size, len(part) // size)
                records += 1
        self._index = offset, records

    def write_trailer(self, whole: WholeSet) -> SetTrailer:
        """The last record, behind the index."""
        record_offset = self.offset
        trailer = SetTrailer(
            finished=whole.finished,
            run_count=whole.content.run_count,
            page_count=whole.content.page_count,
            backup_size=whole.backup_size,
            stored_size=whole.stored_size,
            set_digest=whole.content.digest,
            header_digest=self._header_digest,
            index_offset=self._index[0],
            index_records=self._index[1],
            is_damaged=whole.is_damaged,
            last_lsn=whole.last_lsn,
            last_valid_restore_time=whole.last_valid_restore_time,
            log_block_count=whole.content.log_block_count,
            transaction_count=whole.content.transaction_count,
            consistent_ns=whole.consistent_ns,
            through_ns=whole.through_ns,
            family=self.content if whole.families > 1 else None,
            sealed_digest=whole.sealed_digest,
            facts=whole.facts,
        )
        payload = layout.pad_trailer(encode(trailer), record_offset, self._anchor.offset)
        self._record(layout.TRAILER, payload)
        self._closed = layout.Anchor(
            self._anchor.offset,
            self._anchor.position,
            self._anchor.set_guid,
            True,
            self.offset,
            record_offset,
            layout.digest(payload),
        )
        return trailer

    def close(self) -> None:
        """Close the set; the trailer must be durable. The caller makes this durable in turn."""
        if self._closed is None:
            raise ValueError("the set has no trailer")
        self._handle.patch(self._closed.offset, self._closed.pack())


def stored_size(writers: Sequence[SetWriter]) -> int:
    """Bytes that a set takes on one copy of its families, up to the trailers."""
    return sum(writer.offset for writer in writers)

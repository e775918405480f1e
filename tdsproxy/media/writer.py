"""Writing one backup set onto a medium, in the order that ``format`` fixes."""

from __future__ import annotations

import datetime as dt
import hashlib
from dataclasses import dataclass
from uuid import UUID

from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Compressor
from tdsproxy.media.device import Part, WriteHandle
from tdsproxy.media.documents import MediaHeader, SetHeader, SetTrailer, encode
from tdsproxy.media.log_blocks import LogBlock


@dataclass(frozen=True, slots=True)
class EncodedRun:
    """A run of pages, compressed and sealed, ready to be written."""

    header: layout.RecordHeader
    payload: Part


@dataclass(frozen=True, slots=True)
class EncodedBlock:
    """A block of log, compressed and sealed, ready to be written."""

    header: layout.RecordHeader
    payload: Part
    block: LogBlock


def encode_run(
    compressor: Compressor,
    set_guid: UUID,
    sequence: int,
    first_page: int,
    count: int,
    data: memoryview,
    kind: int = layout.PAGES,
) -> EncodedRun:
    """Compress and seal ``count`` pages, or a list of as many. For any thread; frees the interpreter lock."""
    content = layout.digest(data)
    codec, payload = compressor.compress(data)
    stored = content if codec == layout.STORED else layout.digest(payload)
    header = layout.RecordHeader(
        kind,
        sequence,
        set_guid,
        len(payload),
        len(data),
        content,
        stored,
        codec,
        0,
        first_page,
        count,
    )
    return EncodedRun(header, payload)


def encode_block(compressor: Compressor, set_guid: UUID, sequence: int, block: LogBlock) -> EncodedBlock:
    """Compress and seal a block of log. Pure, for any thread."""
    codec, payload = compressor.compress(memoryview(block.data))
    content = layout.digest(block.data)
    header = layout.RecordHeader(
        layout.LOG,
        sequence,
        set_guid,
        len(payload),
        len(block.data),
        content,
        content if codec == layout.STORED else layout.digest(payload),
        codec,
        block.flags,
        block.first,
        block.count,
    )
    return EncodedBlock(header, payload, block)


def write_media_header(handle: WriteHandle, header: MediaHeader) -> None:
    """Put the media header at the start of an empty medium. Raises DeviceError."""
    handle.append([layout.pack_media_header(encode(header))])


class SetWriter:
    """One backup set, written from where ``handle`` stands. Raises DeviceError."""

    def __init__(self, handle: WriteHandle, position: int, set_guid: UUID) -> None:
        self._handle = handle
        self._anchor = layout.Anchor(handle.offset, position, set_guid)
        self._sequence = 0
        self._entries = bytearray()
        self._contents = hashlib.sha256()
        self._runs = 0
        self._pages = 0
        self._raw = 0
        self._log_entries = bytearray()
        self._log_blocks = 0
        self._transactions = 0
        self._header_digest = b""
        handle.append([self._anchor.pack()])

    @property
    def offset(self) -> int:
        """Bytes of the set so far."""
        return self._handle.offset - self._anchor.offset

    @property
    def next_sequence(self) -> int:
        """The sequence number of the next record."""
        return self._sequence

    def write_header(self, header: SetHeader) -> None:
        """The set's first record."""
        document = encode(header)
        self._header_digest = layout.digest(document)
        self._record(layout.SET_HEADER, document)

    def write_run(self, run: EncodedRun) -> None:
        """The next run of pages; runs come in ascending order, numbered without gaps."""
        head = run.header
        if head.sequence != self._sequence:
            raise ValueError(f"run {head.sequence} written as record {self._sequence}")
        entry = layout.IndexEntry(
            self.offset, head.first, head.count, head.stored_length, head.codec, head.content_digest
        )
        self._handle.append([head.pack(), run.payload])
        self._entries += entry.pack()
        self._contents.update(head.content_digest)
        self._sequence += 1
        self._runs += 1
        self._pages += head.count
        self._raw += head.raw_length

    def write_block(self, encoded: EncodedBlock) -> None:
        """The next block of log; log comes behind all pages, numbered without gaps."""
        head, block = encoded.header, encoded.block
        if head.sequence != self._sequence:
            raise ValueError(f"block {head.sequence} written as record {self._sequence}")
        entry = layout.LogEntry(
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
        self._handle.append([head.pack(), encoded.payload])
        self._log_entries += entry.pack()
        self._contents.update(head.content_digest)
        self._sequence += 1
        self._log_blocks += 1
        self._transactions += head.count
        self._raw += head.raw_length

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

    def write_index(self) -> tuple[int, int]:
        """All index records. Returns the offset of the first, and their number."""
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
        return offset, records

    def write_trailer(
        self,
        index: tuple[int, int],
        finished: dt.datetime,
        *,
        is_damaged: bool = False,
        last_lsn: int | None = None,
        last_valid_restore_time: dt.datetime | None = None,
        consistent_ns: int | None = None,
        through_ns: int | None = None,
    ) -> tuple[SetTrailer, layout.Anchor]:
        """The last record. Returns the trailer and the anchor that closes the set once this is durable."""
        record_offset = self.offset
        trailer = SetTrailer(
            finished=finished,
            run_count=self._runs,
            page_count=self._pages,
            backup_size=self._raw,
            stored_size=record_offset,
            set_digest=self._contents.digest()[: layout.DIGEST_SIZE],
            header_digest=self._header_digest,
            index_offset=index[0],
            index_records=index[1],
            is_damaged=is_damaged,
            last_lsn=last_lsn,
            last_valid_restore_time=last_valid_restore_time,
            log_block_count=self._log_blocks,
            transaction_count=self._transactions,
            consistent_ns=consistent_ns,
            through_ns=through_ns,
        )
        payload = layout.pad_trailer(encode(trailer), record_offset, self._anchor.offset)
        self._record(layout.TRAILER, payload)
        closed = layout.Anchor(
            self._anchor.offset,
            self._anchor.position,
            self._anchor.set_guid,
            True,
            self.offset,
            record_offset,
            layout.digest(payload),
        )
        return trailer, closed

    def close(self, anchor: layout.Anchor) -> None:
        """Close the set; the trailer must be durable. The caller makes this durable in turn."""
        self._handle.patch(anchor.offset, anchor.pack())

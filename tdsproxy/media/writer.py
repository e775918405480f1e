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


@dataclass(frozen=True, slots=True)
class EncodedRun:
    """A run of pages, compressed and sealed, ready to be written."""

    header: layout.RecordHeader
    payload: Part


def encode_run(
    compressor: Compressor, set_guid: UUID, sequence: int, first_page: int, count: int, data: memoryview
) -> EncodedRun:
    """Compress and seal ``count`` pages. Pure, for any thread; releases the interpreter lock."""
    content = layout.digest(data)
    codec, payload = compressor.compress(data)
    stored = content if codec == layout.STORED else layout.digest(payload)
    header = layout.RecordHeader(
        layout.PAGES,
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
        step = layout.INDEX_ENTRIES * layout.INDEX_ENTRY_SIZE
        records = 0
        for start in range(0, len(self._entries), step):
            part = bytes(self._entries[start : start + step])
            self._record(
                layout.INDEX, part, start // layout.INDEX_ENTRY_SIZE, len(part) // layout.INDEX_ENTRY_SIZE
            )
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

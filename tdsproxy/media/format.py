"""The backup medium, to the byte. Format version 1.2.

1.1 added log blocks, log indexes and page lists (kinds 5 to 7), so log and differential sets. 1.2 adds sets
that are striped over several media and mirrored, sealed payloads, and the codecs 2 to 4. An older reader
shows the headers of what it does not know and refuses to restore it; media of older versions are read as
they are.

All integers are little-endian. "Seal" and "digest" mean the first 16 bytes of a SHA-256. Every byte of a
medium, padding included, lies under at least one of them, so that any single changed byte is noticed.

Medium
======

::

    media header   4096 bytes
    backup set 1   starts at 4096, a multiple of 512 long
    backup set 2   right behind it
    ...
    (what an interrupted append left; overwritten by the next append)

Media set
=========

``family_count`` media, the *families* or stripes, hold every set together; of each family there are
``mirror_count`` copies. The media header says which one a medium is. All families hold the same sets, under
the same positions and GUIDs. A set lies in all of them, each with an anchor, a set header, indexes and a
trailer of its own; its content, counted from 0 over page runs, page lists and log blocks in the order in
which a set in one family would have them, is dealt out in turn: of n families, number i holds what leaves
the rest i - 1 when divided by n. The copies of a family hold the same records; a single medium may be
rewritten with another codec.

All trailers are durable before the first anchor is closed. A set that is complete in some families only, with
open anchors, is what an interrupted append left.

Media header (4096 bytes)
=========================

======  ====  ==================================================================
offset  size  content
======  ====  ==================================================================
0       16    89 ``tdsproxy.bak`` 0D 0A 1A: not text, and mangled by text transfers
16      2     major version 1: readers refuse a greater one
18      2     minor version 2: readers ignore what they do not know
20      4     size of the header, 4096
24      4     length n of the document
28      n     ``MediaHeader`` as JSON (see ``documents``)
28+n          zeros
4080    16    seal over bytes 0..4079
======  ====  ==================================================================

Backup set
==========

::

    anchor             512 bytes
    record 0           kind 1, the set header
    records 1..c       kind 2, runs of pages in ascending order (a full set), or
                       kind 7, lists of pages in ascending order (a differential set)
    records ..         kind 5, blocks of log
    records ..         kind 3, the index of the pages: where each run or list lies
    records ..         kind 6, the index of the log: where each block lies
    last record        kind 4, the trailer

A full or differential set of a database whose log is kept holds, after its pages, the log from the set's
FirstLSN to its LastLSN: the pages are those of some commit in between, and the log leads from any of them to
the state at LastLSN, which is what the set restores. A log set holds no pages. In a set without log, and in
one of 1.0, the pages alone are the state.

Anchor (512 bytes)
------------------

Written first with state 0 (open). When the set is complete and durable it is overwritten in place with
state 1 (closed) and made durable again: only then is the backup acknowledged. All that changes lies in one
disk sector. A set whose anchor is closed is complete, and whatever does not fit in it is *damage*; a set
whose anchor is open counts if its trailer is there and fits (the writer died in between), else it is what
an *interrupted append* left and does not exist. On a device that cannot be overwritten the anchor stays
open.

======  ====  ==================================================================
offset  size  content
======  ====  ==================================================================
0       8     ``TDSSET`` 0D 0A
8       1     state: 0 open, 1 closed
9       7     zeros
16      8     offset of the anchor in the medium
24      8     length of the set, anchor and padding included (0 while open)
32      8     offset of the trailer's record from the anchor (0 while open)
40      4     position of the set, from 1
44      4     zeros
48      16    BackupSetGUID, big-endian as in RFC 9562
64      16    digest of the trailer's payload (zeros while open)
80            zeros
496     16    seal over bytes 0..495
======  ====  ==================================================================

Record
------

======  ====  ==================================================================
offset  size  content
======  ====  ==================================================================
0       4     ``TBR1``
4       1     kind: 1 set header, 2 pages, 3 index, 4 trailer, 5 log block, 6 log index,
              7 page list
5       1     codec of the payload: 0 stored, 1 Zstandard frame, 2 gzip member, 3 bzip2 stream,
              4 XZ stream
6       2     flags: bit 0, the payload is sealed; kind 5: bit 1, the block goes on with the
              transaction of the block before; bit 2, its transaction goes on in the next
8       8     sequence number in the set, in this family, from 0
16      8     kinds 2, 7: first page, from 1; kinds 3, 6: number of the first entry; kind 5:
              number of its first transaction in the set, from 0; else 0
24      4     kinds 2, 7: number of pages; kinds 3, 6: number of entries; kind 5: number of
              transactions that end in it; else 0
28      4     length of the payload as it lies here
32      4     length of the payload decoded (opened and decompressed)
36      4     zeros
40      16    BackupSetGUID
56      16    digest of the decoded payload (the *content digest*); of a sealed one that of
              the payload as it lies here, so that nothing tells what is in it
72      16    digest of the payload as it lies here
88      8     zeros
96      16    seal over bytes 0..95
112           the payload
======  ====  ==================================================================

Records lie one after the other without gaps. A page run holds whole pages, never the lock-byte page, and
covers at most 1 MiB (one page, if pages are greater).

* Kind 1: ``SetHeader`` as JSON.
* Kind 3: 48 bytes for each page run, at most 4,096 runs to a record: offset of its record from the anchor
  (8), first page (8), number of pages (4), length of the stored payload (4), codec (1), zeros (7), content
  digest (16).
* Kind 7: the page numbers, ascending, 4 bytes each, and then their images in the same order; as many as fit
  into 1 MiB of images. Its entry in the index is like a run's.
* Kind 5: transactions, see below.
* Kind 6: 96 bytes for each log block, at most 4,096 blocks to a record: offset of its record from the anchor
  (8), length of the stored payload (4), number of transactions that end in it (4), LSN of its first
  transaction (16), NextLSN of its last transaction (16), commit times of these two (8 and 8), codec (1), the
  flags (1), zeros (14), content digest (16).
* Kind 4: ``SetTrailer`` as JSON, zeros up to the end mark, and the end mark, the set's last 32 bytes:
  ``TDSEND`` 0D 0A, offset of the trailer's record from the anchor (8), offset of the anchor in the medium
  (8), zeros (8). The trailer names the digest over all content digests of pages and log in order, the *set
  digest*, and with several families that over those of its own, the *family digest*. The trailer of a sealed
  set also holds the set digest sealed.

Sealed payload
--------------

When the set header has an encryption envelope, kinds 2, 5 and 7 are compressed and then sealed, each by
itself, with a cipher of the set (see ``sealing``). The number of a seal is (family - 1) * 2**40 + the
record's sequence number. What is authenticated besides: kind (1), codec (1), flags (2), number (8), first
(8), count (4) and decoded length (4) of the record, little-endian, and the BackupSetGUID (16). The sealed
set digest has the number 2**62 and as associated data kind 4, the GUID and zeros elsewhere.

Log block
---------

Whole transactions in the order of their LSNs, about 1 MiB of them, or a part of one that is larger: as many
of its pages as fit into 1 MiB. Each is:

======  ====  ==================================================================
offset  size  content
======  ====  ==================================================================
0       4     number of pages that follow here
4       4     number of pages of the whole transaction
8       16    LSN
24      16    NextLSN: that of the transaction behind it
40      8     commit time, signed, nanoseconds since 1970-01-01 UTC
48      4     page size
52      4     pages of the database after it
56      2     length m of the mark's name in UTF-8; 65535: it has no mark
58      2     length d of the mark's description in UTF-8; 65535: none
60      4     zeros
64      m, d  name and description of the mark
..      4n    page numbers, ascending or not
..            the images of these pages, in the same order
======  ====  ==================================================================
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from uuid import UUID

MEDIA_MAGIC = b"\x89tdsproxy.bak\r\n\x1a"
MAJOR, MINOR = 1, 2
MEDIA_HEADER_SIZE = 4096
ANCHOR_SIZE = 512
RECORD_HEADER_SIZE = 112
INDEX_ENTRY_SIZE = 48
LOG_ENTRY_SIZE = 96
INDEX_ENTRIES = 4096
END_MARK_SIZE = 32
ALIGNMENT = 512
RUN_BYTES = 1 << 20
LOG_BLOCK_BYTES = 1 << 20
DIGEST_SIZE = 16

OPEN, CLOSED = 0, 1
SET_HEADER, PAGES, INDEX, TRAILER, LOG, LOG_INDEX, PAGE_LIST = 1, 2, 3, 4, 5, 6, 7
STORED, ZSTD, GZIP, BZIP2, XZ = 0, 1, 2, 3, 4
# Flags of any content record, and of a log block.
SEALED = 1
CONTINUES, UNFINISHED = 2, 4
# The number of the seal over the set digest.
TRAILER_SEAL = 1 << 62

# No payload of ours is longer; a longer one in a record header is not believed.
LONGEST_PAYLOAD = 64 << 20

_SET_MAGIC = b"TDSSET\r\n"
_RECORD_MAGIC = b"TBR1"
_END_MAGIC = b"TDSEND\r\n"

_MEDIA = struct.Struct("<16sHHII")
_ANCHOR = struct.Struct("<8sB7xQQQI4x16s16s")
_RECORD = struct.Struct("<4sBBHQQIIII16s16s16s8x")
_ENTRY = struct.Struct("<QQIIB7x16s")
_LOG_ENTRY = struct.Struct("<QII16s16sqqBB14x16s")
_END = struct.Struct("<8sQQ8x")
_ASSOCIATED = struct.Struct("<BBHQQII16s")
_FAMILY_SHIFT = 40


class FormatError(ValueError):
    """Bytes that are not what this format says. The text tells what is wrong."""


class ForeignContent(FormatError):
    """The bytes do not even begin as the structure does."""


class NewerVersion(FormatError):
    """The medium's major version is unknown."""


def digest(data: bytes | memoryview | bytearray) -> bytes:
    """The 16-byte digest that seals everything here."""
    return hashlib.sha256(data).digest()[:DIGEST_SIZE]


def pack_media_header(document: bytes) -> bytes:
    """The media header around ``document``. Raises FormatError when that is too long."""
    if len(document) > MEDIA_HEADER_SIZE - _MEDIA.size - DIGEST_SIZE:
        raise FormatError("the media header is too long")
    head = _MEDIA.pack(MEDIA_MAGIC, MAJOR, MINOR, MEDIA_HEADER_SIZE, len(document)) + document
    body = head.ljust(MEDIA_HEADER_SIZE - DIGEST_SIZE, b"\0")
    return body + digest(body)


def unpack_media_header(data: bytes) -> bytes:
    """The document of a media header. Raises ForeignContent, NewerVersion, FormatError."""
    if data[: len(MEDIA_MAGIC)] != MEDIA_MAGIC:
        raise ForeignContent("not a backup medium")
    if len(data) < MEDIA_HEADER_SIZE:
        raise FormatError("the header is cut off")
    body, seal = data[: MEDIA_HEADER_SIZE - DIGEST_SIZE], data[MEDIA_HEADER_SIZE - DIGEST_SIZE :]
    if digest(body) != seal[:DIGEST_SIZE]:
        raise FormatError("the seal does not match")
    _, major, _, _, length = _MEDIA.unpack_from(body)
    if major > MAJOR:
        raise NewerVersion(f"format version {major}")
    return body[_MEDIA.size : _MEDIA.size + length]


@dataclass(frozen=True, slots=True)
class Anchor:
    """The fixed block at the start of a set; ``length`` and ``trailer`` are 0 while it is open."""

    offset: int
    position: int
    set_guid: UUID
    closed: bool = False
    length: int = 0
    trailer: int = 0
    trailer_digest: bytes = bytes(DIGEST_SIZE)

    def pack(self) -> bytes:
        """The 512 bytes."""
        body = _ANCHOR.pack(
            _SET_MAGIC,
            CLOSED if self.closed else OPEN,
            self.offset,
            self.length,
            self.trailer,
            self.position,
            self.set_guid.bytes,
            self.trailer_digest,
        ).ljust(ANCHOR_SIZE - DIGEST_SIZE, b"\0")
        return body + digest(body)


def unpack_anchor(data: bytes, offset: int) -> Anchor:
    """The anchor in ``data`` that lies at ``offset``. Raises ForeignContent, FormatError."""
    if data[: len(_SET_MAGIC)] != _SET_MAGIC:
        raise ForeignContent("no backup set begins here")
    body, seal = data[: ANCHOR_SIZE - DIGEST_SIZE], data[ANCHOR_SIZE - DIGEST_SIZE : ANCHOR_SIZE]
    if len(data) < ANCHOR_SIZE or digest(body) != seal:
        raise FormatError("the seal does not match")
    _, state, at, length, trailer, position, guid, trailer_digest = _ANCHOR.unpack_from(body)
    if at != offset:
        raise FormatError(f"it was written for byte {at}")
    return Anchor(at, position, UUID(bytes=guid), state == CLOSED, length, trailer, trailer_digest)


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """The header of a record; ``first`` and ``count`` as the kind says, lengths in bytes."""

    kind: int
    sequence: int
    set_guid: UUID
    stored_length: int
    raw_length: int
    content_digest: bytes
    stored_digest: bytes
    codec: int = STORED
    flags: int = 0
    first: int = 0
    count: int = 0

    def pack(self) -> bytes:
        """The 112 bytes."""
        body = _RECORD.pack(
            _RECORD_MAGIC,
            self.kind,
            self.codec,
            self.flags,
            self.sequence,
            self.first,
            self.count,
            self.stored_length,
            self.raw_length,
            0,
            self.set_guid.bytes,
            self.content_digest,
            self.stored_digest,
        )
        return body + digest(body)


def unpack_record_header(data: bytes) -> RecordHeader:
    """Raises FormatError."""
    if len(data) < RECORD_HEADER_SIZE:
        raise FormatError("the record's header is cut off")
    body, seal = data[: _RECORD.size], data[_RECORD.size : RECORD_HEADER_SIZE]
    if data[:4] != _RECORD_MAGIC:
        raise ForeignContent("no record begins here")
    if digest(body) != seal:
        raise FormatError("the seal of the record's header does not match")
    _, kind, codec, flags, sequence, first, count, stored, raw, _, guid, content, payload = _RECORD.unpack(
        body
    )
    if stored > LONGEST_PAYLOAD or raw > LONGEST_PAYLOAD:
        raise FormatError(f"a payload of {max(stored, raw)} bytes is not believed")
    return RecordHeader(
        kind, sequence, UUID(bytes=guid), stored, raw, content, payload, codec, flags, first, count
    )


def seal_number(family: int, sequence: int) -> int:
    """The number under which a record is sealed; ``family`` from 1."""
    return (family - 1 << _FAMILY_SHIFT) + sequence


def associated_data(
    set_guid: UUID,
    number: int,
    kind: int,
    codec: int = STORED,
    flags: int = 0,
    first: int = 0,
    count: int = 0,
    raw_length: int = 0,
) -> bytes:
    """What a seal authenticates besides the payload."""
    return _ASSOCIATED.pack(kind, codec, flags, number, first, count, raw_length, set_guid.bytes)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """Where one run of pages lies; ``offset`` counts from the anchor."""

    offset: int
    first_page: int
    page_count: int
    stored_length: int
    codec: int
    content_digest: bytes

    def pack(self) -> bytes:
        """The 48 bytes."""
        return _ENTRY.pack(
            self.offset, self.first_page, self.page_count, self.stored_length, self.codec, self.content_digest
        )


def unpack_index(data: bytes) -> list[IndexEntry]:
    """The entries of one index record. Raises FormatError."""
    if len(data) % INDEX_ENTRY_SIZE:
        raise FormatError("the index has a broken entry")
    return [IndexEntry(*fields) for fields in _ENTRY.iter_unpack(data)]


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Where one log block lies; ``offset`` counts from the anchor, ``next_lsn`` is exclusive.

    ``count`` transactions end in it; ``flags`` are those of its record. Times are nanoseconds since 1970,
    UTC.
    """

    offset: int
    stored_length: int
    count: int
    lsn: int
    next_lsn: int
    first_ns: int
    last_ns: int
    codec: int
    flags: int
    content_digest: bytes

    def pack(self) -> bytes:
        """The 96 bytes."""
        return _LOG_ENTRY.pack(
            self.offset,
            self.stored_length,
            self.count,
            self.lsn.to_bytes(16, "little"),
            self.next_lsn.to_bytes(16, "little"),
            self.first_ns,
            self.last_ns,
            self.codec,
            self.flags,
            self.content_digest,
        )


def unpack_log_index(data: bytes) -> list[LogEntry]:
    """The entries of one log index record. Raises FormatError."""
    if len(data) % LOG_ENTRY_SIZE:
        raise FormatError("the log index has a broken entry")
    found: list[LogEntry] = []
    for offset, length, count, lsn, end, first_ns, last_ns, codec, flags, content in _LOG_ENTRY.iter_unpack(
        data
    ):
        numbers = (int.from_bytes(lsn, "little"), int.from_bytes(end, "little"))
        found.append(LogEntry(offset, length, count, *numbers, first_ns, last_ns, codec, flags, content))
    return found


def pad_trailer(document: bytes, record_offset: int, anchor_offset: int) -> bytes:
    """The trailer's payload: ``document``, zeros, end mark, so that the set ends at a multiple of 512."""
    unpadded = record_offset + RECORD_HEADER_SIZE + len(document) + END_MARK_SIZE
    padding = -unpadded % ALIGNMENT
    return document + bytes(padding) + _END.pack(_END_MAGIC, record_offset, anchor_offset)


def split_trailer(payload: bytes) -> bytes:
    """The document of a trailer's payload."""
    return payload[:-END_MARK_SIZE].rstrip(b"\0")


def unpack_end_mark(data: bytes) -> tuple[int, int] | None:
    """(offset of the trailer's record from the anchor, offset of the anchor); None if it is no end mark."""
    if len(data) != END_MARK_SIZE or data[:8] != _END_MAGIC:
        return None
    _, record_offset, anchor_offset = _END.unpack(data)
    return record_offset, anchor_offset

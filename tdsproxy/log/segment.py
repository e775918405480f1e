"""A segment of the archive, to the byte (little-endian), and reading one.

    segment    header, then records; a record counts only when its seal is right
    header     8 bytes magic, u32 version, 16 bytes database GUID, 16 bytes fork GUID, LSN with which it
               begins, i64 time of the last transaction before it, LSN behind the last gap before it, u32 CRC
    record     header of a record, directory, stored images, 16 bytes seal
    LSN        u64 file, u64 block, u32 slot

The header of a record names what kind it is (block, part, gap, position), the lengths of what follows (the
images before and after zstd), the LSNs and times it covers, how many transactions end in it, and up to
where it follows the WAL; a CRC-32 of its own lets it be trusted without the rest. The seal is the beginning
of the SHA-256 of the GUIDs and the whole record.
"""

from __future__ import annotations

import hashlib
import os
import struct
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import zstandard

from tdsproxy.log import codec
from tdsproxy.log import lsn as lsns
from tdsproxy.log.records import ArchiveDamaged, WalPosition

SUFFIX = ".seg"
MAGIC = b"TDSPLOG\0"
VERSION = 1
SEAL_SIZE = 16

_HEADER = struct.Struct("<8s I 16s 16s QQI q QQI")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEADER.size + _CRC.size
_RECORD = struct.Struct("<I BB III QQI QQI qq I II Q II Q QQq")
RECORD_SIZE = _RECORD.size + _CRC.size
_RECORD_MAGIC = 0x31524C54
RECORD_MAGIC_BYTES = _RECORD_MAGIC.to_bytes(4, "little")
_HAS_POSITION = 1
_HAS_MAIN = 2
_SCAN_BYTES = 1 << 16


class Kind(IntEnum):
    """What a record holds."""

    BLOCK = 1
    """Whole transactions, or the last part of one."""
    PART = 2
    """A part of a transaction that goes on in the next record."""
    GAP = 3
    """Its reason instead of a directory, its time instead of a commit's."""
    POSITION = 4


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """``unbroken_since`` is the LSN behind the last gap before the segment."""

    database: uuid.UUID
    fork: uuid.UUID
    first_lsn: int
    last_committed_ns: int
    unbroken_since: int

    def pack(self) -> bytes:
        body = _HEADER.pack(
            MAGIC,
            VERSION,
            self.database.bytes_le,
            self.fork.bytes_le,
            *lsns.parts(self.first_lsn),
            self.last_committed_ns,
            *lsns.parts(self.unbroken_since),
        )
        return body + _CRC.pack(zlib.crc32(body))

    @property
    def salt(self) -> bytes:
        """What every seal of the segment begins with."""
        return self.database.bytes_le + self.fork.bytes_le


def parse_segment_header(data: bytes) -> SegmentHeader | None:
    """None when the bytes are not those of a whole header. Raises ArchiveDamaged for another version."""
    if len(data) < HEADER_SIZE:
        return None
    magic, version, database, fork, f0, b0, s0, last_ns, f1, b1, s1 = _HEADER.unpack_from(data, 0)
    if magic != MAGIC or _CRC.unpack_from(data, _HEADER.size)[0] != zlib.crc32(data[: _HEADER.size]):
        return None
    if version != VERSION:
        raise ArchiveDamaged(f"a segment of the log has version {version}, not {VERSION}")
    return SegmentHeader(
        uuid.UUID(bytes_le=database),
        uuid.UUID(bytes_le=fork),
        lsns.compose(f0, b0, s0),
        last_ns,
        lsns.compose(f1, b1, s1),
    )


@dataclass(frozen=True, slots=True)
class RecordHeader:
    """``raw_length`` and ``stored_length`` are those of the images, without and with compression."""

    kind: Kind
    directory_length: int
    raw_length: int
    stored_length: int
    first_lsn: int
    end_lsn: int
    first_ns: int
    last_ns: int
    count: int
    position: WalPosition | None

    @property
    def size(self) -> int:
        """Bytes of the whole record."""
        return RECORD_SIZE + self.directory_length + self.stored_length + SEAL_SIZE

    def pack(self) -> bytes:
        at = self.position
        flags = 0
        if at is not None:
            flags = _HAS_POSITION | (_HAS_MAIN if at.main is not None else 0)
        salts = at.salts if at is not None else (0, 0)
        sums = at.checksum if at is not None else (0, 0)
        main = at.main if at is not None and at.main is not None else (0, 0, 0)
        body = _RECORD.pack(
            _RECORD_MAGIC,
            self.kind,
            flags,
            self.directory_length,
            self.raw_length,
            self.stored_length,
            *lsns.parts(self.first_lsn),
            *lsns.parts(self.end_lsn),
            self.first_ns,
            self.last_ns,
            self.count,
            *salts,
            at.frame if at is not None else 0,
            *sums,
            at.inode if at is not None else 0,
            *main,
        )
        return body + _CRC.pack(zlib.crc32(body))


def parse_record_header(data: bytes, at: int = 0) -> RecordHeader | None:
    """The header at ``at``; None when it is not whole or not one. Raises ArchiveDamaged for a kind of record
    that there is not."""
    if len(data) - at < RECORD_SIZE:
        return None
    fields = _RECORD.unpack_from(data, at)
    (crc,) = _CRC.unpack_from(data, at + _RECORD.size)
    if fields[0] != _RECORD_MAGIC or crc != zlib.crc32(data[at : at + _RECORD.size]):
        return None
    (_, kind, flags, directory, raw, stored, f0, b0, s0, f1, b1, s1, first_ns, last_ns, count) = fields[:15]
    (salt1, salt2, frame, c0, c1, inode, *main) = fields[15:]
    if kind not in _KINDS:
        raise ArchiveDamaged(f"a record of the log is of an unknown kind {kind}")
    position = None
    if flags & _HAS_POSITION:
        noted = (main[0], main[1], main[2]) if flags & _HAS_MAIN else None
        position = WalPosition((salt1, salt2), frame, (c0, c1), inode, noted)
    return RecordHeader(
        Kind(kind),
        directory,
        raw,
        stored,
        lsns.compose(f0, b0, s0),
        lsns.compose(f1, b1, s1),
        first_ns,
        last_ns,
        count,
        position,
    )


def seal(salt: bytes, *pieces: bytes) -> bytes:
    """The seal of a record's bytes."""
    digest = hashlib.sha256(salt)
    for piece in pieces:
        digest.update(piece)
    return digest.digest()[:SEAL_SIZE]


class SegmentReader:
    """Reads one segment up to ``end`` bytes, through a descriptor of its own. For one thread at a time.

    Raises OSError, ArchiveDamaged.
    """

    def __init__(self, path: Path, end: int | None = None) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self.end = os.fstat(self._descriptor).st_size if end is None else end
            header = parse_segment_header(os.pread(self._descriptor, HEADER_SIZE, 0))
        except BaseException:
            self.close()
            raise
        self._header = header
        self._decompressor = zstandard.ZstdDecompressor()
        self._window = b""
        self._window_at = 0

    @property
    def header(self) -> SegmentHeader | None:
        """None when the file does not begin as a segment does."""
        return self._header

    def records(self) -> Iterator[tuple[int, RecordHeader]]:
        """The headers of all records with their offsets, up to the first that is not whole."""
        at = HEADER_SIZE
        while at + RECORD_SIZE <= self.end:
            found = parse_record_header(self._some(at, RECORD_SIZE))
            if found is None or at + found.size > self.end:
                return
            yield at, found
            at += found.size

    def _some(self, at: int, length: int) -> bytes:
        start = at - self._window_at
        if start < 0 or start + length > len(self._window):
            self._window = os.pread(self._descriptor, _SCAN_BYTES, at)
            self._window_at, start = at, 0
        return self._window[start : start + length]

    def body(self, at: int, header: RecordHeader) -> tuple[bytes, bytes]:
        """The directory and the stored images, checked."""
        data = os.pread(self._descriptor, header.size, at)
        if not self._sealed(data):
            raise ArchiveDamaged(f"{self.path}: the record at {at} is damaged")
        middle = RECORD_SIZE + header.directory_length
        return data[RECORD_SIZE:middle], data[middle:-SEAL_SIZE]

    def is_whole(self, at: int, header: RecordHeader) -> bool:
        """Whether the record's seal is right."""
        return self._sealed(os.pread(self._descriptor, header.size, at))

    def _sealed(self, data: bytes) -> bool:
        if self._header is None:
            raise ArchiveDamaged(f"{self.path} does not begin as a segment of a log")
        view = memoryview(data)
        return seal(self._header.salt, bytes(view[:-SEAL_SIZE])) == data[-SEAL_SIZE:]

    def entries(self, at: int, header: RecordHeader) -> tuple[list[codec.Entry], memoryview]:
        """The entries of a block or part, with the images as they were before compression."""
        directory, stored = self.body(at, header)
        entries = codec.unpack_directory(directory)
        try:
            # The frame's own claim must not decide how much memory is taken.
            if zstandard.frame_content_size(stored) != header.raw_length:
                raise ArchiveDamaged(f"{self.path}: the record at {at} has another size than its header says")
            images = self._decompressor.decompress(stored, max_output_size=header.raw_length)
        except zstandard.ZstdError as error:
            raise ArchiveDamaged(f"{self.path}: the record at {at} can't be unpacked: {error}") from error
        codec.check_images(entries, len(images))
        return entries, memoryview(images)

    def close(self) -> None:
        """May be called twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

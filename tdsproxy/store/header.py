"""The first 100 bytes of a SQLite database (sqlite.org/fileformat2.html, section 1.3)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

SIZE = 100
MAGIC = b"SQLite format 3\0"
# Byte offset at which SQLite takes its locks; the page that holds it is never used.
PENDING_BYTE = 0x4000_0000
# What an encrypted file reserves in each page.
CIPHER_RESERVED = 80

_WAL_VERSION = 2
_PAGE_SIZES = frozenset(1 << bits for bits in range(9, 17))


@dataclass(frozen=True, slots=True)
class FileHeader:
    """What the header says about the file as a whole.

    ``page_count`` is None when the header's own count must not be trusted (written by an old library):
    then the file's size counts, as in an encrypted file (``file_keys``), whose header ends with byte 23.
    """

    page_size: int
    wal: bool
    reserved: int
    page_count: int | None
    library_version: int
    encrypted: bool = False


def parse(data: bytes | memoryview) -> FileHeader | None:
    """The header in the first 100 bytes of ``data``; None if they are not those of a database."""
    if len(data) < SIZE:
        return None
    encrypted = bytes(data[:16]) != MAGIC
    if encrypted and (data[20] != CIPHER_RESERVED or not any(data[:16])):
        return None
    (raw_size,) = struct.unpack_from(">H", data, 16)
    page_size = 65536 if raw_size == 1 else raw_size
    if page_size not in _PAGE_SIZES or bytes(data[21:24]) != b"\x40\x20\x20":
        return None
    if encrypted:
        return FileHeader(page_size, data[19] == _WAL_VERSION, data[20], None, 0, True)
    change_counter, count = struct.unpack_from(">II", data, 24)
    valid_for, library = struct.unpack_from(">II", data, 92)
    trusted = count if count and change_counter == valid_for else None
    return FileHeader(page_size, data[19] == _WAL_VERSION, data[20], trusted, library)


def lock_page(page_size: int) -> int:
    """The number of the page that never holds data (1-based)."""
    return PENDING_BYTE // page_size + 1

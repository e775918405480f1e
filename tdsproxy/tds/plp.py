"""Partially length-prefixed values (MS-TDS 2.2.5.2.3): total (8), then chunks of length (4) and bytes until
a chunk of length 0. A total of all ones is NULL, without chunks; all ones but the last bit, unknown."""

from __future__ import annotations

import struct
from typing import Final

from tdsproxy.tds.buffer import Reader
from tdsproxy.tds.errors import EncodeError, TooLarge

NULL: Final = b"\xff" * 8
UNKNOWN: Final = b"\xfe" + b"\xff" * 7
END: Final = bytes(4)
MAX_PLP: Final = 0x7FFFFFFF
_NULL_TOTAL: Final = 0xFFFFFFFFFFFFFFFF
_HEAD: Final = struct.Struct("<QI")


def encode_plp(data: bytes) -> bytes:
    """One value in one chunk."""
    size = len(data)
    if size > MAX_PLP:
        raise EncodeError(f"a value of {size} bytes, at most {MAX_PLP} are allowed")
    if not size:
        return bytes(12)
    return _HEAD.pack(size, size) + data + END


class PlpAssembler:
    """Collects one value over any number of reads, of at most ``limit`` bytes. The announced total is not
    believed: nothing is allocated by it and it need not match."""

    __slots__ = ("_begun", "_limit", "_parts", "_size")

    def __init__(self, limit: int = MAX_PLP) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._begun = False

    def read(self, reader: Reader) -> bytes | None:
        """The value, None for NULL. On ``Truncated`` call again with more bytes behind ``reader.pos``."""
        if not self._begun:
            total = reader.u64()
            self._begun = True
            if total == _NULL_TOTAL:
                return None
        while True:
            start = reader.pos
            size = reader.u32()
            if not size:
                return b"".join(self._parts)
            if self._size + size > self._limit:
                raise TooLarge(f"a value of more than {self._limit} bytes")
            try:
                self._parts.append(reader.take(size))
            except BaseException:
                reader.pos = start
                raise
            self._size += size


def read_plp(reader: Reader, limit: int = MAX_PLP) -> bytes | None:
    """One value that lies wholly in the reader."""
    return PlpAssembler(limit).read(reader)

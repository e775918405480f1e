"""A bounds-checked cursor over received bytes, and the length-prefixed fields both directions share.

All integers are little-endian here; the big-endian fields of TDS are the packet header's, PRELOGIN's and
LOGINACK's version, and those modules say so themselves.
"""

from __future__ import annotations

import struct
from typing import Final

from tdsproxy.tds.errors import EncodeError, ProtocolError, Truncated

_U16: Final = struct.Struct("<H")
_I16: Final = struct.Struct("<h")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_U64: Final = struct.Struct("<Q")
_I64: Final = struct.Struct("<q")


class Reader:
    """Reads fields from ``data`` starting at ``pos``; raises ``Truncated`` at its end."""

    __slots__ = ("data", "end", "pos")

    def __init__(self, data: bytes | bytearray, pos: int = 0, end: int | None = None) -> None:
        self.data = data
        self.pos = pos
        self.end = len(data) if end is None else end

    @property
    def remaining(self) -> int:
        return self.end - self.pos

    def _advance(self, size: int) -> int:
        start = self.pos
        after = start + size
        if after > self.end:
            raise Truncated(after - self.end)
        self.pos = after
        return start

    def take(self, size: int) -> bytes:
        start = self._advance(size)
        return bytes(self.data[start : start + size])

    def skip(self, size: int) -> None:
        self._advance(size)

    def peek(self) -> int:
        if self.pos >= self.end:
            raise Truncated
        return self.data[self.pos]

    def u8(self) -> int:
        return self.data[self._advance(1)]

    def u16(self) -> int:
        return int(_U16.unpack_from(self.data, self._advance(2))[0])

    def i16(self) -> int:
        return int(_I16.unpack_from(self.data, self._advance(2))[0])

    def u32(self) -> int:
        return int(_U32.unpack_from(self.data, self._advance(4))[0])

    def i32(self) -> int:
        return int(_I32.unpack_from(self.data, self._advance(4))[0])

    def u64(self) -> int:
        return int(_U64.unpack_from(self.data, self._advance(8))[0])

    def i64(self) -> int:
        return int(_I64.unpack_from(self.data, self._advance(8))[0])

    def ucs2(self, characters: int) -> str:
        return decode_ucs2(self.take(2 * characters))

    def b_varchar(self) -> str:
        return self.ucs2(self.u8())

    def us_varchar(self) -> str:
        return self.ucs2(self.u16())

    def b_varbyte(self) -> bytes:
        return self.take(self.u8())

    def us_varbyte(self) -> bytes:
        return self.take(self.u16())

    def sub(self, size: int) -> Reader:
        """A reader over the next ``size`` bytes, which this one passes."""
        start = self._advance(size)
        return Reader(self.data, start, start + size)

    def rest(self) -> bytes:
        return self.take(self.end - self.pos)


def encode_ucs2(text: str) -> bytes:
    """UTF-16LE; a lone surrogate goes out as it is, as T-SQL's nvarchar may hold one."""
    return text.encode("utf-16-le", "surrogatepass")


def decode_ucs2(data: bytes) -> str:
    """UTF-16LE; lone surrogates are kept. An odd number of bytes is a ``ProtocolError``."""
    if len(data) & 1:
        raise ProtocolError("UTF-16 text of an odd number of bytes")
    return data.decode("utf-16-le", "surrogatepass")


def b_varchar(text: str) -> bytes:
    """1-byte length in UTF-16 units, then the text."""
    body = encode_ucs2(text)
    if len(body) > 2 * 0xFF:
        raise EncodeError(f"name of {len(body) // 2} characters, at most 255 are allowed")
    return bytes((len(body) >> 1,)) + body


def us_varchar(text: str) -> bytes:
    """2-byte length in UTF-16 units, then the text."""
    body = encode_ucs2(text)
    if len(body) > 2 * 0xFFFF:
        raise EncodeError(f"text of {len(body) // 2} characters, at most 65535 are allowed")
    return _U16.pack(len(body) >> 1) + body


def b_varbyte(data: bytes) -> bytes:
    """1-byte length in bytes, then the bytes."""
    if len(data) > 0xFF:
        raise EncodeError(f"{len(data)} bytes, at most 255 are allowed")
    return bytes((len(data),)) + data


def us_varbyte(data: bytes) -> bytes:
    """2-byte length in bytes, then the bytes."""
    if len(data) > 0xFFFF:
        raise EncodeError(f"{len(data)} bytes, at most 65535 are allowed")
    return _U16.pack(len(data)) + data

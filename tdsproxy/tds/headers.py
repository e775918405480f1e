"""ALL_HEADERS (MS-TDS 2.2.5.3), in front of each request of TDS 7.2 and later, and the SQLBatch behind it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache
from typing import Final

from tdsproxy.tds.buffer import Reader, decode_ucs2, encode_ucs2
from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.versions import TdsVersion, is_wide

NO_TRANSACTION: Final = bytes(8)
_HEAD: Final = struct.Struct("<IH")
_TOTAL: Final = struct.Struct("<I")
_OUTSTANDING: Final = struct.Struct("<I")
_MIN_HEADER: Final = 6
_TRANSACTION_SIZE: Final = 18
_USUAL_SIZE: Final = 4 + _TRANSACTION_SIZE
_TRACE_SIZE: Final = 26


class HeaderType(IntEnum):
    QUERY_NOTIFICATION = 1
    TRANSACTION_DESCRIPTOR = 2
    TRACE_ACTIVITY = 3


@dataclass(frozen=True, slots=True)
class AllHeaders:
    """``descriptor`` is the 8 bytes of the last ENVCHANGE "begin transaction", zeros outside one.
    ``trace_activity`` (GUID and sequence, 20 bytes) and ``query_notification`` are kept as bytes."""

    descriptor: bytes = NO_TRANSACTION
    outstanding: int = 1
    trace_activity: bytes | None = None
    query_notification: bytes | None = None

    @property
    def in_transaction(self) -> bool:
        return self.descriptor != NO_TRANSACTION


NO_HEADERS: Final = AllHeaders()


def parse_all_headers(body: bytes) -> tuple[AllHeaders, int]:
    """The headers at the start of a request, and where they end. Unknown ones are skipped. Raises
    ``ProtocolError`` when a length does not add up."""
    if len(body) < 4:
        raise ProtocolError("the request ends inside ALL_HEADERS")
    (total,) = _TOTAL.unpack_from(body)
    if not 4 <= total <= len(body):
        raise ProtocolError(f"ALL_HEADERS claims {total} bytes of {len(body)}")
    if total == _USUAL_SIZE:
        return _usual(body[:total]), total
    return _parse(body, total), total


@lru_cache(maxsize=256)
def _usual(head: bytes) -> AllHeaders:
    """The one header that most requests have, the same from one to the next."""
    return _parse(head, len(head))


def _parse(body: bytes, total: int) -> AllHeaders:
    descriptor, outstanding, trace, notification = NO_TRANSACTION, 1, None, None
    pos = 4
    while pos < total:
        if total - pos < _MIN_HEADER:
            raise ProtocolError("ALL_HEADERS ends inside a header")
        length, kind = _HEAD.unpack_from(body, pos)
        if not _MIN_HEADER <= length <= total - pos:
            raise ProtocolError(f"a header claims {length} bytes of {total - pos}")
        data = body[pos + _MIN_HEADER : pos + length]
        if kind == HeaderType.TRANSACTION_DESCRIPTOR:
            if length != _TRANSACTION_SIZE:
                raise ProtocolError(f"a transaction descriptor header of {length} bytes")
            descriptor, outstanding = data[:8], _OUTSTANDING.unpack_from(data, 8)[0]
        elif kind == HeaderType.TRACE_ACTIVITY:
            trace = data
        elif kind == HeaderType.QUERY_NOTIFICATION:
            notification = data
        pos += length
    return AllHeaders(descriptor, outstanding, trace, notification)


def build_all_headers(headers: AllHeaders = NO_HEADERS) -> bytes:
    """The inverse of ``parse_all_headers``; a transaction descriptor header is always there."""
    if len(headers.descriptor) != 8:
        raise EncodeError("a transaction descriptor is eight bytes")
    parts = []
    if headers.query_notification is not None:
        size = _MIN_HEADER + len(headers.query_notification)
        parts.append(_HEAD.pack(size, HeaderType.QUERY_NOTIFICATION) + headers.query_notification)
    parts.append(
        _HEAD.pack(_TRANSACTION_SIZE, HeaderType.TRANSACTION_DESCRIPTOR)
        + headers.descriptor
        + _OUTSTANDING.pack(headers.outstanding)
    )
    if headers.trace_activity is not None:
        size = _MIN_HEADER + len(headers.trace_activity)
        parts.append(_HEAD.pack(size, HeaderType.TRACE_ACTIVITY) + headers.trace_activity)
    body = b"".join(parts)
    return _TOTAL.pack(4 + len(body)) + body


def read_headers(body: bytes, tds_version: int) -> tuple[AllHeaders, int]:
    """As ``parse_all_headers``; nothing is there before TDS 7.2."""
    return parse_all_headers(body) if is_wide(tds_version) else (NO_HEADERS, 0)


@dataclass(frozen=True, slots=True)
class SqlBatch:
    headers: AllHeaders
    text: str


def parse_batch(body: bytes, tds_version: int = TdsVersion.V7_4, *, enclave: bool = False) -> SqlBatch:
    """A SQLBatch message (MS-TDS 2.2.6.7). ``enclave``: COLUMNENCRYPTION version 2 or more was
    acknowledged, so an enclave package stands before the text. Raises ``ProtocolError``."""
    headers, pos = read_headers(body, tds_version)
    if enclave:
        reader = Reader(body, pos)
        reader.us_varbyte()
        pos = reader.pos
    return SqlBatch(headers, decode_ucs2(body[pos:]))


def build_batch(
    text: str, headers: AllHeaders = NO_HEADERS, tds_version: int = TdsVersion.V7_4, *, enclave: bool = False
) -> bytes:
    """A SQLBatch message's payload."""
    head = build_all_headers(headers) if is_wide(tds_version) else b""
    return head + (b"\0\0" if enclave else b"") + encode_ucs2(text)

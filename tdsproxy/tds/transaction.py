"""Transaction Manager requests (MS-TDS 2.2.6.9): transactions begun and ended without SQL."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from tdsproxy.tds.buffer import Reader, b_varbyte, decode_ucs2, encode_ucs2, us_varbyte
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import NO_HEADERS, AllHeaders, build_all_headers, parse_all_headers

_U16: Final = struct.Struct("<H")
_BEGIN_NEW: Final = 0x01


class TransactionManagerType(IntEnum):
    GET_DTC_ADDRESS = 0
    PROPAGATE = 1
    BEGIN = 5
    PROMOTE = 6
    COMMIT = 7
    ROLLBACK = 8
    SAVE = 9


class Isolation(IntEnum):
    UNCHANGED = 0
    READ_UNCOMMITTED = 1
    READ_COMMITTED = 2
    REPEATABLE_READ = 3
    SERIALIZABLE = 4
    SNAPSHOT = 5


@dataclass(frozen=True, slots=True)
class TransactionManagerRequest:
    """``isolation`` is that of the transaction begun: by BEGIN, or after a COMMIT or ROLLBACK with
    ``begin_after``, whose new transaction is called ``new_name``. ``payload`` belongs to PROPAGATE."""

    kind: TransactionManagerType
    name: str = ""
    isolation: int = 0
    begin_after: bool = False
    new_name: str = ""
    payload: bytes = b""
    headers: AllHeaders = NO_HEADERS


def parse_transaction(body: bytes) -> TransactionManagerRequest:
    """Read a Transaction Manager message. Raises ``ProtocolError``."""
    headers, pos = parse_all_headers(body)
    reader = Reader(body, pos)
    number = reader.u16()
    try:
        kind = TransactionManagerType(number)
    except ValueError:
        raise ProtocolError(f"transaction manager request {number} is unknown") from None
    if kind is TransactionManagerType.BEGIN:
        isolation = reader.u8()
        return TransactionManagerRequest(kind, _name(reader), isolation, headers=headers)
    if kind is TransactionManagerType.SAVE:
        return TransactionManagerRequest(kind, _name(reader), headers=headers)
    if kind in (TransactionManagerType.COMMIT, TransactionManagerType.ROLLBACK):
        name = _name(reader)
        if not reader.u8() & _BEGIN_NEW:
            return TransactionManagerRequest(kind, name, headers=headers)
        isolation = reader.u8()
        return TransactionManagerRequest(kind, name, isolation, True, _name(reader), headers=headers)
    payload = b"" if kind is TransactionManagerType.PROMOTE else reader.us_varbyte()
    return TransactionManagerRequest(kind, payload=payload, headers=headers)


def _name(reader: Reader) -> str:
    """The length counts bytes."""
    return decode_ucs2(reader.b_varbyte())


def build_transaction(request: TransactionManagerRequest) -> bytes:
    """The inverse of ``parse_transaction``."""
    kind = request.kind
    out = build_all_headers(request.headers) + _U16.pack(kind)
    name = b_varbyte(encode_ucs2(request.name))
    if kind is TransactionManagerType.BEGIN:
        return out + bytes((request.isolation,)) + name
    if kind is TransactionManagerType.SAVE:
        return out + name
    if kind in (TransactionManagerType.COMMIT, TransactionManagerType.ROLLBACK):
        if not request.begin_after:
            return out + name + b"\0"
        new_name = b_varbyte(encode_ucs2(request.new_name))
        return out + name + bytes((_BEGIN_NEW, request.isolation)) + new_name
    return out if kind is TransactionManagerType.PROMOTE else out + us_varbyte(request.payload)

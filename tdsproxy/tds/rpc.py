"""RPC requests (MS-TDS 2.2.6.6): one or several procedure calls in a message."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any, Final

from tdsproxy.tds.buffer import Reader, b_varchar, encode_ucs2
from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge
from tdsproxy.tds.headers import NO_HEADERS, AllHeaders, build_all_headers, read_headers
from tdsproxy.tds.plp import MAX_PLP
from tdsproxy.tds.tvp import TvpValue, build_tvp, parse_tvp
from tdsproxy.tds.types import TypeId, TypeInfo, build_type_info, parse_type_info
from tdsproxy.tds.values import decode_value, encode_value
from tdsproxy.tds.versions import TdsVersion, has_collations, is_wide

MAX_PARAMETERS: Final = 2100
MAX_NAME: Final = 1046
"""UTF-16 units of a procedure's name: four parts in brackets, each bracket doubled."""
MAX_CALLS: Final = 10_000
_BY_ID: Final = 0xFFFF
_NEXT: Final = 0xFF
_NEXT_NARROW: Final = 0x80
_NO_EXEC: Final = 0xFE
_U16: Final = struct.Struct("<H")


class ProcId(IntEnum):
    """Procedures that are called by number."""

    CURSOR = 1
    CURSOR_OPEN = 2
    CURSOR_PREPARE = 3
    CURSOR_EXECUTE = 4
    CURSOR_PREPEXEC = 5
    CURSOR_UNPREPARE = 6
    CURSOR_FETCH = 7
    CURSOR_OPTION = 8
    CURSOR_CLOSE = 9
    EXECUTESQL = 10
    PREPARE = 11
    EXECUTE = 12
    PREPEXEC = 13
    PREPEXECRPC = 14
    UNPREPARE = 15


PROCEDURE_NAMES: Final = {
    ProcId.CURSOR: "sp_cursor",
    ProcId.CURSOR_OPEN: "sp_cursoropen",
    ProcId.CURSOR_PREPARE: "sp_cursorprepare",
    ProcId.CURSOR_EXECUTE: "sp_cursorexecute",
    ProcId.CURSOR_PREPEXEC: "sp_cursorprepexec",
    ProcId.CURSOR_UNPREPARE: "sp_cursorunprepare",
    ProcId.CURSOR_FETCH: "sp_cursorfetch",
    ProcId.CURSOR_OPTION: "sp_cursoroption",
    ProcId.CURSOR_CLOSE: "sp_cursorclose",
    ProcId.EXECUTESQL: "sp_executesql",
    ProcId.PREPARE: "sp_prepare",
    ProcId.EXECUTE: "sp_execute",
    ProcId.PREPEXEC: "sp_prepexec",
    ProcId.PREPEXECRPC: "sp_prepexecrpc",
    ProcId.UNPREPARE: "sp_unprepare",
}


class ParamStatus(IntFlag):
    NORMAL = 0
    BY_REF = 0x01
    DEFAULT = 0x02
    ENCRYPTED = 0x08


class RpcOption(IntFlag):
    NONE = 0
    RECOMPILE = 0x01
    NO_METADATA = 0x02
    REUSE_METADATA = 0x04


@dataclass(frozen=True, slots=True)
class RpcParam:
    """``name`` with its sign, empty when positional. A table-valued parameter's ``value`` is a
    ``TvpValue``; an encrypted one's the cipher bytes, with what describes them in ``cipher``."""

    name: str
    status: int
    type_info: TypeInfo
    value: Any = field(repr=False)
    cipher: bytes | None = None

    @property
    def output(self) -> bool:
        return bool(self.status & ParamStatus.BY_REF)

    @property
    def default(self) -> bool:
        return bool(self.status & ParamStatus.DEFAULT)


@dataclass(frozen=True, slots=True)
class RpcCall:
    """``procedure`` is a name as written or a ``ProcId``. ``no_exec``: only the checks are asked for."""

    procedure: str | int
    options: int = 0
    params: tuple[RpcParam, ...] = ()
    no_exec: bool = False


@dataclass(frozen=True, slots=True)
class RpcRequest:
    headers: AllHeaders
    calls: tuple[RpcCall, ...]


def parse_rpc(
    body: bytes,
    tds_version: int = TdsVersion.V7_4,
    *,
    enclave: bool = False,
    limit: int = MAX_PLP,
) -> RpcRequest:
    """Read an RPC message. ``enclave`` as for ``parse_batch``; ``limit`` bounds one value in bytes. Raises
    ``UnsupportedType`` for a type unknown here, whose message can only be passed on whole, and
    ``ProtocolError`` for the rest."""
    headers, pos = read_headers(body, tds_version)
    reader = Reader(body, pos)
    calls: list[RpcCall] = []
    while reader.remaining:
        if len(calls) == MAX_CALLS:
            raise TooLarge(f"more than {MAX_CALLS} calls in a message")
        calls.append(_parse_call(reader, tds_version, enclave, limit))
    if not calls:
        raise ProtocolError("an RPC message without a call")
    return RpcRequest(headers, tuple(calls))


def _parse_call(reader: Reader, tds_version: int, enclave: bool, limit: int) -> RpcCall:
    length = reader.u16()
    procedure: str | int
    if length == _BY_ID:
        procedure = reader.u16()
    elif length <= MAX_NAME:
        procedure = reader.ucs2(length)
    else:
        raise TooLarge(f"a procedure name of {length} characters")
    options = reader.u16()
    if enclave:
        reader.us_varbyte()
    separator = _NEXT if is_wide(tds_version) else _NEXT_NARROW
    params: list[RpcParam] = []
    no_exec = False
    while reader.remaining:
        head = reader.peek()
        if head in (separator, _NO_EXEC):
            reader.skip(1)
            no_exec = head == _NO_EXEC
            break
        if len(params) == MAX_PARAMETERS:
            raise TooLarge(f"more than {MAX_PARAMETERS} parameters")
        params.append(_parse_param(reader, tds_version, limit))
    return RpcCall(procedure, options, tuple(params), no_exec)


def _parse_param(reader: Reader, tds_version: int, limit: int) -> RpcParam:
    name = reader.b_varchar()
    status = reader.u8()
    info = parse_type_info(reader, rpc=True, collations=has_collations(tds_version))
    value: Any
    if info.type_id == TypeId.TVP:
        value = parse_tvp(reader, limit=limit)
    else:
        value = decode_value(reader, info, rpc=True, limit=limit)
    cipher = _cipher_info(reader) if status & ParamStatus.ENCRYPTED else None
    return RpcParam(name, status, info, value, cipher)


def _cipher_info(reader: Reader) -> bytes:
    """ParamCipherInfo: TYPE_INFO, algorithm, [name], encryption type, the key's ids, normalization."""
    start = reader.pos
    parse_type_info(reader, rpc=True)
    if reader.u8() == 0:
        reader.b_varchar()
    reader.skip(1 + 4 + 4 + 4 + 8 + 1)
    return bytes(reader.data[start : reader.pos])


def build_rpc(
    calls: Sequence[RpcCall],
    headers: AllHeaders = NO_HEADERS,
    tds_version: int = TdsVersion.V7_4,
    *,
    enclave: bool = False,
) -> bytes:
    """An RPC message's payload. Raises ``EncodeError``."""
    wide = is_wide(tds_version)
    separator = bytes((_NEXT if wide else _NEXT_NARROW,))
    out = [build_all_headers(headers) if wide else b""]
    last = len(calls) - 1
    for index, rpc in enumerate(calls):
        out.append(_build_procedure(rpc.procedure))
        out.append(_U16.pack(rpc.options))
        if enclave:
            out.append(b"\0\0")
        out += [_build_param(param) for param in rpc.params]
        if rpc.no_exec:
            out.append(bytes((_NO_EXEC,)))
        elif index != last:
            out.append(separator)
    return b"".join(out)


def _build_procedure(procedure: str | int) -> bytes:
    if isinstance(procedure, int):
        return _U16.pack(_BY_ID) + _U16.pack(procedure)
    name = encode_ucs2(procedure)
    if len(name) > 2 * MAX_NAME:
        raise EncodeError(f"a procedure name of {len(name) // 2} characters")
    return _U16.pack(len(name) >> 1) + name


def _build_param(param: RpcParam) -> bytes:
    info = param.type_info
    head = b_varchar(param.name) + bytes((param.status,)) + build_type_info(info, rpc=True)
    if info.type_id == TypeId.TVP:
        if param.value is not None and not isinstance(param.value, TvpValue):
            raise EncodeError("a table-valued parameter takes a TvpValue")
        return head + build_tvp(param.value)
    return head + encode_value(info, param.value, rpc=True) + (param.cipher or b"")

"""Functions of errors, identity, hashes and the rest that need no catalog."""

from __future__ import annotations

import gzip
import hashlib
import re
import secrets
import uuid
import zlib
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Final

from tdsproxy.tsql import codepage, collation
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import always, integer
from tdsproxy.tsql.functions.registry import CaughtError, FunctionContext, FunctionDef
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value

Types = Sequence[SqlType]


def _error(field: Callable[[CaughtError], Value]) -> Callable[[FunctionContext], Value]:
    def run(context: FunctionContext) -> Value:
        return None if context.caught is None else field(context.caught)

    return run


def _of_error(name: str, type_: SqlType, field: Callable[[CaughtError], Value]) -> FunctionDef:
    return FunctionDef(name, 0, 0, always(type_), _error(field), needs_context=True, deterministic=False)


def _xact_state(context: FunctionContext) -> int:
    return context.transaction_state()


def _newid() -> uuid.UUID:
    return uuid.uuid4()


_NUMERIC: Final = re.compile(r"\s*[+-]?\s*[$£¤¥€]?\s*[+-]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eEdD][+-]?\d+)?\s*")


def _isnumeric(value: Value, *, arg_types: Types, result_type: SqlType) -> int:
    if value is None:
        return 0
    if isinstance(value, int | float | Decimal):
        return 1
    if not isinstance(value, str):
        return 0
    bare = value.strip()
    if bare in ("+", "-", ".", ",", "$", "£", "€", "\\"):
        return 1
    return int(bool(_NUMERIC.fullmatch(value)))


_HASHES: Final = {
    "MD5": "md5",
    "SHA": "sha1",
    "SHA1": "sha1",
    "SHA2_256": "sha256",
    "SHA2_512": "sha512",
}


def _raw(value: Value, type_: SqlType) -> bytes:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass") if type_.is_unicode else codepage.encode(value)
    made = convert(value, type_, t.varbinary(MAX))
    return made if isinstance(made, bytes) else b""


def _hashbytes(kind: Value, value: Value, *, arg_types: Types, result_type: SqlType) -> bytes | None:
    name = _HASHES.get(str(kind).upper())
    if name is None:
        return None
    return hashlib.new(name, _raw(value, arg_types[1]), usedforsecurity=False).digest()


def checksum(values: Sequence[Value], types: Types, *, binary: bool) -> int:
    """A signed 32-bit hash of a list of values; CHECKSUM ignores case as the collation does. The number is
    not SQL Server's own."""
    state = 0
    for value, type_ in zip(values, types, strict=True):
        if isinstance(value, str):
            raw = (value if binary else collation.collation_key(value)).encode("utf-8", "surrogatepass")
        elif value is None:
            raw = b"\xff"
        elif isinstance(value, int):
            raw = value.to_bytes(8, "big", signed=True)
        else:
            raw = _raw(value, type_)
        state = zlib.crc32(raw, ((state << 4) | (state >> 28)) & 0xFFFFFFFF)
    return state - (1 << 32) if state >= 1 << 31 else state


def _single_int(values: Sequence[Value]) -> int | None:
    """CHECKSUM of one int is the int."""
    value = values[0]
    if len(values) == 1 and isinstance(value, int) and -(2**31) <= value < 2**31:
        return value
    return None


def _checksum(*values: Value, arg_types: Types, result_type: SqlType) -> int:
    single = _single_int(values)
    return checksum(values, arg_types, binary=False) if single is None else single


def _binary_checksum(*values: Value, arg_types: Types, result_type: SqlType) -> int:
    single = _single_int(values)
    return checksum(values, arg_types, binary=True) if single is None else single


def _compress(value: Value, *, arg_types: Types, result_type: SqlType) -> bytes:
    return gzip.compress(_raw(value, arg_types[0]), mtime=0)


def _decompress(value: Value, *, arg_types: Types, result_type: SqlType) -> bytes | None:
    try:
        return gzip.decompress(_raw(value, arg_types[0]))
    except (OSError, EOFError, zlib.error):
        words = "Either GZip data is corrupted or data was not in GZip format."
        raise SqlError.of(9830, 16, 1, words) from None


def _random_bytes(length: Value, seed: Value = None) -> bytes | None:
    """A seed is taken, and changes nothing: the bytes come from the system."""
    wanted = integer(length)
    return secrets.token_bytes(wanted) if 1 <= wanted <= 8000 else None


FUNCTIONS: Final = (
    _of_error("ERROR_NUMBER", t.INT, lambda error: error.number),
    _of_error("ERROR_SEVERITY", t.INT, lambda error: error.severity),
    _of_error("ERROR_STATE", t.INT, lambda error: error.state),
    _of_error("ERROR_LINE", t.INT, lambda error: error.line),
    _of_error("ERROR_MESSAGE", t.nvarchar(4000), lambda error: error.message),
    _of_error("ERROR_PROCEDURE", t.nvarchar(128), lambda error: error.procedure),
    FunctionDef("XACT_STATE", 0, 0, always(t.SMALLINT), _xact_state, needs_context=True, deterministic=False),
    FunctionDef("NEWID", 0, 0, always(t.UNIQUEIDENTIFIER), _newid, deterministic=False),
    FunctionDef("ISNUMERIC", 1, 1, always(t.INT), _isnumeric, strict=False, wants_types=True),
    FunctionDef("HASHBYTES", 2, 2, always(t.varbinary(8000)), _hashbytes, wants_types=True),
    FunctionDef("CHECKSUM", 1, None, always(t.INT), _checksum, strict=False, wants_types=True),
    FunctionDef("BINARY_CHECKSUM", 1, None, always(t.INT), _binary_checksum, strict=False, wants_types=True),
    FunctionDef("CRYPT_GEN_RANDOM", 1, 2, always(t.varbinary(8000)), _random_bytes, deterministic=False),
    FunctionDef("COMPRESS", 1, 1, always(t.varbinary(MAX)), _compress, wants_types=True),
    FunctionDef("DECOMPRESS", 1, 1, always(t.varbinary(MAX)), _decompress, wants_types=True),
)

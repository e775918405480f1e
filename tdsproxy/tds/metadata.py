"""COLMETADATA and what it shares with RETURNVALUE and table-valued parameters: read and written.

``wide`` is the layout of TDS 7.2 and later: 4-byte UserType, table names in parts.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

from tdsproxy.tds.buffer import Reader, b_varchar, us_varchar
from tdsproxy.tds.columns import ColumnFlags, ColumnMeta, CryptoMetadata
from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.types import MAX_COLUMNS, build_type_info, parse_type_info

NO_METADATA: Final = 0xFFFF
_WIDE_HEAD: Final = struct.Struct("<IH")
_NARROW_HEAD: Final = struct.Struct("<HH")
_U16: Final = struct.Struct("<H")


def build_columns(columns: Sequence[ColumnMeta], *, wide: bool, column_encryption: bool) -> bytes:
    """COLMETADATA's bytes behind the token; with an empty CekTable when the client has had
    COLUMNENCRYPTION acknowledged. Encrypted columns are not built."""
    if len(columns) > MAX_COLUMNS:
        raise EncodeError(f"{len(columns)} columns, at most {MAX_COLUMNS} are allowed")
    out = [_U16.pack(len(columns) or NO_METADATA)]
    if column_encryption and columns:
        out.append(_U16.pack(0))
    for column in columns:
        if column.crypto is not None:
            raise EncodeError(f"column {column.name} is encrypted")
        out.append(build_head(column.user_type, column.flags, wide=wide))
        out.append(build_type_info(column.type_info))
        if column.type_info.is_long:
            out.append(_build_table_name(column.table_name, wide=wide))
        out.append(b_varchar(column.name))
    return b"".join(out)


def build_head(user_type: int, flags: int, *, wide: bool) -> bytes:
    """UserType and Flags."""
    return (_WIDE_HEAD if wide else _NARROW_HEAD).pack(user_type, flags)


def _build_table_name(parts: tuple[str, ...], *, wide: bool) -> bytes:
    if not wide:
        return us_varchar(".".join(parts))
    return bytes((len(parts),)) + b"".join(us_varchar(part) for part in parts)


def parse_columns(
    reader: Reader, *, wide: bool, collations: bool, column_encryption: bool
) -> tuple[ColumnMeta, ...]:
    """Read COLMETADATA behind its token."""
    count = reader.u16()
    if count == NO_METADATA:
        return ()
    if count > MAX_COLUMNS:
        raise ProtocolError(f"{count} columns")
    if column_encryption:
        _skip_cek_table(reader)
    return tuple(
        _parse_column(reader, wide=wide, collations=collations, crypto=column_encryption)
        for _ in range(count)
    )


def parse_head(reader: Reader, *, wide: bool) -> tuple[int, int]:
    """UserType and Flags."""
    user_type = reader.u32() if wide else reader.u16()
    return user_type, reader.u16()


def _parse_column(reader: Reader, *, wide: bool, collations: bool, crypto: bool) -> ColumnMeta:
    user_type, flags = parse_head(reader, wide=wide)
    info = parse_type_info(reader, collations=collations)
    table: tuple[str, ...] = ()
    if info.is_long:
        count = reader.u8() if wide else 1
        table = tuple(reader.us_varchar() for _ in range(count))
    cipher = None
    if crypto and flags & ColumnFlags.ENCRYPTED:
        cipher = parse_crypto(reader, has_ordinal=True)
    return ColumnMeta(reader.b_varchar(), info, flags, user_type, table, cipher)


def parse_crypto(reader: Reader, *, has_ordinal: bool) -> CryptoMetadata:
    """CryptoMetaData (MS-TDS 2.2.7.4); RETURNVALUE's lacks the ordinal."""
    ordinal = reader.u16() if has_ordinal else 0
    user_type = reader.u32()
    base = parse_type_info(reader)
    algorithm = reader.u8()
    name = reader.b_varchar() if algorithm == 0 else ""
    return CryptoMetadata(ordinal, user_type, base, algorithm, name, reader.u8(), reader.u8())


def _skip_cek_table(reader: Reader) -> None:
    for _ in range(reader.u16()):
        reader.skip(4 + 4 + 4 + 8)
        for _ in range(reader.u8()):
            reader.us_varbyte()
            reader.b_varchar()
            reader.us_varchar()
            reader.b_varchar()

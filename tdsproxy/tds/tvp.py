"""Table-valued parameters (MS-TDS 2.2.5.5.5): their columns and rows behind the type's name."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.tds.buffer import Reader, b_varchar
from tdsproxy.tds.columns import ColumnFlags, ColumnMeta
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.metadata import build_head, parse_head
from tdsproxy.tds.plp import MAX_PLP
from tdsproxy.tds.types import MAX_COLUMNS, TypeId, build_type_info, parse_type_info
from tdsproxy.tds.values import encode_value, value_decoder

_NULL: Final = 0xFFFF
_END: Final = 0x00
_ROW: Final = 0x01
_ORDER_UNIQUE: Final = 0x10
_COLUMN_ORDERING: Final = 0x11
_U16: Final = struct.Struct("<H")


@dataclass(frozen=True, slots=True)
class TvpValue:
    """A table: in a row the value of a column flagged DEFAULT is absent and read as None.
    ``order_unique``: (column, flags) pairs; ``ordering``: which columns the values come from."""

    columns: tuple[ColumnMeta, ...]
    rows: tuple[tuple[Any, ...], ...]
    order_unique: tuple[tuple[int, int], ...] = ()
    ordering: tuple[int, ...] = ()


def parse_tvp(reader: Reader, *, limit: int = MAX_PLP) -> TvpValue | None:
    """Read the value behind TYPE_INFO; None for a NULL table."""
    count = reader.u16()
    columns: list[ColumnMeta] = []
    if count != _NULL:
        if count > MAX_COLUMNS:
            raise ProtocolError(f"{count} columns")
        columns = [_parse_column(reader) for _ in range(count)]
    order_unique: tuple[tuple[int, int], ...] = ()
    ordering: tuple[int, ...] = ()
    while (token := reader.u8()) != _END:
        if token == _ORDER_UNIQUE:
            order_unique = tuple((reader.u16(), reader.u8()) for _ in range(reader.u16()))
        elif token == _COLUMN_ORDERING:
            ordering = tuple(reader.u16() for _ in range(reader.u16()))
        else:
            raise ProtocolError(f"token {token:#04x} in a table-valued parameter")
    readers = [
        None if column.flags & ColumnFlags.DEFAULT else value_decoder(column.type_info, rpc=True, limit=limit)
        for column in columns
    ]
    rows = []
    while (token := reader.u8()) != _END:
        if token != _ROW:
            raise ProtocolError(f"token {token:#04x} in a table-valued parameter")
        rows.append(tuple(None if read is None else read(reader) for read in readers))
    if count == _NULL:
        return None
    return TvpValue(tuple(columns), tuple(rows), order_unique, ordering)


def _parse_column(reader: Reader) -> ColumnMeta:
    user_type, flags = parse_head(reader, wide=True)
    info = parse_type_info(reader, rpc=True)
    if info.type_id == TypeId.TVP:
        raise ProtocolError("a table inside a table-valued parameter")
    return ColumnMeta(reader.b_varchar(), info, flags, user_type)


def build_tvp(value: TvpValue | None) -> bytes:
    """The inverse of ``parse_tvp``."""
    if value is None:
        return _U16.pack(_NULL) + bytes(2)
    parts = [_U16.pack(len(value.columns))]
    for column in value.columns:
        parts.append(build_head(column.user_type, column.flags, wide=True))
        parts.append(build_type_info(column.type_info, rpc=True) + b_varchar(column.name))
    if value.order_unique:
        parts.append(bytes((_ORDER_UNIQUE,)) + _U16.pack(len(value.order_unique)))
        parts += [struct.pack("<HB", number, flags) for number, flags in value.order_unique]
    if value.ordering:
        numbers = value.ordering
        parts.append(
            bytes((_COLUMN_ORDERING,)) + struct.pack(f"<{len(numbers) + 1}H", len(numbers), *numbers)
        )
    parts.append(bytes((_END,)))
    for row in value.rows:
        parts.append(bytes((_ROW,)))
        parts += [
            encode_value(column.type_info, item, rpc=True)
            for column, item in zip(value.columns, row, strict=True)
            if not column.flags & ColumnFlags.DEFAULT
        ]
    parts.append(bytes((_END,)))
    return b"".join(parts)

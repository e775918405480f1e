"""Rows as fast as Python can: one compiled encoder per result set (MS-TDS 2.2.7.19 and 2.2.7.14)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import call
from typing import Any, Final

from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.errors import EncodeError
from tdsproxy.tds.types import TypeInfo
from tdsproxy.tds.values import MISFIT, encode_value, misfit, null_value, value_encoder

ROW: Final = b"\xd1"
NBCROW: Final = b"\xd2"

RowEncoder = Callable[[Sequence[Any]], bytes]


def row_encoder(columns: Sequence[ColumnMeta | TypeInfo], *, nbcrow: bool = True) -> RowEncoder:
    """An encoder of whole rows, token byte included. A row becomes NBCROW when that is shorter and
    ``nbcrow`` allows it (clients of TDS 7.3B and later). Raises ``EncodeError`` for a value that its
    column cannot hold, a NULL where the type has none, or a row of another width."""
    types = [each.type_info if isinstance(each, ColumnMeta) else each for each in columns]
    encoders = [value_encoder(info) for info in types]
    nulls = [null_value(info) for info in types]
    width = len(types)
    bitmap_size = (width + 7) // 8

    def plain(row: Sequence[Any]) -> bytes:
        return ROW + b"".join(map(call, encoders, row))

    def with_nulls(row: Sequence[Any]) -> bytes:
        bitmap = 0
        saved = 0
        parts: list[bytes] = []
        for index, value in enumerate(row):
            if value is None:
                null = nulls[index]
                if null is None:
                    raise EncodeError(f"NULL in column {index + 1}, whose type has none")
                bitmap |= 1 << index
                saved += len(null)
        if nbcrow and saved > bitmap_size:
            parts.append(NBCROW + bitmap.to_bytes(bitmap_size, "little"))
            parts += [encode(value) for encode, value in zip(encoders, row, strict=True) if value is not None]
        else:
            parts.append(ROW)
            for index, value in enumerate(row):
                parts.append((nulls[index] or b"") if value is None else encoders[index](value))
        return b"".join(parts)

    def encode_row(row: Sequence[Any]) -> bytes:
        if len(row) != width:
            raise EncodeError(f"a row of {len(row)} values for {width} columns")
        try:
            return with_nulls(row) if None in row else plain(row)
        except MISFIT as error:
            raise _explain(types, row, error) from error

    return encode_row


def _explain(types: list[TypeInfo], row: Sequence[Any], error: Exception) -> EncodeError:
    """Which column it was: looked for only once a row has failed."""
    for index, (info, value) in enumerate(zip(types, row, strict=True)):
        try:
            encode_value(info, value)
        except EncodeError as found:
            return EncodeError(f"column {index + 1}: {found}")
    return misfit(types[0], error)

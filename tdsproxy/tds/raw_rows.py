"""Many rows at once, column by column, from the form in which they are stored."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain, repeat
from typing import Any

from tdsproxy.tds.errors import EncodeError
from tdsproxy.tds.raw_columns import column_encoder
from tdsproxy.tds.rows import NBCROW, ROW
from tdsproxy.tds.types import TypeInfo
from tdsproxy.tds.values import MISFIT, null_value, value_encoder

Load = Callable[[int, Sequence[Any]], Sequence[Any]]
"""Gives the values of a column (by its place), none of them NULL, as ``value_encoder`` takes them."""
RowsEncoder = Callable[[Sequence[Sequence[Any]], Load], bytes | None]


def rows_encoder(types: Sequence[TypeInfo], *, nbcrow: bool = True) -> RowsEncoder:
    """An encoder of rows; what it gives equals what ``rows.row_encoder`` gives for their values. None: a
    value can't be encoded, and the usual way says which."""
    quick = [column_encoder(info) for info in types]
    usual = [value_encoder(info) for info in types]
    nulls = [null_value(info) for info in types]
    bitmap_size = (len(types) + 7) // 8

    def column_of(place: int, column: Sequence[Any], load: Load) -> list[bytes]:
        encode = quick[place]
        made = None if encode is None else encode(column)
        return list(map(usual[place], load(place, column))) if made is None else made

    def with_nulls(row: tuple[bytes | None, ...]) -> bytes:
        bitmap = 0
        saved = 0
        for place, data in enumerate(row):
            if data is None:
                bitmap |= 1 << place
                saved += len(nulls[place] or b"")
        if nbcrow and saved > bitmap_size:
            present = [data for data in row if data is not None]
            return b"".join([NBCROW, bitmap.to_bytes(bitmap_size, "little"), *present])
        return b"".join([ROW, *[(nulls[n] or b"") if d is None else d for n, d in enumerate(row)]])

    def encode_rows(rows: Sequence[Sequence[Any]], load: Load) -> bytes | None:
        columns: list[Sequence[bytes | None]] = []
        some_null = False
        try:
            for place, column in enumerate(zip(*rows, strict=True)):
                if None not in column:
                    columns.append(column_of(place, column, load))
                    continue
                if nulls[place] is None:
                    return None
                some_null = True
                present = [raw for raw in column if raw is not None]
                encoded = iter(column_of(place, present, load) if present else ())
                columns.append([None if raw is None else next(encoded) for raw in column])
        except (EncodeError, *MISFIT):
            return None
        if not some_null:
            return b"".join(chain.from_iterable(zip(repeat(ROW), *columns)))
        return b"".join(
            [with_nulls(row) if None in row else b"".join((ROW, *row)) for row in zip(*columns, strict=True)]
        )

    return encode_rows

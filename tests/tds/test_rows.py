from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import types as t
from tdsproxy.tds.errors import EncodeError
from tdsproxy.tds.rows import row_encoder
from tdsproxy.tds.tokens import ColumnMeta, Row, TokenBuilder, TokenParser
from tdsproxy.tds.types import TypeInfo
from tdsproxy.tds.values import null_value
from tdsproxy.tds.versions import TdsVersion

from .strategies import same, typed


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[TypeInfo], list[Any]]:
    pairs = draw(st.lists(typed(), min_size=1, max_size=12))
    nulls = draw(st.lists(st.booleans(), min_size=len(pairs), max_size=len(pairs)))
    types = [info for info, _value in pairs]
    values = [
        None if null and null_value(info) is not None else value
        for (info, value), null in zip(pairs, nulls, strict=True)
    ]
    return types, values


@given(tables(), st.sampled_from([TdsVersion.V7_4, TdsVersion.V7_3A]))
def test_rows_round_trip(table: tuple[list[TypeInfo], list[Any]], version: TdsVersion) -> None:
    types, values = table
    columns = [ColumnMeta(f"c{index}", info) for index, info in enumerate(types)]
    builder = TokenBuilder(version)
    wire = builder.row_encoder(columns)(values)
    assert wire[0] == 0xD1 or version == TdsVersion.V7_4
    parser = TokenParser(version)
    _metadata, row = parser.feed(builder.col_metadata(columns) + wire)
    assert isinstance(row, Row)
    assert all(same(left, right) for left, right in zip(values, row.values, strict=True))
    parser.finish()


def test_shorter_form_is_chosen() -> None:
    encode = row_encoder([t.intn(4)] * 9)
    assert encode([1] * 9)[0] == 0xD1
    assert encode([None] * 2 + [1] * 7)[0] == 0xD1  # two bytes of bitmap save two bytes: no gain
    assert encode([None] * 3 + [1] * 6)[:3] == b"\xd2\x07\x00"
    assert row_encoder([t.intn(4)] * 9, nbcrow=False)([None] * 9) == b"\xd1" + bytes(9)


def test_faults_name_the_column() -> None:
    encode = row_encoder([t.INT, t.intn(4)])
    with pytest.raises(EncodeError, match="column 1"):
        encode([None, 1])
    with pytest.raises(EncodeError, match="column 2"):
        encode([1, "x"])
    with pytest.raises(EncodeError, match="1 values for 2 columns"):
        encode([1])

"""Stored dates and times, in the usual form and in those that other tools write."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store.encoding import from_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime

DATETIME2 = SqlType("datetime2", scale=7)


@given(st.datetimes(), st.integers(min_value=0, max_value=9), st.sampled_from(" T"))
def test_a_moment_is_read_with_its_fraction(moment: dt.datetime, more: int, separator: str) -> None:
    whole = DateTime.of(moment)
    text = moment.isoformat(separator, "microseconds")
    assert from_storage(text, DATETIME2) == whole
    assert from_storage(f"{text}{more}", DATETIME2) == DateTime(whole.days, whole.ticks + more)
    assert from_storage(f"{text}{more}Z", DATETIME2) == DateTime(whole.days, whole.ticks + more)
    seconds = DateTime.of(moment.replace(microsecond=0))
    assert from_storage(moment.isoformat(separator, "seconds"), DATETIME2) == seconds
    minutes = DateTime.of(moment.replace(second=0, microsecond=0))
    assert from_storage(moment.isoformat(separator, "minutes"), DATETIME2) == minutes


@pytest.mark.parametrize(
    "text", ["2024-13-01 00:00:00", "2024-01-02x03:04:05", "yesterday, or the day before"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(ValueError, match=r"month must be|is not a date or time"):
        from_storage(text, t.DATETIME)

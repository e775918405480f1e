from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.log import lsn

LSNS = st.builds(lsn.compose, st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1))


@given(LSNS, st.integers(0, 1 << 40))
def test_the_next_one_is_larger_and_fits_numeric_25(at: int, size: int) -> None:
    following = lsn.advance(at, size)
    assert at < following < 10**25
    file, block, slot = lsn.parts(following)
    assert lsn.compose(file, block, slot) == following
    assert block < 2**32


@given(LSNS)
def test_text_and_back(at: int) -> None:
    text = lsn.format_lsn(at)
    assert lsn.parse_lsn(text) == lsn.parse_lsn("0x" + text) == lsn.parse_lsn(f" {at} ") == at


def test_the_form_of_sql_server() -> None:
    assert lsn.format_lsn(39_0000000172_00001) == "00000027:000000ac:0001"


@pytest.mark.parametrize("text", ["", "x", "1:2", "1:2:3:4", "0x1:zz:1", "-1", "1.5", "1:2:1ffff"])
def test_what_is_none(text: str) -> None:
    with pytest.raises(ValueError):
        lsn.parse_lsn(text)


def test_the_log_between_two_numbers_is_about_what_was_written() -> None:
    last = lsn.FIRST
    for _ in range(100):
        last = lsn.advance(last, 50_000)
    assert 5_000_000 <= lsn.bytes_between(lsn.FIRST, last) <= 5_200_000

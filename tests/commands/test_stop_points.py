"""Stop points as statements write them."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.stop_points import (
    StopPoint,
    local_time,
    nanoseconds,
    read_moment,
    read_stop_point,
    time_text,
)
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError

NOW = time.time_ns() // 100


@given(st.integers(NOW - 86_400 * 10**7, NOW))
def test_times_come_back_to_the_tick(ticks: int) -> None:
    ns = ticks * 100
    assert nanoseconds(local_time(ns)) == ns
    moment = read_moment(time_text(ns))
    assert moment == local_time(ns)


def read(name: str, *values: object) -> StopPoint | None:
    operands = tuple(ast.Operand(value=value) for value in values)  # type: ignore[arg-type]
    return read_stop_point(ast.Option(name, operands), Operands({}))


def test_marks_and_lsns() -> None:
    assert read("STOPATMARK", "m") == StopPoint(mark="m")
    assert read("STOPBEFOREMARK", "m") == StopPoint(mark="m", before=True)
    after = read("STOPATMARK", "m", "2026-11-22T10:15:30.1234567")
    assert after is not None
    assert after.after is not None
    assert after.after % 10**9 == 123_456_700
    assert read("STOPATMARK", "lsn:39000000172000001") == StopPoint(lsn=39000000172000001)
    assert read("STOPBEFOREMARK", "LSN:0x00000027:000006b8:0001") == StopPoint(
        lsn=39 * 10**15 + 0x6B8 * 10**5 + 1, before=True
    )
    assert read("STOPAT", None) is None


@pytest.mark.parametrize("text", ["lsn:", "lsn:x", "lsn:12:34", "lsn:00000027:000006b8"])
def test_bad_lsns(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        read("STOPATMARK", text)
    assert [message.number for message in caught.value.messages] == [4334]


def test_bad_times() -> None:
    with pytest.raises(SqlError) as caught:
        read("STOPAT", "yesterday")
    assert caught.value.number == 241

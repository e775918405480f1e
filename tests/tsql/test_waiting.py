"""How long WAITFOR waits, as captured: what it takes, and in which unit."""

from __future__ import annotations

import pytest

from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import TICKS_PER_SECOND, DateTime, DateTimeOffset, Time, Value
from tdsproxy.tsql.waiting import wait_seconds

TEN_O_CLOCK = DateTimeOffset(0, 10 * 3600 * TICKS_PER_SECOND, 0)


@pytest.mark.parametrize(
    ("kind", "value", "type_", "seconds"),
    [
        ("DELAY", "00:00:00.250", t.varchar(20), 0.25),
        ("DELAY", "00:00:00:200", t.nvarchar(20), 0.2),
        ("DELAY", "12:00:00.100 AM", t.varchar(20), 0.1),
        ("DELAY", "00:01", t.char(12), 60.0),
        ("DELAY", "", t.varchar(20), 0.0),
        ("DELAY", 1, t.INT, 1.0),
        ("DELAY", 90, t.SMALLINT, 90.0),
        ("DELAY", None, t.BIGINT, 0.0),
        ("DELAY", DateTime(400, TICKS_PER_SECOND // 4), t.DATETIME, 0.25),
        ("TIME", "10:00:02", t.varchar(20), 2.0),
        ("TIME", "09:59:59", t.varchar(20), 86399.0),
        ("TIME", 36001, t.INT, 1.0),
        ("TIME", None, t.time(7), 0.0),
    ],
)
def test_seconds(kind: str, value: Value, type_: SqlType, seconds: float) -> None:
    assert wait_seconds(kind, TypedValue(value, type_), TEN_O_CLOCK) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("value", "type_", "number"),
    [
        ("abc", t.varchar(20), 241),
        ("25:00", t.varchar(20), 241),
        ("2020-01-01 00:00:00.300", t.varchar(30), 241),
        ("00:00:00.100", t.varchar(t.MAX), 241),
        (1, t.BIGINT, 9815),
        (0, t.TINYINT, 9815),
        (Time(0), t.time(0), 9815),
        (0.5, t.FLOAT, 9815),
    ],
)
def test_refusals(value: Value, type_: SqlType, number: int) -> None:
    with pytest.raises(SqlError) as caught:
        wait_seconds("DELAY", TypedValue(value, type_), TEN_O_CLOCK)
    assert caught.value.messages[0].number == number

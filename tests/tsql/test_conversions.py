"""CAST, CONVERT and assignment."""

from __future__ import annotations

import datetime as dt
import math
import uuid
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import Truncation, assign, convert, implicit_ok, try_convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import TICKS_PER_DAY, Date, DateTime, DateTimeOffset, Time, Value, Variant

TEXT = t.varchar(100)
WIDE = t.nvarchar(100)


def moment(text: str, digits: int = 0) -> DateTime:
    made = DateTime.of(dt.datetime.fromisoformat(text))
    return DateTime(made.days, made.ticks + digits)


def error(value: Value, source: SqlType, target: SqlType, style: int | None = None) -> tuple[int, str]:
    with pytest.raises(SqlError) as raised:
        convert(value, source, target, style)
    return raised.value.number, raised.value.messages[-1].text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20240131", "2024-01-31T00:00:00"),
        ("240131", "2024-01-31T00:00:00"),
        ("500131", "1950-01-31T00:00:00"),
        ("2024", "2024-01-01T00:00:00"),
        ("2024-01-31 10:00:00.123", "2024-01-31T10:00:00.123"),
        ("2024-01-31 10:00:00:5", "2024-01-31T10:00:00.007"),
        ("2024-01-31T10:00:00", "2024-01-31T10:00:00"),
        ("2024-01-31T10:00:00Z", "2024-01-31T10:00:00"),
        ("1/31/2024", "2024-01-31T00:00:00"),
        ("1-31-24", "2024-01-31T00:00:00"),
        ("2024/1/31", "2024-01-31T00:00:00"),
        ("2024.01.31 3PM", "2024-01-31T15:00:00"),
        ("Jan 31 2024 10:00AM", "2024-01-31T10:00:00"),
        ("Jan 31 2024 12:30 am", "2024-01-31T00:30:00"),
        ("January 31, 2024", "2024-01-31T00:00:00"),
        ("31 jan 2024 23:59:59", "2024-01-31T23:59:59"),
        ("31-Jan-24", "2024-01-31T00:00:00"),
        ("2024 Jan 31", "2024-01-31T00:00:00"),
        ("10:30", "1900-01-01T10:30:00"),
        ("10:30 2024-01-31", "2024-01-31T10:30:00"),
        ("  ", "1900-01-01T00:00:00"),
    ],
)
def test_text_to_datetime(text: str, expected: str) -> None:
    assert convert(text, TEXT, t.DATETIME) == moment(expected)


@pytest.mark.parametrize(
    ("text", "target", "number"),
    [
        ("junk", t.DATETIME, 241),
        ("2024-01-31T10:00:00+02:00", t.DATETIME, 241),
        ("2024-01-31 10:00:00.1234", t.DATETIME, 241),
        ("31/1/2024", t.DATETIME, 242),
        ("2024-02-30", t.DATETIME, 242),
        ("2024-02-30", t.DATE, 241),
        ("1752-12-31", t.DATETIME, 242),
        ("2024-01-31 25:00", t.DATETIME, 242),
        ("2024-01-31 25:00", t.datetime2(7), 241),
        ("junk", t.SMALLDATETIME, 295),
        ("2100-01-01", t.SMALLDATETIME, 242),
    ],
)
def test_text_that_is_no_date(text: str, target: SqlType, number: int) -> None:
    assert error(text, TEXT, target)[0] == number
    assert try_convert(text, TEXT, target) is None


def test_a_style_says_how_to_read() -> None:
    assert convert("03/04/2024", TEXT, t.DATE, 103) == convert("2024-04-03", TEXT, t.DATE)
    assert convert("03/04/2024", TEXT, t.DATE, 101) == convert("2024-03-04", TEXT, t.DATE)
    assert convert("24.03.04", TEXT, t.DATE, 2) == convert("2024-03-04", TEXT, t.DATE)


def test_offsets_are_read_and_kept() -> None:
    made = convert("2024-01-31 10:00:00.5 +02:00", TEXT, t.datetimeoffset(3))
    assert made == DateTimeOffset(*moment("2024-01-31T08:00:00.5"), 120)
    assert convert(made, t.datetimeoffset(3), t.varchar(40)) == "2024-01-31 10:00:00.500 +02:00"
    assert convert(made, t.datetimeoffset(3), t.varchar(40), 127) == "2024-01-31T08:00:00.500Z"
    assert convert(made, t.datetimeoffset(3), t.DATETIME) == moment("2024-01-31T10:00:00.5")


STYLES = {
    0: "Jan  5 2024  9:05AM",
    1: "01/05/24",
    2: "24.01.05",
    3: "05/01/24",
    4: "05.01.24",
    5: "05-01-24",
    6: "05 Jan 24",
    7: "Jan 05, 24",
    8: "09:05:07",
    9: "Jan  5 2024  9:05:07:123AM",
    10: "01-05-24",
    11: "24/01/05",
    12: "240105",
    13: "05 Jan 2024 09:05:07:123",
    14: "09:05:07:123",
    20: "2024-01-05 09:05:07",
    21: "2024-01-05 09:05:07.123",
    22: "01/05/24  9:05:07 AM",
    23: "2024-01-05",
    24: "09:05:07",
    25: "2024-01-05 09:05:07.123",
    100: "Jan  5 2024  9:05AM",
    101: "01/05/2024",
    102: "2024.01.05",
    103: "05/01/2024",
    104: "05.01.2024",
    105: "05-01-2024",
    106: "05 Jan 2024",
    107: "Jan 05, 2024",
    108: "09:05:07",
    109: "Jan  5 2024  9:05:07:123AM",
    110: "01-05-2024",
    111: "2024/01/05",
    112: "20240105",
    113: "05 Jan 2024 09:05:07:123",
    114: "09:05:07:123",
    120: "2024-01-05 09:05:07",
    121: "2024-01-05 09:05:07.123",
    126: "2024-01-05T09:05:07.123",
    127: "2024-01-05T09:05:07.123",
}


@pytest.mark.parametrize(("style", "expected"), STYLES.items())
def test_datetime_styles(style: int, expected: str) -> None:
    assert convert(moment("2024-01-05T09:05:07.123"), t.DATETIME, t.varchar(30), style) == expected


def test_other_temporal_types_as_text() -> None:
    value = moment("2024-01-05T09:05:07", 1_234_567)
    assert convert(value, t.datetime2(7), TEXT) == "2024-01-05 09:05:07.1234567"
    assert convert(value, t.datetime2(3), TEXT, 126) == "2024-01-05T09:05:07.123"
    assert convert(value, t.datetime2(7), TEXT, 0) == "Jan  5 2024  9:05AM"
    assert convert(moment("2024-01-05T09:05:00"), t.DATETIME, TEXT, 126) == "2024-01-05T09:05:00"
    assert convert(Date(value.days), t.DATE, TEXT) == "2024-01-05"
    assert convert(Date(value.days), t.DATE, TEXT, 100) == "Jan  5 2024"
    assert convert(Time(value.ticks), t.time(7), TEXT) == "09:05:07.1234567"
    assert convert(Time(value.ticks), t.time(0), TEXT, 100) == "9:05AM"
    assert convert(moment("2024-01-05T09:05:00"), t.SMALLDATETIME, TEXT) == "Jan  5 2024  9:05AM"


def test_unknown_styles_are_refused() -> None:
    assert error(moment("2024-01-05T09:05:00"), t.DATETIME, TEXT, 99) == (
        281,
        "99 is not a valid style number when converting from datetime to a character string.",
    )


def nearest_datetime_ms(ms: int) -> int:
    """The straightforward oracle: the nearest multiple of 1/300 s, in ms; up from the middle."""
    candidates = [(third, (third * 10 + 1) // 3) for third in range(ms * 3 // 10 - 2, ms * 3 // 10 + 3)]
    exact = min(candidates, key=lambda pair: (abs(ms * 3 - pair[0] * 10), -pair[0]))
    return exact[1]


@given(st.integers(0, 86_400_000 - 1))
def test_datetime_rounds_to_the_nearest_three_hundredth(ms: int) -> None:
    made = convert(DateTime(738_000, ms * 10_000), t.datetime2(7), t.DATETIME)
    assert isinstance(made, DateTime)
    total = (made.days - 738_000) * 86_400_000 + made.ticks // 10_000
    assert total == nearest_datetime_ms(ms)
    assert total % 10 in (0, 3, 7)


@given(st.integers(0, 86_400_000 - 1))
def test_datetime_is_its_own_datetime(ms: int) -> None:
    made = convert(DateTime(738_000, ms * 10_000), t.datetime2(7), t.DATETIME)
    assert convert(made, t.datetime2(7), t.DATETIME) == made
    assert convert(convert(made, t.DATETIME, t.binary(8)), t.binary(8), t.DATETIME) == made
    assert convert(convert(made, t.DATETIME, TEXT, 121), TEXT, t.DATETIME) == made


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-05 09:05:29.998", "2024-01-05T09:05:00"),
        ("2024-01-05 09:05:29.999", "2024-01-05T09:06:00"),
        ("2024-01-05 23:59:30", "2024-01-06T00:00:00"),
    ],
)
def test_smalldatetime_rounds_to_the_minute(text: str, expected: str) -> None:
    assert convert(text, TEXT, t.SMALLDATETIME) == moment(expected)


def test_scales_of_time_round_half_up() -> None:
    assert convert(Time(1_234_567), t.time(7), t.time(3)) == Time(1_230_000)
    assert convert(Time(1_235_000), t.time(7), t.time(3)) == Time(1_240_000)
    assert convert(DateTime(10, TICKS_PER_DAY - 1), t.datetime2(7), t.datetime2(0)) == DateTime(11, 0)


def test_dates_and_numbers() -> None:
    noon = moment("1900-01-03T12:00:00")
    assert convert(2, t.INT, t.DATETIME) == moment("1900-01-03T00:00:00")
    assert convert(2.5, t.FLOAT, t.DATETIME) == noon
    assert convert(noon, t.DATETIME, t.FLOAT) == 2.5
    assert convert(noon, t.DATETIME, t.INT) == 3
    assert error(Date(5), t.DATE, t.INT) == (
        529,
        "Explicit conversion from data type date to int is not allowed.",
    )
    assert error(1, t.INT, t.time(7))[0] == 529


@given(st.integers(0, 3_652_058), st.integers(0, TICKS_PER_DAY - 1), st.integers(-840, 840))
def test_temporal_text_round_trips(days: int, ticks: int, offset: int) -> None:
    for value, type_ in (
        (Date(days), t.DATE),
        (Time(ticks), t.time(7)),
        (DateTime(days, ticks), t.datetime2(7)),
    ):
        assert convert(convert(value, type_, t.varchar(40)), t.varchar(40), type_) == value
    if 1 <= days < 3_652_058:
        zoned = DateTimeOffset(days, ticks, offset)
        assert (
            convert(convert(zoned, t.datetimeoffset(7), t.varchar(40)), t.varchar(40), t.datetimeoffset(7))
            == zoned
        )


# --------------------------------------------------------------------------- numbers


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (" 42 ", TEXT, t.INT, 42),
        ("-7", TEXT, t.SMALLINT, -7),
        ("", TEXT, t.INT, 0),
        (D("1.9"), t.decimal(5, 1), t.INT, 1),
        (D("-1.9"), t.decimal(5, 1), t.INT, -1),
        (D("1.5"), t.MONEY, t.INT, 2),
        (1.9, t.FLOAT, t.INT, 1),
        ("true", TEXT, t.BIT, 1),
        ("False", TEXT, t.BIT, 0),
        (7, t.INT, t.BIT, 1),
        (D("0.1"), t.decimal(5, 1), t.BIT, 1),
        ("1e3", TEXT, t.FLOAT, 1000.0),
        ("", TEXT, t.FLOAT, 0.0),
        (D("1.005"), t.decimal(5, 3), t.decimal(5, 2), D("1.01")),
        (D("-1.005"), t.decimal(5, 3), t.decimal(5, 2), D("-1.01")),
        (1.25, t.FLOAT, t.decimal(5, 1), D("1.3")),
        ("12.345", TEXT, t.decimal(5, 2), D("12.35")),
        ("$1,234.56", TEXT, t.MONEY, D("1234.5600")),
        ("-$5", TEXT, t.MONEY, D("-5.0000")),
        (1.1, t.FLOAT, t.REAL, 1.10000002384185791015625),
        (b"\x01\x02", t.varbinary(2), t.INT, 258),
        (b"\xff\xff\xff\xff", t.varbinary(4), t.INT, -1),
    ],
)
def test_to_numbers(value: Value, source: SqlType, target: SqlType, expected: Value) -> None:
    assert convert(value, source, target) == expected


@pytest.mark.parametrize(
    ("value", "source", "target", "number", "text"),
    [
        ("x", TEXT, t.INT, 245, "Conversion failed when converting the varchar value 'x' to data type int."),
        (
            "1.5",
            WIDE,
            t.INT,
            245,
            "Conversion failed when converting the nvarchar value '1.5' to data type int.",
        ),
        ("x", TEXT, t.BIGINT, 8114, "Error converting data type varchar to bigint."),
        ("x", TEXT, t.decimal(5, 2), 8114, "Error converting data type varchar to numeric."),
        ("x", TEXT, t.FLOAT, 8114, "Error converting data type varchar to float."),
        (
            "x",
            TEXT,
            t.MONEY,
            235,
            "Cannot convert a char value to money. The char value has incorrect syntax.",
        ),
        (
            "3000000000",
            TEXT,
            t.INT,
            248,
            "The conversion of the varchar value '3000000000' overflowed an int column.",
        ),
        (
            "300",
            TEXT,
            t.TINYINT,
            244,
            "The conversion of the varchar value '300' overflowed an INT1 column. "
            "Use a larger integer column.",
        ),
        (300, t.INT, t.TINYINT, 220, "Arithmetic overflow error for data type tinyint, value = 300."),
        (2**31, t.BIGINT, t.INT, 8115, "Arithmetic overflow error converting expression to data type int."),
        (3e9, t.FLOAT, t.INT, 232, "Arithmetic overflow error for type int, value = 3000000000.000000."),
        (
            D(1000),
            t.decimal(4, 0),
            t.decimal(4, 1),
            8115,
            "Arithmetic overflow error converting numeric to data type numeric.",
        ),
        (
            1000,
            t.INT,
            t.decimal(3, 1),
            8115,
            "Arithmetic overflow error converting int to data type numeric.",
        ),
        (
            D("1e15"),
            t.decimal(16, 0),
            t.MONEY,
            8115,
            "Arithmetic overflow error converting numeric to data type money.",
        ),
        (
            "nope",
            TEXT,
            t.UNIQUEIDENTIFIER,
            8169,
            "Conversion failed when converting from a character string to uniqueidentifier.",
        ),
        (
            1,
            t.INT,
            t.UNIQUEIDENTIFIER,
            529,
            "Explicit conversion from data type int to uniqueidentifier is not allowed.",
        ),
    ],
)
def test_number_errors(value: Value, source: SqlType, target: SqlType, number: int, text: str) -> None:
    assert error(value, source, target) == (number, text)


@given(
    st.decimals(
        allow_nan=False, allow_infinity=False, places=10, min_value=-(10**28) + 1, max_value=10**28 - 1
    )
)
def test_decimals_round_trip_exactly_through_text(value: D) -> None:
    type_ = t.decimal(38, 10)
    made = convert(value, type_, t.varchar(60))
    assert convert(made, t.varchar(60), type_) == value
    assert convert(convert(value, type_, t.varbinary(20)), t.varbinary(20), type_) == value


def test_all_digits_of_a_decimal_are_kept() -> None:
    digits = "9" * 38
    assert convert(digits, TEXT, t.decimal(38, 0)) == D(digits)
    assert convert("-" + digits, TEXT, t.decimal(38, 0)) == D("-" + digits)
    assert error(digits + "0", TEXT, t.decimal(38, 0))[0] == 8115


@given(st.integers(-(10**30), 10**30), st.integers(0, 9))
def test_decimals_round_half_away_from_zero(units: int, scale: int) -> None:
    value = D(units).scaleb(-10)
    made = convert(value, t.decimal(38, 10), t.decimal(38, scale))
    sign = -1 if units < 0 else 1
    power = 10 ** (10 - scale)
    assert made == D(sign * ((abs(units) * 2 + power) // (2 * power))).scaleb(-scale)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_floats_round_trip_in_style_three(value: float) -> None:
    text = convert(value, t.FLOAT, t.varchar(40), 3)
    assert convert(text, t.varchar(40), t.FLOAT) == value


# --------------------------------------------------------------------------- text and binary


@pytest.mark.parametrize(
    ("value", "source", "target", "style", "expected"),
    [
        (1.1e20, t.FLOAT, TEXT, None, "1.1e+020"),
        (123456.789, t.FLOAT, TEXT, None, "123457"),
        (1234567.0, t.FLOAT, TEXT, None, "1.23457e+006"),
        (0.00001, t.FLOAT, TEXT, None, "1e-005"),
        (1.5, t.FLOAT, TEXT, 1, "1.5000000e+000"),
        (1.5, t.FLOAT, TEXT, 2, "1.500000000000000e+000"),
        (D("1234567.8910"), t.MONEY, TEXT, 0, "1234567.89"),
        (D("1234567.8910"), t.MONEY, TEXT, 1, "1,234,567.89"),
        (D("1234567.8910"), t.MONEY, TEXT, 2, "1234567.8910"),
        (D("0.50"), t.decimal(5, 2), TEXT, None, "0.50"),
        (b"\xab\xcd", t.varbinary(2), TEXT, 1, "0xABCD"),
        (b"\xab\xcd", t.varbinary(2), TEXT, 2, "ABCD"),
        (b"ab", t.varbinary(2), TEXT, None, "ab"),
        (b"a\0b\0", t.varbinary(4), WIDE, None, "ab"),
        (12345, t.INT, t.varchar(3), None, "*"),
        (12, t.INT, t.char(4), None, "12  "),
        ("abcdef", TEXT, t.varchar(3), None, "abc"),
        ("ab", TEXT, t.char(4), None, "ab  "),
        ("日本é", WIDE, TEXT, None, "??é"),
        ("a🦆b", WIDE, t.nvarchar(3), None, "a🦆"),
        ("a🦆b", WIDE, t.nvarchar(2), None, "a"),
    ],
)
def test_to_text(value: Value, source: SqlType, target: SqlType, style: int | None, expected: str) -> None:
    assert convert(value, source, target, style) == expected


def test_numbers_without_room_are_refused() -> None:
    assert error(12345, t.INT, t.nvarchar(3))[0] == 8115
    assert error(D("123.45"), t.decimal(5, 2), t.varchar(4))[0] == 8115
    assert error(D("123.4500"), t.MONEY, t.varchar(4))[0] == 234
    assert error(uuid.UUID(int=1), t.UNIQUEIDENTIFIER, t.varchar(4))[0] == 8170


@pytest.mark.parametrize(
    ("value", "source", "target", "style", "expected"),
    [
        (1, t.INT, t.varbinary(8), None, b"\0\0\0\1"),
        (1, t.INT, t.binary(2), None, b"\0\1"),
        (-1, t.BIGINT, t.varbinary(8), None, b"\xff" * 8),
        (1, t.INT, t.binary(6), None, b"\0\0\0\0\0\1"),
        ("ab", TEXT, t.binary(4), None, b"ab\0\0"),
        ("ab", WIDE, t.varbinary(4), None, b"a\0b\0"),
        ("abcdef", TEXT, t.varbinary(3), None, b"abc"),
        ("0xABcd", TEXT, t.varbinary(8), 1, b"\xab\xcd"),
        ("ABcd", TEXT, t.varbinary(8), 2, b"\xab\xcd"),
    ],
)
def test_to_binary(
    value: Value, source: SqlType, target: SqlType, style: int | None, expected: bytes
) -> None:
    assert convert(value, source, target, style) == expected


def test_hex_that_is_none() -> None:
    assert error("ABCD", TEXT, t.varbinary(8), 1)[0] == 8114
    assert error("0xABC", TEXT, t.varbinary(8), 1)[0] == 8114


@given(st.uuids())
def test_guids_round_trip(value: uuid.UUID) -> None:
    text = convert(value, t.UNIQUEIDENTIFIER, t.char(36))
    assert text == str(value).upper()
    assert convert("{" + str(text) + "}", TEXT, t.UNIQUEIDENTIFIER) == value
    assert (
        convert(convert(value, t.UNIQUEIDENTIFIER, t.binary(16)), t.binary(16), t.UNIQUEIDENTIFIER) == value
    )


def test_guid_bytes_are_in_sql_servers_order() -> None:
    value = uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")
    assert convert(value, t.UNIQUEIDENTIFIER, t.binary(16)) == bytes.fromhex(
        "33221100554477668899aabbccddeeff"
    )


@given(st.text(alphabet=st.characters(max_codepoint=0xFF), max_size=20))
def test_code_page_text_round_trips_through_binary(text: str) -> None:
    narrow = convert(text, WIDE, TEXT)
    assert convert(convert(narrow, TEXT, t.varbinary(50)), t.varbinary(50), TEXT) == narrow


def test_variants_convert_by_their_base() -> None:
    inside = convert(5, t.INT, t.SQL_VARIANT)
    assert inside == Variant(t.INT, 5)
    assert convert(inside, t.SQL_VARIANT, TEXT) == "5"


def test_null_converts_to_null_but_not_between_strangers() -> None:
    assert convert(None, t.NULL, t.INT) is None
    assert convert(None, TEXT, t.DATETIME) is None
    assert error(None, t.INT, t.DATE)[0] == 529


# --------------------------------------------------------------------------- assignment


def test_assignment_refuses_what_does_not_fit() -> None:
    assert assign("abc  ", TEXT, t.varchar(3)) == "abc"
    with pytest.raises(Truncation) as raised:
        assign("abcd", TEXT, t.varchar(3))
    assert (raised.value.number, raised.value.kept) == (8152, "abc")
    with pytest.raises(Truncation):
        assign(b"abcd", t.varbinary(4), t.varbinary(3))
    assert assign("abcd", TEXT, t.varchar(MAX)) == "abcd"


def test_assignment_needs_an_implicit_conversion() -> None:
    for source, target, number in (
        (TEXT, t.varbinary(5), 257),
        (t.DATETIME, t.INT, 257),
        (t.SQL_VARIANT, t.INT, 257),
        (t.INT, t.DATE, 206),
    ):
        assert not implicit_ok(source, target)
        with pytest.raises(SqlError) as raised:
            assign(None, source, target)
        assert raised.value.number == number
    assert implicit_ok(t.INT, t.DATETIME)
    assert implicit_ok(TEXT, t.INT)
    assert implicit_ok(t.varbinary(5), t.INT)


_SAMPLES: list[tuple[Value, SqlType]] = [
    (1, t.BIT),
    (200, t.TINYINT),
    (-5, t.SMALLINT),
    (42, t.INT),
    (2**40, t.BIGINT),
    (D("12.50"), t.decimal(9, 2)),
    (D("3.1400"), t.MONEY),
    (1.5, t.FLOAT),
    ("17", TEXT),
    ("2024-01-05", WIDE),
    (b"\1\2", t.varbinary(4)),
    (uuid.UUID(int=77), t.UNIQUEIDENTIFIER),
    (Date(738_000), t.DATE),
    (Time(10**9), t.time(7)),
    (DateTime(738_000, 10**9), t.datetime2(7)),
    (DateTime(738_000, 10**9), t.DATETIME),
    (DateTimeOffset(738_000, 10**9, 60), t.datetimeoffset(7)),
]
_REFUSALS = {220, 234, 235, 241, 242, 245, 295, 529, 8114, 8115, 8169, 8170}
_TARGETS = [type_ for _, type_ in _SAMPLES] + [
    t.REAL,
    t.SMALLMONEY,
    t.SMALLDATETIME,
    t.char(40),
    t.nchar(40),
    t.binary(8),
    t.nvarchar(MAX),
    t.XML,
    t.TEXT,
    t.IMAGE,
    t.SQL_VARIANT,
    t.TIMESTAMP,
]


@pytest.mark.parametrize(("value", "source"), _SAMPLES, ids=lambda x: str(x))
@pytest.mark.parametrize("target", _TARGETS, ids=str)
def test_every_pair_converts_or_says_why(value: Value, source: SqlType, target: SqlType) -> None:
    try:
        made = convert(value, source, target)
    except SqlError:
        made = None
        assert error(value, source, target)[0] in _REFUSALS
    if made is None:
        return
    if isinstance(made, float):
        assert math.isfinite(made)
    if target.name not in ("sql_variant",):
        assert convert(made, target, target) == made

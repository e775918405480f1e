"""Values as they lie in SQLite: every one comes back, also what other tools have written."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store.encoding import (
    declare,
    from_storage,
    instant_key,
    is_sortable_text,
    parse_declared,
    storable_text,
    to_storage,
)
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import (
    TICKS_PER_DAY,
    TICKS_PER_SECOND,
    Date,
    DateTime,
    DateTimeOffset,
    Time,
    Variant,
)

MINUTE = 60 * TICKS_PER_SECOND


def day(year: int, month: int, number: int) -> int:
    return dt.date(year, month, number).toordinal() - 1


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


def _decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda units: Decimal(units).scaleb(-scale, Context(prec=80)))


@st.composite
def typed(draw: st.DrawFn) -> tuple[SqlType, Any]:
    """A type that sql_variant can hold, and a value of it."""
    precision = draw(st.integers(1, 38))
    scale = draw(st.integers(0, precision))
    digits = draw(st.integers(0, 7))
    ticks = st.integers(0, TICKS_PER_DAY // 10 ** (7 - digits) - 1).map(lambda n: n * 10 ** (7 - digits))
    days = st.integers(0, 3_652_058)
    # Zones do not lead out of the calendar.
    inner = st.integers(1, 3_652_057)
    return draw(
        st.sampled_from(
            [
                (t.BIT, st.integers(0, 1)),
                (t.TINYINT, st.integers(0, 255)),
                (t.BIGINT, st.integers(-(2**63), 2**63 - 1)),
                (t.decimal(precision, scale), _decimals(precision, scale)),
                (t.numeric(precision, scale), _decimals(precision, scale)),
                (t.MONEY, st.integers(-(2**63), 2**63 - 1).map(lambda n: Decimal(n).scaleb(-4))),
                (t.SMALLMONEY, st.integers(-(2**31), 2**31 - 1).map(lambda n: Decimal(n).scaleb(-4))),
                (t.FLOAT, st.floats(allow_nan=False)),
                (t.nvarchar(40), st.text(st.characters(codec="utf-8"), max_size=40)),
                (t.char(3), st.text("aé |", min_size=3, max_size=3)),
                (t.varbinary(20), st.binary(max_size=20)),
                (t.binary(4), st.binary(min_size=4, max_size=4)),
                (t.UNIQUEIDENTIFIER, st.uuids()),
                (t.DATE, days.map(Date)),
                (t.time(digits), ticks.map(Time)),
                (t.datetime2(digits), st.builds(DateTime, days, ticks)),
                (t.DATETIME, st.builds(DateTime, days, st.integers(0, 86_399_999).map(lambda n: n * 10_000))),
                (t.SMALLDATETIME, st.builds(DateTime, days, st.integers(0, 1439).map(lambda n: n * MINUTE))),
                (
                    t.datetimeoffset(digits),
                    st.builds(DateTimeOffset, inner, ticks, st.integers(-840, 840)),
                ),
            ]
        ).flatmap(lambda pair: st.tuples(st.just(pair[0]), pair[1]))
    )


@pytest.fixture(scope="module")
def memory() -> Iterator[apsw.Connection]:
    connection = apsw.Connection(":memory:")
    yield connection
    connection.close()


def through_sqlite(memory: apsw.Connection, stored: object, type_: SqlType) -> Any:
    """What a column of the declared type makes of a value: its affinity may change it."""
    memory.execute(f"DROP TABLE IF EXISTS x; CREATE TABLE x (a {declare(type_)})")
    memory.execute("INSERT INTO x VALUES (?)", (stored,))
    return memory.execute("SELECT a FROM x").fetchall()[0][0]


@given(typed())
def test_a_value_comes_back_from_its_column(memory: apsw.Connection, pair: tuple[SqlType, Any]) -> None:
    type_, value = pair
    assert from_storage(through_sqlite(memory, to_storage(value, type_), type_), type_) == value
    assert parse_declared(declare(type_)) == type_


@given(typed())
def test_a_value_comes_back_from_sql_variant(memory: apsw.Connection, pair: tuple[SqlType, Any]) -> None:
    variant = Variant(*pair)
    stored = through_sqlite(memory, to_storage(variant, t.SQL_VARIANT), t.SQL_VARIANT)
    assert from_storage(stored, t.SQL_VARIANT) == variant


@pytest.mark.parametrize(
    ("value", "type_", "declared", "stored"),
    [
        (1, t.BIT, "BIT", 1),
        (-5, t.INT, "INT", -5),
        (Decimal("-1.50"), t.decimal(9, 2), "DECIMAL(9,2)", -1.5),
        (Decimal("5"), t.numeric(18, 0), "NUMERIC(18,0)", 5),
        (Decimal("1.5"), t.decimal(20, 3), "DECIMAL_TEXT(20,3)", "000000000000000001.500"),
        (Decimal("-1"), t.decimal(19, 0), "DECIMAL_TEXT(19,0)", "-9999999999999999998"),
        (Decimal("-1.5"), t.MONEY, "MONEY_TEXT", "-999999999999998.4999"),
        (Decimal("1.5"), t.SMALLMONEY, "SMALLMONEY", 1.5),
        (2.5, t.REAL, "REAL", 2.5),
        ("é", t.nvarchar(5), "NVARCHAR(5)", "é"),
        ("x", t.varchar(MAX), "VARCHAR_MAX", "x"),
        ("<a/>", t.XML, "XML_TEXT", "<a/>"),
        (b"\0", t.varbinary(5), "VARBINARY(5)", b"\0"),
        (UUID(int=10), t.UNIQUEIDENTIFIER, "UNIQUEIDENTIFIER", "00000000-0000-0000-0000-00000000000A"),
        (Date(0), t.DATE, "DATE", "0001-01-01"),
        (Time(12 * 60 * MINUTE + 1), t.time(7), "TIME(7)", "12:00:00.0000001"),
        (DateTime(day(2024, 3, 4), MINUTE), t.datetime2(0), "DATETIME2(0)", "2024-03-04 00:01:00"),
        (DateTime(day(2024, 3, 4), 33333), t.DATETIME, "DATETIME", "2024-03-04 00:00:00.003"),
        (DateTime(day(2024, 3, 4), MINUTE), t.SMALLDATETIME, "SMALLDATETIME", "2024-03-04 00:01:00"),
        (
            DateTimeOffset(day(2024, 3, 4), MINUTE, -90),
            t.datetimeoffset(1),
            "DATETIMEOFFSET(1)",
            "2024-03-03 22:31:00.0 -01:30",
        ),
        (Variant(t.varbinary(2), b"\xff\0"), t.SQL_VARIANT, "SQL_VARIANT_TEXT", "varbinary(2)|0xFF00"),
        (Variant(t.nvarchar(1), ""), t.SQL_VARIANT, "SQL_VARIANT_TEXT", "nvarchar(1)|"),
    ],
)
def test_how_values_lie_in_files_that_are_there_already(
    memory: apsw.Connection, value: Any, type_: SqlType, declared: str, stored: object
) -> None:
    assert declare(type_) == declared
    assert parse_declared(declared) == type_
    assert to_storage(value, type_) == stored
    assert through_sqlite(memory, stored, type_) == stored


def test_what_has_no_column_type_of_its_own_is_told(memory: apsw.Connection) -> None:
    with pytest.raises(TypeError, match="a value of int cannot be a complex"):
        to_storage(1j, t.INT)  # type: ignore[arg-type]


@given(st.data(), st.integers(16, 38), st.integers(0, 6))
def test_text_of_decimals_sorts_as_they_do(data: st.DataObject, precision: int, scale: int) -> None:
    type_ = t.decimal(precision, scale)
    if not is_sortable_text(type_):
        return
    one, other = (data.draw(_decimals(precision, scale)) for _ in range(2))
    first, second = str(to_storage(one, type_)), str(to_storage(other, type_))
    assert (first < second, first == second) == (one < other, one == other)
    assert len(first) == len(second)


@pytest.mark.parametrize(
    ("declared", "type_"),
    [
        ("", t.nvarchar(MAX)),
        ("INTEGER", t.BIGINT),
        ("unsigned big int", t.BIGINT),
        ("VARYING CHARACTER(255)", t.nvarchar(255)),
        ("CHARACTER(70000)", t.nvarchar(MAX)),
        ("NVARCHAR(max)", t.nvarchar(MAX)),
        ("NVARCHAR", t.nvarchar(MAX)),
        ("NVARCHAR_MAX", t.nvarchar(MAX)),
        ("VARBINARY_MAX", t.varbinary(MAX)),
        ("longblob", t.varbinary(MAX)),
        ("DOUBLE PRECISION", t.FLOAT),
        ("real8", t.FLOAT),
        ("DECIMAL", t.FLOAT),
        ("NUMERIC(5)", t.numeric(5, 0)),
        ("DECIMAL(99, 2)", t.decimal(38, 2)),
        ("DATETIME2", t.datetime2(7)),
        ("TIME(0)", t.time(0)),
        ("whatever", t.nvarchar(MAX)),
        ("a,b", t.nvarchar(MAX)),
    ],
)
def test_types_that_others_declare(declared: str, type_: SqlType) -> None:
    assert parse_declared(declared) == type_


@pytest.mark.parametrize(
    ("raw", "type_", "value"),
    [
        (None, t.INT, None),
        (7, t.nvarchar(5), "7"),
        (b"\xc3\xa9\xff", t.nvarchar(5), "é�"),
        ("12", t.INT, 12),
        ("0", t.BIT, 0),
        ("", t.BIT, 0),
        ("yes", t.BIT, 1),
        (1.25, t.decimal(5, 1), Decimal("1.3")),
        (" 1.5 ", t.decimal(5, 1), Decimal("1.5")),
        ("-123.4", t.decimal(4, 1), Decimal("-123.4")),
        ("-12.5", t.decimal(20, 1), Decimal("-12.5")),
        ("1.5", t.FLOAT, 1.5),
        ("é", t.varbinary(9), b"\xe9\0"),
        (bytes(range(16)), t.UNIQUEIDENTIFIER, UUID(bytes_le=bytes(range(16)))),
        ("6f9619ff8b86d011b42d00c04fc964ff", t.UNIQUEIDENTIFIER, UUID("6f9619ff8b86d011b42d00c04fc964ff")),
        ("2024-3-4", t.DATE, Date(day(2024, 3, 4))),
        ("05:06", t.DATETIME, DateTime(day(1900, 1, 1), 5 * 60 * MINUTE + 6 * MINUTE)),
        ("2024-03-04 05:06:07x", t.datetimeoffset(), None),
        ("2024-03-04 00:30 +0100", t.datetimeoffset(0), DateTimeOffset(day(2024, 3, 3), 1410 * MINUTE, 60)),
        ("2024-03-04 00:30Z", t.datetimeoffset(0), DateTimeOffset(day(2024, 3, 4), 30 * MINUTE, 0)),
        (5, t.SQL_VARIANT, Variant(t.nvarchar(4000), "5")),
        ("plain", t.SQL_VARIANT, Variant(t.nvarchar(4000), "plain")),
        ("varbinary(3)|0xzz", t.SQL_VARIANT, Variant(t.varbinary(3), "0xzz".encode("utf-16-le"))),
        ("varbinary(3)|ab", t.SQL_VARIANT, Variant(t.varbinary(3), b"a\0b\0")),
        ("x", t.NULL, "x"),
    ],
)
def test_what_other_tools_have_written(raw: Any, type_: SqlType, value: object) -> None:
    if value is None and raw is not None:
        with pytest.raises(ValueError, match="is not a date or time"):
            from_storage(raw, type_)
    else:
        assert from_storage(raw, type_) == value


def test_half_a_character_becomes_the_replacement() -> None:
    assert storable_text("plain") == "plain"
    assert storable_text("Zoë 😀") == "Zoë 😀"
    assert storable_text("a\ud83db") == "a�b"
    # Two halves that meet are a character.
    assert storable_text("\ud83d\ude00é\udc00") == "😀é�"


def test_moments_with_zones_sort_by_instant() -> None:
    texts = ["2024-03-04 05:06:07 +05:30", "2024-03-04 00:00:00 +00:00", "2024-03-03 23:59:59 -01:00"]
    assert sorted(texts, key=lambda text: str(instant_key(text))) == [texts[0], texts[1], texts[2]]
    assert instant_key(None) is None

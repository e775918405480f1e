"""Types with the values they hold, as hypothesis draws them."""

from __future__ import annotations

from decimal import Context, Decimal
from typing import Any

from hypothesis import strategies as st

from tdsproxy.tds import types as t
from tdsproxy.tds.temporal import TICKS_PER_DAY
from tdsproxy.tds.types import TypeId, TypeInfo
from tdsproxy.tds.values import VariantValue

WESTERN = "".join(bytes((byte,)).decode("cp1252", "ignore") for byte in range(256))
UTF8 = bytes.fromhex("0904d00400")
JAPANESE = bytes.fromhex("1104d00000")

ucs2 = st.text(st.characters(exclude_categories=()), max_size=40).map(
    # A pair of lone surrogates that meet is one character once encoded.
    lambda text: text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "surrogatepass")
)
western = st.text(st.sampled_from(WESTERN), max_size=40)
days = st.integers(0, 3_652_058)


def decimals(precision: int, scale: int) -> st.SearchStrategy[Decimal]:
    most = 10**precision - 1
    return st.integers(-most, most).map(lambda n: Decimal(n).scaleb(-scale, Context(prec=80)))


def _ints(size: int) -> st.SearchStrategy[int]:
    return st.integers(0, 255) if size == 1 else st.integers(-(1 << 8 * size - 1), (1 << 8 * size - 1) - 1)


def _ticks(scale: int) -> st.SearchStrategy[int]:
    step = 10 ** (7 - scale)
    return st.integers(0, TICKS_PER_DAY // step - 1).map(lambda n: n * step)


_float4 = st.floats(width=32, allow_nan=False)
_float8 = st.floats(allow_nan=False)
_money8 = st.integers(-(2**63), 2**63 - 1).map(lambda n: Decimal(n).scaleb(-4))
_money4 = st.integers(-(2**31), 2**31 - 1).map(lambda n: Decimal(n).scaleb(-4))
# The milliseconds that 1/300 s become.
_datetimes = st.tuples(
    st.integers(639_905, 3_652_058),
    st.integers(0, 300 * 86_400 - 1).map(lambda n: (n * 10 + 1) // 3 * 10_000),
)
_small = st.tuples(
    st.integers(693_595, 693_595 + 65_535), st.integers(0, 1439).map(lambda n: n * 600_000_000)
)


@st.composite
def simple(draw: st.DrawFn) -> tuple[TypeInfo, Any]:
    """A type that fits into sql_variant, and a value of it."""
    scale = draw(st.integers(0, 7))
    precision = draw(st.integers(1, 38))
    digits = draw(st.integers(0, precision))
    size = draw(st.sampled_from((1, 2, 4, 8)))
    fixed_ints = {1: t.TINYINT, 2: t.SMALLINT, 4: t.INT, 8: t.BIGINT}
    choices: list[tuple[TypeInfo, st.SearchStrategy[Any]]] = [
        (fixed_ints[size], _ints(size)),
        (t.intn(size), _ints(size)),
        (t.BIT, st.integers(0, 1)),
        (t.BITN, st.integers(0, 1)),
        (t.REAL, _float4),
        (t.fltn(4), _float4),
        (t.FLOAT, _float8),
        (t.fltn(8), _float8),
        (t.MONEY, _money8),
        (t.moneyn(8), _money8),
        (t.SMALLMONEY, _money4),
        (t.moneyn(4), _money4),
        (t.decimaln(precision, digits), decimals(precision, digits)),
        (t.decimaln(precision, digits, numeric=True), decimals(precision, digits)),
        (t.DATETIME, _datetimes),
        (t.datetimn(8), _datetimes),
        (t.SMALLDATETIME, _small),
        (t.datetimn(4), _small),
        (t.DATE, st.tuples(days)),
        (t.time(scale), st.tuples(_ticks(scale))),
        (t.datetime2(scale), st.tuples(days, _ticks(scale))),
        (t.datetimeoffset(scale), st.tuples(days, _ticks(scale), st.integers(-840, 840))),
        (t.GUID, st.uuids()),
        (t.nvarchar(200), ucs2),
        (t.nchar(200), ucs2),
        (t.varchar(200), western),
        (t.char(200), western),
        (t.varbinary(200), st.binary(max_size=60)),
        (t.binary(200), st.binary(max_size=60)),
    ]
    info, values = draw(st.sampled_from(choices))
    return info, draw(values)


@st.composite
def typed(draw: st.DrawFn) -> tuple[TypeInfo, Any]:
    """Any column type and a value of it."""
    kind = draw(st.integers(0, 12))
    if kind == 0:
        return t.nvarchar(None), draw(ucs2)
    if kind == 1:
        return t.varchar(None), draw(western)
    if kind == 2:
        return t.varbinary(None), draw(st.binary(max_size=300))
    if kind == 3:
        return draw(st.sampled_from([(t.TEXT, draw(western)), (t.NTEXT, draw(ucs2)), (t.IMAGE, b"\0image")]))
    if kind == 4:
        return t.XML, "<a>" + draw(ucs2) + "</a>"
    if kind == 5:
        return t.SQL_VARIANT, VariantValue(*draw(simple()))
    if kind == 6:
        text = draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30))
        return draw(st.sampled_from([t.varchar(200, UTF8), TypeInfo(TypeId.JSON)])), text
    if kind == 7:
        return t.varchar(200, JAPANESE), draw(st.text(st.sampled_from("abc日本語かな"), max_size=20))
    return draw(simple())


def variant_type(info: TypeInfo) -> TypeId | int:
    """What a nullable type becomes inside sql_variant."""
    by_size = {
        TypeId.INTN: {1: TypeId.TINYINT, 2: TypeId.SMALLINT, 4: TypeId.INT, 8: TypeId.BIGINT},
        TypeId.FLTN: {4: TypeId.REAL, 8: TypeId.FLOAT},
        TypeId.MONEYN: {4: TypeId.SMALLMONEY, 8: TypeId.MONEY},
        TypeId.DATETIMN: {4: TypeId.SMALLDATETIME, 8: TypeId.DATETIME},
        TypeId.BITN: {1: TypeId.BIT},
    }
    return by_size[TypeId(info.type_id)][info.length] if info.type_id in by_size else info.type_id


def same(left: Any, right: Any) -> bool:
    """Equal, of the same exponent for decimals, and of the same base type for variants."""
    if isinstance(left, VariantValue) and isinstance(right, VariantValue):
        return variant_type(left.type_info) == right.type_info.type_id and same(left.value, right.value)
    if isinstance(left, Decimal) and isinstance(right, Decimal):
        return left == right and left.as_tuple().exponent == right.as_tuple().exponent
    return bool(left == right)

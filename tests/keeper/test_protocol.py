"""What goes in comes out, for every reply, value and request."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper import protocol
from tdsproxy.keeper.protocol import Kind, ProtocolError
from tdsproxy.tsql import replies as r
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Variant

small = st.integers(0, 2**31 - 1)
types = st.builds(
    SqlType,
    st.sampled_from(["int", "nvarchar", "decimal"]),
    st.none() | st.integers(-1, 8000),
    st.none() | st.integers(1, 38),
    st.none() | st.integers(0, 38),
    st.booleans(),
)
scalars = (
    st.integers(-(2**63), 2**63 - 1)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.uuids()
    | st.builds(Date, small)
    | st.builds(Time, st.integers(0, 864_000_000_000))
    | st.builds(DateTime, small, st.integers(0, 864_000_000_000))
    | st.builds(DateTimeOffset, small, st.integers(0, 864_000_000_000), st.integers(-840, 840))
)
values = st.none() | scalars | st.builds(Variant, types, scalars)
columns = st.builds(
    r.Column,
    st.text(),
    types,
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.booleans(),
    st.none() | st.text(),
)
rows = st.lists(st.lists(values, max_size=4).map(tuple), max_size=4)
replies = (
    st.builds(r.Message, small, st.integers(0, 25), st.integers(0, 255), st.text(), small, st.text())
    | st.builds(r.ResultSet, st.lists(columns, max_size=4).map(tuple))
    | st.builds(r.Rows, rows)
    | st.builds(r.Order, st.lists(small, max_size=4).map(tuple))
    | st.builds(r.Done, small, st.none() | small, st.booleans(), st.sampled_from(r.DoneKind))
    | st.builds(r.ReturnStatus, st.integers(-(2**31), 2**31 - 1))
    | st.builds(r.ReturnValue, small, st.text(), types, values)
    | st.builds(r.DatabaseChanged, st.text(), st.text())
    | st.builds(r.LanguageChanged, st.text(), st.text())
    | st.builds(r.TransactionBegun, st.binary(min_size=8, max_size=8))
    | st.builds(r.TransactionEnded, st.binary(min_size=8, max_size=8), st.booleans())
)
roles = st.frozensets(st.text(max_size=8), max_size=3)
requests = st.builds(
    NativeRequest,
    st.text(),
    st.builds(
        SessionContext,
        st.text(),
        st.text(),
        small,
        roles,
        st.dictionaries(st.text(max_size=8), roles, max_size=3),
        st.booleans(),
        st.booleans(),
        st.text(),
        st.text(),
    ),
    small,
    st.dictionaries(st.text(max_size=8), values, max_size=4),
)


def through(kind: Kind, *fields: object) -> list[object]:
    message = protocol.frame(kind, *fields)
    (length,) = protocol.LENGTH.unpack(message[:4])
    assert length == len(message) - 4
    back, received = protocol.parse(message[4:])
    assert back is kind
    return received


@given(st.lists(replies, max_size=4))
@settings(max_examples=60, deadline=None)
def test_replies(sent: list[r.Reply]) -> None:
    _, received = through(Kind.REPLIES, 7, [protocol.pack_reply(reply) for reply in sent])
    back = [protocol.unpack_reply(reply) for reply in received]  # type: ignore[attr-defined]
    assert back == sent
    # A tuple of integers equals any other of the same numbers: the types must be those that went in.
    assert [repr(reply) for reply in back] == [repr(reply) for reply in sent]


@given(requests)
@settings(max_examples=60, deadline=None)
def test_requests(sent: NativeRequest) -> None:
    _, received = through(Kind.RUN, 1, protocol.pack_request(sent))
    back = protocol.unpack_request(received)  # type: ignore[arg-type]
    assert back == sent
    assert {name: repr(value) for name, value in back.variables.items()} == {
        name: repr(value) for name, value in sent.variables.items()
    }


def test_a_decimal_keeps_its_scale() -> None:
    (value,) = through(Kind.END, protocol.pack_value(Decimal("1.500")))
    assert str(value) == "1.500"


@given(st.binary(max_size=40))
@settings(max_examples=200, deadline=None)
def test_noise_is_refused_or_read(noise: bytes) -> None:
    try:
        kind, fields = protocol.parse(noise)
    except ProtocolError:
        return
    assert isinstance(kind, Kind)
    assert isinstance(fields, list)


@pytest.mark.parametrize("body", [b"", b"\x80", b"\x90", b"\x91\x63", b"\xc1", b"\x92\x02\xd4\x63\x00"])
def test_malformed_messages(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        protocol.parse(body)


def test_too_long_a_message_is_not_sent() -> None:
    with pytest.raises(ProtocolError):
        protocol.frame(Kind.END, b"x" * (protocol.MAX_FRAME + 1))


def test_halves_of_pairs_are_replaced() -> None:
    """UTF-16 on the wire can hold them, UTF-8 cannot."""
    half, whole = "a\ud83d", "a\ufffd"
    session = SessionContext(half, database_roles={half: frozenset({half})}, application="b\U0001f600")
    value = Variant(SqlType("nvarchar", 5), half)
    request = NativeRequest(half, session, 1, {"@v": value, "@w": half})
    kind, fields = protocol.parse(protocol.frame(Kind.RUN, 1, protocol.pack_request(request))[4:])
    assert kind is Kind.RUN
    again = protocol.unpack_request(fields[1])
    assert (again.text, again.session.login, again.variables["@w"]) == (whole, whole, whole)
    assert again.variables["@v"] == Variant(SqlType("nvarchar", 5), whole)
    assert again.session.database_roles == {whole: frozenset({whole})}
    assert again.session.application == "b\U0001f600"

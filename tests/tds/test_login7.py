from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.login7 import (
    Feature,
    Login7,
    build_login7,
    decode_password,
    encode_password,
    parse_login7,
)

U32 = st.integers(0, 2**32 - 1)
U8 = st.integers(0, 255)
names = st.text(max_size=128)

logins = st.builds(
    Login7,
    tds_version=U32,
    packet_size=U32,
    client_version=U32,
    client_pid=U32,
    connection_id=U32,
    option_flags1=U8,
    option_flags2=U8,
    type_flags=U8,
    option_flags3=U8.map(lambda flags: flags & ~0x10),
    timezone=st.integers(-(2**31), 2**31 - 1),
    lcid=U32,
    host=names,
    user=names,
    password=names,
    application=names,
    server=names,
    library=names,
    language=names,
    database=names,
    client_id=st.binary(min_size=6, max_size=6),
    sspi=st.binary(max_size=300),
    attach_file=names,
    new_password=names,
    features=st.none(),
)
features = st.lists(st.tuples(st.integers(0, 254), st.binary(max_size=40)), max_size=6).map(tuple)


@given(logins)
def test_round_trip(login: Login7) -> None:
    assert parse_login7(build_login7(login)) == login


@given(features)
def test_features_round_trip(entries: tuple[tuple[int, bytes], ...]) -> None:
    login = Login7(user="sa", library="lib", features=entries)
    parsed = parse_login7(build_login7(login))
    assert parsed.features == entries
    assert parsed.library == "lib"
    assert parsed.option_flags3 & 0x10


def test_short_form() -> None:
    login = Login7(user="sa", password="x", host="h", short_form=True)
    body = build_login7(login)
    assert int.from_bytes(body[36:38], "little") == 86
    assert parse_login7(body) == login
    with pytest.raises(EncodeError):
        build_login7(Login7(short_form=True, new_password="y"))


def test_long_sspi() -> None:
    login = Login7(sspi=bytes(range(256)) * 300)
    assert parse_login7(build_login7(login)) == login


def test_password_is_hidden() -> None:
    login = Login7(user="sa", password="secret!", new_password="other!", sspi=b"blob!")
    assert "secret!" not in repr(login)
    assert "other!" not in repr(login)
    assert "blob!" not in repr(login)


@given(st.text())
def test_password_coding(password: str) -> None:
    assert decode_password(encode_password(password)) == password


def test_password_bytes() -> None:
    # 's' is 73 00: nibbles swapped 37 00, XOR A5.
    assert encode_password("s") == bytes((0x37 ^ 0xA5, 0xA5))


def test_fields_in_any_order_and_overlapping() -> None:
    body = bytearray(build_login7(Login7(host="same", user="same", database="")))
    body[40:44] = body[36:40]  # user now overlaps host
    body[68:72] = bytes(4)  # an empty field at offset 0
    parsed = parse_login7(bytes(body))
    assert parsed.host == parsed.user == "same"
    assert parsed.database == ""


@pytest.mark.parametrize("field", [36, 40, 44, 48, 52, 60, 64, 68, 78, 82, 86])
@pytest.mark.parametrize("entry", [b"\xff\xff\x01\x00", b"\x5e\x00\xff\x7f", b"\x10\x00\x01\x00"])
def test_field_outside_the_message(field: int, entry: bytes) -> None:
    body = bytearray(build_login7(Login7(user="sa", host="host", database="d")))
    body[field : field + 4] = entry
    with pytest.raises(ProtocolError):
        parse_login7(bytes(body))


def test_length_is_checked() -> None:
    body = bytearray(build_login7(Login7(user="sa")))
    body[0:4] = (len(body) + 1).to_bytes(4, "little")
    with pytest.raises(ProtocolError):
        parse_login7(bytes(body))
    with pytest.raises(ProtocolError):
        parse_login7(bytes(body[:50]))
    with pytest.raises(ProtocolError):
        parse_login7(bytes(128 * 1024))


def test_features_without_terminator() -> None:
    body = build_login7(Login7(features=((Feature.UTF8_SUPPORT, b"\1"),)))
    shorter = (len(body) - 1).to_bytes(4, "little") + body[4:-1]
    with pytest.raises(ProtocolError):
        parse_login7(shorter)


@given(st.data())
def test_mutated_bytes(data: st.DataObject) -> None:
    login = Login7(user="sa", password="p", host="h", features=((1, b"ab"), (10, b"\1")))
    body = bytearray(build_login7(login))
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(U8)
    try:
        parse_login7(bytes(body[: data.draw(st.integers(0, len(body)))]))
    except ProtocolError:
        pass


def test_feature_lookup() -> None:
    login = Login7(features=((Feature.UTF8_SUPPORT, b"\1"),))
    assert login.feature(Feature.UTF8_SUPPORT) == b"\1"
    assert login.feature(Feature.FEDAUTH) is None
    assert Login7().feature(Feature.FEDAUTH) is None
    assert Login7(option_flags2=0x82).odbc
    assert Login7(option_flags2=0x82).integrated_security
    assert Login7(type_flags=0x20).read_only_intent

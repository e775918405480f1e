from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.prelogin import (
    Encryption,
    EncryptionMode,
    EncryptionPolicy,
    Prelogin,
    build_prelogin,
    declined_mars,
    negotiate,
    parse_prelogin,
    reply_to,
)

BYTE = st.integers(0, 255)
prelogins = st.builds(
    Prelogin,
    version=st.tuples(BYTE, BYTE, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
    encryption=st.none() | st.sampled_from(Encryption),
    instance=st.none()
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    thread_id=st.none() | st.integers(0, 2**32 - 1),
    mars=st.none() | st.booleans(),
    trace_id=st.none() | st.binary(min_size=36, max_size=36),
    fedauth_required=st.none() | st.integers(0, 1),
    nonce=st.none() | st.binary(min_size=32, max_size=32),
)


@given(prelogins)
def test_round_trip(prelogin: Prelogin) -> None:
    assert parse_prelogin(build_prelogin(prelogin)) == prelogin


@given(st.binary(max_size=80))
def test_arbitrary_bytes(data: bytes) -> None:
    try:
        parse_prelogin(data)
    except ProtocolError:
        pass


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes.fromhex("000006000610000000000000"),
        bytes.fromhex("00ffff0006ff"),
        bytes.fromhex("0000060006" * 2 + "ff") + bytes(20),
        bytes.fromhex("010006 0000 ff"),
        bytes.fromhex("0100060001ff09"),
        b"".join(bytes((number, 0, 0, 0, 0)) for number in range(200)) + b"\xff",
    ],
    ids=["empty", "no terminator", "outside", "twice", "empty encryption", "unknown encryption", "many"],
)
def test_malformed(body: bytes) -> None:
    with pytest.raises(ProtocolError):
        parse_prelogin(body)


def test_reply_layout() -> None:
    client = Prelogin((18, 6, 2, 0), Encryption.ON, "", 0, False, bytes(36))
    reply = build_prelogin(reply_to(client, version=(16, 0, 4236, 0), encryption=Encryption.ON))
    headers, data = reply.split(b"\xff", 1)
    assert [headers[pos] for pos in range(0, len(headers), 5)] == [0, 1, 2, 4]
    offsets = [int.from_bytes(headers[pos + 1 : pos + 3], "big") for pos in range(0, len(headers), 5)]
    lengths = [int.from_bytes(headers[pos + 3 : pos + 5], "big") for pos in range(0, len(headers), 5)]
    assert lengths == [6, 1, 1, 1]
    assert offsets == [21, 27, 28, 29]
    assert data == bytes.fromhex("1000108c0000") + b"\x01" + b"\0" + b"\0"


def test_fedauth_is_answered_only_when_asked() -> None:
    asked = Prelogin(fedauth_required=1)
    version = (16, 0, 4236, 0)
    assert reply_to(asked, version=version, encryption=Encryption.ON).fedauth_required == 0
    assert (
        reply_to(asked, version=version, encryption=Encryption.ON, fedauth_required=1).fedauth_required == 1
    )
    silent = reply_to(Prelogin(), version=version, encryption=Encryption.ON, fedauth_required=1)
    assert silent.fedauth_required is None


@pytest.mark.parametrize(
    ("client", "answer"),
    [
        (Prelogin((18, 6, 2, 0), mars=True), None),  # ODBC refuses an answer of 0
        (Prelogin((6, 1, 0, 0), mars=True, fedauth_required=1), False),  # SqlClient takes silence as consent
        (Prelogin((9, 0, 0, 0), mars=False), False),  # FreeTDS wants its option answered
        (Prelogin((8, 0, 341, 0), mars=None), None),
    ],
)
def test_mars_is_declined_as_each_client_takes_it(client: Prelogin, answer: bool | None) -> None:
    assert declined_mars(client) is answer


OFF, ON, NOT, REQ = Encryption.OFF, Encryption.ON, Encryption.NOT_SUPPORTED, Encryption.REQUIRED


@pytest.mark.parametrize(
    ("client", "policy", "reply", "mode"),
    [
        (OFF, EncryptionPolicy.OFF, OFF, EncryptionMode.LOGIN_ONLY),
        (ON, EncryptionPolicy.OFF, ON, EncryptionMode.FULL),
        (NOT, EncryptionPolicy.OFF, NOT, EncryptionMode.CLEAR),
        (REQ, EncryptionPolicy.OFF, ON, EncryptionMode.FULL),
        (None, EncryptionPolicy.OFF, NOT, EncryptionMode.CLEAR),
        (OFF, EncryptionPolicy.WANTED, REQ, EncryptionMode.FULL),
        (ON, EncryptionPolicy.WANTED, ON, EncryptionMode.FULL),
        (NOT, EncryptionPolicy.WANTED, NOT, EncryptionMode.CLEAR),
        (OFF, EncryptionPolicy.REQUIRED, REQ, EncryptionMode.FULL),
        (NOT, EncryptionPolicy.REQUIRED, REQ, EncryptionMode.REFUSE),
        (None, EncryptionPolicy.REQUIRED, REQ, EncryptionMode.REFUSE),
    ],
)
def test_encryption(
    client: Encryption | None, policy: EncryptionPolicy, reply: Encryption, mode: EncryptionMode
) -> None:
    assert negotiate(Prelogin(encryption=client), policy) == (reply, mode)


def test_the_odbc_driver_that_does_not_want_encryption_encrypts_its_login_only() -> None:
    """With ``Encrypt=no`` it verifies the certificate as soon as the server asks for more."""
    driver = Prelogin((18, 6, 2, 0), encryption=OFF, mars=False)
    assert negotiate(driver, EncryptionPolicy.WANTED) == (OFF, EncryptionMode.LOGIN_ONLY)
    assert negotiate(driver, EncryptionPolicy.REQUIRED) == (REQ, EncryptionMode.FULL)


def test_client_certificate_flag() -> None:
    prelogin = parse_prelogin(bytes.fromhex("0100060001ff81"))
    assert prelogin.encryption is Encryption.ON
    assert prelogin.client_certificate

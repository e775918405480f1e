"""PRELOGIN (MS-TDS 2.2.6.5): its options, and what to answer a client.

Layout of the body: option headers of token (1), offset (2, big-endian, from the body's start), length (2,
big-endian), ended by FF; then the data.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import Final

from tdsproxy.tds.errors import EncodeError, ProtocolError

MAX_OPTIONS: Final = 32
_OPTION: Final = struct.Struct(">BHH")
_VERSION: Final = struct.Struct(">BBH")
_ODBC_MAJOR: Final = 11


class Option(IntEnum):
    VERSION = 0
    ENCRYPTION = 1
    INSTANCE = 2
    THREAD_ID = 3
    MARS = 4
    TRACE_ID = 5
    FEDAUTH_REQUIRED = 6
    NONCE = 7
    TERMINATOR = 0xFF


class Encryption(IntEnum):
    """OFF encrypts the login packet only; NOT_SUPPORTED nothing; ON and REQUIRED all. STRICT is what one
    client sends inside TDS 8.0's TLS, where the value no longer matters."""

    OFF = 0
    ON = 1
    NOT_SUPPORTED = 2
    REQUIRED = 3
    STRICT = 4


class EncryptionPolicy(Enum):
    """What the server side is set to: OFF leaves a client that does not ask alone, LOGIN encrypts the login
    of one that can and the rest if it asks, WANTED encrypts every client that can, REQUIRED refuses the
    others. STRICT serves TDS 8.0 only, whose TLS is there before PRELOGIN."""

    OFF = "off"
    LOGIN = "login"
    WANTED = "wanted"
    REQUIRED = "required"
    STRICT = "strict"


class EncryptionMode(Enum):
    """What a connection does after the PRELOGIN exchange. REFUSE: answer, then close."""

    CLEAR = "clear"
    LOGIN_ONLY = "login-only"
    FULL = "full"
    REFUSE = "refuse"


_CLIENT_CERTIFICATE: Final = 0x80


@dataclass(frozen=True, slots=True)
class Prelogin:
    """A PRELOGIN of either side. None means that the option was not sent. ``version`` is major, minor,
    build, sub-build. ``client_certificate`` is the 80 flag of the encryption byte."""

    version: tuple[int, int, int, int] = (0, 0, 0, 0)
    encryption: Encryption | None = Encryption.NOT_SUPPORTED
    instance: str | None = None
    thread_id: int | None = None
    mars: bool | None = None
    trace_id: bytes | None = None
    fedauth_required: int | None = None
    nonce: bytes | None = None
    client_certificate: bool = False


def parse_prelogin(body: bytes) -> Prelogin:
    """Read a PRELOGIN body of either side. Raises ``ProtocolError`` when an option lies outside the body,
    comes twice, has an impossible length, or the terminator is missing."""
    data = _options(body)
    encryption, certificate = _encryption(data.get(Option.ENCRYPTION))
    mars = data.get(Option.MARS)
    fedauth = data.get(Option.FEDAUTH_REQUIRED)
    thread = data.get(Option.THREAD_ID)
    instance = data.get(Option.INSTANCE)
    return Prelogin(
        version=_version(data.get(Option.VERSION)),
        encryption=encryption,
        instance=None if instance is None else instance.split(b"\0", 1)[0].decode("utf-8", "replace"),
        thread_id=int.from_bytes(thread[:4], "little") if thread else None,
        mars=bool(mars[0]) if mars else None,
        trace_id=data.get(Option.TRACE_ID) or None,
        fedauth_required=fedauth[0] if fedauth else None,
        nonce=data.get(Option.NONCE) or None,
        client_certificate=certificate,
    )


def _options(body: bytes) -> dict[int, bytes]:
    found: dict[int, bytes] = {}
    pos = 0
    while True:
        if pos >= len(body):
            raise ProtocolError("PRELOGIN has no terminator")
        if body[pos] == Option.TERMINATOR:
            return found
        if len(found) == MAX_OPTIONS:
            raise ProtocolError("PRELOGIN has too many options")
        if pos + _OPTION.size > len(body):
            raise ProtocolError("PRELOGIN ends inside an option")
        token, offset, length = _OPTION.unpack_from(body, pos)
        if offset + length > len(body):
            raise ProtocolError(f"PRELOGIN option {token} lies outside the message")
        if token in found:
            raise ProtocolError(f"PRELOGIN option {token} comes twice")
        found[token] = body[offset : offset + length]
        pos += _OPTION.size


def _version(data: bytes | None) -> tuple[int, int, int, int]:
    if data is None:
        return (0, 0, 0, 0)
    if len(data) < 6:
        raise ProtocolError("PRELOGIN VERSION is not 6 bytes")
    major, minor, build = _VERSION.unpack_from(data)
    return (major, minor, build, int.from_bytes(data[4:6], "little"))


def _encryption(data: bytes | None) -> tuple[Encryption | None, bool]:
    if data is None:
        return None, False
    if not data:
        raise ProtocolError("PRELOGIN ENCRYPTION is empty")
    value = data[0]
    try:
        return Encryption(value & ~_CLIENT_CERTIFICATE), bool(value & _CLIENT_CERTIFICATE)
    except ValueError:
        raise ProtocolError(f"PRELOGIN ENCRYPTION {value:#04x} is unknown") from None


def build_prelogin(prelogin: Prelogin) -> bytes:
    """A PRELOGIN body, for either side: VERSION first, data contiguous and in the order of the headers
    (jTDS reads it sequentially). A server leaves ``thread_id``, ``trace_id`` and ``nonce`` None: clients
    dislike empty options at the end of the body."""
    major, minor, build, sub_build = prelogin.version
    options: list[tuple[int, bytes]] = [
        (Option.VERSION, _VERSION.pack(major, minor, build) + sub_build.to_bytes(2, "little"))
    ]
    if prelogin.encryption is not None:
        flag = _CLIENT_CERTIFICATE if prelogin.client_certificate else 0
        options.append((Option.ENCRYPTION, bytes((prelogin.encryption | flag,))))
    if prelogin.instance is not None:
        options.append((Option.INSTANCE, prelogin.instance.encode("utf-8", "replace") + b"\0"))
    if prelogin.thread_id is not None:
        options.append((Option.THREAD_ID, prelogin.thread_id.to_bytes(4, "little")))
    if prelogin.mars is not None:
        options.append((Option.MARS, bytes((prelogin.mars,))))
    if prelogin.trace_id is not None:
        options.append((Option.TRACE_ID, prelogin.trace_id))
    if prelogin.fedauth_required is not None:
        options.append((Option.FEDAUTH_REQUIRED, bytes((prelogin.fedauth_required,))))
    if prelogin.nonce is not None:
        options.append((Option.NONCE, prelogin.nonce))
    offset = _OPTION.size * len(options) + 1
    headers = []
    for token, data in options:
        if offset + len(data) > 0xFFFF:
            raise EncodeError("PRELOGIN is too long")
        headers.append(_OPTION.pack(token, offset, len(data)))
        offset += len(data)
    return b"".join(headers) + b"\xff" + b"".join(data for _token, data in options)


def reply_to(
    client: Prelogin,
    *,
    version: tuple[int, int, int, int],
    encryption: Encryption,
    fedauth_required: int | None = None,
) -> Prelogin:
    """The server's PRELOGIN for this client, by rules that every client read accepts.

    FEDAUTHREQUIRED only when the client sent it; MARS by ``declined_mars``. Send it as one packet of type
    TABULAR_RESULT. ``version``'s major must be 11 or more: mssql-jdbc derives the TDS version from it.
    """
    answer = 0 if fedauth_required is None else fedauth_required
    return Prelogin(
        version=version,
        encryption=encryption,
        instance="",
        mars=declined_mars(client),
        fedauth_required=None if client.fedauth_required is None else answer,
    )


def declined_mars(client: Prelogin) -> bool | None:
    """How to say no to MARS: False sends MARS=0, None leaves the option out.

    FreeTDS wants the option it sent answered. SqlClient, which always sends FEDAUTHREQUIRED, takes a
    missing option as consent; the ODBC drivers, of major version 11 or more and without that option,
    refuse an answer of 0 and connect without one.
    """
    if client.mars and _is_odbc(client):
        return None
    return None if client.mars is None else False


def _is_odbc(client: Prelogin) -> bool:
    return client.fedauth_required is None and client.version[0] >= _ODBC_MAJOR


def negotiate(client: Prelogin, policy: EncryptionPolicy) -> tuple[Encryption, EncryptionMode]:
    """The ENCRYPTION byte to answer, and what follows. A client that sent none is taken as one that
    cannot encrypt. A client that would encrypt only its login is answered REQUIRED under WANTED: it then
    encrypts all, which clients do better than login-only. Not so Microsoft's ODBC driver with
    ``Encrypt=no``: made to encrypt, it verifies the certificate, and refuses a self-signed one."""
    return _negotiate(
        client.encryption, policy, login_only=policy is EncryptionPolicy.WANTED and _is_odbc(client)
    )


def _negotiate(
    client: Encryption | None, policy: EncryptionPolicy, *, login_only: bool
) -> tuple[Encryption, EncryptionMode]:
    if client in (Encryption.ON, Encryption.REQUIRED, Encryption.STRICT):
        return Encryption.ON, EncryptionMode.FULL
    if client is Encryption.OFF:
        if policy in (EncryptionPolicy.OFF, EncryptionPolicy.LOGIN) or login_only:
            return Encryption.OFF, EncryptionMode.LOGIN_ONLY
        return Encryption.REQUIRED, EncryptionMode.FULL
    if policy is EncryptionPolicy.REQUIRED:
        return Encryption.REQUIRED, EncryptionMode.REFUSE
    return Encryption.NOT_SUPPORTED, EncryptionMode.CLEAR

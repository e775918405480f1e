"""LOGIN7 (MS-TDS 2.2.6.4): the client's login, its FeatureExt block and password coding."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from tdsproxy.tds.buffer import decode_ucs2, encode_ucs2
from tdsproxy.tds.errors import EncodeError, ProtocolError
from tdsproxy.tds.versions import TdsVersion

MAX_LOGIN7: Final = 128 * 1024 - 1
LONG_FORM: Final = 94
SHORT_FORM: Final = 86
MAX_FEATURES: Final = 64

# Length .. ClientLCID: the numbers before the offset table.
_NUMBERS: Final = struct.Struct("<IIIIIIBBBBiI")
_ENTRY: Final = struct.Struct("<HH")
_SSPI_LONG: Final = 90
_EXTENSION_USED: Final = 0x10
_INTEGRATED: Final = 0x80
_ODBC: Final = 0x02
_READ_ONLY: Final = 0x20

# Field -> offset of its (ib, cch) pair in the fixed part.
_ENTRIES: Final = {
    "host": 36,
    "user": 40,
    "password": 44,
    "application": 48,
    "server": 52,
    "extension": 56,
    "library": 60,
    "language": 64,
    "database": 68,
    "sspi": 78,
    "attach_file": 82,
    "new_password": 86,
}
_CLIENT_ID: Final = slice(72, 78)


class Feature(IntEnum):
    """FeatureExt ids (MS-TDS 2.2.6.4)."""

    SESSION_RECOVERY = 0x01
    FEDAUTH = 0x02
    COLUMN_ENCRYPTION = 0x04
    GLOBAL_TRANSACTIONS = 0x05
    AZURE_SQL_SUPPORT = 0x08
    DATA_CLASSIFICATION = 0x09
    UTF8_SUPPORT = 0x0A
    AZURE_DNS_CACHING = 0x0B
    JSON_SUPPORT = 0x0D
    VECTOR_SUPPORT = 0x0E
    ENHANCED_ROUTING = 0x0F
    USER_AGENT = 0x10
    TERMINATOR = 0xFF


@dataclass(frozen=True, slots=True)
class Login7:
    """All of a LOGIN7. ``features`` are the entries of the FeatureExt block in their order, None when the
    client sent no block (and Flags3's extension bit was clear). Passwords stay out of ``repr``.

    ``short_form``: the 86-byte fixed part of TDS 7.1 and before, with neither new password nor long SSPI.
    """

    tds_version: int = TdsVersion.V7_4
    packet_size: int = 4096
    client_version: int = 0
    client_pid: int = 0
    connection_id: int = 0
    option_flags1: int = 0xE0
    option_flags2: int = 0x03
    type_flags: int = 0
    option_flags3: int = 0
    timezone: int = 0
    lcid: int = 0x0409
    host: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    application: str = ""
    server: str = ""
    library: str = ""
    language: str = ""
    database: str = ""
    client_id: bytes = bytes(6)
    sspi: bytes = field(default=b"", repr=False)
    attach_file: str = ""
    new_password: str = field(default="", repr=False)
    features: tuple[tuple[int, bytes], ...] | None = field(default=None, repr=False)
    short_form: bool = False

    @property
    def odbc(self) -> bool:
        """The client wants the SET options of ODBC: ANSI defaults and QUOTED_IDENTIFIER on."""
        return bool(self.option_flags2 & _ODBC)

    @property
    def integrated_security(self) -> bool:
        return bool(self.option_flags2 & _INTEGRATED)

    @property
    def read_only_intent(self) -> bool:
        return bool(self.type_flags & _READ_ONLY)

    def feature(self, feature: int) -> bytes | None:
        """The data of one feature request, or None when it was not made."""
        return next((data for number, data in self.features or () if number == feature), None)


def parse_login7(body: bytes) -> Login7:
    """Read a LOGIN7 message. The smallest offset in use decides between the 86 and 94 byte forms, as
    FreeTDS sends the short one under version 7.4, too. Fields may lie in any order and overlap. Raises
    ``ProtocolError`` when one lies outside the message."""
    if len(body) > MAX_LOGIN7:
        raise ProtocolError("LOGIN7 is too long")
    if len(body) < SHORT_FORM:
        raise ProtocolError("LOGIN7 is too short")
    (
        length,
        tds_version,
        packet_size,
        client_version,
        client_pid,
        connection_id,
        flags1,
        flags2,
        type_flags,
        flags3,
        timezone,
        lcid,
    ) = _NUMBERS.unpack_from(body)
    if not SHORT_FORM <= length <= len(body):
        raise ProtocolError(f"LOGIN7 claims {length} bytes of {len(body)}")
    body = body[:length]
    short = _is_short(body)

    def text(name: str) -> str:
        return decode_ucs2(_field(body, name, unit=2))

    def secret(name: str) -> str:
        return decode_password(_field(body, name, unit=2))

    return Login7(
        tds_version=tds_version,
        packet_size=packet_size,
        client_version=client_version,
        client_pid=client_pid,
        connection_id=connection_id,
        option_flags1=flags1,
        option_flags2=flags2,
        type_flags=type_flags,
        option_flags3=flags3,
        timezone=timezone,
        lcid=lcid,
        host=text("host"),
        user=text("user"),
        password=secret("password"),
        application=text("application"),
        server=text("server"),
        library=text("library"),
        language=text("language"),
        database=text("database"),
        client_id=body[_CLIENT_ID],
        sspi=_sspi(body, short),
        attach_file=text("attach_file"),
        new_password="" if short else secret("new_password"),
        features=_extension(body) if flags3 & _EXTENSION_USED else None,
        short_form=short,
    )


def _entry(body: bytes, name: str) -> tuple[int, int]:
    ib, cch = _ENTRY.unpack_from(body, _ENTRIES[name])
    return int(ib), int(cch)


def _is_short(body: bytes) -> bool:
    if len(body) < LONG_FORM:
        return True
    names = [name for name in _ENTRIES if name != "new_password"]
    offsets = [ib for ib, cch in (_entry(body, name) for name in names) if ib and cch]
    if not offsets:
        offsets = [ib for ib, _cch in (_entry(body, name) for name in names) if ib]
    return bool(offsets) and min(offsets) < LONG_FORM


def _field(body: bytes, name: str, unit: int) -> bytes:
    ib, count = _entry(body, name)
    size = count * unit
    if not size:
        return b""
    if ib < SHORT_FORM or ib + size > len(body):
        raise ProtocolError(f"LOGIN7 field {name} lies outside the message")
    return body[ib : ib + size]


def _sspi(body: bytes, short: bool) -> bytes:
    ib, size = _entry(body, "sspi")
    if size == 0xFFFF and not short:
        size = int.from_bytes(body[_SSPI_LONG:LONG_FORM], "little") or size
    if not size:
        return b""
    if ib < SHORT_FORM or ib + size > len(body):
        raise ProtocolError("LOGIN7 field sspi lies outside the message")
    return body[ib : ib + size]


def _extension(body: bytes) -> tuple[tuple[int, bytes], ...]:
    ib, size = _entry(body, "extension")
    if size < 4 or ib < SHORT_FORM or ib + 4 > len(body):
        raise ProtocolError("LOGIN7 extension lies outside the message")
    offset = int.from_bytes(body[ib : ib + 4], "little")
    if not SHORT_FORM <= offset < len(body):
        raise ProtocolError("LOGIN7 FeatureExt lies outside the message")
    return parse_features(body, offset)


def parse_features(data: bytes, pos: int = 0) -> tuple[tuple[int, bytes], ...]:
    """Entries of id (1), length (4), data, ended by FF: FeatureExt here, FEATUREEXTACK in the reply."""
    features: list[tuple[int, bytes]] = []
    while True:
        if pos >= len(data):
            raise ProtocolError("FeatureExt has no terminator")
        number = data[pos]
        if number == Feature.TERMINATOR:
            return tuple(features)
        if len(features) == MAX_FEATURES:
            raise ProtocolError("FeatureExt has too many entries")
        end = pos + 5
        size = int.from_bytes(data[pos + 1 : end], "little")
        if end > len(data) or end + size > len(data):
            raise ProtocolError(f"feature {number} lies outside the message")
        features.append((number, data[end : end + size]))
        pos = end + size


def build_features(features: tuple[tuple[int, bytes], ...]) -> bytes:
    """The inverse of ``parse_features``."""
    return b"".join(
        bytes((number,)) + len(data).to_bytes(4, "little") + data for number, data in features
    ) + bytes((Feature.TERMINATOR,))


def build_login7(login: Login7) -> bytes:
    """The message body. SSPI, which alone may be long, comes behind the other fields, whose offsets have 16
    bits; FeatureExt comes last. Raises ``EncodeError``."""
    fixed = SHORT_FORM if login.short_form else LONG_FORM
    fields: dict[str, bytes] = {
        "host": encode_ucs2(login.host),
        "user": encode_ucs2(login.user),
        "password": encode_password(login.password),
        "application": encode_ucs2(login.application),
        "server": encode_ucs2(login.server),
        "extension": b"" if login.features is None else bytes(4),
        "library": encode_ucs2(login.library),
        "language": encode_ucs2(login.language),
        "database": encode_ucs2(login.database),
        "attach_file": encode_ucs2(login.attach_file),
        "new_password": encode_password(login.new_password),
        "sspi": login.sspi,
    }
    if login.short_form:
        if fields.pop("new_password"):
            raise EncodeError("the short form of LOGIN7 has no new password")
        if len(login.sspi) >= 0xFFFF:
            raise EncodeError("the short form of LOGIN7 has no long SSPI")
    table = bytearray(fixed)
    data = bytearray()
    pointer = 0
    for name, value in fields.items():
        offset = fixed + len(data)
        count = len(value) if name in ("extension", "sspi") else len(value) >> 1
        if name == "sspi" and count >= 0xFFFF:
            table[_SSPI_LONG:LONG_FORM] = count.to_bytes(4, "little")
            count = 0xFFFF
        if count > 0xFFFF or offset > 0xFFFF:
            raise EncodeError(f"LOGIN7 field {name} is too long")
        if name == "extension":
            pointer = len(data)
        _ENTRY.pack_into(table, _ENTRIES[name], offset, count)
        data += value
    flags3 = login.option_flags3 & ~_EXTENSION_USED
    if login.features is not None:
        flags3 |= _EXTENSION_USED
        data[pointer : pointer + 4] = (fixed + len(data)).to_bytes(4, "little")
        data += build_features(login.features)
    total = fixed + len(data)
    if total > MAX_LOGIN7:
        raise EncodeError("LOGIN7 is too long")
    if len(login.client_id) != 6:
        raise EncodeError("client_id is six bytes")
    table[_CLIENT_ID] = login.client_id
    _NUMBERS.pack_into(
        table,
        0,
        total,
        login.tds_version,
        login.packet_size,
        login.client_version,
        login.client_pid,
        login.connection_id,
        login.option_flags1,
        login.option_flags2,
        login.type_flags,
        flags3,
        login.timezone,
        login.lcid,
    )
    return bytes(table + data)


# Swap the nibbles, XOR A5; and back (MS-TDS 2.2.6.4). Obfuscation only.
_ENCODE: Final = bytes(((byte << 4 | byte >> 4) & 0xFF) ^ 0xA5 for byte in range(256))
_DECODE: Final = bytes(((byte ^ 0xA5) << 4 | (byte ^ 0xA5) >> 4) & 0xFF for byte in range(256))


def encode_password(password: str) -> bytes:
    return encode_ucs2(password).translate(_ENCODE)


def decode_password(data: bytes) -> str:
    return decode_ucs2(data.translate(_DECODE))

"""The server's token stream, built (MS-TDS 2.2.7). Also the public face of the records and the parser.

A ``TokenBuilder`` knows the client's TDS version and gives each token in that layout; rows come from the
``row_encoder`` it makes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final

from tdsproxy.tds import metadata
from tdsproxy.tds.buffer import (
    b_varbyte,
    b_varchar,
    encode_ucs2,
    us_varbyte,
    us_varchar,
)
from tdsproxy.tds.columns import ColumnFlags, ColumnMeta
from tdsproxy.tds.errors import EncodeError
from tdsproxy.tds.login7 import build_features
from tdsproxy.tds.raw_rows import RowsEncoder, rows_encoder
from tdsproxy.tds.rows import RowEncoder, row_encoder
from tdsproxy.tds.token_parser import TokenParser
from tdsproxy.tds.token_records import (
    ColInfo,
    ColInfos,
    ColMetadata,
    DataClassification,
    Done,
    DoneStatus,
    EnvChange,
    EnvChangeType,
    FeatureExtAck,
    FedAuthInfo,
    LoginAck,
    Offset,
    Order,
    ReturnStatus,
    ReturnValue,
    Routing,
    Row,
    ServerMessage,
    SessionState,
    Sspi,
    TabName,
    Token,
    TokenType,
)
from tdsproxy.tds.types import DEFAULT_COLLATION, TypeInfo, build_type_info, with_collation
from tdsproxy.tds.values import encode_value
from tdsproxy.tds.versions import TdsVersion, has_collations, has_null_bitmap, is_wide

__all__ = [
    "MAX_MESSAGE_TEXT",
    "ColInfo",
    "ColInfos",
    "ColMetadata",
    "ColumnFlags",
    "ColumnMeta",
    "DataClassification",
    "Done",
    "DoneStatus",
    "EnvChange",
    "EnvChangeType",
    "FeatureExtAck",
    "FedAuthInfo",
    "LoginAck",
    "Offset",
    "Order",
    "ReturnStatus",
    "ReturnValue",
    "Routing",
    "Row",
    "RowEncoder",
    "ServerMessage",
    "SessionState",
    "Sspi",
    "TabName",
    "Token",
    "TokenBuilder",
    "TokenParser",
    "TokenType",
    "row_encoder",
]

MAX_MESSAGE_TEXT: Final = 8000
"""UTF-16 units of a message's text that are sent: PRINT's limit of 8000 characters is the highest. The
token's length would allow some 32000."""
PROGRAM_NAME: Final = "Microsoft SQL Server\0\0"
_LAST_INFO: Final = 10

_DONE_WIDE: Final = struct.Struct("<BHHQ")
_DONE_NARROW: Final = struct.Struct("<BHHI")
_MESSAGE: Final = struct.Struct("<iBB")
_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_STATUS: Final = struct.Struct("<Bi")
_EMPTY: Final = b"\0"


def _sized(token: TokenType, body: bytes) -> bytes:
    if len(body) > 0xFFFF:
        raise EncodeError(f"a token of {len(body)} bytes")
    return bytes((token,)) + _U16.pack(len(body)) + body


class TokenBuilder:
    """Tokens in the layout of one client. ``column_encryption``: COLUMNENCRYPTION was acknowledged to it,
    so COLMETADATA carries a CekTable."""

    __slots__ = ("_collations", "_wide", "column_encryption", "tds_version")

    def __init__(self, tds_version: int = TdsVersion.V7_4, *, column_encryption: bool = False) -> None:
        self.tds_version = tds_version
        self.column_encryption = column_encryption
        self._wide = is_wide(tds_version)
        self._collations = has_collations(tds_version)

    # Result sets

    def col_metadata(self, columns: Sequence[ColumnMeta]) -> bytes:
        """COLMETADATA; without columns it says so (FFFF)."""
        if not self._collations:
            columns = [_without_collation(column) for column in columns]
        body = metadata.build_columns(columns, wide=self._wide, column_encryption=self.column_encryption)
        return bytes((TokenType.COLMETADATA,)) + body

    def row_encoder(self, columns: Sequence[ColumnMeta]) -> RowEncoder:
        """The encoder of these columns' rows for this client."""
        return row_encoder(columns, nbcrow=has_null_bitmap(self.tds_version))

    def rows_encoder(self, columns: Sequence[ColumnMeta]) -> RowsEncoder:
        """The encoder of many of these columns' rows at once, from their stored form."""
        return rows_encoder(
            [column.type_info for column in columns], nbcrow=has_null_bitmap(self.tds_version)
        )

    def order(self, columns: Sequence[int]) -> bytes:
        """ORDER: the 1-based columns that the rows are sorted by."""
        return _sized(TokenType.ORDER, struct.pack(f"<{len(columns)}H", *columns))

    def tab_name(self, tables: Sequence[Sequence[str]]) -> bytes:
        """TABNAME: the parts of each table's name."""
        if self._wide:
            names = [bytes((len(parts),)) + b"".join(map(us_varchar, parts)) for parts in tables]
        else:
            names = [us_varchar(".".join(parts)) for parts in tables]
        return _sized(TokenType.TABNAME, b"".join(names))

    def col_info(self, columns: Sequence[ColInfo]) -> bytes:
        """COLINFO, for cursors and FOR BROWSE."""
        parts = []
        for each in columns:
            parts.append(bytes((each.column, each.table, each.status)))
            if each.base_name is not None:
                parts.append(b_varchar(each.base_name))
        return _sized(TokenType.COLINFO, b"".join(parts))

    # Ends

    def done(
        self, status: int = 0, command: int = 0, count: int = 0, *, kind: TokenType = TokenType.DONE
    ) -> bytes:
        """A DONE, DONEPROC or DONEINPROC. ``count`` is 0 unless ``status`` has COUNT."""
        if self._wide:
            return _DONE_WIDE.pack(kind, status, command, count)
        return _DONE_NARROW.pack(kind, status, command, min(count, 0xFFFFFFFF))

    def attention_acknowledged(self) -> bytes:
        """The one token of the message that answers an attention."""
        return self.done(DoneStatus.ATTENTION)

    # Messages

    def message(
        self,
        number: int,
        severity: int,
        state: int,
        text: str,
        *,
        server: str = "",
        procedure: str = "",
        line: int = 1,
    ) -> bytes:
        """INFO up to severity 10, ERROR above; the severity goes out as it is. An overlong text is cut."""
        token = TokenType.INFO if severity <= _LAST_INFO else TokenType.ERROR
        line = max(line, 0)
        body = (
            _MESSAGE.pack(number, state & 0xFF, severity)
            + us_varchar(_cut(text, MAX_MESSAGE_TEXT))
            + b_varchar(_cut(server, 255))
            + b_varchar(_cut(procedure, 255))
            + (_U32.pack(line) if self._wide else _U16.pack(min(line, 0xFFFF)))
        )
        return _sized(token, body)

    # RPC

    def return_status(self, value: int) -> bytes:
        return _STATUS.pack(TokenType.RETURNSTATUS, value)

    def return_value(
        self,
        ordinal: int,
        name: str,
        type_info: TypeInfo,
        value: Any,
        *,
        status: int = 1,
        user_type: int = 0,
        flags: int = 0,
    ) -> bytes:
        """RETURNVALUE: an output parameter (status 1) or a function's result (2). ``name`` with its sign;
        ``ordinal`` counts the call's parameters from 0. Raises ``EncodeError``."""
        if not self._collations:
            type_info = with_collation(type_info, b"")
        return (
            bytes((TokenType.RETURNVALUE,))
            + _U16.pack(ordinal)
            + b_varchar(name)
            + bytes((status,))
            + metadata.build_head(user_type, flags, wide=self._wide)
            + build_type_info(type_info, rpc=True)
            + encode_value(type_info, value, rpc=True)
        )

    # Session

    def env_change(self, kind: int, new: str | bytes | Routing = b"", old: str | bytes = b"") -> bytes:
        """Any ENVCHANGE; text for names and sizes, bytes for collations and descriptors."""
        return _sized(TokenType.ENVCHANGE, bytes((kind,)) + _env_values(kind, new, old))

    def database(self, new: str, old: str) -> bytes:
        return self.env_change(EnvChangeType.DATABASE, new, old)

    def language(self, new: str, old: str) -> bytes:
        return self.env_change(EnvChangeType.LANGUAGE, new, old)

    def packet_size(self, new: int, old: int) -> bytes:
        return self.env_change(EnvChangeType.PACKET_SIZE, str(new), str(old))

    def collation(self, new: bytes = DEFAULT_COLLATION, old: bytes = b"") -> bytes:
        return self.env_change(EnvChangeType.COLLATION, new, old)

    def transaction_begun(self, descriptor: bytes) -> bytes:
        """``descriptor``: 8 bytes, which the client repeats in ALL_HEADERS."""
        return self.env_change(EnvChangeType.BEGIN_TRANSACTION, descriptor)

    def transaction_ended(self, descriptor: bytes, *, committed: bool) -> bytes:
        kind = EnvChangeType.COMMIT_TRANSACTION if committed else EnvChangeType.ROLLBACK_TRANSACTION
        return self.env_change(kind, b"", descriptor)

    def reset_acknowledged(self) -> bytes:
        """First token of the response to a request with a reset bit."""
        return self.env_change(EnvChangeType.RESET_ACKNOWLEDGED)

    def session_state(
        self, sequence: int, states: Sequence[tuple[int, bytes]], *, recoverable: bool = True
    ) -> bytes:
        """SESSIONSTATE; only right before a message's last DONE."""
        parts = [_U32.pack(sequence), bytes((recoverable,))]
        for number, data in states:
            size = bytes((len(data),)) if len(data) < 0xFF else b"\xff" + _U32.pack(len(data))
            parts.append(bytes((number,)) + size + data)
        body = b"".join(parts)
        return bytes((TokenType.SESSIONSTATE,)) + _U32.pack(len(body)) + body

    # Login

    def login_ack(
        self, version: tuple[int, int, int], *, program: str = PROGRAM_NAME, interface: int = 1
    ) -> bytes:
        """LOGINACK with this builder's TDS version; ``version`` is major, minor, build, and equals the
        PRELOGIN's."""
        major, minor, build = version
        body = (
            bytes((interface,))
            + self.tds_version.to_bytes(4, "big")
            + b_varchar(program)
            + bytes((major, minor))
            + build.to_bytes(2, "big")
        )
        return _sized(TokenType.LOGINACK, body)

    def feature_ext_ack(self, features: tuple[tuple[int, bytes], ...]) -> bytes:
        """FEATUREEXTACK; never one that the client did not ask for."""
        return bytes((TokenType.FEATUREEXTACK,)) + build_features(features)

    def sspi(self, data: bytes) -> bytes:
        return bytes((TokenType.SSPI,)) + us_varbyte(data)

    def fedauth_info(self, options: Sequence[tuple[int, str]]) -> bytes:
        """FEDAUTHINFO: offsets count from the option count."""
        encoded = [(number, encode_ucs2(text)) for number, text in options]
        offset = 4 + 9 * len(encoded)
        heads, data = [_U32.pack(len(encoded))], []
        for number, text in encoded:
            heads.append(struct.pack("<BII", number, len(text), offset))
            data.append(text)
            offset += len(text)
        body = b"".join(heads + data)
        return bytes((TokenType.FEDAUTHINFO,)) + _U32.pack(len(body)) + body


def _without_collation(column: ColumnMeta) -> ColumnMeta:
    return ColumnMeta(
        column.name,
        with_collation(column.type_info, b""),
        column.flags,
        column.user_type,
        column.table_name,
        column.crypto,
    )


def _cut(text: str, units: int) -> str:
    """At most so many UTF-16 units."""
    if len(text) <= units // 2:
        return text
    body = encode_ucs2(text)
    return text if len(body) <= 2 * units else body[: 2 * units].decode("utf-16-le", "ignore")


def _env_values(kind: int, new: str | bytes | Routing, old: str | bytes) -> bytes:
    if isinstance(new, Routing):
        body = bytes((new.protocol,)) + _U16.pack(new.port) + us_varchar(new.server)
        if new.database is not None:
            body += us_varchar(new.database)
        return us_varbyte(body) + bytes(2)
    if kind == EnvChangeType.PROMOTE_TRANSACTION and isinstance(new, bytes):
        return _U32.pack(len(new)) + new + _EMPTY
    if kind == EnvChangeType.TRANSACTION_MANAGER_ADDRESS and isinstance(new, bytes):
        return us_varbyte(new) + _EMPTY
    return _env_value(new) + _env_value(old)


def _env_value(value: str | bytes) -> bytes:
    return b_varchar(value) if isinstance(value, str) else b_varbyte(value)

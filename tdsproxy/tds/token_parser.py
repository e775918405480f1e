"""A server's token stream into records, fed in pieces cut anywhere (MS-TDS 2.2.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar

from tdsproxy.tds import metadata
from tdsproxy.tds.buffer import Reader, decode_ucs2
from tdsproxy.tds.errors import ProtocolError, TooLarge, Truncated
from tdsproxy.tds.login7 import MAX_FEATURES, Feature
from tdsproxy.tds.plp import MAX_PLP, PlpAssembler
from tdsproxy.tds.scalars import Decode, scalar_decoder
from tdsproxy.tds.token_records import (
    ColInfo,
    ColInfos,
    ColMetadata,
    DataClassification,
    Done,
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
from tdsproxy.tds.types import parse_type_info
from tdsproxy.tds.values import ReadValue, decode_value, value_decoder
from tdsproxy.tds.versions import TdsVersion, has_collations, is_wide

_T = TypeVar("_T")

MAX_TOKEN: Final = 1 << 20
"""Bound of a token with a four-byte length."""
_TEXT_CHANGES: Final = frozenset(
    {
        EnvChangeType.DATABASE,
        EnvChangeType.LANGUAGE,
        EnvChangeType.CHARSET,
        EnvChangeType.PACKET_SIZE,
        EnvChangeType.LCID,
        EnvChangeType.COMPARE_FLAGS,
        EnvChangeType.MIRROR_PARTNER,
        EnvChangeType.USER_INSTANCE,
    }
)
_BYTE_CHANGES: Final = frozenset(
    {
        EnvChangeType.COLLATION,
        EnvChangeType.BEGIN_TRANSACTION,
        EnvChangeType.COMMIT_TRANSACTION,
        EnvChangeType.ROLLBACK_TRANSACTION,
        EnvChangeType.ENLIST_DTC,
        EnvChangeType.DEFECT_TRANSACTION,
        EnvChangeType.TRANSACTION_ENDED,
        EnvChangeType.RESET_ACKNOWLEDGED,
    }
)


class _RowState:
    """A row half read: large values are collected over many feeds without starting again."""

    __slots__ = ("index", "nulls", "plp", "values")

    def __init__(self, nulls: int) -> None:
        self.nulls = nulls
        self.index = 0
        self.values: list[Any] = []
        self.plp: PlpAssembler | None = None


class TokenParser:
    """Feed a response's payload, take records.

    ``tds_version`` is what the client asked for; LOGINACK replaces it. An acknowledged COLUMNENCRYPTION
    or DATACLASSIFICATION changes the layout, and the parser follows. ``max_value`` bounds one value.
    """

    def __init__(
        self,
        tds_version: int = TdsVersion.V7_4,
        *,
        column_encryption: bool = False,
        max_value: int = MAX_PLP,
    ) -> None:
        self.column_encryption = column_encryption
        self._max_value = max_value
        self._classification = 1
        self._buffer = bytearray()
        self._taken = 0
        self._want = 1
        self._row: _RowState | None = None
        self._readers: list[tuple[ReadValue, Decode | None]] | None = None
        self._set_version(tds_version)
        self._parsers: dict[int, Callable[[Reader], Token]] = {
            TokenType.OFFSET: _offset,
            TokenType.RETURNSTATUS: _return_status,
            TokenType.COLMETADATA: self._col_metadata,
            TokenType.DATACLASSIFICATION: self._data_classification,
            TokenType.TABNAME: self._tab_name,
            TokenType.COLINFO: _col_info,
            TokenType.ORDER: _order,
            TokenType.ERROR: self._error,
            TokenType.INFO: self._info,
            TokenType.RETURNVALUE: self._return_value,
            TokenType.LOGINACK: self._login_ack,
            TokenType.FEATUREEXTACK: self._feature_ext_ack,
            TokenType.ROW: self._begin_row,
            TokenType.NBCROW: self._begin_bitmap_row,
            TokenType.ENVCHANGE: _env_change,
            TokenType.SESSIONSTATE: _session_state,
            TokenType.SSPI: _sspi,
            TokenType.FEDAUTHINFO: _fedauth_info,
            TokenType.DONE: self._done,
            TokenType.DONEPROC: self._done,
            TokenType.DONEINPROC: self._done,
        }

    @property
    def tds_version(self) -> int:
        return self._tds_version

    def _set_version(self, version: int) -> None:
        self._tds_version = version
        self._wide = is_wide(version)
        self._collations = has_collations(version)

    @property
    def pending(self) -> int:
        """Bytes of an unfinished token. At the end of a message it must be 0."""
        return len(self._buffer) + (1 if self._row is not None else 0)

    def feed(self, data: bytes, ends: list[int] | None = None) -> list[Token]:
        """The tokens that these bytes complete. Raises ``ProtocolError``; the parser is then of no more
        use. ``ends`` is given the offset behind each of them, counted from the first byte ever fed."""
        self._buffer += data
        if len(self._buffer) < self._want:
            return []
        reader = Reader(self._buffer)
        tokens: list[Token] = []
        start = 0
        try:
            while reader.remaining:
                start = reader.pos
                if self._row is None:
                    tokens.append(self._token(reader))
                else:
                    tokens.append(self._continue_row(reader, self._row))
                self._want = 1
                if ends is not None:
                    ends.append(self._taken + reader.pos)
        except Truncated as truncated:
            if self._row is None:
                reader.pos = start
            self._want = reader.remaining + truncated.needed
        self._taken += reader.pos
        del self._buffer[: reader.pos]
        return tokens

    def finish(self) -> None:
        """The message has ended: raise ``ProtocolError`` when it did so inside a token."""
        if self.pending:
            raise ProtocolError("the message ends inside a token")

    def _token(self, reader: Reader) -> Token:
        kind = reader.u8()
        parse = self._parsers.get(kind)
        if parse is None:
            raise ProtocolError(f"token {kind:#04x} is unknown")
        return parse(reader)

    # Result sets

    def _col_metadata(self, reader: Reader) -> Token:
        columns = metadata.parse_columns(
            reader,
            wide=self._wide,
            collations=self._collations,
            column_encryption=self.column_encryption,
        )
        self._readers = [
            (
                value_decoder(column.type_info, limit=self._max_value),
                scalar_decoder(column.type_info) if column.type_info.is_plp else None,
            )
            for column in columns
        ]
        return ColMetadata(columns)

    def _columns(self) -> list[tuple[ReadValue, Decode | None]]:
        if self._readers is None:
            raise ProtocolError("a row without COLMETADATA")
        return self._readers

    def _begin_row(self, reader: Reader) -> Token:
        self._columns()
        self._row = _RowState(0)
        return self._continue_row(reader, self._row)

    def _begin_bitmap_row(self, reader: Reader) -> Token:
        size = (len(self._columns()) + 7) // 8
        self._row = _RowState(int.from_bytes(reader.take(size), "little"))
        return self._continue_row(reader, self._row)

    def _continue_row(self, reader: Reader, row: _RowState) -> Token:
        columns = self._columns()
        while row.index < len(columns):
            read, decode = columns[row.index]
            if row.nulls >> row.index & 1:
                row.values.append(None)
            elif decode is not None:
                if row.plp is None:
                    row.plp = PlpAssembler(self._max_value)
                data = row.plp.read(reader)
                row.plp = None
                row.values.append(None if data is None else decode(data))
            else:
                start = reader.pos
                try:
                    row.values.append(read(reader))
                except Truncated:
                    reader.pos = start
                    raise
            row.index += 1
        self._row = None
        return Row(tuple(row.values))

    def _data_classification(self, reader: Reader) -> Token:
        start = reader.pos
        for _ in range(2):
            for _ in range(reader.u16()):
                reader.b_varchar()
                reader.b_varchar()
        ranks = 4 if self._classification >= 2 else 0
        reader.skip(ranks)
        for _ in range(reader.u16()):
            for _ in range(reader.u16()):
                reader.skip(4 + ranks)
        return DataClassification(bytes(reader.data[start : reader.pos]))

    def _tab_name(self, reader: Reader) -> Token:
        body = reader.sub(reader.u16())
        tables = []
        while body.remaining:
            count = body.u8() if self._wide else 1
            tables.append(tuple(_inside(body, Reader.us_varchar) for _ in range(count)))
        return TabName(tuple(tables))

    # Ends, messages, parameters

    def _done(self, reader: Reader) -> Token:
        kind = TokenType(reader.data[reader.pos - 1])
        status, command = reader.u16(), reader.u16()
        return Done(kind, status, command, reader.u64() if self._wide else reader.u32())

    def _error(self, reader: Reader) -> Token:
        return self._message(reader, error=True)

    def _info(self, reader: Reader) -> Token:
        return self._message(reader, error=False)

    def _message(self, reader: Reader, *, error: bool) -> Token:
        return _inside(reader.sub(reader.u16()), lambda body: self._message_body(body, error))

    def _message_body(self, body: Reader, error: bool) -> ServerMessage:
        number, state, severity = body.i32(), body.u8(), body.u8()
        text, server, procedure = body.us_varchar(), body.b_varchar(), body.b_varchar()
        line = body.u32() if self._wide else body.u16()
        return ServerMessage(number, state, severity, text, server, procedure, line, error)

    def _return_value(self, reader: Reader) -> Token:
        ordinal, name, status = reader.u16(), reader.b_varchar(), reader.u8()
        user_type, flags = metadata.parse_head(reader, wide=self._wide)
        info = parse_type_info(reader, rpc=True, collations=self._collations)
        if self.column_encryption and flags & 0x0800:
            metadata.parse_crypto(reader, has_ordinal=False)
        value = decode_value(reader, info, rpc=True, limit=self._max_value)
        return ReturnValue(ordinal, name, status, user_type, flags, info, value)

    # Login

    def _login_ack(self, reader: Reader) -> Token:
        ack = _inside(reader.sub(reader.u16()), _login_ack_body)
        self._set_version(ack.tds_version)
        return ack

    def _feature_ext_ack(self, reader: Reader) -> Token:
        features: list[tuple[int, bytes]] = []
        while (number := reader.u8()) != Feature.TERMINATOR:
            if len(features) == MAX_FEATURES:
                raise ProtocolError("FEATUREEXTACK has too many entries")
            features.append((number, reader.take(_bounded(reader.u32()))))
        for number, data in features:
            if number == Feature.COLUMN_ENCRYPTION and data[:1] > b"\0":
                self.column_encryption = True
            elif number == Feature.DATA_CLASSIFICATION and data:
                self._classification = data[0]
        return FeatureExtAck(tuple(features))


def _inside(body: Reader, parse: Callable[[Reader], _T]) -> _T:
    """Parse within a token's stated length: running over it is an error, not a wait for more bytes."""
    try:
        return parse(body)
    except Truncated as error:
        raise ProtocolError("a token's fields exceed its length") from error


def _bounded(size: int) -> int:
    if size > MAX_TOKEN:
        raise TooLarge(f"a token of {size} bytes")
    return size


def _offset(reader: Reader) -> Token:
    return Offset(reader.u16(), reader.u16())


def _return_status(reader: Reader) -> Token:
    return ReturnStatus(reader.i32())


def _order(reader: Reader) -> Token:
    body = reader.sub(reader.u16())
    return Order(tuple(body.u16() for _ in range(body.remaining // 2)))


def _sspi(reader: Reader) -> Token:
    return Sspi(reader.us_varbyte())


def _col_info(reader: Reader) -> Token:
    body = reader.sub(reader.u16())
    columns = []
    while body.remaining:
        columns.append(_inside(body, _one_col_info))
    return ColInfos(tuple(columns))


def _one_col_info(body: Reader) -> ColInfo:
    column, table, status = body.u8(), body.u8(), body.u8()
    return ColInfo(column, table, status, body.b_varchar() if status & 0x20 else None)


def _login_ack_body(body: Reader) -> LoginAck:
    interface = body.u8()
    tds_version = int.from_bytes(body.take(4), "big")
    program = body.b_varchar().rstrip("\0")
    major, minor = body.u8(), body.u8()
    return LoginAck(interface, tds_version, program, (major, minor, int.from_bytes(body.take(2), "big")))


def _env_change(reader: Reader) -> Token:
    return _inside(reader.sub(reader.u16()), _env_change_body)


def _env_change_body(body: Reader) -> EnvChange:
    kind = body.u8()
    if kind in _TEXT_CHANGES:
        return EnvChange(kind, body.b_varchar(), body.b_varchar())
    if kind in _BYTE_CHANGES:
        return EnvChange(kind, body.b_varbyte(), body.b_varbyte())
    if kind == EnvChangeType.PROMOTE_TRANSACTION:
        return EnvChange(kind, body.take(body.u32()), body.b_varbyte())
    if kind == EnvChangeType.TRANSACTION_MANAGER_ADDRESS:
        return EnvChange(kind, body.us_varbyte(), body.rest())
    if kind in (EnvChangeType.ROUTING, EnvChangeType.ENHANCED_ROUTING):
        return EnvChange(kind, _routing(body.sub(body.u16()), kind))
    return EnvChange(kind, body.rest())


def _routing(body: Reader, kind: int) -> Routing:
    protocol, port, server = body.u8(), body.u16(), body.us_varchar()
    database = body.us_varchar() if kind == EnvChangeType.ENHANCED_ROUTING else None
    return Routing(server, port, protocol, database)


def _session_state(reader: Reader) -> Token:
    return _inside(reader.sub(_bounded(reader.u32())), _session_state_body)


def _session_state_body(body: Reader) -> SessionState:
    sequence, status = body.u32(), body.u8()
    states = []
    while body.remaining:
        number, size = body.u8(), body.u8()
        if size == 0xFF:
            size = body.u32()
        states.append((number, body.take(size)))
    return SessionState(sequence, bool(status & 1), tuple(states))


def _fedauth_info(reader: Reader) -> Token:
    size = _bounded(reader.u32())
    body = reader.take(size)
    return _inside(Reader(body), lambda fields: _fedauth_options(fields, body))


def _fedauth_options(fields: Reader, body: bytes) -> FedAuthInfo:
    options = []
    for _ in range(fields.u32()):
        number, size, offset = fields.u8(), fields.u32(), fields.u32()
        if offset + size > len(body):
            raise ProtocolError("a FEDAUTHINFO option lies outside the token")
        options.append((number, decode_ucs2(body[offset : offset + size])))
    return FedAuthInfo(tuple(options))

"""What a keeper and its clients say to each other: msgpack messages, each behind its length.

A frame is four bytes (big-endian length of what follows) and one message: an array whose first element
names its kind. Values and replies are spelled out element by element, so that a tuple such as ``DateTime``
comes out as what went in.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.tsql import replies as r
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value, Variant

VERSION: Final = 9
MAX_FRAME: Final = 64 * 1024 * 1024
LENGTH: Final = struct.Struct(">I")


class ProtocolError(Exception):
    """The other side sent what is no message of this protocol."""


class Kind(IntEnum):
    """Client to keeper: HELLO (version, pid, wanted spid base, whether it serves
    clients, what it wants sent and followed), BYE (), RUN (id, request), CANCEL (id),
    NOTE (spid, login, database, its ``SessionOrigin``),
    RELEASED (token), COMMIT (id, database GUID, frame, time, whether END is to
    wait until the log is durable), MARK (id, database GUID, name, description,
    login: None before the commit), PROGRESS (id). Keeper to client: WELCOME (version, spid base, pid),
    REPLIES (id, replies), END (id, failure), RELEASE (token, database), KILL (spid), RUNNING (id, the
    statements that run, each as the fields of a ``StatementProgress``)."""

    HELLO = 1
    RUN = 2
    CANCEL = 3
    NOTE = 4
    RELEASED = 5
    COMMIT = 6
    MARK = 7
    PROGRESS = 8
    BYE = 9
    WELCOME = 16
    REPLIES = 17
    END = 18
    RELEASE = 19
    KILL = 20
    RUNNING = 21


class _Ext(IntEnum):
    DECIMAL = 1
    UUID = 2
    DATE = 3
    TIME = 4
    DATETIME = 5
    DATETIMEOFFSET = 6
    VARIANT = 7

    def holding(self, data: bytes) -> msgspec.msgpack.Ext:
        return msgspec.msgpack.Ext(self.value, data)


def frame(kind: Kind, *fields: Any) -> bytes:
    """One message, ready to be sent. ``fields`` are plain values, or what the ``pack_`` functions return."""
    body = _encode([int(kind), *fields])
    if len(body) > MAX_FRAME:
        raise ProtocolError("message too long")
    return LENGTH.pack(len(body)) + body


def _encode(message: list[Any]) -> bytes:
    try:
        return _encoder.encode(message)
    except UnicodeEncodeError:
        # A client may send halves of UTF-16 pairs; no file, no table and no medium takes them.
        return _encoder.encode(_whole(message))


def _whole(item: Any) -> Any:
    """The same with U+FFFD for every half of a pair."""
    if isinstance(item, str):
        return item.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(item, list | tuple):
        return [_whole(part) for part in item]
    if isinstance(item, dict):
        return {_whole(key): _whole(value) for key, value in item.items()}
    return item


def parse(body: bytes) -> tuple[Kind, list[Any]]:
    """The kind and the fields of a message. Raises ProtocolError."""
    try:
        message = _decoder.decode(body)
        if isinstance(message, list) and message:
            return Kind(message[0]), message[1:]
    except (msgspec.DecodeError, ValueError, TypeError, IndexError, ArithmeticError) as error:
        raise ProtocolError("malformed message") from error
    raise ProtocolError("malformed message")


# --------------------------------------------------------------------------- values


def pack_value(value: Value) -> Any:
    if value is None or isinstance(value, int | float | str | bytes):
        return value
    if isinstance(value, Decimal):
        return _Ext.DECIMAL.holding(str(value).encode("ascii"))
    if isinstance(value, UUID):
        return _Ext.UUID.holding(value.bytes)
    if isinstance(value, Variant):
        body = [_pack_type(value.type), pack_value(value.value)]
        return _Ext.VARIANT.holding(_encode(body))
    return _TEMPORAL[type(value)].holding(_encoder.encode(list(value)))


_TEMPORAL: Final[dict[type, _Ext]] = {
    Date: _Ext.DATE,
    Time: _Ext.TIME,
    DateTime: _Ext.DATETIME,
    DateTimeOffset: _Ext.DATETIMEOFFSET,
}


def _unpack_extension(code: int, data: memoryview) -> Any:
    raw = bytes(data)
    kind = _Ext(code)
    if kind is _Ext.DECIMAL:
        return Decimal(raw.decode("ascii"))
    if kind is _Ext.UUID:
        return UUID(bytes=raw)
    fields = _decoder.decode(raw)
    if kind is _Ext.VARIANT:
        return Variant(_unpack_type(fields[0]), fields[1])
    if kind is _Ext.DATE:
        return Date(*fields)
    if kind is _Ext.TIME:
        return Time(*fields)
    return DateTime(*fields) if kind is _Ext.DATETIME else DateTimeOffset(*fields)


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(ext_hook=_unpack_extension)


def _pack_type(type_: SqlType) -> list[Any]:
    return [type_.name, type_.length, type_.precision, type_.scale, type_.numeric]


def _unpack_type(fields: list[Any]) -> SqlType:
    return SqlType(*fields)


# --------------------------------------------------------------------------- requests


def pack_request(request: NativeRequest) -> list[Any]:
    session = request.session
    return [
        request.text,
        request.line,
        {name: pack_value(value) for name, value in request.variables.items()},
        [
            session.login,
            session.database,
            session.spid,
            sorted(session.server_roles),
            {name: sorted(roles) for name, roles in session.database_roles.items()},
            session.in_transaction,
            session.quoted_identifier,
            session.host,
            session.application,
            session.lock_timeout_ms,
            session.address,
        ],
        request.max_rate,
    ]


def unpack_request(fields: list[Any]) -> NativeRequest:
    """Raises ProtocolError."""
    try:
        text, line, variables, session, max_rate = fields
        login, database, spid, roles, database_roles, in_transaction, quoted, *origin = session
        host, application, lock, address = origin
        return NativeRequest(
            text,
            SessionContext(
                login,
                database,
                spid,
                frozenset(roles),
                {name: frozenset(names) for name, names in database_roles.items()},
                in_transaction,
                quoted,
                host,
                application,
                lock,
                address,
            ),
            line,
            variables,
            max_rate,
        )
    except (TypeError, ValueError, AttributeError) as error:
        raise ProtocolError("malformed request") from error


# --------------------------------------------------------------------------- replies


def _pack_column(column: r.Column) -> list[Any]:
    return [
        column.name,
        _pack_type(column.type),
        column.nullable,
        column.identity,
        column.computed,
        column.updatable_unknown,
        column.collation,
    ]


def _unpack_column(fields: list[Any]) -> r.Column:
    name, type_, *rest = fields
    return r.Column(name, _unpack_type(type_), *rest)


def pack_reply(reply: r.Reply) -> list[Any]:
    """A reply as an array that begins with its tag."""
    match reply:
        case r.Message():
            fields = [reply.number, reply.severity, reply.state, reply.text, reply.line, reply.procedure]
            return ["m", *fields]
        case r.ResultSet():
            return ["c", [_pack_column(column) for column in reply.columns]]
        case r.Rows():
            return ["r", [[pack_value(value) for value in row] for row in reply.rows]]
        case r.Order():
            return ["o", list(reply.columns)]
        case r.Done():
            return ["d", reply.command, reply.count, reply.error, reply.kind.value]
        case r.ReturnStatus():
            return ["s", reply.value]
        case r.ReturnValue():
            return ["v", reply.ordinal, reply.name, _pack_type(reply.type), pack_value(reply.value)]
        case r.DatabaseChanged():
            return ["b", reply.new, reply.old]
        case r.LanguageChanged():
            return ["l", reply.new, reply.old]
        case r.TransactionBegun():
            return ["t", reply.descriptor]
        case r.TransactionEnded():
            return ["e", reply.descriptor, reply.committed]


def unpack_reply(fields: list[Any]) -> r.Reply:
    """Raises ProtocolError."""
    try:
        return _unpack_reply(fields[0], fields[1:])
    except (TypeError, ValueError, IndexError) as error:
        raise ProtocolError("malformed reply") from error


def _unpack_reply(tag: str, fields: list[Any]) -> r.Reply:
    match tag:
        case "m":
            return r.Message(*fields)
        case "c":
            return r.ResultSet(tuple(_unpack_column(column) for column in fields[0]))
        case "r":
            return r.Rows([tuple(row) for row in fields[0]])
        case "o":
            return r.Order(tuple(fields[0]))
        case "d":
            command, count, error, kind = fields
            return r.Done(command, count, error, r.DoneKind(kind))
        case "s":
            return r.ReturnStatus(*fields)
        case "v":
            ordinal, name, type_, value = fields
            return r.ReturnValue(ordinal, name, _unpack_type(type_), value)
        case "b":
            return r.DatabaseChanged(*fields)
        case "l":
            return r.LanguageChanged(*fields)
        case "t":
            return r.TransactionBegun(*fields)
        case "e":
            return r.TransactionEnded(*fields)
    raise ProtocolError(f"unknown reply {tag!r}")

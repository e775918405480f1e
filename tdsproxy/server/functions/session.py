"""Who and where the session is: HOST_NAME, CONTEXT_INFO, SESSIONPROPERTY, CONNECTIONPROPERTY ..."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.server.functions.context import ServerContext
from tdsproxy.server.functions.define import asks, text, whole
from tdsproxy.tsql import types as t
from tdsproxy.tsql.cursors import status
from tdsproxy.tsql.functions.registry import FunctionDef, constant
from tdsproxy.tsql.message_format import format_message
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import FrameKind
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import DateTime, Value, Variant

_SESSION_OPTIONS: Final = {
    "ansi_padding": "ANSI_PADDING",
    "ansi_warnings": "ANSI_WARNINGS",
    "arithabort": "ARITHABORT",
    "concat_null_yields_null": "CONCAT_NULL_YIELDS_NULL",
    "numeric_roundabort": "NUMERIC_ROUNDABORT",
}


def _session_property(context: ServerContext, name: str) -> Value:
    options = context.frame.options
    word = name.strip().lower()
    if word == "ansi_nulls":
        return whole(options.ansi_nulls)
    if word == "quoted_identifier":
        return whole(options.quoted_identifier)
    option = _SESSION_OPTIONS.get(word)
    if option is None:
        return None
    default = "OFF" if option == "NUMERIC_ROUNDABORT" else "ON"
    return whole(options.others.get(option, default) == "ON")


def _connection_property(context: ServerContext, name: str) -> Value:
    session = context.session
    address, _, port = session.address.rpartition(":")
    answers: dict[str, Value] = {
        "net_transport": Variant(t.nvarchar(40), "TCP"),
        "protocol_type": Variant(t.nvarchar(40), "TSQL"),
        "auth_scheme": Variant(t.nvarchar(40), "SQL"),
        "local_net_address": None,
        "local_tcp_port": None,
        "client_net_address": text(address or session.address or None),
        "physical_net_transport": Variant(t.nvarchar(40), "TCP"),
    }
    del port
    return answers.get(name.strip().lower())


def _session_context(context: ServerContext, key: str) -> Value:
    value = context.values.get(key.lower())
    if value is None or isinstance(value, Variant):
        return value
    return Variant(_type_of(value), value)


def _type_of(value: Value) -> SqlType:
    if isinstance(value, int):
        return t.INT
    if isinstance(value, bytes):
        return t.varbinary(8000)
    if isinstance(value, DateTime):
        return t.DATETIME
    return t.nvarchar(4000)


def _transaction_number(context: ServerContext) -> int:
    """Of the open transaction; a statement outside of one has the session's number."""
    session = context.session
    return session.spid if session.transaction is None else session.transaction.number


def _context_info(context: ServerContext) -> Value:
    info = context.session.context_info
    return None if info is None else info.ljust(128, b"\0")


def _cursor_status(context: ServerContext, scope: str, name: str) -> int:
    return status(scope, name, context.frame)


def _trigger_level(context: ServerContext, *_: Value) -> int:
    level, frame = 0, context.frame
    while True:
        level += frame.kind is FrameKind.TRIGGER
        if frame.parent is None:
            return level
        frame = frame.parent


def _format_message(
    context: ServerContext, first: Value, *args: Value, arg_types: Sequence[SqlType], result_type: SqlType
) -> str | None:
    """FORMATMESSAGE of a number of sys.messages, or of a text."""
    template = context.message_text(first) if isinstance(first, int) else first
    if not isinstance(template, str):
        return None
    return format_message(template, [TypedValue(*pair) for pair in zip(args, arg_types[1:], strict=True)])


FUNCTIONS: Final[tuple[FunctionDef, ...]] = (
    FunctionDef(
        "FORMATMESSAGE",
        1,
        None,
        constant(t.nvarchar(2048)),
        _format_message,
        strict=False,
        needs_context=True,
        deterministic=False,
        wants_types=True,
    ),
    asks("CURSOR_STATUS", 2, 2, t.SMALLINT, _cursor_status),
    asks("TRIGGER_NESTLEVEL", 0, 3, t.INT, _trigger_level, strict=False),
    asks("ROWCOUNT_BIG", 0, 0, t.BIGINT, lambda c: c.frame.session.rowcount),
    asks("CURRENT_REQUEST_ID", 0, 0, t.SMALLINT, lambda c: 0),
    asks("CURRENT_TRANSACTION_ID", 0, 0, t.BIGINT, _transaction_number),
    asks("HOST_NAME", 0, 0, t.nvarchar(128), lambda c: c.session.host),
    asks("HOST_ID", 0, 0, t.char(10), lambda c: str(c.session.client_pid).ljust(10)),
    asks("APP_NAME", 0, 0, t.nvarchar(128), lambda c: c.session.application),
    asks("CONTEXT_INFO", 0, 0, t.varbinary(128), _context_info),
    asks("SESSION_CONTEXT", 1, 1, t.SQL_VARIANT, _session_context),
    asks("SESSIONPROPERTY", 1, 1, t.SQL_VARIANT, _session_property),
    asks("CONNECTIONPROPERTY", 1, 1, t.SQL_VARIANT, _connection_property),
    asks("GETANSINULL", 0, 1, t.SMALLINT, lambda c, *_: 1, strict=False),
)

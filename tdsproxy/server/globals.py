"""The global variables of a session: @@VERSION, @@SPID, @@OPTIONS and their kin."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Final

from tdsproxy.server import identity as server
from tdsproxy.server.functions.context import ServerContext
from tdsproxy.tsql import types as t
from tdsproxy.tsql.languages import US_ENGLISH, find_language
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_OPTION_BITS: Final = {
    "DISABLE_DEF_CNST_CHK": 1,
    "IMPLICIT_TRANSACTIONS": 2,
    "CURSOR_CLOSE_ON_COMMIT": 4,
    "ANSI_WARNINGS": 8,
    "ANSI_PADDING": 16,
    "ARITHABORT": 64,
    "ARITHIGNORE": 128,
    "ANSI_NULL_DFLT_ON": 1024,
    "ANSI_NULL_DFLT_OFF": 2048,
    "CONCAT_NULL_YIELDS_NULL": 4096,
    "NUMERIC_ROUNDABORT": 8192,
}


def options_mask(context: ServerContext) -> int:
    """@@OPTIONS, by the bits of 'user options'."""
    options = context.frame.options
    mask = sum(bit for name, bit in _OPTION_BITS.items() if options.others.get(name) == "ON")
    mask |= 32 if options.ansi_nulls else 0
    mask |= 256 if options.quoted_identifier else 0
    mask |= 512 if options.nocount else 0
    mask |= 16384 if options.xact_abort else 0
    return mask


def _number(context: ServerContext, name: str, default: int) -> int:
    try:
        return int(context.frame.options.others.get(name, default))
    except ValueError:
        return default


_GLOBALS: Final[dict[str, tuple[SqlType, Callable[[ServerContext], Value]]]] = {
    "@@VERSION": (t.nvarchar(300), lambda c: server.BANNER),
    "@@SERVERNAME": (t.nvarchar(128), lambda c: c.identity.name),
    "@@SERVICENAME": (t.nvarchar(128), lambda c: server.SERVICE_NAME),
    "@@MICROSOFTVERSION": (t.INT, lambda c: server.MICROSOFT_VERSION),
    "@@MAX_PRECISION": (t.TINYINT, lambda c: 38),
    "@@MAX_CONNECTIONS": (t.INT, lambda c: 32767),
    "@@SPID": (t.SMALLINT, lambda c: c.session.spid),
    "@@LANGUAGE": (t.nvarchar(128), lambda c: c.frame.options.language),
    "@@LANGID": (t.SMALLINT, lambda c: (find_language(c.frame.options.language) or US_ENGLISH).id),
    "@@DEFAULT_LANGID": (t.SMALLINT, lambda c: 0),
    "@@DATEFIRST": (t.TINYINT, lambda c: c.frame.options.date_first),
    "@@OPTIONS": (t.INT, options_mask),
    "@@LOCK_TIMEOUT": (t.INT, lambda c: _number(c, "LOCK_TIMEOUT", -1)),
    "@@TEXTSIZE": (t.INT, lambda c: _number(c, "TEXTSIZE", 2147483647)),
    "@@NESTLEVEL": (t.INT, lambda c: c.frame.nest_level),
    "@@PROCID": (t.INT, lambda c: c.frame.procedure_id),
    "@@IDENTITY": (t.numeric(38, 0), lambda c: c.last_identity),
    "@@DBTS": (t.varbinary(8), lambda c: b"\0\0\0\0\0\0\x07\xd0"),
    "@@ERROR": (t.INT, lambda c: c.frame.session.error),
    "@@ROWCOUNT": (t.INT, lambda c: c.frame.session.rowcount),
    "@@FETCH_STATUS": (t.INT, lambda c: c.frame.session.fetch_status),
    "@@TRANCOUNT": (t.INT, lambda c: c.session.open_transactions),
    "@@CURSOR_ROWS": (t.INT, lambda c: 0),
    "@@REMSERVER": (t.nvarchar(128), lambda c: None),
    "@@TIMETICKS": (t.INT, lambda c: 31250),
    "@@DEF_SORTORDER_ID": (t.INT, lambda c: 52),
    **{
        name: (t.INT, lambda c: 0)
        for name in (
            "@@CPU_BUSY",
            "@@IDLE",
            "@@IO_BUSY",
            "@@PACK_RECEIVED",
            "@@PACK_SENT",
            "@@PACKET_ERRORS",
            "@@TOTAL_ERRORS",
            "@@TOTAL_READ",
            "@@TOTAL_WRITE",
            "@@CONNECTIONS",
        )
    },
}


def global_variable(name: str, context: ServerContext) -> TypedValue | None:
    """The value of ``@@name``; None when there is no such variable."""
    found = _GLOBALS.get(name.upper())
    if found is None:
        return None
    type_, ask = found
    value = ask(context)
    return TypedValue(Decimal(value) if type_.name == "decimal" and isinstance(value, int) else value, type_)

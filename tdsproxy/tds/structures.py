"""The layouts of TDS that are worth reading as declarations, in the language of ``construct``.

The packet and row paths are packed by hand for speed; the tests hold them against these. Importing this
module costs some 60 ms, so nothing that serves a connection does.
"""

from __future__ import annotations

from typing import Final

from construct import (
    Adapter,
    Array,
    Bytes,
    Computed,
    Const,
    Construct,
    FixedSized,
    GreedyBytes,
    GreedyRange,
    IfThenElse,
    Int8ub,
    Int8ul,
    Int16ub,
    Int16ul,
    Int32sl,
    Int32ub,
    Int32ul,
    Int64ul,
    Pointer,
    Prefixed,
    Rebuild,
    RepeatUntil,
    Struct,
    len_,
    this,
)


class _Ucs2(Adapter):  # type: ignore[misc]  # construct has no types
    """Bytes to text; lone surrogates are kept."""

    def _decode(self, obj: bytes, context: object, path: object) -> str:
        return obj.decode("utf-16-le", "surrogatepass")

    def _encode(self, obj: str, context: object, path: object) -> bytes:
        return obj.encode("utf-16-le", "surrogatepass")


class _Units(Adapter):  # type: ignore[misc]  # construct has no types
    """A length in UTF-16 units on the wire, in bytes here."""

    def _decode(self, obj: int, context: object, path: object) -> int:
        return 2 * obj

    def _encode(self, obj: int, context: object, path: object) -> int:
        return obj // 2


B_VARCHAR: Final[Construct] = Prefixed(_Units(Int8ul), _Ucs2(GreedyBytes))
US_VARCHAR: Final[Construct] = Prefixed(_Units(Int16ul), _Ucs2(GreedyBytes))
B_VARBYTE: Final[Construct] = Prefixed(Int8ul, GreedyBytes)

# MS-TDS 2.2.3.1
PACKET_HEADER: Final[Construct] = Struct(
    "type" / Int8ub,
    "status" / Int8ub,
    "length" / Int16ub,
    "spid" / Int16ub,
    "packet_id" / Int8ub,
    "window" / Int8ub,
)

# MS-TDS 2.2.6.5: headers until the terminator; each option's data lies elsewhere in the body.
PRELOGIN_OPTION: Final[Construct] = Struct(
    "token" / Int8ub,
    "at" / IfThenElse(this.token == 0xFF, Computed(0), Int16ub),
    "length" / IfThenElse(this.token == 0xFF, Computed(0), Int16ub),
    "data" / IfThenElse(this.token == 0xFF, Computed(b""), Pointer(this.at, Bytes(this.length))),
)
PRELOGIN: Final[Construct] = RepeatUntil(lambda obj, _list, _context: obj.token == 0xFF, PRELOGIN_OPTION)
PRELOGIN_VERSION: Final[Construct] = Struct(
    "major" / Int8ub, "minor" / Int8ub, "build" / Int16ub, "sub_build" / Int16ul
)

# MS-TDS 2.2.6.4: (ib, cch) pairs, in characters but for ``extension`` and ``sspi``.
LOGIN7_FIELD: Final[Construct] = Struct("offset" / Int16ul, "count" / Int16ul)
LOGIN7_FIXED: Final[Construct] = Struct(
    "length" / Int32ul,
    "tds_version" / Int32ul,
    "packet_size" / Int32ul,
    "client_version" / Int32ul,
    "client_pid" / Int32ul,
    "connection_id" / Int32ul,
    "option_flags1" / Int8ul,
    "option_flags2" / Int8ul,
    "type_flags" / Int8ul,
    "option_flags3" / Int8ul,
    "timezone" / Int32sl,
    "lcid" / Int32ul,
    "host" / LOGIN7_FIELD,
    "user" / LOGIN7_FIELD,
    "password" / LOGIN7_FIELD,
    "application" / LOGIN7_FIELD,
    "server" / LOGIN7_FIELD,
    "extension" / LOGIN7_FIELD,
    "library" / LOGIN7_FIELD,
    "language" / LOGIN7_FIELD,
    "database" / LOGIN7_FIELD,
    "client_id" / Bytes(6),
    "sspi" / LOGIN7_FIELD,
    "attach_file" / LOGIN7_FIELD,
)
# Behind it in the 94-byte form of TDS 7.2 and later.
LOGIN7_LONG_TAIL: Final[Construct] = Struct("new_password" / LOGIN7_FIELD, "sspi_long" / Int32ul)
FEATURE: Final[Construct] = Struct("id" / Int8ul, "data" / Prefixed(Int32ul, GreedyBytes))

# MS-TDS 2.2.5.3
HEADER: Final[Construct] = Struct(
    "length" / Int32ul,
    "type" / Int16ul,
    "data" / Bytes(this.length - 6),
)
ALL_HEADERS: Final[Construct] = Struct(
    "total" / Int32ul, "headers" / FixedSized(this.total - 4, GreedyRange(HEADER))
)
TRANSACTION_DESCRIPTOR: Final[Construct] = Struct("descriptor" / Bytes(8), "outstanding" / Int32ul)


# MS-TDS 2.2.7.10 and 2.2.7.13: ERROR (AA) and INFO (AB).
def _message(line: Construct) -> Construct:
    body = Struct(
        "number" / Int32sl,
        "state" / Int8ul,
        "severity" / Int8ul,
        "text" / US_VARCHAR,
        "server" / B_VARCHAR,
        "procedure" / B_VARCHAR,
        "line" / line,
    )
    return Struct("token" / Int8ul, "body" / Prefixed(Int16ul, body))


MESSAGE: Final[Construct] = _message(Int32ul)
MESSAGE_NARROW: Final[Construct] = _message(Int16ul)

# MS-TDS 2.2.7.14
LOGINACK: Final[Construct] = Struct(
    "token" / Const(0xAD, Int8ul),
    "body"
    / Prefixed(
        Int16ul,
        Struct(
            "interface" / Int8ul,
            "tds_version" / Int32ub,
            "program" / B_VARCHAR,
            "major" / Int8ul,
            "minor" / Int8ul,
            "build" / Int16ub,
        ),
    ),
)


# MS-TDS 2.2.7.6 to 2.2.7.8: DONE (FD), DONEPROC (FE), DONEINPROC (FF).
def _done(count: Construct) -> Construct:
    return Struct("token" / Int8ul, "status" / Int16ul, "command" / Int16ul, "count" / count)


DONE: Final[Construct] = _done(Int64ul)
DONE_NARROW: Final[Construct] = _done(Int32ul)


# MS-TDS 2.2.7.9: text for names and sizes, bytes for collations and transaction descriptors.
def _env_change(value: Construct) -> Construct:
    return Struct(
        "token" / Const(0xE3, Int8ul),
        "body" / Prefixed(Int16ul, Struct("kind" / Int8ul, "new" / value, "old" / value)),
    )


ENVCHANGE_TEXT: Final[Construct] = _env_change(B_VARCHAR)
ENVCHANGE_BYTES: Final[Construct] = _env_change(B_VARBYTE)

# MS-TDS 2.2.7.17 and 2.2.7.18
ORDER: Final[Construct] = Struct(
    "token" / Const(0xA9, Int8ul),
    "size" / Rebuild(Int16ul, 2 * len_(this.columns)),
    "columns" / Array(this.size // 2, Int16ul),
)
RETURNSTATUS: Final[Construct] = Struct("token" / Const(0x79, Int8ul), "value" / Int32sl)

"""Replies into token bytes, for one client's TDS version.

A DONE says whether another token follows it, which the reply stream does not know: each ``Done`` is held
back until the next reply, or the end, decides.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from tdsproxy.frontend.values import as_text, needs_text, type_info, user_type, variant_to_wire
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.raw_rows import RowsEncoder
from tdsproxy.tds.tokens import (
    ColumnFlags,
    ColumnMeta,
    DoneStatus,
    RowEncoder,
    TokenBuilder,
    TokenType,
)
from tdsproxy.tds.versions import TdsVersion, is_wide
from tdsproxy.tsql.replies import (
    Column,
    Command,
    DatabaseChanged,
    Done,
    DoneKind,
    LanguageChanged,
    Message,
    Order,
    Reply,
    ResultSet,
    ReturnStatus,
    ReturnValue,
    Rows,
    StoredRows,
    TransactionBegun,
    TransactionEnded,
)

DATABASE_CONTEXT: Final = 5701
FATAL: Final = 20
"""Messages from this severity on end the connection; the DONE behind one says so (captured)."""
CANCELLED: Final = 0xFD
"""CurCmd of the DONE that acknowledges an attention, and of a batch's that one ended (captured)."""

_DONE_WIDE: Final = struct.Struct("<BHHQ")
_DONE_NARROW: Final = struct.Struct("<BHHI")
_MORE: Final = int(DoneStatus.MORE)
_COUNT: Final = int(DoneStatus.COUNT)
_DONES: Final = frozenset({TokenType.DONE, TokenType.DONEPROC, TokenType.DONEINPROC})
_KINDS: Final = {
    DoneKind.BATCH: TokenType.DONE,
    DoneKind.IN_PROC: TokenType.DONEINPROC,
    DoneKind.PROC: TokenType.DONEPROC,
}


@dataclass(frozen=True, slots=True)
class ResultForm:
    """A result set on one client's wire."""

    result: ResultSet
    metadata: bytes
    encode_row: Callable[[Sequence[Any]], bytes]
    encode_stored: RowsEncoder | None


MOST_FORMS: Final = 256


@dataclass(frozen=True, slots=True)
class Format:
    """How a client wants its tokens. ``server`` is the name in messages."""

    server: str
    version: int = TdsVersion.V7_4
    forms: dict[int, ResultForm] = field(default_factory=dict, compare=False, repr=False)
    """Result sets that come again and again, by their identity."""

    def builder(self) -> TokenBuilder:
        return _builder(self.version)


@lru_cache(maxsize=16)
def _builder(version: int) -> TokenBuilder:
    return TokenBuilder(version)


@dataclass(frozen=True, slots=True)
class _Held:
    kind: TokenType
    status: int
    command: int
    count: int


class ReplyEncoder:
    """Feed replies to ``add``, take bytes from ``take``; what ``take`` gives always ends between tokens.

    ``in_rpc`` decides the form of the DONE with which a failure or a cancelled request ends.
    """

    def __init__(self, format_: Format, *, in_rpc: bool = False) -> None:
        self._format = format_
        self._builder = format_.builder()
        self._in_rpc = in_rpc
        self._parts: list[bytes] = []
        self._size = 0
        self._held: _Held | None = None
        self._encode_row: Callable[[Sequence[Any]], bytes] | None = None
        self._encode_stored: RowsEncoder | None = None
        self._collation_due = False
        self._fatal = False

    @property
    def size(self) -> int:
        """Bytes ready to be taken."""
        return self._size

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return data

    def _emit(self, data: bytes) -> None:
        if self._held is not None:
            held = self._held
            self._held = None
            self._push(self._builder.done(held.status | _MORE, held.command, held.count, kind=held.kind))
        if data:
            self._push(data)

    def _push(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)

    def _done(self, held: _Held) -> bytes:
        return self._builder.done(held.status, held.command, held.count, kind=held.kind)

    # Replies

    def add(self, reply: Reply) -> bool:
        """Encode one reply; True when the client should see it at once."""
        if isinstance(reply, Rows):
            self._rows(reply)
        elif isinstance(reply, Done):
            self._end(reply)
        elif isinstance(reply, Message):
            self._message(reply)
            return not reply.is_error
        elif isinstance(reply, ResultSet):
            self._columns(reply)
        else:
            self._emit(self._small(reply))
        return False

    def _small(self, reply: Reply) -> bytes:
        builder = self._builder
        if isinstance(reply, Order):
            return builder.order(reply.columns)
        if isinstance(reply, ReturnStatus):
            return builder.return_status(reply.value)
        if isinstance(reply, ReturnValue):
            return self._return_value(reply)
        if isinstance(reply, DatabaseChanged):
            self._collation_due = True
            return builder.database(reply.new, reply.old)
        if isinstance(reply, LanguageChanged):
            return builder.language(reply.new, reply.old)
        if isinstance(reply, TransactionBegun):
            return builder.transaction_begun(reply.descriptor)
        if isinstance(reply, TransactionEnded):
            return builder.transaction_ended(reply.descriptor, committed=reply.committed)
        raise TypeError(f"{type(reply).__name__} is not a reply")

    def _message(self, message: Message) -> None:
        self._emit(
            self._builder.message(
                message.number,
                message.severity,
                message.state,
                message.text,
                server=self._format.server,
                procedure=message.procedure,
                line=message.line,
            )
        )
        self._fatal = self._fatal or message.severity >= FATAL
        if self._collation_due and message.number == DATABASE_CONTEXT:
            self._change_collation()

    def _change_collation(self) -> None:
        """A change of database says its collation, too, behind message 5701 (captured)."""
        self._collation_due = False
        self._emit(self._builder.collation())

    def _end(self, done: Done) -> None:
        if self._collation_due:
            self._change_collation()
        status = int(DoneStatus.ERROR if done.error else DoneStatus.FINAL)
        if done.error and self._fatal:
            status |= DoneStatus.SERVER_ERROR
        if done.count is not None and done.counted:
            status |= _COUNT
        self._emit(b"")
        self._held = _Held(_KINDS[done.kind], status, done.command, done.count or 0)
        self._encode_row = None

    def _columns(self, result: ResultSet) -> None:
        forms = self._format.forms
        form = forms.get(id(result)) if result.reused else None
        if form is None or form.result is not result:
            form = self._form(result)
            if result.reused:
                if len(forms) >= MOST_FORMS:
                    forms.clear()
                forms[id(result)] = form
        self._emit(form.metadata)
        self._encode_row = form.encode_row
        self._encode_stored = form.encode_stored

    def _form(self, result: ResultSet) -> ResultForm:
        metas = [self._meta(column) for column in result.columns]
        encode = self._builder.row_encoder(metas)
        encode_row = _converting(encode, result.columns, self._format.version)
        return ResultForm(
            result,
            self._builder.col_metadata(metas),
            encode_row,
            self._builder.rows_encoder(metas) if encode_row is encode else None,
        )

    def _meta(self, column: Column) -> ColumnMeta:
        info = type_info(column.type, nullable=column.nullable, version=self._format.version)
        flags = ColumnFlags(0)
        if column.nullable:
            flags |= ColumnFlags.NULLABLE
        if column.updatable_unknown:
            flags |= ColumnFlags.UPDATABLE_UNKNOWN
        if column.identity:
            flags |= ColumnFlags.IDENTITY
        if column.computed:
            flags |= ColumnFlags.COMPUTED
        return ColumnMeta(column.name, info, flags, user_type(column.type))

    def _rows(self, reply: Rows) -> None:
        if self._encode_row is None:
            raise ValueError("rows without a result set")
        data = None
        if self._encode_stored is not None and isinstance(reply, StoredRows):
            data = self._encode_stored(reply.stored, reply.loader.column)
        self._push(b"".join(map(self._encode_row, reply.rows)) if data is None else data)

    def _return_value(self, reply: ReturnValue) -> bytes:
        version = self._format.version
        info = type_info(reply.type, nullable=True, version=version)
        value: Any = reply.value
        if reply.type.name == "sql_variant":
            value = variant_to_wire(reply.value)
        elif needs_text(reply.type, version):
            value = as_text(reply.type)(reply.value)
        return self._builder.return_value(reply.ordinal, reply.name, info, value)

    def raw(self, tokens: bytes) -> None:
        """Tokens of another server's answer, as they are; a last DONE among them says that more follows."""
        if tokens:
            self._emit(tokens)

    def whole(self, tokens: bytes) -> None:
        """Another server's whole answer, whose last DONE is now ours to end with or to go on from. Raises
        ProtocolError when it does not end with one."""
        layout = _DONE_WIDE if is_wide(self._format.version) else _DONE_NARROW
        if len(tokens) < layout.size or tokens[-layout.size] not in _DONES:
            raise ProtocolError("an answer does not end with DONE")
        kind, status, command, count = layout.unpack(tokens[-layout.size :])
        self._emit(tokens[: -layout.size])
        self._held = _Held(TokenType(kind), status & ~DoneStatus.MORE, command, count)

    def more(self) -> bytes:
        """What is ready, and the DONE held back: more will follow, though not from here."""
        self._emit(b"")
        return self.take()

    # Ends

    def reset(self, replies: Iterable[Reply]) -> None:
        """The start of the answer to a request with a reset bit: the acknowledgement, and what changed."""
        self._emit(self._builder.reset_acknowledged())
        for reply in replies:
            self.add(reply)

    def next_call(self) -> None:
        """Between two RPCs of one message."""
        if self._held is not None:
            self._held = replace(self._held, status=self._held.status | DoneStatus.RPC_IN_BATCH)

    def fail(self, messages: Sequence[Message]) -> None:
        """The request ends with these errors."""
        for message in messages:
            self.add(message)
        self.add(self._failed())

    def _failed(self) -> Done:
        if self._in_rpc:
            return Done(Command.EXECUTE, error=True, kind=DoneKind.PROC)
        return Done(Command.NONE, error=True)

    def finish(self, *, cancelled: bool = False) -> bytes:
        """The rest of the message, ended by the one DONE without MORE. Of a cancelled request it carries
        the error bit."""
        if cancelled:
            self._cut()
        if self._held is None:
            self.add(Done(Command.EXECUTE, kind=DoneKind.PROC) if self._in_rpc else Done(Command.NONE))
        held = self._held
        if held is not None:
            self._held = None
            self._push(self._done(held))
        return self.take()

    def _cut(self) -> None:
        """End a cancelled request with what was held back: the last statement's DONE fails, a DONEINPROC
        gives its place to the call's DONEPROC (captured)."""
        held = self._held
        if held is not None and held.kind is not TokenType.DONEINPROC:
            if held.kind is TokenType.DONEPROC or not self._in_rpc:
                self._held = replace(held, status=held.status | DoneStatus.ERROR)
                return
        elif self._in_rpc:
            self._held = None
        done = self._failed()
        self.add(done if self._in_rpc else replace(done, command=CANCELLED))

    def failure(self, messages: Sequence[Message]) -> bytes:
        """A whole message of errors."""
        self.fail(messages)
        return self.finish()


def _converting(
    encode: RowEncoder, columns: Iterable[Column], version: int
) -> Callable[[Sequence[Any]], bytes]:
    """``encode``, behind the conversion of those columns whose values differ on this client's wire."""
    converters: list[tuple[int, Callable[[Any], Any]]] = []
    for index, column in enumerate(columns):
        if column.type.name == "sql_variant":
            converters.append((index, variant_to_wire))
        elif needs_text(column.type, version):
            converters.append((index, as_text(column.type)))
    if not converters:
        return encode

    def encode_row(row: Sequence[Any]) -> bytes:
        values = list(row)
        for index, convert in converters:
            values[index] = convert(values[index])
        return encode(values)

    return encode_row


def attention_done(format_: Format) -> bytes:
    """The message that acknowledges an attention."""
    return format_.builder().done(DoneStatus.ATTENTION, CANCELLED)


def failed_done(format_: Format, *, in_rpc: bool = False) -> bytes:
    """The last token of a request that was taken back or given up."""
    if in_rpc:
        return format_.builder().done(DoneStatus.ERROR, Command.EXECUTE, kind=TokenType.DONEPROC)
    return format_.builder().done(DoneStatus.ERROR)

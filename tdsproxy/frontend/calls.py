"""What a request message asks of a session: a batch, RPCs, or the begin or end of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from tdsproxy.frontend.bulk import BulkData
from tdsproxy.frontend.handler import (
    RpcParameter,
    RpcRequest,
    RpcTable,
    Session,
    TransactionAction,
    TransactionRequest,
)
from tdsproxy.frontend.values import from_wire, sql_type
from tdsproxy.tds.columns import ColumnFlags
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import parse_batch
from tdsproxy.tds.packets import RESET_BITS, PacketType, Status
from tdsproxy.tds.packets import Message as TdsMessage
from tdsproxy.tds.rpc import RpcCall, RpcOption, RpcParam, parse_rpc
from tdsproxy.tds.transaction import TransactionManagerType, parse_transaction
from tdsproxy.tds.tvp import TvpValue
from tdsproxy.tds.types import TvpName
from tdsproxy.tsql.replies import Message, Reply

Step = Callable[[Session], Iterator[Reply]]

_ACTIONS: Final = {
    TransactionManagerType.BEGIN: TransactionAction.BEGIN,
    TransactionManagerType.COMMIT: TransactionAction.COMMIT,
    TransactionManagerType.ROLLBACK: TransactionAction.ROLLBACK,
    TransactionManagerType.SAVE: TransactionAction.SAVE,
}


class BadRequest(Exception):
    """The request is understood and can't be served; ``message`` is the answer."""

    def __init__(self, message: Message) -> None:
        super().__init__(message.text)
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """``steps`` run one after the other. ``reset`` None means no reset first; else whether the reset keeps
    the transaction."""

    steps: tuple[Step, ...]
    is_rpc: bool = False
    reset: bool | None = None


def read_call(message: TdsMessage, version: int, bulk: BinaryIO | None = None) -> Call:
    """``bulk`` holds a bulk load's payload. Raises BadRequest, and ProtocolError for bytes that are no
    request."""
    reset = _reset(message.status_of_first)
    if message.type == PacketType.SQL_BATCH:
        text = parse_batch(message.payload, version).text
        return Call((lambda session: session.run_batch(text),), reset=reset)
    if message.type == PacketType.RPC:
        return Call(_read_rpc(message.payload, version), is_rpc=True, reset=reset)
    if message.type == PacketType.TRANSACTION_MANAGER:
        return Call((_read_transaction(message.payload),), reset=reset)
    if bulk is not None:
        data = BulkData(bulk, version)
        return Call((lambda session: session.run_bulk(data),), reset=reset)
    raise BadRequest(
        Message(4819, 16, 1, "Cannot bulk load. The bulk data stream was incorrectly specified.")
    )


def _reset(status: int) -> bool | None:
    if not status & RESET_BITS:
        return None
    return bool(status & Status.RESET_CONNECTION_SKIP_TRAN)


def _read_rpc(body: bytes, version: int) -> tuple[Step, ...]:
    try:
        request = parse_rpc(body, version)
    except ProtocolError as error:
        # The message's end is known, so the connection has not lost its place.
        raise BadRequest(
            Message(
                8023,
                16,
                1,
                "The incoming tabular data stream (TDS) remote procedure call (RPC) protocol stream is "
                f"incorrect: {error}.",
            )
        ) from error
    return tuple(_step(rpc_request(call)) for call in request.calls if not call.no_exec) or (_nothing,)


def _step(request: RpcRequest) -> Step:
    return lambda session: session.run_rpc(request)


def _nothing(_session: Session) -> Iterator[Reply]:
    return iter(())


def rpc_request(call: RpcCall) -> RpcRequest:
    """A call in the terms of a session."""
    return RpcRequest(
        call.procedure,
        tuple(_parameter(param) for param in call.params),
        no_metadata=bool(call.options & RpcOption.NO_METADATA),
    )


def _parameter(param: RpcParam) -> RpcParameter:
    if param.type_info.tvp is not None:
        return RpcParameter(param.name, None, None, default=param.default, table=_table(param))
    type_ = None if param.cipher is not None else sql_type(param.type_info)
    value = None if type_ is None else from_wire(param.value, type_)
    return RpcParameter(param.name, type_, value, output=param.output, default=param.default)


def _table(param: RpcParam) -> RpcTable:
    name, value = param.type_info.tvp or TvpName("", "", ""), param.value
    if not isinstance(value, TvpValue):
        return RpcTable(name.database, name.schema, name.name)
    types = tuple(
        None if column.flags & ColumnFlags.DEFAULT else sql_type(column.type_info) for column in value.columns
    )
    rows = tuple(
        tuple(
            None if type_ is None else from_wire(item, type_) for type_, item in zip(types, row, strict=True)
        )
        for row in value.rows
    )
    return RpcTable(name.database, name.schema, name.name, types, rows)


def _read_transaction(body: bytes) -> Step:
    request = parse_transaction(body)
    action = _ACTIONS.get(request.kind)
    if action is None:
        raise BadRequest(Message(8554, 16, 1, "Distributed transactions are not supported."))
    asked = TransactionRequest(
        action,
        name=request.new_name if request.begin_after else request.name,
        isolation=request.isolation,
        begin_after=request.begin_after,
    )
    return lambda session: session.run_transaction(asked)

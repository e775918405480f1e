"""Bytes of a real SQL Server, where the captures are beside the checkout."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.tds.headers import parse_batch
from tdsproxy.tds.packets import MessageAssembler, PacketReader, PacketType, packetize
from tdsproxy.tds.tokens import (
    ColMetadata,
    Done,
    EnvChange,
    FeatureExtAck,
    LoginAck,
    Order,
    ReturnStatus,
    ReturnValue,
    Row,
    RowEncoder,
    ServerMessage,
    TokenBuilder,
    TokenParser,
    TokenType,
)
from tdsproxy.tds.types import TypeId

CAPTURES = Path("data") / "sqlserver-captures"


def load(shared: Path, name: str) -> Any:
    path = shared / CAPTURES / f"{name}.json"
    if not path.is_file():
        pytest.skip(f"{path.name} is not among the captures")
    return json.loads(path.read_text())


def rebuild(build: TokenBuilder, token: Any) -> bytes:
    if isinstance(token, ServerMessage):
        return build.message(
            token.number,
            token.severity,
            token.state,
            token.text,
            server=token.server,
            procedure=token.procedure,
            line=token.line,
        )
    if isinstance(token, EnvChange):
        return build.env_change(token.kind, token.new, token.old)
    if isinstance(token, LoginAck):
        return build.login_ack(token.version)
    if isinstance(token, FeatureExtAck):
        return build.feature_ext_ack(token.features)
    if isinstance(token, ColMetadata):
        return build.col_metadata(token.columns)
    if isinstance(token, ReturnStatus):
        return build.return_status(token.value)
    if isinstance(token, ReturnValue):
        return build.return_value(
            token.ordinal,
            token.name,
            token.type_info,
            token.value,
            status=token.status,
            user_type=token.user_type,
            flags=token.flags,
        )
    if isinstance(token, Order):
        return build.order(token.columns)
    assert isinstance(token, Done)
    return build.done(token.status, token.command, token.count, kind=token.kind)


def test_logins(shared: Path) -> None:
    count = 0
    for run in load(shared, "login-database-error")["runs"]:
        for case in run:
            # The lengths in the capture are those of messages with an empty server name.
            wire = bytes.fromhex(case["payloadHex"].replace("<serverName>", "00"))
            parser = TokenParser()
            tokens = parser.feed(wire)
            parser.finish()
            assert [_kind(token) for token in tokens] == [each["token"] for each in case["tokens"]]
            for token, told in zip(tokens, case["tokens"], strict=True):
                if isinstance(token, ServerMessage):
                    assert (token.number, token.state, token.severity, token.text, token.line) == (
                        told["number"],
                        told["state"],
                        told["class"],
                        told["message"],
                        told["lineNumber"],
                    )
                elif isinstance(token, LoginAck):
                    assert f"{token.tds_version:x}" == told["tdsVersion"]
            build = TokenBuilder()
            assert b"".join(rebuild(build, token) for token in tokens) == wire
            count += 1
    assert count > 5


def _kind(token: object) -> str:
    if isinstance(token, ServerMessage):
        return "ERROR" if token.error else "INFO"
    return type(token).__name__.upper()


KINDS = {
    "columns": ColMetadata,
    "done": Done,
    "doneProc": Done,
    "doneInProc": Done,
    "returnStatus": ReturnStatus,
    "returnValue": ReturnValue,
    "order": Order,
}
TYPE_NAMES = {
    TypeId.INT: "Int", TypeId.INTN: "IntN", TypeId.BIGINT: "BigInt", TypeId.SMALLINT: "SmallInt",
    TypeId.TINYINT: "TinyInt", TypeId.BIT: "Bit", TypeId.BITN: "BitN", TypeId.NVARCHAR: "NVarChar",
    TypeId.VARCHAR: "VarChar", TypeId.DECIMALN: "DecimalN", TypeId.NUMERICN: "NumericN",
    TypeId.FLTN: "FloatN", TypeId.FLOAT: "Float", TypeId.MONEYN: "MoneyN", TypeId.DATETIME2: "DateTime2",
    TypeId.DATE: "Date", TypeId.GUID: "UniqueIdentifier", TypeId.VARBINARY: "VarBinary",
    TypeId.DATETIMN: "DateTimeN", TypeId.DATETIME: "DateTime",
}  # fmt: skip


def test_rpc_tokens(shared: Path) -> None:
    seen: set[str] = set()
    for case in load(shared, "gaps-rpc-procedures")["runs"][0]:
        result = case.get("result") or {}
        sets = iter(result.get("sets", ()))
        values = iter(result.get("returnValues", ()))
        for told in result.get("tokens", ()):
            if "hex" not in told:
                continue
            wire = bytes.fromhex(told["hex"])
            parser = TokenParser()
            (token,) = parser.feed(wire)
            parser.finish()
            assert isinstance(token, KINDS[told["token"]])
            assert rebuild(TokenBuilder(), token) == wire
            seen.add(told["token"])
            if isinstance(token, ColMetadata):
                columns = next(sets)["columns"]
                assert [column.name for column in token.columns] == [column["name"] for column in columns]
                for column, expected in zip(token.columns, columns, strict=True):
                    name = TYPE_NAMES.get(TypeId(column.type_info.type_id))
                    assert name is None or name == expected["type"]
            elif isinstance(token, ReturnValue):
                value = next(values)
                assert token.name.removeprefix("@") == value["name"]
                if value["type"] == "IntN" and value["value"] is not None:
                    assert token.value == int(value["value"])
                elif value["type"] in ("NVarChar", "VarChar"):
                    assert token.value == value["value"]
    assert seen == set(KINDS)


def test_bulk_load(shared: Path) -> None:
    for case in load(shared, "bulk-load-wire")["runs"][0]["observations"]:
        for message in case["messages"]:
            stream = b"".join(bytes.fromhex(packet["rawHex"]) for packet in message["packets"])
            reader, assembler = PacketReader(), MessageAssembler(1 << 20)
            reader.feed(stream)
            (whole,) = [each for packet in reader if (each := assembler.add(packet)) is not None]
            assert whole.payload.hex() == message["payloadHex"]
            assert whole.type == message["type"]
            if whole.type == PacketType.SQL_BATCH:
                batch = parse_batch(whole.payload)
                assert batch.text.startswith("insert bulk dbo.")
                assert packetize(whole.type, whole.payload, 4096) == stream
            else:
                check_bulk(whole.payload)


def check_bulk(payload: bytes) -> None:
    """A response, or the bulk load itself: the same tokens. Rows come out as the driver put them in."""
    parser = TokenParser()
    tokens = parser.feed(payload)
    parser.finish()
    build = TokenBuilder()
    encode: RowEncoder | None = None
    out = b""
    for token in tokens:
        if isinstance(token, ColMetadata):
            encode = TokenBuilder(0x730A0003).row_encoder(token.columns)  # this driver sends plain ROW
        if isinstance(token, Row):
            assert encode is not None
            out += encode(token.values)
        else:
            out += rebuild(build, token)
    assert out == payload


def test_attention(shared: Path) -> None:
    """After an attention: the interrupted response ends in a message, the acknowledgement is another."""
    for case in load(shared, "attention")["results"]:
        parser = TokenParser()
        first, second = case["responses"]
        assert second == [{"token": 253, "status": 32, "command": 253, "count": "0"}]
        assert not first[-1]["status"] & 1
        build = TokenBuilder()
        wire = build.done(32, 253)
        (done,) = parser.feed(wire)
        assert isinstance(done, Done)
        assert done.attention
        assert (done.kind, done.command, done.count) == (TokenType.DONE, 253, 0)

"""ALL_HEADERS, SQLBatch, RPC and Transaction Manager requests."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import types as t
from tdsproxy.tds.columns import ColumnFlags, ColumnMeta
from tdsproxy.tds.errors import ProtocolError, TooLarge, UnsupportedType
from tdsproxy.tds.headers import (
    NO_HEADERS,
    AllHeaders,
    build_all_headers,
    build_batch,
    parse_all_headers,
    parse_batch,
)
from tdsproxy.tds.rpc import (
    MAX_PARAMETERS,
    ParamStatus,
    ProcId,
    RpcCall,
    RpcParam,
    build_rpc,
    parse_rpc,
)
from tdsproxy.tds.transaction import (
    TransactionManagerRequest,
    TransactionManagerType,
    build_transaction,
    parse_transaction,
)
from tdsproxy.tds.tvp import TvpValue
from tdsproxy.tds.types import TvpName, TypeId, TypeInfo
from tdsproxy.tds.versions import TdsVersion

from .strategies import same, typed, ucs2

headers = st.builds(
    AllHeaders,
    descriptor=st.binary(min_size=8, max_size=8),
    outstanding=st.integers(0, 2**32 - 1),
    trace_activity=st.none() | st.binary(min_size=20, max_size=20),
    query_notification=st.none() | st.binary(max_size=30),
)


@given(headers, st.binary(max_size=10))
def test_headers_round_trip(all_headers: AllHeaders, rest: bytes) -> None:
    body = build_all_headers(all_headers)
    assert parse_all_headers(body + rest) == (all_headers, len(body))


def test_usual_headers() -> None:
    assert build_all_headers().hex() == "16000000120000000200000000000000000001000000"
    assert not NO_HEADERS.in_transaction
    assert AllHeaders(b"\1" + bytes(7)).in_transaction


@pytest.mark.parametrize(
    "body",
    [
        "",
        "000000",
        "00000000",
        "ffffffff",
        "0a000000050000000200",
        "0c000000090000000200" + "0000",
        "0700000000ffff",
    ],
)
def test_malformed_headers(body: str) -> None:
    with pytest.raises(ProtocolError):
        parse_all_headers(bytes.fromhex(body))


@given(ucs2, headers, st.booleans())
def test_batch_round_trip(text: str, all_headers: AllHeaders, enclave: bool) -> None:
    body = build_batch(text, all_headers, enclave=enclave)
    batch = parse_batch(body, enclave=enclave)
    assert (batch.text, batch.headers) == (text, all_headers)


def test_batch_before_7_2_has_no_headers() -> None:
    body = build_batch("SELECT 1", tds_version=TdsVersion.V7_1)
    assert body == "SELECT 1".encode("utf-16-le")
    assert parse_batch(body, TdsVersion.V7_1).text == "SELECT 1"


def test_odd_batch_is_refused() -> None:
    with pytest.raises(ProtocolError):
        parse_batch(build_batch("x") + b"\0")


# RPC

params = typed().flatmap(
    lambda pair: st.builds(
        RpcParam,
        name=st.sampled_from(["", "@p", "@länger"]),
        status=st.sampled_from([0, ParamStatus.BY_REF, ParamStatus.DEFAULT]),
        type_info=st.just(pair[0]),
        value=st.just(pair[1]),
    )
)
calls = st.builds(
    RpcCall,
    procedure=st.sampled_from(list(ProcId)) | st.text(min_size=0, max_size=40),
    options=st.integers(0, 7),
    params=st.lists(params, max_size=4).map(tuple),
    no_exec=st.booleans(),
)


def equal_calls(left: RpcCall, right: RpcCall) -> bool:
    heads = (left.procedure, left.options, left.no_exec) == (right.procedure, right.options, right.no_exec)
    return (
        heads
        and len(left.params) == len(right.params)
        and all(
            (one.name, one.status, one.type_info) == (two.name, two.status, two.type_info)
            and same(one.value, two.value)
            for one, two in zip(left.params, right.params, strict=True)
        )
    )


@given(st.lists(calls, min_size=1, max_size=3), headers, st.sampled_from([TdsVersion.V7_4, TdsVersion.V7_1]))
def test_rpc_round_trip(sent: list[RpcCall], all_headers: AllHeaders, version: TdsVersion) -> None:
    got = parse_rpc(build_rpc(sent, all_headers, version), version)
    assert len(got.calls) == len(sent)
    assert all(equal_calls(one, two) for one, two in zip(sent, got.calls, strict=True))


def test_separators() -> None:
    two = [RpcCall("a", params=(RpcParam("", 0, t.intn(4), 1),)), RpcCall(ProcId.EXECUTESQL)]
    assert b"\xff\xff\xff\x0a\x00" in build_rpc(two)
    assert build_rpc(two, tds_version=TdsVersion.V7_1)[0:2] == b"\x01\x00"
    assert b"\x80\xff\xff\x0a\x00" in build_rpc(two, tds_version=TdsVersion.V7_1)
    trailing = build_rpc(two) + b"\xff"
    assert len(parse_rpc(trailing).calls) == 2


def test_enclave_package_is_skipped() -> None:
    sent = [RpcCall(ProcId.EXECUTESQL, params=(RpcParam("", 0, t.nvarchar(10), "x"),))] * 2
    assert parse_rpc(build_rpc(sent, enclave=True), enclave=True).calls == tuple(sent)


def table(rows: tuple[tuple[Any, ...], ...]) -> TvpValue:
    columns = (
        ColumnMeta("", t.intn(4), ColumnFlags.NULLABLE),
        ColumnMeta("", t.nvarchar(None), ColumnFlags.NULLABLE),
        ColumnMeta("", t.DATE, ColumnFlags.DEFAULT),
    )
    return TvpValue(columns, rows, ((1, 1), (2, 2)), (2, 1, 3))


def test_table_valued_parameter() -> None:
    info = TypeInfo(TypeId.TVP, tvp=TvpName("", "dbo", "ids"))
    rows = ((1, "a", None), (None, None, None))
    for value in (table(rows), table(()), None):
        sent = RpcCall("p", params=(RpcParam("@t", 0, info, value), RpcParam("@n", 0, t.intn(4), 5)))
        assert parse_rpc(build_rpc([sent])).calls == (sent,)


def test_encrypted_parameter_is_found_to_its_end() -> None:
    cipher = bytes.fromhex("2604" + "02" + "01" + "01000000" * 3 + "00" * 8 + "01")
    sent = RpcCall(
        "p",
        params=(
            RpcParam("@e", ParamStatus.ENCRYPTED, t.varbinary(None), b"cipher", cipher),
            RpcParam("@n", 0, t.intn(4), 5),
        ),
    )
    assert parse_rpc(build_rpc([sent])).calls == (sent,)


def test_bounds() -> None:
    with pytest.raises(TooLarge):
        parse_rpc(build_rpc([RpcCall("p", params=(RpcParam("", 0, t.BIT, 1),) * (MAX_PARAMETERS + 1))]))
    with pytest.raises(TooLarge):
        parse_rpc(build_all_headers() + (2000).to_bytes(2, "little") + bytes(5000))
    with pytest.raises(ProtocolError):
        parse_rpc(build_all_headers())
    with pytest.raises(UnsupportedType):
        parse_rpc(build_rpc([RpcCall("p")]) + b"\0\0\x99")


@given(st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_rpc(changes: list[tuple[int, int]]) -> None:
    info = TypeInfo(TypeId.TVP, tvp=TvpName("", "dbo", "ids"))
    body = bytearray(
        build_rpc(
            [
                RpcCall(ProcId.EXECUTESQL, params=(RpcParam("", 0, t.nvarchar(None), "SELECT @p"),)),
                RpcCall("p", params=(RpcParam("@t", 0, info, table(((1, "a", None),))),)),
            ]
        )
    )
    for position, byte in changes:
        body[position % len(body)] = byte
    try:
        parse_rpc(bytes(body), limit=1 << 20)
    except ProtocolError:
        pass


@given(st.binary(max_size=80), st.sampled_from([TdsVersion.V7_4, TdsVersion.V7_1]))
def test_arbitrary_requests(data: bytes, version: TdsVersion) -> None:
    for body in (data, build_all_headers() + data):
        with suppress(ProtocolError):
            parse_rpc(body, version, limit=1000)
        with suppress(ProtocolError):
            parse_batch(body, version, enclave=True)
        with suppress(ProtocolError):
            parse_transaction(body)


# Transactions

names = st.text(max_size=32)


@given(
    st.one_of(
        st.builds(
            TransactionManagerRequest,
            kind=st.just(TransactionManagerType.BEGIN),
            name=names,
            isolation=st.integers(0, 5),
            headers=headers,
        ),
        st.builds(TransactionManagerRequest, kind=st.just(TransactionManagerType.SAVE), name=names),
        st.builds(
            TransactionManagerRequest,
            kind=st.sampled_from([TransactionManagerType.COMMIT, TransactionManagerType.ROLLBACK]),
            name=names,
        ),
        st.builds(
            TransactionManagerRequest,
            kind=st.sampled_from([TransactionManagerType.COMMIT, TransactionManagerType.ROLLBACK]),
            name=names,
            isolation=st.integers(0, 5),
            begin_after=st.just(True),
            new_name=names,
        ),
        st.builds(TransactionManagerRequest, kind=st.just(TransactionManagerType.PROMOTE)),
        st.builds(
            TransactionManagerRequest,
            kind=st.sampled_from([TransactionManagerType.GET_DTC_ADDRESS, TransactionManagerType.PROPAGATE]),
            payload=st.binary(max_size=50),
        ),
    )
)
def test_transaction_round_trip(request: TransactionManagerRequest) -> None:
    assert parse_transaction(build_transaction(request)) == request


def test_transaction_name_is_counted_in_bytes() -> None:
    body = build_transaction(TransactionManagerRequest(TransactionManagerType.BEGIN, "ab", 2))
    assert body[22:].hex() == "0500" + "02" + "04" + "61006200"
    with pytest.raises(ProtocolError):
        parse_transaction(build_all_headers() + b"\x63\x00")

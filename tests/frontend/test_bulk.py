"""Bulk load messages on the wire: how they end, how they break off, and how much memory they take."""

from __future__ import annotations

import asyncio
import io

import pytest

from tdsproxy.frontend.bulk import BulkData
from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.packets import ATTENTION, PacketType, Status, packetize
from tdsproxy.tds.rows import row_encoder
from tdsproxy.tds.tokens import Row, ServerMessage, TokenBuilder
from tdsproxy.tds.types import intn, nvarchar
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql.errors import SqlError
from tests.frontend.fakes import FakeServer
from tests.frontend.test_connection import logged_in

BUILDER = TokenBuilder()
COLUMNS = (ColumnMeta("id", intn(4)), ColumnMeta("v", nvarchar(20)))
HEAD = BUILDER.col_metadata(COLUMNS)
DONE = bytes.fromhex("fd000000000000000000000000")
VALUES = [(1, "one"), (2, None)]


def rows(count: int = 2) -> bytes:
    encode = row_encoder(COLUMNS, nbcrow=False)
    return b"".join(map(encode, VALUES[:count]))


@pytest.mark.parametrize("end", [DONE, DONE[:9], b""], ids=["done", "short done", "no done"])
def test_rows_are_read_however_the_message_ends(end: bytes) -> None:
    data = BulkData(io.BytesIO(HEAD + rows() + end), TdsVersion.V7_4)
    assert [column.name for column in data.columns()] == ["id", "v"]
    for _ in range(2):
        assert list(data.rows()) == VALUES


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (DONE, 4804),
        (b"", 4804),
        (HEAD[:5], 4804),
        (HEAD + rows()[:-1], 4804),
        (HEAD + b"\x77", 4819),
        (rows(), 4819),
        (HEAD + BUILDER.message(0, 0, 1, "x") + DONE, 4819),
    ],
    ids=["only done", "nothing", "half columns", "half a row", "no token", "no columns", "another token"],
)
def test_other_data_are_refused(body: bytes, number: int) -> None:
    data = BulkData(io.BytesIO(body), TdsVersion.V7_4)
    with pytest.raises(SqlError) as caught:  # noqa: PT012
        data.columns()
        list(data.rows())
    assert caught.value.number == number


async def test_a_bulk_load_reaches_the_session() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.send(packetize(PacketType.BULK_LOAD, HEAD + rows() + DONE, 512))
        (done,) = await wire.dones()
        assert (done.command, done.count) == (0xF0, 2)
        assert server.sessions[0].calls == [VALUES]


async def test_a_long_one_waits_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdsproxy.frontend.requests.SPOOLED", 1000)
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.send(packetize(PacketType.BULK_LOAD, HEAD + rows() * 500 + DONE, 512))
        (done,) = await wire.dones()
        assert done.count == 1000


async def test_an_attention_in_its_middle_is_acknowledged_alone() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        packets = packetize(PacketType.BULK_LOAD, HEAD + rows() * 100 + DONE, 512)
        await wire.send(packets[:1024] + ATTENTION)
        assert [done.status for done in await wire.dones()] == [0x20]
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())
        assert server.sessions[0].calls == ["SELECT 1"]


async def test_one_that_is_taken_back_fails() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        packet = bytearray(packetize(PacketType.BULK_LOAD, HEAD + rows(), 512))
        packet[1] = Status.EOM | Status.IGNORE
        await wire.send(bytes(packet))
        assert [done.status for done in await wire.dones()] == [2]
        await wire.send(packetize(PacketType.BULK_LOAD, HEAD + rows(1) + DONE, 512))
        assert [done.count for done in await wire.dones()] == [1]


async def test_a_client_that_goes_in_its_middle_leaves_nothing_open() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        packets = packetize(PacketType.BULK_LOAD, HEAD + rows() * 100 + DONE, 512)
        await wire.send(packets[:1024])
        wire.stream.close()
        assert await asyncio.to_thread(server.sessions[0].closed.wait, 60)
        assert server.sessions[0].calls == []


async def test_an_error_in_the_data_is_the_answer() -> None:
    async with logged_in(FakeServer()) as wire:
        await wire.send(packetize(PacketType.BULK_LOAD, DONE, 512))
        tokens = await wire.tokens()
        assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [4804]

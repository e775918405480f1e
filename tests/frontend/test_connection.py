"""The frontend's connection, on an in-process stream: phases, attention, fragments, refusals."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tdsproxy.frontend.connection import Connection, ConnectionSettings
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.streams import memory_pair
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.packets import ATTENTION, PacketType, Status, packetize
from tdsproxy.tds.prelogin import EncryptionPolicy, Prelogin, build_prelogin, parse_prelogin
from tdsproxy.tds.rpc import RpcCall, RpcParam, build_rpc
from tdsproxy.tds.tokens import (
    ColMetadata,
    Done,
    EnvChange,
    EnvChangeType,
    FeatureExtAck,
    LoginAck,
    Row,
    ServerMessage,
    TokenType,
)
from tdsproxy.tds.types import DATE, intn
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql.replies import Command, Message, Reply
from tdsproxy.tsql.replies import Done as DoneReply
from tests.frontend.fakes import FakeServer
from tests.frontend.wire import Wire


@contextlib.asynccontextmanager
async def connected(
    server: FakeServer, *, deadline: float = 120.0, sessions: int = 10, **changes: int
) -> AsyncIterator[Wire]:
    """A wire to a connection, nothing sent yet."""
    near, far = memory_pair("192.0.2.7")
    settings = ConnectionSettings(
        HandshakeSettings(EncryptionPolicy.OFF, None, deadline), SessionLimit(sessions)
    )
    serving = asyncio.create_task(Connection(far, server, settings).serve())
    try:
        yield Wire(near, **changes)
    finally:
        near.close()
        async with asyncio.timeout(60):
            await serving


@contextlib.asynccontextmanager
async def logged_in(server: FakeServer, **changes: int) -> AsyncIterator[Wire]:
    async with connected(server, **changes) as wire:
        await wire.prelogin()
        await wire.login()
        yield wire


async def test_the_login_response_has_the_captured_order() -> None:
    async with connected(FakeServer()) as wire:
        await wire.prelogin()
        tokens = await wire.login(features=((0x0A, b"\x01"), (0x0B, b"")), packet_size=8000)
    shape = [
        t.kind if isinstance(t, EnvChange) else t.number if isinstance(t, ServerMessage) else type(t)
        for t in tokens
    ]
    assert shape == [1, 5701, 7, 2, 5703, LoginAck, 4, FeatureExtAck, Done]
    changes = {t.kind: t.new for t in tokens if isinstance(t, EnvChange)}
    assert changes[EnvChangeType.PACKET_SIZE] == "8000"
    assert changes[EnvChangeType.COLLATION] == bytes.fromhex("0904d00034")
    acks = [t for t in tokens if isinstance(t, FeatureExtAck)]
    assert acks[0].features == ((0x0A, b"\x01"),)
    ack = next(t for t in tokens if isinstance(t, LoginAck))
    assert (ack.tds_version, ack.version) == (TdsVersion.V7_4, (16, 0, 4236))


async def test_prelogin_is_answered_in_one_packet() -> None:
    async with connected(FakeServer()) as wire:
        body = await wire.prelogin()
        assert body is not None
        reply = parse_prelogin(body)
        assert reply.version[:3] == (16, 0, 4236)
        assert reply.mars is False
        assert len(wire.packets) == 1


@pytest.mark.parametrize("version", [TdsVersion.V7_1, TdsVersion.V7_2, TdsVersion.V7_4])
async def test_a_login_without_prelogin(version: int) -> None:
    async with connected(FakeServer(), version=version) as wire:
        tokens = await wire.login(packet_size=0, short_form=version == TdsVersion.V7_1)
        sizes = [t.new for t in tokens if isinstance(t, EnvChange) and t.kind == EnvChangeType.PACKET_SIZE]
        assert sizes == ["4096"]
        await wire.batch("SELECT 1")
        tokens = await wire.tokens()
    assert [t.values for t in tokens if isinstance(t, Row)] == [(1, "one"), (2, None)]


async def test_a_refused_login_ends_the_connection() -> None:
    async with connected(FakeServer()) as wire:
        await wire.prelogin()
        tokens = await wire.login(password="wrong")
        message, done = tokens
        assert isinstance(message, ServerMessage)
        assert (message.number, message.state, message.severity) == (18456, 1, 14)
        assert isinstance(done, Done)
        assert (done.status, done.command) == (2, 0)
        assert await wire.message() is None


async def test_sessions_beyond_the_limit_are_refused() -> None:
    async with connected(FakeServer(), sessions=0) as wire:
        await wire.prelogin()
        tokens = await wire.login()
        assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [17809]
        assert await wire.message() is None


@pytest.mark.parametrize("piece", [1, 3])
async def test_every_byte_may_come_alone(piece: int) -> None:
    async with logged_in(FakeServer(), piece=piece) as wire:
        await wire.batch("SELECT " + "x" * 700, size=512)
        tokens = await wire.tokens()
        assert isinstance(tokens[0], ColMetadata)
        await wire.batch("WAIT")
        await wire.attention()
        assert (await wire.dones())[-1].error
        assert (await wire.dones())[-1].attention


async def test_login_and_batch_in_one_write() -> None:
    from tdsproxy.tds.headers import build_batch
    from tdsproxy.tds.login7 import Login7, build_login7

    async with connected(FakeServer()) as wire:
        await wire.prelogin()
        login = packetize(PacketType.LOGIN7, build_login7(Login7(user="sa", password="secret")), 512)
        batch = packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 512)
        await wire.send(login + batch)
        assert any(isinstance(t, LoginAck) for t in await wire.tokens())
        assert any(isinstance(t, Row) for t in await wire.tokens())


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"\x12\x01\x00\x07\0\0\0\0",  # a length below the header's
        b"\x12\x01\xff\xff\0\0\0\0",
        packetize(PacketType.PRELOGIN, b"\0\0\1", 4096),
        packetize(PacketType.PRELOGIN, b"\0\0\x06\xff\xff\xff", 4096),
        packetize(PacketType.LOGIN7, b"\0" * 94, 4096),
        b"\x16\x03\x01\x00\x05hello",
        b"\x02\x01\x00\x20" + b"\0" * 28,
    ],
)
async def test_what_is_no_client_is_let_go(garbage: bytes) -> None:
    async with connected(FakeServer()) as wire:
        await wire.send(garbage)
        async with asyncio.timeout(60):
            assert await wire.stream.read() == b""


async def test_silence_ends_at_the_deadline() -> None:
    async with connected(FakeServer(), deadline=0.1) as wire:
        async with asyncio.timeout(60):
            assert await wire.stream.read() == b""


# Attention


async def test_attention_during_a_request() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("WAIT")
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await wire.attention()
        first = await wire.dones()
        assert [(d.status, d.command, d.row_count) for d in first] == [(0x12, Command.INSERT, 1)]
        ack = await wire.dones()
        assert [(d.kind, d.status, d.command) for d in ack] == [(TokenType.DONE, 0x20, 0xFD)]
        await wire.batch("SELECT 1")
        assert any(isinstance(t, Row) for t in await wire.tokens())


async def test_attention_during_an_rpc_ends_it_as_one() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.send(packetize(PacketType.RPC, build_rpc([RpcCall("WAIT")]), 4096))
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await wire.attention()
        dones = await wire.dones()
        assert [(d.kind, d.status, d.command) for d in dones] == [(TokenType.DONEPROC, 2, 0xE0)]
        assert (await wire.dones())[0].attention


async def test_attention_when_idle_and_twice() -> None:
    async with logged_in(FakeServer()) as wire:
        await wire.attention()
        await wire.attention()
        assert [d.status for d in await wire.dones()] == [0x20]
        assert [d.status for d in await wire.dones()] == [0x20]


async def test_a_flood_of_attentions_and_requests() -> None:
    """Each is answered, and none makes the ones before it dearer."""
    async with logged_in(FakeServer()) as wire, asyncio.timeout(60):
        packet = packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 512)
        for _ in range(3):
            sending = asyncio.create_task(wire.send((ATTENTION * 200 + packet) * 10))
            acknowledged = 0
            while acknowledged < 2000:
                acknowledged += sum(done.attention for done in await wire.dones())
            await sending


async def test_attention_behind_a_finished_response() -> None:
    async with logged_in(FakeServer()) as wire:
        await wire.batch("SELECT 1")
        assert (await wire.dones())[-1].status == 0x10
        await wire.attention()
        assert [d.status for d in await wire.dones()] == [0x20]


async def test_attention_in_the_middle_of_a_message() -> None:
    async with logged_in(FakeServer()) as wire:
        whole = packetize(PacketType.SQL_BATCH, b"\x16\0\0\0" + b"x" * 2000, 512)
        await wire.send(whole[:512])
        await wire.attention()
        assert [d.status for d in await wire.dones()] == [0x20]
        await wire.batch("SELECT 1")
        assert any(isinstance(t, Row) for t in await wire.tokens())


async def test_a_request_taken_back() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        packet = bytearray(packetize(PacketType.SQL_BATCH, b"x" * 30, 512))
        packet[1] = Status.EOM | Status.IGNORE
        await wire.send(bytes(packet) + ATTENTION)
        assert [d.status for d in await wire.dones()] == [2]
        assert [d.status for d in await wire.dones()] == [0x20]
        assert server.sessions[0].calls == []


async def test_attention_behind_pipelined_requests() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("WAIT")
        # Begun or not, it is answered; what its answer says depends on that.
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await wire.batch("SELECT 2")
        await wire.attention()
        assert [d.status for d in await wire.dones()] == [0x12]
        assert [d.status for d in await wire.dones()] == [2]
        assert [d.status for d in await wire.dones()] == [0x20]
        assert "SELECT 2" not in server.sessions[0].calls


async def test_a_stubborn_request_does_not_delay_the_acknowledgement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdsproxy.frontend.connection.CANCEL_PATIENCE", 0.2)
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("STUBBORN")
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await wire.attention()
        assert [d.status for d in await wire.dones()] == [2]
        assert [d.status for d in await wire.dones()] == [0x20]
        await wire.batch("SELECT 1")
        server.sessions[0].release.set()
        assert any(isinstance(t, Row) for t in await wire.tokens())


async def test_a_client_that_goes_cancels_its_request() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("WAIT")
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
    assert await asyncio.to_thread(server.sessions[0].cancelled.wait, 60)
    assert await asyncio.to_thread(server.sessions[0].closed.wait, 60)


async def test_a_slow_reader_slows_the_session_and_can_still_cancel() -> None:
    produced = 0

    def flood() -> Iterator[Reply]:
        nonlocal produced
        while not server.sessions[0].cancelled.is_set():
            produced += 1
            yield Message(0, 0, 1, "x" * 4000)
            yield DoneReply(Command.NONE)

    server = FakeServer(batches={"FLOOD": flood})
    async with logged_in(server) as wire:
        await wire.batch("FLOOD")
        before = -1
        while before != produced or not produced:  # until the back-pressure has stopped it
            before = produced
            await asyncio.sleep(0.1)
        assert produced < 1000
        await wire.attention()
        assert (await wire.dones())[-1].status == 2
        assert [d.status for d in await wire.dones()] == [0x20]


async def test_a_session_that_the_server_ends_loses_its_connection() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("WAIT")
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await asyncio.to_thread(server.sessions[0].ended)
        server.sessions[0].cancel()
        assert len(await wire.dones()) > 0
        assert await wire.message() is None
        assert await asyncio.to_thread(server.sessions[0].closed.wait, 60)


# Requests


async def test_a_message_is_flushed_before_the_statement_ends() -> None:
    def backup() -> Iterator[Reply]:
        yield Message(3211, 0, 1, "10 percent processed.")
        server.sessions[0].release.wait(60)
        yield DoneReply(Command.BACKUP_DATABASE)

    server = FakeServer(batches={"BACKUP": backup})
    async with logged_in(server) as wire:
        await wire.batch("BACKUP")
        packet = await wire.packet()
        assert packet is not None
        assert not packet.is_last
        server.sessions[0].release.set()
        assert [d.command for d in await wire.dones()] == [Command.BACKUP_DATABASE]


@pytest.mark.parametrize(
    ("status", "kept"), [(Status.RESET_CONNECTION, False), (Status.RESET_CONNECTION_SKIP_TRAN, True)]
)
async def test_reset_is_acknowledged_first(status: int, kept: bool) -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        await wire.batch("SELECT 1", status=status)
        tokens = await wire.tokens()
    kinds = [t.kind for t in tokens if isinstance(t, EnvChange)]
    assert kinds == [EnvChangeType.RESET_ACKNOWLEDGED, EnvChangeType.DATABASE, EnvChangeType.COLLATION]
    assert isinstance(tokens[0], EnvChange)
    assert server.sessions[0].calls == [("reset", kept), "SELECT 1"]


async def test_several_calls_in_one_message() -> None:
    server = FakeServer()
    async with logged_in(server) as wire:
        calls = [RpcCall("a", params=(RpcParam("@p", 1, intn(4), 7),)), RpcCall("b")]
        await wire.send(packetize(PacketType.RPC, build_rpc(calls), 4096))
        dones = await wire.dones()
    assert [(d.kind, d.more) for d in dones] == [
        (TokenType.DONEINPROC, True),
        (TokenType.DONEPROC, True),
        (TokenType.DONEINPROC, True),
        (TokenType.DONEPROC, False),
    ]


async def test_a_parameter_that_is_no_value_is_an_error_only() -> None:
    async with logged_in(FakeServer()) as wire:
        body = build_rpc([RpcCall("a", params=(RpcParam("@p", 0, DATE, (0,)),))])
        broken = body[:-3] + b"\xff\xff\xff"  # a day far beyond the year 9999
        await wire.send(packetize(PacketType.RPC, broken, 4096))
        tokens = await wire.tokens()
        assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [8023]
        await wire.batch("SELECT 1")
        assert any(isinstance(t, Row) for t in await wire.tokens())


async def test_bulk_load_is_refused_and_the_connection_stays() -> None:
    async with logged_in(FakeServer()) as wire:
        await wire.send(packetize(PacketType.BULK_LOAD, b"x" * 9000, 4096))
        tokens = await wire.tokens()
        assert isinstance(tokens[0], ServerMessage)
        assert tokens[0].severity == 16
        await wire.batch("SELECT 1")
        assert any(isinstance(t, Row) for t in await wire.tokens())


async def test_an_smp_frame_is_a_breach() -> None:
    async with logged_in(FakeServer()) as wire:
        await wire.send(b"\x53\x01\x00\x10" + b"\0" * 12)
        assert await wire.message() is None


async def test_prelogin_in_two_packets_is_a_breach() -> None:
    body = build_prelogin(Prelogin(version=(9, 0, 0, 0), instance="x" * 600))
    async with connected(FakeServer()) as wire:
        await wire.send(packetize(PacketType.PRELOGIN, body, 512))
        assert await wire.message() is None

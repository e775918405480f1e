"""Odd and hostile peers on either leg: what other proxies of TDS have stumbled over."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.proxy.remote_interpreter import Claim
from tdsproxy.proxy.session import MAX_SEARCHED
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Feature, Login7, parse_login7
from tdsproxy.tds.packets import ATTENTION, HEADER_SIZE, Packet, PacketType, Status, packetize
from tdsproxy.tds.tokens import (
    EnvChange,
    EnvChangeType,
    LoginAck,
    Routing,
    Row,
    ServerMessage,
    Sspi,
)
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, ResultSet, Rows
from tests.frontend.wire import Wire
from tests.proxy.scripted import BUILDER, LISTENERS, LOGGED_IN, Peer, behind, connect

BATCH = int(PacketType.SQL_BATCH)
PROBE_MARK = "tdsproxy ".encode("utf-16-le")


async def greeted(port: int, **changes: object) -> Wire:
    wire = Wire(await connect(port))  # type: ignore[arg-type]
    await wire.prelogin()
    await wire.login(**changes)
    return wire


async def echo(peer: Peer) -> None:
    """An upstream that answers everything with DONE."""
    await peer.log_in()
    while True:
        await peer.message()
        await peer.answer(BUILDER.done())


# Before the login


@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x12\x01\x00\x00\0\0\0\0",
        b"\x12\x01\x00\x07\0\0\0\0",
        b"\x12\x01\xff\xff\0\0\0\0" + bytes(70_000),
        b"\x10\x01\x80\x00\0\0\0\0" + bytes(40_000),
        b"\x12\x01\x00\x0b\0\0\0\0\x00\x00\x10",
        b"\x12\x01\x00\x08\0\0\0\0",
        packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096),
        packetize(PacketType.RPC, b"x" * 100, 4096),
    ],
    ids=[
        "http",
        "ssh",
        "length 0",
        "length 7",
        "length 65535",
        "login 32768",
        "no end",
        "empty",
        "batch",
        "rpc",
    ],
)
async def test_what_is_no_client_never_reaches_the_upstream(noise: bytes) -> None:
    async with behind(echo) as (port, peers), asyncio.timeout(60):
        stream = await connect(port)
        stream.write(noise)
        while await stream.read():
            continue
        assert not any(noise[8:16] in peer.received for peer in peers if len(noise) > 16)
        wire = await greeted(port)
        await wire.batch("SELECT 1")
        assert len(await wire.dones()) == 1
        wire.stream.close()


async def test_silent_clients_are_let_go_and_harm_nobody() -> None:
    async with behind(echo, deadline=1.0) as (port, _peers), asyncio.timeout(60):
        streams = [await connect(port) for _ in range(200)]
        for number, stream in enumerate(streams):
            stream.write((b"", b"\x12", b"\x12\x01\x00\x2f\0\0", b"\x16\x03\x01\x02\x00\x01")[number % 4])
        for stream in streams:
            assert await stream.read() == b""
            stream.close()


async def test_a_login_answered_only_with_login_steps() -> None:
    """Between LOGIN7 and its answer nothing passes but SSPI and tokens, and no more than a login's bytes."""

    async def negotiating(peer: Peer) -> None:
        await peer.log_in(BUILDER.sspi(b"challenge"))
        kind, body = await peer.message()
        assert (kind, body) == (PacketType.SSPI, b"response")
        await peer.answer(LOGGED_IN)
        await echo_on(peer)

    async with behind(negotiating) as (port, peers), asyncio.timeout(60):
        for body, passes in [
            (packetize(PacketType.SSPI, b"response", 4096), True),
            (packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096), False),
            (packetize(PacketType.SSPI, b"x" * 200_000, 4096), False),
        ]:
            wire = Wire(await connect(port))  # type: ignore[arg-type]
            await wire.prelogin()
            tokens = await wire.login(option_flags2=0x83)
            assert [token.data for token in tokens if isinstance(token, Sspi)] == [b"challenge"]
            await wire.send(body)
            if passes:
                assert any(isinstance(token, LoginAck) for token in await wire.tokens())
            else:
                assert await wire.message() is None
                assert build_batch("SELECT 1") not in peers[-1].received
            wire.stream.close()


async def echo_on(peer: Peer) -> None:
    while True:
        await peer.message()
        await peer.answer(BUILDER.done())


async def test_the_way_around_and_promises_that_cannot_be_kept_are_taken_out() -> None:
    seen: list[Login7] = []
    away = (
        BUILDER.env_change(EnvChangeType.ROUTING, Routing("elsewhere.example", 1433))
        + BUILDER.env_change(EnvChangeType.MIRROR_PARTNER, "partner")
        + LOGGED_IN
    )

    async def routing(peer: Peer) -> None:
        seen.append(parse_login7(await peer.log_in(away)))
        await echo_on(peer)

    promised = (Feature.SESSION_RECOVERY, Feature.COLUMN_ENCRYPTION, Feature.UTF8_SUPPORT)
    async with behind(routing) as (port, _peers), asyncio.timeout(60):
        wire = Wire(await connect(port))  # type: ignore[arg-type]
        await wire.prelogin()
        tokens = await wire.login(features=tuple((number, b"\x01") for number in promised))
        kinds = {token.kind for token in tokens if isinstance(token, EnvChange)}
        assert not kinds & {EnvChangeType.ROUTING, EnvChangeType.MIRROR_PARTNER}
        assert any(isinstance(token, LoginAck) for token in tokens)
        assert [number for number, _data in seen[0].features or ()] == [Feature.UTF8_SUPPORT]
        wire.stream.close()


@pytest.mark.parametrize("stage", ["connected", "greeted", "logging in"])
async def test_an_upstream_that_drops_a_login(stage: str) -> None:
    async def dropping(peer: Peer) -> None:
        if stage != "connected":
            await peer.message()
        if stage == "logging in":
            await peer.answer(bytes.fromhex("00000b000601000 11000 01 02 00 12 00 01 ff".replace(" ", "")))
            await peer.message()

    async with behind(dropping) as (port, _peers), asyncio.timeout(60):
        wire = Wire(await connect(port))  # type: ignore[arg-type]
        await wire.prelogin()
        tokens = await wire.login()
        assert [token.number for token in tokens if isinstance(token, ServerMessage)] == [10054]
        assert await wire.message() is None
        wire.stream.close()


# Requests


async def test_an_empty_request_is_a_request() -> None:
    async with behind(echo) as (port, peers), asyncio.timeout(60):
        wire = await greeted(port)
        await wire.send(b"\x01\x01\x00\x08\0\0\0\0")
        assert len(await wire.dones()) == 1
        assert peers[0].received.endswith(b"\x01\x01\x00\x08\0\0\0\0")
        wire.stream.close()


@pytest.mark.parametrize("length", [0, 7, 0x8000, 0xFFFF])
async def test_an_impossible_length_ends_the_connection(length: int) -> None:
    async with behind(echo) as (port, _peers), asyncio.timeout(60):
        wire = await greeted(port)
        await wire.send(b"\x01\x01" + length.to_bytes(2, "big") + bytes(0x8000))
        assert await wire.message() is None
        wire.stream.close()


@pytest.mark.parametrize(
    "kind", [PacketType.SQL_BATCH, PacketType.RPC, PacketType.TRANSACTION_MANAGER, PacketType.BULK_LOAD]
)
@pytest.mark.parametrize("status", [0, Status.RESET_CONNECTION, Status.RESET_CONNECTION_SKIP_TRAN])
@pytest.mark.parametrize("size", [512, 4096])
async def test_requests_pass_to_the_byte(kind: PacketType, status: int, size: int) -> None:
    """Also those whose packets have another size than the upstream's, and a status that says nothing."""
    body = build_batch("SELECT " + "x" * 2000)
    request = bytearray(packetize(kind, body, size, status_first=status))
    if size == 512:
        request[1] |= 0x04  # SqlClient sets it on packets that don't end the message
    async with behind(echo) as (port, peers), asyncio.timeout(60):
        wire = await greeted(port)
        await wire.send(bytes(request))
        assert len(await wire.dones()) == 1
        assert peers[0].received.endswith(bytes(request))
        wire.stream.close()


async def test_a_slow_client_holds_its_upstream_up() -> None:
    """A request that is too long to be searched passes; what its client does not read stays upstream."""
    piece = packetize(PacketType.TABULAR_RESULT, BUILDER.message(0, 0, 1, "x" * 1900) * 500, 4096)
    last = (len(piece) - 1) // 4096 * 4096
    piece = piece[: last + 1] + b"\0" + piece[last + 2 :]
    count, sent = 24_000_000 // len(piece), 0

    async def flooding(peer: Peer) -> None:
        nonlocal sent
        await peer.log_in()
        await peer.message()
        for _ in range(count):
            peer.writer.write(piece)
            await peer.writer.drain()
            sent += 1
        await peer.answer(BUILDER.done())

    async with behind(flooding) as (port, _peers), asyncio.timeout(100):
        wire = await greeted(port)
        await wire.send(packetize(PacketType.SQL_BATCH, build_batch("x" * (MAX_SEARCHED // 2 + 1)), 4096))
        wire.stream.hold()  # type: ignore[attr-defined]
        before = -1
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.1)
        assert sent < count
        wire.stream.release()  # type: ignore[attr-defined]
        size, tail = 0, b""
        while not tail.endswith(BUILDER.done()):
            chunk = await wire.stream.read()
            assert chunk
            size += len(chunk)
            tail = (tail + chunk)[-len(BUILDER.done()) :]
        assert size == count * len(piece) + HEADER_SIZE + len(BUILDER.done())
        wire.stream.close()


async def test_attentions_at_any_moment_are_acknowledged_once_each() -> None:
    """The request's end and the attention cross in every order."""
    source = random.Random(7)

    async def slow(peer: Peer) -> None:
        await peer.log_in()
        while True:
            kind, _body = await peer.message()
            if kind == PacketType.ATTENTION:
                await peer.answer(BUILDER.done(0x20))
            else:
                for _ in range(source.randrange(3)):
                    await asyncio.sleep(0)
                await peer.answer(BUILDER.done())

    async with behind(slow) as (port, _peers), asyncio.timeout(100):
        wire = await greeted(port)
        for _ in range(200):
            request = packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096)
            if source.random() < 0.5:
                await wire.send(request + ATTENTION)
            else:
                await wire.send(request)
                for _ in range(source.randrange(6)):
                    await asyncio.sleep(0)
                await wire.send(ATTENTION)
            assert [done.status for done in await wire.dones()] == [0]
            assert [done.status for done in await wire.dones()] == [0x20]
        wire.stream.close()


async def test_attentions_without_end_are_a_breach() -> None:
    """They would wait here, in memory, for an upstream that does not read."""

    async def deaf(peer: Peer) -> None:
        await peer.log_in()
        await asyncio.Event().wait()

    async with behind(deaf) as (port, _peers), asyncio.timeout(60):
        for request in (b"", packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096)):
            wire = await greeted(port)
            await wire.send(request)
            wire.stream.write(ATTENTION * 5000)
            for _ in range(10):
                wire.stream.write(ATTENTION)
            while await wire.stream.read():
                continue


async def test_a_long_batch_is_parsed_beside_the_loop() -> None:
    text = "INSERT dbo.t VALUES (1, N'a backup of something');\n" * 2000

    async with behind(echo) as (port, peers), asyncio.timeout(60):
        wire = await greeted(port)
        calls: list[bool] = []
        original = threading.current_thread()

        def noting(*args: object, **more: object) -> Claim:
            calls.append(threading.current_thread() is original)
            return Claim.NO

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tdsproxy.proxy.interception.claim", noting)
            await wire.batch(text)
            assert len(await wire.dones()) == 1
            await wire.batch("SELECT 'a backup'")
            assert len(await wire.dones()) == 1
        assert calls == [False, True]  # the long one in another thread
        assert peers[0].received.endswith(build_batch("SELECT 'a backup'"))
        wire.stream.close()


# Ends


async def test_a_proxy_that_is_stopped_lets_what_runs_come_to_its_end() -> None:
    asked, answer = asyncio.Event(), asyncio.Event()

    async def slow(peer: Peer) -> None:
        await peer.log_in()
        await peer.message()
        asked.set()
        await answer.wait()
        await peer.answer(BUILDER.done())

    async with behind(slow) as (port, _peers), asyncio.timeout(60):
        busy, idle = await greeted(port), await greeted(port)
        await busy.batch("SELECT 1")
        await asked.wait()
        closing = asyncio.create_task(LISTENERS[port].close(60))
        assert await idle.message() is None
        with pytest.raises(OSError):
            await connect(port)
        answer.set()
        assert len(await busy.dones()) == 1
        assert await busy.message() is None
        await closing


async def test_a_client_that_only_stops_sending_still_ends_its_session() -> None:
    ended = asyncio.Event()

    async def hanging(peer: Peer) -> None:
        await peer.log_in()
        await peer.message()
        try:
            await peer.reader.readexactly(1)
        except (asyncio.IncompleteReadError, ConnectionError):
            ended.set()

    async with behind(hanging) as (port, _peers), asyncio.timeout(60):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        stream = Wire(await connect(port))  # type: ignore[arg-type]
        del reader
        writer.close()
        await stream.prelogin()
        await stream.login()
        await stream.batch("SELECT 1")
        transport = stream.stream._transport  # type: ignore[attr-defined]
        transport.write_eof()
        await ended.wait()
        stream.stream.close()


async def test_an_answer_that_breaks_off_gets_no_end_from_us() -> None:
    async def breaking(peer: Peer) -> None:
        await peer.log_in()
        await peer.message()
        whole = packetize(PacketType.TABULAR_RESULT, BUILDER.done() * 1000, 4096)
        peer.writer.write(whole[:5000])
        await peer.writer.drain()

    async with behind(breaking) as (port, _peers), asyncio.timeout(60):
        wire = await greeted(port)
        await wire.batch("SELECT 1")
        received = bytearray()
        while data := await wire.stream.read():
            received += data
        assert len(received) <= 5000
        assert not Packet(4, received[1], 0, 0, b"", b"").is_last if len(received) > HEADER_SIZE else True


# What runs in between


def answer_of(rows: int, probe: bytes) -> bytes:
    """Rows of the client's own statement, then the answer to the question in ``probe``."""
    encoder = ReplyEncoder(Format("UP", TdsVersion.V7_4))
    encoder.add(ResultSet((Column("v", t.nvarchar(4000)),)))
    encoder.add(Rows([("y" * 1000,)] * rows))
    encoder.add(Done(Command.SELECT, rows))
    text = probe.decode("utf-16-le", "replace")
    mark = text[text.index("[tdsproxy ") + 1 :].split("]")[0]
    names = [mark, *(f"q{number}" for number in range(7))]
    types = [t.INT, t.nvarchar(128), t.INT, t.INT, t.nvarchar(128), t.INT, t.INT, t.INT]
    encoder.add(ResultSet(tuple(map(Column, names, types))))
    encoder.add(Rows([(1, "shop", 0, 256, "sa", 1, 51, 0)]))
    encoder.add(Done(Command.SELECT, 1))
    return encoder.finish()


@pytest.mark.parametrize("rows", [0, 31, 32, 33, 5000])
async def test_what_stands_before_a_native_statement_is_not_gathered(rows: int) -> None:
    async def upstream(peer: Peer) -> None:
        await peer.log_in()
        _kind, body = await peer.message()
        await peer.answer(answer_of(rows, body[22:]))
        await echo_on(peer)

    async with behind(upstream) as (port, _peers), asyncio.timeout(60):
        wire = await greeted(port)
        await wire.batch("SELECT v FROM long BACKUP DATABASE shop TO DISK = N'a.bak'")
        tokens = await wire.tokens()
        assert sum(isinstance(token, Row) for token in tokens) == rows
        assert [token.text for token in tokens if isinstance(token, ServerMessage)] == ["statement 1"]
        dones = [token for token in tokens if hasattr(token, "more")]
        assert [token.more for token in dones] == [True] * (len(dones) - 1) + [False]
        await wire.batch("SELECT 1")
        assert len(await wire.dones()) == 1
        wire.stream.close()

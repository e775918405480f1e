"""Two legs and what happens in between, against a scripted upstream and a scripted keeper."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest

from tdsproxy.frontend.handler import RpcRequest
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.listener import Listener
from tdsproxy.frontend.streams import ByteStream, SocketStream, memory_pair
from tdsproxy.frontend.worker import REFUSALS, SessionLimit
from tdsproxy.proxy.rpcs import FIRST_HANDLE
from tdsproxy.proxy.session import ProxySession, ProxySettings
from tdsproxy.proxy.upstream import UpstreamSettings
from tdsproxy.tds.headers import AllHeaders, build_batch
from tdsproxy.tds.packets import ATTENTION, PacketType, Status, packetize
from tdsproxy.tds.prelogin import EncryptionPolicy, parse_prelogin
from tdsproxy.tds.rpc import RpcCall, RpcParam, build_rpc
from tdsproxy.tds.tokens import (
    ColMetadata,
    Done,
    EnvChange,
    EnvChangeType,
    FeatureExtAck,
    LoginAck,
    ReturnStatus,
    ReturnValue,
    Row,
    ServerMessage,
    Token,
    TokenType,
)
from tdsproxy.tds.types import intn, nvarchar
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql.replies import Command
from tests.frontend.running import serving
from tests.frontend.wire import Wire
from tests.proxy.fakes import FakeKeeper, Upstream, UpstreamServer

BACKUP = "BACKUP DATABASE shop TO DISK = N'a.bak'"


class Watched(ProxySession):
    def __init__(
        self, ended: asyncio.Event, stream: ByteStream, keeper: FakeKeeper, settings: ProxySettings
    ) -> None:
        super().__init__(stream, keeper, settings)
        self.ended = ended

    async def serve(self) -> None:
        try:
            await super().serve()
        finally:
            self.ended.set()


class Fixture:
    """The upstream's port, and what was seen behind the proxy."""

    def __init__(self, server: UpstreamServer, keeper: FakeKeeper, port: int, *, sockets: bool) -> None:
        self.server = server
        self.keeper = keeper
        self.port = port
        self.sockets = sockets

    @property
    def upstream(self) -> Upstream:
        session = self.server.sessions[0]
        assert isinstance(session, Upstream)
        return session

    @contextlib.asynccontextmanager
    async def client(
        self, *, login: bool = True, limit: SessionLimit | None = None, **changes: int
    ) -> AsyncIterator[Wire]:
        settings = ProxySettings(
            HandshakeSettings(EncryptionPolicy.OFF, None),
            UpstreamSettings("127.0.0.1", self.port),
            limit or SessionLimit(10),
        )
        async with self._connected(settings) as near:
            wire = Wire(near, **changes)
            if login:
                await wire.prelogin()
                await wire.login(packet_size=512)
            yield wire

    @contextlib.asynccontextmanager
    async def _connected(self, settings: ProxySettings) -> AsyncIterator[ByteStream]:
        """The client's end; the session behind the other has ended when the block has."""
        if self.sockets:
            ended = asyncio.Event()
            listener = Listener(lambda stream: Watched(ended, stream, self.keeper, settings))
            host, port = await listener.start("127.0.0.1", 0)
            _, client = await asyncio.get_running_loop().create_connection(SocketStream, host, port)
            try:
                yield client
            finally:
                client.close()
                async with asyncio.timeout(60):
                    await ended.wait()
                    await listener.close(5)
            return
        near, far = memory_pair("192.0.2.7")
        serving_task = asyncio.create_task(ProxySession(far, self.keeper, settings).serve())
        try:
            yield near
        finally:
            near.close()
            async with asyncio.timeout(60):
                await serving_task


@pytest.fixture(params=["memory", "sockets"])
def proxy(request: pytest.FixtureRequest) -> Iterator[Fixture]:
    """Over sockets requests take the short way where they can."""
    server = UpstreamServer()
    with serving(server) as port:
        yield Fixture(server, FakeKeeper(), port, sockets=request.param == "sockets")


def texts(tokens: list[Token]) -> list[str]:
    return [token.text for token in tokens if isinstance(token, ServerMessage)]


def ends(tokens: list[Token]) -> list[tuple[int, int]]:
    """(command, status) of each DONE."""
    return [(token.command, token.status) for token in tokens if isinstance(token, Done)]


# Login


async def test_login_passes_through_without_what_leads_around(proxy: Fixture) -> None:
    async with proxy.client(login=False) as wire:
        body = await wire.prelogin()
        assert body is not None
        assert parse_prelogin(body).version[:3] == (16, 0, 4236)
        tokens = await wire.login(features=((0x0A, b"\x01"), (0x0B, b""), (0x0F, b"")), database="shop")
    assert any(isinstance(token, LoginAck) for token in tokens)
    assert [t.features for t in tokens if isinstance(t, FeatureExtAck)] == [((0x0A, b"\x01"),)]
    assert proxy.upstream.request.database == "shop"
    assert proxy.upstream.request.user == "sa"


async def test_a_refused_login_is_relayed(proxy: Fixture) -> None:
    async with proxy.client(login=False) as wire:
        await wire.prelogin()
        tokens = await wire.login(password="wrong")
        assert texts(tokens) == ["Login failed for user 'sa'."]
        assert await wire.message() is None


async def test_a_login_hears_that_the_upstream_is_not_there(proxy: Fixture) -> None:
    proxy.port = 1
    async with proxy.client(login=False) as wire:
        await wire.prelogin()
        tokens = await wire.login()
        assert [(t.number, t.severity) for t in tokens if isinstance(t, ServerMessage)] == [(10054, 16)]
        assert "127.0.0.1" not in texts(tokens)[0]
        assert await wire.message() is None


@pytest.mark.parametrize("limit", [SessionLimit(1), SessionLimit(10, per_login=1)])
async def test_one_connection_too_many_is_told_so(proxy: Fixture, limit: SessionLimit) -> None:
    for _ in range(2):
        async with (
            proxy.client(limit=limit) as first,
            proxy.client(limit=limit, login=False) as second,
        ):
            await second.prelogin()
            tokens = await second.login()
            assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [17809]
            assert await second.message() is None
            await first.batch("SELECT 1")
            assert any(isinstance(token, Row) for token in await first.tokens())
        assert limit.count == 0


async def test_a_wrong_password_does_not_count_against_its_login(proxy: Fixture) -> None:
    limit = SessionLimit(10, per_login=1)
    for _ in range(3):
        async with proxy.client(limit=limit, login=False) as wire:
            await wire.prelogin()
            tokens = await wire.login(password="wrong")
            assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [18456]
    async with proxy.client(limit=limit) as wire:
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())


def test_a_crowd_beyond_the_limit_is_not_told() -> None:
    limit = SessionLimit(0)
    with contextlib.ExitStack() as stack:
        for _ in range(REFUSALS):
            assert not limit.crowded
            assert not stack.enter_context(limit.slot())
        assert limit.crowded
    assert not limit.crowded


# Passing on


@pytest.mark.parametrize("piece", [0, 1])
async def test_other_requests_pass_untouched(proxy: Fixture, piece: int) -> None:
    async with proxy.client(piece=piece) as wire:
        await wire.batch("SELECT 1 " + "x" * 1000, size=512)
        tokens = await wire.tokens()
        assert [t.values for t in tokens if isinstance(t, Row)] == [(1, "one"), (2, None)]
        assert proxy.keeper.requests == []


async def test_the_word_in_a_string_is_no_statement(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        text = "SELECT 'BACKUP DATABASE x' -- RESTORE DATABASE y"
        await wire.batch(text)
        assert any(isinstance(token, Row) for token in await wire.tokens())
    assert proxy.upstream.calls == [text]
    assert proxy.keeper.requests == []


async def test_a_statement_within_control_flow_is_interpreted(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch(f"IF 1 = 1 BEGIN {BACKUP} END")
        tokens = await wire.tokens()
    assert [each.text for each in tokens if isinstance(each, ServerMessage)] == ["statement 1"]
    assert [request.text for request in proxy.keeper.requests] == [BACKUP]


async def test_control_flow_is_forwarded_while_the_session_runs_nothing(proxy: Fixture) -> None:
    proxy.server.changes["silent"] = True
    async with proxy.client() as wire:
        text = f"IF 1 = 1 BEGIN {BACKUP} END"
        await wire.batch(text)
        await wire.tokens()
    assert proxy.upstream.calls[-1] == text
    assert proxy.keeper.requests == []


async def test_an_attention_ends_a_statement_within_control_flow(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch(f"WHILE 1 = 1 BEGIN {BACKUP.replace('shop', 'HOLD')} END")
        async with asyncio.timeout(60):
            await proxy.keeper.started.wait()
        await wire.attention()
        ended = await wire.dones()
        assert [done.more for done in ended][-1] is False
        (acknowledged,) = await wire.dones()
        assert acknowledged.attention
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())
    assert proxy.keeper.cancelled.is_set()


async def test_bulk_load_streams(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.send(packetize(PacketType.BULK_LOAD, b"x" * 5000, 512))
        assert any(isinstance(token, ServerMessage) for token in await wire.tokens())
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())


async def test_an_upstream_that_closes_when_idle_ends_the_client(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("SELECT 1")
        await wire.tokens()
        await wire.send(b"\x53\x01\x00\x10" + b"\0" * 12)
        assert await wire.message() is None


# Own statements


async def test_a_native_statement_is_run_here(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch(BACKUP)
        tokens = await wire.tokens()
    assert texts(tokens) == ["statement 1"]
    assert ends(tokens) == [(Command.BACKUP_DATABASE, 0)]
    (request,) = proxy.keeper.requests
    assert request.text == BACKUP
    assert request.session.login == "sa"
    assert request.session.database == "shop"
    assert request.session.server_roles == frozenset({"sysadmin"})
    assert request.session.spid == 51
    assert not request.session.in_transaction
    assert proxy.upstream.calls == [""]


@pytest.mark.parametrize("version", [TdsVersion.V7_1, TdsVersion.V7_2])
async def test_older_clients(proxy: Fixture, version: int) -> None:
    async with proxy.client(login=False, version=version) as wire:
        await wire.login(short_form=version == TdsVersion.V7_1)
        await wire.batch("DECLARE @f nvarchar(10); BACKUP DATABASE shop TO DISK = @f\nSELECT 1")
        tokens = await wire.tokens()
    assert texts(tokens) == ["statement 1"]
    assert ends(tokens)[-1][1] == 0


async def test_a_statement_cut_over_packets_and_bytes(proxy: Fixture) -> None:
    async with proxy.client(piece=1) as wire:
        await wire.batch("/*" + "x" * 600 + "*/" + BACKUP, size=512)
        assert texts(await wire.tokens()) == ["statement 1"]


async def test_parts_go_to_the_upstream_in_between(proxy: Fixture) -> None:
    proxy.server.changes = {"variables": {"@f": "o'b.bak"}}
    text = (
        "DECLARE @f nvarchar(100) = N'b.bak'\nPRINT 'x'\n"
        "BACKUP DATABASE shop TO DISK = @f;\nRESTORE HEADERONLY FROM DISK = @f\nSELECT @f"
    )
    async with proxy.client() as wire:
        await wire.batch(text)
        tokens = await wire.tokens()
    assert texts(tokens) == ["printed", "statement 1", "statement 2"]
    statuses = [status for _command, status in ends(tokens)]
    assert all(status & 1 for status in statuses[:-1])
    assert not statuses[-1] & 1
    first, second = proxy.keeper.requests
    assert (first.line, second.line) == (3, 4)
    assert first.variables == {"@f": "o'b.bak"}
    assert second.text == "RESTORE HEADERONLY FROM DISK = @f"
    asked = [call for call in proxy.upstream.calls if isinstance(call, str)]
    assert asked[0] == "DECLARE @f nvarchar(100) = N'b.bak'\nPRINT 'x'\n"
    assert asked[1].strip() == "DECLARE @f nvarchar(100); SELECT @f = N'o''b.bak';"
    assert asked[2].count("\n") == 4
    assert asked[2].endswith("SELECT @f = N'o''b.bak'; \nSELECT @f")


async def test_an_error_before_the_statement_ends_the_batch(proxy: Fixture) -> None:
    proxy.server.changes = {"failing": "1/0"}
    async with proxy.client() as wire:
        await wire.batch(f"SELECT 1/0 {BACKUP}")
        tokens = await wire.tokens()
    assert texts(tokens) == ["Divide by zero error encountered."]
    assert ends(tokens)[-1][1] == 2
    assert proxy.keeper.requests == []


async def test_a_failing_statement_ends_with_its_errors(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("BACKUP DATABASE FAIL TO DISK = 'x'")
        tokens = await wire.tokens()
    assert [t.number for t in tokens if isinstance(t, ServerMessage)] == [3211, 3201, 3013]
    assert ends(tokens) == [(Command.BACKUP_DATABASE, 2)]


async def test_a_session_that_runs_nothing_is_the_upstreams(proxy: Fixture) -> None:
    proxy.server.changes = {"silent": True}
    async with proxy.client() as wire:
        await wire.batch(BACKUP)
        await wire.tokens()
    assert proxy.upstream.calls == ["", BACKUP]
    assert proxy.keeper.requests == []


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("BACKUP DATABASE shop TO DISK = 'x' WITH WITH", 1),
        ("SELECT 1\nBACKUP DATABASE shop TO", 2),
        ("\n\nRESTORE DATABASE shop FROM DISK 'x'", 3),
        ("IF 1=1 BACKUP DATABASE TO DISK = 'x'", 1),
    ],
)
async def test_what_does_not_parse_is_never_forwarded(proxy: Fixture, text: str, line: int) -> None:
    async with proxy.client() as wire:
        await wire.batch(text)
        tokens = await wire.tokens()
        (message,) = [token for token in tokens if isinstance(token, ServerMessage)]
        assert message.number in (102, 155, 156, 319, 336)
        assert (message.severity, message.line) == (15, line)
    assert proxy.upstream.calls == []


async def test_a_transaction_is_told(proxy: Fixture) -> None:
    proxy.server.changes = {"transactions": 1}
    async with proxy.client() as wire:
        await wire.batch(BACKUP)
        await wire.tokens()
        headers = AllHeaders(descriptor=b"\1" + b"\0" * 7)
        await wire.send(packetize(PacketType.SQL_BATCH, build_batch(BACKUP, headers), 512))
        await wire.tokens()
    assert [request.session.in_transaction for request in proxy.keeper.requests] == [True, True]


async def test_reset_comes_first(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch(BACKUP, status=Status.RESET_CONNECTION)
        tokens = await wire.tokens()
    assert isinstance(tokens[0], EnvChange)
    assert tokens[0].kind == EnvChangeType.RESET_ACKNOWLEDGED
    assert texts(tokens)[-1] == "statement 1"
    assert proxy.upstream.calls == [("reset", False), ""]


# RPCs


def execute_sql(text: str, declared: str = "", *values: str) -> bytes:
    params = [RpcParam("", 0, nvarchar(None), text)]
    if declared:
        params.append(RpcParam("", 0, nvarchar(None), declared))
    params += [RpcParam("", 0, nvarchar(4000), value) for value in values]
    return build_rpc([RpcCall(10, params=tuple(params))])


async def test_executesql_with_parameters(proxy: Fixture) -> None:
    proxy.server.changes = {"variables": {"@p1": "from probe"}}
    async with proxy.client() as wire:
        body = execute_sql("BACKUP DATABASE shop TO DISK = @P1", "@P1 nvarchar(4000)", "p.bak")
        await wire.send(packetize(PacketType.RPC, body, 512))
        tokens = await wire.tokens()
    assert texts(tokens) == ["statement 1"]
    kinds = [token.kind for token in tokens if isinstance(token, Done)]
    assert kinds == [TokenType.DONEINPROC, TokenType.DONEPROC]
    assert [token.value for token in tokens if isinstance(token, ReturnStatus)] == [0]
    assert proxy.keeper.requests[0].variables == {"@p1": "from probe"}
    asked = proxy.upstream.calls[0]
    assert isinstance(asked, str)
    assert "SELECT @P1 = N'p.bak'" in asked


async def test_prepare_execute_unprepare(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        prepare = RpcCall(
            11,
            params=(
                RpcParam("@handle", 1, intn(4), None),
                RpcParam("", 0, nvarchar(None), None),
                RpcParam("", 0, nvarchar(None), BACKUP),
                RpcParam("", 0, intn(4), 1),
            ),
        )
        await wire.send(packetize(PacketType.RPC, build_rpc([prepare]), 512))
        tokens = await wire.tokens()
        (value,) = [token for token in tokens if isinstance(token, ReturnValue)]
        assert value.value == FIRST_HANDLE
        assert proxy.keeper.requests == []
        for _ in range(2):
            execute = RpcCall(12, params=(RpcParam("", 0, intn(4), value.value),))
            await wire.send(packetize(PacketType.RPC, build_rpc([execute]), 512))
            assert len(texts(await wire.tokens())) == 1
        assert len(proxy.keeper.requests) == 2
        unprepare = RpcCall("sp_unprepare", params=(RpcParam("", 0, intn(4), value.value),))
        await wire.send(packetize(PacketType.RPC, build_rpc([unprepare]), 512))
        assert ends(await wire.tokens()) == [(Command.EXECUTE, 0)]
        assert not any(isinstance(call, RpcRequest) for call in proxy.upstream.calls)
        await wire.send(packetize(PacketType.RPC, build_rpc([execute]), 512))
        await wire.tokens()
    assert any(isinstance(call, RpcRequest) for call in proxy.upstream.calls)


async def test_a_connection_may_prepare_only_so_much(proxy: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdsproxy.proxy.rpcs.MAX_HANDLES", 2)
    prepare = RpcCall(
        "sp_prepare",
        params=(
            RpcParam("@handle", 1, intn(4), None),
            RpcParam("", 0, nvarchar(None), ""),
            RpcParam("", 0, nvarchar(None), BACKUP),
        ),
    )
    async with proxy.client() as wire:
        answers = []
        for _ in range(3):
            await wire.send(packetize(PacketType.RPC, build_rpc([prepare]), 4096))
            answers.append(await wire.tokens())
        assert [each.number for each in answers[2] if isinstance(each, ServerMessage)] == [701, 8180]
        assert not any(isinstance(each, ReturnValue) for each in answers[2])
        drop = RpcCall("sp_unprepare", params=(RpcParam("", 0, intn(4), FIRST_HANDLE),))
        await wire.send(packetize(PacketType.RPC, build_rpc([drop]), 4096))
        await wire.tokens()
        await wire.send(packetize(PacketType.RPC, build_rpc([prepare]), 4096))
        assert any(isinstance(each, ReturnValue) for each in await wire.tokens())


async def test_prepexec_gives_a_handle_and_takes_the_old_one(proxy: Fixture) -> None:
    def prepexec(handle: int | None) -> bytes:
        return build_rpc(
            [
                RpcCall(
                    13,
                    params=(
                        RpcParam("", 1, intn(4), handle),
                        RpcParam("", 0, nvarchar(None), None),
                        RpcParam("", 0, nvarchar(None), BACKUP),
                    ),
                )
            ]
        )

    async with proxy.client() as wire:
        handles = []
        for old in (None, FIRST_HANDLE, 7):
            await wire.send(packetize(PacketType.RPC, prepexec(old), 512))
            tokens = await wire.tokens()
            handles += [token.value for token in tokens if isinstance(token, ReturnValue)]
    assert handles == [FIRST_HANDLE, FIRST_HANDLE + 1, FIRST_HANDLE + 2]
    upstream = [call for call in proxy.upstream.calls if isinstance(call, RpcRequest)]
    assert [(call.procedure, call.parameters[0].value) for call in upstream] == [(15, 7)]


async def test_a_message_with_calls_of_both(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        own = RpcCall(10, params=(RpcParam("", 0, nvarchar(None), BACKUP),))
        await wire.send(packetize(PacketType.RPC, build_rpc([RpcCall("other"), own, RpcCall("other")]), 512))
        tokens = await wire.tokens()
    finals = [token for token in tokens if isinstance(token, Done) and token.kind is TokenType.DONEPROC]
    assert [token.more for token in finals] == [True, True, False]
    assert texts(tokens) == ["statement 1"]


async def test_text_that_is_only_described_is_forwarded(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        call = RpcCall("sp_describe_undeclared_parameters", params=(RpcParam("", 0, nvarchar(None), BACKUP),))
        await wire.send(packetize(PacketType.RPC, build_rpc([call]), 512))
        await wire.tokens()
    assert proxy.keeper.requests == []
    assert len(proxy.upstream.calls) == 1


# Attention


async def test_attention_during_an_own_statement(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("BACKUP DATABASE HOLD TO DISK = 'x'")
        async with asyncio.timeout(60):
            await proxy.keeper.started.wait()
        await wire.attention()
        tokens = await wire.tokens()
        assert ends(tokens)[-1][1] == 2
        assert [token.status for token in await wire.dones()] == [0x20]
        assert proxy.keeper.cancelled.is_set()
        await wire.batch("SELECT 1")
        assert any(isinstance(token, ColMetadata) for token in await wire.tokens())


async def test_attention_during_the_upstreams_request(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("WAIT")
        assert await asyncio.to_thread(proxy.upstream.started.wait, 60)
        await wire.attention()
        assert (await wire.dones())[-1].status == 0x12
        assert [token.status for token in await wire.dones()] == [0x20]
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())


async def test_attention_when_idle_is_acknowledged_once(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.attention()
        assert [token.status for token in await wire.dones()] == [0x20]
        await wire.batch(BACKUP)
        await wire.tokens()
        await wire.attention()
        assert [token.status for token in await wire.dones()] == [0x20]
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())


async def test_attention_and_taking_back_inside_a_request(proxy: Fixture) -> None:
    whole = packetize(PacketType.SQL_BATCH, build_batch("x" * 1000), 512)
    async with proxy.client() as wire:
        await wire.send(whole[:512] + ATTENTION)
        assert [token.status for token in await wire.dones()] == [0x20]
        taken_back = bytearray(whole[:512])
        taken_back[1] = Status.EOM | Status.IGNORE
        await wire.send(bytes(taken_back))
        assert [token.status for token in await wire.dones()] == [2]
        await wire.batch("SELECT 1")
        assert any(isinstance(token, Row) for token in await wire.tokens())
    assert proxy.upstream.calls == ["SELECT 1"]


async def test_a_client_that_goes_cancels_the_statement(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("BACKUP DATABASE HOLD TO DISK = 'x'")
        async with asyncio.timeout(60):
            await proxy.keeper.started.wait()
    async with asyncio.timeout(60):
        await proxy.keeper.cancelled.wait()
    assert await asyncio.to_thread(proxy.upstream.closed.wait, 60)


async def test_pipelined_requests_are_answered_in_order(proxy: Fixture) -> None:
    async with proxy.client() as wire:
        await wire.batch("SELECT 1")
        await wire.batch(BACKUP)
        await wire.batch("SELECT 2")
        assert any(isinstance(token, Row) for token in await wire.tokens())
        assert texts(await wire.tokens()) == ["statement 1"]
        assert any(isinstance(token, Row) for token in await wire.tokens())

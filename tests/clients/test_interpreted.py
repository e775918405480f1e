"""Control flow around native statements in front of another server: the same tokens as from the server.

``tdsproxy server`` interprets such a batch by itself; ``serve --upstream`` in front of it interprets it in
the proxy and has its queries answered by that server. Both answers must be equal.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from tdsproxy.frontend.streams import SocketStream
from tdsproxy.tds.headers import AllHeaders, build_batch
from tdsproxy.tds.packets import PacketType, Status, packetize
from tdsproxy.tds.rpc import RpcCall, RpcParam, build_rpc
from tdsproxy.tds.tokens import EnvChange, LoginAck, Row, ServerMessage, Token
from tdsproxy.tds.types import intn, nvarchar
from tests.frontend.wire import Wire
from tests.running import PASSWORD, Running, running

TIMES = re.compile(r"in [\d.]+ seconds \([\d.]+ MB/sec\)")
BACKUP = "BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT"
SCRIPT = Path(__file__).with_name("interpreted.sql").read_text(encoding="utf-8")
CASES = dict(part.split("\n", 1) for part in SCRIPT.split("-- case: ")[1:])
PROCEDURE = """CREATE PROCEDURE answer @a int, @b nvarchar(20) OUTPUT AS
SELECT @a AS a
SET @b = N'out ' + CAST(@a AS nvarchar(9))
IF @a > 5 SELECT 1/0
RETURN @a + 1"""

Request = tuple[PacketType, bytes]


class Side:
    """A connection of its own to one of the two; each request begins with a reset unless it says not."""

    def __init__(self, runner: asyncio.Runner, server: Running) -> None:
        self._runner = runner
        self._wire = runner.run(self._connect(server))

    @staticmethod
    async def _connect(server: Running) -> Wire:
        loop = asyncio.get_running_loop()
        _transport, stream = await loop.create_connection(SocketStream, server.host, server.port)
        wire = Wire(stream)  # type: ignore[arg-type]
        await wire.prelogin()
        await wire.login(password=PASSWORD, database="shop")
        return wire

    def ask(self, request: Request, *, reset: bool) -> list[Token]:
        return settled(self._runner.run(self._ask(request, reset)))

    async def _ask(self, request: Request, reset: bool) -> list[Token]:
        status = Status.RESET_CONNECTION if reset else 0
        await self._wire.send(packetize(*request, 4096, status_first=status))
        return await self._wire.tokens()

    def cancel(self, text: str) -> None:
        """Run a batch, and end it with an attention once its first packet has come."""
        self._runner.run(self._cancel(text))

    async def _cancel(self, text: str) -> None:
        await self._wire.batch(text, Status.RESET_CONNECTION)
        first = await self._wire.packet()
        assert first is not None
        assert not first.is_last
        await self._wire.attention()
        await self._wire.message()
        (done,) = await self._wire.dones()
        assert done.attention

    def close(self) -> None:
        self._wire.stream.abort()


@dataclass(frozen=True)
class Pair:
    proxy: Running
    direct: Side
    through: Side

    def same(
        self, *requests: Request | str, shown: Callable[[Token], object] = lambda token: token
    ) -> list[Token]:
        """The tokens of the last request, equal on both sides as far as ``shown``."""
        found: list[Token] = []
        for number, request in enumerate(requests):
            message = (PacketType.SQL_BATCH, build_batch(request)) if isinstance(request, str) else request
            found = self.direct.ask(message, reset=number == 0)
            through = self.through.ask(message, reset=number == 0)
            assert [shown(token) for token in through] == [shown(token) for token in found]
        return found


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    store = tmp_path_factory.mktemp("interpreted") / "store"
    with (
        running(store, command="server") as server,
        running(store, "--upstream", f"{server.host}:{server.port}") as proxy,
        asyncio.Runner() as runner,
    ):
        with server.connect() as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE shop")
            cursor.execute("USE shop")
            cursor.execute("CREATE TABLE t (id int PRIMARY KEY, v nvarchar(40) NOT NULL)")
            cursor.execute("INSERT INTO t VALUES (1, N'one'), (2, N'two')")
            cursor.execute("CREATE TABLE told (n int, said nvarchar(400))")
            cursor.execute(PROCEDURE)
        found = Pair(proxy, Side(runner, server), Side(runner, proxy))
        yield found
        found.direct.close()
        found.through.close()


def settled(tokens: list[Token]) -> list[Token]:
    """Without what differs from run to run: durations, and the numbers of transactions."""
    found: list[Token] = []
    for token in tokens:
        if isinstance(token, ServerMessage):
            token = msgspec.structs.replace(token, text=TIMES.sub("in 0 seconds", token.text))
        if isinstance(token, EnvChange) and 8 <= token.kind <= 10:
            token = msgspec.structs.replace(token, new=b"", old=b"")
        found.append(token)
    return found


@pytest.mark.parametrize("name", CASES)
def test_a_batch_with_control_flow(pair: Pair, name: str) -> None:
    pair.same(CASES[name])


def test_the_session_goes_on_behind_it(pair: Pair) -> None:
    pair.same(
        f"CREATE TABLE #kept (n int)\nSET NOCOUNT ON\nIF 1 = 1 BEGIN INSERT #kept VALUES (1); {BACKUP} END",
        "INSERT #kept VALUES (2)",
        "SELECT n, @@OPTIONS & 512 AS o FROM #kept ORDER BY n",
    )


def executesql(text: str, declarations: str, *values: RpcParam) -> Request:
    params = (
        RpcParam("", 0, nvarchar(None), text),
        RpcParam("", 0, nvarchar(None), declarations),
        *values,
    )
    return PacketType.RPC, build_rpc([RpcCall("sp_executesql", params=params)], AllHeaders())


def test_a_call_with_parameters(pair: Pair) -> None:
    text = (
        "IF @n = (SELECT COUNT(*) FROM t) BACKUP DATABASE shop TO DISK = @f WITH INIT\n"
        "SET @out = @@ROWCOUNT + 40 SELECT @f AS f"
    )
    pair.same(
        executesql(
            text,
            "@n int, @f nvarchar(99), @out int OUTPUT",
            RpcParam("@n", 0, intn(4), 2),
            RpcParam("@f", 0, nvarchar(99), "rpc.bak"),
            RpcParam("@out", 1, intn(4), None),
        )
    )


def test_a_statement_handed_over_as_a_parameter(pair: Pair) -> None:
    pair.same(executesql("EXEC (@sql)", "@sql nvarchar(max)", RpcParam("@sql", 0, nvarchar(None), BACKUP)))


def test_a_cancelled_batch_leaves_no_table_behind(pair: Pair) -> None:
    def count() -> list[tuple[object, ...]]:
        text = "SELECT COUNT(*) AS n FROM tempdb.sys.tables WHERE name LIKE N'#tdsproxy%'"
        tokens = pair.through.ask((PacketType.SQL_BATCH, build_batch(text)), reset=False)
        return [token.values for token in tokens if isinstance(token, Row)]

    endless = (
        "DECLARE @t TABLE (n int); INSERT @t VALUES (1); RAISERROR (N'there', 0, 1) WITH NOWAIT;"
        f" WHILE 1 = 1 BEGIN WAITFOR DELAY '00:00:00.010'; IF 1 = 0 {BACKUP} END"
    )
    pair.through.cancel(endless)
    assert count() == [(1,)]
    again = f"DECLARE @t TABLE (n int); INSERT @t VALUES (2); IF 1 = 0 {BACKUP}; SELECT n FROM @t"
    tokens = pair.through.ask((PacketType.SQL_BATCH, build_batch(again)), reset=False)
    assert [token.values for token in tokens if isinstance(token, Row)] == [(2,)]
    assert count() == [(0,)]


def test_files_are_where_they_were_asked_for(pair: Pair) -> None:
    pair.same(CASES["cursor"])
    names = {path.name for path in pair.proxy.backup_directory.iterdir()}
    assert {"one.bak", "two.bak"} <= names


HALF = "\ud800"
HALVES = (
    f"BACKUP DATABASE [x{HALF}] TO DISK = N'a.bak'",
    f"BACKUP DATABASE shop TO DISK = N'half{HALF}.bak' WITH INIT",
    f"BACKUP DATABASE shop TO DISK = N'a.bak' WITH INIT, NAME = N'{HALF}', DESCRIPTION = N'{HALF}'",
    f"DECLARE @x nvarchar(9) = N'{HALF}'; IF 1 = 1 {BACKUP}; SELECT UNICODE(@x) AS u, @x AS x",
    f"DECLARE @x nvarchar(9) = N'a{HALF}.bak'; BACKUP DATABASE shop TO DISK = @x WITH INIT",
    f"PRINT N'{HALF}'; IF 1 = 0 {BACKUP}",
    f"RAISERROR (N'{HALF}', 16, 1); IF 1 = 0 {BACKUP}",
    f"EXEC (N'PRINT N''{HALF}''; {BACKUP.replace(chr(39), chr(39) * 2)}')",
    f"SELECT name FROM msdb.dbo.backupset WHERE name = N'{HALF}' AND 1 = 0",
    f"EXEC sp_addumpdevice 'disk', N'{HALF}', N'{HALF}.bak'; EXEC sp_dropdevice N'{HALF}'",
)


@pytest.mark.parametrize("text", HALVES, ids=range(len(HALVES)))
def test_halves_of_surrogate_pairs(pair: Pair, text: str) -> None:
    """The embedded server makes U+FFFD of them, which files can hold; the proxy passes on what it gets."""
    pair.same(text, "SELECT 1 AS one", shown=lambda token: repr(token).replace("\\ud800", "\ufffd"))


DEEP = (
    f"IF 1 = 0 {BACKUP}; SELECT {'1+' * 20_000}1",
    f"SELECT {'1+' * 20_000}1 AS n FROM msdb.dbo.backupset WHERE 1 = 0",
    f"{'IF 1 = 1 ' * 3_000}{BACKUP}",
    f"{'BEGIN ' * 3_000}{BACKUP}{' END' * 3_000}",
    f"IF 1 = 0 {BACKUP}; SELECT {'(' * 5_000}1{')' * 5_000}",
)


@pytest.mark.slow
@pytest.mark.parametrize("text", DEEP, ids=range(len(DEEP)))
def test_what_nests_too_deeply_ends_in_an_error(pair: Pair, text: str) -> None:
    request = PacketType.SQL_BATCH, build_batch(text)
    answer = pair.through.ask(request, reset=True)
    assert [token.number for token in answer if isinstance(token, ServerMessage)] == [191]
    pair.same("SELECT 1 AS one")


@pytest.mark.slow
@pytest.mark.parametrize("field", ["host", "application", "library", "language", "database", "user"])
def test_a_login_with_half_of_a_surrogate_pair(pair: Pair, field: str) -> None:
    """It is let in or refused, and harms nothing that is remembered of it."""

    async def log_in() -> list[Token]:
        loop = asyncio.get_running_loop()
        _transport, stream = await loop.create_connection(SocketStream, pair.proxy.host, pair.proxy.port)
        wire = Wire(stream)  # type: ignore[arg-type]
        await wire.prelogin()
        answer = await wire.login(**{"password": PASSWORD, field: f"half{HALF}"})
        if any(isinstance(token, LoginAck) for token in answer):
            await wire.batch(f"{BACKUP}; SELECT COUNT(*) FROM msdb.dbo.backupset WHERE 1 = 0")
            answer = await wire.tokens()
            assert any(isinstance(token, Row) for token in answer)
        stream.abort()
        return answer

    with asyncio.Runner() as runner:
        assert not any(isinstance(t, ServerMessage) and t.error for t in runner.run(log_in())) or field in (
            "database",
            "language",
            "user",
        )

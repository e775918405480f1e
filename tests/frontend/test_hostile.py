"""Bytes that no client sends: the connection ends, or goes on; nothing else happens."""

from __future__ import annotations

import asyncio

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tdsproxy.frontend.connection import Connection, ConnectionSettings
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.streams import memory_pair
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import PacketType, packetize
from tdsproxy.tds.prelogin import EncryptionPolicy, Prelogin, build_prelogin
from tdsproxy.tds.rpc import RpcCall, RpcParam, build_rpc
from tdsproxy.tds.types import intn, nvarchar
from tests.frontend.fakes import FakeServer

PRELOGIN = packetize(PacketType.PRELOGIN, build_prelogin(Prelogin(version=(9, 0, 0, 0))), 4096)
LOGIN = packetize(PacketType.LOGIN7, build_login7(Login7(user="sa", password="secret")), 4096)
BATCH = packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096)
RPC = packetize(
    PacketType.RPC,
    build_rpc([RpcCall(10, params=(RpcParam("@a", 0, nvarchar(20), "x"), RpcParam("@b", 1, intn(4), None)))]),
    4096,
)
TRANSACTION = packetize(PacketType.TRANSACTION_MANAGER, b"\x16\0\0\0" + b"\0" * 20, 4096)


async def survive(data: bytes) -> None:
    near, far = memory_pair("192.0.2.7")
    how = ConnectionSettings(HandshakeSettings(EncryptionPolicy.OFF, None, 60.0), SessionLimit(5))
    serving = asyncio.create_task(Connection(far, FakeServer(), how).serve())
    near.write(data)
    for _ in range(3):
        await asyncio.sleep(0)
    near.close()
    async with asyncio.timeout(60):
        await serving  # raises what the connection lets through


@given(st.binary(max_size=200), st.sampled_from([b"", PRELOGIN, PRELOGIN + LOGIN, LOGIN + BATCH]))
@example(b"", b"")
@settings(max_examples=60, deadline=None)
def test_noise(noise: bytes, before: bytes) -> None:
    asyncio.run(survive(before + noise))


@given(
    st.sampled_from([PRELOGIN, LOGIN, BATCH, RPC, TRANSACTION]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), min_size=1, max_size=4),
)
@settings(max_examples=120, deadline=None)
def test_damaged_messages(message: bytes, damage: list[tuple[int, int]]) -> None:
    broken = bytearray(message)
    for position, value in damage:
        broken[position % len(broken)] = value
    before = b"" if message is PRELOGIN else PRELOGIN if message is LOGIN else PRELOGIN + LOGIN
    asyncio.run(survive(before + bytes(broken)))

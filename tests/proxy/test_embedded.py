"""The proxy in front of a server in its own process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from tdsproxy.frontend.certificates import ensure_self_signed, server_contexts
from tdsproxy.frontend.connection import ConnectionSettings
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.streams import memory_pair
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.proxy.embedded import EmbeddedSession
from tdsproxy.tds.client import ClientConnection, LoginEnd, ResponseEnd
from tdsproxy.tds.login7 import Login7
from tdsproxy.tds.prelogin import Encryption, EncryptionPolicy
from tdsproxy.tds.tls import client_context
from tdsproxy.tds.tokens import EnvChange, EnvChangeType, Row
from tests.frontend.fakes import FakeServer
from tests.frontend.wire import Wire


@contextlib.asynccontextmanager
async def connected(server: FakeServer, handshake: HandshakeSettings) -> AsyncIterator[Wire]:
    near, far = memory_pair("192.0.2.7")
    settings = ConnectionSettings(handshake, SessionLimit(5))
    serving = asyncio.create_task(EmbeddedSession(far, server, settings).serve())
    try:
        yield Wire(near)
    finally:
        near.close()
        async with asyncio.timeout(60):
            await serving


CLEAR = HandshakeSettings(EncryptionPolicy.OFF, None)


async def test_requests_and_attention_pass() -> None:
    server = FakeServer()
    async with connected(server, CLEAR) as wire:
        await wire.prelogin()
        tokens = await wire.login(packet_size=32767)
        sizes = [t.new for t in tokens if isinstance(t, EnvChange) and t.kind == EnvChangeType.PACKET_SIZE]
        assert sizes == ["32767"]
        await wire.batch("SELECT 1")
        assert [t.values for t in await wire.tokens() if isinstance(t, Row)] == [(1, "one"), (2, None)]
        await wire.batch("WAIT")
        await asyncio.to_thread(server.sessions[0].started.wait, 60)
        await wire.attention()
        assert (await wire.dones())[-1].error
        assert [done.status for done in await wire.dones()] == [0x20]
    assert server.sessions[0].request.address == "192.0.2.7"
    assert not server.sessions[0].request.encrypted
    assert await asyncio.to_thread(server.sessions[0].closed.wait, 60)


async def test_a_login_without_prelogin() -> None:
    async with connected(FakeServer(), CLEAR) as wire:
        assert len(await wire.login()) > 3


async def test_tls_ends_at_the_proxy(tmp_path: Path) -> None:
    server = FakeServer()
    contexts = server_contexts(ensure_self_signed(tmp_path))
    async with connected(server, HandshakeSettings(EncryptionPolicy.REQUIRED, contexts)) as wire:
        login = Login7(user="sa", password="secret", packet_size=32767)
        client = ClientConnection(login, encryption=Encryption.ON, tls=client_context(verify=False))
        client.start()
        rows = []
        sent = False
        async with asyncio.timeout(60):
            while True:
                wire.stream.write(client.data_to_send())
                events = client.feed(await wire.stream.read())
                rows += [event.values for event in events if isinstance(event, Row)]
                if not sent and any(isinstance(event, LoginEnd) for event in events):
                    client.batch("SELECT 1")
                    sent = True
                elif any(isinstance(event, ResponseEnd) for event in events):
                    break
    assert rows == [(1, "one"), (2, None)]
    assert server.sessions[0].request.encrypted
    assert client.packet_size == 16383

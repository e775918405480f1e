"""A client of a keeper that is just changing."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tdsproxy.keeper import protocol
from tdsproxy.keeper.address import SOCKET_NAME
from tdsproxy.keeper.client import KeeperClient
from tdsproxy.keeper.protocol import Kind
from tdsproxy.keeper.wire import read_message

STOPPING = 6


def test_a_keeper_that_is_stopping_is_waited_for(tmp_path: Path) -> None:
    """It accepts connections and answers none, until another one has the store."""
    greeted = 0

    async def keeper(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal greeted
        kind, _fields = await read_message(reader)
        assert kind is Kind.HELLO
        greeted += 1
        if greeted > STOPPING:
            writer.write(protocol.frame(Kind.WELCOME, protocol.VERSION, 50, 1))
            await reader.read()
        writer.close()

    async def starter() -> None:
        """One listens already."""

    async def main() -> None:
        server = await asyncio.start_unix_server(keeper, tmp_path / SOCKET_NAME)
        client = await KeeperClient.connect(tmp_path, starter)
        assert client.spid_base == 50
        assert greeted == STOPPING + 1
        await client.close()
        server.close()

    asyncio.run(main())

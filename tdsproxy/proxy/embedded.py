"""A client in front of the embedded server, in the same process.

The proxy greets the client and reads its login, then hands the leg over: what comes next the server's own
connection reads, and native statements run there. A second leg between the two would only copy bytes.
"""

from __future__ import annotations

import asyncio
import logging

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.connection import Connection, ConnectionSettings
from tdsproxy.frontend.handler import Server
from tdsproxy.frontend.handshake import Accepted, greet, read_login
from tdsproxy.frontend.streams import ByteStream
from tdsproxy.tds.errors import ProtocolError

log = logging.getLogger(__name__)


class EmbeddedSession:
    """One client of the proxy whose upstream is ``server``. An ``Endpoint`` of the listener."""

    def __init__(self, stream: ByteStream, server: Server, settings: ConnectionSettings) -> None:
        self._client = PacketChannel(stream)
        self._server = server
        self._settings = settings
        self._connection: Connection | None = None
        self._stopping = False

    def stop(self) -> None:
        """End as soon as no request runs."""
        self._stopping = True
        if self._connection is not None:
            self._connection.stop()

    async def serve(self) -> None:
        """Returns when the client or the server has ended the connection."""
        try:
            async with asyncio.timeout(self._settings.handshake.deadline):
                accepted = await self._accept()
        except TimeoutError:
            log.info("%s: no login within the time allowed", self._client.peer)
            self._client.abort()
        except ProtocolError as error:
            log.info("%s: closed for a breach of protocol: %s", self._client.peer, error)
            self._client.abort()
        else:
            if accepted is not None and not self._stopping:
                await self._hand_over(accepted)
        finally:
            self._client.close()

    async def _accept(self) -> Accepted | None:
        major, minor, build = self._server.version

        async def introduce(_fedauth: bool) -> tuple[tuple[int, int, int, int], int | None]:
            return (major, minor, build, 0), None

        greeting = await greet(self._client, self._settings.handshake, introduce)
        return None if greeting is None else await read_login(self._client, greeting)

    async def _hand_over(self, accepted: Accepted) -> None:
        self._connection = Connection(self._client, self._server, self._settings, accepted=accepted)
        await self._connection.serve()

"""A client in front of the embedded server: the same bytes, carried inside the process.

The client leg ends TLS; everything behind the LOGIN7 goes to the server's own connection as it comes, and
native statements run there.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import replace

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.frontend.connection import Connection, ConnectionSettings
from tdsproxy.frontend.handler import Server
from tdsproxy.frontend.handshake import Accepted, HandshakeSettings, greet, read_login
from tdsproxy.frontend.streams import ByteStream, memory_pair
from tdsproxy.proxy.relay import pump
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import DEFAULT_PACKET_SIZE, MAX_PACKET_SIZE, PacketType, packetize
from tdsproxy.tds.prelogin import EncryptionPolicy

log = logging.getLogger(__name__)


class EmbeddedSession:
    """One client of the proxy whose upstream is ``server``. An ``Endpoint`` of the listener."""

    def __init__(self, stream: ByteStream, server: Server, settings: ConnectionSettings) -> None:
        self._client = PacketChannel(stream)
        self._server = server
        self._settings = settings
        # Behind the proxy there is nothing to encrypt, and the login has come already.
        self._inner = replace(settings, handshake=HandshakeSettings(EncryptionPolicy.OFF, None))
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
                await self._relay(accepted)
        finally:
            self._client.close()

    async def _accept(self) -> Accepted | None:
        major, minor, build = self._server.version

        async def introduce(_fedauth: bool) -> tuple[tuple[int, int, int, int], int | None]:
            return (major, minor, build, 0), None

        greeting = await greet(self._client, self._settings.handshake, introduce)
        return None if greeting is None else await read_login(self._client, greeting)

    async def _relay(self, accepted: Accepted) -> None:
        near, far = memory_pair(self._client.peer)
        self._connection = Connection(
            far, self._server, self._inner, address=self._client.peer, encrypted=accepted.encrypted
        )
        self._client.max_packet = MAX_PACKET_SIZE
        near.write(packetize(PacketType.LOGIN7, accepted.body, DEFAULT_PACKET_SIZE))
        serving = asyncio.create_task(self._connection.serve())
        upward = asyncio.create_task(pump(self._client.read, near))
        try:
            await pump(near.read, self._client)
        finally:
            upward.cancel()
            near.close()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError, ProtocolError):
                await upward
            await serving

"""Accepting connections, and letting go of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from tdsproxy.frontend.streams import SocketStream

log = logging.getLogger(__name__)

CANCEL_GRACE = 5.0
"""Seconds that a cancelled connection gets to clean up."""


class Endpoint(Protocol):
    """What answers on one connection."""

    async def serve(self) -> None:
        """Returns when the connection is over."""
        ...

    def stop(self) -> None:
        """End as soon as no request runs."""
        ...


class Listener:
    """Accepts on one address; ``make`` gives each connection its endpoint."""

    def __init__(self, make: Callable[[SocketStream], Endpoint], *, backlog: int = 512) -> None:
        self._make = make
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._tasks: dict[asyncio.Task[None], Endpoint] = {}
        self._streams: set[SocketStream] = set()
        self._passed = (0, 0)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Begin to accept; the address that was bound. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, backlog=self._backlog)
        bound = self._server.sockets[0].getsockname()
        return str(bound[0]), int(bound[1])

    def _accept(self) -> SocketStream:
        stream = SocketStream()
        # The stream is connected right after this call; the task begins later.
        endpoint = self._make(stream)
        task = asyncio.get_running_loop().create_task(self._run(stream, endpoint))
        self._tasks[task] = endpoint
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return stream

    async def _run(self, stream: SocketStream, endpoint: Endpoint) -> None:
        self._streams.add(stream)
        try:
            await endpoint.serve()
        except ConnectionError as error:
            log.debug("connection from %s ended: %s", stream.peer, error)
        except Exception:
            log.exception("connection from %s ended by an internal error", stream.peer)
        finally:
            self._streams.discard(stream)
            self._passed = (self._passed[0] + stream.received, self._passed[1] + stream.sent)
            stream.close()

    @property
    def traffic(self) -> tuple[int, int]:
        """Bytes received from clients, and sent to them."""
        streams = list(self._streams)
        received = self._passed[0] + sum(stream.received for stream in streams)
        return received, self._passed[1] + sum(stream.sent for stream in streams)

    @property
    def connections(self) -> int:
        return len(self._tasks)

    def stop_accepting(self) -> None:
        if self._server is not None:
            self._server.close()

    async def close(self, grace: float) -> None:
        """Stop accepting, end idle connections, let running requests end within ``grace`` seconds, then
        cancel what is left."""
        self.stop_accepting()
        for endpoint in list(self._tasks.values()):
            endpoint.stop()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=grace)
        for task in list(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(set(self._tasks), timeout=CANCEL_GRACE)

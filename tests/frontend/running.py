"""A frontend on a free port of loopback, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path

from tdsproxy.frontend.certificates import ensure_self_signed, server_contexts
from tdsproxy.frontend.connection import Connection, ConnectionSettings
from tdsproxy.frontend.handler import Server
from tdsproxy.frontend.handshake import HandshakeSettings
from tdsproxy.frontend.listener import Listener
from tdsproxy.frontend.worker import SessionLimit
from tdsproxy.tds.prelogin import EncryptionPolicy


def settings(
    policy: EncryptionPolicy = EncryptionPolicy.OFF,
    directory: Path | None = None,
    deadline: float = 120.0,
    sessions: int = 100,
) -> ConnectionSettings:
    contexts = None if directory is None else server_contexts(ensure_self_signed(directory))
    return ConnectionSettings(HandshakeSettings(policy, contexts, deadline), SessionLimit(sessions))


@contextlib.contextmanager
def serving(server: Server, how: ConnectionSettings | None = None) -> Iterator[int]:
    """The port on which ``server`` answers."""
    how = how or settings()
    ready = threading.Event()
    ports: list[int] = []
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def main() -> None:
        listener = Listener(lambda stream: Connection(stream, server, how))
        ports.append((await listener.start("127.0.0.1", 0))[1])
        ready.set()
        await stop.wait()
        await listener.close(grace=0.2)

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield ports[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        assert not thread.is_alive()
        loop.close()

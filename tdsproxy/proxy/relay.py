"""Passing bytes on."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Sink(Protocol):
    """Where bytes go: a stream or a channel."""

    def write(self, data: bytes) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...


async def pump(read: Callable[[], Awaitable[bytes]], sink: Sink) -> None:
    """Copy until the source ends, then close the sink; a slow sink slows the source. A broken connection
    on either side is an end, too."""
    try:
        while data := await read():
            sink.write(data)
            await sink.drain()
    except ConnectionError:
        return
    finally:
        sink.close()

"""Byte streams under a TDS connection: a TCP socket, or a pair of queues inside the process.

Both hand out whatever bytes have arrived, in order, and both push back: a reader that does not read makes
the peer's ``drain`` wait.
"""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol, cast

HIGH_WATER = 256 * 1024
"""Bytes that may wait unread or unsent before the other side is made to wait."""


class ByteStream(Protocol):
    """An ordered, reliable stream of bytes in both directions."""

    @property
    def peer(self) -> str:
        """The address of the other side, for messages."""
        ...

    async def read(self) -> bytes:
        """The bytes that have arrived, at least one; ``b""`` at the end, also when the connection broke."""
        ...

    def take(self) -> bytes:
        """The bytes that have arrived, without waiting; perhaps none."""
        ...

    @property
    def ended(self) -> bool:
        """The peer will send no more; what has arrived may still wait."""
        ...

    def watch(self, on_change: Callable[[], None] | None) -> None:
        """Have ``on_change`` called, in the loop, whenever bytes arrive or the peer ends; None stops it. For
        those who can't wait in ``read``, as they wait for something else."""
        ...

    def divert(
        self, on_data: Callable[[bytes], bool] | None, on_room: Callable[[], None] | None = None
    ) -> bool:
        """Offer bytes to ``on_data`` as they arrive, in the loop and before they wait for a reader; True
        means that it has dealt with them. It is asked only while none wait. ``on_room`` is called when little
        enough is queued to be sent again. None stops both. False: this stream can't, nothing is diverted."""
        ...

    def transform(self, decode: Callable[[bytes], tuple[bytes, bool]] | None) -> bool:
        """Have what arrives pass through ``decode`` first, which gives the bytes to hand out and whether they
        are the last. False: not now (bytes wait unread), or this stream can't."""
        ...

    @property
    def full(self) -> bool:
        """So much is queued to be sent that the writer should wait."""
        ...

    def hold(self) -> None:
        """Let the peer wait: nothing more is read until ``release``."""
        ...

    def release(self) -> None: ...

    def write(self, data: bytes) -> None:
        """Queue bytes to be sent; silently dropped when the connection is gone."""
        ...

    def direct(self) -> Callable[[bytes], int] | None:
        """A way to send at once from any thread, as long as nothing is queued and nobody else writes; it says
        how many bytes were taken. None: not now, or this stream can't."""
        ...

    async def drain(self) -> None:
        """Wait until little enough is queued. Raises ConnectionError when the connection is gone."""
        ...

    def close(self) -> None:
        """Send what is queued, then close."""
        ...

    def abort(self) -> None:
        """Close now; what is queued is lost."""
        ...

    async def wait_closed(self) -> None: ...


class SocketStream(asyncio.Protocol):
    """A ``ByteStream`` over an asyncio transport; made by ``loop.create_server`` or ``create_connection``."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        self._reader: asyncio.Future[None] | None = None
        self._drainers: list[asyncio.Future[None]] = []
        self._reading_paused = False
        self._writing_paused = False
        self._eof = False
        self._lost = False
        self._error: Exception | None = None
        self._closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._peer = ""
        self.received = 0
        self.sent = 0
        self._on_change: Callable[[], None] | None = None
        self._on_data: Callable[[bytes], bool] | None = None
        self._on_room: Callable[[], None] | None = None
        self._decode: Callable[[bytes], tuple[bytes, bool]] | None = None
        self._descriptor: int | None = None
        self._descriptor_lock = threading.Lock()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=HIGH_WATER)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]) if isinstance(peer, tuple) else str(peer or "")
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            self._descriptor = sock.fileno()

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self._decode is not None:
            self._received_encoded(self._decode, data)
        elif self._on_data is None or self._chunks or not self._on_data(data):
            self._keep(data)

    def _received_encoded(self, decode: Callable[[bytes], tuple[bytes, bool]], data: bytes) -> None:
        if self._eof:
            return
        plain, self._eof = decode(data)
        if plain and (self._on_data is None or self._chunks or not self._on_data(plain)):
            self._keep(plain)
        if self._eof:
            self._wake_reader()

    def _keep(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH_WATER and not self._reading_paused and self._transport is not None:
            self._transport.pause_reading()
            self._reading_paused = True
        self._wake_reader()

    def eof_received(self) -> bool:
        self._eof = True
        self._wake_reader()
        return True  # our side stays open until the response is written

    def pause_writing(self) -> None:
        self._writing_paused = True

    def resume_writing(self) -> None:
        self._writing_paused = False
        self._wake_drainers()
        if self._on_room is not None:
            self._on_room()

    def connection_lost(self, exc: Exception | None) -> None:
        with self._descriptor_lock:
            # From here on the number may be another socket's.
            self._descriptor = None
        self._lost = True
        self._eof = True
        self._error = exc
        self._wake_reader()
        self._wake_drainers()
        if not self._closed.done():
            self._closed.set_result(None)

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)
        if self._on_change is not None:
            self._on_change()

    def _wake_drainers(self) -> None:
        for waiter in self._drainers:
            if not waiter.done():
                waiter.set_result(None)
        self._drainers.clear()

    # ByteStream

    @property
    def peer(self) -> str:
        return self._peer

    async def read(self) -> bytes:
        if not self._chunks:
            if self._eof:
                return b""
            self._reader = asyncio.get_running_loop().create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        return self.take()

    def take(self) -> bytes:
        if not self._chunks:
            return b""
        data = self._chunks[0] if len(self._chunks) == 1 else b"".join(self._chunks)
        self._chunks.clear()
        self._size = 0
        if self._reading_paused and not self._lost and self._transport is not None:
            self._reading_paused = False
            self._transport.resume_reading()
        return data

    @property
    def ended(self) -> bool:
        return self._eof

    def watch(self, on_change: Callable[[], None] | None) -> None:
        self._on_change = on_change

    def divert(
        self, on_data: Callable[[bytes], bool] | None, on_room: Callable[[], None] | None = None
    ) -> bool:
        self._on_data = on_data
        self._on_room = on_room
        return True

    def transform(self, decode: Callable[[bytes], tuple[bytes, bool]] | None) -> bool:
        if self._chunks or self._lost:
            return False
        self._decode = decode
        return True

    @property
    def full(self) -> bool:
        return self._writing_paused

    def hold(self) -> None:
        if not self._reading_paused and not self._lost and self._transport is not None:
            self._transport.pause_reading()
            self._reading_paused = True

    def release(self) -> None:
        if (
            self._reading_paused
            and self._size <= HIGH_WATER
            and not self._lost
            and self._transport is not None
        ):
            self._reading_paused = False
            self._transport.resume_reading()

    def write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._lost:
            self.sent += len(data)
            self._transport.write(data)

    def direct(self) -> Callable[[bytes], int] | None:
        transport = self._transport
        if self._lost or transport is None or self._descriptor is None or transport.is_closing():
            return None
        return None if transport.get_write_buffer_size() else self._send_now

    def _send_now(self, data: bytes) -> int:
        with self._descriptor_lock:
            if self._descriptor is None:
                return len(data)
            try:
                written = os.write(self._descriptor, data)
                self.sent += written
                return written
            except BlockingIOError:
                return 0
            except OSError:
                return len(data)  # the connection is gone, as the loop will see by itself

    async def drain(self) -> None:
        if self._writing_paused and not self._lost:
            waiter = asyncio.get_running_loop().create_future()
            self._drainers.append(waiter)
            await waiter
        if self._lost:
            raise ConnectionResetError("the peer has closed the connection")

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    async def wait_closed(self) -> None:
        await asyncio.shield(self._closed)


class _Pipe:
    """One direction of a memory stream."""

    def __init__(self) -> None:
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False
        self.readable = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.on_change: Callable[[], None] | None = None

    def put(self, data: bytes) -> None:
        if self.ended or not data:
            return
        self.chunks.append(data)
        self.size += len(data)
        self._changed()
        if self.size > HIGH_WATER:
            self.writable.clear()

    def _changed(self) -> None:
        self.readable.set()
        if self.on_change is not None:
            # Not from within the writer's own call: it may not be ready for what follows.
            asyncio.get_running_loop().call_soon(self.on_change)

    async def get(self) -> bytes:
        while not self.chunks:
            if self.ended:
                return b""
            self.readable.clear()
            await self.readable.wait()
        return self.take()

    def take(self) -> bytes:
        if not self.chunks:
            return b""
        data = self.chunks[0] if len(self.chunks) == 1 else b"".join(self.chunks)
        self.chunks.clear()
        self.size = 0
        self.writable.set()
        return data

    def end(self, *, discard: bool) -> None:
        self.ended = True
        if discard:
            self.chunks.clear()
        self._changed()
        self.writable.set()


class MemoryStream:
    """One end of an in-process connection; see ``memory_pair``."""

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: str) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._peer = peer

    @property
    def peer(self) -> str:
        return self._peer

    async def read(self) -> bytes:
        return await self._incoming.get()

    def take(self) -> bytes:
        return self._incoming.take()

    @property
    def ended(self) -> bool:
        return self._incoming.ended

    def watch(self, on_change: Callable[[], None] | None) -> None:
        self._incoming.on_change = on_change

    def divert(
        self, on_data: Callable[[bytes], bool] | None, on_room: Callable[[], None] | None = None
    ) -> bool:
        del on_data, on_room
        return False

    def transform(self, decode: Callable[[bytes], tuple[bytes, bool]] | None) -> bool:
        del decode
        return False

    def direct(self) -> Callable[[bytes], int] | None:
        return None

    @property
    def full(self) -> bool:
        return not self._outgoing.writable.is_set()

    def hold(self) -> None:
        """What is not read waits in the pipe, and its writer behind it."""

    def release(self) -> None:
        """See ``hold``."""

    def write(self, data: bytes) -> None:
        self._outgoing.put(data)

    async def drain(self) -> None:
        await self._outgoing.writable.wait()
        if self._outgoing.ended:
            raise ConnectionResetError("the peer has closed the connection")

    def close(self) -> None:
        self._outgoing.end(discard=False)
        self._incoming.end(discard=True)

    def abort(self) -> None:
        self._outgoing.end(discard=True)
        self._incoming.end(discard=True)

    async def wait_closed(self) -> None:
        return


def memory_pair(client_address: str = "") -> tuple[MemoryStream, MemoryStream]:
    """Two connected ends, (client's, server's). The server's end says that its peer is
    ``client_address``."""
    up, down = _Pipe(), _Pipe()
    return MemoryStream(down, up, "in-process"), MemoryStream(up, down, client_address)

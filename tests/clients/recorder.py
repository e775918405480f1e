"""A relay that keeps every byte of every connection, to be put on either side of the proxy."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tdsproxy.tds.packets import PacketType

LOGIN_ANSWERS = 2
"""Messages from the server before the session's own: to PRELOGIN and to LOGIN7."""


@dataclass
class Recorded:
    """One connection: what went to the server, and what came back."""

    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)

    def requests(self) -> bytes:
        """The bytes behind the LOGIN7."""
        position, is_login = 0, False
        while position < len(self.up) and not is_login:
            is_login = self.up[position] == PacketType.LOGIN7 and bool(self.up[position + 1] & 1)
            position += int.from_bytes(self.up[position + 2 : position + 4], "big")
        return bytes(self.up[position:])

    def answers(self) -> bytes:
        """The bytes behind the answer to the LOGIN7; jTDS sends no PRELOGIN."""
        skipped = LOGIN_ANSWERS if self.up[:1] == bytes((PacketType.PRELOGIN,)) else LOGIN_ANSWERS - 1
        position = 0
        while position < len(self.down) and skipped:
            skipped -= self.down[position + 1] & 1
            position += int.from_bytes(self.down[position + 2 : position + 4], "big")
        return bytes(self.down[position:])


class Recorder:
    """Listens on a free ``port`` and relays to ``target``, which may be set later."""

    def __init__(self) -> None:
        self.target: tuple[str, int] = ("127.0.0.1", 0)
        self.connections: list[Recorded] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def _accept(self) -> None:
        while not self._stop.is_set():
            try:
                near, _ = self._listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                continue
            recorded = Recorded()
            self.connections.append(recorded)
            thread = threading.Thread(target=self._relay, args=(near, far, recorded), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _relay(self, near: socket.socket, far: socket.socket, recorded: Recorded) -> None:
        with near, far, selectors.DefaultSelector() as selector, contextlib.suppress(OSError):
            selector.register(near, selectors.EVENT_READ, (far, recorded.up))
            selector.register(far, selectors.EVENT_READ, (near, recorded.down))
            while not self._stop.is_set():
                for key, _ in selector.select(0.2):
                    target, kept = key.data
                    data = key.fileobj.recv(65536)  # type: ignore[union-attr]
                    if not data:
                        return
                    kept += data
                    target.sendall(data)

    def close(self) -> None:
        self._stop.set()
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port)).close()
        self._listener.close()
        for thread in self._threads:
            thread.join(60)


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    recorder = Recorder()
    try:
        yield recorder
    finally:
        recorder.close()

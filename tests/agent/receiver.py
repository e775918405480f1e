"""A webhook's receiver and a mail server on loopback."""

from __future__ import annotations

import contextlib
import json
import socketserver
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

LIMIT = 120.0


@dataclass
class Receiver:
    """What was posted. ``fail`` answers of 500 come first."""

    url: str = ""
    notices: list[dict[str, Any]] = field(default_factory=list)
    fail: int = 0
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def wait_for(self, kind: str, state: str, subject: str | None = None) -> dict[str, Any]:
        """The first notice like this, of any subject or of one."""
        deadline = time.monotonic() + LIMIT
        with self.arrived:
            while True:
                for notice in self.notices:
                    if (notice["kind"], notice["state"]) == (kind, state) and subject in (
                        None,
                        notice["subject"],
                    ):
                        return notice
                left = deadline - time.monotonic()
                assert left > 0, f"no {state} notice of {kind}, but {self.notices}"
                self.arrived.wait(left)


@contextlib.contextmanager
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with found.arrived:
                if found.fail:
                    found.fail -= 1
                    self.send_error(500)
                    return
                found.notices.append(json.loads(body))
                found.arrived.notify_all()
            self.send_response(204)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            del words

    server = HTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/hook?token=secret"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """Its port, and the mails that it got."""
    mails: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    text = b""
                    while (part := self.rfile.readline()) != b".\r\n":
                        text += part
                    mails.append(text.decode())
                self.wfile.write(b"250 ok\r\n" if word != b"QUIT" else b"221 bye\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1]), mails
        finally:
            server.shutdown()
            thread.join()

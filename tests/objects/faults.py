"""An HTTP server on loopback, in this process, with what goes wrong on real object stores: in front of a WSGI
application that is the store, or of a store in a process of its own (``forward``)."""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Environ = dict[str, Any]
Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


@dataclass(frozen=True)
class Cut:
    """The connection is cut when so many bytes of the request's body have come; or, ``answer``, when so many
    of the answer's have been sent."""

    after: int = 0
    answer: bool = False


@dataclass(frozen=True)
class Slow:
    """The answer takes its time: so many seconds before it begins, and as many before each ``piece``."""

    seconds: float
    piece: int = 1 << 30


Fault = Callable[[Environ], tuple[int, str] | Cut | Slow | None]
"""Given a request: an HTTP status and the store's word for it, a cut, a delay, or None to let it pass."""


@dataclass
class FaultyServer:
    """``faults`` are asked in order about each request. ``seen`` are the requests that came: method, path
    with query, and the headers, as WSGI names them."""

    port: int = 0
    secure: bool = False
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)


def error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


def _cut(environ: Environ) -> ConnectionAbortedError:
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return ConnectionAbortedError()


def _cut_answer(answer: Iterable[bytes], environ: Environ, left: int) -> Iterator[bytes]:
    for piece in answer:
        yield piece[:left]
        left -= len(piece)
        if left <= 0:
            break
    raise _cut(environ)


def _slow_answer(answer: Iterable[bytes], slow: Slow) -> Iterator[bytes]:
    for whole in answer:
        for start in range(0, len(whole), slow.piece):
            time.sleep(slow.seconds)
            yield whole[start : start + slow.piece]


def _with_faults(server: FaultyServer, inner: Application) -> Application:
    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        server.seen.append((environ["REQUEST_METHOD"], path, headers))
        for fault in list(server.faults):
            match fault(environ):
                case None:
                    continue
                case Slow() as slow:
                    time.sleep(slow.seconds)
                    return _slow_answer(inner(environ, start_response), slow)
                case Cut(after, answer):
                    if answer:
                        return _cut_answer(inner(environ, start_response), environ, after)
                    environ["wsgi.input"].read(after)
                    raise _cut(environ)
                case (status, code):
                    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                    start_response(f"{status} {code}", [("Content-Type", "application/xml")])
                    return [error(code)]
        return inner(environ, start_response)

    return application


@contextmanager
def serving(
    server: FaultyServer, inner: Application, port: int = 0, tls: tuple[Path, Path] | None = None
) -> Iterator[None]:
    """``tls``: the files of a certificate and its key."""
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    context = None
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*tls)
    listener = make_server("127.0.0.1", port, _with_faults(server, inner), threaded=True, ssl_context=context)
    server.port, server.secure = listener.server_port, tls is not None
    thread = threading.Thread(target=listener.serve_forever, name="object store", daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown()
        thread.join(60)
        listener.server_close()


_HOP: frozenset[str] = frozenset({"connection", "keep-alive", "transfer-encoding"})


def forward(port: int) -> Application:
    """To a server on loopback that speaks HTTP."""

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {
            name[5:].replace("_", "-"): value for name, value in environ.items() if name.startswith("HTTP_")
        }
        if environ.get("CONTENT_TYPE"):
            headers["Content-Type"] = environ["CONTENT_TYPE"]
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length)
        method = environ["REQUEST_METHOD"]
        if length or method in ("PUT", "POST"):
            headers["Content-Length"] = str(length)
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        try:
            connection.request(method, environ["REQUEST_URI"], body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        kept = [(name, value) for name, value in answer.getheaders() if name.lower() not in _HOP]
        start_response(f"{answer.status} {answer.reason}", kept)
        return [content]

    return application

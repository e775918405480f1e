"""An S3 server on loopback (moto), in this process, with what goes wrong on real ones."""

from __future__ import annotations

import logging
import re
import socket
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

KEY, SECRET = "backupuser", "backupsecret"
IDENTITY = "S3 Access Key"
_KEY_ID = re.compile(r"Credential=([^/,]+)/")

Environ = dict[str, Any]
Fault = Callable[[Environ], tuple[int, str] | None]
"""Given a request: an HTTP status and the store's word for it, or None to let it pass. Status 0 cuts the
connection."""


@dataclass
class S3Server:
    """``faults`` are asked in order about each request. ``seen`` are the requests that came: method, path
    with query, and the headers, as WSGI names them."""

    port: int
    secure: bool = False
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def bucket(self, name: str) -> str:
        """Make one; its URL."""
        scheme = "https" if self.secure else "http"
        request = urllib.request.Request(f"{scheme}://{self.host}/{name}", method="PUT")
        request.add_header(
            "Authorization", f"AWS4-HMAC-SHA256 Credential={KEY}/20260101/us-east-1/s3/aws4_request"
        )
        # Its own certificate is not what is tested here.
        context = ssl._create_unverified_context() if self.secure else None
        urllib.request.urlopen(request, timeout=60, context=context).close()
        return f"s3://{self.host}/{name}"

    def keys(self, bucket: str) -> list[str]:
        """Objects that are visible."""
        return sorted(_backend().buckets[bucket].keys)

    def object(self, bucket: str, key: str) -> Any:
        """moto's own record of an object."""
        return _backend().buckets[bucket].keys[key]

    def open_uploads(self, bucket: str) -> int:
        """Uploads that were begun and neither completed nor aborted."""
        return len(_backend().buckets[bucket].multiparts)

    @contextmanager
    def fault(self, fault: Fault) -> Iterator[None]:
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)


def _backend() -> Any:
    from moto.core import DEFAULT_ACCOUNT_ID
    from moto.s3.models import s3_backends

    return s3_backends[DEFAULT_ACCOUNT_ID]["aws"]


def error(code: str) -> bytes:
    return f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()


def _credentials(environ: Environ) -> tuple[int, str] | None:
    found = _KEY_ID.search(environ.get("HTTP_AUTHORIZATION", ""))
    if environ.get("HTTP_X_AMZ_SECURITY_TOKEN") == "expired":
        return 400, "ExpiredToken"
    if found is None or found[1] != KEY:
        return 403, "InvalidAccessKeyId"
    return None


def _context(files: tuple[Path, Path] | None) -> ssl.SSLContext | None:
    if files is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    return context


@contextmanager
def s3_server(port: int = 0, tls: tuple[Path, Path] | None = None) -> Iterator[S3Server]:
    """``tls``: the files of a certificate and its key."""
    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    inner = DomainDispatcherApplication(create_backend_app)
    server = S3Server(port, secure=tls is not None)
    server.faults.append(_credentials)

    def application(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {name[5:]: value for name, value in environ.items() if name.startswith("HTTP_")}
        path = environ["PATH_INFO"] + ("?" + environ["QUERY_STRING"] if environ["QUERY_STRING"] else "")
        server.seen.append((environ["REQUEST_METHOD"], path, headers))
        for fault in list(server.faults):
            answer = fault(environ)
            if answer is None:
                continue
            status, code = answer
            if status == 0:
                environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
                raise ConnectionAbortedError
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
            start_response(f"{status} {code}", [("Content-Type", "application/xml")])
            return [error(code)]
        return inner(environ, start_response)

    listener = make_server("127.0.0.1", port, application, threaded=True, ssl_context=_context(tls))
    server.port = listener.server_port
    thread = threading.Thread(target=listener.serve_forever, name="s3", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        thread.join(60)
        listener.server_close()

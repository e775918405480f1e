"""HTTP for whoever watches: metrics for Prometheus, ``/healthz``, and the status page. It only reads.

One request a connection, GET and HEAD alone, bounded in size and time. What it shows comes from the store's
keeper, asked in a thread, so that the event loop that serves clients never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import formatdate
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, urlsplit

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.exposition import CONTENT_TYPE, Metric, exposition
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Rows
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.keeper.client import SyncKeeper
    from tdsproxy.keeper.options import KeeperOptions

log = logging.getLogger(__name__)

_LARGEST: Final = 16384
_SECONDS: Final = 10.0
_ASK_SECONDS: Final = 30.0
_MOST: Final = 64
_ERROR: Final = 11
_REASONS: Final = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
_HEADERS: Final = (
    "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self';"
    " img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'\r\n"
)
_PAGE: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
}


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    kind: str
    body: bytes


def text(status: int, said: str) -> Answer:
    return Answer(status, "text/plain; charset=utf-8", f"{said}\n".encode())


Route = Callable[[Mapping[str, str]], Answer]
"""Answers a request with these parameters; called in a thread. Raises SqlError, OSError."""


class Store:
    """Asks the store's keeper; one question at a time."""

    def __init__(self, options: KeeperOptions) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._keeper: SyncKeeper | None = None

    def ask(self, procedure: str, *values: Value) -> list[tuple[Value, ...]]:
        """The rows of a procedure. Raises SqlError, OSError."""
        from tdsproxy.keeper.address import KeeperUnavailable
        from tdsproxy.keeper.start import connect_sync

        names = [f"@a{place}" for place in range(1, len(values) + 1)]
        session = SessionContext("sa", server_roles=frozenset({"sysadmin"}), application="tdsproxy status")
        request = NativeRequest(
            f"EXEC {procedure} {', '.join(names)}", session, variables=dict(zip(names, values, strict=True))
        )
        rows: list[tuple[Value, ...]] = []
        with self._lock:
            try:
                if self._keeper is None:
                    self._keeper = connect_sync(self._options)
                for reply in self._keeper.run(request):
                    if isinstance(reply, Rows):
                        rows += [tuple(row) for row in reply.rows]
                    elif isinstance(reply, Message) and reply.severity >= _ERROR:
                        raise SqlError(reply)
            except KeeperUnavailable as error:
                raise ConnectionError(str(error)) from error
        return rows

    def close(self) -> None:
        with self._lock:
            if self._keeper is not None:
                self._keeper.close()
                self._keeper = None


def metrics_routes(store: Store, own: Callable[[], list[Metric]]) -> dict[str, Route]:
    """``/metrics`` with what this process counts (``own``) and what the keeper does, and ``/healthz``."""

    def metrics(_given: Mapping[str, str]) -> Answer:
        found = own()
        up = Metric("tdsproxy_keeper_up", "gauge", "1 when the keeper of the store answers.")
        try:
            found += [Metric.of(json.loads(str(row[0]))) for row in store.ask("sp_metrics")]
            up.add(1)
        except (SqlError, OSError) as error:
            log.warning("the keeper does not tell its metrics: %s", error)
            up.add(0)
        return Answer(200, CONTENT_TYPE, exposition([*found, up]).encode())

    return {"/metrics": metrics, "/healthz": _health(store)}


def _health(store: Store) -> Route:
    def health(_given: Mapping[str, str]) -> Answer:
        try:
            store.ask("sp_status", "plain")
        except (SqlError, OSError) as error:
            log.warning("the keeper does not answer: %s", error)
            return text(503, "the keeper of the store does not answer")
        return text(200, "ok")

    return health


def page_routes(store: Store) -> dict[str, Route]:
    """The page, and the JSON that it shows."""

    def file(name: str, kind: str) -> Route:
        return lambda given: Answer(200, kind, files("tdsproxy.cli").joinpath("page", name).read_bytes())

    def status(_given: Mapping[str, str]) -> Answer:
        ((found,),) = store.ask("sp_status", "timeline")
        return Answer(200, "application/json", str(found).encode())

    def doctor(_given: Mapping[str, str]) -> Answer:
        names = ("level", "subject", "text", "remedy")
        rows = [dict(zip(names, row, strict=True)) for row in store.ask("sp_doctor", "1")]
        return Answer(200, "application/json", json.dumps({"findings": rows}, ensure_ascii=False).encode())

    def script(given: Mapping[str, str]) -> Answer:
        return _script(store, given)

    pages = {path: file(*found) for path, found in _PAGE.items()}
    return {
        **pages,
        "/status.json": status,
        "/doctor.json": doctor,
        "/script": script,
        "/healthz": _health(store),
    }


def _script(store: Store, given: Mapping[str, str]) -> Answer:
    """The T-SQL that restores a database to a moment, under another name."""
    from tdsproxy.cli.restore_script import script_of

    name, moment = given.get("database"), given.get("moment")
    if not name or not moment:
        return text(400, "Name a database and a moment.")
    rows = store.ask("sp_restore_plan", name, moment)
    if not rows:
        return text(404, "Nothing leads to that moment.")
    return Answer(200, "text/plain; charset=utf-8", script_of(name, moment, rows).encode())


class Web:
    """One address with its routes."""

    def __init__(
        self, routes: Mapping[str, Route], hosts: frozenset[str] = frozenset(), store: Store | None = None
    ) -> None:
        """``hosts`` are names besides addresses and localhost that requests may name as their host: pages of
        others must not reach this one through a name that they have made point here. ``store`` is closed
        with it."""
        self._routes = routes
        self._hosts = hosts
        self._store = store
        self.host, self.port = "", 0
        self._server: asyncio.Server | None = None
        self._open = 0

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """The address that was bound. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, host, port, limit=_LARGEST)
        bound = self._server.sockets[0].getsockname()
        self.host, self.port = str(bound[0]), int(bound[1])
        return self.host, self.port

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._store is not None:
            self._store.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST:
                await self._serve(reader, writer)
        except (
            TimeoutError,
            ConnectionError,
            asyncio.IncompleteReadError,
            asyncio.LimitOverrunError,
        ) as error:
            log.debug("a request over HTTP ended: %s", error)
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ")
        fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(":") for line in lines[1:])
            if colon
        }
        try:
            answer = await self._answer(words, fields.get("host", ""))
        except Exception:  # whoever asks gets an answer in any case
            log.exception("a request over HTTP ended by an internal error: %s", " ".join(words[:2])[:200])
            answer = text(500, "That failed by an internal error: see the log of the server.")
        body = b"" if words[0] == "HEAD" else answer.body
        writer.write(
            (
                f"HTTP/1.1 {answer.status} {_REASONS[answer.status]}\r\nDate: {formatdate(usegmt=True)}\r\n"
                f"Content-Type: {answer.kind}\r\nContent-Length: {len(answer.body)}\r\n{_HEADERS}"
                "Connection: close\r\n\r\n"
            ).encode("latin-1")
            + body
        )
        async with asyncio.timeout(_SECONDS):
            await writer.drain()

    async def _answer(self, words: list[str], host: str) -> Answer:
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return text(400, "That is not HTTP.")
        if words[0] not in ("GET", "HEAD"):
            return text(405, "Only reading is possible here.")
        if not self._is_ours(host):
            return text(403, "This host name is not known here.")
        try:
            target = urlsplit(words[1])
            given = {name: values[0] for name, values in parse_qs(target.query).items()}
        except ValueError:
            return text(400, "The address can't be read.")
        route = self._routes.get(target.path)
        if route is None:
            return text(404, "There is nothing here.")
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return await asyncio.to_thread(route, given)
        except SqlError as error:
            return text(400 if error.messages[0].number in (911, 241) else 503, error.messages[0].text)
        except (OSError, TimeoutError) as error:
            log.warning("a request over HTTP failed: %s", error)
            return text(503, "The keeper of the store does not answer.")

    def _is_ours(self, host: str) -> bool:
        name = host.rpartition(":")[0] if host.count(":") == 1 or host.startswith("[") else host
        if "]" in host and not host.endswith("]"):
            name = host.rpartition(":")[0]
        name = name.strip("[]").lower()
        with contextlib.suppress(ValueError):
            ipaddress.ip_address(name)
            return True
        return name in ("localhost", "") or name in self._hosts


def server_metrics(sessions: int, received: int, sent: int, started: float) -> list[Metric]:
    """What the serving process counts itself."""
    found: list[Any] = [
        ("tdsproxy_sessions", "gauge", "Connections of clients.", sessions),
        ("tdsproxy_received_bytes_total", "counter", "Bytes from clients.", received),
        ("tdsproxy_sent_bytes_total", "counter", "Bytes to clients.", sent),
        ("tdsproxy_start_time_seconds", "gauge", "When the server was started, since 1970.", started),
    ]
    metrics = []
    for name, kind, told, value in found:
        metric = Metric(name, kind, told)
        metric.add(value)
        metrics.append(metric)
    return metrics

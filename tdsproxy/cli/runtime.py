"""From options to a listener that answers, and back to nothing on SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from tdsproxy.cli.accounts import ensure_sa, given_password
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import SYSTEM_AUTHORITIES, Address, ServeOptions, follow_options, sync_options
from tdsproxy.cli.upstream_trust import is_loopback, upstream_trust
from tdsproxy.keeper.log_format import configure
from tdsproxy.store.threads import task_ended, tell_of_ends

if TYPE_CHECKING:
    from tdsproxy.cli.web import Web
    from tdsproxy.frontend.handshake import HandshakeSettings
    from tdsproxy.frontend.listener import Endpoint, Listener
    from tdsproxy.frontend.streams import SocketStream
    from tdsproxy.frontend.worker import SessionLimit
    from tdsproxy.keeper.client import SyncKeeper
    from tdsproxy.keeper.exposition import Metric
    from tdsproxy.keeper.options import KeeperOptions
    from tdsproxy.proxy.upstream import UpstreamSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

GRACE: Final = 10.0
"""Seconds that running statements get after SIGTERM."""

UPSTREAM_DEADLINE: Final = 10.0
"""Seconds that connecting to the upstream may take: less than clients wait, so that they hear of it."""


def serve(options: ServeOptions, *, proxy: bool) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. Raises CommandError and OptionError."""
    configure(options.log_level, as_json=options.log_json)
    password = given_password(options.sa_password_file, os.environ)
    _make_store(options.store)
    if options.follow is not None:
        _begin_to_follow(options)
    if options.databases:
        _place(options)
    _note_operation(options)
    if options.upstream is not None:
        return _run(_serve_upstream(options, options.upstream))
    keeper = _KeeperStart(options, password)  # its process starts while this one goes on importing
    try:
        with _embedded(options, keeper, proxy=proxy) as (make, handshake):
            return _run(_serve(options, make, handshake))
    finally:
        keeper.close()


def _note_operation(options: ServeOptions) -> None:
    """Leave the settings of operation where the keeper finds them. Raises CommandError."""
    tables = {"notices": options.notices, "retention": options.retention, "trials": options.trials}
    given = {name: table for name, table in tables.items() if table is not None}
    if not given:
        return
    from tdsproxy.agent.settings import SettingsError, write_settings

    try:
        write_settings(options.store, given)
    except SettingsError as error:
        raise CommandError(f"The configuration can't be used: {error}.") from error
    except OSError as error:
        raise CommandError(f"The store '{options.store}' can't be written: {error.strerror}.") from error


def _make_store(store: Path) -> None:
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"The store '{store}' can't be made: {error.strerror}.") from error


def _begin_to_follow(options: ServeOptions) -> None:
    """A standby begins with what the other store was synchronised to. Raises CommandError."""
    if (options.store / "master.db").exists() or options.follow is None:
        return
    from tdsproxy.cli.restore_all import fetch_store, open_origin

    origin = open_origin(options, options.follow, options.follow_secret_file)
    fetch_store(options, origin, options.follow_key_file)


def _place(options: ServeOptions) -> None:
    """Note which files the databases are in. Raises CommandError."""
    from apsw import Error as SqliteError

    from tdsproxy.catalog.catalog import initialise
    from tdsproxy.catalog.placement import PlacementError

    missing = [path for _name, path in options.databases if not path.is_file()]
    if missing:
        raise CommandError(f"The database file '{missing[0]}' is not there.")
    try:
        with initialise(options.store) as catalog:
            databases = catalog.databases
            databases.placement.set(options.databases)
            for name, path in options.databases:
                known = databases.find(name)
                if known is not None and known.path(options.store).resolve() != path.resolve():
                    raise PlacementError(f"The database '{name}' is in another file already.")
            databases.refresh()
    except PlacementError as error:
        raise CommandError(str(error)) from error
    except (OSError, SqliteError) as error:
        raise CommandError(f"The store can't be used: {error}.") from error


def _keeper_options(options: ServeOptions) -> KeeperOptions:
    from tdsproxy.keeper.options import KeeperOptions

    return KeeperOptions(
        store=options.store,
        backup_directory=options.backup_dir,
        allowed=options.allow_dir,
        mappings=options.path_map,
        log_level=options.log_level,
        log_json=options.log_json,
        log_bytes=options.log_keep_size,
        log_seconds=options.log_keep_time,
        max_rate=options.max_rate,
        s3_http=options.s3_http,
        ca_file=options.ca_file,
        sync=sync_options(options),
        follow=follow_options(options),
    )


class _Task(Generic[T]):
    """Work in a thread of its own that begins at once; ``result`` waits for it, and raises what it raised."""

    def __init__(self, work: Callable[[], T], name: str) -> None:
        self._future: Future[T] = Future()
        self._thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)
        self._thread.start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._future.set_result(work())
        except BaseException as error:  # noqa: BLE001 - it is raised again where the result is asked for
            self._future.set_exception(error)

    def result(self) -> T:
        return self._future.result()

    def error(self) -> BaseException | None:
        return self._future.exception()


class _KeeperStart:
    """Beside this process's own start: reach the store's keeper, which is started when there is none, and see
    to the login sa."""

    def __init__(self, options: ServeOptions, password: str | None) -> None:
        durable = options.capture == "sync"
        self._keeper = _Task(
            lambda: _reach_keeper(_keeper_options(options), durable_commits=durable), "keeper start"
        )
        self._account = _Task(lambda: _see_to_sa(options.store, password), "login sa")

    def wait(self) -> tuple[SyncKeeper, Path | None]:
        """The keeper, and the file of the password that was made for sa. Raises CommandError."""
        from apsw import Error as SqliteError

        from tdsproxy.keeper.address import KeeperUnavailable

        try:
            keeper = self._keeper.result()
        except (KeeperUnavailable, OSError) as error:
            raise CommandError(f"The keeper of the store can't be reached: {error}.") from error
        try:
            return keeper, self._account.result()
        except (OSError, SqliteError) as error:
            raise CommandError(f"The store can't be used: {error}.") from error

    def close(self) -> None:
        if self._keeper.error() is None:
            self._keeper.result().close()


def _reach_keeper(options: KeeperOptions, *, durable_commits: bool) -> SyncKeeper:
    """Raises KeeperUnavailable, OSError."""
    from tdsproxy.keeper.launch import ensure_keeper

    ensure_keeper(options)  # first of all: while its process starts, the client is imported here
    from tdsproxy.keeper.start import connect_sync

    return connect_sync(options, durable_commits=durable_commits, serves=True)


def _see_to_sa(store: Path, password: str | None) -> Path | None:
    """Raises OSError, apsw.Error."""
    from tdsproxy.catalog.catalog import initialise

    with initialise(store) as catalog:
        return ensure_sa(catalog, password)


def _see_to_policies(options: ServeOptions) -> None:
    """The policies of the configuration are those of the store; the agent sees that they have changed."""
    import datetime as dt

    from apsw import Error as SqliteError

    from tdsproxy.agent.policy_book import FILE, PolicyBook

    try:
        book = PolicyBook(options.store, dt.datetime.now)
        try:
            book.put(FILE, options.policy, all_of_source=True)
        finally:
            book.close()
    except (OSError, SqliteError) as error:
        log.error("the policies can't be written to msdb: %s", error)
    except Exception:  # nobody waits for it before the server ends
        log.exception("the policies can't be written to msdb")


async def _serve_upstream(options: ServeOptions, upstream: Address) -> int:
    """In front of another server."""
    from tdsproxy.keeper.launch import ensure_keeper

    # first of all: while its process starts, the rest is imported here
    launch = _Task(lambda: ensure_keeper(_keeper_options(options)), "keeper start")
    from tdsproxy.cli.local_server import BesideUpstream
    from tdsproxy.frontend.certificates import CertificateError
    from tdsproxy.keeper.address import KeeperUnavailable
    from tdsproxy.keeper.start import connect
    from tdsproxy.proxy.session import ProxySession, ProxySettings

    try:
        beside = BesideUpstream(options.store, options.backup_dir, _keeper_options(options))
        settings = ProxySettings(_handshake(options), _upstream(options, upstream), _limit(options), beside)
        launch.result()
        keeper = await connect(_keeper_options(options), serves=True)
    except CertificateError as error:
        raise CommandError(str(error)) from error
    except (KeeperUnavailable, OSError) as error:
        raise CommandError(f"The keeper of the store can't be reached: {error}.") from error
    try:
        return await _serve(
            options, lambda stream: ProxySession(stream, keeper, settings), settings.handshake
        )
    finally:
        await asyncio.to_thread(beside.close)
        await keeper.close()


def _upstream(options: ServeOptions, address: Address) -> UpstreamSettings:
    """Raises CommandError."""
    from ssl import SSLError

    from tdsproxy.proxy.upstream import UpstreamSettings, UpstreamTls, upstream_context

    chosen, authorities = upstream_trust(address.host, options.upstream_tls, options.upstream_ca)
    mode = UpstreamTls(chosen)
    if mode is not UpstreamTls.OFF and authorities is None and not is_loopback(address.host):
        log.warning("the certificate of the upstream %s is not verified", address)
    try:
        context = upstream_context(
            mode,
            verify=authorities is not None,
            authorities=None if authorities in (None, SYSTEM_AUTHORITIES) else Path(str(authorities)),
        )
    except (OSError, SSLError) as error:
        raise CommandError(f"The authorities '{authorities}' can't be used: {error}.") from error
    return UpstreamSettings(
        address.host,
        address.port,
        mode,
        context,
        options.upstream_cert_name,
        deadline=UPSTREAM_DEADLINE,
        patience=options.upstream_wait,
    )


def _limit(options: ServeOptions) -> SessionLimit:
    from tdsproxy.frontend.worker import SessionLimit

    return SessionLimit(options.max_connections, options.max_connections_per_login)


@contextlib.contextmanager
def _embedded(
    options: ServeOptions, start: _KeeperStart, *, proxy: bool
) -> Iterator[tuple[Callable[[SocketStream], Endpoint], HandshakeSettings]]:
    """Endpoints of the embedded server, behind the proxy's client leg or alone; it is closed at the end."""
    from tdsproxy.frontend.certificates import CertificateError
    from tdsproxy.frontend.connection import Connection, ConnectionSettings
    from tdsproxy.proxy.embedded import EmbeddedSession
    from tdsproxy.server.engine import Engine

    try:
        settings = ConnectionSettings(_handshake(options), _limit(options))
    except CertificateError as error:
        raise CommandError(str(error)) from error
    keeper, made = start.wait()
    engine = Engine(options.store, keeper, backup_directory=options.backup_dir)
    if made is not None:
        print(f"A password for sa was made: see {made}", file=sys.stderr, flush=True)
    try:
        if proxy:
            yield lambda stream: EmbeddedSession(stream, engine, settings), settings.handshake
        else:
            yield lambda stream: Connection(stream, engine, settings), settings.handshake
    finally:
        engine.close()


def _handshake(options: ServeOptions) -> HandshakeSettings:
    """Raises CertificateError."""
    from tdsproxy.frontend.certificates import CertificatePair, ensure_self_signed, server_contexts
    from tdsproxy.frontend.handshake import HandshakeSettings
    from tdsproxy.tds.prelogin import EncryptionPolicy

    if options.tls == "off":
        return HandshakeSettings(EncryptionPolicy.OFF, None, options.login_timeout)
    if options.tls_cert is not None and options.tls_key is not None:
        pair = CertificatePair(options.tls_cert, options.tls_key)
    else:
        pair = ensure_self_signed(options.store / "tls")
    return HandshakeSettings(EncryptionPolicy(options.tls), server_contexts(pair), options.login_timeout)


def _run(main: Coroutine[Any, Any, int]) -> int:
    """On uvloop where there is one."""
    if sys.platform == "linux":
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(main)
    return asyncio.run(main)


async def _serve(
    options: ServeOptions, make: Callable[[SocketStream], Endpoint], handshake: HandshakeSettings
) -> int:
    from tdsproxy.frontend.listener import Listener

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(task_ended)
    tell_of_ends()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, _read_again, handshake)
    listener = Listener(make)
    wanted = options.listen
    try:
        host, port = await listener.start(wanted.host, wanted.port)
    except OSError as error:
        raise CommandError(f"Nothing can listen on {wanted}: {error.strerror or error}.") from error
    watched = await _start_web(options, listener)
    if options.ready_file is not None:
        places = {name: f"{web.host}:{web.port}" for name, web in watched.items()}
        _write_ready(options.ready_file, host, port, places)
    print(f"ready: {Address(host, port)}", file=sys.stderr, flush=True)
    policies = asyncio.create_task(asyncio.to_thread(_see_to_policies, options))
    # What is loaded by now stays: the collector need not walk it again while requests wait.
    gc.collect()
    gc.freeze()
    await stop.wait()
    log.info("stopping")
    await policies
    for web in watched.values():
        web.close()
    await listener.close(GRACE)
    if options.ready_file is not None:
        with contextlib.suppress(FileNotFoundError):
            options.ready_file.unlink()
    return 0


def _read_again(handshake: HandshakeSettings) -> None:
    """SIGHUP: the certificate may have changed. What can't be used is told, and changes nothing."""
    from tdsproxy.frontend.certificates import CertificateError

    if handshake.contexts is not None:
        try:
            handshake.contexts.reload()
        except CertificateError as error:
            log.error("%s The last one serves on.", error)


async def _start_web(options: ServeOptions, listener: Listener) -> dict[str, Web]:
    """What answers over HTTP, by the option's name. Raises CommandError."""
    started: dict[str, Web] = {}
    if options.metrics is None and options.http is None:
        return started
    from tdsproxy.cli import web

    store = web.Store(_keeper_options(options))
    begun = time.time()

    def own() -> list[Metric]:
        return web.server_metrics(listener.connections, *listener.traffic, begun)

    wanted = (
        ("metrics", options.metrics, web.metrics_routes(store, own)),
        ("http", options.http, web.page_routes(store)),
    )
    for name, address, routes in wanted:
        if address is None:
            continue
        served = web.Web(routes, frozenset({address.host.lower()}), store)
        try:
            await served.start(address.host, address.port)
        except OSError as error:
            raise CommandError(f"Nothing can listen on {address}: {error.strerror or error}.") from error
        print(f"{name}: http://{Address(served.host, served.port)}", file=sys.stderr, flush=True)
        started[name] = served
    return started


def _write_ready(path: Path, host: str, port: int, places: dict[str, str]) -> None:
    """Written beside and renamed: whoever waits for the file never reads half of it. Raises CommandError."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        content = {"host": host, "port": port, "pid": os.getpid(), **places}
        scratch.write_text(json.dumps(content), encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise CommandError(f"The ready file '{path}' can't be written: {error.strerror}.") from error

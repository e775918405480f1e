"""The embedded server beside an upstream: it answers what is about msdb, on the proxy's own store."""

from __future__ import annotations

import datetime as dt
import hashlib
import threading
from typing import TYPE_CHECKING

from tdsproxy.frontend.handler import LoginRequest, Session

if TYPE_CHECKING:
    from pathlib import Path

    from tdsproxy.keeper.client import SyncKeeper
    from tdsproxy.keeper.options import KeeperOptions
    from tdsproxy.server.engine import Engine


class BesideUpstream:
    """``proxy.local.LocalServer``. Begins when it is first asked for something; from any thread."""

    def __init__(self, store: Path, backup_directory: Path | None, keeper: KeeperOptions) -> None:
        self._store = store
        self._backup_directory = backup_directory
        self._options = keeper
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._keeper: SyncKeeper | None = None

    def open(
        self, login: str, roles: frozenset[str], *, host: str, application: str, address: str
    ) -> Session:
        """Raises SqlError, KeeperUnavailable, OSError."""
        from tdsproxy.catalog.logins import Login

        # Whoever has the same name in our own store is somebody else: rights are the upstream's to say.
        sid = hashlib.sha256(f"upstream login {login}".encode("utf-8", "surrogatepass")).digest()[:16]
        now = dt.datetime.now()
        made = Login(0, login, sid, "", False, "master", "us_english", roles, now, now)
        request = LoginRequest(login, None, "msdb", host, application, address=address)
        return self._started().trusted_session(made, request)

    def _started(self) -> Engine:
        with self._lock:
            if self._engine is None:
                from tdsproxy.keeper.start import connect_sync
                from tdsproxy.server.engine import Engine

                if self._keeper is None:
                    self._keeper = connect_sync(self._options)
                self._engine = Engine(self._store, self._keeper, backup_directory=self._backup_directory)
            return self._engine

    def close(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
            if self._keeper is not None:
                self._keeper.close()

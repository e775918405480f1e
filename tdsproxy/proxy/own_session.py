"""The thread of a connection that interprets, and the session of the embedded server that it may need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TypeVar

from tdsproxy.frontend.handler import Session
from tdsproxy.frontend.worker import SessionWorker
from tdsproxy.proxy.local import LocalServer
from tdsproxy.proxy.natives import Origin
from tdsproxy.proxy.probe import SessionFacts

log = logging.getLogger(__name__)

T = TypeVar("T")


class OwnSession:
    """Both begin when they are first needed; one of each for a connection."""

    def __init__(self, server: LocalServer | None, origin: Origin) -> None:
        self._server = server
        self._origin = origin
        self._worker: SessionWorker | None = None
        self._session: Session | None = None
        self.left: list[str] = []
        """Temporary tables of batches that were cancelled, which are still to be dropped."""

    @property
    def is_possible(self) -> bool:
        """Whether there is an embedded server to ask."""
        return self._server is not None

    def submit(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``work`` in the thread."""
        if self._worker is None:
            self._worker = SessionWorker("interpreter")
        return self._worker.submit(work)

    def session(self, facts: SessionFacts) -> Session | None:
        """The session, as the login that ``facts`` tell. Called in the thread. Raises SqlError."""
        if self._session is None and self._server is not None:
            origin = self._origin
            self._session = self._server.open(
                facts.login,
                facts.server_roles,
                host=origin.host,
                application=origin.application,
                address=origin.address,
            )
        return self._session

    def cancel(self) -> None:
        """Stop what the session runs."""
        if self._session is not None:
            self._session.cancel()

    def close(self) -> None:
        """The connection has ended."""
        if self._session is not None:
            self.cancel()
            self.submit(self._session.close)
        if self._worker is not None:
            self._worker.stop()

"""One thread per session, and the bounded way from it to the event loop.

A session's database handles belong to one thread, so all of its calls run there, one after the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
_log = logging.getLogger(__name__)

OUTBOX_LIMIT = 512 * 1024
"""Bytes of a response that may wait for a slow client before the session's thread is made to wait."""


class OutboxClosed(Exception):
    """The response is over (cancelled, or the client has gone): the producer should stop."""


class Outbox:
    """Response bytes on their way from the worker thread to the connection's coroutine.

    ``put`` blocks the thread while more than ``OUTBOX_LIMIT`` bytes wait; ``get`` awaits in the loop. With
    ``notify``, which is called in the loop when there is something to ``take``, no coroutine need wait: until
    ``listen`` is called.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, notify: Callable[[], None] | None = None) -> None:
        self._loop = loop
        self._notify = notify
        self._lock = threading.Lock()
        self._room: threading.Condition | None = None
        self._data = bytearray()
        self._flush = False
        self._finished = False
        self._closed = False
        self._used = False
        self._claimed = False
        self._left = False
        self._awaited = False
        self._wake_scheduled = False
        self._ready: asyncio.Event | None = asyncio.Event() if notify is None else None

    def put(self, data: bytes, *, flush: bool = False) -> None:
        """Called by the worker thread. Raises OutboxClosed."""
        with self._lock:
            while len(self._data) > OUTBOX_LIMIT and not self._closed:
                self._room = self._room or threading.Condition(self._lock)
                self._room.wait()
            if self._closed:
                raise OutboxClosed
            self._used = True
            self._data += data
            self._flush = self._flush or flush
            self._wake()

    def finish(self, data: bytes = b"") -> None:
        """Called by the worker thread: nothing more will come behind ``data``."""
        with self._lock:
            self._data += data
            self._finished = True
            self._wake()

    def claim(self) -> bool:
        """Called by the worker thread: whether it may send the whole answer itself, as nothing of it was put
        here and nobody has given it up. Then ``leave`` follows, and nothing else."""
        with self._lock:
            self._claimed = not (self._used or self._closed)
            return self._claimed

    def leave(self) -> None:
        """The answer that was claimed is sent."""
        with self._lock:
            self._left = True
            if self._awaited:
                self._wake()

    def settle(self) -> bool:
        """Whether the answer that was claimed is sent; if not, there is a notice once it is. Called in the
        loop."""
        with self._lock:
            self._awaited = True
            return self._left

    @property
    def claimed(self) -> bool:
        """Whether the worker thread sends the answer itself: what comes to it next is sent behind that."""
        return self._claimed

    @property
    def left(self) -> bool:
        return self._left

    def close(self) -> None:
        """Called in the loop: what comes from now on is of no interest."""
        with self._lock:
            self._closed = True
            if self._room is not None:
                self._room.notify_all()
        self._signal()

    def call(self, function: Callable[[], None]) -> None:
        """Called by the worker thread: ``function`` runs in the loop."""
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            self._loop.call_soon_threadsafe(function)

    def _wake(self) -> None:
        if not self._wake_scheduled:
            self._wake_scheduled = True
            self.call(self._signal)

    def _signal(self) -> None:
        if self._notify is not None:
            self._notify()
        elif self._ready is not None:
            self._ready.set()

    def listen(self) -> None:
        """From here on ``get`` is awaited, and nobody is notified. Called in the loop."""
        self._notify = None
        self._ready = asyncio.Event()

    @property
    def finished(self) -> bool:
        """Whether the producer has come to its end."""
        return self._finished

    @property
    def complete(self) -> bool:
        """Whether the producer came to its end by itself and all of its bytes were taken."""
        return self._finished and not self._closed

    async def get(self) -> tuple[bytes, bool, bool]:
        """(bytes, whether they should be sent at once, whether these are the last)."""
        ready = self._ready
        if ready is None:
            raise RuntimeError("get before listen")
        await ready.wait()
        ready.clear()
        return self.take()

    def take(self) -> tuple[bytes, bool, bool]:
        """As ``get``, without waiting."""
        with self._lock:
            self._wake_scheduled = False
            data, self._data = bytes(self._data), bytearray()
            flush, self._flush = self._flush, False
            if self._room is not None:
                self._room.notify_all()
            return data, flush, self._finished or self._closed


class SessionWorker:
    """A thread that runs callables one after the other."""

    def __init__(self, name: str) -> None:
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException:  # noqa: BLE001 - told, and the session's next request is not left waiting
                _log.exception("a request ended by an internal error")
            del job  # an idle worker must not keep the last request's objects alive

    def submit(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` behind whatever is queued; the future belongs to the running loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def resolve(value: T | None, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

        def job() -> None:
            value: T | None = None
            failure: BaseException | None = None
            try:
                value = function()
            except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the future
                failure = error
            try:
                loop.call_soon_threadsafe(resolve, value, failure)
            except RuntimeError:
                return  # the loop was closed: nobody is waiting any more

        self._jobs.put(job)
        return future

    def run(self, job: Callable[[], None]) -> None:
        """Run ``job``, which raises nothing, behind whatever is queued; from any thread."""
        self._jobs.put(job)

    def stop(self) -> None:
        """End the thread once its queued jobs are done. Does not wait."""
        self._jobs.put(None)


REFUSALS = 64
"""Connections beyond the limit that may be told so at the same time; what is beyond is just closed."""


class SessionLimit:
    """Counts connections against a maximum, and the sessions of each login against another."""

    def __init__(self, maximum: int, per_login: int | None = None) -> None:
        self._maximum = maximum
        self._per_login = per_login
        self._count = 0
        self._refused = 0
        self._logins: dict[str, int] = {}

    @property
    def count(self) -> int:
        return self._count

    @property
    def crowded(self) -> bool:
        """So many are being refused that there is no time to say so to another."""
        return self._refused >= REFUSALS

    @contextmanager
    def slot(self) -> Generator[bool, None, None]:
        """True within the limit; False when the connection has to be refused."""
        granted = self._count < self._maximum
        if granted:
            self._count += 1
        else:
            self._refused += 1
        try:
            yield granted
        finally:
            if granted:
                self._count -= 1
            else:
                self._refused -= 1

    def enter(self, login: str) -> bool:
        """A login has succeeded: whether it may have one more session. To be followed by ``leave`` if so.
        Counted only then, so that nobody can shut a login out without its password."""
        key = login.casefold()
        count = self._logins.get(key, 0)
        if self._per_login is not None and count >= self._per_login:
            return False
        self._logins[key] = count + 1
        return True

    def leave(self, login: str) -> None:
        key = login.casefold()
        count = self._logins.pop(key, 1) - 1
        if count > 0:
            self._logins[key] = count

"""One object that is written while its content is being made, in bounded memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Final

from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.store import Abandoned, Bucket

_POLL_SECONDS: Final = 0.2
_DISCARD_SECONDS: Final = 10.0
_WAITING: Final = 4
UNKNOWN: Final = ""


class UploadCancelled(Exception):
    """Whoever wanted the upload does not any more."""


class Upload:
    """Bytes go in by ``write`` and reach the store in parts, by a thread of its own. The object is visible
    when ``finish`` returns; after ``discard`` nothing is left of it. ``before`` is the tag of the object that
    it takes the place of, None when there is none, ``UNKNOWN`` when nobody can tell. Raises ObjectError,
    UploadCancelled."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        part_size: int,
        concurrency: int,
        cancelled: Callable[[], bool],
        before: str | None,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._part_size = part_size
        self._concurrency = concurrency
        self._cancelled = cancelled
        self._before = before
        self._sent = 0
        self._all_sent = False
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._abandoned = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Waits while too much is on its way."""
        self._put(data)

    def finish(self) -> None:
        """Make the object visible. Who has got this far is not cancelled any more."""
        self._put(None)
        self._thread.join()
        self._raise()

    def discard(self) -> bool:
        """The parts that are there are removed; whether that is so: a store that does not answer is not
        waited for long."""
        self._abandoned.set()
        self._thread.join(_DISCARD_SECONDS)
        return not self._thread.is_alive() and self._error is None

    def _put(self, data: bytes | None) -> None:
        while True:
            self._raise()
            try:
                self._queue.put(data, timeout=_POLL_SECONDS)
                return
            except queue.Full:
                # A store that does not answer keeps nobody.
                if self._cancelled():
                    raise UploadCancelled from None

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _pieces(self) -> Iterator[bytes]:
        while True:
            if self._abandoned.is_set():
                raise Abandoned
            try:
                piece = self._queue.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if piece is None:
                self._all_sent = True
                return
            self._sent += len(piece)
            yield piece

    def _run(self) -> None:
        try:
            self._bucket.upload(self._key, self._pieces(), self._part_size, self._concurrency)
        except ObjectError as error:
            if not self._is_there():
                self._error = error
        except Abandoned:
            return
        except BaseException as error:  # noqa: BLE001 - of whatever cause: what is not there is not finished
            self._error = error

    def _is_there(self) -> bool:
        """When the answer to the last request is lost, the object itself says whether it was carried out."""
        if not self._all_sent or self._before == UNKNOWN:
            return False
        try:
            found = self._bucket.find(self._key)
        except ObjectError:
            return False
        return found is not None and found.size == self._sent and found.tag != self._before

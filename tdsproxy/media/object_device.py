"""A medium in an object: written once as a whole, in parts, and read by range.

An object cannot be changed, so nothing is appended to it and its anchor stays as it was first written, open
(see ``format``), unless the whole medium fits into the first part. It does not exist before its last part is
there, so a set that can be found is a complete one.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tdsproxy.media.device import LockedMedium, Part, ReadHandle, WriteHandle
from tdsproxy.media.errors import DeviceCancelled, RemoteError, from_os_error
from tdsproxy.media.object_upload import UNKNOWN, Upload, UploadCancelled
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.store import Bucket
from tdsproxy.objects.url import ObjectUrl
from tdsproxy.store.upload_notes import UploadNote

MOST_PARTS: Final = 10_000
PART_BYTES: Final = 10 << 20
LEAST_PART_BYTES: Final = 5 << 20
# What all devices of a statement may hold of their objects.
_UPLOAD_BYTES: Final = 72 << 20
_READ_BYTES: Final = 48 << 20
_READ_BLOCK: Final = 4 << 20
_LEAST_BLOCK: Final = 256 << 10
_AHEAD: Final = 3
_STREAM_PIECE: Final = 1 << 20
_LOCK_POLL_SECONDS: Final = 0.05
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Share:
    """What one of ``devices`` objects that are written or read together may use. ``part_size`` None is that
    of SQL Server, less where there are many."""

    devices: int = 1
    part_size: int | None = None

    @property
    def part_bytes(self) -> int:
        if self.part_size is not None:
            return max(self.part_size, LEAST_PART_BYTES)
        return PART_BYTES if self.devices <= 2 else LEAST_PART_BYTES

    @property
    def concurrency(self) -> int:
        """Parts on their way at once; one more is being filled."""
        return max(1, _UPLOAD_BYTES // (self.devices * self.part_bytes) - 1)

    @property
    def block_bytes(self) -> int:
        return max(_LEAST_BLOCK, min(_READ_BLOCK, _READ_BYTES // (self.devices * (_AHEAD + 5))))


class ObjectLocks:
    """One writer of an object at a time, within this process."""

    def __init__(self) -> None:
        self._held: set[str] = set()
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, identity: str, cancelled: Callable[[], bool]) -> Iterator[bool]:
        """Yields False when it was cancelled instead."""
        with self._changed:
            while identity in self._held:
                if cancelled():
                    break
                self._changed.wait(_LOCK_POLL_SECONDS)
            else:
                self._held.add(identity)
                cancelled = _never
        if cancelled is not _never:
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._held.discard(identity)
                self._changed.notify_all()


def _never() -> bool:
    return False


class ObjectDevice:
    """A medium at a URL. ``overwrite``: an object that is there is replaced; else it is in the way. ``note``
    is there while an upload is under way."""

    def __init__(
        self,
        url: ObjectUrl,
        bucket: Bucket,
        *,
        locks: ObjectLocks | None = None,
        overwrite: bool = False,
        share: Share | None = None,
        note: UploadNote | None = None,
    ) -> None:
        self._url = url
        self._note = note
        self._bucket = bucket
        self._locks = locks or ObjectLocks()
        self._overwrite = overwrite
        self._share = share or Share()

    @property
    def name(self) -> str:
        return self._url.text

    @property
    def identity(self) -> str:
        return self._url.identity

    def open_read(self) -> ReadHandle:
        with _remote(self.name, "open"):
            found = self._bucket.find(self._url.key)
        if found is None:
            raise RemoteError(self.name, "open", ObjectError(Reason.MISSING))
        return ObjectReader(self.name, self._bucket, self._url.key, found.size, self._share.block_bytes)

    def remove(self) -> None:
        """Delete the object. Raises DeviceError."""
        with _remote(self.name, "delete"):
            self._bucket.remove([self._url.key])

    @contextmanager
    def lock(self, cancelled: Callable[[], bool]) -> Iterator[LockedMedium]:
        with self._locks.hold(self.identity, cancelled) as held:
            if not held:
                raise DeviceCancelled(self.name, "cancelled while another backup writes it")
            with _remote(self.name, "open"):
                before = self._look()

            def upload() -> Upload:
                if self._note is not None:
                    try:
                        self._note.begin()
                    except OSError as error:
                        raise from_os_error(self.name, "write", error) from error
                size, concurrency = self._share.part_bytes, self._share.concurrency
                return Upload(self._bucket, self._url.key, size, concurrency, cancelled, before)

            medium = _Medium(self.name, upload, self._share, self._note)
            try:
                yield medium
            finally:
                medium.close()

    def _look(self) -> str | None:
        """Whether it can be written there, before anything is read for it; the tag of what is there now."""
        try:
            found = self._bucket.find(self._url.key)
        except ObjectError as error:
            # An object under another key than this writer's refuses him, but is replaced.
            if not (self._overwrite and self._bucket.has_own_key and error.reason is Reason.DENIED):
                raise
            return UNKNOWN
        if found is None:
            return None
        if not self._overwrite:
            raise ObjectError(Reason.EXISTS)
        return found.tag or UNKNOWN


class ObjectReader:
    """Blocks of an object, by range; where somebody reads on and on, one request streams the rest, a few
    blocks ahead. For any thread."""

    is_whole = True

    def __init__(self, name: str, bucket: Bucket, key: str, size: int, block: int) -> None:
        self.name = name
        self._bucket = bucket
        self._key = key
        self._size = size
        self._block = block
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._changed = threading.Condition()
        self._last = -2
        # What the stream delivers next (None: there is none), and up to where it is wanted.
        self._next: int | None = None
        self._wanted = 0
        self._closed = False

    def size(self) -> int:
        return self._size

    def read_at(self, offset: int, length: int) -> bytes:
        end = min(offset + length, self._size)
        if offset >= end:
            return b""
        first, last = offset // self._block, (end - 1) // self._block
        with _remote(self.name, "read"):
            parts = [self._get(number) for number in range(first, last + 1)]
        start = offset - first * self._block
        if len(parts) == 1:
            return parts[0][start : start + end - offset]
        return b"".join(parts)[start : start + end - offset]

    def _get(self, number: int) -> bytes:
        with self._changed:
            while number not in self._blocks and self._is_coming(number):
                self._changed.wait()
            found = self._blocks.get(number)
            if found is not None:
                self._blocks.move_to_end(number)
                self._is_coming(number)
                return found
        start = number * self._block
        found = self._bucket.read(self._key, start, min(self._block, self._size - start))
        with self._changed:
            self._keep(number, found)
            goes_on = number == self._last + 1 and start + self._block < self._size
            self._last = number
            if goes_on and self._next is None and not self._closed:
                self._next, self._wanted = number + 1, number + 1
                threading.Thread(target=self._stream, args=(number + 1,), name="object", daemon=True).start()
        return found

    def _is_coming(self, number: int) -> bool:
        """Whether the stream delivers it soon; it may go on behind it."""
        if self._next is None or number > self._next + _AHEAD:
            return False
        if number > self._wanted:
            self._wanted = number
            self._changed.notify_all()
        return number >= self._next

    def _keep(self, number: int, data: bytes) -> None:
        self._blocks[number] = data
        while len(self._blocks) > _AHEAD + 4:
            self._blocks.popitem(last=False)

    def _stream(self, number: int) -> None:
        buffer = bytearray()
        try:
            for piece in self._bucket.pieces(self._key, _STREAM_PIECE, offset=number * self._block):
                buffer += piece
                while len(buffer) >= self._block:
                    if not self._deliver(bytes(memoryview(buffer)[: self._block])):
                        return
                    del buffer[: self._block]
            if buffer:
                self._deliver(bytes(buffer))
        except ObjectError as error:
            _log.info("%s: reading on failed, and goes on by range: %s", self.name, error)
        finally:
            with self._changed:
                self._next = None
                self._changed.notify_all()

    def _deliver(self, data: bytes) -> bool:
        """False when nobody wants any more."""
        with self._changed:
            assert self._next is not None
            while self._next > self._wanted + _AHEAD and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._keep(self._next, data)
            self._next += 1
            self._changed.notify_all()
        return True

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._blocks.clear()
            self._changed.notify_all()


class _Medium:
    """An object that nobody else here writes, and the one writing of it."""

    def __init__(
        self, name: str, upload: Callable[[], Upload], share: Share, note: UploadNote | None
    ) -> None:
        self._name = name
        self._begin = upload
        self._share = share
        self._note = note
        self._writing: _Writer | None = None

    def reader(self) -> ReadHandle | None:
        """What is there is in no case appended to."""
        return None

    def append(self, offset: int) -> WriteHandle:
        if offset:
            raise RemoteError(self._name, "write", ObjectError(Reason.EXISTS))
        return self.replace()

    def replace(self) -> WriteHandle:
        self._writing = _Writer(self._name, self._begin, self._share, self._note)
        return self._writing

    def close(self) -> None:
        if self._writing is not None:
            self._writing.discard()


class _Writer:
    """The first part is held back until it is full, so that a small medium can still be patched."""

    def __init__(
        self, name: str, upload: Callable[[], Upload], share: Share, note: UploadNote | None
    ) -> None:
        self._name = name
        self._begin = upload
        self._share = share
        self._note = note
        self._head: bytearray | None = bytearray()
        self._upload: Upload | None = None
        self._offset = 0
        self._published = False

    @property
    def offset(self) -> int:
        return self._offset

    def append(self, parts: Sequence[Part]) -> None:
        with _remote(self._name, "write"):
            for part in parts:
                self._offset += len(part)
                if self._head is not None:
                    self._head += part
                    if len(self._head) >= self._share.part_bytes:
                        self._send_head()
                elif len(part):
                    self._begun().write(bytes(part))
            if self._offset > MOST_PARTS * self._share.part_bytes:
                raise ObjectError(Reason.TOO_LONG)

    def patch(self, offset: int, data: bytes) -> None:
        if self._head is not None:
            self._head[offset : offset + len(data)] = data

    def sync(self) -> None:
        """Nothing lasts before ``publish``."""

    def publish(self) -> None:
        with _remote(self._name, "write"):
            self._send_head()
            self._begun().finish()
        self._published = True
        if self._note is not None:
            self._note.end()

    def discard(self) -> None:
        if self._published or self._upload is None:
            return
        if self._upload.discard() and self._note is not None:
            self._note.end()

    def _begun(self) -> Upload:
        if self._upload is None:
            self._upload = self._begin()
        return self._upload

    def _send_head(self) -> None:
        if self._head is not None:
            head, self._head = bytes(self._head), None
            for start in range(0, len(head), 1 << 20):
                self._begun().write(head[start : start + (1 << 20)])


@contextmanager
def _remote(name: str, operation: str) -> Iterator[None]:
    try:
        yield
    except ObjectError as error:
        raise RemoteError(name, operation, error) from error
    except UploadCancelled as error:
        raise DeviceCancelled(name, "cancelled while the store does not take what is sent") from error

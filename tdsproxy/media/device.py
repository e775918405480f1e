"""What a medium lies on. The protocols are what writer and reader need; ``DiskDevice`` is the file system.

Writing always begins with ``lock``: two writers of one medium wait for each other. Under the lock a writer
looks at what is there and then either appends behind the last complete set, or replaces the whole medium;
a replacement becomes visible, as a whole, at ``publish``. What is not published is discarded.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from tdsproxy.media.errors import DeviceCancelled, DeviceError, from_os_error

Part = bytes | bytearray | memoryview

_LOCK_POLL_SECONDS = 0.05
# After so many bytes the kernel is told to begin writing them out, so that the last sync is short.
_FLUSH_BYTES = 8 << 20


class ReadHandle(Protocol):
    """Random access to a medium. Raises DeviceError, RemoteError."""

    @property
    def name(self) -> str:
        """The device as the user wrote it."""

    @property
    def is_whole(self) -> bool:
        """Whether the medium became visible all at once, by one who had written all of it."""

    def size(self) -> int:
        """Bytes of the medium."""

    def read_at(self, offset: int, length: int) -> bytes:
        """Up to ``length`` bytes from ``offset``; fewer only at the end of the medium."""

    def close(self) -> None:
        """Free the handle."""


class WriteHandle(Protocol):
    """One writing of a medium, until ``publish`` or ``discard``. Raises DeviceError, RemoteError."""

    @property
    def offset(self) -> int:
        """Where the next ``append`` writes."""

    def append(self, parts: Sequence[Part]) -> None:
        """Write behind what was written before."""

    def patch(self, offset: int, data: bytes) -> None:
        """Overwrite bytes in place, where the medium lets one."""

    def sync(self) -> None:
        """Make everything written so far durable."""

    def publish(self) -> None:
        """Make what was written part of the medium, durably. Ends the writing."""

    def discard(self) -> None:
        """Leave the medium as it was before. Does nothing after ``publish``."""


class LockedMedium(Protocol):
    """A medium that nobody else writes."""

    def reader(self) -> ReadHandle | None:
        """What is there; None if nothing is, not a single byte. Belongs to the lock."""

    def append(self, offset: int) -> WriteHandle:
        """Write from ``offset`` on; what lies behind it is dropped."""

    def replace(self) -> WriteHandle:
        """Write a whole new medium."""


class MediaDevice(Protocol):
    """A place for a medium."""

    @property
    def name(self) -> str:
        """The device as the user wrote it."""

    @property
    def identity(self) -> str | None:
        """Equal for devices that are the same place; None for one that can be written twice at once."""

    def open_read(self) -> ReadHandle:
        """Raises MediaMissing, DeviceError, RemoteError."""

    def lock(self, cancelled: Callable[[], bool]) -> AbstractContextManager[LockedMedium]:
        """Wait until no one else writes here. Raises DeviceCancelled, DeviceError."""


def _refuse_nothing(path: Path) -> None:
    del path


class DiskDevice:
    """A medium in a file.

    ``guard`` is called with the path before it is opened, for reading or writing, and raises MediaError or
    OSError for files that must not be opened, such as a live database of this process.
    """

    def __init__(
        self, path: Path, name: str | None = None, guard: Callable[[Path], None] = _refuse_nothing
    ) -> None:
        self.path = path
        self._name = name if name is not None else str(path)
        self._guard = guard

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> str:
        return os.path.realpath(self.path)

    @property
    def beside(self) -> DiskDevice | None:
        """The medium that was to replace this one; None if there is none."""
        path = _beside(self.path)
        # Only a file that a writer of ours left: what a link leads to may be a database.
        return DiskDevice(path, self._name) if path.is_file() and not path.is_symlink() else None

    def put_in_place(self) -> None:
        """Replace the medium by the one beside it, durably; to be called under the lock, which is not that
        of the medium any more. Raises DeviceError."""
        try:
            _beside(self.path).replace(self.path)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error

    def remove(self) -> None:
        """Delete the medium, durably; to be called under the lock. Raises DeviceError."""
        try:
            self.path.unlink(missing_ok=True)
            _sync_directory(self.path.parent)
        except OSError as error:
            raise from_os_error(self._name, "delete", error) from error

    def open_read(self) -> ReadHandle:
        descriptor = self._open(os.O_RDONLY)
        return _DiskReader(self._name, descriptor)

    def _open(self, flags: int) -> int:
        try:
            self._guard(self.path)
            # Without O_NONBLOCK a named pipe would hang here.
            descriptor = os.open(self.path, flags | os.O_CLOEXEC | os.O_NONBLOCK, 0o640)
        except OSError as error:
            raise from_os_error(self._name, "open", error) from error
        kind = os.fstat(descriptor).st_mode
        if stat.S_ISREG(kind):
            return descriptor
        os.close(descriptor)
        number = errno.EISDIR if stat.S_ISDIR(kind) else errno.EINVAL
        raise DeviceError(self._name, "open", number, os.strerror(number))

    @contextmanager
    def lock(self, cancelled: Callable[[], bool]) -> Iterator[LockedMedium]:
        descriptor, created = self._acquire(cancelled)
        medium = _LockedFile(self._name, self.path, descriptor, created)
        try:
            yield medium
        finally:
            medium.close()

    def _acquire(self, cancelled: Callable[[], bool]) -> tuple[int, bool]:
        """A locked descriptor of the file that is at the path *now*, and whether we made it."""
        wait = threading.Event()
        while True:
            created = not self.path.exists()
            descriptor = self._open(os.O_RDWR | os.O_CREAT)
            try:
                while True:
                    try:
                        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                        break
                    except BlockingIOError:
                        if cancelled():
                            raise DeviceCancelled(
                                self._name, "cancelled while another backup writes it"
                            ) from None
                        wait.wait(_LOCK_POLL_SECONDS)
                # The one before us may have replaced or removed the file that we waited for.
                if self._is_current(descriptor):
                    return descriptor, created
            except OSError as error:
                os.close(descriptor)
                raise from_os_error(self._name, "lock", error) from error
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _is_current(self, descriptor: int) -> bool:
        try:
            now = self.path.stat()
        except FileNotFoundError:
            return False
        mine = os.fstat(descriptor)
        return (now.st_dev, now.st_ino) == (mine.st_dev, mine.st_ino)


class _DiskReader:
    is_whole = False

    def __init__(self, name: str, descriptor: int, owned: bool = True) -> None:
        self._name = name
        self._descriptor = descriptor
        self._owned = owned

    @property
    def name(self) -> str:
        return self._name

    def size(self) -> int:
        return os.fstat(self._descriptor).st_size

    def read_at(self, offset: int, length: int) -> bytes:
        try:
            data = os.pread(self._descriptor, length, offset)
            while 0 < len(data) < length:
                more = os.pread(self._descriptor, length - len(data), offset + len(data))
                if not more:
                    break
                data += more
        except OSError as error:
            raise from_os_error(self._name, "read", error) from error
        return data

    def close(self) -> None:
        if self._owned and self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class _LockedFile:
    """An exclusive lock on the file at a path, and the one writing that may happen under it."""

    def __init__(self, name: str, path: Path, descriptor: int, created: bool) -> None:
        self._name = name
        self._path = path
        self._descriptor = descriptor
        self._created = created
        self._writing: _DiskWriter | None = None

    def reader(self) -> ReadHandle | None:
        handle = _DiskReader(self._name, self._descriptor, owned=False)
        return handle if handle.size() else None

    def append(self, offset: int) -> WriteHandle:
        try:
            os.ftruncate(self._descriptor, offset)
            os.lseek(self._descriptor, offset, os.SEEK_SET)
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error
        self._writing = _DiskWriter(self._name, self._path, None, self._descriptor, offset)
        return self._writing

    def replace(self) -> WriteHandle:
        # We hold the medium's lock, so nobody else uses this name; a crashed predecessor's rest goes.
        temporary = _beside(self._path)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            # Never opened: it may be a link, to a database for instance.
            temporary.unlink(missing_ok=True)
            descriptor = os.open(temporary, flags, stat.S_IMODE(os.fstat(self._descriptor).st_mode))
        except OSError as error:
            raise from_os_error(self._name, "open", error) from error
        self._writing = _DiskWriter(self._name, self._path, temporary, descriptor, 0)
        return self._writing

    def close(self) -> None:
        """Drop what was not published, remove a file that we made and did not fill, unlock."""
        if self._writing is not None:
            self._writing.discard()
            if self._writing.descriptor != self._descriptor:
                os.close(self._writing.descriptor)
        published = self._writing is not None and self._writing.published
        if self._created and not published and os.fstat(self._descriptor).st_size == 0:
            # As in ``discard``; and the lock must not outlast this.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
        os.close(self._descriptor)


class _DiskWriter:
    def __init__(self, name: str, path: Path, temporary: Path | None, descriptor: int, offset: int) -> None:
        self._name = name
        self._path = path
        self._temporary = temporary
        self.descriptor = descriptor
        self._start = offset
        self._offset = offset
        self._flushed = offset
        self.published = False

    @property
    def offset(self) -> int:
        return self._offset

    def append(self, parts: Sequence[Part]) -> None:
        views = [memoryview(part).cast("B") for part in parts if len(part)]
        try:
            while views:
                written = os.writev(self.descriptor, views)
                self._offset += written
                while views and written >= len(views[0]):
                    written -= len(views[0])
                    del views[0]
                if written:
                    views[0] = views[0][written:]
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error
        if self._offset - self._flushed >= _FLUSH_BYTES:
            # Nothing is dropped from the cache by this: the pages are not clean yet.
            os.posix_fadvise(
                self.descriptor, self._flushed, self._offset - self._flushed, os.POSIX_FADV_DONTNEED
            )
            self._flushed = self._offset

    def patch(self, offset: int, data: bytes) -> None:
        try:
            if os.pwrite(self.descriptor, data, offset) != len(data):
                raise DeviceError(self._name, "write", errno.EIO, "short write")
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error

    def sync(self) -> None:
        try:
            os.fsync(self.descriptor)
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error

    def publish(self) -> None:
        try:
            if self._temporary is not None:
                self._temporary.replace(self._path)
            self.published = True
            _sync_directory(self._path.parent)
        except OSError as error:
            raise from_os_error(self._name, "write", error) from error

    def discard(self) -> None:
        if self.published:
            return
        # This runs while another error is on its way; that one is to be seen.
        with contextlib.suppress(OSError):
            if self._temporary is not None:
                self._temporary.unlink(missing_ok=True)
            else:
                os.ftruncate(self.descriptor, self._start)


def _beside(path: Path) -> Path:
    """Where a medium is written that replaces the one at ``path``."""
    return path.with_name(f".{path.name}.new")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

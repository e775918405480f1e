"""A folder as an object store: a disk that is mounted, for who has no bucket.

What is written is durable when it is visible (a temporary file, fsync, rename, fsync of the folder), and is
replaced only under its tag while the lock of the folder is held, which processes of other machines respect
where the file system carries ``flock`` (NFS 4 does).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.store import Bucket, Found

_LOCK: Final = ".lock"
_TEMPORARY: Final = ".writing-"
_LOCK_SECONDS: Final = 30.0
_RETRY_SECONDS: Final = 0.02
_TAGGED_BYTES: Final = 1 << 20
_ABANDONED_SECONDS: Final = 86400.0


class FolderBucket(Bucket):
    """The files below a folder, which is made when something is written. Everything raises ObjectError."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Found | None:
        try:
            with _failures():
                return self._found(key, self._path(key))
        except ObjectError as error:
            if error.reason is Reason.MISSING:
                return None
            raise

    def read(self, key: str, offset: int, length: int) -> bytes:
        with _failures(), self._path(key).open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        if len(data) != length:
            raise ObjectError(Reason.OTHER)
        return data

    def read_all(self, key: str) -> tuple[bytes, str | None]:
        with _failures():
            data = self._path(key).read_bytes()
        return data, _tag(data)

    def pieces(self, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
        with _failures(), self._path(key).open("rb") as file:
            file.seek(offset)
            while piece := file.read(size):
                yield piece

    def write(self, key: str, data: bytes, *, only: str | None = None, new: bool = False) -> str | None:
        path = self._path(key)
        if only is None and not new:
            with _failures():
                self._put(path, [data])
            return _tag(data)
        with self._locked():
            found = self.find(key)
            if new and found is not None:
                raise ObjectError(Reason.EXISTS)
            if only is not None and (found is None or found.tag != only):
                raise ObjectError(Reason.CHANGED)
            with _failures():
                self._put(path, [data])
        return _tag(data)

    def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
        with _failures():
            self._put(self._path(key), pieces)

    def list(self, prefix: str) -> Iterator[Found]:
        root = self._path(prefix) if prefix else self._folder
        found: list[Found] = []
        with _failures():
            # What cannot be read is not empty: whoever removes what nobody needs relies on that.
            for folder, _, names in os.walk(root, onerror=_unless_gone):
                for name in names:
                    path = Path(folder) / name
                    if name == _LOCK or name.startswith(_TEMPORARY):
                        continue
                    with suppress(FileNotFoundError):
                        status = path.stat()
                        key = path.relative_to(self._folder).as_posix()
                        found.append(Found(key, status.st_size, None, status.st_mtime))
        yield from sorted(found, key=lambda item: item.key)

    def children(self, prefix: str) -> Sequence[Found]:
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        return [item for item in self.list(prefix) if "/" not in item.key[len(start) :]]

    def tidy(self, prefix: str) -> None:
        """Remove what writers that were killed have begun. Who still writes has done so within a day, by the
        clock of the folder's own machine."""
        root = self._path(prefix) if prefix else self._folder
        begun: list[tuple[Path, float]] = []
        with _failures():
            for folder, _, names in os.walk(root, onerror=_unless_gone):
                for name in names:
                    if name.startswith(_TEMPORARY):
                        with suppress(FileNotFoundError):
                            path = Path(folder) / name
                            begun.append((path, path.stat().st_mtime))
            if not begun:
                return
            now_there = root / f"{_TEMPORARY}{secrets.token_hex(8)}"
            now_there.touch(mode=0o600)
            now = now_there.stat().st_mtime
            now_there.unlink()
            for path, modified in begun:
                if now - modified > _ABANDONED_SECONDS:
                    path.unlink(missing_ok=True)

    def remove(self, keys: Sequence[str]) -> None:
        folders: set[Path] = set()
        with _failures():
            for key in keys:
                path = self._path(key)
                with suppress(FileNotFoundError, NotADirectoryError):
                    path.unlink()
                    folders.add(path.parent)
            for folder in folders:
                self._forget(folder)

    def _forget(self, folder: Path) -> None:
        """Folders that have become empty go."""
        while folder != self._folder:
            try:
                folder.rmdir()
            except OSError:  # there is something in it, or another process was quicker
                return
            folder = folder.parent

    def _path(self, key: str) -> Path:
        parts = key.strip("/").split("/")
        if not all(parts) or any(part in (".", "..") or "\0" in part for part in parts):
            raise ObjectError(Reason.BAD_URL)
        return self._folder.joinpath(*parts)

    def _found(self, key: str, path: Path) -> Found:
        status = path.stat()
        size = status.st_size
        if not path.is_file():
            raise ObjectError(Reason.MISSING)
        # Conditions are about small objects; the content of large ones is not read to tell their tags.
        tag = _tag(path.read_bytes()) if size <= _TAGGED_BYTES else None
        return Found(key, size, tag, status.st_mtime)

    def _put(self, path: Path, pieces: Iterable[bytes]) -> None:
        temporary = path.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}")
        while True:
            made = _make(path.parent)
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            except FileNotFoundError:  # it was empty, and another process removed it
                continue
            break
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for folder in (path.parent, *made):
            _sync(folder)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """A holder that sleeps keeps everybody from writing rather than to write over them when it wakes."""
        with _failures():
            _make(self._folder)
            descriptor = os.open(self._folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            deadline = time.monotonic() + _LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise ObjectError(Reason.TIMEOUT) from None
                    time.sleep(_RETRY_SECONDS)
            yield
        finally:
            os.close(descriptor)


def _make(folder: Path) -> list[Path]:
    """The folders in which new ones were made."""
    missing: list[Path] = []
    at = folder
    while not at.is_dir() and at != at.parent:
        missing.append(at.parent)
        at = at.parent
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return missing


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error


def _sync(folder: Path) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:  # it was emptied since
        return
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _tag(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@contextmanager
def _failures() -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise ObjectError(Reason.MISSING) from None
    except PermissionError:
        raise ObjectError(Reason.DENIED) from None
    except OSError as error:
        raise ObjectError(Reason.OTHER, code=error.strerror or "") from None

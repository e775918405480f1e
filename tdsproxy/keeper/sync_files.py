"""Sending whole files of a store: media, keys, and snapshots of the catalog."""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import apsw

from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.sync_layout import FileEntry
from tdsproxy.objects.store import Abandoned, Bucket

_PIECE_BYTES: Final = 1 << 20
_PART_BYTES: Final = 10 << 20
_CONCURRENCY: Final = 3
CATALOG: Final = ("master.db", "msdb.db", "model.db")


class FileChanged(Exception):
    """It was written to while it was being sent."""


@dataclass(frozen=True, slots=True)
class _Stamp:
    modified_ns: int
    size: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> _Stamp:
        found = path.stat()
        return cls(found.st_mtime_ns, found.st_size, found.st_ino)

    @property
    def text(self) -> str:
        return f"{self.modified_ns:x}-{self.size:x}"


class FileSender:
    """Media and other files that change as a whole. Large ones are sent in threads of their own, so that the
    log does not wait for them. ``sources`` gives name (below the store) and path of each."""

    def __init__(
        self,
        bucket: Bucket,
        key: Callable[[str], str],
        sources: Callable[[], Iterator[tuple[str, Path]]],
        epoch: int = 0,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._sources = sources
        self._epoch = epoch
        self._there: dict[str, FileEntry] = {}
        self._sent: dict[str, tuple[_Stamp, FileEntry]] = {}
        self._sending: dict[str, tuple[_Stamp, Future[FileEntry]]] = {}
        self._threads = ThreadPoolExecutor(2, "sync")
        self._stopping = False
        self._obsolete: list[str] = []
        self._numbers = itertools.count()

    def adopt(self, files: dict[str, FileEntry]) -> None:
        """What was sent before need not be sent again: ``files`` of the manifest. A file that is as it was
        then is known by its times, others are read and compared before they are sent."""
        self._there = dict(files)
        for name, path in self._sources():
            entry = files.get(name)
            if entry is not None:
                stamp = _Stamp.of(path)
                if entry.key.endswith((f"-{stamp.text}/{name}", f"/{stamp.text}/{name}")):
                    self._sent[name] = (stamp, entry)

    def send(self) -> bool:
        """Begin to send what is new; whether something has arrived. A file that is gone here stays there:
        what is deleted there is for who keeps the backups. Raises ObjectError, OSError."""
        arrived = self._collect()
        for name, path in self._sources():
            if name in self._sending:
                continue
            with suppress(FileNotFoundError):
                stamp = _Stamp.of(path)
                if name not in self._sent or self._sent[name][0] != stamp:
                    self._sending[name] = (stamp, self._threads.submit(self._one, name, path, stamp))
        return arrived

    def settle(self) -> bool:
        """Wait for what is being sent."""
        for _, future in list(self._sending.values()):
            with suppress(FileChanged, BlockingIOError, FileNotFoundError):
                future.result()
        return self._collect()

    @property
    def waiting(self) -> int:
        """Files that are on their way."""
        return len(self._sending)

    def is_complete(self) -> bool:
        """Whether each file that is here is there as it is. Raises OSError."""
        for name, path in self._sources():
            with suppress(FileNotFoundError):
                sent = self._sent.get(name)
                if sent is None or sent[0] != _Stamp.of(path):
                    return False
        return True

    def entries(self) -> dict[str, FileEntry]:
        return {name: entry for name, (_, entry) in self._sent.items()}

    def take_obsolete(self) -> list[str]:
        found, self._obsolete = self._obsolete, []
        return found

    def close(self) -> None:
        self._stopping = True
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _collect(self) -> bool:
        arrived = False
        for name, (stamp, future) in list(self._sending.items()):
            if not future.done():
                continue
            del self._sending[name]
            try:
                entry = future.result()
            except (FileChanged, BlockingIOError, FileNotFoundError):
                continue  # it is looked at again
            before = self._sent.get(name)
            if before is not None and before[1].key != entry.key:
                self._obsolete.append(before[1].key)
                # Nor is that one there any more when the file is as it was then once more.
                self._there.pop(name, None)
            self._sent[name] = (stamp, entry)
            arrived = True
        return arrived

    def _object(self, name: str, stamp: _Stamp) -> str:
        """Another one each time: also what looks like a version that was sent is not put over it."""
        return self._key(layout.file_key(self._epoch, f"{next(self._numbers):x}-{stamp.text}", name))

    def _one(self, name: str, path: Path, stamp: _Stamp) -> FileEntry:
        key = self._object(name, stamp)
        digest = hashlib.sha256()
        with path.open("rb") as file:
            # Whoever writes a medium has it locked.
            fcntl.flock(file.fileno(), fcntl.LOCK_SH | fcntl.LOCK_NB)
            if _Stamp.of(path) != stamp:
                raise FileChanged(name)
            there = self._there.get(name)
            if there is not None and there.size == stamp.size:
                if self._digest(file) == there.digest:
                    return there
                file.seek(0)

            def pieces() -> Iterator[bytes]:
                while piece := file.read(_PIECE_BYTES):
                    if self._stopping:
                        raise Abandoned
                    digest.update(piece)
                    yield piece

            if stamp.size <= _PIECE_BYTES:
                self._bucket.write(key, b"".join(pieces()))
            else:
                self._bucket.upload(key, pieces(), _PART_BYTES, _CONCURRENCY)
            if os.fstat(file.fileno()).st_size != stamp.size:
                raise FileChanged(name)
        return FileEntry(key, stamp.size, digest.hexdigest())

    def _digest(self, file: BinaryIO) -> str:
        digest = hashlib.sha256()
        while piece := file.read(_PIECE_BYTES):
            if self._stopping:
                raise Abandoned
            digest.update(piece)
        return digest.hexdigest()


class CatalogSender:
    """Snapshots of the catalog's databases, whenever they have changed."""

    def __init__(self, store: Path, bucket: Bucket, key: Callable[[str], str], epoch: int = 0) -> None:
        self._store = store
        self._bucket = bucket
        self._key = key
        self._epoch = epoch
        self._watched: dict[str, apsw.Connection] = {}
        self._versions: dict[str, object] = {}
        self._sent: dict[str, FileEntry] = {}
        self._obsolete: list[str] = []

    def send(self) -> bool:
        """Raises ObjectError, OSError, apsw.Error."""
        changed = False
        for name in CATALOG:
            path = self._store / name
            if not path.exists():
                continue
            connection = self._watched.get(name)
            if connection is None:
                connection = self._watched[name] = apsw.Connection(
                    str(path), flags=apsw.SQLITE_OPEN_READWRITE
                )
                connection.set_busy_timeout(10_000)
            version = connection.pragma("data_version")
            if self._versions.get(name) == version:
                continue
            changed |= self._snapshot(name, connection)
            self._versions[name] = version
        return changed

    def entries(self) -> dict[str, FileEntry]:
        return dict(self._sent)

    def take_obsolete(self) -> list[str]:
        found, self._obsolete = self._obsolete, []
        return found

    def close(self) -> None:
        for connection in self._watched.values():
            connection.close()
        self._watched.clear()

    def _snapshot(self, name: str, source: apsw.Connection) -> bool:
        with apsw.Connection(":memory:") as copy:
            with copy.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(-1)
            data = bytes(copy.serialize("main"))
        digest = hashlib.sha256(data).hexdigest()
        before = self._sent.get(name)
        if before is not None and before.digest == digest:
            return False
        entry = FileEntry(self._key(layout.file_key(self._epoch, digest[:16], name)), len(data), digest)
        self._bucket.write(entry.key, data)
        if before is not None:
            self._obsolete.append(before.key)
        self._sent[name] = entry
        return True


def store_files(store: Path, backup_directory: Path) -> Iterator[tuple[str, Path]]:
    """What is sent as it is: media, the sealed keys of encrypted files, notes of the log's chains."""
    for root, name in ((backup_directory, layout.BACKUP), (store / ".keys", ".keys")):
        if root.is_dir():
            for path in sorted(root.rglob("*")):
                if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                    yield f"{name}/{path.relative_to(root).as_posix()}", path
    for path in sorted((store / layout.LOG).rglob("chain.json")):
        yield path.relative_to(store).as_posix(), path

"""The service master key: the file ``STORE/service_master_key``, readable by the store's user alone.

It seals the master key of master and the secrets of credentials. Whoever has this file and master.db has
them all, as on SQL Server whoever has the machine; a copy of master.db alone, a backup of it for instance,
opens nothing without a password.

The file holds keys in hexadecimal, one to a line, the current one first. There is a second one only while
everything is being sealed anew by another key, so that an interruption leaves every secret readable.
"""

from __future__ import annotations

import os
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdsproxy.store.files import fsync_directory, replace_durably
from tdsproxy.store.key_wrapping import KEY_SIZE, CannotUnwrap, new_key, unwrap, wrap

FILE_NAME: Final = "service_master_key"


class ServiceKey:
    """The service master key of a store; made when something is first sealed. For any thread."""

    def __init__(self, store: Path) -> None:
        self._path = store / FILE_NAME
        self._lock = threading.RLock()

    @property
    def exists(self) -> bool:
        """Whether the store has one yet."""
        return self._path.exists()

    def current(self) -> bytes:
        """The key that seals; made now if there is none. Raises OSError, CannotUnwrap."""
        with self._lock:
            if not self._path.exists():
                self._make()
            return self._read()[0]

    def seal(self, secret: bytes, purpose: str) -> bytes:
        """``secret`` sealed by the current key. Raises OSError, CannotUnwrap."""
        return wrap(self.current(), secret, purpose)

    def open(self, sealed: bytes, purpose: str, also: bytes | None = None) -> bytes:
        """What this store's key, or the key ``also``, has sealed. Raises CannotUnwrap, OSError."""
        keys = self._read() if self._path.exists() else []
        for key in [*keys, *([] if also is None else [also])]:
            with suppress(CannotUnwrap):
                return unwrap(key, sealed, purpose)
        raise CannotUnwrap("sealed by the service master key of another store")

    def begin_replacement(self, key: bytes) -> None:
        """``key`` is the current one from now on; the old ones still open. Raises OSError."""
        with self._lock:
            old = self._read() if self._path.exists() else []
            self._write([key, *(other for other in old if other != key)])

    def end_replacement(self) -> None:
        """Nothing is sealed by an old key any more. Raises OSError."""
        with self._lock:
            self._write(self._read()[:1])

    def _make(self) -> None:
        """Whoever creates the file first has made the key for all."""
        temporary = self._path.with_name(f".{FILE_NAME}.{os.getpid()}.{threading.get_ident()}")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.write(descriptor, f"{new_key().hex()}\n".encode())
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            with suppress(FileExistsError):
                os.link(temporary, self._path)
        finally:
            temporary.unlink(missing_ok=True)
        fsync_directory(self._path.parent)

    def _read(self) -> list[bytes]:
        try:
            keys = [bytes.fromhex(line) for line in self._path.read_text("ascii").split()]
        except ValueError as error:
            raise CannotUnwrap(f"{FILE_NAME} is damaged") from error
        if not keys or any(len(key) != KEY_SIZE for key in keys):
            raise CannotUnwrap(f"{FILE_NAME} is damaged")
        return keys

    def _write(self, keys: list[bytes]) -> None:
        replace_durably(self._path, "".join(f"{key.hex()}\n" for key in keys).encode())

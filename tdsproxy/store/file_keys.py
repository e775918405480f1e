"""Encrypted database files: the SQLCipher scheme of SQLite3 Multiple Ciphers, and where their keys lie.

Every page of such a file, and so every frame of its WAL, is AES-256-CBC with an HMAC over it, its key and
nonce in 80 reserved bytes at its end. Only the first 24 bytes of the file are not: 16 bytes of salt, then
page size, versions and reserved size as in any SQLite file (``legacy=0`` of that library). So pages and log
can be copied without the key, and whoever opens the file needs it.

The salt names the key: ``STORE/.keys/SALT.key`` holds it, sealed by the service master key, and wrapped for
the certificate that protects it. Copies and images of a database find their key by it wherever they lie in
the store.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

import apsw
import msgspec

from tdsproxy.store import header as file_header
from tdsproxy.store.errors import CannotUnwrap, DatabaseUnreadable
from tdsproxy.store.files import fsync_directory, replace_durably
from tdsproxy.store.pagefile import CIPHER_VFS, VFS, PageFile

KEYS_DIRECTORY: Final = ".keys"
KEY_BYTES: Final = 32
SALT_BYTES: Final = 16
_SUFFIX: Final = ".key"


class StoredKey(msgspec.Struct, frozen=True, kw_only=True):
    """The document of a key file. ``sealed`` is the key, sealed by the service master key; ``wrapped`` the
    same for the private key of ``encryptor_type`` ``thumbprint``. ``created`` is local time, ISO 8601."""

    algorithm: str
    encryptor_type: str
    thumbprint: bytes
    wrapped: bytes
    sealed: bytes
    created: str


def new_file_key() -> bytes:
    """A random key, and behind it the salt that names it."""
    while True:
        made = secrets.token_bytes(KEY_BYTES + SALT_BYTES)
        if made[KEY_BYTES:] != file_header.MAGIC:
            return made


def purpose(salt: bytes) -> str:
    """What the sealed key is sealed for."""
    return f"database key {salt.hex()}"


class FileKeys:
    """The key files of a store."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._directory = store / KEYS_DIRECTORY

    def find(self, salt: bytes) -> StoredKey | None:
        """The document of a key. Raises CannotUnwrap for one that is damaged, OSError."""
        try:
            return msgspec.json.decode(self._path(salt).read_bytes(), type=StoredKey)
        except FileNotFoundError:
            return None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise CannotUnwrap("the key file is damaged") from error

    def all(self) -> list[tuple[bytes, StoredKey | None]]:
        """Salts and documents; None for one that is damaged. Raises OSError."""
        found: list[tuple[bytes, StoredKey | None]] = []
        for path in sorted(self._directory.glob(f"*{_SUFFIX}")):
            try:
                salt = bytes.fromhex(path.stem)
            except ValueError:
                continue
            try:
                document = self.find(salt)
            except CannotUnwrap:
                found.append((salt, None))
            else:
                if document is not None:
                    found.append((salt, document))
        return found

    def key(self, salt: bytes) -> bytes | None:
        """The key and its salt; None when it is not here. Raises CannotUnwrap, OSError."""
        document = self.find(salt)
        if document is None:
            return None
        # Ciphers take their time to load, and few stores have encrypted files.
        from tdsproxy.store.service_key import ServiceKey

        return ServiceKey(self._store).open(document.sealed, purpose(salt)) + salt

    def save(self, salt: bytes, document: StoredKey) -> None:
        """Durable when it returns. Raises OSError."""
        if not self._directory.exists():
            self._directory.mkdir(mode=0o700)
            fsync_directory(self._store)
        replace_durably(self._path(salt), msgspec.json.encode(document))

    def remove(self, salt: bytes) -> None:
        self._path(salt).unlink(missing_ok=True)

    def _path(self, salt: bytes) -> Path:
        return self._directory / f"{salt.hex()}{_SUFFIX}"


def salt_of(path: Path) -> bytes | None:
    """What names the key of the file; None for a plain or an empty one. Raises DatabaseUnreadable."""
    connection = _plain(path, apsw.SQLITE_OPEN_READWRITE)
    try:
        return _salt(connection)
    finally:
        connection.close()


def find_key(path: Path) -> bytes | None:
    """Key and salt of the file, None for a plain one. Raises DatabaseUnreadable when the store has no key."""
    salt = salt_of(path)
    return None if salt is None else _need(path, salt)


def connect(path: Path, flags: int = apsw.SQLITE_OPEN_READWRITE) -> apsw.Connection:
    """A connection to a database file, plain or encrypted, whose pages can be read raw (``PageFile``).

    Raises DatabaseUnreadable.
    """
    connection = _plain(path, flags)
    salt = _salt(connection)
    if salt is None:
        return connection
    connection.close()
    key = _need(path, salt)
    try:
        connection = apsw.Connection(str(path), flags=flags, vfs=CIPHER_VFS)
    except apsw.Error as error:
        raise DatabaseUnreadable(path, f"SQLite cannot open {path}: {error}") from error
    use_key(connection, key)
    return connection


def use_key(connection: apsw.Connection, key: bytes, verb: str = "key") -> None:
    """Give a connection its key; with ``rekey`` change that of its file, b"" to a plain one."""
    connection.execute("PRAGMA cipher = 'sqlcipher'").fetchall()
    connection.execute("PRAGMA legacy = 0").fetchall()
    connection.execute(f'PRAGMA {verb} = "{_literal(key)}"').fetchall()


def change_key(path: Path, old: bytes, new: bytes) -> None:
    """Encrypt, decrypt (``new`` b"") or encrypt anew a file that nobody has open and nobody would miss: there
    is no journal, as that would keep the pages as they were. Raises apsw.Error."""
    connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE, vfs=CIPHER_VFS)
    try:
        if old:
            use_key(connection, old)
        connection.execute("PRAGMA journal_mode = OFF").fetchall()
        use_key(connection, new, "rekey")
    finally:
        connection.close()


def attach_parameters(key: bytes) -> str:
    """The part of a URI that gives ATTACH the key."""
    return f"cipher=sqlcipher&legacy=0&key={_literal(key)}"


def _literal(key: bytes) -> str:
    return f"x'{key.hex()}'" if key else ""


def _plain(path: Path, flags: int) -> apsw.Connection:
    try:
        return apsw.Connection(str(path), flags=flags, vfs=VFS)
    except apsw.Error as error:
        raise DatabaseUnreadable(path, f"SQLite cannot open {path}: {error}") from error


def _salt(connection: apsw.Connection) -> bytes | None:
    head = bytearray(file_header.SIZE)
    PageFile(connection).read_into(memoryview(head), 0)
    parsed = file_header.parse(bytes(head))
    return bytes(head[:SALT_BYTES]) if parsed is not None and parsed.encrypted else None


def _need(path: Path, salt: bytes) -> bytes:
    for store in (path.parent, path.parent.parent):
        try:
            key = FileKeys(store).key(salt)
        except (CannotUnwrap, OSError) as error:
            raise DatabaseUnreadable(path, f"the key of {path} cannot be opened: {error}") from error
        if key is not None:
            return key
    raise DatabaseUnreadable(path, f"the key of {path} is not in the store")

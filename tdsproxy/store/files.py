"""Where a database lies in a store, and how files become durable.

A database NAME is the file ``NAME.db``. Characters that a file name cannot or should not hold are written
as ``%XX`` per UTF-8 byte; a name that would grow too long keeps its beginning and a digest. Names compare
as SQL Server's default collation does as far as file names matter: without case, trailing blanks ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

SUFFIX = ".db"
# Files that SQLite keeps beside a main file.
SIDECARS = ("-wal", "-shm", "-journal")
UNDO_DIRECTORY = ".undo"

_UNSAFE = frozenset('%/\\:*?"<>|')
_DIGEST_MARK = "%~"
# Leaves room for ".db-journal" and for the names of temporary files under the usual limit of 255 bytes.
_LONGEST_STEM = 200
_KEPT_OF_LONG = 120


def encode_name(name: str) -> str:
    """The file name, without suffix, of the database ``name``."""
    name = name.rstrip(" ")
    parts: list[str] = []
    for index, character in enumerate(name):
        risky = character in _UNSAFE or ord(character) < 32 or ord(character) == 127
        if risky or (character == "." and index in (0, len(name) - 1)):
            parts.append(_percent(character))
        else:
            parts.append(character if character.isprintable() else _percent(character))
    stem = "".join(parts)
    if len(_utf8(stem)) <= _LONGEST_STEM:
        return stem
    digest = hashlib.sha256(_utf8(name.casefold())).hexdigest()[:32]
    while len(_utf8(stem)) > _KEPT_OF_LONG:
        stem = stem[:-1]
    return f"{stem.rpartition('%')[0] if '%' in stem[-2:] else stem}{_DIGEST_MARK}{digest}"


def decode_name(stem: str) -> str | None:
    """The database name of a file name without suffix; None for a shortened or malformed one."""
    if _DIGEST_MARK in stem:
        return None
    out = bytearray()
    rest = stem
    while rest:
        head, percent, rest = rest.partition("%")
        out += _utf8(head)
        if percent:
            try:
                out += bytes.fromhex(rest[:2])
            except ValueError:
                return None
            if len(rest) < 2:
                return None
            rest = rest[2:]
    try:
        return out.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return None


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _percent(character: str) -> str:
    return "".join(f"%{byte:02X}" for byte in _utf8(character))


def database_path(store: Path, name: str) -> Path:
    """Where the database ``name`` is made when it is new."""
    return store / (encode_name(name) + SUFFIX)


def find_database(store: Path, name: str) -> Path | None:
    """The file of the database ``name`` if there is one, whatever the case in which it was made."""
    exact = database_path(store, name)
    if exact.exists():
        return exact
    wanted = exact.name.casefold()
    for path in database_files(store):
        if path.name.casefold() == wanted:
            return path
    return None


def database_files(store: Path) -> Iterator[Path]:
    """Every database file of a store, in the order of their names."""
    if not store.is_dir():
        return
    for path in sorted(store.iterdir()):
        if path.suffix == SUFFIX and not path.name.startswith("."):
            yield path


def sidecars(path: Path) -> list[Path]:
    """The paths of the WAL, the WAL index and the rollback journal of the main file ``path``."""
    return [path.with_name(path.name + suffix) for suffix in SIDECARS]


def is_live_file(path: Path, databases: Sequence[Path]) -> bool:
    """Whether ``path`` is, by inode, one of ``databases`` or a file that SQLite keeps beside one.

    Asked before such a path is opened as anything but a database: closing a descriptor of a main file or
    of a WAL index drops every lock that this process's SQLite connections hold on it.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    for database in databases:
        for candidate in (database, *sidecars(database)):
            try:
                other = candidate.stat()
            except OSError:
                continue
            if (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino):
                return True
    return False


def fsync_directory(directory: Path) -> None:
    """Make the names in ``directory`` durable. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_durably(path: Path, *content: bytes | bytearray, mode: int = 0o600) -> None:
    """Give ``path`` the ``content``, one part behind the other, so that a crash leaves the old file or the
    new one. Raises OSError."""
    temporary = path.with_name(f".{path.name}.new")
    descriptor = os.open(
        temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode
    )
    try:
        try:
            os.fchmod(descriptor, mode)
            for part in content:
                view = memoryview(part)
                while view:
                    view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


def clear_sidecars(path: Path) -> None:
    """What an earlier database left beside ``path``, where nothing else is, goes durably: SQLite would replay
    it over the file that is put there. Raises OSError."""
    stale = [one for one in sidecars(path) if one.exists()]
    for one in stale:
        one.unlink()
    if stale:
        fsync_directory(path.parent)


def has_wal(path: Path) -> bool:
    """Whether commits may lie beside the file, so that it must not be moved alone. To be asked when nobody
    has it open: the last one to close puts them into it, if the disk lets him."""
    try:
        return path.with_name(f"{path.name}{SIDECARS[0]}").stat().st_size > 0
    except FileNotFoundError:
        return False


def rename_durably(source: Path, target: Path) -> None:
    """Rename within one file system and make it durable. Raises OSError."""
    source.replace(target)
    fsync_directory(target.parent)
    if source.parent != target.parent:
        fsync_directory(source.parent)

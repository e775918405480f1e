"""The hash of every page as a full backup saw it, by which a differential backup finds what changed where no
log is kept.

One file for each full backup, ``STORE/.differential/DATABASE-GUID/SET-GUID.map``::

    0   8   ``TDSMAP`` 0D 0A
    8   4   version, 1
    12  4   page size
    16  8   number of pages n
    24  16  BackupSetGUID of the full backup, big-endian
    40  24  zeros
    64  16n for each page the first 16 bytes of its SHA-256; zeros: not known, so changed
    ..  16  the first 16 bytes of the SHA-256 of all before

All integers are little-endian. A page that a differential backup holds is zeroed in the map before that
backup exists: every later one then holds it, too, even if the page is as in the base again, so that
differentials can be restored one over the other.
"""

from __future__ import annotations

import hashlib
import struct
import uuid
from collections.abc import Iterable
from pathlib import Path

from tdsproxy.backup.errors import BaseMissing
from tdsproxy.store.files import fsync_directory, replace_durably

DIRECTORY = ".differential"
_SUFFIX = ".map"
_MAGIC = b"TDSMAP\r\n"
_VERSION = 1
_HEAD = struct.Struct("<8sIIQ16s24x")
HASH_SIZE = 16
_UNKNOWN = bytes(HASH_SIZE)
# The map of the base, and that of a newer full backup of which the catalog may not know yet.
_KEPT = 2


def map_directory(store: Path, database: uuid.UUID) -> Path:
    """Where the maps of a database lie."""
    return store / DIRECTORY / str(database)


def page_hashes(data: memoryview, page_size: int) -> bytes:
    """The hashes of the pages in ``data``, one after the other. For any thread."""
    sha256 = hashlib.sha256
    return b"".join(
        [sha256(data[at : at + page_size]).digest()[:HASH_SIZE] for at in range(0, len(data), page_size)]
    )


class PageMap:
    """The hashes of one full backup, in memory: 16 bytes for each page."""

    def __init__(self, set_guid: uuid.UUID, page_size: int, page_count: int) -> None:
        self.set_guid = set_guid
        self.page_size = page_size
        self.page_count = page_count
        self._hashes = bytearray(HASH_SIZE * page_count)

    def put(self, first_page: int, hashes: bytes | memoryview) -> None:
        """Note the hashes of consecutive pages."""
        at = (first_page - 1) * HASH_SIZE
        self._hashes[at : at + len(hashes)] = hashes

    def changed(self, first_page: int, hashes: bytes) -> list[int]:
        """Which of consecutive pages are not as they were."""
        at = (first_page - 1) * HASH_SIZE
        known = bytes(self._hashes[at : at + len(hashes)])
        if known == hashes and _UNKNOWN not in known:
            return []
        found: list[int] = []
        for offset in range(0, len(hashes), HASH_SIZE):
            old = known[offset : offset + HASH_SIZE]
            if old != hashes[offset : offset + HASH_SIZE] or old == _UNKNOWN:
                found.append(first_page + offset // HASH_SIZE)
        return found

    def differing(self, first_page: int, hashes: bytes) -> list[int]:
        """Which of consecutive pages are known and not as they were."""
        found: list[int] = []
        for page in self.changed(first_page, hashes):
            at = (page - 1) * HASH_SIZE
            if page <= self.page_count and self._hashes[at : at + HASH_SIZE] != _UNKNOWN:
                found.append(page)
        return found

    def forget(self, pages: Iterable[int]) -> None:
        """Take these pages for changed from now on."""
        for page in pages:
            if page <= self.page_count:
                at = (page - 1) * HASH_SIZE
                self._hashes[at : at + HASH_SIZE] = _UNKNOWN

    def save(self, directory: Path) -> None:
        """Write the map durably, and drop those of older backups but the last. Raises OSError."""
        for missing in (directory.parent, directory):
            if not missing.exists():
                missing.mkdir(mode=0o700)
                fsync_directory(missing.parent)
        head = _HEAD.pack(_MAGIC, _VERSION, self.page_size, self.page_count, self.set_guid.bytes)
        seal = hashlib.sha256(head)
        seal.update(self._hashes)
        path = directory / f"{self.set_guid}{_SUFFIX}"
        replace_durably(path, head, self._hashes, seal.digest()[:HASH_SIZE])
        others = [other for other in directory.glob(f"*{_SUFFIX}") if other != path]
        others.sort(key=lambda other: other.stat().st_mtime_ns, reverse=True)
        for other in others[_KEPT - 1 :]:
            other.unlink()


def load(directory: Path, set_guid: uuid.UUID) -> PageMap:
    """The map of a full backup. Raises BaseMissing when there is none, or a damaged one; OSError."""
    path = directory / f"{set_guid}{_SUFFIX}"
    try:
        content = memoryview(path.read_bytes())
    except FileNotFoundError as error:
        raise BaseMissing(set_guid, "no page hashes of it are kept") from error
    body, seal = content[:-HASH_SIZE], content[-HASH_SIZE:]
    if len(body) < _HEAD.size or hashlib.sha256(body).digest()[:HASH_SIZE] != seal:
        raise BaseMissing(set_guid, f"{path} is damaged")
    magic, version, page_size, page_count, guid = _HEAD.unpack_from(body)
    if (magic, version, guid) != (_MAGIC, _VERSION, set_guid.bytes):
        raise BaseMissing(set_guid, f"{path} is no map of it")
    if len(body) != _HEAD.size + HASH_SIZE * page_count:
        raise BaseMissing(set_guid, f"{path} is damaged")
    found = PageMap(set_guid, page_size, page_count)
    found.put(1, body[_HEAD.size :])
    return found


def remove_maps(store: Path, database: uuid.UUID) -> None:
    """The database is gone, or its log is kept from now on. Raises OSError."""
    directory = map_directory(store, database)
    if not directory.is_dir():
        return
    for path in directory.iterdir():
        path.unlink()
    directory.rmdir()

"""What a store looks like in an object store, below the URL that it is synchronised to.

::

    manifest.json                      what all of it is; written last, over its former self only
    lease.json                         who writes here (``objects.lease``)
    former/EPOCH-SECONDS.json          the manifest of a writer that another store took over from, and when
    files/EPOCH-STAMP/PATH             a whole file of the store: media, keys, and snapshots of master.db,
                                       msdb.db and model.db; STAMP tells uploads apart. Also the service
                                       master key, sealed by a passphrase, if one was given
    log/DATABASE/FORK/NAME.seg/EPOCH-GENERATION/FROM-TO
                                       bytes of a segment of the log, whole records only

Objects are never changed; what the manifest does not name any more is removed after it was written. EPOCH
is the lease's when the object was written, so that no two writers ever use the same key. PATH is below the
store; media lie below ``backup/`` wherever the backup directory is.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path, PurePosixPath
from typing import Final

import msgspec

MANIFEST: Final = "manifest.json"
LEASE: Final = "lease.json"
FORMER: Final = "former"
SERVICE_KEY: Final = "service_master_key.json"
BACKUP: Final = "backup"
LOG: Final = "log"
VERSION: Final = 1


class FileEntry(msgspec.Struct, frozen=True):
    """A whole file: the key of its object, its size and SHA-256."""

    key: str
    size: int
    digest: str


class SegmentEntry(msgspec.Struct, frozen=True):
    """``size`` bytes of a segment, in objects below ``PATH/generation``."""

    generation: str
    size: int


class Manifest(msgspec.Struct, frozen=True):
    """``through_ns``: everything that was in the store's log and media at this time is here (nanoseconds
    since 1970). ``store`` names the store that wrote, ``instance`` its process, ``about`` both for people,
    ``epoch`` its lease, ``writers`` all stores that ever wrote there; ``backup_directory`` is where its media
    lay, ``databases`` are those of users. ``service_key`` is an object."""

    store: str
    epoch: int
    through_ns: int
    files: dict[str, FileEntry] = {}
    segments: dict[str, SegmentEntry] = {}
    has_service_key: bool = False
    backup_directory: str = ""
    databases: list[str] = []
    version: int = VERSION
    instance: str = ""
    about: str = ""
    writers: list[str] = []
    service_key: str = ""


class ManifestDamaged(Exception):
    """It is not one, or of a newer version; or it names a place outside the store."""


def is_file(entry: FileEntry, path: Path) -> bool:
    """Whether the file at ``path`` is the one that was sent. Raises OSError."""
    try:
        with path.open("rb") as file:
            same = os.fstat(file.fileno()).st_size == entry.size
            return same and hashlib.file_digest(file, "sha256").hexdigest() == entry.digest
    except FileNotFoundError:
        return False


def encode(manifest: Manifest) -> bytes:
    """As JSON."""
    return msgspec.json.encode(manifest)


def decode(data: bytes) -> Manifest:
    """Raises ManifestDamaged."""
    try:
        found = msgspec.json.decode(data, type=Manifest)
    except msgspec.DecodeError as error:
        raise ManifestDamaged(str(error)) from error
    if found.version > VERSION:
        raise ManifestDamaged(f"version {found.version}")
    for path in (*found.files, *found.segments):
        parts = PurePosixPath(path).parts
        if not parts or ".." in parts or path.startswith("/") or "\0" in path:
            raise ManifestDamaged(f"it names {path!r}")
    return found


def file_key(epoch: int, stamp: str, name: str) -> str:
    """The object of a version of a file."""
    return f"files/{epoch:06d}-{stamp}/{name}"


def segment_folder(path: str, generation: str) -> str:
    return f"{path}/{generation}"


def piece_key(path: str, generation: str, first: int, end: int) -> str:
    """The object of bytes ``first`` to ``end`` (exclusive)."""
    return f"{segment_folder(path, generation)}/{first:015d}-{end:015d}"


def piece_range(key: str) -> tuple[int, int] | None:
    """What a key says it holds."""
    first, dash, end = key.rpartition("/")[2].partition("-")
    if not (dash and first.isdigit() and end.isdigit()):
        return None
    return int(first), int(end)

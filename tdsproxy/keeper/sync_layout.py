"""What a store looks like in an object store, below the URL that it is synchronised to.

::

    manifest.json                      what all of it is; written last, over its former self only
    lease.json                         who writes here (``objects.lease``)
    files/STAMP/PATH                   a whole file of the store: media, keys, and snapshots of master.db,
                                       msdb.db and model.db; STAMP tells versions apart
    log/DATABASE/FORK/NAME.seg/GENERATION/FROM-TO
                                       bytes of a segment of the log, whole records only
    service_master_key.json            sealed by a passphrase; only if one was given

Objects are never changed; what the manifest does not name any more is removed after it was written. PATH is
below the store; media lie below ``backup/`` wherever the backup directory is.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Final

import msgspec

MANIFEST: Final = "manifest.json"
LEASE: Final = "lease.json"
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
    since 1970). ``store`` names the store that wrote, ``epoch`` its lease; ``backup_directory`` is where its
    media lay, ``databases`` are those of users."""

    store: str
    epoch: int
    through_ns: int
    files: dict[str, FileEntry] = {}
    segments: dict[str, SegmentEntry] = {}
    has_service_key: bool = False
    backup_directory: str = ""
    databases: list[str] = []
    version: int = VERSION


class ManifestDamaged(Exception):
    """It is not one, or of a newer version; or it names a place outside the store."""


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

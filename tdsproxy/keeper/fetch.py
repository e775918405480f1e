"""Bringing a store back from where it was synchronised to: the files that it is restored from."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

import msgspec

from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.sync import SERVICE_KEY_PURPOSE
from tdsproxy.keeper.sync_claim import Claim, Identity, claim, formers
from tdsproxy.keeper.sync_files import CATALOG
from tdsproxy.keeper.sync_layout import FileEntry, Manifest, SegmentEntry
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import ObjectUrl, below
from tdsproxy.store.files import fsync_directory, replace_durably
from tdsproxy.store.key_wrapping import CannotUnwrap, unwrap_with_password
from tdsproxy.store.service_key import FILE_NAME

_THREADS: Final = 4
_TRIES: Final = 5


class NotFetched(Exception):
    """What is there cannot be used; the text is a sentence for the user."""


class Origin:
    """The objects below a URL. Raises ObjectError, OSError, NotFetched."""

    def __init__(self, url: ObjectUrl, secret: Secret | None, reaching: Reaching) -> None:
        self._bucket: Bucket = open_bucket(url, secret, reaching)
        self._key = below(url)
        self._name = url.text

    def manifest(self, epoch: int | None = None) -> Manifest:
        """What is there now; or what a former writer left, in whose ``epoch`` another one took over."""
        try:
            if epoch is None:
                data, _ = self._bucket.read_all(self._key(layout.MANIFEST))
            else:
                kept = formers(self._bucket, self._key)
                names = [name for name, (found, _) in kept.items() if found == epoch]
                if not names:
                    epochs = ", ".join(str(found) for found, _ in sorted(kept.values())) or "none"
                    raise NotFetched(
                        f"Nothing is kept of epoch {epoch} at '{self._name}'; there are: {epochs}."
                    )
                data, _ = self._bucket.read_all(names[-1])
        except ObjectError as error:
            if error.reason is Reason.MISSING:
                raise NotFetched(f"No store was ever synchronised to '{self._name}'.") from error
            raise
        try:
            return layout.decode(data)
        except layout.ManifestDamaged as error:
            raise NotFetched(f"The manifest at '{self._name}' cannot be used: {error}.") from error

    def take_over(self, store: Path) -> Claim:
        """The store in ``store`` is the writer from now on. Raises NotOurs, LeaseTaken, Superseded too."""
        return claim(self._bucket, self._key, Identity(store), take_over=True)

    def service_key(self, manifest: Manifest, passphrase: str) -> bytes:
        """The service master key that was sent along."""
        data, _ = self._bucket.read_all(manifest.service_key or self._key(layout.SERVICE_KEY))
        try:
            sealed = bytes.fromhex(str(msgspec.json.decode(data)["sealed"]))
            return unwrap_with_password(passphrase, sealed, SERVICE_KEY_PURPOSE)
        except (CannotUnwrap, ValueError, KeyError, TypeError, msgspec.DecodeError):
            raise NotFetched("The passphrase does not open the service master key.") from None

    def file(self, entry: FileEntry, path: Path) -> None:
        """A whole file, checked, in place of what is at ``path``."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.fetched")
        digest = hashlib.sha256()
        with _private(temporary, os.O_TRUNC) as file:
            for piece in self._bucket.pieces(entry.key):
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        if digest.hexdigest() != entry.digest:
            temporary.unlink()
            raise NotFetched(f"The object '{entry.key}' is not what was sent.")
        temporary.replace(path)

    def segment(self, name: str, entry: SegmentEntry, path: Path) -> bool:
        """Append to ``path`` what is missing of a segment; whether there was anything. What is there must be
        a beginning of it."""
        have = path.stat().st_size if path.exists() else 0
        if have >= entry.size:
            return False
        pieces: dict[int, tuple[int, str]] = {}
        folder = self._key(layout.segment_folder(name, entry.generation))
        for found in self._bucket.list(folder):
            span = layout.piece_range(found.key)
            if span is not None and span[1] <= entry.size:
                pieces[span[0]] = max(pieces.get(span[0], (0, "")), (span[1], found.key))
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _private(path, os.O_APPEND) as file:
            at = 0
            while at < entry.size:
                if at not in pieces:
                    raise NotFetched(f"A piece of '{name}' is missing at {at}.")
                end, key = pieces[at]
                if end > have:
                    data = self._bucket.read(key, max(0, have - at), end - max(at, have))
                    file.write(data)
                    have = end
                at = end
            file.flush()
            os.fsync(file.fileno())
        return True


def fetch(
    origin: Origin, store: Path, backup_directory: Path, passphrase: str | None, epoch: int | None = None
) -> Manifest:
    """Everything, into a store that does not exist yet; as of which manifest. It is durable then. One that
    ended before has made no store, and can be repeated. Raises ObjectError, OSError, NotFetched."""
    for left in reversed(range(_TRIES)):
        manifest = origin.manifest(epoch)
        try:
            _fetch(origin, manifest, store, backup_directory, passphrase)
            break
        except (ObjectError, NotFetched) as error:
            # Whoever still writes there may have removed what a newer manifest does not need.
            gone = isinstance(error, NotFetched) or error.reason is Reason.MISSING
            if not left or not gone or origin.manifest(epoch) == manifest:
                raise
    return manifest


def _fetch(
    origin: Origin, manifest: Manifest, store: Path, backup_directory: Path, passphrase: str | None
) -> None:
    if manifest.has_service_key and passphrase is not None:
        replace_durably(store / FILE_NAME, origin.service_key(manifest, passphrase))

    def one(work: tuple[str, FileEntry | SegmentEntry]) -> None:
        name, entry = work
        if isinstance(entry, FileEntry):
            origin.file(entry, place(store, backup_directory, name))
        else:
            # What an earlier try has brought may have been rewritten there since.
            (store / name).unlink(missing_ok=True)
            origin.segment(name, entry, store / name)

    wanted: list[tuple[str, FileEntry | SegmentEntry]] = [
        *manifest.files.items(),
        *manifest.segments.items(),
    ]
    # With its catalog it is a store.
    for last in (False, True):
        with ThreadPoolExecutor(_THREADS, "fetch") as threads:
            for _ in threads.map(one, [work for work in wanted if (work[0] in CATALOG) is last]):
                pass
        _make_durable(store, backup_directory)


def _make_durable(*roots: Path) -> None:
    """The names below some directories, and theirs."""
    for root in roots:
        if not root.is_dir():
            continue
        for directory in (root, *(path for path in root.rglob("*") if path.is_dir())):
            fsync_directory(directory)
        with suppress(OSError):  # it may be another user's
            fsync_directory(root.parent)


def place(store: Path, backup_directory: Path, name: str) -> Path:
    """Where a file of the manifest belongs."""
    parts = PurePosixPath(name).parts
    if parts[0] == layout.BACKUP:
        return backup_directory.joinpath(*parts[1:])
    return store.joinpath(*parts)


def _private(path: Path, flag: int) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | flag, 0o600), "wb")

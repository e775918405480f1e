"""Who may write where a store is synchronised to: one writer at a time, of one line of stores.

A prefix belongs to the store that was first synchronised to it, and to those that descend from it: restored
from it, or its standbys. Which *process* wrote the manifest last is in it (``instance``), and each store
remembers the processes of its own (``STORE/.sync/identity.json``). So a store goes on where it wrote last
itself, and is refused where another one has written since: its own copy, its successor, or a stranger.

A successor claims the prefix by an explicit command. It takes the lease, keeps the manifest of its
predecessor as ``former/``, and replaces it by one of its own that says the same: from then on nothing that
the predecessor publishes is accepted, whether it was asleep, cut off, or is alive. What is to be taken over
is read after that.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from tdsproxy.commands.elsewhere import SYNC_DIRECTORY
from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.sync_layout import Manifest
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.lease import Lease, LeaseTaken
from tdsproxy.objects.store import Bucket
from tdsproxy.store.files import replace_durably

_FILE: Final = "identity.json"
_LOCK: Final = "identity.lock"
_FORMER_OWNER: Final = "owner"
_MOST_INSTANCES: Final = 16
_TRIES: Final = 20
FORMER_DAYS: Final = 30
"""For how long the manifest of a predecessor is kept, and with it all that it names."""

Key = Callable[[str], str]


class NotOurs(Exception):
    """Another store writes there; the text is a sentence for the user."""


class Superseded(Exception):
    """Somebody else has published there meanwhile."""


class Identity:
    """What a store remembers of itself as a writer: its name, its processes, and whom it descends from."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._directory = store / SYNC_DIRECTORY

    @property
    def owner(self) -> str:
        """The store's name, made when it is first asked for."""
        with self._changing() as known:
            return str(known["owner"])

    @property
    def about(self) -> str:
        """For people."""
        return f"{socket.gethostname()}:{self._store}"

    @property
    def place(self) -> str:
        """Where a process of this store runs: another copy of the store has another place."""
        return f"{self.about}:{self._store.stat().st_ino}"

    @property
    def instances(self) -> tuple[str, ...]:
        with self._changing() as known:
            return tuple(known["instances"])

    def fresh(self) -> str:
        """A name for the present process, durably known before it is used."""
        token = secrets.token_hex(16)
        with self._changing() as known:
            known["instances"] = [*known["instances"], token][-_MOST_INSTANCES:]
        return token

    def descend(self, manifest: Manifest) -> None:
        """This store is made of what ``manifest`` names."""
        with self._changing() as known:
            known["descends"] = sorted({*known["descends"], manifest.store, *manifest.writers})

    def wrote(self, manifest: Manifest) -> bool:
        """Whether nobody has written after this store."""
        with self._changing() as known:
            if manifest.instance:
                return bool(manifest.instance in known["instances"])
            return bool(manifest.store == known["owner"])

    def check(self, manifest: Manifest, *, as_successor: bool) -> None:
        """Raises NotOurs."""
        if self.wrote(manifest):
            return
        there = f"'{manifest.about or manifest.store}'"
        with self._changing() as known:
            owner, descends = known["owner"], set(known["descends"])
        writers = {manifest.store, *manifest.writers}
        if not writers & {owner, *descends}:
            raise NotOurs(
                f"another store, {there}, is synchronised there: give this one a URL of its own,"
                " or restore from there first"
            )
        if as_successor:
            return
        remedy = (
            "; 'tdsproxy sync --take-over' makes this store the writer, and keeps what the other one sent"
            f" as epoch {manifest.epoch}"
        )
        if manifest.store == owner:
            raise NotOurs(f"another copy of this store, {there}, writes there now{remedy}")
        if owner in manifest.writers:
            raise NotOurs(
                f"{there} has taken over (epoch {manifest.epoch}): nothing of this store is sent any more,"
                f" what is committed here is nowhere else. Make it anew as a standby{remedy}"
            )
        raise NotOurs(f"this store is a copy of {there}, which is synchronised there{remedy}")

    @contextmanager
    def _changing(self) -> Iterator[dict[str, Any]]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / _FILE
        lock = os.open(self._directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            known: dict[str, Any] = {"owner": "", "instances": [], "descends": []}
            with suppress(FileNotFoundError):
                known |= json.loads(path.read_bytes())
            before = json.dumps(known)
            if not known["owner"]:
                known["owner"] = self._named_before() or secrets.token_hex(16)
            yield known
            after = json.dumps(known)
            if after != before:
                replace_durably(path, after.encode())
        finally:
            os.close(lock)

    def _named_before(self) -> str:
        with suppress(FileNotFoundError):
            return (self._directory / _FORMER_OWNER).read_text()
        return ""


@dataclass(frozen=True, slots=True)
class Claim:
    """A prefix that is ours: the lease, what the manifest says and its tag (None: there was none)."""

    lease: Lease
    epoch: int
    owner: str
    instance: str
    manifest: Manifest | None
    tag: str | None
    robbed: str | None = None

    @property
    def writers(self) -> list[str]:
        """All stores that ever wrote there."""
        former = self.manifest.writers if self.manifest is not None else []
        return list(dict.fromkeys([*former, self.owner]))


def claim(
    bucket: Bucket,
    key: Key,
    identity: Identity,
    *,
    take_over: bool = False,
    clock: Callable[[], float] = time.time,
) -> Claim:
    """Raises NotOurs, LeaseTaken, ObjectError, ManifestDamaged, Superseded."""
    manifest, _ = read_manifest(bucket, key)
    if manifest is not None:
        identity.check(manifest, as_successor=take_over)
    former = identity.instances
    instance = identity.fresh()
    lease = Lease(
        bucket,
        key(layout.LEASE),
        instance,
        identity.about,
        clock,
        place=identity.place,
        former=former,
        floor=manifest.epoch if manifest is not None else 0,
    )
    robbed = _hold(lease, force=take_over)
    try:
        return _fence(bucket, key, identity, lease, instance, robbed, take_over=take_over, clock=clock)
    except (NotOurs, Superseded):
        with suppress(ObjectError):
            lease.release()
        raise


def _fence(
    bucket: Bucket,
    key: Key,
    identity: Identity,
    lease: Lease,
    instance: str,
    robbed: str | None,
    *,
    take_over: bool,
    clock: Callable[[], float],
) -> Claim:
    """For who holds the lease: replace the manifest, so that nobody else can."""
    lease.prove()
    for _ in range(_TRIES):
        manifest, tag = read_manifest(bucket, key)
        found = Claim(lease, lease.epoch, identity.owner, instance, manifest, tag, robbed)
        if manifest is None:
            return found
        identity.check(manifest, as_successor=take_over)
        if not identity.wrote(manifest):
            with suppress_existing():
                name = f"{layout.FORMER}/{manifest.epoch:06d}-{int(clock())}.json"
                bucket.write(key(name), layout.encode(manifest), new=True)
        ours = msgspec.structs.replace(
            manifest,
            store=found.owner,
            about=identity.about,
            instance=instance,
            epoch=lease.epoch,
            writers=found.writers,
        )
        try:
            tag = bucket.write(key(layout.MANIFEST), layout.encode(ours), only=tag)
        except ObjectError as error:
            # The predecessor was quicker once more: that is to be taken over, too.
            if error.reason not in (Reason.CHANGED, Reason.EXISTS):
                raise
            continue
        return Claim(lease, found.epoch, found.owner, instance, ours, tag, robbed)
    raise Superseded("others write there all the time")


def _hold(lease: Lease, *, force: bool) -> str | None:
    for left in reversed(range(_TRIES)):
        try:
            return lease.keep(force=force)
        except LeaseTaken:
            # Who holds it may have renewed it just now.
            if not (force and left):
                raise
    return None


@contextmanager
def suppress_existing() -> Iterator[None]:
    """An object that is there already is as good."""
    try:
        yield
    except ObjectError as error:
        if error.reason not in (Reason.EXISTS, Reason.CHANGED):
            raise


def read_manifest(bucket: Bucket, key: Key) -> tuple[Manifest | None, str | None]:
    """And its tag. Raises ObjectError, ManifestDamaged."""
    try:
        data, tag = bucket.read_all(key(layout.MANIFEST))
    except ObjectError as error:
        if error.reason is Reason.MISSING:
            return None, None
        raise
    return layout.decode(data), tag


def formers(bucket: Bucket, key: Key) -> dict[str, tuple[int, int]]:
    """The manifests of predecessors: key, epoch, and when it was taken over (seconds since 1970)."""
    found: dict[str, tuple[int, int]] = {}
    for item in bucket.list(key(layout.FORMER)):
        match = re.fullmatch(r"(\d{6,})-(\d+)\.json", item.key.rpartition("/")[2])
        if match is not None:
            found[item.key] = (int(match[1]), int(match[2]))
    return found


class Named:
    """The objects that some manifests name."""

    def __init__(self, key: Key, manifests: Iterable[Manifest]) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        for manifest in manifests:
            self._files |= {entry.key for entry in manifest.files.values()}
            self._files.add(manifest.service_key)
            self._folders |= {
                key(layout.segment_folder(path, entry.generation))
                for path, entry in manifest.segments.items()
            }

    def __contains__(self, name: str) -> bool:
        return name in self._files or name.rpartition("/")[0] in self._folders


def protected(bucket: Bucket, key: Key, clock: Callable[[], float] = time.time) -> Named:
    """What predecessors named is kept for ``FORMER_DAYS``, by the clock here and by that of the object store:
    one of them may be wrong. Manifests that are older go. For who has just written the lease. Raises
    ObjectError, ManifestDamaged."""
    kept: list[Manifest] = []
    lease = bucket.find(key(layout.LEASE))
    written = {item.key: item.modified for item in bucket.list(key(layout.FORMER))}
    for name, (_, at) in formers(bucket, key).items():
        ages = [clock() - at]
        there = None if lease is None else lease.modified
        if there is not None and (modified := written.get(name)) is not None:
            ages.append(there - modified)
        if min(ages) > FORMER_DAYS * 86400:
            bucket.remove([name])
        else:
            kept.append(layout.decode(bucket.read_all(name)[0]))
    return Named(key, kept)


_OURS: Final = re.compile(
    r"files/(\d{6,})-[^/]+/.+|log/[^/]+/[^/]+/[^/]+\.seg/(\d{6,})-[0-9a-f]+/\d{15}-\d{15}"
)


def sweep(bucket: Bucket, key: Key, claimed: Claim, kept: Named) -> int:
    """Remove what was left by writers that ended or were superseded: objects of former epochs that no
    manifest names. None of them can ever be named again. How many; raises ObjectError."""
    present = Named(key, [] if claimed.manifest is None else [claimed.manifest])
    prefix = len(key(""))
    gone: list[str] = []
    for folder in ("files", layout.LOG):
        for item in bucket.list(key(folder)):
            match = _OURS.fullmatch(item.key[prefix:])
            if match is None or int(match[1] or match[2]) >= claimed.epoch:
                continue
            if item.key not in present and item.key not in kept:
                gone.append(item.key)
    bucket.remove(gone)
    bucket.tidy(key(""))
    return len(gone)

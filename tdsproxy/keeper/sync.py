"""Keeping an object store up with a store: media, the log, and the catalog, every second or so.

What was committed is safe there when the manifest names it. ``STORE/.sync/state.json`` tells how far that is.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import apsw
import msgspec

from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.recovery import LogChain
from tdsproxy.commands.elsewhere import STATE_FILE, SYNC_DIRECTORY, read_sync_state
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.log_chain import status_of, wants_log
from tdsproxy.commands.url_devices import find_secret
from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync_bases import starts
from tdsproxy.keeper.sync_claim import (
    Claim,
    Identity,
    NotOurs,
    Superseded,
    claim,
    protected,
    sweep,
)
from tdsproxy.keeper.sync_files import CATALOG, CatalogSender, FileSender, store_files
from tdsproxy.keeper.sync_log import LogSender
from tdsproxy.log.records import CaptureStopped
from tdsproxy.log.service import ChainState
from tdsproxy.media.null_device import is_null
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.lease import LeaseTaken
from tdsproxy.objects.secret import read_secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import below, is_url, parse_url
from tdsproxy.store.key_wrapping import wrap_with_password
from tdsproxy.store.service_key import FILE_NAME
from tdsproxy.store.threads import lasting_thread

_HEARTBEAT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5.0
_SUPERSEDED_SECONDS: Final = 0.5
_STOP_SECONDS: Final = 30.0
# How far back full backups are looked for at first: one may be on its way.
_FEW_FULLS: Final = 2
_ALL_FULLS: Final = 1 << 40
SERVICE_KEY_PURPOSE: Final = "service master key of a synchronised store"

_log = logging.getLogger(__name__)


class Sync:
    """A thread of the keeper. ``start``, and ``close``, which sends the rest."""

    def __init__(self, env: CommandEnvironment, options: SyncOptions) -> None:
        self._env = env
        self._options = options
        self._store = env.catalog.store
        self._stop = threading.Event()
        self._thread = lasting_thread(self._run, "sync", self._stop)
        self._said = ""

    def start(self) -> None:
        (self._store / SYNC_DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        self._thread.start()

    def close(self) -> None:
        """What has been captured is sent, unless the store does not answer."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._session()
            except NotOurs as refused:
                self._report(str(refused), refused=True)
            except LeaseTaken as taken:
                self._report(f"another writer: {taken}")
            except Superseded as error:
                _log.info("the synchronisation with %s begins anew: %s", self._options.url, error)
                if self._stop.wait(_SUPERSEDED_SECONDS):
                    return
                continue
            except (ObjectError, OSError, apsw.Error, layout.ManifestDamaged) as error:
                self._report(str(error))
            if self._stop.wait(_RETRY_SECONDS):
                return

    def _session(self) -> None:
        """Sends until it is stopped, or something goes wrong."""
        bucket, key = reach(self._env, self._options)
        claimed = claim(bucket, key, Identity(self._store))
        lease = claimed.lease
        sender = _Sender(self._env, self._options, bucket, key, claimed)
        try:
            while True:
                last = self._stop.is_set()
                try:
                    lease.keep()
                except LeaseTaken as taken:
                    raise Superseded(f"{taken.holder} has taken the lease") from taken
                begun = time.time_ns()
                sender.round(begun, last=last)
                self._note(sender)
                if last:
                    break
                self._stop.wait(self._options.interval)
        except Superseded:
            with suppress(ObjectError):
                lease.release()
            raise
        finally:
            sender.close()
        with suppress(ObjectError):
            lease.release()

    def _note(self, sender: _Sender) -> None:
        if self._said:
            _log.info("the synchronisation with %s goes on", self._options.url)
            self._said = ""
        self._write_state(
            {
                "through_ns": sender.through_ns,
                "files_waiting": sender.waiting,
                "unprotected": sender.unprotected,
                "error": None,
                "refused": False,
            }
        )

    def _report(self, text: str, *, refused: bool = False) -> None:
        if refused and text != self._said:
            _log.error("nothing is sent to %s: %s", self._options.url, text)
        elif text != self._said:
            _log.warning("the synchronisation with %s fails: %s", self._options.url, text)
        self._said = text
        before = read_sync_state(self._store) or {}
        through = before.get("through_ns") if before.get("url") == self._options.url else None
        self._write_state({"through_ns": through, "files_waiting": None, "error": text, "refused": refused})

    def _write_state(self, state: dict[str, Any]) -> None:
        """Not made durable: it is of the moment."""
        path = self._store / SYNC_DIRECTORY / STATE_FILE
        temporary = path.with_suffix(".new")
        body = {"url": self._options.url, "updated_ns": time.time_ns(), **state}
        with suppress(OSError):
            temporary.write_text(json.dumps(body))
            temporary.replace(path)


class _Sender:
    """One session with the object store: what is there, and what the manifest says."""

    def __init__(
        self,
        env: CommandEnvironment,
        options: SyncOptions,
        bucket: Bucket,
        key: Callable[[str], str],
        claimed: Claim,
    ) -> None:
        store = env.catalog.store
        self._env = env
        self._store = store
        self._backup_directory = env.paths.backup_directory
        self._options = options
        self._bucket = bucket
        self._key = key
        self._claim = claimed
        self._tag = claimed.tag
        self._protected = protected(bucket, key)
        epoch = claimed.epoch
        self._about = Identity(store).about
        self._written = 0.0
        self.through_ns = 0
        self._service_key = b""
        self._service_object = ""
        self._files = FileSender(bucket, key, lambda: store_files(store, env.paths.backup_directory), epoch)
        self._log = LogSender(store / layout.LOG, bucket, key, epoch)
        self._catalog = CatalogSender(store, bucket, key, epoch)
        self._former: list[str] = []
        self.unprotected: list[str] = []
        # The full backups that have arrived, and from which the log goes on.
        self._based: dict[UUID, frozenset[UUID]] = {}
        # For which chain they were looked up, by how much of msdb, and which there are.
        self._looked: dict[UUID, tuple[LogChain, UUID, int, frozenset[UUID]]] = {}
        # Media that were sent once and are not here any more.
        self._gone: dict[str, layout.FileEntry] = {}
        self._begin()

    @property
    def waiting(self) -> int:
        return self._files.waiting

    def _begin(self) -> None:
        manifest = self._claim.manifest
        if manifest is None:
            return
        sweep(self._bucket, self._key, self._claim, self._protected)
        self._files.adopt(manifest.files)
        self._former = [entry.key for name, entry in manifest.files.items() if name in CATALOG]
        for path, entry in manifest.segments.items():
            folder = self._key(layout.segment_folder(path, entry.generation))
            self._log.adopt(path, entry, [found.key for found in self._bucket.list(folder)])
        kept = {entry.key for entry in self._files.entries().values()}
        self._gone = {
            name: entry
            for name, entry in manifest.files.items()
            if name.startswith(f"{layout.BACKUP}/") and entry.key not in kept
        }

    def round(self, begun_ns: int, *, last: bool = False) -> None:
        """Everything that was there when it began, but for large files that are still on their way."""
        # Looked up first: a backup is noted when its media are complete.
        bases = {found.guid: self._bases(found) for found in _of_users(self._env)}
        changed = self._files.send()
        if last:
            changed |= self._files.settle()
        if not self._files.is_complete():
            bases = {guid: found & self._based.get(guid, frozenset()) for guid, found in bases.items()}
        self._based = bases
        changed |= self._send_service_key()
        self._capture()
        changed |= self._log.send(may_forget=not self._files.waiting)
        changed |= self._catalog.send()
        if not changed and self._tag is not None and time.monotonic() - self._written < _HEARTBEAT_SECONDS:
            self.through_ns = begun_ns
            return
        self._write_manifest(begun_ns)
        self.through_ns = begun_ns

    def _bases(self, database: Database) -> frozenset[UUID]:
        """The full backups from which it can be restored to the present, of those that lie where media are
        sent from, or in an object store themselves: from elsewhere, be it NUL, none arrives."""
        chain, fork = database.chain, database.fork
        if status_of(self._env, database).state is not ChainState.UNBROKEN:
            return frozenset()
        newest = self._env.catalog.history.newest()
        known = self._looked.get(database.guid)
        # The chain may be noted before the set that belongs to it.
        if known is None or known[:2] != (chain, fork) or (not known[3] and known[2] != newest):
            found: frozenset[UUID] = frozenset()
            for fulls in (_FEW_FULLS, _ALL_FULLS):
                sets = self._env.catalog.history.chain_sets(database.family, fulls)
                found = starts(sets, chain, fork, lambda item: all(map(self._is_sent, item.devices)))
                if found:
                    break
            known = self._looked[database.guid] = (chain, fork, newest, found)
        return known[3]

    def _is_sent(self, device: str) -> bool:
        if is_url(device):
            return True
        path = self._env.paths.locate(device, ())
        root = Path(os.path.realpath(self._backup_directory))
        return not is_null(device) and path is not None and path.is_relative_to(root)

    def _capture(self) -> None:
        """What was committed before is in the log; ``unprotected`` are the databases of which that cannot be
        said, or of which no backup is there from which the log goes on."""
        logs = self._env.logs
        without: list[str] = []
        for database in _of_users(self._env):
            if logs is None or not logs.is_kept(database.guid):
                if wants_log(database):
                    without.append(database.name)
                continue
            try:
                logs.capture_now(database.guid)
            except CaptureStopped:
                without.append(database.name)
            else:
                if not self._based.get(database.guid):
                    without.append(database.name)
        if without and without != self.unprotected:
            _log.warning(
                "cannot be restored to the present, for want of a full backup there: %s", ", ".join(without)
            )
        self.unprotected = without

    def _write_manifest(self, begun_ns: int) -> None:
        sent = self._files.entries()
        manifest = layout.Manifest(
            self._claim.owner,
            self._claim.epoch,
            begun_ns,
            {**self._gone, **sent, **self._catalog.entries()},
            self._log.entries(),
            bool(self._service_key),
            str(self._backup_directory),
            [database.name for database in _of_users(self._env)],
            instance=self._claim.instance,
            about=self._about,
            writers=self._claim.writers,
            service_key=self._service_object,
        )
        obsolete = [*self._files.take_obsolete(), *self._log.take_obsolete(), *self._catalog.take_obsolete()]
        try:
            self._tag = self._bucket.write(
                self._key(layout.MANIFEST),
                layout.encode(manifest),
                only=self._tag,
                new=self._tag is None,
            )
        except ObjectError as error:
            if error.reason not in (Reason.EXISTS, Reason.CHANGED):
                raise
            # Nothing may be removed now: what is not named here may be named there.
            raise Superseded("somebody else has written there") from error
        self._written = time.monotonic()
        needed = {entry.key for entry in manifest.files.values()}
        self._bucket.remove(
            [key for key in (*obsolete, *self._former) if key not in needed and key not in self._protected]
        )
        self._former = []

    def _send_service_key(self) -> bool:
        """Sealed by the passphrase, where one is configured: without it, whoever has the bucket has no
        secret."""
        path = self._store / FILE_NAME
        if self._options.key_file is None or not path.exists():
            return False
        data = path.read_bytes()
        if data == self._service_key:
            return False
        passphrase = self._options.key_file.read_text(encoding="utf-8").strip()
        sealed = wrap_with_password(passphrase, data, SERVICE_KEY_PURPOSE)
        name = layout.file_key(self._claim.epoch, secrets.token_hex(8), layout.SERVICE_KEY)
        self._bucket.write(self._key(name), msgspec.json.encode({"sealed": sealed.hex()}))
        self._service_key = data
        self._service_object = self._key(name)
        return True

    def close(self) -> None:
        self._files.close()
        self._catalog.close()


def reach(env: CommandEnvironment, options: SyncOptions) -> tuple[Bucket, Callable[[str], str]]:
    """The bucket of a synchronisation, and what makes an object's key of one below its prefix. Raises
    ObjectError."""
    url = parse_url(options.url, object_needed=False)
    path = options.secret_file
    secret = read_secret(url, path) if path is not None else find_secret(env, url)
    return open_bucket(url, secret, env.reaching), below(url)


def _of_users(env: CommandEnvironment) -> list[Database]:
    found = env.catalog.databases.all()
    return [database for database in found if not database.is_system and database.source is None]

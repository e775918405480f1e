"""Keeping an object store up with a store: media, the log, and the catalog, every second or so.

What was committed is safe there when the manifest names it. ``STORE/.sync/state.json`` tells how far that is.
"""

from __future__ import annotations

import json
import logging
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from tdsproxy.catalog.databases import Database
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.url_devices import find_secret
from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync_files import CATALOG, CatalogSender, FileSender, store_files
from tdsproxy.keeper.sync_log import LogSender
from tdsproxy.log.records import CaptureStopped
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.lease import Lease, LeaseTaken
from tdsproxy.objects.secret import read_secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import parse_url
from tdsproxy.store.files import replace_durably
from tdsproxy.store.key_wrapping import wrap_with_password
from tdsproxy.store.service_key import FILE_NAME

STATE_FILE: Final = "state.json"
DIRECTORY: Final = ".sync"
_HEARTBEAT_SECONDS: Final = 5.0
_RETRY_SECONDS: Final = 5.0
_STOP_SECONDS: Final = 30.0
SERVICE_KEY_PURPOSE: Final = "service master key of a synchronised store"

_log = logging.getLogger(__name__)


class Sync:
    """A thread of the keeper. ``start``, and ``close``, which sends the rest."""

    def __init__(self, env: CommandEnvironment, options: SyncOptions) -> None:
        self._env = env
        self._options = options
        self._store = env.catalog.store
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sync", daemon=True)
        self._said = ""

    def start(self) -> None:
        (self._store / DIRECTORY).mkdir(mode=0o700, exist_ok=True)
        self._thread.start()

    def close(self) -> None:
        """What has been captured is sent, unless the store does not answer."""
        self._stop.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        while True:
            try:
                self._session()
            except LeaseTaken as taken:
                self._report(f"another writer: {taken}")
            except (ObjectError, OSError, apsw.Error, layout.ManifestDamaged) as error:
                self._report(str(error))
            if self._stop.wait(_RETRY_SECONDS):
                return

    def _session(self) -> None:
        """Sends until it is stopped, or something goes wrong."""
        url = parse_url(self._options.url, object_needed=False)
        path = self._options.secret_file
        secret = read_secret(url, path) if path is not None else find_secret(self._env, url)
        bucket = open_bucket(url, secret, self._env.reaching)
        prefix = url.key.strip("/")

        def key(name: str) -> str:
            return f"{prefix}/{name}" if prefix else name

        lease = Lease(bucket, key(layout.LEASE), self._owner(), f"{socket.gethostname()}:{self._store}")
        lease.keep()
        sender = _Sender(self._env, self._options, bucket, key, lease, self._owner())
        try:
            while True:
                last = self._stop.is_set()
                lease.keep()
                begun = time.time_ns()
                sender.round(begun, last=last)
                self._note(sender)
                if last:
                    break
                self._stop.wait(self._options.interval)
        finally:
            sender.close()
        with suppress(ObjectError):
            lease.release()

    def _owner(self) -> str:
        path = self._store / DIRECTORY / "owner"
        with suppress(FileNotFoundError):
            return path.read_text()
        replace_durably(path, secrets.token_hex(16).encode())
        return path.read_text()

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
            }
        )

    def _report(self, text: str) -> None:
        if text != self._said:
            _log.warning("the synchronisation with %s fails: %s", self._options.url, text)
            self._said = text
        before = read_state(self._store) or {}
        self._write_state({"through_ns": before.get("through_ns"), "files_waiting": None, "error": text})

    def _write_state(self, state: dict[str, Any]) -> None:
        """Not made durable: it is of the moment."""
        path = self._store / DIRECTORY / STATE_FILE
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
        lease: Lease,
        owner: str,
    ) -> None:
        store = env.catalog.store
        self._env = env
        self._store = store
        self._backup_directory = env.paths.backup_directory
        self._options = options
        self._bucket = bucket
        self._key = key
        self._lease = lease
        self._owner = owner
        self._tag: str | None = None
        self._written = 0.0
        self.through_ns = 0
        self._service_key = b""
        self._files = FileSender(bucket, key, lambda: store_files(store, env.paths.backup_directory))
        self._log = LogSender(store / layout.LOG, bucket, key)
        self._catalog = CatalogSender(store, bucket, key)
        self._former: list[str] = []
        self.unprotected: list[str] = []
        # Media that were sent once and are not here any more.
        self._gone: dict[str, layout.FileEntry] = {}
        self._begin()

    @property
    def waiting(self) -> int:
        return self._files.waiting

    def _begin(self) -> None:
        try:
            data, self._tag = self._bucket.read_all(self._key(layout.MANIFEST))
        except ObjectError as error:
            if error.reason is not Reason.MISSING:
                raise
            return
        manifest = layout.decode(data)
        self._files.adopt(manifest.files)
        self._former = [entry.key for name, entry in manifest.files.items() if name in CATALOG]
        # The log is sent anew, under other keys; the pieces from before go when the manifest is written.
        for path, entry in manifest.segments.items():
            folder = self._key(layout.segment_folder(path, entry.generation))
            self._former += [found.key for found in self._bucket.list(folder)]
        kept = {entry.key for entry in self._files.entries().values()}
        self._gone = {
            name: entry
            for name, entry in manifest.files.items()
            if name.startswith(f"{layout.BACKUP}/") and entry.key not in kept
        }

    def round(self, begun_ns: int, *, last: bool = False) -> None:
        """Everything that was there when it began, but for large files that are still on their way."""
        changed = self._files.send()
        if last:
            changed |= self._files.settle()
        changed |= self._send_service_key()
        self._capture()
        changed |= self._log.send(may_forget=not self._files.waiting)
        changed |= self._catalog.send()
        if not changed and self._tag is not None and time.monotonic() - self._written < _HEARTBEAT_SECONDS:
            self.through_ns = begun_ns
            return
        self._write_manifest(begun_ns)
        self.through_ns = begun_ns

    def _capture(self) -> None:
        """What was committed before is in the log; ``unprotected`` are the databases of which that cannot be
        said, or that have no backup from which the log goes on."""
        logs = self._env.logs
        without: list[str] = []
        for database in _of_users(self._env):
            if logs is None or not logs.is_kept(database.guid):
                continue
            try:
                logs.capture_now(database.guid)
            except CaptureStopped:
                without.append(database.name)
            else:
                if database.chain.base_guid is None:
                    without.append(database.name)
        if without and without != self.unprotected:
            _log.warning(
                "cannot be restored to the present, for want of a full backup: %s", ", ".join(without)
            )
        self.unprotected = without

    def _write_manifest(self, begun_ns: int) -> None:
        sent = self._files.entries()
        manifest = layout.Manifest(
            self._owner,
            self._lease.epoch,
            begun_ns,
            {**self._gone, **sent, **self._catalog.entries()},
            self._log.entries(),
            bool(self._service_key),
            str(self._backup_directory),
            [database.name for database in _of_users(self._env)],
        )
        obsolete = [*self._files.take_obsolete(), *self._log.take_obsolete(), *self._catalog.take_obsolete()]
        self._tag = self._bucket.write(
            self._key(layout.MANIFEST),
            layout.encode(manifest),
            only=self._tag,
            new=self._tag is None,
        )
        self._written = time.monotonic()
        needed = {entry.key for entry in manifest.files.values()}
        self._bucket.remove([key for key in (*obsolete, *self._former) if key not in needed])
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
        self._bucket.write(self._key(layout.SERVICE_KEY), msgspec.json.encode({"sealed": sealed.hex()}))
        self._service_key = data
        return True

    def close(self) -> None:
        self._files.close()
        self._catalog.close()


def _of_users(env: CommandEnvironment) -> list[Database]:
    found = env.catalog.databases.all()
    return [database for database in found if not database.is_system and database.source is None]


def read_state(store: Path) -> dict[str, Any] | None:
    """What is known of the synchronisation: ``url``, ``through_ns`` (every commit up to this time is safe;
    None: nothing yet), ``updated_ns``, ``files_waiting`` (media on their way), ``unprotected`` (databases in
    FULL that this is not true of: without a full backup, or whose log cannot be captured), ``error``. None
    when there is none."""
    try:
        found = json.loads((store / DIRECTORY / STATE_FILE).read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None

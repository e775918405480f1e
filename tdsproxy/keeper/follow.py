"""Following another store through an object store: this one is its standby.

Media and log that arrive there are fetched every second or so; every database of it is kept in STANDBY,
rolled forward as far as the log has arrived. ``STORE/.follow/state.json`` tells how far that is. Whoever
takes over writes ``STORE/.follow/end``: a last round, and then nothing is followed any more.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Final

import apsw

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.commands.elsewhere import FOLLOW_DIRECTORY, STATE_FILE
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.following import undo_file
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.commands.url_devices import find_secret
from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.fetch import NotFetched, Origin, place
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync import reach
from tdsproxy.keeper.sync_claim import Identity, NotOurs, Superseded, claim
from tdsproxy.keeper.sync_layout import FileEntry, Manifest, ManifestDamaged
from tdsproxy.log.records import LogError
from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.lease import LeaseTaken
from tdsproxy.objects.secret import read_secret
from tdsproxy.objects.url import parse_url
from tdsproxy.store.threads import lasting_thread
from tdsproxy.tsql.replies import Message, Reply, Rows
from tdsproxy.tsql.values import Value

END_FILE: Final = "end"
_ERROR: Final = 11
_POLL_SECONDS: Final = 0.1
# What readers see is made anew by copying the whole database, so not all the time.
_SHARE_OF_COPYING: Final = 0.2
_TOO_YOUNG: Final = "it was made after the standby: make the standby anew to have it, too"

_NOT_CLAIMED: Final = (ObjectError, OSError, NotOurs, LeaseTaken, Superseded, ManifestDamaged)

_log = logging.getLogger(__name__)


class StatementFailed(Exception):
    """A database does not follow. Of a statement of our own the text is SQL Server's."""


class Follow:
    """A thread of the keeper."""

    def __init__(self, env: CommandEnvironment, options: SyncOptions) -> None:
        self._env = env
        self._options = options
        self._store = env.catalog.store
        self._directory = self._store / FOLLOW_DIRECTORY
        self._stop = threading.Event()
        self._thread = lasting_thread(self._run, "follow", self._stop)
        self._have: dict[str, FileEntry] = {}
        self._databases: dict[str, dict[str, Any]] = {}
        self._show_at: dict[str, float] = {}
        self._through_ns = 0
        self._said: str | None = None
        # The stores that the one descends from which is followed.
        self._line: set[str] = set()
        self._alive: str | None = None

    def start(self) -> None:
        self._directory.mkdir(mode=0o700, exist_ok=True)
        self._thread.start()

    def close(self) -> None:
        """What is there stays as it is, to be followed on."""
        self._stop.set()
        self._env.cancelled.set()
        self._thread.join(60)

    def _run(self) -> None:
        end = self._directory / END_FILE
        if end.exists():
            _log.info("this store has taken over: it follows nothing")
            return
        while not self._stop.is_set():
            last = end.exists()
            if last:
                self._stop_the_other()
            self._guarded_round()
            if last:
                self._write_state(ended=True)
                return
            waited = time.monotonic() + self._options.interval
            while time.monotonic() < waited and not end.exists():
                if self._stop.wait(_POLL_SECONDS):
                    return

    def _stop_the_other(self) -> None:
        """What the primary publishes from now on is not accepted; what it has published is still fetched."""
        try:
            bucket, key = reach(self._env, self._options)
            claimed = claim(bucket, key, Identity(self._store), take_over=True)
            claimed.lease.release()
        except _NOT_CLAIMED as error:
            self._alive = str(error)
            _log.error(
                "taken over, but the other store may go on sending to %s: %s", self._options.url, error
            )
        else:
            former = f", from {claimed.robbed}" if claimed.robbed else ""
            _log.info("taken over what is at %s%s: epoch %d", self._options.url, former, claimed.epoch)

    def _guarded_round(self) -> None:
        try:
            self._round()
        except (ObjectError, OSError, apsw.Error, NotFetched) as error:
            if str(error) != self._said:
                self._said = str(error)
                _log.warning("%s cannot be followed: %s", self._options.url, error)
        else:
            if self._said is not None:
                _log.info("%s is followed again", self._options.url)
            self._said = None
        self._write_state()

    def _round(self) -> None:
        url = parse_url(self._options.url, object_needed=False)
        path = self._options.secret_file
        secret = read_secret(url, path) if path is not None else find_secret(self._env, url)
        origin = Origin(url, secret, self._env.reaching)
        manifest = origin.manifest()
        if self._line and not self._line & {manifest.store, *manifest.writers}:
            raise NotFetched(f"another store, '{manifest.about}', is synchronised there now")
        self._line |= {manifest.store, *manifest.writers}
        self._fetch(origin, manifest)
        behind = False
        for database in self._env.catalog.databases.all():
            if database.is_system or database.source is not None or not database.file:
                continue
            try:
                self._follow(database)
            except StatementFailed as error:
                behind = True
                self._note(database.name, str(error))
        known = {database.name for database in self._env.catalog.databases.all()}
        for name in manifest.databases:
            if name not in known:
                self._databases[name] = {"lsn": None, "ns": None, "error": _TOO_YOUNG}
        # The lag that is shown is true of all databases, or it grows.
        if not behind:
            self._through_ns = manifest.through_ns
        self._give_up(manifest)

    def _give_up(self, manifest: Manifest) -> None:
        """Log that the other store has given up goes here, too, once it has been applied. Raises OSError."""
        logs = self._env.logs
        if logs is None:
            return
        oldest: dict[PurePosixPath, int] = {}
        for path in map(PurePosixPath, manifest.segments):
            oldest[path.parent] = min(int(path.stem), oldest.get(path.parent, int(path.stem)))
        for database in self._env.catalog.databases.all():
            if database.redo is None:
                continue
            # That the log cannot be read is told by who follows it.
            with suppress(LogError):
                for archive in logs.archives(database.guid):
                    there = oldest.get(PurePosixPath(archive.directory.relative_to(self._store)))
                    if there is not None:
                        archive.truncate(min(there, database.redo.lsn))

    def _note(self, name: str, error: str | None) -> None:
        known = self._databases.setdefault(name, {})
        if error == known.get("error"):
            return
        known["error"] = error
        if error is None:
            _log.info("%s is followed again", name)
        else:
            _log.error("%s is not followed: %s", name, error)

    def _fetch(self, origin: Origin, manifest: Manifest) -> None:
        backup = self._env.paths.backup_directory
        for name, entry in manifest.files.items():
            if not name.startswith(f"{layout.BACKUP}/") or self._have.get(name) == entry:
                continue
            target = place(self._store, backup, name)
            # Of one size does not mean the same: a medium is written anew every night.
            if name in self._have or not layout.is_file(entry, target):
                origin.file(entry, target)
            self._have[name] = entry
        for name, segment in manifest.segments.items():
            target = self._store / name
            if target.exists() and target.stat().st_size > segment.size:
                # It was cut off there by a crash, and went on otherwise.
                target.unlink()
            origin.segment(name, segment, target)

    def _follow(self, database: Database) -> None:
        known = self._databases.setdefault(database.name, {"lsn": None, "ns": None, "error": None})
        if database.redo is None:
            if database.state is not DatabaseState.RESTORING:
                raise StatementFailed("it is not a copy any more")
            self._restore_base(database)
        if database.recovery_model is RecoveryModel.SIMPLE:
            return
        now = time.monotonic()
        show = now >= self._show_at.get(database.name, 0.0)
        ((lsn, ns, stuck),) = self._rows(
            "EXEC sp_follow_log @a1, @a2", {"@a1": database.name, "@a2": str(int(show))}
        )
        if show:
            spent = time.monotonic() - now
            self._show_at[database.name] = now + spent / _SHARE_OF_COPYING
        known.update(lsn=_text(lsn), ns=int(ns) if isinstance(ns, str) else None)
        if stuck is not None:
            raise StatementFailed(_text(stuck))
        self._note(database.name, None)

    def _restore_base(self, database: Database) -> None:
        """The last full backup, and the last differential on it."""
        steps = [row for row in self._rows("EXEC sp_restore_plan @a1", {"@a1": database.name}) if row[1]]
        steps = [row for row in steps if row[0] != "log"]
        if not steps:
            raise StatementFailed("no full backup of it has arrived")
        for number, (_, devices, position, _, _) in enumerate(steps):
            names = _text(devices).split("\n")
            variables: dict[str, Value] = {f"@d{place}": name for place, name in enumerate(names)}
            variables |= {"@n": database.name, "@u": str(undo_file(self._store, database))}
            kinds = ["URL" if "://" in name else "DISK" for name in names]
            media = ", ".join(f"{kind} = @d{place}" for place, kind in enumerate(kinds))
            replace_ = "REPLACE, " if number == 0 else ""
            text = f"RESTORE DATABASE @n FROM {media} WITH FILE = {_text(position)}, {replace_}STANDBY = @u"
            for _ in self._rows(text, variables):
                pass

    def _rows(self, text: str, variables: dict[str, Value]) -> list[tuple[Value, ...]]:
        """The rows of a statement of our own. Raises StatementFailed."""
        from tdsproxy.commands.dispatch import run

        session = SessionContext(login="sa", server_roles=frozenset({"sysadmin"}), application="tdsproxy")
        env = replace(self._env, cancelled=self._env.cancelled)
        replies: Iterator[Reply] = run(NativeRequest(text, session, variables=variables), env)
        found: list[tuple[Value, ...]] = []
        failed: str | None = None
        for reply in replies:
            if isinstance(reply, Rows):
                found += reply.rows
            elif isinstance(reply, Message) and reply.severity >= _ERROR:
                failed = failed or reply.text
        if failed is not None:
            raise StatementFailed(failed)
        return found

    def _write_state(self, *, ended: bool = False) -> None:
        path = self._directory / STATE_FILE
        temporary = path.with_suffix(".new")
        body = {
            "url": self._options.url,
            "updated_ns": time.time_ns(),
            "through_ns": self._through_ns or None,
            "databases": self._databases,
            "error": self._said,
            "ended": ended,
            "primary_alive": self._alive,
        }
        with suppress(OSError):
            temporary.write_text(json.dumps(body))
            temporary.replace(path)


def _text(value: Value) -> str:
    return value if isinstance(value, str) else ""

"""What can be wrong with a store, and what to do about it.

The quick form looks at what is at hand: modes of files, disk, clock, settings, states, chains. The whole one
also reads every database (SQLite's quick_check) and opens every medium that msdb names.
"""

from __future__ import annotations

import datetime as dt
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.commands.context import Context
from tdsproxy.commands.devices import known_medium
from tdsproxy.commands.elsewhere import read_follow_state, read_sync_state
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.log_chain import status_of
from tdsproxy.commands.log_sources import sets_on
from tdsproxy.log.service import ChainState
from tdsproxy.media.errors import MediaError, MediaMissing
from tdsproxy.media.null_device import is_null
from tdsproxy.media.object_device import Share
from tdsproxy.store.errors import StoreError
from tdsproxy.store.file_keys import connect

ERROR: Final = "error"
WARNING: Final = "warning"
OK: Final = "ok"

_SECRET_FILES: Final = (
    "service_master_key",
    "sa_password",
    "tls/key.pem",
    "audit.log",
    "errorlog",
    "operation.json",
)
_SAFE_SQLITE: Final = 3_051_003
_LOW_PERCENT: Final = 10
_NO_PERCENT: Final = 2
_LATE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Finding:
    """``level`` is error, warning or ok; ``remedy`` what to do, None where nothing is to be done."""

    level: str
    subject: str
    text: str
    remedy: str | None = None


def examine(context: Context, *, quick: bool, settings_error: str | None = None) -> list[Finding]:
    """All findings; what is well has one of level ok."""
    groups = [
        ("files", _files(context)),
        ("disk", _disk(context)),
        ("clock", _clock(context)),
        ("library", _library()),
        ("settings", _settings(settings_error)),
        ("databases", _databases(context)),
        ("elsewhere", _elsewhere(context)),
    ]
    if not quick:
        groups += [("content", _content(context)), ("media", _media(context)), ("keys", _keys(context))]
    findings: list[Finding] = []
    for name, group in groups:
        found = list(group)
        findings += found or [Finding(OK, name, _WELL[name])]
    return findings


_WELL: Final = {
    "files": "Only the owner can read what is secret.",
    "disk": "There is enough space.",
    "clock": "The clock is not behind what was written.",
    "library": "The SQLite library has no known fault that loses commits.",
    "settings": "The settings of operation can be read.",
    "databases": "All databases are online, with backups and unbroken log chains.",
    "elsewhere": "Nothing is in the way of sending to, or of following, another place.",
    "content": "SQLite finds nothing wrong in any database.",
    "media": "Every medium that msdb names can be read.",
    "keys": "The keys of all encrypted backups are here.",
}


def _files(context: Context) -> Iterator[Finding]:
    store = context.env.catalog.store
    for path in (store, *(store / name for name in _SECRET_FILES)):
        try:
            found = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_IMODE(found.st_mode) & 0o007 or (path != store and stat.S_IMODE(found.st_mode) & 0o020):
            mode = "0700" if path.is_dir() else "0600"
            yield Finding(
                ERROR,
                str(path),
                f"Others may reach it: its mode is {stat.S_IMODE(found.st_mode):04o}.",
                f"chmod {mode[1:]} '{path}'",
            )
        if found.st_uid != os.geteuid() and os.geteuid() != 0:
            yield Finding(
                ERROR, str(path), "It belongs to another user.", f"chown it to user {os.geteuid()}."
            )


def _elsewhere(context: Context) -> Iterator[Finding]:
    """The synchronisation, and the store that is followed."""
    store = context.env.catalog.store
    sent = read_sync_state(store) or {}
    if sent.get("error"):
        refused = bool(sent.get("refused"))
        since = "Nothing is safe there yet" if not sent.get("through_ns") else "Nothing is sent any more"
        yield Finding(
            ERROR if refused else WARNING,
            str(sent.get("url")),
            f"{since}: {sent['error']}.",
            "'tdsproxy sync' shows who writes there."
            if refused
            else "It goes on by itself when the object store can be reached again; see the error log.",
        )
    for name in sent.get("unprotected") or ():
        yield Finding(
            WARNING,
            str(name),
            f"It can't be restored to the present from {sent.get('url')}.",
            f"BACKUP DATABASE [{name}]"
            + (", unless its backup is one of the files on their way." if sent.get("files_waiting") else ""),
        )
    followed = read_follow_state(store) or {}
    if followed.get("error") and not followed.get("ended"):
        yield Finding(
            ERROR,
            str(followed.get("url")),
            f"It can't be followed: {followed['error']}.",
            "See the error log; make the standby anew when another store is there for good.",
        )
    for name, known in followed.get("databases", {}).items():
        if known.get("error") and not followed.get("ended"):
            text = f"It is not followed: {known['error']}."
            yield Finding(ERROR, str(name), text, _anew(str(name), known))
    if followed.get("primary_alive"):
        yield Finding(
            WARNING,
            str(followed.get("url")),
            f"The former primary could not be stopped from sending: {followed['primary_alive']}.",
            "See that it is down, then 'tdsproxy sync --take-over'.",
        )


def _anew(name: str, known: dict[str, Any]) -> str:
    """How a database of a standby that is not followed is followed again."""
    if known.get("lsn") is None:
        return "Make the standby anew."
    return (
        f"BACKUP DATABASE [{name}] there, and when the backup has arrived RESTORE DATABASE [{name}] FROM it"
        " WITH NORECOVERY, REPLACE here; or make the standby anew."
    )


def _disk(context: Context) -> Iterator[Finding]:
    for directory in dict.fromkeys((context.env.catalog.store, context.env.paths.backup_directory)):
        if not directory.is_dir():
            yield Finding(ERROR, str(directory), "It is not there.", f"mkdir -p '{directory}'")
            continue
        if not os.access(directory, os.W_OK):
            yield Finding(ERROR, str(directory), "It can't be written.", "Give its owner the right to write.")
        usage = shutil.disk_usage(directory)
        percent = usage.free * 100 / usage.total if usage.total else 100.0
        if percent < _LOW_PERCENT:
            yield Finding(
                ERROR if percent < _NO_PERCENT else WARNING,
                str(directory),
                f"Only {percent:.1f} % ({usage.free >> 20:,} MB) are free.",
                "Delete old backups (tdsproxy agent retention --dry-run shows which), or add space.",
            )


def _clock(context: Context) -> Iterator[Finding]:
    now = context.env.clock().replace(tzinfo=None)
    newest = max(
        (item.finished.to_python() for item in context.env.catalog.history.listed(None) if item.finished),
        default=None,
    )
    if newest is not None and newest > now + dt.timedelta(minutes=5):
        yield Finding(
            ERROR,
            "clock",
            f"The newest backup was finished at {newest:%Y-%m-%d %H:%M:%S}, which is yet to come.",
            "Set the clock (chronyd, systemd-timesyncd): commit times, STOPAT and retention depend on it.",
        )
    for database in context.env.catalog.databases.all():
        committed = status_of(context.env, database).last_committed_ns
        if committed is not None and committed / 1e9 > now.timestamp() + 300:
            yield Finding(
                ERROR,
                database.name,
                "Its last commit lies in the future of the clock.",
                "Set the clock; new commits get the time of the last one until it has caught up.",
            )


def _library() -> Iterator[Finding]:
    if apsw.SQLITE_VERSION_NUMBER < _SAFE_SQLITE:
        yield Finding(
            WARNING,
            "SQLite",
            f"SQLite {apsw.sqlite_lib_version()} can lose commits when another process checkpoints.",
            "pip install -U apsw-sqlite3mc",
        )


def _settings(error: str | None) -> Iterator[Finding]:
    if error is not None:
        yield Finding(
            ERROR,
            "operation.json",
            f"Notices, retention and trial restores stand still: {error}.",
            "Correct the tables [notices], [retention] and [trials] of the configuration and start again.",
        )


def _databases(context: Context) -> Iterator[Finding]:
    env = context.env
    known = {item.database.lower() for item in env.catalog.history.listed(None) if item.type == "D"}
    for database in env.catalog.databases.all():
        if database.is_system or database.source is not None:
            continue
        name = database.name
        if not database.path(env.catalog.store).exists() and database.state is DatabaseState.ONLINE:
            yield Finding(
                ERROR, name, "Its file is not there.", f"Restore it: tdsproxy restore '{name}' --latest"
            )
            continue
        if database.state is not DatabaseState.ONLINE:
            yield Finding(WARNING, name, f"It is {database.state.name}.", _state_remedy(database))
        if name.lower() not in known:
            yield Finding(
                WARNING,
                name,
                "There is no full backup of it.",
                f"tdsproxy backup '{name}' '{name}.bak'",
            )
        yield from _chain(context, database)
    for number, page, seen in env.catalog.operations.suspects():
        owner = env.catalog.databases.by_id(number)
        yield Finding(
            ERROR,
            str(number) if owner is None else owner.name,
            f"Page {page} is damaged ({seen} times seen).",
            "RESTORE DATABASE ... PAGE = '1:n' brings it back from a backup, or restore the whole database.",
        )


def _state_remedy(database: Database) -> str:
    if database.state is DatabaseState.RESTORING:
        return f"Go on with the next backup, or RESTORE DATABASE [{database.name}] WITH RECOVERY"
    if database.state is DatabaseState.OFFLINE:
        return f"ALTER DATABASE [{database.name}] SET ONLINE"
    return f"Restore it: tdsproxy restore '{database.name}' --latest --replace"


def _chain(context: Context, database: Database) -> Iterator[Finding]:
    if database.recovery_model is RecoveryModel.SIMPLE or database.state is not DatabaseState.ONLINE:
        return
    status = status_of(context.env, database)
    name = database.name
    full = f"tdsproxy backup '{name}' '{name}.bak'"
    if status.state is ChainState.BROKEN:
        yield Finding(ERROR, name, f"Its log chain is broken: {status.reason}.", full)
    elif status.state is ChainState.NOT_KEPT and database.standby is None:
        yield Finding(
            ERROR, name, "Its log is not captured.", "See the error log, then start the server again."
        )
    elif status.reason is not None:
        yield Finding(ERROR, name, f"The capture of its log has stopped: {status.reason}.", full)


def _content(context: Context) -> Iterator[Finding]:
    for database in context.env.catalog.databases.all():
        path = database.path(context.env.catalog.store)
        if not database.file or database.state is not DatabaseState.ONLINE or not path.exists():
            continue
        problem = _quick_check(path)
        if problem is not None:
            yield Finding(
                ERROR,
                database.name,
                f"SQLite finds: {problem}.",
                f"Look with DBCC CHECKDB, then: tdsproxy restore '{database.name}' --latest --replace",
            )


def _quick_check(path: Path) -> str | None:
    try:
        connection = connect(path)
    except (apsw.Error, StoreError, OSError) as error:
        return str(error)
    try:
        rows = connection.execute("PRAGMA quick_check(1)").fetchall()
    except apsw.Error as error:
        return str(error)
    finally:
        connection.close()
    return None if rows == [("ok",)] else str(rows[0][0])


def _media(context: Context) -> Iterator[Finding]:
    files = context.database_files()
    for row in context.env.catalog.operations.media():
        for copy in row.devices:
            if any(map(is_null, copy)):
                continue
            names = ", ".join(copy)
            missing = [name for name in copy if _is_missing(context, name, files)]
            if missing:
                yield Finding(
                    WARNING,
                    names,
                    f"msdb names {len(row.sets)} backup sets on it, but {', '.join(missing)} is not there.",
                    "Bring it back, or forget it: EXEC msdb.dbo.sp_delete_backuphistory.",
                )
                continue
            found = sets_on(context, copy)
            lost = [item for item in row.sets if item.guid not in found]
            if lost:
                yield Finding(
                    ERROR,
                    names,
                    f"{len(lost)} of {len(row.sets)} backup sets on it can't be read.",
                    "RESTORE VERIFYONLY says why; take a new full backup.",
                )


def _is_missing(context: Context, name: str, files: list[Path]) -> bool:
    try:
        known_medium(context, name, files, Share(1)).open_read().close()
    except MediaMissing:
        return True
    except (CommandError, MediaError):
        return False
    return False


def _keys(context: Context) -> Iterator[Finding]:
    documents = dict(context.env.catalog.file_keys.all())
    names = {database.guid: database.name for database in context.env.catalog.databases.all()}
    for guid, key in context.env.catalog.keys.database_keys().items():
        if documents.get(key.salt) is None:
            how = "damaged" if key.salt in documents else "lost"
            yield Finding(
                ERROR,
                names.get(guid, str(guid)),
                f"The file of its encryption key is {how}.",
                "Restore the newest full backup WITH REPLACE: it holds the key, sealed for its certificate.",
            )
    certificates = {item.thumbprint for item in context.env.catalog.keys.certificates()}
    for thumbprint, databases in context.env.catalog.operations.encryptors().items():
        if thumbprint not in certificates:
            yield Finding(
                ERROR,
                ", ".join(databases),
                f"The certificate 0x{thumbprint.hex().upper()} of its encrypted backups is not here.",
                "CREATE CERTIFICATE ... FROM FILE with the private key that was backed up.",
            )

"""The end of a restore: the image in place of the database, a new recovery fork, a new log; or STANDBY.

Until the image is in place the database is what it was, or RESTORING with its image complete: whatever is
interrupted here can be done again with RESTORE DATABASE ... WITH RECOVERY.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

import msgspec

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, UserAccess
from tdsproxy.catalog.recovery import Fork, Kept, LogChain, Redo
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.log_chain import note_fork, restart_log, start_log, stop_log, wants_log
from tdsproxy.commands.undo_files import write_undo_file
from tdsproxy.store.errors import DatabaseBusy, InstallFailed
from tdsproxy.store.files import fsync_directory
from tdsproxy.store.install import (
    Installed,
    holds,
    install_new,
    is_installed,
    remove_copy,
    replace_live,
    undo_copies,
)
from tdsproxy.store.snapshot import Snapshot, copy_pages

IMAGES: Final = ".redo"
_INSTALLING: Final = ".installing"
_COPY_BYTES: Final = 1 << 20
_BUSY_MILLISECONDS: Final = 10_000


def new_image(env: CommandEnvironment) -> Path:
    """A path for an image that no database has yet."""
    directory = env.catalog.store / IMAGES
    if not directory.exists():
        directory.mkdir(mode=0o700)
        fsync_directory(directory.parent)
    return directory / f"{uuid.uuid4().hex}.image"


def image_path(env: CommandEnvironment, redo: Redo) -> Path:
    return env.catalog.store / redo.image


def image_name(env: CommandEnvironment, image: Path) -> str:
    """How ``Redo.image`` names it."""
    return str(image.relative_to(env.catalog.store))


def remove_image(env: CommandEnvironment, redo: Redo | None) -> None:
    if redo is not None and redo.image:
        image_path(env, redo).unlink(missing_ok=True)


def put_right(env: CommandEnvironment, keep: Collection[Path] = ()) -> None:
    """Removes the images that no database is restored from, but those to ``keep``, and notes of which
    databases the image had just been put in place; for the owner of the store, at its start."""
    kept: set[str] = set()
    for database in env.catalog.databases.all():
        redo = database.redo
        if database.pages is not None:
            kept.add(database.pages.redo.image)
        if redo is None or not redo.image:
            continue
        if image_path(env, redo).exists():
            kept.add(redo.image)
        elif redo.recovering and database.path(env.catalog.store).exists():
            # It was put in place, and the catalog does not know yet.
            moved = msgspec.structs.replace(redo, image="")
            env.catalog.databases.update(database.id, redo=moved)
    directory = env.catalog.store / IMAGES
    for path in directory.glob("*") if directory.exists() else ():
        if image_name(env, path) not in kept and path not in keep:
            path.unlink()


@dataclass(frozen=True, slots=True)
class Recovered:
    """A database that is open again. ``undo`` is a copy of the content that it had before."""

    database: Database
    undo: Path | None = None


def recover(env: CommandEnvironment, database: Database, *, restricted: bool = False) -> Recovered:
    """Ends the restore of ``database``, which is RESTORING or in STANDBY: its users may come.

    Raises what ``store.install`` raises; then the database is what it was before.
    """
    redo = database.redo
    assert redo is not None
    access = UserAccess.RESTRICTED_USER if restricted else UserAccess.MULTI_USER
    marked = env.catalog.databases.update(
        database.id, user_access=access, redo=msgspec.structs.replace(redo, recovering=True)
    )
    try:
        installed = _put_in_place(env, marked, keep_undo=database.standby is None)
    except BaseException:
        env.catalog.databases.update(database.id, user_access=database.user_access, redo=redo)
        raise
    return _open(env, marked, redo, installed, _kept(env, database, installed, None))


def finish(env: CommandEnvironment, database: Database) -> Recovered:
    """Does again what a killed ``recover`` or ``replace_online`` had begun. Raises as ``recover``."""
    redo = database.redo
    assert redo is not None
    target = database.path(env.catalog.store)
    image = image_path(env, redo)
    copy = _last_copy(env, database)
    installed: Installed | None = None
    if redo.image and (is_installed(image, target) or (target.exists() and holds(target, image))):
        # Killed after it was put in place, and before the catalog knew.
        installed = Installed(target, copy)
    else:
        # The end of the old log, as nothing of the new content is there. A new database has no file before.
        if target.exists() and start_log(env, replace(database, state=DatabaseState.ONLINE, standby=None)):
            stop_log(env, database)
        # A copy of anything but what is there now may be of what users had before the restore.
        keep_older = copy is not None and target.exists() and not holds(target, copy)
        installed = _put_in_place(env, database, keep_undo=database.standby is None, keep_older=keep_older)
    return _open(env, database, redo, installed, _kept(env, database, installed, None))


def _last_copy(env: CommandEnvironment, database: Database) -> Path | None:
    """The copy that an attempt made of what it was to replace; None if there is none, of which the catalog
    does not know."""
    known = env.catalog.store / database.kept.copy if database.kept is not None else None
    copies = [path for path in undo_copies(database.path(env.catalog.store)) if path != known]
    return copies[-1] if copies else None


def _put_in_place(
    env: CommandEnvironment, database: Database, *, keep_undo: bool, keep_older: bool = False
) -> Installed | None:
    redo = database.redo
    if redo is None or not redo.image:
        return None
    return _install(env, database, image_path(env, redo), keep_undo=keep_undo, keep_older=keep_older)


def replace_online(
    env: CommandEnvironment, database: Database, redo: Redo, described: Mapping[str, Any]
) -> Recovered:
    """Puts a recovered image in place of a database that was in use until now. ``described`` are the fields
    of the catalog that come with the backup.

    Users are refused while it lasts; when it fails they find what they had. The log of the old content is
    captured to its end.
    """
    databases = env.catalog.databases
    before = {name: getattr(database, name) for name in described}
    stopped = False
    end: int | None = None

    def capture_tail() -> None:
        nonlocal stopped, end
        if stopped:
            # Somebody came in between, who may have committed.
            start_log(env, database)
        end = _end_log(env, database)
        stopped = True

    marked = databases.update(
        database.id,
        **described,
        state=DatabaseState.RESTORING,
        redo=msgspec.structs.replace(redo, recovering=True),
        standby=None,
    )
    try:
        env.sessions.release(database.name)
        installed = _install(env, database, image_path(env, redo), keep_undo=True, locked=capture_tail)
    except BaseException:
        restored = databases.update(
            database.id, **before, state=database.state, redo=database.redo, standby=database.standby
        )
        if stopped:
            start_log(env, restored)
        raise
    if not stopped:
        stop_log(env, database)
    if database.redo is not None and database.redo.image != redo.image:
        remove_image(env, database.redo)
    if database.standby is not None:
        _remove_undo_file(database.standby)
    return _open(env, marked, redo, installed, _kept(env, database, installed, end))


def _end_log(env: CommandEnvironment, database: Database) -> int | None:
    """Captures the log to its end, with all writers kept out, and ends the capture; None when that end is not
    known to be the state of the database."""
    logs = env.logs
    if logs is None or not logs.is_kept(database.guid):
        return None
    captured = logs.archive(database.guid)
    fork, whole = captured.fork, captured.unbroken_since()
    stop_log(env, database)
    # Without the note of the chain, which may be damaged.
    archive = next((one for one in logs.archives(database.guid) if one.fork == fork), None)
    if archive is None or archive.unbroken_since() != whole:
        return None
    return archive.last_lsn()


def _kept(
    env: CommandEnvironment, database: Database, installed: Installed | None, lsn: int | None
) -> Kept | None:
    """What is known of the content that was replaced, with ``database`` as the catalog had it."""
    if installed is None or installed.undo is None:
        return None
    former = database.redo.former if database.redo is not None else None
    undo, store = installed.undo, env.catalog.store
    copy = str(undo.relative_to(store) if undo.is_relative_to(store) else undo)
    return msgspec.structs.replace(former or former_of(database, lsn), copy=copy, ns=time.time_ns())


def former_of(database: Database, lsn: int | None) -> Kept:
    """What the catalog says of the content that a restore is going to replace; ``lsn`` is the end of the log
    that led to it, if that is known."""
    return Kept(
        copy="",
        ns=0,
        fork=database.fork,
        lsn=lsn,
        chain=database.chain,
        family=database.family,
        recovery_model=int(database.recovery_model),
        read_only=database.read_only,
        collation=database.collation,
        compatibility=database.compatibility,
        data_name=database.data_name,
        data_path=database.data_path,
        data_file_guid=database.data_file_guid,
        log_name=database.log_name,
        log_path=database.log_path,
        log_file_guid=database.log_file_guid,
    )


def remove_kept(env: CommandEnvironment, database: Database) -> None:
    """The copy of what the last restore replaced goes. Raises OSError."""
    if database.kept is not None:
        remove_copy(env.catalog.store / database.kept.copy)


def _install(
    env: CommandEnvironment,
    database: Database,
    image: Path,
    *,
    keep_undo: bool,
    keep_older: bool = False,
    locked: Callable[[], None] = lambda: None,
) -> Installed:
    target = database.path(env.catalog.store)
    if is_installed(image, target):
        # Something failed after the rename, and before the catalog knew.
        return Installed(target, _last_copy(env, database) if keep_undo else None)
    if not target.exists():
        locked()
        return install_new(image, target)
    # What is installed is used up, also when it fails; then the image must still be there.
    used = image.with_suffix(_INSTALLING)
    used.unlink(missing_ok=True)
    os.link(image, used)
    try:
        return replace_live(
            used,
            target,
            keep_undo=keep_undo,
            keep_older=keep_older,
            busy_milliseconds=_BUSY_MILLISECONDS,
            cancelled=env.cancelled.is_set,
            locked=locked,
        )
    except (InstallFailed, DatabaseBusy) as error:
        if env.cancelled.is_set():
            raise OperationCancelled("the restore was cancelled") from error
        raise


def _open(
    env: CommandEnvironment, database: Database, redo: Redo, installed: Installed | None, kept: Kept | None
) -> Recovered:
    """The file is in place: the catalog says so, on a new fork, and the log begins."""
    databases = env.catalog.databases
    converted = installed is not None and installed.converted_page_size
    continues = database.recovery_model is not RecoveryModel.SIMPLE and not converted and not redo.ends_chain
    chain = LogChain()
    if not converted:
        chain = LogChain(base_lsn=redo.base_lsn, base_guid=redo.base_guid, base_ns=time.time_ns())
    if continues:
        backed = redo.lsn if redo.backed_lsn is None else min(redo.lsn, redo.backed_lsn)
        chain = msgspec.structs.replace(
            chain, log_backup_lsn=backed, first_fork=redo.fork, fork_point_lsn=redo.lsn, begins=False
        )
    if database.standby is not None:
        _remove_undo_file(database.standby)
    databases.advance_lsn(database.id, Decimal(redo.lsn))
    origin: Fork | None = None
    if redo.lsn > 0:
        known = next((f for f in databases.forks(database.guid) if f.fork == redo.fork), None)
        origin = known or Fork(
            database=database.guid, fork=redo.fork, parent=None, point_lsn=None, start_lsn=0, created_ns=0
        )
    point = None if origin is None else redo.lsn
    if kept is not None and database.kept is not None and database.kept.copy != kept.copy:
        with contextlib.suppress(OSError):
            remove_kept(env, database)
    # Together: were the new fork not known, moments from now on would be looked for on the old one.
    with databases.transaction():
        opened = databases.update(
            database.id,
            state=DatabaseState.ONLINE,
            holder=None if database.user_access is not UserAccess.SINGLE_USER else database.holder,
            fork=uuid.uuid4(),
            chain=chain,
            redo=None,
            standby=None,
            pages=None,
            kept=kept or database.kept,
        )
        if wants_log(opened):
            note_fork(env, opened, origin, point)
    remove_image(env, redo)
    if database.pages is not None:
        remove_image(env, database.pages.redo)
    restart_log(env, opened, continues=continues)
    if wants_log(opened):
        note_fork(env, opened, origin, point)
    return Recovered(opened, installed.undo if installed is not None else None)


# --------------------------------------------------------------------------- STANDBY


def show_standby(env: CommandEnvironment, database: Database, undo_file: Path) -> Database:
    """Makes a copy of the image readable until more log is restored. ``undo_file`` is the file that the
    statement names: it tells which image the readable copy was made from. Raises OSError, StoreError."""
    redo = database.redo
    assert redo is not None
    if redo.image:
        copy = new_image(env)
        try:
            copy_file(image_path(env, redo), copy)
            _install(env, database, copy, keep_undo=False)
        finally:
            copy.unlink(missing_ok=True)
    write_undo_file(undo_file, database.name, redo.image, redo.lsn)
    if database.standby not in (None, str(undo_file)):
        _remove_undo_file(database.standby or "")
    return env.catalog.databases.update(
        database.id, state=DatabaseState.ONLINE, standby=str(undo_file), user_access=UserAccess.MULTI_USER
    )


def _remove_undo_file(name: str) -> None:
    with contextlib.suppress(OSError):
        Path(name).unlink(missing_ok=True)


def take_image(env: CommandEnvironment, database: Database) -> Path:
    """A copy of the database's own file, to be rolled forward. Raises OSError, StoreError."""
    image = new_image(env)
    with Snapshot(database.path(env.catalog.store), cancelled=env.cancelled.is_set) as snapshot:
        copy_pages(snapshot.page_size, snapshot.page_count, snapshot.read_run, image)
        snapshot.check()
    return image


def copy_file(source: Path, target: Path) -> None:
    """A durable copy of a file that nobody has open. Raises OSError."""
    with source.open("rb") as reading, target.open("xb") as writing:
        while block := reading.read(_COPY_BYTES):
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())

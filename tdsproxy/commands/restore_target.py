"""Where a backup set goes: an existing database or a new one, its files' shown names, and what forbids it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.backup_options import same_medium
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.log_chain import status_of
from tdsproxy.commands.messages import message
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.log.service import ChainState
from tdsproxy.media.documents import FileEntry
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql.replies import Message


@dataclass(frozen=True, slots=True)
class Target:
    """Where a backup set goes: ``existing`` None makes a new database. ``files`` are the set's, ``paths`` the
    physical names that they get."""

    name: str
    existing: Database | None
    files: tuple[FileEntry, ...]
    paths: tuple[str, ...]

    @property
    def data_path(self) -> str:
        """The physical name of the data file."""
        return next(
            (path for file, path in zip(self.files, self.paths, strict=True) if file.type == "D"), self.name
        )


def check_media_name(media: MediaInfo, device: str, options: RestoreOptions) -> None:
    """Raises CommandError 4037."""
    if not same_medium(options.media_name, media.header.name):
        raise fail(4037, options.media_name, media.header.name or "", device)


def check_set(info: SetInfo, media: MediaInfo, device: str, options: RestoreOptions) -> None:
    """Raises CommandError 4037, 3187, 3182, 3145."""
    check_media_name(media, device, options)
    description = info.header.description
    if options.checksum and not description.has_checksums:
        raise fail(3187)
    if info.trailer.is_damaged and not options.continue_after_error:
        raise fail(3182)
    if options.stop is not None and description.recovery_model == "SIMPLE":
        raise fail(3145)


def plan_target(context: Context, name: str, info: SetInfo, options: RestoreOptions) -> Target:
    """For a full backup set. Raises CommandError for whatever forbids it, before anything is touched."""
    existing = context.env.database(name)
    if existing is not None and not context.owns(existing):
        raise fail(3110, existing.name)
    if existing is None and not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    if existing is not None:
        if existing.source is not None:
            raise fail(3002)
        snapshots = context.env.catalog.databases.snapshots_of(existing)
        if snapshots:
            raise fail(3709, "restore", snapshots[0].name)
    files = info.header.description.files
    moves = relocations(info, options, name)
    if existing is not None:
        check_free(context, existing)
        _check_overwrite(context, existing, info, options)
    paths = tuple(moves.get(name_key(file.logical_name), file.physical_name) for file in files)
    _check_paths(context, existing, files, paths)
    return Target(existing.name if existing else name, existing, files, paths)


def relocations(info: SetInfo, options: RestoreOptions, name: str) -> dict[str, str]:
    """The targets of MOVE by the files' names in lower case. Raises CommandError 3234, 4353."""
    known = {name_key(file.logical_name) for file in info.header.description.files}
    moves: dict[str, str] = {}
    for logical, path in options.moves:
        key = name_key(logical)
        if key not in known:
            raise fail(3234, logical, name)
        if key in moves:
            raise fail(4353, logical)
        moves[key] = path
    return moves


def check_free(context: Context, existing: Database) -> None:
    """Raises CommandError 3102, 3101 while a session is in the database."""
    if context.is_current(existing):
        raise fail(3102, "RESTORE", existing.name)
    if context.others_in(existing):
        raise fail(3101)


def _check_overwrite(context: Context, existing: Database, info: SetInfo, options: RestoreOptions) -> None:
    if options.replace:
        return
    if existing.family != info.header.description.family_guid:
        raise fail(3154, existing.name)
    tail = (
        existing.state is DatabaseState.ONLINE
        and existing.standby is None
        and existing.recovery_model is not RecoveryModel.SIMPLE
        and options.stop is None
        and status_of(context.env, existing).state is ChainState.UNBROKEN
    )
    if tail:
        raise fail(3159, existing.name)


def _check_paths(
    context: Context, existing: Database | None, files: Sequence[FileEntry], paths: Sequence[str]
) -> None:
    """The physical names are shown, not used; still two databases must not show the same ones."""
    taken: dict[str, str] = {}
    for database in context.env.catalog.databases.all():
        if existing is None or database.id != existing.id:
            taken[database.data_path] = database.name
            taken[database.log_path] = database.name
    problems: list[Message] = []
    claimed: dict[str, FileEntry] = {}
    for file, path in zip(files, paths, strict=True):
        if not path.strip():
            problems += [message(5105, path), message(3156, file.logical_name, path)]
        if path in claimed:
            other = claimed[path]
            problems.append(
                message(3176, path, file.logical_name, file.file_id, other.logical_name, other.file_id)
            )
        claimed[path] = file
        if path in taken:
            problems += [message(1834, path, taken[path]), message(3156, file.logical_name, path)]
    if problems:
        raise CommandError(*problems, message(3119))

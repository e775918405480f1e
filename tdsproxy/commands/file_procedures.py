"""The file helpers of master (xp_fileexist, xp_dirtree ...) and the error log.

Files are those that a backup device may name: what a path map does not
reach, or what is not allowed, does not exist. The database files that are shown, in SQL Server's data
directory, exist as long as their databases do.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from tdsproxy.catalog.names import SHOWN_DATA_DIRECTORY
from tdsproxy.commands.context import Context
from tdsproxy.commands.error_log_files import log_file, read_log
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.messages import OsError
from tdsproxy.commands.paths import SHOWN_BACKUP_DIRECTORY
from tdsproxy.media.format import MEDIA_MAGIC
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.values import DateTime, Value

Row = tuple[Value, ...]
Procedure = Callable[[Context, Sequence[Value]], list[Row]]
"""A system procedure as the keeper runs it: the values of its arguments in, rows of plain columns out."""

ERROR_LOG: Final = "keeper.log"
"""The keeper's log, in the store."""

_LOG_LINE: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),(\d{3}) (\w+) (\S+): (.*)")
_REPORTS: Final = (b"Microsoft(R) Server Maintenance Utility", b"NEW COMPONENT OUTPUT")
_DEEPEST: Final = 64


# --------------------------------------------------------------------------- places


def _text(values: Sequence[Value], place: int) -> str:
    value = values[place] if place < len(values) else None
    return "" if value is None else str(value)


def _number(values: Sequence[Value], place: int) -> int:
    text = _text(values, place)
    return int(text) if text.lstrip("-").isdigit() else 0


def _located(context: Context, name: str) -> Path | None:
    """Where a name lies; None for what no statement may name."""
    return context.env.paths.locate(name, context.database_files())


def _shown_files(context: Context) -> set[str]:
    """The files of databases as they are shown, in lower case."""
    found: set[str] = set()
    for database in context.env.catalog.databases.all():
        found |= {database.data_path.lower(), database.log_path.lower()}
    return found


def _shown_directories(context: Context) -> list[PurePosixPath]:
    """The directories that are known by a server's path, whatever lies behind them."""
    sources = [source for source, _ in context.env.paths.mappings if source.startswith("/")]
    parents = {str(PurePosixPath(path).parent) for path in _shown_files(context) if path.startswith("/")}
    return sorted({PurePosixPath(path) for path in (*sources, *parents)})


def _file_exists(context: Context, values: Sequence[Value]) -> list[Row]:
    name = _text(values, 0)
    return [_existence(context, name)]


def _existence(context: Context, name: str) -> Row:
    """Whether it is a file, whether it is a directory, whether its parent is a directory."""
    path = _located(context, name)
    shown = PurePosixPath(name.rstrip("/") or "/")
    directories = _shown_directories(context)
    parent = any(place.is_relative_to(shown.parent) for place in directories) and name.startswith("/")
    if name.lower() in _shown_files(context):
        return (1, 0, 1)
    if any(place.is_relative_to(shown) for place in directories):
        return (0, 1, 1)
    if path is None:
        return (0, 0, int(parent and shown.parent == PurePosixPath(SHOWN_DATA_DIRECTORY)))
    return (int(path.is_file()), int(path.is_dir()), int(path.parent.is_dir()))


def _locate(context: Context, values: Sequence[Value]) -> list[Row]:
    """Where a file that BULK INSERT names lies; no row for what no statement may name."""
    path = _located(context, _text(values, 0))
    return [(str(path),)] if path is not None and path.is_file() else []


def _tree(context: Context, values: Sequence[Value]) -> list[Row]:
    """xp_dirtree: name, depth, and whether it is a file."""
    name, depth, files = _text(values, 0), _number(values, 1), _number(values, 2)
    found: list[Row] = []
    path = _located(context, name)
    if path is not None and path.is_dir():
        _walk(path, 1, depth or _DEEPEST, found)
    else:
        _walk_shown(context, PurePosixPath(name.rstrip("/") or "/"), 1, depth or _DEEPEST, found)
    return [row for row in found if files or not row[2]]


def _walk(directory: Path, level: int, deepest: int, found: list[Row]) -> None:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        is_directory = entry.is_dir(follow_symlinks=False)
        found.append((entry.name, level, int(not is_directory)))
        if is_directory and level < deepest:
            _walk(Path(entry.path), level + 1, deepest, found)


def _walk_shown(
    context: Context, directory: PurePosixPath, level: int, deepest: int, found: list[Row]
) -> None:
    """A directory that is only shown: the way to those of backups and databases, and the database files."""
    if not str(directory).startswith("/"):
        return
    below = {
        place.relative_to(directory).parts[0]
        for place in _shown_directories(context)
        if place != directory and place.is_relative_to(directory)
    }
    for name in sorted(below):
        found.append((name, level, 0))
        if level < deepest:
            path = _located(context, str(directory / name))
            if path is not None and path.is_dir():
                _walk(path, level + 1, deepest, found)
            else:
                _walk_shown(context, directory / name, level + 1, deepest, found)
    for database in context.env.catalog.databases.all():
        for path_name in (database.data_path, database.log_path):
            file = PurePosixPath(path_name)
            if file.parent == directory:
                found.append((file.name, level, 1))


def _subdirectories(context: Context, values: Sequence[Value]) -> list[Row]:
    """xp_subdirs. Raises CommandError 22006 for a directory that is not there."""
    name = _text(values, 0)
    if _existence(context, name)[1] == 0:
        raise fail(22006, "xp_subdirs", OsError.PATH_NOT_FOUND.value, _words(OsError.PATH_NOT_FOUND))
    return [(row[0],) for row in _tree(context, (name, 1, 0))]


# --------------------------------------------------------------------------- changes


def _create_directory(context: Context, values: Sequence[Value]) -> list[Row]:
    _require_admin(context, "xp_create_subdir")
    path = _located(context, _text(values, 0))
    if path is None:
        raise _refused(22048, "xp_create_subdir", OsError.ACCESS_DENIED)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise _refused(22048, "xp_create_subdir", OsError.ALREADY_EXISTS) from None
    except OSError as error:
        raise _refused(22048, "xp_create_subdir", OsError.ACCESS_DENIED) from error
    return []


def _delete_files(context: Context, values: Sequence[Value]) -> list[Row]:
    """xp_delete_file: backups (type 0) or reports (1) of a folder that were last changed before a date."""
    _require_admin(context, "xp_delete_file")
    kind, extension = _number(values, 0), _text(values, 2).lstrip(".").lower()
    path = _located(context, _text(values, 1))
    if path is None:
        raise _refused(22049, "xp_delete_file", OsError.ACCESS_DENIED)
    if path.is_file():
        _delete(path, kind)
        return []
    before = _moment(_text(values, 3))
    folders = [path]
    if _number(values, 4) and path.is_dir():
        folders += [entry for entry in sorted(path.iterdir()) if entry.is_dir() and not entry.is_symlink()]
    for folder in folders:
        for file in sorted(folder.iterdir()) if folder.is_dir() else ():
            if not file.is_file() or file.is_symlink() or file.suffix.lstrip(".").lower() != extension:
                continue
            changed = dt.datetime.fromtimestamp(file.stat().st_mtime)
            if before is None or changed < before:
                _delete(file, kind)
    return []


def _moment(text: str) -> dt.datetime | None:
    if not text:
        return None
    value = convert(text, t.nvarchar(4000), t.DATETIME)
    return value.to_python() if isinstance(value, DateTime) else None


def _delete(file: Path, kind: int) -> None:
    """Deletes what is a backup or a report by its first bytes, nothing else."""
    try:
        with file.open("rb") as opened:
            head = opened.read(64)
        wanted = head.startswith(MEDIA_MAGIC) if kind == 0 else any(mark in head for mark in _REPORTS)
        if wanted:
            file.unlink()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _refused(22049, "xp_delete_file", OsError.ACCESS_DENIED) from error


def _drop_device_file(context: Context, values: Sequence[Value]) -> list[Row]:
    """The file of a device that is dropped with DELFILE: the row says whether there was one."""
    path = _located(context, _text(values, 0))
    try:
        if path is None or not path.is_file():
            return []
        path.unlink()
    except OSError as error:
        raise _refused(22049, "sp_dropdevice", OsError.ACCESS_DENIED) from error
    return [(_text(values, 0),)]


# --------------------------------------------------------------------------- drives and the log


def _drives(context: Context, values: Sequence[Value]) -> list[Row]:
    """The free megabytes where backups go, and the place's name."""
    free = shutil.disk_usage(context.env.paths.backup_directory).free // 2**20
    return [(SHOWN_BACKUP_DIRECTORY, free)]


def _error_log(context: Context, values: Sequence[Value]) -> list[Row]:
    """Time, source and text of each entry of the current error log (0) or an older one; of the keeper's own
    log where there is none yet. Raises CommandError 22004 for a log that is not there."""
    number = _number(values, 0)
    try:
        return list(read_log(log_file(context.env.catalog.store, number)))
    except FileNotFoundError:
        if number != 0:
            missing = OsError.FILE_NOT_FOUND
            raise fail(22004, "xp_readerrorlog", missing.value, _words(missing)) from None
    log = context.env.catalog.store / ERROR_LOG
    try:
        lines = log.read_text("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return []
    found: list[Row] = []
    stamp, source = "", "Server"
    for line in lines:
        match = _LOG_LINE.match(line)
        if match is not None:
            stamp, source, line = f"{match[1]}.{match[2]}", _source(match[4]), match[5]
        if stamp:
            found.append((stamp, source, line[:4000]))
    return found


def _source(logger: str) -> str:
    """What the log of SQL Server calls the part that speaks."""
    return "Backup" if ".backup" in logger or ".commands" in logger else "Server"


def _require_admin(context: Context, procedure: str) -> None:
    """Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", procedure, "mssqlsystemresource", "sys")


def _words(reason: OsError) -> str:
    return reason.words.partition("(")[2].removesuffix(")")


def _refused(number: int, procedure: str, reason: OsError) -> CommandError:
    return fail(number, procedure, reason.value, _words(reason), closed=True)


PROCEDURES: Final[dict[str, Procedure]] = {
    "xp_fileexist": _file_exists,
    "xp_dirtree": _tree,
    "tds_locate": _locate,
    "xp_subdirs": _subdirectories,
    "xp_create_subdir": _create_directory,
    "xp_delete_file": _delete_files,
    "xp_fixeddrives": _drives,
    "xp_readerrorlog": _error_log,
    "sp_dropdevice": _drop_device_file,
}

"""Which files a statement may name as backup devices, and where they lie.

A name is mapped (``--path-map``), made absolute from the backup directory, resolved through ``..`` and
symbolic links, and must then lie in the backup directory or in one that is allowed explicitly.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from tdsproxy.catalog.names import SHOWN_DATA_DIRECTORY
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.messages import OsError
from tdsproxy.store.files import SUFFIX, is_live_file

SHOWN_BACKUP_DIRECTORY: Final = "/var/opt/mssql/backup"
MAX_DEVICE_NAME: Final = 259
_WINDOWS: Final = re.compile(r"(?:[A-Za-z]:|\\\\)")
_URL: Final = re.compile(r"(?:https?|s3|gs)://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class DeviceFile:
    """A backup device of type DISK: ``name`` as messages and msdb show it, ``path`` where it lies, with
    every symbolic link resolved."""

    name: str
    path: Path


@dataclass(frozen=True, slots=True)
class DevicePaths:
    """``mappings`` are (FROM, TO) pairs, tried in order; FROM is a server path of the scripts, also one with
    backslashes. ``allowed`` directories may be named besides ``backup_directory``."""

    backup_directory: Path
    allowed: tuple[Path, ...] = ()
    mappings: tuple[tuple[str, Path], ...] = ()

    @classmethod
    def of_store(
        cls,
        store: Path,
        backup_directory: Path | None = None,
        allowed: Sequence[Path] = (),
        mappings: Sequence[tuple[str, Path]] = (),
    ) -> DevicePaths:
        """With the mappings that every store has behind the given ones."""
        directory = backup_directory or store / "backup"
        usual = ((SHOWN_BACKUP_DIRECTORY, directory), (SHOWN_DATA_DIRECTORY, store))
        return cls(directory.absolute(), tuple(allowed), (*mappings, *usual))

    def for_writing(self, name: str, databases: Sequence[Path]) -> DeviceFile:
        """Raises CommandError 3044, 3057, 3078 or 3201 (state 1). ``databases`` are never a device."""
        return self._resolve(name, databases, state=1)

    def for_reading(self, name: str, databases: Sequence[Path]) -> DeviceFile:
        """As ``for_writing``, with state 2; whether the file exists is seen when it is opened."""
        return self._resolve(name, databases, state=2)

    def for_undo(self, name: str, databases: Sequence[Path], store: Path) -> Path:
        """Where the undo file of STANDBY lies: beside backups, or beside the databases. Raises CommandError
        3057, 3201."""
        permitted = DevicePaths(self.backup_directory, (*self.allowed, store), self.mappings)
        found = permitted._resolve(name, databases, state=1).path
        if found.suffix == SUFFIX or found.name.startswith("."):
            raise _cannot_open(name, OsError.ACCESS_DENIED, 1)
        return found

    def locate(self, name: str, databases: Sequence[Path]) -> Path | None:
        """Where a name lies, which may also be one of the permitted directories itself; None for what no
        statement may name."""
        mapped = self._mapped(name)
        if not name.strip() or "\0" in name or _URL.match(name) or (mapped is None and _WINDOWS.match(name)):
            return None
        path = self.backup_directory / name.replace("\\", "/") if mapped is None else mapped
        try:
            real = Path(os.path.realpath(path))
        except OSError:
            return None
        roots = [Path(os.path.realpath(directory)) for directory in (self.backup_directory, *self.allowed)]
        permitted = any(real.is_relative_to(root) for root in roots)
        return real if permitted and not is_live_file(real, databases) else None

    def name_of(self, path: Path) -> str:
        """A name by which a statement reaches ``path``, which lies in a permitted directory: the path itself,
        where no mapping leads it elsewhere."""
        names = [str(path)]
        for source, target in self.mappings:
            root = Path(os.path.realpath(target))
            if path.is_relative_to(root):
                names.append(f"{source.rstrip('/')}/{path.relative_to(root)}")
        return next((name for name in names if self.locate(name, ()) == path), str(path))

    def _resolve(self, name: str, databases: Sequence[Path], state: int) -> DeviceFile:
        if not name.strip():
            raise fail(3044)
        if len(name) > MAX_DEVICE_NAME:
            raise fail(3057, MAX_DEVICE_NAME)
        if _URL.match(name):
            raise fail(3078, name)
        if "\0" in name:
            raise _cannot_open(name, OsError.INVALID_NAME, state)
        mapped = self._mapped(name)
        if mapped is None and _WINDOWS.match(name):
            raise _cannot_open(name, OsError.PATH_NOT_FOUND, state)
        shown = name
        if mapped is None:
            relative = name.replace("\\", "/")
            mapped = self.backup_directory / relative
            if not relative.startswith("/"):
                shown = str(mapped)
        try:
            real = Path(os.path.realpath(mapped))
        except OSError as error:
            raise _cannot_open(shown, OsError.ACCESS_DENIED, state) from error
        if not self._is_permitted(real) or is_live_file(real, databases):
            raise _cannot_open(shown, OsError.ACCESS_DENIED, state)
        return DeviceFile(shown, real)

    def _is_permitted(self, real: Path) -> bool:
        for directory in (self.backup_directory, *self.allowed):
            root = Path(os.path.realpath(directory))
            if real != root and real.is_relative_to(root):
                return True
        return False

    def _mapped(self, name: str) -> Path | None:
        """Where a mapping sends ``name``: the first whose FROM is the name or a directory above it. The
        backup directory's own path, which the server tells, always means itself."""
        own = (str(self.backup_directory), self.backup_directory)
        for source, target in (own, *self.mappings):
            ignore_case = bool(_WINDOWS.match(source)) or "\\" in source
            ours, theirs = _parts(name), _parts(source)
            head = ours[: len(theirs)]
            if ignore_case:
                head, theirs = [part.lower() for part in head], [part.lower() for part in theirs]
            if head == theirs and theirs:
                return target.joinpath(*ours[len(theirs) :])
        return None


def _parts(path: str) -> list[str]:
    """The components of a path of either kind; ``..`` is kept, to be resolved where it lies."""
    if _WINDOWS.match(path) or "\\" in path:
        path = path.replace("\\", "/")
    return list(PurePosixPath(path.rstrip("/") or "/").parts)


def _cannot_open(name: str, reason: OsError, state: int) -> CommandError:
    return fail(3201, name, reason.words, state=state)


def cannot_open(name: str, error: OSError, *, writing: bool) -> CommandError:
    """3201 for a device that the operating system did not open, in the words that SQL Server on Linux has
    for it: a directory that is missing is "Access is denied." to BACKUP."""
    if isinstance(error, FileNotFoundError):
        reason = OsError.ACCESS_DENIED if writing else OsError.FILE_NOT_FOUND
    elif isinstance(error, NotADirectoryError):
        reason = OsError.ACCESS_DENIED if writing else OsError.PATH_NOT_FOUND
    elif error.errno == errno.ENOSPC:
        reason = OsError.DISK_FULL
    else:
        reason = OsError.ACCESS_DENIED
    return _cannot_open(name, reason, 1 if writing else 2)

"""What lies beside the media that msdb knows, on disk and in object stores: told, and left alone."""

from __future__ import annotations

import datetime as dt
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.url_devices import open_url
from tdsproxy.media.format import MEDIA_MAGIC
from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.url import is_url, parse_url

_MOST_FILES: Final = 100_000
_MOST_OBJECTS: Final = 1_000

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stray:
    """A file or an object that msdb does not name; ``is_medium``: it begins as a backup medium does.
    ``modified`` is on the server's clock, of files only."""

    name: str
    size: int
    is_medium: bool
    modified: dt.datetime | None = None


def strays(context: Context, names: Iterable[str]) -> Iterator[Stray]:
    """Files below the backup directory, and objects in the folders of those that are named. What can't be
    looked at is told to the log."""
    known = list(names)
    yield from _files(context, known)
    yield from _objects(context, [name for name in known if is_url(name)])


def _files(context: Context, names: Iterable[str]) -> Iterator[Stray]:
    files = context.database_files()
    found = (context.env.paths.locate(name, files) for name in names)
    named = {path for path in found if path is not None}
    for path in _walk(context.env.paths.backup_directory):
        if Path(os.path.realpath(path)) in named:
            continue
        try:
            with path.open("rb") as opened:
                is_medium = opened.read(len(MEDIA_MAGIC)) == MEDIA_MAGIC
            state = path.stat()
        except OSError as error:
            _log.warning("retention can't look at %s: %s", path, error)
            continue
        yield Stray(str(path), state.st_size, is_medium, dt.datetime.fromtimestamp(state.st_mtime))


def _walk(directory: Path) -> Iterator[Path]:
    number = 0
    for root, folders, names in os.walk(directory):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            if path.is_symlink() or not path.is_file():
                continue
            number += 1
            if number > _MOST_FILES:
                _log.warning("retention looks at the first %d files of %s only", _MOST_FILES, directory)
                return
            yield path


def _objects(context: Context, names: Iterable[str]) -> Iterator[Stray]:
    folders: dict[str, set[str]] = {}
    for name in names:
        try:
            key = parse_url(name).key
        except ObjectError:
            continue
        folders.setdefault(name[: len(name) - len(key)] + key.rpartition("/")[0], set()).add(key)
    for folder, named in sorted(folders.items()):
        try:
            yield from _beside(context, folder, named)
        except ObjectError as error:
            _log.warning("retention can't look at %s: %s", folder, error)


def _beside(context: Context, folder: str, named: set[str]) -> Iterator[Stray]:
    """Raises ObjectError."""
    url, bucket = open_url(context.env, folder.rstrip("/"))
    number = 0
    for item in bucket.children(url.key):
        if item.key in named:
            continue
        number += 1
        if number > _MOST_OBJECTS:
            _log.warning("retention looks at the first %d strange objects of %s only", _MOST_OBJECTS, folder)
            return
        least = len(MEDIA_MAGIC)
        is_medium = item.size >= least and bucket.read(item.key, 0, least) == MEDIA_MAGIC
        yield Stray(f"{folder.rstrip('/')}/{item.key.rpartition('/')[2]}", item.size, is_medium)

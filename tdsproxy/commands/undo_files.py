"""Undo files of STANDBY: where one may lie, and what it may take the place of.

SQL Server overwrites whatever has the name. Here nothing is overwritten but an undo file: a backup, a key or
a file of the log would be lost with one slip of a pen.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

import msgspec

from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_files import OWN_FILES
from tdsproxy.commands.messages import OsError
from tdsproxy.store.files import SUFFIX, replace_durably

FOLLOWED: Final = ".undo"
"""Of a database in STANDBY by following: behind its file's name."""
_FIELDS: Final = frozenset({"database", "image", "lsn"})
_LONGEST: Final = 1 << 16


def undo_file(context: Context, name: str, database: str) -> Path:
    """Where the undo file that a statement names lies. Raises CommandError 3170, 3057, 3201."""
    if not name.strip():
        raise fail(3170)
    env = context.env
    store = env.catalog.store
    path = env.paths.for_undo(name, context.database_files(), store)
    root = Path(os.path.realpath(store))
    places = [Path(os.path.realpath(place)) for place in (env.paths.backup_directory, *env.paths.allowed)]
    if path.parent == root:
        # SQLite takes NAME.db-wal for what it would itself have put there.
        permitted = path.name not in OWN_FILES and SUFFIX not in path.name.lower()
    else:
        permitted = any(path.is_relative_to(place) for place in places)
    key = database.casefold()
    found = env.catalog.databases.all()
    own = [one.file for one in found if one.name.casefold() == key and one.file]
    others = [one for one in found if one.name.casefold() != key]
    permitted = permitted or any(path == root / f"{file}{FOLLOWED}" for file in own)
    if not permitted or any(one.standby == str(path) for one in others):
        raise _refused(name)
    _check(path, name)
    return path


def write_undo_file(path: Path, database: str, image: str, lsn: int) -> None:
    """Durable when it returns. Raises CommandError 3201, OSError."""
    _check(path, str(path))
    content = {"database": database, "image": image, "lsn": str(lsn)}
    replace_durably(path, json.dumps(content).encode() + b"\n")


def _check(path: Path, name: str) -> None:
    try:
        with path.open("rb") as file:
            content = msgspec.json.decode(file.read(_LONGEST))
    except FileNotFoundError:
        return
    except (msgspec.DecodeError, UnicodeDecodeError, OSError) as error:
        raise _refused(name) from error
    if not (isinstance(content, dict) and content.keys() == _FIELDS):
        raise _refused(name)


def _refused(name: str) -> CommandError:
    return fail(3201, name, OsError.ACCESS_DENIED.words, state=1)

"""Files of certificates and keys: which may be named, and how they are written.

They lie where backups may lie, or beside the databases: a name without a directory means there, as SQL
Server takes its data directory. Nothing is ever overwritten, and only the store's user can read them.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdsproxy.catalog.names import SHOWN_DATA_DIRECTORY
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.key_messages import key_fail
from tdsproxy.store.files import SUFFIX, fsync_directory
from tdsproxy.store.service_key import FILE_NAME as SERVICE_KEY_FILE

LONGEST: Final = 1 << 20
OWN_FILES: Final = frozenset({SERVICE_KEY_FILE, "sa_password", "keeper.lock", "keeper.sock"})
"""Of the store, beside its databases."""


def read_key_file(context: Context, name: str, number: int = 15208) -> bytes:
    """The content of a certificate or key file. Raises CommandError ``number`` when it cannot be read."""
    try:
        with _path(context, name).open("rb") as file:
            data = file.read(LONGEST + 1)
    except (OSError, CommandError) as error:
        raise key_fail(number) from error
    if len(data) > LONGEST:
        raise key_fail(number)
    return data


def write_key_files(context: Context, *files: tuple[str, bytes]) -> None:
    """Writes (name, content) pairs, all or none, durably. Raises CommandError 15240."""
    written: list[Path] = []
    try:
        for name, content in files:
            try:
                written.append(_write(_path(context, name), content))
            except (OSError, CommandError) as error:
                raise key_fail(15240, name) from error
    except CommandError:
        for path in written:
            with suppress(OSError):
                path.unlink()
        raise


def _write(path: Path, content: bytes) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        fsync_directory(path.parent)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _path(context: Context, name: str) -> Path:
    """Raises CommandError for a place where such a file may not lie."""
    env = context.env
    store = env.catalog.store
    absolute = name.startswith(("/", "\\")) or name[1:2] == ":"
    shown = name if absolute else f"{SHOWN_DATA_DIRECTORY}/{name}"
    path = env.paths.for_undo(shown, context.database_files(), store)
    root = Path(os.path.realpath(store))
    # SQLite takes NAME.db-wal for what it would itself have put there.
    beside = path.parent == root and path.name not in OWN_FILES and SUFFIX not in path.name.lower()
    places = [Path(os.path.realpath(place)) for place in (env.paths.backup_directory, *env.paths.allowed)]
    if not beside and not any(path.is_relative_to(place) for place in places):
        raise key_fail(15240, name)
    return path

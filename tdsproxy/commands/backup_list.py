"""The backup sets that msdb knows of, and the files that they lie in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.catalog.listing import ListedSet
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.tsql.values import Value

SET_COLUMNS: Final = (
    "database", "type", "finished", "file", "size", "compressed_size", "copy_only", "encrypted",
    "first_lsn", "last_lsn", "devices",
)  # fmt: skip
"""Of ``sp_backup_list``, the devices each on a line."""

FILE_COLUMNS: Final = ("device", "path", "size", "databases")
"""Of ``sp_backup_file_list``: the size in bytes is NULL where there is no such file, the databases each on a
line."""

TYPES: Final = {
    "D": "full",
    "I": "differential",
    "L": "log",
    "F": "file",
    "G": "file differential",
    "P": "partial",
    "Q": "partial differential",
}


def _sets(context: Context, values: Sequence[Value]) -> list[ListedSet]:
    if not context.is_admin:
        raise fail(229, "SELECT", "backupset", "msdb", "dbo")
    name = values[0] if values else None
    return context.env.catalog.history.listed(None if name is None else str(name))


def backup_list(context: Context, values: Sequence[Value]) -> list[Row]:
    """A row a backup set of the database that is named, or of all; oldest first. Raises CommandError 229."""
    return [
        (
            item.database,
            TYPES.get(item.type, item.type),
            None if item.finished is None else item.finished.to_python().isoformat(timespec="seconds"),
            str(item.position),
            str(item.size),
            str(item.compressed_size),
            str(int(item.copy_only)),
            str(int(item.encrypted)),
            str(item.first_lsn),
            str(item.last_lsn),
            "\n".join(item.devices),
        )
        for item in _sets(context, values)
    ]


def backup_files(context: Context, values: Sequence[Value]) -> list[Row]:
    """A row a file that holds backups, in the order in which they came into use. Raises CommandError 229."""
    found: dict[str, list[str]] = {}
    for item in _sets(context, values):
        for device in item.devices:
            names = found.setdefault(device, [])
            if item.database not in names:
                names.append(item.database)
    files = context.database_files()
    rows: list[Row] = []
    for device, names in found.items():
        path = context.env.paths.locate(device, files)
        there = path is not None and path.is_file()
        size = str(path.stat().st_size) if path is not None and there else None
        rows.append((device, None if path is None else str(path), size, "\n".join(names)))
    return rows


PROCEDURES: Final[dict[str, Procedure]] = {
    "sp_backup_list": backup_list,
    "sp_backup_file_list": backup_files,
}

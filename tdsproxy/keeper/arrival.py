"""Making a store ready that was fetched: nothing is served yet, its databases are to be restored."""

from __future__ import annotations

from pathlib import Path

import apsw

from tdsproxy.catalog.catalog import MSDB, Catalog
from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.store.files import SUFFIX


def arrive(store: Path, backup_directory: Path, former_backup_directory: str) -> list[Database]:
    """The user databases, which are RESTORING now: nobody may take an empty file for one of them. Media that
    msdb names by where they lay are named by where they lie. To be called with the store's lock held.

    Raises apsw.Error, OSError.
    """
    former = former_backup_directory.rstrip("/")
    if former and former != str(backup_directory):
        with apsw.Connection(str(store / MSDB)) as msdb:
            msdb.execute(
                "UPDATE backupmediafamily SET physical_device_name = ?1 || substr(physical_device_name, ?3)"
                " WHERE substr(physical_device_name, 1, ?3) = ?2 || '/'",
                (str(backup_directory), former, len(former) + 1),
            )
    with Catalog(store) as catalog:
        found = [database for database in catalog.databases.all() if not database.is_system and database.file]
        for database in found:
            if database.source is not None:
                continue
            catalog.databases.update(
                database.id,
                file=f"{database.name}{SUFFIX}" if Path(database.file).is_absolute() else database.file,
                state=DatabaseState.RESTORING,
                redo=None,
                standby=None,
                pages=None,
                kept=None,
                holder=None,
            )
        return [database for database in found if database.source is None]

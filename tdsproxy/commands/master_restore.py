"""The restore of master, while nobody owns the store: RESTORE DATABASE master itself is refused (3108)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tdsproxy.backup import operations
from tdsproxy.backup.errors import InsufficientSpace, TargetError, WrongSet
from tdsproxy.catalog.catalog import MASTER
from tdsproxy.catalog.names import name_key
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import FULL
from tdsproxy.media.errors import MediaError
from tdsproxy.media.sealing import KeyMissing
from tdsproxy.store.errors import StoreError


class MasterNotRestored(Exception):
    """Why not; the store is as it was."""


def restore_master(store: Path, media: Sequence[Path], position: int = 1) -> operations.RestoreResult:
    """Make the full backup of master at ``position`` the store's master.db, whether that is there, damaged or
    lost. The caller holds the store's lock. What was there is kept. Raises MasterNotRestored."""
    devices = DeviceSet(tuple(DiskDevice(path, str(path)) for path in media))
    try:
        description = operations.read_whole_set(devices, position).header.description
        if description.backup_type != FULL or name_key(description.database_name) != "master":
            raise MasterNotRestored(
                f"Backup set {position} of '{media[0]}' is of database '{description.database_name}'."
            )
        return operations.restore_database(devices, position, store / MASTER, replace=True)
    except KeyMissing as error:
        raise MasterNotRestored(
            "The backup set is encrypted: make it a plain file with tdsproxy extract --key, as master.db."
        ) from error
    except (MediaError, StoreError, TargetError, InsufficientSpace, WrongSet, OSError) as error:
        raise MasterNotRestored(f"master cannot be restored: {error}.") from error

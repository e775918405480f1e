"""Logical backup devices: names for places, as sp_addumpdevice makes them (sys.backup_devices)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import apsw

from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.names import name_key

DISK: Final = 2
TAPE: Final = 5
TYPE_WORDS: Final = {DISK: "DISK", TAPE: "TAPE"}

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS __tds_backup_devices (
  key TEXT PRIMARY KEY NOT NULL,
  name TEXT NOT NULL,
  type INTEGER NOT NULL,
  physical_name TEXT NOT NULL
)
"""


@dataclass(frozen=True, slots=True)
class BackupDevice:
    """``type`` as in sys.backup_devices; ``physical_name`` as it was written."""

    name: str
    type: int
    physical_name: str


class BackupDevices:
    """The table of devices in master.db. Names are compared without case."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    def all(self) -> list[BackupDevice]:
        """In the order of their names."""
        return self._read("ORDER BY key")

    def find(self, name: str) -> BackupDevice | None:
        found = self._read("WHERE key = ?", name_key(name))
        return found[0] if found else None

    def add(self, device: BackupDevice) -> None:
        """Raises KeyError when there is a device of this name."""
        with self._file.write():
            self._file.read(_CREATE)
            if self.find(device.name) is not None:
                raise KeyError(device.name)
            self._file.read(
                "INSERT INTO __tds_backup_devices VALUES (?, ?, ?, ?)",
                (name_key(device.name), device.name, device.type, device.physical_name),
            )

    def drop(self, name: str) -> None:
        with self._file.write():
            self._file.read("DELETE FROM __tds_backup_devices WHERE key = ?", (name_key(name),))

    def _read(self, condition: str, *values: str) -> list[BackupDevice]:
        try:
            rows = self._file.read(
                f"SELECT name, type, physical_name FROM __tds_backup_devices {condition}", values
            )
        except apsw.SQLError:  # no device was ever added
            return []
        return [BackupDevice(str(name), int(str(type_)), str(path)) for name, type_, path in rows]

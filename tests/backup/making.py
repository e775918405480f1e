"""What the tests of backups have in common."""

from __future__ import annotations

import uuid
from pathlib import Path

from tdsproxy.media.device import DiskDevice
from tdsproxy.media.documents import FileEntry, SetDescription


def description(name: str = "x", **members: object) -> SetDescription:
    """A description of a backup set with fresh GUIDs."""
    files = (
        FileEntry(logical_name=name, physical_name=f"{name}.db", type="D", file_id=1, unique_id=uuid.uuid4()),
        FileEntry(
            logical_name=f"{name}_log",
            physical_name=f"{name}.ldf",
            type="L",
            file_id=2,
            unique_id=uuid.uuid4(),
        ),
    )
    guids = ("set_guid", "family_guid", "database_guid", "recovery_fork_guid", "first_recovery_fork_guid")
    return SetDescription(
        **({"database_name": name, "files": files} | {guid: uuid.uuid4() for guid in guids} | members)  # type: ignore[arg-type]
    )


def disk(path: Path) -> DiskDevice:
    """The medium at ``path``."""
    return DiskDevice(path)

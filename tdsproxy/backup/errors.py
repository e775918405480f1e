"""What can end a backup or restore besides the errors of ``store`` and ``media``."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID


class OperationCancelled(Exception):
    """The caller's cancel event was set; what had been written is removed."""


class TargetError(Exception):
    """The operating system refused to write the restored file. ``errno`` says why."""

    def __init__(self, path: Path, number: int, message: str) -> None:
        super().__init__(f"{path}: {number}({message})")
        self.path = path
        self.errno = number
        self.os_message = message


class TargetExists(Exception):
    """The database to be restored exists, and the caller did not ask to replace it."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} exists")
        self.path = path


class InsufficientSpace(Exception):
    """The restored database would not fit: ``needed`` and ``free`` bytes."""

    def __init__(self, path: Path, needed: int, free: int) -> None:
        super().__init__(f"{path.parent} has {free} bytes free, {needed} are needed")
        self.path = path
        self.needed = needed
        self.free = free


class WrongSet(Exception):
    """The backup set is of a type that this operation cannot use; ``backup_type`` as in HEADERONLY."""

    def __init__(self, backup_type: int) -> None:
        super().__init__(f"a backup set of type {backup_type}")
        self.backup_type = backup_type


class BaseMissing(Exception):
    """A differential backup has nothing to differ from: of its base, the full backup ``set_guid``, too little
    is known (3035)."""

    def __init__(self, set_guid: UUID, reason: str) -> None:
        super().__init__(f"full backup {set_guid}: {reason}")
        self.set_guid = set_guid
        self.reason = reason


class SourceDamaged(Exception):
    """A page of the database that is to be backed up is damaged (3043)."""

    def __init__(self, path: Path, page: int, detail: str) -> None:
        super().__init__(f"page {page} of {path}: {detail}")
        self.path = path
        self.page = page
        self.detail = detail


class NothingToUndo(Exception):
    """No content that a restore replaced is kept for the database."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"nothing is kept that a restore of {path} replaced")
        self.path = path

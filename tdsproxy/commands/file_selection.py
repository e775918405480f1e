"""FILE, FILEGROUP and READ_WRITE_FILEGROUPS: a database has one data file, in the filegroup PRIMARY."""

from __future__ import annotations

from typing import Final

from tdsproxy.catalog.databases import Database, RecoveryModel
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.media.documents import (
    CHANGES,
    DIFFERENTIAL,
    FILE,
    FILE_DIFFERENTIAL,
    FULL,
    LOG,
    PARTIAL,
    PARTIAL_DIFFERENTIAL,
    WHOLE,
)
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql import ast

PRIMARY: Final = "PRIMARY"


def backup_type(context: Context, database: Database, statement: ast.Backup, *, differential: bool) -> int:
    """The type of the set that the statement makes. Raises CommandError 3024, 3027, 3235, 3004, 3054."""
    if not statement.files:
        return DIFFERENTIAL if differential else FULL
    if statement.kind != "DATABASE":
        raise fail(3032, "file" if statement.files[0][0] == "FILE" else "filegroup")
    if name_key(database.name) == "master":
        raise fail(3024)
    partial = any(word == "READ_WRITE_FILEGROUPS" for word, _ in statement.files)
    for word, operand in statement.files:
        name = "" if operand is None else context.operands.text(operand) or ""
        if word == "FILE" and name_key(name) != name_key(database.data_name):
            raise fail(3235, name, database.name)
        if word == "FILEGROUP" and name_key(name) != name_key(PRIMARY):
            raise fail(3027, name, database.name)
        if word == "PAGE":
            raise fail(3032, "page")
    if partial:
        return PARTIAL_DIFFERENTIAL if differential else PARTIAL
    if database.recovery_model is RecoveryModel.SIMPLE and not database.read_only:
        raise fail(3054 if differential else 3004)
    return FILE_DIFFERENTIAL if differential else FILE


def completed(kind: int, database: Database) -> str:
    """What the last message of a BACKUP calls it."""
    if kind in (FILE, FILE_DIFFERENTIAL):
        name = f"BACKUP DATABASE...FILE=<{database.data_name}>"
        return f"{name} WITH DIFFERENTIAL" if kind == FILE_DIFFERENTIAL else name
    return "BACKUP DATABASE WITH DIFFERENTIAL" if kind in CHANGES else "BACKUP DATABASE"


def check_selection(
    context: Context, statement: ast.Restore, info: SetInfo, name: str, device: str, *, partial: bool
) -> bool:
    """Whether the statement names files, so that they must be rolled forward to the present. Raises
    CommandError 3234, 3144, 3190, 3103."""
    description = info.header.description
    kind = description.backup_type
    if partial and kind not in WHOLE:
        raise fail(3103)
    by_group = False
    for word, operand in statement.files:
        asked = "" if operand is None else context.operands.text(operand) or ""
        logs = {name_key(file.logical_name) for file in description.files if file.type == "L"}
        data = {name_key(file.logical_name) for file in description.files if file.type == "D"}
        if word == "FILE" and name_key(asked) in logs:
            raise fail(3144, asked, info.position, device)
        if word == "FILE" and name_key(asked) not in data:
            raise fail(3234, asked, name)
        if word == "FILEGROUP" and name_key(asked) != name_key(PRIMARY):
            raise fail(3190, asked)
        by_group = by_group or word == "READ_WRITE_FILEGROUPS"
    if kind == PARTIAL and not partial and not by_group:
        raise fail(3103)
    return bool(statement.files) and kind != LOG and not partial

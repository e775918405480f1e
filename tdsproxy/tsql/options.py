"""The WITH options of BACKUP and RESTORE, each declared once.

The parser takes the kind of value from here, and which words are options at all (error 155); the commands
take from here which statement forms an option belongs to (error 3032).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Final

from tdsproxy.tsql import ast


class OptionKind(Enum):
    """What follows the word; the value is the terminal of ``grammar/native.lark``."""

    FLAG = "FLAG_OPTION"
    ANY = "ANY_OPTION"
    """``= n``, ``= 'text'`` or ``= @v``: BACKUP looks at the type only when it runs."""
    TEXT = "TEXT_OPTION"
    COUNT = "COUNT_OPTION"
    """``= n`` or ``= @v``."""
    OPTIONAL = "OPTIONAL_OPTION"
    """As ANY, or nothing."""
    PAIR = "PAIR_OPTION"
    """``'a' TO 'b'``."""
    MARK = "MARK_OPTION"
    """``= 'mark' [AFTER 'time']``."""
    COMPRESSION = "COMPRESSION_OPTION"
    ENCRYPTION = "ENCRYPTION_OPTION"
    DIRECTORY = "DIRECTORY_OPTION"
    """``(DIRECTORY_NAME = 'x')``."""


@dataclass(frozen=True, slots=True)
class OptionDef:
    """``statement`` is BACKUP or RESTORE; ``forms`` the kinds (``Backup.kind``, ``Restore.kind``) that
    support the option: the others parse it and refuse it when they run."""

    name: str
    statement: str
    kind: OptionKind
    forms: frozenset[str]


_BACKUP: Final = frozenset({"DATABASE", "LOG", "GROUP", "SERVER"})
_DATA: Final = frozenset({"DATABASE", "GROUP", "SERVER"})
_LOG: Final = frozenset({"LOG"})
_DATABASE: Final = frozenset({"DATABASE"})
_RESTORE: Final = frozenset({"DATABASE", "LOG"})
_SETS: Final = _RESTORE | {"FILELISTONLY", "HEADERONLY", "VERIFYONLY"}
_MEDIA: Final = _SETS | {"LABELONLY", "BACKUPSETONLY"}
_ALL: Final = _MEDIA | {"REWINDONLY"}
_VERIFY: Final = _RESTORE | {"VERIFYONLY"}

_TABLE: Final[tuple[tuple[str, OptionKind, frozenset[str], str], ...]] = (
    (
        "BACKUP",
        OptionKind.FLAG,
        _BACKUP,
        "COPY_ONLY INIT NOINIT SKIP NOSKIP FORMAT NOFORMAT CHECKSUM NO_CHECKSUM",
    ),
    (
        "BACKUP",
        OptionKind.FLAG,
        _BACKUP,
        "STOP_ON_ERROR CONTINUE_AFTER_ERROR RESTART REWIND NOREWIND UNLOAD NOUNLOAD",
    ),
    (
        "BACKUP",
        OptionKind.FLAG,
        _BACKUP,
        "NO_COMPRESSION FILE_SNAPSHOT METADATA_ONLY SNAPSHOT ENHANCEDINTEGRITY",
    ),
    ("BACKUP", OptionKind.FLAG, _DATA, "DIFFERENTIAL"),
    ("BACKUP", OptionKind.FLAG, _LOG, "NORECOVERY NO_TRUNCATE"),
    ("BACKUP", OptionKind.ANY, _LOG, "STANDBY"),
    ("BACKUP", OptionKind.ANY, _BACKUP, "NAME DESCRIPTION EXPIREDATE RETAINDAYS MEDIANAME MEDIADESCRIPTION"),
    ("BACKUP", OptionKind.ANY, _BACKUP, "BLOCKSIZE BUFFERCOUNT MAXTRANSFERSIZE CREDENTIAL BACKUP_OPTIONS"),
    ("BACKUP", OptionKind.OPTIONAL, _BACKUP, "STATS"),
    ("BACKUP", OptionKind.COMPRESSION, _BACKUP, "COMPRESSION"),
    ("BACKUP", OptionKind.ENCRYPTION, _BACKUP, "ENCRYPTION"),
    (
        "RESTORE",
        OptionKind.FLAG,
        _RESTORE,
        "RECOVERY NORECOVERY REPLACE RESTART RESTRICTED_USER KEEP_REPLICATION",
    ),
    ("RESTORE", OptionKind.FLAG, _RESTORE, "KEEP_CDC KEEP_TEMPORAL_RETENTION ENABLE_BROKER NEW_BROKER"),
    (
        "RESTORE",
        OptionKind.FLAG,
        _RESTORE,
        "ERROR_BROKER_CONVERSATIONS NO_LOG ONLINE COMMIT_DIFFERENTIAL_BASE",
    ),
    (
        "RESTORE",
        OptionKind.FLAG,
        _RESTORE,
        "SNAPSHOT SNAPSHOT_IMPORT METADATA_ONLY ENHANCEDINTEGRITY VERBOSE",
    ),
    ("RESTORE", OptionKind.FLAG, _DATABASE, "PARTIAL"),
    ("RESTORE", OptionKind.FLAG, _MEDIA, "CHECKSUM NO_CHECKSUM STOP_ON_ERROR CONTINUE_AFTER_ERROR REWIND"),
    ("RESTORE", OptionKind.FLAG, _VERIFY, "NOREWIND"),
    ("RESTORE", OptionKind.FLAG, _ALL, "UNLOAD NOUNLOAD"),
    ("RESTORE", OptionKind.FLAG, frozenset({"VERIFYONLY"}), "LOADHISTORY"),
    ("RESTORE", OptionKind.COUNT, _SETS, "FILE"),
    ("RESTORE", OptionKind.ANY, _RESTORE, "BLOCKSIZE BUFFERCOUNT MAXTRANSFERSIZE SNAPSHOTRESTOREPHASE"),
    ("RESTORE", OptionKind.TEXT, _RESTORE, "STANDBY STOPAT DBNAME"),
    ("RESTORE", OptionKind.TEXT, _SETS, "PASSWORD"),
    ("RESTORE", OptionKind.TEXT, _MEDIA, "MEDIANAME MEDIAPASSWORD CREDENTIAL RESTORE_OPTIONS"),
    ("RESTORE", OptionKind.MARK, _RESTORE, "STOPATMARK STOPBEFOREMARK"),
    ("RESTORE", OptionKind.PAIR, _VERIFY, "MOVE"),
    ("RESTORE", OptionKind.OPTIONAL, _VERIFY, "STATS"),
    ("RESTORE", OptionKind.DIRECTORY, _RESTORE, "FILESTREAM"),
)


@cache
def option_table() -> dict[tuple[str, str], OptionDef]:
    """All options by (statement, name)."""
    return {
        (statement, name): OptionDef(name, statement, kind, forms)
        for statement, kind, forms, names in _TABLE
        for name in names.split()
    }


def lookup(statement: str, name: str) -> OptionDef | None:
    """The option ``name`` (upper case) of ``statement`` (BACKUP or RESTORE)."""
    return option_table().get((statement, name))


def unsupported(statement: ast.Backup | ast.Restore) -> tuple[str, ...]:
    """The names, in lower case, of the options that parse but that this form of the statement does not take,
    for error 3032."""
    word = "BACKUP" if isinstance(statement, ast.Backup) else "RESTORE"
    names = []
    for option in statement.options:
        known = lookup(word, option.name)
        if known is not None and statement.kind not in known.forms:
            names.append(option.name.lower())
    return tuple(dict.fromkeys(names))

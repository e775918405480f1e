"""The WITH options of BACKUP and RESTORE, each declared once.

The parser takes the kind of value from here, and which words are options at all (error 155); the commands
take from here which statement forms an option belongs to (3032), which options exclude each other (3031)
and what a number may be (3250, 3253); ``options_document`` makes the reference of it that users read.
Facts: the syntax and ranges of SQL Server 2022's BACKUP and RESTORE.
"""

from __future__ import annotations

from collections.abc import Iterator
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
class NumberRange:
    """What a number may be: from ``low`` to ``high``, a multiple of ``step``, and where ``power`` a power
    of two."""

    low: int
    high: int
    step: int = 1
    power: bool = False

    def takes(self, number: int) -> bool:
        """Whether the number is in the range, its steps counted; powers of two are another question."""
        return self.low <= number <= self.high and number % self.step == 0


class Effect(Enum):
    """What an option does here."""

    WORKS = "works"
    NONE = "accepted, changes nothing"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class OptionDef:
    """``statement`` is BACKUP or RESTORE; ``forms`` the kinds (``Backup.kind``, ``Restore.kind``) that
    support the option: the others parse it and refuse it when they run. ``range`` is there for numbers.
    ``about`` says in a line what the option does."""

    name: str
    statement: str
    kind: OptionKind
    forms: frozenset[str]
    effect: Effect
    about: str
    range: NumberRange | None = None


_BACKUP: Final = frozenset({"DATABASE", "LOG", "GROUP", "SERVER"})
_DATA: Final = frozenset({"DATABASE", "GROUP", "SERVER"})
_LOG: Final = frozenset({"LOG"})
_DATABASE: Final = frozenset({"DATABASE"})
_RESTORE: Final = frozenset({"DATABASE", "LOG"})
_SETS: Final = _RESTORE | {"FILELISTONLY", "HEADERONLY", "VERIFYONLY"}
_MEDIA: Final = _SETS | {"LABELONLY", "BACKUPSETONLY"}
_ALL: Final = _MEDIA | {"REWINDONLY"}
_VERIFY: Final = _RESTORE | {"VERIFYONLY"}

_MOST: Final = 2**31 - 1
_STATS: Final = NumberRange(1, 100)
_DAYS: Final = NumberRange(0, 99999)
_POSITION: Final = NumberRange(1, _MOST)
_BUFFERS: Final = NumberRange(1, _MOST)
_BLOCK: Final = NumberRange(512, 65536, power=True)
_TRANSFER: Final = NumberRange(65536, 4 << 20, 65536)
URL_TRANSFER: Final = NumberRange(65536, 20 << 20, 65536)
"""MAXTRANSFERSIZE where the devices are URLs."""

_FLAG: Final = OptionKind.FLAG
_ANY: Final = OptionKind.ANY
_TEXT: Final = OptionKind.TEXT
_WORKS: Final = Effect.WORKS
_NONE: Final = Effect.NONE
_REFUSED: Final = Effect.REFUSED

_Row = (
    tuple[str, OptionKind, frozenset[str], Effect, str]
    | tuple[str, OptionKind, frozenset[str], Effect, str, NumberRange]
)

_BACKUP_OPTIONS: Final[tuple[_Row, ...]] = (
    ("DIFFERENTIAL", _FLAG, _DATA, _WORKS, "Backs up what has changed since the last full backup."),
    ("COPY_ONLY", _FLAG, _BACKUP, _WORKS, "Leaves the differential base and the log chain as they are."),
    ("NAME", _ANY, _BACKUP, _WORKS, "The name of the backup set."),
    ("DESCRIPTION", _ANY, _BACKUP, _WORKS, "The description of the backup set."),
    ("EXPIREDATE", _ANY, _BACKUP, _WORKS, "INIT does not overwrite the set before this date."),
    ("RETAINDAYS", _ANY, _BACKUP, _WORKS, "As EXPIREDATE, in days from now; wins over it.", _DAYS),
    ("INIT", _FLAG, _BACKUP, _WORKS, "Overwrites the sets of the media set."),
    ("NOINIT", _FLAG, _BACKUP, _WORKS, "Appends to the media set; the default."),
    ("SKIP", _FLAG, _BACKUP, _WORKS, "Checks neither expiration nor the media name."),
    ("NOSKIP", _FLAG, _BACKUP, _WORKS, "Checks both; the default."),
    ("FORMAT", _FLAG, _BACKUP, _WORKS, "Writes a new media header; implies INIT and SKIP."),
    ("NOFORMAT", _FLAG, _BACKUP, _WORKS, "Keeps the media header; the default."),
    ("MEDIANAME", _ANY, _BACKUP, _WORKS, "The name of the media set; must match that of an existing one."),
    ("MEDIADESCRIPTION", _ANY, _BACKUP, _WORKS, "The description of the media set."),
    ("COMPRESSION", OptionKind.COMPRESSION, _BACKUP, _WORKS, "Compresses, by an algorithm and a level."),
    ("NO_COMPRESSION", _FLAG, _BACKUP, _WORKS, "Does not, whatever the server's default."),
    ("ENCRYPTION", OptionKind.ENCRYPTION, _BACKUP, _WORKS, "Encrypts for a certificate or asymmetric key."),
    ("CHECKSUM", _FLAG, _BACKUP, _WORKS, "Checks the source's pages and notes that it did."),
    ("NO_CHECKSUM", _FLAG, _BACKUP, _WORKS, "Does not, whatever the server's default."),
    ("STOP_ON_ERROR", _FLAG, _BACKUP, _WORKS, "A damaged page ends the backup; the default."),
    ("CONTINUE_AFTER_ERROR", _FLAG, _BACKUP, _WORKS, "Backs up a damaged database and marks the set."),
    ("BLOCKSIZE", _ANY, _BACKUP, _WORKS, "The unit of writing, in bytes.", _BLOCK),
    (
        "BUFFERCOUNT",
        _ANY,
        _BACKUP,
        _WORKS,
        "Most chunks in memory at once; four at least, and never more than keep the processors busy.",
        _BUFFERS,
    ),
    (
        "MAXTRANSFERSIZE",
        _ANY,
        _BACKUP,
        _WORKS,
        "The size of a chunk, or of an object's part, in bytes; more than 4 MB only to URL.",
        _TRANSFER,
    ),
    ("STATS", OptionKind.OPTIONAL, _BACKUP, _WORKS, "Tells progress each n percent; alone, 10.", _STATS),
    ("NORECOVERY", _FLAG, _LOG, _WORKS, "Leaves the database RESTORING: the tail of the log."),
    ("STANDBY", _ANY, _LOG, _WORKS, "Leaves the database readable and restorable, with an undo file."),
    ("NO_TRUNCATE", _FLAG, _LOG, _WORKS, "Backs up the log of a database that is damaged; copy-only."),
    ("RESTART", _FLAG, _BACKUP, _NONE, "Is for tapes."),
    ("REWIND", _FLAG, _BACKUP, _NONE, "Is for tapes."),
    ("NOREWIND", _FLAG, _BACKUP, _NONE, "Is for tapes."),
    ("UNLOAD", _FLAG, _BACKUP, _NONE, "Is for tapes."),
    ("NOUNLOAD", _FLAG, _BACKUP, _NONE, "Is for tapes."),
    ("CREDENTIAL", _ANY, _BACKUP, _WORKS, "The credential for URL, by its name."),
    ("BACKUP_OPTIONS", _ANY, _BACKUP, _WORKS, "Region, storage class, encryption of objects, as JSON."),
    ("FILE_SNAPSHOT", _FLAG, _BACKUP, _REFUSED, "Is for database files in Azure."),
    ("METADATA_ONLY", _FLAG, _BACKUP, _REFUSED, "Is for snapshots of storage."),
    ("SNAPSHOT", _FLAG, _BACKUP, _REFUSED, "Is for snapshots of storage."),
    ("ENHANCEDINTEGRITY", _FLAG, _BACKUP, _REFUSED, "Is undocumented."),
)

_RESTORE_OPTIONS: Final[tuple[_Row, ...]] = (
    ("RECOVERY", _FLAG, _RESTORE, _WORKS, "Ends with a database that is in use; the default."),
    ("NORECOVERY", _FLAG, _RESTORE, _WORKS, "Leaves the database RESTORING for further backups."),
    ("STANDBY", _TEXT, _RESTORE, _WORKS, "Leaves it readable and restorable, with an undo file."),
    ("REPLACE", _FLAG, _RESTORE, _WORKS, "Restores over a database of another family or an unsaved tail."),
    ("MOVE", OptionKind.PAIR, _VERIFY, _WORKS, "The file that a logical file is restored to."),
    ("FILE", OptionKind.COUNT, _SETS, _WORKS, "The position of the backup set.", _POSITION),
    ("STOPAT", _TEXT, _RESTORE, _WORKS, "Restores to a moment."),
    ("STOPATMARK", OptionKind.MARK, _RESTORE, _WORKS, "Restores to a mark or an LSN, with it."),
    ("STOPBEFOREMARK", OptionKind.MARK, _RESTORE, _WORKS, "Restores to a mark or an LSN, without it."),
    ("RESTRICTED_USER", _FLAG, _RESTORE, _WORKS, "Lets only owners in afterwards."),
    ("PARTIAL", _FLAG, _DATABASE, _WORKS, "Begins a piecemeal restore."),
    ("CHECKSUM", _FLAG, _MEDIA, _WORKS, "Asks for a set that was written WITH CHECKSUM."),
    ("NO_CHECKSUM", _FLAG, _MEDIA, _NONE, "Content is always checked."),
    ("STOP_ON_ERROR", _FLAG, _MEDIA, _WORKS, "Damage ends the statement; the default."),
    ("CONTINUE_AFTER_ERROR", _FLAG, _MEDIA, _WORKS, "Goes on as far as it can."),
    ("STATS", OptionKind.OPTIONAL, _VERIFY, _WORKS, "Tells progress each n percent; alone, 10.", _STATS),
    ("MEDIANAME", _TEXT, _MEDIA, _WORKS, "Must match the media set's name."),
    ("LOADHISTORY", _FLAG, frozenset({"VERIFYONLY"}), _WORKS, "Writes the set into msdb's history."),
    ("BLOCKSIZE", _ANY, _RESTORE, _NONE, "The medium knows its own.", _BLOCK),
    (
        "BUFFERCOUNT",
        _ANY,
        _RESTORE,
        _WORKS,
        "Most chunks in memory at once, and never more than keep the processors busy.",
        _BUFFERS,
    ),
    ("MAXTRANSFERSIZE", _ANY, _RESTORE, _NONE, "The medium knows its own.", _TRANSFER),
    ("RESTART", _FLAG, _RESTORE, _WORKS, "Goes on where the same restore was interrupted; else 3018."),
    ("KEEP_REPLICATION", _FLAG, _RESTORE, _NONE, "There is no replication."),
    ("KEEP_CDC", _FLAG, _RESTORE, _NONE, "There is no change data capture."),
    ("KEEP_TEMPORAL_RETENTION", _FLAG, _RESTORE, _NONE, "There are no temporal tables."),
    ("ENABLE_BROKER", _FLAG, _RESTORE, _NONE, "There is no Service Broker."),
    ("NEW_BROKER", _FLAG, _RESTORE, _NONE, "There is no Service Broker."),
    ("ERROR_BROKER_CONVERSATIONS", _FLAG, _RESTORE, _NONE, "There is no Service Broker."),
    ("REWIND", _FLAG, _MEDIA, _NONE, "Is for tapes."),
    ("NOREWIND", _FLAG, _VERIFY, _NONE, "Is for tapes."),
    ("UNLOAD", _FLAG, _ALL, _NONE, "Is for tapes."),
    ("NOUNLOAD", _FLAG, _ALL, _NONE, "Is for tapes."),
    ("PASSWORD", _TEXT, _SETS, _REFUSED, "Is for media of SQL Server 2008 and before."),
    ("MEDIAPASSWORD", _TEXT, _MEDIA, _REFUSED, "Is for media of SQL Server 2008 and before."),
    ("CREDENTIAL", _TEXT, _MEDIA, _WORKS, "The credential for URL, by its name."),
    ("RESTORE_OPTIONS", _TEXT, _MEDIA, _WORKS, "As BACKUP_OPTIONS."),
    ("DBNAME", _TEXT, _RESTORE, _REFUSED, "Is for snapshots of storage."),
    ("METADATA_ONLY", _FLAG, _RESTORE, _REFUSED, "Is for snapshots of storage."),
    ("SNAPSHOT", _FLAG, _RESTORE, _REFUSED, "Is for snapshots of storage."),
    ("SNAPSHOT_IMPORT", _FLAG, _RESTORE, _REFUSED, "Is for snapshots of storage."),
    ("SNAPSHOTRESTOREPHASE", _ANY, _RESTORE, _REFUSED, "Is undocumented."),
    ("FILESTREAM", OptionKind.DIRECTORY, _RESTORE, _REFUSED, "There is no FILESTREAM."),
    ("NO_LOG", _FLAG, _RESTORE, _REFUSED, "Is undocumented."),
    ("ONLINE", _FLAG, _RESTORE, _REFUSED, "Is undocumented."),
    ("COMMIT_DIFFERENTIAL_BASE", _FLAG, _RESTORE, _REFUSED, "Is undocumented."),
    ("ENHANCEDINTEGRITY", _FLAG, _RESTORE, _REFUSED, "Is undocumented."),
    ("VERBOSE", _FLAG, _RESTORE, _REFUSED, "Is undocumented."),
)

_BROKER: Final = ("ENABLE_BROKER", "NEW_BROKER", "ERROR_BROKER_CONVERSATIONS")

CONFLICTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    "BACKUP": (
        ("INIT", "NOINIT"),
        ("SKIP", "NOSKIP"),
        ("FORMAT", "NOFORMAT"),
        ("COMPRESSION", "NO_COMPRESSION"),
        ("CHECKSUM", "NO_CHECKSUM"),
        ("STOP_ON_ERROR", "CONTINUE_AFTER_ERROR"),
        ("REWIND", "NOREWIND"),
        ("UNLOAD", "NOUNLOAD"),
        ("NOREWIND", "UNLOAD"),
        ("FORMAT", "NOINIT"),
        ("FORMAT", "NOSKIP"),
        ("NORECOVERY", "STANDBY"),
    ),
    "RESTORE": (
        ("NORECOVERY", "RECOVERY"),
        ("STANDBY", "RECOVERY"),
        ("STANDBY", "NORECOVERY"),
        ("KEEP_REPLICATION", "NORECOVERY"),
        ("KEEP_CDC", "NORECOVERY"),
        ("KEEP_TEMPORAL_RETENTION", "NORECOVERY"),
        ("RESTRICTED_USER", "NORECOVERY"),
        *((word, state) for word in _BROKER for state in ("NORECOVERY", "STANDBY")),
        ("ENABLE_BROKER", "NEW_BROKER"),
        ("ENABLE_BROKER", "ERROR_BROKER_CONVERSATIONS"),
        ("NEW_BROKER", "ERROR_BROKER_CONVERSATIONS"),
        ("STOPAT", "STOPATMARK"),
        ("STOPAT", "STOPBEFOREMARK"),
        ("STOPATMARK", "STOPBEFOREMARK"),
        ("CHECKSUM", "NO_CHECKSUM"),
        ("STOP_ON_ERROR", "CONTINUE_AFTER_ERROR"),
        ("REWIND", "NOREWIND"),
        ("UNLOAD", "NOUNLOAD"),
        ("NOREWIND", "UNLOAD"),
    ),
}
"""The pairs of each statement that may not stand together (error 3031), named in this order."""


def _definitions() -> Iterator[OptionDef]:
    for statement, rows in (("BACKUP", _BACKUP_OPTIONS), ("RESTORE", _RESTORE_OPTIONS)):
        for name, kind, forms, effect, about, *numbers in rows:
            yield OptionDef(name, statement, kind, forms, effect, about, *numbers)


@cache
def option_table() -> dict[tuple[str, str], OptionDef]:
    """All options by (statement, name)."""
    return {(option.statement, option.name): option for option in _definitions()}


def lookup(statement: str, name: str) -> OptionDef | None:
    """The option ``name`` (upper case) of ``statement`` (BACKUP or RESTORE)."""
    return option_table().get((statement, name))


def unsupported(statement: ast.Backup | ast.Restore) -> tuple[str, ...]:
    """The names, in lower case, of the options that parse but that this form of the statement does not take,
    for error 3032."""
    names = []
    for option in statement.options:
        known = lookup(word_of(statement), option.name)
        if known is not None and statement.kind not in known.forms:
            names.append(option.name.lower())
    return tuple(dict.fromkeys(names))


def conflict(statement: ast.Backup | ast.Restore) -> tuple[str, str] | None:
    """The first pair of options, in lower case, that may not stand together, for error 3031."""
    given = {option.name for option in statement.options}
    for first, second in CONFLICTS[word_of(statement)]:
        if first in given and second in given:
            return first.lower(), second.lower()
    return None


def word_of(statement: ast.Backup | ast.Restore) -> str:
    """BACKUP or RESTORE."""
    return "BACKUP" if isinstance(statement, ast.Backup) else "RESTORE"

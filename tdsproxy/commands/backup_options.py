"""What the WITH clause of BACKUP asks for."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.commands.failure import fail
from tdsproxy.commands.operands import Operands
from tdsproxy.tsql import ast
from tdsproxy.tsql.options import URL_TRANSFER, conflict, lookup, unsupported

DEFAULT_STATS: Final = 10
DISK_TYPE: Final = 2
URL_TYPE: Final = 9
"""The device types of msdb and HEADERONLY."""

# What changes nothing on a disk: tape handling, and the sizes of buffers once they are in range.
_WITHOUT_EFFECT: Final = frozenset({"REWIND", "NOREWIND", "UNLOAD", "NOUNLOAD", "RESTART", "STOP_ON_ERROR"})
_ALGORITHMS: Final = {
    "ZSTD": "ZSTD",
    "MS_XPRESS": "ZSTD",
    "GZIP": "GZIP",
    "BZIP2": "BZIP2",
    "XZ": "XZ",
}
_LEVELS: Final = frozenset({"LOW", "MEDIUM", "HIGH"})
_LONGEST: Final = {"NAME": 128, "DESCRIPTION": 255, "MEDIANAME": 128, "MEDIADESCRIPTION": 255}
"""How many characters the columns of HEADERONLY, LABELONLY and msdb have for these options."""


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """``compression`` None leaves it to the medium or to the server's option; ``algorithm`` and ``level`` as
    in COMPRESSION (ALGORITHM = ..., LEVEL = ...). ``stats`` None reports no progress. ``norecovery``,
    ``standby`` (its undo file) and ``no_truncate`` are those of BACKUP LOG."""

    differential: bool = False
    copy_only: bool = False
    name: str | None = None
    description: str | None = None
    expires: dt.datetime | None = None
    init: bool = False
    skip: bool = False
    format: bool = False
    media_name: str | None = None
    media_description: str | None = None
    compression: bool | None = None
    algorithm: str | None = None
    level: str | None = None
    checksum: bool | None = None
    encryption: ast.Option | None = None
    stats: int | None = None
    block_size: int | None = None
    max_transfer_size: int | None = None
    buffer_count: int | None = None
    norecovery: bool = False
    standby: str | None = None
    no_truncate: bool = False
    continue_after_error: bool = False
    device_type: int = DISK_TYPE

    @property
    def tail(self) -> bool:
        """Whether the database is left to be restored: nothing is committed behind this backup."""
        return self.norecovery or self.standby is not None


def check_options(statement: ast.Backup | ast.Restore) -> None:
    """Raises CommandError 3032 for options that this form of the statement does not know, 3031 for two that
    exclude each other."""
    strange = unsupported(statement)
    if strange:
        raise fail(3032, ", ".join(strange))
    pair = conflict(statement)
    if pair is not None:
        raise fail(3031, *pair)


def first_value(option: ast.Option) -> ast.Operand:
    """The value of an option that needs one. Raises CommandError 3217."""
    if not option.values:
        raise fail(3217, option.name)
    return option.values[0]


def name_of(option: ast.Option, operands: Operands) -> str | None:
    """The text of NAME, DESCRIPTION, MEDIANAME or MEDIADESCRIPTION, as much as its columns hold; None for
    NULL."""
    text = operands.text(first_value(option))
    return None if text is None else fitting(text, _LONGEST[option.name])


def fitting(text: str, longest: int) -> str:
    """The beginning of ``text`` that a column of so many UTF-16 units holds."""
    return text.encode("utf-16-le")[: 2 * longest].decode("utf-16-le", "ignore")


def same_medium(wanted: str | None, name: str | None) -> bool:
    """Whether MEDIANAME names a medium called ``name``; None names any."""
    return wanted is None or wanted == fitting(name or "", _LONGEST["MEDIANAME"])


def stats_of(statement: str, option: ast.Option, operands: Operands) -> int:
    """STATS = 1..100; alone it means 10. Raises CommandError 3250."""
    if not option.values:
        return DEFAULT_STATS
    return number_of(statement, option, operands)


def number_of(statement: str, option: ast.Option, operands: Operands, *, to_url: bool = False) -> int:
    """The number of an option of BACKUP or RESTORE; ``to_url``: of one whose devices are URLs.

    Raises CommandError 3217, 3250, 3253."""
    number = operands.number(first_value(option), option.name)
    known = lookup(statement, option.name)
    allowed = None if known is None else known.range
    if to_url and option.name == "MAXTRANSFERSIZE":
        allowed = URL_TRANSFER
    if allowed is not None:
        if not allowed.takes(number):
            raise fail(3250, number, option.name)
        if allowed.power and number & (number - 1):
            raise fail(3253)
    return number


def read_backup_options(
    statement: ast.Backup, operands: Operands, now: dt.datetime, retention_days: int = 0
) -> BackupOptions:
    """``retention_days`` is how long a set is kept for which nothing is said ('media retention'). Raises
    CommandError for values out of range, conflicts, and what this version does not have."""
    check_options(statement)
    to_url = any(device.kind == "URL" for device in statement.devices)
    found: dict[str, Any] = {"device_type": URL_TYPE if to_url else DISK_TYPE}
    retain: int | None = None
    for option in statement.options:
        if option.name in _WITHOUT_EFFECT:
            continue
        if option.name == "RETAINDAYS":
            retain = number_of("BACKUP", option, operands)
        else:
            found |= _read(option, operands, to_url=to_url)
    if retain is None and "expires" not in found and retention_days:
        retain = retention_days
    if retain is not None:
        # RETAINDAYS wins over EXPIREDATE; a set kept for 0 days does not expire.
        found["expires"] = now.replace(microsecond=0) + dt.timedelta(days=retain) if retain else None
    if found.get("format"):
        found |= {"init": True, "skip": True}
    if found.get("no_truncate"):
        found["copy_only"] = True
    return BackupOptions(**found)


def _read(option: ast.Option, operands: Operands, *, to_url: bool) -> Mapping[str, Any]:
    match option.name:
        case "DIFFERENTIAL" | "COPY_ONLY" | "INIT" | "SKIP" | "FORMAT" | "CHECKSUM" | "CONTINUE_AFTER_ERROR":
            return {option.name.lower(): True}
        case "NOINIT" | "NOSKIP" | "NOFORMAT" | "NO_CHECKSUM":
            return {option.name.removeprefix("NO").removeprefix("_").lower(): False}
        case "NORECOVERY" | "NO_TRUNCATE":
            return {option.name.lower(): True}
        case "STANDBY":
            return {"standby": operands.text(first_value(option)) or ""}
        case "NAME" | "DESCRIPTION":
            return {option.name.lower(): name_of(option, operands)}
        case "MEDIANAME":
            return {"media_name": name_of(option, operands)}
        case "MEDIADESCRIPTION":
            return {"media_description": name_of(option, operands)}
        case "EXPIREDATE":
            return {"expires": operands.moment(first_value(option), option.name)}
        case "STATS":
            return {"stats": stats_of("BACKUP", option, operands)}
        case "BLOCKSIZE":
            return {"block_size": number_of("BACKUP", option, operands)}
        case "BUFFERCOUNT":
            return {"buffer_count": number_of("BACKUP", option, operands)}
        case "MAXTRANSFERSIZE":
            return {"max_transfer_size": number_of("BACKUP", option, operands, to_url=to_url)}
        case "CREDENTIAL" | "BACKUP_OPTIONS":
            # ``url_devices`` reads them.
            return {}
        case "COMPRESSION":
            return {"compression": True, **_compression(option, operands)}
        case "NO_COMPRESSION":
            return {"compression": False}
        case "ENCRYPTION":
            return {"encryption": option}
    raise fail(3015, f"BACKUP WITH {option.name}")


def _compression(option: ast.Option, operands: Operands) -> Mapping[str, Any]:
    """Raises CommandError for an algorithm or a level that there is not."""
    found: dict[str, Any] = {}
    for word, operand in option.arguments:
        value = (operands.text(operand) or "").upper()
        if word == "ALGORITHM":
            if value not in _ALGORITHMS:
                raise fail(3015, f"COMPRESSION (ALGORITHM = {value})")
            found["algorithm"] = value
        elif word == "LEVEL":
            if value not in _LEVELS:
                raise fail(3217, "LEVEL")
            found["level"] = value
    if "level" in found and "algorithm" not in found:
        raise fail(3217, "LEVEL")
    return found


def stored_algorithm(asked: str | None) -> str:
    """What is used where ``asked`` was written: for MS_XPRESS, which is Microsoft's own, ZSTD."""
    return _ALGORITHMS[asked or "ZSTD"]

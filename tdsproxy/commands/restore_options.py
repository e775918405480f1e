"""What the WITH clause of RESTORE asks for, and which of its options each form knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.commands.backup_options import check_options, first_value, name_of, number_of, stats_of
from tdsproxy.commands.failure import fail
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.stop_points import StopPoint, read_stop_point
from tdsproxy.tsql import ast

# What changes nothing here: tape handling, message queues and change capture that the databases do not have.
_WITHOUT_EFFECT: Final = frozenset(
    {
        "UNLOAD",
        "NOUNLOAD",
        "REWIND",
        "NOREWIND",
        "KEEP_REPLICATION",
        "KEEP_CDC",
        "KEEP_TEMPORAL_RETENTION",
        "ENABLE_BROKER",
        "NEW_BROKER",
        "ERROR_BROKER_CONVERSATIONS",
        "NO_CHECKSUM",
    }
)


@dataclass(frozen=True, slots=True)
class RestoreOptions:
    """``recovery`` None when neither RECOVERY nor NORECOVERY was written (RECOVERY is then meant, unless
    there is ``standby``, the undo file). ``moves`` are (logical name, target) pairs as written."""

    file: int | None = None
    moves: tuple[tuple[str, str], ...] = ()
    recovery: bool | None = None
    replace: bool = False
    restricted_user: bool = False
    stats: int | None = None
    checksum: bool = False
    media_name: str | None = None
    stop: StopPoint | None = None
    standby: str | None = None
    load_history: bool = False
    partial: bool = False
    continue_after_error: bool | None = None
    restart: bool = False

    @property
    def recovers(self) -> bool:
        """Whether the statement is to end with a database that is open to its users for writing."""
        return self.recovery is not False and self.standby is None


def read_restore_options(statement: ast.Restore, operands: Operands) -> RestoreOptions:
    """Raises CommandError 3032 for what this form of RESTORE does not know, and for bad values."""
    check_options(statement)
    found: dict[str, Any] = {}
    moves: list[tuple[str, str]] = []
    for option in statement.options:
        if option.name in _WITHOUT_EFFECT:
            continue
        if option.name == "MOVE":
            moves.append(_move(option, operands))
        else:
            found |= _read(option, operands, from_url=any(d.kind == "URL" for d in statement.devices))
    return RestoreOptions(moves=tuple(moves), **found)


def _move(option: ast.Option, operands: Operands) -> tuple[str, str]:
    if len(option.values) != 2:
        raise fail(3217, "MOVE")
    return operands.text(option.values[0]) or "", operands.text(option.values[1]) or ""


def _read(option: ast.Option, operands: Operands, *, from_url: bool) -> Mapping[str, Any]:
    match option.name:
        case "FILE":
            return {"file": number_of("RESTORE", option, operands)}
        case "RECOVERY":
            return {"recovery": True}
        case "NORECOVERY":
            return {"recovery": False}
        case "REPLACE" | "RESTRICTED_USER" | "CHECKSUM" | "PARTIAL" | "RESTART":
            return {option.name.lower(): True}
        case "STOP_ON_ERROR" | "CONTINUE_AFTER_ERROR":
            return {"continue_after_error": option.name == "CONTINUE_AFTER_ERROR"}
        case "LOADHISTORY":
            return {"load_history": True}
        case "STATS":
            return {"stats": stats_of("RESTORE", option, operands)}
        case "MEDIANAME":
            return {"media_name": name_of(option, operands)}
        case "BLOCKSIZE" | "BUFFERCOUNT" | "MAXTRANSFERSIZE":
            number_of("RESTORE", option, operands, to_url=from_url)
            return {}
        case "STANDBY":
            return {"standby": operands.text(first_value(option)) or ""}
        case "STOPAT" | "STOPATMARK" | "STOPBEFOREMARK":
            return {"stop": read_stop_point(option, operands)}
        case "CREDENTIAL" | "RESTORE_OPTIONS":
            # ``url_devices`` reads them.
            return {}
    raise fail(3015, f"RESTORE WITH {option.name}")

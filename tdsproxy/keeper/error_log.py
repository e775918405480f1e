"""The error log of the store, in the form of SQL Server's: what is backed up and restored, and what fails.

``STORE/errorlog`` has one line an entry: time, who speaks (``ProcessInfo``), text. Older logs are
``errorlog.1`` (the newest) to ``errorlog.6``; ``cycle`` begins a new one. sp_readerrorlog reads them.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from tdsproxy.commands.error_log_files import ERROR_LOG, OLDER_LOGS
from tdsproxy.store.files import fsync_directory
from tdsproxy.store.threads import ENDED

LOGGER: Final = "tdsproxy.errorlog"
_LONGEST: Final = 8000
_log = logging.getLogger(LOGGER)


class ErrorLog:
    """Usable from any thread. What can't be written is told to the keeper's log."""

    def __init__(self, store: Path, clock: Callable[[], dt.datetime] = dt.datetime.now) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()

    def write(self, source: str, text: str, *, level: int = logging.INFO, **fields: Any) -> None:
        """An entry. ``fields`` (number, severity, database ...) stand in the structured log."""
        _log.log(level, "%s", text, extra={"fields": {"process_info": source, **fields}})
        self.append(source, text)

    def error(self, source: str, number: int, severity: int, state: int, text: str, **fields: Any) -> None:
        """An error, in the two lines that SQL Server writes."""
        self.append(source, f"Error: {number}, Severity: {severity}, State: {state}.")
        self.write(source, text, level=logging.ERROR, number=number, severity=severity, state=state, **fields)

    def append(self, source: str, text: str) -> None:
        """A line of the file alone."""
        stamp = self._clock().isoformat(" ", "milliseconds")[:22]
        lines = " ".join(text.splitlines())[:_LONGEST]
        line = f"{stamp:<22} {source:<11} {lines}\n".encode("utf-8", "backslashreplace")
        try:
            with self._lock:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                descriptor = os.open(self._store / ERROR_LOG, flags, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(line)
        except OSError as error:
            logging.getLogger(__name__).error("the error log can't be written: %s", error)

    def cycle(self) -> None:
        """A new log begins, the oldest goes. Raises OSError."""
        with self._lock:
            for number in range(OLDER_LOGS, 0, -1):
                older = self._store / f"{ERROR_LOG}.{number}"
                newer = self._store / (ERROR_LOG if number == 1 else f"{ERROR_LOG}.{number - 1}")
                if newer.exists():
                    newer.replace(older)
            fsync_directory(self._store)
        self.append("Server", "The error log has been reinitialized. See the previous log for older entries.")

    def logs(self) -> list[tuple[int, float, int]]:
        """The logs that there are, the one being written as number 0: when each last changed (seconds since
        1970) and its bytes."""
        found = []
        for number in range(OLDER_LOGS + 1):
            path = self._store / (ERROR_LOG if number == 0 else f"{ERROR_LOG}.{number}")
            try:
                state = path.stat()
            except FileNotFoundError:
                continue
            found.append((number, state.st_mtime, state.st_size))
        return found


class ErrorLogHandler(logging.Handler):
    """What the keeper's own log says, in the error log, too. ``ended`` is told of each thread that an error
    has ended."""

    def __init__(self, log: ErrorLog, ended: Callable[[str], None] = lambda name: None) -> None:
        super().__init__(logging.INFO)
        self._errors = log
        self._ended = ended

    def emit(self, record: logging.LogRecord) -> None:
        # What this module says of a log that can't be written must not go into it.
        if record.name in (LOGGER, __name__) or not record.name.startswith("tdsproxy."):
            return
        source = "Backup" if ".backup" in record.name or ".commands" in record.name else "Server"
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        self._errors.append(source, text)
        name = getattr(record, ENDED, None)
        if name is not None:
            self._ended(str(name))


def shown_lsn(lsn: int | Decimal) -> str:
    """``file:block:slot``, as the error log of SQL Server writes an LSN."""
    number = int(lsn)
    return f"{number // 10**15}:{number // 10**5 % 10**10}:{number % 10**5}"


def device_information(names: Sequence[str], position: int) -> str:
    """``(FILE=1, TYPE=DISK: {'a.bak'})``, as in 18264."""
    kind = "URL" if any("://" in name for name in names) else "DISK"
    devices = ", ".join(f"'{name}'" for name in names)
    return f"(FILE={position}, TYPE={kind}: {{{devices}}})"


_QUIET: Final = "This is an informational message only. No user action is required."
_QUIETER: Final = "This is an informational message. No user action is required."
"""The end of 18268 to 18271."""

BACKUP_NUMBERS: Final = {"D": 18264, "L": 18265, "I": 18270, "F": 18266}
RESTORE_NUMBERS: Final = {"D": 18267, "L": 18268, "I": 18271, "F": 18269}


def backup_text(kind: str, values: dict[str, Any]) -> str:
    """18264, 18265, 18270 or 18266 of a backup set: ``database``, ``created``, ``pages``, ``first``,
    ``last``, ``base``, ``devices`` and ``position``."""
    head = {
        "D": "Database backed up. Database",
        "I": "Database differential changes were backed up. Database",
        "L": "Log was backed up. Database",
        "F": "Database file was backed up. Database",
    }[kind]
    parts = [f"{head}: {values['database']}", f"creation date(time): {_created(values['created'])}"]
    if kind != "L":
        parts.append(f"pages dumped: {values['pages']}")
    parts += [f"first LSN: {shown_lsn(values['first'])}", f"last LSN: {shown_lsn(values['last'])}"]
    if kind == "I":
        parts.append(f"full backup LSN: {shown_lsn(values['base'])}")
    return _whole(parts, values, _QUIETER if kind == "I" else _QUIET)


def restore_text(kind: str, values: dict[str, Any]) -> str:
    """18267, 18268, 18271 or 18269 of a restore."""
    head = {
        "D": "Database was restored: Database",
        "I": "Database changes were restored. Database",
        "L": "Log was restored. Database",
        "F": "Database file was restored. Database",
    }[kind]
    parts = [
        f"{head}: {values['database']}",
        f"creation date(time): {_created(values['created'])}",
        f"first LSN: {shown_lsn(values['first'])}",
        f"last LSN: {shown_lsn(values['last'])}",
    ]
    end = "Informational message. No user action required." if kind == "D" else _QUIETER
    return _whole(parts, values, end)


def _whole(parts: list[str], values: dict[str, Any], end: str) -> str:
    devices = values["devices"]
    parts += [
        f"number of dump devices: {len(devices)}",
        f"device information: {device_information(devices, values['position'])}",
    ]
    return ", ".join(parts) + ". " + end


def _created(moment: dt.datetime) -> str:
    return f"{moment:%Y/%m/%d(%H:%M:%S)}"

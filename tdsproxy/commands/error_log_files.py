"""The files of the error log, and reading them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

ERROR_LOG: Final = "errorlog"
OLDER_LOGS: Final = 6
_LINE: Final = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d\d) (\S+) +(.*)")
_LONGEST: Final = 4000


def log_file(store: Path, number: int) -> Path:
    """The current log (0) or an older one."""
    return store / (ERROR_LOG if number == 0 else f"{ERROR_LOG}.{number}")


def read_log(path: Path) -> list[tuple[str, str, str]]:
    """Time, source and text of each entry, as far as it can be read. Raises FileNotFoundError."""
    found = []
    for line in path.read_text("utf-8", "replace").splitlines():
        match = _LINE.match(line)
        if match is not None:
            found.append((match[1] + "0", match[2], match[3][:_LONGEST]))
    return found

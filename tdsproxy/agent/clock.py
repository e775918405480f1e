"""The machine's clock and zone."""

from __future__ import annotations

import datetime as dt
import os
import threading
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_LOCAL_TIME: Final = Path("/etc/localtime")
_ZONES: Final = "zoneinfo/"


def local_zone() -> dt.tzinfo:
    """The zone in which schedules are read: that of TZ or of the machine, with all its changes of the clock;
    a fixed offset where the machine does not say more."""
    name = os.environ.get("TZ", "").lstrip(":")
    if not name:
        target = os.path.realpath(_LOCAL_TIME)
        _, found, name = target.partition(_ZONES)
        if not found:
            name = ""
    if name:
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError):
            pass  # a POSIX rule, or a zone that is not installed: the file itself may still say it
    try:
        with _LOCAL_TIME.open("rb") as file:
            return ZoneInfo.from_file(file, key=name or "localtime")
    except (OSError, ValueError):
        return dt.datetime.now().astimezone().tzinfo or dt.UTC


class SystemClock:
    """Implements ``running.Clock``."""

    def __init__(self, zone: dt.tzinfo | None = None) -> None:
        self.zone = zone or local_zone()

    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(seconds)

"""What a keeper notes of its synchronisation with an object store, and of following another store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

SYNC_DIRECTORY: Final = ".sync"
FOLLOW_DIRECTORY: Final = ".follow"
STATE_FILE: Final = "state.json"


def read_sync_state(store: Path) -> dict[str, Any] | None:
    """What is known of the synchronisation: ``url``, ``through_ns`` (every commit up to this time is safe;
    None: nothing yet), ``updated_ns``, ``files_waiting`` (media on their way), ``unprotected`` (databases in
    FULL that this is not true of: without a full backup there, or whose log cannot be captured), ``error``,
    ``refused`` (another store writes there: it does not go on by itself). None when there is none."""
    return _read(store / SYNC_DIRECTORY / STATE_FILE)


def read_follow_state(store: Path) -> dict[str, Any] | None:
    """How far a standby is: ``url``, ``through_ns`` (everything up to this time has arrived and was applied;
    the lag is the time since), ``updated_ns``, ``databases`` (``lsn``, ``ns`` of the last commit, ``error``),
    ``error``, ``ended`` (it has taken over), ``primary_alive`` (why the other store could not be stopped from
    sending when this one took over). None when it is no standby."""
    return _read(store / FOLLOW_DIRECTORY / STATE_FILE)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None

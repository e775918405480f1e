"""What SQLite's own checks find wrong in a database, told apart: pages, or rows and indexes."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import apsw

from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable
from tdsproxy.store.snapshot import open_database

_PAGE = re.compile(r"\bpage (\d+)", re.IGNORECASE)
_TREE = re.compile(r"\btree (\d+)", re.IGNORECASE)
# How what is wrong with pages begins; whatever else is found is wrong with rows.
_OF_PAGES = re.compile(
    r"(Tree|Page|Freelist|Main freelist|On tree|On page|Failed|Bad ptr|Outstanding|\*\*\*)\b"
)
_LIMIT = 1000
_PROGRESS_STEPS = 100_000


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong. ``page`` where a page was named, ``root`` the root page of the table or index
    that it belongs to; ``structural`` when pages are wrong, not only what rows hold."""

    text: str
    page: int | None = None
    root: int | None = None
    structural: bool = True


def check_database(
    connection: apsw.Connection, schema: str = "main", *, quick: bool = False, limit: int = _LIMIT
) -> list[Finding]:
    """``PRAGMA integrity_check`` or ``quick_check``; empty for a sound database. What SQLite cannot go on
    behind is the last finding. Raises apsw.BusyError, apsw.InterruptError."""
    found: list[Finding] = []
    pragma = "quick_check" if quick else "integrity_check"
    try:
        for row in connection.execute(f"PRAGMA {schema}.{pragma}({limit})"):
            text = str(row[0])
            if text != "ok":
                found += [_finding(line) for line in text.splitlines() if not line.startswith("*** in")]
    except (apsw.CorruptError, apsw.NotADBError) as error:
        found.append(Finding(str(error)))
    return found


def _finding(text: str) -> Finding:
    page, tree = _PAGE.search(text), _TREE.search(text)
    return Finding(
        text,
        int(page[1]) if page else None,
        int(tree[1]) if tree else None,
        _OF_PAGES.match(text) is not None,
    )


def damage_of(
    path: Path, *, busy_milliseconds: int = 10_000, cancelled: Callable[[], bool] = lambda: False
) -> list[Finding]:
    """What is wrong with the pages of the database at ``path``, by SQLite's quick check, while others use it.

    Raises DatabaseMissing, DatabaseBusy, DatabaseUnreadable; InterruptedError when ``cancelled``.
    """
    connection = open_database(path, busy_milliseconds, cancelled)
    connection.set_progress_handler(cancelled, _PROGRESS_STEPS)
    try:
        return [finding for finding in check_database(connection, quick=True) if finding.structural]
    except apsw.InterruptError as error:
        raise InterruptedError("the check was cancelled") from error
    except (apsw.BusyError, apsw.LockedError) as error:
        raise DatabaseBusy(path, f"{path} is locked: {error}") from error
    except (apsw.IOError, apsw.CantOpenError) as error:
        raise DatabaseUnreadable(path, f"SQLite cannot read {path}: {error}") from error
    finally:
        connection.close()

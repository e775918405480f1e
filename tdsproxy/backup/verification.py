"""``verify --restore``: a backup set is restored into a scratch file, and that is looked at.

What is compared with what was noted when the backup was taken is the state of its pages; what SQLite checks,
and the user's own queries, is the state that a restore leaves.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import apsw

from tdsproxy.backup.errors import OperationCancelled, WrongSet
from tdsproxy.backup.facts import countable_tables, hidden_name, row_count, schema_objects
from tdsproxy.backup.image import build_image, check_space, roll_own_log, target_error
from tdsproxy.backup.media_set import Progress, no_progress
from tdsproxy.backup.restore_steps import apply_differential, apply_log
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import CHANGES, LOG, WHOLE, ContentFacts
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.set_reader import open_media
from tdsproxy.store.file_keys import connect
from tdsproxy.store.install import leave_wal_mode
from tdsproxy.store.integrity import check_database
from tdsproxy.store.table_files import OWN

_MOST_TOLD: Final = 100
_PROGRESS_STEPS: Final = 100_000
# SQLite does not look whether text is UTF-8.
_UNREADABLE: Final = (apsw.Error, UnicodeDecodeError)


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of it: ``problems`` is empty for a backup that restores to what it should. ``compared`` tells
    how many objects and tables were compared with what the set notes, None when it notes nothing; ``counted``
    how many of the tables had been counted."""

    info: SetInfo
    problems: tuple[str, ...]
    tables: int
    rows: int
    compared: int | None
    counted: int
    seconds: float


def verify_restore(
    sets: Sequence[tuple[Devices, int]],
    scratch: Path,
    *,
    checks: str | None = None,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
) -> Verified:
    """Restore ``sets`` as (devices, position), a full one and then differentials and logs, into the new file
    ``scratch``, which is removed at the end, and check it.

    ``checks`` are queries in SQLite's SQL, separated by semicolons: each row that one gives is a problem.
    Raises OperationCancelled, TargetError, InsufficientSpace, WrongSet, MediaError.
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    try:
        info, problems, compared, counted = _restore_whole(sets[0], scratch, progress, stop)
        image = scratch
        lsn = info.trailer.last_lsn or info.header.description.last_lsn
        for devices, position in sets[1:]:
            info, lsn = _apply(devices, position, image, lsn, stop)
        with _opened(scratch, stop) as connection:
            problems += _integrity(connection)
            problems += list(foreign_key_problems(connection))
            if checks is not None:
                problems += run_checks(connection, checks)
            tables = _users_tables(connection)
            rows = sum(_counted(connection, table) or 0 for table in tables)
    except OSError as error:
        raise target_error(scratch, error) from error
    except apsw.InterruptError as error:
        raise OperationCancelled("the verification was cancelled") from error
    finally:
        for path in (scratch, Path(f"{scratch}-journal"), Path(f"{scratch}-wal"), Path(f"{scratch}-shm")):
            # What else went wrong is to be seen.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
    return Verified(
        info, tuple(problems[:_MOST_TOLD]), len(tables), rows, compared, counted, time.monotonic() - begun
    )


def _restore_whole(
    source: tuple[Devices, int], scratch: Path, progress: Progress, stop: threading.Event
) -> tuple[SetInfo, list[str], int | None, int]:
    devices, position = source
    with open_media(devices) as reader:
        place = reader.find(position)
        info = reader.info(place)
        if info.header.description.backup_type not in WHOLE:
            raise WrongSet(info.header.description.backup_type)
        check_space(scratch, info.header.image, False)
        build_image(reader, place, info, scratch, progress, stop)
        facts = info.trailer.facts
        problems: list[str] = []
        compared: int | None = None
        if facts is not None:
            wal = leave_wal_mode(scratch)
            with _opened(scratch, stop) as connection:
                problems = compare(connection, facts, info)
            compared = len(facts.objects) + len(facts.rows)
            if wal:
                _enter_wal_mode(scratch)
        roll_own_log(reader, place, info, scratch, stop)
    return info, problems, compared, len(facts.rows) if facts is not None else 0


def _enter_wal_mode(scratch: Path) -> None:
    """What the log brings fits to the file as it was."""
    with scratch.open("r+b") as file:
        file.seek(18)
        file.write(b"\x02\x02")


def _apply(
    devices: Devices, position: int, image: Path, lsn: int, stop: threading.Event
) -> tuple[SetInfo, int]:
    with open_media(devices) as reader:
        info = reader.info(reader.find(position))
    kind = info.header.description.backup_type
    if kind in CHANGES:
        done = apply_differential(devices, position, image, cancel=stop)
        return done.info, done.info.trailer.last_lsn or lsn
    if kind != LOG:
        raise WrongSet(kind)
    applied = apply_log(devices, position, image, lsn, cancel=stop)
    return applied.info, applied.redo_lsn


@contextlib.contextmanager
def _opened(scratch: Path, stop: threading.Event) -> Iterator[apsw.Connection]:
    leave_wal_mode(scratch)
    connection = connect(scratch)
    connection.set_progress_handler(stop.is_set, _PROGRESS_STEPS)
    try:
        yield connection
    finally:
        connection.close()


def compare(connection: apsw.Connection, facts: ContentFacts, info: SetInfo) -> list[str]:
    """What differs from what was noted when the backup was taken."""
    guid = info.header.description.set_guid

    def key(name: str) -> str:
        return hidden_name(guid, name) if facts.hidden else name

    try:
        present = {key(name): (name, digest) for name, digest in schema_objects(connection).items()}
        tables = {key(name): name for name in countable_tables(connection)}
    except apsw.InterruptError:
        raise
    except _UNREADABLE as error:
        return [f"The schema cannot be read: {error}."]
    problems: list[str] = []
    for noted, digest in facts.objects.items():
        if noted not in present:
            problems.append(f"The {noted} is missing.")
        elif present[noted][1] != digest:
            problems.append(f"The {present[noted][0]} is defined differently.")
    problems += [
        f"The {name} was not there." for other, (name, _) in present.items() if other not in facts.objects
    ]
    for noted, count in facts.rows.items():
        name = tables.get(noted)
        found = None if name is None else _counted(connection, name)
        if name is not None and found != count:
            problems.append(f"The table {name} has {found} rows instead of {count}.")
    return problems


def _users_tables(connection: apsw.Connection) -> list[str]:
    """None of a schema that cannot be read, of which the other checks have told."""
    try:
        return [name for name in countable_tables(connection) if not name.startswith(OWN)]
    except apsw.InterruptError:
        raise
    except _UNREADABLE:
        return []


def _counted(connection: apsw.Connection, table: str) -> int | None:
    try:
        return row_count(connection, table)
    except apsw.InterruptError:
        raise
    except apsw.Error:
        return None


def _integrity(connection: apsw.Connection) -> list[str]:
    return [f"Integrity: {finding.text}." for finding in check_database(connection, limit=_MOST_TOLD)]


def foreign_key_problems(connection: apsw.Connection) -> Iterator[str]:
    """Rows whose parents are missing. A schema that names no parent table has no such rows."""
    try:
        for table, rowid, parent, _ in connection.execute("PRAGMA foreign_key_check"):
            where = "a row" if rowid is None else f"row {rowid}"
            yield f"Foreign key: {where} of table {table} refers to a row that {parent} does not have."
    except apsw.InterruptError:
        raise
    except _UNREADABLE as error:
        yield f"Foreign keys cannot be checked: {error}."


def run_checks(connection: apsw.Connection, checks: str) -> list[str]:
    """The problems that the user's queries show: each row, and each query that fails."""
    problems: list[str] = []
    current = ""

    def note(cursor: apsw.Cursor, sql: str, bindings: object) -> bool:
        nonlocal current
        del cursor, bindings
        current = " ".join(sql.split()).rstrip(";")
        return True

    cursor = connection.cursor()
    cursor.exec_trace = note
    try:
        rows = cursor.execute(checks)
        while True:
            try:
                told = f"gave {next(rows)!r}"
            except StopIteration:
                break
            except UnicodeDecodeError:
                told = "gave a row with text that is not UTF-8"
            if len(problems) < _MOST_TOLD:
                problems.append(f"Check: {current} {told}.")
    except apsw.InterruptError:
        raise
    except apsw.Error as error:
        behind = f"The query behind {current}" if current else "The first query"
        problems.append(f"Check: {behind} failed: {error}.")
    finally:
        cursor.close()
    return problems

"""Out of the media, without a store: a database as the plain SQLite file that it was.

Media are files named directly, also stripes of one media set, in any order; of their backup sets a full one
and the differential and logs that lead on from it are taken.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import apsw

from tdsproxy.backup import operations
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.key_encryption import Unwrap, missing_key, set_keys
from tdsproxy.commands.key_sources import nothing
from tdsproxy.commands.media_failures import media_failure
from tdsproxy.commands.roll_rules import fork_at, last_lsn_of
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import DIFFERENTIAL, FULL, LOG
from tdsproxy.media.errors import MediaError
from tdsproxy.media.reader import MediaReader, SetInfo
from tdsproxy.media.sealing import KeyMissing, Keys
from tdsproxy.store.file_keys import change_key
from tdsproxy.store.files import SIDECARS, fsync_directory
from tdsproxy.store.install import leave_wal_mode

Progress = Callable[[int, int], None]

_WORDS = {FULL: "full backup", DIFFERENTIAL: "differential backup", LOG: "log backup"}


class ExtractionError(Exception):
    """Nothing can be extracted; the text is a sentence for the user."""


@dataclass(frozen=True, slots=True)
class FoundSet:
    """A backup set on one of the media."""

    device: DeviceSet
    info: SetInfo

    @property
    def shown(self) -> str:
        """What it is and where it lies."""
        kind = _WORDS.get(self.info.header.description.backup_type, "backup")
        return f"{kind} '{Path(self.device.name).name}' (file {self.info.position})"


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was extracted: the database's name, the sets in the order in which they were used, the LSN up to
    which (exclusive) they led."""

    database: str
    sets: tuple[FoundSet, ...]
    lsn: int


def ignore(done: int, total: int) -> None:
    """Nobody wants to know."""
    del done, total


def extract(
    files: Sequence[Path],
    out: Path,
    *,
    position: int | None = None,
    database: str | None = None,
    keys: Unwrap = nothing,
    progress: Progress = ignore,
) -> Extracted:
    """Write the database on the media ``files`` to the new file ``out``, which is durable then.

    The state is the latest that the media lead to; with ``position`` that of the set with this number on the
    first medium. ``database`` says which, where there are several. Raises ExtractionError; ``out`` is not
    there then.
    """
    if out.exists():
        raise ExtractionError(f"'{out}' exists already.")
    image = out.with_name(f".{out.name}.{os.getpid()}.extract")
    try:
        chosen = plan(find_sets(files, set_keys(keys)), position=position, database=database)
        try:
            lsn = _build(chosen, image, progress)
            _make_plain(image, chosen[0].info, keys)
            with image.open("rb") as file:
                os.fsync(file.fileno())
            # A name that has appeared in the meantime stays what it is.
            os.link(image, out)
        finally:
            for name in (image.name, *(image.name + suffix for suffix in SIDECARS)):
                image.with_name(name).unlink(missing_ok=True)
        fsync_directory(out.parent)
    except KeyMissing as error:
        raise ExtractionError(missing_key(error).text) from error
    except MediaError as error:
        raise ExtractionError(_text(media_failure(error))) from error
    except CommandError as error:
        raise ExtractionError(_text(error)) from error
    except OSError as error:
        raise ExtractionError(f"'{out}' cannot be written: {error.strerror or error}.") from error
    return Extracted(chosen[0].info.header.description.database_name, tuple(chosen), lsn)


def _text(error: CommandError) -> str:
    return " ".join(message.text for message in error.messages)


def find_sets(files: Sequence[Path], keys: Keys) -> list[FoundSet]:
    """Every set on the media, in the order of the files. Raises MediaError, ExtractionError."""
    families: dict[UUID, list[DiskDevice]] = {}
    for path in files:
        device = DiskDevice(path, str(path))
        with MediaReader(device.open_read()) as reader:
            families.setdefault(reader.header.media_set_id, []).append(device)
    found: list[FoundSet] = []
    for devices in families.values():
        group = DeviceSet(tuple(devices), keys=keys)
        media = operations.read_headers(group)
        if media.damage is not None and not media.sets:
            raise media.damage
        found += [FoundSet(group, info) for info in media.sets]
    if not found:
        raise ExtractionError("There is no backup set on the media.")
    return found


def plan(found: Sequence[FoundSet], *, position: int | None, database: str | None) -> list[FoundSet]:
    """The sets to use: a full one, a differential, logs. Raises ExtractionError."""
    goal: FoundSet | None = None
    if position is not None:
        first = found[0].device
        goal = next((s for s in found if s.device is first and s.info.position == position), None)
        if goal is None:
            raise ExtractionError(f"There is no backup set at position {position} of '{first.name}'.")
        database = goal.info.header.description.database_name
    names = sorted({s.info.header.description.database_name for s in found})
    if database is None and len(names) > 1:
        raise ExtractionError(f"The media hold several databases: {', '.join(names)}. Name one.")
    wanted = (database or names[0]).lower()
    sets = [s for s in found if s.info.header.description.database_name.lower() == wanted]
    if not sets:
        raise ExtractionError(f"The media hold no backup of '{database}'.")
    # LSNs of a database that was dropped and made anew begin again.
    newest = goal or max(sets, key=lambda s: s.info.trailer.finished)
    family = newest.info.header.description.family_guid
    sets = [s for s in sets if s.info.header.description.family_guid == family]
    limit = None if goal is None else last_lsn_of(goal.info)
    chosen = _chain(sets, goal, limit)
    if goal is not None and goal not in chosen:
        raise ExtractionError(f"The media do not hold what the {goal.shown} needs.")
    return chosen


def _chain(sets: Sequence[FoundSet], goal: FoundSet | None, limit: int | None) -> list[FoundSet]:
    """Of all ways the one that leads furthest, or to ``goal``; of equal ones the one with the least log."""
    fulls = [
        s for s in _of_kind(sets, FULL) if goal is None or s is goal or limit is None or _end(s) <= limit
    ]
    if not fulls:
        raise ExtractionError("The media hold no full backup to begin with.")
    ways = [way for full in fulls for way in _ways(full, sets, goal, limit)]
    leading = [way[: way.index(goal) + 1] for way in ways if goal is not None and goal in way]
    return max(leading or ways, key=_reach)


def _reach(way: Sequence[FoundSet]) -> tuple[int, int, dt.datetime]:
    begin = next(s for s in reversed(way) if s.info.header.description.backup_type != LOG)
    return _end(way[-1]), _end(begin), begin.info.trailer.finished


def _ways(
    full: FoundSet, sets: Sequence[FoundSet], goal: FoundSet | None, limit: int | None
) -> Iterator[list[FoundSet]]:
    """From a full set on, with each differential and without one."""
    base = full.info.header.description.set_guid
    yield [full, *_logs(full.info, _of_kind(sets, LOG), goal, limit)]
    for differential in _of_kind(sets, DIFFERENTIAL):
        fits = differential.info.header.description.differential_base_guid == base
        if fits and _end(differential) >= _end(full) and (limit is None or _end(differential) <= limit):
            yield [full, differential, *_logs(differential.info, _of_kind(sets, LOG), goal, limit)]


def _end(found: FoundSet) -> int:
    return last_lsn_of(found.info)


def _of_kind(sets: Iterable[FoundSet], kind: int) -> list[FoundSet]:
    return [s for s in sets if s.info.header.description.backup_type == kind]


def _logs(
    begin: SetInfo, logs: Sequence[FoundSet], goal: FoundSet | None, limit: int | None
) -> list[FoundSet]:
    """The log backups that lead on from a set on its recovery fork, in order."""
    chosen: list[FoundSet] = []
    lsn, fork = last_lsn_of(begin), begin.header.description.recovery_fork_guid
    while True:
        fitting = [
            s
            for s in logs
            if s.info.header.description.first_lsn <= lsn < last_lsn_of(s.info)
            and (limit is None or last_lsn_of(s.info) <= limit)
            and fork == fork_at(s.info.header.description, lsn)
        ]
        if not fitting:
            return chosen
        step = max(fitting, key=lambda s: (_end(s), s is goal))
        chosen.append(step)
        lsn, fork = last_lsn_of(step.info), step.info.header.description.recovery_fork_guid


def _build(chosen: Sequence[FoundSet], image: Path, progress: Progress) -> int:
    lsn = 0
    for step in chosen:
        position = step.info.position
        match step.info.header.description.backup_type:
            case kind if kind == FULL:
                operations.restore_image(step.device, position, image, progress=progress)
                lsn = last_lsn_of(step.info)
            case kind if kind == DIFFERENTIAL:
                operations.apply_differential(step.device, position, image, progress=progress)
                lsn = last_lsn_of(step.info)
            case _:
                lsn = operations.apply_log(step.device, position, image, lsn).redo_lsn
    return lsn


def _make_plain(image: Path, info: SetInfo, unwrap: Unwrap) -> None:
    """One file that needs nothing beside it: without a WAL, and without a key."""
    envelope = info.header.description.database_key
    if envelope is not None:
        if info.header.image.wal:
            leave_wal_mode(image)
        change_key(image, unwrap(envelope), b"")
    connection = apsw.Connection(str(image))
    try:
        connection.execute("PRAGMA journal_mode = DELETE").fetchall()
    finally:
        connection.close()

"""Out of the media, without a store: a database as the plain SQLite file that it was.

Media are files named directly, also stripes of one media set, in any order; of their backup sets a full one
and the differential and logs that lead on from it are taken.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
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
    limit = None if goal is None else last_lsn_of(goal.info)
    chosen = _chain(sets, goal, limit)
    if goal is not None and goal not in chosen:
        raise ExtractionError(f"The media do not hold what the {goal.shown} needs.")
    return chosen


def _chain(sets: Sequence[FoundSet], goal: FoundSet | None, limit: int | None) -> list[FoundSet]:
    full = _latest(_of_kind(sets, FULL), goal, limit)
    if goal is not None and goal.info.header.description.backup_type == DIFFERENTIAL:
        base_guid = goal.info.header.description.differential_base_guid
        full = next(
            (s for s in _of_kind(sets, FULL) if s.info.header.description.set_guid == base_guid), None
        )
    if full is None:
        raise ExtractionError("The media hold no full backup to begin with.")
    chain = [full]
    if full is goal:
        return chain
    base = full.info.header.description.set_guid
    differential = _latest(
        [s for s in _of_kind(sets, DIFFERENTIAL) if s.info.header.description.differential_base_guid == base],
        goal,
        limit,
    )
    if differential is not None and last_lsn_of(differential.info) >= last_lsn_of(full.info):
        chain.append(differential)
    if chain[-1] is not goal:
        chain += _logs(chain[-1].info, _of_kind(sets, LOG), limit)
    return chain


def _of_kind(sets: Iterable[FoundSet], kind: int) -> list[FoundSet]:
    return [s for s in sets if s.info.header.description.backup_type == kind]


def _latest(sets: Sequence[FoundSet], goal: FoundSet | None, limit: int | None) -> FoundSet | None:
    """The one that leads furthest, not beyond ``limit``; the later one of those that lead as far."""
    if goal in sets:
        return goal
    within = [s for s in sets if limit is None or last_lsn_of(s.info) <= limit]
    return max(within, key=lambda s: (last_lsn_of(s.info), s.info.trailer.finished), default=None)


def _logs(begin: SetInfo, logs: Sequence[FoundSet], limit: int | None) -> list[FoundSet]:
    """The log backups that lead on from a set, in order."""
    chosen: list[FoundSet] = []
    lsn, fork = last_lsn_of(begin), begin.header.description.recovery_fork_guid
    while True:
        fitting = [
            s
            for s in logs
            if s.info.header.description.first_lsn <= lsn < last_lsn_of(s.info)
            and (limit is None or last_lsn_of(s.info) <= limit)
            and fork
            in (fork_at(s.info.header.description, lsn), s.info.header.description.first_recovery_fork_guid)
        ]
        if not fitting:
            return chosen
        step = max(fitting, key=lambda s: last_lsn_of(s.info))
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

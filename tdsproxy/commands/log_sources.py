"""The log that a roll forward of the whole recovery reads: log sets on media, and archives of forks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

from tdsproxy.backup.image import transactions
from tdsproxy.catalog.history import KnownSet
from tdsproxy.catalog.recovery import Fork
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.null_device import is_null
from tdsproxy.commands.stop_points import StopPoint
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import Transaction
from tdsproxy.log.roll import StopAt
from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.media.errors import MediaError, SetMissing
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import MediaReader, SetInfo


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the way: the log of ``fork``, up to ``end`` where the way goes on on another (None: to its
    end)."""

    fork: UUID
    end: int | None = None


@dataclass(frozen=True, slots=True)
class Source:
    """Where the log from ``first`` up to ``last`` (exclusive) comes from: ``known`` on ``device``, or
    ``archive``. ``through_ns``: no commit up to then is missing."""

    first: int
    last: int
    fork: UUID
    through_ns: int
    device: MediaDevice | None = None
    known: KnownSet | None = None
    position: int = 0
    archive: Archive | None = None

    @property
    def told(self) -> str:
        """As an info message says it."""
        stretch = f"LSN {self.first} to {self.last}"
        if self.known is not None:
            name = PurePath(self.known.device).name
            return f"STOPAT: log backup '{name}' (file {self.position}) was used for {stretch}."
        return f"STOPAT: the captured log was used for {stretch}."

    def read(self) -> Iterator[Transaction]:
        """Raises MediaError, LogError."""
        if self.archive is not None:
            yield from self.archive.read(max(self.first, self.archive.first_lsn()), self.last)
            return
        assert self.device is not None
        with MediaReader(self.device.open_read()) as reader:
            location = reader.find(self.position)
            log = LogReader(reader, location, reader.info(location))
            for transaction in transactions(log, self.first):
                if transaction.lsn >= self.last:
                    return
                yield transaction


def stop_at(stop: StopPoint | None) -> StopAt | None:
    """The stop of a statement as the roll forward knows it."""
    if stop is None:
        return None
    return StopAt(stop.time, stop.lsn, stop.mark, stop.before, stop.after)


def way(start: UUID, lsn: int, forks: Sequence[Fork], stop: StopPoint) -> list[Stretch]:
    """The forks that lead from ``lsn`` on ``start`` to where the database was at the stop."""
    found: list[Stretch] = []
    current = start
    while True:
        later = [
            fork
            for fork in forks
            if fork.parent == current
            and fork.point_lsn is not None
            and fork.point_lsn >= lsn
            and _had_begun(fork, stop)
        ]
        if not later:
            return [*found, Stretch(current)]
        child = max(later, key=lambda fork: fork.created_ns)
        found.append(Stretch(current, child.point_lsn))
        current, lsn = child.fork, child.point_lsn or lsn


def _had_begun(fork: Fork, stop: StopPoint) -> bool:
    if stop.time is not None:
        return fork.created_ns <= stop.time
    if stop.lsn is not None:
        return fork.start_lsn <= stop.lsn
    return True


def open_known(context: Context, known: KnownSet) -> tuple[MediaDevice, SetInfo] | None:
    """A set that msdb knows, when it still lies where it was written. Never raises for what is wrong with it:
    then there may be another way."""
    if is_null(known.device):
        return None
    try:
        files = context.database_files()
        place = context.env.paths.for_reading(known.device, files)
        device = DiskDevice(place.path, place.name)
        with MediaReader(device.open_read()) as reader:
            for location in reader.map().sets:
                if location.set_guid == known.set_guid:
                    return device, reader.info(location)
    except (CommandError, MediaError, SetMissing):
        return None
    return None


def fork_of_known(known: KnownSet, lsn: int) -> Iterable[UUID]:
    """The forks on which a log set may be applied at ``lsn``."""
    if known.fork_point is None or lsn > known.fork_point:
        return (known.fork,)
    if lsn == known.fork_point:
        return (known.first_fork, known.fork)
    return (known.first_fork,)

"""What can lead from a full backup to a moment: sets that msdb knows of, and the archives of the log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import PurePath
from uuid import UUID

from tdsproxy.backup.image import transactions
from tdsproxy.backup.plan import DifferentialSource, ForkLine, LogSource, LogStep, Point
from tdsproxy.catalog.databases import Database
from tdsproxy.catalog.history import KnownSet
from tdsproxy.commands.context import Context
from tdsproxy.commands.devices import known_medium
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.key_encryption import keys_of
from tdsproxy.commands.lineage import fork_lines, others
from tdsproxy.commands.log_chain import start_log
from tdsproxy.commands.roll_rules import consistent_ns_of, last_lsn_of
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import CaptureStopped, Transaction
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import SetDescription
from tdsproxy.media.errors import MediaError
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.null_device import is_null
from tdsproxy.media.object_device import Share
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.set_reader import open_media


@dataclass(frozen=True, slots=True)
class MediaPlace:
    """A backup set that lies where msdb says."""

    device: DeviceSet
    info: SetInfo

    @property
    def shown(self) -> str:
        return f"'{PurePath(self.device.name).name}' (file {self.info.position})"


Place = MediaPlace | Archive


def told(step: LogStep[Place]) -> str:
    """A step as an info message says it."""
    last = step.source.last_lsn if step.until_lsn is None else step.until_lsn
    place = step.source.place
    what = f"log backup {place.shown}" if isinstance(place, MediaPlace) else "the captured log"
    return f"STOPAT: {what} was used for LSN {step.first_lsn} to {last}."


def read(step: LogStep[Place]) -> Iterator[Transaction]:
    """The transactions of a step. Raises MediaError, LogError."""
    place = step.source.place
    last = step.source.last_lsn if step.until_lsn is None else step.until_lsn
    if isinstance(place, Archive):
        first = max(step.first_lsn, place.first_lsn())
        if first < last:
            yield from place.read(first, last)
        return
    with open_media(place.device) as reader:
        found = reader.find(place.info.position)
        log = LogReader(reader, found, reader.info(found))
        for transaction in transactions(log, step.first_lsn):
            if transaction.lsn >= last:
                return
            yield transaction


@dataclass(slots=True)
class Sources:
    """The differentials, logs and forks of the database that a full backup came from."""

    forks: list[ForkLine] = field(default_factory=list)
    logs: list[LogSource[Place]] = field(default_factory=list)
    differentials: list[DifferentialSource[Place]] = field(default_factory=list)

    @classmethod
    def find(cls, context: Context, existing: Database | None, description: SetDescription) -> Sources:
        """By the GUID of the database that the backup names; else the one that is replaced, or has the
        backup's database name, when it is of the family."""
        databases = context.env.catalog.databases
        guid = description.database_guid
        owner = next((d for d in databases.all() if d.guid == guid), None)
        if owner is None:
            for other in (existing, context.env.database(description.database_name)):
                if other is not None and other.family == description.family_guid:
                    owner, guid = other, other.guid
                    break
        return cls._of(context, owner, guid, description.family_guid)

    @classmethod
    def of(cls, context: Context, database: Database) -> Sources:
        """Of a database of the store."""
        return cls._of(context, database, database.guid, database.family)

    @classmethod
    def _of(cls, context: Context, owner: Database | None, guid: UUID, family: UUID) -> Sources:
        found = cls()
        found.forks += fork_lines(context, guid)
        found.logs += _archives(context, owner, guid, found.forks)
        media = _Media(context)
        history = context.env.catalog.history
        for place in media.places(history.sets_of_family(family, "L")):
            found.logs.append(_log_of(place))
        strangers = others(context, guid)
        for kind in ("I", "G", "Q"):
            for place in media.places(history.sets_of_family(family, kind)):
                if place.info.header.description.database_guid not in strangers:
                    found.differentials += _differential_of(place)
        return found

    def without(self, source: LogSource[Place]) -> None:
        """The source cannot be read; of an archive, what is not damaged can."""
        at = self.logs.index(source)
        self.logs[at : at + 1] = _whole(source) if isinstance(source.place, Archive) else ()


def _whole(source: LogSource[Place]) -> Iterator[LogSource[Place]]:
    assert isinstance(source.place, Archive)
    for first, last, through in source.place.whole_ranges(source.first_lsn, source.last_lsn):
        if (first, last) != (source.first_lsn, source.last_lsn):
            known = source.through_ns if last == source.last_lsn else through
            yield replace(source, first_lsn=first, last_lsn=last, through_ns=known)


def _log_of(place: MediaPlace) -> LogSource[Place]:
    description = place.info.header.description
    trailer = place.info.trailer
    return LogSource(
        place,
        description.first_lsn,
        last_lsn_of(place.info),
        description.first_recovery_fork_guid,
        description.recovery_fork_guid,
        trailer.through_ns or trailer.consistent_ns or 0,
        description.fork_point_lsn,
    )


def _differential_of(place: MediaPlace) -> Iterable[DifferentialSource[Place]]:
    description = place.info.header.description
    base = description.differential_base_guid
    if base is not None:
        yield DifferentialSource(place, base, point_of(place.info, base))


def whole_sets(context: Context, family: UUID) -> list[MediaPlace]:
    """The full, file and partial sets of a family that lie where msdb says, in the order of their LSNs."""
    return _sets(context, family, ("D", "F", "P"))


def data_sets(context: Context, family: UUID) -> list[MediaPlace]:
    """The same, and the differential ones."""
    return _sets(context, family, ("D", "F", "P", "I", "G", "Q"))


def _sets(context: Context, family: UUID, kinds: Iterable[str]) -> list[MediaPlace]:
    media = _Media(context)
    history = context.env.catalog.history
    found: list[MediaPlace] = []
    for kind in kinds:
        found += media.places(history.sets_of_family(family, kind))
    return sorted(found, key=lambda place: last_lsn_of(place.info))


def point_of(info: SetInfo, base: UUID | None) -> Point:
    """The state that a full or differential set restores."""
    consistent = consistent_ns_of(info)
    through = info.trailer.through_ns
    return Point(
        last_lsn_of(info),
        info.header.description.recovery_fork_guid,
        base,
        consistent,
        consistent if through is None else through,
    )


def _archives(
    context: Context, owner: Database | None, guid: UUID, forks: list[ForkLine]
) -> Iterator[LogSource[Place]]:
    logs = context.env.logs
    if logs is None:
        return
    if owner is not None:
        start_log(context.env, owner)
    # To a database that nobody can write to, nothing was committed since.
    live_through = time.time_ns()
    live: UUID | None = None
    if logs.is_kept(guid):
        live = logs.archive(guid).fork
        try:
            logs.capture_now(guid)
            live_through = logs.captured_until_ns(guid)
        except CaptureStopped:
            if owner is not None and owner.path(context.env.catalog.store).exists():
                live_through = logs.archive(guid).last_committed_ns()
    for archive in logs.archives(guid):
        through = live_through if archive.fork == live else time.time_ns()
        first, last = archive.unbroken_since(), archive.last_lsn()
        ended = context.env.catalog.databases.fork_end(guid, archive.fork)
        through = through if ended is None else min(through, ended)
        line = next((line for line in forks if line.fork == archive.fork), None)
        # From the point where a fork was left up to the first LSN of the next, nothing happened.
        begun_unbroken = line is not None and line.point_lsn is not None and first == archive.first_lsn()
        if line is not None and line.point_lsn is not None and begun_unbroken and first == line.start_lsn:
            first = line.point_lsn
        yield LogSource(archive, first, last, archive.fork, archive.fork, through, is_archive=True)


def sets_on(context: Context, names: tuple[str, ...]) -> dict[UUID, MediaPlace]:
    """The backup sets on the media of one copy of a media set, as far as they can be read, by their GUIDs."""
    return _Media(context).on(names)


class _Media:
    """Opens each medium once. What cannot be read is left out: there may be another way."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._files = context.database_files()
        self._found: dict[tuple[str, ...], dict[UUID, MediaPlace]] = {}

    def places(self, sets: Iterable[KnownSet]) -> Iterator[MediaPlace]:
        for known in sets:
            place = self.on(known.devices).get(known.set_guid)
            if place is not None:
                yield place

    def on(self, names: tuple[str, ...]) -> dict[UUID, MediaPlace]:
        if names not in self._found:
            self._found[names] = {} if any(map(is_null, names)) else self._read(names)
        return self._found[names]

    def _read(self, names: tuple[str, ...]) -> dict[UUID, MediaPlace]:
        found: dict[UUID, MediaPlace] = {}
        try:
            share = Share(len(names))
            devices = tuple(known_medium(self._context, name, self._files, share) for name in names)
            families = DeviceSet(devices, keys=keys_of(self._context), pace=self._context.env.pace())
            with open_media(families) as media:
                for location in media.given[0].map().sets:
                    with suppress(MediaError):
                        whole = media.find(location.position)
                        found[whole.set_guid] = MediaPlace(families, media.info(whole))
        except (CommandError, MediaError):
            return found
        return found

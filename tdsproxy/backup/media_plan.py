"""What lies on the media that a backup goes to, and so what will be written where."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from tdsproxy.backup.media_info import MediaInfo, collect
from tdsproxy.backup.options import BackupOptions
from tdsproxy.media import format as layout
from tdsproxy.media.device import LockedMedium, ReadHandle
from tdsproxy.media.documents import MediaHeader
from tdsproxy.media.errors import (
    FamiliesMissing,
    FamilyCountWrong,
    FamilyTwice,
    ForeignFamily,
    MediaIncompatible,
    MirrorsMissing,
    NotMirrored,
    SetMismatch,
)
from tdsproxy.media.reader import MediaMap, MediaReader


@dataclass(frozen=True, slots=True)
class MediumPlan:
    """One medium: ``end`` None replaces it as a whole, with ``header``; else the set is appended there,
    behind the sets for which ``adopt`` are the anchors that a writer who died could not close."""

    header: MediaHeader
    end: int | None
    new_header: bool
    adopt: tuple[layout.Anchor, ...] = ()


@dataclass(frozen=True, slots=True)
class MediaPlan:
    """The set's position, and the media of each copy in the order of the families: the index of each in the
    statement's list, and what happens to it."""

    position: int
    media: tuple[tuple[tuple[int, MediumPlan], ...], ...]

    @property
    def first(self) -> MediaHeader:
        return self.media[0][0][1].header


@dataclass(frozen=True, slots=True)
class _Found:
    """A medium that holds something; ``number`` in the statement's list."""

    number: int
    name: str
    found: MediaMap
    info: MediaInfo

    @property
    def header(self) -> MediaHeader:
        return self.found.header


def plan(
    media: Sequence[LockedMedium], names: Sequence[str], copies: int, options: BackupOptions
) -> MediaPlan:
    """``media`` are those of the first copy, then of the second ..., each with as many families.

    Raises what ``MediaReader`` raises, the errors of media that do not fit the statement, and what
    ``options.check`` raises.
    """
    families = len(media) // copies
    readers = [medium.reader() for medium in media]
    present = [handle for handle in readers if handle is not None]
    if options.format or not present:
        if copies > 1 and not options.format:
            raise NotMirrored(names[0], "a mirrored media set begins WITH FORMAT")
        for name in names:
            options.check(name, None)
        return _new(readers, copies, families, options)
    found = [_look(number, handle) for number, handle in enumerate(readers) if handle is not None]
    _check_members(found, names, copies, families)
    for medium in found:
        options.check(medium.name, medium.info)
        _check_kind(medium, options)
    ordered = [
        [_of(found, copy, family) for family in range(1, families + 1)] for copy in range(1, copies + 1)
    ]
    if options.init:
        plans = [[(m.number, MediumPlan(m.header, None, True)) for m in copy] for copy in ordered]
        return MediaPlan(1, tuple(map(tuple, plans)))
    kept = _common_sets(found)
    plans = [[(m.number, _append(m, kept)) for m in copy] for copy in ordered]
    return MediaPlan(kept + 1, tuple(map(tuple, plans)))


def _look(number: int, handle: ReadHandle) -> _Found:
    with MediaReader(handle) as reader:
        found = reader.map()
        return _Found(number, handle.name, found, collect(reader, found))


def _new(
    readers: Sequence[ReadHandle | None], copies: int, families: int, options: BackupOptions
) -> MediaPlan:
    base = _new_header(options, families, copies)
    plans: list[tuple[tuple[int, MediumPlan], ...]] = []
    for copy in range(copies):
        row: list[tuple[int, MediumPlan]] = []
        for family in range(families):
            number = copy * families + family
            header = msgspec.structs.replace(
                base,
                family_sequence=family + 1,
                mirror_sequence=copy + 1,
                media_family_id=_family_id(),
            )
            row.append((number, MediumPlan(header, 0 if readers[number] is None else None, True)))
        plans.append(tuple(row))
    return MediaPlan(1, tuple(plans))


def _family_id() -> uuid.UUID:
    # SQL Server fills only the first four bytes of a media family's id.
    return uuid.UUID(bytes=uuid.uuid4().bytes[:4] + bytes(12))


def _new_header(options: BackupOptions, families: int, copies: int) -> MediaHeader:
    return MediaHeader(
        media_set_id=uuid.uuid4(),
        media_family_id=_family_id(),
        created=dt.datetime.now().astimezone(),
        name=options.media_name,
        description=options.media_description,
        family_count=families,
        mirror_count=copies,
        block_size=options.block_size,
        compressed=bool(options.compression),
        encrypted=options.sealing is not None,
    )


def _check_members(found: Sequence[_Found], names: Sequence[str], copies: int, families: int) -> None:
    """The media are all those of one media set."""
    first = found[0].header
    for medium in found:
        header = medium.header
        if header.family_count < families:
            raise FamilyCountWrong(medium.name, header.family_count, families)
        if header.family_count > families:
            raise FamiliesMissing(medium.name, header.family_count, families)
        if header.mirror_count < copies:
            raise NotMirrored(medium.name, f"formatted for {header.mirror_count} mirrors")
        if header.mirror_count > copies:
            raise MirrorsMissing(medium.name, f"{copies} of {header.mirror_count} mirrors")
        if header.media_set_id != first.media_set_id:
            raise ForeignFamily(medium.name, "it belongs to another media set")
    seen: dict[tuple[int, int], str] = {}
    for medium in found:
        place = medium.header.mirror_sequence, medium.header.family_sequence
        if place in seen:
            raise FamilyTwice(medium.name, medium.header.family_sequence, seen[place])
        seen[place] = medium.name
    held = {medium.number for medium in found}
    for number, name in enumerate(names):
        if number not in held:
            raise ForeignFamily(name, "nothing is on it, and the others hold a media set")


def _check_kind(medium: _Found, options: BackupOptions) -> None:
    """What all sets of a medium have in common."""
    header = medium.header
    if options.sealing is not None:
        raise MediaIncompatible(medium.name, "encryption", "sets that are encrypted need a new medium")
    if header.encrypted:
        raise MediaIncompatible(medium.name, "encrypted", "the medium's sets are encrypted")
    if options.compression is not None and options.compression != header.compressed:
        raise MediaIncompatible(medium.name, "compression", "the medium was formatted otherwise")


def _of(found: Sequence[_Found], copy: int, family: int) -> _Found:
    return next(
        medium
        for medium in found
        if (medium.header.mirror_sequence, medium.header.family_sequence) == (copy, family)
    )


def _common_sets(found: Sequence[_Found]) -> int:
    """How many sets all media hold; what one holds beyond that was never completed. Raises MediaDamaged,
    SetMismatch."""
    kept = min(len(medium.found.sets) for medium in found)
    for position in range(1, kept + 1):
        if len({medium.found.sets[position - 1].set_guid for medium in found}) == 1:
            continue
        if not all(_unfinished(medium, position) for medium in found):
            raise SetMismatch(found[0].name, found[0].header.family_sequence, position)
        kept = position - 1
        break
    shortest = min(found, key=lambda medium: len(medium.found.sets))
    for medium in found:
        if len(medium.found.sets) == kept and medium.found.damage is not None:
            raise medium.found.damage
        if not all(_unfinished(medium, place.position) for place in medium.found.sets[kept:]):
            # A set that was acknowledged is on this medium and not on the other.
            damage = shortest.found.damage
            raise damage or SetMismatch(shortest.name, shortest.header.family_sequence, kept + 1)
    return kept


def _unfinished(medium: _Found, position: int) -> bool:
    place = medium.found.sets[position - 1]
    return place.trailer_digest is None and place.damage is None


def _append(medium: _Found, kept: int) -> MediumPlan:
    sets = medium.found.sets
    end = sets[kept].offset if kept < len(sets) else medium.found.end
    adopt = tuple(
        layout.Anchor(
            place.offset,
            place.position,
            place.set_guid,
            True,
            place.length,
            place.trailer,
            place.scanned_trailer_digest,
        )
        for place in sets[:kept]
        if place.scanned_trailer_digest is not None and place.damage is None
    )
    return MediumPlan(medium.header, end, False, adopt)

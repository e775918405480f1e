"""msdb's history of backups again, from the media alone (``tdsproxy catalog --rebuild``).

Every file of the places that are named, or of the backup directory and the allowed ones, whose first bytes
are a medium's is read; files of one media set are put together. What msdb knows already stays as it is.

Not on the media, and so not known again: restores, backups whose media are gone or were overwritten, those to
NUL, through which logical device a medium was written, how a script spelled its path, and the marks of log
backups.
"""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from tdsproxy.backup import operations
from tdsproxy.catalog.history import BackupRows
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.history_rows import backup_rows
from tdsproxy.commands.messages import OsError
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import MediaHeader
from tdsproxy.media.errors import MediaError
from tdsproxy.media.format import MEDIA_MAGIC
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql.values import DateTime, Value

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Medium:
    """One file and its label."""

    device: DiskDevice
    label: MediaHeader


def _rebuild(context: Context, values: Sequence[Value]) -> list[Row]:
    """A row for each backup set found: database, type, when it was finished, its medium, its position, and
    whether it was added. Raises CommandError 3201 for a place that may not be named or is not there."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", "sp_rebuild_history", "msdb", "dbo")
    history = context.env.catalog.history
    found: list[tuple[SetInfo, BackupRows, str]] = []
    for media in _media_sets(_media(context, [str(value) for value in values if value])):
        found += _sets(media)
    found.sort(key=lambda item: item[0].trailer.finished)
    rows: list[Row] = []
    with history.transaction():
        for info, backup, name in found:
            known = history.backup_set_id(backup.backup_set["backup_set_uuid"]) is not None
            if not known:
                history.record_backup(backup)
            kept = backup.backup_set
            rows.append(
                (
                    kept["database_name"],
                    kept["type"],
                    _shown(kept["backup_finish_date"]),
                    name,
                    info.position,
                    int(not known),
                )
            )
    return rows


def _shown(moment: Value) -> str:
    return moment.to_python().isoformat(" ", "seconds") if isinstance(moment, DateTime) else ""


def _places(context: Context, names: Sequence[str]) -> list[Path]:
    if not names:
        return [context.env.paths.backup_directory, *context.env.paths.allowed]
    found = []
    for name in names:
        path = context.env.paths.locate(name, context.database_files())
        if path is None or not path.exists():
            reason = OsError.ACCESS_DENIED if path is None else OsError.FILE_NOT_FOUND
            raise fail(3201, name, reason.words, state=2)
        found.append(path)
    return found


def _media(context: Context, names: Sequence[str]) -> Iterator[_Medium]:
    """Every file that is a medium, once; one that cannot be read is told to the log."""
    seen: set[str] = set()
    for place in _places(context, names):
        for path in _files(place):
            real = os.path.realpath(path)
            if real in seen or not _is_medium(path):
                continue
            seen.add(real)
            device = DiskDevice(path, context.env.paths.name_of(Path(real)))
            try:
                yield _Medium(device, operations.read_headers(device).header)
            except MediaError as error:
                _log.warning("%s is left out of the history: %s", path, error)


def _files(place: Path) -> Iterator[Path]:
    if place.is_file():
        yield place
    for directory, _, names in os.walk(place):
        for name in sorted(names):
            path = Path(directory) / name
            if path.is_file() and not path.is_symlink():
                yield path


def _is_medium(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MEDIA_MAGIC)) == MEDIA_MAGIC
    except OSError:
        return False


def _media_sets(media: Iterator[_Medium]) -> list[list[_Medium]]:
    """The families and mirrors of each media set, in the order in which they were written."""
    found: dict[UUID, list[_Medium]] = defaultdict(list)
    for medium in media:
        found[medium.label.media_set_id].append(medium)
    return [
        sorted(members, key=lambda item: (item.label.mirror_sequence, item.label.family_sequence))
        for members in found.values()
    ]


def _sets(media: list[_Medium]) -> list[tuple[SetInfo, BackupRows, str]]:
    """The backup sets of one media set; a copied file is one too many and left out."""
    members: dict[tuple[int, int], _Medium] = {}
    for medium in media:
        place = (medium.label.mirror_sequence, medium.label.family_sequence)
        if place in members:
            _log.warning("%s is a copy of %s", medium.device.name, members[place].device.name)
        else:
            members[place] = medium
    labels = [(medium.device.name, medium.label) for medium in members.values()]
    first = min(mirror for mirror, _ in members)
    copy = tuple(medium.device for (mirror, _), medium in members.items() if mirror == first)
    try:
        info = operations.read_headers(DeviceSet(copy))
    except MediaError as error:
        _log.warning("%s is left out of the history: %s", copy[0].name, error)
        return []
    return [
        (
            item,
            backup_rows(
                info.header,
                item.position,
                item.header,
                item.trailer,
                item.header.description.files,
                labels,
            ),
            copy[0].name,
        )
        for item in info.sets
    ]


PROCEDURES: Final[dict[str, Procedure]] = {"sp_rebuild_history": _rebuild}

"""msdb's history of backups again, from the media alone (``tdsproxy catalog --rebuild``).

Every file of the places that are named, or of the backup directory and the allowed ones, whose first bytes
are a medium's is read; so is every object below a URL that is named, or that the store has a credential for.
What belongs to one media set is put together. What msdb knows already stays as it is.

Not on the media, and so not known again: restores, backups whose media are gone or were overwritten, those to
NUL, through which logical device a medium was written, how a script spelled its path, and the marks of log
backups.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from uuid import UUID

from tdsproxy.backup import operations
from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.history import BackupRows
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.commands.history_rows import backup_rows
from tdsproxy.commands.messages import OsError
from tdsproxy.commands.url_devices import UrlOptions, open_url, url_device
from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import MediaHeader
from tdsproxy.media.errors import MediaError
from tdsproxy.media.format import MEDIA_MAGIC
from tdsproxy.media.object_device import Share
from tdsproxy.media.reader import MediaReader, SetInfo
from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.store import Bucket, Found
from tdsproxy.objects.url import is_url
from tdsproxy.tsql.values import DateTime, Value

# The copies of media that a synchronised store sends along (keeper.sync_layout) come and go with it.
_SENT: Final = re.compile(r"(?:^|/)files/\d{6,}-[^/]+/")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Medium:
    """One file or object, and its label."""

    device: MediaDevice
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


def _places(context: Context, names: Sequence[str]) -> list[Path | str]:
    """URLs are texts."""
    if not names:
        credentials = (credential.name for credential in context.env.catalog.keys.credentials())
        local = [context.env.paths.backup_directory, *context.env.paths.allowed]
        return [*local, *(name for name in credentials if is_url(name))]
    found: list[Path | str] = []
    for name in names:
        if is_url(name):
            found.append(name)
            continue
        path = context.env.paths.locate(name, context.database_files())
        if path is None or not path.exists():
            reason = OsError.ACCESS_DENIED if path is None else OsError.FILE_NOT_FOUND
            raise fail(3201, name, reason.words, state=2)
        found.append(path)
    return found


def _media(context: Context, names: Sequence[str]) -> Iterator[_Medium]:
    """Every file or object that is a medium, once; one that cannot be read is told to the log."""
    seen: set[str] = set()
    for place in _places(context, names):
        if isinstance(place, str):
            yield from _objects(context, place, seen, wanted=bool(names))
            continue
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


def _objects(context: Context, place: str, seen: set[str], *, wanted: bool) -> Iterator[_Medium]:
    """A store that does not answer is passed over unless its URL was named."""
    try:
        url, bucket = open_url(context.env, place.rstrip("/"))
        root = place.rstrip("/")[: len(place.rstrip("/")) - len(url.key)].rstrip("/")
        single = bucket.find(url.key) if url.key else None
        for item in [single] if single is not None else bucket.list(url.key):
            name = f"{root}/{item.key}"
            if name in seen or _SENT.search(item.key) is not None or not _begins_a_medium(bucket, item):
                continue
            seen.add(name)
            device = url_device(context, name, UrlOptions(), writing=False, share=Share(1))
            try:
                yield _Medium(device, operations.read_headers(device).header)
            except MediaError as error:
                _log.warning("%s is left out of the history: %s", name, error)
    except ObjectError as error:
        if wanted:
            raise fail(3201, place, str(error), state=2) from error
        _log.warning("%s is left out of the history: %s", place, error)


def _begins_a_medium(bucket: Bucket, item: Found) -> bool:
    least = len(MEDIA_MAGIC)
    return item.size >= least and bucket.read(item.key, 0, least) == MEDIA_MAGIC


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
    """The backup sets of one media set. Of a medium and its copies the one that was written last stands for
    all; of mirrors the first that holds all that any does, as one may be damaged or old. A mirror of which
    media are missing is none: nothing can be restored from it."""
    members: dict[tuple[int, int], _Medium] = {}
    for medium in media:
        place = (medium.label.mirror_sequence, medium.label.family_sequence)
        other = members.setdefault(place, medium)
        if other is medium:
            continue
        newer = _extent(medium) > _extent(other)
        copy, kept = (other, medium) if newer else (medium, other)
        members[place] = kept
        _log.warning("%s is a copy of %s", copy.device.name, kept.device.name)
    labels = [(medium.device.name, medium.label) for medium in members.values()]
    info: MediaInfo | None = None
    copy_name = ""
    for mirror in sorted({mirror for mirror, _ in members}):
        devices = tuple(medium.device for (number, _), medium in members.items() if number == mirror)
        wanted = media[0].label.family_count
        if len(devices) < wanted:
            _log.warning(
                "%s is left out of the history: of the %d media of its media set %d are there",
                devices[0].name,
                wanted,
                len(devices),
            )
            continue
        try:
            found = operations.read_headers(DeviceSet(devices))
        except MediaError as error:
            _log.warning("%s is left out of the history: %s", devices[0].name, error)
            continue
        if info is None or len(found.sets) > len(info.sets):
            info, copy_name = found, devices[0].name
    if info is None:
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
            copy_name,
        )
        for item in info.sets
    ]


def _extent(medium: _Medium) -> tuple[dt.datetime, int]:
    """When the last set on it was finished that can be read, and how many there are."""
    last, number = dt.datetime.min.replace(tzinfo=dt.UTC), 0
    try:
        with MediaReader(medium.device.open_read()) as reader:
            for place in reader.map().sets:
                finished = reader.info(place).trailer.finished
                last, number = max(last, finished.astimezone(dt.UTC)), number + 1
    except MediaError as error:
        _log.warning("%s can't be read to its end: %s", medium.device.name, error)
    return last, number


PROCEDURES: Final[dict[str, Procedure]] = {"sp_rebuild_history": _rebuild}

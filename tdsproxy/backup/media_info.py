"""What is on a medium, for HEADERONLY, LABELONLY and the checks before an append.

Headers can be read from any of the families of a media set: each holds them all.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import MediaHeader
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.reader import MediaMap, MediaReader, SetInfo
from tdsproxy.media.set_reader import open_media


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A medium's label and its complete sets.

    ``labels`` are those of all devices that were named, with their names, in that order. ``damage`` is the
    first thing found wrong (a set that cannot be read is left out of ``sets``); None
    for a sound medium. An append that was interrupted is not damage.
    """

    header: MediaHeader
    sets: tuple[SetInfo, ...]
    damage: MediaDamaged | None = None
    labels: tuple[tuple[str, MediaHeader], ...] = ()


def collect(reader: MediaReader, found: MediaMap) -> MediaInfo:
    """The information behind a map of the medium, without ``labels``."""
    sets: list[SetInfo] = []
    damage = found.damage
    for location in found.sets:
        try:
            sets.append(reader.info(location))
        except MediaDamaged as error:
            damage = damage or error
    return MediaInfo(found.header, tuple(sets), damage)


def read_headers(devices: Devices) -> MediaInfo:
    """The label of the first device, and the headers of all sets; reads a few KiB for each set.

    Raises MediaMissing, DeviceError, NotMedia, UnsupportedVersion, MediaEmpty (an empty file), MediaDamaged
    (the media header itself), ForeignFamily, FamilyTwice, FamilyCountWrong.
    """
    with open_media(devices) as media:
        reader = media.given[0]
        labels = tuple((given.name, given.header) for given in media.given)
        return dataclasses.replace(collect(reader, reader.map()), labels=labels)


def read_set(devices: Devices, position: int) -> SetInfo:
    """Header and trailer of one set. Raises SetMissing, MediaEmpty, KeyMissing, and as ``read_headers``."""
    with open_media(devices) as media:
        reader = media.given[0]
        info = reader.info(reader.find(position))
        media.cipher(info)
        return info


def read_whole_set(devices: Devices, position: int) -> SetInfo:
    """Header and trailer of one set that is to be read: all families are there, and so is the key.

    Raises FamiliesMissing, SetMismatch, and as ``read_set``.
    """
    with open_media(devices) as media:
        info = media.info(media.find(position))
        media.cipher(info)
        return info

"""What is on a medium, for HEADERONLY, LABELONLY and the checks before an append."""

from __future__ import annotations

from dataclasses import dataclass

from tdsproxy.media.device import MediaDevice
from tdsproxy.media.documents import MediaHeader
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.reader import MediaMap, MediaReader, SetInfo


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """A medium's label and its complete sets.

    ``damage`` is the first thing found wrong (a set that cannot be read is left out of ``sets``); None
    for a sound medium. An append that was interrupted is not damage.
    """

    header: MediaHeader
    sets: tuple[SetInfo, ...]
    damage: MediaDamaged | None = None


def collect(reader: MediaReader, found: MediaMap) -> MediaInfo:
    """The information behind a map of the medium."""
    sets: list[SetInfo] = []
    damage = found.damage
    for location in found.sets:
        try:
            sets.append(reader.info(location))
        except MediaDamaged as error:
            damage = damage or error
    return MediaInfo(found.header, tuple(sets), damage)


def read_headers(device: MediaDevice) -> MediaInfo:
    """The label and the headers of all sets; reads a few KiB for each set.

    Raises MediaMissing, DeviceError, NotMedia, UnsupportedVersion, MediaEmpty (an empty file), MediaDamaged
    (the media header itself).
    """
    with MediaReader(device.open_read()) as reader:
        return collect(reader, reader.map())


def read_set(device: MediaDevice, position: int) -> SetInfo:
    """Header and trailer of one set. Raises SetMissing, MediaEmpty, and as ``read_headers``."""
    with MediaReader(device.open_read()) as reader:
        return reader.info(reader.find(position))

"""Finishing a replacement of several media that was interrupted between its renames.

Media that are replaced are written beside, and all are complete and durable before the first is renamed into
its place. A writer who dies between the renames leaves some new media, and of the others the old one with the
new one beside it. The new ones that are in place show that the rest was to follow.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.media.errors import MediaError
from tdsproxy.media.reader import MediaReader


@dataclass(frozen=True, slots=True)
class _Identity:
    """What the media of one replacement have in common."""

    media_set: UUID
    first_set: UUID
    families: int
    mirrors: int


def finish_replacement(devices: Sequence[MediaDevice]) -> None:
    """Put what is beside the media of ``devices`` in place, if that is what an interrupted replacement left.

    Nothing is done while somebody writes one of them. Raises DeviceError when the renames fail.
    """
    disks = [device for device in devices if isinstance(device, DiskDevice)]
    if len(disks) < 2 or len(disks) != len(devices):
        return
    if all(disk.beside is None for disk in disks):
        return
    with contextlib.ExitStack() as held:
        try:
            for disk in sorted(disks, key=lambda disk: disk.identity):
                held.enter_context(disk.lock(lambda: True))
        except MediaError:
            return
        in_place = {_identity(disk) for disk in disks}
        waiting = {disk: _identity(disk.beside) for disk in disks if disk.beside is not None}
        wanted = {identity for identity in waiting.values() if identity is not None and identity in in_place}
        if len(wanted) != 1:
            return
        (identity,) = wanted
        if all(_identity(disk) == identity or waiting.get(disk) == identity for disk in disks):
            for disk, found in waiting.items():
                if found == identity and _identity(disk) != identity:
                    disk.put_in_place()


def _identity(device: DiskDevice | None) -> _Identity | None:
    """None for anything but a whole medium with a set."""
    if device is None:
        return None
    try:
        with MediaReader(device.open_read()) as reader:
            found = reader.map()
    except MediaError:
        return None
    if found.damage is not None or not found.sets or found.sets[0].damage is not None:
        return None
    header = found.header
    return _Identity(header.media_set_id, found.sets[0].set_guid, header.family_count, header.mirror_count)

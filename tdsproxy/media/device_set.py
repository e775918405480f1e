"""The devices of one statement."""

from __future__ import annotations

from dataclasses import dataclass

from tdsproxy.media.device import MediaDevice
from tdsproxy.media.pace import Pace
from tdsproxy.media.sealing import Keys, no_keys


@dataclass(frozen=True, slots=True)
class DeviceSet:
    """``devices`` hold one family each: in order, when a media set is made, else in any order. ``mirrors``
    are further copies, each with as many devices. ``keys`` opens sets that are encrypted. ``pace`` is that of
    all of them together; None: as fast as they can. ``buffers`` is how many records a reader may have in
    memory at once; None: as many as keep the processors busy."""

    devices: tuple[MediaDevice, ...]
    mirrors: tuple[tuple[MediaDevice, ...], ...] = ()
    keys: Keys = no_keys
    pace: Pace | None = None
    buffers: int | None = None

    @property
    def name(self) -> str:
        """The first device, as the user wrote it."""
        return self.devices[0].name

    @property
    def all(self) -> tuple[MediaDevice, ...]:
        """Of all copies, those of one copy behind each other."""
        return self.devices + tuple(device for mirror in self.mirrors for device in mirror)


Devices = MediaDevice | DeviceSet
"""One device alone, or several."""


def device_set(devices: Devices) -> DeviceSet:
    """One device alone is a set of one."""
    return devices if isinstance(devices, DeviceSet) else DeviceSet((devices,))

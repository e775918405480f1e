"""What can go wrong with a medium. Every error names the device as the user wrote it."""

from __future__ import annotations

import errno
import os


class MediaError(Exception):
    """Base of everything that reading or writing a medium can raise. ``device`` is its name."""

    def __init__(self, device: str, message: str) -> None:
        super().__init__(f"{device}: {message}")
        self.device = device


class NotMedia(MediaError):
    """The file has content, and it is no backup medium of ours."""


class UnsupportedVersion(MediaError):
    """The medium was written in a newer format than this program knows."""


class MediaEmpty(MediaError):
    """The file is empty, or is a medium on which no backup set was ever completed."""


class MediaDamaged(MediaError):
    """The bytes are not those that were written.

    ``offset`` is where in the file the damaged part begins, ``part`` what it is: ``media header``,
    ``anchor``, ``set header``, ``pages``, ``log``, ``index``, ``trailer``.
    """

    def __init__(self, device: str, part: str, offset: int, detail: str) -> None:
        super().__init__(device, f"damaged {part} at byte {offset}: {detail}")
        self.part = part
        self.offset = offset


class SetMissing(MediaError):
    """There is no backup set at ``position``; ``count`` are there."""

    def __init__(self, device: str, position: int, count: int) -> None:
        super().__init__(device, f"no backup set at position {position}, there are {count}")
        self.position = position
        self.count = count


class MediaIncompatible(MediaError):
    """The medium was formatted for other backups: ``reason`` is ``compression`` or ``families``."""

    def __init__(self, device: str, reason: str, message: str) -> None:
        super().__init__(device, message)
        self.reason = reason


class DeviceError(MediaError):
    """The operating system refused. ``operation`` is ``open``, ``read``, ``write`` or ``lock``."""

    def __init__(self, device: str, operation: str, number: int, message: str) -> None:
        super().__init__(device, f"{operation} failed: {number}({message})")
        self.operation = operation
        self.errno = number
        self.os_message = message


class MediaMissing(DeviceError):
    """There is no such file."""


class DeviceCancelled(MediaError):
    """Waiting for another writer of the medium was cancelled."""


def from_os_error(device: str, operation: str, error: OSError) -> DeviceError:
    """The device error for an OSError."""
    number = error.errno if error.errno is not None else errno.EIO
    kind = MediaMissing if number == errno.ENOENT and operation == "open" else DeviceError
    return kind(device, operation, number, os.strerror(number) if error.errno is not None else str(error))

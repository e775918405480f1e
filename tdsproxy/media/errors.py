"""What can go wrong with a medium. Every error names the device as the user wrote it."""

from __future__ import annotations

import errno
import os

from tdsproxy.objects.errors import ObjectError


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
    ``anchor``, ``set header``, ``pages``, ``log``, ``index``, ``trailer``. ``page`` is the first page of a
    run of pages that is damaged, where it is known; ``cut_off`` tells that the file ends too early.
    """

    def __init__(
        self,
        device: str,
        part: str,
        offset: int,
        detail: str,
        *,
        page: int | None = None,
        cut_off: bool = False,
    ) -> None:
        super().__init__(device, f"damaged {part} at byte {offset}: {detail}")
        self.part = part
        self.offset = offset
        self.detail = detail
        self.page = page
        self.cut_off = cut_off


class SetMissing(MediaError):
    """There is no backup set at ``position``; ``count`` are there."""

    def __init__(self, device: str, position: int, count: int) -> None:
        super().__init__(device, f"no backup set at position {position}, there are {count}")
        self.position = position
        self.count = count


class MediaIncompatible(MediaError):
    """The medium was formatted for other backups. ``reason``: ``compression``, when the other way was asked
    for; ``encryption``, when it was asked for and the medium is there already; ``encrypted``, when it was not
    asked for and the medium's sets are."""

    def __init__(self, device: str, reason: str, message: str) -> None:
        super().__init__(device, message)
        self.reason = reason


class FamiliesMissing(MediaError):
    """The media set has ``count`` families, and only ``given`` were named."""

    def __init__(self, device: str, count: int, given: int) -> None:
        super().__init__(device, f"{given} of {count} families")
        self.count = count
        self.given = given


class FamilyCountWrong(MediaError):
    """The medium is one of ``count`` families; ``given``, more than that, were named."""

    def __init__(self, device: str, count: int, given: int) -> None:
        super().__init__(device, f"one of {count} families instead of {given}")
        self.count = count
        self.given = given


class FamilyTwice(MediaError):
    """Two devices hold the same family; ``other`` was named first."""

    def __init__(self, device: str, family: int, other: str) -> None:
        super().__init__(device, f"family {family}, as on {other}")
        self.family = family
        self.other = other


class ForeignFamily(MediaError):
    """The medium belongs to another media set than the others that were named."""


class SetMismatch(MediaError):
    """The family ``sequence`` holds another backup set at a position than the others do, or none: it was
    overwritten, or is an older copy."""

    def __init__(self, device: str, sequence: int, position: int) -> None:
        super().__init__(device, f"family {sequence} holds another backup set at position {position}")
        self.sequence = sequence
        self.position = position


class MirrorsMissing(MediaError):
    """A mirrored media set is appended to with all its mirrors or not at all."""


class NotMirrored(MediaError):
    """The medium was not formatted for so many mirrors."""


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


class RemoteError(MediaError):
    """An object store did not do what it was asked. ``operation`` is ``open``, ``read`` or ``write``."""

    def __init__(self, device: str, operation: str, error: ObjectError) -> None:
        super().__init__(device, f"{operation} failed: {error}")
        self.operation = operation
        self.reason = error.reason


def from_os_error(device: str, operation: str, error: OSError) -> DeviceError:
    """The device error for an OSError."""
    number = error.errno if error.errno is not None else errno.EIO
    kind = MediaMissing if number == errno.ENOENT and operation == "open" else DeviceError
    return kind(device, operation, number, os.strerror(number) if error.errno is not None else str(error))

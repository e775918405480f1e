"""The devices of a statement as media that can be opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.null_device import NullDevice, is_null
from tdsproxy.commands.paths import DeviceFile
from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.store.files import is_live_file
from tdsproxy.tsql import ast

MAX_DEVICES = 64


def backup_device(context: Context, devices: Sequence[ast.Device]) -> MediaDevice:
    """The one device that a backup goes to. Raises CommandError."""
    return _device(context, devices, "BACKUP", writing=True)


def restore_device(context: Context, devices: Sequence[ast.Device]) -> MediaDevice:
    """The one device that a restore reads. Raises CommandError."""
    return _device(context, devices, "RESTORE", writing=False)


def _device(context: Context, devices: Sequence[ast.Device], verb: str, *, writing: bool) -> MediaDevice:
    if len(devices) > MAX_DEVICES:
        raise fail(3205, MAX_DEVICES)
    first = devices[0]
    name = context.operands.text(first.name)
    if first.kind == "LOGICAL":
        raise fail(3206, name or "")
    if first.kind != "DISK":
        raise fail(3015, f"{verb} with {first.kind}")
    if len(devices) > 1:
        raise fail(3015, f"{verb} with several devices")
    if is_null(name or ""):
        return NullDevice(name or "")
    files = context.database_files()
    paths = context.env.paths
    resolve = paths.for_writing if writing else paths.for_reading
    return _disk(resolve(name or "", files), files)


def _disk(device: DeviceFile, databases: Sequence[Path]) -> DiskDevice:
    """The file is looked at once more right before it is opened: a link may have been put in its way, or a
    database in its place."""

    def guard(path: Path) -> None:
        if Path(os.path.realpath(path)) != device.path or is_live_file(path, databases):
            raise PermissionError(13, "the path has changed")

    return DiskDevice(device.path, device.name, guard)

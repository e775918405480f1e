"""The devices of a statement as media that can be opened."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.catalog.devices import TYPE_WORDS
from tdsproxy.commands.backup_options import number_of
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.key_encryption import keys_of
from tdsproxy.commands.paths import DeviceFile
from tdsproxy.commands.url_devices import UrlOptions, read_url_options, url_device
from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.null_device import NullDevice, is_null
from tdsproxy.media.object_device import Share
from tdsproxy.objects.url import is_url
from tdsproxy.store.files import is_live_file
from tdsproxy.tsql import ast

MAX_DEVICES = 64
MAX_MIRRORS = 3


def backup_devices(
    context: Context, statement: ast.Backup, *, overwrite: bool = False, part_size: int | None = None
) -> DeviceSet:
    """What a backup goes to: objects in parts of ``part_size``, and in place of those that are there only if
    ``overwrite``. Raises CommandError."""
    for devices in (statement.devices, *statement.mirrors):
        if len(devices) > MAX_DEVICES:
            raise fail(3205, MAX_DEVICES)
    if len(statement.mirrors) > MAX_MIRRORS:
        raise fail(3214, MAX_MIRRORS)
    if any(len(mirror) != len(statement.devices) for mirror in statement.mirrors):
        raise fail(3010)
    count = sum(len(devices) for devices in (statement.devices, *statement.mirrors))
    urls = _Urls(
        read_url_options(context, statement.devices, statement.options),
        Share(count, part_size),
        overwrite,
        True,
    )
    found = [
        _devices(context, devices, "BACKUP", urls) for devices in (statement.devices, *statement.mirrors)
    ]
    _check_classes([device for copy in found for device in copy])
    return DeviceSet(_media(found[0]), tuple(map(_media, found[1:])), pace=context.env.pace())


def restore_devices(
    context: Context, devices: Sequence[ast.Device], options: Sequence[ast.Option] = ()
) -> DeviceSet:
    """What a restore reads. Raises CommandError."""
    if len(devices) > MAX_DEVICES:
        raise fail(3205, MAX_DEVICES)
    found = _devices(
        context, devices, "RESTORE", _Urls(read_url_options(context, devices, options), Share(len(devices)))
    )
    _check_classes(found)
    buffers = next(
        (
            number_of("RESTORE", option, context.operands)
            for option in options
            if option.name == "BUFFERCOUNT"
        ),
        None,
    )
    return DeviceSet(_media(found), keys=keys_of(context), pace=context.env.pace(), buffers=buffers)


@dataclass(frozen=True, slots=True)
class _Device:
    """``kind`` is its class: all devices of a statement are of one."""

    kind: str
    medium: MediaDevice


@dataclass(frozen=True, slots=True)
class _Urls:
    """What the statement says of its devices of type URL."""

    options: UrlOptions
    share: Share
    overwrite: bool = False
    writing: bool = False


def known_medium(context: Context, name: str, files: Sequence[Path], share: Share) -> MediaDevice:
    """A device that the history names, to be read; ``files`` are those of all databases. Raises
    CommandError."""
    if is_url(name):
        return url_device(context, name, UrlOptions(), writing=False, share=share)
    found = context.env.paths.for_reading(name, files)
    return DiskDevice(found.path, found.name)


def _media(devices: Sequence[_Device]) -> tuple[MediaDevice, ...]:
    return tuple(device.medium for device in devices)


def _check_classes(devices: Sequence[_Device]) -> None:
    """Raises CommandError 3011."""
    if len({device.kind for device in devices}) > 1:
        raise fail(3011)


def _devices(context: Context, devices: Sequence[ast.Device], verb: str, urls: _Urls) -> list[_Device]:
    files = context.database_files()
    return [_device(context, device, verb, files, urls) for device in devices]


def _device(context: Context, device: ast.Device, verb: str, files: Sequence[Path], urls: _Urls) -> _Device:
    name = context.operands.text(device.name) or ""
    kind = device.kind
    if kind == "LOGICAL":
        known = context.env.catalog.devices.find(name)
        if known is None:
            raise fail(3206, name)
        name, kind = known.physical_name, TYPE_WORDS[known.type]
    if kind == "URL":
        medium = url_device(
            context,
            name,
            urls.options,
            writing=urls.writing,
            overwrite=urls.overwrite,
            share=urls.share,
        )
        return _Device("URL", medium)
    if kind == "VIRTUAL_DEVICE" and not context.is_admin:
        raise fail(3265)
    if kind != "DISK":
        raise fail(3015, f"{verb} with {kind}")
    if is_null(name):
        return _Device("DISK", NullDevice(name))
    paths = context.env.paths
    resolve = paths.for_writing if urls.writing else paths.for_reading
    found = resolve(name, files)
    if device.kind == "LOGICAL":
        context.logical_names[found.name] = context.operands.text(device.name) or ""
    return _Device("DISK", _disk(found, files))


def _disk(device: DeviceFile, databases: Sequence[Path]) -> DiskDevice:
    """The file is looked at once more right before it is opened: a link may have been put in its way, or a
    database in its place."""

    def guard(path: Path) -> None:
        if Path(os.path.realpath(path)) != device.path or is_live_file(path, databases):
            raise PermissionError(13, "the path has changed")

    return DiskDevice(device.path, device.name, guard)

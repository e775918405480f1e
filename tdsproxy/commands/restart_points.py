"""RESTORE ... WITH RESTART: where an interrupted restore of a full set had come to.

``STORE/.redo/NAME.restart`` is SQL Server's restart-checkpoint file: which image is being built, from what,
and how much of it is durable. It is there while the image is built. When the owner of the store dies, or the
device fails in the middle, it stays, and the image with it, until the same statement with RESTART goes on, or
any other restore of that name begins.
"""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from uuid import UUID

import msgspec

from tdsproxy.backup.restart import Restart, RestartPoint
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import fail
from tdsproxy.commands.recovery import IMAGES, image_name, new_image
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.reader import SetInfo
from tdsproxy.store.files import encode_name, replace_durably

SUFFIX: Final = ".restart"


class _Noted(msgspec.Struct, frozen=True, kw_only=True):
    """``asked`` stands for the statement, ``image`` as in ``Redo``."""

    image: str
    asked: str
    set_guid: UUID
    records: int
    pages: int
    size: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A restore that begins, or goes on. ``missing`` is the file that RESTART should have found."""

    image: Path
    restart: Restart
    file: Path
    missing: Path | None = None

    def end(self, *, failed: bool) -> None:
        """The image is complete, or the attempt failed: then only what is to be gone on with stays."""
        if not (failed and self.image.exists() and self.file.exists()):
            self.file.unlink(missing_ok=True)

    @property
    def is_kept(self) -> bool:
        """Whether the image is to be gone on with."""
        return self.file.exists()


def begin(
    env: CommandEnvironment,
    name: str,
    device: DeviceSet,
    info: SetInfo,
    options: RestoreOptions,
) -> Attempt:
    """For the restore of the full set ``info``. What an earlier attempt left goes, unless this one goes on
    with it. Raises CommandError 3019, OSError."""
    file = checkpoint_file(env, name)
    noted = _read(env, file)
    asked = _asked(name, device, options)
    set_guid = info.header.description.set_guid
    at: RestartPoint | None = None
    if options.restart and noted is not None:
        if (noted.asked, noted.set_guid) != (asked, set_guid):
            raise fail(3019, file)
        image = env.catalog.store / noted.image
        at = RestartPoint(noted.records, noted.pages, noted.size)
    else:
        forget(env, name)
        image = new_image(env)

    def save(point: RestartPoint) -> None:
        content = _Noted(
            image=image_name(env, image),
            asked=asked,
            set_guid=set_guid,
            records=point.records,
            pages=point.pages,
            size=point.size,
        )
        replace_durably(file, msgspec.json.encode(content))

    missing = file if options.restart and noted is None else None
    return Attempt(image, Restart(save, at, env.restart_bytes), file, missing)


def forget(env: CommandEnvironment, name: str) -> None:
    """What an interrupted restore of the name left goes. Raises OSError."""
    file = checkpoint_file(env, name)
    noted = _read(env, file)
    file.unlink(missing_ok=True)
    if noted is not None:
        (env.catalog.store / noted.image).unlink(missing_ok=True)


def kept_files(env: CommandEnvironment) -> set[Path]:
    """The checkpoint files that an image belongs to, and those images."""
    found: set[Path] = set()
    for file in (env.catalog.store / IMAGES).glob(f"*{SUFFIX}"):
        noted = _read(env, file)
        if noted is not None:
            found |= {file, env.catalog.store / noted.image}
    return found


def checkpoint_file(env: CommandEnvironment, name: str) -> Path:
    """The name of the restart-checkpoint file, whether it is there or not."""
    return env.catalog.store / IMAGES / f"{encode_name(name_key(name))}{SUFFIX}"


def _read(env: CommandEnvironment, file: Path) -> _Noted | None:
    """None also for one whose image has gone."""
    with contextlib.suppress(FileNotFoundError, msgspec.DecodeError):
        noted = msgspec.json.decode(file.read_bytes(), type=_Noted)
        if (env.catalog.store / noted.image).exists():
            return noted
    return None


def _asked(name: str, device: DeviceSet, options: RestoreOptions) -> str:
    """Two statements that ask for the same have the same; how progress is told does not count."""
    plain = replace(options, restart=False, stats=None)
    devices = [one.name for one in device.devices]
    return hashlib.sha256(repr((name_key(name), devices, plain)).encode()).hexdigest()

"""RESTORE DATABASE in one step, and RESTORE VERIFYONLY: a backup set, every byte checked, as a database."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.backup.errors import OperationCancelled, TargetExists, WrongSet
from tdsproxy.backup.image import (
    OnDamage,
    build_image,
    check_content,
    check_space,
    roll_own_log,
    target_error,
)
from tdsproxy.backup.media_set import Progress, no_progress
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import FULL
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.set_reader import open_media
from tdsproxy.store import crashpoints
from tdsproxy.store.errors import DatabaseBusy, InstallFailed
from tdsproxy.store.install import image_path, install_new, replace_live


@dataclass(frozen=True, slots=True)
class RestoreResult:
    """A database that is restored and durable at ``path``.

    ``undo`` is a copy of the content that was replaced, None for a new database.
    """

    path: Path
    info: SetInfo
    undo: Path | None
    converted_page_size: bool
    seconds: float


def restore_database(
    device: Devices,
    position: int,
    target: Path,
    *,
    replace: bool = False,
    keep_undo: bool = True,
    busy_milliseconds: int = 5_000,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
) -> RestoreResult:
    """Make the full backup at ``position`` the database file ``target``.

    The file is built beside, under a temporary name, and checked: seals, page order and count, digest over
    the whole content. Only then is it put in place: a new name by a rename, an existing database (only with
    ``replace``) through SQLite in one transaction. When it raises, the target is what it was. ``progress``
    gets (bytes done, bytes in all) of the content. Raises OperationCancelled, TargetExists, TargetError,
    InsufficientSpace, WrongSet, MediaError, StoreError (DatabaseBusy: others hold the target).
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    with open_media(device) as reader:
        place = reader.find(position)
        info = reader.info(place)
        if info.header.description.backup_type != FULL:
            raise WrongSet(info.header.description.backup_type)
        existing = target.exists()
        if existing and not replace:
            raise TargetExists(target)
        check_space(target, info.header.image, existing)
        image = image_path(target)
        try:
            build_image(reader, place, info, image, progress, stop)
            roll_own_log(reader, place, info, image, stop)
            crashpoints.reach("restore.image-ready")
            if stop.is_set():
                raise OperationCancelled("the restore was cancelled")
            if existing:
                installed = replace_live(
                    image,
                    target,
                    keep_undo=keep_undo,
                    busy_milliseconds=busy_milliseconds,
                    cancelled=stop.is_set,
                )
            else:
                installed = install_new(image, target)
        except (InstallFailed, DatabaseBusy) as error:
            if stop.is_set():
                raise OperationCancelled("the restore was cancelled") from error
            raise
        except OSError as error:
            raise target_error(target, error) from error
        finally:
            with contextlib.suppress(OSError):
                image.unlink(missing_ok=True)
    return RestoreResult(
        installed.path, info, installed.undo, installed.converted_page_size, time.monotonic() - begun
    )


def verify_set(
    device: Devices,
    position: int,
    *,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
    on_damage: OnDamage | None = None,
) -> SetInfo:
    """Read the whole set at ``position`` and check everything, as a restore would, without writing.

    With ``on_damage`` the check goes on behind damaged pages. Raises OperationCancelled, MediaError,
    KeyMissing.
    """
    stop = cancel if cancel is not None else threading.Event()
    with open_media(device) as reader:
        place = reader.find(position)
        info = reader.info(place)
        check_content(reader, place, info, progress, stop, on_damage)
        return info

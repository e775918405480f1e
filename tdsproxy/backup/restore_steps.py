"""The steps of a restore that ends later: a full set makes an image, differential and log sets roll it on.

An image is a SQLite file that nobody has open. Each step is durable when it returns. A step that raises or is
killed leaves an image that is of no state: a full step is begun again with another path, any other is
repeated with the same set, and with the same or a later stop (message 4319); page images are whole, so what
was written before does no harm. Who keeps the image notes that before the step (``unfinished``).
"""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdsproxy.backup.errors import WrongSet
from tdsproxy.backup.image import (
    OnDamage,
    build_image,
    check_space,
    only_pages,
    roll_forward,
    roll_own_log,
    target_error,
    transactions,
    write_changed_pages,
    write_single_pages,
)
from tdsproxy.backup.media_set import Progress, final_last_lsn, no_progress
from tdsproxy.backup.restart import Restart
from tdsproxy.log.roll import RollResult, StopAt
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import CHANGES, LOG, WHOLE
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.set_reader import open_media
from tdsproxy.store import crashpoints

_BLOCK: Final = 512
"""The unit of ``st_blocks``."""


@dataclass(frozen=True, slots=True)
class ImageResult:
    """An image that is at the set's LastLSN. ``seconds`` is the time it took."""

    info: SetInfo
    seconds: float


@dataclass(frozen=True, slots=True)
class LogApplied:
    """A log set that was rolled forward, up to the stop.

    ``redo_lsn`` is where the log is needed next: the set's LastLSN, or the end of the last transaction before
    the stop. ``consistent_ns`` is when the last transaction in the image was committed (None: not known).
    ``reached`` tells that the stop lies within what the set covers; without a stop it is true.
    """

    info: SetInfo
    redo_lsn: int
    consistent_ns: int | None
    reached: bool
    transactions: int
    pages_written: int
    seconds: float


def restore_image(
    device: Devices,
    position: int,
    image: Path,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
    on_damage: OnDamage | None = None,
    restart: Restart | None = None,
) -> ImageResult:
    """Make the full set at ``position`` the new file ``image``, at the set's LastLSN.

    When it raises, there is no such file, unless ``restart`` keeps it to go on later. Damaged pages that
    ``on_damage`` is told of are zeros. Raises
    OperationCancelled, TargetError, InsufficientSpace, WrongSet, MediaError.
    """
    begun = time.monotonic()
    with open_media(device) as reader:
        place = reader.find(position)
        info = _expect(reader.info(place), WHOLE)
        begun_before = restart is not None and restart.at.records > 0
        there = _allocated(image) if begun_before else 0
        check_space(image, info.header.image, False, there)
        try:
            build_image(reader, place, info, image, progress, cancel, on_damage, restart)
            crashpoints.reach("restore.image-built")
            roll_own_log(reader, place, info, image, cancel)
            crashpoints.reach("restore.image-rolled")
        except BaseException as error:
            if restart is None or not restart.keeps(error):
                # What went wrong is to be seen.
                with contextlib.suppress(OSError):
                    image.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise target_error(image, error) from error
            raise
        return ImageResult(info, time.monotonic() - begun)


def restore_pages(
    device: Devices,
    position: int,
    image: Path,
    numbers: frozenset[int],
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
) -> ImageResult:
    """Put these pages of the full or differential set at ``position``, as they are at its LastLSN, into the
    file ``image``, which holds nothing else.

    Raises OperationCancelled, TargetError, WrongSet, MediaError; the file is then of no state.
    """
    begun = time.monotonic()
    with open_media(device) as reader:
        place = reader.find(position)
        info = reader.info(place)
        if info.header.description.backup_type == LOG:
            raise WrongSet(LOG)
        try:
            write_single_pages(reader, place, info, image, numbers, progress, cancel)
        except OSError as error:
            raise target_error(image, error) from error
        return ImageResult(info, time.monotonic() - begun)


def apply_differential(
    device: Devices,
    position: int,
    image: Path,
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
    on_damage: OnDamage | None = None,
) -> ImageResult:
    """Bring ``image``, in which the base of the differential set at ``position`` was restored, and maybe an
    earlier differential, to the set's LastLSN.

    Raises as ``restore_image``; WrongSet and a set that cannot be found leave the image alone.
    """
    begun = time.monotonic()
    with open_media(device) as reader:
        place = reader.find(position)
        info = _expect(reader.info(place), CHANGES)
        try:
            write_changed_pages(reader, place, info, image, progress, cancel, on_damage)
            crashpoints.reach("restore.differential-written")
            roll_own_log(reader, place, info, image, cancel)
            crashpoints.reach("restore.differential-rolled")
        except OSError as error:
            raise target_error(image, error) from error
        return ImageResult(info, time.monotonic() - begun)


def apply_log(
    device: Devices,
    position: int,
    image: Path,
    first_lsn: int,
    stop: StopAt | None = None,
    *,
    only: frozenset[int] | None = None,
    cancel: threading.Event | None = None,
) -> LogApplied:
    """Roll ``image``, which is at ``first_lsn``, forward through the log set at ``position``; of its pages
    ``only`` these, where they are given.

    The set must begin at ``first_lsn`` or before. Nothing is written before the set's index is checked,
    and of each page only the last image is. Raises as ``restore_image``, and LogError when page sizes differ.
    """
    begun = time.monotonic()
    with open_media(device) as reader:
        place = reader.find(position)
        info = _expect(reader.info(place), frozenset({LOG}))
        log = transactions(LogReader(reader, place, info), first_lsn)
        if only is not None:
            log = only_pages(log, only)
        try:
            result = roll_forward(image, log, stop, cancel)
        except OSError as error:
            raise target_error(image, error) from error
        crashpoints.reach("restore.log-rolled")
    return _applied(info, result, first_lsn, stop, time.monotonic() - begun)


def _applied(
    info: SetInfo, result: RollResult, first_lsn: int, stop: StopAt | None, seconds: float
) -> LogApplied:
    trailer = info.trailer
    reached = result.reached
    if stop is not None and stop.time_ns is not None and trailer.through_ns is not None:
        # No later transaction is in the set, but it is known that there was none until then.
        reached = reached or stop.time_ns <= trailer.through_ns
    complete = stop is None or not result.reached
    end = max(first_lsn, final_last_lsn(info.header, trailer) if complete else result.last_lsn or 0)
    consistent = result.last_committed_ns
    if consistent is None and complete:
        consistent = trailer.consistent_ns
    return LogApplied(info, end, consistent, reached, result.transactions, result.pages_written, seconds)


def _allocated(image: Path) -> int:
    """Bytes that the file has of its file system."""
    try:
        return image.stat().st_blocks * _BLOCK
    except OSError as error:
        raise target_error(image, error) from error


def _expect(info: SetInfo, kinds: frozenset[int]) -> SetInfo:
    if info.header.description.backup_type not in kinds:
        raise WrongSet(info.header.description.backup_type)
    return info

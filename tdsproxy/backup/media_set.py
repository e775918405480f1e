"""Writing one backup set onto its media: what all kinds of backup have in common.

The media are locked, looked at, and then either the set is appended or they are replaced; see ``format`` for
what makes a set exist.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.media_plan import MediaPlan, MediumPlan, plan
from tdsproxy.backup.options import BackupOptions
from tdsproxy.backup.set_sink import SetSink
from tdsproxy.log.records import Transaction
from tdsproxy.media.device import LockedMedium, MediaDevice, WriteHandle
from tdsproxy.media.device_set import Devices, device_set
from tdsproxy.media.documents import ContentFacts, MediaHeader, SetHeader, SetTrailer
from tdsproxy.media.errors import DeviceCancelled, DeviceError
from tdsproxy.media.pace import Pace, PacedWriter
from tdsproxy.media.replacement import finish_replacement
from tdsproxy.media.writer import SetWriter, write_media_header
from tdsproxy.store import crashpoints
from tdsproxy.store.errors import DatabaseBusy

Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Nobody wants to know."""
    del done, total


@dataclass(frozen=True, slots=True)
class BackupResult:
    """A backup set that is durable. ``seconds`` is the time it took. ``media`` is the label of the first
    medium, ``written`` those of all with their devices' names: of each copy, in the order of the families."""

    position: int
    media: MediaHeader
    header: SetHeader
    trailer: SetTrailer
    seconds: float
    written: tuple[tuple[tuple[str, MediaHeader], ...], ...] = ()

    @property
    def last_lsn(self) -> int:
        """The set's LastLSN: the end (exclusive) of what it restores."""
        return final_last_lsn(self.header, self.trailer)


def final_last_lsn(header: SetHeader, trailer: SetTrailer) -> int:
    """The trailer's LastLSN, which is known only when the set is complete; else the description's."""
    return trailer.last_lsn if trailer.last_lsn is not None else header.description.last_lsn


@dataclass(frozen=True, slots=True)
class LogTail:
    """The log that belongs to a set, up to ``last_lsn`` (exclusive).

    ``transactions`` are read once, in order. ``consistent_ns`` is when the last commit before ``last_lsn``
    happened (None: not known), and up to ``through_ns`` no commit happened that is not among them (None: up
    to ``consistent_ns``). Nanoseconds since 1970, UTC.
    """

    last_lsn: int
    transactions: Iterable[Transaction] = field(default=())
    consistent_ns: int | None = None
    through_ns: int | None = None


@dataclass(frozen=True, slots=True)
class SetEnd:
    """What is known of a set when its content is written."""

    last_lsn: int | None = None
    consistent_ns: int | None = None
    through_ns: int | None = None
    is_damaged: bool = False
    facts: ContentFacts | None = None


def write_set(
    devices: Devices,
    set_guid: uuid.UUID,
    options: BackupOptions,
    cancel: threading.Event | None,
    content: Callable[[SetSink], SetEnd],
    before_publish: Callable[[], None] = lambda: None,
) -> BackupResult:
    """Write one set with the ``content``, durably.

    When it raises, whatever it wrote is gone and earlier sets are as they were. ``before_publish`` is called
    when the set is complete and synced but does not exist yet. Raises OperationCancelled, StoreError,
    MediaError, and what ``content``, ``before_publish`` and ``options.check`` raise.
    """
    stop = cancel if cancel is not None else threading.Event()
    begun = time.monotonic()
    found = device_set(devices)
    names = [device.name for device in found.all]
    finish_replacement(found.all)
    try:
        with contextlib.ExitStack() as held:
            media = _lock(held, found.all, stop)
            planned = plan(media, names, 1 + len(found.mirrors), options)
            handles = [
                [_begin(media[number], how, found.pace) for number, how in copy] for copy in planned.media
            ]
            first = planned.first
            with SetSink(
                [[SetWriter(handle, planned.position, set_guid) for handle in copy] for copy in handles],
                [[how.header for _, how in copy] for copy in planned.media],
                set_guid,
                options.codec if first.compressed else None,
                options.sealing,
                stop,
                options.buffers,
            ) as sink:
                end = content(sink)
                if sink.header is None:
                    raise ValueError("the content wrote no header")
                trailer = sink.finish(
                    is_damaged=end.is_damaged,
                    last_lsn=end.last_lsn,
                    last_valid_restore_time=moment(end.through_ns),
                    consistent_ns=end.consistent_ns,
                    through_ns=end.through_ns,
                    facts=end.facts,
                )
                crashpoints.reach("backup.trailer-written")
                _finish(handles, sink, stop, before_publish)
    except DeviceCancelled as error:
        raise OperationCancelled(str(error)) from error
    except DatabaseBusy as error:
        if stop.is_set():
            raise OperationCancelled(str(error)) from error
        raise
    return BackupResult(
        planned.position, first, sink.header, trailer, time.monotonic() - begun, _written(planned, names)
    )


def _lock(
    held: contextlib.ExitStack, devices: Sequence[MediaDevice], stop: threading.Event
) -> list[LockedMedium]:
    """All media, each locked; always in the same order, so that no two backups wait for each other."""
    seen: dict[str, MediaDevice] = {}
    for device in devices:
        identity = device.identity
        if identity is not None:
            if identity in seen:
                raise DeviceError(device.name, "lock", errno.EBUSY, os.strerror(errno.EBUSY))
            seen[identity] = device
    locked: dict[int, LockedMedium] = {}
    for number in sorted(range(len(devices)), key=lambda number: devices[number].identity or ""):
        locked[number] = held.enter_context(devices[number].lock(stop.is_set))
    return [locked[number] for number in range(len(devices))]


def _begin(medium: LockedMedium, how: MediumPlan, pace: Pace | None) -> WriteHandle:
    handle = medium.replace() if how.end is None else medium.append(how.end)
    if pace is not None:
        handle = PacedWriter(handle, pace)
    for anchor in how.adopt:
        handle.patch(anchor.offset, anchor.pack())
    if how.new_header:
        write_media_header(handle, how.header)
    return handle


def _finish(
    handles: Sequence[Sequence[WriteHandle]],
    sink: SetSink,
    stop: threading.Event,
    before_publish: Callable[[], None],
) -> None:
    def sync(copy: int, family: int) -> None:
        handles[copy][family].sync()

    def publish(copy: int, family: int) -> None:
        handles[copy][family].publish()

    sink.everywhere(sync)
    crashpoints.reach("backup.synced")
    before_publish()
    if stop.is_set():
        raise OperationCancelled("the backup was cancelled")
    for copy in sink.writers:
        for writer in copy:
            writer.close()
            crashpoints.reach("backup.closed")
    sink.everywhere(sync)
    crashpoints.reach("backup.before-publish")
    sink.everywhere(publish)
    crashpoints.reach("backup.published")


def _written(planned: MediaPlan, names: Sequence[str]) -> tuple[tuple[tuple[str, MediaHeader], ...], ...]:
    return tuple(tuple((names[number], how.header) for number, how in copy) for copy in planned.media)


def moment(ns: int | None) -> dt.datetime | None:
    """The local time, with its offset, of nanoseconds since 1970."""
    if ns is None:
        return None
    return dt.datetime.fromtimestamp(ns // 1_000_000_000, dt.UTC).astimezone() + dt.timedelta(
        microseconds=ns % 1_000_000_000 // 1000
    )

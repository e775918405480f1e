"""What all kinds of BACKUP have in common: how the medium is written, the history, the last message."""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Final

import apsw

from tdsproxy.backup import operations
from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.catalog.configurations import BACKUP_COMPRESSION_ALGORITHM, BACKUP_COMPRESSION_DEFAULT
from tdsproxy.commands.backup_options import URL_TYPE, BackupOptions, same_medium, stored_algorithm
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import SHOWN_PAGE, backup_rows
from tdsproxy.commands.key_encryption import sealing_of
from tdsproxy.commands.messages import message
from tdsproxy.media.codecs import ALGORITHMS, DEFAULT_ALGORITHM, Compression
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.errors import MediaError
from tdsproxy.media.format import RUN_BYTES
from tdsproxy.media.sealing import SetSealing
from tdsproxy.tsql.replies import Reply

LOG_PAGES: Final = 2
"""What is counted for the log file of a full or differential set."""

_DISK_BLOCK: Final = 512
_URL_BLOCK: Final = 65536
# 0 is the default, 1 MS_XPRESS and 2 QAT_DEFLATE, for both of which ZSTD is used here.
_ALGORITHM_NUMBERS: Final = {3: "ZSTD"}
_log = logging.getLogger(__name__)


def media_options(
    context: Context, device: DeviceSet, options: BackupOptions, sealing: SetSealing | None
) -> operations.BackupOptions:
    """How the media are to be written."""
    return operations.BackupOptions(
        init=options.init,
        format=options.format,
        compression=_compression(context, device, options),
        codec=_codec(context, options),
        media_name=options.media_name,
        media_description=options.media_description,
        block_size=options.block_size or (_URL_BLOCK if options.device_type == URL_TYPE else _DISK_BLOCK),
        check=_MediumCheck(options, context.env.clock()),
        sealing=sealing,
        buffers=options.buffer_count,
        run_bytes=min(options.max_transfer_size or RUN_BYTES, RUN_BYTES),
    )


def encryption(context: Context, options: BackupOptions) -> Generator[Reply, None, SetSealing | None]:
    """What ENCRYPTION asks for, after its warnings. Raises CommandError."""
    if options.encryption is None:
        return None
    sealing, warnings = sealing_of(context, options.encryption)
    yield from warnings
    return sealing


def record(context: Context, result: operations.BackupResult) -> None:
    """msdb's rows of a backup."""
    files = result.header.description.files
    labels = [label for copy in result.written for label in copy]
    rows = backup_rows(
        result.media, result.position, result.header, result.trailer, files, labels, context.logical_names
    )
    context.env.catalog.history.record_backup(rows)


def recorded(context: Context, record: Callable[[], object]) -> Iterator[Reply]:
    """Writes history. The operation itself stays a success when msdb cannot take the rows: 3009 says so."""
    try:
        record()
    except apsw.Error as error:
        _log.error("the history could not be written: %s", error)
        yield message(3009, line=context.request.line)


def summary(context: Context, what: str, pages: int, seconds: float) -> Iterator[Reply]:
    """3014: pages, time and throughput."""
    milliseconds = max(1, round(seconds * 1000))
    rate = pages * SHOWN_PAGE * 1_000_000 // (milliseconds * 1048576)
    yield from context.info(
        3014, what, pages, milliseconds // 1000, milliseconds % 1000, rate // 1000, rate % 1000
    )


@dataclass(frozen=True, slots=True)
class _MediumCheck:
    """What forbids a backup onto the medium that is there: an unexpired set, or another media name."""

    options: BackupOptions
    now: dt.datetime

    def __call__(self, device: str, info: MediaInfo | None) -> None:
        """Raises CommandError 4037, 4030."""
        if info is None or self.options.skip:
            return
        wanted = self.options.media_name
        if not same_medium(wanted, info.header.name):
            raise fail(4037, wanted, info.header.name or "", device)
        if not self.options.init:
            return
        dates = [item.header.description.expires for item in info.sets]
        last = max((date.replace(tzinfo=None) for date in dates if date is not None), default=None)
        if last is not None and last > self.now:
            raise fail(4030, device, _expiry_text(last))


def _expiry_text(moment: dt.datetime) -> str:
    """As style 109 of CONVERT writes it, the form of message 4030."""
    hour = moment.hour % 12 or 12
    half = "AM" if moment.hour < 12 else "PM"
    return (
        f"{moment:%b} {moment.day:>2} {moment.year} {hour:>2}:{moment:%M:%S}:"
        f"{moment.microsecond // 1000:03}{half}"
    )


def _codec(context: Context, options: BackupOptions) -> Compression:
    """What is used where the set is compressed: what the statement names, else the server's option."""
    if options.algorithm is not None:
        return Compression.of(stored_algorithm(options.algorithm), options.level)
    number = context.env.catalog.configurations.in_use(BACKUP_COMPRESSION_ALGORITHM)
    name = _ALGORITHM_NUMBERS.get(number, DEFAULT_ALGORITHM)
    return Compression.of(name if name in ALGORITHMS else DEFAULT_ALGORITHM)


def _compression(context: Context, device: DeviceSet, options: BackupOptions) -> bool | None:
    """None leaves it to the medium, where there is one; a new one follows the server's option."""
    if options.compression is not None:
        return options.compression
    if not context.env.catalog.configurations.in_use(BACKUP_COMPRESSION_DEFAULT):
        return None
    if options.format:
        return True
    try:
        operations.read_headers(device)
    except MediaError:
        return True
    return None

"""BACKUP LOG: the transactions of a stretch of the log, as a backup set on a medium."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator

import msgspec

from tdsproxy.backup.media_set import (
    BackupResult,
    Progress,
    SetEnd,
    no_progress,
    write_set,
)
from tdsproxy.backup.options import BackupOptions
from tdsproxy.backup.set_sink import SetSink
from tdsproxy.log.records import Transaction
from tdsproxy.media.device_set import Devices
from tdsproxy.media.documents import LOG, Image, SetDescription

_DEFAULT_PAGE_SIZE = 4096


def backup_log(
    transactions: Iterable[Transaction],
    device: Devices,
    description: SetDescription,
    options: BackupOptions = BackupOptions(),
    progress: Progress = no_progress,
    cancel: threading.Event | None = None,
    *,
    through_ns: int | None = None,
    consistent_ns: int | None = None,
) -> BackupResult:
    """Back up ``transactions``, all those from ``description.first_lsn`` up to ``description.last_lsn``.

    They are read once, in order, one after the other; there may be none. Streams in constant memory: a
    transaction's pages may be fetched while they are iterated. Up to ``through_ns`` no commit happened that
    is not among them; ``consistent_ns`` is when the last commit before LastLSN happened, needed only when
    there are no transactions. ``progress`` gets (bytes done, bytes done): the whole is not known. Durable, or
    without a trace, as ``backup_database``. Raises OperationCancelled, MediaError, and what reading the
    transactions and ``options.check`` raise.
    """
    if description.backup_type != LOG:
        description = msgspec.structs.replace(description, backup_type=LOG)

    def content(sink: SetSink) -> SetEnd:
        rest: Iterator[Transaction] = iter(transactions)
        first = next(rest, None)
        page_size = first.page_size if first is not None else _DEFAULT_PAGE_SIZE
        sink.write_header(description, Image(page_size=page_size, page_count=0, wal=True))
        done = 0

        def written(size: int) -> None:
            nonlocal done
            done += size
            progress(done, done)

        found = itertools.chain([first], rest) if first is not None else rest
        last_ns = sink.write_log(found, written)
        consistent = last_ns if last_ns is not None else consistent_ns
        through = [ns for ns in (consistent, through_ns) if ns is not None]
        return SetEnd(description.last_lsn, consistent, max(through) if through else None)

    return write_set(device, description.set_guid, options, cancel, content)

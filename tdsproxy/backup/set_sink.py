"""An open backup set on all its media, written in parallel: a thread for each medium."""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import itertools
import threading
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from types import TracebackType
from typing import Final, TypeVar

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.pipeline import DEPTH, ordered_map
from tdsproxy.log.records import Transaction
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Compression, Compressor
from tdsproxy.media.documents import (
    ContentFacts,
    FamilyContent,
    Image,
    MediaHeader,
    SetDescription,
    SetHeader,
    SetTrailer,
)
from tdsproxy.media.log_blocks import LogBlock, pack_blocks
from tdsproxy.media.sealing import SetSealing
from tdsproxy.media.writer import EncodedRecord, Encoder, SetWriter, WholeSet, slot_of, stored_size
from tdsproxy.store import crashpoints

_Item = TypeVar("_Item")

_LANE_DEPTH: Final = 3
"""Records that wait to be written, for each family; all together at most ``_MOST_WAITING``."""
_MOST_WAITING: Final = 12


@dataclass(frozen=True, slots=True)
class Pages:
    """``count`` pages from ``first`` on, or, when ``kind`` says so, a list of as many. ``buffer``, from
    ``SetSink.buffer``, is what ``data`` lies in."""

    first: int
    count: int
    data: memoryview
    kind: int = layout.PAGES
    buffer: memoryview | None = None


class SetSink:
    """For the content of one kind of backup: the header, then pages, then log.

    ``writers`` are those of each copy of the media set, each in the order of the families; ``media`` are
    their headers. Memory is bounded, however many media there are. To be closed before the media are.
    """

    def __init__(
        self,
        writers: Sequence[Sequence[SetWriter]],
        media: Sequence[Sequence[MediaHeader]],
        set_guid: uuid.UUID,
        compression: Compression | None,
        sealing: SetSealing | None,
        stop: threading.Event,
        buffers: int | None = None,
    ) -> None:
        self.writers = writers
        self.set_guid = set_guid
        self.header: SetHeader | None = None
        self.encoder = Encoder(set_guid, Compressor(compression), sealing.cipher if sealing else None)
        self._media = media
        self._compression = compression
        self._sealing = sealing
        self._stop = stop
        self._families = len(writers[0])
        self._lanes = [[ThreadPoolExecutor(1, thread_name_prefix="medium") for _ in copy] for copy in writers]
        self._waiting: deque[tuple[list[Future[None]], memoryview | None]] = deque()
        self._most_waiting = min(_MOST_WAITING, _LANE_DEPTH * self._families)
        self._depth = DEPTH
        if buffers is not None:
            # Two more are in hand: the one that is being filled, the one that is handed on.
            shared = max(2, buffers - 2)
            self._depth = min(self._depth, max(1, shared // 2))
            self._most_waiting = min(self._most_waiting, max(1, shared - self._depth))
        self._buffers: list[memoryview] = []
        self.most_buffers = self._buffers_left = self._depth + self._most_waiting + 2
        self._next = 0
        self._contents = hashlib.sha256()
        self._runs = self._pages = self._blocks = self._transactions = 0
        self._raw = 0

    # Content

    def write_header(self, description: SetDescription, image: Image) -> None:
        """To be called first."""
        started = now()
        for writers, media in zip(self.writers, self._media, strict=True):
            for writer, medium in zip(writers, media, strict=True):
                header = SetHeader(
                    description=description,
                    image=image,
                    started=started,
                    compression=self._compression.algorithm if self._compression else None,
                    compression_level=self._compression.level if self._compression else None,
                    encryption=self._sealing.envelope if self._sealing else None,
                    family_count=medium.family_count,
                    family_sequence=medium.family_sequence,
                )
                writer.write_header(header)
                self.header = self.header or header
        crashpoints.reach("backup.header-written")

    def check_cancelled(self) -> None:
        """Raises OperationCancelled."""
        if self._stop.is_set():
            raise OperationCancelled("the backup was cancelled")

    def buffer(self, size: int) -> memoryview:
        """Memory for pages, to be given back by writing them; ``size`` is always the same."""
        while not self._buffers:
            if self._buffers_left:
                self._buffers_left -= 1
                return memoryview(bytearray(size))
            self._settle_oldest()
        return self._buffers.pop()

    def write_pages(
        self,
        pages: Iterable[Pages],
        written: Callable[[EncodedRecord], None],
        note: Callable[[Pages], None] | None = None,
    ) -> None:
        """Runs or lists in ascending order. ``note`` is called with each in a working thread. Raises what the
        iteration raises, OperationCancelled, MediaError."""

        def encode(numbered: tuple[int, Pages]) -> tuple[EncodedRecord, memoryview | None]:
            number, item = numbered
            if note is not None:
                note(item)
            slot = slot_of(number, self._families)
            return self.encoder.pages(slot, item.first, item.count, item.data, item.kind), item.buffer

        with contextlib.closing(ordered_map(encode, self._numbered(pages), depth=self._depth)) as encoded:
            for record, buffer in encoded:
                self._write(record, buffer)
                crashpoints.reach("backup.run-written")
                written(record)

    def write_log(
        self, transactions: Iterable[Transaction], written: Callable[[int], None] = lambda size: None
    ) -> int | None:
        """The log behind the pages; returns the time of its last commit. ``written`` gets the bytes of each
        block. Raises what reading the transactions raises, OperationCancelled, MediaError."""

        def encode(numbered: tuple[int, LogBlock]) -> tuple[EncodedRecord, int]:
            number, block = numbered
            return self.encoder.log(slot_of(number, self._families), block), block.last_ns

        last_ns: int | None = None
        blocks = self._numbered(pack_blocks(transactions))
        with contextlib.closing(ordered_map(encode, blocks, depth=self._depth)) as encoded:
            for record, ns in encoded:
                self._write(record, None)
                crashpoints.reach("backup.log-written")
                last_ns = ns
                written(record.header.raw_length)
        return last_ns

    def _numbered(self, items: Iterable[_Item]) -> Generator[tuple[int, _Item], None, None]:
        for numbered in zip(itertools.count(self._next), items):
            self.check_cancelled()
            yield numbered

    def _write(self, record: EncodedRecord, buffer: memoryview | None) -> None:
        family = self._next % self._families
        futures = [
            lanes[family].submit(writers[family].write, record)
            for lanes, writers in zip(self._lanes, self.writers, strict=True)
        ]
        if buffer is not None and not record.borrowed:
            self._buffers.append(buffer)
            buffer = None
        self._waiting.append((futures, buffer))
        if len(self._waiting) > self._most_waiting:
            self._settle_oldest()
        head = record.header
        self._contents.update(head.content_digest)
        self._raw += head.raw_length
        if record.block is None:
            self._runs += 1
            self._pages += head.count
        else:
            self._blocks += 1
            self._transactions += head.count
        self._next += 1

    def _settle_oldest(self) -> None:
        futures, buffer = self._waiting.popleft()
        for future in futures:
            future.result()
        if buffer is not None:
            self._buffers.append(buffer)

    # The end

    def finish(
        self,
        *,
        is_damaged: bool,
        last_lsn: int | None,
        last_valid_restore_time: dt.datetime | None,
        consistent_ns: int | None,
        through_ns: int | None,
        facts: ContentFacts | None = None,
    ) -> SetTrailer:
        """Indexes and trailers onto all media. Returns the trailer of the first. Raises MediaError."""
        while self._waiting:
            self._settle_oldest()
        for copy in self.writers:
            for writer in copy:
                writer.write_index()
        content = FamilyContent(
            run_count=self._runs,
            page_count=self._pages,
            log_block_count=self._blocks,
            transaction_count=self._transactions,
            digest=self._contents.digest()[: layout.DIGEST_SIZE],
        )
        whole = WholeSet(
            finished=now(),
            content=content,
            families=self._families,
            backup_size=self._raw,
            stored_size=stored_size(self.writers[0]),
            is_damaged=is_damaged,
            last_lsn=last_lsn,
            last_valid_restore_time=last_valid_restore_time,
            consistent_ns=consistent_ns,
            through_ns=through_ns,
            facts=facts,
            sealed_digest=self.encoder.sealed_digest(content.digest),
        )
        trailers = [writer.write_trailer(whole) for copy in self.writers for writer in copy]
        return trailers[0]

    def everywhere(self, work: Callable[[int, int], None]) -> None:
        """``work`` with the numbers of copy and family, for all media at once. Raises what it raises
        first."""
        futures = [
            lane.submit(work, copy, family)
            for copy, lanes in enumerate(self._lanes)
            for family, lane in enumerate(lanes)
        ]
        for future in futures:
            future.result()

    def close(self) -> None:
        """No medium is written any more when this returns."""
        for lanes in self._lanes:
            for lane in lanes:
                lane.shutdown(wait=False, cancel_futures=True)
        for lanes in self._lanes:
            for lane in lanes:
                lane.shutdown(wait=True)

    def __enter__(self) -> SetSink:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def now() -> dt.datetime:
    """Now, with the offset from UTC."""
    return dt.datetime.now().astimezone()

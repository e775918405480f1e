"""The archive of one database's log on one recovery fork: ``STORE/log/DATABASE-GUID/FORK-GUID/*.seg``.

Segments (``segment.py``) are named by the LSN with which they begin. Records are only ever appended to the
last one; what is given up goes away by whole segments, oldest first. The end of the last segment may be
torn by a crash: what has no right seal there is dropped when the archive is opened to append, and the
position noted with the last whole record says from where the WAL has to be captured again. Who only reads
leaves everything as it is: somebody else may be writing there just now.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

import zstandard

from tdsproxy.log import codec, moments, segment
from tdsproxy.log import lsn as lsns
from tdsproxy.log.ahead import ahead
from tdsproxy.log.portions import load, portions
from tdsproxy.log.ranges import SegmentFile, records
from tdsproxy.log.reach import reach_of
from tdsproxy.log.records import Gap, LogError, LogGap, Transaction, WalPosition
from tdsproxy.log.segment import Kind, RecordHeader, SegmentHeader, SegmentReader
from tdsproxy.log.segment_writing import write_again, write_all
from tdsproxy.store import crashpoints
from tdsproxy.store.files import fsync_directory

SEGMENT_BYTES = 64 << 20
_LEVEL = 1
_SET_ASIDE = ".damaged"


_Item = tuple[Transaction, Sequence[tuple[int, bytes]]]


def _path(directory: Path, first_lsn: int) -> Path:
    return directory / f"{first_lsn:025d}{segment.SUFFIX}"


class Archive:
    """Append-only; one process, any number of reading threads, one that appends.

    All LSN ranges are half open: ``first_lsn`` belongs to them, ``last_lsn`` doesn't.
    """

    def __init__(
        self,
        directory: Path,
        database: uuid.UUID,
        fork: uuid.UUID,
        base_lsn: int,
        *,
        segment_bytes: int = SEGMENT_BYTES,
        promised_lsn: int = 0,
    ) -> None:
        """Opens the archive in ``directory``, or makes it, to begin at ``base_lsn``.

        A torn end of the last segment is dropped; no LSN that was in it is given again. When the archive ends
        before ``promised_lsn``, up to which it had been durable, a Gap is recorded. Without a ``base_lsn`` it
        is only read, up to the last whole record there is now, and nothing is changed: an end without one is
        passed over, and no directory is made. Raises ArchiveDamaged, OSError.
        """
        self.directory = directory
        self.database = database
        self.fork = fork
        self._appends = base_lsn > 0
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL)
        self._segments: list[SegmentFile] = []
        self._descriptor = -1
        # Full segments that are not durable yet.
        self._retired: list[tuple[int, SegmentFile]] = []
        # Whether the kernel may have dropped what it could not write: it tells of that once (fsync(2)).
        self._is_doubtful = False
        self._unsynced_directory = False
        self._unsynced = False
        self._last_lsn = base_lsn
        self._base_lsn = base_lsn
        self._last_ns = 0
        self._unbroken_since = base_lsn
        self._gaps: list[Gap] | None = []
        self._position: WalPosition | None = None
        self._is_old = False
        # Where the parts of a transaction begin that is not complete yet.
        self._parts_at: int | None = None
        # A gap that ends behind this LSN is to be written before anything else: see ``unlogged``.
        self.break_at: int | None = None
        # LSNs below may have been given; a damaged archive ends before.
        self.reach = base_lsn
        # Whether something that is no whole record was behind the last one when it was opened.
        self.was_torn = False
        self._open(promised_lsn)

    # ------------------------------------------------------------------ opening

    def _open(self, promised_lsn: int) -> None:
        if self._appends:
            self._make_directory()
        elif not self.directory.exists():
            return
        names = sorted(path for path in self.directory.iterdir() if path.suffix == segment.SUFFIX)
        self._segments = [SegmentFile(path, int(path.stem), path.stat().st_size) for path in names]
        while self._segments and not self._adopt_last():
            self._segments.pop()
        if self._segments:
            self._base_lsn = self._segments[0].first_lsn
            # Gaps of the earlier segments are looked up when somebody asks.
            self._gaps = None if len(self._segments) > 1 else self._gaps
        if not self._appends:
            return
        end = max(self.reach, self._last_lsn)
        if self._last_lsn < promised_lsn:
            after = lsns.advance(max(end, promised_lsn), 1)
            if self._segments:
                gap = Gap(self._last_lsn, after, time.time_ns(), "what the archive ended with is lost")
                self.append_gap(gap, self._position)
            else:
                self._base_lsn = self._last_lsn = self._unbroken_since = after
        elif end > self._last_lsn:
            from_lsn, self._last_lsn = self._last_lsn, end
            if self._segments:
                self._jump(from_lsn)

    def _make_directory(self) -> None:
        missing = [self.directory]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for directory in reversed(missing):
            directory.mkdir(mode=0o700, exist_ok=True)
            fsync_directory(directory.parent)

    def _adopt_last(self) -> bool:
        last = self._segments[-1]
        reader = SegmentReader(last.path)
        try:
            header = reader.header
            if header is None or (header.database, header.fork) != (self.database, self.fork):
                self._refuse(last, reader.end)
                return False
            end = whole = segment.HEADER_SIZE
            gaps: list[Gap] = []
            position, last_lsn, last_ns = None, header.first_lsn, header.last_committed_ns
            unbroken_since = header.unbroken_since
            for at, record in reader.records():
                if not reader.is_whole(at, record):
                    break
                end = at + record.size
                if record.kind is Kind.PART:
                    continue
                whole = end
                last_lsn, last_ns = record.end_lsn, max(last_ns, record.last_ns)
                position = record.position or position
                if record.kind is Kind.GAP:
                    gaps.append(_gap(reader, at, record))
                    unbroken_since = record.end_lsn
        finally:
            reader.close()
        self.was_torn = self.was_torn or whole < last.end
        if whole == segment.HEADER_SIZE:
            if self._appends:
                self.reach = max(self.reach, reach_of(last.path, whole, last_lsn))
                last.path.unlink()
                fsync_directory(self.directory)
            return False
        if self._appends:
            self._cut(last, whole, last_lsn)
        last.end = whole
        self._gaps = gaps
        self._position, self._unbroken_since = position, unbroken_since
        self._last_lsn, self._last_ns = last_lsn, last_ns
        return True

    def _cut(self, last: SegmentFile, whole: int, last_lsn: int) -> None:
        """Go on behind the last whole record."""
        self._descriptor = os.open(last.path, os.O_RDWR | os.O_CLOEXEC)
        if whole < last.end:
            self.reach = max(self.reach, reach_of(last.path, whole, last_lsn))
            os.ftruncate(self._descriptor, whole)
            os.fsync(self._descriptor)

    def _refuse(self, last: SegmentFile, size: int) -> None:
        """A file that is no segment of ours: a creation that a crash interrupted, or damage."""
        self.was_torn = True
        if not self._appends:
            return
        self.reach = max(self.reach, reach_of(last.path, 0, last.first_lsn))
        if size <= segment.HEADER_SIZE:
            last.path.unlink()
        else:
            last.path.rename(last.path.with_suffix(_SET_ASIDE))
        fsync_directory(self.directory)

    def _jump(self, from_lsn: int) -> None:
        """Without a gap the numbers have no holes: those that the catalog has given since, or that were in
        what a crash tore, are covered by nothing but numbers."""
        header = RecordHeader(
            Kind.POSITION, 0, 0, 0, from_lsn, self._last_lsn, self._last_ns, self._last_ns, 0, self._position
        )
        self._write(header, b"", b"")

    # ------------------------------------------------------------------ what is there

    def first_lsn(self) -> int:
        """From where on transactions can be read, gaps permitting."""
        with self._lock:
            return self._segments[0].first_lsn if self._segments else self._base_lsn

    def last_lsn(self) -> int:
        """The end of the log (exclusive): the LSN that the next transaction will have."""
        with self._lock:
            return self._last_lsn

    def last_committed_ns(self) -> int:
        """The time of the last transaction; 0 if there has been none."""
        with self._lock:
            return self._last_ns

    def position(self) -> WalPosition | None:
        """What of which WAL the archive ends with."""
        with self._lock:
            return self._position

    def gaps(self) -> Sequence[Gap]:
        """All gaps that are still in the archive, in order."""
        with self._lock:
            known = self._gaps
        if known is not None:
            return tuple(known)
        found: list[Gap] = []
        for reader, at, record in self._records(0, None, every=True):
            if record.kind is Kind.GAP:
                found.append(_gap(reader, at, record))
        with self._lock:
            self._gaps = found
        return tuple(found)

    def unbroken_since(self) -> int:
        """The LSN behind the last gap; without any, ``first_lsn()``."""
        with self._lock:
            first = self._segments[0].first_lsn if self._segments else self._base_lsn
            return max(first, self._unbroken_since)

    @property
    def unsynced(self) -> bool:
        """Whether something was appended since."""
        return self._unsynced

    def size(self) -> int:
        """Bytes on disk."""
        with self._lock:
            return sum(item.end for item in self._segments)

    # ------------------------------------------------------------------ reading

    def _files(self) -> list[SegmentFile]:
        """The segments as they are now."""
        with self._lock:
            return [SegmentFile(item.path, item.first_lsn, item.end) for item in self._segments]

    def _records(
        self, first_lsn: int, last_lsn: int | None, *, every: bool = False
    ) -> Iterator[tuple[SegmentReader, int, RecordHeader]]:
        """As ``ranges.records``, of what is there when it is begun."""
        yield from records(self._files(), first_lsn, last_lsn, every=every)

    def _check_range(self, first_lsn: int, last_lsn: int | None) -> int:
        end = self.last_lsn()
        last = end if last_lsn is None else last_lsn
        if first_lsn < self.first_lsn():
            raise LogGap(f"the log begins at {self.first_lsn()}, after {first_lsn}")
        if last > end or first_lsn > last:
            raise LogGap(f"the log ends at {end}, so there is no range from {first_lsn} to {last}")
        if first_lsn < self.unbroken_since():
            for gap in self.gaps():
                if gap.lsn < last and gap.next_lsn > first_lsn:
                    raise LogGap(f"the log is broken at {gap.lsn}: {gap.reason}", gap)
        return last

    def read(self, first_lsn: int, last_lsn: int | None = None) -> Iterator[Transaction]:
        """The transactions with ``first_lsn <= lsn < last_lsn`` (default: up to the end), in order.

        Raises LogGap, before the first one, when the range begins before the archive does, ends behind its
        end, or has a gap in it; ArchiveDamaged while reading.
        """
        last = self._check_range(first_lsn, last_lsn)
        return self._transactions(first_lsn, last)

    def _transactions(self, first_lsn: int, last_lsn: int) -> Iterator[Transaction]:
        parts: list[codec.Part] = []
        loaded = ahead(portions(self._records(first_lsn, last_lsn)), load)
        with contextlib.closing(loaded):
            for portion, contents in loaded:
                for (at, record), (entries, images) in zip(portion.records, contents, strict=True):
                    if record.kind is Kind.PART or parts:
                        parts.append(codec.Part(entries[0], portion.images(at, record)))
                        if record.kind is not Kind.PART:
                            yield codec.transaction_of(entries[0], codec.PartedPages(parts))
                            parts = []
                        continue
                    offset = 0
                    for entry in entries:
                        if first_lsn <= entry.lsn < last_lsn:
                            yield codec.transaction_of(entry, codec.page_list(entry, images, offset))
                        offset += entry.page_size * len(entry.numbers)

    def whole_ranges(self, first_lsn: int, last_lsn: int) -> list[tuple[int, int, int]]:
        """What of a range without gaps can be read, when reading all of it was in vain: undamaged segments,
        and the others up to the damage. (first LSN, last LSN, ns up to which no commit is missing)."""
        with self._lock:
            edges = [item.first_lsn for item in self._segments if first_lsn < item.first_lsn < last_lsn]
        found: list[tuple[int, int, int]] = []
        for begin, end in zip([first_lsn, *edges], [*edges, last_lsn], strict=True):
            reached, through_ns = begin, 0
            with contextlib.suppress(LogError, OSError):
                for reader, at, record in self._records(begin, end):
                    reader.entries(at, record)
                    if record.kind is Kind.BLOCK:
                        reached, through_ns = min(record.end_lsn, end), record.last_ns - 1
                reached = end
            if found and found[-1][1] == begin:
                begin, _, before_ns = found.pop()
                through_ns = max(through_ns, before_ns)
            if reached > begin:
                found.append((begin, reached, through_ns))
        return found

    def changed_pages(self, first_lsn: int, last_lsn: int | None = None) -> set[int]:
        """The numbers of the pages that the transactions of the range wrote. Raises as ``read``."""
        last = self._check_range(first_lsn, last_lsn)
        pages: set[int] = set()
        for reader, at, record in self._records(first_lsn, last):
            directory, _ = reader.body(at, record)
            for entry in codec.unpack_directory(directory):
                if first_lsn <= entry.lsn < last:
                    pages.update(entry.numbers)
        return pages

    def lsn_at(self, committed_ns: int) -> int:
        """The end (exclusive) of the last transaction committed at or before the time.

        ``first_lsn()`` when there is none.
        """
        return moments.lsn_at(self._files(), self.first_lsn(), committed_ns)

    def late_at(self, time_ns: int) -> tuple[int, int] | None:
        """Between which times the first transaction dated behind a moment was committed, if that can be
        before the moment."""
        return moments.late_at(self._files(), time_ns)

    def time_ranges(self) -> list[tuple[int, int, int, int]]:
        """The stretches without a gap: (first LSN, last LSN, first time, last time in ns), none empty."""
        return moments.time_ranges(self._files())

    # ------------------------------------------------------------------ appending

    def append(self, transactions: Sequence[Transaction], positions: Sequence[WalPosition]) -> None:
        """Transactions that follow the last one, with the position behind each of them.

        Not yet durable: see ``sync``. Raises OSError; some of the first may then have been taken, and
        ``position()`` says from where to go on.
        """
        self.drop_parts()
        pending: list[_Item] = []
        size = 0
        last = len(transactions) - 1
        for index, transaction in enumerate(transactions):
            pages = transaction.pages if isinstance(transaction.pages, list) else list(transaction.pages)
            pending.append((transaction, pages))
            size += transaction.page_size * len(pages)
            if size >= codec.BLOCK_BYTES or index == last:
                self._append_block(pending, positions[index])
                pending, size = [], 0

    def _append_block(self, block: Sequence[_Item], position: WalPosition) -> None:
        entries = (codec.entry_of(item, [number for number, _ in pages]) for item, pages in block)
        directory = b"".join(map(codec.pack_entry, entries))
        raw = b"".join([image for _, pages in block for _, image in pages])
        self._append(Kind.BLOCK, directory, raw, block[0][0], block[-1][0], len(block), position)

    def _append(
        self,
        kind: Kind,
        directory: bytes,
        raw: bytes,
        first: Transaction,
        last: Transaction,
        count: int,
        position: WalPosition | None,
    ) -> None:
        stored = self._compressor.compress(raw)
        header = RecordHeader(
            kind,
            len(directory),
            len(raw),
            len(stored),
            first.lsn,
            last.lsn if kind is Kind.PART else last.next_lsn,
            first.committed_ns,
            last.committed_ns,
            count,
            position,
        )
        self._write(header, directory, stored)

    def append_part(self, transaction: Transaction) -> None:
        """Pages of a transaction that is not complete: it counts only when ``append_last_part`` follows."""
        pages = list(transaction.pages)
        entry = codec.entry_of(transaction, [number for number, _ in pages], continues=True)
        if self._parts_at is None:
            self._rotate()
            self._parts_at = self._segments[-1].end if self._segments else segment.HEADER_SIZE
        raw = b"".join(image for _, image in pages)
        self._append(Kind.PART, codec.pack_entry(entry), raw, transaction, transaction, 0, None)

    def append_last_part(self, transaction: Transaction, position: WalPosition) -> None:
        """The last pages of a transaction in parts, and what it is as a whole."""
        self._append_block([(transaction, list(transaction.pages))], position)
        self._parts_at = None

    def drop_parts(self) -> None:
        """Forget the parts of a transaction that will not be completed. Raises OSError; as long as it does,
        nothing else is taken: what follows parts would count as the end of their transaction."""
        with self._lock:
            if self._parts_at is not None and self._segments:
                os.ftruncate(self._descriptor, self._parts_at)
                self._segments[-1].end = self._parts_at
            self._parts_at = None

    def append_gap(self, gap: Gap, position: WalPosition | None) -> None:
        """Durable when it returns. Raises OSError."""
        self.drop_parts()
        reason = gap.reason.encode("utf-8")
        header = RecordHeader(
            Kind.GAP, len(reason), 0, 0, gap.lsn, gap.next_lsn, gap.noticed_ns, 0, 0, position
        )
        self._write(header, reason, b"")
        self.sync()

    def note_position(self, position: WalPosition) -> None:
        """Where in which WAL the log goes on. Raises OSError."""
        self.drop_parts()
        lsn = self.last_lsn()
        self._write(
            RecordHeader(Kind.POSITION, 0, 0, 0, lsn, lsn, self._last_ns, self._last_ns, 0, position),
            b"",
            b"",
        )

    def _rotate(self) -> None:
        """Go on in a new segment when the last one is full."""
        if not self._segments or self._parts_at is not None:
            return
        if self._segments[-1].end < self._segment_bytes and not self._is_old:
            return
        self._is_old = False
        with self._lock:
            full = (self._descriptor, self._segments[-1])
            self._begin_segment()
            # Made durable by the next ``sync``: a capture has no time to wait for the disk.
            self._retired.append(full)
            self._unsynced = True
        if self._position is not None:
            self.note_position(self._position)

    def _begin_segment(self) -> None:
        header = SegmentHeader(
            self.database, self.fork, self._last_lsn, self._last_ns, self._unbroken_since
        ).pack()
        path = _path(self.directory, self._last_lsn)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            write_all(descriptor, [header], 0)
        except BaseException:
            os.close(descriptor)
            path.unlink()
            raise
        self._descriptor = descriptor
        self._segments.append(SegmentFile(path, self._last_lsn, len(header)))
        self._unsynced_directory = True

    def _write(self, header: RecordHeader, directory: bytes, stored: bytes) -> None:
        assert self._appends
        if header.kind is not Kind.POSITION:
            self._rotate()
        with self._lock:
            if not self._segments:
                self._begin_segment()
            last = self._segments[-1]
            head = header.pack()
            mark = segment.seal(self.database.bytes_le + self.fork.bytes_le, head, directory, stored)
            crashpoints.reach("log.append")
            try:
                write_all(self._descriptor, [head, directory, stored, mark], last.end)
            except OSError:
                # The rest of a full disk may hold a torn record; it would be dropped on opening, too.
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, last.end)
                raise
            last.end += header.size
            self._unsynced = True
            if header.kind is Kind.PART:
                return
            self._last_lsn = header.end_lsn
            self._last_ns = max(self._last_ns, header.last_ns)
            self._position = header.position
            if header.kind is Kind.GAP:
                self._unbroken_since = header.end_lsn
                if self._gaps is not None:
                    reason = directory.decode("utf-8")
                    self._gaps.append(Gap(header.first_lsn, header.end_lsn, header.first_ns, reason))

    def sync(self) -> None:
        """Everything appended before the call is durable when it returns; from any thread. Raises OSError."""
        with self._sync_lock:
            if self._unsynced:
                # What is appended meanwhile is the next call's, and need not wait for the disk.
                with self._lock:
                    self._unsynced = False
                    full = list(self._retired)
                    written = [*full, (self._descriptor, self._segments[-1])]
                crashpoints.reach("log.before-sync")
                try:
                    if self._is_doubtful:
                        with self._lock:
                            for descriptor, item in written:
                                write_again(descriptor, item.path, item.end)
                    for descriptor, _ in written:
                        os.fdatasync(descriptor)
                except OSError:
                    self._unsynced = self._is_doubtful = True
                    raise
                self._is_doubtful = False
                with self._lock:
                    del self._retired[: len(full)]
                for descriptor, _ in full:
                    os.close(descriptor)
                crashpoints.reach("log.after-sync")
            if self._unsynced_directory:
                self._unsynced_directory = False
                try:
                    fsync_directory(self.directory)
                except OSError:
                    self._unsynced_directory = True
                    raise

    # ------------------------------------------------------------------ giving up

    def truncate(self, before_lsn: int) -> int:
        """Gives up whole segments that end at or before ``before_lsn``; returns the bytes freed."""
        return self.trim(before_lsn, 0)

    def trim(self, before_lsn: int, keep_bytes: int, keep_since_ns: int = 0) -> int:
        """As ``truncate``, but oldest first and only while the archive is larger than ``keep_bytes`` or the
        segment's last transaction was committed before ``keep_since_ns``."""
        freed = 0
        while True:
            with self._lock:
                total = sum(item.end for item in self._segments)
                if len(self._segments) < 2 or self._segments[1].first_lsn > before_lsn:
                    break
                if total <= keep_bytes and not self._ended_before(keep_since_ns):
                    break
                oldest = self._segments.pop(0)
                if self._gaps is not None:
                    self._gaps = [gap for gap in self._gaps if gap.lsn >= self._segments[0].first_lsn]
            oldest.path.unlink(missing_ok=True)
            freed += oldest.end
        if freed:
            fsync_directory(self.directory)
        return freed

    def _ended_before(self, time_ns: int) -> bool:
        """Whether the first segment ends with a transaction that is older."""
        reader = SegmentReader(self._segments[1].path, self._segments[1].end)
        reader.close()
        return reader.header is not None and reader.header.last_committed_ns < time_ns

    def begin_segment_soon(self, begun_before_ns: int) -> None:
        """The next transaction begins a new segment if the last one begins with an older one: what is to go
        after some time must not lie in one segment with what is to stay. From any thread."""
        with self._lock:
            if not self._segments:
                return
            last = self._segments[-1]
        reader = SegmentReader(last.path, last.end)
        try:
            first = next((r for _, r in reader.records() if r.kind is Kind.BLOCK), None)
        finally:
            reader.close()
        self._is_old = first is not None and first.first_ns < begun_before_ns

    def close(self) -> None:
        """Sync and let go. May be called twice."""
        if self._descriptor >= 0:
            self.sync()
            with self._sync_lock:
                os.close(self._descriptor)
                self._descriptor = -1


def _gap(reader: SegmentReader, at: int, record: RecordHeader) -> Gap:
    reason, _ = reader.body(at, record)
    return Gap(record.first_lsn, record.end_lsn, record.first_ns, reason.decode("utf-8", "replace"))

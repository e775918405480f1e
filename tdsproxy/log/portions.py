"""Records of a segment that are read at once, ahead of who needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.log import codec
from tdsproxy.log.records import LogGap
from tdsproxy.log.segment import RecordHeader, SegmentReader


@dataclass(slots=True)
class Portion:
    """Some records of a segment, read at once."""

    path: Path
    end: int
    records: list[tuple[int, RecordHeader]]

    def images(self, at: int, record: RecordHeader) -> Callable[[], memoryview]:
        """Reads the images of one again, when they are needed: all parts of a transaction may be too many."""

        def images() -> memoryview:
            again = SegmentReader(self.path, self.end)
            try:
                return again.entries(at, record)[1]
            finally:
                again.close()

        return images


def portions(records: Iterable[tuple[SegmentReader, int, RecordHeader]]) -> Iterator[Portion]:
    """Records in portions of about 1 MiB before compression, each of one segment."""
    portion: Portion | None = None
    size = 0
    for reader, at, record in records:
        if portion is None or portion.path != reader.path or size >= codec.BLOCK_BYTES:
            if portion is not None:
                yield portion
            portion, size = Portion(reader.path, reader.end, []), 0
        portion.records.append((at, record))
        size += record.raw_length
    if portion is not None:
        yield portion


def load(portion: Portion) -> list[tuple[list[codec.Entry], memoryview]]:
    """The entries and images of each of its records. Raises OSError, ArchiveDamaged, LogGap."""
    try:
        reader = SegmentReader(portion.path, portion.end)
    except FileNotFoundError as error:
        raise LogGap(f"the log before {portion.path.name} has been given up") from error
    try:
        return [reader.entries(at, record) for at, record in portion.records]
    finally:
        reader.close()

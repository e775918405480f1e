from __future__ import annotations

import errno
import itertools
import os
import random
import uuid
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsproxy.log import archive as archive_module
from tdsproxy.log import codec, segment
from tdsproxy.log import lsn as lsns
from tdsproxy.log.ahead import ahead
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import ArchiveDamaged, Gap, LogGap, Transaction, WalPosition
from tests.log import support
from tests.log.support import POSITION


def fill(archive: Archive, count: int, *, start_ns: int = 1000, pages: int = 2) -> list[Transaction]:
    """Append so many transactions, ten nanoseconds apart, one by one."""
    rng = random.Random(count)
    made = []
    for number in range(count):
        images = {rng.randrange(1, 50): rng.randbytes(512) for _ in range(pages)}
        item = support.transaction(archive.last_lsn(), images, 50, start_ns + 10 * number)
        archive.append([item], [WalPosition((1, 2), number + 1, (3, number), 4)])
        made.append(item)
    return made


def same(found: list[Transaction], expected: list[Transaction]) -> bool:
    return [(item.lsn, item.next_lsn, item.committed_ns, dict(item.pages)) for item in found] == [
        (item.lsn, item.next_lsn, item.committed_ns, dict(item.pages)) for item in expected
    ]


def test_what_was_appended_is_read(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    made = fill(archive, 30)
    assert len(list(archive.directory.iterdir())) > 3
    for reopened in (False, True):
        if reopened:
            archive.close()
            archive = support.open_archive(tmp_path, segment_bytes=4000)
        assert same(list(archive.read(lsns.FIRST)), made)
        assert same(list(archive.read(made[7].lsn, made[20].lsn)), made[7:20])
        assert list(archive.read(made[5].lsn, made[5].lsn)) == []
        assert archive.changed_pages(made[3].lsn, made[5].lsn) == {
            number for item in made[3:5] for number, _ in item.pages
        }
        assert (archive.first_lsn(), archive.last_lsn()) == (lsns.FIRST, made[-1].next_lsn)
        assert archive.last_committed_ns() == made[-1].committed_ns
        position = archive.position()
        assert position is not None
        assert position.frame == 30
        assert archive.time_ranges() == [(lsns.FIRST, made[-1].next_lsn, 1000, 1290)]
    archive.close()


def test_the_lsn_of_a_time(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 12)
    extra = [support.transaction(made[-1].next_lsn, {1: bytes(512)}, 50, 2000)]
    extra.append(support.transaction(extra[0].next_lsn, {2: bytes(512)}, 50, 2050))
    archive.append(extra, [POSITION, POSITION])
    made += extra
    assert archive.lsn_at(999) == lsns.FIRST
    for item in made:
        assert archive.lsn_at(item.committed_ns) == item.next_lsn
        assert archive.lsn_at(item.committed_ns - 1) == item.lsn
    assert archive.lsn_at(10**19) == archive.last_lsn()
    archive.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(st.integers(1, 4000), st.booleans())
def test_a_torn_end_is_dropped(tmp_path: Path, cut: int, noise: bool) -> None:
    directory = tmp_path / str(uuid.uuid4())
    archive = support.open_archive(directory)
    made = fill(archive, 6)
    archive.close()
    (path,) = archive.directory.glob("*.seg")
    size = path.stat().st_size
    os.truncate(path, max(0, size - cut))
    if noise:
        with path.open("ab") as file:
            file.write(random.Random(cut).randbytes(cut))
    archive = support.open_archive(directory)
    found = list(archive.read(lsns.FIRST))
    assert len(found) < 6
    assert same(found, made[: len(found)])
    position = archive.position()
    assert (position.frame if position is not None else 0) == len(found)
    again = fill(archive, 2)
    archive.close()
    archive = support.open_archive(directory)
    assert same(list(archive.read(lsns.FIRST)), made[: len(found)] + again)
    archive.close()


def test_damage_within_is_not_passed_over(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    fill(archive, 30)
    path = sorted(archive.directory.glob("*.seg"))[1]
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArchiveDamaged):
        list(archive.read(lsns.FIRST))
    archive.close()


def test_nothing_is_read_of_a_segment_whose_header_is_damaged(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 2)
    archive.close()
    (path,) = archive.directory.iterdir()
    whole = segment.SegmentReader(path)
    found = list(whole.records())
    assert whole.is_whole(*found[0])
    whole.close()
    path.write_bytes(b"?" + path.read_bytes()[1:])
    # It may change between two looks at it.
    harmed = segment.SegmentReader(path)
    for at, record in found:
        with pytest.raises(ArchiveDamaged, match="does not begin as a segment"):
            harmed.entries(at, record)
    harmed.close()


def test_a_record_of_an_unknown_kind_is_damage(tmp_path: Path) -> None:
    """Found by the campaign ``readers``: the checksum is right, the kind is none."""
    archive = support.open_archive(tmp_path)
    fill(archive, 3)
    archive.close()
    (path,) = archive.directory.glob("*.seg")
    content = bytearray(path.read_bytes())
    at = segment.HEADER_SIZE
    content[at + 4] = 127
    end = at + segment.RECORD_SIZE - 4
    content[end : end + 4] = zlib.crc32(content[at:end]).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ArchiveDamaged, match="unknown kind 127"):
        support.open_archive(tmp_path)
    assert path.read_bytes() == content


def test_a_record_that_claims_to_be_large_takes_no_memory(tmp_path: Path) -> None:
    """Found by the campaign ``readers``: its seal is right, its compressed frame says 16 EiB."""
    archive = support.open_archive(tmp_path)
    fill(archive, 1)
    archive.close()
    (path,) = archive.directory.glob("*.seg")
    content = bytearray(path.read_bytes())
    at = segment.HEADER_SIZE
    head = segment.parse_record_header(content, at)
    assert head is not None
    start = at + segment.RECORD_SIZE + head.directory_length
    frame = b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 7 + b"\x7f"
    content[start : start + len(frame)] = frame
    end = start + head.stored_length
    salt = bytes(content[12:44])
    content[end : end + segment.SEAL_SIZE] = segment.seal(salt, bytes(content[at:end]))
    path.write_bytes(content)
    archive = support.open_archive(tmp_path)
    with pytest.raises(ArchiveDamaged, match="another size"):
        list(archive.read(archive.first_lsn()))
    archive.close()


def test_a_gap_is_never_crossed(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    before = fill(archive, 8)
    at = archive.last_lsn()
    gap = Gap(at, lsns.advance(at, 512), 1500, "the file was replaced")
    archive.append_gap(gap, POSITION)
    after = fill(archive, 8, start_ns=2000)
    for reopened in (False, True):
        if reopened:
            archive.close()
            archive = support.open_archive(tmp_path, segment_bytes=3000)
        assert archive.gaps() == (gap,)
        assert archive.unbroken_since() == gap.next_lsn
        assert same(list(archive.read(lsns.FIRST, gap.lsn)), before)
        assert same(list(archive.read(gap.next_lsn)), after)
        for first, last in ((lsns.FIRST, None), (gap.lsn, None), (lsns.FIRST, after[0].next_lsn)):
            with pytest.raises(LogGap) as caught:
                archive.read(first, last)
            assert caught.value.gap == gap
        assert [item[:2] for item in archive.time_ranges()] == [
            (lsns.FIRST, gap.lsn),
            (gap.next_lsn, archive.last_lsn()),
        ]
    archive.close()


def test_ranges_outside_are_refused(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 2)
    for first, last in (
        (lsns.FIRST - 1, None),
        (lsns.FIRST, archive.last_lsn() + 1),
        (archive.last_lsn() + 1, None),
    ):
        with pytest.raises(LogGap):
            archive.read(first, last)
    archive.close()


def test_old_segments_are_given_up(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 40)
    size = archive.size()
    assert archive.trim(made[30].lsn, size) == 0
    freed = archive.trim(made[30].lsn, size // 2)
    assert freed > 0
    assert size // 4 < archive.size() == size - freed <= size // 2
    archive.truncate(made[30].lsn)
    first = archive.first_lsn()
    assert made[25].lsn < first <= made[30].lsn
    assert same(list(archive.read(made[30].lsn)), made[30:])
    with pytest.raises(LogGap):
        archive.read(made[0].lsn)
    archive.truncate(archive.last_lsn())
    assert archive.last_lsn() == made[-1].next_lsn
    archive.close()
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    assert archive.last_lsn() == made[-1].next_lsn
    assert archive.position() == WalPosition((1, 2), 40, (3, 39), 4)
    archive.close()


def part(lsn: int, images: dict[int, bytes], next_lsn: int = 0, count: int = 0) -> Transaction:
    return Transaction(lsn, next_lsn or lsn, 5, 512, count, list(images.items()))


@pytest.mark.parametrize("complete", [True, False])
def test_a_transaction_in_parts(tmp_path: Path, complete: bool) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 3)
    lsn = archive.last_lsn()
    end = lsns.advance(lsn, 9999)
    archive.append_part(part(lsn, {1: b"a" * 512, 2: b"b" * 512}))
    archive.append_part(part(lsn, {2: b"c" * 512, 9: b"d" * 512}))
    if complete:
        archive.append_last_part(part(lsn, {3: b"e" * 512}, end, 5), POSITION)
    assert archive.last_lsn() == (end if complete else lsn)
    archive.close()
    archive = support.open_archive(tmp_path)
    found = list(archive.read(lsns.FIRST))
    assert len(found) == 3 + complete
    if complete:
        # Page 9 lies behind the end.
        assert (found[-1].lsn, found[-1].next_lsn, found[-1].page_count) == (lsn, end, 5)
        pages = next(itertools.islice(archive.read(lsn), 1)).pages
        assert len(pages) == 3
    archive.close()
    archive = support.open_archive(tmp_path)
    if complete:
        (last,) = archive.read(lsn)
        archive_pages = [(number, image[:1]) for item in archive.read(lsn) for number, image in item.pages]
        assert archive_pages == [(1, b"a"), (2, b"c"), (3, b"e")]
        assert archive.changed_pages(lsn) >= {1, 2, 3}
        assert last.mark is None
    assert same(list(archive.read(lsns.FIRST, lsn)), made)
    archive.close()


def test_what_is_whole_of_a_damaged_archive(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    made = fill(archive, 30)
    end = archive.last_lsn()
    assert archive.whole_ranges(lsns.FIRST, end) == [(lsns.FIRST, end, made[-1].committed_ns - 1)]
    archive.close()
    paths = sorted(archive.directory.iterdir())
    assert len(paths) > 4
    starts = [int(path.stem) for path in paths]
    content = bytearray(paths[1].read_bytes())
    content[-40] ^= 1
    paths[1].write_bytes(content)
    paths[3].unlink()
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    # Of the second all but its last transaction.
    damaged = next(item for item in made if item.next_lsn == starts[2])
    ranges = archive.whole_ranges(made[1].lsn, end)
    assert [item[:2] for item in ranges] == [
        (made[1].lsn, damaged.lsn),
        (starts[2], starts[3]),
        (starts[4], end),
    ]
    for first, last, through_ns in ranges:
        inside = [item for item in made if first <= item.lsn < last]
        assert same(list(archive.read(first, last)), inside)
        assert through_ns == inside[-1].committed_ns - 1
    archive.close()


@pytest.mark.parametrize("follows", ["transaction", "gap", "position"])
def test_parts_that_could_not_be_dropped_are_the_beginning_of_nothing_else(
    tmp_path: Path, follows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 2)
    lsn = archive.last_lsn()
    archive.append_part(part(lsn, {7: b"x" * 512}))

    def truncate(descriptor: int, length: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "ftruncate", truncate)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                archive.drop_parts()
    if follows == "gap":
        archive.append_gap(Gap(lsn, lsns.advance(lsn, 512), 1, "r"), POSITION)
    elif follows == "position":
        archive.note_position(POSITION)
    begin = archive.last_lsn()
    after = fill(archive, 2)
    archive.drop_parts()
    assert same(list(archive.read(begin)), after)
    archive.close()
    archive = support.open_archive(tmp_path)
    assert same(list(archive.read(lsns.FIRST, lsn)), made)
    assert same(list(archive.read(begin)), after)
    assert archive.changed_pages(begin) == {number for item in after for number, _ in item.pages}
    archive.close()


def test_parts_that_are_dropped_leave_nothing(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 2)
    size = archive.size()
    archive.append_part(part(archive.last_lsn(), {1: bytes(512)}))
    archive.drop_parts()
    assert archive.size() == size
    made = fill(archive, 1)
    assert same(list(archive.read(made[0].lsn)), made)
    archive.close()


def test_numbers_that_others_gave_are_not_given_again(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 2)
    archive.close()
    higher = lsns.advance(made[-1].next_lsn, 10**6)
    archive = Archive(archive.directory, support.DATABASE, support.FORK, higher)
    assert archive.last_lsn() == higher
    made += fill(archive, 2)
    assert same(list(archive.read(lsns.FIRST)), made)
    assert archive.gaps() == ()
    archive.close()


def test_a_stranger_s_segment_is_set_aside(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 2)
    archive.close()
    other = Archive(archive.directory, uuid.uuid4(), support.FORK, lsns.FIRST)
    assert other.position() is None
    assert list(other.read(lsns.FIRST)) == []
    other.close()
    assert list(archive.directory.glob("*.damaged"))


def block(archive: Archive, count: int) -> list[Transaction]:
    """Transactions that are appended at once, so that they lie in one record."""
    made: list[Transaction] = []
    lsn = archive.last_lsn()
    for number in range(count):
        made.append(support.transaction(lsn, {number + 1: bytes([number]) * 512}, 50, 1000 + 10 * number))
        lsn = made[-1].next_lsn
    archive.append(made, [WalPosition((1, 2), number + 1, (3, 4), 5) for number in range(count)])
    return made


def test_a_part_of_a_block_is_read(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    made = block(archive, 10)
    assert same(list(archive.read(made[3].lsn, made[6].lsn)), made[3:6])
    assert archive.changed_pages(made[3].lsn, made[6].lsn) == {4, 5, 6}
    assert archive.lsn_at(1035) == made[3].next_lsn
    assert archive.lsn_at(999) == archive.first_lsn()
    assert archive.late_at(1035) is None
    archive.close()


def test_a_transaction_in_parts_has_one_time(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    lsn = archive.last_lsn()
    end = lsns.advance(lsn, 9999)
    archive.append_part(part(lsn, {1: b"a" * 512}))
    archive.append_last_part(part(lsn, {3: b"e" * 512}, end, 5), POSITION)
    assert archive.lsn_at(4) == lsn
    assert archive.lsn_at(5) == end
    assert archive.late_at(4) is None
    assert archive.time_ranges() == [(lsn, end, 5, 5)]
    archive.close()


def test_ranges_of_time_without_anything_in_them_are_left_out(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    assert archive.time_ranges() == []
    for at in (10, 20):
        lsn = archive.last_lsn()
        archive.append_gap(Gap(lsn, lsns.advance(lsn, 512), at, "r"), POSITION)
    assert archive.time_ranges() == []
    (made,) = fill(archive, 1)
    lsn = archive.last_lsn()
    archive.append_gap(Gap(lsn, lsns.advance(lsn, 512), 30, "r"), POSITION)
    assert archive.time_ranges() == [(made.lsn, made.next_lsn, made.committed_ns, made.committed_ns)]
    assert len(archive.gaps()) == 3
    archive.close()
    # The last segment alone knows its gaps when it is opened.
    archive = support.open_archive(tmp_path)
    assert [gap.noticed_ns for gap in archive.gaps()] == [10, 20, 30]
    archive.close()


def test_what_a_crash_left_of_a_new_segment_is_removed(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 3)
    archive.close()
    header = segment.SegmentHeader(support.DATABASE, support.FORK, archive.last_lsn(), 5, lsns.FIRST).pack()
    for content in (header, header[:40], b""):
        left = archive_module._path(archive.directory, archive.last_lsn())
        left.write_bytes(content)
        again = support.open_archive(tmp_path)
        assert not left.exists()
        assert same(list(again.read(lsns.FIRST)), made)
        again.close()
    assert list(archive.directory.glob("*.damaged")) == []


def test_a_segment_of_a_later_version_is_neither_read_nor_touched(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 1)
    archive.close()
    (path,) = archive.directory.glob("*.seg")
    data = bytearray(path.read_bytes())
    data[8] = 2
    data[segment.HEADER_SIZE - 4 : segment.HEADER_SIZE] = zlib.crc32(
        data[: segment.HEADER_SIZE - 4]
    ).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(ArchiveDamaged, match="version 2, not 1"):
        support.open_archive(tmp_path)
    assert path.read_bytes() == data


def _files(directory: Path) -> dict[str, tuple[bytes, int]]:
    """What lies there, and when it was changed."""
    return {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in directory.iterdir()}


def test_a_reader_changes_nothing_and_the_writer_cuts_the_torn_end(tmp_path: Path) -> None:
    """A standby's log arrives while it is read: a cut there would remove what is just being written."""
    archive = support.open_archive(tmp_path)
    made = fill(archive, 6)
    archive.close()
    (path,) = archive.directory.iterdir()
    whole = path.read_bytes()
    reader = segment.SegmentReader(path)
    last = [at for at, _ in reader.records()][-1]
    reader.close()
    for end in (last + 10, last + segment.RECORD_SIZE, len(whole) - 1):
        path.write_bytes(whole[:end])
        before = _files(archive.directory)
        reading = Archive(archive.directory, support.DATABASE, support.FORK, 0)
        assert same(list(reading.read(lsns.FIRST)), made[:-1])
        assert reading.last_lsn() == made[-1].lsn
        reading.close()
        assert _files(archive.directory) == before
        # Whoever was writing it goes on.
        with path.open("ab") as file:
            file.write(whole[end:])
        reading = Archive(archive.directory, support.DATABASE, support.FORK, 0)
        assert same(list(reading.read(lsns.FIRST)), made)
        reading.close()
        path.write_bytes(whole[:end])
        writing = support.open_archive(tmp_path)
        assert len(path.read_bytes()) >= last
        assert path.read_bytes()[:last] == whole[:last]
        assert path.read_bytes()[last:end] != whole[last:end]
        # No number that the torn record may have had is given again.
        assert writing.last_lsn() >= made[-1].next_lsn
        again = fill(writing, 1)
        writing.close()
        reading = Archive(archive.directory, support.DATABASE, support.FORK, 0)
        assert same(list(reading.read(lsns.FIRST)), made[:-1] + again)
        reading.close()


def test_a_reader_leaves_a_segment_that_is_just_begun(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 3)
    archive.append_part(part(archive.last_lsn(), {1: bytes(512)}))
    header = segment.SegmentHeader(support.DATABASE, support.FORK, archive.last_lsn(), 5, lsns.FIRST).pack()
    for content in (header, header[:40], b"", bytes(2000)):
        begun = archive_module._path(archive.directory, lsns.advance(archive.last_lsn(), 512))
        begun.write_bytes(content)
        before = _files(archive.directory)
        reading = Archive(archive.directory, support.DATABASE, support.FORK, 0)
        assert same(list(reading.read(lsns.FIRST)), made)
        assert reading.size() < sum(len(data) for data, _ in before.values())
        reading.close()
        assert _files(archive.directory) == before
    archive.close()


def test_a_reader_makes_no_directory(tmp_path: Path) -> None:
    reading = Archive(tmp_path / "log" / "none", support.DATABASE, support.FORK, 0)
    assert (reading.first_lsn(), reading.last_lsn(), reading.size()) == (0, 0, 0)
    reading.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["the header", "the end"])
def test_damage_of_an_earlier_segment_is_told(tmp_path: Path, harm: str) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 20)
    first, *_ = sorted(archive.directory.glob("*.seg"))
    data = bytearray(first.read_bytes())
    if harm == "the header":
        data[0] ^= 1
    else:
        del data[len(data) // 2 :]
    first.write_bytes(data)
    for attempt in (
        lambda: list(archive.read(lsns.FIRST)),
        lambda: archive.changed_pages(lsns.FIRST),
        archive.time_ranges,
    ):
        with pytest.raises(ArchiveDamaged):
            attempt()
    assert same(list(archive.read(made[-1].lsn)), made[-1:])
    archive.close()


def test_images_that_cannot_be_unpacked_are_damage(tmp_path: Path) -> None:
    class Broken:
        def compress(self, data: bytes) -> bytes:
            return b"no frame of Zstandard"

    archive = support.open_archive(tmp_path)
    archive._compressor = Broken()  # type: ignore[assignment]
    fill(archive, 1)
    with pytest.raises(ArchiveDamaged, match="can't be unpacked"):
        list(archive.read(lsns.FIRST))
    archive.close()


def test_what_is_given_up_while_it_is_read_is_told(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 60)
    reading = archive.read(lsns.FIRST)
    assert next(reading).lsn == made[0].lsn
    assert archive.truncate(made[-1].lsn) > 0
    with pytest.raises(LogGap, match="has been given up"):
        list(reading)
    assert archive.gaps() == ()
    archive.close()


def test_gaps_are_given_up_with_their_segments(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    fill(archive, 5)
    lsn = archive.last_lsn()
    archive.append_gap(Gap(lsn, lsns.advance(lsn, 512), 1500, "r"), POSITION)
    made = fill(archive, 20, start_ns=2000)
    assert len(archive.gaps()) == 1
    archive.truncate(made[-1].lsn)
    assert archive.gaps() == ()
    archive.close()


class Failing:
    """A system call that fails so often, from a certain time on."""

    def __init__(self, function: Callable[..., Any], times: int, free: int = 0) -> None:
        self._function, self._times, self._free = function, times, free

    def __call__(self, *arguments: Any) -> Any:
        if self._free:
            self._free -= 1
        elif self._times:
            self._times -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return self._function(*arguments)


def test_what_could_not_be_made_durable_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 20)
    for module, name in ((os, "fdatasync"), (archive_module, "fsync_directory")):
        synced = Failing(getattr(module, name), 1)
        monkeypatch.setattr(module, name, synced)
        with pytest.raises(OSError, match="Input/output error"):
            archive.sync()
        assert archive.unsynced or name == "fsync_directory"
    archive.sync()
    assert not archive.unsynced
    assert archive._retired == []
    assert same(list(archive.read(lsns.FIRST)), made)
    archive.close()


def test_what_a_failed_sync_may_have_dropped_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel tells once that it could not write pages, and calls them clean then."""
    archive = support.open_archive(tmp_path, segment_bytes=3000)
    made = fill(archive, 20)
    files = sorted(archive.directory.iterdir())
    content = {path.stat().st_ino: path.read_bytes() for path in files}
    assert len(files) > 1, "full segments, too"
    with monkeypatch.context() as changed:
        changed.setattr(os, "fdatasync", Failing(os.fdatasync, 1))
        with pytest.raises(OSError, match="Input/output error"):
            archive.sync()
    again: dict[int, bytearray] = {}
    write = os.pwritev

    def noted(descriptor: int, pieces: Sequence[bytes], offset: int) -> int:
        data = b"".join(pieces)
        place = again.setdefault(os.fstat(descriptor).st_ino, bytearray())
        place[offset : offset + len(data)] = data
        return write(descriptor, pieces, offset)

    monkeypatch.setattr(os, "pwritev", noted)
    archive.sync()
    assert {inode: bytes(data) for inode, data in again.items()} == content
    again.clear()
    fill(archive, 1)
    archive.sync()
    assert not any(bytes(data).startswith(content[files[0].stat().st_ino][:99]) for data in again.values())
    assert same(list(archive.read(lsns.FIRST))[: len(made)], made)
    archive.close()


def test_what_the_disk_has_lost_is_never_called_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = support.open_archive(tmp_path)
    fill(archive, 5)
    with monkeypatch.context() as changed:
        changed.setattr(os, "fdatasync", Failing(os.fdatasync, 1))
        with pytest.raises(OSError, match="Input/output error"):
            archive.sync()
    (path,) = archive.directory.iterdir()
    with path.open("r+b") as file:
        file.seek(path.stat().st_size - 40)
        file.write(bytes(8))
    for _ in range(2):
        with pytest.raises(OSError, match="does not give back what was written"):
            archive.sync()
        assert archive.unsynced
    with pytest.raises(OSError, match="does not give back what was written"):
        archive.close()


def test_a_segment_that_could_not_be_begun_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=1)
    before = support.descriptors(str(tmp_path))
    with monkeypatch.context() as changed:
        changed.setattr(os, "pwritev", Failing(os.pwritev, 1))
        with pytest.raises(OSError, match="Input/output error"):
            fill(archive, 1)
    assert list(archive.directory.iterdir()) == []
    assert support.descriptors(str(tmp_path)) == before
    archive.begin_segment_soon(10**30)
    assert same(list(archive.read(lsns.FIRST)), fill(archive, 0))
    archive.close()


def test_a_torn_record_is_cut_off_where_the_disk_lets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = support.open_archive(tmp_path)
    made = fill(archive, 2)
    size = archive.size()
    with monkeypatch.context() as changed:
        changed.setattr(os, "pwritev", Failing(os.pwritev, 1))
        changed.setattr(os, "ftruncate", Failing(os.ftruncate, 1))
        with pytest.raises(OSError, match="Input/output error"):
            fill(archive, 1)
    assert archive.size() == size
    made += fill(archive, 3)
    assert same(list(archive.read(lsns.FIRST)), made)
    archive.close()


def test_a_disk_that_takes_little_at_a_time_gets_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        os, "pwritev", lambda descriptor, pieces, offset: os.pwrite(descriptor, pieces[0][:7], offset)
    )
    archive = support.open_archive(tmp_path)
    made = fill(archive, 2)
    assert same(list(archive.read(lsns.FIRST)), made)
    archive.close()


def test_reading_ahead_stops_with_its_reader() -> None:
    done: list[int] = []
    given = iter(range(100))
    reading = ahead(given, lambda number: done.append(number) or number)
    assert next(reading) == (0, 0)
    reading.close()
    assert len(done) < 10
    assert next(given) < 10


def test_pages_know_what_they_hold() -> None:
    first = codec.Part(codec.Entry(True, 1, 1, 1, 4, 0, (1, 2), None, None), lambda: memoryview(b"aaaabbbb"))
    last = codec.Part(codec.Entry(False, 1, 9, 1, 4, 5, (2, 9), None, None), lambda: memoryview(b"ccccdddd"))
    pages = codec.PartedPages([first, last])
    assert (2, b"cccc") in pages
    assert (2, b"bbbb") not in pages
    assert (9, b"dddd") not in pages


@pytest.mark.parametrize("harm", ["a mark that is no text", "a cut"])
def test_a_directory_that_is_malformed_is_damage(harm: str) -> None:
    entry = codec.Entry(False, lsns.FIRST, lsns.FIRST, 1, 512, 1, (1,), "mark", "text")
    data = codec.pack_entry(entry)
    assert codec.unpack_directory(data)[0].mark == "mark"
    harmed = data.replace(b"mark", b"m\xffrk") if harm.startswith("a mark") else data[:-2]
    with pytest.raises(ArchiveDamaged, match=r"malformed|inside an entry"):
        codec.unpack_directory(harmed)


@pytest.mark.parametrize("flipped", [3, 12])
def test_a_damaged_end_gives_no_number_twice_and_breaks_what_was_promised(
    tmp_path: Path, flipped: int
) -> None:
    """Else the next log backup would go on behind commits that are in none."""
    archive = support.open_archive(tmp_path)
    made = fill(archive, 13)
    archive.close()
    (path,) = archive.directory.iterdir()
    reader = segment.SegmentReader(path)
    places = [at for at, _ in reader.records()]
    reader.close()
    content = bytearray(path.read_bytes())
    # The header of one, so that its own numbers are lost, too.
    content[places[flipped] + 40] ^= 4
    for promised in (0, made[-1].next_lsn):
        path.write_bytes(content)
        archive = Archive(
            archive.directory, support.DATABASE, support.FORK, lsns.FIRST, promised_lsn=promised
        )
        assert archive.last_lsn() >= made[-1].next_lsn
        assert [gap.lsn for gap in archive.gaps()] == ([made[flipped].lsn] if promised else [])
        assert (archive.unbroken_since() > made[-1].next_lsn) == bool(promised)
        more = fill(archive, 1)
        assert same(list(archive.read(more[0].lsn)), more)
        assert same(list(archive.read(lsns.FIRST, made[flipped].lsn)), made[:flipped])
        archive.close()
    path.unlink()
    archive = Archive(
        archive.directory, support.DATABASE, support.FORK, lsns.FIRST, promised_lsn=made[-1].lsn
    )
    assert archive.unbroken_since() > made[-1].lsn
    archive.close()


def test_a_missing_segment_is_not_passed_over(tmp_path: Path) -> None:
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    made = fill(archive, 30)
    archive.close()
    lost = sorted(archive.directory.iterdir())[1]
    lost.unlink()
    archive = support.open_archive(tmp_path, segment_bytes=4000)
    with pytest.raises(ArchiveDamaged, match="is missing"):
        list(archive.read(made[0].lsn))
    with pytest.raises(ArchiveDamaged, match="is missing"):
        archive.changed_pages(made[0].lsn)
    behind = int(sorted(archive.directory.iterdir())[1].stem)
    with pytest.raises(ArchiveDamaged, match="is missing"):
        list(archive.read(made[0].lsn, behind))
    assert same(list(archive.read(made[-1].lsn)), made[-1:])
    archive.close()

from __future__ import annotations

import itertools
import os
import random
import uuid
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsproxy.log import lsn as lsns
from tdsproxy.log import segment
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

"""The WAL's format: made by hand here, and by SQLite itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.log import wal
from tdsproxy.log.wal import Commit

SIZE = 512
SALTS = (7, 9)

Frames = list[tuple[int, int, bytes]]


def build(frames: Frames, *, magic: int = 0x377F0682, salts: tuple[int, int] = SALTS) -> bytes:
    """A WAL of (page, page count, image)."""
    big = bool(magic & 1)
    words = (magic, 3007000, SIZE, 3, *salts)
    out = b"".join(word.to_bytes(4, "big") for word in words)
    state = wal.checksum(out, (0, 0), big_endian=big)
    out += b"".join(word.to_bytes(4, "big") for word in state)
    for page, count, image in frames:
        head = page.to_bytes(4, "big") + count.to_bytes(4, "big")
        state = wal.checksum(image, wal.checksum(head, state, big_endian=big), big_endian=big)
        out += head + b"".join(word.to_bytes(4, "big") for word in (*salts, *state)) + image
    return out


TRANSACTIONS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 9), st.binary(max_size=4)), min_size=1, max_size=6),
        st.integers(1, 9),
    ),
    max_size=8,
)


def lay_out(
    transactions: list[tuple[list[tuple[int, bytes]], int]],
) -> tuple[Frames, list[tuple[int, dict[int, bytes]]]]:
    """The frames, and what each transaction leaves: (page count, pages)."""
    frames: Frames = []
    expected = []
    for index, (pages, count) in enumerate(transactions):
        images = [(page, (image + bytes([index])).ljust(SIZE, b".")) for page, image in pages]
        frames += [(page, 0, image) for page, image in images[:-1]]
        frames.append((images[-1][0], count, images[-1][1]))
        expected.append((count, {page: image for page, image in images if page <= count}))
    return frames, expected


def state_of(commits: list[Commit]) -> list[tuple[int, dict[int, bytes]]]:
    return [(commit.page_count, dict(commit.pages)) for commit in commits]


@given(TRANSACTIONS, st.sampled_from([0x377F0682, 0x377F0683]), st.integers(0, 3000))
def test_only_whole_transactions_count(
    transactions: list[tuple[list[tuple[int, bytes]], int]], magic: int, cut: int
) -> None:
    frames, expected = lay_out(transactions)
    data = build(frames, magic=magic)
    assert state_of(list(wal.verified(data))) == expected
    torn = state_of(list(wal.verified(data[:-cut] if cut else data)))
    assert torn == expected[: len(torn)]
    assert cut == 0 or len(torn) < max(1, len(expected))


@given(TRANSACTIONS, st.integers(0), st.integers(1, 255))
def test_nothing_counts_from_a_damaged_byte_on(
    transactions: list[tuple[list[tuple[int, bytes]], int]], place: int, change: int
) -> None:
    frames, expected = lay_out(transactions)
    data = bytearray(build(frames))
    place %= len(data)
    data[place] ^= change
    found = state_of(list(wal.verified(bytes(data))))
    before = max(0, place - wal.HEADER_SIZE) // (wal.FRAME_HEADER_SIZE + SIZE)
    ends = [number for number, frame in enumerate(frames) if frame[1]]
    whole = sum(1 for end in ends if end < before) if place >= wal.HEADER_SIZE else 0
    assert found == expected[:whole]


@given(TRANSACTIONS, st.integers(1, 5), st.integers(1, 4))
def test_cutting_up_gives_the_same_whatever_the_reads(
    transactions: list[tuple[list[tuple[int, bytes]], int]], per_read: int, part_pages: int
) -> None:
    # Padding is told from a transaction by its content: no two commit frames are alike here.
    frames, expected = lay_out(transactions)
    data = build(frames)[wal.HEADER_SIZE :]
    splitter = wal.Splitter(SIZE, SALTS, 0, part_pages * SIZE)
    step = (wal.FRAME_HEADER_SIZE + SIZE) * per_read
    commits = [commit for at in range(0, len(data), step) for commit in splitter.feed(data[at : at + step])]
    found: list[tuple[int, dict[int, bytes]]] = []
    pending: dict[int, bytes] = {}
    for commit in commits:
        pending.update(commit.pages)
        if commit.page_count:
            count = commit.page_count
            found.append((count, {page: image for page, image in pending.items() if page <= count}))
            pending = {}
        else:
            assert len(commit.pages) <= part_pages
    assert found == expected
    assert [commit.frame for commit in commits if commit.page_count] == [
        number for number, frame in enumerate(frames, 1) if frame[1]
    ]


def test_padding_that_repeats_the_commit_frame_is_no_transaction() -> None:
    image = b"a" * SIZE
    data = build([(1, 2, image), (1, 2, image), (1, 2, b"b" * SIZE)])[wal.HEADER_SIZE :]
    commits = list(wal.Splitter(SIZE, SALTS, 0, 1 << 20).feed(data))
    assert [len(commit.pages) for commit in commits] == [1, 0, 1]
    assert commits[-1].frame == 3


def test_a_frame_of_another_generation_is_refused() -> None:
    data = build([(1, 1, b"a" * SIZE)], salts=(7, 10))[wal.HEADER_SIZE :]
    with pytest.raises(wal.StrangeFrame):
        list(wal.Splitter(SIZE, SALTS, 0, 1 << 20).feed(data))


def test_a_frame_without_a_seal_counts_when_the_index_names_its_page() -> None:
    data = bytearray(build([(3, 0, b"a" * SIZE), (4, 5, b"b" * SIZE)])[wal.HEADER_SIZE :])
    data[8:24] = bytes(16)
    (commit,) = wal.Splitter(SIZE, SALTS, 0, 1 << 20, {1: 3, 2: 4}.__getitem__).feed(bytes(data))
    assert commit.pages == [(3, b"a" * SIZE), (4, b"b" * SIZE)]
    with pytest.raises(wal.StrangeFrame):
        list(wal.Splitter(SIZE, SALTS, 0, 1 << 20, {1: 8, 2: 4}.__getitem__).feed(bytes(data)))


@pytest.mark.parametrize("page_size", [512, 4096, 65536])
def test_what_sqlite_wrote(tmp_path: Path, page_size: int) -> None:
    path = tmp_path / "x.db"
    code = f"""if True:
        import os, signal, sqlite3, sys
        c = sqlite3.connect(sys.argv[1], isolation_level=None)
        c.execute("PRAGMA page_size={page_size}")
        c.execute("PRAGMA journal_mode=WAL")
        c.execute("PRAGMA wal_autocheckpoint=0")
        c.execute("CREATE TABLE t(a, b)")
        for i in range(10):
            c.execute("INSERT INTO t VALUES(?, randomblob(3000))", (i,))
        c.execute("BEGIN"); c.execute("INSERT INTO t VALUES(99, 1)"); c.execute("ROLLBACK")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    subprocess.run([sys.executable, "-c", code, str(path)], check=False, timeout=60)
    data = path.with_name("x.db-wal").read_bytes()
    header = wal.parse_header(data)
    assert header is not None
    assert header.page_size == page_size
    commits = list(wal.verified(data))
    assert len(commits) == 11
    split = list(wal.Splitter(page_size, header.salts, 0, 1 << 30).feed(data[wal.HEADER_SIZE :]))
    assert split == commits

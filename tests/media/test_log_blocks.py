from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdsproxy.media import format as layout
from tdsproxy.media.log_blocks import (
    Piece,
    StoredTransaction,
    pack_blocks,
    pack_page_list,
    unpack_block,
    unpack_page_list,
)

TEXTS = st.none() | st.text(max_size=40)


@st.composite
def logs(draw: st.DrawFn) -> list[StoredTransaction]:
    """Transactions in order: small ones, empty ones, and some that are larger than a block."""
    page_size = draw(st.sampled_from([512, 4096, 65536]))
    found: list[StoredTransaction] = []
    lsn = draw(st.integers(1, 10**24))
    for index in range(draw(st.integers(0, 6))):
        lsn += draw(st.integers(0, 10**6))
        end = lsn + draw(st.integers(1, 10**6))
        count = draw(st.sampled_from([0, 1, 2, 7, (1 << 20) // page_size, (5 << 19) // page_size + 1]))
        numbers = list(range(index + 1, index + 1 + count))
        image = bytes([index + 1]) * (page_size - 4)
        pages = [(number, number.to_bytes(4, "big") + image) for number in reversed(numbers)]
        size = max(numbers, default=1) + draw(st.integers(0, 3))
        committed = draw(st.integers(-(1 << 63), (1 << 63) - 1))
        found.append(StoredTransaction(lsn, end, committed, page_size, size, pages, draw(TEXTS), draw(TEXTS)))
        lsn = end
    return found


def joined(pieces: list[Piece]) -> list[StoredTransaction]:
    found: list[StoredTransaction] = []
    rest: list[Piece] = []
    for piece in pieces:
        rest.append(piece)
        pages = [page for part in rest for page in part.pages]
        if len(pages) == piece.total:
            found.append(piece.whole(pages))
            rest = []
    assert not rest
    return found


@settings(max_examples=25, deadline=None)
@given(logs())
def test_transactions_come_back(transactions: list[StoredTransaction]) -> None:
    blocks = list(pack_blocks(transactions))
    assert joined([piece for block in blocks for piece in unpack_block(block.data)]) == transactions
    assert sum(block.count for block in blocks) == len(transactions)
    ended = 0
    unfinished = False
    for block in blocks:
        assert block.first == ended
        assert bool(block.flags & layout.CONTINUES) == unfinished
        unfinished = bool(block.flags & layout.UNFINISHED)
        ended += block.count
        inside = transactions[block.first : block.first + max(1, block.count)]
        assert (block.lsn, block.next_lsn) == (inside[0].lsn, inside[-1].next_lsn)
        assert (block.first_ns, block.last_ns) == (inside[0].committed_ns, inside[-1].committed_ns)
        assert len(block.data) < layout.LOG_BLOCK_BYTES + (1 << 16)
    assert not unfinished


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=300), max_size=2), st.integers(0, 300), st.data())
def test_a_cut_or_changed_block_never_breaks_the_reader(
    noise: list[bytes], cut: int, data: st.DataObject
) -> None:
    transaction = StoredTransaction(7, 9, 5, 512, 4, [(1, bytes(512)), (4, bytes(512))], "mark", None)
    (block,) = pack_blocks([transaction])
    content = bytearray(block.data + b"".join(noise))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= data.draw(st.integers(1, 255))
    for changed in (bytes(content), bytes(content[:-cut] if cut else content), b"".join(noise)):
        try:
            list(unpack_block(changed))
        except layout.FormatError:
            continue


def test_what_cannot_be_packed() -> None:
    one = StoredTransaction(5, 8, 0, 512, 1, [(1, bytes(512))])
    for wrong in (
        [one, one],
        [StoredTransaction(5, 5, 0, 512, 1, [])],
        [StoredTransaction(5, 6, 0, 512, 1, [(1, bytes(511))])],
        [StoredTransaction(5, 6, 0, 512, 1, [], "m" * 70_000)],
    ):
        with pytest.raises(layout.FormatError):
            list(pack_blocks(wrong))


@given(st.sets(st.integers(1, 2**32 - 1), min_size=1, max_size=50))
def test_page_lists_come_back(numbers: set[int]) -> None:
    ordered = sorted(numbers)
    images = b"".join(number.to_bytes(4, "big") * 128 for number in ordered)
    found, data = unpack_page_list(pack_page_list(ordered, images), len(ordered), 512)
    assert (found, bytes(data)) == (ordered, images)
    with pytest.raises(layout.FormatError):
        unpack_page_list(pack_page_list(ordered, images), len(ordered) + 1, 512)


def test_page_lists_out_of_order_are_refused() -> None:
    for numbers in ([2, 1], [3, 3]):
        with pytest.raises(layout.FormatError):
            unpack_page_list(pack_page_list(numbers, bytes(1024)), 2, 512)


@given(st.integers(0, 2**80), st.integers(0, 2**80), st.integers(-(2**63), 2**63 - 1), st.integers(0, 255))
def test_log_index_entries_come_back(lsn: int, end: int, ns: int, flags: int) -> None:
    entry = layout.LogEntry(
        4096, 77, 3, lsn, end, ns, -ns if ns > -(2**63) else 0, 1, flags, bytes(range(16))
    )
    assert len(entry.pack()) == layout.LOG_ENTRY_SIZE
    assert layout.unpack_log_index(entry.pack() * 2) == [entry, entry]
    with pytest.raises(layout.FormatError):
        layout.unpack_log_index(entry.pack()[:-1])


@pytest.mark.parametrize(
    ("at", "value", "words"),
    [
        (4, 1, "pages are cut off"),  # fewer pages in all than here
        (48, 0, "pages are cut off"),
        (52, 3, "beyond the database's end"),
        (56, 60_000, "name of a mark is cut off"),
        (64, 0xFFFF, "name of a mark is no text"),
    ],
)
def test_a_block_that_says_what_cannot_be_is_refused(at: int, value: int, words: str) -> None:
    transaction = StoredTransaction(7, 9, 5, 512, 4, [(1, bytes(512)), (4, bytes(512))], "mark", "note")
    (block,) = pack_blocks([transaction])
    (piece,) = unpack_block(block.data)
    assert (piece.mark, piece.mark_description) == ("mark", "note")
    data = bytearray(block.data)
    size = 2 if at >= 56 else 4
    data[at : at + size] = value.to_bytes(size, "little")
    with pytest.raises(layout.FormatError, match=words):
        list(unpack_block(data))


def test_a_large_transaction_gives_as_many_pages_as_it_says() -> None:
    class Short(list[tuple[int, bytes]]):
        def __len__(self) -> int:
            return 4000

    transaction = StoredTransaction(7, 9, 5, 512, 4000, Short([(n, bytes(512)) for n in range(1, 3000)]))
    with pytest.raises(layout.FormatError, match="has 2999 pages instead of 4000"):
        list(pack_blocks([transaction]))

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.log import codec
from tdsproxy.log.records import ArchiveDamaged, Transaction
from tests.log.support import transaction

TRANSACTIONS = st.lists(
    st.builds(
        lambda lsn, pages, at, mark: transaction(
            lsn, {n: bytes([n]) * 512 for n in pages}, 40, at, **({"mark": mark} if mark else {})
        ),
        st.integers(1, 10**24),
        st.sets(st.integers(1, 40), min_size=1),
        st.integers(0, 2**62),
        st.text(max_size=20),
    ),
    max_size=6,
    unique_by=lambda item: item.lsn,
)


def plain(item: Transaction) -> tuple[object, ...]:
    return (
        item.lsn,
        item.next_lsn,
        item.committed_ns,
        item.page_size,
        item.page_count,
        dict(item.pages),
        item.mark,
        item.mark_description,
    )


@given(TRANSACTIONS, st.integers(512, 9000))
def test_there_and_back(transactions: list[Transaction], block_bytes: int) -> None:
    blocks = list(codec.encode_blocks(transactions, block_bytes))
    found = [(plain(item), len(item.pages), item.pages) for item in codec.decode_blocks(blocks)]
    assert [item[0] for item in found] == [plain(item) for item in transactions]
    assert [item[1] for item in found] == [len(item.pages) for item in transactions]


def test_a_missing_last_part_is_noticed() -> None:
    whole = transaction(1, {n: bytes(512) for n in range(1, 9)}, 8)
    blocks = list(codec.encode_blocks([whole], 1024))
    assert len(blocks) > 1
    with pytest.raises(ArchiveDamaged):
        list(codec.decode_blocks(blocks[:-1]))
    other = list(codec.encode_blocks([transaction(5, {1: bytes(512)}, 8)]))
    with pytest.raises(ArchiveDamaged):
        list(codec.decode_blocks([*blocks[:-1], *other]))


@given(st.binary(max_size=300))
def test_noise_is_refused_or_empty(data: bytes) -> None:
    try:
        found = list(codec.decode_blocks([data]))
    except ArchiveDamaged:
        return
    assert all(len(item.pages) >= 0 for item in found)


@given(st.integers(0), st.integers(1, 255))
def test_a_shorter_block_is_refused(cut: int, change: int) -> None:
    (block,) = codec.encode_blocks([transaction(9, {3: bytes(512)}, 4, mark="m")])
    with pytest.raises(ArchiveDamaged):
        list(codec.decode_blocks([block[: cut % len(block)]]))
    with pytest.raises(ArchiveDamaged):
        list(codec.decode_blocks([block + bytes([change])]))

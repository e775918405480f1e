from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.media import format as layout

U64 = st.integers(0, 2**64 - 1)
U32 = st.integers(0, 2**32 - 1)
DIGEST = st.binary(min_size=16, max_size=16)
GUID = st.uuids()
LENGTH = st.integers(0, layout.LONGEST_PAYLOAD)

anchors = st.builds(layout.Anchor, U64, U32, GUID, st.booleans(), U64, U64, DIGEST)
headers = st.builds(
    layout.RecordHeader,
    st.integers(0, 255),
    U64,
    GUID,
    LENGTH,
    LENGTH,
    DIGEST,
    DIGEST,
    st.integers(0, 255),
    st.integers(0, 65535),
    U64,
    U32,
)
entries = st.builds(layout.IndexEntry, U64, U64, U32, U32, st.integers(0, 255), DIGEST)


@given(anchors)
def test_anchors_come_back(anchor: layout.Anchor) -> None:
    packed = anchor.pack()
    assert len(packed) == layout.ANCHOR_SIZE
    assert layout.unpack_anchor(packed, anchor.offset) == anchor


@given(headers)
def test_record_headers_come_back(header: layout.RecordHeader) -> None:
    packed = header.pack()
    assert len(packed) == layout.RECORD_HEADER_SIZE
    assert layout.unpack_record_header(packed) == header


@given(st.lists(entries, max_size=5))
def test_index_entries_come_back(some: list[layout.IndexEntry]) -> None:
    packed = b"".join(entry.pack() for entry in some)
    assert len(packed) == layout.INDEX_ENTRY_SIZE * len(some)
    assert layout.unpack_index(packed) == some


@given(st.binary(max_size=3000))
def test_media_headers_come_back(document: bytes) -> None:
    packed = layout.pack_media_header(document)
    assert len(packed) == layout.MEDIA_HEADER_SIZE
    assert layout.unpack_media_header(packed) == document


@given(st.binary(min_size=1, max_size=900).filter(lambda data: data[-1]), U32, U32)
def test_trailers_end_on_a_sector(document: bytes, record: int, anchor: int) -> None:
    payload = layout.pad_trailer(document, record, anchor)
    assert (record + layout.RECORD_HEADER_SIZE + len(payload)) % layout.ALIGNMENT == 0
    assert layout.split_trailer(payload) == document
    assert layout.unpack_end_mark(payload[-layout.END_MARK_SIZE :]) == (record, anchor)


GUID_1 = UUID(int=1)


@pytest.mark.parametrize(
    ("packed", "read"),
    [
        (layout.pack_media_header(b"{}"), layout.unpack_media_header),
        (layout.Anchor(4096, 1, GUID_1).pack(), lambda data: layout.unpack_anchor(data, 4096)),
        (
            layout.RecordHeader(2, 0, GUID_1, 5, 5, bytes(16), bytes(16)).pack(),
            layout.unpack_record_header,
        ),
    ],
)
def test_every_bit_is_sealed(packed: bytes, read: object) -> None:
    assert callable(read)
    for at in range(len(packed)):
        for bit in (1, 0x80):
            changed = bytearray(packed)
            changed[at] ^= bit
            with pytest.raises(layout.FormatError):
                read(bytes(changed))
    for length in (0, 5, 100, len(packed) - 1):
        with pytest.raises(layout.FormatError):
            read(packed[:length])


def test_a_newer_major_version_is_said_to_be_one() -> None:
    body = bytearray(layout.pack_media_header(b"{}")[:-16])
    body[16] = 2
    with pytest.raises(layout.NewerVersion):
        layout.unpack_media_header(bytes(body) + layout.digest(body))


def test_an_anchor_of_elsewhere_is_refused() -> None:
    with pytest.raises(layout.FormatError):
        layout.unpack_anchor(layout.Anchor(4096, 1, GUID_1).pack(), 8192)


def test_absurd_lengths_are_not_believed() -> None:
    header = layout.RecordHeader(2, 0, GUID_1, layout.LONGEST_PAYLOAD + 1, 5, bytes(16), bytes(16))
    with pytest.raises(layout.FormatError):
        layout.unpack_record_header(header.pack())


def test_a_media_header_has_a_limit() -> None:
    with pytest.raises(layout.FormatError):
        layout.pack_media_header(b"x" * 4096)


def test_what_a_seal_authenticates_is_fixed() -> None:
    guid = UUID(int=0x0102030405060708090A0B0C0D0E0F10)
    number = layout.seal_number(3, 7)
    assert number == 2 * 2**40 + 7
    packed = layout.associated_data(guid, number, layout.PAGES, layout.ZSTD, layout.SEALED, 9, 4, 4096)
    assert packed.hex() == ("02010100070000000002000009000000000000000400000000100000" + guid.hex)
    assert layout.seal_number(64, 2**40 - 1) < layout.TRAILER_SEAL

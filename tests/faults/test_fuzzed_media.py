"""Whatever a medium's bytes are, also with seals that match, reading it ends in an answer or a MediaError."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsproxy.backup.operations import BackupOptions, backup_database, read_headers, verify_set
from tdsproxy.media import format as layout
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.errors import MediaError
from tests.backup.making import description, disk
from tests.store import processes

FUZZ = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=60_000)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("sound")
    processes.build(folder / "x.db", page_size=512, rows=8)
    device = disk(folder / "m.bak")
    for name in ("one", "two"):
        backup_database(folder / "x.db", device, description(name=name), BackupOptions(compression=True))
    return device.path.read_bytes()


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> DiskDevice:
    return disk(tmp_path_factory.mktemp("fuzzed") / "m.bak")


def read_all(device: DiskDevice, content: bytes) -> list[str]:
    """What reading every set ends in."""
    device.path.write_bytes(content)
    ends = []
    for position in (1, 2):
        try:
            read_headers(device)
            verify_set(device, position)
            ends.append("sound")
        except MediaError as error:
            ends.append(type(error).__name__)
    return ends


def structures(content: bytes) -> list[tuple[int, int]]:
    """(offset, sealed length) of the media header, the anchors and the record headers."""
    found = [(0, layout.MEDIA_HEADER_SIZE)]
    at = layout.MEDIA_HEADER_SIZE
    while at < len(content):
        found.append((at, layout.ANCHOR_SIZE))
        end = at + layout.unpack_anchor(content[at : at + layout.ANCHOR_SIZE], at).length
        at += layout.ANCHOR_SIZE
        while at < end:
            found.append((at, layout.RECORD_HEADER_SIZE))
            head = layout.unpack_record_header(content[at : at + layout.RECORD_HEADER_SIZE])
            at += layout.RECORD_HEADER_SIZE + head.stored_length
    return found


def test_the_sound_medium_is_read(sound: bytes, device: DiskDevice) -> None:
    assert read_all(device, sound) == ["sound", "sound"]
    assert len(structures(sound)) > 8


@FUZZ
@given(st.data())
def test_changed_fields_under_matching_seals(sound: bytes, device: DiskDevice, data: st.DataObject) -> None:
    content = bytearray(sound)
    for offset, length in data.draw(st.lists(st.sampled_from(structures(sound)), min_size=1, max_size=3)):
        at = offset + data.draw(st.integers(0, min(length, 112) - 24))
        value = data.draw(st.sampled_from([0, 1, 2, 511, 4096, 2**31, 2**32 - 1, 2**63, 2**64 - 1]))
        content[at : at + 8] = struct.pack("<Q", value)
        body = bytes(content[offset : offset + length - layout.DIGEST_SIZE])
        content[offset + length - layout.DIGEST_SIZE : offset + length] = layout.digest(body)
    read_all(device, bytes(content))


@FUZZ
@given(st.data())
def test_cut_out_and_repeated_pieces(sound: bytes, device: DiskDevice, data: st.DataObject) -> None:
    places = st.one_of(
        st.sampled_from([offset for offset, _ in structures(sound)]), st.integers(0, len(sound))
    )
    start, end, target = (data.draw(places) for _ in range(3))
    piece = sound[start:end]
    read_all(device, sound[:target] + piece + sound[target:])
    ends = read_all(device, sound[: min(start, end)] + sound[max(start, end) :])
    assert start == end or "sound" not in ends or ends.count("sound") < 2


@FUZZ
@given(st.binary(max_size=2000), st.booleans())
def test_garbage(sound: bytes, device: DiskDevice, garbage: bytes, headed: bool) -> None:
    content = (sound[: layout.MEDIA_HEADER_SIZE] if headed else b"") + garbage
    assert "sound" not in read_all(device, content)


@FUZZ
@given(
    st.sampled_from(["page_size", "page_count", "index_offset", "run_count", "wal"]), st.integers(-5, 2**70)
)
def test_documents_with_other_numbers(sound: bytes, device: DiskDevice, member: str, value: int) -> None:
    """JSON of another content under seals that match, where its length stays."""
    key = f'"{member}":'.encode()
    at = sound.index(key) + len(key)
    end = min(place for place in (sound.find(b",", at), sound.find(b"}", at)) if place > 0)
    text = str(value)[: end - at].rjust(end - at).encode()
    content = bytearray(sound)
    content[at:end] = text
    offset, _ = max(place for place in structures(sound) if place[0] < at)
    head = layout.unpack_record_header(sound[offset : offset + layout.RECORD_HEADER_SIZE])
    start = offset + layout.RECORD_HEADER_SIZE
    seal = layout.digest(content[start : start + head.stored_length])
    content[offset + 56 : offset + 88] = seal + seal
    body = bytes(content[offset : offset + 96])
    content[offset + 96 : offset + 112] = layout.digest(body)
    read_all(device, bytes(content))


def test_a_missing_medium_stays_missing(tmp_path: Path) -> None:
    with pytest.raises(MediaError):
        read_headers(disk(tmp_path / "m.bak"))
    assert list(tmp_path.iterdir()) == []

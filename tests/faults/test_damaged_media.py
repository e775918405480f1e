"""Any changed byte of a medium is noticed, and nothing that an interruption leaves harms earlier sets."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest

from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    read_headers,
    restore_database,
    verify_set,
)
from tdsproxy.media import format as layout
from tdsproxy.media.errors import MediaDamaged, MediaEmpty, MediaError
from tdsproxy.media.reader import MediaReader
from tests.backup.making import description, disk
from tests.store import processes


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.db"
    processes.build(path, page_size=512, rows=12)
    return path


@pytest.fixture(scope="module", params=[False, True], ids=["stored", "compressed"])
def medium(request: pytest.FixtureRequest, source: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a medium with one set."""
    device = disk(tmp_path_factory.mktemp("medium") / "m.bak")
    backup_database(source, device, description(), BackupOptions(compression=request.param))
    return device.path.read_bytes()


def boundaries(content: bytes, path: Path) -> list[int]:
    """Offsets at which structures of a medium begin."""
    path.write_bytes(content)
    found = [0, layout.MEDIA_HEADER_SIZE]
    with MediaReader(disk(path).open_read()) as reader:
        for location in reader.map().sets:
            at = location.offset + layout.ANCHOR_SIZE
            while at < location.offset + location.length:
                found += [at, at + layout.RECORD_HEADER_SIZE]
                head = layout.unpack_record_header(content[at : at + layout.RECORD_HEADER_SIZE])
                at += layout.RECORD_HEADER_SIZE + head.stored_length
            found.append(at)
    return found


def test_every_changed_byte_is_noticed(medium: bytes, tmp_path: Path) -> None:
    device = disk(tmp_path / "m.bak")
    places = boundaries(medium, device.path)
    rng = random.Random(5)
    offsets = set(rng.sample(range(len(medium)), 60))
    for number, place in enumerate(places):
        offsets |= {at for at in range(place - 20 + number % 4, place + 120, 4) if 0 <= at < len(medium)}
    offsets |= set(range(len(medium) - 600, len(medium), 7))
    content = bytearray(medium)
    for at in sorted(offsets):
        original = content[at]
        content[at] ^= rng.choice((1, 2, 4, 8, 16, 32, 64, 128, 255))
        device.path.write_bytes(content)
        with pytest.raises(MediaError):
            verify_set(device, 1)
        content[at] = original
    device.path.write_bytes(content)
    assert verify_set(device, 1)


def test_a_damaged_set_restores_nothing(medium: bytes, source: Path, tmp_path: Path) -> None:
    device, target = disk(tmp_path / "m.bak"), tmp_path / "y.db"
    shutil.copy(source, target)
    before = processes.check(target)
    for at in boundaries(medium, device.path)[:-1]:
        content = bytearray(medium)
        content[at + 5] ^= 0x10
        device.path.write_bytes(content)
        with pytest.raises(MediaError):
            restore_database(device, 1, target, replace=True)
        with pytest.raises(MediaError):
            restore_database(device, 1, tmp_path / "z.db")
    assert processes.check(target) == before
    assert {path.name for path in tmp_path.iterdir()} == {"m.bak", "y.db"}


def test_a_cut_medium_is_noticed_at_every_boundary(medium: bytes, tmp_path: Path) -> None:
    device = disk(tmp_path / "m.bak")
    for place in boundaries(medium, device.path):
        for at in (place - 1, place, place + 1):
            if 0 <= at < len(medium):
                device.path.write_bytes(medium[:at])
                with pytest.raises(MediaError):
                    verify_set(device, 1)


def test_swapped_and_repeated_runs_are_noticed(tmp_path: Path) -> None:
    source = tmp_path / "big.db"
    processes.build(source, rows=900)
    device = disk(tmp_path / "m.bak")
    backup_database(source, device, description())
    content = device.path.read_bytes()
    length = layout.RECORD_HEADER_SIZE + layout.RUN_BYTES
    start = boundaries(content, device.path)[4]
    one, two = content[start : start + length], content[start + length : start + 2 * length]
    assert layout.unpack_record_header(two).stored_length == layout.RUN_BYTES
    for changed in (two + one, one + one, two + two):
        device.path.write_bytes(content[:start] + changed + content[start + 2 * length :])
        with pytest.raises(MediaDamaged):
            verify_set(device, 1)


def test_a_set_of_another_medium_is_noticed(source: Path, tmp_path: Path) -> None:
    one, two = disk(tmp_path / "one.bak"), disk(tmp_path / "two.bak")
    for device in (one, two):
        for _ in range(2):
            backup_database(source, device, description())
    with MediaReader(one.open_read()) as reader:
        places = reader.map().sets
    content = one.path.read_bytes()
    other = two.path.read_bytes()
    at = places[0].offset + layout.ANCHOR_SIZE
    one.path.write_bytes(content[:at] + other[at : places[1].offset] + content[places[1].offset :])
    with pytest.raises(MediaDamaged):
        verify_set(one, 1)
    assert verify_set(one, 2)
    # The second set in the place of the first.
    one.path.write_bytes(content[: places[0].offset] + content[places[1].offset :])
    with pytest.raises(MediaDamaged):
        verify_set(one, 1)


@pytest.fixture
def two_sets(source: Path, tmp_path: Path) -> tuple[Path, int]:
    """A medium with two sets, and where the second begins."""
    device = disk(tmp_path / "m.bak")
    backup_database(source, device, description(name="one"))
    backup_database(source, device, description(name="two"))
    with MediaReader(device.open_read()) as reader:
        return device.path, reader.map().sets[1].offset


def test_damage_to_one_set_leaves_the_other_readable(two_sets: tuple[Path, int], source: Path) -> None:
    path, second = two_sets
    device = disk(path)
    content = path.read_bytes()
    for at in (layout.MEDIA_HEADER_SIZE + 30, layout.MEDIA_HEADER_SIZE + 900):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(MediaDamaged):
            verify_set(device, 1)
        assert verify_set(device, 2).header.description.database_name == "two"
        info = read_headers(device)
        assert info.damage is not None
        assert [item.header.description.database_name for item in info.sets] == ["two"]
    changed = bytearray(content)
    changed[second + 20] ^= 1
    path.write_bytes(changed)
    assert verify_set(device, 1)
    assert read_headers(device).damage is not None


def test_a_torn_append_is_overwritten(two_sets: tuple[Path, int], source: Path) -> None:
    path, second = two_sets
    device = disk(path)
    content = path.read_bytes()
    rng = random.Random(3)
    anchor = layout.unpack_anchor(content[second : second + layout.ANCHOR_SIZE], second)
    opened = layout.Anchor(anchor.offset, anchor.position, anchor.set_guid).pack()
    tail = opened + content[second + layout.ANCHOR_SIZE :]
    tails = [
        b"\0",
        bytes(5000),
        rng.randbytes(3000),
        opened[:100],
        opened,
        *(tail[:length] for length in (700, 2000, len(tail) // 2, len(tail) - 1)),
        tail[:2000] + bytes(len(tail) - 2000),
    ]
    for torn in tails:
        path.write_bytes(content[:second] + torn)
        info = read_headers(device)
        assert [item.header.description.database_name for item in info.sets] == ["one"]
        assert info.damage is None
        result = backup_database(source, device, description(name="three"))
        assert result.position == 2
        names = [item.header.description.database_name for item in read_headers(device).sets]
        assert names == ["one", "three"]
        assert verify_set(device, 1)
        assert verify_set(device, 2)


def test_a_set_whose_writer_died_before_closing_counts(two_sets: tuple[Path, int], source: Path) -> None:
    path, second = two_sets
    device = disk(path)
    content = bytearray(path.read_bytes())
    anchor = layout.unpack_anchor(bytes(content[second : second + layout.ANCHOR_SIZE]), second)
    content[second : second + layout.ANCHOR_SIZE] = layout.Anchor(
        anchor.offset, anchor.position, anchor.set_guid
    ).pack()
    path.write_bytes(content)
    assert verify_set(device, 2)
    assert backup_database(source, device, description(name="three")).position == 3
    closed = path.read_bytes()[second : second + layout.ANCHOR_SIZE]
    assert layout.unpack_anchor(closed, second) == anchor
    # With a byte of its pages changed it is no complete set, and it is not taken for an interrupted one.
    content[second + 2000] ^= 1
    path.write_bytes(content)
    assert read_headers(device).damage is not None
    with pytest.raises(MediaDamaged):
        backup_database(source, device, description())
    assert path.read_bytes() == bytes(content)


def test_an_append_never_destroys_a_damaged_set(two_sets: tuple[Path, int], source: Path) -> None:
    path, second = two_sets
    device = disk(path)
    content = path.read_bytes()
    for at in (second + 2, second + 8, second + 70, second + 600):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        try:
            backup_database(source, device, description(name="three"))
        except MediaDamaged:
            assert path.read_bytes() == bytes(changed)
        else:
            assert path.read_bytes()[: len(changed)][second + 1024 :] == bytes(changed)[second + 1024 :]
    # Cut off inside a closed set: what is left of it stays.
    path.write_bytes(content[: second + 3000])
    with pytest.raises(MediaDamaged):
        backup_database(source, device, description())
    assert path.read_bytes() == content[: second + 3000]


def test_a_medium_on_which_nothing_was_completed(medium: bytes, source: Path, tmp_path: Path) -> None:
    device = disk(tmp_path / "m.bak")
    device.path.write_bytes(medium[: layout.MEDIA_HEADER_SIZE])
    assert read_headers(device).sets == ()
    with pytest.raises(MediaEmpty):
        verify_set(device, 1)
    assert backup_database(source, device, description()).position == 1

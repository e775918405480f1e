"""Any changed byte of a log or differential set is noticed, and never becomes a wrong state of a database."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tdsproxy.backup.operations import (
    BackupOptions,
    apply_differential,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    read_headers,
    restore_image,
    verify_set,
)
from tdsproxy.media import format as layout
from tdsproxy.media.errors import MediaDamaged, MediaError
from tests.backup.history import History
from tests.backup.making import disk
from tests.faults.test_damaged_media import boundaries

Made = tuple[bytes, int]
LOG_COUNT = 14


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    found = History(tmp_path_factory.mktemp("history") / "x.db", page_size=512)
    found.work(LOG_COUNT)
    return found


@pytest.fixture(scope="module", params=["log", "zstd log", "differential", "full with log"])
def medium(
    request: pytest.FixtureRequest, history: History, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, bytes, bytes]:
    """The kind of a set, a medium with nothing else, and the image that it is restored to."""
    folder = tmp_path_factory.mktemp("medium")
    device, base = disk(folder / "m.bak"), disk(folder / "base.bak")
    kind = request.param.split()[-1] if request.param != "full with log" else "full"
    options = BackupOptions(compression="zstd" in request.param)
    # What is there keeps its numbers: nothing is committed here.
    full = history.full(LOG_COUNT)
    backup_database(history.path, base, full)
    tail = history.tail(LOG_COUNT - 3)
    if kind == "log":
        backup_log(history.log(5, LOG_COUNT), device, history.log_set(5, LOG_COUNT), options)
    elif kind == "differential":
        # A few pages are left out, so that there are holes.
        pages = [page for page in range(1, 400) if page % 7]
        backup_differential(
            history.path, pages, device, history.differential(LOG_COUNT - 3, full), options, log=tail
        )
    else:
        backup_database(history.path, device, history.full(LOG_COUNT - 3), options, log=tail)
    image = folder / "image"
    restore_image(base, 1, image)
    return kind, device.path.read_bytes(), image.read_bytes()


def test_every_changed_byte_is_noticed(medium: tuple[str, bytes, bytes], tmp_path: Path) -> None:
    _, content, _ = medium
    device = disk(tmp_path / "m.bak")
    rng = random.Random(11)
    offsets = set(rng.sample(range(len(content)), 40))
    # Every field of a record's header is met, in one record or the next.
    for number, place in enumerate(boundaries(content, device.path)):
        offsets |= {at for at in range(place - 4 + number % 5, place + 120, 5) if 0 <= at < len(content)}
    changed = bytearray(content)
    for at in sorted(offsets):
        changed[at] ^= rng.choice((1, 4, 32, 128, 255))
        device.path.write_bytes(changed)
        with pytest.raises(MediaError):
            verify_set(device, 1)
        changed[at] = content[at]
    device.path.write_bytes(changed)
    assert verify_set(device, 1)


def test_a_damaged_set_never_restores_something_else(
    medium: tuple[str, bytes, bytes], history: History, tmp_path: Path
) -> None:
    """The steps of a restore read less than VERIFYONLY does: what they don't notice, they don't use."""
    kind, content, base = medium
    device, image = disk(tmp_path / "m.bak"), tmp_path / "image"
    steps: dict[str, Callable[[], object]] = {
        "log": lambda: apply_log(device, 1, image, history.lsn(5)),
        "differential": lambda: apply_differential(device, 1, image),
        "full": lambda: restore_image(device, 1, image),
    }
    rng = random.Random(12)
    noticed = 0
    offsets = [place + at for place in boundaries(content, device.path) for at in (3, 33, 60, 90, 119, 300)]
    offsets += rng.sample(range(len(content)), 30)
    for at in offsets:
        if at >= len(content):
            continue
        changed = bytearray(content)
        changed[at] ^= 1 << rng.randrange(8)
        device.path.write_bytes(changed)
        image.write_bytes(base)
        try:
            steps[kind]()
        except MediaError:
            noticed += 1
        else:
            assert image.read_bytes() == history.states[LOG_COUNT]
    assert noticed > len(offsets) * 0.9
    device.path.write_bytes(content)
    image.write_bytes(base)
    steps[kind]()
    assert image.read_bytes() == history.states[LOG_COUNT]


def test_a_cut_medium_is_noticed(medium: tuple[str, bytes, bytes], tmp_path: Path) -> None:
    _, content, _ = medium
    device = disk(tmp_path / "m.bak")
    for place in boundaries(content, device.path):
        for at in (place - 1, place, place + 1):
            if 0 <= at < len(content):
                device.path.write_bytes(content[:at])
                with pytest.raises(MediaError):
                    verify_set(device, 1)


def test_swapped_and_left_out_blocks_are_noticed(history: History, tmp_path: Path) -> None:
    """Each block is sound by itself; their order, number and index are not."""
    device = disk(tmp_path / "m.bak")
    large = History(tmp_path / "large.db", page_size=65536)
    large.work(40)
    backup_log(large.log(0, 40), device, large.log_set(0, 40))
    content = device.path.read_bytes()
    blocks: list[tuple[int, int]] = []
    for at in boundaries(content, device.path)[2:-1]:
        if content[at : at + 4] == b"TBR1":
            head = layout.unpack_record_header(content[at : at + layout.RECORD_HEADER_SIZE])
            if head.kind == layout.LOG:
                blocks.append((at, at + layout.RECORD_HEADER_SIZE + head.stored_length))
    assert len(blocks) >= 3
    (a, b), (c, d) = blocks[0], blocks[1]
    assert b == c
    for changed in (
        content[:a] + content[c:d] + content[a:b] + content[d:],
        content[:a] + content[a:b] + content[a:b] + content[d:],
        content[:a] + content[c:],
    ):
        device.path.write_bytes(changed)
        with pytest.raises(MediaDamaged):
            verify_set(device, 1)
    large.close()


def test_a_torn_log_backup_is_overwritten(history: History, tmp_path: Path) -> None:
    device = disk(tmp_path / "m.bak")
    backup_log(history.log(0, 5), device, history.log_set(0, 5))
    second = device.path.stat().st_size
    backup_log(history.log(5, 14), device, history.log_set(5, 14))
    content = device.path.read_bytes()
    anchor = layout.unpack_anchor(content[second : second + layout.ANCHOR_SIZE], second)
    opened = layout.Anchor(anchor.offset, anchor.position, anchor.set_guid).pack()
    whole = content[:second] + opened + content[second + layout.ANCHOR_SIZE :]
    for length in (second + 1, second + 512, second + 2000, len(whole) - 1):
        device.path.write_bytes(whole[:length])
        assert len(read_headers(device).sets) == 1
        assert read_headers(device).damage is None
        assert backup_log(history.log(5, 9), device, history.log_set(5, 9)).position == 2
        assert verify_set(device, 2).trailer.transaction_count == 4
    # Complete but for the anchor it counts.
    device.path.write_bytes(whole)
    assert verify_set(device, 2).trailer.transaction_count == 9

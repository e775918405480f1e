"""Media of older format versions are read, restored and appended to as those of this one.

``tests/media/data`` holds media that a program with that version wrote: a full set, a differential set and a
log set of a database with pages of 512 bytes.
"""

from __future__ import annotations

import hashlib
import lzma
from pathlib import Path

import pytest

from tdsproxy.backup.operations import (
    apply_differential,
    apply_log,
    backup_database,
    read_headers,
    restore_image,
    verify_set,
)
from tdsproxy.backup.recode import recode
from tdsproxy.media.codecs import Compression
from tdsproxy.media.device import DiskDevice
from tests.backup.making import description, disk
from tests.store import processes

DATA = Path(__file__).parent.parent / "media" / "data"
FULL = "3983ecd92e53a8eeb492a6c4cd8b5c0300f10e1c12893b96cedf794b2290289b"
DIFFERENTIAL = "f5afd66fe483106cc3014ce147569a10d3442199f85cc73572e12c908accfa0b"
LOG = "5b8054c28e222b82f613da3f75929e28f9cea2c15b3dbdc03041b2116a9ebfb3"
FULL_LSN = 39_000_000_000_808_001


@pytest.fixture(params=["stored-1.1", "zstd-1.1"])
def medium(request: pytest.FixtureRequest, tmp_path: Path) -> DiskDevice:
    path = tmp_path / "old.bak"
    path.write_bytes(lzma.decompress((DATA / f"{request.param}.bak.xz").read_bytes()))
    return disk(path)


def seal(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def check(medium: DiskDevice, folder: Path) -> None:
    for position in (1, 2, 3):
        assert verify_set(medium, position).position == position
    image = folder / "image"
    restore_image(medium, 1, image)
    assert seal(image) == FULL
    apply_differential(medium, 2, image)
    assert seal(image) == DIFFERENTIAL
    restore_image(medium, 1, image)
    apply_log(medium, 3, image, FULL_LSN)
    assert seal(image) == LOG


def test_older_media_are_restored_appended_to_and_recoded(medium: DiskDevice, tmp_path: Path) -> None:
    check(medium, tmp_path)
    before = medium.path.read_bytes()
    processes.build(tmp_path / "x.db", rows=3)
    result = backup_database(tmp_path / "x.db", medium, description())
    assert result.position == 4
    assert medium.path.read_bytes().startswith(before)
    for codec in (Compression.of("XZ"), None):
        recode([medium], codec)
        check(medium, tmp_path)
    assert len(read_headers(medium).sets) == 4

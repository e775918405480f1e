"""The model of disks that lie, which the campaign ``lies`` stands on."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from scripts.campaigns.lying_disk import Liar, Liars, room_of
from scripts.campaigns.power_disk import PAGE, Disk


def left_of(disk: Disk, target: Path) -> bytes:
    """What a power cut leaves of the one file."""
    disk.leave(target, None)
    return next(path.read_bytes() for path in target.iterdir() if path.suffix != ".json")


@pytest.mark.parametrize("forever", [False, True])
def test_what_a_lie_was_about_comes_with_the_next_sync_or_never(tmp_path: Path, forever: bool) -> None:
    root = tmp_path / "store"
    root.mkdir()
    path = root / "day.db"
    liar = Liar(root, is_about=lambda other: other == path, left=1, forever=forever)

    def sync(content: bytes) -> bytes:
        path.write_bytes(content)
        liar.take(path, path.stat().st_ino, content)
        return left_of(liar, tmp_path / str(len(list(tmp_path.iterdir()))))

    old, new, newest = (letter * PAGE for letter in (b"a", b"b", b"c"))
    liar.left = 0
    liar.take(root, root.stat().st_ino, {})
    path.write_bytes(old + old)
    liar.take(root, root.stat().st_ino, {path.name: path.stat().st_ino})
    assert sync(old + old) == old + old
    liar.left = 1
    assert sync(new + new) == old + old
    assert sync(new + newest) == (old if forever else new) + newest


def test_disks_part_by_the_seed_alone(tmp_path: Path) -> None:
    """Each of them has its power cut once."""

    def names() -> list[str]:
        cut: list[Liar] = []
        disk = Liars(root, on_cut=cut.append, rng=random.Random(7), share=0.5)
        for number in range(40):
            path = root / f"{number % 3}.db"
            path.write_bytes(bytes([number]) * PAGE)
            with path.open("rb") as file:
                disk.synced(path, file.fileno())
        disk.cut_all()
        assert len({id(one) for one in cut}) == len(cut) == sum(disk.lies.values())
        return [one.name for one in cut]

    root = tmp_path / "store"
    root.mkdir()
    first = names()
    assert len(first) > 5
    assert names() == first


def test_kinds_of_things(tmp_path: Path) -> None:
    rooms = {
        "day.db": "databases",
        "day.db-wal": "WAL",
        "master.db-wal": "master",
        "backup/full.bak": "media",
        "log/X/Y/1.seg": "archive of the log",
        "keeper.json": "other files",
    }
    assert {name: room_of(tmp_path, tmp_path / name) for name in rooms} == rooms
    assert room_of(tmp_path, tmp_path) == "directories"

"""A replacement of several media that was killed between its renames is finished; nothing else is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.null_device import NullDevice
from tdsproxy.media.replacement import finish_replacement
from tests.media.making import content, make, plan, run


def families(folder: Path) -> list[DiskDevice]:
    return [DiskDevice(folder / f"{number}.bak") for number in range(2)]


def interrupted(folder: Path, renamed: int = 1) -> tuple[list[DiskDevice], object]:
    """Two media of an old set, replaced by two of a new one of which so many were renamed."""
    devices = families(folder)
    make([device.path for device in devices], plan())
    (folder / "new").mkdir()
    new = make([folder / "new" / device.path.name for device in devices], plan(runs=[run(1, 20)]))
    expected = content(new)
    for number, device in enumerate(devices):
        target = device.path if number < renamed else device.path.with_name(f".{device.path.name}.new")
        (folder / "new" / device.path.name).rename(target)
    return devices, expected


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_the_rest_is_put_in_place(tmp_path: Path) -> None:
    devices, expected = interrupted(tmp_path)
    finish_replacement(devices)
    assert sorted(state(tmp_path)) == ["0.bak", "1.bak"]
    assert content(DeviceSet(tuple(devices))) == expected
    finish_replacement(devices)


@pytest.mark.parametrize(
    "harm",
    ["none was renamed", "one is damaged", "one is of another", "somebody writes", "no set", "nothing"],
)
def test_what_does_not_show_that_the_rest_was_to_follow_is_left(tmp_path: Path, harm: str) -> None:
    devices, _ = interrupted(tmp_path, 0 if harm == "none was renamed" else 1)
    beside = tmp_path / ".1.bak.new"
    if harm == "one is damaged":
        data = bytearray(beside.read_bytes())
        data[4096] ^= 1
        beside.write_bytes(data)
    elif harm == "no set":
        beside.write_bytes(beside.read_bytes()[:4096])
    elif harm == "nothing":
        beside.write_bytes(b"")
    elif harm == "one is of another":
        (tmp_path / "third").mkdir()
        make([tmp_path / "third" / "1.bak", tmp_path / "third" / "2.bak"], plan())
        beside.write_bytes((tmp_path / "third" / "1.bak").read_bytes())
    before = state(tmp_path)
    if harm == "somebody writes":
        with devices[0].lock(lambda: False):
            finish_replacement(devices)
    else:
        finish_replacement(devices)
    assert state(tmp_path) == before


def test_single_media_and_those_without_a_file_have_nothing_to_finish(tmp_path: Path) -> None:
    devices, _ = interrupted(tmp_path)
    before = state(tmp_path)
    finish_replacement(devices[:1])
    finish_replacement([*devices, NullDevice()])
    assert state(tmp_path) == before

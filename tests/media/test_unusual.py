"""What is given back when a medium turns out not to be one, and replacements of more than two media."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tdsproxy.media.device import DiskDevice
from tdsproxy.media.errors import MediaEmpty, MediaError
from tdsproxy.media.null_device import NullDevice
from tdsproxy.media.pace import PacedReader, PacedWriter
from tdsproxy.media.reader import MediaReader
from tdsproxy.media.replacement import finish_replacement
from tests.media.making import content, make, plan, run


def descriptors(folder: Path) -> list[str]:
    """The files below ``folder`` that this process has open."""
    found = []
    for path in Path("/proc/self/fd").iterdir():
        try:
            name = str(path.readlink())
        except FileNotFoundError:
            continue
        if name.startswith(f"{folder}/"):
            found.append(name)
    return found


def _header_damaged(data: bytes) -> bytes:
    return data[:300] + b"\xff" + data[301:]


@pytest.mark.parametrize(
    "harm",
    [lambda data: b"", lambda data: b"no medium" * 500, _header_damaged, lambda data: data[:100]],
    ids=["empty", "foreign", "damaged", "cut off"],
)
def test_what_is_no_medium_is_not_kept_open(tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    path = tmp_path / "x.bak"
    make([path], plan())
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(MediaError):
        MediaReader(DiskDevice(path).open_read())
    assert descriptors(tmp_path) == []


def test_who_looks_for_an_interrupted_replacement_leaves_nothing_open(tmp_path: Path) -> None:
    devices = [DiskDevice(tmp_path / f"{number}.bak") for number in range(2)]
    make([device.path for device in devices], plan())
    (tmp_path / ".0.bak.new").write_bytes(b"")
    (tmp_path / ".1.bak.new").write_bytes(b"what nobody wrote" * 300)
    finish_replacement(devices)
    assert descriptors(tmp_path) == []


def test_only_what_is_missing_of_three_is_put_in_place(tmp_path: Path) -> None:
    """One medium has its new content, one waits for it; beside the third lies what another left."""
    devices = [DiskDevice(tmp_path / f"{number}.bak") for number in range(3)]
    make([device.path for device in devices], plan())
    (tmp_path / "new").mkdir()
    new = make([tmp_path / "new" / device.path.name for device in devices], plan(runs=[run(1, 20)]))
    expected = content(new)
    (tmp_path / "new" / "0.bak").rename(tmp_path / "0.bak")
    (tmp_path / "new" / "1.bak").rename(tmp_path / ".1.bak.new")
    (tmp_path / "new" / "2.bak").rename(tmp_path / "2.bak")
    (tmp_path / ".2.bak.new").write_bytes(b"of a writer who died early")
    finish_replacement(devices)
    assert content(new.__class__(tuple(devices))) == expected
    assert not (tmp_path / ".1.bak.new").exists()
    assert (tmp_path / ".2.bak.new").read_bytes() == b"of a writer who died early"


def test_media_of_which_one_has_no_set_anywhere_are_left(tmp_path: Path) -> None:
    """Two of three are new; of the third neither the medium nor what is beside it belongs to them."""
    devices = [DiskDevice(tmp_path / f"{number}.bak") for number in range(3)]
    make([device.path for device in devices], plan())
    (tmp_path / "new").mkdir()
    make([tmp_path / "new" / device.path.name for device in devices], plan(runs=[run(1, 20)]))
    (tmp_path / "new" / "0.bak").rename(tmp_path / "0.bak")
    (tmp_path / "new" / "1.bak").rename(tmp_path / ".1.bak.new")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    finish_replacement(devices)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_nothing_can_be_read_from_where_nothing_is_kept() -> None:
    device = NullDevice()
    assert (device.name, device.identity) == ("NUL", None)
    with pytest.raises(MediaEmpty):
        MediaReader(device.open_read())
    with device.lock(lambda: False) as medium:
        assert medium.reader() is None
        writer = medium.replace()
        writer.append([b"abc", b"de"])
        writer.patch(0, b"x")
        writer.publish()
        assert writer.offset == 5


def test_a_pace_changes_nothing_but_the_time(tmp_path: Path) -> None:
    device, moved = DiskDevice(tmp_path / "x.bak"), []
    with device.lock(lambda: False) as medium:
        dropped = PacedWriter(medium.append(0), moved.append)
        dropped.append([b"abc"])
        dropped.discard()
    assert not device.path.exists()
    with device.lock(lambda: False) as medium:
        writer = PacedWriter(medium.append(0), moved.append)
        writer.append([b"abc", memoryview(b"def")])
        writer.patch(0, b"A")
        writer.sync()
        writer.publish()
        assert writer.offset == 6
    reader = PacedReader(device.open_read(), moved.append)
    assert (reader.name, reader.is_whole, reader.size()) == (device.name, False, 6)
    assert reader.read_at(1, 3) == b"bcd"
    reader.close()
    assert moved == [3, 6, 3]
    assert descriptors(tmp_path) == []


def test_a_lock_ends_though_its_file_cannot_be_removed(tmp_path: Path) -> None:
    device = DiskDevice(tmp_path / "x.bak")

    def write() -> None:
        with device.lock(lambda: False) as medium:
            medium.append(0)
            # Somebody makes room for a folder of that name.
            device.path.unlink()
            device.path.mkdir()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write()
    assert descriptors(tmp_path) == []

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tdsproxy.media.device import DiskDevice, LockedMedium
from tdsproxy.media.errors import DeviceCancelled, DeviceError, MediaMissing
from tdsproxy.media.null_device import NullDevice


def never() -> bool:
    return False


def fail(device: DiskDevice, work: Callable[[LockedMedium], None]) -> None:
    """Write under the lock, then fail."""

    def run() -> None:
        with device.lock(never) as medium:
            work(medium)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        run()


def put(path: Path, content: bytes) -> DiskDevice:
    path.write_bytes(content)
    return DiskDevice(path)


def test_append_drops_what_lies_behind(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"0123456789")
    with device.lock(never) as medium:
        handle = medium.append(4)
        handle.append([b"ab", bytearray(b"cd"), memoryview(b"")])
        handle.patch(0, b"X")
        assert handle.offset == 8
        handle.sync()
        handle.publish()
    assert device.path.read_bytes() == b"X123abcd"


def test_an_append_that_fails_leaves_what_was_before_it(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"0123456789")
    fail(device, lambda medium: medium.append(10).append([b"more"]))
    assert device.path.read_bytes() == b"0123456789"


def test_a_new_file_that_fails_is_gone(tmp_path: Path) -> None:
    device = DiskDevice(tmp_path / "m.bak")
    fail(device, lambda medium: medium.append(0).append([b"more"]))
    assert list(tmp_path.iterdir()) == []


def test_a_replacement_is_seen_only_when_published(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"old")
    fail(device, lambda medium: medium.replace().append([b"new"]))
    assert device.path.read_bytes() == b"old"
    with device.lock(never) as medium:
        handle = medium.replace()
        handle.append([b"new"])
        assert device.path.read_bytes() == b"old"
        handle.publish()
    assert device.path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [device.path]


def test_writers_of_one_medium_wait_for_each_other(tmp_path: Path) -> None:
    device = DiskDevice(tmp_path / "m.bak")
    inside = threading.Event()
    order: list[str] = []

    def second() -> None:
        with device.lock(lambda: inside.set() or False) as medium:  # type: ignore[func-returns-value]
            order.append("second")
            reader = medium.reader()
            assert reader is not None
            order.append(reader.read_at(0, 10).decode())

    thread = threading.Thread(target=second)
    with device.lock(never) as medium:
        thread.start()
        assert inside.wait(60)
        order.append("first")
        handle = medium.replace()
        handle.append([b"replaced"])
        handle.publish()
    thread.join(60)
    assert order == ["first", "second", "replaced"]


def test_waiting_can_be_cancelled(tmp_path: Path) -> None:
    device = DiskDevice(tmp_path / "m.bak")
    with device.lock(never), pytest.raises(DeviceCancelled), device.lock(lambda: True):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo", "no such directory"])
def test_what_cannot_be_opened(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "m.bak"
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "no such directory":
        path = tmp_path / "no" / "m.bak"
    with pytest.raises(DeviceError) as caught:
        DiskDevice(path).open_read()
    assert caught.value.operation == "open"
    assert isinstance(caught.value, MediaMissing) == (kind in ("missing", "no such directory"))
    if kind != "missing":
        with pytest.raises(DeviceError), DiskDevice(path).lock(never):
            pass


def test_a_guard_is_asked_before_anything_is_opened(tmp_path: Path) -> None:
    asked = []

    def guard(path: Path) -> None:
        asked.append(path)
        raise PermissionError(13, "no")

    device = DiskDevice(tmp_path / "live.db", guard=guard)
    with pytest.raises(DeviceError) as caught:
        device.open_read()
    assert caught.value.errno == 13
    with pytest.raises(DeviceError), device.lock(never):
        pass
    assert asked == [tmp_path / "live.db"] * 2
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_kept_by_nul() -> None:
    device = NullDevice()
    with device.lock(never) as medium:
        assert medium.reader() is None
        handle = medium.append(0)
        handle.append([b"abc"])
        assert handle.offset == 3
        handle.publish()
    assert device.open_read().size() == 0

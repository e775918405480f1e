from __future__ import annotations

import errno
import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.media import device as device_module
from tdsproxy.media.device import DiskDevice, LockedMedium
from tdsproxy.media.errors import DeviceCancelled, DeviceError, MediaMissing, from_os_error
from tdsproxy.media.null_device import NullDevice, is_null
from tests.log import support


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


def test_a_link_in_the_place_of_a_replacement_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"a database")
    (tmp_path / ".x.bak.new").symlink_to(tmp_path / "x.db")
    with DiskDevice(tmp_path / "x.bak").lock(lambda: False) as medium:
        writing = medium.replace()
        writing.append([b"new"])
        writing.publish()
    assert (tmp_path / "x.bak").read_bytes() == b"new"
    assert not (tmp_path / "x.bak").is_symlink()
    assert (tmp_path / "x.db").read_bytes() == b"a database"


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


class Failing:
    """A system call that fails, or does little at a time."""

    def __init__(self, function: Callable[..., Any], number: int) -> None:
        self._function, self._number = function, number

    def __call__(self, *arguments: Any, **more: Any) -> Any:
        raise OSError(self._number, os.strerror(self._number))


@pytest.mark.parametrize(
    ("name", "work"),
    [
        ("ftruncate", lambda medium: medium.append(4)),
        ("writev", lambda medium: medium.append(10).append([b"more"])),
        ("pwrite", lambda medium: medium.append(10).patch(0, b"X")),
        ("fsync", lambda medium: medium.append(10).sync()),
        ("fsync", lambda medium: medium.append(10).publish()),
        ("pread", lambda medium: medium.reader().read_at(0, 4)),
    ],
)
def test_what_the_system_refuses_is_an_error_of_the_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, work: Callable[[LockedMedium], None]
) -> None:
    device = put(tmp_path / "m.bak", b"0123456789")
    with device.lock(never) as medium:
        monkeypatch.setattr(os, name, Failing(getattr(os, name), errno.ENOSPC))
        with pytest.raises(DeviceError) as caught:
            work(medium)
        monkeypatch.undo()
    assert (caught.value.errno, caught.value.device) == (errno.ENOSPC, str(device.path))
    assert caught.value.operation == ("read" if name == "pread" else "write")
    assert device.path.read_bytes() == b"0123456789"


def test_a_medium_that_cannot_be_replaced_stays(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"old")
    (tmp_path / ".m.bak.new").mkdir()
    with device.lock(never) as medium, pytest.raises(DeviceError, match="open failed: 21"):
        medium.replace()
    assert device.beside is None
    with pytest.raises(DeviceError, match="write failed"):
        device.put_in_place()
    assert device.path.read_bytes() == b"old"


def test_what_lies_beside_a_medium_takes_its_place(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"old")
    beside = tmp_path / ".m.bak.new"
    beside.symlink_to(device.path)
    assert device.beside is None, "what a link leads to may be a database"
    beside.unlink()
    beside.write_bytes(b"new")
    assert device.beside is not None
    device.put_in_place()
    assert device.path.read_bytes() == b"new"
    assert device.beside is None


def test_a_medium_is_removed(tmp_path: Path) -> None:
    device = put(tmp_path / "m.bak", b"old")
    with device.lock(never):
        device.remove()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "m.bak").mkdir()
    with pytest.raises(DeviceError, match="delete failed"):
        device.remove()


def test_a_disk_that_does_little_at_a_time_does_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = DiskDevice(tmp_path / "m.bak")
    writev, pread = os.writev, os.pread
    monkeypatch.setattr(os, "writev", lambda descriptor, views: writev(descriptor, [views[0][:3]]))
    monkeypatch.setattr(os, "pread", lambda descriptor, size, at: pread(descriptor, min(size, 3), at))
    with device.lock(never) as medium:
        handle = medium.append(0)
        handle.append([b"0123456789", b"abc"])
        handle.publish()
    reader = device.open_read()
    assert reader.read_at(0, 13) == b"0123456789abc"
    assert reader.read_at(5, 100) == b"56789abc"
    reader.close()
    reader.close()
    monkeypatch.setattr(os, "pwrite", lambda *_: 1)
    with device.lock(never) as medium, pytest.raises(DeviceError, match="short write"):
        medium.append(13).patch(0, b"XY")


def test_much_is_written_out_before_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(device_module, "_FLUSH_BYTES", 10)
    monkeypatch.setattr(os, "posix_fadvise", lambda _, offset, length, advice: told.append((offset, length)))
    with DiskDevice(tmp_path / "m.bak").lock(never) as medium:
        handle = medium.append(0)
        for _ in range(5):
            handle.append([b"12345"])
        handle.publish()
    assert told == [(0, 10), (10, 10)]


def test_a_lock_that_the_system_refuses_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device = put(tmp_path / "m.bak", b"old")
    before = support.descriptors(str(tmp_path))
    monkeypatch.setattr(fcntl, "flock", Failing(fcntl.flock, errno.ENOLCK))
    with pytest.raises(DeviceError, match="lock failed"), device.lock(never):
        pass
    assert support.descriptors(str(tmp_path)) == before
    assert device.path.read_bytes() == b"old"


def test_a_file_that_was_removed_while_it_was_waited_for_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = put(tmp_path / "m.bak", b"old")
    flock = fcntl.flock

    def late(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", flock)
        flock(descriptor, operation)
        device.path.unlink()

    monkeypatch.setattr(fcntl, "flock", late)
    with device.lock(never) as medium:
        assert medium.reader() is None
        handle = medium.append(0)
        handle.append([b"new"])
        handle.publish()
    assert device.path.read_bytes() == b"new"


def test_an_error_without_a_number_is_told(tmp_path: Path) -> None:
    error = from_os_error("m", "open", OSError("said the guard"))
    assert error.errno == errno.EIO
    assert str(error).endswith(f"open failed: {errno.EIO}(said the guard)")


def test_the_null_device_swallows_all() -> None:
    device = NullDevice()
    assert device.identity is None
    reader = device.open_read()
    assert (reader.name, reader.size(), reader.read_at(0, 5)) == ("NUL", 0, b"")
    reader.close()
    assert [is_null(name) for name in ("nul", " NUL: ", "/dev/null", "null")] == [True, True, True, False]
    with device.lock(never) as medium:
        assert medium.reader() is None
        for handle in (medium.append(0), medium.replace()):
            handle.append([b"123", b"45"])
            handle.patch(0, b"X")
            handle.sync()
            assert handle.offset == 5
            handle.publish()
            handle.discard()

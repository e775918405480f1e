"""One object that is written in parts: the store's answer is lost, it fails, nobody wants it any more."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest

from tdsproxy.media.errors import DeviceCancelled, DeviceError, RemoteError
from tdsproxy.media.object_device import ObjectDevice, ObjectReader, Share
from tdsproxy.media.object_upload import UNKNOWN, Upload
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.store import Abandoned, Bucket, Found
from tdsproxy.objects.url import parse_url
from tdsproxy.store.upload_notes import UploadNote, notes

PATIENCE = 60
LOST = ObjectError(Reason.UNREACHABLE)


class _Double(Bucket):
    """A store that takes all of an upload and then answers as it is told. ``there`` is what it has."""

    def __init__(
        self, error: BaseException | None, there: Found | None = None, *, own_key: bool = False
    ) -> None:
        self.has_own_key = own_key
        self._error = error
        self.there = there
        self.silent: ObjectError | None = None
        self.received = b""
        self.first = threading.Event()

    def find(self, key: str) -> Found | None:
        if self.silent is not None:
            raise self.silent
        return self.there

    def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
        for piece in pieces:
            self.received += piece
            self.first.set()
        if self._error is not None:
            raise self._error


def _upload(bucket: Bucket, before: str | None) -> Upload:
    return Upload(bucket, "k", 5 << 20, 2, lambda: False, before)


@pytest.mark.parametrize("before", [None, "former"])
def test_an_object_that_came_is_there_though_the_answer_was_lost(before: str | None) -> None:
    upload = _upload(_Double(LOST, Found("k", 6, "new")), before)
    upload.write(b"abc")
    upload.write(b"def")
    upload.finish()


@pytest.mark.parametrize(
    ("there", "before"),
    [
        (None, None),
        (Found("k", 6, "former"), "former"),
        (Found("k", 5, "new"), None),
        # Nobody can tell whether that is the former one or ours.
        (Found("k", 6, "new"), UNKNOWN),
    ],
)
def test_when_the_answer_was_lost_another_object_is_none_of_ours(
    there: Found | None, before: str | None
) -> None:
    upload = _upload(_Double(LOST, there), before)
    upload.write(b"abcdef")
    with pytest.raises(ObjectError) as caught:
        upload.finish()
    assert caught.value.reason is Reason.UNREACHABLE
    # What is left in the store, nobody knows.
    assert not upload.discard()


def test_a_store_that_does_not_say_whether_it_is_there_has_not_got_it() -> None:
    bucket = _Double(LOST, Found("k", 6, "new"))
    bucket.silent = ObjectError(Reason.THROTTLED)
    upload = _upload(bucket, None)
    upload.write(b"abcdef")
    with pytest.raises(ObjectError) as caught:
        upload.finish()
    assert caught.value.reason is Reason.UNREACHABLE


def test_an_error_that_nobody_expected_is_no_end_of_an_upload() -> None:
    upload = _upload(_Double(MemoryError("no room")), None)
    upload.write(b"abcdef")
    with pytest.raises(MemoryError):
        upload.finish()


def test_who_writes_on_is_told_that_the_store_failed() -> None:
    class Failing(_Double):
        def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
            next(iter(pieces))
            raise ObjectError(Reason.DENIED)

    device = ObjectDevice(parse_url("s3://h/b/k"), Failing(None), share=Share(1, 5 << 20))

    def write() -> None:
        with device.lock(lambda: False) as medium:
            handle = medium.replace()
            while True:
                handle.append([bytes(1 << 20)])

    with pytest.raises(RemoteError) as caught:
        write()
    assert caught.value.reason is Reason.DENIED


def test_who_waits_for_the_store_waits_on_while_he_is_not_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tdsproxy.media.object_upload._POLL_SECONDS", 0.001)
    asked, may = threading.Semaphore(0), threading.Event()

    class Slow(_Double):
        def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
            assert may.wait(PATIENCE)
            super().upload(key, pieces, part_size, concurrency)

    def cancelled() -> bool:
        asked.release()
        return False

    bucket = Slow(None)
    upload = Upload(bucket, "k", 5 << 20, 2, cancelled, None)
    pieces = [bytes([number]) for number in range(20)]

    def write() -> None:
        for piece in pieces:
            upload.write(piece)
        upload.finish()

    thread = threading.Thread(target=write)
    thread.start()
    # It was asked, and still waits, more than once.
    assert asked.acquire(timeout=PATIENCE)
    assert asked.acquire(timeout=PATIENCE)
    may.set()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert bucket.received == b"".join(pieces)


def test_an_upload_that_gets_nothing_for_a_while_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backup that waits for its database sends nothing meanwhile."""
    monkeypatch.setattr("tdsproxy.media.object_upload._POLL_SECONDS", 0.001)
    bucket = _Double(None)
    upload = _upload(bucket, None)
    empty = threading.Event()
    get: Callable[..., bytes | None] = upload._queue.get

    def watched(*arguments: object, **named: object) -> bytes | None:
        try:
            return get(*arguments, **named)
        except BaseException:
            empty.set()
            raise

    monkeypatch.setattr(upload._queue, "get", watched)
    upload.write(b"abc")
    assert bucket.first.wait(PATIENCE)
    empty.clear()
    assert empty.wait(PATIENCE)
    upload.write(b"def")
    upload.finish()
    assert bucket.received == b"abcdef"


def _write(device: ObjectDevice, *, publish: bool = True) -> None:
    with device.lock(lambda: False) as medium:
        handle = medium.append(0)
        # More than a part: the upload begins before the end.
        for _ in range(6):
            handle.append([bytes(1 << 20), b""])
        assert handle.offset == 6 << 20
        if publish:
            handle.publish()


def test_a_note_stays_as_long_as_something_may_be_left_in_the_store(tmp_path: Path) -> None:
    url = parse_url("s3://h/b/k")

    def device(bucket: Bucket) -> ObjectDevice:
        note = UploadNote(tmp_path, url.text, None, None)
        return ObjectDevice(url, bucket, share=Share(1, 5 << 20), note=note)

    bucket = _Double(None)
    _write(device(bucket))
    assert (len(bucket.received), notes(tmp_path)) == (6 << 20, [])

    class Tidy(_Double):
        def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
            with pytest.raises(Abandoned):
                super().upload(key, pieces, part_size, concurrency)
            raise Abandoned

    _write(device(Tidy(None)), publish=False)
    assert notes(tmp_path) == []
    with pytest.raises(RemoteError):
        _write(device(_Double(LOST)))
    (left,) = notes(tmp_path)
    assert left.stat().st_mode & 0o077 == 0
    assert url.text in left.read_text()


def test_without_its_note_no_upload_begins(tmp_path: Path) -> None:
    """Nobody would know later what to remove from the store."""
    (tmp_path / "store").write_bytes(b"")
    bucket = _Double(None)
    note = UploadNote(tmp_path / "store", "s3://h/b/k", None, None)
    device = ObjectDevice(parse_url("s3://h/b/k"), bucket, share=Share(1, 5 << 20), note=note)
    with pytest.raises(DeviceError) as caught:
        _write(device)
    assert (caught.value.operation, caught.value.errno) == ("write", errno.ENOTDIR)
    assert bucket.received == b""


def test_nothing_is_appended_to_an_object() -> None:
    device = ObjectDevice(parse_url("s3://h/b/k"), _Double(None))
    with device.lock(lambda: False) as medium, pytest.raises(RemoteError) as caught:
        medium.append(4096)
    assert caught.value.reason is Reason.EXISTS


def test_an_object_under_another_key_is_replaced_by_who_may_overwrite() -> None:
    for own_key, overwrite, reason in (
        (True, True, Reason.DENIED),
        (True, False, Reason.DENIED),
        (False, True, Reason.DENIED),
        (True, True, Reason.UNREACHABLE),
    ):
        bucket = _Double(None, own_key=own_key)
        bucket.silent = ObjectError(reason)
        device = ObjectDevice(parse_url("s3://h/b/k"), bucket, overwrite=overwrite, share=Share(1, 5 << 20))
        if own_key and overwrite and reason is Reason.DENIED:
            _write(device)
            assert len(bucket.received) == 6 << 20
        else:
            with pytest.raises(RemoteError) as caught:
                _write(device)
            assert caught.value.reason is reason
            assert bucket.received == b""


def test_a_second_writer_who_gives_up_writes_nothing() -> None:
    bucket = _Double(None)
    device = ObjectDevice(parse_url("s3://h/b/k"), bucket)
    with device.lock(lambda: False), pytest.raises(DeviceCancelled), device.lock(lambda: True):
        raise AssertionError("there are two writers")
    assert bucket.received == b""


class _Streaming(Bucket):
    """``ended`` is set when whoever reads the stream has left it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.begun, self.ended = threading.Event(), threading.Event()

    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._data[offset : offset + length]

    def pieces(self, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
        self.begun.set()
        try:
            for at in range(offset, len(self._data), 1000):
                yield self._data[at : at + 1000]
        finally:
            self.ended.set()


def test_who_stops_reading_keeps_no_stream_open() -> None:
    bucket = _Streaming(bytes(range(250)) * 400)
    reader = ObjectReader("x", bucket, "k", 100_000, 4096)
    assert reader.read_at(0, 9000) == (bytes(range(250)) * 36)[:9000]
    assert bucket.begun.wait(PATIENCE)
    threads = [thread for thread in threading.enumerate() if thread.name == "object"]
    reader.close()
    assert bucket.ended.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    # Blocks that were on their way are not kept.
    assert reader.read_at(50_000, 4) == bytes(range(4))


def test_a_stream_that_ends_at_a_block_s_end(caplog: pytest.LogCaptureFixture) -> None:
    data = bytes(range(256)) * 128
    with caplog.at_level(logging.INFO):
        reader = ObjectReader("x", _Streaming(data), "k", len(data), 4096)
        assert b"".join(reader.read_at(at, 4096) for at in range(0, len(data), 4096)) == data
        reader.close()
    assert caplog.records == []

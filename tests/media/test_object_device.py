"""A medium in an object, on the library's own store in a folder: the double of those that no test reaches."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from tdsproxy.media.errors import DeviceCancelled, RemoteError
from tdsproxy.media.object_device import ObjectDevice, ObjectLocks, ObjectReader, Share
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching
from tdsproxy.objects.store import Abandoned, Bucket, open_bucket
from tdsproxy.objects.url import ObjectUrl, parse_url


@pytest.fixture
def url(tmp_path: Path) -> ObjectUrl:
    return parse_url(f"file://{tmp_path}/store", object_needed=False).child("a/x.bak")


@pytest.fixture
def bucket(url: ObjectUrl) -> Bucket:
    return open_bucket(url, None, Reaching())


def _write(device: ObjectDevice, pieces: list[bytes], *, publish: bool = True) -> None:
    with device.lock(lambda: False) as medium:
        assert medium.reader() is None
        handle = medium.append(0)
        for piece in pieces:
            handle.append([piece])
        handle.patch(0, b"PATCH")
        handle.sync()
        if publish:
            handle.publish()


def test_it_exists_when_it_is_published(url: ObjectUrl, bucket: Bucket) -> None:
    device = ObjectDevice(url, bucket)
    with pytest.raises(RemoteError) as caught:
        device.open_read()
    assert caught.value.reason is Reason.MISSING
    _write(device, [b"0123456789"], publish=False)
    assert list(bucket.list("")) == []
    _write(device, [b"0123456789"])
    reader = device.open_read()
    # Small enough to be patched before it left.
    assert (reader.size(), reader.read_at(0, 100), reader.is_whole) == (10, b"PATCH56789", True)
    reader.close()
    with pytest.raises(RemoteError) as caught:
        _write(device, [b"other"])
    assert caught.value.reason is Reason.EXISTS
    _write(ObjectDevice(url, bucket, overwrite=True), [b"other"])
    assert bucket.read_all(url.key)[0] == b"PATCH"


def test_a_large_one_goes_in_parts_and_stays_as_it_was_sent(url: ObjectUrl, bucket: Bucket) -> None:
    pieces = [random.Random(number).randbytes(1 << 20) for number in range(13)]
    _write(ObjectDevice(url, bucket, share=Share(1, 5 << 20)), pieces)
    assert bucket.read_all(url.key)[0] == b"".join(pieces)


def test_there_are_only_so_many_parts(
    url: ObjectUrl, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdsproxy.media.object_device.MOST_PARTS", 2)
    with pytest.raises(RemoteError) as caught:
        _write(ObjectDevice(url, bucket, share=Share(1, 5 << 20)), [bytes(1 << 20)] * 11)
    assert caught.value.reason is Reason.TOO_LONG
    assert list(bucket.list("")) == []


def test_reading_in_any_order(url: ObjectUrl, bucket: Bucket) -> None:
    data = random.Random(1).randbytes(300_000)
    bucket.write(url.key, data)
    reader = ObjectReader("x", bucket, url.key, len(data), 4096)
    rng = random.Random(2)
    at = 0
    for _ in range(400):
        if rng.random() < 0.2:
            at = rng.randrange(len(data))
        length = rng.randrange(1, 9000)
        assert reader.read_at(at, length) == data[at : at + length]
        at += length
    assert reader.read_at(len(data), 10) == b""
    reader.close()


def test_reading_from_many_threads(url: ObjectUrl, bucket: Bucket) -> None:
    data = random.Random(1).randbytes(1_000_000)
    bucket.write(url.key, data)
    reader = ObjectReader("x", bucket, url.key, len(data), 16384)
    wrong: list[int] = []

    def read(first: int) -> None:
        for at in range(first * 5000, len(data), 4 * 5000):
            if reader.read_at(at, 5000) != data[at : at + 5000]:
                wrong.append(at)

    threads = [threading.Thread(target=read, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    reader.close()
    assert wrong == []


class _Cut(Bucket):
    """Streams break off; ranges work."""

    def __init__(self, inner: Bucket) -> None:
        self._inner = inner
        self.streams = 0

    def read(self, key: str, offset: int, length: int) -> bytes:
        return self._inner.read(key, offset, length)

    def pieces(self, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
        self.streams += 1
        yield self._inner.read(key, offset, 10_000)
        raise ObjectError(Reason.UNREACHABLE)


def test_a_stream_that_breaks_off_is_no_end(url: ObjectUrl, bucket: Bucket) -> None:
    data = random.Random(1).randbytes(200_000)
    bucket.write(url.key, data)
    cut = _Cut(bucket)
    reader = ObjectReader("x", cut, url.key, len(data), 4096)
    assert b"".join(reader.read_at(at, 1000) for at in range(0, len(data), 1000)) == data
    assert cut.streams > 1
    reader.close()


class _Stalled(Bucket):
    """A store that takes the first piece of an upload, and no more before it may."""

    def __init__(self) -> None:
        self.may, self.abandoned = threading.Event(), threading.Event()

    def find(self, key: str) -> None:
        return None

    def upload(self, key: str, pieces: Iterable[bytes], part_size: int, concurrency: int) -> None:
        coming = iter(pieces)
        next(coming)
        assert self.may.wait(60)
        try:
            for _ in coming:
                pass
        except Abandoned:
            self.abandoned.set()
            raise


def test_a_store_that_takes_nothing_does_not_keep_who_is_cancelled(
    url: ObjectUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdsproxy.media.object_upload._DISCARD_SECONDS", 0.01)
    stalled, cancelled = _Stalled(), threading.Event()
    device = ObjectDevice(url, stalled, share=Share(1, 5 << 20))

    def write() -> None:
        with device.lock(cancelled.is_set) as medium:
            handle = medium.append(0)
            cancelled.set()
            for _ in range(100):
                handle.append([bytes(1 << 20)])

    with pytest.raises(DeviceCancelled):
        write()
    # What is under way ends when the store goes on.
    stalled.may.set()
    assert stalled.abandoned.wait(60)


def test_one_writer_at_a_time() -> None:
    locks = ObjectLocks()
    with locks.hold("a", lambda: False) as first, locks.hold("b", lambda: False) as other:
        assert first
        assert other
        with locks.hold("a", lambda: True) as second:
            assert not second
    with locks.hold("a", lambda: False) as third:
        assert third


def test_many_devices_share_what_one_may_have() -> None:
    for devices in (1, 4, 64):
        share = Share(devices)
        assert share.part_bytes >= 5 << 20
        assert share.concurrency >= 1
        assert devices * share.block_bytes * 8 <= 160 << 20
    assert Share(1).part_bytes * (Share(1).concurrency + 1) <= 72 << 20

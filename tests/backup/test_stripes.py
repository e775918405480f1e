"""Backups over several media: written in parallel, read in any order, complete or not there at all."""

from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.image import transactions
from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    backup_log,
    read_headers,
    restore_database,
    restore_image,
    verify_set,
)
from tdsproxy.backup.set_sink import SetSink
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import Compression
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.encryption import AesGcm
from tdsproxy.media.errors import MediaDamaged, MediaError, SetMismatch
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import MediaReader
from tdsproxy.media.sealing import ChunkCipher, KeyMissing, SetSealing
from tdsproxy.media.set_reader import open_media
from tests.backup.history import History
from tests.backup.making import description, disk
from tests.store import processes

KEY = bytes(range(32))
ENVELOPE = EncryptionEnvelope(algorithm="aes_256", thumbprint=bytes(20))


def keys(envelope: EncryptionEnvelope) -> ChunkCipher:
    assert envelope == ENVELOPE
    return AesGcm(KEY)


def stripes(folder: Path, count: int, mirrors: int = 0) -> DeviceSet:
    copies = [tuple(disk(folder / f"{copy}{n}.bak") for n in range(count)) for copy in "abcd"[: mirrors + 1]]
    return DeviceSet(copies[0], tuple(copies[1:]), keys)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.db"
    processes.build(path, page_size=1024, rows=120)
    return path


SMALL = 8192
"""Bytes of a run, so that a small database has many."""
WAYS = {
    "stored": BackupOptions(run_bytes=SMALL),
    "compressed": BackupOptions(run_bytes=SMALL, compression=True, codec=Compression("ZSTD", 1)),
    "sealed": BackupOptions(run_bytes=SMALL, sealing=SetSealing(ENVELOPE, AesGcm(KEY))),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("count", "mirrors"), [(1, 0), (2, 1), (3, 0), (64, 0), (1, 3)])
def test_what_is_striped_comes_back(tmp_path: Path, source: Path, way: str, count: int, mirrors: int) -> None:
    media = stripes(tmp_path, count, mirrors)
    how = WAYS[way]
    formatted = BackupOptions(
        format=True,
        run_bytes=how.run_bytes,
        compression=how.compression,
        codec=how.codec,
        sealing=how.sealing,
    )
    result = backup_database(source, media, description(), formatted)
    assert [len(copy) for copy in result.written] == [count] * (mirrors + 1)
    before = processes.check(source)
    rng = random.Random(count)
    for copy in (media.devices, *media.mirrors):
        shuffled = DeviceSet(tuple(rng.sample(copy, count)), keys=keys)
        assert verify_set(shuffled, 1).trailer.set_digest == result.trailer.set_digest
    restore_database(shuffled, 1, tmp_path / "y.db")
    assert processes.check(tmp_path / "y.db") == before
    whole = sum(device.path.stat().st_size for device in media.devices)
    assert whole * 0.5 < result.trailer.stored_size < whole


def test_log_is_striped_too(tmp_path: Path) -> None:
    history, media = History(tmp_path / "x.db"), stripes(tmp_path, 3)
    history.work(20)
    history.commit("INSERT INTO t(body) VALUES(zeroblob(5000000))")
    history.work(10)
    end = history.count
    backup_log(history.log(0, end), media, history.log_set(0, end))
    with open_media(media) as reader:
        place = reader.find(1)
        log = LogReader(reader, place, reader.info(place))
        found = [(item.lsn, list(item.pages)) for item in transactions(log)]
    assert found == [(item.lsn, list(item.pages)) for item in history.log(0, end)]
    assert verify_set(media, 1)
    history.close()


def test_an_encrypted_set_needs_its_key(tmp_path: Path, source: Path) -> None:
    media = stripes(tmp_path, 2)
    backup_database(source, media, description(), WAYS["sealed"])
    without = DeviceSet(media.devices)
    with pytest.raises(KeyMissing):
        verify_set(without, 1)
    with pytest.raises(KeyMissing):
        restore_image(without, 1, tmp_path / "image")
    assert not (tmp_path / "image").exists()
    wrong = DeviceSet(media.devices, keys=lambda envelope: AesGcm(bytes(32)))
    with pytest.raises(MediaDamaged):
        verify_set(wrong, 1)
    content = b"".join(device.path.read_bytes() for device in media.devices)
    marker = source.read_bytes()[:16]
    assert marker == b"SQLite format 3\0"
    assert marker not in content


def test_the_same_page_is_sealed_otherwise_in_each_place(tmp_path: Path) -> None:
    """No number serves two seals of a set, also not in two stripes."""
    source = tmp_path / "x.db"
    processes.build(source, page_size=1024, rows=40, empty=False)
    numbers: list[int] = []

    class Noting(AesGcm):
        def seal(self, index: int, plaintext: bytes | bytearray | memoryview, associated: bytes) -> bytes:
            numbers.append(index)
            return super().seal(index, plaintext, associated)

    options = BackupOptions(run_bytes=1024, sealing=SetSealing(ENVELOPE, Noting(KEY)))
    backup_database(source, stripes(tmp_path, 3), description(), options)
    assert len(set(numbers)) == len(numbers) > 10


# Damage


@pytest.fixture(scope="module", params=WAYS)
def damaged(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[DeviceSet, list[bytes], Path]:
    """Three stripes with one set, their sound bytes, and a database that a restore would replace."""
    folder = tmp_path_factory.mktemp("damaged")
    media = stripes(folder, 3)
    small = folder / "x.db"
    processes.build(small, page_size=512, rows=12)
    backup_database(small, media, description(), WAYS[request.param])
    target = folder / "y.db"
    processes.build(target, rows=5)
    return (
        media,
        [device.path.read_bytes() for device in media.devices if isinstance(device, DiskDevice)],
        target,
    )


def structures(path: Path) -> list[tuple[int, int]]:
    """Where the structures of a medium begin and end."""
    content = path.read_bytes()
    found = [(0, layout.MEDIA_HEADER_SIZE)]
    with MediaReader(disk(path).open_read()) as reader:
        for location in reader.map().sets:
            at = location.offset + layout.ANCHOR_SIZE
            found.append((location.offset, at))
            while at < location.offset + location.length:
                head = layout.unpack_record_header(content[at : at + layout.RECORD_HEADER_SIZE])
                end = at + layout.RECORD_HEADER_SIZE + head.stored_length
                found += [(at, at + layout.RECORD_HEADER_SIZE), (at + layout.RECORD_HEADER_SIZE, end)]
                at = end
    return found


def test_every_region_of_every_stripe_is_checked(damaged: tuple[DeviceSet, list[bytes], Path]) -> None:
    media, sound, target = damaged
    before = processes.check(target)
    rng = random.Random(11)
    tried = 0
    for number, device in enumerate(media.devices):
        assert isinstance(device, DiskDevice)
        regions = structures(device.path)
        for start, end in regions:
            for at in {start, end - 1, rng.randrange(start, end)}:
                content = bytearray(sound[number])
                content[at] ^= 1 << rng.randrange(8)
                device.path.write_bytes(content)
                with pytest.raises(MediaError) as caught:
                    verify_set(media, 1)
                assert caught.value.device == device.name
                if isinstance(caught.value, MediaDamaged):
                    assert caught.value.offset <= at or caught.value.part == "pages"
                tried += 1
        for at in rng.sample(range(len(sound[number])), 4):
            content = bytearray(sound[number])
            content[at] ^= 0x20
            device.path.write_bytes(content)
            with pytest.raises(MediaError):
                restore_database(media, 1, target, replace=True)
        device.path.write_bytes(sound[number])
    assert tried > 60
    assert processes.check(target) == before
    assert verify_set(media, 1)


def test_every_cut_of_every_stripe_is_noticed(damaged: tuple[DeviceSet, list[bytes], Path]) -> None:
    media, sound, target = damaged
    for number, device in enumerate(media.devices):
        assert isinstance(device, DiskDevice)
        for start, end in structures(device.path):
            for at in (start, (start + end) // 2):
                device.path.write_bytes(sound[number][:at])
                with pytest.raises(MediaError) as caught:
                    verify_set(media, 1)
                assert caught.value.device == device.name
        with pytest.raises(MediaError):
            restore_database(media, 1, target.with_name("z.db"))
        device.path.write_bytes(sound[number])
    assert not target.with_name("z.db").exists()


def test_swapped_stripes_are_noticed(
    damaged: tuple[DeviceSet, list[bytes], Path], source: Path, tmp_path: Path
) -> None:
    media, sound, _ = damaged
    with open_media(media) as reader:
        sealed = reader.info(reader.find(1)).header.encryption is not None
    other = stripes(tmp_path, 3)
    backup_database(source, other, description(), WAYS["sealed" if sealed else "stored"])
    foreign = [device.path.read_bytes() for device in other.devices if isinstance(device, DiskDevice)]
    first, second = media.devices[:2]
    assert isinstance(first, DiskDevice)
    assert isinstance(second, DiskDevice)
    head = layout.MEDIA_HEADER_SIZE
    for content in (
        sound[1],
        foreign[0],
        # The content of another stripe behind the right label, and of another media set.
        sound[0][:head] + sound[1][head:],
        sound[0][:head] + foreign[0][head:],
    ):
        first.path.write_bytes(content)
        with pytest.raises(MediaError):
            verify_set(media, 1)
    first.path.write_bytes(sound[0])
    assert verify_set(media, 1)


def test_the_rest_is_read_behind_damaged_pages(source: Path, tmp_path: Path) -> None:
    media = stripes(tmp_path, 2)
    backup_database(source, media, description(), WAYS["stored"])
    device = media.devices[1]
    assert isinstance(device, DiskDevice)
    sound = device.path.read_bytes()
    size = SMALL + layout.RECORD_HEADER_SIZE
    records = [start for start, end in structures(device.path) if end - start == layout.RECORD_HEADER_SIZE]
    content = bytearray(sound)
    content[records[2] + 5] ^= 1
    content[records[3] + layout.RECORD_HEADER_SIZE + 5] ^= 1
    device.path.write_bytes(content)
    found: list[MediaDamaged] = []
    verify_set(media, 1, on_damage=found.append)
    # Two runs of eight pages of this stripe: numbers 3 and 5 of the set, counted from 0.
    assert sorted(error.page or 0 for error in found) == [25, 41]
    assert {error.device for error in found} == {device.name}
    restore_image(media, 1, tmp_path / "image", on_damage=found.append)
    image, original = (tmp_path / "image").read_bytes(), source.read_bytes()
    lost = [*range(24, 32), *range(40, 48)]
    for page in range(len(original) // 1024):
        part = slice(page * 1024, (page + 1) * 1024)
        assert image[part] == (bytes(1024) if page in lost else original[part]), page
    assert size > SMALL
    with pytest.raises(MediaDamaged):
        restore_image(media, 1, tmp_path / "other")


# Interruptions


class Stopping(threading.Event):
    """An event that is set when it was asked so many times."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0


@pytest.mark.parametrize("existing", [False, True])
def test_a_cancelled_backup_leaves_nothing(tmp_path: Path, source: Path, existing: bool) -> None:
    media = stripes(tmp_path, 2, 1)
    if existing:
        backup_database(source, media, description(), BackupOptions(format=True))
    kept = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    for after in range(1, 40, 3):
        for options in (
            BackupOptions(run_bytes=SMALL, format=True),
            *(
                [BackupOptions(run_bytes=SMALL), BackupOptions(run_bytes=SMALL, init=True)]
                if existing
                else []
            ),
        ):
            with pytest.raises(OperationCancelled):
                backup_database(source, media, description(), options, cancel=Stopping(after))
            assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == kept
    assert backup_database(source, media, description(), BackupOptions(format=True)).position == 1


def torn(media: DeviceSet, sets: Sequence[int]) -> None:
    """Open the anchors of the last set on some of the media, as a writer leaves them who dies."""
    for number in sets:
        device = media.devices[number]
        assert isinstance(device, DiskDevice)
        with MediaReader(device.open_read()) as reader:
            place = reader.map().sets[-1]
        content = bytearray(device.path.read_bytes())
        opened = layout.Anchor(place.offset, place.position, place.set_guid).pack()
        content[place.offset : place.offset + layout.ANCHOR_SIZE] = opened
        device.path.write_bytes(content)


def test_a_set_that_died_between_its_anchors_counts(tmp_path: Path, source: Path) -> None:
    media = stripes(tmp_path, 3)
    for name in ("one", "two"):
        backup_database(source, media, description(name=name))
    for some in ([0], [1, 2], [0, 1, 2]):
        torn(media, some)
        assert verify_set(media, 2).header.description.database_name == "two"
    assert backup_database(source, media, description(name="three")).position == 3
    assert verify_set(media, 2)
    assert [item.header.description.database_name for item in read_headers(media).sets] == [
        "one",
        "two",
        "three",
    ]


def test_a_set_that_some_media_lack_was_never_there(tmp_path: Path, source: Path) -> None:
    media = stripes(tmp_path, 2)
    backup_database(source, media, description(name="one"))
    first, second = media.devices
    assert isinstance(first, DiskDevice)
    assert isinstance(second, DiskDevice)
    kept = second.path.read_bytes()
    backup_database(source, media, description(name="two"))
    whole = first.path.read_bytes()
    second.path.write_bytes(kept)
    # Closed on one and missing on the other: an older copy of the other. Nothing is touched.
    with pytest.raises(SetMismatch):
        backup_database(source, media, description(name="three"))
    assert (first.path.read_bytes(), second.path.read_bytes()) == (whole, kept)
    # Open: the writer died before all trailers were durable.
    torn(media, [0])
    with pytest.raises(MediaError):
        verify_set(media, 2)
    assert backup_database(source, media, description(name="three")).position == 2
    names = [item.header.description.database_name for item in read_headers(media).sets]
    assert names == ["one", "three"]
    assert verify_set(media, 2)


@pytest.mark.parametrize(
    "options", [BackupOptions(init=True), BackupOptions(format=True)], ids=["init", "format"]
)
def test_a_replacement_that_died_between_its_renames_is_finished(
    tmp_path: Path, source: Path, options: BackupOptions
) -> None:
    media = stripes(tmp_path, 2, 1)
    devices = [device for device in media.all if isinstance(device, DiskDevice)]
    backup_database(source, media, description(name="old"), BackupOptions(format=True))
    old = [device.path.read_bytes() for device in devices]
    backup_database(source, media, description(name="new"), options)
    new = [device.path.read_bytes() for device in devices]
    names = {path.name for path in tmp_path.iterdir()}
    for renamed in ([0], [1], [0, 1], [0, 2], [1, 2, 3], [3]):
        for number, device in enumerate(devices):
            beside = device.path.with_name(f".{device.path.name}.new")
            device.path.write_bytes((new if number in renamed else old)[number])
            if number not in renamed:
                beside.write_bytes(new[number])
        first = DeviceSet(media.devices)
        expected = "new" if {0, 1} & set(renamed) else "old"
        assert verify_set(first, 1).header.description.database_name == expected
        # Who sees them all finishes it.
        with open_media(DeviceSet(media.mirrors[0])) as reader:
            name = reader.info(reader.find(1)).header.description.database_name
        assert name == ("new" if {2, 3} & set(renamed) else "old")
        assert backup_database(source, media, description(name="next")).position == 2
        for copy in (media.devices, *media.mirrors):
            assert verify_set(DeviceSet(copy), 1).header.description.database_name == "new"
            assert verify_set(DeviceSet(copy), 2).header.description.database_name == "next"
        assert {path.name for path in tmp_path.iterdir()} == names


def test_what_lies_beside_is_left_alone_otherwise(tmp_path: Path, source: Path) -> None:
    media = stripes(tmp_path, 2)
    backup_database(source, media, description(name="old"))
    first = media.devices[0]
    assert isinstance(first, DiskDevice)
    beside = first.path.with_name(f".{first.path.name}.new")
    for content in (b"", b"no medium", first.path.read_bytes()[:-700], first.path.read_bytes()):
        beside.write_bytes(content)
        assert verify_set(media, 1).header.description.database_name == "old"
        assert beside.read_bytes() == content


@pytest.mark.parametrize(("buffers", "stripes"), [(1, 1), (1, 3), (5, 3)])
def test_buffers_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, buffers: int, stripes: int
) -> None:
    processes.build(tmp_path / "x.db", rows=20, megabytes=3)
    media = DeviceSet(tuple(disk(tmp_path / f"{number}.bak") for number in range(stripes)), buffers=buffers)
    sinks: list[SetSink] = []
    begin = SetSink.__init__

    def noted(sink: SetSink, *arguments: Any, **named: Any) -> None:
        begin(sink, *arguments, **named)
        sinks.append(sink)

    monkeypatch.setattr(SetSink, "__init__", noted)
    options = BackupOptions(run_bytes=65536, buffers=buffers)
    backup_database(tmp_path / "x.db", media, description(), options)
    (sink,) = sinks
    assert sink.most_buffers <= max(4, buffers)
    assert len(sink._buffers) <= sink.most_buffers
    restore_database(media, 1, tmp_path / "y.db")
    assert processes.check(tmp_path / "y.db")["content"] == processes.check(tmp_path / "x.db")["content"]

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.image import transactions
from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    backup_log,
    read_headers,
    restore_database,
    verify_set,
)
from tdsproxy.backup.recode import recode
from tdsproxy.media.codecs import ALGORITHMS, Compression
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import EncryptionEnvelope
from tdsproxy.media.encryption import AesGcm
from tdsproxy.media.errors import FamiliesMissing, MediaDamaged, MediaEmpty, MediaIncompatible
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import SetInfo
from tdsproxy.media.sealing import SetSealing
from tdsproxy.media.set_reader import open_media
from tests.backup.history import History
from tests.backup.making import description, disk
from tests.store import processes

CODECS = [None, *(Compression.of(name) for name in ALGORITHMS)]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.db"
    processes.build(path, rows=100)
    return path


def kept(info: SetInfo) -> object:
    """What a codec must not change."""
    trailer = info.trailer
    return (
        info.position,
        info.header.description,
        info.header.image,
        info.header.started,
        trailer.finished,
        trailer.set_digest,
        trailer.backup_size,
        trailer.last_lsn,
        trailer.transaction_count,
    )


@pytest.mark.parametrize("count", [1, 3])
def test_content_stays_and_codecs_change(tmp_path: Path, source: Path, count: int) -> None:
    media = DeviceSet(tuple(disk(tmp_path / f"{n}.bak") for n in range(count)))
    history = History(tmp_path / "h.db")
    history.work(12)
    history.commit("INSERT INTO t(body) VALUES(zeroblob(2500000))")
    end = history.count
    options = BackupOptions(run_bytes=65536)
    backup_database(source, media, description(), options)
    backup_log(history.log(0, end), media, history.log_set(0, end), options)
    history.close()
    before = read_headers(media)
    sizes = []
    for codec in (*CODECS[1:], None):
        done = recode(tuple(reversed(media.devices)), codec)
        assert done.sets == 2
        after = read_headers(media)
        assert [kept(info) for info in after.sets] == [kept(info) for info in before.sets]
        assert after.header.compressed == (codec is not None)
        assert {info.header.compression for info in after.sets} == {codec.algorithm if codec else None}
        assert done.bytes_after == sum(path.stat().st_size for path in tmp_path.glob("*.bak"))
        sizes.append(done.bytes_after)
        for info in after.sets:
            verify_set(media, info.position)
    # Uncompressed again, it is as large as it was.
    assert max(sizes[:-1]) < sizes[-1]
    with open_media(media) as reader:
        place = reader.find(2)
        found = [
            (item.lsn, list(item.pages)) for item in transactions(LogReader(reader, place, after.sets[1]))
        ]
    assert found == [(item.lsn, list(item.pages)) for item in history.log(0, end)]
    restore_database(media, 1, tmp_path / "y.db")
    assert processes.check(tmp_path / "y.db") == processes.check(source)
    assert backup_database(source, media, description()).position == 3


def test_refusals_leave_the_media_alone(tmp_path: Path, source: Path) -> None:
    media = tuple(disk(tmp_path / f"{n}.bak") for n in range(2))
    backup_database(source, DeviceSet(media), description())
    sealed = disk(tmp_path / "sealed.bak")
    envelope = EncryptionEnvelope(algorithm="aes_128", thumbprint=bytes(20))
    sealing = SetSealing(envelope, AesGcm(bytes(16)))
    backup_database(source, sealed, description(), BackupOptions(sealing=sealing))
    damaged = disk(tmp_path / "damaged.bak")
    backup_database(source, damaged, description())
    content = bytearray(damaged.path.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.path.write_bytes(content)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(FamiliesMissing):
        recode(media[:1], None)
    with pytest.raises(MediaIncompatible):
        recode([sealed], None)
    with pytest.raises(MediaDamaged):
        recode([damaged], Compression.of("GZIP"))
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(OperationCancelled):
        recode(media, Compression.of("XZ"), cancel=cancelled)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_is_empty_damaged_or_in_use_is_not_recoded(tmp_path: Path, source: Path) -> None:
    medium = disk(tmp_path / "m.bak")
    medium.path.touch()
    with pytest.raises(MediaEmpty):
        recode([medium], None)
    medium.path.unlink()
    for _ in range(2):
        backup_database(source, medium, description())
    whole = medium.path.read_bytes()
    stop = threading.Event()
    stop.set()
    with medium.lock(lambda: False), pytest.raises(OperationCancelled):
        recode([medium], None, cancel=stop)
    # Cut off inside its last set.
    medium.path.write_bytes(whole[:-2000])
    with pytest.raises(MediaDamaged):
        recode([medium], None)
    assert medium.path.read_bytes() == whole[:-2000]
    medium.path.write_bytes(whole)
    late = threading.Event()

    def progress(done: int, total: int) -> None:
        if done == total:
            late.set()

    with pytest.raises(OperationCancelled):
        recode([medium], Compression.of("ZSTD"), progress, late)
    assert medium.path.read_bytes() == whole
    assert [path.name for path in tmp_path.glob(".*")] == []

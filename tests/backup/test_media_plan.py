"""Which media a backup goes onto: members of one media set, all of them, and each where it belongs."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import pytest

from tdsproxy.backup.errors import OperationCancelled
from tdsproxy.backup.media_set import moment, write_set
from tdsproxy.backup.operations import BackupOptions, backup_database, read_headers, read_set, read_whole_set
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.encryption import AesGcm
from tdsproxy.media.errors import (
    DeviceError,
    FamiliesMissing,
    FamilyCountWrong,
    FamilyTwice,
    ForeignFamily,
    MediaDamaged,
    MediaError,
    MediaIncompatible,
    MirrorsMissing,
    NotMirrored,
    SetMismatch,
)
from tdsproxy.media.sealing import KeyMissing, SetSealing
from tests.backup.making import description
from tests.media.making import ENVELOPE, keys
from tests.store import processes

SEALED = BackupOptions(sealing=SetSealing(ENVELOPE, AesGcm(bytes(range(32)))))
FORMAT = BackupOptions(format=True)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.db"
    processes.build(path, rows=20)
    return path


def disks(folder: Path, names: str) -> list[DiskDevice]:
    return [DiskDevice(folder / f"{name}.bak") for name in names]


def state(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def refused(
    source: Path, folder: Path, devices: object, error: type[MediaError], **options: object
) -> MediaError:
    """The media are what they were."""
    before = state(folder)
    with pytest.raises(error) as caught:
        backup_database(source, devices, description(), BackupOptions(**options))  # type: ignore[arg-type]
    assert type(caught.value) is error
    assert state(folder) == before
    return caught.value


def test_the_media_of_a_statement_are_one_media_set(source: Path, tmp_path: Path) -> None:
    a, b, c, d = disks(tmp_path, "abcd")
    backup_database(source, DeviceSet((a, b)), description())
    backup_database(source, DeviceSet((c, d)), description())
    refused(source, tmp_path, a, FamiliesMissing)
    refused(source, tmp_path, DeviceSet((a, b, c)), FamilyCountWrong)
    refused(source, tmp_path, DeviceSet((a, c)), ForeignFamily)
    refused(source, tmp_path, DeviceSet((a, d)), ForeignFamily)
    (tmp_path / "copy.bak").write_bytes(a.path.read_bytes())
    refused(source, tmp_path, DeviceSet((a, DiskDevice(tmp_path / "copy.bak"))), FamilyTwice)
    new = DiskDevice(tmp_path / "new.bak")
    error = refused(source, tmp_path, DeviceSet((a, new)), ForeignFamily)
    assert error.device == str(new.path)
    refused(source, tmp_path, DeviceSet((a, b), ((c, d),)), NotMirrored)
    # In any order.
    assert backup_database(source, DeviceSet((b, a)), description()).position == 2


def test_a_mirrored_media_set_is_appended_to_as_a_whole(source: Path, tmp_path: Path) -> None:
    a, b = disks(tmp_path, "ab")
    both = DeviceSet((a,), ((b,),))
    refused(source, tmp_path, both, NotMirrored)
    backup_database(source, both, description(), FORMAT)
    assert backup_database(source, both, description()).position == 2
    refused(source, tmp_path, a, MirrorsMissing)
    assert read_headers(b).header.mirror_sequence == 2


def test_sets_of_one_medium_are_of_one_kind(source: Path, tmp_path: Path) -> None:
    a, b = disks(tmp_path, "ab")
    backup_database(source, a, description())
    backup_database(source, b, description(), SEALED)
    assert refused(source, tmp_path, a, MediaIncompatible, sealing=SEALED.sealing).reason == "encryption"  # type: ignore[attr-defined]
    assert refused(source, tmp_path, b, MediaIncompatible).reason == "encrypted"  # type: ignore[attr-defined]
    assert refused(source, tmp_path, a, MediaIncompatible, compression=True).reason == "compression"  # type: ignore[attr-defined]
    for read in (read_set, read_whole_set):
        with pytest.raises(KeyMissing):
            read(b, 1)
        assert read(DeviceSet((b,), keys=keys), 1).header.encryption == ENVELOPE


def test_one_place_is_not_named_twice(source: Path, tmp_path: Path) -> None:
    (a,) = disks(tmp_path, "a")
    (tmp_path / "link.bak").symlink_to(a.path)
    for other in (a, DiskDevice(tmp_path / "link.bak")):
        with pytest.raises(DeviceError, match="lock failed"):
            backup_database(source, DeviceSet((a, other)), description())
    assert not a.path.exists()


def test_families_that_parted_are_not_appended_to(source: Path, tmp_path: Path) -> None:
    a, b = disks(tmp_path, "ab")
    backup_database(source, DeviceSet((a, b)), description())
    old = b.path.read_bytes()
    backup_database(source, DeviceSet((a, b)), description())
    # An older copy of one.
    b.path.write_bytes(old)
    refused(source, tmp_path, DeviceSet((a, b)), SetMismatch)
    # One whose sets are others.
    backup_database(source, DeviceSet((a, b)), description(), BackupOptions(init=True))
    b.path.write_bytes(old)
    refused(source, tmp_path, DeviceSet((a, b)), SetMismatch)
    with pytest.raises(SetMismatch):
        read_whole_set(DeviceSet((a, b)), 1)


def test_nothing_is_appended_behind_damage(source: Path, tmp_path: Path) -> None:
    a, b = disks(tmp_path, "ab")
    for number in range(2):
        backup_database(source, DeviceSet((a, b)), description(f"n{number}"))
    data = bytearray(b.path.read_bytes())
    del data[-2000:]
    b.path.write_bytes(data)
    refused(source, tmp_path, DeviceSet((a, b)), MediaDamaged)
    found = read_headers(DeviceSet((b, a)))
    assert found.damage is not None
    assert [one.header.description.database_name for one in found.sets] == ["n0"]
    # A set that cannot be read is left out of what is listed.
    backup_database(source, a, description(), FORMAT)
    data = bytearray(a.path.read_bytes())
    data[4096 + 512 + 200] ^= 1
    a.path.write_bytes(data)
    found = read_headers(a)
    assert (found.sets, found.damage is not None) == ((), True)


def test_content_that_writes_no_header_leaves_nothing(tmp_path: Path) -> None:
    (a,) = disks(tmp_path, "a")
    with pytest.raises(ValueError, match="wrote no header"):
        write_set(a, uuid.uuid4(), BackupOptions(), threading.Event(), lambda sink: None)  # type: ignore[arg-type,return-value]
    assert list(tmp_path.iterdir()) == []


def test_a_cancelled_wait_for_a_medium_is_a_cancelled_backup(source: Path, tmp_path: Path) -> None:
    (a,) = disks(tmp_path, "a")
    stop = threading.Event()
    stop.set()
    with a.lock(lambda: False) as medium:
        medium.append(0).append([b"other"])
        with pytest.raises(OperationCancelled):
            backup_database(source, a, description(), cancel=stop)


def test_times_are_told_with_their_zone() -> None:
    assert moment(None) is None
    found = moment(1_700_000_000_123_456_789)
    assert found is not None
    assert found.utcoffset() is not None
    assert (int(found.timestamp()), found.microsecond) == (1_700_000_000, 123_456)

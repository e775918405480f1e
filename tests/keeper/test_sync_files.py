"""Sending whole files: when all that is here is there."""

from __future__ import annotations

import dataclasses
import os
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.keeper.fetch import NotFetched, Origin, fetch
from tdsproxy.keeper.follow import Follow
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync import Sync, _Sender
from tdsproxy.keeper.sync_claim import Identity, claim, read_manifest
from tdsproxy.keeper.sync_files import FileSender
from tdsproxy.keeper.sync_layout import FileEntry
from tdsproxy.objects.folder import FolderBucket
from tdsproxy.objects.options import Reaching
from tdsproxy.objects.url import parse_url
from tests.commands.support import Workshop, messages
from tests.keeper.shop import read_state
from tests.log import support


def test_all_is_there_when_each_file_has_arrived_as_it_is(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()

    def sources() -> Iterator[tuple[str, Path]]:
        for path in sorted(media.iterdir()):
            yield f"backup/{path.name}", path

    sender = FileSender(FolderBucket(tmp_path / "there"), lambda name: name, sources)
    try:
        assert sender.is_complete(), "nothing is here"
        (media / "full.bak").write_bytes(b"a full backup")
        assert not sender.is_complete()
        sender.send()
        sender.settle()
        assert sender.is_complete()
        (media / "full.bak").write_bytes(b"a full backup, and a log backup")
        assert not sender.is_complete(), "what is there is older"
        sender.send()
        sender.settle()
        assert sender.is_complete()
    finally:
        sender.close()


def test_a_file_that_is_as_it_was_once_more_is_there(tmp_path: Path) -> None:
    """The object of its first version has gone when it comes back; and no version is put over another one."""
    bucket, path = FolderBucket(tmp_path / "there"), tmp_path / "full.bak"
    names: dict[str, FileEntry] = {}
    keys: set[str] = set()
    # The last one has the times of the one before.
    for epoch, versions in ((1, [(b"one", 1)]), (2, [(b"two", 2), (b"one", 3), (b"six", 3)])):
        sender = FileSender(bucket, str, lambda: iter([("backup/full.bak", path)]), epoch)
        sender.adopt(names)
        for content, time in versions:
            # Under another inode, as an overwritten medium is.
            new = tmp_path / "new"
            new.write_bytes(content)
            os.utime(new, (time, time))
            new.replace(path)
            sender.send()
            sender.settle()
            names = sender.entries()
            bucket.remove(sender.take_obsolete())
            entry = names["backup/full.bak"]
            assert entry.key not in keys
            keys.add(entry.key)
            assert bucket.read_all(entry.key)[0] == content
        sender.close()
    sender = FileSender(bucket, str, lambda: iter([("backup/full.bak", path)]), 3)
    sender.adopt(names)
    assert sender.is_complete()
    sender.close()


def test_a_medium_of_the_same_size_arrives_at_a_standby_anew(tmp_path: Path) -> None:
    """The same file is overwritten each night, also while the standby is down."""
    primary, standby, url = tmp_path / "primary", tmp_path / "standby", f"file://{tmp_path}/there"
    for directory in (primary, standby):
        directory.mkdir()
    sending, following = Workshop(primary), Workshop(standby)
    (sending.store / "backup").mkdir(exist_ok=True)
    medium, arrived = (shop.store / "backup" / "full.bak" for shop in (sending, following))

    def send() -> None:
        sync = Sync(sending.env, SyncOptions(url))
        sync.start()
        sync.close()

    def new_follower() -> Follow:
        return Follow(dataclasses.replace(following.env), SyncOptions(url))

    follower = new_follower()
    for number, content in enumerate((b"monday", b"sunday", b"friday")):
        medium.write_bytes(content)
        os.utime(medium, (number, number))
        send()
        if number == 2:
            follower = new_follower()
        follower._round()
        assert arrived.read_bytes() == content
    for shop in (sending, following):
        shop.close()


def test_a_full_backup_that_is_not_sent_protects_nothing(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, logged=True)

    def run(text: str) -> None:
        assert not [item.text for item in messages(shop.run(text)) if item.severity > 10], text

    def unprotected() -> object:
        sync = Sync(shop.env, SyncOptions(f"file://{tmp_path}/there"))
        sync.start()
        sync.close()
        return read_state(shop.store, ".sync")["unprotected"]

    for name in ("fine", "elsewhere", "nowhere"):
        run(f"CREATE DATABASE {name}")
        run(f"ALTER DATABASE {name} SET RECOVERY FULL")
    run("BACKUP DATABASE fine TO DISK = 'fine.bak'")
    run("BACKUP DATABASE elsewhere TO DISK = '/tmp/elsewhere.bak'")
    run("BACKUP DATABASE nowhere TO DISK = 'NUL'")
    assert unprotected() == ["elsewhere", "nowhere"]
    run("BACKUP DATABASE elsewhere TO DISK = 'elsewhere.bak'")
    run("BACKUP DATABASE fine TO DISK = '/tmp/fine.bak'")
    assert unprotected() == ["nowhere"]
    shop.close()


class SlowBucket(FolderBucket):
    """Log backups wait on their way."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.open = threading.Event()

    def write(self, key: str, data: bytes, *, only: str | None = None, new: bool = False) -> str | None:
        assert not key.endswith(".trn") or self.open.wait(60)
        return super().write(key, data, only=only, new=new)


def test_a_new_session_keeps_what_was_given_up_here_until_its_log_backup_is_there(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    (shop.store / "backup").mkdir(exist_ok=True)
    archive = support.open_archive(shop.store / "log" / "one", segment_bytes=3000)
    for _ in range(12):
        lsn = archive.last_lsn()
        page = random.Random(lsn).randbytes(512)
        archive.append([support.transaction(lsn, {1: page}, 50, lsn)], [support.POSITION])
    archive.close()
    first, *others = sorted((shop.store / "log").rglob("*.seg"))
    assert others
    bucket = SlowBucket(tmp_path / "there")

    def session() -> _Sender:
        claimed = claim(bucket, str, Identity(shop.store))
        return _Sender(shop.env, SyncOptions(f"file://{tmp_path}/there"), bucket, str, claimed)

    def there() -> tuple[bool, bool, bool]:
        """Whether the manifest names the first segment, whether it lies there, and whether the log backup
        does."""
        manifest, _ = read_manifest(bucket, str)
        assert manifest is not None
        name = first.relative_to(shop.store).as_posix()
        assert {path.relative_to(shop.store).as_posix() for path in others} <= set(manifest.segments)
        for path, entry in manifest.segments.items():
            assert sum(found.size for found in bucket.list(f"{path}/{entry.generation}")) == entry.size
        return name in manifest.segments, bool([*bucket.list(name)]), "backup/shop.trn" in manifest.files

    sender = session()
    sender.round(1, last=True)
    sender.close()
    assert there() == (True, True, False)
    (shop.store / "backup" / "shop.trn").write_bytes(b"what the first segment held")
    first.unlink()
    # The connection was cut when it was sent; another session, and yet another.
    for _ in range(2):
        sender = session()
        try:
            for number in range(4):
                sender.round(2 + number)
            assert there() == (True, True, False)
        finally:
            bucket.open.set()
            sender.close()
        bucket.open.clear()
    bucket.open.set()
    sender = session()
    sender.round(9, last=True)
    assert there() == (True, True, True)
    sender.round(10)
    assert there() == (False, False, True)
    sender.close()
    shop.close()


def test_an_interrupted_fetch_makes_no_store_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = Workshop(tmp_path, logged=True)
    for text in (
        "CREATE DATABASE one",
        "ALTER DATABASE one SET RECOVERY FULL",
        "BACKUP DATABASE one TO DISK = 'one.bak'",
    ):
        assert not [item.text for item in messages(shop.run(text)) if item.severity > 10], text
    shop.fill("one", "CREATE TABLE t (id INTEGER)")
    sync = Sync(shop.env, SyncOptions(f"file://{tmp_path}/there"))
    sync.start()
    sync.close()
    there = tmp_path / "there"
    (segment,) = there.glob("log/*/*/*.seg/*/*")
    away = tmp_path / "away"
    segment.rename(away)
    new, backup = tmp_path / "new", tmp_path / "new" / "backup"
    new.mkdir()
    origin = Origin(parse_url(f"file://{there}", object_needed=False), None, Reaching())
    for _ in range(2):
        with pytest.raises(NotFetched, match="missing"):
            fetch(origin, new, backup, None)
        assert not list(new.glob("*.db"))
    away.rename(segment)
    # What came before is not appended to.
    (name,) = origin.manifest().segments
    (new / name).parent.mkdir(parents=True, exist_ok=True)
    (new / name).write_bytes(b"something else")
    synced: set[Path] = set()
    monkeypatch.setattr("tdsproxy.keeper.fetch.fsync_directory", synced.add)
    fetch(origin, new, backup, None)
    assert {tmp_path, new, backup, (new / name).parent, (new / name).parent.parent} <= synced
    assert (new / name).read_bytes() == segment.read_bytes()
    assert (backup / "one.bak").read_bytes() == (shop.store / "backup" / "one.bak").read_bytes()
    assert {path.name for path in new.glob("*.db")} == {"master.db", "msdb.db", "model.db"}
    shop.close()

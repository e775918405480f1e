"""Sending whole files: when all that is here is there."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

from tdsproxy.keeper.follow import Follow
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync import Sync
from tdsproxy.keeper.sync_files import FileSender
from tdsproxy.objects.folder import FolderBucket
from tests.commands.support import Workshop, messages
from tests.keeper.shop import read_state


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

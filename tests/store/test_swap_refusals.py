"""What a replacement by a rename refuses or fails at leaves the file, its content and its locks as before."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tdsproxy.store import swap
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, InstallFailed, SnapshotBroken
from tests.store import processes

OLD, NEW = 20, 5
BUSY_MILLISECONDS = 60_000


@pytest.fixture
def live(tmp_path: Path) -> Path:
    processes.build(tmp_path / "x.db", rows=OLD, seed=1)
    return tmp_path / "x.db"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    processes.build(tmp_path / "image", rows=NEW, seed=2, journal="delete")
    return tmp_path / "image"


def replace(image: Path, live: Path, cancelled: Callable[[], bool] = lambda: False) -> Path | None:
    return swap.swap(
        image, live, busy_milliseconds=BUSY_MILLISECONDS, cancelled=cancelled, locked=lambda: None
    )


def replace_lost(image: Path, live: Path, cancelled: Callable[[], bool] = lambda: False) -> Path | None:
    return swap.swap_lost(image, live, cancelled=cancelled, locked=lambda: None)


REPLACEMENTS = pytest.mark.parametrize("replacement", [replace, replace_lost])
Replacement = Callable[[Path, Path], Path | None]


def content(path: Path) -> int:
    found = processes.check(path)
    assert found["integrity"] == ["ok"]
    return len(found["content"]["plain"])


def descriptors(path: Path) -> list[int]:
    """The descriptors that this process has of the file."""
    wanted = path.stat()
    found = []
    for entry in Path("/proc/self/fd").iterdir():
        # That of the listing itself is gone.
        with contextlib.suppress(FileNotFoundError):
            status = entry.stat()
            if (status.st_ino, status.st_dev) == (wanted.st_ino, wanted.st_dev):
                found.append(int(entry.name))
    return found


def assert_untouched(live: Path, inode: int) -> None:
    """It is the file that it was, nobody holds it, and another process can write it."""
    assert descriptors(live) == []
    assert live.stat().st_ino == inode
    assert not swap.former_path(live).exists()
    assert content(live) == OLD
    processes.run("commit", live, "1")
    assert len(processes.check(live)["content"]["log"]) == 1


def with_wal(live: Path) -> None:
    """A commit that lies in the WAL alone, which nobody has open."""
    connection = apsw.Connection(str(live))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("CREATE TABLE late (x); INSERT INTO late VALUES (1)")
    connection.close()
    assert live.with_name("x.db-wal").stat().st_size


def of_late(path: Path) -> list[Any]:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("SELECT x FROM late").fetchall()
    finally:
        connection.close()


def failing(*_: object) -> Any:
    raise OSError(errno.EIO, "Input/output error")


def test_a_database_that_cannot_be_read_under_the_lease_leaves_no_descriptor(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A duplicated descriptor that stays makes each later lease of the file refused; and closing it one day
    would end the locks that SQLite has of the file."""
    connect: Callable[..., apsw.Connection] = swap.connect
    asked: list[str] = []

    def denying(path: Path) -> apsw.Connection:
        connection = connect(path)

        def trace(cursor: object, statement: str, bindings: object) -> bool:
            """False: it raises an error."""
            if statement != "PRAGMA schema_version":
                return True
            asked.append(statement)
            # The first is that of the look at what the file is.
            return len(asked) == 1

        connection.exec_trace = trace
        return connection

    monkeypatch.setattr(swap, "connect", denying)
    inode = live.stat().st_ino
    assert replace(image, live) is None
    assert len(asked) == 2
    assert_untouched(live, inode)
    assert content(image) == NEW


def test_a_database_that_becomes_unreadable_in_between_stays(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreadable(path: Path) -> apsw.Connection:
        raise DatabaseUnreadable(path, "not a database")

    inode = live.stat().st_ino
    monkeypatch.setattr(swap, "connect", unreadable)
    assert replace(image, live) is None
    assert_untouched(live, inode)
    assert content(image) == NEW


def test_a_database_whose_wal_index_does_not_hold_stays(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody ignores SQLite's locks: there is no proof of anything."""

    def broken(*_: object) -> None:
        raise SnapshotBroken(live, "the WAL index changed")

    inode = live.stat().st_ino
    monkeypatch.setattr(swap, "PageView", broken)
    assert replace(image, live) is None
    assert_untouched(live, inode)


def test_a_writer_that_stays_ends_the_attempt(live: Path, image: Path) -> None:
    inode = live.stat().st_ino
    with processes.started("hold", live, "write") as writer:
        assert processes.read_line(writer) == "held"
        with pytest.raises(DatabaseBusy) as caught:
            swap.swap(
                image,
                live,
                busy_milliseconds=0,
                cancelled=lambda: False,
                locked=lambda: pytest.fail("locked"),
            )
        assert caught.value.path == live
    assert_untouched(live, inode)


def test_a_file_that_is_no_database_is_left_to_others(tmp_path: Path, image: Path) -> None:
    other = tmp_path / "other.db"
    other.write_bytes(b"no database " * 1000)
    before = other.read_bytes()
    assert replace(image, other) is None
    assert other.read_bytes() == before
    assert descriptors(other) == []
    assert content(image) == NEW


@REPLACEMENTS
def test_a_system_without_leases_is_left_alone(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, replacement: Replacement
) -> None:
    inode = live.stat().st_ino
    with monkeypatch.context() as context:
        context.setattr(sys, "platform", "darwin")
        assert replacement(image, live) is None
    assert_untouched(live, inode)


@REPLACEMENTS
def test_a_file_that_is_gone_is_not_made(live: Path, image: Path, replacement: Replacement) -> None:
    live.unlink()
    assert replacement(image, live) is None
    assert not live.exists()
    assert content(image) == NEW


@REPLACEMENTS
def test_who_waits_to_open_it_gets_the_old_file(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, replacement: Replacement
) -> None:
    inode = live.stat().st_ino
    monkeypatch.setattr(swap, "_nobody_waits", lambda descriptor: False)
    assert replacement(image, live) is None
    assert_untouched(live, inode)


@REPLACEMENTS
def test_a_lock_that_is_refused_leaves_all(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, replacement: Replacement
) -> None:
    """As a file system without locks of open files does."""

    def refuse(descriptor: int, command: int, argument: Any = 0) -> Any:
        if command == fcntl.F_OFD_SETLK:
            raise OSError(errno.EINVAL, "Invalid argument")
        return original(descriptor, command, argument)

    original = fcntl.fcntl
    inode = live.stat().st_ino
    with monkeypatch.context() as context:
        context.setattr(fcntl, "fcntl", refuse)
        assert replacement(image, live) is None
    assert_untouched(live, inode)


@pytest.mark.parametrize("lasting", [False, True])
def test_an_unread_replacement_that_cannot_be_synced_is_undone(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, lasting: bool
) -> None:
    """``lasting``: no sync succeeds any more, not even those of the way back."""
    with_wal(live)
    inode = live.stat().st_ino
    fsync = swap.fsync_directory
    broken = False

    def synced(path: Path) -> None:
        nonlocal broken
        if broken:
            broken = lasting
            failing()
        fsync(path)

    def reach(name: str) -> None:
        nonlocal broken
        broken = name == "install.sidecars-kept"

    monkeypatch.setattr(swap.crashpoints, "reach", reach)
    with monkeypatch.context() as context:
        context.setattr(swap, "fsync_directory", synced)
        with pytest.raises(OSError, match="Input/output error"):
            replace_lost(image, live)
    assert not image.exists()
    assert descriptors(live) == []
    assert live.stat().st_ino == inode
    # Another process has the content of the WAL and can write: no lock is left.
    processes.run("commit", live, "1")
    assert of_late(live) == [(1,)]
    assert swap.settle_former(live, None) is None
    assert not swap.former_path(live).exists()


def test_an_unread_replacement_goes_on_only_with_a_lease(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_wal(live)
    inode = live.stat().st_ino
    user = apsw.Connection(str(live))
    try:
        # This process's own descriptors are those that it looks for itself.
        with monkeypatch.context() as context:
            context.setattr(swap, "_descriptors", lambda inode, target: [])
            assert replace_lost(image, live) is None
        assert len(descriptors(live)) == 1
    finally:
        user.close()
    assert live.stat().st_ino == inode
    assert not swap.former_path(live).exists()
    assert of_late(live) == [(1,)]


@REPLACEMENTS
def test_cancelled_it_leaves_all(live: Path, image: Path, replacement: Any) -> None:
    inode = live.stat().st_ino
    with pytest.raises(InstallFailed, match="the restore was cancelled"):
        replacement(image, live, lambda: True)
    assert_untouched(live, inode)


@REPLACEMENTS
def test_the_image_becomes_what_others_expect_of_the_file(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, replacement: Replacement
) -> None:
    """Its attributes, among them those that hold access lists, and its owner."""
    try:
        os.setxattr(live, "user.note", b"kept")
    except OSError:
        pytest.skip("the file system has no extended attributes of users")
    own = image.stat()
    changed: list[tuple[Path, int, int]] = []
    # Changing it takes rights that not everybody has.
    monkeypatch.setattr(os, "chown", lambda path, user, group: changed.append((path, user, group)))

    class Foreign:
        """A file's status, with other owners."""

        def __init__(self, real: os.stat_result) -> None:
            self.real = real

        st_uid, st_gid = own.st_uid + 1, own.st_gid + 1

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

    original = Path.stat

    def stat(path: Path, **options: Any) -> Any:
        found = original(path, **options)
        return Foreign(found) if path == live else found

    with monkeypatch.context() as context:
        context.setattr(Path, "stat", stat)
        assert replacement(image, live) == swap.former_path(live)
    assert changed == [(image, own.st_uid + 1, own.st_gid + 1)]
    assert os.getxattr(live, "user.note") == b"kept"
    assert content(live) == NEW


def test_statements_prepared_before_see_another_schema(live: Path, image: Path) -> None:
    """The schema cookie is one that neither file had."""

    def cookie(path: Path) -> int:
        return int.from_bytes(path.read_bytes()[40:44], "big")

    before = {cookie(live), cookie(image)}
    assert replace(image, live) is not None
    assert cookie(live) > max(before)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (DatabaseUnreadable(Path("x"), "SQLite cannot open x"), False),
        (OSError(errno.EIO, "Input/output error"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
    ],
)
def test_what_cannot_be_opened_is_lost_only_if_the_disk_fails(
    live: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, lost: bool
) -> None:
    def refuse(*_: object) -> apsw.Connection:
        raise error

    monkeypatch.setattr(swap, "open_database", refuse)
    assert swap.is_lost_to_disk(live) is lost


@pytest.mark.parametrize(("kind", "lost"), [(apsw.IOError, True), (apsw.NotADBError, False)])
def test_what_fails_to_open_or_to_read_is_lost_only_if_the_disk_fails(
    live: Path, monkeypatch: pytest.MonkeyPatch, kind: type[apsw.Error], lost: bool
) -> None:
    opened: list[bool] = []

    class Connection:
        def config(self, *_: object) -> None: ...

        def execute(self, statement: str) -> None:
            raise kind("why")

        def close(self) -> None:
            opened.append(False)

    def unreadable(*_: object) -> apsw.Connection:
        raise DatabaseUnreadable(live, "SQLite cannot open it") from kind("why")

    monkeypatch.setattr(swap, "open_database", unreadable)
    assert swap.is_lost_to_disk(live) is lost
    monkeypatch.setattr(swap, "open_database", lambda *_: Connection())
    assert swap.is_lost_to_disk(live) is lost
    assert opened == [False]


def test_a_sound_file_and_one_that_is_none_are_not_lost(live: Path, tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"no database " * 1000)
    assert not swap.is_lost_to_disk(live)
    assert not swap.is_lost_to_disk(tmp_path / "other")
    assert descriptors(live) == descriptors(tmp_path / "other") == []


@pytest.mark.parametrize("kept", [True, False])
def test_what_was_replaced_goes_with_what_belongs_to_it(live: Path, image: Path, kept: bool) -> None:
    with_wal(live)
    former = replace_lost(image, live)
    assert former is not None
    assert of_late(former) == [(1,)]
    with_wal(live)
    undo = live.parent / ".undo" / "undo" if kept else None
    assert swap.settle_former(live, undo) == undo
    names = {path.name for path in former.parent.iterdir()}
    if undo is None:
        assert names == set()
    else:
        assert not any("former" in name for name in names)
        assert of_late(undo) == [(1,)]
    # The present file's own WAL stays.
    assert of_late(live) == [(1,)]


def test_a_second_name_of_a_file_that_has_its_wal_goes_alone(live: Path) -> None:
    with_wal(live)
    former = swap.former_path(live)
    former.parent.mkdir()
    os.link(live, former)
    assert swap.settle_former(live, None) is None
    assert list(former.parent.iterdir()) == []
    assert of_late(live) == [(1,)]

"""A database that nobody has open is replaced by a rename; where that cannot be shown, through SQLite."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw
import pytest

from tdsproxy.store import install, swap
from tdsproxy.store.errors import InstallFailed
from tdsproxy.store.install import (
    is_installed,
    remove_leftovers,
    replace_live,
    settle_copy,
    undo_copies,
)
from tests.store import processes

OLD, NEW = 30, 7


@pytest.fixture
def live(tmp_path: Path) -> Path:
    processes.build(tmp_path / "x.db", rows=OLD, seed=1)
    return tmp_path / "x.db"


@pytest.fixture
def image(tmp_path: Path) -> Path:
    processes.build(tmp_path / "image", rows=NEW, seed=2)
    return tmp_path / "image"


def rows(path: Path) -> int:
    found = processes.check(path)
    assert found["integrity"] == ["ok"]
    assert found["journal"] == "wal"
    return len(found["content"]["plain"])


def at(monkeypatch: pytest.MonkeyPatch, place: str, action: Callable[[], object]) -> None:
    def reach(name: str) -> None:
        if name == place:
            action()

    monkeypatch.setattr(swap.crashpoints, "reach", reach)


def descriptor_of(path: Path) -> int:
    inode = path.stat().st_ino
    for entry in Path("/proc/self/fd").iterdir():
        if entry.exists() and entry.stat().st_ino == inode:
            return int(entry.name)
    raise AssertionError(f"nobody has {path} open")


def test_nothing_is_copied(live: Path, image: Path) -> None:
    live.chmod(0o640)
    old, new = live.stat().st_ino, image.stat().st_ino
    calls: list[int] = []
    installed = replace_live(image, live, locked=lambda: calls.append(1))
    assert (live.stat().st_ino, live.stat().st_mode & 0o777, calls) == (new, 0o640, [1])
    assert installed.undo is not None
    assert installed.undo.stat().st_ino == old
    assert rows(live) == NEW
    assert {path.name for path in live.parent.iterdir()} == {"x.db", ".undo"}
    assert [path.name for path in (live.parent / ".undo").iterdir()] == [installed.undo.name]
    assert len(processes.check(installed.undo)["content"]["plain"]) == OLD


def test_another_page_size_stays_as_the_backup_had_it(live: Path, tmp_path: Path) -> None:
    processes.build(tmp_path / "image", rows=NEW, page_size=512, journal="delete")
    installed = replace_live(tmp_path / "image", live)
    assert not installed.converted_page_size
    assert (rows(live), processes.check(live)["page_size"]) == (NEW, 512)


def test_what_was_committed_to_the_wal_alone_is_kept(live: Path, image: Path) -> None:
    with processes.started("commit", live, "5") as writer:
        while processes.read_line(writer) != "5":
            pass
        writer.kill()
        writer.wait(60)
    old = live.stat().st_ino
    installed = replace_live(image, live)
    assert installed.undo is not None
    assert installed.undo.stat().st_ino == old
    assert len(processes.check(installed.undo)["content"]["log"]) >= 5
    assert rows(live) == NEW


@pytest.mark.parametrize("reads", [True, False])
def test_another_process_that_has_it_open_keeps_its_file(live: Path, image: Path, reads: bool) -> None:
    """One that has opened the file and never read holds no lock; the lease is refused all the same."""
    inode = live.stat().st_ino
    calls: list[int] = []
    if reads:
        with processes.started("hold", live, "read") as reader:
            assert processes.read_line(reader) == "held"
            replace_live(image, live, locked=lambda: calls.append(1))
    else:
        idle = apsw.Connection(str(live))
        replace_live(image, live, locked=lambda: calls.append(1))
        assert idle.execute("SELECT count(*) FROM plain").fetchall() == [(NEW,)]
        idle.close()
    assert live.stat().st_ino == inode
    # Who reads is known before the log is captured to its end.
    assert calls == ([1] if reads else [1, 1])
    assert rows(live) == NEW


def test_a_commit_of_the_last_instant_is_in_what_is_kept(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect: Callable[..., apsw.Connection] = swap.connect
    calls: list[int] = []

    def late(path: Path, *arguments: Any) -> apsw.Connection:
        processes.run("commit", path, "1")
        return connect(path, *arguments)

    monkeypatch.setattr(swap, "connect", late)
    inode = live.stat().st_ino
    installed = replace_live(image, live, locked=lambda: calls.append(1))
    assert (live.stat().st_ino, calls) == (inode, [1, 1])
    assert installed.undo is not None
    assert len(processes.check(installed.undo)["content"]["log"]) == 1


@pytest.mark.parametrize("seen", [True, False])
def test_who_opens_it_in_the_last_instant_sees_no_mixture(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """``seen`` False: in the instant between the last look and the rename. That one has the old file under
    the new one's name; beside the WAL that is written then, it is refused as long as it stays."""

    def come() -> None:
        visitors.append(stack.enter_context(processes.started("visit", live)))
        while fcntl.fcntl(descriptor_of(live), fcntl.F_GETLEASE) == fcntl.F_WRLCK:
            os.sched_yield()

    visitors: list[subprocess.Popen[str]] = []
    at(monkeypatch, "install.former-kept", come)
    if not seen:
        monkeypatch.setattr(swap, "_nobody_waits", lambda descriptor: True)
    new = image.stat().st_ino
    with contextlib.ExitStack() as stack:
        installed = replace_live(image, live)
        visitor = visitors[0]
        assert processes.read_line(visitor) == "opened"
        assert (live.stat().st_ino == new) == (not seen)
        # A WAL lies beside the new file when the visitor begins to read.
        writer = stack.enter_context(processes.started("hold", live, "write"))
        assert processes.read_line(writer) == "held"
        if seen:
            writer.communicate("", timeout=60)
        found, _ = visitor.communicate("\n", timeout=60)
    locked = "database is locked"
    assert json.loads(found) == ([NEW, "written"] if seen else [locked, locked])
    assert rows(live) == NEW + (1 if seen else 0)
    assert installed.undo is not None
    for thread in threading.enumerate():
        if thread.name == "replaced file":
            thread.join(60)
    assert len(processes.check(installed.undo)["content"]["plain"]) == OLD


def test_links_go_on_leading_to_it(live: Path, image: Path, tmp_path: Path) -> None:
    os.link(live, tmp_path / "linked.db")
    inode = live.stat().st_ino
    replace_live(image, live)
    assert live.stat().st_ino == inode
    assert rows(live) == NEW


def test_without_leases_it_goes_through_sqlite(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> int:
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(swap.fcntl, "fcntl", refused)
    monkeypatch.setattr(swap, "_others_read", lambda descriptor: False)
    inode = live.stat().st_ino
    replace_live(image, live)
    assert (live.stat().st_ino, rows(live)) == (inode, NEW)


@pytest.mark.parametrize("failing", ["fsync", "link", "cancel"])
def test_what_fails_leaves_the_old_content(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def broken(*_: object) -> None:
        raise OSError(5, "Input/output error")

    inode = live.stat().st_ino
    if failing == "link":
        monkeypatch.setattr(swap.os, "link", broken)
        replace_live(image, live)
        assert (live.stat().st_ino, rows(live)) == (inode, NEW)
        return
    if failing == "fsync":
        at(
            monkeypatch,
            "install.renamed",
            lambda: monkeypatch.setattr(swap, "fsync_directory", broken),
        )
    wanted = InstallFailed if failing == "cancel" else OSError
    with pytest.raises(wanted):
        replace_live(image, live, cancelled=lambda: failing == "cancel")
    assert (live.stat().st_ino, rows(live)) == (inode, OLD)
    assert {path.name for path in live.parent.iterdir()} <= {"x.db", ".undo"}
    assert list((live.parent / ".undo").iterdir()) == []


def test_what_a_killed_replacement_left_gets_its_name(live: Path, image: Path) -> None:
    (live.parent / ".undo").mkdir()
    former = swap.former_path(live)
    os.link(live, former)
    assert remove_leftovers(live.parent) == []
    assert not former.exists()
    os.link(live, former)
    inode = live.stat().st_ino
    (live.parent / "second").hardlink_to(image)
    image.replace(live)
    assert is_installed(live.parent / "second", live)
    remove_leftovers(live.parent)
    assert [copy.stat().st_ino for copy in undo_copies(live)] == [inode]
    assert rows(live) == NEW


def with_wal(live: Path) -> None:
    """A commit that lies in the WAL alone, which nobody has open."""
    connection = apsw.Connection(str(live))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("CREATE TABLE late (x); INSERT INTO late VALUES (1)")
    connection.close()
    assert live.with_name("x.db-wal").stat().st_size


def late(path: Path) -> list[Any]:
    connection = apsw.Connection(str(path))
    try:
        return connection.execute("SELECT x FROM late").fetchall()
    finally:
        connection.close()


def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the disk could not read the first page."""
    monkeypatch.setattr(install, "is_lost_to_disk", lambda target: True)


def test_what_the_disk_cannot_read_is_replaced_unread(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_wal(live)
    lost(monkeypatch)
    undo = replace_live(image, live).undo
    assert undo is not None
    assert rows(live) == NEW
    # The WAL would have been taken for that of the new file.
    assert {path.name for path in live.parent.iterdir()} == {"x.db", ".undo"}
    assert undo.with_name(f"{undo.name}-wal").exists()
    settle_copy(undo)
    assert [path.name for path in undo.parent.iterdir()] == [undo.name]
    assert late(undo) == [(1,)]


def test_what_the_disk_cannot_read_but_others_have_open_stays(live: Path, image: Path) -> None:
    with_wal(live)
    user = apsw.Connection(str(live))
    try:
        user.execute("SELECT x FROM late").fetchall()
        assert swap.swap_lost(image, live, cancelled=lambda: False, locked=lambda: None) is None
    finally:
        user.close()
    assert late(live) == [(1,)]


@pytest.mark.parametrize("place", ["install.sidecars-kept", "cancelled"])
def test_a_replacement_unread_that_fails_leaves_all(
    live: Path, image: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with_wal(live)
    lost(monkeypatch)

    def fail() -> None:
        raise OSError(5, "the disk")

    at(monkeypatch, place, fail)
    with pytest.raises((OSError, InstallFailed)):
        replace_live(image, live, cancelled=lambda: place == "cancelled")
    assert late(live) == [(1,)]
    assert undo_copies(live) == []


def test_a_replacement_unread_that_was_killed_gets_its_wal_back(live: Path) -> None:
    with_wal(live)
    former = swap.former_path(live)
    former.parent.mkdir()
    os.link(live, former)
    live.with_name("x.db-wal").rename(former.with_name(f"{former.name}-wal"))
    remove_leftovers(live.parent)
    assert list(former.parent.iterdir()) == []
    assert late(live) == [(1,)]

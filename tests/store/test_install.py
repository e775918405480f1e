from __future__ import annotations

import errno
import os
import resource
import shutil
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tdsproxy.store import install
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, InstallFailed
from tdsproxy.store.install import install_new, remove_leftovers, replace_live, undo_copies, wait_for_release
from tests.store import processes


def content(path: Path) -> object:
    return processes.check(path)["content"]


def made(path: Path, **options: object) -> object:
    processes.build(path, **options)
    return content(path)


def test_a_new_database_is_free_of_an_older_ones_wal(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with processes.started("build", old, '{"leave_wal": true}') as process:
        assert processes.read_line(process) == "built"
        process.kill()
        process.wait(60)
    wanted = made(tmp_path / "image", rows=7)
    shutil.copy(tmp_path / "old.db-wal", tmp_path / "x.db-wal")
    installed = install_new(tmp_path / "image", tmp_path / "x.db")
    assert installed.path == tmp_path / "x.db"
    assert content(tmp_path / "x.db") == wanted
    assert not (tmp_path / "image").exists()


def test_a_new_database_does_not_replace_one(tmp_path: Path) -> None:
    before = made(tmp_path / "x.db", rows=3)
    made(tmp_path / "image", rows=7)
    with pytest.raises(InstallFailed):
        install_new(tmp_path / "image", tmp_path / "x.db")
    assert content(tmp_path / "x.db") == before


@pytest.mark.parametrize(
    ("image_size", "image_journal", "live_journal"),
    [
        (4096, "wal", "wal"),
        (4096, "wal", "delete"),
        (4096, "delete", "delete"),
        (512, "wal", "wal"),
        (65536, "delete", "wal"),
        (65536, "wal", "delete"),
    ],
)
def test_open_handles_see_the_new_content(
    tmp_path: Path, image_size: int, image_journal: str, live_journal: str
) -> None:
    live = tmp_path / "x.db"
    before = made(live, journal=live_journal, rows=9, seed=1)
    image = tmp_path / "image"
    wanted = made(image, journal=image_journal, page_size=image_size, rows=4, seed=2)
    handle = apsw.Connection(str(live))
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(9,)]
    installed = replace_live(image, live)
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(4,)]
    handle.close()
    found = processes.check(live)
    assert found["content"] == wanted
    assert found["integrity"] == ["ok"]
    assert found["journal"] == ("wal" if "wal" in (image_journal, live_journal) else "delete")
    assert installed.converted_page_size == (live_journal == "wal" and image_size != 4096)
    assert installed.undo is not None
    assert content(installed.undo) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"x.db", "x.db-wal", "x.db-shm", ".undo"}


def test_a_reader_keeps_the_old_content_until_it_ends(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    made(live, rows=9)
    made(image, rows=4)
    with processes.started("hold", live, "read") as process:
        assert processes.read_line(process) == "held"
        replace_live(image, live)
        assert processes.check(live)["integrity"] == ["ok"]
        assert len(processes.check(live)["content"]["plain"]) == 4


def test_a_writer_makes_it_busy_and_nothing_changes(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    before = made(live, rows=9)
    made(image, rows=4)
    with processes.started("hold", live, "write") as process:
        assert processes.read_line(process) == "held"
        with pytest.raises(DatabaseBusy):
            replace_live(image, live, busy_milliseconds=50)
    assert content(live) == before
    assert not image.exists()


@pytest.mark.parametrize("pages", [0, 1])
def test_an_image_of_hardly_any_page_replaces_a_database_that_is_kept(tmp_path: Path, pages: int) -> None:
    """The step that copies the last page commits: there must be one before it."""
    target, image = tmp_path / "x.db", tmp_path / "image"
    processes.build(target, rows=30)
    before = content(target)
    processes.build(image, empty=True)
    assert image.stat().st_size == 4096
    if not pages:
        image.write_bytes(b"")
    seen: list[object] = []
    installed = replace_live(image, target, locked=lambda: seen.append(content(target)))
    assert seen == [before]
    assert installed.undo is not None
    assert content(installed.undo) == before
    assert content(target) != before
    assert processes.check(target)["content"] == {}


def test_only_the_last_undo_copy_is_kept(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    other = tmp_path / "x-2.db"
    made(live, rows=1)
    made(other, rows=1)
    made(image, rows=2)
    assert replace_live(image, other).undo is not None
    for rows in (3, 4):
        made(image, rows=rows)
        replace_live(image, live)
    kept = {path.name.rpartition("-")[0]: path for path in (tmp_path / ".undo").iterdir()}
    assert sorted(kept) == ["x", "x-2"]
    assert len(processes.check(kept["x"])["content"]["plain"]) == 3


def test_a_cancelled_replacement_changes_nothing(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    before = made(live, rows=9)
    made(image, rows=4)
    with pytest.raises(InstallFailed):
        replace_live(image, live, cancelled=lambda: True)
    assert content(live) == before


@pytest.mark.parametrize("sidecar", [False, True])
def test_a_destroyed_database_can_be_replaced(tmp_path: Path, sidecar: bool) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    made(live, rows=9)
    wanted = made(image, rows=4)
    processes.run("damage", live)
    broken = live.read_bytes()
    handle = apsw.Connection(str(live)) if sidecar else None
    installed = replace_live(image, live)
    if handle is not None:
        assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(4,)]
        handle.close()
    found = processes.check(live)
    assert (found["content"], found["integrity"], found["journal"]) == (wanted, ["ok"], "wal")
    assert installed.undo is not None
    assert installed.undo.read_bytes() == broken


def test_a_database_with_a_damaged_schema_can_be_replaced(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    made(live, rows=9)
    wanted = made(image, rows=4)
    handle = apsw.Connection(str(live))
    handle.execute("PRAGMA writable_schema=on").fetchall()
    handle.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(' WHERE name = 'plain'").fetchall()
    installed = replace_live(image, live)
    handle.close()
    found = processes.check(live)
    assert (found["content"], found["integrity"], found["journal"]) == (wanted, ["ok"], "wal")
    assert installed.undo is not None
    assert b"CREATE TABLE plain(" in installed.undo.read_bytes()


def test_what_killed_restores_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".undo").mkdir()
    kept = ["x.db", "x.db-wal", ".hidden", ".undo/x-1.db"]
    left = [".x.db.restoring", ".x.db.restoring.converted", ".x.db.restoring-journal", ".undo/.x.new"]
    for name in kept + left:
        (tmp_path / name).touch()
    assert sorted(remove_leftovers(tmp_path)) == sorted(tmp_path / name for name in left)
    assert all((tmp_path / name).exists() for name in kept)
    assert not any((tmp_path / name).exists() for name in left)
    assert remove_leftovers(tmp_path / "missing") == []


def test_waiting_for_release(tmp_path: Path) -> None:
    live = tmp_path / "x.db"
    made(live, rows=1)
    wait_for_release(live, 0)
    with processes.started("hold", live, "read") as process:
        assert processes.read_line(process) == "held"
        with pytest.raises(DatabaseBusy):
            wait_for_release(live, 0.1)
        process.kill()
        process.wait(60)
        wait_for_release(live, 60)


@pytest.fixture
def used(tmp_path: Path) -> Iterator[Path]:
    """A database that somebody has open, so that its content is replaced through SQLite."""
    live = tmp_path / "x.db"
    made(live, rows=9)
    handle = apsw.Connection(str(live))
    handle.execute("SELECT count(*) FROM plain").fetchall()
    yield live
    handle.close()


def nothing_changed(live: Path, before: object) -> None:
    found = processes.check(live)
    assert (found["content"], found["integrity"]) == (before, ["ok"])
    # Nobody is kept out, and nothing is left.
    processes.run("commit", live, "1")
    undo = live.parent / ".undo"
    assert not undo.exists() or list(undo.iterdir()) == []
    assert {path.name for path in live.parent.iterdir()} <= {"x.db", "x.db-wal", "x.db-shm", ".undo"}


def test_a_new_name_needs_nothing_removed(tmp_path: Path) -> None:
    wanted = made(tmp_path / "image", rows=7)
    install_new(tmp_path / "image", tmp_path / "x.db")
    assert content(tmp_path / "x.db") == wanted


def test_what_is_not_to_be_kept_is_not_kept(used: Path, tmp_path: Path) -> None:
    wanted = made(tmp_path / "image", rows=4)
    installed = replace_live(tmp_path / "image", used, keep_undo=False)
    assert installed.undo is None
    assert content(used) == wanted
    assert undo_copies(used) == []


def test_a_database_that_is_locked_for_reading_is_busy(tmp_path: Path) -> None:
    live = tmp_path / "x.db"
    before = made(live, journal="delete", rows=9)
    made(tmp_path / "image", rows=4)
    with processes.started("hold", live, "exclusive") as process:
        assert processes.read_line(process) == "held"
        with pytest.raises(DatabaseBusy):
            replace_live(tmp_path / "image", live, busy_milliseconds=20)
    nothing_changed(live, before)


def test_who_refuses_at_the_last_moment_leaves_the_old_content(used: Path, tmp_path: Path) -> None:
    before = content(used)
    made(tmp_path / "image", rows=4)

    def refuse() -> None:
        raise LookupError("somebody came in")

    with pytest.raises(LookupError):
        replace_live(tmp_path / "image", used, locked=refuse)
    nothing_changed(used, before)


def test_a_replacement_is_cancelled_between_its_pages(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "_COPY_PAGES", 2)
    before = content(used)
    made(tmp_path / "image", rows=40)
    written: list[int] = []
    asked = iter(range(1000))

    def cancelled() -> bool:
        written.append(Path(f"{used}-wal").stat().st_size)
        return next(asked) > 8

    with pytest.raises(InstallFailed, match="was cancelled"):
        replace_live(tmp_path / "image", used, cancelled=cancelled)
    nothing_changed(used, before)


@pytest.mark.parametrize("function", ["fsync", "pwrite"])
def test_where_the_old_content_cannot_be_kept_it_stays(
    used: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    before = content(used)
    made(tmp_path / "image", rows=4)
    (tmp_path / ".undo").mkdir()
    original = getattr(os, function)

    def full(descriptor: int, *arguments: object) -> object:
        if ".undo/" in str(Path(f"/proc/self/fd/{descriptor}").readlink()):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(descriptor, *arguments)

    with monkeypatch.context() as changed:
        changed.setattr(os, function, full)
        with pytest.raises(OSError, match="No space left"):
            replace_live(tmp_path / "image", used)
    nothing_changed(used, before)


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_disk_that_takes_nothing_any_more_after_the_commit_undoes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: str
) -> None:
    """What cannot be checkpointed stays in the WAL; a copy that cannot be removed stays."""
    live = tmp_path / "x.db"
    before = made(live, journal=journal, rows=9)
    wanted = made(tmp_path / "image", rows=400)
    (tmp_path / ".undo").mkdir()
    older = tmp_path / ".undo" / "x-20200101T000000000000.db"
    older.touch()
    handle = apsw.Connection(str(live))
    handle.execute("SELECT count(*) FROM plain").fetchall()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    failed: list[Path] = []

    def cannot(copy: Path) -> None:
        failed.append(copy)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def reach(place: str) -> None:
        if place == "install.after-commit":
            # Every write is refused from here on, SQLite's, too.
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))

    monkeypatch.setattr(install, "remove_copy", cannot)
    monkeypatch.setattr(install.crashpoints, "reach", reach)
    try:
        installed = replace_live(tmp_path / "image", live)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(400,)]
    if journal == "wal":
        assert live.stat().st_size < (tmp_path / "x.db-wal").stat().st_size, "a checkpoint was possible"
    handle.close()
    found = processes.check(live)
    assert (found["content"], found["integrity"]) == (wanted, ["ok"])
    assert failed == [older]
    assert installed.undo is not None
    assert content(installed.undo) == before


def test_an_image_that_is_no_database_replaces_nothing(used: Path, tmp_path: Path) -> None:
    before = content(used)
    (tmp_path / "image").write_bytes(b"no database" * 1000)
    with pytest.raises(InstallFailed, match="SQLite cannot replace"):
        replace_live(tmp_path / "image", used)
    nothing_changed(used, before)


def test_an_image_whose_pages_cannot_be_converted_replaces_nothing(used: Path, tmp_path: Path) -> None:
    before = content(used)
    made(tmp_path / "image", rows=9, page_size=8192)
    with (tmp_path / "image").open("r+b") as file:
        file.seek(8192)
        file.write(b"\xa5" * 8192)
    with pytest.raises(InstallFailed, match="can't be made 4096"):
        replace_live(tmp_path / "image", used)
    nothing_changed(used, before)


def test_a_database_that_was_cut_short_can_be_replaced(tmp_path: Path) -> None:
    """Its WAL names pages that the file does not have any more."""
    live = tmp_path / "x.db"
    made(live, rows=40)
    wanted = made(tmp_path / "image", rows=4)
    handle = apsw.Connection(str(live))
    handle.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    handle.execute("UPDATE plain SET body = 'new' WHERE id = 1").fetchall()
    processes.run("cut", live, "8192")
    installed = replace_live(tmp_path / "image", live)
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(4,)]
    handle.close()
    found = processes.check(live)
    assert (found["content"], found["integrity"]) == (wanted, ["ok"])
    assert installed.undo is not None
    assert installed.undo.stat().st_size > 0


def test_what_is_no_database_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_bytes(b"no database" * 1000)
    with pytest.raises(DatabaseUnreadable):
        wait_for_release(tmp_path / "x.db", 60)


def test_a_database_holds_an_image_but_for_counters(tmp_path: Path) -> None:
    target, image = tmp_path / "a.db", tmp_path / "image"
    connection = apsw.Connection(str(target))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (zeroblob(9000))")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    shutil.copyfile(target, image)
    assert install.holds(target, image)
    pages = image.read_bytes()
    image.write_bytes(pages[:24] + b"\x01\x02\x03\x04" + pages[28:])
    assert install.holds(target, image)
    for changed in (
        pages[:-1] + bytes([pages[-1] ^ 1]),
        pages + bytes(4096),
        pages[:16] + bytes([2, 0]) + pages[18:],
        b"no database",
        b"",
    ):
        image.write_bytes(changed)
        assert not install.holds(target, image)
    image.unlink()
    assert not install.holds(target, image)
    image.write_bytes(pages)
    connection.execute("INSERT INTO t VALUES (1)")
    assert not install.holds(target, image)
    connection.close()


def test_what_was_kept_with_its_wal_is_settled_or_told_to_be_unreadable(tmp_path: Path) -> None:
    live, copy = tmp_path / "a.db", tmp_path / "copy.undo"
    install.settle_copy(copy)
    connection = apsw.Connection(str(live))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    shutil.copyfile(live, copy)
    shutil.copyfile(tmp_path / "a.db-wal", tmp_path / "copy.undo-wal")
    connection.close()
    install.settle_copy(copy)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.db", "copy.undo"]
    settled = apsw.Connection(str(copy))
    assert settled.execute("SELECT x FROM t").fetchall() == [(1,)]
    settled.close()
    copy.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    (tmp_path / "copy.undo-journal").write_bytes(b"x")
    with pytest.raises(DatabaseUnreadable):
        install.settle_copy(copy)

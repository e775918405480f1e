"""The capture in one process with a writer of its own, where nothing else interferes."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import apsw
import pytest

from tdsproxy.log import archive as archive_module
from tdsproxy.log import capture as capture_module
from tdsproxy.log import roll
from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer
from tdsproxy.log.checkpointer import Checkpointer
from tdsproxy.log.follower import Follower
from tdsproxy.log.records import CaptureStopped, LogGap, Transaction
from tdsproxy.log.watch import Watch
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing
from tests.log import support


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    connection = apsw.Connection(str(made))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE t(a INTEGER PRIMARY KEY, b)").fetchall()
    connection.close()
    return made


@pytest.fixture
def writer(path: Path) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(60_000)
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    yield connection
    connection.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = support.open_archive(tmp_path)
    yield opened
    opened.close()


def insert(writer: apsw.Connection, size: int = 10) -> None:
    writer.execute("INSERT INTO t(b) VALUES(randomblob(?))", (size,)).fetchall()


def everything(archive: Archive) -> list[Transaction]:
    return list(archive.read(archive.first_lsn()))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_commits_are_captured_by_themselves(path: Path, writer: apsw.Connection, archive: Archive) -> None:
    with support.capturing(path, archive):
        for number in range(1, 4):
            before = time.time_ns()
            insert(writer)
            until(lambda: len(everything(archive)) == number)  # noqa: B023
            # Files are stamped by a clock of its own steps, which a machine that stands still makes late.
            assert before - 10**9 <= archive.last_committed_ns() <= time.time_ns()


def test_a_failed_and_a_read_transaction_leave_nothing(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    with support.capturing(path, archive) as capturer:
        end = capturer.capture_now()
        writer.execute("BEGIN; INSERT INTO t(b) VALUES(1); ROLLBACK; SELECT * FROM t").fetchall()
        assert capturer.capture_now() == end
        insert(writer)
        assert capturer.capture_now() > end


def test_times_never_decrease(path: Path, writer: apsw.Connection, archive: Archive) -> None:
    times = iter(range(10**18, 0, -(10**9)))
    with support.capturing(path, archive, clock_ns=lambda: next(times)) as capturer:
        for _ in range(5):
            insert(writer)
            capturer.capture_now()
        found = [item.committed_ns for item in everything(archive)]
    assert found == sorted(found)
    assert len(found) == 5


def test_our_own_commits_have_their_exact_times(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    told: list[int] = []
    with support.capturing(path, archive, checkpoint_bytes=1 << 30) as capturer:

        def committed(_: apsw.Connection, __: str, pages: int) -> int:
            told.append(time.time_ns())
            capturer.note_commit(pages, told[-1])
            return apsw.SQLITE_OK

        capturer._lock.acquire()  # The hook is always before the first look.
        writer.set_wal_hook(committed)
        for _ in range(5):
            insert(writer)
        capturer._lock.release()
        capturer.capture_now()
        assert [item.committed_ns for item in everything(archive)] == told


def test_a_mark_is_that_of_the_announced_commit(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    with support.capturing(path, archive) as capturer:
        insert(writer)
        for name in ("Payroll", None):
            writer.execute("BEGIN IMMEDIATE").fetchall()
            insert(writer)
            capturer.announce_mark("Payroll", "monthly")
            if name is None:
                capturer.announce_mark(None)
            writer.execute("COMMIT").fetchall()
        insert(writer)
        capturer.capture_now()
        found = [(item.mark, item.mark_description) for item in everything(archive)]
    assert found == [(None, None), ("Payroll", "monthly"), (None, None), (None, None)]


def test_a_large_transaction_and_a_vacuum(
    tmp_path: Path, path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    with support.capturing(path, archive) as capturer:
        image = tmp_path / "full.db"
        first, _ = support.full_image(path, capturer, image)
        with writer:
            writer.execute("PRAGMA cache_size=50").fetchall()
            for _ in range(100):
                insert(writer, 100_000)
            writer.execute("UPDATE t SET b = randomblob(90000) WHERE a % 3 = 0").fetchall()
        writer.execute("DELETE FROM t WHERE a % 2 = 0").fetchall()
        writer.execute("VACUUM").fetchall()
        capturer.capture_now()
        large = everything(archive)[0]
        assert len(large.pages) > 2400
        assert len({number for number, _ in large.pages}) == len(large.pages)
        result = roll.apply(image, archive.read(first))
        assert result.transactions == 3
        support.make_plain(image)
    copy = apsw.Connection(str(image))
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    query = "SELECT count(*), sum(length(b)), max(hex(b)) FROM t"
    assert copy.execute(query).fetchall() == writer.execute(query).fetchall()
    copy.close()


def is_short(capturer: Capturer) -> bool:
    capturer.capture_now()
    with capturer._lock:
        follower = capturer._follower
        assert follower is not None
        return follower.position.frame * follower.frame_bytes <= 2 << 20 or follower.may_be_on_zero


def test_the_wal_stays_short_and_writers_are_not_refused(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    writer.execute("PRAGMA synchronous=NORMAL").fetchall()
    writer.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    wal = path.with_name("x.db-wal")
    largest = 0
    with support.capturing(path, archive, checkpoint_bytes=2 << 20) as capturer:
        for number in range(3000):
            insert(writer, 8000)
            if number % 50 == 0:
                largest = max(largest, wal.stat().st_size)
            if number % 400 == 0:
                # However late its thread runs: it copies what there is, and the next commit begins anew.
                until(lambda: is_short(capturer))
        capturer.capture_now()
        assert len(everything(archive)) == 3000
    assert largest < 32 << 20  # as 256 MB are to the 16 MiB that the product copies at
    assert archive.gaps() == ()


def restarted(path: Path, archive: Archive) -> list[str]:
    """What a capture reports that starts now, with a commit in between to show that it goes on."""
    reports = support.Reports()
    with support.capturing(path, archive, report=reports) as capturer:
        capturer.capture_now()
    return reports.lines


def test_a_clean_stop_and_a_reader_in_between_are_no_gap(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    with support.capturing(path, archive):
        insert(writer)
    writer.close()
    assert restarted(path, archive) == []
    reader = apsw.Connection(str(path))
    reader.execute("SELECT * FROM t").fetchall()
    reader.close()
    assert not path.with_name("x.db-wal").exists()
    assert restarted(path, archive) == []
    assert archive.gaps() == ()


def test_commits_in_between_that_stay_in_the_wal_are_captured(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    with support.capturing(path, archive):
        insert(writer)
    insert(writer)
    insert(writer)
    assert restarted(path, archive) == []
    assert len(everything(archive)) == 3


def leave_wal_mode(path: Path, writer: apsw.Connection) -> None:
    writer.close()
    other = apsw.Connection(str(path))
    other.execute("PRAGMA journal_mode=DELETE").fetchall()
    insert(other)
    other.close()


def checkpoint(path: Path, writer: apsw.Connection) -> None:
    insert(writer)
    writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    insert(writer)


def replace_file(path: Path, writer: apsw.Connection) -> None:
    writer.close()
    other = path.with_name("other.db")
    shutil.copy(path, other)
    other.replace(path)


def lose_commits(path: Path, writer: apsw.Connection) -> None:
    """As after a crash of the operating system with synchronous=NORMAL."""
    writer.close()
    wal = path.with_name("x.db-wal")
    os.truncate(wal, wal.stat().st_size - 3000)
    path.with_name("x.db-shm").unlink()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (leave_wal_mode, "emptied"),
        (checkpoint, "emptied"),
        (replace_file, "replaced"),
        (lose_commits, "behind its log"),
    ],
)
def test_what_breaks_the_chain_while_nobody_captures(
    path: Path,
    writer: apsw.Connection,
    archive: Archive,
    harm: Callable[[Path, apsw.Connection], None],
    words: str,
) -> None:
    with support.capturing(path, archive) as capturer:
        for _ in range(5):
            insert(writer)
        first = archive.first_lsn()
        end = capturer.capture_now()
        capturer.close(final=False)
    harm(path, writer)
    (line,) = restarted(path, archive)
    assert words in line
    (gap,) = archive.gaps()
    assert (gap.lsn, gap.next_lsn) == (end, archive.last_lsn())
    assert words in gap.reason
    assert len(list(archive.read(first, end))) == 5
    with pytest.raises(LogGap):
        archive.read(first)
    # And on from there.
    other = apsw.Connection(str(path))
    with support.capturing(path, archive) as capturer:
        insert(other)
        capturer.capture_now()
        assert len(list(archive.read(gap.next_lsn))) == 1
    other.close()
    assert len(archive.gaps()) == 1


def test_a_file_that_is_replaced_under_the_capture(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    reports = support.Reports()
    with support.capturing(path, archive, report=reports) as capturer:
        insert(writer)
        capturer.capture_now()
        writer.close()
        other = path.with_name("other.db")
        code = "import sqlite3,sys; sqlite3.connect(sys.argv[1]).execute('CREATE TABLE other(a)')"
        subprocess.run([sys.executable, "-c", code, str(other)], check=True, timeout=60)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink()
        other.replace(path)
        capturer.capture_now()
        assert len(archive.gaps()) == 1
        assert "replaced" in reports.lines[0]
        again = apsw.Connection(str(path))
        again.execute("INSERT INTO other VALUES(1)").fetchall()
        capturer.capture_now()
        again.close()
    assert len(list(archive.read(archive.unbroken_since()))) == 1


class FullDisk:
    """Makes every write to an archive fail while it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = False
        self._write = archive_module.write_all
        monkeypatch.setattr(archive_module, "write_all", self.write)

    def write(self, descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
        if self.full:
            self._write(descriptor, [pieces[0][:7]], offset)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._write(descriptor, pieces, offset)


@pytest.mark.parametrize("wal_bytes", [1 << 30, 100_000])
def test_a_full_disk(
    path: Path,
    writer: apsw.Connection,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    wal_bytes: int,
) -> None:
    disk = FullDisk(monkeypatch)
    reports = support.Reports()
    with support.capturing(path, archive, report=reports, wal_bytes=wal_bytes) as capturer:
        insert(writer)
        before = capturer.capture_now()
        disk.full = True
        for _ in range(100):
            insert(writer, 3000)
        with pytest.raises(CaptureStopped):
            capturer.capture_now()
        assert "full" in (capturer.stopped or "")
        with pytest.raises(CaptureStopped):
            capturer.capture_now()
        # The hold goes only when the WAL has grown beyond its bound.
        with capturer._lock:  # Its thread tries again now and then, and holds the WAL meanwhile.
            writer.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
            insert(writer)
        disk.full = False
        end = capturer.capture_now()
        assert capturer.stopped is None
        if wal_bytes == 1 << 30:
            assert archive.gaps() == ()
            assert len(list(archive.read(before, end))) == 101
        else:
            assert len(archive.gaps()) == 1
            assert any("let go" in line for line in reports.lines)
        assert "again" in reports.lines[-1]
        insert(writer)
        last = capturer.capture_now()
        assert len(list(archive.read(end, last))) == 1


def test_after_its_end_nothing_is_promised(path: Path, archive: Archive) -> None:
    with support.capturing(path, archive) as capturer:
        pass
    capturer.close()
    with pytest.raises(CaptureStopped):
        capturer.capture_now()


def restart(path: Path) -> apsw.Connection:
    """A connection that has begun a new generation of the WAL."""
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    # A connection that has never read does nothing when told to checkpoint.
    connection.execute("PRAGMA schema_version").fetchall()
    connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_RESTART)
    return connection


def captured_then_left(path: Path, writer: apsw.Connection, archive: Archive) -> int:
    """Some transactions are captured; then the capture is killed, and all frames can be given up."""
    with support.capturing(path, archive) as capturer:
        for _ in range(5):
            insert(writer, 9000)
        end = capturer.capture_now()
        capturer.close(final=False)
    return end


def test_a_wal_that_others_began_anew_after_all_of_it_was_captured_goes_on(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    end = captured_then_left(path, writer, archive)
    salts = salts_of(path)
    again = restart(path)
    insert(again)
    assert salts_of(path)[0] == salts[0] + 1
    # Rolled back after it had been written to the WAL: that is nothing.
    again.execute("PRAGMA cache_size = 1; PRAGMA cache_spill = 1; BEGIN").fetchall()
    for _ in range(2):
        insert(again)
    again.execute("ROLLBACK").fetchall()
    assert restarted(path, archive) == []
    assert archive.gaps() == ()
    assert len(list(archive.read(end))) == 1
    again.close()


def salts_of(path: Path) -> tuple[int, int]:
    head = path.with_name(path.name + "-wal").read_bytes()[16:24]
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")


def spill_and_roll_back(writer: apsw.Connection) -> None:
    """Frames without a commit behind the last one."""
    writer.execute("PRAGMA cache_size = 1; BEGIN").fetchall()
    for _ in range(50):
        insert(writer, 9000)
    writer.execute("ROLLBACK").fetchall()


def test_frames_that_were_rolled_back_do_not_break_the_chain(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    wal = path.with_name("x.db-wal")
    end = captured_then_left(path, writer, archive)
    size = wal.stat().st_size
    spill_and_roll_back(writer)
    assert wal.stat().st_size > size
    again = restart(path)
    insert(again)
    assert restarted(path, archive) == []
    assert len(list(archive.read(end))) == 1
    again.close()


def commit_unseen(path: Path, writer: apsw.Connection) -> None:
    insert(writer)
    again = restart(path)
    insert(again)
    again.close()


def begin_anew_twice(path: Path, writer: apsw.Connection) -> None:
    for _ in range(2):
        again = restart(path)
        insert(again)
        again.close()


def overwrite_all(path: Path, writer: apsw.Connection) -> None:
    again = restart(path)
    for _ in range(5):
        insert(again, 20_000)
    again.close()


def cut_off_the_old_frames(path: Path, writer: apsw.Connection) -> None:
    """As ``journal_size_limit`` does when it applies."""
    again = restart(path)
    insert(again)
    again.close()
    wal = path.with_name("x.db-wal")
    salts, frames = wal.read_bytes()[16:24], 0
    while wal.read_bytes()[32 + frames * 4120 + 8 :][:8] == salts:
        frames += 1
    os.truncate(wal, 32 + frames * 4120)


def rewrite_the_last_frame(path: Path, writer: apsw.Connection) -> None:
    """The frames of another history, as when both files were put back from a copy."""
    frame_bytes = 24 + 4096
    wal = path.with_name("x.db-wal")
    with wal.open("r+b") as file:
        file.seek(32 + (wal.stat().st_size - 32) // frame_bytes * frame_bytes - frame_bytes + 16)
        file.write(b"\x01\x02\x03\x04")


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (commit_unseen, "emptied"),
        (begin_anew_twice, "emptied"),
        (overwrite_all, "emptied"),
        (cut_off_the_old_frames, "emptied"),
        (rewrite_the_last_frame, "other commits"),
    ],
)
def test_a_new_beginning_that_may_hide_a_commit_breaks_the_chain(
    path: Path,
    writer: apsw.Connection,
    archive: Archive,
    harm: Callable[[Path, apsw.Connection], None],
    words: str,
) -> None:
    end = captured_then_left(path, writer, archive)
    harm(path, writer)
    (line,) = restarted(path, archive)
    assert words in line
    (gap,) = archive.gaps()
    assert gap.lsn == end


def test_a_deleted_wal_breaks_the_chain_and_stops_the_capture(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    reports = support.Reports()
    with support.capturing(path, archive, report=reports) as capturer:
        insert(writer)
        end = capturer.capture_now()
        path.with_name("x.db-wal").unlink()
        insert(writer)
        # What it finds depends on whether it is the first to look.
        with pytest.raises(CaptureStopped, match=r"deleted|does not belong to the WAL"):
            capturer.capture_now()
        assert capturer.stopped is not None
        assert not capturer._writes_pending()
    assert archive.last_lsn() == end
    assert sum("not captured at present" in line for line in reports.lines) == 1


def test_a_capture_that_cannot_begin_leaves_nothing_open(tmp_path: Path, archive: Archive) -> None:
    before = support.descriptors(str(tmp_path), "inotify")
    with pytest.raises(DatabaseMissing):
        Capturer(tmp_path / "missing.db", archive)
    assert support.descriptors(str(tmp_path), "inotify") == before


def test_a_stopped_capture_leaves_nothing_open_either(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ours() -> int:
        # SQLite keeps descriptors of a file open on which another connection has locks.
        return support.descriptors("inotify")

    disk = FullDisk(monkeypatch)
    before = ours()
    with support.capturing(path, archive, wal_bytes=1) as capturer:
        disk.full = True
        insert(writer, 9000)
        with pytest.raises(CaptureStopped):
            capturer.capture_now()
        until(lambda: capturer._hold is None)
        assert ours() > before
    disk.full = False
    assert ours() == before


def test_a_disk_that_does_not_sync_promises_nothing(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with support.capturing(path, archive) as capturer:
        insert(writer)
        with monkeypatch.context() as changed:

            def fail(descriptor: int) -> None:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

            changed.setattr(os, "fdatasync", fail)
            with pytest.raises(CaptureStopped, match="can't be written"):
                capturer.capture_now()
            assert archive.unsynced
        end = capturer.capture_now()
        assert capturer.stopped is None
        assert len(list(archive.read(archive.first_lsn(), end))) == 1


def test_a_database_that_is_locked_for_long_is_not_lost(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with support.capturing(path, archive) as capturer:
        insert(writer)
        with monkeypatch.context() as changed:

            def busy(self: Follower) -> bool:
                raise DatabaseBusy(path, "said SQLite")

            changed.setattr(Follower, "capture", busy)
            with pytest.raises(CaptureStopped, match="said SQLite"):
                capturer.capture_now()
            with capturer._lock:
                assert not capturer._step()
        assert capturer.stopped is None
        assert len(everything(archive)) == 0 or capturer.capture_now()
        capturer.capture_now()
        assert len(everything(archive)) == 1
    assert archive.gaps() == ()


def test_what_cannot_be_captured_at_the_end_is_reported(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    reports = support.Reports()
    capturer = Capturer(path, archive, report=reports)
    insert(writer)
    capturer.capture_now()

    def fail(self: object) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(Checkpointer, "settle", fail)
    capturer.close()
    assert [line.partition(": ")[0] for line in reports.lines] == [
        f"the log of {path} was not captured to its end"
    ]


def test_a_mark_that_cannot_be_captured_is_refused(path: Path, archive: Archive) -> None:
    capturer = Capturer(path, archive)
    capturer.close()
    with pytest.raises(CaptureStopped):
        capturer.announce_mark("m")
    capturer.wake()


def test_without_notice_of_writes_commits_are_captured_all_the_same(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Watch, "follow", lambda self, path: False)
    with support.capturing(path, archive):
        for number in range(1, 4):
            insert(writer)
            until(lambda: len(everything(archive)) == number)  # noqa: B023


def test_a_database_that_comes_back_is_captured_on_without_a_gap(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture_module, "_RETRY_SECONDS", 0.01)
    reports = support.Reports()
    elsewhere = path.with_name("elsewhere.db")
    with support.capturing(path, archive, report=reports) as capturer:
        insert(writer)
        capturer.capture_now()
        path.rename(elsewhere)
        # The capture's own thread may see it first.
        with pytest.raises(CaptureStopped, match="no database file"):
            capturer.capture_now()
        assert "no database file" in (capturer.stopped or "")
        elsewhere.rename(path)
        until(lambda: capturer.stopped is None)
        insert(writer)
        capturer.capture_now()
    assert archive.gaps() == ()
    assert len(everything(archive)) == 2
    first, second = reports.lines
    assert "is not captured at present: the database file was moved away" in first
    assert second.endswith("is captured again")


class Ended(BaseException):
    """What ends a thread, and is no error that anybody expects."""


@pytest.mark.parametrize("kind", [MemoryError, Ended])
def test_what_ends_the_thread_of_a_capture_loses_nothing(
    path: Path,
    writer: apsw.Connection,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    kind: type[BaseException],
) -> None:
    """In the middle of an append. It begins again by itself, also when nobody tells of a commit."""
    monkeypatch.setattr(capture_module, "_RETRY_SECONDS", 0.0)
    reports = support.Reports()
    write = archive_module.write_all
    armed = True

    def fail(descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
        nonlocal armed
        if armed:
            armed = False
            write(descriptor, [pieces[0][:7]], offset)
            raise kind("no more")
        write(descriptor, pieces, offset)

    with support.capturing(path, archive, report=reports):
        monkeypatch.setattr(archive_module, "write_all", fail)
        insert(writer)
        until(lambda: not armed)
        insert(writer)
        until(lambda: len(everything(archive)) == 2)
        # It says so behind that.
        until(lambda: len(reports.lines) == 2)
        assert "not captured at present" in reports.lines[0]
        assert "captured again" in reports.lines[1]
        insert(writer)
        until(lambda: len(everything(archive)) == 3)
        assert archive.gaps() == ()


def test_an_error_that_nobody_expects_loses_nothing_for_whoever_asks(
    path: Path, writer: apsw.Connection, archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    with support.capturing(path, archive) as capturer, capturer._lock:
        insert(writer)
        with monkeypatch.context() as changed:

            def fail(descriptor: int, pieces: Sequence[bytes], offset: int) -> None:
                raise MemoryError

            changed.setattr(archive_module, "write_all", fail)
            with pytest.raises(MemoryError):
                capturer.capture_now()
        insert(writer)
        capturer.capture_now()
        assert len(everything(archive)) == 2

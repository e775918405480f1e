"""Holding a WAL: what is refused, what a dead writer left half done, and who stands in the way."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from tdsproxy.log import hold as hold_module
from tdsproxy.log import watch as watch_module
from tdsproxy.log.hold import WalHold
from tdsproxy.log.watch import Watch
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, SnapshotBroken
from tdsproxy.store.pagefile import PageFile
from tests.log import support

# The WAL index's lock of whoever checkpoints (walformat.html, section 2.3: WAL_LOCK_OFFSET + 1).
_CHECKPOINT_LOCK = 121


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "x.db"
    connection = apsw.Connection(str(made))
    connection.execute("CREATE TABLE t(a)").fetchall()
    connection.close()
    return made


@pytest.fixture
def held(path: Path) -> Iterator[WalHold]:
    hold = WalHold(path)
    yield hold
    hold.close()


@pytest.fixture
def writer(held: WalHold) -> Iterator[apsw.Connection]:
    connection = apsw.Connection(str(held.path))
    connection.execute("INSERT INTO t VALUES (1)").fetchall()
    yield connection
    connection.close()


def test_a_database_is_put_into_wal_mode(path: Path) -> None:
    before = support.descriptors(path.name)
    hold = WalHold(path)
    assert path.read_bytes()[18] == 2
    hold.close()
    hold.close()
    assert support.descriptors(path.name) == before


def test_a_locked_database_is_busy_and_nothing_stays_open(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold_module, "_READ_MILLISECONDS", 0)
    before = support.descriptors(path.name)
    owner = apsw.Connection(str(path))
    owner.execute("BEGIN EXCLUSIVE").fetchall()
    with pytest.raises(DatabaseBusy, match="is locked"):
        WalHold(path)
    owner.execute("ROLLBACK").fetchall()
    # Where others read, the mode cannot be changed.
    owner.execute("BEGIN; SELECT * FROM t").fetchall()
    with pytest.raises(DatabaseBusy, match="is locked"):
        WalHold(path)
    owner.close()
    assert support.descriptors(path.name) == before


def test_what_is_no_database_is_not_held(path: Path) -> None:
    path.write_bytes(b"no database" * 500)
    with pytest.raises(DatabaseUnreadable, match="SQLite cannot read"):
        WalHold(path)


def test_where_there_is_no_wal_there_is_no_hold(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network drive without shared memory."""
    monkeypatch.setattr(
        hold_module, "open_database", lambda path, _: apsw.Connection(str(path), vfs="unix-dotfile")
    )
    with pytest.raises(DatabaseUnreadable, match="it stays in delete"):
        WalHold(path)


def look(monkeypatch: pytest.MonkeyPatch, answers: list[memoryview | None], last: bool = False) -> None:
    """The next looks at the index see this; behind them the truth, or with ``last`` the last one for ever."""
    truth = PageFile.index_block

    def block(self: PageFile, number: int) -> memoryview | None:
        if not answers:
            return truth(self, number)
        return answers[0] if last and len(answers) == 1 else answers.pop(0)

    monkeypatch.setattr(PageFile, "index_block", block)


def test_an_index_that_is_being_changed_is_read_again(
    held: WalHold, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = held.state()
    assert expected.max_frame == 1
    look(monkeypatch, [memoryview(bytes(32768))] * 3)
    assert held.state() == expected


def test_an_index_that_never_rests_or_is_missing_is_told(
    held: WalHold, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hold_module, "_VIEW_SECONDS", 0.05)
    with monkeypatch.context() as changed:
        look(changed, [memoryview(bytes(32768))], last=True)
        with pytest.raises(SnapshotBroken, match="does not come to rest"):
            held.state()
    with monkeypatch.context() as changed:
        look(changed, [None, None])
        with pytest.raises(SnapshotBroken, match="no WAL index"):
            held.state()
        with pytest.raises(SnapshotBroken, match="not complete"):
            held.pages_in_index(1)(1)
    assert held.pages_in_index(1)(1) == 2


def test_what_a_writer_left_that_died_within_its_commit_is_repaired(
    held: WalHold, writer: apsw.Connection
) -> None:
    expected = held.state()
    shm = held.path.with_name("x.db-shm")
    # By another process: this one has locks on the file.
    code = f"f = open({str(shm)!r}, 'r+b'); f.seek(8); f.write(b'\\xff\\xff\\xff\\xff'); f.close()"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    found = held.state()
    assert (found.max_frame, found.salts) == (expected.max_frame, expected.salts)


def test_a_hold_that_cannot_be_handed_over_stays(
    held: WalHold, writer: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing may be lost because the next transaction could not begin."""
    for error, expected in ((apsw.BusyError, DatabaseBusy), (apsw.CorruptError, DatabaseUnreadable)):
        following = held._readers[1 - held._current]

        def fail(*_: object, error: type[apsw.Error] = error) -> bool:
            raise error("said SQLite")

        following.authorizer = fail
        with pytest.raises(expected):
            held.hand_over()
        following.authorizer = None
        assert not following.in_transaction
        assert held._readers[held._current].in_transaction
    held.hand_over()
    assert held._readers[held._current].in_transaction


def test_writers_are_kept_out_or_stay(held: WalHold, writer: apsw.Connection) -> None:
    with held.barrier(60, 0.001) as alone:
        assert alone
        with pytest.raises(apsw.BusyError):
            writer.execute("BEGIN IMMEDIATE").fetchall()
    writer.execute("BEGIN IMMEDIATE").fetchall()
    with held.barrier(0.01, 0.001) as alone:
        assert not alone
    writer.execute("INSERT INTO t VALUES (2); COMMIT").fetchall()


def test_another_process_that_checkpoints_is_left_alone(held: WalHold, writer: apsw.Connection) -> None:
    held.hand_over()
    shm = held.path.with_name("x.db-shm")
    code = (
        "import fcntl, sys\n"
        f"f = open({str(shm)!r}, 'r+b')\n"
        f"fcntl.lockf(f, fcntl.LOCK_EX, 1, {_CHECKPOINT_LOCK})\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "locked\n"
        assert not held.checkpoint()
        held.empty_wal()
        assert held.state().backfilled == 0
    finally:
        other.communicate(timeout=60)
    assert held.checkpoint()
    assert held.state().backfilled == 1


def test_a_wal_that_somebody_reads_is_not_emptied(held: WalHold, writer: apsw.Connection) -> None:
    held.empty_wal()
    assert held.state().max_frame == 1
    assert writer.execute("SELECT a FROM t").fetchall() == [(1,)]


def test_the_file_at_the_path_is_known(held: WalHold) -> None:
    assert held.inode() == held.path.stat().st_ino
    held.path.rename(held.path.with_name("elsewhere.db"))
    assert held.inode() == 0
    assert held.page_size() == 4096


def test_a_watch_sees_writes_and_calls(tmp_path: Path) -> None:
    file = tmp_path / "wal"
    file.touch()
    watch = Watch()
    assert watch.follow(file)
    assert watch.follow(file)
    assert not watch.wait(0)
    file.write_bytes(b"x")
    assert watch.wait(60)
    # Without writes only a call ends the wait, but both are told.
    file.write_bytes(b"y")
    assert watch.wait(0, writes=False)
    watch.wake()
    assert watch.wait(60, writes=False)
    other = tmp_path / "other"
    other.touch()
    assert watch.follow(other)
    watch.wait(0)
    file.write_bytes(b"z")
    assert not watch.wait(0), "the former file is not watched any more"
    assert not watch.follow(tmp_path / "missing")
    watch.close()
    watch.close()
    watch.wake()


@pytest.mark.parametrize("without", ["the call", "a descriptor"])
def test_without_inotify_a_watch_can_still_be_woken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    class Libc:
        """Of a system that has none, or has run out of them."""

        if without == "a descriptor":

            def inotify_init1(self, flags: int) -> int:
                return -1

    monkeypatch.setattr(watch_module, "_libc", Libc)
    watch = Watch()
    (tmp_path / "wal").touch()
    assert not watch.follow(tmp_path / "wal")
    (tmp_path / "wal").write_bytes(b"x")
    assert not watch.wait(0)
    watch.wake()
    assert watch.wait(60)
    watch.close()

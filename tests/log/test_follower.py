"""What a follower of a WAL believes, what it refuses, and how a WAL is kept short."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tdsproxy.log.archive import Archive
from tdsproxy.log.checkpointer import Checkpointer
from tdsproxy.log.follower import ChainBroken, Follower
from tdsproxy.log.hold import WalHold, WalState
from tdsproxy.log.times import CommitTimes
from tests.log import support

FRAME = 24 + 4096


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
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    yield connection
    connection.close()


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    opened = support.open_archive(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def follower(path: Path, archive: Archive) -> Iterator[Follower]:
    made = Follower(WalHold(path), archive, CommitTimes(), None)
    yield made
    made.close()


def insert(writer: apsw.Connection, size: int = 10) -> None:
    writer.execute("INSERT INTO t(b) VALUES(randomblob(?))", (size,)).fetchall()


def captured(archive: Archive) -> int:
    return len(list(archive.read(archive.first_lsn())))


def pretend(monkeypatch: pytest.MonkeyPatch, change: Callable[[WalState], WalState], after: int = 0) -> None:
    """From the look ``after`` on the index says something else."""
    truth = WalHold.state
    looks = iter(range(10**6))
    monkeypatch.setattr(
        WalHold, "state", lambda self: change(truth(self)) if next(looks) >= after else truth(self)
    )


@pytest.mark.parametrize(
    ("change", "after", "words"),
    [
        (lambda state: replace(state, max_frame=0), 0, "became shorter"),
        (lambda state: replace(state, page_size=8192), 0, "page size changed"),
        (lambda state: replace(state, salts=(1, 2)), 0, "in spite of the lock"),
        (lambda state: replace(state, salts=(1, 2)), 1, "while it was read"),
        (lambda state: replace(state, max_frame=state.max_frame + 1), 0, "ends before the frames"),
        (lambda state: replace(state, max_frame=state.max_frame - 1), 0, "does not end with a commit"),
    ],
)
def test_an_index_that_says_what_cannot_be_breaks_the_chain(
    follower: Follower,
    writer: apsw.Connection,
    archive: Archive,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[WalState], WalState],
    after: int,
    words: str,
) -> None:
    insert(writer)
    assert follower.capture()
    insert(writer, 20_000)
    # The transaction that is held now sees frames that are not captured, so they can't be given up.
    follower.hand_over()
    before = (archive.last_lsn(), archive.size(), follower.position)
    pretend(monkeypatch, change, after)
    with pytest.raises(ChainBroken, match=words):
        follower.capture()
    assert (archive.last_lsn(), archive.size(), follower.position) == before
    assert captured(archive) == 1


def test_frames_that_were_overwritten_are_no_commits(
    follower: Follower, writer: apsw.Connection, archive: Archive, path: Path
) -> None:
    insert(writer)
    follower.capture()
    begun = follower.position.frame
    insert(writer, 20_000)
    with path.with_name("x.db-wal").open("r+b") as wal:
        wal.seek(32 + (begun + 1) * FRAME + 8)
        wal.write(b"\x01\x02\x03\x04\x05\x06\x07\x08")
    with pytest.raises(ChainBroken):
        follower.capture()
    assert captured(archive) == 1


def test_a_wal_that_is_not_the_indexs_is_not_begun_with(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    insert(writer)
    wal = path.with_name("x.db-wal")
    with wal.open("r+b") as file:
        file.seek(wal.stat().st_size - FRAME + 8)
        file.write(b"\x01\x02\x03\x04\x05\x06\x07\x08")
    hold = WalHold(path)
    with pytest.raises(ChainBroken, match="does not belong to the WAL"):
        Follower(hold, archive, CommitTimes(), None)
    assert not hold._connections, "what it was given is let go of"


def test_a_writer_that_begins_the_wal_anew_between_two_holds_is_followed(
    path: Path, writer: apsw.Connection, archive: Archive
) -> None:
    hold = WalHold(path)
    follower = Follower(hold, archive, CommitTimes(), None)
    insert(writer)
    follower.capture()
    salts = follower.position.salts
    follower.hand_over()
    assert hold.checkpoint()
    follower.hand_over()
    assert follower.may_be_on_zero
    insert(writer)
    follower.hand_over()
    assert follower.position.salts != salts
    assert follower.position.frame == 0
    assert follower.capture()
    assert captured(archive) == 2
    follower.close()


def test_an_empty_file_has_its_page_size_from_its_first_commit(tmp_path: Path, archive: Archive) -> None:
    path = tmp_path / "new.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA page_size = 512; PRAGMA journal_mode = WAL").fetchall()
    follower = Follower(WalHold(path), archive, CommitTimes(), None)
    follower._page_size = 0  # as of a file without a page
    connection.execute("CREATE TABLE t(a)").fetchall()
    assert follower.capture()
    (first,) = archive.read(archive.first_lsn())
    assert first.page_size == 512
    follower.close()
    connection.close()


def test_frames_that_fill_up_a_sector_are_no_transactions(tmp_path: Path, archive: Archive) -> None:
    """Where a disk may tear the neighbour of a write, SQLite writes the commit's frame again behind it."""
    path = tmp_path / "padded.db"
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(f"file:{path}?psow=0", flags=flags)
    connection.execute(
        "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL"
    ).fetchall()
    connection.execute("CREATE TABLE t(a)").fetchall()
    follower = Follower(WalHold(path), archive, CommitTimes(), None)
    for number in range(5):
        connection.execute("INSERT INTO t VALUES (?)", (number,)).fetchall()
        if number % 2:
            follower.capture()
    follower.capture()
    assert captured(archive) == 5
    follower.close()
    connection.close()


def test_what_the_next_start_goes_by_is_noted_only_when_all_is_captured(
    follower: Follower, writer: apsw.Connection, archive: Archive, path: Path
) -> None:
    insert(writer)
    follower.capture()
    follower.hand_over()
    assert follower._hold.checkpoint()
    follower.hand_over()
    assert follower.may_be_on_zero
    elsewhere = path.with_name("elsewhere.db")
    path.rename(elsewhere)
    assert not follower.anchor()
    elsewhere.rename(path)
    insert(writer)
    assert not follower.anchor()
    position = archive.position()
    assert position is not None
    assert position.main is None


def drive(checkpointer: Checkpointer, follower: Follower, done: Callable[[], object]) -> None:
    for _ in range(100_000):
        follower.capture()
        checkpointer.step()
        if done():
            return
        if checkpointer._running is not None:
            checkpointer._running.exception(60)
    raise AssertionError("it does not come to an end")


def test_a_reader_of_an_old_state_is_waited_for_without_keeping_writers_out(
    follower: Follower, writer: apsw.Connection, archive: Archive, path: Path
) -> None:
    checkpointer = Checkpointer(follower._hold, follower, archive, 50_000)
    reader = apsw.Connection(str(path))
    insert(writer)
    reader.execute("BEGIN; SELECT * FROM t").fetchall()
    for _ in range(10):
        insert(writer, 20_000)
    drive(checkpointer, follower, lambda: checkpointer._pause)
    assert follower._hold.state().backfilled < follower.position.frame
    pause = checkpointer._pause
    checkpointer._not_before = 0.0
    drive(checkpointer, follower, lambda: checkpointer._pause > pause)
    insert(writer)
    reader.execute("COMMIT").fetchall()
    checkpointer._not_before = 0.0
    drive(checkpointer, follower, lambda: not checkpointer._pause)
    assert follower.may_be_on_zero
    insert(writer)
    follower.capture()
    assert follower.position.frame < 10, "the WAL began anew"
    assert captured(archive) == 13
    checkpointer.close()
    reader.close()


def test_a_writer_that_does_not_let_go_is_not_waited_for_long(
    follower: Follower, writer: apsw.Connection, archive: Archive, path: Path
) -> None:
    checkpointer = Checkpointer(follower._hold, follower, archive, 1000)
    insert(writer, 50_000)
    follower.capture()
    writer.execute("BEGIN IMMEDIATE").fetchall()
    checkpointer._finish(0.01, 0.001)
    assert checkpointer._not_before > 0
    assert not checkpointer._pause
    writer.execute("COMMIT").fetchall()
    # Many times the threshold: writers are kept out until all is copied.
    checkpointer._not_before = 0.0
    checkpointer.step()
    state = follower._hold.state()
    assert state.backfilled == state.max_frame
    assert captured(archive) == 1
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN; SELECT * FROM t").fetchall()
    insert(writer, 50_000)
    follower.capture()
    checkpointer._not_before = 0.0
    checkpointer.step()
    assert checkpointer._pause, "a reader stands in the way, and writers are not kept out again at once"
    checkpointer.close()
    reader.close()


def test_what_was_captured_becomes_durable_before_long(
    follower: Follower, writer: apsw.Connection, archive: Archive
) -> None:
    checkpointer = Checkpointer(follower._hold, follower, archive, 1 << 30)
    insert(writer)
    follower.capture()
    checkpointer.step()
    assert archive.unsynced, "not at each commit"
    checkpointer._synced_at -= 3600
    drive(checkpointer, follower, lambda: checkpointer._running is None)
    assert not archive.unsynced
    checkpointer.close()


@pytest.mark.parametrize("meanwhile", ["a reader", "a writer"])
def test_the_end_waits_for_nobody(
    follower: Follower,
    writer: apsw.Connection,
    archive: Archive,
    path: Path,
    monkeypatch: pytest.MonkeyPatch,
    meanwhile: str,
) -> None:
    checkpointer = Checkpointer(follower._hold, follower, archive, 1 << 30)
    insert(writer)
    follower.capture()
    reader = apsw.Connection(str(path))
    reader.execute("BEGIN; SELECT * FROM t").fetchall()
    insert(writer)
    if meanwhile == "a writer":
        reader.execute("COMMIT").fetchall()

        def late(self: Follower) -> bool:
            insert(writer)
            return False

        monkeypatch.setattr(Follower, "anchor", late)
    checkpointer.settle()
    assert captured(archive) == (3 if meanwhile == "a writer" else 2)
    assert not archive.unsynced
    position = archive.position()
    assert position is not None
    assert position.main is None
    assert path.with_name("x.db-wal").stat().st_size > 0
    checkpointer.close()
    reader.close()

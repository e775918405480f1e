from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store import header, walindex
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing, DatabaseUnreadable, SnapshotBroken
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import RUN_BYTES, PageView, Snapshot, copy_pages, open_database, page_runs
from tests.store import processes

PAGE_SIZES = [512, 4096, 65536]


def image_of(snapshot: Snapshot, run_bytes: int = RUN_BYTES) -> bytes:
    image = bytearray(snapshot.size)
    for first, data in snapshot.stream(run_bytes):
        at = (first - 1) * snapshot.page_size
        image[at : at + len(data)] = data
    return bytes(image)


def write(path: Path, image: bytes) -> Path:
    path.write_bytes(image)
    return path


@given(
    st.sampled_from([512, 4096, 65536]),
    st.integers(0, 3_000_000),
    st.sampled_from([1 << 16, RUN_BYTES, 512]),
)
def test_runs_cover_each_page_once_but_the_lock_page(size: int, count: int, run_bytes: int) -> None:
    # Large gaps are checked by their ends, not page by page.
    lock = header.lock_page(size)
    expected = 1
    longest = max(1, run_bytes // size)
    if count // longest > 30_000:
        count = longest * 30_000
    for first, pages in page_runs(size, count, run_bytes):
        if expected == lock:
            expected += 1
        assert first == expected
        assert 1 <= pages <= longest
        expected = first + pages
    assert expected in (count + 1, lock) if count in (lock, lock - 1) else expected == count + 1


def test_the_lock_page_is_left_out() -> None:
    lock = header.lock_page(65536)
    assert lock == 16385
    pages = [page for first, count in page_runs(65536, lock + 3) for page in range(first, first + count)]
    assert pages == [page for page in range(1, lock + 4) if page != lock]


@pytest.mark.parametrize("page_size", PAGE_SIZES)
@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_a_snapshot_is_the_database(tmp_path: Path, page_size: int, journal: str) -> None:
    path = tmp_path / "x.db"
    processes.build(path, page_size=page_size, journal=journal, auto_vacuum=page_size % 3, free=True, rows=60)
    before = processes.check(path)
    with Snapshot(path) as snapshot:
        image = image_of(snapshot, 65536)
        assert (snapshot.page_size, snapshot.wal) == (page_size, journal == "wal")
    assert before["page_count"] == snapshot.page_count
    assert processes.check(write(tmp_path / "copy.db", image)) == before


def test_pages_that_are_only_in_the_wal_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    writer.execute("CREATE TABLE t(a, b)").fetchall()
    # More frames than the first and second block of the WAL index hold.
    for number in range(12):
        with writer:
            writer.execute(
                "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
                "INSERT INTO t SELECT i, zeroblob(9000) FROM n"
            ).fetchall()
            writer.execute("UPDATE t SET a = a + 1 WHERE rowid % 5 = ?", (number % 5,)).fetchall()
    assert Path(f"{path}-wal").stat().st_size > (4062 + 4096) * 4120
    with Snapshot(path) as snapshot:
        image = image_of(snapshot)
        assert snapshot.page_count == writer.execute("PRAGMA page_count").fetchall()[0][0]
    copy = apsw.Connection(str(write(tmp_path / "copy.db", image)))
    assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    query = "SELECT count(*), sum(a) FROM t"
    assert copy.execute(query).fetchall() == writer.execute(query).fetchall()
    copy.close()
    writer.close()


def test_a_snapshot_does_not_see_later_commits_nor_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("CREATE TABLE t(a, b)").fetchall()
    for fully_backfilled in (False, True):
        writer.execute("DELETE FROM t").fetchall()
        writer.execute("INSERT INTO t VALUES(1, zeroblob(50000))").fetchall()
        if fully_backfilled:
            writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
        with Snapshot(path) as snapshot:
            for _ in range(3):
                writer.execute("INSERT INTO t VALUES(2, randomblob(90000))").fetchall()
                writer.execute("UPDATE t SET b = randomblob(60000) WHERE a = 1").fetchall()
                writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
            image = image_of(snapshot)
        copy = apsw.Connection(str(write(tmp_path / f"copy{fully_backfilled}.db", image)))
        assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert copy.execute("SELECT a, b = zeroblob(50000) FROM t").fetchall() == [(1, 1)]
        copy.close()
    writer.close()


def test_a_shrunken_database_ends_where_its_commit_says(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA auto_vacuum=FULL").fetchall()
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("CREATE TABLE t(a)").fetchall()
    writer.execute("INSERT INTO t VALUES(zeroblob(900000))").fetchall()
    writer.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
    writer.execute("DELETE FROM t").fetchall()
    with Snapshot(path) as snapshot:
        assert snapshot.page_count < 10
        assert path.stat().st_size > snapshot.size
        image = image_of(snapshot)
    assert processes.check(write(tmp_path / "copy.db", image))["integrity"] == ["ok"]
    writer.close()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_an_empty_database(tmp_path: Path, journal: str) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal=journal, empty=True)
    path.touch()
    with Snapshot(path) as snapshot:
        image = image_of(snapshot)
    assert processes.check(write(tmp_path / "copy.db", image))["content"] == {}


def test_what_a_dead_writer_left_in_the_wal_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with processes.started("build", path, '{"leave_wal": true, "rows": 50}') as process:
        assert processes.read_line(process) == "built"
        process.kill()
        process.wait(60)
    assert Path(f"{path}-wal").stat().st_size > 0
    with Snapshot(path) as snapshot:
        image = image_of(snapshot)
    found = processes.check(write(tmp_path / "copy.db", image))
    assert found["integrity"] == ["ok"]
    assert len(found["content"]["plain"]) == 50


def test_snapshots_under_a_writer_are_prefixes_of_its_commits(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, rows=30)
    seen = []
    with processes.started("commit", path, "2500", "150") as process:
        assert processes.read_line(process) == "ready"
        assert process.stdin is not None
        for number in range(15):
            # So many are there, and more come while it is read; then the writer waits, however long it takes.
            acknowledged = 150 * (number + 1)
            while (line := processes.read_line(process)) != str(acknowledged):
                assert line.isdecimal(), "the writer was refused because of a snapshot"
            process.stdin.write("\n")
            process.stdin.flush()
            with Snapshot(path) as snapshot:
                image = image_of(snapshot)
            copy = apsw.Connection(str(write(tmp_path / f"copy{number}.db", image)))
            rows = [row[0] for row in copy.execute("SELECT n FROM log ORDER BY n")]
            assert copy.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            copies = copy.execute("SELECT value FROM account ORDER BY id").fetchall()
            copy.close()
            assert rows == list(range(1, len(rows) + 1))
            assert copies == [(-len(rows),), (len(rows),)]
            assert len(rows) >= acknowledged
            seen.append(len(rows))
        rest, _ = process.communicate(timeout=60)
    assert seen == sorted(seen)
    assert len(set(seen)) > 5
    assert re.search(r"^done 0$", rest, re.M), "the writer was refused because of a snapshot"


def test_a_rollback_journal_database_is_let_go_before_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal="delete", rows=50)
    before = processes.check(path)
    with Snapshot(path) as snapshot:
        with processes.started("commit", path, "20") as process:
            output, _ = process.communicate(timeout=60)
        assert output.endswith("done 0\n")
        image = image_of(snapshot)
    assert processes.check(write(tmp_path / "copy.db", image)) == before
    assert {file.name for file in tmp_path.iterdir()} == {"x.db", "copy.db"}


def test_no_lock_of_the_process_is_lost_by_a_snapshot(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    ours = apsw.Connection(str(path))
    ours.execute("PRAGMA journal_mode=wal").fetchall()
    ours.execute("CREATE TABLE t(a)").fetchall()
    ours.execute("BEGIN").fetchall()
    ours.execute("INSERT INTO t VALUES(1)").fetchall()
    with Snapshot(path) as snapshot:
        image_of(snapshot)
    with processes.started("hold", path, "write") as process:
        # Its BEGIN IMMEDIATE can only succeed if our write lock is gone.
        output, _ = process.communicate(timeout=60)
    assert "held" not in output
    ours.execute("COMMIT").fetchall()
    ours.close()


def test_a_database_with_a_damaged_schema_can_be_saved(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("CREATE TABLE t(a)").fetchall()
    writer.execute("PRAGMA writable_schema=on").fetchall()
    writer.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE t(a, nonsense ((('").fetchall()
    with Snapshot(path) as snapshot:
        assert b"nonsense (((" in image_of(snapshot)
    writer.close()


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        Snapshot(tmp_path / "missing.db")
    with pytest.raises(DatabaseUnreadable):
        Snapshot(write(tmp_path / "text.db", b"hello" * 1000))
    with pytest.raises(DatabaseUnreadable):
        Snapshot(write(tmp_path / "cipher.db", bytes(range(256)) * 16))


@pytest.mark.parametrize("cancelled", [False, True])
def test_an_exclusively_locked_database_is_busy(tmp_path: Path, cancelled: bool) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal="delete", rows=5)
    owner = open_database(path, 10)
    owner.execute("BEGIN EXCLUSIVE").fetchall()
    # Cancelled, it does not wait the minute.
    with pytest.raises(DatabaseBusy):
        Snapshot(path, busy_milliseconds=60_000 if cancelled else 10, cancelled=lambda: cancelled)
    owner.close()


def test_frames_that_are_not_the_indexs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("CREATE TABLE t(a)").fetchall()
    with Snapshot(path) as snapshot:
        wal = Path(f"{path}-wal")
        content = bytearray(wal.read_bytes())
        content[32 + 8] ^= 1
        wal.write_bytes(content)
        with pytest.raises(SnapshotBroken):
            image_of(snapshot)
    writer.close()


def test_the_wal_index_is_read_as_sqlite_writes_it(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = open_database(write(path, b""), 0)
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("CREATE TABLE t(a)").fetchall()
    writer.execute("INSERT INTO t VALUES(zeroblob(20000))").fetchall()
    writer.execute("BEGIN").fetchall()
    writer.execute("SELECT * FROM t").fetchall()
    view = PageView(writer, path)
    assert view.wal
    assert view.page_count == writer.execute("PRAGMA page_count").fetchall()[0][0]
    view.close()
    block = bytearray(32768)
    assert walindex.read_header(block) is None
    writer.close()


def test_a_frame_that_an_older_library_left_without_a_seal_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA journal_mode=wal").fetchall()
    writer.execute("PRAGMA wal_autocheckpoint=0").fetchall()
    writer.execute("CREATE TABLE t(a, b)").fetchall()
    writer.execute("INSERT INTO t VALUES(1, zeroblob(9000))").fetchall()
    wal = Path(f"{path}-wal")
    frames = (wal.stat().st_size - 32) // 4120
    with wal.open("r+b") as file:
        for frame in range(frames):
            file.seek(32 + frame * 4120 + 8)
            file.write(bytes(16))
    with Snapshot(path) as snapshot:
        image = image_of(snapshot)
    copy = apsw.Connection(str(write(tmp_path / "copy.db", image)))
    assert copy.execute("SELECT a, length(b) FROM t").fetchall() == [(1, 9000)]
    copy.close()
    # But not one of another page.
    with wal.open("r+b") as file:
        file.seek(32 + (frames - 1) * 4120)
        file.write((77).to_bytes(4, "big"))
    with pytest.raises(SnapshotBroken), Snapshot(path) as snapshot:
        image_of(snapshot)
    writer.close()


def changing(monkeypatch: pytest.MonkeyPatch, answers: list[bytes | None]) -> None:
    """The first looks at the WAL index get ``answers``; None stands for the truth."""
    truth = PageFile.index_block

    def look(self: PageFile, number: int) -> memoryview | None:
        if answers:
            answer = answers.pop(0)
            if answer is not None:
                return memoryview(answer) if answer else None
        return truth(self, number)

    monkeypatch.setattr(PageFile, "index_block", look)


@pytest.fixture
def written(tmp_path: Path) -> Iterator[apsw.Connection]:
    """A writer whose last commits are only in the WAL of ``x.db``."""
    writer = apsw.Connection(str(tmp_path / "x.db"))
    writer.execute("PRAGMA journal_mode=wal; PRAGMA wal_autocheckpoint=0").fetchall()
    writer.execute("CREATE TABLE t(a)").fetchall()
    writer.execute("INSERT INTO t VALUES(zeroblob(20000))").fetchall()
    yield writer
    writer.close()


def other_generation(path: Path) -> bytes:
    """Block 0 of the WAL index as it would be after a reset."""
    connection = open_database(path, 0)
    connection.execute("BEGIN; SELECT * FROM t").fetchall()
    found = PageFile(connection).index_block(0)
    assert found is not None
    block = bytearray(found)
    connection.close()
    block[32] ^= 1
    block[40:48] = b"".join(part.to_bytes(4, sys.byteorder) for part in walindex._checksum(bytes(block[:40])))
    block[48:96] = block[:48]
    assert walindex.read_header(bytes(block)) is not None
    return bytes(block)


@pytest.mark.parametrize("backfilled", [False, True])
def test_an_index_that_changes_meanwhile_is_read_again(
    tmp_path: Path, written: apsw.Connection, monkeypatch: pytest.MonkeyPatch, backfilled: bool
) -> None:
    if backfilled:
        written.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
    later = other_generation(tmp_path / "x.db")
    torn = bytes(32768)
    # Torn; then the salts change behind the header; then a block is missing.
    answers = [torn, None, later] if backfilled else [torn, None, None, later, None, b""]
    changing(monkeypatch, answers)
    with Snapshot(tmp_path / "x.db") as snapshot:
        image = image_of(snapshot)
    assert answers == []
    copy = apsw.Connection(str(write(tmp_path / "copy.db", image)))
    assert copy.execute("SELECT a = zeroblob(20000) FROM t").fetchall() == [(1,)]
    copy.close()


def test_an_index_that_never_rests_or_is_missing_is_no_snapshot(
    tmp_path: Path, written: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    changing(monkeypatch, [bytes(32768)] * 10_000)
    with pytest.raises(SnapshotBroken, match="does not come to rest"):
        Snapshot(tmp_path / "x.db")
    changing(monkeypatch, [b""])
    with pytest.raises(SnapshotBroken, match="no WAL index"):
        Snapshot(tmp_path / "x.db")
    # Nothing is held.
    written.execute("INSERT INTO t VALUES (1)").fetchall()
    written.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)


def test_a_wal_that_was_reset_under_a_snapshot_is_seen(
    tmp_path: Path, written: apsw.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = other_generation(tmp_path / "x.db")
    with Snapshot(tmp_path / "x.db") as snapshot:
        image_of(snapshot)
        changing(monkeypatch, [later])
        with pytest.raises(SnapshotBroken, match="reset under the snapshot"):
            snapshot.check()


def test_a_wal_that_was_cut_short_is_seen(tmp_path: Path, written: apsw.Connection) -> None:
    with Snapshot(tmp_path / "x.db") as snapshot:
        wal = tmp_path / "x.db-wal"
        content = wal.read_bytes()
        wal.write_bytes(content[:5000])
        with pytest.raises(SnapshotBroken, match="ends inside frame"):
            image_of(snapshot)
        wal.write_bytes(content)


def test_a_page_that_is_nowhere_is_seen(tmp_path: Path, written: apsw.Connection) -> None:
    """The main file was cut short, and the WAL does not hold what is missing."""
    written.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
    written.execute("INSERT INTO t VALUES (1)").fetchall()
    with Snapshot(tmp_path / "x.db") as snapshot:
        subprocess.run(["truncate", "-s", "4096", str(tmp_path / "x.db")], check=True, timeout=60)
        with (
            pytest.raises(SnapshotBroken, match="lies beyond the file's 1 and not in the WAL"),
            Snapshot(tmp_path / "x.db") as cut,
        ):
            image_of(cut)
        assert snapshot.page_count > 2


def test_whether_somebody_has_committed_since(tmp_path: Path, written: apsw.Connection) -> None:
    with Snapshot(tmp_path / "x.db") as snapshot:
        assert snapshot.is_newest()
        written.execute("INSERT INTO t VALUES (1)").fetchall()
        assert not snapshot.is_newest()
    assert not snapshot.is_newest()
    processes.build(tmp_path / "old.db", journal="delete", rows=1)
    with Snapshot(tmp_path / "old.db") as snapshot:
        assert not snapshot.is_newest(), "of a rollback journal that is not known"


def test_a_closed_snapshot_gives_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal="delete", rows=1)
    snapshot = Snapshot(path)
    with pytest.raises(SnapshotBroken, match="end too early"):
        snapshot.read_run(snapshot.page_count + 1, memoryview(bytearray(snapshot.page_size)))
    snapshot.close()
    snapshot.close()
    with pytest.raises(SnapshotBroken, match="is closed"):
        snapshot.read_run(1, memoryview(bytearray(snapshot.page_size)))


def test_copied_pages_are_a_database(tmp_path: Path, written: apsw.Connection) -> None:
    with Snapshot(tmp_path / "x.db") as snapshot:
        for durable in (False, True):
            copy = tmp_path / f"copy{durable}.db"
            copy_pages(snapshot.page_size, snapshot.page_count, snapshot.read_run, copy, durable=durable)
            assert processes.check(copy)["integrity"] == ["ok"]
            assert copy.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("more", [0, 1])
def test_a_database_may_end_at_the_lock_page(more: int) -> None:
    lock = header.lock_page(65536)
    last = list(page_runs(65536, lock + more, 65536))[-1]
    assert last == ((lock - 1, 1) if not more else (lock + 1, 1))

"""Databases with text that is not UTF-8, which SQLite takes as it comes; targets that fail."""

from __future__ import annotations

import errno
import threading
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup import facts as noting
from tdsproxy.backup.errors import TargetError
from tdsproxy.backup.facts import FactCounter, snapshot_with_facts
from tdsproxy.backup.operations import (
    apply_differential,
    backup_database,
    backup_differential,
    restore_database,
    restore_image,
    verify_restore,
)
from tdsproxy.backup.restart import Restart, RestartPoint
from tdsproxy.backup.verification import compare
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.documents import ContentFacts
from tdsproxy.store.errors import DatabaseBusy, StoreError
from tests.backup.history import History
from tests.backup.making import description, disk
from tests.store import processes

PATIENCE = 60


def database(path: Path, sql: str) -> Path:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute(sql).fetchall()
    connection.close()
    return path


def backed_up(source: Path) -> DiskDevice:
    device = disk(source.with_suffix(".bak"))
    backup_database(source, device, description())
    return device


def test_a_check_that_gives_a_row_of_other_text_shows_a_problem(tmp_path: Path) -> None:
    source = database(
        tmp_path / "x.db",
        "CREATE TABLE street (name); INSERT INTO street VALUES ('a'), (CAST(x'5374e464746c' AS TEXT)), ('z')",
    )
    query = "SELECT name FROM street WHERE name > 'A' AND name < 'a'"
    other = "SELECT name FROM street WHERE name = 'z'"
    found = verify_restore([(backed_up(source), 1)], tmp_path / "scratch.db", checks=f"{query}; {other}")
    assert found.problems == (
        f"Check: {query} gave a row with text that is not UTF-8.",
        f"Check: {other} gave ('z',).",
    )
    assert (found.tables, found.rows) == (1, 3)
    assert not (tmp_path / "scratch.db").exists()


BROKEN_SQL = (
    "CREATE TABLE t (x); INSERT INTO t VALUES (1); PRAGMA writable_schema=ON;"
    " UPDATE sqlite_schema SET sql = CAST(CAST(sql AS BLOB) || x'2f2ae42a2f' AS TEXT)"
)
BROKEN_NAME = (
    "CREATE TABLE tx (x); INSERT INTO tx VALUES (1); PRAGMA writable_schema=ON;"
    " UPDATE sqlite_schema SET name = CAST(x'74e4' AS TEXT), tbl_name = CAST(x'74e4' AS TEXT),"
    " sql = CAST(x'435245415445205441424c452074e420287829' AS TEXT)"
)


@pytest.mark.parametrize("sql", [BROKEN_SQL, BROKEN_NAME], ids=["definition", "name"])
def test_a_schema_of_other_text_is_backed_up_and_verified(
    tmp_path: Path, sql: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[object] = []
    monkeypatch.setattr(threading, "excepthook", ended.append)
    source = database(tmp_path / "x.db", sql)
    found = verify_restore([(backed_up(source), 1)], tmp_path / "scratch.db")
    # Nothing of it could be noted, and no thread died of that.
    assert (found.problems, found.compared, ended) == ((), None, [])
    restored = apsw.Connection(":memory:")
    restore_image(disk(tmp_path / "x.bak"), 1, tmp_path / "image")
    restored.deserialize("main", (tmp_path / "image").read_bytes().replace(b"\x02\x02", b"\x01\x01", 1))
    assert restored.execute("SELECT count(*) FROM sqlite_schema").fetchall() == [(1,)]
    restored.close()


def test_what_was_noted_cannot_be_compared_with_a_schema_of_other_text(tmp_path: Path) -> None:
    source = database(tmp_path / "x.db", BROKEN_SQL)
    device = backed_up(source)
    info = restore_image(device, 1, tmp_path / "image").info
    connection = apsw.Connection(str(source))
    (told,) = compare(connection, ContentFacts(objects={"table t": "0"}, rows={"t": 1}), info)
    assert told.startswith("The schema cannot be read: ")
    connection.close()


def test_facts_of_what_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        FactCounter(tmp_path / "missing.db")
    (tmp_path / "foreign.db").write_bytes(b"what nobody wrote as a database" * 100)
    with pytest.raises(apsw.NotADBError):
        FactCounter(tmp_path / "foreign.db")
    # Its connection is closed: nothing of it is open any more.
    assert not [
        path
        for path in Path("/proc/self/fd").iterdir()
        if path.exists() and path.samefile(tmp_path / "foreign.db")
    ]


def test_a_count_that_takes_too_long_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = database(tmp_path / "x.db", "CREATE TABLE a (x); INSERT INTO a VALUES (1); CREATE TABLE b (x)")
    counting, real = threading.Event(), noting.row_count

    def endless(connection: apsw.Connection, table: str) -> int:
        if table == "a":
            return real(connection, table)
        counting.set()
        rows = connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
        )
        return len(rows.fetchall())

    monkeypatch.setattr(noting, "row_count", endless)
    with snapshot_with_facts(source, lambda: False) as (_, counter):
        assert counter is not None
        counter.begin()
        assert counting.wait(PATIENCE)
        # As of a large database: it is waited for as long as its pages took, and a bit.
        found = counter.end(None, 1 << 40)
    assert found is not None
    assert (sorted(found.objects), found.rows) == (["table a", "table b"], {"a": 1})


def test_a_backup_that_ends_early_ends_its_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = database(tmp_path / "x.db", "CREATE TABLE a (x); CREATE TABLE b (x)")
    counting, may = threading.Event(), threading.Event()

    def held(connection: apsw.Connection, table: str) -> int:
        counting.set()
        assert may.wait(PATIENCE)
        raise apsw.SQLError("of whatever cause")

    monkeypatch.setattr(noting, "row_count", held)
    counter = FactCounter(source)
    counter.begin()
    assert counting.wait(PATIENCE)
    counter._over.set()
    may.set()
    counter.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "facts"]
    found = counter.end(None)
    assert found is not None
    assert found.rows == {}


def test_steps_upon_an_image_that_is_gone_tell_of_the_file(tmp_path: Path) -> None:
    history = History(tmp_path / "x.db")
    medium, gone = disk(tmp_path / "m.bak"), tmp_path / "missing" / "image"
    history.work(5)
    full = history.full(5)
    backup_database(history.path, medium, full, log=history.tail(5))
    history.work(3)
    backup_differential(
        history.path,
        history.changed_since(5),
        medium,
        history.differential(8, full),
        log=history.tail(8),
    )
    history.close()
    point = RestartPoint(records=1, pages=1, size=4096)
    with pytest.raises(TargetError) as caught:
        restore_image(medium, 1, gone, restart=Restart(lambda point: None, point))
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, gone)
    with pytest.raises(TargetError) as caught:
        apply_differential(medium, 2, gone)
    assert (caught.value.errno, caught.value.path) == (errno.ENOENT, gone)
    assert not gone.parent.exists()


def test_what_went_wrong_is_told_though_the_image_cannot_be_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that an error has made read-only: the error is told, not that of the removal."""
    source = database(tmp_path / "x.db", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    medium = backed_up(source)

    def read_only(path: Path, missing_ok: bool = False) -> None:
        raise OSError(errno.EROFS, "read-only", str(path))

    def full(*arguments: object) -> None:
        monkeypatch.setattr(Path, "unlink", read_only)
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr("tdsproxy.backup.restore_steps.roll_own_log", full)
    with pytest.raises(TargetError) as caught:
        restore_image(medium, 1, tmp_path / "image")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()
    monkeypatch.setattr("tdsproxy.backup.verification.roll_own_log", full)
    with pytest.raises(TargetError) as caught:
        verify_restore([(medium, 1)], tmp_path / "scratch.db")
    assert caught.value.errno == errno.ENOSPC
    monkeypatch.undo()


def test_a_restore_over_a_database_in_use_leaves_nothing_of_it(tmp_path: Path) -> None:
    source, target = tmp_path / "x.db", tmp_path / "live.db"
    processes.build(source, rows=5)
    processes.build(target, rows=9)
    medium = backed_up(source)
    stop = threading.Event()
    with processes.started("hold", target, "write") as writer:
        assert processes.read_line(writer) == "held"
        before = sorted(path.name for path in tmp_path.iterdir())
        with pytest.raises(DatabaseBusy):
            restore_database(medium, 1, target, replace=True, busy_milliseconds=1, cancel=stop)
        assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert len(processes.check(target)["content"]["plain"]) == 9

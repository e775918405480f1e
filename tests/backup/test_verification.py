"""verify --restore: what a scratch restore shows."""

from __future__ import annotations

import threading
import uuid
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup import facts as noting
from tdsproxy.backup.facts import FactCounter, hidden_name, schema_objects, snapshot_with_facts
from tdsproxy.backup.operations import backup_database, read_set, verify_restore
from tdsproxy.backup.verification import compare, foreign_key_problems, run_checks
from tdsproxy.media.device import DiskDevice
from tests.backup.making import description

SCHEMA = """
CREATE TABLE parent (id INTEGER PRIMARY KEY);
CREATE TABLE child (id INTEGER PRIMARY KEY, parent REFERENCES parent (id));
CREATE INDEX ix ON child (parent);
CREATE VIEW v AS SELECT * FROM child;
INSERT INTO parent VALUES (1), (2);
INSERT INTO child VALUES (1, 1), (2, 2), (3, 2);
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source.db"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA journal_mode=wal").fetchall()
    connection.execute(SCHEMA)
    connection.close()
    return path


def change(path: Path, sql: str) -> None:
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def backed_up(source: Path, path: Path) -> DiskDevice:
    device = DiskDevice(path, path.name)
    backup_database(source, device, description())
    return device


def test_a_sound_backup(source: Path, tmp_path: Path) -> None:
    device = backed_up(source, tmp_path / "a.bak")
    facts = read_set(device, 1).trailer.facts
    assert facts is not None
    assert facts.rows == {"parent": 2, "child": 3}
    assert sorted(facts.objects) == ["index ix", "table child", "table parent", "view v"]
    scratch = tmp_path / "scratch.db"
    found = verify_restore(
        [(device, 1)], scratch, checks="SELECT * FROM child WHERE id > 3; SELECT 1 WHERE 0"
    )
    assert found.problems == ()
    assert (found.tables, found.rows, found.compared, found.counted) == (2, 5, 6, 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bak", "source.db"]


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("DELETE FROM child WHERE id = 3", "The table child has 2 rows instead of 3."),
        ("DROP INDEX ix", "The index ix is missing."),
        ("CREATE TABLE other (x)", "The table other was not there."),
        ("DROP VIEW v; CREATE VIEW v AS SELECT id FROM child", "The view v is defined differently."),
    ],
)
def test_what_differs_from_what_was_noted(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str, problem: str
) -> None:
    """The counter sees the database as it should be, the pages are those of another state."""
    whole = tmp_path / "whole.db"
    whole.write_bytes(source.read_bytes())
    change(source, sql)
    real = noting.FactCounter
    monkeypatch.setattr(noting, "FactCounter", lambda path: real(whole))
    device = backed_up(source, tmp_path / "a.bak")
    monkeypatch.undo()
    found = verify_restore([(device, 1)], tmp_path / "scratch.db")
    assert problem in found.problems


def test_broken_foreign_keys_and_checks(source: Path, tmp_path: Path) -> None:
    change(source, "DELETE FROM parent WHERE id = 2")
    device = backed_up(source, tmp_path / "a.bak")
    query = "SELECT id FROM child WHERE parent = 2 ORDER BY id"
    checks = f"{query}; SELECT 1 FROM no"
    found = verify_restore([(device, 1)], tmp_path / "scratch.db", checks=checks)
    assert found.problems == (
        "Foreign key: row 2 of table child refers to a row that parent does not have.",
        "Foreign key: row 3 of table child refers to a row that parent does not have.",
        f"Check: {query} gave (2,).",
        f"Check: {query} gave (3,).",
        f"Check: The query behind {query} failed: no such table: no.",
    )


def test_a_damaged_index(source: Path, tmp_path: Path) -> None:
    change(
        source,
        "PRAGMA writable_schema=ON;"
        " UPDATE sqlite_schema SET sql = 'CREATE INDEX ix ON child (id)' WHERE name = 'ix'",
    )
    device = backed_up(source, tmp_path / "a.bak")
    found = verify_restore([(device, 1)], tmp_path / "scratch.db")
    assert any(problem.startswith("Integrity: ") for problem in found.problems)


def test_the_counter_sees_what_the_snapshot_holds(source: Path) -> None:
    """Also while others commit all the time."""
    change(source, "CREATE TABLE n (x)")
    over = threading.Event()

    def write() -> None:
        connection = apsw.Connection(str(source))
        connection.set_busy_timeout(60_000)
        while not over.is_set():
            connection.execute("INSERT INTO n VALUES (1)")
        connection.close()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(20):
            compared(source)
    finally:
        over.set()
        writer.join(60)
    assert not writer.is_alive()
    assert compared(source)


def compared(source: Path) -> bool:
    with snapshot_with_facts(source, lambda: False) as (snapshot, counter):
        if counter is None:
            return False
        counter.begin()
        pages = bytearray(snapshot.size)
        for first, data in snapshot.stream():
            at = (first - 1) * snapshot.page_size
            pages[at : at + len(data)] = data
        facts = counter.end(None)
    assert facts is not None
    pages[18:20] = b"\x01\x01"
    copy = apsw.Connection(":memory:")
    copy.deserialize("main", bytes(pages))
    assert copy.execute("SELECT count(*) FROM n").fetchall() == [(facts.rows["n"],)]
    copy.close()
    return True


def test_names_are_hidden_in_encrypted_sets(source: Path, tmp_path: Path) -> None:
    device = backed_up(source, tmp_path / "a.bak")
    info = read_set(device, 1)
    guid = info.header.description.set_guid
    counter = FactCounter(source)
    counter.begin()
    facts = counter.end(lambda name: hidden_name(guid, name))
    assert facts is not None
    assert facts.hidden
    assert not any("child" in name or "parent" in name for name in (*facts.objects, *facts.rows))
    connection = apsw.Connection(str(source))
    assert compare(connection, facts, info) == []
    connection.execute("DELETE FROM child WHERE id = 1; DROP VIEW v")
    assert compare(connection, facts, info) == [
        f"The {hidden_name(guid, 'view v')} is missing.",
        "The table child has 2 rows instead of 3.",
    ]
    assert list(foreign_key_problems(connection)) == []
    assert run_checks(connection, "SELECT 1 WHERE 0") == []
    assert hidden_name(uuid.UUID(int=0), "x") != hidden_name(uuid.UUID(int=1), "x")
    assert schema_objects(connection)
    connection.close()

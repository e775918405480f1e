"""A catalog's file under several threads and processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import apsw
import pytest

from tdsproxy.catalog.file import CatalogFile


@pytest.fixture
def file(tmp_path: Path) -> CatalogFile:
    made = CatalogFile(tmp_path / "catalog.db")
    made.use_wal()
    made.read("CREATE TABLE item (name TEXT)")
    return made


def test_who_reads_waits_for_no_writer(file: CatalogFile) -> None:
    other = apsw.Connection(str(file.path))
    other.execute("BEGIN IMMEDIATE")

    def insert() -> None:
        with file.write():
            file.read("INSERT INTO item VALUES (?)", ("late",))

    with file, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(insert)
        while file._writing.acquire(blocking=False):
            file._writing.release()
        assert file.read("SELECT name FROM item") == []
        assert not waiting.done()
        other.execute("COMMIT")
        waiting.result(60)
        assert file.read("SELECT name FROM item") == [("late",)]


def test_a_write_block_sees_its_own_changes_and_nobody_else_before_its_end(file: CatalogFile) -> None:
    with file, ThreadPoolExecutor(1) as pool:
        with file.write():
            file.read("INSERT INTO item VALUES (?)", ("new",))
            assert file.read("SELECT name FROM item") == [("new",)]
            assert pool.submit(file.read, "SELECT name FROM item").result(60) == []
        assert file.read("SELECT name FROM item") == [("new",)]


def test_what_an_exception_ends_is_undone(file: CatalogFile) -> None:
    def fail() -> None:
        with file.write():
            file.read("INSERT INTO item VALUES (?)", ("gone",))
            raise RuntimeError

    with file:
        with pytest.raises(RuntimeError):
            fail()
        assert file.read("SELECT name FROM item") == []


def test_half_a_character_is_kept_as_the_replacement_character(file: CatalogFile) -> None:
    with file:
        file.read("INSERT INTO item VALUES (?)", ("a\udbc3",))
        assert file.read("SELECT name FROM item WHERE name = ?", ("a\udbc4",)) == [("a\ufffd",)]


def test_a_commit_that_fails_leaves_no_transaction_open(file: CatalogFile) -> None:
    def fail() -> None:
        with file.write():
            file.read("INSERT INTO part VALUES ('without an item')")

    with file:
        file.read("CREATE TABLE whole (name TEXT PRIMARY KEY)")
        file.read("CREATE TABLE part (name TEXT REFERENCES whole DEFERRABLE INITIALLY DEFERRED)")
        file._writer.execute("PRAGMA foreign_keys = ON")
        with pytest.raises(apsw.ConstraintError):
            fail()
        with file.write():
            file.read("INSERT INTO item VALUES ('next')")
        assert file.read("SELECT name FROM item") == [("next",)]
        assert file.read("SELECT name FROM part") == []

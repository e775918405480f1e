"""Damaged pages get the content that they should have, while others use the database."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import apsw
import pytest

from tdsproxy.store import walindex
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing, DatabaseUnreadable, InstallFailed
from tdsproxy.store.integrity import Finding, check_database, damage_of
from tdsproxy.store.mend import mend_pages
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import open_database
from tests.store import processes

SIZE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database in WAL mode, all of it in the main file, nobody there."""
    made = tmp_path / "x.db"
    processes.build(made, rows=40)
    return made


def page(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        file.seek((number - 1) * SIZE)
        return file.read(SIZE)


def damage(path: Path, number: int) -> None:
    processes.run("overwrite", path, str(number))


def test_a_damaged_page_is_found_and_mended(path: Path) -> None:
    sound = processes.check(path)
    before = {number: page(path, number) for number in (2, 3)}
    assert damage_of(path) == []
    for number in before:
        damage(path, number)
    found = damage_of(path)
    assert found
    assert all(finding.structural for finding in found)
    assert 2 in {finding.page for finding in found} | {finding.root for finding in found}
    assert mend_pages(path, lambda: before) == 2
    assert damage_of(path) == []
    assert processes.check(path) == sound


def test_readers_see_the_mended_page_at_once(path: Path) -> None:
    sound = page(path, 2)
    damage(path, 2)
    reader = apsw.Connection(str(path))
    with pytest.raises(apsw.CorruptError):
        reader.execute("SELECT count(*) FROM plain NOT INDEXED").fetchall()
    assert mend_pages(path, lambda: {2: sound}) == 1
    assert reader.execute("SELECT count(*) FROM plain NOT INDEXED").fetchall() == [(40,)]
    reader.close()


def test_pages_that_wait_in_the_wal_and_those_behind_the_end_are_left_alone(path: Path) -> None:
    writer = apsw.Connection(str(path))
    writer.execute("PRAGMA wal_autocheckpoint = 0").fetchall()
    writer.execute("UPDATE plain SET body = 'new' WHERE id = 1").fetchall()
    raw = open_database(path, 0)
    raw.execute("BEGIN; SELECT * FROM sqlite_schema").fetchall()
    file = PageFile(raw)
    block = file.index_block(0)
    assert block is not None
    head = walindex.read_header(block)
    assert head is not None
    held = walindex.frame_pages(file.index_block, head.max_frame)
    raw.close()
    assert held
    in_file = {number: page(path, number) for number in (held[0], 3)}
    assert held[0] != 3
    contents = {held[0]: bytes(SIZE), 3: in_file[3], 1 << 20: bytes(SIZE)}
    assert mend_pages(path, lambda: contents) == 1
    assert {number: page(path, number) for number in in_file} == in_file
    assert writer.execute("SELECT body FROM plain WHERE id = 1").fetchall() == [("new",)]
    writer.close()
    assert processes.check(path)["integrity"] == ["ok"]


def test_nobody_writes_while_the_contents_are_found(path: Path) -> None:
    said: list[bool] = []

    def contents() -> Mapping[int, bytes]:
        other = apsw.Connection(str(path))
        with pytest.raises(apsw.BusyError):
            other.execute("BEGIN IMMEDIATE").fetchall()
        other.close()
        said.append(True)
        return {}

    assert mend_pages(path, contents) == 0
    assert said == [True]


def test_what_the_finder_raises_changes_nothing_and_frees_the_database(path: Path) -> None:
    def contents() -> Mapping[int, bytes]:
        raise LookupError("no page")

    before = path.read_bytes()
    with pytest.raises(LookupError):
        mend_pages(path, contents)
    assert path.read_bytes() == before
    writer = apsw.Connection(str(path))
    writer.execute("BEGIN IMMEDIATE").fetchall()
    with pytest.raises(DatabaseBusy):
        mend_pages(path, dict, busy_milliseconds=0)
    writer.close()


def test_pages_of_another_size_do_not_go_in(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(InstallFailed, match="a page of 512 bytes does not fit into pages of 4096"):
        mend_pages(path, lambda: {2: bytes(512)})
    assert path.read_bytes() == before


def test_only_databases_in_wal_mode_are_mended(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal="delete", rows=3)
    with pytest.raises(InstallFailed, match="not in WAL mode"):
        mend_pages(path, lambda: {2: bytes(SIZE)})


@pytest.mark.parametrize("attempt", [lambda path: mend_pages(path, dict), damage_of])
def test_what_is_no_database_is_told(tmp_path: Path, attempt: Callable[[Path], object]) -> None:
    with pytest.raises(DatabaseMissing):
        attempt(tmp_path / "missing.db")
    (tmp_path / "text.db").write_bytes(b"no database" * 1000)
    if attempt is damage_of:
        assert [finding.structural for finding in damage_of(tmp_path / "text.db")] == [True]
    else:
        with pytest.raises(DatabaseUnreadable):
            attempt(tmp_path / "text.db")


def test_without_a_wal_index_nothing_is_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits in the WAL would not be known."""
    before = path.read_bytes()
    monkeypatch.setattr(PageFile, "index_block", lambda self, number: None)
    with pytest.raises(InstallFailed, match="no WAL index"):
        mend_pages(path, lambda: {2: bytes(SIZE)})
    assert path.read_bytes() == before


def test_damage_of_a_locked_database_is_not_known(path: Path) -> None:
    owner = apsw.Connection(str(path))
    owner.execute("PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE").fetchall()
    with pytest.raises(DatabaseBusy):
        damage_of(path, busy_milliseconds=0)
    owner.close()


def test_a_check_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE t (a); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO t SELECT i FROM n"
    )
    connection.close()
    with pytest.raises(InterruptedError):
        damage_of(path, cancelled=lambda: True)


def test_rows_that_are_wrong_are_no_damage_of_pages(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE checked (a INTEGER CHECK (a > 0)); PRAGMA ignore_check_constraints = ON")
    connection.execute("INSERT INTO checked VALUES (-1); PRAGMA ignore_check_constraints = OFF").fetchall()
    found = check_database(connection)
    connection.close()
    assert [(finding.structural, finding.page) for finding in found] == [(False, None)]
    assert damage_of(path) == []


def test_a_damaged_schema_is_the_last_finding(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA writable_schema = ON").fetchall()
    connection.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE (' WHERE name = 'plain'").fetchall()
    connection.close()
    (found,) = damage_of(path)
    assert found.structural
    assert "malformed" in found.text


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Tree 5 page 7 cell 0: Rowid 1 out of order", (7, 5, True)),
        ("Page 9: never used", (9, None, True)),
        ("row 1 missing from index by_body", (None, None, False)),
        ("Freelist: size is 3 but should be 4", (None, None, True)),
    ],
)
def test_what_sqlite_says_names_pages_and_trees(
    text: str, finding: tuple[int | None, int | None, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Saying:
        def execute(self, sql: str) -> list[tuple[str]]:
            return [("*** in database main ***\n" + text,)]

    page_, root, structural = finding
    assert check_database(Saying()) == [Finding(text, page_, root, structural)]  # type: ignore[arg-type]

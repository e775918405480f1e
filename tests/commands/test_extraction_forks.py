"""What is extracted lies on one recovery path, whatever else the media hold."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tdsproxy.commands.extraction import ExtractionError, extract
from tests.commands.support import Workshop, numbers


@pytest.fixture
def media(logged: Workshop) -> list[Path]:
    """A differential of a path that was left: full, log, differential; full and log restored, another log."""
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full'")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    shop.run("BACKUP LOG a TO DISK='/tmp/one'")
    shop.fill("a", "CREATE TABLE left_behind (x); INSERT INTO t VALUES (2)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/left' WITH DIFFERENTIAL")
    shop.run("RESTORE DATABASE a FROM DISK='/tmp/full' WITH NORECOVERY, REPLACE")
    assert numbers(shop.run("RESTORE LOG a FROM DISK='/tmp/one'"))[-1] == 3014
    shop.fill("a", "INSERT INTO t VALUES (3)")
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/two'"))[-1] == 3014
    return [shop.media / name for name in ("two", "full", "one", "left")]


def content(path: Path) -> list[object]:
    connection = apsw.Connection(str(path))
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return [row[0] for row in connection.execute("SELECT x FROM t ORDER BY x")]
    finally:
        connection.close()


def test_a_differential_that_was_left_is_passed_over(media: list[Path], tmp_path: Path) -> None:
    extract(media, tmp_path / "newest.db")
    assert content(tmp_path / "newest.db") == [1, 3]
    extract(media, tmp_path / "log.db", position=1)
    assert content(tmp_path / "log.db") == [1, 3]
    extract(media[1:], tmp_path / "left.db")
    assert content(tmp_path / "left.db") == [1, 2]
    with pytest.raises(ExtractionError, match="do not hold what the log backup 'two'"):
        extract([media[0], media[1], media[3]], tmp_path / "none.db", position=1)


def test_of_two_databases_of_a_name_it_is_the_newer(logged: Workshop, tmp_path: Path) -> None:
    for value in (1, 2):
        logged.run("CREATE DATABASE a")
        logged.fill("a", "CREATE TABLE t (x)")
        for _ in range(30 // value):
            logged.fill("a", "INSERT INTO t VALUES (0)")
        logged.fill("a", f"DELETE FROM t; INSERT INTO t VALUES ({value})")
        logged.run(f"BACKUP DATABASE a TO DISK='/tmp/{value}'")
        logged.run("DROP DATABASE a")
    extract([logged.media / "1", logged.media / "2"], tmp_path / "out.db")
    assert content(tmp_path / "out.db") == [2]

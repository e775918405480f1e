"""Database files under another name: no WAL of an earlier database comes to them, none of theirs is left."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from tdsproxy.catalog.databases import DatabaseState
from tdsproxy.commands import database_statements, detaching
from tdsproxy.commands.startup import begin
from tests.commands.support import Workshop, numbers


@pytest.fixture
def shop(shop: Workshop) -> Workshop:
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    return shop


def leave_wal(path: Path) -> None:
    connection = apsw.Connection(str(path))
    connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
    connection.execute("PRAGMA journal_mode = WAL").fetchall()
    connection.execute("CREATE TABLE late (x)")
    connection.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size


def stale(shop: Workshop) -> None:
    """As a DROP DATABASE [b] leaves it that was killed when it had deleted the main file."""
    leave_wal(shop.store / "b.db")
    (shop.store / "b.db").unlink()


def test_a_stale_wal_does_not_come_to_a_renamed_database(shop: Workshop) -> None:
    stale(shop)
    assert numbers(shop.run("ALTER DATABASE a MODIFY NAME = b")) == [5021]
    assert shop.rows("b", "SELECT x FROM t") == [[1]]


@pytest.mark.parametrize("outside", [False, True])
def test_a_stale_wal_does_not_come_to_an_attached_database(shop: Workshop, outside: bool) -> None:
    stale(shop)
    place = "/var/opt/mssql/data/a.mdf"
    if outside:
        (shop.store / "a.db").rename(shop.media / "a.sqlite")
        place = "/tmp/a.sqlite"
    else:
        assert numbers(shop.run("EXEC sp_detach_db @a1", variables={"@a1": "a"})) == []
    assert numbers(shop.run(f"CREATE DATABASE b ON (FILENAME = '{place}') FOR ATTACH")) == []
    assert shop.rows("b", "SELECT x FROM t") == [[1]]


def test_a_file_whose_wal_could_not_be_ended_is_not_moved_without_it(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk was full when the last one closed it."""
    leave_wal(shop.store / "a.db")
    for module in (database_statements, detaching):
        monkeypatch.setattr(module, "wait_for_release", lambda *_: None)
    assert numbers(shop.run("ALTER DATABASE a MODIFY NAME = b"))[:1] == [5030]
    assert numbers(shop.run("EXEC sp_detach_db @a1", variables={"@a1": "a"})) == [3703]
    assert shop.rows("a", "SELECT count(*) FROM late") == [[0]]


def test_a_database_whose_tail_was_being_backed_up_when_the_owner_died_is_open(shop: Workshop) -> None:
    found = shop.catalog.databases.find("a")
    assert found is not None
    shop.catalog.databases.update(found.id, state=DatabaseState.RESTORING)
    begin(shop.env)
    now = shop.catalog.databases.find("a")
    assert now is not None
    assert now.state is DatabaseState.ONLINE

"""DBCC CHECKDB and CHECKTABLE on sound and damaged databases."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from tests.server.support import Client, World, errors, infos


@pytest.fixture
def shop(world: World, sa: Client) -> Client:
    sa.run("CREATE DATABASE shop; USE shop")
    sa.run(
        "CREATE TABLE t (id int PRIMARY KEY, v varchar(200)); CREATE INDEX ix ON t (v);"
        " CREATE TABLE e (x int)"
    )
    sa.run("EXEC('CREATE SCHEMA s'); CREATE TABLE s.u (id int)")
    sa.run(
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
        " INSERT t SELECT i, REPLICATE('x', 100) + CAST(i AS varchar(9)) FROM n OPTION (MAXRECURSION 300)"
    )
    return sa


def file_of(world: World) -> Path:
    return world.keeper.store / "shop.db"


def test_a_sound_database(shop: Client) -> None:
    said = [(m.number, m.text) for m in infos(shop.replies("DBCC CHECKDB ('shop')"))]
    assert said[0] == (2536, "DBCC results for 'shop'.")
    assert [number for number, _ in said[1:9]] == [8997] * 8
    assert said[1][1] == "Service Broker Msg 9675, State 1: Message Types analyzed: 14."
    assert said[9:11] == [
        (2536, "DBCC results for 'e'."),
        (2593, 'There are 0 rows in 0 pages for object "e".'),
    ]
    assert said[11] == (2536, "DBCC results for 's.u'.")
    assert said[13] == (2536, "DBCC results for 't'.")
    assert said[14][1].startswith("There are 300 rows in ")
    assert said[15] == (
        8989,
        "CHECKDB found 0 allocation errors and 0 consistency errors in database 'shop'.",
    )
    assert said[16][0] == 2528
    assert len(said) == 17
    assert infos(shop.replies("DBCC CHECKDB WITH NO_INFOMSGS, ALL_ERRORMSGS")) == []
    said = [(m.number, m.text) for m in infos(shop.replies("DBCC CHECKTABLE ('dbo.t')"))]
    assert [number for number, _ in said] == [2536, 2593, 2528]
    assert shop.error("DBCC CHECKTABLE ('nothing')") == 2501


def test_an_index_that_lacks_rows(world: World, shop: Client) -> None:
    connection = apsw.Connection(str(file_of(world)))
    connection.execute(
        "PRAGMA writable_schema=ON; UPDATE sqlite_schema SET sql = replace(sql, '(\"v\"', '(\"id\"')"
        " WHERE name = 'ix'"
    )
    (version,) = next(iter(connection.execute("PRAGMA schema_version")))
    connection.execute(f"PRAGMA schema_version = {version + 1}")
    connection.close()
    replies = shop.replies("DBCC CHECKDB ('shop') WITH NO_INFOMSGS")
    assert {m.number for m in errors(replies)} <= {8951, 8939}
    assert errors(replies)
    said = list(infos(replies))
    assert [m.number for m in said] == [8990, 8989, 8958]
    count = len(errors(replies))
    assert f"found 0 allocation errors and {count} consistency errors in table 't'" in said[0].text
    assert said[2].text.startswith("repair_")


def test_a_page_that_is_none(world: World, shop: Client) -> None:
    path = file_of(world)
    shop.run("DROP INDEX ix ON t; USE master")
    world.engine.release("shop")
    connection = apsw.Connection(str(path))
    connection.execute("VACUUM")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    code = (
        f"f = open({str(path)!r}, 'r+b'); at = f.read().index(b'x' * 100 + b'150') // 4096 * 4096;"
        " f.seek(at); f.write(bytes([165]) * 4096); f.close(); print(at // 4096 + 1)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
    page = int(done.stdout)
    assert shop.error("SELECT v FROM shop.dbo.t WHERE id = 150") == 824
    replies = shop.replies("DBCC CHECKDB ('shop')")
    assert any(f"page (1:{page})" in m.text for m in errors(replies))
    assert {m.number for m in errors(replies)} <= {8939, 8951}
    assert [m.number for m in infos(replies)][-3:] == [8989, 8958, 2528]
    damaged = [m.text for m in infos(replies) if m.number == 8990]
    assert len(damaged) == 1
    assert "in table 't'" in damaged[0]

"""PIVOT, UNPIVOT, ROLLUP, CUBE and GROUPING SETS."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, columns

__all__ = ["shared_world", "sql"]


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE s(y int, q varchar(2), a int)")
    sql.run("INSERT s VALUES (2020,'Q1',1), (2020,'Q2',2), (2021,'Q1',3), (2021,'Q1',4), (2021,NULL,9)")
    return sql


def test_pivot_groups_by_all_other_columns(db: Client) -> None:
    text = (
        "SELECT * FROM (SELECT y, q, a FROM s) src PIVOT (SUM(a) FOR q IN ([Q1],[Q2],[-1])) AS p ORDER BY y"
    )
    assert columns(db.replies(text)) == ["y", "Q1", "Q2", "-1"]
    assert db.rows(text) == [(2020, 1, 2, None), (2021, 7, None, None)]
    assert db.rows("SELECT y, [Q2] + 0 FROM s PIVOT (COUNT(a) FOR q IN ([Q1],[Q2])) p ORDER BY 1") == [
        (2020, 1),
        (2021, 0),
    ]
    assert db.rows("SELECT * FROM (SELECT y, a FROM s) x PIVOT (MAX(a) FOR y IN ([2020],[2021])) p") == [
        (2, 9)
    ]
    assert db.error("SELECT * FROM s PIVOT (SUM(a) FOR nope IN ([x])) p") == 207


def test_unpivot_leaves_nulls_out(db: Client) -> None:
    db.run("CREATE TABLE w(id int, a int, b int); INSERT w VALUES (1, 10, NULL), (2, 20, 21)")
    assert db.rows("SELECT id, c, v FROM w UNPIVOT (v FOR c IN (a, b)) AS u ORDER BY id, c") == [
        (1, "a", 10),
        (2, "a", 20),
        (2, "b", 21),
    ]


def test_rollup(db: Client) -> None:
    assert db.rows(
        "SELECT q, y, SUM(a), GROUPING(q), GROUPING_ID(q, y) FROM s GROUP BY ROLLUP(q, y)"
        " ORDER BY GROUPING(q), q, GROUPING(y), y"
    ) == [
        (None, 2021, 9, 0, 0),
        (None, None, 9, 0, 1),
        ("Q1", 2020, 1, 0, 0),
        ("Q1", 2021, 7, 0, 0),
        ("Q1", None, 8, 0, 1),
        ("Q2", 2020, 2, 0, 0),
        ("Q2", None, 2, 0, 1),
        (None, None, 19, 1, 3),
    ]
    assert db.rows("SELECT y, SUM(a) FROM s GROUP BY y WITH ROLLUP ORDER BY GROUPING(y), y") == [
        (2020, 3),
        (2021, 16),
        (None, 19),
    ]


def test_cube_and_grouping_sets(db: Client) -> None:
    assert len(db.rows("SELECT q, y, COUNT(*) FROM s GROUP BY CUBE(q, y)")) == 4 + 3 + 2 + 1
    assert db.rows(
        "SELECT q, y, COUNT(*) FROM s GROUP BY GROUPING SETS ((q, y), (y), ()) HAVING COUNT(*) > 1"
        " ORDER BY COUNT(*), q, y"
    ) == [(None, 2020, 2), ("Q1", 2021, 2), (None, 2021, 3), (None, None, 5)]
    assert db.rows("SELECT y, q, COUNT(*) FROM s GROUP BY y, ROLLUP((q, y)) ORDER BY 1, 3, 2") == [
        (2020, "Q1", 1),
        (2020, "Q2", 1),
        (2020, None, 2),
        (2021, None, 1),
        (2021, "Q1", 2),
        (2021, None, 3),
    ]


def test_tails_over_grouping_sets(db: Client) -> None:
    assert db.rows("SELECT TOP 2 y FROM s GROUP BY ROLLUP(y) ORDER BY y DESC") == [(2021,), (2020,)]
    assert db.rows(
        "SELECT CASE WHEN GROUPING(y) = 1 THEN 'all' ELSE CAST(y AS varchar(4)) END AS t FROM s"
        " GROUP BY ROLLUP(y) ORDER BY t OFFSET 1 ROWS FETCH NEXT 5 ROWS ONLY"
    ) == [("2021",), ("all",)]
    assert db.error("SELECT GROUPING(a) FROM s GROUP BY ROLLUP(y)") == 8161

"""MERGE."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, dones, errors, rows

__all__ = ["shared_world", "sql"]

_MERGE = (
    "MERGE t AS tgt USING (VALUES (2,'B',20),(3,'C',30),(4,'D',40),(5,'E',50)) AS s(k,n,v) ON tgt.k = s.k"
    " WHEN MATCHED AND s.v = 30 THEN DELETE"
    " WHEN MATCHED THEN UPDATE SET n = s.n, tgt.v += s.v"
    " WHEN NOT MATCHED AND s.k = 5 THEN INSERT (k, v) VALUES (s.k, s.v)"
    " WHEN NOT MATCHED BY TARGET THEN INSERT (k, n, v) VALUES (s.k, s.n, DEFAULT)"
    " WHEN NOT MATCHED BY SOURCE THEN UPDATE SET n = 'gone'"
)


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE t(id int IDENTITY PRIMARY KEY, k int, n varchar(10) DEFAULT 'dd', v int)")
    sql.run("INSERT t(k, n, v) VALUES (1,'a',1), (2,'b',2), (3,'c',3)")
    return sql


def test_all_kinds_of_when(db: Client) -> None:
    replies = db.replies(f"{_MERGE};")
    assert not errors(replies)
    assert [(done.command, done.count) for done in dones(replies)] == [(279, 5)]
    assert db.rows("SELECT id, k, n, v FROM t ORDER BY id") == [
        (1, 1, "gone", 1),
        (2, 2, "B", 22),
        (4, 4, "D", None),
        (5, 5, "dd", 50),
    ]


def test_output_with_action_and_the_source_s_columns(db: Client) -> None:
    replies = db.replies(f"{_MERGE} OUTPUT $action, inserted.id, deleted.id, deleted.n, s.k;")
    assert sorted(rows(replies), key=str) == [
        ("DELETE", None, 3, "c", 3),
        ("INSERT", 4, None, None, 4),
        ("INSERT", 5, None, None, 5),
        ("UPDATE", 1, 1, "a", None),
        ("UPDATE", 2, 2, "b", 2),
    ]
    assert db.rows(
        "DECLARE @o TABLE(a nvarchar(10), i int); MERGE t USING (SELECT 9 k) s ON s.k = t.k"
        " WHEN NOT MATCHED THEN INSERT (k) VALUES (s.k) OUTPUT $action, inserted.k INTO @o; SELECT * FROM @o"
    ) == [("INSERT", 9)]


def test_common_tables_and_table_variables(db: Client) -> None:
    assert db.rows(
        "DECLARE @x TABLE(a int PRIMARY KEY, b int); INSERT @x VALUES (1, 1);"
        " WITH src AS (SELECT 1 AS a, 5 AS b UNION ALL SELECT 2, 6)"
        " MERGE TOP (5) @x AS d USING src AS s ON d.a = s.a WHEN MATCHED THEN UPDATE SET b = s.b"
        " WHEN NOT MATCHED THEN INSERT VALUES (a, b); SELECT * FROM @x"
    ) == [(1, 5), (2, 6)]


def test_a_failing_merge_changes_nothing(db: Client) -> None:
    db.run("ALTER TABLE t ADD CONSTRAINT c CHECK (v < 100)")
    failing = _MERGE.replace("s.v)", "s.v * 10)")
    assert db.error(f"{failing};") == 547
    assert db.rows("SELECT COUNT(*), MIN(n) FROM t") == [(3, "a")]


def test_refusals(db: Client) -> None:
    assert db.error("MERGE t USING t AS s ON t.k > s.k WHEN MATCHED THEN UPDATE SET v = 1;") == 8672
    assert db.error("MERGE t USING (SELECT 1 a) s ON s.a = t.k WHEN MATCHED THEN DELETE") == 10713
    assert db.error("MERGE nope USING (SELECT 1 a) s ON s.a = 1 WHEN MATCHED THEN DELETE;") == 208
    assert (
        db.error(
            "MERGE t USING (SELECT 1 a) s ON s.a = 7 WHEN NOT MATCHED THEN INSERT (id, k) VALUES (1, 1);"
        )
        == 544
    )


def test_triggers_of_each_action(db: Client) -> None:
    db.run("CREATE TABLE log(m varchar(20))")
    for event in ("INSERT", "UPDATE", "DELETE"):
        db.run(
            f"CREATE TRIGGER t_{event} ON t FOR {event} AS INSERT log"
            f" SELECT CONCAT('{event} ', (SELECT COUNT(*) FROM inserted), (SELECT COUNT(*) FROM deleted))"
        )
    db.run(f"{_MERGE};")
    assert sorted(db.rows("SELECT m FROM log")) == [("DELETE 01",), ("INSERT 20",), ("UPDATE 22",)]

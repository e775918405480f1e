"""AFTER and INSTEAD OF triggers."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, dones, errors, infos

__all__ = ["shared_world", "sql"]


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE t(id int IDENTITY PRIMARY KEY, n varchar(10), v int, d AS v * 2)")
    sql.run("CREATE TABLE log(id int IDENTITY(100, 1), m varchar(100))")
    return sql


def test_inserted_and_deleted_hold_the_rows_before_and_after(db: Client) -> None:
    db.run(
        "CREATE TRIGGER trg ON t AFTER INSERT, UPDATE, DELETE AS BEGIN SET NOCOUNT ON;"
        " INSERT log SELECT CONCAT('+', id, n, d) FROM inserted;"
        " INSERT log SELECT CONCAT('-', id, n, d) FROM deleted END"
    )
    db.run(
        "INSERT t(n, v) VALUES ('a', 1), ('b', 2); UPDATE t SET n = 'z' WHERE id = 1; DELETE t WHERE id = 2"
    )
    assert [m for (m,) in db.rows("SELECT m FROM log ORDER BY id")] == [
        *("+1a2", "+2b4"),
        *("+1z2", "-1a2"),
        "-2b4",
    ]
    db.run("DELETE log; DELETE t")
    assert db.rows("SELECT m FROM log") == [("-1z2",)]


def test_a_trigger_runs_once_for_a_statement_even_without_rows(db: Client) -> None:
    db.run("CREATE TRIGGER trg ON t FOR UPDATE AS PRINT CONCAT(@@ROWCOUNT, ' ', @@TRANCOUNT)")
    assert [m.text for m in infos(db.replies("UPDATE t SET v = 1"))] == ["0 1"]
    db.run("INSERT t(n) VALUES ('a'), ('b')")
    replies = db.replies("BEGIN TRAN; UPDATE t SET v = 1; COMMIT")
    assert [m.text for m in infos(replies)] == ["2 1"]
    assert [done.count for done in dones(replies) if done.command == 197] == [2]


def test_identities_of_a_trigger_are_not_the_scope_s(db: Client) -> None:
    db.run("CREATE TRIGGER trg ON t FOR INSERT AS INSERT log VALUES ('x')")
    assert db.rows("INSERT t(n) VALUES ('a'); SELECT SCOPE_IDENTITY(), @@IDENTITY, @@ROWCOUNT") == [
        (1, 100, 1)
    ]


def test_update_and_columns_updated(db: Client) -> None:
    db.run(
        "CREATE TRIGGER trg ON t FOR UPDATE, INSERT AS IF UPDATE(v) AND NOT UPDATE(n) PRINT 'v alone'"
        " ELSE PRINT CONVERT(varchar(10), COLUMNS_UPDATED(), 1)"
    )
    assert [m.text for m in infos(db.replies("INSERT t(v) VALUES (1)"))] == ["0x0F"]
    assert [m.text for m in infos(db.replies("UPDATE t SET v = 2"))] == ["v alone"]
    assert [m.text for m in infos(db.replies("UPDATE t SET n = 'x', v = 3"))] == ["0x06"]


def test_a_rollback_in_a_trigger_ends_the_batch(db: Client) -> None:
    db.run(
        "CREATE TRIGGER trg ON t FOR INSERT AS IF EXISTS (SELECT * FROM inserted WHERE v < 0)"
        " BEGIN RAISERROR('no negatives', 16, 1); ROLLBACK TRANSACTION END"
    )
    db.run("INSERT t(v) VALUES (1)")
    replies = db.replies("INSERT t(v) VALUES (-1); PRINT 'not reached'")
    assert [(m.number, m.procedure) for m in errors(replies)] == [(50000, "trg"), (3609, "")]
    assert not infos(replies)
    replies = db.replies("BEGIN TRAN; INSERT t(v) VALUES (2); INSERT t(v) VALUES (-1); COMMIT")
    assert [m.number for m in errors(replies)] == [50000, 3609]
    assert db.rows("SELECT v, @@TRANCOUNT FROM t") == [(1, 0)]
    assert db.rows(
        "BEGIN TRY INSERT t(v) VALUES (-1) END TRY"
        " BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_PROCEDURE() END CATCH"
    ) == [(50000, "trg")]


def test_an_error_in_a_trigger_undoes_the_statement_and_ends_the_batch(db: Client) -> None:
    db.run("CREATE TRIGGER trg ON t FOR INSERT AS INSERT log(m) SELECT 1 / v FROM inserted")
    replies = db.replies("INSERT t(v) VALUES (1), (0); SELECT 1")
    assert [(m.number, m.procedure) for m in errors(replies)] == [(8134, "trg")]
    assert db.rows("SELECT (SELECT COUNT(*) FROM t), (SELECT COUNT(*) FROM log), @@TRANCOUNT") == [(0, 0, 0)]


def test_triggers_nest_but_do_not_fire_themselves(db: Client) -> None:
    db.run("CREATE TABLE u(a int)")
    db.run("CREATE TRIGGER t1 ON t FOR INSERT AS INSERT u SELECT v FROM inserted; INSERT t(v) VALUES (7)")
    db.run("CREATE TRIGGER u1 ON u FOR INSERT AS INSERT log SELECT CONCAT(a, '@', @@NESTLEVEL) FROM inserted")
    db.run("INSERT t(v) VALUES (5)")
    assert db.rows("SELECT v FROM t ORDER BY id") == [(5,), (7,)]
    assert db.rows("SELECT m FROM log") == [("5@2",)]
    db.run("CREATE TRIGGER u2 ON u FOR INSERT AS INSERT t(v) SELECT a + 1 FROM inserted WHERE a < 90")
    assert db.error("INSERT t(v) VALUES (1)") == 217


def test_disabled_and_dropped_triggers_do_not_fire(db: Client) -> None:
    db.run("CREATE TRIGGER trg ON t FOR INSERT AS INSERT log VALUES ('x')")
    db.run("DISABLE TRIGGER trg ON t; INSERT t(v) VALUES (1)")
    assert db.rows("SELECT name, is_disabled, is_instead_of_trigger FROM sys.triggers") == [("trg", 1, 0)]
    db.run("ALTER TABLE t ENABLE TRIGGER ALL; INSERT t(v) VALUES (1)")
    assert db.value("SELECT COUNT(*) FROM log") == 1
    db.run("ALTER TRIGGER trg ON t FOR DELETE AS INSERT log VALUES ('y')")
    db.run("INSERT t(v) VALUES (1); DROP TRIGGER trg; DELETE t")
    assert db.value("SELECT COUNT(*) FROM log") == 1


def test_instead_of_triggers_on_views(db: Client) -> None:
    db.run("CREATE VIEW w AS SELECT id, n, v * 2 AS twice FROM t")
    db.run("CREATE TRIGGER wi ON w INSTEAD OF INSERT AS INSERT t(n, v) SELECT n, twice / 2 FROM inserted")
    db.run(
        "CREATE TRIGGER wu ON w INSTEAD OF UPDATE AS"
        " UPDATE t SET v = i.twice / 2 FROM t JOIN inserted i ON i.id = t.id JOIN deleted d ON d.id = i.id"
    )
    db.run("CREATE TRIGGER wd ON w INSTEAD OF DELETE AS DELETE t WHERE id IN (SELECT id FROM deleted)")
    db.run(
        "INSERT w(n, twice) VALUES ('q', 10), ('r', 20);"
        " INSERT w(n, twice) SELECT n, twice FROM w WHERE n = 'q'"
    )
    db.run("UPDATE w SET twice += 2 WHERE n = 'q'; DELETE w WHERE twice = 20")
    assert db.rows("SELECT n, v FROM t ORDER BY id") == [("q", 6), ("q", 6)]


def test_instead_of_triggers_on_tables(db: Client) -> None:
    db.run(
        "CREATE TRIGGER ti ON t INSTEAD OF DELETE AS"
        " UPDATE t SET n = 'gone' WHERE id IN (SELECT id FROM deleted)"
    )
    db.run("INSERT t(n) VALUES ('a'), ('b'); DELETE t WHERE n = 'a'")
    assert db.rows("SELECT n FROM t ORDER BY id") == [("gone",), ("b",)]
    assert db.error("CREATE TRIGGER tj ON t INSTEAD OF DELETE AS PRINT 1") == 2111


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("CREATE TRIGGER x ON nope FOR INSERT AS PRINT 1", 8197),
        ("CREATE TRIGGER x ON DATABASE FOR CREATE_TABLE AS PRINT 1", 40510),
        ("DISABLE TRIGGER nope ON t", 1088),
        ("DROP TRIGGER nope", 3701),
    ],
)
def test_refusals(db: Client, statement: str, number: int) -> None:
    assert db.error(statement) == number


def test_output_without_into_is_refused_beside_triggers(db: Client) -> None:
    db.run("CREATE TRIGGER trg ON t FOR INSERT AS INSERT log VALUES ('x')")
    assert db.error("INSERT t(v) OUTPUT inserted.id VALUES (1)") == 334
    db.run("DECLARE @o TABLE(i int); INSERT t(v) OUTPUT inserted.id INTO @o VALUES (1)")


def test_rows_of_a_procedure_go_to_the_trigger(db: Client) -> None:
    db.run("CREATE VIEW w AS SELECT n, v FROM t")
    db.run("CREATE TRIGGER wi ON w INSTEAD OF INSERT AS INSERT t(n, v) SELECT n, v * 10 FROM inserted")
    db.run("INSERT w(v, n) EXEC('SELECT 1, ''a'' UNION ALL SELECT 2, ''b''; SELECT 3, ''c''')")
    assert db.rows("SELECT n, v FROM t ORDER BY id") == [("a", 10), ("b", 20), ("c", 30)]
    assert db.error("INSERT w(v, n) EXEC('SELECT 1')") == 213

"""Cursors over tables: variables, WHERE CURRENT OF, CURSOR_STATUS."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, infos

__all__ = ["shared_world", "sql"]


@pytest.fixture
def db(sql: Client) -> Client:
    sql.run("CREATE TABLE t(id int PRIMARY KEY, n varchar(5)); INSERT t VALUES (1,'a'), (2,'b'), (3,'c')")
    sql.run("CREATE TABLE h(x int); INSERT h VALUES (1), (2)")
    return sql


def test_cursor_variables(db: Client) -> None:
    replies = db.replies(
        "DECLARE @c CURSOR, @d CURSOR, @id int; PRINT CURSOR_STATUS('variable', '@c');"
        " SET @c = CURSOR LOCAL SCROLL FOR SELECT id FROM t ORDER BY id;"
        " PRINT CURSOR_STATUS('variable', '@c');"
        " OPEN @c; PRINT CURSOR_STATUS('variable', '@c'); SET @d = @c;"
        " FETCH LAST FROM @d INTO @id; PRINT @id; FETCH PRIOR FROM @c INTO @id; PRINT @id;"
        " DEALLOCATE @c; FETCH NEXT FROM @d INTO @id; PRINT @id"
    )
    assert [m.text for m in infos(replies)] == ["-2", "-1", "1", "3", "2", "3"]
    assert db.error("DECLARE @c CURSOR; OPEN @c") == 16950
    db.run("DECLARE c CURSOR GLOBAL FOR SELECT n FROM t WHERE id = 2")
    assert db.rows("DECLARE @v CURSOR; SET @v = c; OPEN @v; FETCH @v; CLOSE c; DEALLOCATE c") == [("b",)]


def test_where_current_of(db: Client) -> None:
    db.run(
        "DECLARE c CURSOR FOR SELECT id, n FROM t FOR UPDATE OF n; DECLARE @i int, @n varchar(5); OPEN c;"
        " FETCH c INTO @i, @n; WHILE @@FETCH_STATUS = 0 BEGIN"
        " IF @i = 2 DELETE FROM t WHERE CURRENT OF c ELSE UPDATE t SET n += '!' WHERE CURRENT OF c;"
        " FETCH c INTO @i, @n END"
    )
    assert db.rows("SELECT id, n FROM t") == [(1, "a!"), (3, "c!")]
    assert db.error("UPDATE t SET n = 'z' WHERE CURRENT OF c") == 16931
    assert db.rows("SELECT CURSOR_STATUS('global', 'c'), CURSOR_STATUS('local', 'c')") == [(1, -3)]
    db.run("CLOSE c")
    assert db.error("DELETE t WHERE CURRENT OF c") == 16917
    db.run("DEALLOCATE c")
    assert db.error("DELETE t WHERE CURRENT OF c") == 16916


def test_rows_without_a_key_are_found_again(db: Client) -> None:
    db.run("DECLARE c CURSOR FOR SELECT x FROM h; OPEN c; FETCH c; FETCH c")
    db.run("UPDATE h SET x = x + 10 WHERE CURRENT OF c")
    assert db.rows("SELECT x FROM h ORDER BY x") == [(1,), (12,)]
    assert db.error("UPDATE t SET n = 'q' WHERE CURRENT OF c") == 16933
    db.run("CLOSE c; DEALLOCATE c")


@pytest.mark.parametrize("query", ["SELECT COUNT(*) FROM t", "SELECT DISTINCT n FROM t"])
def test_read_only_cursors(db: Client, query: str) -> None:
    db.run(f"DECLARE c CURSOR FOR {query}; OPEN c; FETCH c")
    assert db.error("DELETE t WHERE CURRENT OF c") == 16929
    db.run("DEALLOCATE c; DECLARE c CURSOR STATIC FOR SELECT id FROM t; OPEN c; FETCH c")
    assert db.error("DELETE t WHERE CURRENT OF c") == 16929
    db.run("DEALLOCATE c")


def test_a_cursor_without_rows(db: Client) -> None:
    assert db.rows(
        "DECLARE c CURSOR LOCAL FOR SELECT id, n FROM t WHERE id > 9; OPEN c; DECLARE @i int, @n varchar(5);"
        " FETCH c INTO @i, @n; SELECT @@FETCH_STATUS, @@CURSOR_ROWS, CURSOR_STATUS('local', 'c')"
    ) == [(-1, 0, 0)]


def test_functions_of_nesting_and_counts(db: Client) -> None:
    db.run("CREATE TRIGGER g ON t FOR DELETE AS PRINT CONCAT(TRIGGER_NESTLEVEL(), ' ', ROWCOUNT_BIG())")
    assert [m.text for m in infos(db.replies("DELETE t; PRINT TRIGGER_NESTLEVEL()"))] == ["1 3", "0"]

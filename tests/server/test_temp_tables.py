"""#tables and table variables."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.server.bench import Bench
from tests.server.bench_fixture import bench
from tests.server.support import Client, errors, rows

__all__ = ["bench"]


def test_a_temp_table_lives_with_the_session(bench: Bench) -> None:
    bench.ok("CREATE TABLE #t(id int IDENTITY(1,1) PRIMARY KEY, code varchar(10) NOT NULL UNIQUE)")
    bench.ok("INSERT #t(code) VALUES ('a')")
    assert bench.query("SELECT #t.id FROM tempdb..#t WHERE code = 'A'") == [(1,)]
    number, text = bench.error("INSERT #t(code) VALUES ('a')")
    assert number == 2627
    assert "in object 'dbo.#t'" in text
    assert bench.error("CREATE TABLE #t(a int)")[0] == 2714
    bench.ok("DROP TABLE #t")
    assert bench.error("SELECT * FROM #t") == (208, "Invalid object name '#t'.")


def test_a_temp_table_of_a_string_ends_with_it(bench: Bench) -> None:
    bench.ok("CREATE TABLE #outer(a int); EXEC('CREATE TABLE #inner(a int); INSERT #outer VALUES (1)')")
    assert bench.query("SELECT a FROM #outer") == [(1,)]
    assert bench.error("SELECT * FROM #inner")[0] == 208


def test_temp_tables_roll_back_and_table_variables_do_not(bench: Bench) -> None:
    rows = bench.query(
        "CREATE TABLE #t(a int); DECLARE @v TABLE(id int IDENTITY, a int); BEGIN TRAN;"
        " INSERT #t VALUES (1); INSERT @v(a) VALUES (1); ROLLBACK; INSERT @v(a) VALUES (2);"
        " SELECT (SELECT COUNT(*) FROM #t), id, a FROM @v ORDER BY id"
    )
    assert rows == [(0, 1, 1), (0, 2, 2)]


def test_table_variables_have_constraints_and_end_with_the_batch(bench: Bench) -> None:
    answer = bench.run(
        "DECLARE @t TABLE(id int PRIMARY KEY, q int CHECK (q > 0) DEFAULT 5); INSERT @t(id) VALUES (1);"
        " INSERT @t(id) VALUES (1); INSERT @t VALUES (2, 0); SELECT id, q FROM @t"
    )
    assert [number for number, _ in answer.errors] == [2627, 547]
    assert answer.rows == [(1, 5)]
    assert bench.error("SELECT * FROM @t")[0] == 1087


def test_select_into_a_temp_table(bench: Bench) -> None:
    assert bench.query("SELECT 1 AS a, 'x' AS b INTO #s; SELECT * FROM #s") == [(1, "x")]


def test_global_temp_tables_are_shared_and_end_with_their_maker(tmp_path: Path) -> None:
    first, second = Bench(tmp_path, "master"), Bench(tmp_path, "master")
    first.ok("CREATE TABLE ##g(id int NOT NULL); INSERT ##g VALUES (1)")
    second.ok("INSERT tempdb..##g VALUES (2)")
    assert first.query("SELECT id FROM ##g ORDER BY id") == [(1,), (2,)]
    assert second.error("CREATE TABLE ##g(id int)")[0] == 2714
    first.close()
    assert second.error("SELECT * FROM ##g")[0] == 208
    second.close()


@pytest.mark.parametrize(
    "text",
    [
        "SELECT 1 AS first; CREATE TABLE #d (a int); CREATE TABLE #D (a int)",
        "IF 1 = 0 CREATE TABLE #d (a int) ELSE SELECT 1 AS a INTO #d",
    ],
)
def test_a_batch_makes_a_temporary_table_once(sa: Client, text: str) -> None:
    replies = sa.replies(text)
    assert [(m.number, m.severity, m.state) for m in errors(replies)] == [(2714, 16, 1)]
    assert rows(replies) == []
    assert sa.value("SELECT OBJECT_ID('tempdb..#d')") is None


def test_a_table_variable_of_a_branch_not_taken(sa: Client) -> None:
    text = "IF 1 = 0 BEGIN DECLARE @t TABLE (id int) END; INSERT @t VALUES (7); SELECT id FROM @t"
    assert sa.rows(text) == [(7,)]
    assert sa.rows(f"EXEC ('{text}')") == [(7,)]


def test_a_table_variable_keeps_its_rows_in_a_loop(sa: Client) -> None:
    loop = "WHILE @i < 3 BEGIN DECLARE @t TABLE (i int); INSERT @t VALUES (@i); SET @i += 1 END"
    assert sa.rows(f"DECLARE @i int = 0; {loop}; SELECT i FROM @t ORDER BY i") == [(0,), (1,), (2,)]

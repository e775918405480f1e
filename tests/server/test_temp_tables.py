"""#tables and table variables."""

from __future__ import annotations

from pathlib import Path

from tests.server.bench import Bench
from tests.server.bench_fixture import bench

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

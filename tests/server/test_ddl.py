"""CREATE, ALTER, DROP."""

from __future__ import annotations

import pytest

from tdsproxy.tsql.replies import Command
from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


def test_create_and_drop_answer_with_their_commands(bench: Bench) -> None:
    answer = bench.ok(
        "CREATE TABLE t(a int); CREATE INDEX i ON t(a); DROP INDEX i ON t; ALTER TABLE t ADD b int;"
        " TRUNCATE TABLE t; DROP TABLE t"
    )
    assert [done.command for done in answer.done] == [
        Command.CREATE_TABLE,
        Command.CREATE_INDEX,
        Command.DROP_INDEX,
        Command.ALTER_TABLE,
        Command.TRUNCATE_TABLE,
        Command.DROP_TABLE,
    ]


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        ("CREATE TABLE t(a int)", 2714),
        ("CREATE TABLE x(a int, A int)", 2705),
        ("CREATE TABLE x(a int IDENTITY, b int IDENTITY)", 2744),
        ("CREATE TABLE x(a varchar(5) IDENTITY)", 2749),
        ("CREATE TABLE x(a int PRIMARY KEY, b int PRIMARY KEY)", 8110),
        ("CREATE TABLE nope.x(a int)", 2760),
        ("CREATE TABLE x(a int REFERENCES nope(id))", 1767),
        ("CREATE TABLE x(a int REFERENCES t(v))", 1776),
        ("CREATE TABLE x(a bigint REFERENCES t(id))", 1778),
        ("CREATE TABLE x(a int CHECK (b > 1))", 207),
        ("DROP TABLE nope", 3701),
        ("DROP VIEW nope", 3701),
        ("DROP TABLE p", 3726),
        ("ALTER TABLE nope ADD a int", 4902),
        ("ALTER TABLE t ADD v int", 2705),
        ("ALTER TABLE t DROP COLUMN nope", 4924),
        ("ALTER TABLE t DROP COLUMN id", 5074),
        ("ALTER TABLE t DROP CONSTRAINT nope", 3728),
        ("ALTER TABLE t ADD n int NOT NULL", 4901),
        ("CREATE INDEX i ON nope(a)", 1088),
        ("CREATE INDEX i ON t(nope)", 1911),
        ("CREATE VIEW v AS SELECT 1", 8155),
        ("CREATE VIEW v AS SELECT nope FROM t", 207),
        ("CREATE SCHEMA dbo", 2714),
        ("CREATE TABLE x(a nvarchar(5) COLLATE Nonsense)", 448),
        ("CREATE TABLE x(a int COLLATE Latin1_General_CI_AS)", 447),
    ],
)
def test_refusals(bench: Bench, statement: str, number: int) -> None:
    bench.ok(
        "CREATE TABLE p(id int PRIMARY KEY);"
        "CREATE TABLE t(id int PRIMARY KEY, v varchar(5), pid int REFERENCES p(id)); INSERT t(id) VALUES (1)"
    )
    assert bench.error(statement)[0] == number
    assert bench.query("SELECT id FROM t") == [(1,)]


def test_drop_if_exists(bench: Bench) -> None:
    bench.ok("DROP TABLE IF EXISTS a, b; CREATE TABLE a(x int); DROP TABLE IF EXISTS a")
    assert bench.error("SELECT * FROM a")[0] == 208


def test_schemas_hold_tables_of_the_same_name(bench: Bench) -> None:
    bench.ok("CREATE SCHEMA s")
    bench.ok("CREATE TABLE s.t(a int); CREATE TABLE t(a int); INSERT s.t VALUES (1); INSERT t VALUES (2)")
    assert bench.query("SELECT a FROM s.t") == [(1,)]
    assert bench.query("SELECT t.a FROM dbo.t JOIN s.t x ON x.a = t.a - 1") == [(2,)]
    assert bench.error("DROP SCHEMA s")[0] == 3729
    bench.ok("DROP TABLE s.t; DROP SCHEMA s")


def test_add_columns_to_a_full_table(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(id int IDENTITY PRIMARY KEY, a varchar(5)); INSERT t(a) VALUES ('x'), ('y')")
    bench.ok("DELETE t WHERE id = 2; ALTER TABLE t ADD b int NULL, c int NOT NULL CONSTRAINT DF_c DEFAULT 7")
    assert bench.query("SELECT id, a, b, c FROM t") == [(1, "x", None, 7)]
    bench.ok("INSERT t(a) VALUES ('z')")
    assert bench.query("SELECT id, c FROM t WHERE a = 'z'") == [(3, 7)]
    bench.ok("CREATE TABLE h(a int); INSERT h VALUES (5), (6); ALTER TABLE h ADD id int IDENTITY(100, 10)")
    bench.ok("INSERT h VALUES (7)")
    assert bench.query("SELECT a, id FROM h ORDER BY a") == [(5, 100), (6, 110), (7, 120)]


def test_alter_and_drop_columns(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(id int PRIMARY KEY, n varchar(10) NULL, x int); INSERT t VALUES (1, '12', 5)")
    bench.ok("CREATE INDEX ix ON t(x); ALTER TABLE t ALTER COLUMN n int NOT NULL")
    answer = bench.ok("SELECT n + 1 AS m, n FROM t")
    assert answer.rows == [(13, 12)]
    assert answer.types[1] == "n int"
    assert bench.error("ALTER TABLE t DROP COLUMN x")[0] == 5074
    bench.ok("DROP INDEX ix ON t; ALTER TABLE t DROP COLUMN x")
    assert bench.ok("SELECT * FROM t").types == ["id int", "n int"]
    assert bench.error("ALTER TABLE t ALTER COLUMN n tinyint NOT NULL; UPDATE t SET n = 256")[0] == 220


def test_constraints_added_to_full_tables(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE p(id int NOT NULL); CREATE TABLE c(pid int); INSERT p VALUES (1), (2);"
        "INSERT c VALUES (1), (3); ALTER TABLE p ADD CONSTRAINT PK_p PRIMARY KEY (id)"
    )
    failing = "ALTER TABLE c ADD CONSTRAINT FK_c FOREIGN KEY (pid) REFERENCES p(id)"
    assert bench.error(failing) == (
        547,
        'The ALTER TABLE statement conflicted with the FOREIGN KEY constraint "FK_c". The conflict occurred'
        ' in database "db", table "dbo.p", column \'id\'.',
    )
    bench.ok("DELETE c WHERE pid = 3")
    bench.ok(failing)
    assert bench.error("INSERT c VALUES (9)")[0] == 547
    assert bench.error("ALTER TABLE p ADD CONSTRAINT CK CHECK (id > 1)")[0] == 547
    bench.ok("ALTER TABLE p ADD CONSTRAINT CK CHECK (id > 0)")
    assert bench.error("INSERT p VALUES (0)")[0] == 547
    assert bench.error("ALTER TABLE p DROP CONSTRAINT PK_p")[0] == 3725
    bench.ok("ALTER TABLE c DROP CONSTRAINT FK_c; ALTER TABLE p DROP CONSTRAINT CK; INSERT p VALUES (0)")
    bench.ok("INSERT c VALUES (77)")


def test_rebuilding_a_parent_keeps_its_children(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE p(id int PRIMARY KEY, a int);"
        "CREATE TABLE c(pid int REFERENCES p(id) ON DELETE CASCADE);"
        "INSERT p VALUES (1, 1), (2, 2); INSERT c VALUES (1), (2);"
        "BEGIN TRAN; ALTER TABLE p DROP COLUMN a; COMMIT"
    )
    assert bench.query("SELECT pid FROM c ORDER BY pid") == [(1,), (2,)]
    bench.ok("DELETE p WHERE id = 1")
    assert bench.query("SELECT pid FROM c") == [(2,)]
    assert bench.error("INSERT c VALUES (5)")[0] == 547


def test_disabled_constraints_are_not_checked(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE t(a int CONSTRAINT CK CHECK (a > 0)); ALTER TABLE t NOCHECK CONSTRAINT CK;"
        "INSERT t VALUES (0)"
    )
    bench.ok("ALTER TABLE t CHECK CONSTRAINT CK")
    assert bench.error("INSERT t VALUES (-1)")[0] == 547


def test_computed_columns(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE t(a int NOT NULL, b AS a * 2, c AS ('n' + CAST(a AS varchar(5))) PERSISTED);"
        "INSERT t VALUES (4)"
    )
    answer = bench.ok("SELECT * FROM t WHERE b = 8")
    assert answer.rows == [(4, 8, "n4")]
    assert bench.error("UPDATE t SET b = 1")[0] == 271
    assert bench.error("INSERT t(a, b) VALUES (1, 2)")[0] == 271


def test_ddl_is_undone_with_its_transaction(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a int); BEGIN TRAN; CREATE TABLE u(a int); DROP TABLE t; ROLLBACK")
    assert bench.query("SELECT COUNT(*) FROM t") == [(0,)]
    assert bench.error("SELECT * FROM u")[0] == 208
    bench.ok("CREATE TABLE u(b varchar(3))")
    assert bench.ok("SELECT * FROM u").types == ["b varchar(3) null"]


def test_index_names_are_per_table(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE a(x int); CREATE TABLE b(x int); CREATE INDEX ix ON a(x); CREATE INDEX ix ON b(x DESC)"
    )
    assert bench.error("CREATE INDEX ix ON a(x)")[0] == 1913
    bench.ok("DROP INDEX ix ON b; CREATE INDEX ix ON b(x)")


def test_a_unique_index_refuses_existing_duplicates(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a varchar(10)); INSERT t VALUES ('Red'), ('RED')")
    assert bench.error("CREATE UNIQUE INDEX ux ON t(a)")[0] == 1505


@pytest.mark.parametrize(
    ("statement", "number"),
    [
        (
            "CREATE TABLE t(i int PRIMARY KEY, a datetime2 GENERATED ALWAYS AS ROW START NOT NULL,"
            " b datetime2 GENERATED ALWAYS AS ROW END NOT NULL, PERIOD FOR SYSTEM_TIME (a, b))"
            " WITH (SYSTEM_VERSIONING = ON)",
            40510,
        ),
        ("CREATE TABLE v(i int); EXEC('SELECT * FROM v FOR SYSTEM_TIME ALL')", 13544),
    ],
)
def test_tables_with_versions_are_refused(bench: Bench, statement: str, number: int) -> None:
    """One that is taken, and keeps no versions, would lose what it was to keep."""
    assert [found for found, _ in bench.run(statement).errors] == [number]

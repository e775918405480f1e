"""What is read of a database: our own tables, and files that other tools made."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


def plain_sqlite(path: Path, *statements: str) -> list[str]:
    """Runs statements in another process with Python's own SQLite; the rows of each as text."""
    script = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1])\n"
        "for s in sys.argv[2:]:\n"
        "    print(c.execute(s).fetchall())\n"
        "    c.commit()\n"
        "c.close()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(path), *statements],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout.splitlines()


def test_objects_are_described(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE p(id int IDENTITY(5, 1) NOT NULL CONSTRAINT PK_p PRIMARY KEY, name nvarchar(20)"
        " NOT NULL CONSTRAINT UQ_n UNIQUE, q money CONSTRAINT DF_q DEFAULT 1.5"
        " CONSTRAINT CK_q CHECK (q > 0));"
        "CREATE TABLE c(pid int CONSTRAINT FK_c REFERENCES p(id) ON DELETE CASCADE);"
        "CREATE INDEX ix ON c(pid DESC)"
    )
    bench.ok("CREATE VIEW v AS SELECT id FROM p")
    objects = bench.evaluator.objects("db")
    table = objects.table("dbo", "P")
    assert table is not None
    assert [(c.name, str(c.type), c.nullable) for c in table.columns] == [
        ("id", "int", False),
        ("name", "nvarchar(20)", False),
        ("q", "money", True),
    ]
    assert table.identity_column is not None
    assert table.identity_column.identity is not None
    assert table.identity_column.identity.seed == 5
    assert {item.name for item in table.constraints()} == {"PK_p", "UQ_n", "DF_q", "CK_q"}
    assert [number for number, _ in table.numbered_indexes] == [1, 2]
    child = objects.table("dbo", "c")
    assert child is not None
    assert child.foreign_keys[0].on_delete == "CASCADE"
    assert child.indexes[0].columns == (("pid", True),)
    module = objects.module("dbo", "v")
    assert module is not None
    assert module.text == "CREATE VIEW v AS SELECT id FROM p"
    assert objects.by_id(table.object_id) is table


def test_any_sqlite_can_open_check_write_and_vacuum_the_file(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE p(id int IDENTITY PRIMARY KEY, name nvarchar(20) NOT NULL UNIQUE DEFAULT N'x',"
        " at datetime DEFAULT GETDATE(), n decimal(20,4) CHECK (n > 0), g uniqueidentifier DEFAULT NEWID(),"
        " u AS UPPER(name), code varchar(5) CHECK (code LIKE '[a-z]%'));"
        "CREATE TABLE c(pid int REFERENCES p(id)); CREATE INDEX ix ON c(pid) WHERE pid IS NOT NULL;"
        "INSERT p(name, n) VALUES (N'é', 1234567890123456.5); INSERT c VALUES (1)"
    )
    bench.ok("CREATE VIEW v AS SELECT UPPER(name) AS n FROM p")
    rows = plain_sqlite(
        bench.directory / "db.db",
        "PRAGMA integrity_check",
        "PRAGMA foreign_key_check",
        "INSERT INTO p(name) VALUES ('plain')",
        "SELECT id, name, at IS NOT NULL FROM p WHERE name = 'PLAIN'",
        "VACUUM",
    )
    assert rows == ["[('ok',)]", "[]", "[]", "[(2, 'plain', 1)]", "[]"]
    assert bench.query("SELECT id, u FROM p WHERE id = 2") == [(2, "PLAIN")]
    bench.ok("INSERT p(name) VALUES (N'after')")
    assert bench.query("SELECT id FROM p WHERE name = 'after'") == [(3,)]


def test_foreign_files_are_read_by_their_declared_types(tmp_path: Path) -> None:
    plain_sqlite(
        tmp_path / "db.db",
        "CREATE TABLE a(id INTEGER PRIMARY KEY, name VARCHAR(30) NOT NULL, x REAL, y BLOB, z WHATEVER)",
        "CREATE TABLE b(k TEXT, j INTEGER, aid INTEGER REFERENCES a, PRIMARY KEY (k, j)) WITHOUT ROWID",
        "CREATE UNIQUE INDEX ua ON a(name)",
        "CREATE VIEW v AS SELECT id, name FROM a",
        "INSERT INTO a(name, x) VALUES ('first', 1.5)",
        "INSERT INTO b VALUES ('k', 1, 1)",
    )
    bench = Bench(tmp_path)
    answer = bench.ok("SELECT * FROM a")
    assert answer.types == [
        "id bigint",
        "name varchar(30)",
        "x float null",
        "y varbinary(max) null",
        "z nvarchar(max) null",
    ]
    bench.ok("INSERT a(name) VALUES ('second'); UPDATE b SET aid = 2, j = 7; INSERT b VALUES ('m', 2, NULL)")
    assert bench.query("SELECT j, aid FROM b ORDER BY k") == [(7, 2), (2, None)]
    assert bench.query("SELECT name FROM v WHERE id = 2") == [("second",)]
    assert bench.error("INSERT a(name) VALUES ('FIRST'), ('first')")[0] == 2601
    assert bench.error("DELETE a WHERE id = 2")[0] == 547
    bench.ok("DELETE b WHERE k = 'm'; ALTER TABLE a ADD extra int NULL")
    assert bench.query("SELECT id, extra FROM a ORDER BY id") == [(1, None), (2, None)]
    bench.close()


def test_a_change_by_another_tool_is_seen(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a int)")
    plain_sqlite(bench.directory / "db.db", "ALTER TABLE t ADD COLUMN b TEXT", "CREATE TABLE u(x INT)")
    assert bench.ok("SELECT * FROM t").types == ["a int null", "b nvarchar(max) null"]
    assert bench.ok("SELECT * FROM u").types == ["x int null"]

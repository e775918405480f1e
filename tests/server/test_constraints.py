"""Keys, checks and foreign keys: the messages, and that a failing statement leaves nothing behind."""

from __future__ import annotations

import pytest

from tests.server.bench import Bench
from tests.server.bench_fixture import bench

__all__ = ["bench"]


@pytest.fixture
def family(bench: Bench) -> Bench:
    bench.ok(
        "CREATE TABLE p(id int NOT NULL CONSTRAINT PK_p PRIMARY KEY, name nvarchar(20) NOT NULL"
        " CONSTRAINT UQ_p UNIQUE, qty int NULL CONSTRAINT CK_qty CHECK (qty > 0),"
        " code varchar(5) NULL CONSTRAINT CK_code CHECK (code LIKE '[a-z]%'));"
        "CREATE TABLE c(id int IDENTITY PRIMARY KEY, pid int NULL CONSTRAINT FK_c REFERENCES p(id),"
        " up int NULL CONSTRAINT FK_up REFERENCES c(id));"
        "INSERT p VALUES (1, N'one', 1, 'a'), (2, N'two', NULL, NULL); INSERT c(pid) VALUES (1)"
    )
    return bench


@pytest.mark.parametrize(
    ("statement", "number", "text"),
    [
        (
            "INSERT p(id, name) VALUES (3, N'three'), (1, N'x')",
            2627,
            "Violation of PRIMARY KEY constraint 'PK_p'. Cannot insert duplicate key in object 'dbo.p'."
            " The duplicate key value is (1).",
        ),
        (
            "INSERT p(id, name) VALUES (3, N'ONE ')",
            2627,
            "Violation of UNIQUE KEY constraint 'UQ_p'. Cannot insert duplicate key in object 'dbo.p'."
            " The duplicate key value is (ONE ).",
        ),
        (
            "INSERT p(id, name, qty) VALUES (3, N'x', 0)",
            547,
            'The INSERT statement conflicted with the CHECK constraint "CK_qty". The conflict occurred in'
            ' database "db", table "dbo.p", column \'qty\'.',
        ),
        (
            "UPDATE p SET code = '9' WHERE id = 1",
            547,
            'The UPDATE statement conflicted with the CHECK constraint "CK_code". The conflict occurred in'
            ' database "db", table "dbo.p", column \'code\'.',
        ),
        (
            "INSERT c(pid) VALUES (1), (99)",
            547,
            'The INSERT statement conflicted with the FOREIGN KEY constraint "FK_c". The conflict occurred in'
            ' database "db", table "dbo.p", column \'id\'.',
        ),
        (
            "DELETE p",
            547,
            'The DELETE statement conflicted with the REFERENCE constraint "FK_c". The conflict occurred in'
            ' database "db", table "dbo.c", column \'pid\'.',
        ),
        (
            "UPDATE p SET name = NULL",
            515,
            "Cannot insert the value NULL into column 'name', table 'db.dbo.p'; column does not allow nulls."
            " UPDATE fails.",
        ),
        (
            "INSERT p(id) VALUES (3)",
            515,
            "Cannot insert the value NULL into column 'name', table 'db.dbo.p'; column does not allow nulls."
            " INSERT fails.",
        ),
    ],
)
def test_violations(family: Bench, statement: str, number: int, text: str) -> None:
    answer = family.run(statement)
    assert answer.errors == [(number, text)]
    assert answer.messages[-1].number == 3621
    assert family.query("SELECT COUNT(*) FROM p") == [(2,)]
    assert family.query("SELECT COUNT(*) FROM c") == [(1,)]
    assert family.query("SELECT name FROM p ORDER BY id") == [("one",), ("two",)]


def test_foreign_keys_are_checked_when_the_statement_ends(family: Bench) -> None:
    # the first row refers to the second
    family.ok(
        "SET IDENTITY_INSERT c ON; INSERT c(id, up) VALUES (50, 51), (51, 50); SET IDENTITY_INSERT c OFF"
    )
    family.ok("DELETE c WHERE id >= 50")
    assert family.query("SELECT COUNT(*) FROM c") == [(1,)]


def test_unique_keys_hold_nulls_equal_and_know_case_beyond_ascii(bench: Bench) -> None:
    bench.ok("CREATE TABLE t(a nvarchar(10) NULL UNIQUE, b int NULL); INSERT t VALUES (N'É', 1), (NULL, 1)")
    assert bench.error("INSERT t VALUES (N'é', 2)")[0] == 2627
    assert "(<NULL>)" in bench.error("INSERT t VALUES (NULL, 2)")[1]
    bench.ok("CREATE UNIQUE INDEX ux ON t(b, a)")
    assert bench.error("UPDATE t SET a = N'é  ' WHERE a IS NULL")[0] == 2627
    bench.ok("DELETE t; INSERT t VALUES (N'x', NULL)")
    assert bench.error("CREATE UNIQUE INDEX uy ON t(b); INSERT t VALUES (N'y', NULL)") == (
        2601,
        "Cannot insert duplicate key row in object 'dbo.t' with unique index 'uy'. The duplicate key value is"
        " (<NULL>).",
    )


def test_cascades(bench: Bench) -> None:
    bench.ok(
        "CREATE TABLE p(id int PRIMARY KEY);"
        "CREATE TABLE c(id int PRIMARY KEY, pid int REFERENCES p(id) ON DELETE CASCADE ON UPDATE CASCADE);"
        "CREATE TABLE n(id int PRIMARY KEY, pid int REFERENCES p(id) ON DELETE SET NULL);"
        "INSERT p VALUES (1), (2); INSERT c VALUES (1, 1), (2, 2); INSERT n VALUES (1, 1)"
    )
    bench.ok("UPDATE p SET id = 20 WHERE id = 2; DELETE p WHERE id = 1")
    assert bench.query("SELECT id, pid FROM c") == [(2, 20)]
    assert bench.query("SELECT id, pid FROM n") == [(1, None)]


def test_a_failure_inside_a_transaction_leaves_the_rest(family: Bench) -> None:
    answer = family.run(
        "BEGIN TRAN; INSERT p(id, name) VALUES (5, N'five'); INSERT p(id, name) VALUES (1, N'dup');"
        " INSERT p(id, name) VALUES (6, N'six'); COMMIT"
    )
    assert [number for number, _ in answer.errors] == [2627]
    assert family.query("SELECT id FROM p ORDER BY id") == [(1,), (2,), (5,), (6,)]

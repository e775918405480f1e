"""Table-valued parameters, sent by pytds: to procedures and to parameterized statements."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytds
import pytest
from pytds import tds_types
from pytds.tds_base import Column

from tests.running import Running

COLUMNS = [
    Column("id", type=tds_types.IntType()),
    Column("v", type=tds_types.NVarCharType(size=10)),
    Column("d", type=tds_types.DecimalType(precision=9, scale=2)),
]


def table(rows: list[Any], name: str = "dbo.tt", columns: int = 3) -> Any:
    return pytds.TableValuedParam(name, COLUMNS[:columns], rows)


@pytest.fixture(scope="module")
def cursor(served: Running) -> Iterator[Any]:
    with served.connect() as connection, connection.cursor() as made:
        made.execute("CREATE DATABASE table_parameters")
        made.execute("USE table_parameters")
        made.execute(
            "CREATE TYPE dbo.tt AS TABLE(id int PRIMARY KEY, v varchar(10) DEFAULT 'none',"
            " d decimal(9, 2) CHECK (d > 0))"
        )
        made.execute(
            "CREATE PROCEDURE p @t dbo.tt READONLY, @n int AS"
            " BEGIN SELECT id + @n, v, d FROM @t ORDER BY 1; RETURN (SELECT COUNT(*) FROM @t) END"
        )
        yield made


def test_a_procedure_gets_the_rows(cursor: Any) -> None:
    cursor.callproc("p", (table([(2, "ü", Decimal("1.50")), (1, None, None)]), 10))
    assert cursor.fetchall() == [(11, None, None), (12, "ü", Decimal("1.50"))]
    assert cursor.get_proc_return_status() == 2
    cursor.callproc("p", (table([]), 10))
    assert cursor.fetchall() == []


def test_a_statement_gets_many(cursor: Any) -> None:
    cursor.execute("CREATE TABLE taken(id int, v varchar(10))")
    cursor.execute("INSERT taken SELECT id, v FROM %s", (table([(n, str(n), 1) for n in range(3000)], "tt"),))
    cursor.execute("SELECT COUNT(*), SUM(id), MAX(LEN(v)) FROM taken")
    assert cursor.fetchall() == [(3000, 4498500, 4)]


@pytest.mark.parametrize(
    ("sent", "number"),
    [
        (table([(1, "a", 1), (1, "b", 1)]), 2627),
        (table([(1, "a", -1)]), 547),
        (table([(1, "longer than ten"[:10] + "!", 1)]), 2628),
        (table([(1, "a")], columns=2), 500),
        (table([], "dbo.no_such_type"), 2715),
    ],
)
def test_what_is_refused(cursor: Any, sent: Any, number: int) -> None:
    with pytest.raises(pytds.Error) as caught:
        cursor.callproc("p", (sent, 1))
    assert getattr(caught.value, "number", None) == number
    cursor.callproc("p", (table([(1, "a", 1)]), 1))
    assert len(cursor.fetchall()) == 1


@pytest.mark.parametrize(
    ("body", "number"),
    [
        ("@t dbo.tt READONLY AS INSERT @t(id) VALUES (1)", 10700),
        ("@t dbo.tt READONLY AS IF 1 = 1 UPDATE x SET id = 2 FROM @t x", 10700),
        ("@t dbo.tt READONLY AS DELETE @t", 10700),
        ("@t dbo.tt AS SELECT 1", 352),
        ("@t int READONLY AS SELECT 1", 346),
    ],
)
def test_they_are_read_only(cursor: Any, body: str, number: int) -> None:
    with pytest.raises(pytds.Error) as caught:
        cursor.execute(f"CREATE PROCEDURE refused {body}")
    assert getattr(caught.value, "number", None) == number


def test_a_statement_may_not_write_its_parameter(cursor: Any) -> None:
    with pytest.raises(pytds.Error) as caught:
        cursor.execute("DELETE %s", (table([(1, "a", 1)]),))
    assert getattr(caught.value, "number", None) == 10700

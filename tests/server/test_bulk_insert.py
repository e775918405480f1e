"""BULK INSERT: the files that are read, what of them is refused, and with which numbers."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.server.bulk_file import FileFormat, file_format, rows_of
from tests.server.support import Client, World, errors

TABLE = (
    "CREATE TABLE dbo.t (Id int NOT NULL, Name nvarchar(6) NULL DEFAULT N'none', Price decimal(6, 2) NULL)"
)


@pytest.fixture
def loads(sa: Client, world: World) -> Client:
    sa.run("CREATE DATABASE Loads")
    sa.run("USE Loads")
    sa.run(TABLE)
    return sa


def put(world: World, content: bytes, name: str = "data.csv") -> str:
    directory = world.keeper.store / "backup"
    directory.mkdir(exist_ok=True)
    (directory / name).write_bytes(content)
    return f"/var/opt/mssql/backup/{name}"


def rows(client: Client) -> list[tuple[object, ...]]:
    return [
        tuple(row)
        for row in client.rows("SELECT Id, Name, CAST(Price AS varchar(10)) FROM dbo.t ORDER BY Id")
    ]


@pytest.mark.parametrize(
    ("content", "options", "wanted"),
    [
        (b"1\tAnn\t1.5\n2\tBob\t\n", "", [(1, "Ann", "1.50"), (2, "Bob", None)]),
        (b"1\tAnn\t1.5\r\n2\tBob\t2", "", [(1, "Ann", "1.50"), (2, "Bob", "2.00")]),
        (b"1,A,1|2,B,2|", "FIELDTERMINATOR = ',', ROWTERMINATOR = '|'", [(1, "A", "1.00"), (2, "B", "2.00")]),
        (b"Id;Name;P\n1;Ann;1\n2;Bob;2\n3;Cy;3\n", "FIELDTERMINATOR = ';', FIRSTROW = 2, LASTROW = 3", [
            (1, "Ann", "1.00"),
            (2, "Bob", "2.00"),
        ]),
        (b'1,"A, ""b""",1\r\n2,"x\ny",\r\n', "FORMAT = 'CSV'", [(1, 'A, "b"', "1.00"), (2, "x\ny", None)]),
        (b"1,'a,b',2\n", "FORMAT = 'CSV', FIELDQUOTE = ''''", [(1, "a,b", "2.00")]),
        ("1\tZoë\t1\n".encode(), "CODEPAGE = '65001'", [(1, "Zoë", "1.00")]),
        ("\ufeff1\tZoë\t1\n".encode(), "CODEPAGE = '65001'", [(1, "Zoë", "1.00")]),
        ("1\tZoë\t1\n".encode("cp1252"), "CODEPAGE = 'ACP'", [(1, "Zoë", "1.00")]),
        ("1\tZoë\t1\n".encode("cp850"), "CODEPAGE = '850'", [(1, "Zoë", "1.00")]),
        ("\ufeff1\tZoë\t1\n".encode("utf-16-le"), "DATAFILETYPE = 'widechar'", [(1, "Zoë", "1.00")]),
        (b"1\t\t1\n", "", [(1, "none", "1.00")]),
        (b"1\t\t1\n", "KEEPNULLS, TABLOCK, BATCHSIZE = 5, ORDER (Id ASC)", [(1, None, "1.00")]),
        (b"1\tAnn\t1\n", "ROWTERMINATOR = '0x0a'", [(1, "Ann", "1.00")]),
    ],
)  # fmt: skip
def test_files(
    loads: Client, world: World, content: bytes, options: str, wanted: list[tuple[object, ...]]
) -> None:
    path = put(world, content)
    clause = f" WITH ({options})" if options else ""
    loads.run(f"BULK INSERT dbo.t FROM '{path}'{clause}")
    assert rows(loads) == wanted


@pytest.mark.parametrize(
    ("content", "options", "numbers", "left"),
    [
        (b"1\tAnn\t1\nx\tBob\t2\n3\tCy\t3\n", "", [4864], [1, 3]),
        (b"1\tmuch too long\t1\n2\tBob\t2\n", "", [4863], [2]),
        (b"99999999999\tA\t1\n2\tBob\t2\n", "", [4867], [2]),
        (b"x\tA\t1\n2\tB\t1\n", "MAXERRORS = 0", [4864, 4865, 7399, 7330], []),
        (b"x\tA\t1\n" * 11 + b"2\tB\t1\n", "", [4864] * 11 + [4865, 7399, 7330], []),
        (b"1\tA\n", "", [4832, 7399, 7330], []),
        (b"1,A,1\n2,B\n", "FORMAT = 'CSV'", [4879, 7399, 7330], []),
        (b'1,"A,1\n', "FORMAT = 'CSV'", [4832, 7399, 7330], []),
    ],
)
def test_files_that_are_wrong(
    loads: Client, world: World, content: bytes, options: str, numbers: list[int], left: list[int]
) -> None:
    path = put(world, content)
    clause = f" WITH ({options})" if options else ""
    found = errors(loads.replies(f"BULK INSERT dbo.t FROM '{path}'{clause}"))
    assert [message.number for message in found] == numbers
    assert [row[0] for row in rows(loads)] == left
    if numbers == [4864]:
        assert found[0].text == (
            "Bulk load data conversion error (type mismatch or invalid character for the specified codepage)"
            " for row 2, column 1 (Id)."
        )


def test_files_that_no_statement_may_name(loads: Client, world: World, tmp_path: Path) -> None:
    outside = tmp_path / "outside.csv"
    outside.write_text("1\tA\t1\n")
    for name in (str(outside), "/var/opt/mssql/backup/none.csv", str(world.keeper.store / "master.db")):
        (message,) = errors(loads.replies(f"BULK INSERT dbo.t FROM '{name}'"))
        assert message.number == 4860
        assert message.text == (
            f'Cannot bulk load. The file "{name}" does not exist or you don\'t have file access rights.'
        )


def test_identity_and_constraints(loads: Client, world: World) -> None:
    loads.run("CREATE TABLE dbo.k (Id int IDENTITY PRIMARY KEY, n int CHECK (n > 0))")
    path = put(world, b"70\t1\n80\t-2\n")
    loads.run(f"BULK INSERT dbo.k FROM '{path}'")
    assert loads.rows("SELECT Id, n FROM dbo.k ORDER BY Id") == [(1, 1), (2, -2)]
    loads.run("DELETE FROM dbo.k")
    (message,) = errors(
        loads.replies(f"BULK INSERT dbo.k FROM '{path}' WITH (KEEPIDENTITY, CHECK_CONSTRAINTS)")
    )[:1]
    assert message.number == 547
    assert loads.rows("SELECT Id FROM dbo.k") == []
    put(world, b"70\t1\n")
    loads.run(f"BULK INSERT dbo.k FROM '{path}' WITH (KEEPIDENTITY, CHECK_CONSTRAINTS)")
    assert loads.rows("SELECT Id, n FROM dbo.k") == [(70, 1)]


def test_options_that_are_not_known(loads: Client, world: World) -> None:
    path = put(world, b"")
    (message,) = errors(loads.replies(f"BULK INSERT dbo.t FROM '{path}' WITH (NONSENSE)"))
    assert message.number == 155
    (message,) = errors(loads.replies(f"BULK INSERT dbo.t FROM '{path}' WITH (DATAFILETYPE = 'native')"))
    assert "native" in message.text


def test_rows_over_the_edges_of_what_is_read_at_once(tmp_path: Path) -> None:
    """Fields and terminators may lie across two reads."""
    path = tmp_path / "large.csv"
    field = "x" * 1000
    path.write_text("".join(f'{n},"{field}"\r\n' for n in range(3000)))
    form = file_format({"FORMAT": "CSV", "CODEPAGE": "65001"})
    assert [row.fields for row in rows_of(path, form, 2)] == [(str(n), field) for n in range(3000)]
    path.write_text("".join(f"{n}<|>{field}<#>" for n in range(3000)))
    plain = FileFormat(field_terminator="<|>", row_terminator="<#>")
    assert [row.fields for row in rows_of(path, plain, 2)] == [(str(n), field) for n in range(3000)]

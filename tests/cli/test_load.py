"""``tdsproxy dump --csv`` and ``--json``, and ``load``: what is dumped comes back as it was."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.cli import entry
from tdsproxy.store.table_files import StoredTable, table_of
from tdsproxy.tsql.data_files import DataError, TargetColumn, csv_rows, json_rows, literal
from tests.running import PASSWORD, Running

Command = Callable[..., tuple[int, str, str]]

COLUMNS = """id int IDENTITY(5, 3) PRIMARY KEY, b bit, ti tinyint, si smallint, bi bigint, d decimal(38, 12),
d9 decimal(9, 2), n0 numeric(18, 0), m money, sm smallmoney, f float, r real, c char(5), v varchar(20),
vm varchar(max), nc nchar(5), nv nvarchar(50), nm nvarchar(max), tx text, nt ntext, bn binary(4),
vb varbinary(20), vbm varbinary(max), im image, u uniqueidentifier, dt date, t7 time(7), t0 time(0),
dtm datetime, sd smalldatetime, d2 datetime2(7), d20 datetime2(0), o datetimeoffset(7), sv sql_variant, x xml,
[odd "name, x] nvarchar(9),
twice AS ti * 2, rv rowversion"""

TEXTS = [
    "N''", "N'plain'", "N'it''s \"q\", x'", "N'a' + NCHAR(13) + NCHAR(10) + N'b\\' + NCHAR(10) + N'c'",
    "N' blanks '", "N'Zoë 表 😀'", "N'NULL'", "NCHAR(10)", "NCHAR(13)", "N'\"\"'", "N'0x41'", "NULL",
]  # fmt: skip
VALUES = {
    "b": ["0", "1", "NULL"],
    "ti": ["0", "100", "NULL"],
    "si": ["-32768", "32767", "NULL"],
    "bi": ["-9223372036854775808", "9223372036854775807", "NULL"],
    "d": [
        "12345678901234567890123456.123456789012",
        "-99999999999999999999999999.999999999999",
        "0",
        "-0.000000000001",
        "NULL",
    ],
    "d9": ["-1234567.89", "0.1", "NULL"],
    "n0": ["999999999999999999", "-1", "NULL"],
    "m": ["922337203685477.5807", "-922337203685477.5808", "0.0001", "NULL"],
    "sm": ["-214748.3648", "1.5", "NULL"],
    "f": ["1.7976931348623157e308", "-2.2250738585072014e-308", "0.1", "1e22", "3", "NULL"],
    "r": ["0.1", "3.4028235e38", "-1.5", "NULL"],
    **dict.fromkeys(("nv", "nm", "nt"), TEXTS),
    **{key: [text for text in TEXTS if "表" not in text] for key in ("v", "vm", "tx")},
    "c": ["'ab'", "''", "'a,b'", "NULL"],
    "nc": ["N'表'", "N''", "NULL"],
    "bn": ["0x00", "0xFFFEFDFC", "NULL"],
    **{key: ["0x", "0x00FF0A0D22", "NULL"] for key in ("vb", "vbm", "im")},
    "u": ["'6F9619FF-8B86-D011-B42D-00C04FC964FF'", "NULL"],
    "dt": ["'0001-01-01'", "'9999-12-31'", "'2024-02-29'", "NULL"],
    "t7": ["'23:59:59.9999999'", "'00:00:00'", "NULL"],
    "t0": ["'12:34:56'", "NULL"],
    "dtm": ["'1753-01-01T00:00:00'", "'9999-12-31T23:59:59.997'", "'2024-03-04T05:06:07.003'", "NULL"],
    "sd": ["'2079-06-06T23:59:00'", "'1900-01-01T00:00:00'", "NULL"],
    "d2": ["'9999-12-31T23:59:59.9999999'", "'0001-01-01T00:00:00.0000001'", "NULL"],
    "d20": ["'2024-03-04T05:06:07'", "NULL"],
    "o": ["'2024-03-04 05:06:07.1234567 +05:30'", "'2024-03-04 05:06:07 -14:00'", "NULL"],
    "sv": [
        "CAST(-123.4 AS decimal(4, 1))",
        "CAST(-1.5 AS decimal(38, 10))",
        "CAST(-1.25 AS money)",
        "0xFF00",
        "0x",
        "N''",
        "N'0x'",
        "'a|b'",
        "1",
        "CAST('2024-03-04T05:06:07' AS datetime2(3))",
        "NULL",
    ],
    "x": ["N'<a b=\"1\">t &amp; é</a>'", "NULL"],
    '[odd "name, x]': ["N'odd'", "N''", "NULL"],
}
ROWS = 40


@pytest.fixture(scope="module")
def source(served: Running) -> str:
    """A database with a table of all types, and two that refer to each other's order."""
    chosen = random.Random(8)
    names = list(VALUES)
    rows = [f"({', '.join(chosen.choice(VALUES[name]) for name in names)})" for _ in range(ROWS)]
    # Each value at least once.
    for place in range(max(map(len, VALUES.values()))):
        rows.append(f"({', '.join(found[place % len(found)] for found in VALUES.values())})")
    with served.connect() as connection, connection.cursor() as cursor:
        make_database(cursor, "load_source")
        for row in rows:  # one by one: rows of one VALUES share their types
            cursor.execute(f"INSERT INTO dbo.[all types] ({', '.join(names)}) VALUES {row}")
        cursor.execute("INSERT INTO [s p].parent VALUES (N'k''1')")
        cursor.execute("INSERT INTO dbo.child VALUES (1, N'k''1'), (2, NULL)")
        cursor.execute("INSERT INTO dbo.lone VALUES (NULL), (N''), (N'x')")
    return "load_source"


def make_database(cursor: Any, name: str) -> None:
    cursor.execute(f"CREATE DATABASE {name}")
    cursor.execute(f"USE {name}")
    cursor.execute(f"CREATE TABLE dbo.[all types] ({COLUMNS})")
    cursor.execute("CREATE SCHEMA [s p]")
    cursor.execute("CREATE TABLE [s p].parent (k nvarchar(5) PRIMARY KEY)")
    cursor.execute("CREATE TABLE dbo.child (id int, k nvarchar(5) NULL REFERENCES [s p].parent (k))")
    cursor.execute("CREATE TABLE dbo.lone (a nvarchar(5) NULL)")
    cursor.execute("CREATE TABLE dbo.empty (a int)")


@pytest.fixture
def tdsproxy(
    served: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TDSPROXY_SA_PASSWORD", PASSWORD)
    monkeypatch.setenv("TDSPROXY_STORE", str(served.store))

    def run(verb: str, *words: str) -> tuple[int, str, str]:
        more = ["-S", f"{served.host}:{served.port}"] if verb == "load" else ["--store", str(served.store)]
        status = 0
        try:
            entry.run([verb, *words, *more])
        except SystemExit as ended:
            status = int(ended.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


@pytest.mark.parametrize(("option", "ending"), [("--csv", "csv"), ("--json", "jsonl")])
def test_what_is_dumped_is_loaded_as_it_was(
    served: Running, source: str, tdsproxy: Command, tmp_path: Path, option: str, ending: str
) -> None:
    status, out, err = tdsproxy("dump", source, option, "out")
    assert (status, out, err) == (0, "", "")
    files = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert files == [f"{name}.{ending}" for name in
                     ("dbo.all types", "dbo.child", "dbo.empty", "dbo.lone", "s p.parent")]  # fmt: skip
    target = f"load_{ending}"
    with served.connect() as connection, connection.cursor() as cursor:
        make_database(cursor, target)
        status, out, err = tdsproxy("load", target, *(f"out/{name}" for name in files))
        assert (status, err) == (0, "")
        assert "2 rows into dbo.child." in out.splitlines()
        assert "1 row into s p.parent." in out.splitlines()
        names = [name.strip() for name in ("id", *VALUES, "twice")]
        both = []
        for database in (source, target):
            listed = ", ".join(f"CAST({n} AS nvarchar(max)) AS {n}" if n == "x" else n for n in names)
            cursor.execute(f"SELECT {listed} FROM {database}.dbo.[all types] ORDER BY id")
            found = [tuple(row) for row in cursor.fetchall()]
            cursor.execute(f"SELECT a FROM {database}.dbo.lone ORDER BY a")
            found += [tuple(row) for row in cursor.fetchall()]
            both.append(found)
        assert both[0] == both[1]
        assert len(both[0]) > ROWS
    again, _, err = tdsproxy("dump", target, option, "again")
    assert (again, err) == (0, "")
    for name in files:
        first, second = ((tmp_path / folder / name).read_bytes() for folder in ("out", "again"))
        if "all types" not in name:  # it has a rowversion, which is new
            assert first == second


def test_nothing_is_loaded_when_a_row_is_wrong(
    served: Running, source: str, tdsproxy: Command, tmp_path: Path
) -> None:
    (tmp_path / "dbo.child.csv").write_text("id,k\n7,\n8,\nx,\n")
    (tmp_path / "dbo.lone.csv").write_text("a\nnew\n")
    status, out, err = tdsproxy("load", source, "dbo.lone.csv", "dbo.child.csv")
    assert (status, out) == (1, "")
    assert err == (
        "tdsproxy: dbo.child.csv, lines 2 to 4: Conversion failed when converting the nvarchar value 'x' to"
        " data type int. (Msg 245)\n"
    )
    with served.connect() as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {source}.dbo.lone WHERE a = N'new'")
        assert cursor.fetchone()[0] == 0


@pytest.mark.parametrize(
    ("name", "content", "status", "said"),
    [
        ("dbo.none.csv", b"a\n1\n", 1, "There is no table 'dbo.none'."),
        ("dbo.lone.csv", b"b\n1\n", 1, "dbo.lone.csv, line 2: The table has no column 'b'."),
        ("dbo.lone.csv", b'a\n"x\n', 1, "dbo.lone.csv, line 2: A quotation does not end."),
        ("dbo.lone.csv", b"a\nx,y\n", 1, "dbo.lone.csv, line 2: There are 2 fields, but the header has 1."),
        ("dbo.lone.csv", b"a\n\xff\n", 1, "'dbo.lone.csv' can't be read: it is not UTF-8."),
        ("dbo.lone.jsonl", b'{"a": 1}\n[]\n', 1, "dbo.lone.jsonl, line 2: This is not a JSON object."),
        ("dbo.lone.txt", b"", 2, "'dbo.lone.txt' is neither .csv nor .jsonl."),
    ],
)
def test_files_that_are_wrong(
    source: str, tdsproxy: Command, tmp_path: Path, name: str, content: bytes, status: int, said: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert tdsproxy("load", source, name) == (status, "", f"tdsproxy: {said}\n")


def test_files_are_not_written_over(source: str, tdsproxy: Command, tmp_path: Path) -> None:
    assert tdsproxy("dump", source, "--csv", "here")[0] == 0
    status, _, err = tdsproxy("dump", source, "--csv", "here")
    assert (status, err) == (1, "tdsproxy: 'here/dbo.all types.csv' exists already.\n")
    assert tdsproxy("dump", source, "--csv", "a", "--json", "b")[0] == 2


@pytest.mark.parametrize("pair", [("dbo", "a"), ("s.t", "a"), ("dbo", "a/b%."), ("é", "x y")])
def test_names_of_files_lead_back_to_tables(pair: tuple[str, str]) -> None:
    schema, name = pair
    if "." not in schema:
        stem = StoredTable(name if schema == "dbo" and "." not in name else f"{schema}.{name}", ()).stem
        assert "/" not in stem
        assert table_of(stem) == pair
    else:
        assert table_of("s%2Et.a") == pair


def test_rows_know_their_lines() -> None:
    rows = list(csv_rows(io.StringIO('a,b\r\n"x\n""y""",\r\n\n1,""\n', newline="\n")))
    assert [(row.line, row.values) for row in rows] == [(2, ('x\n"y"', None)), (5, ("1", ""))]
    assert [row.values for row in csv_rows(io.StringIO("a\n\nx"))] == [(None,), ("x",)]
    found = list(json_rows(['{"a": 1.10, "b": null}', "", '{"a": true, "b": "t"}']))
    assert [(row.line, row.values) for row in found] == [(1, ("1.10", None)), (3, ("1", "t"))]
    with pytest.raises(DataError):
        list(json_rows(['{"a": NaN}']))


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("decimal(4,1)|-123.4", "CAST(CAST(N'-123.4' AS decimal(4,1)) AS sql_variant)"),
        ("varbinary(3)|0xFF00", "CAST(CAST(0xFF00 AS varbinary(3)) AS sql_variant)"),
        (
            "varbinary(3)|0xF); DROP TABLE t --",
            "CAST(CAST(N'0xF); DROP TABLE t --' AS varbinary(3)) AS sql_variant)",
        ),
        (
            "datetime2(3)|2024-03-04 05:06:07",
            "CAST(CAST(N'2024-03-04 05:06:07' AS datetime2(3)) AS sql_variant)",
        ),
        ("int(1)) AS x)); DROP TABLE t --|1", "N'int(1)) AS x)); DROP TABLE t --|1'"),
        ("no type", "N'no type'"),
    ],
)
def test_a_files_text_is_data_in_sql_variant(text: str, expression: str) -> None:
    assert literal(text, TargetColumn("sv", "sql_variant", False, False), 1) == expression

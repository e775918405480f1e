"""A database as SQL, CSV and lines of JSON: what is read back is equal, to the storage class."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import apsw
import pytest

from tdsproxy.store import table_files
from tdsproxy.store.dump import dump_file, literal
from tdsproxy.store.table_files import StoredTable, csv_lines, json_lines, reading, tables, text_of
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import MAX, SqlType

SCHEMA = """
CREATE TABLE plain (a, "b c", twice AS (length(a) * 2));
CREATE TABLE keyed (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
CREATE TABLE worded (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
CREATE TABLE "it's" (rowid TEXT, oid TEXT DEFAULT 'x''y');
CREATE TABLE "all names" (rowid, _rowid_, oid);
CREATE INDEX ix ON plain (a DESC) WHERE a IS NOT NULL;
CREATE VIEW seen AS SELECT * FROM keyed;
CREATE TRIGGER noted AFTER UPDATE ON keyed BEGIN INSERT INTO "it's" VALUES ('t', 'u'); END;
CREATE VIRTUAL TABLE words USING fts5 (body);
PRAGMA user_version = 7;
PRAGMA application_id = -9;
"""
VALUES = [
    None,
    0,
    -(2**63),
    2**63 - 1,
    0.1,
    1e300,
    5.0,
    float("inf"),
    -float("inf"),
    "",
    "it's",
    "a\0b'é😀",
    b"",
    b"\0\xff",
]


def content(connection: apsw.Connection) -> list[object]:
    found: list[object] = list(
        connection.execute(
            "SELECT type, name, sql FROM sqlite_schema WHERE name <> 'sqlite_stat4' ORDER BY 2"
        )
    )
    found += connection.execute("PRAGMA user_version; PRAGMA application_id; PRAGMA encoding").fetchall()
    for rowid, name in [
        ("_rowid_,", "plain"),
        ("", "keyed"),
        ("", "worded"),
        ("_rowid_,", '"it\'s"'),
        ("", '"all names"'),
        ("_rowid_,", "words"),
        ("", "sqlite_sequence"),
        ("", "sqlite_stat1"),
    ]:
        for row in connection.execute(f"SELECT {rowid} * FROM {name} ORDER BY 1, 2"):
            found.append((name, *((type(value), value) for value in row)))
    return found


@pytest.mark.parametrize("encoding", ["UTF-8", "UTF-16le", "UTF-16be"])
def test_the_script_builds_an_equal_database(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "x.db"
    source = apsw.Connection(str(path))
    source.execute(f"PRAGMA encoding = '{encoding}'; PRAGMA journal_mode = WAL; {SCHEMA}").fetchall()
    source.execute("BEGIN")
    for number, value in enumerate(VALUES):
        source.execute("INSERT INTO plain VALUES (?, ?)", (value, VALUES[-number]))
        source.execute("INSERT INTO keyed (v) VALUES (?)", (value,))
        source.execute("INSERT INTO worded VALUES (?, ?)", (f"k{number}", value))
        source.execute('INSERT INTO "it\'s" VALUES (?, ?)', (value, value))
        source.execute('INSERT INTO "all names" VALUES (?, ?, ?)', (number, 2, value))
        source.execute("INSERT INTO words VALUES (?)", (f"word{number}",))
    source.execute("DELETE FROM plain WHERE rowid % 3 = 0; DELETE FROM keyed WHERE id > 9; COMMIT; ANALYZE")
    script = "\n".join(dump_file(path))
    assert (tmp_path / "x.db-wal").stat().st_size > 0, "the WAL of others was ended"
    copy = apsw.Connection(":memory:")
    copy.execute(script)
    # What wrote virtual tables past the module is seen after the schema is read anew.
    copy.execute("PRAGMA writable_schema = RESET")
    assert content(copy) == content(source)
    copy.execute("INSERT INTO keyed (v) VALUES ('next')")
    assert copy.last_insert_rowid() == len(VALUES) + 1
    source.close()
    copy.close()


def test_an_empty_database_is_a_script_too(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    path.touch()
    copy = apsw.Connection(":memory:")
    copy.execute("\n".join(dump_file(path)))
    assert copy.execute("SELECT * FROM sqlite_schema").fetchall() == []
    copy.close()


def test_only_values_of_sqlite_have_literals() -> None:
    assert literal(True) == "1"
    with pytest.raises(TypeError, match="complex is not a value"):
        literal(1j)


@pytest.fixture
def connection(tmp_path: Path) -> apsw.Connection:
    """The tables as CSV and JSON see them."""
    made = apsw.Connection(str(tmp_path / "x.db"))
    made.execute(
        """
        CREATE TABLE "s.t.u" (b BIT, i INT, r FLOAT, d DECIMAL(9,2), m MONEY_TEXT, big DECIMAL_TEXT(20,3),
          v NVARCHAR(9), x VARBINARY(9), sv SQL_VARIANT_TEXT, calculated AS (i * 2));
        CREATE TABLE __tds_hidden (a);
        CREATE TABLE ".odd" ("name, of it" NVARCHAR(9));
        CREATE TABLE dbl (id INTEGER PRIMARY KEY AUTOINCREMENT);
        CREATE VIEW seen AS SELECT 1 AS one;
        """
    )
    made.execute(
        'INSERT INTO "s.t.u" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        (1, -5, 1e22, -1.5, "-999999999999998.4999", "-99999999999999998.499", "", b"\xab\0",
         "decimal(20,3)|-99999999999999998.499"),
    )  # fmt: skip
    made.execute(
        'INSERT INTO "s.t.u" VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
        (0, "no int", float("inf"), "no number", None, "1e400", ' "q",\r\n', "text", "no variant"),
    )
    made.execute('INSERT INTO "s.t.u" (b, sv) VALUES (2, 5)')
    return made


def test_the_users_tables_are_listed_with_what_is_stored(connection: apsw.Connection) -> None:
    found = {table.name: table for table in tables(connection)}
    assert sorted(found) == [".odd", "dbl", "s.t.u"]
    assert found["s.t.u"].columns[:3] == (("b", t.BIT), ("i", t.INT), ("r", t.FLOAT))
    assert [name for name, _ in found["s.t.u"].columns][-1] == "sv"
    assert found["s.t.u"].stem == "s.t%2Eu"
    assert table_files.table_of("s.t%2Eu") == ("s", "t.u")
    assert found[".odd"].stem == "dbo.%2Eodd"
    assert table_files.table_of("a%2Fb") == ("dbo", "a/b")
    connection.close()


def test_fields_of_csv(connection: apsw.Connection) -> None:
    (table,) = (table for table in tables(connection) if table.name == "s.t.u")
    lines = "".join(csv_lines(connection, table))
    rows = list(csv.reader(io.StringIO(lines, newline="")))
    assert rows[0] == ["b", "i", "r", "d", "m", "big", "v", "x", "sv"]
    assert rows[1] == ["1", "-5", "1e+22", "-1.50", "-1.5000", "-1.500", "", "0xAB00", "decimal(20,3)|-1.500"]
    assert rows[2] == ["0", "no int", "inf", "no number", "", "1e400", ' "q",\r\n', "text", "no variant"]
    assert rows[3] == ["2", *[""] * 7, "5"]
    # NULL is nothing, the empty text a pair of quotes.
    assert lines.splitlines()[1].split(",")[6] == '""'
    (odd,) = (table for table in tables(connection) if table.name == ".odd")
    assert list(csv_lines(connection, odd)) == ['"name, of it"\n']
    connection.close()


def test_lines_of_json(connection: apsw.Connection, tmp_path: Path) -> None:
    connection.close()
    with reading(tmp_path / "x.db") as reader:
        (table,) = (table for table in tables(reader) if table.name == "s.t.u")
        rows = [json.loads(line) for line in json_lines(reader, table)]
    assert list(rows[0].values()) == [
        True, -5, 1e22, "-1.50", "-1.5000", "-1.500", "", "0xAB00", "decimal(20,3)|-1.500",
    ]  # fmt: skip
    assert list(rows[1].values())[:6] == [False, "no int", "inf", "no number", None, "1e400"]
    assert (rows[2]["b"], rows[2]["sv"]) == ("2", "5")


@pytest.mark.parametrize(
    ("raw", "type_", "text"),
    [
        ("varbinary(2)|0xFF00", t.SQL_VARIANT, "varbinary(2)|0xFF00"),
        ("money|-999999999999998.4999", t.SQL_VARIANT, "money|-1.5000"),
        (b"\1", t.SQL_VARIANT, "0x01"),
        ("NaN", t.decimal(5, 1), "NaN"),
        (1e-7, t.decimal(9, 8), "0.00000010"),
    ],
)
def test_the_text_of_a_stored_value(raw: str | float | bytes, type_: SqlType, text: str) -> None:
    assert text_of(raw, type_) == text


def test_a_table_of_the_default_schema_is_named_with_it() -> None:
    assert StoredTable("a b", (("x", t.nvarchar(MAX)),)).stem == "dbo.a b"


@pytest.mark.parametrize("kept", [True, False])
def test_the_word_autoincrement_in_a_comment_numbers_nothing(tmp_path: Path, kept: bool) -> None:
    source = tmp_path / "source.db"
    with contextlib.closing(apsw.Connection(str(source))) as connection:
        connection.execute("CREATE TABLE a (id INTEGER PRIMARY KEY /* no AUTOINCREMENT */, v)")
        connection.execute("CREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO b VALUES (7)")
        connection.execute("DELETE FROM b" if kept else "DROP TABLE b")
    script = "\n".join(dump_file(source))
    with contextlib.closing(apsw.Connection(":memory:")) as copy:
        copy.execute(script)
        if kept:
            assert copy.execute("INSERT INTO b DEFAULT VALUES RETURNING id").fetchall() == [(8,)]
        else:
            assert "sqlite_sequence" not in script

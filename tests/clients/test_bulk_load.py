"""Bulk loads of each client that has them, at the server itself and through the proxy in front of it."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import textwrap
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.available import CLIENTS, need
from tests.running import Running, running

TABLE = """
IF OBJECT_ID(N'dbo.loaded') IS NOT NULL DROP TABLE dbo.loaded;
CREATE TABLE dbo.loaded (
  id int IDENTITY(100, 1) PRIMARY KEY,
  v nvarchar(40) NULL DEFAULT N'unsaid',
  n decimal(10, 2) NULL CONSTRAINT positive CHECK (n > 0),
  p int NULL CONSTRAINT parent REFERENCES dbo.parents (id));
"""


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Running]]:
    store = tmp_path_factory.mktemp("bulk") / "store"
    with (
        running(store, command="server") as server,
        running(store, "--upstream", f"{server.host}:{server.port}") as proxy,
    ):
        with server.connect() as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE loads")
            cursor.execute("CREATE TABLE loads.dbo.parents (id int PRIMARY KEY)")
        yield {"direct": server, "through": proxy}


@pytest.fixture(params=["direct", "through"])
def server(request: pytest.FixtureRequest, servers: dict[str, Running]) -> Running:
    found = servers[request.param]
    with found.connect(database="loads") as connection:
        connection.cursor().execute(TABLE)
    return found


@pytest.fixture
def cursor(server: Running) -> Iterator[Any]:
    with server.connect(database="loads") as connection:
        yield connection.cursor()


def loaded(cursor: Any) -> list[tuple[Any, ...]]:
    cursor.execute("SELECT id, v, n FROM dbo.loaded ORDER BY id")
    return [tuple(row) for row in cursor.fetchall()]


def test_pytds(cursor: Any) -> None:
    cursor.copy_to(io.StringIO("a,1.5\nb,2.5\n"), "loaded", columns=["v", "n"], sep=",")
    assert loaded(cursor) == [(100, "a", Decimal("1.50")), (101, "b", Decimal("2.50"))]
    many = "".join(f"row {n},{n}.25\n" for n in range(1, 1001))
    cursor.copy_to(io.StringIO(many), "loaded", columns=["v", "n"], sep=",")
    cursor.execute("SELECT COUNT(*), SUM(n) FROM dbo.loaded")
    assert tuple(cursor.fetchone()) == (1002, Decimal("500754.00"))


def test_defaults_nulls_and_constraints(cursor: Any) -> None:
    """As SQL Server has it: without an option NULL takes the default, and constraints are passed over."""
    cursor.copy_to(io.StringIO(",-1,7\n"), "loaded", columns=["v", "n", "p"], sep=",", null_string="")
    assert loaded(cursor) == [(100, "unsaid", Decimal("-1.00"))]
    cursor.copy_to(
        io.StringIO(",2\n"), "loaded", columns=["v", "n"], sep=",", null_string="", keep_nulls=True
    )
    assert loaded(cursor)[1:] == [(101, None, Decimal("2.00"))]
    for row, constraint in (("-3,\n", "positive"), ("3,7\n", "parent")):
        with pytest.raises(Exception, match=f'constraint "{constraint}"'):
            cursor.copy_to(
                io.StringIO("5,\n" + row),
                "loaded",
                columns=["n", "p"],
                sep=",",
                null_string="",
                check_constraints=True,
            )
        assert len(loaded(cursor)) == 2  # all of a load or none
    with pytest.raises(Exception, match='constraint "positive"'):  # they hold again for others
        cursor.execute("INSERT dbo.loaded (n) VALUES (-9)")


def test_triggers_fire_when_told_so(cursor: Any) -> None:
    cursor.execute("IF OBJECT_ID(N'dbo.seen') IS NULL CREATE TABLE dbo.seen (id int)")
    cursor.execute(
        "CREATE TRIGGER dbo.watch ON dbo.loaded AFTER INSERT AS INSERT dbo.seen SELECT id FROM inserted"
    )
    cursor.execute("DELETE dbo.seen")
    cursor.copy_to(io.StringIO("a\n"), "loaded", columns=["v"], sep=",")
    cursor.copy_to(io.StringIO("b\nc\n"), "loaded", columns=["v"], sep=",", fire_triggers=True)
    cursor.execute("SELECT id FROM dbo.seen ORDER BY id")
    assert [row[0] for row in cursor.fetchall()] == [101, 102]


def test_what_cannot_be_loaded(cursor: Any) -> None:
    for columns, row, words in [
        (["v"], "x" * 41 + "\n", "truncated"),
        (["id"], "1\n1\n", "PRIMARY KEY"),
    ]:
        with pytest.raises(Exception, match=words):
            cursor.copy_to(io.StringIO(row), "loaded", columns=columns, sep=",")
        assert loaded(cursor) == []
    for statement, words in [
        ("INSERT BULK dbo.nosuch ([id] int)", "Invalid object name 'dbo.nosuch'"),
        ("INSERT BULK dbo.loaded ([nosuch] int)", "Invalid column name 'nosuch'"),
    ]:
        with pytest.raises(Exception, match=words):
            cursor.execute(statement)
    cursor.execute("SELECT 1")
    assert cursor.fetchone()[0] == 1


def test_a_load_is_part_of_the_transaction(server: Running) -> None:
    with server.connect(database="loads", autocommit=False) as connection:
        cursor = connection.cursor()
        cursor.copy_to(io.StringIO("a\n"), "loaded", columns=["v"], sep=",")
        assert len(loaded(cursor)) == 1
        connection.rollback()
        assert loaded(cursor) == []


def test_pymssql(server: Running, cursor: Any) -> None:
    need("pymssql")
    import pymssql

    connection = pymssql.connect(
        server=server.host,
        port=str(server.port),
        user="sa",
        password=server.password,
        database="loads",
        autocommit=True,
        tds_version="7.4",
    )
    connection.bulk_copy("dbo.loaded", [("x", "1.5"), (None, None)], column_ids=[2, 3])
    connection.close()
    assert loaded(cursor) == [(100, "x", Decimal("1.50")), (101, "unsaid", None)]


def test_freebcp_in_and_out(server: Running, cursor: Any, tmp_path: Path) -> None:
    need("freebcp")
    given, back = tmp_path / "in.txt", tmp_path / "out.txt"
    given.write_text("1\tfree\t4.5\t\n2\tbcp\t\t\n")

    def freebcp(*words: str) -> str:
        done = subprocess.run(
            [
                *("freebcp", "loads.dbo.loaded", *words, "-c"),
                *("-S", f"{server.host}:{server.port}", "-U", "sa", "-P", server.password),
            ],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
            env={**os.environ, "TDSVER": "7.4", "FREETDSCONF": os.devnull},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "2 rows copied." in freebcp("in", str(given))
    assert loaded(cursor) == [(100, "free", Decimal("4.50")), (101, "bcp", None)]
    assert "2 rows copied." in freebcp("in", str(given), "-E")
    assert [row[0] for row in loaded(cursor)] == [1, 2, 100, 101]
    assert "4 rows copied." in freebcp("out", str(back))
    assert back.read_text().splitlines()[0].split("\t")[:3] == ["1", "free", "4.50"]


TEDIOUS = r"""
const [host, port, password, modules] = process.argv.slice(1);
const { Connection, TYPES } = require(modules + '/tedious');
const connection = new Connection({ server: host,
  authentication: { type: 'default', options: { userName: 'sa', password } },
  options: { port: Number(port), encrypt: true, trustServerCertificate: true, database: 'loads',
             requestTimeout: 200000, connectTimeout: 60000 } });
connection.connect((error) => {
  if (error) { console.error(error.message); process.exit(1); }
  const load = connection.newBulkLoad('dbo.loaded', { keepNulls: true }, (failed, count) => {
    console.log(JSON.stringify([failed ? failed.message : null, count]));
    connection.close();
  });
  load.addColumn('v', TYPES.NVarChar, { length: 40, nullable: true });
  load.addColumn('n', TYPES.Decimal, { precision: 10, scale: 2, nullable: true });
  connection.execBulkLoad(load, [{ v: 'é😀', n: 2.5 }, { v: null, n: null }]);
});
"""


def test_tedious(server: Running, cursor: Any) -> None:
    need("tedious")
    modules = CLIENTS / "node" / "node_modules"
    done = subprocess.run(
        [
            "node",
            "-e",
            textwrap.dedent(TEDIOUS),
            server.host,
            str(server.port),
            server.password,
            str(modules),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [None, 2]
    assert loaded(cursor) == [(100, "é😀", Decimal("2.50")), (101, None, None)]


@pytest.fixture(scope="module")
def bulk_copy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The class path of the compiled program."""
    need("mssql-jdbc")
    if not shutil.which("javac"):
        pytest.skip("there is no Java compiler here")
    (jar,) = (CLIENTS / "java").glob("mssql-jdbc*.jar")
    source = Path(__file__).with_name("BulkCopy.java")
    made = tmp_path_factory.mktemp("java")
    words = ["javac", "-encoding", "UTF-8", "-cp", str(jar), "-d", str(made), str(source)]
    subprocess.run(words, check=True, timeout=200)
    return f"{jar}:{made}"


def test_mssql_jdbc(server: Running, bulk_copy: str) -> None:
    url = (
        f"jdbc:sqlserver://{server.host}:{server.port};user=sa;password={server.password};"
        "databaseName=loads;encrypt=true;trustServerCertificate=true;loginTimeout=60"
    )
    done = subprocess.run(
        ["java", "-cp", bulk_copy, "BulkCopy", url],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["2", "1", "null"]

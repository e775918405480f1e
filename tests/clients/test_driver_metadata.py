"""What drivers tell of a database by their own calls: DatabaseMetaData of mssql-jdbc and jTDS, the catalog
functions of the ODBC driver, and the columns of results in tedious."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.available import CLIENTS, need
from tests.running import Running, running

pytestmark = pytest.mark.slow

SCHEMA = (
    "CREATE DATABASE Meta",
    "USE Meta",
    "CREATE TABLE customer (id int IDENTITY CONSTRAINT pk_customer PRIMARY KEY, name nvarchar(50) NOT NULL,"
    " born date NULL, amount decimal(10, 2) DEFAULT 0)",
    "CREATE TABLE orders (id int NOT NULL, line smallint NOT NULL, customer_id int NOT NULL CONSTRAINT"
    " fk_customer REFERENCES customer (id) ON DELETE CASCADE, note varchar(max),"
    " CONSTRAINT pk_orders PRIMARY KEY (id, line))",
    "CREATE UNIQUE INDEX ix_name ON customer (name DESC)",
    "CREATE VIEW names AS SELECT id, name FROM customer",
    "CREATE PROCEDURE find_customer @id int, @name nvarchar(20) OUTPUT AS SELECT 1",
)
TEDIOUS = """
const {Connection, Request} = require(process.argv[2]);
const [host, port, password] = process.argv.slice(3);
const connection = new Connection({server: host, authentication: {type: 'default', options:
  {userName: 'sa', password}}, options: {port: Number(port), database: 'Meta', encrypt: false,
  requestTimeout: 200000, connectTimeout: 60000}});
connection.connect(error => {
  if (error) { console.error(error); process.exit(1); }
  const request = new Request('SELECT * FROM orders; SELECT id, name, born, amount FROM customer',
    error => { if (error) { console.error(error); process.exit(1); } connection.close(); });
  request.on('columnMetadata', columns => console.log(JSON.stringify(columns.map(
    c => [c.colName, c.type.name, c.dataLength ?? null, c.precision ?? null, c.scale ?? null,
      c.flags & 1]))));
  connection.execSql(request);
});
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("metadata") / "store") as found:
        with found.connect() as connection, connection.cursor() as cursor:
            for text in SCHEMA:
                cursor.execute(text)
        yield found


@pytest.fixture(scope="module")
def classes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not shutil.which("javac"):
        pytest.skip("no Java compiler is on the PATH")
    made = tmp_path_factory.mktemp("classes")
    source = Path(__file__).with_name("Metadata.java")
    subprocess.run(["javac", "-encoding", "UTF-8", "-d", str(made), str(source)], check=True, timeout=240)
    return made


@pytest.mark.parametrize("driver", ["mssql-jdbc", "jtds"])
def test_java(server: Running, classes: Path, driver: str) -> None:
    need(driver)
    at = f"//{server.host}:{server.port}"
    url = (
        f"jdbc:jtds:sqlserver:{at}/Meta"
        if driver == "jtds"
        else f"jdbc:sqlserver:{at};encrypt=false;databaseName=Meta"
    )
    path = os.pathsep.join(str(place) for place in (classes, *(CLIENTS / "java").glob("*.jar")))
    done = subprocess.run(
        ["java", "-cp", path, "Metadata", url, "sa", server.password, "Meta"],
        check=True,
        capture_output=True,
        text=True,
        timeout=240,
    )
    found: dict[str, list[str]] = defaultdict(list)
    for line in done.stdout.splitlines():
        name, _, rest = line.partition("|")
        found[name].append(rest)
    assert found["product"] == ["Microsoft SQL Server|16"]
    assert set(found["catalogs"]) == {"master", "tempdb", "model", "msdb", "Meta"}
    assert {"dbo", "guest", "INFORMATION_SCHEMA", "sys"} <= set(found["schemas"])
    assert found["types"] == ["SYSTEM TABLE", "TABLE", "VIEW"]
    assert found["tables"] == ["Meta|dbo|customer|TABLE", "Meta|dbo|orders|TABLE", "Meta|dbo|names|VIEW"]
    columns = found["columns"]
    assert "customer|id|4|int identity|10|0|0|null|1" in columns
    assert "customer|amount|3|decimal|10|2|1|((0))|4" in columns
    assert "orders|line|5|smallint|5|0|0|null|2" in columns
    assert len([line for line in columns if line.startswith("names|")]) == 2
    assert found["keys"] == ["id|1|pk_orders", "line|2|pk_orders"]
    # mssql-jdbc translates the rules into JDBC's numbers; jTDS tells what sp_fkeys tells.
    rules = "3|0" if driver == "mssql-jdbc" else "1|0"
    assert found["imported"] == [f"customer|id|orders|customer_id|1|{rules}|fk_customer"]
    assert found["exported"] == ["customer|orders|fk_customer"]
    assert found["indexes"][1:] == ["0|pk_customer|1|1|id|A", "0|ix_name|3|1|name|D"]
    group = ";1" if driver == "mssql-jdbc" else ""
    assert found["procedures"] == [f"find_customer{group}|2"]
    assert found["arguments"] == [
        f"find_customer{group}|@RETURN_VALUE|5|int|4",
        f"find_customer{group}|@id|1|int|4",
        f"find_customer{group}|@name|2|nvarchar|40",
    ]
    assert found["best"] == ["id|int identity"]
    assert "decimal|3|38" in found["type"]
    assert [line.partition("|")[2] for line in found["privileges"]] == [
        "DELETE",
        "INSERT",
        "REFERENCES",
        "SELECT",
        "UPDATE",
    ]


def test_odbc(server: Running) -> None:
    need("msodbcsql18")
    import pyodbc

    text = (
        f"DRIVER={{ODBC Driver 18 for SQL Server}};SERVER={server.host},{server.port};UID=sa;"
        f"PWD={server.password};DATABASE=Meta;Encrypt=no"
    )
    with pyodbc.connect(text, autocommit=True) as connection:
        cursor = connection.cursor()
        assert [(row.table_name, row.table_type) for row in cursor.tables(schema="dbo")] == [
            ("customer", "TABLE"),
            ("orders", "TABLE"),
            ("names", "VIEW"),
        ]
        found = [(row.column_name, row.type_name, row.nullable) for row in cursor.columns(table="customer")]
        assert found[0] == ("id", "int identity", 0)
        assert found[3] == ("amount", "decimal", 1)
        assert [row.column_name for row in cursor.columns(table="names")] == ["id", "name"]
        assert [row.column_name for row in cursor.primaryKeys("orders")] == ["id", "line"]
        (key,) = cursor.foreignKeys(foreignTable="orders")
        assert (key.pktable_name, key.fkcolumn_name, key.delete_rule) == ("customer", "customer_id", 0)
        names = [row.index_name for row in cursor.statistics("customer") if row.index_name]
        assert sorted(names) == ["ix_name", "pk_customer"]
        assert [row.procedure_name for row in cursor.procedures(schema="dbo")] == ["find_customer;1"]
        listed = [(row.column_name, row.column_type) for row in cursor.procedureColumns("find_customer")]
        assert listed == [("@RETURN_VALUE", 5), ("@id", 1), ("@name", 2)]


def test_tedious(server: Running) -> None:
    need("tedious")
    module = str(CLIENTS / "node" / "node_modules" / "tedious")
    arguments = [module, server.host, str(server.port), server.password]
    done = subprocess.run(
        ["node", "-e", TEDIOUS, "-", *arguments], check=True, capture_output=True, text=True, timeout=120
    )
    orders, customer = (json.loads(line) for line in done.stdout.splitlines())
    assert [column[0] for column in orders] == ["id", "line", "customer_id", "note"]
    assert [column[5] for column in orders] == [0, 0, 0, 1]
    assert customer[0][:2] == ["id", "Int"]
    assert customer[1] == ["name", "NVarChar", 100, None, None, 0]
    assert customer[3][3:] == [10, 2, 1]

"""What a user of each Python client relies on: connect, types, parameters, backup with messages, restore."""

from __future__ import annotations

import datetime as dt
import math
import subprocess
import sys
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.available import need
from tests.clients.dbapi import CLIENTS, Client
from tests.running import Running

LONG = "äöü€😀x" * 20_000
TYPES: list[tuple[str, list[Any]]] = [
    ("bit", [True, False]),
    ("tinyint", [0, 255]),
    ("smallint", [-32768, 32767]),
    ("int", [-(2**31), 2**31 - 1, 0]),
    ("bigint", [-(2**63), 2**63 - 1]),
    ("decimal(10,2)", [Decimal("-99999999.99"), Decimal("0.01")]),
    ("decimal(38,0)", [Decimal(10**38 - 1), Decimal(1 - 10**38)]),
    ("decimal(38,10)", [Decimal("-1234567890123456789012345678.0123456789")]),
    ("numeric(25,0)", [Decimal("39000000172000001")]),
    ("money", [Decimal("922337203685477.5807"), Decimal("-922337203685477.5808")]),
    ("smallmoney", [Decimal("214748.3647"), Decimal("-214748.3648")]),
    ("real", [1.5, -3.25]),
    ("float", [1.7976931348623157e308, -2.2250738585072014e-308, 0.1]),
    ("date", [dt.date(1, 1, 1), dt.date(9999, 12, 31)]),
    ("time(6)", [dt.time(0, 0), dt.time(23, 59, 59, 999999)]),
    ("datetime", [dt.datetime(1753, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 997000)]),
    ("smalldatetime", [dt.datetime(1900, 1, 1), dt.datetime(2079, 6, 6, 23, 59)]),
    ("datetime2(6)", [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)]),
    ("char(5)", ["abcde"]),
    ("varchar(100)", ["", "plain text", "x" * 100]),
    ("nchar(4)", ["äß€z"]),
    ("nvarchar(100)", ["", "naïve €", "日本語", "😀"]),
    ("varchar(max)", ["y" * 100_000]),
    ("nvarchar(max)", [LONG]),
    ("binary(4)", [b"\x00\x01\xfe\xff"]),
    ("varbinary(100)", [b"\x00", bytes(range(100))]),
    ("varbinary(max)", [bytes(range(256)) * 800]),
    ("uniqueidentifier", [uuid.UUID("6f9619ff-8b86-d011-b42d-00c04fc964ff")]),
    ("xml", ["<a><b>1</b></a>"]),
    ("text", ["some text"]),
]
LITERALS: list[tuple[str, str, str]] = [
    # type, literal, what CONVERT(varchar(60), v, 121) must show: digits that Python's types do not hold
    ("time(7)", "'23:59:59.9999999'", "23:59:59.9999999"),
    ("datetime2(7)", "'9999-12-31 23:59:59.9999999'", "9999-12-31 23:59:59.9999999"),
    ("datetimeoffset(7)", "'2024-02-29 12:34:56.1234567 -05:30'", "2024-02-29 12:34:56.1234567 -05:30"),
    ("datetimeoffset(0)", "'0001-01-02 00:00:00 +14:00'", "0001-01-02 00:00:00 +14:00"),
]


@pytest.fixture(params=CLIENTS, ids=lambda client: client.name)
def client(request: pytest.FixtureRequest) -> Client:
    return request.param  # type: ignore[no-any-return]


def same(client: Client, given: Any, got: Any) -> bool:
    if isinstance(given, uuid.UUID):
        return uuid.UUID(str(got)) == given
    if isinstance(given, bytes):
        return bytes(got) == given
    if isinstance(given, float):
        return math.isclose(float(got), given, rel_tol=1e-15)
    if isinstance(given, Decimal):
        return Decimal(str(got)) == given
    if client.name == "pymssql" and isinstance(given, dt.date | dt.time) and isinstance(got, str):
        return str(given) in got
    return bool(got == given)


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
def test_connects(served: Running, client: Client, tls: bool) -> None:
    with client.connect(served, tls=tls) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID")
        assert cursor.fetchone()[0] == ("TRUE" if tls else "FALSE")


def test_a_wrong_password_is_18456(served: Running, client: Client) -> None:
    if client.name == "pymssql":
        # In one process pymssql shows the text of its first refused login only: it never clears it.
        shown = _in_another_process(
            "import sys, pymssql\n"
            "pymssql.connect(server=sys.argv[1], port=sys.argv[2], user='sa', password='wrong')",
            served.host,
            str(served.port),
        )
        assert "(18456, b\"Login failed for user 'sa'" in shown
        return
    with pytest.raises(Exception, match="Login failed for user 'sa'") as caught:
        client.connect(served, password="wrong")
    numbers = [getattr(caught.value, "number", None), *map(str, getattr(caught.value, "args", ()))]
    if client.name in ("pytds", "msodbcsql18"):
        assert "18456" in " ".join(map(str, numbers))


def _in_another_process(program: str, *arguments: str) -> str:
    """What it writes to stderr."""
    need("pymssql")
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    return done.stderr


@pytest.mark.parametrize(("type_", "values"), TYPES, ids=[name for name, _ in TYPES])
def test_a_value_comes_back_as_it_went(
    served: Running, client: Client, type_: str, values: list[Any]
) -> None:
    if "binary" in type_:
        values = [client.binary(value) for value in values]
    values = [value for value in values if not client.cannot_send(value)]
    if not values:
        pytest.skip(f"{client.name} itself cannot send these values")
    with client.connect(served, database="tempdb") as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE TABLE #round (id int NOT NULL, v {type_} NULL)")
        for number, value in enumerate([*values, None]):
            if type_ == "uniqueidentifier" and value is not None and client.name == "pymssql":
                value = str(value)
            if value is None and client.sends_null_as_text and "binary" in type_:
                cursor.execute(f"INSERT INTO #round VALUES ({number}, NULL)")
                continue
            cursor.execute(f"INSERT INTO #round VALUES ({number}, {client.mark})", (value,))
        cursor.execute("SELECT v FROM #round ORDER BY id")
        got = [row[0] for row in cursor.fetchall()]
    assert got[-1] is None
    for given, returned in zip(values, got, strict=False):
        given = bytes(given) if isinstance(given, bytes | bytearray) else given
        assert same(client, given, returned), f"{given!r:.80} came back as {returned!r:.80}"


@pytest.mark.parametrize(("type_", "literal", "shown"), LITERALS, ids=[item[0] for item in LITERALS])
def test_a_literal_keeps_every_digit(
    served: Running, client: Client, type_: str, literal: str, shown: str
) -> None:
    with client.connect(served) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SELECT CONVERT(varchar(60), CAST({literal} AS {type_}), 121)")
        assert cursor.fetchone()[0] == shown
        if type_.startswith("datetimeoffset") and client.name in ("msodbcsql18", "freetds-odbc"):
            return  # pyodbc has no Python type for it
        cursor.execute(f"SELECT CAST({literal} AS {type_}) AS v")
        assert cursor.fetchone()[0] is not None


def test_a_parameterised_query(served: Running, client: Client) -> None:
    with client.connect(served) as connection:
        cursor = connection.cursor()
        cursor.execute(
            "SELECT name, database_id FROM sys.databases "
            f"WHERE name = {client.mark} AND database_id < {client.mark}",
            ("MSDB", 100),
        )
        assert [tuple(row) for row in cursor.fetchall()] == [("msdb", 4)]


def test_backup_accident_restore(served: Running, client: Client, tmp_path: Path) -> None:
    name = "acc_" + client.name.replace("-", "_")
    with client.connect(served) as connection:
        cursor = connection.cursor()
        cursor.execute(f"CREATE DATABASE [{name}]")
        cursor.execute(f"CREATE TABLE [{name}].dbo.t (id int IDENTITY PRIMARY KEY, v nvarchar(40) NOT NULL)")
        for value in ("one", "two", "three"):
            cursor.execute(f"INSERT INTO [{name}].dbo.t (v) VALUES ({client.mark})", (value,))
        cursor.execute(f"BACKUP DATABASE [{name}] TO DISK = N'{name}.bak' WITH INIT, STATS = 10")
        messages = "\n".join(client.drain(cursor))
        assert "100 percent processed." in messages
        assert f"for database '{name}', file '{name}' on file 1." in messages
        assert "BACKUP DATABASE successfully processed" in messages

        cursor.execute(f"DELETE FROM [{name}].dbo.t")
        cursor.execute(f"SELECT COUNT(*) FROM [{name}].dbo.t")
        assert cursor.fetchone()[0] == 0
        cursor.execute(f"RESTORE DATABASE [{name}] FROM DISK = N'{name}.bak' WITH REPLACE")
        assert "RESTORE DATABASE successfully processed" in "\n".join(client.drain(cursor))
        cursor.execute(f"SELECT id, v FROM [{name}].dbo.t ORDER BY id")
        assert [tuple(row) for row in cursor.fetchall()] == [(1, "one"), (2, "two"), (3, "three")]
        cursor.execute(f"DROP DATABASE [{name}]")


def test_a_backup_in_a_transaction_is_refused_with_3021(served: Running, client: Client) -> None:
    with client.connect(served, autocommit=False) as connection:
        cursor = connection.cursor()
        with pytest.raises(Exception) as caught:
            client.drain(cursor.execute("BACKUP DATABASE msdb TO DISK = N'never.bak'") or cursor)
        text = str(caught.value)
        assert "within a transaction" in text or "terminating abnormally" in text
        connection.rollback()
    assert not (served.backup_directory / "never.bak").exists()

"""``tdsproxy serve --upstream`` in front of ``tdsproxy server`` in another process: one store, one keeper."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytds
import pytest

from tests.clients.dbapi import CLIENTS
from tests.running import Running, running


@dataclass(frozen=True)
class Pair:
    server: Running
    proxy: Running


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    store = tmp_path_factory.mktemp("pair") / "store"
    with (
        running(store, command="server") as server,
        running(store, "--upstream", f"{server.host}:{server.port}") as proxy,
    ):
        yield Pair(server, proxy)


def run(cursor: Any, sql: str, parameters: tuple[Any, ...] = ()) -> list[list[tuple[Any, ...]]]:
    """Every result set of a request; the messages stay in ``cursor.messages``."""
    cursor.execute(sql, parameters)
    sets = []
    while True:
        if cursor.description:
            sets.append([tuple(row) for row in cursor.fetchall()])
        if not cursor.nextset():
            return sets


def texts(cursor: Any) -> list[str]:
    return [getattr(error, "text", str(error)) for _, error in cursor.messages]


def restore(cursor: Any, sql: str) -> list[list[tuple[Any, ...]]]:
    """As soon as the database is free: a session that has closed its connection is in it until the server has
    come to see that."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return run(cursor, sql)
        except pytds.Error:
            in_use = any("Exclusive access could not be obtained" in text for text in texts(cursor))
            if not in_use or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


@pytest.fixture
def cursor(pair: Pair) -> Iterator[Any]:
    with pair.proxy.connect() as connection:
        yield connection.cursor()


@pytest.fixture(scope="module", autouse=True)
def shop(pair: Pair) -> None:
    with pair.proxy.connect() as connection:
        cursor = connection.cursor()
        run(cursor, "CREATE DATABASE shop")
        run(cursor, "CREATE TABLE shop.dbo.t (id int PRIMARY KEY, v nvarchar(40) NOT NULL)")
        run(cursor, "INSERT INTO shop.dbo.t VALUES (1, N'one'), (2, N'two')")


def test_backup_accident_restore(cursor: Any) -> None:
    run(cursor, "BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT, STATS = 50")
    messages = texts(cursor)
    assert "100 percent processed." in messages
    assert messages[-1].startswith("BACKUP DATABASE successfully processed")
    run(cursor, "DELETE FROM shop.dbo.t")
    restore(cursor, "RESTORE DATABASE shop FROM DISK = N'shop.bak' WITH REPLACE")
    assert run(cursor, "SELECT id, v FROM shop.dbo.t ORDER BY id") == [[(1, "one"), (2, "two")]]


def test_variables_and_forwarded_statements_in_one_batch(cursor: Any) -> None:
    sets = run(
        cursor,
        "DECLARE @db sysname = N'sh' + N'op', @file nvarchar(260)\n"
        "SET @file = @db + N'-variables.bak'\n"
        "SELECT @file AS before\n"
        "BACKUP DATABASE @db TO DISK = @file WITH INIT\n"
        "SELECT COUNT(*) AS after FROM shop.dbo.t",
    )
    assert sets == [[("shop-variables.bak",)], [(2,)]]
    assert any(text.startswith("BACKUP DATABASE successfully") for text in texts(cursor))


def test_parameters_through_sp_executesql(pair: Pair, cursor: Any) -> None:
    run(cursor, "BACKUP DATABASE %s TO DISK = %s WITH INIT, STATS = %s", ("shop", "shop-rpc.bak", 50))
    assert any(text.startswith("BACKUP DATABASE successfully") for text in texts(cursor))
    assert (pair.proxy.backup_directory / "shop-rpc.bak").exists()


@pytest.mark.parametrize("name", ["msodbcsql18", "freetds-odbc", "mssql-python"])
def test_parameters_through_prepared_statements(pair: Pair, name: str) -> None:
    client = next(item for item in CLIENTS if item.name == name)
    with client.connect(pair.proxy, tls=True) as connection:
        odbc = connection.cursor()
        odbc.execute("BACKUP DATABASE ? TO DISK = ? WITH INIT", ("shop", f"shop-{name}.bak"))
        client.drain(odbc)
    assert (pair.proxy.backup_directory / f"shop-{name}.bak").exists()


def test_headeronly_reads_like_any_result(cursor: Any) -> None:
    run(cursor, "BACKUP DATABASE shop TO DISK = N'two.bak' WITH INIT, NAME = N'first'")
    run(cursor, "BACKUP DATABASE shop TO DISK = N'two.bak' WITH NOINIT, NAME = N'second'")
    cursor.execute("RESTORE HEADERONLY FROM DISK = N'two.bak'")
    names = [column[0] for column in cursor.description]
    rows = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    assert [(row["Position"], row["BackupName"], row["UserName"]) for row in rows] == [
        (1, "first", "sa"),
        (2, "second", "sa"),
    ]


def test_what_only_looks_native_is_forwarded(cursor: Any) -> None:
    sets = run(
        cursor,
        "-- BACKUP DATABASE shop TO DISK = N'comment.bak'\n"
        "SELECT 'RESTORE DATABASE x FROM DISK = ''y''' AS [BACKUP], 1 AS [restore]",
    )
    assert sets == [[("RESTORE DATABASE x FROM DISK = 'y'", 1)]]
    assert run(cursor, "SELECT COUNT(*) FROM msdb.dbo.backupset WHERE database_name = N'nosuch'") == [[(0,)]]


def test_refusals_come_as_sql_servers(pair: Pair) -> None:
    with pair.proxy.connect(autocommit=False) as connection:
        with pytest.raises(pytds.Error) as caught:
            connection.cursor().execute("BACKUP DATABASE shop TO DISK = N'never.bak'")
        assert "terminating abnormally" in str(caught.value)
        connection.rollback()
    assert not (pair.proxy.backup_directory / "never.bak").exists()
    with pair.proxy.connect() as connection:
        cursor = connection.cursor()
        with pytest.raises(pytds.Error) as caught:
            cursor.execute("BACKUP DATABASE shop TO DISK = N'x.bak' WITH BOGUS")
        assert "'BOGUS' is not a recognized BACKUP option." in str(caught.value)
        with pytest.raises(pytds.Error) as caught:
            cursor.execute("SELECT 1\nBACKUP DATABASE shop TO")
        assert "Incorrect syntax" in str(caught.value)


def test_restore_waits_for_nobody_and_harms_nobody_else(pair: Pair, cursor: Any) -> None:
    run(cursor, "BACKUP DATABASE shop TO DISK = N'busy.bak' WITH INIT")
    with pair.server.connect(database="shop") as other:
        # The keeper is told of the session beside the login's answer: behind another answer it has been.
        assert run(other.cursor(), "SELECT 1") == [[(1,)]]
        with pytest.raises(pytds.Error) as caught:
            run(cursor, "RESTORE DATABASE shop FROM DISK = N'busy.bak' WITH REPLACE")
        assert "terminating abnormally" in str(caught.value)
        assert any("Exclusive access could not be obtained" in text for text in texts(cursor))
        assert run(other.cursor(), "SELECT COUNT(*) FROM t") == [[(2,)]]
    restore(cursor, "RESTORE DATABASE shop FROM DISK = N'busy.bak' WITH REPLACE")


def test_the_current_database_is_the_sessions(pair: Pair) -> None:
    with pair.proxy.connect(database="shop") as connection:
        cursor = connection.cursor()
        run(cursor, "BACKUP DATABASE shop TO DISK = N'current.bak' WITH INIT")
        with pytest.raises(pytds.Error):
            run(cursor, "RESTORE DATABASE shop FROM DISK = N'current.bak' WITH REPLACE")
        assert any("is in use by this session" in text for text in texts(cursor)), texts(cursor)
        restore(cursor, "USE master; RESTORE DATABASE shop FROM DISK = N'current.bak' WITH REPLACE")
        assert run(cursor, "SELECT DB_NAME()") == [[("master",)]]


def test_each_statement_leaves_a_line_in_the_audit_log(pair: Pair, cursor: Any) -> None:
    run(cursor, "DECLARE @f nvarchar(99) = N'audited.bak'; BACKUP DATABASE shop TO DISK = @f WITH INIT")
    with pytest.raises(pytds.Error):
        run(cursor, "RESTORE DATABASE [nosuch] FROM DISK = N'nosuch.bak'")
    entries = [json.loads(line) for line in (pair.proxy.store / "audit.log").read_text().splitlines()]
    mine = [each for each in entries if each["media"] in (["audited.bak"], ["nosuch.bak"])]
    assert [(each["login"], each["address"], each["application"]) for each in mine] == [
        ("sa", "127.0.0.1", "pytds")
    ] * 2
    assert [(each["database"], each["result"], each["errors"]) for each in mine] == [
        ("shop", "done", []),
        ("nosuch", "failed", [3201, 3013]),
    ]


def test_sighup_reads_the_certificate_again_and_disturbs_nobody(pair: Pair, cursor: Any) -> None:
    pair.proxy.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while "was read again" not in pair.proxy.log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert run(cursor, "SELECT 1") == [[(1,)]]
    with pair.proxy.connect() as other:
        assert run(other.cursor(), "SELECT 2") == [[(2,)]]


def test_a_login_the_upstream_refuses_is_refused(pair: Pair) -> None:
    with pytest.raises(pytds.Error, match="Login failed for user 'sa'"):
        pair.proxy.connect(password="wrong")


def test_the_upstreams_absence_is_an_error_at_login(tmp_path_factory: pytest.TempPathFactory) -> None:
    store = tmp_path_factory.mktemp("alone") / "store"
    with (
        running(store, "--upstream", "127.0.0.1:9", "--upstream-wait", "0") as proxy,
        pytest.raises((pytds.Error, OSError)),  # pytds tries again until its own time is over
    ):
        proxy.connect(login_timeout=1)

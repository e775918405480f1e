"""sys.dm_os_performance_counters: true values, with the types that tell how to read them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tdsproxy.commands.running import RunningStatements
from tests.server.support import Client, World, errors


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("counters"))
    sa = made.login()
    sa.run("CREATE DATABASE Shop; CREATE DATABASE Other")
    sa.run("CREATE TABLE Shop.dbo.t (a int); CREATE TABLE Other.dbo.t (a int)")
    yield made
    made.close()


def counter(client: Client, name: str, instance: str = "") -> int:
    found = client.value(
        "SELECT cntr_value FROM sys.dm_os_performance_counters"
        f" WHERE counter_name = N'{name}' AND instance_name = N'{instance}'"
    )
    assert isinstance(found, int)
    return found


def test_types_tell_how_values_are_read(sa: Client) -> None:
    found = sa.rows(
        "SELECT DISTINCT RTRIM(object_name), RTRIM(counter_name), cntr_type"
        " FROM sys.dm_os_performance_counters ORDER BY 1, 2"
    )
    assert found == [
        ("SQLServer:Databases", "Active Transactions", 65792),
        ("SQLServer:Databases", "Backup/Restore Throughput/sec", 272696576),
        ("SQLServer:Databases", "Data File(s) Size (KB)", 65792),
        ("SQLServer:Databases", "Log File(s) Size (KB)", 65792),
        ("SQLServer:Databases", "Log File(s) Used Size (KB)", 65792),
        ("SQLServer:Databases", "Percent Log Used", 65792),
        ("SQLServer:Databases", "Transactions/sec", 272696576),
        ("SQLServer:Databases", "Write Transactions/sec", 272696576),
        ("SQLServer:General Statistics", "Logins/sec", 272696576),
        ("SQLServer:General Statistics", "Logouts/sec", 272696576),
        ("SQLServer:General Statistics", "Transactions", 65792),
        ("SQLServer:General Statistics", "User Connections", 65792),
        ("SQLServer:SQL Statistics", "Batch Requests/sec", 272696576),
    ]


def test_each_request_counts_once(sa: Client, world: World) -> None:
    before = counter(sa, "Batch Requests/sec")
    other = world.login()
    for _ in range(3):
        other.run("SELECT a FROM Shop.dbo.t")
    other.session.close()
    assert counter(sa, "Batch Requests/sec") == before + 4


def test_connections_come_and_go(sa: Client, world: World) -> None:
    names = ("User Connections", "Logins/sec", "Logouts/sec")
    before = [counter(sa, name) for name in names]
    other = world.login()
    assert [counter(sa, name) for name in names] == [before[0] + 1, before[1] + 1, before[2]]
    other.session.close()
    assert [counter(sa, name) for name in names] == [before[0], before[1] + 1, before[2] + 1]


def test_transactions_are_counted_where_they_write(sa: Client, world: World) -> None:
    kinds = ("Transactions/sec", "Write Transactions/sec", "Active Transactions")
    other = world.login(database="Shop")

    def now() -> list[int]:
        return [counter(sa, kind, name) for name in ("Shop", "Other") for kind in kinds]

    zero = now()

    def grown() -> list[int]:
        return [after - before for after, before in zip(now(), zero, strict=True)]

    other.run("INSERT t VALUES (1)")
    assert grown() == [1, 1, 0, 0, 0, 0]
    other.run("BEGIN TRANSACTION; INSERT t VALUES (2); INSERT Other.dbo.t VALUES (3)")
    assert grown() == [2, 1, 1, 0, 0, 1]
    other.run("COMMIT")
    assert grown() == [2, 2, 0, 1, 1, 0]
    other.run("BEGIN TRANSACTION; INSERT t VALUES (4); ROLLBACK")
    assert grown() == [3, 2, 0, 1, 1, 0]
    other.run("BEGIN TRANSACTION; SELECT a FROM t; COMMIT")
    assert grown() == [4, 2, 0, 1, 1, 0]
    other.session.close()
    assert grown() == [4, 2, 0, 1, 1, 0]


def test_sizes_are_those_of_the_files(sa: Client) -> None:
    kilobytes = sa.value("SELECT size * 8 FROM Shop.sys.database_files WHERE type = 0")
    assert counter(sa, "Data File(s) Size (KB)", "Shop") == kilobytes
    used = sa.value(
        "SELECT used_log_space_in_bytes / 1024 FROM Shop.sys.dm_db_log_space_usage WHERE database_id ="
        " DB_ID('Shop')"
    )
    assert counter(sa, "Log File(s) Used Size (KB)", "Shop") == used


def test_the_total_is_the_sum(sa: Client) -> None:
    name = "Data File(s) Size (KB)"
    parts = sa.value(
        "SELECT SUM(cntr_value) FROM sys.dm_os_performance_counters"
        f" WHERE counter_name = N'{name}' AND instance_name <> N'_Total'"
    )
    assert counter(sa, name, "_Total") == parts


def test_the_old_view_has_the_same(sa: Client) -> None:
    one = "SELECT RTRIM(counter_name), RTRIM(instance_name) FROM {}"
    assert sa.rows(one.format("master.dbo.sysperfinfo")) == sa.rows(
        one.format("sys.dm_os_performance_counters")
    )


def test_backups_and_restores_move_bytes(sa: Client) -> None:
    name = "Backup/Restore Throughput/sec"
    assert counter(sa, name, "Shop") == 0
    sa.run("BACKUP DATABASE Shop TO DISK = 'shop.bak'")
    backed_up = counter(sa, name, "Shop")
    assert backed_up > 0
    sa.run("RESTORE DATABASE Shop FROM DISK = 'shop.bak' WITH REPLACE")
    assert counter(sa, name, "Shop") > backed_up
    assert counter(sa, name, "Other") == 0


def test_what_is_moved_counts_while_it_runs_and_over_phases() -> None:
    statements = RunningStatements()
    with statements.note(51, "BACKUP DATABASE", "Shop") as running:
        running.report(10, 100)
        running.report(60, 100)
        assert statements.moved() == {"shop": 60}
        running.report(5, 40)
        assert statements.moved() == {"shop": 65}
    with statements.note(51, "RESTORE VERIFYONLY", "Shop") as running:
        running.report(7, 7)
        assert statements.moved() == {"shop": 65}


def test_who_may_not_see_the_state_is_refused(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN clerk WITH PASSWORD = 'Sesame-1'")
    found = errors(world.login("clerk").replies("SELECT * FROM sys.dm_os_performance_counters"))
    assert [error.number for error in found] == [300, 297]

"""Chains of backups and restores through them, as a client sends them: pytds against ``tdsproxy serve``.

The statements follow the scripts that administrators keep for these tasks.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.running import Running, start

DATA = "/var/opt/mssql/data"


class Console:
    """Runs batches; what they said and the rows of their result sets."""

    def __init__(self, server: Running) -> None:
        self.server = server
        self.connection = server.connect()

    def run(self, text: str) -> tuple[list[str], list[list[tuple[Any, ...]]]]:
        cursor = self.connection.cursor()
        cursor.execute(text)
        sets: list[list[tuple[Any, ...]]] = []
        while True:
            if cursor.description:
                sets.append([tuple(row) for row in cursor.fetchall()])
            if not cursor.nextset():
                break
        return [str(error.args[0]) for _, error in cursor.messages], sets

    def done(self, text: str) -> list[str]:
        """The statements that said they succeeded, by their names in 3014."""
        said, _ = self.run(text)
        return [line.split(" successfully")[0] for line in said if " successfully processed" in line]

    def value(self, text: str) -> Any:
        _, sets = self.run(text)
        return sets[-1][0][0]

    def close(self) -> None:
        self.connection.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    running = start(tmp_path_factory.mktemp("chains") / "store")
    try:
        yield running
    finally:
        assert running.stop() == 0


@pytest.fixture
def sales(server: Running) -> Iterator[Console]:
    """``SalesDB`` in FULL with 100 orders worth 6312.50, and nothing else."""
    console = Console(server)
    names = [row[0] for row in console.run("SELECT name FROM sys.databases WHERE database_id > 4")[1][0]]
    for name in names:
        console.run(f"DROP DATABASE [{name}]")
    for path in server.backup_directory.iterdir():
        path.unlink()
    console.run("CREATE DATABASE SalesDB")
    console.run(
        "CREATE TABLE SalesDB.dbo.Orders (OrderId int IDENTITY(1,1) NOT NULL PRIMARY KEY,"
        " Customer nvarchar(60) NOT NULL, Amount decimal(12,2) NOT NULL)"
    )
    console.run(
        "WITH n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
        " INSERT INTO SalesDB.dbo.Orders (Customer, Amount)"
        " SELECT N'Customer ' + CAST(i AS nvarchar(10)), i * 1.25 FROM n OPTION (MAXRECURSION 100)"
    )
    yield console
    console.close()


def history(console: Console, columns: str) -> list[tuple[Any, ...]]:
    newest = "SELECT database_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('SalesDB')"
    text = f"SELECT {columns} FROM msdb.dbo.backupset WHERE database_guid = ({newest}) ORDER BY backup_set_id"
    return console.run(text)[1][0]


def test_new_databases_are_in_full_and_pseudo_simple(sales: Console) -> None:
    status = (
        "SELECT d.recovery_model_desc, d.log_reuse_wait_desc, s.last_log_backup_lsn FROM sys.databases d"
        " JOIN sys.database_recovery_status s ON s.database_id = d.database_id WHERE d.name = 'SalesDB'"
    )
    assert sales.run(status)[1] == [[("FULL", "NOTHING", None)]]
    with pytest.raises(Exception, match="there is no current database backup"):
        sales.run("BACKUP LOG SalesDB TO DISK = 'log.trn'")
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak'")
    model, wait, lsn = sales.run(status)[1][0][0]
    assert (model, wait) == ("FULL", "LOG_BACKUP")
    assert lsn == history(sales, "first_lsn")[0][0]


def test_differential(sales: Console) -> None:
    assert sales.done("BACKUP DATABASE SalesDB TO DISK = 'base.bak' WITH INIT, FORMAT") == ["BACKUP DATABASE"]
    sales.run(
        "INSERT INTO SalesDB.dbo.Orders (Customer, Amount)"
        " SELECT TOP (20) Customer + N' again', Amount FROM SalesDB.dbo.Orders ORDER BY OrderId"
    )
    made = sales.done("BACKUP DATABASE SalesDB TO DISK = 'diff.bak' WITH DIFFERENTIAL, INIT, NAME = 'd'")
    assert made == ["BACKUP DATABASE WITH DIFFERENTIAL"]
    rows = history(
        sales, "type, backup_set_uuid, checkpoint_lsn, differential_base_guid, differential_base_lsn"
    )
    (kind, guid, checkpoint, _, _), (second, _, _, base_guid, base_lsn) = rows
    assert (kind, second) == ("D", "I")
    assert (base_guid, base_lsn) == (guid, checkpoint)
    files = "sys.master_files WHERE file_id = 1 AND database_id = DB_ID('SalesDB')"
    assert sales.value(f"SELECT differential_base_guid FROM {files}") == guid


def test_log_backups_appended_to_one_file(sales: Console) -> None:
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'chain.bak' WITH INIT")
    said: list[str] = []
    for number, option in enumerate(("INIT", "NOINIT", "NOINIT"), 1):
        sales.run(f"INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'n', {number})")
        said += sales.run(f"BACKUP LOG SalesDB TO DISK = 'log.trn' WITH {option}, NAME = N'SalesDB log'")[0]
    ends = [line.rsplit("on ", 1)[1] for line in said if "file 'SalesDB_log'" in line]
    assert ends == ["file 1.", "file 2.", "file 3."]
    logs = [row for row in history(sales, "type, first_lsn, last_lsn, media_set_id") if row[0] == "L"]
    assert [b[1] for b in logs[1:]] == [a[2] for a in logs[:-1]]
    assert len({row[3] for row in logs}) == 1


def test_chain_to_a_point_in_time_under_another_name(sales: Console) -> None:
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak' WITH INIT")
    sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'before diff', 10)")
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'diff.bak' WITH DIFFERENTIAL, INIT")
    sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'keep me', 20)")
    sales.run("BACKUP LOG SalesDB TO DISK = 'log1.trn' WITH INIT")
    time.sleep(0.05)
    stop = sales.value("SELECT GETDATE()")
    time.sleep(0.05)
    sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'drop me', 30)")
    sales.run("BACKUP LOG SalesDB TO DISK = 'log2.trn' WITH INIT")
    move = f"MOVE 'SalesDB' TO '{DATA}/P.mdf', MOVE 'SalesDB_log' TO '{DATA}/P.ldf'"
    assert sales.done(f"RESTORE DATABASE P FROM DISK = 'full.bak' WITH {move}, NORECOVERY") == [
        "RESTORE DATABASE"
    ]
    assert sales.done("RESTORE DATABASE P FROM DISK = 'diff.bak' WITH NORECOVERY") == ["RESTORE DATABASE"]
    assert sales.value("SELECT state_desc FROM sys.databases WHERE name = 'P'") == "RESTORING"
    with pytest.raises(Exception, match="It is in the middle of a restore"):
        sales.run("SELECT * FROM P.dbo.Orders")
    at = stop.isoformat(timespec="milliseconds")
    for number, how in ((1, "NORECOVERY"), (2, "RECOVERY")):
        text = f"RESTORE LOG P FROM DISK = 'log{number}.trn' WITH {how}, STOPAT = '{at}'"
        assert sales.done(text) == ["RESTORE LOG"]
    _, sets = sales.run(
        "SELECT SUM(CASE WHEN Customer = N'keep me' THEN 1 ELSE 0 END),"
        " SUM(CASE WHEN Customer = N'drop me' THEN 1 ELSE 0 END), COUNT(*),"
        " (SELECT state_desc FROM sys.databases WHERE name = 'P') FROM P.dbo.Orders"
    )
    assert sets == [[(1, 0, 102, "ONLINE")]]
    _, sets = sales.run(
        "SELECT restore_type, recovery, stop_at FROM msdb.dbo.restorehistory"
        " WHERE destination_database_name = 'P' ORDER BY restore_history_id"
    )
    assert [(row[0], row[1]) for row in sets[0]] == [("D", False), ("I", False), ("L", False), ("L", True)]
    assert [row[2] is None for row in sets[0]] == [True, True, False, False]
    assert abs(sets[0][2][2] - stop) < dt.timedelta(milliseconds=4)
    assert sales.value("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == 103


def test_marked_transaction(sales: Console) -> None:
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak' WITH INIT")
    sales.run(
        "DECLARE @why nvarchar(50) = N'ten percent up'; USE SalesDB;"
        " BEGIN TRANSACTION price_rise WITH MARK @why;"
        " UPDATE dbo.Orders SET Amount = Amount * 1.10; COMMIT TRANSACTION price_rise; USE master"
    )
    sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'later', 1)")
    sales.run("BACKUP LOG SalesDB TO DISK = 'log.trn' WITH INIT")
    marks = "SELECT mark_name, description FROM msdb.dbo.logmarkhistory WHERE database_name = N'SalesDB'"
    assert sales.run(marks)[1] == [[("price_rise", "ten percent up")]]
    sums = {}
    for name, word in (("AtMark", "STOPATMARK"), ("BeforeMark", "STOPBEFOREMARK")):
        move = f"MOVE N'SalesDB' TO N'{DATA}/{name}.mdf', MOVE N'SalesDB_log' TO N'{DATA}/{name}.ldf'"
        sales.run(f"RESTORE DATABASE {name} FROM DISK = 'full.bak' WITH {move}, NORECOVERY")
        sales.run(f"RESTORE LOG {name} FROM DISK = 'log.trn' WITH RECOVERY, {word} = N'price_rise'")
        sums[name] = sales.value(f"SELECT SUM(Amount) FROM {name}.dbo.Orders")
    assert sums == {"AtMark": Decimal("6944.00"), "BeforeMark": Decimal("6312.50")}
    _, sets = sales.run(
        "SELECT stop_at_mark_name, stop_before FROM msdb.dbo.restorehistory WHERE restore_type = 'L'"
        " AND destination_database_name IN ('AtMark', 'BeforeMark') ORDER BY restore_history_id"
    )
    assert sets == [[("price_rise", False), ("price_rise", True)]]


def test_tail_of_the_log(sales: Console) -> None:
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak' WITH INIT, CHECKSUM")
    sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'in the tail', 5)")
    assert sales.done("BACKUP LOG SalesDB TO DISK = 'tail.trn' WITH INIT, NORECOVERY, NO_TRUNCATE") == [
        "BACKUP LOG"
    ]
    said, _ = sales.run(
        "BEGIN TRY EXEC (N'SELECT COUNT(*) FROM SalesDB.dbo.Orders') END TRY"
        " BEGIN CATCH PRINT 'in restore: ' + CAST(ERROR_NUMBER() AS varchar(10)) END CATCH"
    )
    assert said == ["in restore: 927"]
    assert sales.value("SELECT state_desc FROM sys.databases WHERE name = N'SalesDB'") == "RESTORING"
    done = sales.done("RESTORE DATABASE SalesDB FROM DISK = 'full.bak' WITH NORECOVERY")
    done += sales.done("RESTORE LOG SalesDB FROM DISK = 'tail.trn' WITH RECOVERY")
    assert done == ["RESTORE DATABASE", "RESTORE LOG"]
    assert sales.value("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == 101


def test_shipping_logs_to_a_standby(sales: Console) -> None:
    standby = f"STANDBY = N'{DATA}/Standby.tuf'"
    move = f"MOVE N'SalesDB' TO N'{DATA}/S.mdf', MOVE N'SalesDB_log' TO N'{DATA}/S.ldf'"
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'ship.bak' WITH INIT")
    sales.run(f"RESTORE DATABASE SalesDB_Standby FROM DISK = 'ship.bak' WITH {move}, {standby}")
    undo_file = Path(sales.server.store) / "Standby.tuf"
    assert undo_file.exists()
    for number in range(1, 4):
        sales.run(f"INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'shipped', {number})")
        sales.run(f"BACKUP LOG SalesDB TO DISK = 'ship{number}.trn' WITH INIT")
        applied = sales.done(f"RESTORE LOG SalesDB_Standby FROM DISK = 'ship{number}.trn' WITH {standby}")
        assert applied == ["RESTORE LOG"]
        assert sales.value("SELECT COUNT(*) FROM SalesDB_Standby.dbo.Orders") == 100 + number
    flags = (
        "SELECT is_in_standby, is_read_only, state_desc FROM sys.databases WHERE name = N'SalesDB_Standby'"
    )
    assert sales.run(flags)[1] == [[(True, True, "ONLINE")]]
    with pytest.raises(Exception, match="read-only"):
        sales.run("DELETE FROM SalesDB_Standby.dbo.Orders")
    sales.run("RESTORE DATABASE SalesDB_Standby WITH RECOVERY")
    assert sales.run(flags)[1] == [[(False, False, "ONLINE")]]
    assert not undo_file.exists()
    sales.run("DELETE FROM SalesDB_Standby.dbo.Orders")


def test_an_accident_undone_to_the_statement_before_it(sales: Console) -> None:
    """Commits of the server itself have exact times: no pause is needed around the accident."""
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak' WITH INIT")
    for number in range(20):
        sales.run(f"INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'n{number}', {number})")
    stop = sales.value("SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
    sales.run("DELETE FROM SalesDB.dbo.Orders")
    reader = Console(sales.server)
    assert reader.value("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == 0
    said, _ = sales.run(f"RESTORE DATABASE SalesDB FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{stop}'")
    assert any("the captured log was used" in line for line in said)
    assert reader.value("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == 120
    reader.close()


def test_now_holds_every_acknowledged_commit(sales: Console) -> None:
    sales.run("BACKUP DATABASE SalesDB TO DISK = 'full.bak' WITH INIT")
    move = f"MOVE N'SalesDB' TO N'{DATA}/N.mdf', MOVE N'SalesDB_log' TO N'{DATA}/N.ldf'"
    for number in range(1, 4):
        sales.run("INSERT SalesDB.dbo.Orders (Customer, Amount) VALUES (N'now', 1)")
        stop = sales.value("SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
        sales.run(f"RESTORE DATABASE N FROM DISK = 'full.bak' WITH REPLACE, {move}, STOPAT = '{stop}'")
        assert sales.value("SELECT COUNT(*) FROM N.dbo.Orders") == 100 + number

"""Backup devices, the file helpers of master, the error log, DBCC SHRINK and forgetting backups."""

from __future__ import annotations

import os
import time

import pytest

from tdsproxy.commands.file_procedures import ERROR_LOG
from tdsproxy.keeper.address import LOG_NAME
from tdsproxy.tsql.replies import ResultSet
from tests.server.support import Client, World, infos

BACKUPS = "/var/opt/mssql/backup"


def columns(client: Client, text: str) -> list[tuple[str, str]]:
    found = [reply for reply in client.replies(text) if isinstance(reply, ResultSet)]
    return [(column.name, str(column.type)) for column in found[0].columns]


def test_devices(sa: Client, world: World) -> None:
    sa.run("EXEC sp_addumpdevice 'disk', 'mydev', 'my.bak'")
    assert sa.rows("EXEC sp_helpdevice 'MYDEV'") == [("mydev", "my.bak", "disk, backup device", 16, 2, 0)]
    assert sa.rows("SELECT * FROM sys.backup_devices") == [("mydev", 2, "DISK", "my.bak")]
    refused = {
        "EXEC sp_addumpdevice 'disk', 'MyDev', 'other.bak'": 15026,
        "EXEC sp_addumpdevice 'disk', 'other', 'my.bak'": 15061,
        "EXEC sp_addumpdevice 'usb', 'other', 'other.bak'": 15044,
        "EXEC sp_addumpdevice 'disk', 'disk', 'other.bak'": 15285,
        "EXEC sp_addumpdevice 'disk', NULL, 'other.bak'": 15045,
        "EXEC sp_addumpdevice 'disk', 'other', NULL": 15046,
        "EXEC sp_helpdevice 'other'": 15012,
        "EXEC sp_dropdevice 'other'": 15012,
        "EXEC sp_dropdevice 'mydev', 'yes'": 15216,
        "BEGIN TRAN; EXEC sp_addumpdevice 'disk', 'other', 'other.bak'": 15002,
        "EXEC sp_dropdevice 'mydev' -- still in the transaction": 15002,
    }
    assert {text: sa.error(text) for text in refused} == refused
    sa.run("ROLLBACK")
    sa.run("CREATE DATABASE d; BACKUP DATABASE d TO mydev")
    family = "SELECT logical_device_name, device_type FROM msdb.dbo.backupmediafamily"
    assert sa.rows(family) == [("mydev", 102)]
    assert len(sa.rows("DECLARE @name sysname = 'mydev'; RESTORE HEADERONLY FROM @name")) == 1
    assert (world.engine.store / "backup" / "my.bak").exists()
    dropped = infos(sa.replies("EXEC sp_dropdevice 'mydev', 'DELFILE'"))
    assert [m.number for m in dropped] == [15462, 15463]
    assert not (world.engine.store / "backup" / "my.bak").exists()
    assert sa.error("BACKUP DATABASE d TO mydev") == 3206


def test_directories_and_files(sa: Client, world: World) -> None:
    backups = world.engine.store / "backup"
    sa.run(f"EXEC master.sys.xp_create_subdir N'{BACKUPS}/a/b'")
    sa.run(f"EXEC master.dbo.xp_create_subdir N'{BACKUPS}/a/b'")
    (backups / "a" / "x.txt").write_text("x")
    assert sa.rows(f"EXEC xp_dirtree '{BACKUPS}'") == [("a", 1), ("b", 2)]
    assert sa.rows(f"EXEC xp_dirtree '{BACKUPS}/', 1, 1") == [("a", 1, 0)]
    assert sa.rows(f"EXEC xp_dirtree '{BACKUPS}', 0, 1") == [("a", 1, 0), ("b", 2, 0), ("x.txt", 2, 1)]
    assert sa.rows(f"EXEC xp_subdirs '{BACKUPS}/a'") == [("b",)]
    assert sa.rows(f"EXEC xp_fileexist '{BACKUPS}/a/x.txt'") == [(1, 0, 1)]
    assert sa.rows(f"EXEC xp_fileexist '{BACKUPS}/a'") == [(0, 1, 1)]
    assert sa.rows(f"EXEC xp_fileexist '{BACKUPS}/a/none'") == [(0, 0, 1)]
    found = "DECLARE @i int = 7; EXEC xp_fileexist '{}', @i OUTPUT; SELECT @i"
    assert sa.rows(found.format(f"{BACKUPS}/a/x.txt")) == [(1,)]
    assert sa.rows(found.format(f"{BACKUPS}/none")) == [(0,)]
    assert sa.rows(f"SELECT * FROM sys.dm_os_file_exists('{BACKUPS}/a/x.txt')") == [(1, 0, 1)]
    names = f"SELECT file_or_directory_name FROM sys.dm_os_enumerate_filesystem('{BACKUPS}', '*.txt')"
    assert sa.rows(names) == [("x.txt",)]


def test_places_that_may_not_be_named(sa: Client, world: World) -> None:
    outside = world.engine.store.parent / "outside"
    outside.mkdir()
    (outside / "f.bak").write_bytes(b"x")
    (world.engine.store / "backup" / "link").symlink_to(outside)
    for place in (str(outside), f"{BACKUPS}/../../outside", f"{BACKUPS}/link", "/etc"):
        assert sa.rows(f"EXEC xp_fileexist '{place}/f.bak'") == [(0, 0, 0)]
        assert sa.rows(f"EXEC xp_dirtree '{place}', 0, 1") == []
        assert sa.error(f"EXEC xp_create_subdir '{place}/made'") == 22048
        assert sa.error(f"EXEC xp_delete_file 0, '{place}', 'bak', '2099-01-01'") == 22049
    assert [path.name for path in outside.iterdir()] == ["f.bak"]
    assert sa.error("EXEC xp_subdirs '/nowhere'") == 22006


def test_database_files_exist_as_they_are_shown(sa: Client) -> None:
    sa.run("CREATE DATABASE shop")
    data = "/var/opt/mssql/data"
    assert sa.rows(f"EXEC xp_fileexist '{data}/shop.mdf'") == [(1, 0, 1)]
    assert sa.rows(f"EXEC xp_fileexist '{data}/none.mdf'") == [(0, 0, 1)]
    assert sa.rows(f"EXEC xp_fileexist '{data}'") == [(0, 1, 1)]
    assert ("shop_log.ldf", 1, 1) in sa.rows(f"EXEC xp_dirtree '{data}', 1, 1")
    assert sa.rows("EXEC xp_dirtree '/var/opt', 2") == [("mssql", 1), ("backup", 2), ("data", 2)]


def test_old_backups_are_deleted_by_their_content(sa: Client, world: World) -> None:
    backups = world.engine.store / "backup"
    sa.run("CREATE DATABASE d; BACKUP DATABASE d TO DISK = 'old.bak'")
    content = (backups / "old.bak").read_bytes()
    (backups / "sub").mkdir()
    for name in ("young.bak", "old.trn", "sub/old.bak"):
        (backups / name).write_bytes(content)
    (backups / "fake.bak").write_text("no backup")
    week = time.time() - 8 * 86400
    for name in ("old.bak", "old.trn", "fake.bak", "sub/old.bak"):
        os.utime(backups / name, (week, week))
    delete = (
        "DECLARE @rc int, @cut nvarchar(20) = CONVERT(nvarchar(19), DATEADD(dd, -7, GETDATE()), 126);"
        f" EXECUTE @rc = master.dbo.xp_delete_file 0, N'{BACKUPS}/', N'bak', @cut, {{}}; SELECT @rc"
    )
    assert sa.rows(delete.format(0)) == [(0,)]
    assert sorted(p.name for p in backups.iterdir()) == ["fake.bak", "old.trn", "sub", "young.bak"]
    assert sa.rows(delete.format(1)) == [(0,)]
    assert list((backups / "sub").iterdir()) == []
    assert sa.rows(f"EXEC xp_delete_file 0, N'{BACKUPS}/young.bak'") == []
    assert not (backups / "young.bak").exists()


def test_error_log(sa: Client, world: World) -> None:
    assert ERROR_LOG == LOG_NAME
    (world.engine.store / ERROR_LOG).write_text(
        "2026-01-02 03:04:05,678 INFO tdsproxy.keeper.process: keeper 7 owns it\n"
        "2026-01-03 03:04:05,000 ERROR tdsproxy.commands.log_chain: no log\n  and why\n"
    )
    assert columns(sa, "EXEC sp_readerrorlog") == [
        ("LogDate", "datetime"),
        ("ProcessInfo", "nvarchar(50)"),
        ("Text", "nvarchar(4000)"),
    ]
    texts = "SELECT Text FROM @t"
    keep = "DECLARE @t TABLE (LogDate datetime, ProcessInfo nvarchar(50), Text nvarchar(4000)); INSERT @t {};"
    assert sa.rows(keep.format("EXEC sp_readerrorlog 0, 1, 'OWNS'") + texts) == [("keeper 7 owns it",)]
    assert sa.rows(
        keep.format("EXEC xp_readerrorlog 0, 1, NULL, NULL, '2026-01-03', NULL, 'desc'") + texts
    ) == [
        ("  and why",),
        ("no log",),
    ]
    assert sa.rows("EXEC sp_readerrorlog 0, 2") == []
    assert sa.error("EXEC xp_readerrorlog 4") == 22004


def test_drives_and_the_shell(sa: Client) -> None:
    ((drive, free),) = sa.rows("EXEC xp_fixeddrives")
    assert drive == "/"
    assert isinstance(free, int)
    assert free > 0
    assert sa.rows("SELECT fixed_drive_path, drive_type FROM sys.dm_os_enumerate_fixed_drives") == [("/", 3)]
    sa.run("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    sa.run("EXEC sp_configure 'xp_cmdshell', 1; RECONFIGURE")
    assert sa.error("EXEC master..xp_cmdshell 'dir'") == 15281


def test_shrink(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE d")
    sa.run("USE d")
    sa.run("CREATE TABLE t (x char(4000))")
    sa.run("INSERT t SELECT TOP 1200 'a' FROM sys.all_columns")
    sa.run("DROP TABLE t")
    expected = [
        ("DbId", "smallint"),
        ("FileId", "int"),
        ("CurrentSize", "int"),
        ("MinimumSize", "int"),
        ("UsedPages", "int"),
        ("EstimatedPages", "int"),
    ]
    assert columns(sa, "DBCC SHRINKFILE (d_log, 1)") == expected
    (row,) = sa.rows("DBCC SHRINKDATABASE (d)")
    assert row[:2] == (sa.value("SELECT DB_ID()"), 1)
    assert sa.rows("DBCC SHRINKDATABASE (0)") == []  # there is nothing left to give
    assert [m.number for m in infos(sa.replies("DBCC SHRINKFILE (1)"))] == [2528]
    assert infos(sa.replies("DBCC SHRINKFILE ('d', 5) WITH NO_INFOMSGS")) == []
    assert sa.error("DBCC SHRINKFILE (nofile)") == 8985
    assert sa.error("BEGIN TRAN; DBCC SHRINKDATABASE (d)") == 226


@pytest.mark.parametrize("before", [True, False])
def test_forgetting_backups(sa: Client, before: bool) -> None:
    sa.run("CREATE DATABASE d; CREATE DATABASE e")
    sa.run("BACKUP DATABASE d TO DISK = 'both.bak'; BACKUP DATABASE e TO DISK = 'both.bak'")
    sa.run("RESTORE DATABASE d2 FROM DISK = 'both.bak' WITH MOVE 'd' TO 'd2.mdf', MOVE 'd_log' TO 'd2.ldf'")
    sa.run("USE msdb")
    if before:
        sa.run("UPDATE backupset SET backup_finish_date = '2020-01-01' WHERE database_name = 'd'")
        sa.run("DECLARE @old datetime = '2021-01-01'; EXEC sp_delete_backuphistory @oldest_date = @old")
    else:
        sa.run("EXEC sp_delete_database_backuphistory @database_name = N'D'")
    assert sa.rows("SELECT database_name FROM backupset") == [("e",)]
    counts = "SELECT COUNT(*) FROM {}"
    tables = ("restorehistory", "restorefile", "restorefilegroup")
    assert [sa.value(counts.format(table)) for table in tables] == [0, 0, 0]
    assert sa.value(counts.format("backupmediaset")) == 1  # it holds the other set
    sa.run("EXEC sp_delete_database_backuphistory 'e'")
    tables = ("backupmediaset", "backupmediafamily", "backupfile", "backupfilegroup", "backupset")
    assert [sa.value(counts.format(table)) for table in tables] == [0] * 5


def kilobytes(text: object) -> int:
    number, unit = str(text).split()
    assert unit == "KB"
    return int(number)


def test_space_used(sa: Client) -> None:
    sa.run("CREATE DATABASE d")
    sa.run("USE d")
    sa.run("CREATE TABLE t (a int, x char(4000)); CREATE INDEX i ON t (a)")
    sa.run("INSERT t SELECT TOP 500 1, 'a' FROM sys.all_columns")
    ((name, rows, *sizes),) = sa.rows("EXEC sp_spaceused 't'")
    reserved, data, index, unused = map(kilobytes, sizes)
    assert (name, str(rows)) == ("t", "500".ljust(20))
    assert reserved == data + index + unused
    assert data > 1500
    assert index > 0
    database, whole = sa.rows("EXEC sp_spaceused")[0], sa.rows("EXEC sp_spaceused")[1]
    assert database[0] == "d"
    assert str(database[1]).endswith(" MB")
    assert kilobytes(whole[0]) >= reserved
    assert sa.rows("EXEC sp_spaceused @oneresultset = 1")[0] == (*database, *whole)
    assert columns(sa, "EXEC sp_spaceused 't'") == [
        ("name", "nvarchar(128)"),
        ("rows", "char(20)"),
        *((name, "varchar(18)") for name in ("reserved", "data", "index_size", "unused")),
    ]
    sa.run("CREATE VIEW v AS SELECT 1 AS a")
    assert sa.error("EXEC sp_spaceused 'v'") == 15234
    assert sa.error("EXEC sp_spaceused 'nothing'") == 15009

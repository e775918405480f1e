"""What administrators' toolkits ask of history and put together for backup and restore: statements such as
the public sources of PowerShell modules, maintenance solutions and health checks send, in our own words.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.admin_scripts import Outcome, run_batch
from tests.running import Running, running

pytestmark = pytest.mark.slow

BACKUPS = "/var/opt/mssql/backup"


class Toolkit:
    """A session that sends statements as the toolkits do."""

    def __init__(self, server: Running) -> None:
        self.connection = server.connect()

    def outcome(self, text: str) -> Outcome:
        return run_batch(self.connection, text)

    def run(self, text: str) -> Outcome:
        found = self.outcome(text)
        assert found.errors == []
        return found

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        return self.run(text).sets[-1]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Toolkit]:
    """A chain of full, differential and log backups, and a striped copy."""
    made = (
        "CREATE DATABASE Shop",
        "ALTER DATABASE Shop SET RECOVERY FULL",
        "CREATE TABLE Shop.dbo.t (a int); INSERT Shop.dbo.t VALUES (1)",
        f"BACKUP DATABASE [Shop] TO  DISK = N'{BACKUPS}/Shop_full.bak' WITH NOFORMAT, NOINIT, NOSKIP, REWIND,"
        " NOUNLOAD,  STATS = 1, CHECKSUM",
        "INSERT Shop.dbo.t VALUES (2)",
        f"BACKUP DATABASE [Shop] TO  DISK = N'{BACKUPS}/Shop_diff.bak' WITH  DIFFERENTIAL , NOFORMAT, INIT,"
        "  STATS = 1",
        "INSERT Shop.dbo.t VALUES (3)",
        f"BACKUP LOG [Shop] TO  DISK = N'{BACKUPS}/Shop_log.trn' WITH NOFORMAT, NOINIT, COMPRESSION,"
        "  STATS = 1",
        f"BACKUP DATABASE Shop TO DISK = '{BACKUPS}/1.bak', DISK = '{BACKUPS}/2.bak' WITH COPY_ONLY, FORMAT",
        "CREATE DATABASE Plain",
        "ALTER DATABASE Plain SET RECOVERY SIMPLE",
    )
    with running(tmp_path_factory.mktemp("toolkit") / "store") as server:
        client = Toolkit(server)
        for text in made:
            client.run(text)
        yield client
        client.connection.close()


LAST = """
SELECT d.name, d.recovery_model_desc,
       MAX(CASE WHEN b.type = 'D' AND b.is_copy_only = 0 THEN b.backup_finish_date END) AS LastFull,
       MAX(CASE WHEN b.type = 'I' THEN b.backup_finish_date END) AS LastDiff,
       MAX(CASE WHEN b.type = 'L' THEN b.backup_finish_date END) AS LastLog
FROM sys.databases AS d
LEFT JOIN msdb.dbo.backupset AS b ON b.database_name = d.name
  AND b.server_name = CAST(SERVERPROPERTY('ServerName') AS nvarchar(128))
WHERE d.name <> 'tempdb' AND d.source_database_id IS NULL AND d.database_id > 4
GROUP BY d.name, d.recovery_model_desc
ORDER BY d.name
"""


def test_last_backup_of_each_database(shop: Toolkit) -> None:
    plain, made = shop.rows(LAST)
    assert plain[:2] == ("Plain", "SIMPLE")
    assert plain[2:] == (None, None, None)
    assert made[:2] == ("Shop", "FULL")
    assert all(isinstance(value, dt.datetime) for value in made[2:])


HISTORY = """
SELECT a.BackupSetRank, a.[Database], a.Type, a.DeviceType, a.Path, a.Position, a.IsCopyOnly, a.Duration
FROM (
  SELECT RANK() OVER (ORDER BY s.last_lsn DESC, s.backup_finish_date DESC, s.backup_finish_date)
      AS BackupSetRank,
    s.database_name AS [Database],
    CASE s.[type] WHEN 'D' THEN 'Full' WHEN 'I' THEN 'Differential' WHEN 'L' THEN 'Log' END AS Type,
    CASE m.device_type WHEN 2 THEN 'Disk' WHEN 102 THEN 'Permanent Disk Device' WHEN 9 THEN 'URL' END
      AS DeviceType,
    m.physical_device_name AS Path, s.position AS Position, s.is_copy_only AS IsCopyOnly,
    DATEDIFF(SECOND, s.backup_start_date, s.backup_finish_date) AS Duration, s.media_set_id
  FROM msdb..backupmediafamily AS m
  INNER JOIN msdb..backupmediaset AS ms ON m.media_set_id = ms.media_set_id
  INNER JOIN msdb..backupset AS s ON s.media_set_id = m.media_set_id
  WHERE m.mirror = 0 AND s.database_name = N'Shop' AND s.type IN ('D', 'I', 'L')
) AS a
ORDER BY a.BackupSetRank DESC, a.Path
"""


def test_history(shop: Toolkit) -> None:
    rows = shop.rows(HISTORY)
    found = [(row[2], row[3], str(row[4]).rpartition("/")[2], row[5], row[6]) for row in rows]
    assert sorted(found) == sorted(
        [
            ("Full", "Disk", "Shop_full.bak", 1, 0),
            ("Differential", "Disk", "Shop_diff.bak", 1, 0),
            ("Log", "Disk", "Shop_log.trn", 1, 0),
            ("Full", "Disk", "1.bak", 1, 1),
            ("Full", "Disk", "2.bak", 1, 1),
        ]
    )
    # The stripes share a rank; ranks have gaps.
    assert len({row[0] for row in rows}) < len(rows)


CHAIN = """
DECLARE @lsn numeric(25, 0), @full int;
SELECT TOP (1) @full = backup_set_id, @lsn = checkpoint_lsn FROM msdb.dbo.backupset
WHERE database_name = N'Shop' AND type = 'D' AND is_copy_only = 0
ORDER BY backup_finish_date DESC, backup_set_id DESC;
SELECT s.type, s.begins_log_chain, f.logical_name, f.file_type,
       CASE WHEN s.database_backup_lsn = @lsn THEN 1 ELSE 0 END AS IsOfFull,
       CASE WHEN s.differential_base_lsn = @lsn THEN 1 ELSE 0 END AS IsBase
FROM msdb.dbo.backupset AS s
JOIN msdb.dbo.backupfile AS f ON f.backup_set_id = s.backup_set_id
WHERE s.database_name = N'Shop' AND (s.backup_set_id = @full OR s.database_backup_lsn = @lsn)
  AND s.is_copy_only = 0 AND s.position = 1 AND s.name IS NULL
ORDER BY s.backup_set_id, f.file_number
"""


def test_chain_of_a_full_backup(shop: Toolkit) -> None:
    rows = [
        tuple(value.strip() if isinstance(value, str) else value for value in row) for row in shop.rows(CHAIN)
    ]
    assert rows == [
        ("D", 0, "Shop", "D", 0, 0),
        ("D", 0, "Shop_log", "L", 0, 0),
        ("I", 0, "Shop", "D", 1, 1),
        ("I", 0, "Shop_log", "L", 1, 1),
        ("L", 1, "Shop", "D", 1, 0),
        ("L", 1, "Shop_log", "L", 1, 0),
    ]


def test_header_into_a_table_chooses_the_files_of_a_restore(shop: Toolkit) -> None:
    """A restore test: the files of the media decide about MOVE; a copy is restored, checked and dropped."""
    listing = shop.rows(f"RESTORE FILELISTONLY FROM DISK = N'{BACKUPS}/Shop_full.bak' WITH FILE = 1")
    moves = ", ".join(f"MOVE N'{row[0]}' TO N'/var/opt/mssql/data/test_{row[0]}'" for row in listing)
    text = (
        f"RESTORE DATABASE [testrestore-Shop] FROM  DISK = N'{BACKUPS}/Shop_full.bak' WITH  FILE = 1, "
        f" {moves}, "
        " NORECOVERY,  NOUNLOAD,  REPLACE,  STATS = 1"
    )
    shop.run(text)
    state = "SELECT state_desc FROM sys.databases WHERE name = 'testrestore-Shop'"
    assert shop.rows(state) == [("RESTORING",)]
    for file in ("Shop_diff.bak", "Shop_log.trn"):
        kind = "LOG" if file.endswith("trn") else "DATABASE"
        step = (
            f"RESTORE {kind} [testrestore-Shop] FROM  DISK = N'{BACKUPS}/{file}' WITH  NORECOVERY,  NOUNLOAD"
        )
        shop.run(step)
    shop.run("RESTORE DATABASE [testrestore-Shop] WITH RECOVERY")
    shop.run("DBCC CHECKDB ([testrestore-Shop]) WITH ALL_ERRORMSGS, NO_INFOMSGS")
    assert shop.rows("SELECT COUNT(*) FROM [testrestore-Shop].dbo.t") == [(3,)]
    restored = (
        "SELECT TOP (1) rh.restore_type, rh.replace, rh.recovery, bs.database_name"
        " FROM msdb.dbo.restorehistory rh"
        " LEFT JOIN msdb.dbo.backupset bs ON bs.backup_set_id = rh.backup_set_id"
        " WHERE rh.destination_database_name = 'testrestore-Shop' ORDER BY rh.restore_history_id"
    )
    assert shop.rows(restored) == [("D", True, False, "Shop")]
    places = (
        "SELECT f.destination_phys_name FROM msdb.dbo.restorefile f JOIN msdb.dbo.restorehistory h"
        " ON h.restore_history_id = f.restore_history_id"
        " WHERE h.destination_database_name = 'testrestore-Shop'"
        " AND h.restore_type = 'D' AND f.file_number = 1 AND h.replace = 1"
    )
    assert shop.rows(places) == [("/var/opt/mssql/data/test_Shop",)]
    shop.run("ALTER DATABASE [testrestore-Shop] SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    shop.run("DROP DATABASE [testrestore-Shop]")


@pytest.mark.parametrize(
    "text",
    [
        # Which databases have no full backup within a week.
        "SELECT d.name FROM master.sys.databases d LEFT OUTER JOIN msdb.dbo.backupset b ON d.name COLLATE"
        " SQL_Latin1_General_CP1_CI_AS = b.database_name COLLATE SQL_Latin1_General_CP1_CI_AS"
        " AND b.type = 'D'"
        " AND b.server_name = SERVERPROPERTY('ServerName')"
        " WHERE d.database_id <> 2 AND d.state NOT IN (1, 6, 10)"
        " AND d.is_in_standby = 0 AND d.source_database_id IS NULL"
        " AND d.name NOT IN ('master', 'model', 'msdb')"
        " GROUP BY d.name HAVING MAX(b.backup_finish_date) <= GETDATE() - 7"
        " OR MAX(b.backup_finish_date) IS NULL",
        # Which of them in FULL have no log backup.
        "SELECT d.name FROM master.sys.databases d WHERE d.recovery_model IN (2, 3) AND d.database_id > 4"
        " AND NOT EXISTS (SELECT * FROM msdb.dbo.backupset b WHERE d.name = b.database_name AND b.type = 'L'"
        " AND b.backup_finish_date >= DATEADD(DAY, -7, GETDATE()))",
    ],
)
def test_findings_of_a_health_check(shop: Toolkit, text: str) -> None:
    assert shop.rows(text) == [("Plain",)]


def test_speed_and_size_of_backups(shop: Toolkit) -> None:
    text = (
        "SELECT TOP (1) database_name, COUNT(*) OVER (PARTITION BY database_name),"
        " CAST(backup_size / NULLIF(DATEDIFF(ss, backup_start_date, backup_finish_date), 0)"
        " / 1048576 AS int),"
        " CAST(backup_size / compressed_backup_size AS decimal(5, 2)) FROM msdb.dbo.backupset"
        " WHERE backup_start_date > DATEADD(dd, -30, GETDATE()) ORDER BY backup_set_id"
    )
    ((name, count, _, ratio),) = shop.rows(text)
    assert (name, count) == ("Shop", 4)
    assert ratio is not None


ONE = """
DECLARE @CurrentType nvarchar(max) = N'DIFF', @DatabaseName sysname = N'Shop', @File nvarchar(max),
        @Command nvarchar(max), @Error int = 0, @LogBackups bit;
IF NOT EXISTS (SELECT * FROM sys.database_recovery_status WHERE database_id = DB_ID(@DatabaseName)
               AND last_log_backup_lsn IS NOT NULL) SET @CurrentType = N'FULL';
SELECT @LogBackups = CASE WHEN last_log_backup_lsn IS NULL THEN 0 ELSE 1 END
FROM sys.database_recovery_status WHERE database_id = DB_ID(@DatabaseName);
SET @File = N'{backups}/' + REPLACE(CAST(SERVERPROPERTY('ServerName') AS nvarchar(max)), N'\\', N'$')
          + N'_' + @DatabaseName + N'_' + @CurrentType + N'.bak';
SET @Command = N'BACKUP DATABASE ' + QUOTENAME(@DatabaseName) + N' TO DISK = N'''
             + REPLACE(@File, N'''', N'''''') + N''' WITH CHECKSUM, COMPRESSION, FORMAT'
             + CASE WHEN @CurrentType = N'DIFF' THEN N', DIFFERENTIAL' ELSE N'' END;
EXECUTE @Error = sp_executesql @Command;
IF @Error <> 0 OR @@ERROR <> 0 RAISERROR('failed', 16, 1);
SET @Command = N'RESTORE VERIFYONLY FROM DISK = N''' + @File + N''' WITH CHECKSUM';
EXECUTE sp_executesql @Command;
SELECT @CurrentType, @LogBackups, file_exists, @File FROM sys.dm_os_file_exists(@File);
"""


def test_a_maintenance_solution_backs_up_and_verifies_one_database(shop: Toolkit) -> None:
    found = shop.run(ONE.replace("{backups}", BACKUPS))
    assert 3262 in [message.number for message in found.messages]
    ((kind, log_backups, exists, path),) = found.sets[-1]
    assert (kind, log_backups, exists) == ("DIFF", True, True)
    assert path.startswith(f"{BACKUPS}/")
    assert path.endswith("_Shop_DIFF.bak")


def test_a_backup_directory_is_found_and_made(shop: Toolkit) -> None:
    ((default,),) = shop.rows("SELECT SERVERPROPERTY('InstanceDefaultBackupPath')")
    ((told,),) = shop.rows(
        "DECLARE @d nvarchar(4000); EXEC master.dbo.xp_instance_regread N'HKEY_LOCAL_MACHINE',"
        " N'Software\\Microsoft\\MSSQLServer\\MSSQLServer', N'BackupDirectory', @d OUTPUT, 'no_output';"
        " SELECT @d"
    )
    assert default == told
    shop.run(f"EXEC master.dbo.xp_create_subdir N'{BACKUPS}/SERVER/Shop/FULL'")
    rows = shop.rows(f"EXEC master.dbo.xp_fileexist N'{BACKUPS}/SERVER/Shop/FULL'")
    assert [tuple(int(value) for value in row) for row in rows] == [(0, 1, 1)]

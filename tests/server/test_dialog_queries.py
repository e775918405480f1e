"""What the backup and restore dialogs of Management Studio ask: right columns and exact types.

SMO unboxes without conversion: another type than the one it expects empties the dialog without a word.
"""

from __future__ import annotations

import pytest

from tdsproxy.tsql.replies import Column, Message, ResultSet
from tests.server.support import Client, World, errors, infos

INT, BIT = "int", "bit"


@pytest.fixture
def shop(sa: Client, world: World) -> Client:
    """A database with a full, a differential and a log backup on one medium, the full in two stripes too."""
    sa.run("CREATE DATABASE Shop")
    sa.run("ALTER DATABASE Shop SET RECOVERY SIMPLE")
    sa.run("CREATE TABLE Shop.dbo.t (a int); INSERT Shop.dbo.t VALUES (1)")
    full = (
        "BACKUP DATABASE [Shop] TO  DISK = N'/var/opt/mssql/backup/Shop.bak' WITH NOFORMAT, NOINIT, "
        " NAME = N'Shop-Full Database Backup', SKIP, REWIND, NOUNLOAD,  STATS = 10, CHECKSUM"
    )
    numbers = [m.number for m in infos(sa.replies(full))]
    assert numbers[-1] == 3014
    assert numbers.count(3211) == 10
    sa.run(
        "BACKUP DATABASE [Shop] TO  DISK = N'/var/opt/mssql/backup/Shop.bak' WITH  DIFFERENTIAL , NOFORMAT"
    )
    return sa


def sets(client: Client, text: str) -> list[ResultSet]:
    replies = client.replies(text)
    assert not errors(replies), errors(replies)
    return [reply for reply in replies if isinstance(reply, ResultSet)]


def shape(columns: tuple[Column, ...]) -> dict[str, str]:
    return {column.name: str(column.type) for column in columns}


def only(client: Client, text: str) -> ResultSet:
    (found,) = sets(client, text)
    return found


HEADER = {
    "tinyint": "BackupType",
    "smallint": "Position",
    "int": "SoftwareVendorId SoftwareVersionMajor SoftwareVersionMinor SoftwareVersionBuild",
    "nvarchar(128)": "BackupName DatabaseName ServerName MachineName UserName",
    "datetime": "BackupStartDate BackupFinishDate ExpirationDate",
    "numeric(25,0)": "FirstLSN LastLSN CheckpointLSN DatabaseBackupLSN ForkPointLSN DifferentialBaseLSN",
    "bigint": "BackupSize CompressedBackupSize",
    "uniqueidentifier": (
        "BackupSetGUID DifferentialBaseGUID FirstRecoveryForkID RecoveryForkID FamilyGUID BindingID"
    ),
    "bit": (
        "HasIncompleteMetaData HasBulkLoggedData IsCopyOnly IsForceOffline IsDamaged IsReadOnly IsSnapshot"
        " BeginsLogChain"
    ),
}


def test_headeronly(shop: Client) -> None:
    text = "RESTORE HEADERONLY FROM  DISK = N'/var/opt/mssql/backup/Shop.bak' WITH  NOUNLOAD"
    found = only(shop, text)
    types = shape(found.columns)
    for type_, names in HEADER.items():
        assert {name: types[name] for name in names.split()} == dict.fromkeys(names.split(), type_)
    names_ = [column.name for column in found.columns]
    for row in shop.rows(text):
        assert all(row[names_.index(name)] is not None for name in HEADER["bit"].split())
    assert [row[2] for row in shop.rows(text)] == [1, 5]
    assert len(shop.rows(f"{text},  FILE = 2")) == 1


def test_labelonly_and_filelistonly(shop: Client) -> None:
    label = shape(only(shop, "RESTORE LABELONLY FROM  DISK = N'Shop.bak' WITH  NOUNLOAD").columns)
    assert label["MediaSetId"] == "uniqueidentifier"
    assert {label[name] for name in ("FamilyCount", "FamilySequenceNumber", "MirrorCount")} == {INT}
    assert label["MediaName"] == "nvarchar(128)"
    text = "RESTORE FILELISTONLY FROM  DISK = N'Shop.bak' WITH  NOUNLOAD,  FILE = 1"
    files = shape(only(shop, text).columns)
    assert [files[name] for name in ("LogicalName", "PhysicalName", "Type")] == [
        "nvarchar(128)",
        "nvarchar(260)",
        "nchar(1)",
    ]
    assert [(row[0], row[2]) for row in shop.rows(text)] == [("Shop", "D"), ("Shop_log", "L")]


SETS = {
    "backup_set_id": INT,
    "media_set_id": INT,
    "position": INT,
    "software_vendor_id": INT,
    "software_major_version": "tinyint",
    "software_minor_version": "tinyint",
    "software_build_version": "smallint",
    "first_lsn": "numeric(25,0)",
    "last_lsn": "numeric(25,0)",
    "checkpoint_lsn": "numeric(25,0)",
    "database_backup_lsn": "numeric(25,0)",
    "fork_point_lsn": "numeric(25,0)",
    "differential_base_lsn": "numeric(25,0)",
    "backup_size": "numeric(20,0)",
    "compressed_backup_size": "numeric(20,0)",
    "backup_start_date": "datetime",
    "backup_finish_date": "datetime",
    "expiration_date": "datetime",
    "database_creation_date": "datetime",
    "backup_set_uuid": "uniqueidentifier",
    "differential_base_guid": "uniqueidentifier",
    "first_recovery_fork_guid": "uniqueidentifier",
    "last_recovery_fork_guid": "uniqueidentifier",
    "family_guid": "uniqueidentifier",
    "database_guid": "uniqueidentifier",
    "is_snapshot": BIT,
    "is_readonly": BIT,
    "is_damaged": BIT,
    "is_copy_only": BIT,
    "is_force_offline": BIT,
    "begins_log_chain": BIT,
    "has_incomplete_metadata": BIT,
    "has_bulk_logged_data": BIT,
}


def test_the_plan_from_history(shop: Client) -> None:
    names = shop.rows(
        "SELECT bkps.database_name AS [DatabaseName] FROM msdb.dbo.backupset bkps ORDER BY [DatabaseName] ASC"
    )
    assert names == [("Shop",), ("Shop",)]
    last = (
        "SELECT TOP(1) restore_date FROM msdb.dbo.restorehistory WHERE destination_database_name = N'Shop'"
        " ORDER BY restore_date DESC"
    )
    assert shape(only(shop, last).columns) == {"restore_date": "datetime"}
    guids = shop.rows(
        "SELECT bkps.backup_set_uuid FROM msdb.dbo.backupset bkps WHERE bkps.database_name = N'Shop' and"
        " bkps.is_snapshot = 0 ORDER BY bkps.backup_set_id ASC"
    )
    assert len(guids) == 2
    columns = ", ".join(f"bkps.{name}" for name in SETS)
    one = (
        "exec sp_executesql N'SELECT CASE bkps.type WHEN ''D'' THEN 1 WHEN ''I'' THEN 2 WHEN ''L'' THEN 3"
        f" WHEN ''F'' THEN 4 WHEN ''G'' THEN 5 END AS [BackupSetType], {columns} FROM msdb.dbo.backupset bkps"
        " WHERE bkps.backup_set_uuid = @_msparam_0', N'@_msparam_0 nvarchar(4000)', @_msparam_0 = N'{}'"
    )
    for kind, (guid,) in enumerate(guids, 1):
        text = one.format(str(guid).upper())
        assert shape(only(shop, text).columns) == {"BackupSetType": INT, **SETS}
        (row,) = shop.rows(text)
        assert row[0] == kind
    media = (
        "SELECT bkms.media_uuid, bkms.name, bkms.description, bkms.media_family_count, bkms.mirror_count,"
        " bkms.is_compressed, bkms.is_encrypted FROM msdb.dbo.backupmediaset bkms WHERE bkms.media_set_id = 1"
    )
    assert list(shape(only(shop, media).columns).values()) == [
        "uniqueidentifier",
        "nvarchar(128)",
        "nvarchar(255)",
        "tinyint",
        "tinyint",
        BIT,
        BIT,
    ]
    assert len(shop.rows(media)) == 1
    families = (
        "SELECT bkms.logical_device_name, bkms.physical_device_name, bkms.device_type,"
        " bkms.family_sequence_number, bkms.mirror FROM msdb.dbo.backupmediafamily bkms WHERE"
        " bkms.media_set_id = 1 ORDER BY bkms.family_sequence_number, bkms.mirror"
    )
    assert list(shape(only(shop, families).columns).values()) == [
        "nvarchar(128)",
        "nvarchar(260)",
        "tinyint",
        "tinyint",
        "tinyint",
    ]
    assert shop.rows(families)[0][1:] == ("/var/opt/mssql/backup/Shop.bak", 2, 1, 0)


def test_verify_when_finished(shop: Client) -> None:
    batch = (
        "declare @backupSetId as int\nselect @backupSetId = position from msdb..backupset where"
        " database_name=N'Shop' and backup_set_id=(select max(backup_set_id) from msdb..backupset where"
        " database_name=N'Shop' )\nif @backupSetId is null begin raiserror(N'Verify failed.', 16, 1) end\n"
        "RESTORE VERIFYONLY FROM  DISK = N'/var/opt/mssql/backup/Shop.bak' WITH  FILE ="
        " @backupSetId,  NOUNLOAD"
    )
    replies = shop.replies(batch)
    assert [(m.number, m.text) for m in replies if isinstance(m, Message)] == [
        (3262, "The backup set on file 2 is valid.")
    ]


def test_last_backup_dates(shop: Client) -> None:
    text = (
        "exec sp_executesql N'create table #tempbackup (database_name nvarchar(128), [type] char(1),"
        " backup_finish_date datetime)\ninsert into #tempbackup select database_name, [type],"
        " max(backup_finish_date) from msdb..backupset where [type] = @_msparam_0 or"
        " [type] = @_msparam_1 group"
        " by database_name, [type]\nSELECT (select backup_finish_date from #tempbackup"
        " where type = @_msparam_0"
        " and db_id(database_name) = dtb.database_id) AS [LastBackupDate], (select backup_finish_date from"
        " #tempbackup where type = @_msparam_1 and db_id(database_name) = dtb.database_id) AS"
        " [LastLogBackupDate] FROM master.sys.databases AS dtb WHERE (dtb.name=@_msparam_2)\ndrop table"
        " #tempbackup', N'@_msparam_0 nvarchar(4000),@_msparam_1 nvarchar(4000),@_msparam_2 nvarchar(4000)',"
        " @_msparam_0=N'D', @_msparam_1=N'L', @_msparam_2=N'Shop'"
    )
    assert shape(only(shop, text).columns) == {"LastBackupDate": "datetime", "LastLogBackupDate": "datetime"}
    ((full, log),) = shop.rows(text)
    assert full is not None
    assert log is None


def test_the_database_and_its_files(shop: Client) -> None:
    status = (
        "SELECT dtb.name AS [Name], dtb.recovery_model AS [RecoveryModel], dtb.database_id AS [ID],"
        " dtb.create_date AS [CreateDate], dtb.user_access AS [UserAccess], dtb.is_read_only AS [ReadOnly],"
        " dtb.service_broker_guid AS [Broker], case when dtb.collation_name is null then 0x200 else 0 end |"
        " case when 1 = dtb.is_in_standby then 0x40 else 0 end | case dtb.state when 1"
        " then 0x2 when 6 then 0x20"
        " else 1 end AS [Status], dtb.compatibility_level AS [Level], drs.last_log_backup_lsn AS [Lsn]"
        " FROM master.sys.databases AS dtb LEFT OUTER JOIN sys.database_recovery_status AS drs ON"
        " drs.database_id = dtb.database_id WHERE dtb.name = N'Shop'"
    )
    assert shape(only(shop, status).columns) == {
        "Name": "nvarchar(128)",
        "RecoveryModel": "tinyint",
        "ID": INT,
        "CreateDate": "datetime",
        "UserAccess": "tinyint",
        "ReadOnly": BIT,
        "Broker": "uniqueidentifier",
        "Status": INT,
        "Level": "tinyint",
        "Lsn": "numeric(25,0)",
    }
    assert shop.rows(status)[0][7] == 1
    files = (
        "SELECT s.name AS [Name], s.physical_name AS [FileName], s.size * CONVERT(float,8) AS [Size],"
        " CASE when s.max_size=-1 then -1 else s.max_size * CONVERT(float,8) END AS"
        " [MaxSize], s.file_id AS [ID],"
        " s.is_read_only AS [IsReadOnly] FROM master.sys.master_files AS s WHERE"
        " s.database_id = db_id(N'Shop')"
        " ORDER BY [ID]"
    )
    types = shape(only(shop, files).columns)
    assert (types["Size"], types["MaxSize"], types["ID"], types["IsReadOnly"]) == ("float", "float", INT, BIT)
    assert [row[0] for row in shop.rows(files)] == ["Shop", "Shop_log"]


def test_settings(shop: Client, world: World) -> None:
    configurations = only(shop, "SELECT * FROM sys.configurations ORDER BY configuration_id")
    assert list(shape(configurations.columns).items()) == [
        ("configuration_id", INT),
        ("name", "nvarchar(35)"),
        ("value", "sql_variant"),
        ("minimum", "sql_variant"),
        ("maximum", "sql_variant"),
        ("value_in_use", "sql_variant"),
        ("description", "nvarchar(255)"),
        ("is_dynamic", BIT),
        ("is_advanced", BIT),
    ]
    registry = (
        "declare @HkeyLocal nvarchar(18), @path nvarchar(60), @BackupDirectory"
        " nvarchar(512), @none nvarchar(512)\n"
        "select @HkeyLocal=N'HKEY_LOCAL_MACHINE', @path=N'SOFTWARE\\Microsoft\\MSSQLServer\\MSSQLServer'\n"
        "exec master.dbo.xp_instance_regread @HkeyLocal, @path, N'BackupDirectory', @BackupDirectory OUTPUT\n"
        "exec master.sys.xp_instance_regread @HkeyLocal, @path, N'MailAccountName', @none OUTPUT\n"
        "SELECT @BackupDirectory AS [BackupDirectory], @none AS [None],"
        " CAST(SERVERPROPERTY('instancedefaultdatapath') AS nvarchar(512)) AS [DefaultFile]"
    )
    (row,) = shop.rows(registry)
    assert row[0] == str(world.engine.store / "backup")
    assert row[1] is None
    assert row[2]
    assert shop.rows(
        "select convert(float,low/1024.) from master.dbo.spt_values where number = 1 and type = 'E'"
    ) == [(8.0,)]
    roles = "select is_srvrolemember('sysadmin') * 1 + is_srvrolemember('serveradmin') * 2"
    assert [str(column.type) for column in only(shop, roles).columns] == [INT]


def test_the_file_picker(shop: Client) -> None:
    listed = shop.rows(
        "SELECT name, type FROM sys.all_objects WHERE name LIKE 'dm[_]os[_]enumerate%' ORDER BY name"
    )
    assert [(name, str(kind).strip()) for name, kind in listed] == [
        ("dm_os_enumerate_filesystem", "IF"),
        ("dm_os_enumerate_fixed_drives", "V"),
    ]
    found = shop.rows(
        "SELECT file_or_directory_name, is_directory, level FROM"
        " sys.dm_os_enumerate_filesystem(N'/var/opt/mssql/backup', N'*')"
    )
    assert found == [("Shop.bak", 0, 0)]
    picker = (
        "create table #filetmp (Name nvarchar(255) NOT NULL, depth int NOT NULL, IsFile bit NULL)\n"
        "insert #filetmp EXECUTE master.dbo.xp_dirtree N'/var/opt/mssql/backup', 1, 1\n"
        "SELECT Name, IsFile FROM #filetmp\ndrop table #filetmp"
    )
    assert shop.rows(picker) == [("Shop.bak", 1)]


def test_what_the_dialogs_need_beside(sa: Client) -> None:
    """Statements whose failure, or whose NULL, keeps the dialogs from opening."""
    assert sa.rows("SELECT SID_BINARY(N'NT Service\\MSSQLSERVER')") == [(None,)]
    policies = (
        "select case when 1=msdb.dbo.fn_syspolicy_is_automation_enabled() and exists (select * from"
        " msdb.dbo.syspolicy_system_health_state where target_query_expression_with_id like 'Server%')"
        " then 1 else 0 end AS [PolicyHealthState]"
    )
    assert sa.rows(policies) == [(0,)]
    assert sa.rows("SELECT current_value FROM msdb.dbo.syspolicy_configuration WHERE name = 'Enabled'") != []
    groups = "SELECT is_default, is_read_only, is_system, is_autogrow_all_files FROM sys.filegroups"
    assert sa.rows(groups) == [(1, 0, 0, 0)]

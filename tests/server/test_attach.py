"""sp_detach_db, sp_attach_db and CREATE DATABASE FOR ATTACH."""

from __future__ import annotations

from tests.server.support import Client, World


def test_a_database_comes_back_under_another_name(world: World, sa: Client) -> None:
    sa.run("CREATE DATABASE here ON (NAME = data, FILENAME = 'D:\\Data\\here.mdf')")
    sa.run("CREATE TABLE here.dbo.t(a int); INSERT here.dbo.t VALUES (7)")
    family = sa.value(
        "SELECT family_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('here')"
    )
    sa.run("EXEC sp_detach_db @dbname = N'here', @skipchecks = 'true'")
    assert sa.value("SELECT DB_ID('here')") is None
    assert sa.error("SELECT * FROM here.dbo.t") == 208
    sa.run("CREATE DATABASE here")  # the name is free
    sa.run(
        "CREATE DATABASE back ON (FILENAME = 'D:\\Data\\here.mdf'), (FILENAME = 'D:\\Data\\x.ldf') FOR ATTACH"
    )
    assert sa.value("SELECT a FROM back.dbo.t") == 7
    assert sa.rows("SELECT name, physical_name FROM sys.master_files WHERE database_id = DB_ID('back')")[
        0
    ] == (
        "data",
        "D:\\Data\\here.mdf",
    )
    again = "SELECT family_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('back')"
    assert sa.value(again) == family
    assert list((world.keeper.store / "detached").iterdir()) == []


def test_the_procedures_for_attaching(sa: Client) -> None:
    sa.run("CREATE DATABASE one")
    file = str(
        sa.value("SELECT physical_name FROM sys.master_files WHERE database_id = DB_ID('one') AND type = 0")
    )
    sa.run("EXEC sp_detach_db 'one'")
    sa.run(f"EXEC sp_attach_db @dbname = N'two', @filename1 = N'{file}', @filename2 = N'one_log.ldf'")
    sa.run("EXEC master.dbo.sp_detach_db 'two', 'true'")
    sa.run(f"EXEC sp_attach_single_file_db @dbname = 'three', @physname = N'{file}'")
    assert sa.value("SELECT DB_NAME(DB_ID('three'))") == "three"


def test_what_is_refused(world: World, sa: Client) -> None:
    sa.run("CREATE DATABASE used")
    assert sa.error("EXEC sp_detach_db 'gone'") == 15010
    assert sa.error("EXEC sp_detach_db 'msdb'") == 7940
    assert sa.error("BEGIN TRAN; EXEC sp_detach_db 'used'") == 15002
    sa.run("IF @@TRANCOUNT > 0 ROLLBACK; USE used")
    assert sa.error("EXEC sp_detach_db 'used'") == 3703
    sa.run("USE master")
    other = world.login(database="used")
    assert sa.error("EXEC sp_detach_db 'used'") == 3703
    other.run("USE master")
    sa.run("EXEC sp_detach_db 'used'")
    assert sa.error("CREATE DATABASE x ON (FILENAME = '/nowhere/x.mdf') FOR ATTACH") == 5120
    assert sa.error("CREATE DATABASE x ON (FILENAME = 'missing.mdf') FOR ATTACH") == 5120


def test_a_sqlite_file_from_elsewhere(world: World, sa: Client) -> None:
    sa.run("CREATE DATABASE made; CREATE TABLE made.dbo.t(a int); INSERT made.dbo.t VALUES (1), (2)")
    sa.run("EXEC sp_detach_db 'made'")
    (file,) = (world.keeper.store / "detached").glob("*.db")
    backup = world.keeper.store / "backup"
    backup.mkdir(exist_ok=True)
    (backup / "brought.mdf").write_bytes(file.read_bytes())
    sa.run("CREATE DATABASE brought ON (FILENAME = 'brought.mdf') FOR ATTACH")
    assert sa.value("SELECT COUNT(*) FROM brought.dbo.t") == 2
    (backup / "text.mdf").write_text("no database")
    assert sa.error("CREATE DATABASE x ON (FILENAME = 'text.mdf') FOR ATTACH") == 5171

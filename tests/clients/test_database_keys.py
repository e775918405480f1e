"""An encrypted database through a real client: served, captured, restarted, restored, never in clear."""

from __future__ import annotations

from pathlib import Path

from tests.running import running

MARKER = "the marker of this test"


def in_clear(directory: Path) -> list[str]:
    """The files (store, temporary ones, logs) that show the marker in any form in which they could."""
    found = []
    for path in directory.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            if MARKER.encode() in data or MARKER.encode("utf-16-le") in data:
                found.append(str(path.relative_to(directory)))
    return found


def test_an_encrypted_database_is_served_and_never_in_clear(tmp_path: Path) -> None:
    store, temporary = tmp_path / "store", tmp_path / "temporary"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary), "SQLITE_TMPDIR": str(temporary)}
    with running(store, env=environment) as server, server.connect() as connection:
        cursor = connection.cursor()
        for text in (
            "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'",
            "CREATE CERTIFICATE c WITH SUBJECT = 's'",
            "CREATE DATABASE shop",
            "USE shop",
            "CREATE DATABASE ENCRYPTION KEY WITH ALGORITHM = AES_256 ENCRYPTION BY SERVER CERTIFICATE c",
            "ALTER DATABASE shop SET ENCRYPTION ON",
            "CREATE TABLE t (id int IDENTITY PRIMARY KEY, v nvarchar(200))",
            "BACKUP DATABASE shop TO DISK = 'shop.bak'",
            f"INSERT t (v) VALUES (N'{MARKER}')",
            # What sorts and groups more than fits into a page, and a copy in a temporary table.
            "INSERT t (v) SELECT TOP 2000 a.v FROM t a CROSS JOIN master.dbo.spt_values",
            "SELECT v, id INTO #copy FROM t ORDER BY v, id DESC",
            f"UPDATE t SET v = N'{MARKER}!' WHERE id < 500",
            "BACKUP DATABASE shop TO DISK = 'shop.bak' WITH DIFFERENTIAL",
            "DELETE t WHERE id > 1000",
            "BACKUP LOG shop TO DISK = 'shop.trn'",
        ):
            cursor.execute(text)
        cursor.execute("SELECT is_encrypted FROM sys.databases WHERE name = 'shop'")
        assert cursor.fetchall() == [(True,)]
        cursor.execute("SELECT encryption_state_desc, key_length FROM sys.dm_database_encryption_keys")
        assert cursor.fetchall() == [("ENCRYPTED", 256)]
        cursor.execute(f"SELECT count(*), (SELECT count(*) FROM #copy) FROM t WHERE v LIKE N'{MARKER}%'")
        counts = cursor.fetchall()
        assert counts == [(1000, 2001)]
        assert in_clear(tmp_path) == []
    with running(store, env=environment) as server, server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT count(*) FROM shop.dbo.t")
        assert cursor.fetchall() == [(1000,)]
        cursor.execute("DELETE shop.dbo.t WHERE id > 10; BACKUP LOG shop TO DISK = 'shop.trn'")
        for text in (
            "DROP DATABASE shop",
            "RESTORE DATABASE shop FROM DISK = 'shop.bak' WITH FILE = 1, NORECOVERY",
            "RESTORE DATABASE shop FROM DISK = 'shop.bak' WITH FILE = 2, NORECOVERY",
            "RESTORE LOG shop FROM DISK = 'shop.trn' WITH FILE = 1, NORECOVERY",
            "RESTORE LOG shop FROM DISK = 'shop.trn' WITH FILE = 2, RECOVERY",
        ):
            cursor.execute(text)
        cursor.execute("SELECT count(*), max(v) FROM shop.dbo.t")
        assert cursor.fetchall() == [(10, f"{MARKER}!")]
        assert in_clear(tmp_path) == []

"""Keys and encrypted backups through a real client, with the embedded server and in front of another."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.running import Running, running

SECRETS = ("Pass-word1", "Pass-word2", "open sesame")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("keys") / "store") as found:
        yield found


@pytest.fixture(scope="module")
def keyed(server: Running) -> Running:
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'")
        cursor.execute("CREATE CERTIFICATE c WITH SUBJECT = 'Backups of the shop'")
        cursor.execute("CREATE ASYMMETRIC KEY k WITH ALGORITHM = RSA_2048")
        cursor.execute("CREATE CREDENTIAL r WITH IDENTITY = 'somebody', SECRET = 'open sesame'")
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.dbo.t (v nvarchar(100)); INSERT shop.dbo.t VALUES (N'marker')")
    return server


def rows(cursor: Any, text: str) -> list[tuple[Any, ...]]:
    cursor.execute(text)
    found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


@contextlib.contextmanager
def session_numbered(server: Running, spid: int) -> Iterator[Any]:
    """A connection whose session has the number of one that ended, once the server has come to see that.

    The lowest free number is given out: sessions that have a lower one stay, so that it is not given again.
    """
    deadline = time.monotonic() + 60
    with contextlib.ExitStack() as lower:
        while True:
            connection = server.connect()
            ((number,),) = rows(connection.cursor(), "SELECT @@SPID")
            if number <= spid:
                lower.enter_context(connection)
            else:
                connection.close()
            if number == spid:
                yield connection
                return
            assert time.monotonic() < deadline
            time.sleep(0.02)


def test_the_views_show_keys_and_no_secrets(keyed: Running) -> None:
    with keyed.connect() as connection:
        cursor = connection.cursor()
        ((name, protection, subject, bits, backed_up, thumbprint),) = rows(
            cursor,
            "SELECT name, pvt_key_encryption_type, subject, key_length, pvt_key_last_backup_date, thumbprint"
            " FROM sys.certificates WHERE name = 'c'",
        )
        assert (name, protection, subject, bits, backed_up) == ("c", "MK", "Backups of the shop", 2048, None)
        assert len(thumbprint) == 20
        assert rows(cursor, "SELECT name, algorithm_desc FROM master.sys.asymmetric_keys") == [
            ("k", "RSA_2048")
        ]
        assert [
            row[0] for row in rows(cursor, "SELECT name FROM sys.symmetric_keys ORDER BY symmetric_key_id")
        ] == [
            "##MS_DatabaseMasterKey##",
            "##MS_ServiceMasterKey##",
        ]
        assert rows(cursor, "SELECT crypt_type FROM sys.key_encryptions ORDER BY crypt_type") == [
            ("ESKM",),
            ("ESP2",),
        ]
        assert rows(cursor, "SELECT name, credential_identity FROM sys.credentials") == [("r", "somebody")]
        cursor.execute("BACKUP CERTIFICATE c TO FILE = 'c.cer'")
        assert (
            rows(cursor, "SELECT name FROM sys.certificates WHERE pvt_key_last_backup_date IS NOT NULL") == []
        )
        cursor.execute("USE shop")
        assert rows(cursor, "SELECT name FROM sys.certificates") == []
        with pytest.raises(pytds.Error, match="database other than master"):
            cursor.execute("CREATE CERTIFICATE d WITH SUBJECT = 's'")


def test_statements_run_wherever_they_stand(keyed: Running) -> None:
    with keyed.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(
            "IF NOT EXISTS (SELECT 1 FROM sys.certificates WHERE name = 'inner')"
            " EXEC('CREATE CERTIFICATE [inner] WITH SUBJECT = ''s''')"
        )
        assert rows(
            cursor,
            "BEGIN TRY CREATE CERTIFICATE [inner] WITH SUBJECT = 's' END TRY"
            " BEGIN CATCH SELECT ERROR_NUMBER(), ERROR_SEVERITY() END CATCH",
        ) == [(15232, 16)]
        cursor.execute("DROP CERTIFICATE [inner]")


def test_an_open_master_key_ends_with_its_session(keyed: Running) -> None:
    with keyed.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("ALTER MASTER KEY DROP ENCRYPTION BY SERVICE MASTER KEY")
        (spid,) = rows(cursor, "SELECT @@SPID")[0]
        cursor.execute("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'")
        cursor.execute("CREATE CERTIFICATE opened WITH SUBJECT = 's'")
    with session_numbered(keyed, spid) as connection:
        cursor = connection.cursor()
        with pytest.raises(pytds.Error, match="open the master key in the session"):
            cursor.execute("CREATE CERTIFICATE another WITH SUBJECT = 's'")
        cursor.execute("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'")
        cursor.execute("ALTER MASTER KEY ADD ENCRYPTION BY SERVICE MASTER KEY")
        cursor.execute("CLOSE MASTER KEY")
        cursor.execute("DROP CERTIFICATE opened")


def test_an_encrypted_backup_is_taken_and_restored(keyed: Running) -> None:
    with keyed.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(
            "BACKUP DATABASE shop TO DISK = 'shop.bak' WITH ENCRYPTION"
            " (ALGORITHM = AES_256, SERVER CERTIFICATE = c)"
        )
        assert rows(
            cursor,
            "SELECT key_algorithm, encryptor_type FROM msdb.dbo.backupset WHERE database_name = 'shop'",
        ) == [("aes_256", "CERTIFICATE")]
        cursor.execute("DROP DATABASE shop; RESTORE DATABASE shop FROM DISK = 'shop.bak'")
        assert rows(cursor, "SELECT v FROM shop.dbo.t") == [("marker",)]
    assert b"marker" not in (keyed.backup_directory / "shop.bak").read_bytes()


def test_master_is_backed_up_with_its_keys(keyed: Running, tmp_path: Path) -> None:
    from tdsproxy.commands.extraction import extract

    with keyed.connect() as connection:
        connection.cursor().execute("BACKUP DATABASE master TO DISK = 'master.bak'")
    extract([keyed.backup_directory / "master.bak"], tmp_path / "master.db")
    data = (tmp_path / "master.db").read_bytes()
    assert b"Backups of the shop" in data
    assert not any(secret.encode() in data for secret in SECRETS)


def test_no_password_is_shown_or_logged(keyed: Running) -> None:
    with keyed.connect() as connection:
        cursor = connection.cursor()
        text = (
            "OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word1'; SELECT text FROM sys.dm_exec_requests"
            " CROSS APPLY sys.dm_exec_sql_text(sql_handle) WHERE session_id = @@SPID"
        )
        ((shown,),) = rows(cursor, text)
        assert "PASSWORD = '***'" in shown
        with pytest.raises(pytds.Error) as caught:
            cursor.execute("OPEN MASTER KEY DECRYPTION BY PASSWORD = 'Pass-word2'")
        assert "Pass-word" not in str(caught.value)
    for path in (keyed.log, *keyed.store.glob("*.log")):
        assert not any(secret in path.read_text() for secret in SECRETS)


def test_a_proxy_keeps_the_keys_in_its_own_store(tmp_path: Path) -> None:
    with (
        running(tmp_path / "upstream", command="server") as upstream,
        running(tmp_path / "store", "--upstream", f"127.0.0.1:{upstream.port}") as proxy,
        proxy.connect() as connection,
    ):
        cursor = connection.cursor()
        assert rows(
            cursor,
            "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1';"
            " CREATE CERTIFICATE c WITH SUBJECT = 's'; SELECT count(*) FROM sys.certificates",
        ) == [(1,)]
        with pytest.raises(pytds.Error, match="already exists"):
            cursor.execute("CREATE CERTIFICATE c WITH SUBJECT = 's'")
        assert (tmp_path / "store" / "service_master_key").exists()
        assert not (tmp_path / "upstream" / "service_master_key").exists()

"""What must be refused, with SQL Server's number, severity and text; databases and media stay unharmed."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.running import Running, running


@dataclass(frozen=True)
class Failure:
    number: int
    severity: int
    text: str


def failures(connection: Any, sql: str) -> list[Failure]:
    """Runs a statement that must fail; every error of it, in order."""
    cursor = connection.cursor()
    with pytest.raises(pytds.Error):
        _run(cursor, sql)
    return [
        Failure(error.number, error.severity, error.text)
        for error in (message[1] for message in cursor.messages)
        if getattr(error, "severity", 0) > 10
    ]


def run(connection: Any, sql: str) -> None:
    _run(connection.cursor(), sql)


def _run(cursor: Any, sql: str) -> None:
    cursor.execute(sql)
    while cursor.nextset():
        continue


def _until_done(server: Running, sql: str) -> None:
    """Runs a statement again until it is not refused any more."""
    deadline = time.monotonic() + 120
    with server.connect() as connection:
        while True:
            try:
                return run(connection, sql)
            except pytds.Error:
                assert time.monotonic() < deadline
                time.sleep(0.02)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("refusals") / "store") as running_server:
        with running_server.connect() as connection:
            run(connection, "CREATE DATABASE shop")
            run(connection, "CREATE TABLE shop.dbo.t (id int PRIMARY KEY, v nvarchar(40) NOT NULL)")
            run(connection, "INSERT INTO shop.dbo.t VALUES (1, N'one'), (2, N'two')")
            run(connection, "BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT")
            run(connection, "CREATE DATABASE other")
            run(connection, "CREATE TABLE other.dbo.o (id int PRIMARY KEY)")
            run(connection, "INSERT INTO other.dbo.o VALUES (7)")
        yield running_server


@pytest.fixture
def unharmed(server: Running) -> Iterator[None]:
    """Both databases and the media are afterwards as they were."""
    medium = server.backup_directory / "shop.bak"
    digest = hashlib.sha256(medium.read_bytes()).hexdigest()
    yield
    assert hashlib.sha256(medium.read_bytes()).hexdigest() == digest
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT v FROM shop.dbo.t ORDER BY id")
        assert [row[0] for row in cursor.fetchall()] == ["one", "two"]
        cursor.execute("SELECT id FROM other.dbo.o")
        assert [row[0] for row in cursor.fetchall()] == [7]


ABNORMAL_BACKUP = Failure(3013, 16, "BACKUP DATABASE is terminating abnormally.")
ABNORMAL_RESTORE = Failure(3013, 16, "RESTORE DATABASE is terminating abnormally.")


@pytest.mark.usefixtures("unharmed")
class TestRefusals:
    def test_unknown_database(self, server: Running) -> None:
        with server.connect() as connection:
            assert failures(connection, "BACKUP DATABASE nosuch TO DISK = N'x.bak'") == [
                Failure(
                    911, 16, "Database 'nosuch' does not exist. Make sure that the name is entered correctly."
                ),
                ABNORMAL_BACKUP,
            ]
        assert not (server.backup_directory / "x.bak").exists()

    def test_missing_media(self, server: Running) -> None:
        with server.connect() as connection:
            assert failures(connection, "RESTORE DATABASE shop FROM DISK = N'none.bak' WITH REPLACE") == [
                Failure(
                    3201,
                    16,
                    f"Cannot open backup device '{server.backup_directory}/none.bak'. Operating system error "
                    "2(The system cannot find the file specified.).",
                ),
                ABNORMAL_RESTORE,
            ]

    def test_unreadable_media(self, server: Running) -> None:
        directory = server.backup_directory / "folder.bak"
        directory.mkdir(exist_ok=True)
        with server.connect() as connection:
            first, *rest = failures(
                connection, "RESTORE DATABASE shop FROM DISK = N'folder.bak' WITH REPLACE"
            )
        assert first.number == 3201
        assert "Operating system error 5(Access is denied.)" in first.text
        assert rest == [ABNORMAL_RESTORE]

    @pytest.mark.parametrize("content", [b"not a backup" * 1000, bytes(100_000)], ids=["text", "zeros"])
    def test_media_that_is_not_ours(self, server: Running, content: bytes) -> None:
        (server.backup_directory / "foreign.bak").write_bytes(content)
        with server.connect() as connection:
            first, *rest = failures(
                connection, "RESTORE DATABASE shop FROM DISK = N'foreign.bak' WITH REPLACE"
            )
            assert first.number == 3241
            assert first.severity == 16
            assert rest == [ABNORMAL_RESTORE]
            assert failures(connection, "RESTORE HEADERONLY FROM DISK = N'foreign.bak'")[0].number == 3241
            # and a backup does not overwrite what is not a backup
            assert (
                failures(connection, "BACKUP DATABASE shop TO DISK = N'foreign.bak'")[-1] == ABNORMAL_BACKUP
            )
        assert (server.backup_directory / "foreign.bak").read_bytes() == content

    def test_a_corrupted_byte_anywhere(self, server: Running) -> None:
        whole = (server.backup_directory / "shop.bak").read_bytes()
        damaged = server.backup_directory / "damaged.bak"
        step = max(1, len(whole) // 60)
        with server.connect() as connection:
            for offset in sorted({*range(0, len(whole), step), len(whole) - 1}):
                content = bytearray(whole)
                content[offset] ^= 0x10
                damaged.write_bytes(content)
                errors = failures(connection, "RESTORE DATABASE shop FROM DISK = N'damaged.bak' WITH REPLACE")
                assert errors[-1] == ABNORMAL_RESTORE, f"byte {offset}"
                assert errors[0].severity == 16

    @pytest.mark.parametrize("keep", [0, 1, 0.1, 0.5, 0.9, -1])
    def test_truncated_media(self, server: Running, keep: float) -> None:
        whole = (server.backup_directory / "shop.bak").read_bytes()
        length = int(len(whole) * keep) if 0 < keep < 1 else int(keep) % len(whole)
        (server.backup_directory / "short.bak").write_bytes(whole[:length])
        with server.connect() as connection:
            errors = failures(connection, "RESTORE DATABASE shop FROM DISK = N'short.bak' WITH REPLACE")
        assert errors[-1] == ABNORMAL_RESTORE

    def test_restore_over_another_database_without_replace(self, server: Running) -> None:
        with server.connect() as connection:
            assert failures(
                connection,
                "RESTORE DATABASE other FROM DISK = N'shop.bak' "
                "WITH MOVE N'shop' TO N'/var/opt/mssql/data/o2.mdf', "
                "MOVE N'shop_log' TO N'/var/opt/mssql/data/o2.ldf'",
            ) == [
                Failure(
                    3154,
                    16,
                    "The backup set holds a backup of a database other than the existing 'other' database.",
                ),
                ABNORMAL_RESTORE,
            ]

    def test_restore_while_another_session_uses_it(self, server: Running) -> None:
        with server.connect() as connection, server.connect(database="shop"):
            assert failures(connection, "RESTORE DATABASE shop FROM DISK = N'shop.bak' WITH REPLACE") == [
                Failure(
                    3101,
                    16,
                    "Exclusive access could not be obtained because the database is in use.",
                ),
                ABNORMAL_RESTORE,
            ]
        # The tests behind this one want it free: it is when the server has seen the end of the session.
        _until_done(
            server, "ALTER DATABASE shop SET SINGLE_USER WITH NO_WAIT; ALTER DATABASE shop SET MULTI_USER"
        )

    def test_in_a_transaction(self, server: Running) -> None:
        with server.connect() as connection:
            run(connection, "BEGIN TRANSACTION")
            for sql, last in (
                ("BACKUP DATABASE shop TO DISK = N'x.bak'", ABNORMAL_BACKUP),
                ("RESTORE DATABASE shop FROM DISK = N'shop.bak' WITH REPLACE", ABNORMAL_RESTORE),
            ):
                assert failures(connection, sql) == [
                    Failure(3021, 16, "Cannot perform a backup or restore operation within a transaction."),
                    last,
                ]
            run(connection, "ROLLBACK")

    @pytest.mark.parametrize(
        "path",
        ["/etc/passwd.bak", "../outside.bak", "sub/../../outside.bak", "link/outside.bak", "C:\\x.bak"],
    )
    def test_a_path_outside_the_backup_directory(self, server: Running, path: str, tmp_path: Path) -> None:
        link = server.backup_directory / "link"
        if not link.is_symlink():
            link.symlink_to(tmp_path)
        with server.connect() as connection:
            for sql, last in (
                (f"BACKUP DATABASE shop TO DISK = N'{path}'", ABNORMAL_BACKUP),
                (f"RESTORE DATABASE shop FROM DISK = N'{path}' WITH REPLACE", ABNORMAL_RESTORE),
            ):
                errors = failures(connection, sql)
                assert errors[0].number == 3201
                assert "Operating system error" in errors[0].text
                assert errors[-1] == last
        assert not (server.store / "outside.bak").exists()
        assert not (tmp_path / "outside.bak").exists()

    def test_a_link_in_place_of_the_file(self, server: Running, tmp_path: Path) -> None:
        victim = tmp_path / "victim"
        victim.write_bytes(b"")
        link = server.backup_directory / "linked.bak"
        if not link.is_symlink():
            link.symlink_to(victim)
        with server.connect() as connection:
            assert failures(connection, "BACKUP DATABASE shop TO DISK = N'linked.bak'")[0].number == 3201
        assert victim.read_bytes() == b""

    def test_a_login_without_rights(self, server: Running) -> None:
        with server.connect() as connection:
            run(connection, "CREATE LOGIN guestbook WITH PASSWORD = N'Reader-pass-1'")
        try:
            with server.connect(user="guestbook", password="Reader-pass-1") as plain:
                errors = failures(plain, "BACKUP DATABASE shop TO DISK = N'x.bak'")
                assert errors[-1] == ABNORMAL_BACKUP
                assert errors[0].number in (262, 916)
                errors = failures(plain, "RESTORE DATABASE shop FROM DISK = N'shop.bak' WITH REPLACE")
                assert errors[-1] == ABNORMAL_RESTORE
                assert errors[0].number == 3110
                errors = failures(plain, "RESTORE DATABASE brandnew FROM DISK = N'shop.bak'")
                assert errors[0].number == 262
                assert failures(plain, "CREATE DATABASE mine")[0].number == 262
                assert failures(plain, "RESTORE HEADERONLY FROM DISK = N'shop.bak'")[0].number == 262
        finally:
            # Nobody is dropped who is logged in: the server has to see the end of the session first.
            _until_done(server, "DROP LOGIN guestbook")
        assert not (server.backup_directory / "x.bak").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
def test_a_full_disk_during_a_backup(tmp_path: Path) -> None:
    import subprocess

    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("this machine lets nobody mount a tmpfs")
    try:
        with (
            running(tmp_path / "store", "--allow-dir", str(small)) as server,
            server.connect() as connection,
        ):
            run(connection, "CREATE DATABASE shop")
            run(connection, "CREATE TABLE shop.dbo.t (id int PRIMARY KEY, v varbinary(max))")
            run(connection, "INSERT INTO shop.dbo.t VALUES (1, 0x01)")
            run(connection, f"BACKUP DATABASE shop TO DISK = N'{small}/shop.bak'")
            first = (small / "shop.bak").read_bytes()
            cursor = connection.cursor()
            cursor.execute("INSERT INTO shop.dbo.t VALUES (2, %s)", (pytds.Binary(os.urandom(6_000_000)),))
            errors = failures(connection, f"BACKUP DATABASE shop TO DISK = N'{small}/shop.bak' WITH NOINIT")
            assert errors[-1] == ABNORMAL_BACKUP
            assert "112" in errors[0].text
            assert (small / "shop.bak").read_bytes() == first
            errors = failures(connection, f"BACKUP DATABASE shop TO DISK = N'{small}/second.bak'")
            assert errors[-1] == ABNORMAL_BACKUP
            assert not (small / "second.bak").exists()
            run(connection, f"RESTORE DATABASE shop FROM DISK = N'{small}/shop.bak' WITH REPLACE")
            cursor = connection.cursor()
            cursor.execute("SELECT id FROM shop.dbo.t")
            assert [row[0] for row in cursor.fetchall()] == [1]
    finally:
        subprocess.run(["umount", str(small)], check=False)

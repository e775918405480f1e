"""The Chinook script for SQL Server, unchanged, through the proxy; then the same questions to the SQLite file
that the Chinook project publishes, and what SQLite's own tool makes of our file."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.clients.available import need
from tests.running import Running, running

NAME = "Chinook_AutoIncrement"
COUNTS = {
    "Album": 347,
    "Artist": 275,
    "Customer": 59,
    "Employee": 8,
    "Genre": 25,
    "Invoice": 412,
    "InvoiceLine": 2240,
    "MediaType": 5,
    "Playlist": 18,
    "PlaylistTrack": 8715,
    "Track": 3503,
}
QUESTIONS: list[tuple[str, str]] = [
    # T-SQL, the same for SQLite
    (
        "SELECT TOP (5) a.Name, COUNT(*) AS n FROM Artist a JOIN Album b ON b.ArtistId = a.ArtistId "
        "GROUP BY a.Name ORDER BY COUNT(*) DESC, a.Name",
        "SELECT a.Name, COUNT(*) AS n FROM Artist a JOIN Album b ON b.ArtistId = a.ArtistId "
        "GROUP BY a.Name ORDER BY COUNT(*) DESC, a.Name LIMIT 5",
    ),
    (
        "SELECT BillingCountry, SUM(Total) FROM Invoice GROUP BY BillingCountry ORDER BY BillingCountry",
        "SELECT BillingCountry, printf('%.2f', SUM(Total)) FROM Invoice "
        "GROUP BY BillingCountry ORDER BY BillingCountry COLLATE NOCASE",
    ),
    (
        "SELECT c.LastName, e.LastName FROM Customer c LEFT JOIN Employee e ON e.EmployeeId = c.SupportRepId "
        "WHERE c.Country IN (N'Brazil', N'Canada') ORDER BY c.CustomerId",
        "SELECT c.LastName, e.LastName FROM Customer c LEFT JOIN Employee e ON e.EmployeeId = c.SupportRepId "
        "WHERE c.Country IN ('Brazil', 'Canada') ORDER BY c.CustomerId",
    ),
    (
        "SELECT g.Name, AVG(CAST(t.Milliseconds AS bigint)), MAX(t.Bytes) FROM Track t "
        "JOIN Genre g ON g.GenreId = t.GenreId GROUP BY g.Name HAVING COUNT(*) > 10 ORDER BY g.Name",
        "SELECT g.Name, SUM(t.Milliseconds) / COUNT(*), MAX(t.Bytes) FROM Track t "
        "JOIN Genre g ON g.GenreId = t.GenreId GROUP BY g.Name HAVING COUNT(*) > 10 ORDER BY g.Name",
    ),
    (
        "SELECT TrackId, Name FROM Track WHERE Name LIKE N'%love%' AND UnitPrice > 0.50 ORDER BY TrackId",
        "SELECT TrackId, Name FROM Track WHERE Name LIKE '%love%' AND UnitPrice > 0.50 ORDER BY TrackId",
    ),
    (
        "SELECT t.Name FROM Track t WHERE NOT EXISTS "
        "(SELECT 1 FROM InvoiceLine l WHERE l.TrackId = t.TrackId) AND t.AlbumId = 1 ORDER BY t.TrackId",
        "SELECT t.Name FROM Track t WHERE NOT EXISTS "
        "(SELECT 1 FROM InvoiceLine l WHERE l.TrackId = t.TrackId) AND t.AlbumId = 1 ORDER BY t.TrackId",
    ),
    (
        "SELECT Country FROM Customer UNION SELECT BillingCountry FROM Invoice ORDER BY 1",
        "SELECT Country FROM Customer UNION SELECT BillingCountry FROM Invoice ORDER BY 1 COLLATE NOCASE",
    ),
    (
        "SELECT COUNT(DISTINCT AlbumId), COUNT(Composer), COUNT(*) FROM Track",
        "SELECT COUNT(DISTINCT AlbumId), COUNT(Composer), COUNT(*) FROM Track",
    ),
]


def batches(script: str) -> list[str]:
    return [text for text in re.split(r"(?im)^\s*GO\s*$", script) if text.strip()]


@pytest.fixture(scope="module")
def loaded(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    script = (shared / "data/chinook/Chinook_SqlServer_AutoIncrementPKs.sql").read_text(encoding="utf-8-sig")
    with running(tmp_path_factory.mktemp("chinook") / "store") as server:
        with server.connect() as connection:
            cursor = connection.cursor()
            for text in batches(script):
                cursor.execute(text)
                while cursor.nextset():
                    continue
        yield server


def ask(server: Running, sql: str) -> list[tuple[Any, ...]]:
    with server.connect(database=NAME) as connection:
        cursor = connection.cursor()
        cursor.execute(sql)
        return [tuple(row) for row in cursor.fetchall()]


def sqlite(path: Path, sql: str) -> list[list[str]]:
    need("sqlite3")
    run = subprocess.run(
        ["sqlite3", "-batch", "-separator", "\x1f", "-newline", "\x1e", str(path), sql],
        capture_output=True,
        text=True,
        timeout=200,
        check=True,
    )
    return [row.split("\x1f") for row in run.stdout.split("\x1e") if row]


def shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.2f}" if isinstance(value, Decimal) else str(value)


def test_every_table_row_key_and_index_is_there(loaded: Running) -> None:
    counts = {table: ask(loaded, f"SELECT COUNT(*) FROM [{table}]")[0][0] for table in COUNTS}
    assert counts == COUNTS
    assert sum(counts.values()) == 15607
    tables = ask(loaded, "SELECT name FROM sys.tables ORDER BY name")
    assert [name for (name,) in tables] == sorted(COUNTS)
    keys = ask(loaded, "SELECT COUNT(*) FROM sys.foreign_keys")
    assert keys == [(11,)]
    indexes = ask(loaded, "SELECT name FROM sys.indexes WHERE name LIKE N'IFK[_]%' ORDER BY name")
    assert len(indexes) == 11
    primary = ask(loaded, "SELECT COUNT(*) FROM sys.key_constraints WHERE type = 'PK'")
    assert primary == [(11,)]


def test_a_foreign_key_is_enforced(loaded: Running) -> None:
    with pytest.raises(Exception, match="FK_AlbumArtistId"):
        ask(loaded, "INSERT INTO Album (Title, ArtistId) VALUES (N'no such artist', 99999)")


@pytest.mark.parametrize(("tsql", "plain"), QUESTIONS, ids=range(len(QUESTIONS)))
def test_the_same_question_gets_the_same_answer(loaded: Running, shared: Path, tsql: str, plain: str) -> None:
    ours = [[shown(value) for value in row] for row in ask(loaded, tsql)]
    assert ours == sqlite(shared / "data/chinook/Chinook_Sqlite.sqlite", plain)
    assert ours


def test_the_sqlite_tool_checks_reads_writes_and_vacuums_the_file(loaded: Running, tmp_path: Path) -> None:
    need("sqlite3")
    with loaded.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(f"BACKUP DATABASE {NAME} TO DISK = N'chinook.bak' WITH INIT")
        while cursor.nextset():
            continue
        cursor.execute(
            f"RESTORE DATABASE ChinookCopy FROM DISK = N'chinook.bak' WITH MOVE N'{NAME}' TO "
            f"N'/var/opt/mssql/data/cc.mdf', MOVE N'{NAME}_log' TO N'/var/opt/mssql/data/cc.ldf'"
        )
        while cursor.nextset():
            continue
    live = loaded.store / "ChinookCopy.db"
    assert sqlite(live, "PRAGMA integrity_check") == [["ok"]]
    copy = tmp_path / "copy.db"
    shutil.copy(live, copy)
    for suffix in ("-wal", "-shm"):
        if live.with_name(live.name + suffix).exists():
            shutil.copy(live.with_name(live.name + suffix), copy.with_name(copy.name + suffix))
    assert sqlite(copy, "SELECT Name FROM Artist WHERE Name = 'ac/dc'") == [["AC/DC"]]
    sqlite(copy, "INSERT INTO Artist (Name) VALUES ('written by sqlite3')")
    assert sqlite(copy, "SELECT COUNT(*) FROM Artist") == [["276"]]
    assert sqlite(copy, "PRAGMA foreign_key_check") == []
    sqlite(copy, "VACUUM")
    assert sqlite(copy, "PRAGMA integrity_check") == [["ok"]]
    assert sqlite(copy, "SELECT COUNT(*) FROM PlaylistTrack") == [["8715"]]

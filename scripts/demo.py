"""The demonstration that ``scripts/demo`` runs through pytds: full, differential and log backups, an
accident, and the restore to the moment before it."""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytds

ARTISTS = ["AC/DC", "Accept", "Aerosmith", "Alanis Morissette", "Alice In Chains", "Antônio Carlos Jobim"]
ALBUMS_EACH = 25


class DemoFailed(Exception):
    """Something that the demonstration promises did not happen."""


def say(text: str) -> None:
    print(text, flush=True)


def start(store: Path, password: str) -> tuple[subprocess.Popen[bytes], str, int, float]:
    """The server's process, its address, and the seconds from start to ready."""
    ready = store.parent / "ready.json"
    log = (store.parent / "server.log").open("wb")
    began = time.monotonic()
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "tdsproxy", "serve"),
            *("--store", str(store), "--listen", "127.0.0.1:0", "--ready-file", str(ready)),
        ],
        env={**os.environ, "TDSPROXY_SA_PASSWORD": password},
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )
    while not ready.exists():
        if process.poll() is not None or time.monotonic() - began > 30:
            raise DemoFailed(f"the server did not start:\n{(store.parent / 'server.log').read_text()}")
        time.sleep(0.005)
    took = time.monotonic() - began
    answer = json.loads(ready.read_text())
    return process, answer["host"], answer["port"], took


def ask(cursor: Any, sql: str, *parameters: Any) -> Any:
    """The first value of the first row."""
    cursor.execute(sql, parameters)
    return cursor.fetchone()[0]


def run(cursor: Any, sql: str) -> list[str]:
    """Runs a statement to its end; the texts of its messages."""
    cursor.execute(sql)
    while cursor.nextset():
        continue
    return [str(error.args[0]) if error.args else str(error) for _, error in cursor.messages]


def fill(cursor: Any) -> int:
    """A database of two tables; how many albums it holds."""
    run(cursor, "CREATE DATABASE Records")
    run(cursor, "USE Records")
    run(cursor, "CREATE TABLE dbo.Artist (ArtistId int IDENTITY PRIMARY KEY, Name nvarchar(120) NOT NULL)")
    run(
        cursor,
        "CREATE TABLE dbo.Album (AlbumId int IDENTITY PRIMARY KEY, Title nvarchar(160) NOT NULL,"
        " ArtistId int NOT NULL REFERENCES dbo.Artist (ArtistId), Price decimal(10, 2) NOT NULL)",
    )
    for artist, name in enumerate(ARTISTS, 1):
        cursor.execute("INSERT INTO dbo.Artist (Name) VALUES (%s)", (name,))
        for number in range(1, ALBUMS_EACH + 1):
            cursor.execute(
                "INSERT INTO dbo.Album (Title, ArtistId, Price) VALUES (%s, %s, %s)",
                (f"{name}, volume {number}", artist, f"{9 + number / 100:.2f}"),
            )
    return int(ask(cursor, "SELECT COUNT(*) FROM dbo.Album"))


def check(condition: bool, what: str) -> None:
    if not condition:
        raise DemoFailed(what)


def demonstrate(host: str, port: int, password: str) -> None:
    with pytds.connect(
        server=host, port=port, user="sa", password=password, autocommit=True, login_timeout=20
    ) as connection:
        cursor = connection.cursor()
        say(f"   {ask(cursor, 'SELECT @@VERSION').splitlines()[0]}")
        say("2. a database with two tables, filled through pytds")
        albums = fill(cursor)
        total = ask(cursor, "SELECT SUM(Price) FROM dbo.Album")
        say(f"   {albums} albums worth {total:.2f}")
        check(albums == len(ARTISTS) * ALBUMS_EACH, "not every album was stored")

        say("3. BACKUP DATABASE Records TO DISK = 'Records.bak' WITH INIT, COMPRESSION, STATS = 25")
        run(cursor, "USE master")
        for text in run(
            cursor, "BACKUP DATABASE Records TO DISK = N'Records.bak' WITH INIT, COMPRESSION, STATS = 25"
        ):
            say(f"   {text}")
        cursor.execute("RESTORE HEADERONLY FROM DISK = N'Records.bak'")
        names = [column[0] for column in cursor.description]
        header = dict(zip(names, cursor.fetchone(), strict=True))
        say(
            f"   on the medium: position {header['Position']}, {header['BackupTypeDescription']}, "
            f"{header['BackupSize']} bytes, compressed to {header['CompressedBackupSize']}"
        )

        say("4. new albums, and between them a differential and two log backups")
        for number, statement in enumerate(
            (
                "BACKUP LOG Records TO DISK = N'Records.trn' WITH INIT",
                "BACKUP DATABASE Records TO DISK = N'Records.dif' WITH DIFFERENTIAL, INIT",
                "BACKUP LOG Records TO DISK = N'Records.trn' WITH NOINIT",
            ),
            1,
        ):
            run(cursor, f"INSERT INTO Records.dbo.Album VALUES (N'New release {number}', {number}, 15.00)")
            say(f"   {run(cursor, statement)[-1]}")
        run(cursor, "INSERT INTO Records.dbo.Album VALUES (N'The last one', 4, 16.00)")
        albums += 4
        total = ask(cursor, "SELECT SUM(Price) FROM Records.dbo.Album")
        moment = ask(cursor, "SELECT CONVERT(varchar(27), SYSDATETIME(), 126)")
        say(f"   {albums} albums worth {total} at {moment}; the last one is in no backup yet")

        say("5. the accident: DELETE FROM Records.dbo.Album, without a WHERE")
        run(cursor, "DELETE FROM Records.dbo.Album")
        left = ask(cursor, "SELECT COUNT(*) FROM Records.dbo.Album")
        check(left == 0, "the accident did not happen")
        say(f"   {left} albums left")

        restore = f"RESTORE DATABASE Records FROM DISK = N'Records.bak' WITH REPLACE, STOPAT = '{moment}'"
        say(f"6. {restore}")
        for text in run(cursor, restore):
            say(f"   {text}")
        back = ask(cursor, "SELECT COUNT(*) FROM Records.dbo.Album")
        check(back == albums, f"{back} albums came back, not {albums}")
        check(ask(cursor, "SELECT SUM(Price) FROM Records.dbo.Album") == total, "the sum is another one")
        say(f"   {back} albums worth {total} are back")


def how_to_connect(host: str, port: int, password: str, store: Path, pid: int) -> str:
    return f"""
connect:
   sqlcmd  -S {host},{port} -U sa -P '{password}' -C
   SSMS    server {host},{port}; SQL Server Authentication; sa; trust the server certificate
   pyodbc  DRIVER={{ODBC Driver 18 for SQL Server}};SERVER={host},{port};UID=sa;PWD={password};
           TrustServerCertificate=yes
   pytds   pytds.connect(server='{host}', port={port}, user='sa', password='{password}', autocommit=True)
the store is {store}; stop the server with: kill {pid}"""


def stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        status = process.wait(20)
        check(status == 0, f"the server ended with status {status}")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Backups, an accident, and the restore to the moment before it."
    )
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    keep = parser.parse_args().keep
    directory = Path(tempfile.mkdtemp(prefix="tdsproxy-demo-"))
    store, password = directory / "store", "Demo-" + secrets.token_hex(6)
    process = None
    try:
        process, host, port, took = start(store, password)
        say(f"1. tdsproxy serve: ready on {host}:{port} after {took:.2f} s")
        demonstrate(host, port, password)
        if keep:
            say(how_to_connect(host, port, password, store, process.pid))
            process = None
        else:
            stop(process)
            say("\nAll of it worked. scripts/demo --keep leaves the server running and says how to connect.")
    except DemoFailed as error:
        print(f"the demonstration failed: {error}", file=sys.stderr)
        return 1
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait(10)
        if not keep:
            shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

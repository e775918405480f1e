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
from demo_agent import AgentFailed, by_itself
from demo_cloud import CloudFailed, cloud

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
        if process.poll() is not None or time.monotonic() - began > 120:
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
        server=host, port=port, user="sa", password=password, autocommit=True, login_timeout=60
    ) as connection:
        cursor = connection.cursor()
        say(f"   {ask(cursor, 'SELECT @@VERSION').splitlines()[0]}")
        say("2. a database with two tables, filled through pytds")
        albums = fill(cursor)
        total = ask(cursor, "SELECT SUM(Price) FROM dbo.Album")
        say(f"   {albums} albums worth {total:.2f}")
        check(albums == len(ARTISTS) * ALBUMS_EACH, "not every album was stored")

        say("3. full backup, more albums, differential backup, more albums, log backup")
        run(cursor, "USE master")
        back_up(cursor, "BACKUP DATABASE Records TO DISK = N'Records.bak' WITH INIT, COMPRESSION, STATS = 50")
        add_albums(cursor, "live")
        back_up(cursor, "BACKUP DATABASE Records TO DISK = N'Records.diff' WITH INIT, DIFFERENTIAL")
        add_albums(cursor, "remastered")
        back_up(cursor, "BACKUP LOG Records TO DISK = N'Records.trn' WITH INIT")
        add_albums(cursor, "bonus")
        albums = ask(cursor, "SELECT COUNT(*) FROM Records.dbo.Album")
        total = ask(cursor, "SELECT SUM(Price) FROM Records.dbo.Album")
        say(f"   {albums} albums worth {total:.2f}, some of them only in the live log")

        moment = ask(cursor, "SELECT CONVERT(nvarchar(40), SYSDATETIME(), 126)")
        say(f"4. the accident, after {moment}: DELETE FROM Records.dbo.Album, without a WHERE")
        time.sleep(0.1)
        run(cursor, "DELETE FROM Records.dbo.Album")
        left = ask(cursor, "SELECT COUNT(*) FROM Records.dbo.Album")
        check(left == 0, "the accident did not happen")
        say(f"   {left} albums left")

        say("5. back to the moment before it, in one statement")
        back_up(
            cursor, f"RESTORE DATABASE Records FROM DISK = N'Records.bak' WITH REPLACE, STOPAT = N'{moment}'"
        )
        back = ask(cursor, "SELECT COUNT(*) FROM Records.dbo.Album")
        check(back == albums, f"{back} albums came back, not {albums}")
        check(ask(cursor, "SELECT SUM(Price) FROM Records.dbo.Album") == total, "the sum is another one")
        say(f"   {back} albums worth {total:.2f} are back")

        say("6. the same step by step, under another name: full, differential, log")
        for sql in (
            "RESTORE DATABASE Records2 FROM DISK = N'Records.bak' WITH NORECOVERY, "
            "MOVE N'Records' TO N'/var/opt/mssql/data/Records2.mdf', "
            "MOVE N'Records_log' TO N'/var/opt/mssql/data/Records2.ldf'",
            "RESTORE DATABASE Records2 FROM DISK = N'Records.diff' WITH NORECOVERY",
            "RESTORE LOG Records2 FROM DISK = N'Records.trn' WITH RECOVERY",
        ):
            back_up(cursor, sql)
        logged = ask(cursor, "SELECT COUNT(*) FROM Records2.dbo.Album")
        check(logged == albums - len(ARTISTS), f"the log backup brought {logged} albums")
        say(f"   {logged} albums: all that the log backup holds")


def back_up(cursor: Any, sql: str) -> None:
    """Runs a BACKUP or RESTORE and shows what it says."""
    say(f"   > {sql}")
    for text in run(cursor, sql):
        say(f"     {text}")


def add_albums(cursor: Any, title: str) -> None:
    """One album more for each artist."""
    cursor.execute(
        "INSERT INTO Records.dbo.Album (Title, ArtistId, Price) "
        "SELECT Name + N', ' + %s, ArtistId, 12.50 FROM Records.dbo.Artist",
        (title,),
    )


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


def tour(host: str, port: int, password: str, directory: Path) -> None:
    """What happens by itself, and the object store."""
    began = time.monotonic()
    say("7. the tour: what happens by itself, and an object store")
    with pytds.connect(
        server=host, port=port, user="sa", password=password, autocommit=True, login_timeout=60
    ) as connection:
        by_itself(connection.cursor(), directory / "store", say)
    say("11. cloud sync: to the cloud, and back from it alone")
    cloud(directory, say)
    say(f"   the tour took {time.monotonic() - began:.0f} s")


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Backups, an accident, and the restore to the moment before it."
    )
    parser.add_argument("--keep", action="store_true", help="leave the server running")
    parser.add_argument("--tour", action="store_true", help="show what it does by itself, and the cloud")
    asked = parser.parse_args()
    keep = asked.keep
    directory = Path(tempfile.mkdtemp(prefix="tdsproxy-demo-"))
    store, password = directory / "store", "Demo-" + secrets.token_hex(6)
    process = None
    try:
        process, host, port, took = start(store, password)
        say(f"1. tdsproxy serve: ready on {host}:{port} after {took:.2f} s")
        demonstrate(host, port, password)
        if asked.tour:
            tour(host, port, password, directory)
        if keep:
            say(how_to_connect(host, port, password, store, process.pid))
            process = None
        else:
            stop(process)
            say("\nAll of it worked. scripts/demo --keep leaves the server running and says how to connect.")
    except (DemoFailed, AgentFailed, CloudFailed) as error:
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

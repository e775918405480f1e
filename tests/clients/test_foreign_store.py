"""An upstream that knows nothing of the proxy: its own process and store. The proxy's configuration says
where its database lies; a process with the standard library's sqlite3 has the file open all the time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.running import Running, running, start

pytestmark = pytest.mark.slow

HOLDER = """
import json, sqlite3, sys, threading
connection = sqlite3.connect(sys.argv[1], timeout=60, check_same_thread=False)
seen, mixed, stop = set(), [], threading.Event()
def read():
    while not stop.is_set():
        try:
            found = {row[0] for row in connection.execute('SELECT DISTINCT generation FROM counted')}
        except sqlite3.OperationalError as error:
            mixed.append(str(error))
            return
        if len(found) != 1:
            mixed.append(sorted(found))
        seen.update(found)
thread = threading.Thread(target=read)
thread.start()
print('ready', flush=True)
for line in sys.stdin:
    if line.strip() == 'stop':
        break
    print(json.dumps(sorted(seen)), flush=True)
stop.set()
thread.join()
last = connection.execute('SELECT generation, COUNT(*) FROM counted GROUP BY generation').fetchall()
print(json.dumps({'mixed': mixed, 'seen': sorted(seen), 'last': last}), flush=True)
"""
ROWS = 1000


class Holder:
    """A process that reads the table without a pause, through one connection."""

    def __init__(self, path: Path) -> None:
        command = [sys.executable, "-c", HOLDER, str(path)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert self._line() == "ready"

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def _say(self, text: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()

    def wait_for(self, generation: int) -> None:
        """Until the process has read a generation."""
        while True:
            self._say("seen")
            if generation in json.loads(self._line()):
                return

    def stop(self) -> dict[str, Any]:
        self._say("stop")
        found: dict[str, Any] = json.loads(self._line())
        assert self._process.wait(60) == 0
        return found

    def close(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait(60)


@dataclass(frozen=True)
class World:
    server: Running
    proxy: Running
    file: Path


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    place = tmp_path_factory.mktemp("foreign")
    with running(place / "upstream", command="server") as server:
        with server.connect() as connection:
            cursor = connection.cursor()
            cursor.execute("CREATE DATABASE shop")
            cursor.execute("ALTER DATABASE shop SET RECOVERY SIMPLE")
            cursor.execute("USE shop")
            cursor.execute("CREATE TABLE counted (id int PRIMARY KEY, generation int, fill char(100))")
            digits = "(VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9))"
            cursor.execute(
                "INSERT INTO counted SELECT a.n + 10 * b.n + 100 * c.n, 0, 'x'"
                f" FROM {digits} AS a(n) CROSS JOIN {digits} AS b(n) CROSS JOIN {digits} AS c(n)"
            )
        file = server.store / "shop.db"
        config = place / "proxy.toml"
        config.write_text(f'[databases]\nshop = "{file}"\n"Shop Archive" = "{file}"\n')
        with running(
            place / "proxy", "--upstream", f"{server.host}:{server.port}", "--config", str(config)
        ) as proxy:
            yield World(server, proxy, file)


@pytest.fixture
def cursor(world: World) -> Iterator[Any]:
    with world.proxy.connect() as connection:
        yield connection.cursor()


def run(cursor: Any, sql: str) -> list[list[tuple[Any, ...]]]:
    cursor.execute(sql)
    sets = []
    while True:
        if cursor.description:
            sets.append([tuple(row) for row in cursor.fetchall()])
        if not cursor.nextset():
            return sets


def generation(cursor: Any, number: int) -> None:
    run(cursor, f"UPDATE shop.dbo.counted SET generation = {number}")


def test_a_chain_and_a_moment_while_others_hold_the_file(world: World, cursor: Any) -> None:
    holder = Holder(world.file)
    try:
        run(cursor, "ALTER DATABASE shop SET RECOVERY FULL")
        run(cursor, "BACKUP DATABASE shop TO DISK = N'full.bak' WITH INIT")
        generation(cursor, 1)
        run(cursor, "BACKUP LOG shop TO DISK = N'log.trn' WITH INIT")
        generation(cursor, 2)
        run(cursor, "BACKUP DATABASE shop TO DISK = N'diff.bak' WITH DIFFERENTIAL, INIT")
        generation(cursor, 3)
        holder.wait_for(3)
        # A commit of another server is dated when the log comes to see it: here it has, whatever stood still.
        run(cursor, "BACKUP LOG shop TO DISK = N'log2.trn' WITH INIT")
        run(cursor, "WAITFOR DELAY '00:00:01.100'")
        (((moment,),),) = run(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
        run(cursor, "WAITFOR DELAY '00:00:01.100'")
        generation(cursor, 4)
        holder.wait_for(4)
        run(cursor, f"RESTORE DATABASE shop FROM DISK = N'full.bak' WITH REPLACE, STOPAT = N'{moment}'")
        texts = [str(error.args[0]) for _, error in cursor.messages]
        assert any("RESTORE DATABASE successfully processed" in text for text in texts), texts
        assert run(
            cursor, "SELECT DISTINCT generation, COUNT(*) FROM shop.dbo.counted GROUP BY generation"
        ) == [[(3, ROWS)]]
        found = holder.stop()
        assert found["mixed"] == []
        assert found["last"] == [[3, ROWS]]
        assert set(found["seen"]) <= {0, 1, 2, 3, 4}
    finally:
        holder.close()
    history = "SELECT type, database_name FROM msdb.dbo.backupset WHERE type IN ('D', 'I', 'L')"
    taken = run(cursor, f"{history} ORDER BY backup_set_id")[0]
    assert taken[:3] == [("D", "shop"), ("L", "shop"), ("I", "shop")]
    assert run(cursor, "SELECT TOP (1) destination_database_name FROM msdb.dbo.restorehistory") == [
        [("shop",)]
    ]
    with world.server.connect() as direct:  # its own msdb has never heard of all this
        assert run(direct.cursor(), "SELECT COUNT(*) FROM msdb.dbo.backupset") == [[(0,)]]


def test_one_file_under_two_names(world: World, cursor: Any) -> None:
    generation(cursor, 10)
    run(cursor, "BACKUP DATABASE [Shop Archive] TO DISK = N'alias.bak' WITH INIT")
    generation(cursor, 11)
    run(cursor, "RESTORE DATABASE [shop archive] FROM DISK = N'alias.bak' WITH REPLACE")
    assert run(cursor, "SELECT DISTINCT generation FROM shop.dbo.counted") == [[(10,)]]
    run(cursor, "RESTORE DATABASE shop FROM DISK = N'alias.bak' WITH REPLACE")
    assert run(cursor, "RESTORE HEADERONLY FROM DISK = N'alias.bak'")[0][0][9] == "shop"


def test_msdb_is_the_proxys(world: World, cursor: Any) -> None:
    run(cursor, "EXEC msdb.dbo.sp_delete_database_backuphistory @database_name = N'shop'")
    run(cursor, "BACKUP DATABASE shop TO DISK = N'one.bak' WITH INIT, NAME = N'one'")
    assert run(
        cursor,
        "DECLARE @n int, @name nvarchar(128)\n"
        "SELECT @n = COUNT(*), @name = MAX(name) FROM msdb..backupset WHERE database_name = N'shop'\n"
        "IF @n = 1 SELECT @name AS name, (SELECT COUNT(*) FROM shop.dbo.counted) AS rows",
    ) == [[("one", ROWS)]]
    run(cursor, "CREATE TABLE #found (name nvarchar(128), position int)")
    run(cursor, "INSERT INTO #found SELECT name, position FROM msdb.dbo.backupset WHERE name = N'one'")
    assert run(cursor, "SELECT name, position FROM #found") == [[("one", 1)]]
    joined = "SELECT b.name FROM msdb.dbo.backupset AS b JOIN #found AS f ON f.name = b.name"
    assert run(cursor, joined) == [[("one",)]]
    assert run(cursor, "SELECT name INTO #kept FROM msdb.dbo.backupset WHERE name = N'one'") == []
    assert run(cursor, "SELECT name FROM #kept") == [[("one",)]]
    assert run(cursor, "USE msdb; SELECT name FROM backupset WHERE name = N'one'") == [[("one",)]]
    assert run(cursor, "USE master; SELECT DB_NAME()") == [[("master",)]]
    with pytest.raises(pytds.Error, match=r"Invalid object name 'msdb\.dbo\.nosuch'"):
        run(cursor, "SELECT * FROM msdb.dbo.nosuch")


def test_devices_are_the_proxys(world: World, cursor: Any) -> None:
    cursor.callproc("sp_addumpdevice", ("disk", "kept", "/var/opt/mssql/backup/kept.bak"))
    assert run(cursor, "SELECT name FROM sys.backup_devices") == [[("kept",)]]
    run(cursor, "BACKUP DATABASE shop TO kept WITH INIT")
    assert (world.proxy.backup_directory / "kept.bak").exists()
    assert run(cursor, "EXEC sp_dropdevice N'kept'; SELECT COUNT(*) FROM sys.backup_devices") == [[(0,)]]


def test_a_map_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="is not there"):
        start(tmp_path / "store", "--upstream", "127.0.0.1:9", "--database", f"shop={tmp_path / 'no.db'}")

"""Each row of docs/helpers.md does what it says: as a statement, as a command, and from Python."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.objects.s3_server import IDENTITY, KEY, SECRET, s3_server
from tests.running import EXACT, Running, running

PAGE = Path(__file__).parents[2] / "docs" / "helpers.md"
ROW = re.compile(r"\| (\w+) \| `(.+?)` \| `(.+?)` \| `(.+?)` \|")
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
ROWS = ROW.findall(PAGE.read_text())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("helpers") / "data", env=EXACT) as server:
        with server.connect() as connection:
            cursor = connection.cursor()
            for text in (
                "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Long-enough-1'",
                "CREATE CERTIFICATE vault WITH SUBJECT = 'backups'",
                "CREATE DATABASE shop",
                "CREATE TABLE shop.dbo.t (n int); INSERT shop.dbo.t VALUES (1)",
            ):
                cursor.execute(text)
        yield server


def moment(server: Running) -> str:
    """The present, when all that was committed before it is older."""
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT CONVERT(varchar(33), SYSDATETIME(), 126)")
        return str(cursor.fetchall()[0][0])


def count(server: Running) -> int:
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT COUNT(*) FROM shop.dbo.t")
        return int(cursor.fetchall()[0][0])


def scheduled(server: Running) -> list[str]:
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM msdb.dbo.sysschedules WHERE name LIKE '%daily 02:00' ORDER BY name")
        return [str(row[0]) for row in cursor.fetchall()]


@pytest.fixture(scope="module")
def bucket(server: Running) -> Iterator[str]:
    """A bucket for whose URL there is a credential."""
    with s3_server() as s3:
        url = s3.bucket("helpers")
        with server.connect() as connection:
            text = f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'"
            connection.cursor().execute(text)
        yield url


@pytest.mark.slow
def test_every_row(server: Running, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(server.store.parent)
    (code,) = CODE.findall(PAGE.read_text())
    names: dict[str, Any] = {}
    exec(code, names)
    assert len(ROWS) == 17
    then = ""
    for helper, statement, command, call in ROWS:
        if helper == "pointInTimeRecover":
            then = moment(server)
            before = count(server)
        if helper == "verifyBackupChecksum":
            sums = run_command("tdsproxy checksum data/backup/shop.bak")
            (server.store / "SUMS").write_text(sums)
        for run, text in ((run_sql, statement), (run_command, command), (run_python, call)):
            text = text.replace("$MOMENT", then).replace("$BUCKET", bucket)
            if helper == "pointInTimeRecover":
                run_sql("INSERT shop.dbo.t VALUES (2)", server)
                assert count(server) == before + 1
            answer = run(text, server, names)
            if helper == "pointInTimeRecover":
                assert count(server) == before
            elif helper == "findLatestBackup":
                assert "shop.bak" in str(answer)
            elif helper == "listBackupFiles":
                assert "shop.diff" in str(answer)
        if helper == "scheduleBackup":
            assert scheduled(server) == ["managed backup of shop: daily 02:00", "shop: daily 02:00"]
    assert count(server) == 1


def run_sql(text: str, server: Running, names: dict[str, Any] | None = None) -> object:
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute(text)
        rows = cursor.fetchall() if cursor.description else []
        while cursor.nextset():
            pass
        return rows


def run_command(text: str, server: Running | None = None, names: dict[str, Any] | None = None) -> str:
    name, *words = shlex.split(text)
    assert name == "tdsproxy"
    found = subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert found.returncode == 0, f"{text}: {found.stderr}"
    return found.stdout


def run_python(text: str, server: Running, names: dict[str, Any]) -> object:
    return eval(text, names)

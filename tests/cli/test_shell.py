"""BACKUP, RESTORE and HEADERONLY from a shell, while the store is served and while it is not."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.progress import Nothing
from tdsproxy.cli.shell import collect, plain
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.values import DateTime
from tests.running import running


def tdsproxy(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=200, check=False
    )


def test_backup_restore_and_headers(tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    with running(tmp_path / "store") as server, server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.dbo.t (n int); INSERT shop.dbo.t VALUES (7)")
        done = tdsproxy("backup", "shop", "shop.bak", "--init", "--store", store)
        assert done.returncode == 0, done.stderr
        assert "successfully processed" in done.stdout
        done = tdsproxy("restore", "copy", "shop.bak", "--store", store, "--json")
        assert done.returncode == 0, done.stderr
        assert any("RESTORE DATABASE" in line for line in json.loads(done.stdout)["messages"])
        cursor.execute("SELECT n FROM copy.dbo.t")
        assert cursor.fetchall() == [(7,)]
    done = tdsproxy("headers", "shop.bak", "--store", store, "--json")
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["DatabaseName"], row["Position"], row["BackupType"]) == ("shop", 1, 1)
    done = tdsproxy("headers", "none.bak", "--store", store)
    assert done.returncode == 1
    assert "Cannot open backup device" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_not_there(tmp_path: Path) -> None:
    done = tdsproxy("headers", "x.bak", "--store", str(tmp_path / "none"))
    assert done.returncode == 1
    assert "There is no store" in done.stderr


def test_messages_progress_and_rows_are_told_apart() -> None:
    def replies() -> Iterator[Reply]:
        yield Message(3211, 0, 1, "10 percent processed.")
        yield ResultSet((Column("a", t.INT), Column("b", t.DATETIME)))
        yield Rows([(1, DateTime(693_595, 0))])
        yield Message(3014, 0, 1, "done")
        yield Done(Command.BACKUP_DATABASE)

    class Seen(Nothing):
        def __init__(self) -> None:
            self.percent: list[int] = []

        def told(self, percent: int) -> None:
            self.percent.append(percent)

    outcome = collect(replies(), seen := Seen())
    assert seen.percent == [10]
    assert outcome.messages == ["done"]
    assert [plain(value) for value in outcome.rows[0].values()] == [1, "1900-01-01T00:00:00"]


def test_the_first_error_is_the_sentence() -> None:
    replies = [
        Message(911, 16, 1, "Database 'x' does not exist."),
        Message(3013, 16, 1, "BACKUP DATABASE is terminating abnormally."),
        Done(Command.BACKUP_DATABASE, error=True),
    ]
    with pytest.raises(CommandError, match="Database 'x' does not exist"):
        collect(iter(replies), Nothing())

"""Backups, restores and their history from a shell."""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tdsproxy.cli.backup import stamped
from tdsproxy.cli.checksum import line, read
from tdsproxy.cli.entry import run
from tdsproxy.cli.native import Statement
from tests.running import Running, running


def tdsproxy(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=200, check=False
    )


def done(*words: str) -> str:
    found = tdsproxy(*words)
    assert found.returncode == 0, found.stderr
    return found.stdout


@dataclass(frozen=True)
class Ended:
    """What a command line left."""

    status: int
    out: str
    err: str


def within(*words: str) -> Ended:
    """A command in this process: ``done`` starts each one somewhere in a process of its own."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        run(words)
    status = ended.value.code
    assert status is None or isinstance(status, int)
    return Ended(status or 0, out.getvalue(), err.getvalue())


def succeeded(*words: str) -> str:
    ended = within(*words)
    assert ended.status == 0, ended.err
    return ended.out


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("shell") / "store") as server:
        yield server


def test_from_backups_to_the_newest_state_of_a_dropped_database(server: Running) -> None:
    store = ("--store", str(server.store))
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("CREATE TABLE shop.dbo.t (n int); INSERT shop.dbo.t VALUES (1)")
        done("backup", "shop", "a.bak", "b.bak", "--mirror", "c.bak", "--mirror", "d.bak", "--format", *store)
        cursor.execute("INSERT shop.dbo.t VALUES (2)")
        succeeded("backup", "shop", "shop.diff", "--differential", "--compress", "--level", "low", *store)
        cursor.execute("INSERT shop.dbo.t VALUES (3)")
        succeeded("backup", "shop", "--log", "--name", "the log", *store)
        cursor.execute("DROP DATABASE shop")
        plan = json.loads(succeeded("restore", "shop", "--latest", "--dry-run", "--json", *store))
        assert [step["what"] for step in plan["steps"]] == ["full", "differential", "log"]
        assert [Path(name).name for name in plan["steps"][0]["devices"]] == ["a.bak", "b.bak"]
        (statement,) = plan["statements"]
        assert "STOPAT = N'" in statement
        cursor.execute("SELECT COUNT(*) FROM sys.databases WHERE name = 'shop'")
        assert cursor.fetchall() == [(0,)]
        done("restore", "shop", "--latest", *store)
        succeeded("restore", "copy", "--latest", "--of", "shop", *store)
        for name in ("shop", "copy"):
            cursor.execute(f"SELECT n FROM {name}.dbo.t ORDER BY n")
            assert cursor.fetchall() == [(1,), (2,), (3,)]
    backups = json.loads(done("history", "shop", "--json", *store))["backups"]
    assert [row["type"] for row in backups] == ["full", "differential", "log"]
    assert len(backups[0]["devices"]) == 4
    files = json.loads(succeeded("history", "--files", "--json", *store))["files"]
    assert [Path(row["device"]).name for row in files] == [
        "a.bak", "b.bak", "c.bak", "d.bak", "shop.diff", "shop.trn",
    ]  # fmt: skip
    for row in files:
        assert row["size"] == Path(row["path"]).stat().st_size
    assert "to 20" in succeeded("history", "--points", "shop", *store)


def test_in_simple_recovery_the_latest_is_full_and_differential(server: Running) -> None:
    store = ("--store", str(server.store))
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE plain")
        cursor.execute("ALTER DATABASE plain SET RECOVERY SIMPLE")
        cursor.execute("CREATE TABLE plain.dbo.t (n int); INSERT plain.dbo.t VALUES (1)")
        succeeded("backup", "plain", *store)
        cursor.execute("INSERT plain.dbo.t VALUES (2)")
        succeeded("backup", "plain", "--differential", *store)
        cursor.execute("DELETE plain.dbo.t")
        succeeded("restore", "plain", "--latest", *store)
        cursor.execute("SELECT n FROM plain.dbo.t ORDER BY n")
        assert cursor.fetchall() == [(1,), (2,)]


def test_step_by_step(server: Running) -> None:
    store = ("--store", str(server.store))
    with server.connect() as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE steps")
        cursor.execute("CREATE TABLE steps.dbo.t (n int); INSERT steps.dbo.t VALUES (1)")
        succeeded("backup", "steps", "--checksum", *store)
        cursor.execute("INSERT steps.dbo.t VALUES (2)")
        succeeded("backup", "steps", "steps.bak", "--log", "--norecovery", *store)
        succeeded("restore", "steps", "steps.bak", "--replace", "--norecovery", *store)
        succeeded("restore", "steps", "steps.bak", "--log", "--file", "2", "--norecovery", *store)
        succeeded("restore", "steps", "--recovery", *store)
        cursor.execute("SELECT COUNT(*) FROM steps.dbo.t")
        assert cursor.fetchall() == [(2,)]
    listed = json.loads(done("headers", "steps.bak", "--files", "--json", *store))["rows"]
    assert [row["LogicalName"] for row in listed] == ["steps", "steps_log"]
    (label,) = json.loads(succeeded("headers", "steps.bak", "--label", "--json", *store))["rows"]
    assert label["FamilyCount"] == 1


def test_what_is_wrong_is_one_sentence(server: Running) -> None:
    store = ("--store", str(server.store))
    for words, part in (
        (("backup", "shop", "--log", "--differential"), "not both"),
        (("backup", "shop", "--algorithm", "lzma"), "--algorithm is one of"),
        (("backup", "none"), "does not exist"),
        (("restore", "shop"), "Name the media"),
        (("restore", "never", "--latest"), "does not exist"),
        (("history", "--points", "shop", "--files"), "stands alone"),
    ):
        found = within(*words, *store)
        assert found.status == 1
        assert part in found.err
        assert len(found.err.splitlines()) == 1


def test_names_are_values() -> None:
    statement = Statement(options=["STATS = 1"])
    statement.text = f"BACKUP DATABASE {statement.value('obrien')} TO {statement.devices(['a', 'b'])}"
    statement.add("NAME", None)
    statement.add("DESCRIPTION", "it's")
    assert statement.whole().endswith("TO DISK = @v1, DISK = @v2 WITH STATS = 1, DESCRIPTION = @v3")
    assert statement.shown().endswith("DISK = N'a', DISK = N'b' WITH STATS = 1, DESCRIPTION = N'it''s'")


def test_the_time_in_a_files_name() -> None:
    assert stamped("x/shop.bak", dt.datetime(2026, 11, 2, 3, 4, 5)) == "x/shop_20261102_030405.bak"


def test_checksums_are_those_of_sha256sum(tmp_path: Path) -> None:
    names = [tmp_path / "a.bak", tmp_path / "b\\c.bak", tmp_path / "d\ne.bak"]
    for number, name in enumerate(names):
        name.write_bytes(bytes([number]) * 100_000)
    theirs = subprocess.run(
        ["sha256sum", *map(str, names)], capture_output=True, text=True, check=True, timeout=200
    ).stdout
    assert done("checksum", *map(str, names)) == theirs
    sums = tmp_path / "SUMS"
    sums.write_text(theirs)
    assert [name for _, name in read(sums)] == [str(name) for name in names]
    assert succeeded("checksum", "--check", str(sums)).count("OK") == 3
    names[0].write_bytes(b"changed")
    found = within("checksum", "--check", str(sums))
    assert (found.status, found.out.count("FAILED")) == (1, 1)
    assert line("0" * 64, "x") == "0" * 64 + "  x"

"""What the keeper does with the logs of its store: captured from start to stop, marks, restores finished."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.address import LOCK_NAME
from tdsproxy.keeper.client import SyncKeeper
from tdsproxy.keeper.launch import is_listening
from tdsproxy.keeper.options import KeeperOptions
from tdsproxy.keeper.start import connect_sync
from tdsproxy.tsql.replies import Message

# The rows are written by another process: SQLite's own library of this one has no part in it.
WRITE = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.set_busy_timeout(60_000)
connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, int(sys.argv[2]))
print(connection.execute(sys.argv[3]).fetchall())
connection.close()
"""


def sql(store: Path, name: str, text: str, *, keep_wal: bool = True) -> str:
    command = [sys.executable, "-c", WRITE, str(store / f"{name}.db"), str(int(keep_wal)), text]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=200).stdout.strip()


def until(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.fixture
def options(tmp_path: Path) -> Iterator[KeeperOptions]:
    made = KeeperOptions(tmp_path / "store", idle_seconds=0.3, grace_seconds=0.3)
    yield made
    if is_listening(made.store):
        end(made.store, signal.SIGTERM)


@pytest.fixture
def keeper(options: KeeperOptions) -> Iterator[SyncKeeper]:
    made = connect_sync(options)
    yield made
    made.close()


def run(keeper: SyncKeeper, text: str) -> list[int]:
    session = SessionContext("sa", spid=keeper.spid_base, server_roles=frozenset({"sysadmin"}))
    replies = keeper.run(NativeRequest(text, session))
    return [reply.number for reply in replies if isinstance(reply, Message)]


def end(store: Path, how: signal.Signals) -> None:
    """Ends the keeper; nobody starts another before the next statement."""
    with contextlib.suppress(ProcessLookupError):  # one that nobody needs goes by itself
        os.kill(int((store / LOCK_NAME).read_text()), how)
    until(lambda: not is_listening(store))


def test_the_log_goes_on_over_a_keeper_that_stops_and_one_that_is_killed(
    options: KeeperOptions, keeper: SyncKeeper
) -> None:
    store = options.store
    run(keeper, "CREATE DATABASE d")
    sql(store, "d", "CREATE TABLE t (x)")
    assert run(keeper, "BACKUP DATABASE d TO DISK='d.bak'") == [4035, 4035, 3014]
    for number, stop in enumerate((signal.SIGTERM, signal.SIGKILL), 1):
        sql(store, "d", f"INSERT INTO t VALUES ({number})")
        end(store, stop)
        sql(store, "d", f"INSERT INTO t VALUES ({number * 10})")
        # The client starts another keeper by itself.
        assert run(keeper, "BACKUP LOG d TO DISK='d.trn'") == [4035, 3014]
    moves = "MOVE 'd' TO '/x/e.mdf', MOVE 'd_log' TO '/x/e.ldf'"
    run(keeper, f"RESTORE DATABASE e FROM DISK='d.bak' WITH NORECOVERY, {moves}")
    run(keeper, "RESTORE LOG e FROM DISK='d.trn' WITH FILE=1, NORECOVERY")
    assert run(keeper, "RESTORE LOG e FROM DISK='d.trn' WITH FILE=2") == [4035, 4035, 3014]
    assert sql(store, "e", "SELECT x FROM t ORDER BY x") == "[(1,), (2,), (10,), (20,)]"


def test_a_checkpoint_while_no_keeper_ran_is_a_break_that_is_said(
    options: KeeperOptions, keeper: SyncKeeper
) -> None:
    store = options.store
    run(keeper, "CREATE DATABASE d")
    sql(store, "d", "CREATE TABLE t (x)")
    run(keeper, "BACKUP DATABASE d TO DISK='d.bak'")
    end(store, signal.SIGKILL)
    for number in range(3):
        sql(store, "d", f"INSERT INTO t VALUES ({number}); PRAGMA wal_checkpoint(TRUNCATE)", keep_wal=False)
    assert run(keeper, "BACKUP LOG d TO DISK='d.trn'") == [4214, 3013]
    until(lambda: "d.db is broken" in (store / "keeper.log").read_text())
    run(keeper, "BACKUP DATABASE d TO DISK='d.bak'")
    assert run(keeper, "BACKUP LOG d TO DISK='d.trn'") == [4035, 3014]


def test_marks_go_into_the_log_and_into_msdb(options: KeeperOptions, keeper: SyncKeeper) -> None:
    store = options.store
    run(keeper, "CREATE DATABASE d")
    sql(store, "d", "CREATE TABLE t (x)")
    with Catalog(store) as catalog:
        database = catalog.databases.find("d")
        assert database is not None
        keeper.announce_mark(database.guid, "here", "why")
        sql(store, "d", "INSERT INTO t VALUES (1)")
        keeper.note_mark(database.guid, "here", "why", "joe")
        rows = catalog._msdb.read(
            "SELECT database_name, mark_name, description, user_name FROM logmarkhistory"
        )
        assert rows == [("d", "here", "why", "joe")]
        # Of a database that is not there nothing is known, and nothing goes wrong.
        keeper.announce_mark(database.family, "nowhere", "")
        keeper.note_mark(database.family, "nowhere", "", "joe")
        assert len(catalog._msdb.read("SELECT 1 FROM logmarkhistory")) == 1

"""Database snapshots, and the way back: to a snapshot, and to what a restore replaced."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.commands.startup import begin
from tdsproxy.commands.stop_points import time_text
from tests.commands.support import Workshop, messages, numbers

TAKE = "CREATE DATABASE s ON (NAME = a, FILENAME = '/var/opt/mssql/data/s.ss') AS SNAPSHOT OF a"
REVERT = "RESTORE DATABASE a FROM DATABASE_SNAPSHOT = 's'"


@pytest.fixture
def shop(logged: Workshop) -> Workshop:
    logged.run("CREATE DATABASE a")
    logged.fill("a", "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
    return logged


def find(shop: Workshop, name: str = "a") -> Database:
    found = shop.catalog.databases.find(name)
    assert found is not None
    return found


def content(shop: Workshop, name: str = "a") -> list[object]:
    return [row[0] for row in shop.rows(name, "SELECT x FROM t ORDER BY x")]


def test_a_snapshot_stays_as_it_was(shop: Workshop) -> None:
    assert numbers(shop.run(TAKE)) == []
    shop.fill("a", "DELETE FROM t WHERE x = 1")
    assert content(shop, "s") == [1, 2]
    assert content(shop) == [2]
    taken = find(shop, "s")
    assert (taken.source, taken.read_only, taken.data_path) == (
        find(shop).id,
        True,
        "/var/opt/mssql/data/s.ss",
    )
    assert not (shop.store / "s.db-wal").exists()
    assert numbers(shop.run("DROP DATABASE a")) == [3709]
    assert numbers(shop.run("DROP DATABASE s")) == []
    assert not (shop.store / "s.db").exists()
    assert numbers(shop.run("DROP DATABASE a")) == []


def test_reverting_ends_the_chain(shop: Workshop) -> None:
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    shop.run(TAKE)
    shop.fill("a", "DELETE FROM t")
    assert numbers(shop.run(REVERT)) == []
    assert content(shop) == [1, 2]
    assert shop.history("SELECT destination_database_name, restore_type FROM restorehistory") == [("a", "R")]
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/l.trn'")) == [4214, 3013]
    assert numbers(shop.run("BACKUP DATABASE a TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL")) == [3035, 3013]
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full2.bak'")
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/l.trn'"))[-1] == 3014
    # Nothing of before the revert leads to a moment after it.
    assert content(shop, "s") == [1, 2]


REFUSED = [
    ("CREATE DATABASE s ON (NAME = m, FILENAME = '/x/s.ss') AS SNAPSHOT OF model", [1816]),
    ("CREATE DATABASE s ON (NAME = b, FILENAME = '/x/s.ss') AS SNAPSHOT OF nowhere", [911]),
    ("CREATE DATABASE s ON (NAME = b, FILENAME = '/x/s.ss') AS SNAPSHOT OF a", [5014]),
    (
        "CREATE DATABASE s ON (NAME = a, FILENAME = '/x/s.ss'), (NAME = a_log, FILENAME = '/x/s.ldf')"
        " AS SNAPSHOT OF a",
        [5114],
    ),
    (
        "CREATE DATABASE s ON (NAME = a, FILENAME = '/var/opt/mssql/data/a.mdf') AS SNAPSHOT OF a",
        [5170, 1802],
    ),
    ("RESTORE DATABASE a FROM DATABASE_SNAPSHOT = 's'", [3137, 3013]),
    ("RESTORE DATABASE master FROM DATABASE_SNAPSHOT = 's'", [3139, 3013]),
]


def test_refusals(shop: Workshop) -> None:
    for text, expected in REFUSED:
        assert numbers(shop.run(text)) == expected, text


def test_refusals_while_there_is_a_snapshot(shop: Workshop) -> None:
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    shop.run(TAKE)
    nested = "CREATE DATABASE n ON (NAME = a, FILENAME = '/x/n.ss') AS SNAPSHOT OF s"
    assert numbers(shop.run(nested)) == [1821]
    assert numbers(shop.run("BACKUP DATABASE s TO DISK = '/tmp/s.bak'")) == [3002, 3013]
    assert numbers(shop.run("RESTORE DATABASE s FROM DISK = '/tmp/full.bak' WITH REPLACE")) == [3002, 3013]
    assert numbers(shop.run("RESTORE DATABASE a FROM DISK = '/tmp/full.bak' WITH REPLACE")) == [3709, 3013]
    assert numbers(shop.run("ALTER DATABASE s SET MULTI_USER")) == [5093, 5069]
    assert numbers(shop.run(REVERT + " WITH REPLACE")) == [4355, 3013]
    assert numbers(shop.run(REVERT, database="a")) == [3102, 3013]
    shop.run("CREATE DATABASE s2 ON (NAME = a, FILENAME = '/x/s2.ss') AS SNAPSHOT OF a")
    assert numbers(shop.run(REVERT)) == [3137, 3013]
    shop.run("DROP DATABASE s2")
    assert numbers(shop.run(REVERT)) == []
    shop.run("ALTER DATABASE a SET OFFLINE")
    assert numbers(shop.run(REVERT)) == [3137, 3013]
    shop.run("DROP DATABASE s")
    assert numbers(shop.run(TAKE)) == [1822]


def test_a_revert_that_was_interrupted_is_finished(shop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    shop.run(TAKE)
    shop.fill("a", "DELETE FROM t")

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tdsproxy.commands.recovery._open", killed)
    with pytest.raises(KeyboardInterrupt):
        shop.run(REVERT)
    assert find(shop).state is DatabaseState.RESTORING
    monkeypatch.undo()
    begin(shop.env)
    assert find(shop).state is DatabaseState.ONLINE
    assert content(shop) == [1, 2]
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/l.trn'")) == [4214, 3013]


# --------------------------------------------------------------------------- what a restore replaced


def kept(shop: Workshop) -> str:
    found = find(shop).kept
    assert found is not None
    return found.copy.removeprefix(".undo/").removesuffix(".db")


def test_a_restore_is_undone_and_the_chain_goes_on(shop: Workshop) -> None:
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (3)")
    shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'")
    shop.fill("a", "INSERT INTO t VALUES (4)")
    shop.run("RESTORE DATABASE a FROM DISK = '/tmp/full.bak' WITH REPLACE")
    assert content(shop) == [1, 2]
    name = kept(shop)
    replies = shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{name.upper()}'")
    assert [m.number for m in messages(replies)] == [0]
    assert kept(shop) in messages(replies)[0].text
    assert kept(shop) != name
    assert content(shop) == [1, 2, 3, 4]
    assert len(list((shop.store / ".undo").iterdir())) == 1
    shop.fill("a", "INSERT INTO t VALUES (5)")
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/2.trn'"))[-1] == 3014
    move = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"
    shop.run(f"RESTORE DATABASE b FROM DISK = '/tmp/full.bak' WITH NORECOVERY, {move}")
    shop.run("RESTORE LOG b FROM DISK = '/tmp/1.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK = '/tmp/2.trn'"))[-1] == 3014
    assert content(shop, "b") == [1, 2, 3, 4, 5]
    assert numbers(shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{name}'")) == [3137, 3013]
    shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{kept(shop)}'")
    assert content(shop) == [1, 2]
    shop.run("DROP DATABASE a")
    assert list((shop.store / ".undo").iterdir()) == []


def test_a_sequence_over_a_tail_backup_is_undone(shop: Workshop) -> None:
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (3)")
    shop.run("CREATE DATABASE other")
    shop.fill("other", "CREATE TABLE t (x); INSERT INTO t VALUES (9)")
    shop.run("BACKUP DATABASE other TO DISK = '/tmp/other.bak'")
    shop.run("BACKUP LOG a TO DISK = '/tmp/tail.trn' WITH NORECOVERY")
    family = find(shop).family
    text = (
        "RESTORE DATABASE a FROM DISK = '/tmp/other.bak' WITH REPLACE, NORECOVERY,"
        " MOVE 'other' TO '/x/a.mdf', MOVE 'other_log' TO '/x/a.ldf'"
    )
    assert numbers(shop.run(text))[-1] == 3014
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3014]
    assert (content(shop), find(shop).data_name) == ([9], "other")
    shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{kept(shop)}'")
    assert (content(shop), find(shop).data_name, find(shop).family) == ([1, 2, 3], "a", family)
    # Its chain goes on behind the tail.
    shop.fill("a", "INSERT INTO t VALUES (4)")
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/next.trn'"))[-1] == 3014
    move = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"
    shop.run(f"RESTORE DATABASE b FROM DISK = '/tmp/full.bak' WITH NORECOVERY, {move}")
    shop.run("RESTORE LOG b FROM DISK = '/tmp/tail.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK = '/tmp/next.trn'"))[-1] == 3014
    assert content(shop, "b") == [1, 2, 3, 4]


def test_the_restore_of_another_database_is_undone(shop: Workshop) -> None:
    shop.run("CREATE DATABASE other")
    shop.fill("other", "CREATE TABLE t (x); INSERT INTO t VALUES (9)")
    shop.run("ALTER DATABASE other SET RECOVERY SIMPLE")
    shop.run("BACKUP DATABASE other TO DISK = '/tmp/other.bak'")
    before = find(shop)
    text = (
        "RESTORE DATABASE a FROM DISK = '/tmp/other.bak' WITH REPLACE, MOVE 'other' TO '/x/a.mdf',"
        " MOVE 'other_log' TO '/x/a.ldf'"
    )
    assert numbers(shop.run(text))[-1] == 3014
    assert content(shop) == [9]
    shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{kept(shop)}'")
    after = find(shop)
    assert content(shop) == [1, 2]
    names = ("family", "recovery_model", "data_name", "data_path", "log_name", "log_path", "data_file_guid")
    assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]
    # No full backup had begun a chain, so there is none to go on.
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/l.trn'")) == [4214, 3013]


READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=60)
seen = []
print("ready", flush=True)
while True:
    state = connection.execute("SELECT count(*), sum(x), max(x) FROM t").fetchone()
    if state not in seen:
        seen.append(state)
        print(state, flush=True)
"""


def test_a_foreign_reader_sees_whole_states(shop: Workshop) -> None:
    """Another process keeps its handle open over a STOPAT in place, its undo, and a later STOPAT."""
    shop.fill(
        "a",
        "DELETE FROM t; WITH n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 2000)"
        " INSERT INTO t SELECT k FROM n",
    )
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/full.bak'")
    logs = shop.env.logs
    assert logs is not None
    moments = []
    for sql in ("UPDATE t SET x = x + 1", "DELETE FROM t WHERE x > 500", "INSERT INTO t VALUES (7)"):
        shop.fill("a", sql)
        logs.capture_now(find(shop).guid)
        time.sleep(0.03)
        moments.append(time_text(time.time_ns()))
        time.sleep(0.03)
    states = [(2000, 2003000, 2001), (499, 125249, 500), (500, 125256, 500)]
    path = str(shop.store / "a.db")
    reader = subprocess.Popen([sys.executable, "-c", READER, path], stdout=subprocess.PIPE, text=True)
    try:
        out = reader.stdout
        assert out is not None
        assert out.readline() == "ready\n"
        assert out.readline() == f"{states[2]}\n"
        text = "RESTORE DATABASE a FROM DISK = '/tmp/full.bak' WITH REPLACE, STOPAT = '{}'"
        assert numbers(shop.run(text.format(moments[0])))[-1] == 3014
        assert out.readline() == f"{states[0]}\n"
        shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{kept(shop)}'")
        assert shop.rows("a", "SELECT count(*), sum(x), max(x) FROM t") == [list(states[2])]
        assert numbers(shop.run(text.format(moments[1])))[-1] == 3014
        assert out.readline() == f"{states[1]}\n"
    finally:
        reader.kill()
        reader.communicate(timeout=60)

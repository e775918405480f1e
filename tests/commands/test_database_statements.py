"""CREATE, ALTER and DROP DATABASE."""

from __future__ import annotations

import threading
from collections.abc import Collection

import pytest

from tdsproxy.catalog.databases import DatabaseState, RecoveryModel, UserAccess
from tdsproxy.commands import database_statements
from tdsproxy.commands.request import SessionContext
from tdsproxy.tsql.replies import Done
from tests.commands.support import Workshop, dones, messages, numbers

GUEST = SessionContext("joe", spid=60)


def find(shop: Workshop, name: str = "d"):  # type: ignore[no-untyped-def]
    found = shop.catalog.databases.find(name)
    assert found is not None
    return found


@pytest.fixture
def d(shop: Workshop) -> Workshop:
    assert shop.run("CREATE DATABASE [d]") == [Done(203)]
    return shop


def test_a_new_database_is_a_wal_file(d: Workshop) -> None:
    header = (d.store / "d.db").read_bytes()[:100]
    assert header.startswith(b"SQLite format 3\0")
    assert header[18:20] == b"\x02\x02"
    database = find(d)
    assert (database.id, database.owner, database.recovery_model) == (5, "sa", RecoveryModel.SIMPLE)
    assert (database.data_name, database.log_name) == ("d", "d_log")


def test_a_name_is_taken_once(d: Workshop) -> None:
    replies = d.run("CREATE DATABASE D")
    assert messages(replies)[0].text == "Database 'D' already exists. Choose a different database name."
    assert dones(replies) == [Done(203, error=True)]


def test_a_dropped_in_file_is_a_database(d: Workshop) -> None:
    d.fill("found", "CREATE TABLE t(x)")
    assert 3014 in numbers(d.run("BACKUP DATABASE found TO DISK='found.bak'"))
    assert find(d, "FOUND").recovery_model is RecoveryModel.SIMPLE


def test_drop_takes_the_files_away(d: Workshop) -> None:
    (d.store / "d.db-wal").write_bytes(b"")
    assert d.run("DROP DATABASE d") == [Done(204)]
    assert d.sessions.released == ["d"]
    assert not list(d.store.glob("d.db*"))
    assert d.catalog.databases.find("d") is None
    replies = d.run("DROP DATABASE d")
    assert messages(replies)[0].text == (
        "Cannot drop the database 'd', because it does not exist or you do not have permission."
    )
    assert dones(replies) == [Done(204, error=True)]
    assert d.run("DROP DATABASE IF EXISTS d") == [Done(204)]


def test_drop_waits_for_a_session_that_is_about_to_leave(d: Workshop) -> None:
    d.sessions.databases[70] = "d"
    asked = threading.Event()
    users_of = d.sessions.users_of

    def leaving(database: str) -> Collection[int]:
        if asked.is_set():
            d.sessions.databases.clear()
        asked.set()
        return users_of(database)

    d.sessions.users_of = leaving  # type: ignore[method-assign]
    assert d.run("DROP DATABASE d") == [Done(204)]


def test_drop_is_refused(d: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_statements, "_LEAVE_SECONDS", 0.0)
    d.sessions.databases[70] = "d"
    in_use = d.run("DROP DATABASE d")
    assert messages(in_use)[0].text == 'Cannot drop database "d" because it is currently in use.'
    assert (messages(in_use)[0].state, dones(in_use)) == (4, [Done(204, error=True)])
    d.sessions.databases.clear()
    assert numbers(d.run("DROP DATABASE d", database="d")) == [3702]
    assert numbers(d.run("DROP DATABASE d", session=GUEST)) == [3701]
    system = d.run("DROP DATABASE msdb")
    assert [(m.number, m.state, m.text) for m in messages(system)] == [
        (3708, 4, "Cannot drop the database 'msdb' because it is a system database.")
    ]
    assert dones(system) == [Done(253, error=True)]
    assert (d.store / "d.db").exists()


def test_a_file_held_by_another_process_is_not_dropped(d: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    monkeypatch.setattr(database_statements, "_RELEASE_SECONDS", 0.1)
    script = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('begin'); c.execute('select * from sqlite_master').fetchall()\n"
        "print('ready', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(d.store / "d.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        assert numbers(d.run("DROP DATABASE d")) == [3702]
        assert (d.store / "d.db").exists()
    finally:
        holder.communicate(timeout=60)
    assert d.run("DROP DATABASE d") == [Done(204)]


def test_recovery_models_and_options_are_kept(d: Workshop) -> None:
    text = "ALTER DATABASE d SET RECOVERY FULL, PAGE_VERIFY CHECKSUM, AUTO_CLOSE OFF WITH NO_WAIT"
    assert d.run(text) == [Done(215)]
    assert find(d).recovery_model is RecoveryModel.FULL
    assert find(d).options["PAGE_VERIFY"] == "CHECKSUM"
    assert d.run("ALTER DATABASE d SET COMPATIBILITY_LEVEL = 150") == [Done(215)]
    assert find(d).compatibility == 150
    assert numbers(d.run("BACKUP LOG d TO DISK='l.bak'")) == [4214, 3013]


def test_unknown_databases_and_rights(d: Workshop) -> None:
    for session, name in ((GUEST, "d"), (SessionContext("sa", server_roles=frozenset({"sysadmin"})), "nope")):
        replies = d.run(f"ALTER DATABASE {name} SET RECOVERY FULL", session=session)
        assert [(m.number, m.severity, m.state) for m in messages(replies)] == [(5011, 14, 5), (5069, 16, 1)]
        assert dones(replies) == [Done(215, error=True)]


def test_system_databases_and_transactions(d: Workshop) -> None:
    system = d.run("ALTER DATABASE master SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    assert [(m.number, m.state) for m in messages(system)] == [(5058, 5)]
    assert dones(system) == [Done(253, error=True)]
    assert numbers(d.run("ALTER DATABASE CURRENT SET READ_COMMITTED_SNAPSHOT ON")) == [12104]
    inside = d.run("ALTER DATABASE d SET SINGLE_USER", in_transaction=True)
    assert [(m.number, m.state) for m in messages(inside)] == [(226, 6)]
    assert dones(inside) == [Done(215, error=True)]


def test_rollback_immediate_ends_the_others(d: Workshop) -> None:
    d.sessions.databases |= {51: "d", 70: "d", 71: "master"}
    refused = d.run("ALTER DATABASE d SET SINGLE_USER WITH NO_WAIT")
    assert [(m.number, m.state) for m in messages(refused)] == [(5070, 2), (5069, 1)]
    replies = d.run("ALTER DATABASE d SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
    assert [(m.number, m.state, m.severity) for m in messages(replies)] == [(5060, 2, 0), (5060, 1, 0)]
    assert dones(replies) == [Done(215)]
    assert d.sessions.ended == [70]
    assert (find(d).user_access, find(d).holder) == (UserAccess.SINGLE_USER, 51)
    other = d.run("ALTER DATABASE d SET MULTI_USER WITH NO_WAIT", spid=80)
    assert numbers(other) == [5064, 5069]
    assert numbers(d.run("DROP DATABASE d", spid=80)) == [3702]
    d.sessions.databases.clear()
    assert d.run("ALTER DATABASE d SET MULTI_USER") == [Done(215)]
    assert find(d).holder is None


def test_without_a_termination_it_waits_until_cancelled(d: Workshop) -> None:
    d.sessions.databases[70] = "d"
    cancelled = threading.Event()
    timer = threading.Timer(0.2, cancelled.set)
    timer.start()
    assert numbers(d.run("ALTER DATABASE d SET SINGLE_USER", cancelled=cancelled)) == [5061, 5069]
    timer.join()
    assert find(d).user_access is UserAccess.MULTI_USER


def test_offline_and_online(d: Workshop) -> None:
    d.run("ALTER DATABASE d SET OFFLINE WITH ROLLBACK IMMEDIATE")
    assert find(d).state is DatabaseState.OFFLINE
    assert numbers(d.run("BACKUP DATABASE d TO DISK='o.bak'")) == [942, 3013]
    (d.store / "d.db").rename(d.store / "away")
    assert numbers(d.run("ALTER DATABASE d SET ONLINE")) == [5120, 5069]
    (d.store / "away").rename(d.store / "d.db")
    assert d.run("ALTER DATABASE d SET ONLINE") == [Done(215)]
    assert find(d).state is DatabaseState.ONLINE


def test_a_new_name_takes_the_file_along(d: Workshop) -> None:
    d.fill("d", "CREATE TABLE t(x); INSERT INTO t VALUES (1)")
    before = find(d)
    renamed = d.run("ALTER DATABASE d MODIFY NAME = [e/f]")
    assert [m.text for m in messages(renamed)] == ["The database name 'e/f' has been set."]
    assert dones(renamed) == [Done(215)]
    after = find(d, "e/f")
    assert (after.id, after.family) == (before.id, before.family)
    assert not (d.store / "d.db").exists()
    assert d.rows(after.file.removesuffix(".db"), "SELECT x FROM t") == [[1]]
    assert d.run("CREATE DATABASE d") == [Done(203)]
    assert numbers(d.run("ALTER DATABASE d MODIFY NAME = [E/F]")) == [1801, 5069]


def test_modify_file_changes_what_is_shown(d: Workshop) -> None:
    said = d.run("ALTER DATABASE d MODIFY FILE (NAME = d, NEWNAME = N'data one', SIZE = 64MB)")
    assert [(m.number, m.text) for m in messages(said)] == [(5021, "The file name 'data one' has been set.")]
    said = d.run("ALTER DATABASE d MODIFY FILE (NAME = D_LOG, FILENAME = '/var/opt/mssql/data/l.ldf')")
    assert numbers(said) == [5018]
    assert (find(d).data_name, find(d).log_path) == ("data one", "/var/opt/mssql/data/l.ldf")
    assert d.run("ALTER DATABASE d MODIFY FILE (NAME = 'data one', MAXSIZE = UNLIMITED)") == [Done(215)]
    assert numbers(d.run("ALTER DATABASE d MODIFY FILE (NAME = d, NEWNAME = x)")) == [5041, 5069]


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        (
            "CREATE DATABASE e ON (NAME = x, FILENAME = '/x/1') LOG ON (NAME = X, FILENAME = '/x/2')",
            [1828],
            '"X"',
        ),
        (
            "CREATE DATABASE e ON (NAME = x, FILENAME = '/x/1') LOG ON (NAME = y, FILENAME = '/x/1')",
            [5104],
            "/x/1",
        ),
        ("CREATE DATABASE e ON (FILENAME = '/var/opt/mssql/data/d.mdf')", [5170, 1802], "/data/d.mdf'"),
        ("ALTER DATABASE d MODIFY FILE (NAME = d, NEWNAME = D_LOG)", [1828, 5069], '"D_LOG"'),
        (
            "ALTER DATABASE d MODIFY FILE (NAME = d_log, FILENAME = '/var/opt/mssql/data/d.mdf')",
            [5104, 5069],
            "'/var/opt/mssql/data/d.mdf' already used.",
        ),
    ],
)
def test_the_names_of_files_are_theirs_alone(d: Workshop, text: str, expected: list[int], told: str) -> None:
    replies = d.run(text)
    assert numbers(replies) == expected
    assert told in messages(replies)[0].text
    assert d.catalog.databases.find("e") is None
    database = find(d)
    assert (database.data_name, database.log_name) == ("d", "d_log")


def test_a_file_may_change_the_case_of_its_name(d: Workshop) -> None:
    assert numbers(d.run("ALTER DATABASE d MODIFY FILE (NAME = d, NEWNAME = D)")) == [5021]
    assert find(d).data_name == "D"

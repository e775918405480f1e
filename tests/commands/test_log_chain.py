"""Log backups, differentials, and restores through them, statement by statement."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import apsw
import msgspec
import pytest

from tdsproxy.backup import operations
from tdsproxy.backup.page_map import remove_maps
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.commands import log_backup, log_chain, recovery
from tdsproxy.commands.dispatch import run
from tdsproxy.commands.log_chain import status_of
from tdsproxy.commands.request import NativeRequest
from tdsproxy.commands.startup import begin
from tdsproxy.commands.stop_points import time_text
from tdsproxy.log import archive as archive_module
from tdsproxy.log import service, times
from tdsproxy.log.service import ChainState
from tdsproxy.tsql.replies import Message
from tests.commands.support import ADMIN, Workshop, messages, numbers, table

BACKED_UP = [4035, 4035, 3014]
LOGGED = [4035, 3014]
MOVE = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"


@pytest.fixture
def shop(logged: Workshop) -> Workshop:
    """A database ``a`` in FULL with a table of numbers."""
    assert numbers(logged.run("CREATE DATABASE a")) == []
    logged.fill("a", "CREATE TABLE t (x)")
    return logged


def find(shop: Workshop, name: str = "a") -> Database:
    found = shop.catalog.databases.find(name)
    assert found is not None
    return found


def put(shop: Workshop, *values: int, database: str = "a") -> None:
    for value in values:
        shop.fill(database, f"INSERT INTO t VALUES ({value})")


def content(shop: Workshop, database: str = "a") -> list[object]:
    return [row[0] for row in shop.rows(database, "SELECT x FROM t ORDER BY x")]


def full(shop: Workshop, file: str = "full.bak", options: str = "INIT") -> None:
    assert numbers(shop.run(f"BACKUP DATABASE a TO DISK='/tmp/{file}' WITH {options}")) == BACKED_UP


def log(shop: Workshop, file: str = "log.trn", options: str = "NOINIT") -> None:
    assert numbers(shop.run(f"BACKUP LOG a TO DISK='/tmp/{file}' WITH {options}")) == LOGGED


def moment(shop: Workshop) -> str:
    """A time between the commits before and those to come: those of other processes are dated to a few
    milliseconds, so it lies in a gap."""
    logs = shop.env.logs
    assert logs is not None
    logs.capture_now(find(shop).guid)
    time.sleep(0.03)
    text = time_text(time.time_ns())
    time.sleep(0.03)
    return text


def header(shop: Workshop, file: str, position: int = 1) -> dict[str, object]:
    rows = table(shop.run(f"RESTORE HEADERONLY FROM DISK='/tmp/{file}' WITH FILE={position}"))
    return dict(rows[0])


# --------------------------------------------------------------------------- chains


def test_a_new_database_is_pseudo_simple_until_its_first_full_backup(shop: Workshop) -> None:
    assert find(shop).recovery_model is RecoveryModel.FULL
    assert find(shop).chain.log_backup_lsn is None
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/d.bak' WITH DIFFERENTIAL")) == [3035, 3013]
    full(shop, options="COPY_ONLY")
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop)
    assert find(shop).chain.log_backup_lsn is not None
    log(shop)


def test_log_backups_touch_each_other_and_name_their_base(shop: Workshop) -> None:
    put(shop, 1)
    full(shop)
    put(shop, 2)
    log(shop)
    put(shop, 3)
    log(shop)
    base, first, second = header(shop, "full.bak"), header(shop, "log.trn"), header(shop, "log.trn", 2)
    assert (first["BackupType"], first["BackupTypeDescription"]) == (2, "Transaction Log")
    assert first["FirstLSN"] == base["FirstLSN"] == base["CheckpointLSN"]
    assert first["LastLSN"] == second["FirstLSN"] < second["LastLSN"]
    assert first["DatabaseBackupLSN"] == second["DatabaseBackupLSN"] == base["CheckpointLSN"]
    assert (first["BeginsLogChain"], second["BeginsLogChain"]) == (1, 0)
    assert first["RecoveryModel"] == "FULL"
    assert first["ForkPointLSN"] is None
    assert first["FirstRecoveryForkID"] == first["RecoveryForkID"]
    kinds = shop.history("SELECT type, is_copy_only FROM backupset ORDER BY backup_set_id")
    assert kinds == [("D", 0), ("L", 0), ("L", 0)]


def test_copy_only_disturbs_nothing(shop: Workshop) -> None:
    full(shop)
    base = header(shop, "full.bak")
    put(shop, 1)
    full(shop, "copy.bak", "COPY_ONLY")
    log(shop, "copy.trn", "COPY_ONLY")
    put(shop, 2)
    log(shop)
    assert header(shop, "log.trn")["FirstLSN"] == header(shop, "copy.trn")["FirstLSN"] == base["FirstLSN"]
    shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL")
    assert header(shop, "diff.bak")["DifferentialBaseGUID"] == base["BackupSetGUID"]
    assert header(shop, "diff.bak")["DifferentialBaseLSN"] == base["CheckpointLSN"]


def test_simple_ends_the_chain_and_full_needs_a_backup_to_begin_one(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    assert numbers(shop.run("ALTER DATABASE a SET RECOVERY SIMPLE")) == []
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4208, 3013]
    assert find(shop).chain.log_backup_lsn is None
    put(shop, 2)
    assert numbers(shop.run("ALTER DATABASE a SET RECOVERY BULK_LOGGED")) == []
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop)
    log(shop)
    assert header(shop, "log.trn")["RecoveryModel"] == "BULK-LOGGED"


def test_a_rollback_journal_is_converted_and_said_so(logged: Workshop) -> None:
    logged.fill("old", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    assert find_model(logged, "old") is RecoveryModel.SIMPLE
    said = messages(logged.run("ALTER DATABASE old SET RECOVERY FULL"))
    assert [(m.number, m.severity) for m in said] == [(0, 0)]
    assert "write-ahead log" in said[0].text
    assert logged.rows("old", "PRAGMA journal_mode") == [["wal"]]
    assert numbers(logged.run("ALTER DATABASE old SET RECOVERY SIMPLE")) == []
    assert numbers(logged.run("ALTER DATABASE old SET RECOVERY FULL")) == []


def find_model(shop: Workshop, name: str) -> RecoveryModel:
    database = shop.env.database(name)
    assert database is not None
    return database.recovery_model


def test_a_break_is_answered_by_4214_until_a_full_backup(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    log(shop)
    logs = shop.env.logs
    assert logs is not None
    # As when the keeper was away while somebody checkpointed.
    logs.stop(find(shop).guid)
    put(shop, 2)
    shop.fill("a", "PRAGMA wal_checkpoint(TRUNCATE)")
    put(shop, 3)
    shop.fill("a", "PRAGMA wal_checkpoint(TRUNCATE)")
    begin(shop.env)
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    assert shop.reports
    full(shop)
    put(shop, 4)
    log(shop, "again.trn")
    assert header(shop, "again.trn")["BeginsLogChain"] == 1


def broken(shop: Workshop) -> None:
    """As when the keeper was away while somebody checkpointed."""
    logs = shop.env.logs
    assert logs is not None
    logs.stop(find(shop).guid)
    put(shop, 2)
    shop.fill("a", "PRAGMA wal_checkpoint(TRUNCATE)")
    put(shop, 3)
    shop.fill("a", "PRAGMA wal_checkpoint(TRUNCATE)")
    begin(shop.env)


def differential(shop: Workshop, file: str) -> None:
    text = f"BACKUP DATABASE a TO DISK='/tmp/{file}' WITH DIFFERENTIAL"
    assert numbers(shop.run(text)) == BACKED_UP


def test_a_differential_bridges_a_break(shop: Workshop) -> None:
    put(shop, 0)
    # A row of a page of its own, which goes and comes back to what it was.
    shop.fill("a", "CREATE TABLE big (x); INSERT INTO big VALUES (zeroblob(3000)), (zeroblob(3000))")
    full(shop)
    put(shop, 1)
    shop.fill("a", "UPDATE big SET x = x'01' || substr(x, 2) WHERE rowid = 2")
    differential(shop, "first.bak")
    shop.fill("a", "UPDATE big SET x = zeroblob(3000) WHERE rowid = 2")
    broken(shop)
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    differential(shop, "second.bak")
    put(shop, 4)
    log(shop)
    assert header(shop, "log.trn")["BeginsLogChain"] == 1
    for before in ([], ["first.bak"]):
        steps = [("full.bak", f"NORECOVERY, REPLACE, {MOVE}")]
        steps += [(file, "NORECOVERY") for file in (*before, "second.bak")]
        for file, options in steps:
            found = shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/{file}' WITH {options}")
            assert 3014 in numbers(found)
        assert 3014 in numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn'"))
        assert content(shop, "b") == [0, 1, 2, 3, 4]
        assert shop.rows("b", "SELECT count(*) FROM big WHERE x = zeroblob(3000)") == [[2]]


def test_a_stop_among_commits_that_were_found_late_is_said(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    logs = shop.env.logs
    assert logs is not None
    capturer = logs._kept[find(shop).guid].capturer
    capturer.capture_now()
    with capturer._lock:  # as if it had no processor
        put(shop, 2)
        stop = time_text(time.time_ns())
        time.sleep(0.05)
        put(shop, 3)
    capturer.capture_now()
    text = f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH {MOVE}, STOPAT='{stop}'"
    said = [message.text for message in messages(shop.run(text))]
    assert any("found late" in line for line in said), said
    assert content(shop, "b") == [1]
    later = time_text(time.time_ns())
    text = f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH REPLACE, {MOVE}, STOPAT='{later}'"
    assert not any("found late" in message.text for message in messages(shop.run(text)))
    assert content(shop, "b") == [1, 2, 3]


def test_a_log_backup_runs_beside_a_full_backup(shop: Workshop) -> None:
    shop.fill("a", "CREATE TABLE big(b BLOB); INSERT INTO big VALUES (randomblob(30000000))")
    full(shop)
    put(shop, 1)
    text = "BACKUP DATABASE a TO DISK='/tmp/long.bak' WITH STATS=1"
    replies = run(NativeRequest(text, ADMIN), shop.env)
    first = next(replies)
    assert isinstance(first, Message)
    assert first.number == 3211
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/other.bak'")) == [3023, 3013]
    assert numbers(shop.run("DROP DATABASE a")) == [3702]
    put(shop, 2)
    log(shop)
    put(shop, 3)
    log(shop)
    assert 3014 in numbers(list(replies))
    base = find(shop).chain.base_guid
    put(shop, 4)
    log(shop)
    assert find(shop).chain.base_guid == base
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/long.bak' WITH NORECOVERY, {MOVE}")
    for position in (1, 2, 3):
        shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE={position}, NORECOVERY")
    shop.run("RESTORE DATABASE b WITH RECOVERY")
    assert content(shop, "b") == [1, 2, 3, 4]


# --------------------------------------------------------------------------- restore sequences


def test_full_differential_and_logs_give_every_row(shop: Workshop) -> None:
    put(shop, 1)
    full(shop)
    put(shop, 2)
    log(shop)
    put(shop, 3)
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL")) == BACKED_UP
    put(shop, 4)
    log(shop)
    assert numbers(shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")) == (
        BACKED_UP
    )
    assert find(shop, "b").state is DatabaseState.RESTORING
    late = shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2, NORECOVERY")
    assert numbers(late) == [4305, 3013]
    said = messages(shop.run("RESTORE DATABASE b FROM DISK='/tmp/diff.bak' WITH NORECOVERY"))
    assert [m.number for m in said] == BACKED_UP
    assert said[-1].text.startswith("RESTORE DATABASE successfully processed")
    early = shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=1, NORECOVERY")
    assert numbers(early) == [4326, 3013]
    last = messages(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2"))
    assert [m.number for m in last] == BACKED_UP
    assert last[0].text == "Processed 0 pages for database 'b', file 'a' on file 2."
    assert last[-1].text.startswith("RESTORE LOG successfully processed")
    assert find(shop, "b").state is DatabaseState.ONLINE
    assert content(shop, "b") == [1, 2, 3, 4]
    kinds = shop.history("SELECT restore_type, recovery FROM restorehistory ORDER BY restore_history_id")
    assert kinds == [("D", 0), ("I", 0), ("L", 1)]


def test_a_log_of_a_time_without_commits_follows_a_differential(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL")) == BACKED_UP
    log(shop)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE DATABASE b FROM DISK='/tmp/diff.bak' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=1, NORECOVERY")) == BACKED_UP
    twice = shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=1, NORECOVERY")
    assert numbers(twice) == [4326, 3013]
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2")) == BACKED_UP
    assert content(shop, "b") == [1]


def test_stopat_cuts_between_two_commits(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    between = moment(shop)
    put(shop, 2)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    replies = shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH STOPAT='{between}', RECOVERY")
    assert numbers(replies) == BACKED_UP
    assert content(shop, "b") == [1]


def test_a_stop_that_is_not_reached_leaves_the_database_restoring(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    log(shop)
    put(shop, 2)
    later = moment(shop)
    put(shop, 3)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    replies = shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH STOPAT='{later}'")
    assert numbers(replies) == [4035, 4035, 4322, 3014]
    assert find(shop, "b").state is DatabaseState.RESTORING
    replies = shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2, STOPAT='{later}'")
    assert numbers(replies) == BACKED_UP
    assert content(shop, "b") == [1, 2]


def test_stops_that_are_too_early_are_refused(shop: Workshop) -> None:
    before = moment(shop)
    put(shop, 1)
    full(shop)
    put(shop, 2)
    log(shop)
    too_early = f"WITH NORECOVERY, STOPAT='{before}', {MOVE}"
    assert numbers(shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' {too_early}")) == [4338, 3013]
    assert shop.catalog.databases.find("b") is None
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    replies = shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH STOPAT='{before}'")
    assert numbers(replies) == [4335, 3013]
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 2]


def test_sets_and_databases_that_do_not_fit(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL")
    log(shop)
    assert numbers(shop.run("RESTORE LOG nosuch FROM DISK='/tmp/log.trn'")) == [3118, 3013]
    assert numbers(shop.run("RESTORE LOG a FROM DISK='/tmp/log.trn'")) == [3117, 3013]
    assert numbers(shop.run("RESTORE DATABASE a FROM DISK='/tmp/diff.bak'")) == [3117, 3013]
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3153, 3013]
    assert numbers(shop.run("RESTORE DATABASE a FROM DISK='/tmp/full.bak'")) == [3159, 3013]
    full(shop, "newer.bak")
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/newer.bak' WITH NORECOVERY, {MOVE}")
    assert numbers(shop.run("RESTORE DATABASE b FROM DISK='/tmp/diff.bak'")) == [3136, 3013]
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/newer.bak'")) == [3135, 3013]
    assert numbers(shop.run("BACKUP LOG b TO DISK='/tmp/b.trn'")) == [927, 3013]
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [3014]
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [3153, 3013]


def test_logs_of_another_fork_are_refused(shop: Workshop) -> None:
    put(shop, 1)
    full(shop)
    put(shop, 2)
    log(shop, "old1.trn")
    between = moment(shop)
    put(shop, 3)
    log(shop, "old2.trn")
    shop.run(f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE, STOPAT='{between}'")
    assert content(shop) == [1, 2]
    put(shop, 4)
    log(shop, "new.trn")
    found = header(shop, "new.trn")
    assert found["FirstRecoveryForkID"] == header(shop, "old1.trn")["RecoveryForkID"]
    assert found["RecoveryForkID"] != found["FirstRecoveryForkID"]
    assert found["ForkPointLSN"] == found["FirstLSN"] == header(shop, "old1.trn")["LastLSN"]
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE LOG b FROM DISK='/tmp/old1.trn' WITH NORECOVERY")
    shop.run("RESTORE LOG b FROM DISK='/tmp/old2.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/new.trn'")) == [4330, 3013]
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE LOG b FROM DISK='/tmp/old1.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/new.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 2, 4]


def test_tail_log_and_back(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    log(shop, "tail.trn", "NORECOVERY")
    assert find(shop).state is DatabaseState.RESTORING
    assert header(shop, "tail.trn")["IsForceOffline"] == 1
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/x.bak'")) == [927, 3013]
    assert numbers(shop.run("RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH NORECOVERY")) == BACKED_UP
    assert numbers(shop.run("RESTORE LOG a FROM DISK='/tmp/tail.trn'")) == BACKED_UP
    assert content(shop) == [1]
    put(shop, 2)
    log(shop, "next.trn", "NORECOVERY")
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3014]
    assert content(shop) == [1, 2]


def test_a_tail_that_cannot_be_written_changes_nothing(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    shop.sessions.databases[60] = "a"
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/t.trn' WITH NORECOVERY")) == [3101, 3013]
    del shop.sessions.databases[60]
    replies = shop.run("BACKUP LOG a TO DISK='/tmp/missing/t.trn' WITH NORECOVERY")
    assert numbers(replies) == [3201, 3013]
    assert find(shop).state is DatabaseState.ONLINE
    put(shop, 2)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 2]


def test_a_tail_that_cannot_be_left_in_standby_changes_nothing(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    full(shop)
    put(shop, 1)

    def show(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(log_backup, "show_standby", show)
        shop.run("BACKUP LOG a TO DISK='/tmp/log.trn' WITH STANDBY='/tmp/undo.dat'")
    assert (find(shop).state, find(shop).standby, find(shop).redo) == (DatabaseState.ONLINE, None, None)
    put(shop, 2)
    stop = moment(shop)
    put(shop, 3)
    replaced = shop.run(f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE, STOPAT='{stop}'")
    assert numbers(replaced)[-1] == 3014
    assert content(shop) == [1, 2]


@pytest.mark.parametrize("kind", ["LOG", "DATABASE"])
def test_a_full_disk_fails_no_backup_that_is_complete(
    shop: Workshop, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if kind == "LOG":
        full(shop)
    put(shop, 1)
    with monkeypatch.context() as patch:
        patch.setattr(service, "write_chain", write)
        if kind == "LOG":
            log(shop, "first.trn")
        else:
            full(shop)
            assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    (known,) = shop.history("SELECT count(*) FROM backupset")
    assert known == (2 if kind == "LOG" else 1,)
    if kind == "DATABASE":
        full(shop)
    put(shop, 2)
    log(shop)
    if kind == "LOG":
        assert header(shop, "log.trn")["FirstLSN"] == header(shop, "first.trn")["LastLSN"]
    else:
        assert header(shop, "log.trn")["FirstLSN"] == header(shop, "full.bak")["FirstLSN"]


def test_standby_is_readable_between_logs(shop: Workshop) -> None:
    put(shop, 1)
    full(shop)
    undo = "/var/opt/mssql/data/b.tuf"
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STANDBY='{undo}', {MOVE}")
    assert find(shop, "b").state is DatabaseState.ONLINE
    assert find(shop, "b").standby is not None
    assert content(shop, "b") == [1]
    assert (shop.store / "b.tuf").exists()
    assert numbers(shop.run("BACKUP DATABASE b TO DISK='/tmp/x.bak'")) == [3036, 3013]
    put(shop, 2)
    log(shop)
    shop.sessions.databases[60] = "b"
    again = f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH STANDBY='{undo}'"
    assert numbers(shop.run(again)) == [3101, 3013]
    del shop.sessions.databases[60]
    assert numbers(shop.run(again)) == BACKED_UP
    assert content(shop, "b") == [1, 2]
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [3014]
    assert find(shop, "b").standby is None
    assert not (shop.store / "b.tuf").exists()
    put(shop, 3, database="b")
    assert content(shop, "b") == [1, 2, 3]


def test_dropping_a_database_in_the_middle_of_a_restore_leaves_nothing(shop: Workshop) -> None:
    full(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    assert list((shop.store / ".redo").iterdir())
    assert numbers(shop.run("DROP DATABASE b")) == []
    assert list((shop.store / ".redo").iterdir()) == []


# --------------------------------------------------------------------------- STOPAT as the whole recovery


@pytest.fixture
def accident(shop: Workshop) -> tuple[Workshop, str, str]:
    """Full, log and differential backups, an accident, and times before it and later."""
    put(shop, 1)
    full(shop)
    put(shop, 2)
    early = moment(shop)
    put(shop, 3)
    log(shop)
    shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL")
    put(shop, 4)
    log(shop)
    put(shop, 5)
    before = moment(shop)
    shop.fill("a", "DELETE FROM t")
    return shop, early, before


def whole(shop: Workshop, stop: str, options: str = "REPLACE") -> list[str]:
    replies = shop.run(f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH {options}, STOPAT='{stop}'")
    said = messages(replies)
    assert {m.severity for m in said} == {0}, said
    assert said[-1].text.startswith("RESTORE DATABASE successfully processed")
    return [m.text for m in said if m.number == 0]


def test_the_moment_before_the_accident_in_place(accident: tuple[Workshop, str, str]) -> None:
    shop, _, before = accident
    told = "\n".join(whole(shop, before))
    assert content(shop) == [1, 2, 3, 4, 5]
    assert "differential backup 'diff.bak'" in told
    assert "captured log" in told
    kept = told.rsplit("'", 2)[1]
    undo = shop.store / ".undo" / f"{kept}.db"
    assert undo.is_file()
    rows = shop.history("SELECT restore_type, recovery, stop_at IS NULL FROM restorehistory ORDER BY 1")
    assert rows == [("D", 0, 0), ("I", 1, 0)]


def test_back_and_forth_between_forks(accident: tuple[Workshop, str, str]) -> None:
    shop, early, before = accident
    told = "\n".join(whole(shop, early))
    assert "log backup 'log.trn' (file 1)" in told
    assert content(shop) == [1, 2]
    put(shop, 6)
    on_new_fork = moment(shop)
    whole(shop, before)
    assert content(shop) == [1, 2, 3, 4, 5]
    whole(shop, on_new_fork)
    assert content(shop) == [1, 2, 6]


def test_a_lost_log_backup_is_replaced_by_the_archive(accident: tuple[Workshop, str, str]) -> None:
    shop, early, _ = accident
    (shop.media / "log.trn").unlink()
    told = whole(shop, early)
    assert content(shop) == [1, 2]
    assert any("captured log" in text for text in told)


def test_a_clock_that_was_set_back_between_two_restores_makes_the_former_fork_not_the_newer_one(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop, 1)
    full(shop)
    stop = moment(shop)
    put(shop, 2)
    again = f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE, STOPAT='{stop}'"
    assert numbers(shop.run(again))[-1] == 3014
    put(shop, 3)
    with monkeypatch.context() as patch:
        hour = 3600 * 10**9
        patch.setattr(log_chain, "time", SimpleNamespace(time_ns=lambda: time.time_ns() - hour))
        assert numbers(shop.run(again))[-1] == 3014
    assert content(shop) == [1]
    put(shop, 4)
    now = moment(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STOPAT='{now}', {MOVE}")
    assert content(shop, "b") == [1, 4]


@pytest.mark.parametrize("from_sets", [False, True], ids=["captured log", "log backup"])
def test_what_was_committed_since_the_clock_was_set_back_is_in_the_latest_state(
    shop: Workshop, from_sets: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    full(shop)
    logs.stop(find(shop).guid)
    with monkeypatch.context() as patch:
        hour = 3600 * 10**9
        patch.setattr(times, "time", SimpleNamespace(time_ns=lambda: time.time_ns() + hour))
        begin(shop.env)
        put(shop, 2)
        logs.stop(find(shop).guid)
    begin(shop.env)
    for value in (3, 4):
        put(shop, value)
        logs.capture_now(find(shop).guid)
        if from_sets:
            log(shop)
    rows = table(shop.run("EXEC sp_restore_plan @a1", variables={"@a1": "a"}))
    through = list(rows[-1].values())[3]
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STOPAT='{through}', {MOVE}")
    assert content(shop, "b") == [1, 2, 3, 4]


def test_nothing_reaches_the_future(accident: tuple[Workshop, str, str]) -> None:
    shop, _, _ = accident
    future = time_text(time.time_ns() + 3600 * 10**9)
    replies = shop.run(f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE, STOPAT='{future}'")
    assert 4322 in numbers(replies)
    assert find(shop).state is DatabaseState.RESTORING
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3014]
    assert content(shop) == []


def test_with_norecovery_it_only_checks(accident: tuple[Workshop, str, str]) -> None:
    shop, _, before = accident
    replies = shop.run(
        f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}, STOPAT='{before}'"
    )
    assert numbers(replies) == BACKED_UP
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [3014]
    assert content(shop, "b") == [1]


def test_the_archive_alone_after_the_database_is_lost(accident: tuple[Workshop, str, str]) -> None:
    shop, _, before = accident
    logs = shop.env.logs
    assert logs is not None
    logs.stop(find(shop).guid)
    for suffix in ("", "-wal", "-shm"):
        (shop.store / f"a.db{suffix}").unlink(missing_ok=True)
    whole(shop, before)
    assert content(shop) == [1, 2, 3, 4, 5]


def test_a_stop_by_lsn(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    log(shop)
    put(shop, 2)
    log(shop)
    lsn = header(shop, "log.trn", 2)["FirstLSN"]
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH NORECOVERY")
    shop.run(f"RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2, STOPBEFOREMARK='lsn:{lsn}'")
    assert content(shop, "b") == [1]
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH STOPATMARK='lsn:x'"))[0] == 4334


def test_a_restore_killed_while_it_opened_the_database_is_finished_at_the_next_start(
    shop: Workshop, caplog: pytest.LogCaptureFixture
) -> None:
    put(shop, 1)
    full(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    restoring = find(shop, "b")
    assert restoring.redo is not None
    recovering = msgspec.structs.replace(restoring.redo, recovering=True)
    shop.catalog.databases.update(restoring.id, redo=recovering)
    begin(shop.env)
    assert find(shop, "b").state is DatabaseState.ONLINE
    assert content(shop, "b") == [1]
    assert list((shop.store / ".redo").iterdir()) == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_kill_before_the_log_of_a_restored_database_begins_leaves_no_way_along_the_old_fork(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop, 1)
    full(shop)
    stop = moment(shop)
    put(shop, 2)

    def ended(*arguments: object, **options: object) -> None:
        raise _Ended

    with monkeypatch.context() as patch:
        patch.setattr(recovery, "restart_log", ended)
        with pytest.raises(_Ended):
            shop.run(f"RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE, STOPAT='{stop}'")
    begin(shop.env)
    former, present = shop.env.catalog.databases.forks(find(shop, "a").guid)
    assert former.start_lsn < (present.point_lsn or 0) < present.start_lsn
    assert content(shop) == [1]
    put(shop, 3)
    now = moment(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STOPAT='{now}', {MOVE}")
    # What was committed before the log began again is not known: nothing leads to now, least of all row 2.
    assert find(shop, "b").state is DatabaseState.RESTORING
    full(shop, "anew.bak")
    put(shop, 4)
    log(shop, "anew.trn")
    now = moment(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/anew.bak' WITH STOPAT='{now}', REPLACE, {MOVE}")
    assert content(shop, "b") == [1, 3, 4]


def test_a_roll_forward_that_was_interrupted_must_be_repeated(shop: Workshop) -> None:
    full(shop)
    put(shop, 1)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    restoring = find(shop, "b")
    assert restoring.redo is not None
    guid = UUID(str(header(shop, "log.trn")["BackupSetGUID"]))
    begun = msgspec.structs.replace(restoring.redo, unfinished=True, pending=guid)
    shop.catalog.databases.update(restoring.id, redo=begun)
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [4333, 3013]
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn'")) == BACKED_UP
    assert content(shop, "b") == [1]


def test_images_that_nobody_needs_go_at_the_next_start(shop: Workshop) -> None:
    (shop.store / ".redo").mkdir()
    (shop.store / ".redo" / "left.image").write_bytes(b"x")
    begin(shop.env)
    assert list((shop.store / ".redo").iterdir()) == []


def test_differentials_go_on_over_a_fork(accident: tuple[Workshop, str, str]) -> None:
    shop, early, _ = accident
    whole(shop, early)
    put(shop, 7)
    said = shop.run("BACKUP DATABASE a TO DISK='/tmp/fork.bak' WITH DIFFERENTIAL, INIT")
    assert numbers(said) == BACKED_UP
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    assert numbers(shop.run("RESTORE DATABASE b FROM DISK='/tmp/fork.bak'")) == BACKED_UP
    assert content(shop, "b") == [1, 2, 7]
    assert shop.rows("b", "PRAGMA integrity_check") == [["ok"]]


def test_log_on_a_third_fork_needs_a_differential_first(shop: Workshop) -> None:
    """Also when the second began where the full backup ended: a log backup knows of two forks."""
    put(shop, 1)
    full(shop)
    at_once = moment(shop)
    put(shop, 2)
    whole(shop, at_once)
    put(shop, 3)
    later = moment(shop)
    put(shop, 4)
    whole(shop, later)
    put(shop, 5)
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/log.trn'")) == [4214, 3013]
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/d.bak' WITH DIFFERENTIAL")) == BACKED_UP
    put(shop, 6)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    assert numbers(shop.run("RESTORE DATABASE b FROM DISK='/tmp/d.bak' WITH NORECOVERY")) == BACKED_UP
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 3, 5, 6]


# ------------------------------------------------------------ backups while the log is not captured


@pytest.mark.parametrize("restarts", [False, True], ids=["goes on", "restarts"])
def test_a_backup_while_the_log_is_not_captured_is_no_base_of_log_backups(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    """Commits from before its snapshot are captured after it: rolled over it they would mix two states."""
    put(shop, 1)
    full(shop)
    log(shop)
    logs = shop.env.logs
    assert logs is not None
    with monkeypatch.context() as patch:

        def write(descriptor: int, pieces: object, offset: int) -> None:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patch.setattr(archive_module, "write_all", write)
        put(shop, 2, 3)
        full(shop, "unlogged.bak")
        assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
        if restarts:
            logs.stop(find(shop).guid)
    begin(shop.env)
    put(shop, 4)
    logs.capture_now(find(shop).guid)
    assert logs.status(find(shop).guid).state is ChainState.BROKEN
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop, "anew.bak")
    put(shop, 5)
    log(shop, "anew.trn")
    assert header(shop, "unlogged.bak")["LastLSN"] < header(shop, "anew.trn")["FirstLSN"]
    for base, refused in (("unlogged.bak", True), ("anew.bak", False)):
        shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/{base}' WITH NORECOVERY, REPLACE, {MOVE}")
        assert (4305 in numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/anew.trn'"))) is refused
    assert content(shop, "b") == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("options", ["INIT", "INIT, COPY_ONLY", "INIT, DIFFERENTIAL"])
def test_a_backup_while_the_log_could_not_be_started_is_no_base_of_log_backups(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    """Commits of before and after it are captured later, and numbered from where the log ended."""
    # Whose WAL stays, so that nothing of it is missed.
    holder = apsw.Connection(str(shop.store / "a.db"))
    holder.execute("SELECT * FROM t").fetchall()
    put(shop, 1)
    full(shop)
    log(shop)
    put(shop, 2)
    logs = shop.env.logs
    assert logs is not None
    logs.stop(find(shop).guid)
    with monkeypatch.context() as patch:

        def start(database: object) -> None:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

        patch.setattr(logs, "start", start)
        begin(shop.env)
        put(shop, 3)
        full(shop, "unlogged.bak", options)
        put(shop, 4)
        assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    begin(shop.env)
    put(shop, 5)
    logs.capture_now(find(shop).guid)
    assert logs.status(find(shop).guid).state is ChainState.BROKEN
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop, "anew.bak")
    put(shop, 6)
    log(shop, "anew.trn")
    holder.close()
    assert header(shop, "unlogged.bak")["LastLSN"] < header(shop, "anew.trn")["FirstLSN"]
    for base, refused in (("unlogged.bak", True), ("anew.bak", False)):
        if base == "unlogged.bak" and "DIFFERENTIAL" in options:
            shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, REPLACE, {MOVE}")
            assert (
                numbers(shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/{base}' WITH NORECOVERY")) == BACKED_UP
            )
        else:
            shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/{base}' WITH NORECOVERY, REPLACE, {MOVE}")
        assert (4305 in numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/anew.trn'"))) is refused
    assert content(shop, "b") == [1, 2, 3, 4, 5, 6]


class _Ended(Exception):
    """As a kill."""


@pytest.mark.parametrize("order", ["catalog first", "log first"])
def test_a_kill_while_a_chain_begins_is_mended_by_the_next_full_backup(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    if order == "catalog first":

        def ended(guid: UUID, first_lsn: int) -> None:
            raise _Ended

        with monkeypatch.context() as patch:
            patch.setattr(logs, "chain_begun", ended)
            with pytest.raises(_Ended):
                shop.run("BACKUP DATABASE a TO DISK='/tmp/killed.bak'")
    else:
        # As earlier versions left it.
        logs.chain_begun(find(shop).guid, logs.capture_now(find(shop).guid))
        assert logs.status(find(shop).guid).state is ChainState.UNBROKEN
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop)
    put(shop, 2)
    log(shop)
    assert header(shop, "log.trn")["FirstLSN"] == header(shop, "full.bak")["FirstLSN"]


@pytest.mark.parametrize("options", ["INIT", "INIT, DIFFERENTIAL"])
@pytest.mark.parametrize("found_by", ["log backup", "log backup, restarts", "full backup"])
def test_a_damaged_log_breaks_the_chain_and_the_next_data_backup_begins_another(
    shop: Workshop, options: str, found_by: str
) -> None:
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    full(shop)
    put(shop, 2)
    middle = logs.capture_now(find(shop).guid)
    (segment,) = (shop.store / "log").glob("*/*/*.seg")
    size = segment.stat().st_size
    put(shop, 3, 4)
    assert logs.capture_now(find(shop).guid) > middle
    damage(segment, size + 60)
    if found_by == "full backup":
        assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/no.bak'")) == [0, 3013]
    else:
        assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    if found_by == "log backup, restarts":
        logs.stop(find(shop).guid)
        begin(shop.env)
    status = status_of(shop.env, find(shop))
    assert (status.state, status.log_start) == (ChainState.BROKEN, None)
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop, "anew.bak", options)
    assert status_of(shop.env, find(shop)).state is ChainState.UNBROKEN
    put(shop, 5)
    log(shop, "anew.trn")
    put(shop, 6)
    log(shop, "more.trn")
    base = "full.bak" if "DIFFERENTIAL" in options else "anew.bak"
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/{base}' WITH NORECOVERY, {MOVE}")
    if "DIFFERENTIAL" in options:
        shop.run("RESTORE DATABASE b FROM DISK='/tmp/anew.bak' WITH NORECOVERY")
    shop.run("RESTORE LOG b FROM DISK='/tmp/anew.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/more.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 2, 3, 4, 5, 6]


def damage(segment: Path, at: int) -> None:
    with segment.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))


def damage_older_segment(shop: Workshop, *, in_log_backup: bool = True) -> None:
    """A log of two segments; the first one's record of row 2 is damaged."""
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    full(shop)
    guid = find(shop).guid
    (older,) = (shop.store / "log").glob("*/*/*.seg")
    logs.capture_now(guid)
    size = older.stat().st_size
    put(shop, 2)
    logs.capture_now(guid)
    logs.archive(guid).begin_segment_soon(2 * time.time_ns())
    put(shop, 3)
    logs.capture_now(guid)
    assert len(list((shop.store / "log").glob("*/*/*.seg"))) == 2
    if in_log_backup:
        log(shop)
    damage(older, size + 60)


@pytest.mark.parametrize("in_log_backup", [True, False])
def test_a_differential_over_a_damaged_older_segment_goes_by_the_hashes_of_pages(
    shop: Workshop, in_log_backup: bool, caplog: pytest.LogCaptureFixture
) -> None:
    damage_older_segment(shop, in_log_backup=in_log_backup)
    if not in_log_backup:
        assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    put(shop, 4)
    differential(shop, "diff.bak")
    assert "the log of a does not tell what changed since the last full backup" in caplog.text
    put(shop, 5)
    log(shop, "anew.trn")
    put(shop, 6)
    log(shop, "more.trn")
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE DATABASE b FROM DISK='/tmp/diff.bak' WITH NORECOVERY")
    shop.run("RESTORE LOG b FROM DISK='/tmp/anew.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/more.trn'")) == BACKED_UP
    assert content(shop, "b") == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("target", ["in place", "beside"])
def test_log_backups_stand_in_for_a_damaged_older_segment(shop: Workshop, target: str) -> None:
    damage_older_segment(shop)
    put(shop, 4)
    stop = moment(shop)
    put(shop, 5)
    name, how = ("a", "REPLACE") if target == "in place" else ("b", MOVE)
    found = shop.run(f"RESTORE DATABASE {name} FROM DISK='/tmp/full.bak' WITH STOPAT='{stop}', {how}")
    assert numbers(found)[-1] == 3014
    assert content(shop, name) == [1, 2, 3, 4]
    said = [message.text for message in messages(found)]
    assert [text for text in said if "log backup 'log.trn' (file 1) was used" in text]
    assert [text for text in said if "the captured log was used" in text]


def test_damage_behind_the_stop_is_in_nobodys_way(shop: Workshop) -> None:
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    full(shop)
    put(shop, 2)
    stop = moment(shop)
    put(shop, 3)
    logs.capture_now(find(shop).guid)
    (segment,) = (shop.store / "log").glob("*/*/*.seg")
    size = segment.stat().st_size
    put(shop, 4)
    logs.capture_now(find(shop).guid)
    damage(segment, size + 60)
    found = shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STOPAT='{stop}', {MOVE}")
    assert numbers(found)[-1] == 3014
    assert content(shop, "b") == [1, 2]


def test_without_log_backups_a_damaged_older_segment_fails_the_restore(shop: Workshop) -> None:
    damage_older_segment(shop, in_log_backup=False)
    stop = moment(shop)
    found = messages(shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STOPAT='{stop}', {MOVE}"))
    assert "The log cannot be read" in found[0].text
    assert content(shop) == [1, 2, 3]


def test_a_differential_names_the_full_backup_as_the_remedy_when_no_hashes_are_left(shop: Workshop) -> None:
    damage_older_segment(shop)
    remove_maps(shop.store, find(shop).guid)
    (said, _) = messages(shop.run("BACKUP DATABASE a TO DISK='/tmp/diff.bak' WITH DIFFERENTIAL"))
    assert said.number == 3035
    assert "Perform a full database backup" in said.text
    full(shop)
    differential(shop, "diff.bak")


def test_damage_of_an_older_segment_stops_no_full_backup_with_checksum(shop: Workshop) -> None:
    damage_older_segment(shop)
    full(shop, "checked.bak", "CHECKSUM")
    assert header(shop, "checked.bak")["HasBackupChecksums"] == 1
    put(shop, 4)
    differential(shop, "diff.bak")


@pytest.mark.slow
def test_a_full_backup_begins_a_chain_behind_a_gap_and_a_damaged_older_segment(shop: Workshop) -> None:
    damage_older_segment(shop)
    broken(shop)
    status = status_of(shop.env, find(shop))
    assert status.state is ChainState.BROKEN
    assert "is damaged" in str(status.reason)
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    full(shop, "anew.bak")
    assert status_of(shop.env, find(shop)).state is ChainState.UNBROKEN
    put(shop, 4)
    log(shop, "anew.trn")


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER DATABASE a SET RECOVERY SIMPLE",
        "ALTER DATABASE a SET OFFLINE",
        "RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE",
        "BACKUP LOG a TO DISK='/tmp/tail.trn' WITH NORECOVERY, NO_TRUNCATE",
        "DROP DATABASE a",
    ],
)
def test_a_damaged_note_of_the_chain_stops_no_other_statement(shop: Workshop, statement: str) -> None:
    put(shop, 1)
    full(shop)
    (note,) = (shop.store / "log").glob("*/chain.json")
    note.write_bytes(note.read_bytes()[:-9])
    found = numbers(shop.run(statement))
    if "BACKUP LOG" in statement:
        assert found == [4214, 3013]
        return
    assert not set(found) - {*BACKED_UP}
    if "DROP" in statement:
        assert shop.catalog.databases.find("a") is None
        return
    shop.run("ALTER DATABASE a SET ONLINE")
    shop.run("ALTER DATABASE a SET RECOVERY FULL")
    # A restored database goes on from the backup that it was restored from.
    goes_on = "RESTORE" in statement
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == (LOGGED if goes_on else [4214, 3013])
    full(shop)
    put(shop, 2)
    log(shop)
    assert content(shop) == [1, 2]


def test_a_note_of_the_chain_that_is_damaged_during_a_log_backup_fails_none(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(shop, 1)
    full(shop)
    put(shop, 2)
    (note,) = (shop.store / "log").glob("*/chain.json")
    backup_log = operations.backup_log

    def damaging(*arguments: Any, **options: Any) -> operations.BackupResult:
        result = backup_log(*arguments, **options)
        note.write_bytes(note.read_bytes()[:-9])
        return result

    with monkeypatch.context() as changed:
        changed.setattr(operations, "backup_log", damaging)
        log(shop)
    put(shop, 3)
    log(shop)
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")
    shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH NORECOVERY")
    assert numbers(shop.run("RESTORE LOG b FROM DISK='/tmp/log.trn' WITH FILE=2")) == BACKED_UP
    assert content(shop, "b") == [1, 2, 3]


@pytest.mark.parametrize("restarts", [False, True], ids=["runs", "restarts"])
def test_a_full_backup_mends_a_damaged_note_of_the_chain(shop: Workshop, restarts: bool) -> None:
    logs = shop.env.logs
    assert logs is not None
    put(shop, 1)
    full(shop)
    log(shop)
    if restarts:
        logs.stop(find(shop).guid)
    (note,) = (shop.store / "log").glob("*/chain.json")
    note.write_bytes(note.read_bytes()[:-9])
    begin(shop.env)
    logs.tidy_all()
    assert logs.status(find(shop).guid).state is ChainState.BROKEN
    assert numbers(shop.run("BACKUP LOG a TO DISK='/tmp/l.trn'")) == [4214, 3013]
    assert len([line for line in shop.reports if "chain.json is damaged" in line]) == 1
    full(shop)
    put(shop, 2)
    log(shop)

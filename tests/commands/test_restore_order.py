"""Sets that are restored in an order that would mix two states, and restores that are interrupted."""

from __future__ import annotations

import errno

import apsw
import pytest

from tdsproxy.backup import restore_steps
from tdsproxy.catalog.databases import DatabaseState
from tdsproxy.commands import recovery, restore_statement
from tdsproxy.commands.startup import begin
from tests.commands.support import Workshop, numbers

MOVE = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"
RESTORED = [4035, 4035, 3014]
BOTH = "SELECT (SELECT count(*) FROM t), (SELECT count(*) FROM u)"


def make(shop: Workshop, *, differentials: bool = True) -> None:
    """Each of ``d1``, ``d2``: a row in ``t``; in ``u``, on a page of its own, from ``d2`` on."""
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x); CREATE TABLE u (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    shop.run("BACKUP LOG a TO DISK='/tmp/l1.bak'")
    if differentials:
        shop.run("BACKUP DATABASE a TO DISK='/tmp/d1.bak' WITH DIFFERENTIAL")
    shop.fill("a", "INSERT INTO t VALUES (2); INSERT INTO u VALUES (2)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/d2.bak' WITH DIFFERENTIAL")
    shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, {MOVE}")


def apply(shop: Workshop, file: str, options: str = "NORECOVERY", kind: str = "DATABASE") -> list[int]:
    return numbers(shop.run(f"RESTORE {kind} b FROM DISK='/tmp/{file}.bak' WITH {options}"))


@pytest.mark.parametrize("kept", ["logged", "shop"])
def test_an_earlier_differential_is_refused_behind_a_later_one(
    kept: str, request: pytest.FixtureRequest
) -> None:
    shop: Workshop = request.getfixturevalue(kept)
    make(shop)
    assert apply(shop, "d2") == RESTORED
    assert apply(shop, "d1") == [3136, 3013]
    assert apply(shop, "d2", "RECOVERY") == RESTORED
    assert shop.rows("b", BOTH) == [[2, 1]]


def test_only_the_interrupted_set_can_follow(logged: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    make(logged)

    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "the disk fails behind the pages")

    with monkeypatch.context() as patch:
        patch.setattr(restore_steps, "roll_own_log", fail)
        assert apply(logged, "d2") == [3202, 3013]
    assert apply(logged, "d1") == [4319, 3013]
    assert apply(logged, "l1", kind="LOG") == [4319, 3013]
    assert numbers(logged.run("RESTORE DATABASE b WITH RECOVERY")) == [4333, 3013]
    assert apply(logged, "d2", "RECOVERY") == RESTORED
    assert logged.rows("b", BOTH) == [[2, 1]]


def test_a_set_of_which_nothing_was_written_binds_nobody(
    logged: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(logged)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "the disk fails before the pages")

    with monkeypatch.context() as patch:
        patch.setattr(restore_steps, "write_changed_pages", fail)
        assert apply(logged, "d2") == [3202, 3013]
    assert apply(logged, "d1", "RECOVERY") == RESTORED
    assert logged.rows("b", BOTH) == [[1, 0]]


def test_a_differential_by_hashes_does_not_follow_log(logged: Workshop) -> None:
    """What the log changed may have been changed back by then: the hashes do not tell."""
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x); CREATE TABLE u (x); INSERT INTO u VALUES (7)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    shop.fill("a", "UPDATE u SET x = 8")
    shop.run("BACKUP LOG a TO DISK='/tmp/l1.bak'")
    found = shop.catalog.databases.find("a")
    assert found is not None
    assert shop.env.logs is not None
    shop.env.logs.stop(found.guid)
    shop.fill("a", "UPDATE u SET x = 7; PRAGMA wal_checkpoint(TRUNCATE); INSERT INTO t VALUES (1)")
    shop.fill("a", "PRAGMA wal_checkpoint(TRUNCATE)")
    begin(shop.env)
    assert numbers(shop.run("BACKUP DATABASE a TO DISK='/tmp/d.bak' WITH DIFFERENTIAL")) == RESTORED
    for before, wanted in ((["l1"], [3136, 3013]), ([], RESTORED)):
        shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH NORECOVERY, REPLACE, {MOVE}")
        for file in before:
            assert apply(shop, file, kind="LOG") == RESTORED
        assert apply(shop, "d", "RECOVERY") == wanted
    assert shop.rows("b", "SELECT x FROM u") == [[7]]


def test_killed_between_two_images_the_old_file_is_not_taken_for_restored(
    shop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    again = "RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH NORECOVERY, REPLACE"
    assert numbers(shop.run(again)) == RESTORED
    remove = restore_statement.remove_image

    def die(*arguments: object) -> None:
        remove(*arguments)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(restore_statement, "remove_image", die)
        with pytest.raises(KeyboardInterrupt):
            shop.run(again)
    begin(shop.env)
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3014]
    assert shop.rows("a", "SELECT x FROM t") == []


def test_an_image_that_is_lost_is_not_taken_for_put_in_place(shop: Workshop) -> None:
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    shop.run("RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH NORECOVERY, REPLACE")
    for image in (shop.store / ".redo").iterdir():
        image.unlink()
    begin(shop.env)
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY"))[-1] == 3013
    found = shop.catalog.databases.find("a")
    assert found is not None
    assert found.state is DatabaseState.RESTORING


def test_killed_behind_the_commit_the_former_content_is_still_kept(
    logged: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was open, so its pages were replaced in one transaction: once is enough."""
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    shop.fill("a", "INSERT INTO t VALUES (1)")

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    user = apsw.Connection(str(shop.store / "a.db"))
    try:
        user.execute("SELECT * FROM t").fetchall()
        with monkeypatch.context() as patch:
            patch.setattr(recovery, "_open", die)
            with pytest.raises(KeyboardInterrupt):
                shop.run("RESTORE DATABASE a FROM DISK='/tmp/full.bak' WITH REPLACE")
        assert user.execute("SELECT * FROM t").fetchall() == []
    finally:
        user.close()
    begin(shop.env)
    found = shop.catalog.databases.find("a")
    assert found is not None
    assert found.state is DatabaseState.ONLINE
    assert found.kept is not None
    copy = apsw.Connection(str(shop.store / found.kept.copy))
    try:
        assert copy.execute("SELECT * FROM t").fetchall() == [(1,)]
    finally:
        copy.close()
    assert shop.env.logs is not None
    former = next(one for one in shop.env.logs.archives(found.guid) if one.fork != found.fork)
    commits = list(former.read(former.first_lsn(), former.last_lsn()))
    # The table, and the row; the restore is no commit of the former log.
    assert len(commits) == 2


def test_an_undo_file_takes_the_place_of_nothing_else(logged: Workshop) -> None:
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    key = shop.env.catalog.service_key.current()
    data = "/var/opt/mssql/data"
    (shop.store / "b.undo").write_text("notes")
    wrong = [
        "service_master_key",
        "b.db-wal",
        "b.db-journal",
        "keeper.lock",
        "b.undo",
        "log/x.seg",
        ".keys/x",
    ]
    for place in ("/tmp/full.bak", *(f"{data}/{name}" for name in wrong)):
        said = shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH STANDBY='{place}', {MOVE}")
        assert numbers(said) == [3201, 3013]
    assert shop.env.catalog.service_key.current() == key
    options = f"STANDBY='{data}/undo', {MOVE}"
    assert numbers(shop.run(f"RESTORE DATABASE b FROM DISK='/tmp/full.bak' WITH {options}")) == RESTORED
    assert shop.rows("b", "SELECT x FROM t") == [[1]]
    # It is another database's now.
    options = options.replace("/x/b", "/x/c")
    assert numbers(shop.run(f"RESTORE DATABASE c FROM DISK='/tmp/full.bak' WITH {options}")) == [3201, 3013]
    tail = "BACKUP LOG a TO DISK='/tmp/tail.bak' WITH STANDBY='/tmp/tail.bak'"
    shop.run(tail)
    assert numbers(shop.run("RESTORE VERIFYONLY FROM DISK='/tmp/tail.bak'")) == [3262]

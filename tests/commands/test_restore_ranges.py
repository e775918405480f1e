"""Which moments of a database can be restored."""

from __future__ import annotations

from tdsproxy.commands.stop_points import time_text
from tdsproxy.tsql.replies import Rows
from tests.commands.support import Workshop, numbers


def ranges(shop: Workshop, name: str) -> list[tuple[object, ...]]:
    replies = shop.run("EXEC sp_restore_ranges @a1", variables={"@a1": name})
    return [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]


def test_ranges_of_a_chain(logged: Workshop) -> None:
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    assert ranges(shop, "a") == []
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/1.bak', DISK = '/tmp/2.bak'")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'")
    ((first, last, device, file, through, name),) = ranges(shop, "a")
    assert (device, file, through, name) == ("/tmp/1.bak", "1", "captured log", "a")
    assert str(first) < str(last)
    text = f"RESTORE DATABASE a FROM DISK = '/tmp/1.bak', DISK = '/tmp/2.bak' WITH REPLACE, STOPAT = '{last}'"
    assert numbers(shop.run(text))[-1] == 3014
    assert shop.rows("a", "SELECT x FROM t") == [[1]]
    found = shop.catalog.databases.find("a")
    assert found is not None
    assert found.kept is not None
    chain, former = ranges(shop, "a")
    assert chain[0] == first
    assert str(chain[1]) > str(last)
    assert former[2:5] == (found.kept.copy.split("/")[1].removesuffix(".db"), None, "kept content")


def test_what_was_committed_in_simple_is_not_claimed(logged: Workshop) -> None:
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/a.bak'")
    shop.run("ALTER DATABASE a SET RECOVERY SIMPLE")
    ((_, end, *_),) = ranges(shop, "a")
    shop.fill("a", "INSERT INTO t VALUES (1)")
    assert [row[1] for row in ranges(shop, "a")] == [end]
    database = shop.catalog.databases.find("a")
    assert database is not None
    (fork,) = shop.catalog.databases.forks(database.guid)
    assert fork.through_ns is not None
    assert time_text(fork.through_ns) == end
    move = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"
    later = time_text(fork.through_ns + 1000)
    text = f"RESTORE DATABASE b FROM DISK = '/tmp/a.bak' WITH {move}, STOPAT = '{later}'"
    assert 4322 in numbers(shop.run(text))

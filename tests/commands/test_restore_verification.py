"""Backups restored into a scratch file, as ``tdsproxy verify --restore`` asks for."""

from __future__ import annotations

from tdsproxy.tsql.replies import Rows
from tests.commands.support import Workshop, numbers


def test_verify_restored(logged: Workshop) -> None:
    shop = logged
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/1.bak', DISK = '/tmp/2.bak'")
    call = "EXEC sp_verify_restore @a1, @a2, @a3"
    given = {"@a1": "/tmp/1.bak\n/tmp/2.bak", "@a2": 1, "@a3": "SELECT x FROM t WHERE x > 1"}
    replies = shop.run(call, variables=given)
    first, problem = [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]
    assert first[0] == "damaged"
    assert first[2:] == ("a", "1", "1", "2", "2", "1")
    assert problem[:2] == ("problem", "Check: SELECT x FROM t WHERE x > 1 gave (2,).")
    replies = shop.run(call, variables={**given, "@a3": None})
    rows = [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]
    assert [row[0] for row in rows] == ["sound"]
    assert list((shop.store / ".redo").iterdir()) == []
    assert numbers(shop.run(call, variables={**given, "@a1": "/tmp/1.bak"})) == [3132]
    assert numbers(shop.run(call, variables={**given, "@a1": "/tmp/none.bak"})) == [3201]

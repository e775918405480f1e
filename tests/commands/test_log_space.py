"""How much log a database has, before and after log backups."""

from __future__ import annotations

from tdsproxy.tsql.replies import Rows
from tdsproxy.tsql.values import DateTime, Value
from tests.commands.support import Workshop, numbers


def _space(shop: Workshop) -> tuple[Value, ...]:
    """Of the database ``a``."""
    found = shop.catalog.databases.find("a")
    logs = shop.env.logs
    assert found is not None
    assert logs is not None
    logs.capture_now(found.guid)
    rows = [row for reply in shop.run("EXEC tds_log_space") if isinstance(reply, Rows) for row in reply.rows]
    return next(row[1:] for row in rows if row[0] == found.id)


def test_what_no_log_backup_has(logged: Workshop) -> None:
    assert numbers(logged.run("CREATE DATABASE a")) == []
    logged.fill("a", "CREATE TABLE t (x)")
    assert numbers(logged.run("BACKUP DATABASE a TO DISK='/tmp/a.bak'")) == [4035, 4035, 3014]
    begun = _space(logged)
    logged.fill("a", "INSERT INTO t VALUES (zeroblob(100000))")
    _, archive, start, end, since, backed_up = _space(logged)
    assert start == begun[2]
    assert isinstance(since, int)
    assert isinstance(archive, int)
    assert since > 100000
    assert archive > 0
    assert backed_up is None
    assert numbers(logged.run("BACKUP LOG a TO DISK='/tmp/a.bak'")) == [4035, 3014]
    _, _, start, last, since, backed_up = _space(logged)
    assert (start, last, since) == (end, end, 0)
    assert isinstance(backed_up, DateTime)

"""GRANT, DENY and REVOKE: kept, shown and heeded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from tdsproxy.server import grants
from tests.server.scratch import shared_world, sql
from tests.server.support import Client, World

__all__ = ["shared_world", "sql"]


@pytest.fixture
def user(sql: Client, shared_world: World) -> Client:
    """A user with no role in the database of ``sql``."""
    name = f"u_{sql.value('SELECT DB_NAME()')}"
    sql.run(f"CREATE LOGIN {name} WITH PASSWORD = 'Pass-word-9'; CREATE USER {name} FOR LOGIN {name}")
    sql.run("CREATE TABLE t(a int); INSERT t VALUES (1)")
    sql.run("CREATE PROC p AS SELECT 7")
    client = shared_world.login(name, "Pass-word-9")
    client.run(f"USE {sql.value('SELECT DB_NAME()')}")
    return client


def test_grants_and_denials_are_heeded(sql: Client, user: Client) -> None:
    name = str(user.value("SELECT USER_NAME()"))
    assert user.error("SELECT * FROM t") == 229
    sql.run(f"GRANT SELECT ON t TO {name}; GRANT EXECUTE ON OBJECT::dbo.p TO public")
    assert user.rows("SELECT a FROM t") == [(1,)]
    assert user.rows("EXEC p") == [(7,)]
    assert user.error("INSERT t VALUES (2)") == 229
    sql.run("DENY SELECT ON dbo.t TO public")
    assert user.error("SELECT * FROM t") == 229
    sql.run("REVOKE SELECT ON dbo.t FROM public")
    assert user.rows("SELECT a FROM t") == [(1,)]
    sql.run(f"GRANT INSERT ON SCHEMA::dbo TO {name}")
    user.run("INSERT t VALUES (2)")
    assert user.error("GRANT SELECT ON t TO public") == 15247


def test_permissions_are_shown(sql: Client, user: Client) -> None:
    sql.run("GRANT SELECT, INSERT ON t TO public; DENY BACKUP DATABASE TO public")
    assert sql.rows(
        "SELECT class_desc, OBJECT_NAME(major_id), permission_name, state_desc, type"
        " FROM sys.database_permissions ORDER BY permission_name"
    ) == [
        ("DATABASE", None, "BACKUP DATABASE", "DENY", "BADB"),
        ("OBJECT_OR_COLUMN", "t", "INSERT", "GRANT", "IN  "),
        ("OBJECT_OR_COLUMN", "t", "SELECT", "GRANT", "SL  "),
    ]


def test_refusals(sql: Client) -> None:
    assert sql.error("GRANT SELECT ON nope TO public") == 15151
    assert sql.error("GRANT SELECT TO nobody") == 15151
    sql.run("GRANT VIEW SERVER STATE TO sa")


def test_a_grant_begins_anew_when_the_table_is_changed_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = world.login(), world.login()
    one.run("CREATE DATABASE shared; USE shared; CREATE TABLE item (id int)")
    changes = iter(["USE shared; ALTER TABLE item ADD name nvarchar(10)"])
    expanded = grants._expanded

    def after_a_change(words: Sequence[str]) -> Iterator[str]:
        for change in changes:
            other.run(change)
        return expanded(words)

    monkeypatch.setattr(grants, "_expanded", after_a_change)
    # A statement that was not run to its end comes before.
    assert one.error("SELECT nothing FROM item") == 207
    one.run("GRANT SELECT ON item TO public")
    granted = one.rows(
        "SELECT permission_name FROM sys.database_permissions WHERE major_id = OBJECT_ID('item')"
    )
    assert granted == [("SELECT",)]

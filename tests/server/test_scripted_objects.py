"""sp_helpconstraint, sp_helptrigger and their kin; messages raised with their own severity."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.support import Client, World, errors, infos


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    world = World(tmp_path_factory.mktemp("objects"))
    client = world.login()
    client.run("CREATE DATABASE shop")
    client.run("USE shop")
    client.run(
        "CREATE TABLE p(id int NOT NULL CONSTRAINT pk PRIMARY KEY, a int CONSTRAINT ck CHECK (a > 1),"
        " b int CONSTRAINT df DEFAULT 5, c int CONSTRAINT uq UNIQUE)"
    )
    client.run("CREATE TABLE ch(id int, p int CONSTRAINT fk REFERENCES p(id) ON DELETE CASCADE)")
    client.run("CREATE TRIGGER tr ON p AFTER INSERT, UPDATE AS SELECT 1")
    yield client
    world.close()


def test_constraints_of_a_table(sql: Client) -> None:
    rows = sql.rows("EXEC sp_helpconstraint 'p', 'nomsg'")
    assert [row[:2] for row in rows] == [
        ("CHECK on column a", "ck"),
        ("DEFAULT on column b", "df"),
        ("PRIMARY KEY (clustered)", "pk"),
        ("UNIQUE (non-clustered)", "uq"),
        ("shop.dbo.ch: fk",),  # of the second result: who refers to it
    ]
    replies = sql.replies("EXEC sp_helpconstraint 'ch'")
    assert not errors(replies)
    assert [(message.number, message.severity) for message in infos(replies)] == [(15470, 0)]


def test_constraints_are_told_in_full(sql: Client) -> None:
    sql.run("CREATE TABLE lone(id int CONSTRAINT lone_pk PRIMARY KEY NONCLUSTERED)")
    assert sql.rows("EXEC sp_helpconstraint 'lone', 'nomsg'") == [
        ("PRIMARY KEY (non-clustered)", "lone_pk", "(n/a)", "(n/a)", "(n/a)", "(n/a)", "id")
    ]
    sql.run("DROP TABLE lone")
    assert sql.rows("EXEC sp_helpconstraint 'ch', 'nomsg'") == [
        ("FOREIGN KEY", "fk", "Cascade", "No Action", "Enabled", "Is_For_Replication", "p"),
        (" ", " ", " ", " ", " ", " ", "REFERENCES shop.dbo.p (id)"),
    ]


def test_triggers_and_statistics_of_a_table(sql: Client) -> None:
    assert sql.rows("EXEC sp_helptrigger 'p'") == [("tr", "dbo", 1, 0, 1, 1, 0, "dbo")]
    assert sql.rows("EXEC sp_helptrigger 'p', 'DELETE'") == []
    assert sql.error("EXEC sp_helptrigger 'p', 'SELECT'") == 15305
    assert sql.rows("EXEC sp_helpstats 'p', 'ALL'") == [("pk", "id"), ("uq", "c")]


@pytest.mark.parametrize("procedure", ["sp_helpconstraint", "sp_helptrigger", "sp_helpstats"])
def test_a_table_that_is_not_there(sql: Client, procedure: str) -> None:
    failure = errors(sql.replies(f"EXEC {procedure} 'nope'"))[0]
    assert (failure.number, failure.severity, failure.state) == (15009, 16, 1)
    assert (
        failure.text
        == "The object 'nope' does not exist in database 'shop' or is invalid for this operation."
    )


def test_what_the_server_is(sql: Client) -> None:
    assert sql.rows("EXEC sp_helpfilegroup") == [("PRIMARY", 1, 1)]
    assert sql.rows("EXEC sp_helpsrvrole 'dbcreator'") == [("dbcreator", "Database Creators")]
    assert sql.error("EXEC sp_helpsrvrole 'nope'") == 15412
    assert sql.rows("EXEC sp_helplanguage 'English'")[0][:5] == (0, "mdy", 7, 0, "us_english")
    assert str(sql.value("EXEC sp_helpsort")).startswith("Latin1-General, case-insensitive")
    assert sql.value("EXEC sp_linkedservers") == sql.value("SELECT @@SERVERNAME")
    assert sql.rows(
        "SELECT current_utc_offset, is_currently_dst FROM sys.time_zone_info WHERE name = 'UTC'"
    ) == [("+00:00", False)]


def test_messages_with_the_severity_that_they_were_added_with(sql: Client) -> None:
    sql.run("EXEC sp_addmessage 60001, 12, N'twelve of %s'")
    failure = errors(sql.replies("RAISERROR(60001, -1, -1, N'them')"))[0]
    assert (failure.number, failure.severity, failure.state) == (60001, 12, 1)
    assert failure.text == "twelve of them"
    assert [m.severity for m in infos(sql.replies("RAISERROR('of no number', -1, 1)"))] == [0]

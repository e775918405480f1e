"""The catalog views: every one can be selected, and those that clients lean on say the right things."""

from __future__ import annotations

import pytest

from tdsproxy.server.sysviews.catalog import VIEWS
from tdsproxy.server.sysviews.model import parse_columns
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import ResultSet
from tdsproxy.tsql.values import DateTime
from tests.server.support import Client, World, columns, errors

SHOP = """
CREATE TABLE dbo.Customer(
  Id int IDENTITY(1, 1) NOT NULL CONSTRAINT PK_Customer PRIMARY KEY CLUSTERED,
  Name nvarchar(40) NOT NULL CONSTRAINT UQ_Name UNIQUE,
  Born date NULL,
  Credit decimal(9, 2) NOT NULL CONSTRAINT DF_Credit DEFAULT (0),
  CONSTRAINT CK_Credit CHECK (Credit >= 0));
CREATE TABLE dbo.Invoice(
  Id int NOT NULL PRIMARY KEY,
  CustomerId int NOT NULL CONSTRAINT FK_Customer REFERENCES dbo.Customer(Id) ON DELETE CASCADE,
  Total money NULL);
CREATE INDEX IX_Total ON dbo.Invoice(Total DESC) INCLUDE (CustomerId);
"""


@pytest.fixture
def shop(sa: Client) -> Client:
    sa.run("CREATE DATABASE shop")
    sa.run("USE shop")
    sa.run(SHOP)
    sa.run("CREATE VIEW dbo.Rich AS SELECT Id, Name FROM dbo.Customer WHERE Credit > 100")
    return sa


def test_columns_are_read_as_documented() -> None:
    made = parse_columns("name sysname!, n numeric(25,0), s nvarchar(max), when_ datetime2(3)!")
    assert [(c.name, c.type, c.nullable) for c in made] == [
        ("name", t.SYSNAME, False),
        ("n", t.numeric(25, 0), True),
        ("s", t.nvarchar(t.MAX), True),
        ("when_", t.datetime2(3), False),
    ]
    with pytest.raises(ValueError, match="not a column declaration"):
        parse_columns("name")


def test_every_view_gives_its_columns(shop: Client) -> None:
    wrong = {}
    for view in VIEWS.values():
        database = "master." if view.schema == "dbo" else ""
        replies = shop.replies(f"SELECT * FROM {database}{view.schema}.{view.name}")
        if errors(replies) or columns(replies) != [column.name for column in view.columns]:
            wrong[view.name] = errors(replies) or columns(replies)
    assert wrong == {}


def test_databases(shop: Client) -> None:
    assert shop.rows(
        "SELECT name, database_id, state, state_desc, recovery_model_desc, user_access_desc, is_read_only,"
        " compatibility_level, collation_name, is_distributor FROM master.sys.databases ORDER BY database_id"
    ) == [
        (
            name,
            number,
            0,
            "ONLINE",
            "FULL" if name == "model" else "SIMPLE",
            "MULTI_USER",
            0,
            160,
            "SQL_Latin1_General_CP1_CI_AS",
            0,
        )
        for number, name in enumerate(("master", "tempdb", "model", "msdb", "shop"), 1)
    ]


def test_databases_have_the_columns_of_2022(sa: Client) -> None:
    replies = sa.replies("SELECT * FROM sys.databases WHERE 1 = 0")
    names = columns(replies)
    assert len(names) == 89
    assert names[:3] == ["name", "database_id", "source_database_id"]
    assert names[-1] == "is_change_feed_enabled"
    (shape,) = (r for r in replies if isinstance(r, ResultSet))
    assert not shape.columns[0].nullable


def test_options_of_a_database_show(shop: Client) -> None:
    shop.run("ALTER DATABASE shop SET READ_COMMITTED_SNAPSHOT ON; ALTER DATABASE shop SET RECOVERY FULL")
    assert shop.rows(
        "SELECT is_read_committed_snapshot_on, recovery_model, DATABASEPROPERTYEX(name, 'Recovery')"
        " FROM sys.databases WHERE name = N'SHOP'"
    )[0][:2] == (1, 1)


def test_old_names_are_found_everywhere(shop: Client) -> None:
    wanted = [("shop",)]
    for name in ("master.dbo.sysdatabases", "master..sysdatabases", "dbo.sysdatabases", "sys.sysdatabases"):
        assert shop.rows(f"SELECT name FROM {name} WHERE name = N'shop'") == wanted
    assert shop.rows("SELECT name FROM sysobjects WHERE xtype = 'U' ORDER BY name") == [
        ("Customer",),
        ("Invoice",),
    ]


def test_tables_and_columns(shop: Client) -> None:
    assert shop.rows(
        "SELECT c.name, ty.name, c.max_length, c.precision, c.scale, c.is_nullable, c.is_identity"
        " FROM sys.tables t JOIN sys.columns c ON c.object_id = t.object_id"
        " JOIN sys.types ty ON ty.user_type_id = c.user_type_id"
        " WHERE t.name = 'Customer' ORDER BY c.column_id"
    ) == [
        ("Id", "int", 4, 10, 0, 0, 1),
        ("Name", "nvarchar", 80, 0, 0, 0, 0),
        ("Born", "date", 3, 10, 0, 1, 0),
        ("Credit", "decimal", 5, 9, 2, 0, 0),
    ]


def test_views_of_another_database(shop: Client) -> None:
    shop.run("USE master")
    assert shop.rows("SELECT name FROM shop.sys.tables ORDER BY name") == [("Customer",), ("Invoice",)]
    assert shop.rows("SELECT name FROM sys.tables") == []


def test_constraints_and_indexes(shop: Client) -> None:
    assert shop.rows(
        "SELECT name, type, type_desc FROM sys.objects WHERE parent_object_id = OBJECT_ID('dbo.Customer')"
        " ORDER BY name"
    ) == [
        ("CK_Credit", "C ", "CHECK_CONSTRAINT"),
        ("DF_Credit", "D ", "DEFAULT_CONSTRAINT"),
        ("PK_Customer", "PK", "PRIMARY_KEY_CONSTRAINT"),
        ("UQ_Name", "UQ", "UNIQUE_CONSTRAINT"),
    ]
    assert shop.rows(
        "SELECT f.name, OBJECT_NAME(f.parent_object_id), OBJECT_NAME(f.referenced_object_id),"
        " f.delete_referential_action_desc, COL_NAME(c.parent_object_id, c.parent_column_id),"
        " COL_NAME(c.referenced_object_id, c.referenced_column_id)"
        " FROM sys.foreign_keys f JOIN sys.foreign_key_columns c ON c.constraint_object_id = f.object_id"
    ) == [("FK_Customer", "Invoice", "Customer", "CASCADE", "CustomerId", "Id")]
    assert shop.rows(
        "SELECT i.name, i.type_desc, ic.is_descending_key, ic.is_included_column, c.name FROM sys.indexes i"
        " JOIN sys.index_columns ic ON ic.object_id = i.object_id AND ic.index_id = i.index_id"
        " JOIN sys.columns c ON c.object_id = ic.object_id AND c.column_id = ic.column_id"
        " WHERE i.name = 'IX_Total' ORDER BY ic.index_column_id"
    ) == [
        ("IX_Total", "NONCLUSTERED", 1, 0, "Total"),
        ("IX_Total", "NONCLUSTERED", 0, 1, "CustomerId"),
    ]


def test_modules_keep_their_text(shop: Client) -> None:
    assert shop.rows(
        "SELECT v.name, m.definition, m.uses_quoted_identifier FROM sys.views v"
        " JOIN sys.sql_modules m ON m.object_id = v.object_id"
    ) == [("Rich", "CREATE VIEW dbo.Rich AS SELECT Id, Name FROM dbo.Customer WHERE Credit > 100", 1)]


def test_information_schema(shop: Client) -> None:
    assert shop.rows(
        "SELECT TABLE_CATALOG, TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE FROM INFORMATION_SCHEMA.TABLES"
        " ORDER BY TABLE_NAME"
    ) == [
        ("shop", "dbo", "Customer", "BASE TABLE"),
        ("shop", "dbo", "Invoice", "BASE TABLE"),
        ("shop", "dbo", "Rich", "VIEW"),
    ]
    assert shop.rows(
        "SELECT COLUMN_NAME, IS_NULLABLE, DATA_TYPE, CHARACTER_MAXIMUM_LENGTH, NUMERIC_PRECISION,"
        " NUMERIC_SCALE"
        " FROM information_schema.columns WHERE TABLE_NAME = 'Customer' ORDER BY ORDINAL_POSITION"
    ) == [
        ("Id", "NO", "int", None, 10, 0),
        ("Name", "NO", "nvarchar", 40, None, None),
        ("Born", "YES", "date", None, None, None),
        ("Credit", "NO", "decimal", None, 9, 2),
    ]
    assert shop.rows(
        "SELECT CONSTRAINT_NAME, UNIQUE_CONSTRAINT_NAME, DELETE_RULE"
        " FROM INFORMATION_SCHEMA.REFERENTIAL_CONSTRAINTS"
    ) == [("FK_Customer", "PK_Customer", "CASCADE")]
    assert shop.rows(
        "SELECT k.COLUMN_NAME FROM INFORMATION_SCHEMA.TABLE_CONSTRAINTS c"
        " JOIN INFORMATION_SCHEMA.KEY_COLUMN_USAGE k ON k.CONSTRAINT_NAME = c.CONSTRAINT_NAME"
        " WHERE c.TABLE_NAME = 'Customer' AND c.CONSTRAINT_TYPE = 'PRIMARY KEY'"
    ) == [("Id",)]


def test_sessions_show_who_is_there(sa: Client, world: World) -> None:
    other = world.login(database="msdb", host="desk", application="tool", client_pid=42)
    assert sa.rows(
        "SELECT host_name, program_name, host_process_id, login_name, status, DB_NAME(database_id)"
        f" FROM sys.dm_exec_sessions WHERE session_id = {other.session.spid}"
    ) == [("desk", "tool", 42, "sa", "sleeping", "msdb")]
    assert sa.rows("SELECT status, is_user_process FROM sys.dm_exec_sessions WHERE session_id = @@SPID") == [
        ("running", 1)
    ]
    assert sa.rows(
        "SELECT t.text FROM sys.dm_exec_requests r CROSS APPLY sys.dm_exec_sql_text(r.sql_handle) t"
    )[0][0].startswith("SELECT t.text")  # type: ignore[union-attr]


def test_what_a_session_ran_last_is_found_by_its_handle(sa: Client, world: World) -> None:
    other = world.login()
    other.run("SELECT 'this one'")
    for source, handle, spid in (
        ("sys.sysprocesses", "sql_handle", "spid"),
        ("sys.dm_exec_connections", "most_recent_sql_handle", "session_id"),
    ):
        assert sa.rows(
            f"SELECT t.text FROM {source} p CROSS APPLY sys.dm_exec_sql_text(p.{handle}) t"
            f" WHERE p.{spid} = {other.session.spid}"
        ) == [("SELECT 'this one'",)]


def test_availability_groups_have_the_columns_that_scripts_ask_for(sa: Client) -> None:
    assert (
        sa.rows(
            "SELECT g.automated_backup_preference_desc, r.secondary_role_allow_connections_desc,"
            " r.backup_priority, s.synchronization_health_desc, s.last_commit_time"
            " FROM sys.availability_groups g JOIN sys.availability_replicas r ON r.group_id = g.group_id"
            " JOIN sys.dm_hadr_database_replica_states s ON s.replica_id = r.replica_id"
        )
        == []
    )


def test_a_plain_login_sees_only_itself(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'")
    ann = world.login("ann", "Secret-1")
    assert ann.rows("SELECT login_name FROM sys.dm_exec_sessions") == [("ann",)]


def test_the_isolation_level_of_a_string_is_its_own(sa: Client) -> None:
    query = "SELECT transaction_isolation_level FROM sys.dm_exec_sessions WHERE session_id = @@SPID"
    assert sa.rows(
        f"EXEC sp_executesql N'SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; {query}'; {query}"
    ) == [(4,), (2,)]


def test_system_objects_are_listed_apart(shop: Client) -> None:
    assert shop.rows("SELECT name FROM sys.system_views WHERE name IN ('dm_exec_sessions', 'nothing')") == [
        ("dm_exec_sessions",)
    ]
    assert shop.value(
        "SELECT COUNT(*) FROM sys.all_columns WHERE object_id = OBJECT_ID(N'sys.databases')"
    ) == len(VIEWS["sys", "databases"].columns)
    assert shop.value("SELECT COUNT(*) FROM sys.objects WHERE is_ms_shipped = 1") == 0


def test_principals(sa: Client) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'; ALTER SERVER ROLE dbcreator ADD MEMBER ann")
    assert sa.rows(
        "SELECT p.name, r.name FROM sys.server_role_members m"
        " JOIN sys.server_principals p ON p.principal_id = m.member_principal_id"
        " JOIN sys.server_principals r ON r.principal_id = m.role_principal_id ORDER BY p.name"
    ) == [("ann", "dbcreator"), ("sa", "sysadmin")]
    assert sa.rows("SELECT name, type, is_disabled FROM sys.sql_logins ORDER BY principal_id") == [
        ("sa", "S", 0),
        ("ann", "S", 0),
    ]
    assert sa.rows(
        "SELECT name, type_desc FROM sys.database_principals WHERE name IN ('dbo', 'db_owner') ORDER BY 1"
    ) == [("db_owner", "DATABASE_ROLE"), ("dbo", "SQL_USER")]


def test_times_are_times(sa: Client) -> None:
    value = sa.value("SELECT create_date FROM sys.databases WHERE name = 'master'")
    assert isinstance(value, DateTime)


def test_files(shop: Client) -> None:
    assert shop.rows(
        "SELECT file_id, type_desc, name, state_desc FROM sys.database_files ORDER BY file_id"
    ) == [
        (1, "ROWS", "shop", "ONLINE"),
        (2, "LOG", "shop_log", "ONLINE"),
    ]
    assert (
        shop.value(
            "SELECT COUNT(*) FROM sys.master_files f JOIN sys.databases d ON d.database_id = f.database_id"
        )
        == 10
    )


def test_the_first_statement_of_a_sample_database(sa: Client) -> None:
    replies = sa.replies(
        "IF EXISTS (SELECT name FROM master.dbo.sysdatabases WHERE name = N'Chinook') DROP DATABASE Chinook"
    )
    assert not errors(replies)


def test_table_functions(sa: Client) -> None:
    assert sa.rows("SELECT value FROM STRING_SPLIT('a,b', ',')") == [("a",), ("b",)]
    nothing = (
        "SELECT 1 FROM fn_listextendedproperty(default, default, default, default, default, default, default)"
    )
    assert sa.rows(nothing) == []

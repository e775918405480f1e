"""System procedures and functions: what drivers and scripts get from them."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from tdsproxy.frontend.handler import RpcParameter
from tdsproxy.server.applocks import ApplicationLocks
from tdsproxy.server.functions import FUNCTIONS
from tdsproxy.server.typeinfo import numbers
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.values import Value, Variant
from tests.server.support import Client, World, columns, errors, infos, outputs, rows, status


@pytest.fixture
def shop(sa: Client) -> Client:
    sa.run("CREATE DATABASE shop; USE shop")
    sa.run(
        "CREATE TABLE dbo.Customer(Id int IDENTITY PRIMARY KEY, Name nvarchar(40) NOT NULL,"
        " Credit money NULL);"
        "CREATE TABLE dbo.Invoice(Id int PRIMARY KEY,"
        " CustomerId int CONSTRAINT FK_C REFERENCES dbo.Customer(Id))"
    )
    return sa


def nvarchar(value: str | None, name: str = "") -> RpcParameter:
    return RpcParameter(name, t.nvarchar(4000), value)


# --------------------------------------------------------------------------- drivers


def test_datatype_info_as_odbc_asks(sa: Client) -> None:
    replies = sa.rpc(
        "[sys].sp_datatype_info_100", RpcParameter("", t.SMALLINT, -9), RpcParameter("@ODBCVer", t.TINYINT, 4)
    )
    found = rows(replies)
    assert [row[0] for row in found] == ["nvarchar", "sysname"]
    assert found[0][2] == 4000
    assert columns(replies)[:3] == ["TYPE_NAME", "DATA_TYPE", "PRECISION"]
    dates = rows(
        sa.rpc("sp_datatype_info", RpcParameter("", t.INT, 93), RpcParameter("@ODBCVer", t.TINYINT, 3))
    )
    assert {row[0] for row in dates} == {"datetime", "datetime2", "smalldatetime"}


def test_tables_and_columns_of_drivers(shop: Client) -> None:
    replies = shop.rpc("sp_tables", nvarchar("Cust%", "@table_name"), nvarchar("'TABLE'", "@table_type"))
    assert rows(replies) == [("shop", "dbo", "Customer", "TABLE", None)]
    exact = shop.rpc("sp_tables", nvarchar("Cust%", "@table_name"), RpcParameter("@fUsePattern", t.BIT, 0))
    assert rows(exact) == []
    assert len(columns(exact)) == 5
    described = shop.rpc(
        "[sys].sp_columns_100", nvarchar("Customer", "@table_name"), RpcParameter("@ODBCVer", t.INT, 3)
    )
    assert len(columns(described)) == 29
    assert [row[3:8] for row in rows(described)] == [
        ("Id", 4, "int identity", 10, 4),
        ("Name", -9, "nvarchar", 40, 80),
        ("Credit", 3, "money", 19, 21),
    ]
    assert len(columns(shop.rpc("sp_columns", nvarchar("Customer", "@table_name")))) == 19


def test_catalogs_of_jtds(sa: Client) -> None:
    assert ("msdb", None, None, None, None) in sa.rows("exec sp_tables '', '', '%', NULL")


def test_keys_and_statistics(shop: Client) -> None:
    (key,) = rows(shop.rpc("sp_pkeys", nvarchar("Customer", "@table_name")))
    assert key[:5] == ("shop", "dbo", "Customer", "Id", 1)
    (foreign,) = rows(shop.rpc("sp_fkeys", nvarchar("Customer", "@pktable_name")))
    assert (foreign[2], foreign[3], foreign[6], foreign[7], foreign[11]) == (
        "Customer",
        "Id",
        "Invoice",
        "CustomerId",
        "FK_C",
    )
    assert [row[6] for row in rows(shop.rpc("sp_statistics", nvarchar("Customer")))] == [0, 1]


def test_undeclared_parameters_are_described_and_not_run(shop: Client) -> None:
    text = "INSERT Customer(Name) VALUES (@P1) -- @no\nSELECT '@no', @@SPID, @p1, @P2"
    replies = shop.rpc("sp_describe_undeclared_parameters", nvarchar(text))
    assert [row[1] for row in rows(replies)] == ["@P1", "@P2"]
    assert shop.value("SELECT COUNT(*) FROM Customer") == 0


def test_the_first_result_set_is_described(shop: Client) -> None:
    replies = shop.rpc(
        "sp_describe_first_result_set",
        nvarchar("SELECT Id, Name, @a AS a FROM Customer WHERE Id = @b"),
        nvarchar("@a decimal(9,2), @b int"),
    )
    assert [(r[1], r[2], r[3], r[5]) for r in rows(replies)] == [
        (1, "Id", 0, "int"),
        (2, "Name", 0, "nvarchar(40)"),
        (3, "a", 1, "decimal(9,2)"),
    ]


# --------------------------------------------------------------------------- people


def test_unknown_procedures_and_arguments(sa: Client) -> None:
    missing = errors(sa.replies("EXEC dbo.nothing"))
    assert [(m.number, m.severity, m.state, m.text) for m in missing] == [
        (2812, 16, 62, "Could not find stored procedure 'dbo.nothing'.")
    ]
    assert sa.error("EXEC sp_who 1, 2") == 8144
    assert sa.error("EXEC sp_who @zz = 1") == 8145
    assert sa.error("EXEC sp_helptext") == 201


@pytest.mark.parametrize("name", ["sp_who", "master..sp_who", "sys.SP_WHO", "msdb.dbo.sp_who", "[sp_who]"])
def test_a_system_procedure_has_many_names(sa: Client, name: str) -> None:
    assert sa.rows(name)[0][0] == sa.session.spid


def test_who(sa: Client, world: World) -> None:
    world.login(host="desk")
    assert [(row[0], str(row[3])) for row in sa.rows("EXEC sp_who 'sa'")] == [(51, "sa"), (52, "sa")]
    assert len(sa.rows("EXEC sp_who 'active'")) == 1
    names = columns(sa.replies("sp_who2"))
    assert names[:6] == ["SPID", "Status", "Login", "HostName", "BlkBy", "DBName"]
    assert names[6:10] == ["Command", "CPUTime", "DiskIO", "LastBatch"]
    assert names[10:] == ["ProgramName", "SPID", "REQUESTID"]
    (other,) = [row for row in sa.rows("sp_who2") if str(row[3]).strip() == "desk"]
    assert str(other[6]) == "AWAITING COMMAND"
    assert re.fullmatch(r"\d\d/\d\d \d\d:\d\d:\d\d", str(other[9]))


def test_databases_and_helpdb(shop: Client) -> None:
    assert "shop" in [row[0] for row in shop.rows("sp_databases")]
    (first, *files) = shop.rows("EXEC sp_helpdb 'shop'")
    assert first[0] == "shop"
    assert "Recovery=SIMPLE" in str(first[5])
    assert [row[0] for row in files] == ["shop", "shop_log"]
    assert shop.error("EXEC sp_helpdb 'nowhere'") == 15010


def in_use(sa: Client, name: str) -> list[object]:
    rows = sa.rows(f"SELECT value, value_in_use FROM sys.configurations WHERE name = '{name}'")
    return [value.value for value in rows[0] if isinstance(value, Variant)]


def test_configure(sa: Client, world: World) -> None:
    name = "backup compression default"
    assert sa.rows(f"EXEC sp_configure '{name}'") == [(name, 0, 1, 0, 0)]
    changed = infos(sa.replies(f"EXEC sp_configure '{name}', 1"))
    assert [m.number for m in changed] == [15457]
    assert "changed from 0 to 1" in changed[0].text
    assert sa.rows(f"EXEC sp_configure '{name}'") == [(name, 0, 1, 1, 0)]
    assert in_use(sa, name) == [1, 0]
    assert world.engine.catalog.configurations.in_use(name) == 0
    sa.run("RECONFIGURE WITH OVERRIDE")
    assert in_use(sa, name) == [1, 1]
    assert world.engine.catalog.configurations.in_use(name) == 1
    assert sa.error(f"EXEC sp_configure '{name}', 9") == 15129
    assert sa.error("EXEC sp_configure 'nothing'") == 15123
    assert sa.error("EXEC sp_configure 'remote'") == 15124


def test_configure_options_that_wait_for_the_start(sa: Client, world: World) -> None:
    sa.run("EXEC sp_configure 'remote access', 0; RECONFIGURE")
    assert in_use(sa, "remote access") == [0, 1]
    world.engine.catalog.configurations.reconfigure(starting=True)
    assert in_use(sa, "remote access") == [0, 0]


def test_configure_advanced_options(sa: Client) -> None:
    few = len(sa.rows("EXEC sp_configure"))
    assert sa.error("EXEC sp_configure 'xp_cmdshell'") == 15123
    sa.run("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    assert sa.rows("EXEC sp_configure 'xp_cmdshell'") == [("xp_cmdshell", 0, 1, 0, 0)]
    every = [row[0] for row in sa.rows("EXEC sp_configure")]
    assert every == sorted(every, key=lambda name: str(name).lower())
    assert few < len(every) == sa.value("SELECT COUNT(*) FROM sys.configurations")


def test_reconfigure_is_refused(sa: Client) -> None:
    assert sa.error("BEGIN TRANSACTION; EXEC sp_configure 'user options', 1") == 574
    sa.run("IF @@TRANCOUNT > 0 ROLLBACK")
    assert sa.error("BEGIN TRANSACTION; RECONFIGURE") == 574
    sa.run("IF @@TRANCOUNT > 0 ROLLBACK")
    sa.run("EXEC sp_configure 'allow updates', 1")
    assert sa.error("RECONFIGURE") == 5808
    sa.run("RECONFIGURE WITH OVERRIDE")


def test_help_texts(shop: Client) -> None:
    text = "CREATE VIEW v AS\nSELECT 1 AS a"
    shop.run(text)
    assert "".join(str(row[0]) for row in shop.rows("EXEC sp_helptext 'v'")) == text
    assert shop.error("EXEC sp_helptext 'Customer'") == 15197
    assert shop.error("EXEC sp_help 'nothing'") == 15009
    assert ("Customer", "dbo", "user table") in shop.rows("sp_help")
    assert shop.rows("EXEC sp_help 'Customer'")[0][:3] == ("Customer", "dbo", "user table")
    shop.run("INSERT Customer(Name) VALUES ('a')")
    assert str(shop.rows("EXEC sp_spaceused 'Customer'")[0][1]).strip() == "1"


def test_registry_values_go_to_the_output(sa: Client, world: World) -> None:
    text = (
        "DECLARE @a nvarchar(512) = N'was', @b nvarchar(512) = N'was'"
        " EXEC master.dbo.xp_instance_regread N'HKEY_LOCAL_MACHINE', N'x', N'BackupDirectory', @a OUTPUT"
        " EXEC master.sys.xp_instance_regread N'HKEY_LOCAL_MACHINE', N'x', N'Nothing', @b OUTPUT"
        " SELECT @a, @b"
    )
    assert sa.rows(text) == [(world.engine.identity.backup_path, "was")]


def test_session_context(sa: Client) -> None:
    sa.rpc("sys.sp_set_session_context", nvarchar("k", "@key"), RpcParameter("@value", t.INT, 5))
    assert sa.rows("SELECT SESSION_CONTEXT(N'K'), SESSION_CONTEXT(N'other')") == [(Variant(t.INT, 5), None)]


def test_application_locks(sa: Client, world: World) -> None:
    other = world.login()
    take = "EXEC @r = sp_getapplock 'x', 'Exclusive', 'Session', 0; SELECT @r"
    assert sa.value(f"DECLARE @r int; {take}") == 0
    assert other.value(f"DECLARE @r int; {take}") == -1
    sa.run("EXEC sp_releaseapplock 'x', 'Session'")
    assert other.value(f"DECLARE @r int; {take}") == 0
    assert sa.error("EXEC sp_releaseapplock 'x', 'Session'") == 1223
    other.session.close()
    assert sa.value(f"DECLARE @r int; {take}") == 0


def test_an_application_lock_counts_its_owners_calls() -> None:
    locks = ApplicationLocks()
    assert [locks.acquire("x", 1, 0), locks.acquire("x", 1, 0), locks.acquire("x", 2, 0)] == [0, 0, -1]
    assert locks.release("x", 1)
    assert locks.acquire("x", 2, 0) == -1
    assert locks.release("x", 1)
    assert locks.acquire("x", 2, 0) == 0
    assert not locks.release("x", 1)


def test_dbcc(shop: Client) -> None:
    replies = shop.replies("DBCC CHECKDB")
    assert [m.number for m in infos(replies)][-2:] == [8989, 2528]
    assert infos(shop.replies("DBCC CHECKDB ('shop') WITH NO_INFOMSGS")) == []
    assert shop.rows("DBCC USEROPTIONS WITH NO_INFOMSGS")[-1] == ("isolation level", "read committed")
    assert shop.error("DBCC NONSENSE") == 2526
    shop.run("INSERT Customer(Name) VALUES ('a'), ('b'); DBCC CHECKIDENT('Customer', RESEED, 40)")
    shop.run("INSERT Customer(Name) VALUES ('c')")
    assert shop.value("SELECT MAX(Id) FROM Customer") == 41


# --------------------------------------------------------------------------- functions


def test_server_properties_are_variants_of_their_type(sa: Client) -> None:
    text = t.nvarchar(128)
    assert sa.rows(
        "SELECT SERVERPROPERTY('EngineEdition'), SERVERPROPERTY('productversion'),"
        " SERVERPROPERTY(N'Servername'), SERVERPROPERTY('PathSeparator'),"
        " SERVERPROPERTY('Collation'), SERVERPROPERTY('nothing')"
    ) == [
        (
            Variant(t.INT, 3),
            Variant(text, "16.0.4236.2"),
            Variant(text, "SERVER"),
            Variant(text, "/"),
            Variant(text, "SQL_Latin1_General_CP1_CI_AS"),
            None,
        )
    ]
    assert sa.rows("SELECT CAST(SERVERPROPERTY('ProductVersion') AS varchar(20))") == [("16.0.4236.2",)]


FUNCTION_CALLS: list[tuple[str, Value]] = [
    ("DB_ID()", 5),
    ("DB_ID('MSDB')", 4),
    ("DB_ID('nowhere')", None),
    ("DB_NAME(4)", "msdb"),
    ("DB_NAME(999)", None),
    ("SCHEMA_NAME()", "dbo"),
    ("SCHEMA_ID('sys')", 4),
    ("OBJECT_NAME(OBJECT_ID('Customer'))", "Customer"),
    ("OBJECT_ID('[dbo].[Customer]', 'V')", None),
    ("OBJECT_NAME(OBJECT_ID('shop..Customer'), DB_ID('shop'))", "Customer"),
    ("OBJECT_ID('nowhere.dbo.Customer')", None),
    ("OBJECT_ID('a.b.c.d.e')", None),
    ("OBJECT_ID(NULL)", None),
    ("OBJECTPROPERTY(OBJECT_ID('Customer'), 'IsUserTable')", 1),
    ("OBJECTPROPERTY(OBJECT_ID('Customer'), 'TableHasIdentity')", 1),
    ("COLUMNPROPERTY(OBJECT_ID('Customer'), 'Name', 'AllowsNull')", 0),
    ("COLUMNPROPERTY(OBJECT_ID('Customer'), 'Id', 'IsIdentity')", 1),
    ("COL_NAME(OBJECT_ID('Customer'), 2)", "Name"),
    ("COL_LENGTH('dbo.Customer', 'Name')", 80),
    ("TYPE_NAME(56)", "int"),
    ("TYPE_ID('nvarchar')", 231),
    ("IDENT_SEED('Customer')", Decimal(1)),
    ("IDENT_CURRENT('dbo.Customer')", Decimal(1)),
    ("SUSER_SNAME()", "sa"),
    ("SUSER_SNAME(0x01)", "sa"),
    ("SUSER_SID('sa')", b"\x01"),
    ("SYSTEM_USER", "sa"),
    ("CURRENT_USER", "dbo"),
    ("ORIGINAL_LOGIN()", "sa"),
    ("USER_NAME(2)", "guest"),
    ("IS_SRVROLEMEMBER('sysadmin')", 1),
    ("IS_SRVROLEMEMBER('nothing')", None),
    ("IS_MEMBER('db_owner')", 1),
    ("HAS_PERMS_BY_NAME(NULL, NULL, 'VIEW SERVER STATE')", 1),
    ("HAS_DBACCESS('nowhere')", None),
    ("XACT_STATE()", 1),
    ("FILE_NAME(2)", "shop_log"),
    ("FULLTEXTSERVICEPROPERTY('IsFullTextInstalled')", 0),
    ("CONVERT(nvarchar(40), CONNECTIONPROPERTY('net_transport'))", "TCP"),
    ("DATABASEPROPERTYEX('shop', 'Updateability')", Variant(t.nvarchar(128), "READ_WRITE")),
    ("DATABASEPROPERTYEX('shop', 'IsAutoClose')", Variant(t.INT, 0)),
    ("DATABASEPROPERTYEX('nowhere', 'Status')", None),
    ("DATABASEPROPERTY('shop', 'IsReadOnly')", 0),
]


def test_functions(shop: Client) -> None:
    found = {call: shop.value(f"SELECT {call}") for call, _ in FUNCTION_CALLS}
    assert found == dict(FUNCTION_CALLS)


def test_every_function_of_the_table_can_be_called_with_nulls(shop: Client) -> None:
    failed = {}
    for name, function in FUNCTIONS.table.items():
        if function.needs_context and function.min_args <= 2 and name.isidentifier():
            arguments = ", ".join(["NULL"] * function.min_args)
            replies = shop.replies(f"SELECT {name}({arguments})")
            if errors(replies) and errors(replies)[0].number not in (102, 156, 189, 1023, 8116):
                failed[name] = errors(replies)
    assert failed == {}


def test_temporary_tables_have_ids_in_tempdb_only(sa: Client) -> None:
    sa.run("CREATE TABLE #t(a int)")
    assert sa.value("SELECT OBJECT_ID('#t')") is None
    assert isinstance(sa.value("SELECT OBJECT_ID('tempdb..#t')"), int)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("a", (None, None, "a")),
        ("[a.b].c", (None, "a.b", "c")),
        ('"a""b"..[c]]d]', ('a"b', None, "c]d")),
        (" db . dbo . t ", ("db", "dbo", "t")),
    ],
)
def test_names_are_taken_apart(name: str, parts: tuple[str | None, str | None, str]) -> None:
    made = split_name(name)
    assert (made.database, made.schema, made.object) == parts


def test_type_numbers() -> None:
    def shape(type_: t.SqlType) -> tuple[int, int, int, int]:
        about = numbers(type_)
        return about.id, about.length, about.precision, about.scale

    assert shape(t.numeric(25, 0)) == (108, 13, 25, 0)
    assert shape(t.nvarchar(t.MAX)) == (231, -1, 0, 0)
    assert shape(t.datetime2(7)) == (42, 8, 27, 7)
    assert shape(t.datetime2(0)) == (42, 6, 19, 0)
    assert shape(t.time(3)) == (41, 4, 12, 3)
    assert shape(t.datetimeoffset(7)) == (43, 10, 34, 7)


def test_outputs_of_python_procedures_reach_an_rpc(sa: Client) -> None:
    replies = sa.rpc(
        "master.dbo.xp_instance_regread",
        nvarchar("HKEY_LOCAL_MACHINE"),
        nvarchar("x"),
        nvarchar("DefaultData"),
        RpcParameter("@value", t.nvarchar(512), None, output=True),
    )
    assert status(replies) == 0
    ((ordinal, name, value),) = outputs(replies)
    assert (ordinal, name) == (3, "@value")
    assert isinstance(value, str)
    assert value.startswith("/")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1", ("int", 10, 0, 6, 4)),
        ("CAST(46279.1 AS decimal(8, 2))", ("decimal", 8, 2, 9, 5)),
        ("CAST(CAST('abc' AS varchar(10)) AS sql_variant)", ("varchar", 0, 0, 11, 10)),
        ("CAST(N'abc' AS sql_variant)", ("nvarchar", 0, 0, 14, 6)),
        ("CAST(0x0102 AS varbinary(8))", ("varbinary", 0, 0, 6, 8)),
        ("CAST('12:00' AS time(3))", ("time", 12, 3, 7, 4)),
        ("NULL", (None,) * 5),
    ],
)
def test_sql_variant_property(sa: Client, value: str, expected: tuple[Value, ...]) -> None:
    names = ("BaseType", "Precision", "Scale", "TotalBytes", "MaxLength")
    [row] = sa.rows("SELECT " + ", ".join(f"SQL_VARIANT_PROPERTY({value}, '{name}')" for name in names))
    assert tuple(cell.value if isinstance(cell, Variant) else cell for cell in row) == expected


def test_a_system_procedure_named_with_a_database_is_of_that_database(sa: Client) -> None:
    sa.run("CREATE DATABASE far")
    for name in ("far.sys.sp_helpfile", "far..sp_helpfile", "[far].dbo.[sp_helpfile]"):
        assert [row[0] for row in sa.rows(f"EXEC {name}")] == ["far", "far_log"]
        assert sa.value("SELECT DB_NAME()") == "master"
    refused = errors(sa.replies("EXEC nowhere.sys.sp_helpfile"))
    assert [item.number for item in refused] == [911]

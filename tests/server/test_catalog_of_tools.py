"""The views and table functions that toolkits read: each is there; and what the old ones show."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.support import Client, World

VIEWS = """
sys.systypes systypes dbo.systypes sysconfigures syscurconfigs sysdevices syscomments sysforeignkeys
sysreferences sysindexkeys sysconstraints sysfilegroups sysmembers sysservers sysdepends sysprotects
syspermissions syslockinfo sysperfinfo syscacheobjects sysremotelogins sysopentapes sysoledbusers syscharsets
master..sysservers master.dbo.sysconfigures INFORMATION_SCHEMA.PARAMETERS INFORMATION_SCHEMA.DOMAINS
INFORMATION_SCHEMA.TABLE_PRIVILEGES INFORMATION_SCHEMA.COLUMN_PRIVILEGES INFORMATION_SCHEMA.VIEW_TABLE_USAGE
INFORMATION_SCHEMA.VIEW_COLUMN_USAGE INFORMATION_SCHEMA.CONSTRAINT_TABLE_USAGE sys.dm_os_tasks
sys.dm_os_workers
sys.dm_os_latch_stats sys.dm_os_spinlock_stats sys.dm_os_memory_nodes sys.dm_exec_query_resource_semaphores
sys.dm_exec_session_wait_stats sys.dm_tran_version_store sys.dm_db_session_space_usage
sys.dm_db_task_space_usage sys.dm_hadr_cluster_members sys.dm_hadr_auto_page_repair
sys.dm_hadr_cluster_networks sys.dm_hadr_name_id_map sys.dm_hadr_instance_node_map
sys.dm_db_tuning_recommendations sys.database_event_sessions msdb.dbo.sysdac_instances
msdb.dbo.sysmail_configuration
sys.dm_db_mirroring_auto_page_repair sys.dm_io_backup_tapes sys.dm_server_audit_status sys.dm_xe_objects
sys.dm_tcp_listener_states sys.server_event_session_events sys.trace_events sys.query_store_query
msdb.dbo.log_shipping_monitor_history_detail msdb.dbo.log_shipping_monitor_error_detail
msdb.dbo.log_shipping_monitor_alert msdb.dbo.log_shipping_primaries msdb.dbo.log_shipping_secondaries
msdb.dbo.sysmaintplan_logdetail msdb.dbo.sysdbmaintplans msdb.dbo.sysdbmaintplan_history
msdb.dbo.sysdbmaintplan_jobs msdb.dbo.sysdbmaintplan_databases msdb.dbo.systargetservers
sys.query_store_plan sys.query_store_runtime_stats sys.column_store_segments sys.extended_procedures
""".split()  # noqa: SIM905
FUNCTIONS = [
    "sys.dm_os_volume_stats(DB_ID(), 1)",
    "sys.dm_io_virtual_file_stats(NULL, NULL)",
    "fn_virtualfilestats(NULL, NULL)",
    "::fn_virtualfilestats(DB_ID(), 1)",
    "fn_helpcollations()",
    "sys.fn_my_permissions(NULL, 'SERVER')",
    "fn_my_permissions(NULL, 'DATABASE')",
    "sys.dm_exec_plan_attributes(0x01)",
    "sys.dm_exec_cursors(0)",
    "sys.dm_db_index_operational_stats(DB_ID(), NULL, NULL, NULL)",
    "sys.dm_sql_referenced_entities('dbo.t', 'OBJECT')",
    "sys.fn_trace_gettable('x.trc', DEFAULT)",
    "sys.fn_trace_getinfo(0)",
    "sys.fn_xe_file_target_read_file('x*.xel', NULL, NULL, NULL)",
    "::fn_get_sql(0x01)",
]


@pytest.fixture(scope="module")
def sql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    directory: Path = tmp_path_factory.mktemp("tools")
    world = World(directory)
    made = world.login()
    made.run("CREATE DATABASE tools")
    made.run("USE tools")
    made.run("CREATE TABLE a(x int, y int, CONSTRAINT pk_a PRIMARY KEY (x, y))")
    made.run("CREATE TABLE b(p int, q int, CONSTRAINT fk_b FOREIGN KEY (p, q) REFERENCES a(x, y))")
    yield made
    world.close()


@pytest.mark.parametrize("name", [*VIEWS, *FUNCTIONS])
def test_it_can_be_read(sql: Client, name: str) -> None:
    sql.run(f"SELECT TOP 1 * FROM {name} AS it")


def test_types_and_texts(sql: Client) -> None:
    assert sql.rows(
        "SELECT name, length, prec FROM systypes WHERE name IN ('int', 'bigint') ORDER BY name"
    ) == [
        ("bigint", 8, 19),
        ("int", 4, 10),
    ]
    sql.run("CREATE PROCEDURE long_one AS /*" + "x" * 5000 + "*/ RETURN 0")
    assert sql.rows(
        "SELECT colid, LEN(text) FROM syscomments WHERE id = OBJECT_ID('long_one') ORDER BY colid"
    ) == [
        (1, 4000),
        (2, 1042),
    ]


def test_keys(sql: Client) -> None:
    assert sql.rows(
        "SELECT OBJECT_NAME(constid), OBJECT_NAME(fkeyid), OBJECT_NAME(rkeyid), keycnt, fkey2, rkey2"
        " FROM sysreferences"
    ) == [("fk_b", "b", "a", 2, 2, 2)]
    assert sql.rows("SELECT keyno, fkey, rkey FROM sysforeignkeys ORDER BY keyno") == [(1, 1, 1), (2, 2, 2)]
    assert sql.rows("SELECT colid, keyno FROM sysindexkeys WHERE id = OBJECT_ID('a') AND indid = 1") == [
        (1, 1),
        (2, 2),
    ]
    assert sql.value("SELECT COUNT(*) FROM INFORMATION_SCHEMA.CONSTRAINT_TABLE_USAGE") == 2


def test_parameters(sql: Client) -> None:
    sql.run("CREATE FUNCTION f(@a int, @b varchar(9)) RETURNS decimal(9, 2) AS BEGIN RETURN 1 END")
    assert sql.rows(
        "SELECT ORDINAL_POSITION, PARAMETER_MODE, IS_RESULT, PARAMETER_NAME, DATA_TYPE,"
        " CHARACTER_MAXIMUM_LENGTH"
        " FROM INFORMATION_SCHEMA.PARAMETERS WHERE SPECIFIC_NAME = 'f' ORDER BY 1"
    ) == [
        (0, "OUT", "YES", "", "decimal", None),
        (1, "IN", "NO", "@a", "int", None),
        (2, "IN", "NO", "@b", "varchar", 9),
    ]


def test_files_and_options(sql: Client) -> None:
    assert sql.rows(
        "SELECT v.file_id, SIGN(v.total_bytes), SIGN(s.size_on_disk_bytes) FROM sys.database_files f"
        " CROSS APPLY sys.dm_os_volume_stats(DB_ID(), f.file_id) v"
        " JOIN sys.dm_io_virtual_file_stats(DB_ID(), NULL) s ON s.file_id = f.file_id WHERE f.type = 0"
    ) == [(1, 1, 1)]
    assert sql.value("SELECT value FROM sysconfigures WHERE config = 518") == 0
    assert (
        sql.value("SELECT COUNT(*) FROM fn_my_permissions(NULL, 'SERVER') WHERE permission_name = 'SHUTDOWN'")
        == 1
    )


def test_a_function_is_about_the_current_database(sql: Client) -> None:
    listed = "SELECT COUNT(*) FROM fn_listextendedproperty('here', DEFAULT, NULL, NULL, NULL, NULL, NULL)"
    assert sql.value(f"USE tempdb; {listed}") == 0
    sql.run("USE tools; EXEC sp_addextendedproperty 'here', 'yes'")
    assert sql.value(listed) == 1


def test_dates_of_jobs(sql: Client) -> None:
    assert sql.value("SELECT CONVERT(varchar(19), msdb.dbo.agent_datetime(20240229, 93005), 120)") == (
        "2024-02-29 09:30:05"
    )

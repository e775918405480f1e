"""The views, table functions and functions that scripts of administrators name are all there."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client

__all__ = ["shared_world", "sql"]

_VIEWS = """
    sys.databases sysdatabases sys.master_files sys.database_files sysaltfiles sysfiles sys.objects
    sysobjects sys.tables sys.schemas sys.columns sys.types sys.procedures sys.sql_modules sys.indexes
    sys.certificates sys.symmetric_keys sys.credentials sys.backup_devices sys.configurations
    sys.server_principals sys.filegroups sys.dm_exec_requests sys.dm_exec_sessions
    sys.dm_exec_connections sysprocesses sys.database_recovery_status INFORMATION_SCHEMA.TABLES
    INFORMATION_SCHEMA.COLUMNS INFORMATION_SCHEMA.ROUTINES sys.availability_groups
    sys.availability_replicas sys.availability_databases_cluster sys.availability_group_listeners
    sys.dm_hadr_availability_replica_states sys.dm_hadr_database_replica_states
    sys.dm_hadr_availability_group_states sys.dm_hadr_physical_seeding_stats
    sys.dm_hadr_database_replica_cluster_states sys.dm_hadr_cluster sys.database_mirroring
    sys.dm_database_encryption_keys sys.dm_os_sys_info sys.dm_os_host_info sys.dm_server_services
    sys.dm_os_performance_counters sys.dm_db_log_space_usage sys.dm_db_file_space_usage
    sys.dm_os_wait_stats sys.dm_tran_locks sys.dm_exec_query_stats sys.dm_exec_cached_plans
    sys.partitions sys.allocation_units sys.dm_db_partition_stats sys.index_columns sys.key_constraints
    sys.foreign_keys sys.foreign_key_columns sys.extended_properties sys.messages sys.sql_logins
    sys.database_principals sys.database_role_members sys.database_permissions sys.servers sys.traces
    sys.all_objects sys.all_columns sys.views sys.synonyms sys.sequences sys.triggers sys.trigger_events
    sys.parameters sys.stats sys.check_constraints sys.default_constraints sys.computed_columns
    sys.identity_columns sys.table_types sys.server_permissions sys.server_role_members sys.endpoints
    sys.asymmetric_keys sys.data_spaces sys.partition_schemes sys.partition_functions
    sys.dm_tran_active_transactions sys.dm_tran_session_transactions sys.dm_tran_database_transactions
    sys.dm_os_schedulers sys.dm_os_memory_clerks sys.dm_os_process_memory sys.dm_os_sys_memory
    sys.dm_os_waiting_tasks sys.dm_os_ring_buffers sys.dm_db_index_usage_stats
    sys.dm_db_missing_index_details sys.dm_db_missing_index_groups sys.dm_db_missing_index_group_stats
    sys.dm_exec_procedure_stats sys.dm_exec_query_memory_grants sys.dm_io_pending_io_requests
    sys.resource_governor_configuration sys.database_scoped_configurations
    sys.database_query_store_options sys.dm_xe_sessions sys.server_event_sessions sys.linked_logins
    sys.sql_dependencies sys.sql_expression_dependencies sys.sysusers sysusers syslogins sysindexes
    syscolumns sys.sysindexes sys.xml_indexes sys.assemblies sys.plan_guides sys.dm_server_registry
    sys.dm_os_cluster_nodes sys.dm_db_persisted_sku_features sys.change_tracking_databases
    sys.internal_tables sys.numbered_procedures sys.server_triggers
    sys.database_automatic_tuning_options sys.dm_os_cluster_properties sys.dm_os_memory_cache_counters
    sys.dm_os_nodes sys.dm_os_windows_info sys.dm_os_buffer_descriptors sys.dm_db_xtp_table_memory_stats
    sys.time_zone_info sys.fulltext_indexes sys.sysmessages sys.syslanguages msdb.dbo.backupset
    msdb.dbo.backupmediafamily msdb.dbo.backupmediaset msdb.dbo.backupfile msdb.dbo.backupfilegroup
    msdb.dbo.restorehistory msdb.dbo.restorefile msdb.dbo.restorefilegroup msdb.dbo.suspect_pages
    msdb.dbo.logmarkhistory msdb.dbo.sysjobs msdb.dbo.sysjobs_view msdb.dbo.sysjobsteps
    msdb.dbo.sysjobschedules msdb.dbo.sysschedules msdb.dbo.sysjobservers msdb.dbo.sysjobhistory
    msdb.dbo.sysjobactivity msdb.dbo.syssessions msdb.dbo.syscategories msdb.dbo.sysoperators
    msdb.dbo.sysalerts msdb.dbo.sysproxies msdb.dbo.sysmaintplan_plans msdb.dbo.sysmaintplan_subplans
    msdb.dbo.sysmaintplan_log msdb.dbo.log_shipping_primary_databases
    msdb.dbo.log_shipping_secondary_databases msdb.dbo.log_shipping_monitor_primary
    msdb.dbo.log_shipping_monitor_secondary msdb.dbo.log_shipping_primary_secondaries
    msdb.dbo.log_shipping_secondary sys.column_store_row_groups
"""
_TABLE_FUNCTIONS = (
    "sys.dm_exec_sql_text(0x01)",
    "sys.dm_exec_query_plan(0x01)",
    "sys.dm_exec_input_buffer(@@SPID, NULL)",
    "sys.dm_db_log_stats(DB_ID())",
    "sys.dm_db_log_info(DB_ID())",
    "sys.dm_db_index_physical_stats(NULL, NULL, NULL, NULL, 'LIMITED')",
    "sys.dm_db_stats_properties(1, 1)",
    "sys.dm_os_file_exists('/')",
    "STRING_SPLIT('a,b', ',')",
    "OPENJSON('[]')",
)


def test_views(sql: Client) -> None:
    missing = [name for name in _VIEWS.split() if isinstance(_count(sql, name), str)]
    assert missing == []


@pytest.mark.parametrize("call", _TABLE_FUNCTIONS)
def test_table_functions(sql: Client, call: str) -> None:
    assert isinstance(_count(sql, call), int)


def _count(sql: Client, source: str) -> object:
    return sql.value(
        f"BEGIN TRY EXEC ('SELECT COUNT(*) FROM {source.replace(chr(39), chr(39) * 2)}') END TRY"
        " BEGIN CATCH SELECT ERROR_MESSAGE() END CATCH"
    )


def test_space_and_statistics_of_a_table(sql: Client) -> None:
    sql.run(
        "CREATE TABLE t(id int PRIMARY KEY, n varchar(10)); CREATE INDEX ix ON t(n);"
        " INSERT t VALUES (1,'a'),(2,'b')"
    )
    assert sql.rows(
        "SELECT index_id, rows FROM sys.partitions WHERE object_id = OBJECT_ID('t') ORDER BY index_id"
    ) == [(1, 2), (2, 2)]
    assert sql.rows(
        "SELECT SUM(row_count), MIN(in_row_data_page_count) FROM sys.dm_db_partition_stats"
        " WHERE object_id = OBJECT_ID('t') AND index_id < 2"
    ) == [(2, 1)]
    assert sql.rows(
        "SELECT s.name, p.rows FROM sys.stats s"
        " CROSS APPLY sys.dm_db_stats_properties(s.object_id, s.stats_id) p"
        " WHERE s.object_id = OBJECT_ID('t') AND s.name = 'ix'"
    ) == [("ix", 2)]
    assert sql.rows(
        "SELECT index_type_desc, avg_fragmentation_in_percent FROM"
        " sys.dm_db_index_physical_stats(DB_ID(), OBJECT_ID('t'), NULL, NULL, 'LIMITED')"
    ) == [("CLUSTERED INDEX", 0.0), ("NONCLUSTERED INDEX", 0.0)]
    assert sql.rows("SELECT indid, rows FROM sysindexes WHERE id = OBJECT_ID('t') AND indid < 2") == [(1, 2)]


def test_parameters_and_events_of_modules(sql: Client) -> None:
    sql.run("CREATE PROC p @a int, @b varchar(5) = 'x' OUTPUT AS RETURN")
    sql.run("CREATE FUNCTION dbo.f(@c bit) RETURNS decimal(5,2) AS BEGIN RETURN 1 END")
    assert sql.rows(
        "SELECT name, parameter_id, max_length, is_output FROM sys.parameters"
        " ORDER BY object_id, parameter_id"
    ) in (
        [("@a", 1, 4, 0), ("@b", 2, 5, 1), ("", 0, 5, 1), ("@c", 1, 1, 0)],
        [("", 0, 5, 1), ("@c", 1, 1, 0), ("@a", 1, 4, 0), ("@b", 2, 5, 1)],
    )
    sql.run("CREATE TABLE t(a int)")
    sql.run("CREATE TRIGGER g ON t FOR INSERT, DELETE AS RETURN")
    assert sql.rows("SELECT type, type_desc FROM sys.trigger_events ORDER BY 1") == [
        (1, "INSERT"),
        (3, "DELETE"),
    ]

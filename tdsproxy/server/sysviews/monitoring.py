"""Views of what does not exist here (availability groups, plans, extended events ...): the columns that
scripts read, and no rows; and of the machine, as far as it can be known."""

from __future__ import annotations

import datetime as dt
import os
import resource
from collections.abc import Iterator
from typing import Final

from tdsproxy.server.system_messages import (
    ENGLISH,
    FIRST_OF_USERS,
    is_logged_by_itself,
    system_messages,
)
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.tsql.functions.zones import zone, zone_names

_OLD_LOGGED: Final = 0x80
"""``dlevel`` of what is written there."""


def _services(scope: Scope) -> Iterator[Row]:
    yield {
        "servicename": "SQL Server (MSSQLSERVER)",
        "startup_type": 2,
        "startup_type_desc": "Automatic",
        "status": 4,
        "status_desc": "Running",
        "process_id": os.getpid(),
        "service_account": "mssql",
        "filename": "/opt/mssql/bin/sqlservr",
        "is_clustered": "N",
        "instant_file_initialization_enabled": "Y",
    }
    yield {
        "servicename": "SQL Server Agent (MSSQLSERVER)",
        "startup_type": 2,
        "startup_type_desc": "Automatic",
        "status": 4,
        "status_desc": "Running",
        "service_account": "mssql",
        "filename": "/opt/mssql/bin/sqlservr",
        "is_clustered": "N",
    }


def _memory(scope: Scope) -> Iterator[Row]:
    page = os.sysconf("SC_PAGE_SIZE")
    total = os.sysconf("SC_PHYS_PAGES") * page // 1024
    free = os.sysconf("SC_AVPHYS_PAGES") * page // 1024
    yield {
        "total_physical_memory_kb": total,
        "available_physical_memory_kb": free,
        "total_page_file_kb": total,
        "available_page_file_kb": free,
        "system_memory_state_desc": "Available physical memory is high",
        "system_high_memory_signal_state": 1,
    }


def _process_memory(scope: Scope) -> Iterator[Row]:
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield {"physical_memory_in_use_kb": used, "memory_utilization_percentage": 100}


def _schedulers(scope: Scope) -> Iterator[Row]:
    for number in range(os.cpu_count() or 1):
        yield {
            "scheduler_address": number.to_bytes(8, "big"),
            "parent_node_id": 0,
            "scheduler_id": number,
            "cpu_id": number,
            "status": "VISIBLE ONLINE",
            "is_online": 1,
        }


_RUN_COUNTS: Final = """
creation_time datetime, last_execution_time datetime, execution_count bigint!, total_worker_time bigint!,
last_worker_time bigint!, min_worker_time bigint!, max_worker_time bigint!, total_physical_reads bigint!,
total_logical_writes bigint!, total_logical_reads bigint!, total_elapsed_time bigint!,
last_elapsed_time bigint!, min_elapsed_time bigint!, max_elapsed_time bigint!, total_rows bigint
"""

_EMPTY: Final = {
    "sys.availability_databases_cluster": "group_id uniqueidentifier!, group_database_id uniqueidentifier!,"
    " database_name sysname",
    "sys.availability_group_listeners": "group_id uniqueidentifier!, listener_id nvarchar(36),"
    " dns_name nvarchar(63), port int, is_conformant bit!,"
    " ip_configuration_string_from_cluster nvarchar(max)",
    "sys.availability_group_listener_ip_addresses": "listener_id nvarchar(36), ip_address nvarchar(48),"
    " ip_subnet_mask nvarchar(15), is_dhcp bit!, state tinyint, state_desc nvarchar(60)",
    "sys.availability_read_only_routing_lists": "replica_id uniqueidentifier!, routing_priority int!,"
    " read_only_replica_id uniqueidentifier!",
    "sys.dm_hadr_availability_replica_states": "replica_id uniqueidentifier!, group_id uniqueidentifier!,"
    " is_local bit!, role tinyint, role_desc nvarchar(60), operational_state tinyint,"
    " operational_state_desc nvarchar(60), connected_state tinyint, connected_state_desc nvarchar(60),"
    " recovery_health tinyint, recovery_health_desc nvarchar(60), synchronization_health tinyint,"
    " synchronization_health_desc nvarchar(60), last_connect_error_number int",
    "sys.dm_hadr_availability_group_states": "group_id uniqueidentifier!, primary_replica nvarchar(128),"
    " primary_recovery_health tinyint, primary_recovery_health_desc nvarchar(60),"
    " synchronization_health tinyint, synchronization_health_desc nvarchar(60)",
    "sys.dm_hadr_physical_seeding_stats": "local_physical_seeding_id uniqueidentifier!,"
    " remote_physical_seeding_id uniqueidentifier, local_database_id int, local_database_name sysname,"
    " remote_machine_name sysname, role_desc nvarchar(60), internal_state_desc nvarchar(60),"
    " transferred_size_bytes bigint, database_size_bytes bigint, start_time_utc datetime,"
    " end_time_utc datetime, failure_code int",
    "sys.dm_hadr_automatic_seeding": "start_time datetime, completion_time datetime, ag_id uniqueidentifier,"
    " ag_db_id uniqueidentifier, current_state nvarchar(32), failure_state_desc nvarchar(60)",
    "sys.dm_hadr_database_replica_cluster_states": "replica_id uniqueidentifier!,"
    " group_database_id uniqueidentifier!, database_name sysname, is_failover_ready bit!,"
    " is_pending_secondary_suspend bit!, is_database_joined bit!, recovery_lsn numeric(25,0),"
    " truncation_lsn numeric(25,0)",
    "sys.dm_hadr_availability_replica_cluster_states": "replica_id uniqueidentifier!,"
    " replica_server_name nvarchar(256), group_id uniqueidentifier!, join_state tinyint,"
    " join_state_desc nvarchar(60)",
    "sys.dm_os_wait_stats": "wait_type nvarchar(60)!, waiting_tasks_count bigint!, wait_time_ms bigint!,"
    " max_wait_time_ms bigint!, signal_wait_time_ms bigint!",
    "sys.dm_exec_query_stats": "sql_handle varbinary(64)!, statement_start_offset int!,"
    " statement_end_offset int!, plan_generation_num bigint, plan_handle varbinary(64)!,"
    f" query_hash binary(8), query_plan_hash binary(8), {_RUN_COUNTS}",
    "sys.dm_exec_procedure_stats": "database_id int!, object_id int!, type char(2), type_desc nvarchar(60),"
    f" sql_handle varbinary(64)!, plan_handle varbinary(64)!, cached_time datetime, {_RUN_COUNTS}",
    "sys.dm_exec_trigger_stats": "database_id int!, object_id int!, type char(2), type_desc nvarchar(60),"
    f" sql_handle varbinary(64)!, plan_handle varbinary(64)!, cached_time datetime, {_RUN_COUNTS}",
    "sys.dm_exec_cached_plans": "bucketid int!, refcounts int!, usecounts int!, size_in_bytes int!,"
    " memory_object_address varbinary(8)!, cacheobjtype nvarchar(50)!, objtype nvarchar(20)!,"
    " plan_handle varbinary(64)!, pool_id int!, parent_plan_handle varbinary(64)",
    "sys.dm_exec_query_memory_grants": "session_id smallint, request_id int, scheduler_id int, dop smallint,"
    " request_time datetime, grant_time datetime, requested_memory_kb bigint, granted_memory_kb bigint,"
    " required_memory_kb bigint, used_memory_kb bigint, max_used_memory_kb bigint, query_cost float,"
    " timeout_sec int, queue_id smallint, wait_order int, is_next_candidate bit, wait_time_ms bigint,"
    " plan_handle varbinary(64), sql_handle varbinary(64), ideal_memory_kb bigint",
    "sys.traces": "id int!, status int!, path nvarchar(260), max_size bigint, stop_time datetime,"
    " max_files int, is_rowset bit, is_rollover bit, is_shutdown bit, is_default bit, buffer_count int,"
    " buffer_size int, file_position bigint, reader_spid int, start_time datetime, last_event_time datetime,"
    " event_count bigint, dropped_event_count int",
    "sys.server_permissions": "class tinyint!, class_desc nvarchar(60), major_id int!, minor_id int!,"
    " grantee_principal_id int!, grantor_principal_id int!, type char(4)!, permission_name nvarchar(128),"
    " state char(1)!, state_desc nvarchar(60)",
    "sys.endpoints": "name sysname!, endpoint_id int!, principal_id int, protocol tinyint!,"
    " protocol_desc nvarchar(60), type tinyint!, type_desc nvarchar(60), state tinyint,"
    " state_desc nvarchar(60), is_admin_endpoint bit!",
    "sys.database_mirroring_endpoints": "name sysname!, endpoint_id int!, state_desc nvarchar(60),"
    " role_desc nvarchar(60), is_encryption_enabled bit!",
    "sys.partition_schemes": "name sysname!, data_space_id int!, type char(2)!, type_desc nvarchar(60),"
    " is_default bit, is_system bit, function_id int!",
    "sys.partition_functions": "name sysname!, function_id int!, type char(2)!, type_desc nvarchar(60),"
    " fanout int!, boundary_value_on_right bit!, is_system bit!, create_date datetime!,"
    " modify_date datetime!",
    "sys.partition_range_values": "function_id int!, boundary_id int!, parameter_id int!, value sql_variant",
    "sys.destination_data_spaces": "partition_scheme_id int!, destination_id int!, data_space_id int!",
    "sys.dm_tran_version_store_space_usage": "database_id int!, reserved_page_count bigint!,"
    " reserved_space_kb bigint!",
    "sys.dm_os_memory_clerks": "type nvarchar(60)!, name nvarchar(256)!, memory_node_id smallint!,"
    " pages_kb bigint!, virtual_memory_reserved_kb bigint!, virtual_memory_committed_kb bigint!",
    "sys.dm_os_memory_cache_counters": "name nvarchar(256)!, type nvarchar(60)!, pages_kb bigint!,"
    " entries_count bigint!, entries_in_use_count bigint!",
    "sys.dm_os_waiting_tasks": "waiting_task_address varbinary(8)!, session_id smallint, exec_context_id int,"
    " wait_duration_ms bigint, wait_type nvarchar(60), resource_address varbinary(8),"
    " blocking_session_id smallint, resource_description nvarchar(3072)",
    "sys.dm_os_ring_buffers": "ring_buffer_address varbinary(8)!, ring_buffer_type nvarchar(60)!,"
    " timestamp bigint!, record nvarchar(max)",
    "sys.dm_os_nodes": "node_id smallint!, node_state_desc nvarchar(256)!, memory_node_id smallint!,"
    " online_scheduler_count smallint!, cpu_count int!",
    "sys.dm_os_windows_info": "windows_release nvarchar(256)!, windows_service_pack_level nvarchar(256)!,"
    " windows_sku int, os_language_version int!",
    "sys.dm_os_buffer_descriptors": "database_id int, file_id int, page_id int, page_level int,"
    " allocation_unit_id bigint, page_type nvarchar(60), row_count int, free_space_in_bytes int,"
    " is_modified bit",
    "sys.dm_os_cluster_nodes": "NodeName nvarchar(128), status int, status_description nvarchar(20),"
    " is_current_owner bit",
    "sys.dm_os_cluster_properties": "VerboseLogging bigint, HealthCheckTimeout bigint, FailureConditionLevel"
    " bigint",
    "sys.dm_db_index_usage_stats": "database_id smallint!, object_id int!, index_id int!,"
    " user_seeks bigint!, user_scans bigint!, user_lookups bigint!, user_updates bigint!,"
    " last_user_seek datetime, last_user_scan datetime, last_user_lookup datetime, last_user_update datetime,"
    " system_seeks bigint!, system_scans bigint!, system_lookups bigint!, system_updates bigint!",
    "sys.dm_db_missing_index_details": "index_handle int!, database_id smallint!, object_id int!,"
    " equality_columns nvarchar(4000), inequality_columns nvarchar(4000), included_columns nvarchar(4000),"
    " statement nvarchar(4000)",
    "sys.dm_db_missing_index_groups": "index_group_handle int!, index_handle int!",
    "sys.dm_db_missing_index_group_stats": "group_handle int!, unique_compiles bigint!, user_seeks bigint!,"
    " user_scans bigint!, last_user_seek datetime, last_user_scan datetime, avg_total_user_cost float,"
    " avg_user_impact float, system_seeks bigint!",
    "sys.dm_db_persisted_sku_features": "feature_name sysname, feature_id int",
    "sys.dm_db_uncontained_entities": "class int!, class_desc nvarchar(120), major_id int!,"
    " feature_name nvarchar(256)",
    "sys.dm_db_xtp_table_memory_stats": "object_id int, memory_allocated_for_table_kb bigint,"
    " memory_used_by_table_kb bigint, memory_allocated_for_indexes_kb bigint,"
    " memory_used_by_indexes_kb bigint",
    "sys.dm_io_pending_io_requests": "io_completion_request_address varbinary(8)!, io_type nvarchar(60)!,"
    " io_pending_ms_ticks bigint!, io_pending int!, io_handle varbinary(8)",
    "sys.dm_server_registry": "registry_key nvarchar(256), value_name nvarchar(256), value_data sql_variant",
    "sys.dm_server_memory_dumps": "filename nvarchar(256)!, creation_time datetimeoffset(7)!,"
    " size_in_bytes bigint",
    "sys.dm_xe_sessions": "address varbinary(8)!, name nvarchar(256)!, pending_buffers int!,"
    " create_time datetime!, session_source nvarchar(256)!",
    "sys.dm_xe_session_targets": "event_session_address varbinary(8)!, target_name nvarchar(60)!,"
    " target_data nvarchar(max), execution_count bigint!",
    "sys.dm_resource_governor_workload_groups": "group_id int!, name sysname!, pool_id int!,"
    " total_request_count bigint!, active_request_count int!",
    "sys.dm_resource_governor_resource_pools": "pool_id int!, name sysname!, min_cpu_percent int!,"
    " max_cpu_percent int!, min_memory_percent int!, max_memory_percent int!",
    "sys.resource_governor_configuration": "classifier_function_id int!, is_enabled bit!,"
    " max_outstanding_io_per_volume int!",
    "sys.resource_governor_workload_groups": "group_id int!, name sysname!, importance sysname!,"
    " pool_id int!",
    "sys.resource_governor_resource_pools": "pool_id int!, name sysname!, min_cpu_percent int!,"
    " max_cpu_percent int!",
    "sys.server_event_sessions": "event_session_id int!, name sysname!, event_retention_mode nchar(1),"
    " max_dispatch_latency int, max_memory int, startup_state bit",
    "sys.database_query_store_options": "desired_state smallint!, desired_state_desc nvarchar(60),"
    " actual_state smallint!, actual_state_desc nvarchar(60), readonly_reason int,"
    " current_storage_size_mb bigint, max_storage_size_mb bigint",
    "sys.database_automatic_tuning_options": "name nvarchar(128), desired_state smallint,"
    " desired_state_desc nvarchar(60), actual_state smallint, actual_state_desc nvarchar(60),"
    " reason smallint, reason_desc nvarchar(60)",
    "sys.linked_logins": "server_id int!, local_principal_id int, uses_self_credential bit!,"
    " remote_name sysname, modify_date datetime!",
    "sys.sql_dependencies": "class tinyint!, class_desc nvarchar(60), object_id int!, column_id int!,"
    " referenced_major_id int!, referenced_minor_id int!, is_selected bit!, is_updated bit!,"
    " is_select_all bit!",
    "sys.sql_expression_dependencies": "referencing_id int!, referencing_minor_id int!,"
    " referencing_class tinyint, referencing_class_desc nvarchar(60), is_schema_bound_reference bit!,"
    " referenced_class tinyint, referenced_class_desc nvarchar(60), referenced_server_name sysname,"
    " referenced_database_name sysname, referenced_schema_name sysname, referenced_entity_name sysname,"
    " referenced_id int, referenced_minor_id int!, is_caller_dependent bit!, is_ambiguous bit!",
    "sys.column_store_row_groups": "object_id int!, index_id int!, partition_number int!, row_group_id int!,"
    " state tinyint!, state_description nvarchar(60)!, total_rows bigint, deleted_rows bigint,"
    " size_in_bytes bigint",
    "sys.dm_db_column_store_row_group_physical_stats": "object_id int!, index_id int!, partition_number int!,"
    " row_group_id int, state tinyint, state_desc nvarchar(60), total_rows bigint, deleted_rows bigint,"
    " size_in_bytes bigint",
    "sys.plan_guides": "plan_guide_id int!, name sysname!, create_date datetime!, modify_date datetime!,"
    " is_disabled bit!, query_text nvarchar(max), scope_type tinyint!, hints nvarchar(max)",
    "sys.internal_tables": "name sysname!, object_id int!, schema_id int!, parent_object_id int!,"
    " type char(2)!, type_desc nvarchar(60), create_date datetime!, internal_type tinyint!,"
    " internal_type_desc nvarchar(60), parent_id int!",
    "sys.numbered_procedures": "object_id int!, procedure_number smallint, definition nvarchar(max)",
    "sys.server_triggers": "name sysname!, object_id int!, parent_class tinyint!,"
    " parent_class_desc nvarchar(60), parent_id int!, type char(2)!, type_desc nvarchar(60),"
    " create_date datetime!, modify_date datetime!, is_ms_shipped bit!, is_disabled bit!",
    "sys.change_tracking_tables": "object_id int!, is_track_columns_updated_on bit!,"
    " min_valid_version bigint",
    "sys.dm_cdc_log_scan_sessions": "session_id int!, start_time datetime, end_time datetime, duration int,"
    " error_count int",
    "sys.server_audits": "audit_id int!, name sysname!, type char(2)!, type_desc nvarchar(60),"
    " is_state_enabled bit",
    "sys.server_audit_specifications": "server_specification_id int!, name sysname!, is_state_enabled bit",
    "sys.database_audit_specifications": "database_specification_id int!, name sysname!,"
    " is_state_enabled bit",
    "sys.dm_os_job_object": "cpu_rate int, cpu_affinity_mask bigint, memory_limit_mb bigint",
    "sys.table_types": "name sysname!, system_type_id tinyint!, user_type_id int!, schema_id int!,"
    " principal_id int, max_length smallint!, precision tinyint!, scale tinyint!, collation_name sysname,"
    " is_nullable bit, is_user_defined bit!, is_assembly_type bit!, default_object_id int!,"
    " rule_object_id int!, is_table_type bit!, type_table_object_id int!, is_memory_optimized bit",
}


def _messages(scope: Scope) -> Iterator[Row]:
    marked = {each.number: each.logged for each in scope.messages}
    for known in system_messages().values():
        logged = marked.get(known.number, is_logged_by_itself(known.number, known.severity))
        yield {
            "message_id": known.number,
            "language_id": ENGLISH,
            "severity": known.severity,
            "is_event_logged": int(logged),
            "text": known.text,
        }
    for added in scope.messages:
        if added.number < FIRST_OF_USERS:
            continue
        yield {
            "message_id": added.number,
            "language_id": added.language,
            "severity": added.severity,
            "is_event_logged": int(added.logged),
            "text": added.text,
        }


def _old_messages(scope: Scope) -> Iterator[Row]:
    for row in _messages(scope):
        yield {
            "error": row["message_id"],
            "severity": row["severity"],
            "dlevel": _OLD_LOGGED if row["is_event_logged"] else 0,
            "description": str(row["text"])[:255],
            "msglangid": row["language_id"],
        }


def _time_zones(scope: Scope) -> Iterator[Row]:
    now = dt.datetime.now(dt.UTC)
    for name in zone_names():
        found = zone(name)
        if found is not None:
            here = now.astimezone(found)
            yield {
                "name": name,
                "current_utc_offset": here.strftime("%z")[:3] + ":" + here.strftime("%z")[3:5],
                "is_currently_dst": int(bool(here.dst())),
            }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.time_zone_info",
        "name sysname!, current_utc_offset nvarchar(6)!, is_currently_dst bit!",
        _time_zones,
    ),
    view(
        "sys.messages",
        "message_id int!, language_id smallint!, severity tinyint, is_event_logged bit!,"
        " text nvarchar(2048)!",
        _messages,
    ),
    view(
        "sys.sysmessages",
        "error int!, severity tinyint, dlevel smallint, description nvarchar(255), msglangid smallint!",
        _old_messages,
    ),
    *(view(name, columns) for name, columns in _EMPTY.items()),
    view(
        "sys.dm_server_services",
        "servicename nvarchar(256)!, startup_type int, startup_type_desc nvarchar(256)!, status int,"
        " status_desc nvarchar(256)!, process_id int, last_startup_time datetimeoffset(7),"
        " service_account nvarchar(256)!, filename nvarchar(256)!, is_clustered nvarchar(1)!,"
        " cluster_nodename nvarchar(256), instant_file_initialization_enabled nvarchar(1)!",
        _services,
    ),
    view(
        "sys.dm_os_sys_memory",
        "total_physical_memory_kb bigint!, available_physical_memory_kb bigint!, total_page_file_kb bigint!,"
        " available_page_file_kb bigint!, system_cache_kb bigint!, kernel_paged_pool_kb bigint!,"
        " kernel_nonpaged_pool_kb bigint!, system_high_memory_signal_state bit!,"
        " system_low_memory_signal_state bit!, system_memory_state_desc nvarchar(256)!",
        _memory,
    ),
    view(
        "sys.dm_os_process_memory",
        "physical_memory_in_use_kb bigint!, large_page_allocations_kb bigint!,"
        " locked_page_allocations_kb bigint!, total_virtual_address_space_kb bigint!,"
        " virtual_address_space_reserved_kb bigint!, virtual_address_space_committed_kb bigint!,"
        " virtual_address_space_available_kb bigint!, page_fault_count bigint!,"
        " memory_utilization_percentage int!, available_commit_limit_kb bigint!,"
        " process_physical_memory_low bit!, process_virtual_memory_low bit!",
        _process_memory,
    ),
    view(
        "sys.dm_os_schedulers",
        "scheduler_address varbinary(8)!, parent_node_id int!, scheduler_id int!, cpu_id smallint!,"
        " status nvarchar(60)!, is_online bit!, is_idle bit!, preemptive_switches_count int!,"
        " context_switches_count int!, current_tasks_count int!, runnable_tasks_count int!,"
        " current_workers_count int!, active_workers_count int!, work_queue_count bigint!,"
        " pending_disk_io_count int!, load_factor int!",
        _schedulers,
    ),
)

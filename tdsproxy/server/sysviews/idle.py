"""Views of what the server has nothing of (worker threads, extended events, the query store ...) that scripts
for all kinds of servers read: their columns, and no row."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.sysviews.model import View, view

_SYSTEM: Final = {
    "sys.dm_os_tasks": "task_address varbinary(8)!, task_state nvarchar(60),"
    " context_switches_count int, pending_io_count int, pending_io_byte_count bigint,"
    " pending_io_byte_average int, scheduler_id int!, session_id smallint, exec_context_id int,"
    " request_id int, worker_address varbinary(8), host_address varbinary(8),"
    " parent_task_address varbinary(8)",
    "sys.dm_os_workers": "worker_address varbinary(8)!, status int!, is_preemptive bit, is_fiber bit,"
    " is_sick bit, last_wait_type nvarchar(60), return_code int, pending_io_count int!,"
    " start_quantum bigint!, end_quantum bigint!, quantum_used bigint!, state nvarchar(60),"
    " scheduler_address varbinary(8), task_address varbinary(8), thread_address varbinary(8),"
    " signal_worker_address varbinary(8)",
    "sys.dm_os_threads": "thread_address varbinary(8)!, started_by_sqlservr bit, os_thread_id int,"
    " status int, kernel_time bigint, usermode_time bigint, stack_bytes_committed int,"
    " stack_bytes_used int, scheduler_address varbinary(8), worker_address varbinary(8),"
    " creation_time datetime",
    "sys.dm_os_latch_stats": "latch_class nvarchar(60)!, waiting_requests_count bigint!,"
    " wait_time_ms bigint!, max_wait_time_ms bigint!",
    "sys.dm_os_spinlock_stats": "name nvarchar(256)!, collisions bigint, spins bigint,"
    " spins_per_collision real, sleep_time bigint, backoffs int",
    "sys.dm_os_memory_nodes": "memory_node_id smallint!, virtual_address_space_reserved_kb bigint!,"
    " virtual_address_space_committed_kb bigint!, locked_page_allocations_kb bigint!, pages_kb bigint!,"
    " shared_memory_reserved_kb bigint!, shared_memory_committed_kb bigint!, cpu_affinity_mask bigint!,"
    " online_scheduler_mask bigint!, processor_group smallint!, foreign_committed_kb bigint!,"
    " target_kb bigint!",
    "sys.dm_os_loaded_modules": "base_address varbinary(8)!, file_version varchar(23),"
    " product_version varchar(23), debug bit, patched bit, prerelease bit, private_build bit,"
    " special_build bit, language int, company nvarchar(256), description nvarchar(256),"
    " name nvarchar(255)!",
    "sys.dm_os_child_instances": "owning_principal_name nvarchar(256),"
    " owning_principal_sid nvarchar(256), owning_principal_sid_binary varbinary(85),"
    " instance_name nvarchar(128), instance_pipe_name nvarchar(260), os_process_id int,"
    " os_process_creation_date datetime, heart_beat nvarchar(5)",
    "sys.dm_exec_function_stats": "database_id int!, object_id int!, type char(2),"
    " type_desc nvarchar(60), sql_handle varbinary(64)!, plan_handle varbinary(64)!,"
    " cached_time datetime, last_execution_time datetime, execution_count bigint!,"
    " total_worker_time bigint!, total_elapsed_time bigint!, total_logical_reads bigint!,"
    " total_logical_writes bigint!, total_physical_reads bigint!",
    "sys.dm_exec_query_resource_semaphores": "resource_semaphore_id smallint!, target_memory_kb bigint,"
    " max_target_memory_kb bigint, total_memory_kb bigint, available_memory_kb bigint,"
    " granted_memory_kb bigint, used_memory_kb bigint, grantee_count int, waiter_count int,"
    " timeout_error_count bigint, forced_grant_count bigint, pool_id int!",
    "sys.dm_exec_query_optimizer_info": "counter nvarchar(4000)!, occurrence bigint!, value float",
    "sys.dm_exec_session_wait_stats": "session_id smallint!, wait_type nvarchar(60)!,"
    " waiting_tasks_count bigint!, wait_time_ms bigint!, max_wait_time_ms bigint!,"
    " signal_wait_time_ms bigint!",
    "sys.dm_exec_query_profiles": "session_id smallint, request_id int, sql_handle varbinary(64),"
    " plan_handle varbinary(64), physical_operator_name nvarchar(256), node_id int, thread_id int,"
    " row_count bigint, estimate_row_count bigint, elapsed_time_ms bigint, cpu_time_ms bigint,"
    " database_id int, object_id int, index_id int",
    "sys.dm_hadr_cluster_networks": "member_name nvarchar(128)!, network_subnet_ip nvarchar(48),"
    " network_subnet_ipv4_mask nvarchar(45), network_subnet_prefix_length int, is_public bit!, is_ipv4 bit!",
    "sys.dm_hadr_name_id_map": "ag_name nvarchar(256), ag_id uniqueidentifier, ag_resource_id nvarchar(256),"
    " ag_group_id nvarchar(256)",
    "sys.dm_hadr_instance_node_map": "ag_resource_id nvarchar(256), instance_name nvarchar(256),"
    " node_name nvarchar(256)",
    "sys.dm_db_tuning_recommendations": "name nvarchar(4000), type nvarchar(4000), reason nvarchar(4000),"
    " valid_since datetime, last_refresh datetime, state nvarchar(4000), is_executable_action bit,"
    " is_revertable_action bit, execute_action_start_time datetime, execute_action_duration time,"
    " execute_action_initiated_by nvarchar(4000), execute_action_initiated_time datetime,"
    " revert_action_start_time datetime, revert_action_duration time,"
    " revert_action_initiated_by nvarchar(4000), revert_action_initiated_time datetime, score int,"
    " details nvarchar(max)",
    "sys.database_event_sessions": "event_session_id int!, name sysname!, event_retention_mode nchar(1),"
    " event_retention_mode_desc sysname, max_dispatch_latency int, max_memory int, max_event_size int,"
    " memory_partition_mode nchar(1), memory_partition_mode_desc sysname, track_causality bit,"
    " startup_state bit",
    "sys.dm_tran_version_store": "transaction_sequence_num bigint, version_sequence_num bigint,"
    " database_id smallint, rowset_id bigint, status tinyint, min_length_in_bytes smallint,"
    " record_length_first_part_in_bytes smallint, record_image_first_part varbinary(8000),"
    " record_length_second_part_in_bytes smallint, record_image_second_part varbinary(8000)",
    "sys.dm_tran_active_snapshot_database_transactions": "transaction_id bigint,"
    " transaction_sequence_num bigint, commit_sequence_num bigint, is_snapshot bit, session_id int,"
    " first_snapshot_sequence_num bigint, max_version_chain_traversed int,"
    " average_version_chain_traversed float, elapsed_time_seconds bigint",
    "sys.dm_tran_persistent_version_store_stats": "database_id int!, pvs_filegroup_id smallint,"
    " persistent_version_store_size_kb bigint, online_index_version_store_size_kb bigint,"
    " current_aborted_transaction_count bigint, oldest_active_transaction_id bigint,"
    " oldest_aborted_transaction_id bigint",
    "sys.dm_db_session_space_usage": "session_id smallint!, database_id smallint!,"
    " user_objects_alloc_page_count bigint!, user_objects_dealloc_page_count bigint!,"
    " internal_objects_alloc_page_count bigint!, internal_objects_dealloc_page_count bigint!,"
    " user_objects_deferred_dealloc_page_count bigint!",
    "sys.dm_db_task_space_usage": "task_address varbinary(8)!, is_remote_task bit!,"
    " session_id smallint!, request_id int!, exec_context_id int!, database_id int!,"
    " user_objects_alloc_page_count bigint!, user_objects_dealloc_page_count bigint!,"
    " internal_objects_alloc_page_count bigint!, internal_objects_dealloc_page_count bigint!",
    "sys.dm_db_mirroring_connections": "connection_id uniqueidentifier,"
    " transport_stream_id uniqueidentifier, state smallint, state_desc nvarchar(60),"
    " connect_time datetime, login_time datetime, authentication_method nvarchar(128),"
    " principal_name nvarchar(128), remote_user_name nvarchar(128)",
    "sys.dm_db_mirroring_auto_page_repair": "database_id int!, file_id int!, page_id bigint!,"
    " error_type smallint!, page_status tinyint!, modification_time datetime!",
    "sys.dm_io_backup_tapes": "physical_device_name nvarchar(520)!, logical_device_name nvarchar(256),"
    " status int!, status_desc nvarchar(256)!, mount_request_time datetime,"
    " mount_expiration_time datetime, database_name nvarchar(256), spid int, command int,"
    " command_desc nvarchar(120), media_family_id int, media_set_name nvarchar(256),"
    " media_set_guid uniqueidentifier, media_sequence_number int, tape_operation int,"
    " tape_operation_desc nvarchar(256), mount_request_type int, mount_request_type_desc nvarchar(256)",
    "sys.dm_io_cluster_valid_path_names": "path_name nvarchar(512)!, cluster_owner_node nvarchar(60),"
    " is_cluster_shared_volume bit!",
    "sys.dm_clr_appdomains": "appdomain_address varbinary(8)!, appdomain_id int,"
    " appdomain_name varchar(386), creation_time datetime, db_id int, user_id int, state nvarchar(128),"
    " strong_refcount int, weak_refcount int, cost int, value int, total_processor_time_ms bigint,"
    " total_allocated_memory_kb bigint, survived_memory_kb bigint",
    "sys.dm_clr_properties": "name nvarchar(256)!, value nvarchar(256)!",
    "sys.dm_server_audit_status": "audit_id int!, name sysname!, status smallint!,"
    " status_desc nvarchar(256)!, status_time datetime2(7)!, event_session_address varbinary(8),"
    " audit_file_path nvarchar(260), audit_file_size bigint",
    "sys.dm_audit_actions": "action_id varchar(4), name nvarchar(128)!, class_desc nvarchar(35)!,"
    " covering_action_name nvarchar(128), parent_class_desc nvarchar(35),"
    " covering_parent_action_name nvarchar(128), configuration_level nvarchar(10),"
    " containing_group_name nvarchar(128), action_in_log bit!",
    "sys.dm_tcp_listener_states": "listener_id int!, ip_address nvarchar(48)!, is_ipv4 bit!, port int!,"
    " type smallint!, type_desc nvarchar(20)!, state smallint!, state_desc nvarchar(16)!,"
    " start_time datetime!",
    "sys.dm_resource_governor_configuration": "classifier_function_id int!,"
    " is_reconfiguration_pending bit!, max_outstanding_io_per_volume int!",
    "sys.dm_hadr_cluster_members": "member_name nvarchar(128)!, member_type tinyint,"
    " member_type_desc nvarchar(50), member_state tinyint, member_state_desc nvarchar(60),"
    " number_of_quorum_votes tinyint",
    "sys.dm_hadr_auto_page_repair": "database_id int!, file_id int!, page_id bigint!,"
    " error_type smallint!, page_status tinyint!, modification_time datetime!",
    "sys.dm_xe_packages": "name nvarchar(256)!, guid uniqueidentifier!, description nvarchar(3072),"
    " capabilities int, capabilities_desc nvarchar(256), module_guid uniqueidentifier!,"
    " module_address varbinary(8)!",
    "sys.dm_xe_objects": "name nvarchar(256)!, object_type nvarchar(256)!,"
    " package_guid uniqueidentifier!, description nvarchar(3072), capabilities int,"
    " capabilities_desc nvarchar(256), type_name nvarchar(60), type_package_guid uniqueidentifier,"
    " type_size int",
    "sys.dm_xe_object_columns": "name nvarchar(256)!, column_id int!, object_name nvarchar(256)!,"
    " object_package_guid uniqueidentifier!, type_name nvarchar(256)!,"
    " type_package_guid uniqueidentifier!, column_type nvarchar(256)!, column_value nvarchar(256),"
    " capabilities int, capabilities_desc nvarchar(256), description nvarchar(3072)",
    "sys.dm_xe_map_values": "name nvarchar(256)!, object_package_guid uniqueidentifier!, map_key int!,"
    " map_value nvarchar(3072)!",
    "sys.dm_xe_session_events": "event_session_address varbinary(8)!, event_name nvarchar(60)!,"
    " event_package_guid uniqueidentifier!, event_predicate nvarchar(3072)",
    "sys.dm_repl_traninfo": "fp2p_pub_exists tinyint, db_ver int, comp_range_address varbinary(8),"
    " textinfo_address varbinary(8), fsinfo_address varbinary(8), begin_lsn nvarchar(64),"
    " commit_lsn nvarchar(64), dbid smallint, rows int, xdesid nvarchar(64)",
    "sys.dm_cdc_errors": "session_id int!, phase_number int!, entry_time datetime!, error_number int!,"
    " error_severity int!, error_state int!, error_message nvarchar(1024)!, start_lsn nvarchar(23)!,"
    " begin_lsn nvarchar(23)!, sequence_value nvarchar(23)!",
    "sys.dm_fts_index_population": "database_id int!, catalog_id int, table_id int,"
    " memory_address varbinary(8)!, population_type int, population_type_description nvarchar(120),"
    " status int, status_description nvarchar(120), start_time datetime, completed_range_count int,"
    " range_count int",
    "sys.dm_broker_queue_monitors": "database_id int, queue_id int, state nvarchar(32),"
    " last_empty_rowset_time datetime, last_activated_time datetime, tasks_waiting int",
}
_CATALOG: Final = {
    "sys.server_trigger_events": "object_id int!, type int!, type_desc nvarchar(60)!, is_first bit,"
    " is_last bit, event_group_type int, event_group_type_desc nvarchar(60), is_trigger_event bit",
    "sys.server_event_session_events": "event_session_id int!, event_id int!, name sysname!,"
    " package sysname!, module sysname!, predicate nvarchar(3000), predicate_xml nvarchar(3000)",
    "sys.server_event_session_targets": "event_session_id int!, target_id int!, name sysname!,"
    " package sysname!, module sysname!",
    "sys.server_event_session_actions": "event_session_id int!, event_id int!, name sysname!,"
    " package sysname!, module sysname!",
    "sys.server_event_session_fields": "event_session_id int!, object_id int!, name sysname!,"
    " value sql_variant!",
    "sys.server_file_audits": "audit_id int!, name sysname!, audit_guid uniqueidentifier,"
    " create_date datetime!, modify_date datetime!, principal_id int, type char(2)!,"
    " type_desc nvarchar(60), on_failure tinyint, on_failure_desc nvarchar(60), is_state_enabled bit,"
    " queue_delay int, predicate nvarchar(3000), max_file_size bigint, max_rollover_files int,"
    " max_files int, reserve_disk_space bit, log_file_path nvarchar(260), log_file_name nvarchar(260)",
    "sys.tcp_endpoints": "name sysname!, endpoint_id int!, principal_id int, protocol tinyint!,"
    " protocol_desc nvarchar(60), type tinyint!, type_desc nvarchar(60), state tinyint,"
    " state_desc nvarchar(60), is_admin_endpoint bit!, port int!, is_dynamic_port bit!,"
    " ip_address nvarchar(45)",
    "sys.database_mirroring_witnesses": "database_name sysname!, principal_server_name sysname!,"
    " mirror_server_name sysname!, safety_level tinyint, safety_level_desc nvarchar(60)!,"
    " safety_sequence_number int!, role_sequence_number int!, mirroring_guid uniqueidentifier!,"
    " family_guid uniqueidentifier!, is_suspended bit, is_suspended_sequence_number int!,"
    " partner_sync_state tinyint, partner_sync_state_desc nvarchar(60)",
    "sys.remote_logins": "server_id int!, remote_name sysname, local_principal_id int, modify_date datetime!",
    "sys.openkeys": "database_id int, database_name sysname, key_id int, key_name sysname,"
    " key_guid uniqueidentifier, opened_date datetime, status smallint",
    "sys.master_key_passwords": "credential_id int!, family_guid uniqueidentifier",
    "sys.trace_events": "trace_event_id smallint!, category_id smallint!, name nvarchar(128)",
    "sys.trace_categories": "category_id smallint!, name nvarchar(128)!, type tinyint!",
    "sys.trace_columns": "trace_column_id smallint!, name nvarchar(128)!, type_name nvarchar(128),"
    " max_size int, is_filterable bit!, is_repeatable bit!, is_repeated_base bit!",
    "sys.trace_subclass_values": "trace_event_id smallint!, trace_column_id smallint!,"
    " subclass_name nvarchar(128), subclass_value smallint",
    "sys.query_store_query": "query_id bigint!, query_text_id bigint!, context_settings_id bigint!,"
    " object_id bigint, batch_sql_handle varbinary(64), query_hash binary(8)!, is_internal_query bit!,"
    " query_parameterization_type tinyint!, query_parameterization_type_desc nvarchar(60),"
    " initial_compile_start_time datetimeoffset!, last_compile_start_time datetimeoffset,"
    " last_execution_time datetimeoffset, count_compiles bigint, avg_compile_duration float",
    "sys.query_store_query_text": "query_text_id bigint!, query_sql_text nvarchar(max),"
    " statement_sql_handle varbinary(64), is_part_of_encrypted_module bit!, has_restricted_text bit!",
    "sys.query_store_plan": "plan_id bigint!, query_id bigint!, plan_group_id bigint,"
    " engine_version nvarchar(32), compatibility_level smallint!, query_plan_hash binary(8)!,"
    " query_plan nvarchar(max), is_online_index_plan bit!, is_trivial_plan bit!, is_parallel_plan bit!,"
    " is_forced_plan bit!, is_natively_compiled bit!, force_failure_count bigint!,"
    " last_force_failure_reason int!, last_force_failure_reason_desc nvarchar(128),"
    " count_compiles bigint, initial_compile_start_time datetimeoffset!,"
    " last_compile_start_time datetimeoffset, last_execution_time datetimeoffset",
    "sys.query_store_runtime_stats": "runtime_stats_id bigint!, plan_id bigint!,"
    " runtime_stats_interval_id bigint!, execution_type tinyint!, execution_type_desc nvarchar(128),"
    " first_execution_time datetimeoffset!, last_execution_time datetimeoffset!,"
    " count_executions bigint!, avg_duration float, last_duration bigint!, min_duration bigint!,"
    " max_duration bigint!, avg_cpu_time float, avg_logical_io_reads float, avg_rowcount float",
    "sys.query_store_runtime_stats_interval": "runtime_stats_interval_id bigint!,"
    " start_time datetimeoffset!, end_time datetimeoffset!, comment nvarchar(max)",
    "sys.query_store_wait_stats": "wait_stats_id bigint!, plan_id bigint!,"
    " runtime_stats_interval_id bigint!, wait_category smallint!, wait_category_desc nvarchar(128),"
    " execution_type tinyint!, total_query_wait_time_ms bigint!, avg_query_wait_time_ms float",
    "sys.query_context_settings": "context_settings_id bigint!, set_options varbinary(8),"
    " language_id smallint!, date_format smallint!, date_first tinyint!, status varbinary(2),"
    " default_schema_id int!",
    "sys.column_store_segments": "partition_id bigint!, hobt_id bigint, column_id int, segment_id int,"
    " version int, encoding_type int, row_count int, has_nulls int, base_id bigint, magnitude float,"
    " primary_dictionary_id int, secondary_dictionary_id int, min_data_id bigint, max_data_id bigint,"
    " null_value bigint, on_disk_size bigint",
    "sys.column_store_dictionaries": "partition_id bigint!, hobt_id bigint, column_id int,"
    " dictionary_id int, version int, type int, last_id int, entry_count bigint, on_disk_size bigint",
    "sys.extended_procedures": "name sysname!, object_id int!, principal_id int, schema_id int!,"
    " parent_object_id int!, type char(2)!, type_desc nvarchar(60), create_date datetime!,"
    " modify_date datetime!, is_ms_shipped bit!, is_published bit!, is_schema_published bit!,"
    " dll_name nvarchar(260)",
}

VIEWS: Final[tuple[View, ...]] = tuple(
    view(name, columns) for group in (_SYSTEM, _CATALOG) for name, columns in group.items()
)

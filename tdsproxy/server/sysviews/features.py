"""The catalog views of features that this server does not have: no row, but all their columns.

Management Studio's library joins them in what it asks of a table, a procedure or a database; the columns
are those of SQL Server 2022's documentation.
"""

from __future__ import annotations

from typing import Final

from tdsproxy.server.sysviews.model import View, view
from tdsproxy.server.sysviews.objects import INDEX_COLUMNS, OBJECT_COLUMNS

_PRINCIPAL: Final = "principal_id int"

_EXTERNAL: Final = {
    "sys.external_tables": f"{OBJECT_COLUMNS}, max_column_id_used int!, uses_ansi_nulls bit,"
    " data_source_id int!, file_format_id int, location nvarchar(4000), reject_type nvarchar(20),"
    " reject_value float, reject_sample_value float, distribution_type tinyint,"
    " distribution_desc nvarchar(120), sharding_col_id int, remote_schema_name sysname,"
    " remote_object_name sysname, rejected_row_location nvarchar(4000), table_options nvarchar(4000)",
    "sys.external_data_sources": "data_source_id int!, name sysname!, location nvarchar(4000)!,"
    " type_desc nvarchar(255), type tinyint!, resource_manager_location nvarchar(4000),"
    " credential_id int!, database_name sysname, shard_map_name sysname, connection_options nvarchar(4000),"
    " pushdown nvarchar(256)!",
    "sys.external_file_formats": "file_format_id int!, name sysname!, format_type nvarchar(100)!,"
    " field_terminator nvarchar(10), string_delimiter nvarchar(10), date_format nvarchar(50),"
    " use_type_default bit!, serde_method nvarchar(255), row_terminator nvarchar(10), encoding nvarchar(10),"
    " data_compression nvarchar(255), first_row int",
    "sys.external_libraries": f"external_library_id int!, name sysname!, {_PRINCIPAL}, language sysname,"
    " scope int!, scope_desc nvarchar(60)",
    "sys.external_languages": f"external_language_id int!, language sysname!, create_date datetime!,"
    f" {_PRINCIPAL}",
    "sys.external_streams": f"{OBJECT_COLUMNS}, data_source_id int, file_format_id int,"
    " location nvarchar(4000), input_options nvarchar(4000), output_options nvarchar(4000)",
    "sys.database_scoped_credentials": f"credential_id int!, name sysname!, {_PRINCIPAL},"
    " credential_identity nvarchar(4000), create_date datetime!, modify_date datetime!,"
    " target_type nvarchar(100), target_id int",
    "sys.remote_data_archive_databases": "remote_database_id int!, remote_database_name sysname!,"
    " data_source_id int!, federated_service_account bit!",
    "sys.remote_data_archive_tables": "object_id int!, remote_database_id int!,"
    " remote_table_name nvarchar(128), filter_predicate nvarchar(max), migration_direction tinyint,"
    " migration_direction_desc nvarchar(60), is_migration_paused bit, is_reconciled bit",
}

_FILES_AND_ASSEMBLIES: Final = {
    "sys.filetables": "object_id int!, is_enabled bit!, directory_name nvarchar(255),"
    " filename_collation_id int!, filename_collation_name sysname",
    "sys.filetable_system_defined_objects": "object_id int!, parent_object_id int!",
    "sys.assembly_modules": "object_id int!, assembly_id int!, assembly_class sysname,"
    " assembly_method sysname, null_on_null_input bit, execute_as_principal_id int",
    "sys.server_assembly_modules": "object_id int!, assembly_id int!, assembly_class sysname,"
    " assembly_method sysname, execute_as_principal_id int",
    "sys.assembly_files": "assembly_id int!, name nvarchar(260), file_id int!, content varbinary(max)",
    "sys.assembly_references": "assembly_id int!, referenced_assembly_id int!",
    "sys.assembly_types": f"name sysname!, system_type_id tinyint!, user_type_id int!, schema_id int!,"
    f" {_PRINCIPAL}, max_length smallint!, precision tinyint!, scale tinyint!, collation_name sysname,"
    " is_nullable bit, is_user_defined bit!, is_assembly_type bit!, default_object_id int!,"
    " rule_object_id int!, assembly_id int!, assembly_class sysname, is_binary_ordered bit,"
    " is_fixed_length bit, prog_id nvarchar(40), assembly_qualified_name nvarchar(4000), is_table_type bit!",
    "sys.server_sql_modules": "object_id int!, definition nvarchar(max), uses_ansi_nulls bit,"
    " uses_quoted_identifier bit, execute_as_principal_id int",
    "sys.numbered_procedure_parameters": "object_id int!, procedure_number smallint, name sysname,"
    " parameter_id int!, system_type_id tinyint!, user_type_id int!, max_length smallint!,"
    " precision tinyint!, scale tinyint!, is_output bit!, is_cursor_ref bit!",
    "sys.type_assembly_usages": "user_type_id int!, assembly_id int!",
}

_TEXT_AND_PLACES: Final = {
    "sys.fulltext_stoplists": f"stoplist_id int!, name sysname!, create_date datetime!,"
    f" modify_date datetime!, {_PRINCIPAL}",
    "sys.fulltext_stopwords": "stoplist_id int!, stopword nvarchar(64), language sysname, language_id int",
    "sys.fulltext_indexes": "object_id int!, unique_index_id int!, fulltext_catalog_id int, is_enabled bit!,"
    " change_tracking_state char(1), change_tracking_state_desc nvarchar(60), has_crawl_completed bit!,"
    " crawl_type char(1)!, crawl_type_desc nvarchar(60), crawl_start_date datetime,"
    " crawl_end_date datetime, incremental_timestamp binary(8), stoplist_id int, data_space_id int!,"
    " property_list_id int",
    "sys.fulltext_index_columns": "object_id int!, column_id int!, type_column_id int, language_id int!,"
    " statistical_semantics int!",
    "sys.fulltext_index_catalog_usages": "object_id int!, index_id int, fulltext_catalog_id int",
    "sys.fulltext_document_types": "document_type nvarchar(128)!, class_id uniqueidentifier!,"
    " path nvarchar(260), version sysname, manufacturer sysname",
    "sys.registered_search_property_lists": f"property_list_id int!, name sysname!, create_date datetime!,"
    f" modify_date datetime!, {_PRINCIPAL}",
    "sys.registered_search_properties": "property_list_id int!, property_set_guid uniqueidentifier!,"
    " property_int_id int!, property_name nvarchar(64)!, property_description nvarchar(512),"
    " property_id int!",
    "sys.spatial_index_tessellations": "object_id int!, index_id int!, tessellation_scheme sysname,"
    " bounding_box_xmin float, bounding_box_ymin float, bounding_box_xmax float, bounding_box_ymax float,"
    " level_1_grid smallint, level_1_grid_desc nvarchar(60), level_2_grid smallint,"
    " level_2_grid_desc nvarchar(60), level_3_grid smallint, level_3_grid_desc nvarchar(60),"
    " level_4_grid smallint, level_4_grid_desc nvarchar(60), cells_per_object int",
    "sys.spatial_indexes": f"{INDEX_COLUMNS}, spatial_index_type tinyint!,"
    " spatial_index_type_desc nvarchar(60), tessellation_scheme sysname",
    "sys.spatial_reference_systems": "spatial_reference_id int, authority_name nvarchar(128),"
    " authorized_spatial_reference_id int, well_known_text nvarchar(4000), unit_of_measure nvarchar(128),"
    " unit_conversion_factor float",
    "sys.xml_schema_namespaces": "xml_collection_id int!, name nvarchar(4000), xml_namespace_id int!",
    "sys.selective_xml_index_paths": "object_id int, index_id int, path_id int, path nvarchar(4000),"
    " name sysname, path_type tinyint, path_type_desc sysname, xml_component_id int, is_xquery_type bit,"
    " type_name sysname, is_node bit, system_type_id tinyint, user_type_id tinyint, max_length smallint,"
    " precision tinyint, scale tinyint, collation_name sysname, is_singleton bit",
    "sys.selective_xml_index_namespaces": "object_id int, index_id int, is_default_uri bit,"
    " uri nvarchar(4000), prefix nvarchar(4000)",
    "sys.function_order_columns": "object_id int!, order_column_id int, column_id int!, is_descending bit",
    "sys.partition_parameters": "function_id int!, parameter_id int!, system_type_id tinyint!,"
    " max_length smallint!, precision tinyint!, scale tinyint!, collation_name sysname,"
    " user_type_id int!",
    "sys.edge_constraints": f"{OBJECT_COLUMNS}, is_disabled bit, is_not_trusted bit,"
    " is_system_named bit, delete_referential_action tinyint, delete_referential_action_desc nvarchar(60)",
    "sys.edge_constraint_clauses": "object_id int!, from_object_id int!, to_object_id int!,"
    " clause_number int!",
    "sys.masked_columns": "object_id int!, name sysname, column_id int!, system_type_id tinyint!,"
    " user_type_id int!, max_length smallint!, is_masked bit!, masking_function nvarchar(4000)",
    "sys.memory_optimized_tables_internal_attributes": "object_id int!, xtp_object_id bigint!, type int!,"
    " type_desc nvarchar(60)!, minor_id int!",
}

_INDEXES: Final = {
    "sys.xml_indexes": f"{INDEX_COLUMNS}, using_xml_index_id int, secondary_type char(1),"
    " secondary_type_desc nvarchar(60), xml_index_type tinyint, xml_index_type_description nvarchar(60),"
    " path_id int",
    "sys.hash_indexes": f"{INDEX_COLUMNS}, bucket_count int!",
    "sys.index_resumable_operations": "object_id int!, index_id int!, name sysname, sql_text nvarchar(max),"
    " last_max_dop_used smallint!, partition_number int, state tinyint!, state_desc nvarchar(60),"
    " start_time datetime!, last_pause_time datetime, total_execution_time int!,"
    " percent_complete float!, page_count bigint!",
}

_BROKER: Final = {
    "sys.services": f"name sysname!, service_id int!, {_PRINCIPAL}, service_queue_id int!",
    "sys.service_contracts": f"name sysname!, service_contract_id int!, {_PRINCIPAL}",
    "sys.service_message_types": f"name sysname!, message_type_id int!, {_PRINCIPAL}, validation char(2)!,"
    " validation_desc nvarchar(60), xml_collection_id int",
    "sys.service_contract_message_usages": "service_contract_id int!, message_type_id int!,"
    " is_sent_by_initiator bit!, is_sent_by_target bit!",
    "sys.service_contract_usages": "service_id int!, service_contract_id int!",
    "sys.service_queues": f"{OBJECT_COLUMNS}, max_readers smallint, activation_procedure nvarchar(776),"
    " execute_as_principal_id int, is_activation_enabled bit!, is_receive_enabled bit!,"
    " is_enqueue_enabled bit!, is_retention_enabled bit!, is_poison_message_handling_enabled bit",
    "sys.routes": f"name sysname!, route_id int!, {_PRINCIPAL}, remote_service_name nvarchar(256),"
    " broker_instance nvarchar(128), lifetime datetime, address nvarchar(256), mirror_address nvarchar(256)",
    "sys.remote_service_bindings": f"name sysname!, remote_service_binding_id int!, {_PRINCIPAL},"
    " remote_service_name nvarchar(256), service_contract_id int!, remote_principal_id int,"
    " is_anonymous_on bit!",
    "sys.conversation_priorities": "priority_id int!, name sysname!, service_contract_id int,"
    " local_service_id int, remote_service_name nvarchar(256), priority tinyint!",
    "sys.conversation_endpoints": "conversation_handle uniqueidentifier!,"
    " conversation_id uniqueidentifier!, is_initiator bit!, service_contract_id int!,"
    " conversation_group_id uniqueidentifier!, service_id int!, lifetime datetime!, state char(2)!,"
    " state_desc nvarchar(60), far_service nvarchar(256)!, far_broker_instance nvarchar(128),"
    " principal_id int!, far_principal_id int!",
    "sys.transmission_queue": "conversation_handle uniqueidentifier, to_service_name nvarchar(256),"
    " to_broker_instance nvarchar(128), from_service_name nvarchar(256),"
    " service_contract_name nvarchar(256), enqueue_time datetime, message_sequence_number bigint,"
    " message_type_name nvarchar(256), is_conversation_error bit, is_end_of_dialog bit,"
    " message_body varbinary(max), transmission_status nvarchar(4000), priority tinyint",
    "sys.event_notifications": "name sysname!, object_id int!, parent_class tinyint!,"
    " parent_class_desc nvarchar(60), parent_id int!, create_date datetime!, modify_date datetime!,"
    " service_name nvarchar(256), broker_instance nvarchar(128), creator_sid varbinary(85),"
    " principal_id int",
    "sys.server_event_notifications": "name sysname!, object_id int!, parent_class tinyint!,"
    " parent_class_desc nvarchar(60), parent_id int!, create_date datetime!, modify_date datetime!,"
    " service_name nvarchar(256), broker_instance nvarchar(128), creator_sid varbinary(85),"
    " principal_id int",
}

_SECURITY: Final = {
    "sys.column_master_keys": "name sysname!, column_master_key_id int!, create_date datetime!,"
    " modify_date datetime!, key_store_provider_name sysname, key_path nvarchar(4000),"
    " allow_enclave_computations bit!, signature varbinary(max)",
    "sys.column_encryption_keys": "name sysname!, column_encryption_key_id int!, create_date datetime!,"
    " modify_date datetime!",
    "sys.column_encryption_key_values": "column_encryption_key_id int!, column_master_key_id int!,"
    " encrypted_value varbinary(8000), encryption_algorithm_name sysname",
    "sys.security_policies": f"{OBJECT_COLUMNS}, is_enabled bit!, is_not_for_replication bit!,"
    " uses_database_collation bit, is_schema_bound bit!",
    "sys.security_predicates": "object_id int!, security_predicate_id int!, target_object_id int!,"
    " predicate_definition nvarchar(max), predicate_type int, predicate_type_desc nvarchar(60),"
    " operation int, operation_desc nvarchar(60)",
    "sys.sensitivity_classifications": "class int!, class_desc varchar(16)!, major_id int!, minor_id int!,"
    " label sysname, label_id sysname, information_type sysname, information_type_id sysname, rank int,"
    " rank_desc varchar(8)",
    "sys.cryptographic_providers": "provider_id int!, name sysname, guid uniqueidentifier,"
    " version nvarchar(24), dll_path nvarchar(512), is_enabled bit",
    "sys.server_audit_specification_details": "server_specification_id int!, audit_action_id char(4)!,"
    " audit_action_name nvarchar(128), class tinyint!, class_desc nvarchar(60), major_id int!,"
    " minor_id int!, audited_principal_id int!, audited_result nvarchar(60), is_group bit",
    "sys.database_audit_specification_details": "database_specification_id int!, audit_action_id char(4)!,"
    " audit_action_name nvarchar(128), class tinyint!, class_desc nvarchar(60), major_id int!,"
    " minor_id int!, audited_principal_id int!, audited_result nvarchar(60), is_group bit",
    "sys.crypt_properties": "class tinyint!, class_desc nvarchar(60), major_id int!,"
    " thumbprint varbinary(32)!, crypt_type char(4)!, crypt_type_desc nvarchar(60),"
    " crypt_property varbinary(max)!",
    "sys.trusted_assemblies": "hash varbinary(8000)!, description nvarchar(4000), create_date datetime2(7)!,"
    " created_by nvarchar(128)!",
}

VIEWS: Final[tuple[View, ...]] = tuple(
    view(name, columns)
    for group in (_EXTERNAL, _FILES_AND_ASSEMBLIES, _TEXT_AND_PLACES, _INDEXES, _BROKER, _SECURITY)
    for name, columns in group.items()
)

"""Server-wide views: configurations, servers, languages, and those that are empty here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.catalog.configurations import CONFIGURATIONS
from tdsproxy.catalog.devices import TYPE_WORDS
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.tsql import types as t
from tdsproxy.tsql.languages import LANGUAGES
from tdsproxy.tsql.values import Variant


def _configurations(scope: Scope) -> Iterator[Row]:
    configured, in_use = scope.configurations.all_configured(), scope.configurations.all_in_use()
    for item in CONFIGURATIONS:
        yield {
            "configuration_id": item.id,
            "name": item.name,
            "value": Variant(t.INT, configured[item.id]),
            "minimum": Variant(t.INT, item.minimum),
            "maximum": Variant(t.INT, item.maximum),
            "value_in_use": Variant(t.INT, in_use[item.id]),
            "description": item.description,
            "is_dynamic": int(item.dynamic),
            "is_advanced": int(item.advanced),
        }


def _servers(scope: Scope) -> Iterator[Row]:
    yield {
        "server_id": 0,
        "name": scope.identity.name,
        "product": "SQL Server",
        "provider": "MSOLEDBSQL",
        "data_source": scope.identity.name,
        "is_linked": 0,
        "is_remote_login_enabled": 1,
        "modify_date": scope.started,
    }


def _backup_devices(scope: Scope) -> Iterator[Row]:
    for device in scope.devices:
        yield {
            "name": device.name,
            "type": device.type,
            "type_desc": TYPE_WORDS[device.type],
            "physical_name": device.physical_name,
        }


def _fixed_drives(scope: Scope) -> Iterator[Row]:
    for _, free in scope.look("xp_fixeddrives"):
        yield {
            "fixed_drive_path": "/",
            "drive_type": 3,
            "drive_type_desc": "DRIVE_FIXED",
            "free_space_in_bytes": int(str(free)) * 2**20,
        }


def _languages(scope: Scope) -> Iterator[Row]:
    for language in LANGUAGES:
        yield {
            "langid": language.id,
            "dateformat": language.date_format,
            "datefirst": language.date_first,
            "upgrade": 0,
            "name": language.name,
            "alias": language.alias,
            "months": ",".join(language.months),
            "shortmonths": ",".join(language.short_months),
            "days": ",".join(language.days),
            "lcid": language.lcid,
            "msglangid": language.lcid,
        }


def _scoped_configurations(scope: Scope) -> Iterator[Row]:
    for id_, name, value in (
        (1, "MAXDOP", 0),
        (2, "LEGACY_CARDINALITY_ESTIMATION", 0),
        (3, "PARAMETER_SNIFFING", 1),
        (4, "QUERY_OPTIMIZER_HOTFIXES", 0),
    ):
        yield {
            "configuration_id": id_,
            "name": name,
            "value": Variant(t.INT, value),
            "is_value_default": 1,
        }


def _values_table(scope: Scope) -> Iterator[Row]:
    """master.dbo.spt_values, as far as tools read it: the page size, and the numbers of type P."""
    yield {"name": "Page size", "number": 1, "type": "E  ", "low": 8192, "status": 0}
    for number in range(2048):
        yield {
            "number": number,
            "type": "P  ",
            "low": number // 8 + 1,
            "high": 1 << (number % 8),
            "status": 0,
        }


def _database_locks(scope: Scope) -> Iterator[Row]:
    """Each session holds a shared lock on its current database; the seat of a SINGLE_USER one is another."""
    held = {(session.spid, session.database_id) for session in scope.sessions()}
    held |= {(facts.holder, facts.id) for facts in scope.databases() if facts.holder is not None}
    for spid, database_id in sorted(held):
        if database_id != 1:
            yield {
                "resource_type": "DATABASE",
                "resource_database_id": database_id,
                "request_mode": "S",
                "request_type": "LOCK",
                "request_status": "GRANT",
                "request_session_id": spid,
                "request_owner_type": "SHARED_TRANSACTION_WORKSPACE",
            }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.configurations",
        "configuration_id int!, name nvarchar(35)!, value sql_variant, minimum sql_variant,"
        " maximum sql_variant,"
        "value_in_use sql_variant, description nvarchar(255)!, is_dynamic bit!, is_advanced bit!",
        _configurations,
    ),
    view(
        "sys.servers",
        "server_id int!, name sysname!, product sysname!, provider sysname!, data_source nvarchar(4000),"
        "location nvarchar(4000), provider_string nvarchar(4000), catalog sysname, connect_timeout int,"
        "query_timeout int, is_linked bit!, is_remote_login_enabled bit!, is_rpc_out_enabled bit!,"
        "is_data_access_enabled bit!, is_collation_compatible bit!, uses_remote_collation bit!,"
        "collation_name sysname, lazy_schema_validation bit!, is_system bit!, is_publisher bit!,"
        "is_subscriber bit, is_distributor bit, is_nonsql_subscriber bit, modify_date datetime!",
        _servers,
    ),
    view(
        "sys.syslanguages",
        "langid smallint!, dateformat nchar(3)!, datefirst tinyint!, upgrade int,"
        " name sysname!, alias sysname,"
        "months nvarchar(372), shortmonths nvarchar(132), days nvarchar(217), lcid int!, msglangid smallint!",
        _languages,
    ),
    view(
        "sys.fulltext_languages",
        "lcid int!, name sysname!",
        lambda scope: ({"lcid": 1033, "name": "English"},),
    ),
    view(
        "sys.database_scoped_configurations",
        "configuration_id int!, name nvarchar(60)!, value sql_variant, value_for_secondary sql_variant,"
        "is_value_default bit",
        _scoped_configurations,
    ),
    view(
        "sys.backup_devices",
        "name sysname!, type tinyint, type_desc nvarchar(60), physical_name nvarchar(260)",
        _backup_devices,
    ),
    view(
        "sys.dm_os_enumerate_fixed_drives",
        "fixed_drive_path nvarchar(256)!, drive_type int, drive_type_desc nvarchar(256),"
        " free_space_in_bytes bigint",
        _fixed_drives,
    ),
    view(
        "sys.change_tracking_databases",
        "database_id int!, is_auto_cleanup_on tinyint, retention_period int, retention_period_units tinyint,"
        "retention_period_units_desc nvarchar(60), max_cleanup_version bigint",
    ),
    view(
        "sys.database_filestream_options",
        "database_id int!, non_transacted_access tinyint!, non_transacted_access_desc nvarchar(60)!,"
        "directory_name nvarchar(255)",
    ),
    view(
        "sys.availability_groups",
        "group_id uniqueidentifier!, name sysname, resource_id nvarchar(40), resource_group_id nvarchar(40),"
        "failure_condition_level int, health_check_timeout int, automated_backup_preference tinyint,"
        "automated_backup_preference_desc nvarchar(60), version smallint, basic_features bit,"
        "dtc_support bit, db_failover bit, is_distributed bit, cluster_type tinyint,"
        "cluster_type_desc nvarchar(60), required_synchronized_secondaries_to_commit int,"
        "sequence_number bigint, is_contained bit",
    ),
    view(
        "sys.availability_replicas",
        "replica_id uniqueidentifier, group_id uniqueidentifier, replica_metadata_id int,"
        "replica_server_name nvarchar(256), owner_sid varbinary(85), endpoint_url nvarchar(128),"
        "availability_mode tinyint, availability_mode_desc nvarchar(60), failover_mode tinyint,"
        "failover_mode_desc nvarchar(60), session_timeout int, primary_role_allow_connections tinyint,"
        "primary_role_allow_connections_desc nvarchar(60), secondary_role_allow_connections tinyint,"
        "secondary_role_allow_connections_desc nvarchar(60), create_date datetime, modify_date datetime,"
        "backup_priority int, read_only_routing_url nvarchar(256), seeding_mode tinyint,"
        "seeding_mode_desc nvarchar(60), read_write_routing_url nvarchar(256)",
    ),
    view(
        "sys.dm_hadr_cluster",
        "cluster_name nvarchar(256)!, quorum_type tinyint!, quorum_type_desc nvarchar(60)!,"
        "quorum_state tinyint!, quorum_state_desc nvarchar(60)!",
    ),
    view(
        "sys.dm_hadr_database_replica_states",
        "database_id int!, group_id uniqueidentifier!, replica_id uniqueidentifier!,"
        "group_database_id uniqueidentifier!, is_local bit, is_primary_replica bit,"
        "synchronization_state tinyint, synchronization_state_desc nvarchar(60), is_commit_participant bit,"
        "synchronization_health tinyint, synchronization_health_desc nvarchar(60), database_state tinyint,"
        "database_state_desc nvarchar(60), is_suspended bit, suspend_reason tinyint,"
        "suspend_reason_desc nvarchar(60), truncation_lsn numeric(25,0), recovery_lsn numeric(25,0),"
        "last_sent_lsn numeric(25,0), last_sent_time datetime, last_received_lsn numeric(25,0),"
        "last_received_time datetime, last_hardened_lsn numeric(25,0), last_hardened_time datetime,"
        "last_redone_lsn numeric(25,0), last_redone_time datetime, log_send_queue_size bigint,"
        "log_send_rate bigint, redo_queue_size bigint, redo_rate bigint, filestream_send_rate bigint,"
        "end_of_log_lsn numeric(25,0), last_commit_lsn numeric(25,0), last_commit_time datetime,"
        "low_water_mark_for_ghosts bigint, secondary_lag_seconds bigint, quorum_commit_lsn numeric(25,0),"
        "quorum_commit_time datetime",
    ),
    view(
        "sys.fulltext_catalogs",
        "fulltext_catalog_id int!, name sysname!, path nvarchar(260), is_default bit!,"
        "is_accent_sensitivity_on bit!, data_space_id int, file_id int, principal_id int, is_importing bit!",
    ),
    view(
        "sys.dm_tran_locks",
        "resource_type nvarchar(60)!, resource_subtype nvarchar(60)!, resource_database_id int!,"
        "resource_description nvarchar(256)!, resource_associated_entity_id bigint,"
        "resource_lock_partition int!, request_mode nvarchar(60)!, request_type nvarchar(60)!,"
        "request_status nvarchar(60)!, request_reference_count smallint!, request_lifetime int!,"
        "request_session_id int!, request_exec_context_id int!, request_request_id int!,"
        "request_owner_type nvarchar(60)!, request_owner_id bigint",
        _database_locks,
    ),
    view(
        "sys.xml_schema_collections",
        "xml_collection_id int!, schema_id int!, principal_id int, name sysname!, create_date datetime!,"
        " modify_date datetime!",
    ),
    view(
        "sys.periods",
        "name sysname!, period_type tinyint, period_type_desc nvarchar(60), object_id int!,"
        " start_column_id int!, end_column_id int!",
    ),
    view(
        "sys.assemblies",
        "name sysname!, principal_id int, assembly_id int!, clr_name nvarchar(4000), permission_set tinyint,"
        " permission_set_desc nvarchar(60), is_visible bit!, create_date datetime!, modify_date datetime!,"
        " is_user_defined bit",
    ),
    view(
        "dbo.spt_values",
        "name nvarchar(35), number int!, type nchar(3)!, low int, high int, status int",
        _values_table,
    ),
)

"""sys.databases, the files of databases, and what hangs on them (result-sets of SQL Server 2022)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import (
    RECOVERY_MODELS,
    STATES,
    USER_ACCESS,
    DatabaseFacts,
    Scope,
)
from tdsproxy.tsql.values import Value

_DATABASE_COLUMNS: Final = """
name sysname!, database_id int!, source_database_id int, owner_sid varbinary(85), create_date datetime!,
compatibility_level tinyint!, collation_name sysname, user_access tinyint, user_access_desc nvarchar(60),
is_read_only bit, is_auto_close_on bit!, is_auto_shrink_on bit, state tinyint, state_desc nvarchar(60),
is_in_standby bit, is_cleanly_shutdown bit, is_supplemental_logging_enabled bit,
snapshot_isolation_state tinyint, snapshot_isolation_state_desc nvarchar(60),
is_read_committed_snapshot_on bit, recovery_model tinyint, recovery_model_desc nvarchar(60),
page_verify_option tinyint, page_verify_option_desc nvarchar(60), is_auto_create_stats_on bit,
is_auto_create_stats_incremental_on bit, is_auto_update_stats_on bit, is_auto_update_stats_async_on bit,
is_ansi_null_default_on bit, is_ansi_nulls_on bit, is_ansi_padding_on bit, is_ansi_warnings_on bit,
is_arithabort_on bit, is_concat_null_yields_null_on bit, is_numeric_roundabort_on bit,
is_quoted_identifier_on bit, is_recursive_triggers_on bit, is_cursor_close_on_commit_on bit,
is_local_cursor_default bit, is_fulltext_enabled bit, is_trustworthy_on bit, is_db_chaining_on bit,
is_parameterization_forced bit, is_master_key_encrypted_by_server bit!, is_query_store_on bit,
is_published bit!, is_subscribed bit!, is_merge_published bit!, is_distributor bit!,
is_sync_with_backup bit!, service_broker_guid uniqueidentifier!, is_broker_enabled bit!,
log_reuse_wait tinyint, log_reuse_wait_desc nvarchar(60), is_date_correlation_on bit!, is_cdc_enabled bit!,
is_encrypted bit, is_honor_broker_priority_on bit, replica_id uniqueidentifier,
group_database_id uniqueidentifier, resource_pool_id int, default_language_lcid smallint,
default_language_name nvarchar(128), default_fulltext_language_lcid int,
default_fulltext_language_name nvarchar(128), is_nested_triggers_on bit, is_transform_noise_words_on bit,
two_digit_year_cutoff smallint, containment tinyint, containment_desc nvarchar(60),
target_recovery_time_in_seconds int, delayed_durability int, delayed_durability_desc nvarchar(60),
is_memory_optimized_elevate_to_snapshot_on bit, is_federation_member bit,
is_remote_data_archive_enabled bit, is_mixed_page_allocation_on bit,
is_temporal_history_retention_enabled bit, catalog_collation_type int!,
catalog_collation_type_desc nvarchar(60), physical_database_name nvarchar(128),
is_result_set_caching_on bit, is_accelerated_database_recovery_on bit, is_tempdb_spill_to_remote_store bit,
is_stale_page_detection_on bit, is_memory_optimized_enabled bit, is_data_retention_enabled bit,
is_ledger_on bit, is_change_feed_enabled bit
"""

_ON_BY_DEFAULT: Final = (
    "is_auto_create_stats_on",
    "is_auto_update_stats_on",
    "is_cleanly_shutdown",
    "is_temporal_history_retention_enabled",
    "is_memory_optimized_enabled",
)
_NEVER_NULL_WHILE_ONLINE: Final = tuple(
    word.split()[0]
    for word in _DATABASE_COLUMNS.replace("\n", " ").split(",")
    if word.split()[1].rstrip("!") == "bit"
    and word.split()[0] not in ("is_nested_triggers_on", "is_transform_noise_words_on")
)


def database_rows(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        yield database_row(facts)


def database_row(facts: DatabaseFacts) -> Row:
    """One row of sys.databases. What SQL Server keeps inside a database is NULL while that is not online."""
    row: dict[str, Value] = dict.fromkeys(_NEVER_NULL_WHILE_ONLINE, 0)
    row.update(dict.fromkeys(_ON_BY_DEFAULT, 1))
    row.update(
        name=facts.name,
        database_id=facts.id,
        source_database_id=facts.source_database_id,
        owner_sid=facts.owner_sid,
        create_date=facts.created,
        compatibility_level=facts.compatibility_level,
        collation_name=facts.collation if facts.online else None,
        user_access=USER_ACCESS[facts.user_access],
        user_access_desc=facts.user_access,
        is_read_only=int(facts.read_only),
        state=STATES[facts.state],
        state_desc=facts.state,
        is_in_standby=int(facts.standby),
        is_cleanly_shutdown=0,
        snapshot_isolation_state=1 if facts.name in ("master", "msdb") else 0,
        snapshot_isolation_state_desc="ON" if facts.name in ("master", "msdb") else "OFF",
        recovery_model=RECOVERY_MODELS[facts.recovery_model],
        recovery_model_desc=facts.recovery_model,
        page_verify_option=2,
        page_verify_option_desc="CHECKSUM",
        service_broker_guid=facts.broker_guid,
        is_db_chaining_on=int(facts.name in ("master", "tempdb", "msdb")),
        is_trustworthy_on=int(facts.name == "msdb"),
        is_broker_enabled=int(facts.name in ("tempdb", "msdb")),
        log_reuse_wait=2 if facts.log_backup_lsn is not None else 0,
        log_reuse_wait_desc="LOG_BACKUP" if facts.log_backup_lsn is not None else "NOTHING",
        containment=0,
        containment_desc="NONE",
        target_recovery_time_in_seconds=0 if facts.name in ("master", "tempdb") else 60,
        delayed_durability=0,
        delayed_durability_desc="DISABLED",
        catalog_collation_type=0,
        catalog_collation_type_desc="DATABASE_DEFAULT",
        physical_database_name=facts.name,
    )
    row.update({name: value for name, value in facts.options.items() if name in row})
    return row


_FILE_COLUMNS: Final = """
file_id int!, file_guid uniqueidentifier, type tinyint!, type_desc nvarchar(60), data_space_id int!,
name sysname, physical_name nvarchar(260), state tinyint, state_desc nvarchar(60), size int!, max_size int!,
growth int!, is_media_read_only bit!, is_read_only bit!, is_sparse bit!, is_percent_growth bit!,
is_name_reserved bit!, is_persistent_log_buffer bit!, create_lsn numeric(25,0), drop_lsn numeric(25,0),
read_only_lsn numeric(25,0), read_write_lsn numeric(25,0), differential_base_lsn numeric(25,0),
differential_base_guid uniqueidentifier, differential_base_time datetime, redo_start_lsn numeric(25,0),
redo_start_fork_guid uniqueidentifier, redo_target_lsn numeric(25,0), redo_target_fork_guid uniqueidentifier,
backup_lsn numeric(25,0)
"""

_UNLIMITED_LOG: Final = 268435456


def file_rows(facts: DatabaseFacts) -> Iterator[dict[str, Value]]:
    """The data and the log file of one database, as sys.master_files shows them."""
    percent = facts.name in ("master", "model", "msdb")
    growth = 10 if percent else 8192
    shown_state = "ONLINE" if facts.state == "EMERGENCY" else facts.state
    common: dict[str, Value] = {
        "database_id": facts.id,
        "state": STATES[shown_state],
        "state_desc": shown_state,
        "growth": growth,
        "is_percent_growth": int(percent),
    }
    yield common | {
        "file_id": 1,
        "file_guid": facts.data_file_guid,
        "type": 0,
        "type_desc": "ROWS",
        "data_space_id": 1,
        "name": facts.logical_name or facts.name,
        "physical_name": facts.data_file,
        "size": facts.pages,
        "max_size": -1,
        "differential_base_lsn": _lsn(facts.differential_base_lsn),
        "differential_base_guid": facts.differential_base_guid,
        "differential_base_time": facts.differential_base_time,
        "redo_start_lsn": _lsn(facts.redo_start_lsn),
        "redo_start_fork_guid": facts.redo_start_fork,
    }
    yield common | {
        "file_id": 2,
        "file_guid": facts.log_file_guid,
        "type": 1,
        "type_desc": "LOG",
        "data_space_id": 0,
        "name": facts.log_name or f"{facts.name}_log",
        "physical_name": facts.log_file,
        "size": facts.log_pages,
        "max_size": -1 if facts.name in ("master", "tempdb", "model") else _UNLIMITED_LOG,
    }


def _lsn(value: int | None) -> Value:
    return None if value is None else Decimal(value)


def _database_files(scope: Scope) -> Iterable[Row]:
    return file_rows(scope.database)


def _master_files(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        yield from file_rows(facts)


def _recovery_status(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        yield {
            "database_id": facts.id,
            "database_guid": facts.database_guid,
            "family_guid": facts.family_guid,
            "last_log_backup_lsn": _lsn(facts.log_backup_lsn),
            "recovery_fork_guid": facts.fork_guid,
            "first_recovery_fork_guid": facts.first_fork_guid,
            "fork_point_lsn": _lsn(facts.fork_point_lsn),
        }


def _mirroring(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        yield {"database_id": facts.id}


def _filegroups(scope: Scope) -> Iterator[Row]:
    yield {
        "name": "PRIMARY",
        "data_space_id": 1,
        "type": "FG",
        "type_desc": "ROWS_FILEGROUP",
        "is_default": 1,
        "is_system": 0,
        "is_read_only": 0,
        "is_autogrow_all_files": 0,
    }


def _sysdatabases(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        yield {
            "name": facts.name,
            "dbid": facts.id,
            "sid": facts.owner_sid,
            "mode": 0,
            "status": 65536 | (1024 if facts.read_only else 0) | (32 if facts.state == "RESTORING" else 0),
            "status2": 1090520064,
            "crdate": facts.created,
            "reserved": facts.created,
            "category": 0,
            "cmptlevel": facts.compatibility_level,
            "filename": facts.data_file,
            "version": 957,
        }


def _altfiles(scope: Scope) -> Iterator[Row]:
    for facts in scope.databases():
        for file in file_rows(facts):
            yield {
                "fileid": file["file_id"],
                "groupid": file["data_space_id"],
                "size": file["size"],
                "maxsize": file["max_size"],
                "growth": file["growth"],
                "status": 2 if file["file_id"] == 1 else 66,
                "perf": 0,
                "dbid": facts.id,
                "name": file["name"],
                "filename": file["physical_name"],
            }


def _sysfiles(scope: Scope) -> Iterator[Row]:
    for row in _altfiles(scope):
        if row["dbid"] == scope.database.id:
            yield row


_OLD_FILE_COLUMNS: Final = """
fileid smallint, groupid smallint, size int!, maxsize int!, growth int!, status int, perf int, {}
name sysname!, filename nvarchar(260)!
"""

VIEWS: Final[tuple[View, ...]] = (
    view("sys.databases", _DATABASE_COLUMNS, database_rows),
    view("sys.database_files", _FILE_COLUMNS, _database_files),
    view("sys.master_files", f"database_id int!, {_FILE_COLUMNS}, credential_id int", _master_files),
    view(
        "sys.database_recovery_status",
        "database_id int!, database_guid uniqueidentifier, family_guid uniqueidentifier,"
        "last_log_backup_lsn numeric(25,0), recovery_fork_guid uniqueidentifier,"
        "first_recovery_fork_guid uniqueidentifier, fork_point_lsn numeric(25,0)",
        _recovery_status,
    ),
    view(
        "sys.database_mirroring",
        "database_id int!, mirroring_guid uniqueidentifier, mirroring_state tinyint,"
        "mirroring_state_desc nvarchar(60), mirroring_role tinyint, mirroring_role_desc nvarchar(60),"
        "mirroring_role_sequence int, mirroring_safety_level tinyint,"
        " mirroring_safety_level_desc nvarchar(60),"
        "mirroring_safety_sequence int, mirroring_partner_name nvarchar(128),"
        "mirroring_partner_instance nvarchar(128), mirroring_witness_name nvarchar(128),"
        "mirroring_witness_state tinyint, mirroring_witness_state_desc nvarchar(60),"
        "mirroring_failover_lsn numeric(25,0), mirroring_connection_timeout int, mirroring_redo_queue int,"
        "mirroring_redo_queue_type nvarchar(60), mirroring_end_of_log_lsn numeric(25,0),"
        "mirroring_replication_lsn numeric(25,0)",
        _mirroring,
    ),
    view(
        "sys.filegroups",
        "name sysname!, data_space_id int!, type char(2)!, type_desc nvarchar(60), is_default bit,"
        "is_system bit, filegroup_guid uniqueidentifier, log_filegroup_id int, is_read_only bit,"
        "is_autogrow_all_files bit",
        _filegroups,
    ),
    view(
        "sys.data_spaces",
        "name sysname!, data_space_id int!, type char(2)!, type_desc nvarchar(60),"
        " is_default bit, is_system bit",
        _filegroups,
    ),
    view(
        "sys.sysdatabases",
        "name sysname!, dbid smallint, sid varbinary(85), mode smallint, status int, status2 int,"
        "crdate datetime!, reserved datetime, category int, cmptlevel tinyint!, filename nvarchar(260),"
        "version smallint",
        _sysdatabases,
    ),
    view("sys.sysaltfiles", _OLD_FILE_COLUMNS.format("dbid smallint,"), _altfiles),
    view("sys.sysfiles", _OLD_FILE_COLUMNS.format(""), _sysfiles),
)

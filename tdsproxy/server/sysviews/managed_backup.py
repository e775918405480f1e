"""What ``msdb.managed_backup``'s functions show of the settings of managed backup."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tdsproxy.server.sysviews.model import Row
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored, from_storage
from tdsproxy.tsql import types as t

DATABASE_COLUMNS: Final = (
    "db_name sysname!, db_guid uniqueidentifier, is_availability_database bit!, is_dropped bit!,"
    " credential_name sysname, retention_days int, is_managed_backup_enabled bit!,"
    " storage_url nvarchar(1024), Encryption_algorithm sysname, Encryptor_type nvarchar(32),"
    " Encryptor_name sysname"
)
INSTANCE_COLUMNS: Final = (
    "is_smart_backup_enabled bit!, credential_name sysname, retention_days int, storage_url nvarchar(1024),"
    " encryption_algorithm sysname, encryptor_type nvarchar(32), encryptor_name sysname"
)
SWITCH_COLUMNS: Final = "is_master_switch_on bit!"
BACKUP_COLUMNS: Final = (
    "Backup_path nvarchar(260), backup_type nvarchar(6), expiration_date datetime,"
    " database_guid uniqueidentifier, first_lsn numeric(25,0), last_lsn numeric(25,0),"
    " backup_start_date datetime, backup_finish_date datetime, machine_name nvarchar(128),"
    " last_recovery_fork_id uniqueidentifier, first_recovery_fork_id uniqueidentifier,"
    " fork_point_lsn numeric(25,0), availability_group_guid uniqueidentifier"
)
HEALTH_COLUMNS: Final = (
    "number_of_storage_connectivity_errors int, number_of_sql_errors int,"
    " number_of_invalid_credential_errors int, number_of_other_errors int,"
    " number_of_corrupted_or_deleted_backups int, number_of_backup_loops int, number_of_retention_loops int"
)
PARAMETER_COLUMNS: Final = "parameter_name nvarchar(128), parameter_value nvarchar(128)"
EVENT_COLUMNS: Final = "event_name nvarchar(128), is_configurable nvarchar(128), is_enabled nvarchar(128)"
_INSTANCE: Final = "*"


def _enabled(settings: dict[str, Any]) -> int:
    return int(bool(settings["enabled"]))


def database_config(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_backup_db_config: a database, or, for NULL or an empty name, all of them."""
    wanted = str(arguments[0] or "").lower()
    for name, _, text, guid in scope.look("sp_agent_managed"):
        shown = str(name)
        if shown in ("", _INSTANCE) or (wanted and shown.lower() != wanted):
            continue
        settings = json.loads(str(text))
        yield {
            "db_name": shown,
            "db_guid": guid,
            "is_dropped": int(guid is None),
            "is_managed_backup_enabled": _enabled(settings),
            "retention_days": settings["days"],
            "storage_url": settings["url"],
            "Encryption_algorithm": settings["algorithm"],
            "Encryptor_type": settings["encryptor_type"],
            "Encryptor_name": settings["encryptor"],
        }


def instance_config(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_backup_instance_config."""
    for name, _, text, _ in scope.look("sp_agent_managed"):
        if name == _INSTANCE:
            settings = json.loads(str(text))
            yield {
                "is_smart_backup_enabled": _enabled(settings),
                "retention_days": settings["days"],
                "storage_url": settings["url"],
                "encryption_algorithm": settings["algorithm"],
                "encryptor_type": settings["encryptor_type"],
                "encryptor_name": settings["encryptor"],
            }


def master_switch(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_is_master_switch_on."""
    for name, state, *_ in scope.look("sp_agent_managed"):
        if name == "":
            yield {"is_master_switch_on": int(str(state))}


def available_backups(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_available_backups."""
    names = [part.split()[0] for part in BACKUP_COLUMNS.split(", ")]
    for row in scope.look("sp_agent_managed_sets", str(arguments[0] or "")):
        yield dict(zip(names, row, strict=True))


def health_status(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_get_health_status: of the last half hour, when no time is given."""
    names = [part.split()[0] for part in HEALTH_COLUMNS.split(",")]
    moments = [from_storage(value, t.DATETIME) for value in arguments]
    for row in scope.look("sp_agent_managed_health", *moments):
        yield dict(zip(names, row, strict=True))


def parameters(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_get_parameter: one that was ever set, or, for NULL or an empty name, all of them."""
    wanted = str(arguments[0] or "").lower()
    for kind, name, value in scope.look("sp_agent_managed_flags"):
        if kind == "flag" and wanted in ("", str(name).lower()):
            yield {"parameter_name": name, "parameter_value": value}


def event_settings(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_get_current_xevent_settings."""
    for kind, name, words in scope.look("sp_agent_managed_flags"):
        if kind == "event":
            configurable, enabled = str(words).split()
            yield {"event_name": name, "is_configurable": configurable, "is_enabled": enabled}

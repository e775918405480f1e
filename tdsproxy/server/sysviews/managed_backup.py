"""What ``msdb.managed_backup``'s functions show of the settings of managed backup."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from tdsproxy.server.sysviews.model import Row
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.store.encoding import Stored

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
_INSTANCE: Final = "*"


def _enabled(settings: dict[str, Any]) -> int:
    return int(bool(settings["enabled"]))


def database_config(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_backup_db_config: a database, or, for NULL or an empty name, all of them."""
    wanted = str(arguments[0] or "").lower()
    for name, _, text in scope.look("sp_agent_managed"):
        shown = str(name)
        if shown in ("", _INSTANCE) or (wanted and shown.lower() != wanted):
            continue
        settings = json.loads(str(text))
        yield {
            "db_name": shown,
            "is_managed_backup_enabled": _enabled(settings),
            "retention_days": settings["days"],
            "storage_url": settings["url"],
            "Encryption_algorithm": settings["algorithm"],
            "Encryptor_type": settings["encryptor_type"],
            "Encryptor_name": settings["encryptor"],
        }


def instance_config(scope: Scope, arguments: Sequence[Stored]) -> Iterator[Row]:
    """fn_backup_instance_config."""
    for name, _, text in scope.look("sp_agent_managed"):
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
    for name, state, _ in scope.look("sp_agent_managed"):
        if name == "":
            yield {"is_master_switch_on": int(str(state))}

"""Procedures of parts that are not here, or not by these means: each says so as SQL Server does when the
part is off, so that no script takes what did not happen for done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_MONITOR_SERVER: Final = (
    "@monitor_server @monitor_server_security_mode @monitor_server_login @monitor_server_password"
)
_ALERT: Final = "@threshold_alert @threshold_alert_enabled @history_retention_period"
_LOG_SHIPPING: Final = {
    "sp_add_log_shipping_primary_database": (
        "@database @backup_directory @backup_share @backup_job_name @backup_retention_period"
        f" {_MONITOR_SERVER} @backup_threshold {_ALERT} @backup_job_id @primary_id @overwrite"
        " @ignoreremotemonitor @backup_compression @primary_server_with_port_override"
    ),
    "sp_add_log_shipping_primary_secondary": (
        "@primary_database @secondary_server @secondary_database @overwrite"
    ),
    "sp_add_log_shipping_secondary_primary": (
        "@primary_server @primary_database @backup_source_directory @backup_destination_directory"
        f" @copy_job_name @restore_job_name @file_retention_period {_MONITOR_SERVER} @copy_job_id"
        " @restore_job_id @secondary_id @overwrite @ignoreremotemonitor"
    ),
    "sp_add_log_shipping_secondary_database": (
        "@secondary_database @primary_server @primary_database @restore_delay @restore_all @restore_mode"
        f" @disconnect_users @block_size @buffer_count @max_transfer_size @restore_threshold {_ALERT}"
        " @overwrite @ignoreremotemonitor"
    ),
    "sp_add_log_shipping_alert_job": "@alert_job_id",
    "sp_delete_log_shipping_alert_job": "",
    "sp_delete_log_shipping_primary_database": "@database @ignoreremotemonitor",
    "sp_delete_log_shipping_primary_secondary": "@primary_database @secondary_server @secondary_database",
    "sp_delete_log_shipping_secondary_primary": "@primary_server @primary_database",
    "sp_delete_log_shipping_secondary_database": "@secondary_database @ignoreremotemonitor",
}


def mail_is_off(procedure: str) -> SqlError:
    """15281 of a procedure that sends mail."""
    return SqlError.of(
        15281,
        16,
        1,
        f"SQL Server blocked access to procedure 'dbo.{procedure}' of component 'Database Mail XPs' because"
        " this component is turned off as part of the security configuration for this server. A system"
        " administrator can enable the use of 'Database Mail XPs' by using sp_configure. For more information"
        " about enabling 'Database Mail XPs', search for 'Database Mail XPs' in SQL Server Books Online.",
    )


def _log_shipping(name: str, parameters: str) -> SystemProcedure:
    """Log shipping by jobs is not here (a standby follows by other means): as an edition without it says."""

    def refuse(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
        Parameters(name, parameters, arguments)
        yield from ()
        raise SqlError.of(
            32017,
            16,
            1,
            "Log shipping is supported on Enterprise, Developer and Standard editions of SQL Server. This"
            " instance has tdsproxy and is not supported.",
        )

    return refuse


def _monitor(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """sp_help_log_shipping_monitor: nothing is shipped."""
    Parameters("sp_help_log_shipping_monitor", "@verbose", arguments)
    yield from result(
        "status bit, is_primary bit!, server sysname!, database_name sysname!, time_since_last_backup int,"
        "last_backup_file nvarchar(500), backup_threshold int, is_backup_alert_enabled bit,"
        "time_since_last_copy int, last_copied_file nvarchar(500), time_since_last_restore int,"
        "last_restored_file nvarchar(500), last_restored_latency int, restore_threshold int,"
        "is_restore_alert_enabled bit",
        [],
    )
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    **{name: _log_shipping(name, parameters) for name, parameters in _LOG_SHIPPING.items()},
    "sp_help_log_shipping_monitor": _monitor,
}
"""By lower-case name."""

"""msdb's tables that scripts look into and that are always empty here: alerts, proxies, log shipping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, parse_columns, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.tsql import types as t
from tdsproxy.tsql.values import Variant


def _jobs(scope: Scope) -> Iterator[Row]:
    """The jobs, with the server that they are from: this one."""
    columns = [column.name for column in parse_columns(_JOBS)]
    for job in scope.look("sp_agent_sysjobs"):
        row = dict(zip(columns, job, strict=True))
        yield {**row, "originating_server": scope.identity.name, "master_server": 0}


def _policies(scope: Scope) -> Iterator[Row]:
    """Policy-based management is off."""
    del scope
    for name, value in (("Enabled", 0), ("HistoryRetentionInDays", 0), ("LogOnSuccess", 0)):
        yield {"name": name, "current_value": Variant(t.INT, value)}


_JOBS: Final = """
job_id uniqueidentifier, originating_server_id int!, name sysname!, enabled tinyint!,
description nvarchar(512), start_step_id int!, category_id int!, owner_sid varbinary(85)!,
notify_level_eventlog int!, notify_level_email int!, notify_level_netsend int!, notify_level_page int!,
notify_email_operator_id int!, notify_netsend_operator_id int!, notify_page_operator_id int!,
delete_level int!, date_created datetime, date_modified datetime, version_number int!
"""
_MONITOR: Final = """
history_retention_period int!, threshold_alert int!, threshold_alert_enabled bit!
"""

VIEWS: Final[dict[str, View]] = {
    item.name.lower(): item
    for item in (
        view("dbo.syspolicy_configuration", "name sysname!, current_value sql_variant", _policies),
        view(
            "dbo.syspolicy_system_health_state",
            "health_state_id bigint!, policy_id int!, last_run_date datetime!,"
            " target_query_expression_with_id nvarchar(400)!, target_query_expression nvarchar(max)!,"
            " result bit!",
        ),
        view("dbo.sysjobs_view", f"{_JOBS}, originating_server sysname, master_server bit", _jobs),
        view(
            "dbo.sysalerts",
            "id int!, name sysname!, event_source nvarchar(100)!, event_category_id int, event_id int,"
            " message_id int!, severity int!, enabled tinyint!, delay_between_responses int!,"
            " last_occurrence_date int!, database_name nvarchar(512),"
            " event_description_keyword nvarchar(100), occurrence_count int!,"
            " has_notification int!, job_id uniqueidentifier, category_id int!",
        ),
        view("dbo.sysproxies", "proxy_id int!, name sysname!, credential_id int!, enabled tinyint!"),
        view(
            "dbo.sysmaintplan_plans",
            "id uniqueidentifier!, name sysname!, create_date datetime!, owner nvarchar(256),"
            " description nvarchar(1024)",
        ),
        view(
            "dbo.sysmaintplan_subplans",
            "subplan_id uniqueidentifier!, subplan_name sysname!, subplan_description nvarchar(512),"
            " plan_id uniqueidentifier!, job_id uniqueidentifier!, schedule_id int",
        ),
        view(
            "dbo.sysmaintplan_log",
            "task_detail_id uniqueidentifier!, plan_id uniqueidentifier, subplan_id uniqueidentifier,"
            " start_time datetime!, end_time datetime, succeeded bit",
        ),
        view(
            "dbo.log_shipping_primary_databases",
            "primary_id uniqueidentifier!, primary_database sysname!, backup_directory nvarchar(500)!,"
            " backup_share nvarchar(500)!, backup_retention_period int!, backup_job_id uniqueidentifier!,"
            " monitor_server sysname!, user_specified_monitor bit, monitor_server_security_mode bit!,"
            " last_backup_file nvarchar(500), last_backup_date datetime, backup_compression tinyint!",
        ),
        view(
            "dbo.log_shipping_primary_secondaries",
            "primary_id uniqueidentifier!, secondary_server sysname!, secondary_database sysname!",
        ),
        view(
            "dbo.log_shipping_secondary",
            "secondary_id uniqueidentifier!, primary_server sysname!, primary_database sysname!,"
            " backup_source_directory nvarchar(500)!, backup_destination_directory nvarchar(500)!,"
            " file_retention_period int!, copy_job_id uniqueidentifier!, restore_job_id uniqueidentifier!,"
            " monitor_server sysname!, last_copied_file nvarchar(500), last_copied_date datetime",
        ),
        view(
            "dbo.log_shipping_secondary_databases",
            "secondary_database sysname!, secondary_id uniqueidentifier!, restore_delay int!,"
            " restore_all bit!, restore_mode bit!, disconnect_users bit!, last_restored_file nvarchar(500),"
            " last_restored_date datetime",
        ),
        view(
            "dbo.log_shipping_monitor_primary",
            "primary_id uniqueidentifier!, primary_server sysname!, primary_database sysname!,"
            " backup_threshold int!, last_backup_file nvarchar(500), last_backup_date datetime,"
            f" last_backup_date_utc datetime, {_MONITOR}",
        ),
        view(
            "dbo.log_shipping_monitor_secondary",
            "secondary_server sysname!, secondary_database sysname!, secondary_id uniqueidentifier!,"
            " primary_server sysname!, primary_database sysname!, restore_threshold int!,"
            " last_copied_file nvarchar(500), last_copied_date datetime, last_restored_file nvarchar(500),"
            f" last_restored_date datetime, last_restored_latency int, {_MONITOR}",
        ),
    )
}
"""The views by lower-case name."""

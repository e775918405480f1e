"""msdb's tables of jobs and log shipping that scripts look into: no Agent runs here, so they are empty."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.tsql import types as t
from tdsproxy.tsql.values import Variant

_CATEGORIES: Final = (
    (0, 1, "[Uncategorized (Local)]"),
    (1, 1, "Jobs from MSX"),
    (2, 2, "[Uncategorized (Multi-Server)]"),
    (3, 1, "Database Maintenance"),
    (4, 1, "Web Assistant"),
    (5, 1, "Full-Text"),
    (6, 1, "Log Shipping"),
)


def _categories(scope: Scope) -> Iterator[Row]:
    for number, kind, name in _CATEGORIES:
        yield {"category_id": number, "category_class": 1, "category_type": kind, "name": name}


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
        view("dbo.sysjobs", _JOBS),
        view("dbo.sysjobs_view", f"{_JOBS}, originating_server sysname, master_server bit"),
        view(
            "dbo.sysjobsteps",
            "job_id uniqueidentifier, step_id int!, step_name sysname!, subsystem nvarchar(40)!,"
            " command nvarchar(max), flags int!, additional_parameters nvarchar(max),"
            " cmdexec_success_code int!, on_success_action tinyint!, on_success_step_id int!,"
            " on_fail_action tinyint!, on_fail_step_id int!, server sysname, database_name sysname,"
            " database_user_name sysname, retry_attempts int!, retry_interval int!, os_run_priority int!,"
            " output_file_name nvarchar(200), last_run_outcome int!, last_run_duration int!,"
            " last_run_retries int!, last_run_date int!, last_run_time int!, proxy_id int,"
            " step_uid uniqueidentifier",
        ),
        view(
            "dbo.sysschedules",
            "schedule_id int!, schedule_uid uniqueidentifier, originating_server_id int!, name sysname!,"
            " owner_sid varbinary(85)!, enabled int!, freq_type int!, freq_interval int!,"
            " freq_subday_type int!, freq_subday_interval int!, freq_relative_interval int!,"
            " freq_recurrence_factor int!, active_start_date int!, active_end_date int!,"
            " active_start_time int!, active_end_time int!, date_created datetime, date_modified datetime,"
            " version_number int!",
        ),
        view(
            "dbo.sysjobschedules",
            "schedule_id int, job_id uniqueidentifier, next_run_date int!, next_run_time int!",
        ),
        view(
            "dbo.sysjobservers",
            "job_id uniqueidentifier, server_id int!, last_run_outcome tinyint!,"
            " last_outcome_message nvarchar(4000), last_run_date int!, last_run_time int!,"
            " last_run_duration int!",
        ),
        view(
            "dbo.sysjobhistory",
            "instance_id int!, job_id uniqueidentifier, step_id int!, step_name sysname!,"
            " sql_message_id int!, sql_severity int!, message nvarchar(4000), run_status int!, run_date int!,"
            " run_time int!, run_duration int!, operator_id_emailed int!, operator_id_netsent int!,"
            " operator_id_paged int!, retries_attempted int!, server sysname!",
        ),
        view(
            "dbo.sysjobactivity",
            "session_id int!, job_id uniqueidentifier, run_requested_date datetime,"
            " run_requested_source sysname, queued_date datetime, start_execution_date datetime,"
            " last_executed_step_id int, last_executed_step_date datetime, stop_execution_date datetime,"
            " job_history_id int, next_scheduled_run_date datetime",
        ),
        view("dbo.syssessions", "session_id int!, agent_start_date datetime!"),
        view(
            "dbo.syscategories",
            "category_id int!, category_class int!, category_type tinyint!, name sysname!",
            _categories,
        ),
        view(
            "dbo.sysoperators",
            "id int!, name sysname!, enabled tinyint!, email_address nvarchar(100),"
            " last_email_date int!, last_email_time int!, pager_address nvarchar(100), last_pager_date int!,"
            " last_pager_time int!, weekday_pager_start_time int!, weekday_pager_end_time int!,"
            " pager_days tinyint!, netsend_address nvarchar(100), category_id int!",
        ),
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

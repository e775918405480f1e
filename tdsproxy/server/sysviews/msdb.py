"""msdb's tables that scripts look into and that are always empty here: proxies, log shipping."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.sysviews import mail
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


def _schedules(scope: Scope) -> Iterator[Row]:
    """The schedules that the caller may see."""
    columns = [column.name for column in parse_columns(_SCHEDULES)]
    for schedule in scope.look("sp_agent_sysschedules"):
        row = dict(zip(columns, schedule, strict=True))
        yield {**row, "originating_server": scope.identity.name, "master_server": 0}


def _originating(scope: Scope) -> Iterator[Row]:
    """The one server."""
    yield {"originating_server_id": 0, "originating_server": scope.identity.name, "master_server": 0}


def _subsystems(scope: Scope) -> Iterator[Row]:
    """What steps of jobs are run by."""
    del scope
    points = ("subsystem_dll", "agent_exe", "start_entry_point", "event_entry_point", "stop_entry_point")
    yield {
        "subsystem_id": 1,
        "subsystem": "TSQL",
        "description_id": 14556,
        **dict.fromkeys(points, "[Internal]"),
        "max_worker_threads": 20,
    }


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
_SCHEDULES: Final = """
schedule_id int!, schedule_uid uniqueidentifier!, originating_server_id int!, name sysname!,
owner_sid varbinary(85)!, enabled int!, freq_type int!, freq_interval int!, freq_subday_type int!,
freq_subday_interval int!, freq_relative_interval int!, freq_recurrence_factor int!, active_start_date int!,
active_end_date int!, active_start_time int!, active_end_time int!, date_created datetime!,
date_modified datetime!, version_number int!
"""
_MONITOR: Final = """
history_retention_period int!, threshold_alert int!, threshold_alert_enabled bit!
"""
_MONITORED: Final = "agent_id uniqueidentifier!, agent_type tinyint!"

VIEWS: Final[dict[str, View]] = {
    item.name.lower(): item
    for item in (
        *mail.VIEWS,
        view("dbo.syspolicy_configuration", "name sysname!, current_value sql_variant", _policies),
        view(
            "dbo.syspolicy_system_health_state",
            "health_state_id bigint!, policy_id int!, last_run_date datetime!,"
            " target_query_expression_with_id nvarchar(400)!, target_query_expression nvarchar(max)!,"
            " result bit!",
        ),
        view(
            "dbo.sysdac_instances",
            "instance_id uniqueidentifier!, instance_name sysname!, type_name sysname!,"
            " type_version nvarchar(64)!, description nvarchar(4000), type_stream varbinary(max),"
            " date_created datetime!, created_by sysname!, database_name sysname!",
        ),
        view("dbo.sysjobs_view", f"{_JOBS}, originating_server sysname, master_server bit", _jobs),
        view(
            "dbo.sysproxies",
            "proxy_id int!, name sysname!, credential_id int!, enabled tinyint!,"
            " description nvarchar(512), user_sid varbinary(85)!, credential_date_created datetime!",
        ),
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
        view(
            "dbo.log_shipping_monitor_history_detail",
            f"{_MONITORED}, session_id int!, database_name sysname, session_status tinyint!,"
            " log_time datetime!, log_time_utc datetime!, message nvarchar(4000)!",
        ),
        view(
            "dbo.log_shipping_monitor_error_detail",
            f"{_MONITORED}, session_id int!, database_name sysname, sequence_number int!, log_time datetime!,"
            " log_time_utc datetime!, message nvarchar(4000)!, source nvarchar(4000)!,"
            " help_url nvarchar(4000)!",
        ),
        view("dbo.log_shipping_monitor_alert", "alert_job_id uniqueidentifier!"),
        view(
            "dbo.log_shipping_primaries",
            "primary_id int!, primary_server_name sysname!, primary_database_name sysname!,"
            " maintenance_plan_id uniqueidentifier, backup_threshold int!, threshold_alert int!,"
            " threshold_alert_enabled bit!, last_backup_filename nvarchar(500), last_updated datetime,"
            " planned_outage_start_time int!, planned_outage_end_time int!, planned_outage_weekday_mask int!,"
            " source_directory nvarchar(500)",
        ),
        view(
            "dbo.log_shipping_secondaries",
            "primary_id int, secondary_server_name sysname, secondary_database_name sysname,"
            " last_copied_filename nvarchar(500), last_loaded_filename nvarchar(500),"
            " last_copied_last_updated"
            " datetime, last_loaded_last_updated datetime, secondary_plan_id uniqueidentifier,"
            " copy_enabled bit, load_enabled bit, out_of_sync_threshold int, threshold_alert int,"
            " threshold_alert_enabled bit",
        ),
        view(
            "dbo.sysmaintplan_logdetail",
            "task_detail_id uniqueidentifier!, line1 nvarchar(256)!, line2 nvarchar(256),"
            " line3 nvarchar(256), line4 nvarchar(256), line5 nvarchar(256), server_name sysname!,"
            " start_time datetime, end_time datetime, error_number int, error_message nvarchar(max),"
            " command nvarchar(max), succeeded bit",
        ),
        view(
            "dbo.sysdbmaintplans",
            "plan_id uniqueidentifier!, plan_name sysname!, date_created datetime!, owner sysname!,"
            " max_history_rows int!, remote_history_server sysname!, max_remote_history_rows int!,"
            " user_defined_1 int, user_defined_2 nvarchar(100), user_defined_3 datetime,"
            " user_defined_4 uniqueidentifier, log_shipping bit",
        ),
        view(
            "dbo.sysdbmaintplan_history",
            "sequence_id int!, plan_id uniqueidentifier!, plan_name sysname!, database_name sysname,"
            " server_name sysname!, activity nvarchar(128)!, succeeded bit!, end_time datetime!,"
            " duration int,"
            " start_time datetime, error_number int!, message nvarchar(512)!",
        ),
        view("dbo.sysdbmaintplan_jobs", "plan_id uniqueidentifier!, job_id uniqueidentifier!"),
        view("dbo.sysdbmaintplan_databases", "plan_id uniqueidentifier!, database_name sysname!"),
        view(
            "dbo.sysschedules_localserver_view",
            f"{_SCHEDULES}, originating_server sysname, master_server bit",
            _schedules,
        ),
        view(
            "dbo.sysoriginatingservers",
            "originating_server_id int!, originating_server sysname!, master_server bit",
        ),
        view(
            "dbo.sysoriginatingservers_view",
            "originating_server_id int!, originating_server sysname, master_server bit",
            _originating,
        ),
        view(
            "dbo.syssubsystems",
            "subsystem_id int!, subsystem nvarchar(40)!, description_id int, subsystem_dll nvarchar(255),"
            " agent_exe nvarchar(255), start_entry_point nvarchar(30), event_entry_point nvarchar(30),"
            " stop_entry_point nvarchar(30), max_worker_threads int",
            _subsystems,
        ),
        view(
            "dbo.sysproxylogin",
            "proxy_id int!, sid varbinary(85), flags int!",
        ),
        view("dbo.sysproxysubsystem", "subsystem_id int!, proxy_id int!"),
        view("dbo.sysproxysubsystem_view", "subsystem_id int!, proxy_id int!"),
        view(
            "dbo.sysdownloadlist",
            "instance_id int!, source_server sysname!, operation_code tinyint!, object_type tinyint!,"
            " object_id uniqueidentifier!, target_server sysname!, error_message nvarchar(1024),"
            " date_posted datetime!, date_downloaded datetime, status tinyint!,"
            " deleted_object_name sysname",
        ),
        view("dbo.systargetservergroups", "servergroup_id int!, name sysname!"),
        view("dbo.systargetservergroupmembers", "servergroup_id int!, server_id int!"),
        *(
            view(
                f"dbo.{name}",
                "server_id int!, server_name sysname!, location nvarchar(200), time_zone_adjustment int!,"
                " enlist_date datetime!, last_poll_date datetime!, status int!,"
                " local_time_at_last_poll datetime!, enlisted_by_nt_user nvarchar(100)!, poll_interval int!",
            )
            for name in ("systargetservers", "systargetservers_view")
        ),
    )
}
"""The views by lower-case name."""

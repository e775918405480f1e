"""The tables of SQL Server Agent in msdb: jobs, steps, schedules, their activity and history.

Columns and types follow Microsoft's reference of msdb's Agent tables. Two hidden tables hold what has no
table there: policies, and the settings of managed backup.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final

from tdsproxy.catalog.msdb_schema import HistoryTable, TableColumn
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import MAX, SqlType

_TYPES: Final[dict[str, SqlType]] = {
    "int": t.INT,
    "bigint": t.BIGINT,
    "tinyint": t.TINYINT,
    "datetime": t.DATETIME,
    "guid": t.UNIQUEIDENTIFIER,
    "sysname": t.SYSNAME,
    "sid": t.varbinary(85),
    "text": t.nvarchar(MAX),
    "vtext": t.varchar(MAX),
    "bit": t.BIT,
    "char1": t.char(1),
    **{f"v{length}": t.varchar(length) for length in (6, 12, 20)},
    **{f"nv{length}": t.nvarchar(length) for length in (40, 100, 200, 255, 512, 4000)},
}


def _table(name: str, text: str, *key: str) -> HistoryTable:
    """Columns parted by commas: name, type, and ``!`` for NOT NULL, ``#`` for IDENTITY."""
    columns = []
    for part in text.split(","):
        column, kind, *marks = part.split()
        columns.append(TableColumn(column, _TYPES[kind], not marks, "#" in marks))
    return HistoryTable(name, tuple(columns), key)


MAIL_ITEMS: Final = _table(
    "sysmail_mailitems",
    "mailitem_id int #, profile_id int !, recipients vtext, copy_recipients vtext,"
    " blind_copy_recipients vtext, subject nv255, from_address vtext, reply_to vtext, body text,"
    " body_format v20, importance v6, sensitivity v12, file_attachments text, attachment_encoding v20,"
    " query text, execute_query_database sysname, attach_query_result_as_file bit, query_result_header bit,"
    " query_result_width int, query_result_separator char1, exclude_query_output bit, append_query_error bit,"
    " send_request_date datetime !, send_request_user sysname !, sent_account_id int, sent_status tinyint,"
    " sent_date datetime, last_mod_date datetime !, last_mod_user sysname !",
    "mailitem_id",
)
MAIL_LOG: Final = _table(
    "sysmail_log",
    "log_id int #, event_type int !, log_date datetime !, description text, process_id int, mailitem_id int,"
    " account_id int, last_mod_date datetime !, last_mod_user sysname !",
    "log_id",
)

AGENT_TABLES: Final = (
    MAIL_ITEMS,
    MAIL_LOG,
    _table(
        "sysjobs",
        "job_id guid !, originating_server_id int !, name sysname !, enabled tinyint !, description nv512,"
        " start_step_id int !, category_id int !, owner_sid sid !, notify_level_eventlog int !,"
        " notify_level_email int !, notify_level_netsend int !, notify_level_page int !,"
        " notify_email_operator_id int !, notify_netsend_operator_id int !, notify_page_operator_id int !,"
        " delete_level int !, date_created datetime !, date_modified datetime !, version_number int !",
        "job_id",
    ),
    _table(
        "sysjobsteps",
        "job_id guid !, step_id int !, step_name sysname !, subsystem nv40 !, command text, flags int !,"
        " additional_parameters text, cmdexec_success_code int !, on_success_action tinyint !,"
        " on_success_step_id int !, on_fail_action tinyint !, on_fail_step_id int !, server sysname,"
        " database_name sysname, database_user_name sysname, retry_attempts int !, retry_interval int !,"
        " os_run_priority int !, output_file_name nv200, last_run_outcome int !, last_run_duration int !,"
        " last_run_retries int !, last_run_date int !, last_run_time int !, proxy_id int, step_uid guid",
        "job_id",
        "step_id",
    ),
    _table(
        "sysjobstepslogs",
        "log_id int #, log text !, date_created datetime !, date_modified datetime !, log_size bigint !,"
        " step_uid guid !",
        "log_id",
    ),
    _table(
        "sysjobservers",
        "job_id guid !, server_id int !, last_run_outcome tinyint !, last_outcome_message nv4000,"
        " last_run_date int !, last_run_time int !, last_run_duration int !",
        "job_id",
        "server_id",
    ),
    _table(
        "sysschedules",
        "schedule_id int #, schedule_uid guid !, originating_server_id int !, name sysname !,"
        " owner_sid sid !, enabled int !, freq_type int !, freq_interval int !, freq_subday_type int !,"
        " freq_subday_interval int !, freq_relative_interval int !, freq_recurrence_factor int !,"
        " active_start_date int !, active_end_date int !, active_start_time int !, active_end_time int !,"
        " date_created datetime !, date_modified datetime !, version_number int !",
        "schedule_id",
    ),
    _table(
        "sysjobschedules",
        "schedule_id int !, job_id guid !, next_run_date int !, next_run_time int !",
        "schedule_id",
        "job_id",
    ),
    _table(
        "sysjobhistory",
        "instance_id int #, job_id guid !, step_id int !, step_name sysname !, sql_message_id int !,"
        " sql_severity int !, message nv4000, run_status int !, run_date int !, run_time int !,"
        " run_duration int !, operator_id_emailed int !, operator_id_netsent int !, operator_id_paged int !,"
        " retries_attempted int !, server sysname !",
        "instance_id",
    ),
    _table(
        "syscategories",
        "category_id int !, category_class int !, category_type tinyint !, name sysname !",
        "category_id",
    ),
    _table("syssessions", "session_id int #, agent_start_date datetime !", "session_id"),
    _table(
        "sysjobactivity",
        "session_id int !, job_id guid !, run_requested_date datetime, run_requested_source sysname,"
        " queued_date datetime, start_execution_date datetime, last_executed_step_id int,"
        " last_executed_step_date datetime, stop_execution_date datetime, job_history_id int,"
        " next_scheduled_run_date datetime",
        "session_id",
        "job_id",
    ),
    _table(
        "sysoperators",
        "id int #, name sysname !, enabled tinyint !, email_address nv100, last_email_date int !,"
        " last_email_time int !, pager_address nv100, last_pager_date int !, last_pager_time int !,"
        " weekday_pager_start_time int !, weekday_pager_end_time int !, saturday_pager_start_time int !,"
        " saturday_pager_end_time int !, sunday_pager_start_time int !, sunday_pager_end_time int !,"
        " pager_days tinyint !, netsend_address nv100, last_netsend_date int !, last_netsend_time int !,"
        " category_id int !",
        "id",
    ),
    _table(
        "sysalerts",
        "id int #, name sysname !, event_source nv100 !, event_category_id int, event_id int,"
        " message_id int !, severity int !, enabled tinyint !, delay_between_responses int !,"
        " last_occurrence_date int !, last_occurrence_time int !, last_response_date int !,"
        " last_response_time int !, notification_message nv512, include_event_description tinyint !,"
        " database_name nv512, event_description_keyword nv100, occurrence_count int !,"
        " count_reset_date int !, count_reset_time int !, job_id guid !, has_notification int !,"
        " flags int !, performance_condition nv512, category_id int !",
        "id",
    ),
    _table(
        "sysnotifications",
        "alert_id int !, operator_id int !, notification_method tinyint !",
        "alert_id",
        "operator_id",
    ),
)

_CATEGORIES: Final = (
    (0, 1, 1, "[Uncategorized (Local)]"),
    (1, 1, 1, "Jobs from MSX"),
    (2, 1, 2, "[Uncategorized (Multi-Server)]"),
    (3, 1, 1, "Database Maintenance"),
    (4, 1, 1, "Web Assistant"),
    (5, 1, 1, "Full-Text"),
    (6, 1, 1, "Log Shipping"),
    (7, 1, 1, "Database Engine Tuning Advisor"),
    (8, 1, 1, "Data Collector"),
    (98, 2, 3, "[Uncategorized]"),
    (99, 3, 3, "[Uncategorized]"),
)

AGENT_ROLES: Final = ("SQLAgentUserRole", "SQLAgentReaderRole", "SQLAgentOperatorRole")
"""Roles of msdb; each is a member of the one before it."""
MAIL_ROLE: Final = "DatabaseMailUserRole"

AGENT_STATEMENTS: Final = (
    "CREATE TABLE IF NOT EXISTS __tds_users(id INTEGER PRIMARY KEY, name TEXT NOT NULL COLLATE NOCASE UNIQUE,"
    " kind TEXT NOT NULL, sid BLOB, default_schema TEXT)",
    "CREATE TABLE IF NOT EXISTS __tds_members(role TEXT NOT NULL COLLATE NOCASE, member TEXT NOT NULL"
    " COLLATE NOCASE, PRIMARY KEY (role, member)) WITHOUT ROWID",
    *(
        "INSERT OR IGNORE INTO __tds_users VALUES"
        f" ((SELECT max(4, coalesce(max(id), 0)) + 1 FROM __tds_users), '{role}', 'R', NULL, NULL)"
        for role in (*AGENT_ROLES, MAIL_ROLE)
    ),
    *(
        f"INSERT OR IGNORE INTO __tds_members VALUES ('{role}', '{member}')"
        for role, member in pairwise(AGENT_ROLES)
    ),
    "CREATE TABLE IF NOT EXISTS __tds_policies(source TEXT NOT NULL, name TEXT NOT NULL COLLATE NOCASE,"
    " definition TEXT NOT NULL, PRIMARY KEY (source, name))",
    "CREATE TABLE IF NOT EXISTS __tds_managed_backup(database_name TEXT PRIMARY KEY COLLATE NOCASE,"
    " settings TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS __tds_agent_properties(name TEXT PRIMARY KEY, value TEXT)",
    "CREATE INDEX IF NOT EXISTS sysjobstepslogsStep ON sysjobstepslogs (step_uid)",
    "CREATE INDEX IF NOT EXISTS sysjobhistoryJob ON sysjobhistory (job_id, step_id)",
    *(
        f"INSERT OR IGNORE INTO syscategories VALUES ({number}, {kind}, {place}, '{name}')"
        for number, kind, place, name in _CATEGORIES
    ),
)
"""What else msdb needs of the agent, behind its tables."""

"""Procedures that scripts of administrators call: each with its columns and what it says."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, columns, errors, rows

__all__ = ["shared_world", "sql"]


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("sp_helpuser", "UserName RoleName LoginName DefDBName DefSchemaName UserID SID"),
        ("sp_helpuser 'dbo'", "UserName RoleName LoginName DefDBName DefSchemaName UserID SID"),
        ("sp_helprole", "RoleName RoleId IsAppRole"),
        ("sp_helprole 'db_owner'", "RoleName RoleId IsAppRole"),
        ("sp_helpsrvrolemember 'sysadmin'", "ServerRole MemberName MemberSID"),
        (
            "sp_helpserver",
            "name network_name status id collation_name connect_timeout query_timeout",
        ),
        (
            "sp_helplogins 'sa'",
            "LoginName SID DefDBName DefLangName AUser ARemote LoginName DBName UserName UserOrAlias",
        ),
        (
            "sp_monitor",
            "last_run current_run seconds cpu_busy io_busy idle packets_received packets_sent packet_errors"
            " total_read total_write total_errors connections",
        ),
    ],
)
def test_the_columns_and_at_least_one_row(sql: Client, call: str, names: str) -> None:
    replies = sql.replies(f"EXEC {call}")
    assert not errors(replies), errors(replies)
    assert columns(replies) == names.split()
    assert rows(replies)


@pytest.mark.parametrize(
    ("call", "names"),
    [
        ("sp_helprolemember", "DbRole MemberName MemberSID"),
        ("sp_lock", "spid dbid ObjId IndId Type Resource Mode Status"),
        ("sp_change_users_login 'Report'", "UserName UserSID"),
        (
            "master.dbo.sp_help_log_shipping_monitor",
            "status is_primary server database_name time_since_last_backup last_backup_file backup_threshold"
            " is_backup_alert_enabled time_since_last_copy last_copied_file time_since_last_restore"
            " last_restored_file last_restored_latency restore_threshold is_restore_alert_enabled",
        ),
    ],
)
def test_the_columns_of_what_may_be_empty(sql: Client, call: str, names: str) -> None:
    replies = sql.replies(f"EXEC {call}")
    assert not errors(replies), errors(replies)
    assert columns(replies) == names.split()


@pytest.mark.parametrize(
    ("call", "number"),
    [
        ("msdb.dbo.sp_send_dbmail @recipients = 'a@example.com', @body = 'x'", 15281),
        ("msdb.dbo.sp_send_dbmail @recipient = 'x'", 8145),
        ("master.dbo.sp_add_log_shipping_primary_database @database = 'x'", 32017),
        ("master.dbo.sp_add_log_shipping_primary_secondary 'a', 'b', 'c'", 32017),
        ("master.dbo.sp_add_log_shipping_secondary_primary @primary_server = 'x'", 32017),
        ("master.dbo.sp_add_log_shipping_secondary_database @secondary_database = 'x'", 32017),
        ("master.dbo.sp_add_log_shipping_alert_job", 32017),
        ("master.dbo.sp_delete_log_shipping_primary_database 'x'", 32017),
        ("master.dbo.sp_delete_log_shipping_secondary_database 'x', 1", 32017),
        ("msdb.dbo.sysmail_configure_sp 'AccountRetryAttempts', '9'", 50000),
        ("xp_logevent 50000, 'too small'", 22003),
        ("xp_logevent 60000, 'x', 'loud'", 22003),
        ("sp_helpuser 'nobody'", 50000),
        ("sp_helprole 'nobody'", 50000),
        ("sp_helpserver 'nowhere'", 50000),
    ],
)
def test_what_is_refused(sql: Client, call: str, number: int) -> None:
    assert sql.error(f"EXEC {call}") == number


def test_members_of_roles_and_users_without_a_login(sql: Client) -> None:
    sql.run(
        "CREATE LOGIN tier_login WITH PASSWORD = 'Pass-word-9'; CREATE USER tier_user FOR LOGIN tier_login;"
        " CREATE ROLE tier_role; ALTER ROLE tier_role ADD MEMBER tier_user"
    )
    assert [row[:2] for row in sql.rows("EXEC sp_helprolemember 'tier_role'")] == [("tier_role", "tier_user")]
    assert [row[:3] for row in sql.rows("EXEC sp_helpuser 'tier_user'")] == [
        ("tier_user", "tier_role", "tier_login")
    ]
    sql.run("DROP LOGIN tier_login")
    assert [row[0] for row in sql.rows("EXEC sp_change_users_login 'Report'")] == ["tier_user"]
    sql.run("CREATE LOGIN tier_login WITH PASSWORD = 'Pass-word-9'")
    sql.run("EXEC sp_change_users_login 'Auto_Fix', 'tier_user', 'tier_login'")
    assert sql.rows("EXEC sp_change_users_login 'Report'") == []
    sql.run("DROP USER tier_user; DROP LOGIN tier_login")


def test_alerts_and_their_notifications(sql: Client) -> None:
    sql.run(
        "EXEC msdb.dbo.sp_add_operator @name = 'tier operator', @email_address = 'a@example.com';"
        " EXEC msdb.dbo.sp_add_alert @name = 'tier alert', @severity = 17, @job_id = 0x00,"
        " @notification_message = 'm';"
        " EXEC msdb.dbo.sp_add_notification 'tier alert', 'tier operator', 1"
    )
    assert sql.rows("SELECT name, severity, enabled, has_notification FROM msdb.dbo.sysalerts") == [
        ("tier alert", 17, 1, 1)
    ]
    assert sql.error("EXEC msdb.dbo.sp_add_alert @name = 'tier alert', @severity = 17") == 14261
    assert sql.error("EXEC msdb.dbo.sp_add_alert @name = 'other'") == 14500
    assert sql.error("EXEC msdb.dbo.sp_add_notification 'none', 'tier operator', 1") == 14262
    assert sql.error("EXEC msdb.dbo.sp_add_notification 'tier alert', 'none', 1") == 14262
    assert sql.error("EXEC msdb.dbo.sp_add_notification 'tier alert', 'tier operator', 1") == 14261
    sql.run("EXEC msdb.dbo.sp_update_alert 'tier alert', @enabled = 0")
    replies = sql.replies("EXEC msdb.dbo.sp_help_alert 'tier alert'")
    assert columns(replies)[:2] == ["id", "name"]
    assert columns(replies)[6:8] == ["severity", "enabled"]
    assert rows(replies)[0][7] == 0
    sql.run("EXEC msdb.dbo.sp_delete_notification 'tier alert', 'tier operator'")
    assert sql.value("SELECT has_notification FROM msdb.dbo.sysalerts") == 0
    sql.run("EXEC msdb.dbo.sp_add_notification 'tier alert', 'tier operator', 3")
    sql.run("EXEC msdb.dbo.sp_delete_operator 'tier operator'; EXEC msdb.dbo.sp_delete_alert 'tier alert'")
    assert sql.value("SELECT COUNT(*) FROM msdb.dbo.sysnotifications") == 0
    assert sql.value("SELECT COUNT(*) FROM msdb.dbo.sysalerts") == 0


def test_the_agents_own_list_of_jobs(sql: Client) -> None:
    sql.run("EXEC msdb.dbo.sp_add_job @job_name = 'tier job'")
    sql.run(
        "CREATE TABLE #jobs (job_id uniqueidentifier NOT NULL, last_run_date int, last_run_time int,"
        " next_run_date int, next_run_time int, next_run_schedule_id int, requested_to_run int,"
        " request_source int, request_source_id sysname NULL, running int, current_step int,"
        " current_retry_attempt int, job_state int);"
        " INSERT #jobs EXEC master.dbo.xp_sqlagent_enum_jobs 1, 'sa'"
    )
    assert sql.rows(
        "SELECT j.name, e.running, e.job_state FROM #jobs e JOIN msdb.dbo.sysjobs j ON j.job_id = e.job_id"
        " WHERE j.name = 'tier job'"
    ) == [("tier job", 0, 4)]
    sql.run("EXEC msdb.dbo.sp_delete_job @job_name = 'tier job'")

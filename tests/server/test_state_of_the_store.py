"""Views of what other processes do, and of the log, tell what is so."""

from __future__ import annotations

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, World

__all__ = ["shared_world", "sql"]


def test_sessions_of_other_processes_are_listed(shared_world: World, sql: Client) -> None:
    here = sql.session.spid
    shared_world.keeper.current[900] = "master"
    try:
        asked = "SELECT session_id, login_name, database_id FROM sys.dm_exec_sessions WHERE session_id IN"
        assert sql.rows(f"{asked} (900) ORDER BY 1") == [(900, "sa", 1)]
        assert (here,) in sql.rows("SELECT spid FROM sys.sysprocesses")
        assert (900,) in sql.rows("SELECT spid FROM sys.sysprocesses")
        sql.run("CREATE LOGIN passer WITH PASSWORD = 'Sesame-1'")
        other = shared_world.login("passer")
        assert other.rows("SELECT session_id FROM sys.dm_exec_sessions") == [(other.session.spid,)]
        other.session.close()
    finally:
        del shared_world.keeper.current[900]
    assert sql.rows(f"{asked} (900)") == []


def test_the_log_of_a_simple_database_is_its_wal(sql: Client) -> None:
    total, used, percent, since = sql.rows(
        "SELECT total_log_size_in_bytes, used_log_space_in_bytes, used_log_space_in_percent,"
        " log_space_in_bytes_since_last_backup FROM sys.dm_db_log_space_usage"
    )[0]
    assert isinstance(total, int)
    assert isinstance(used, int)
    assert isinstance(percent, float)
    assert 0 <= used <= total
    assert abs(percent - 100 * used / total) < 0.01
    assert since == 0
    assert sql.rows(
        "SELECT recovery_model, log_truncation_holdup_reason, log_backup_time, log_since_last_log_backup_mb"
        " FROM sys.dm_db_log_stats(DB_ID())"
    ) == [("SIMPLE", "NOTHING", None, None)]
    assert sql.rows("SELECT file_id, vlf_active FROM sys.dm_db_log_info(DB_ID())") == [(2, True)]
    assert sql.rows("SELECT COUNT(*) FROM sys.dm_db_log_info(NULL)") == [(0,)]

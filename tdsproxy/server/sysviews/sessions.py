"""The dynamic management views of sessions and requests, and the host."""

from __future__ import annotations

import datetime as dt
import os
import platform
from collections.abc import Iterator
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope, SessionFacts
from tdsproxy.tsql.values import Value

_SESSION_COLUMNS: Final = """
session_id smallint!, login_time datetime!, host_name nvarchar(128), program_name nvarchar(128),
host_process_id int, client_version int, client_interface_name nvarchar(32), security_id varbinary(85)!,
login_name nvarchar(128)!, nt_domain nvarchar(128), nt_user_name nvarchar(128), status nvarchar(30)!,
context_info varbinary(128), cpu_time int!, memory_usage int!, total_scheduled_time int!,
total_elapsed_time int!, endpoint_id int!, last_request_start_time datetime!,
last_request_end_time datetime, reads bigint!, writes bigint!, logical_reads bigint!,
is_user_process bit!, text_size int!, language nvarchar(128), date_format nvarchar(3), date_first smallint!,
quoted_identifier bit!, arithabort bit!, ansi_null_dflt_on bit!, ansi_defaults bit!, ansi_warnings bit!,
ansi_padding bit!, ansi_nulls bit!, concat_null_yields_null bit!, transaction_isolation_level smallint!,
lock_timeout int!, deadlock_priority int!, row_count bigint!, prev_error int!,
original_security_id varbinary(85)!, original_login_name nvarchar(128)!, last_successful_logon datetime,
last_unsuccessful_logon datetime, unsuccessful_logons bigint, group_id int!, database_id smallint!,
authenticating_database_id int, open_transaction_count int!, page_server_reads bigint!,
contained_availability_group_id uniqueidentifier
"""

_REQUEST_COLUMNS: Final = """
session_id smallint!, request_id int!, start_time datetime!, status nvarchar(30)!, command nvarchar(32)!,
sql_handle varbinary(64), statement_start_offset int, statement_end_offset int, plan_handle varbinary(64),
database_id smallint!, user_id int!, connection_id uniqueidentifier, blocking_session_id smallint,
wait_type nvarchar(60), wait_time int!, last_wait_type nvarchar(60)!, wait_resource nvarchar(256)!,
open_transaction_count int!, open_resultset_count int!, transaction_id bigint!, context_info varbinary(128),
percent_complete real!, estimated_completion_time bigint!, cpu_time int!, total_elapsed_time int!,
scheduler_id int, task_address varbinary(8), reads bigint!, writes bigint!, logical_reads bigint!,
text_size int!, language nvarchar(128), date_format nvarchar(3), date_first smallint!, quoted_identifier bit!,
arithabort bit!, ansi_null_dflt_on bit!, ansi_defaults bit!, ansi_warnings bit!, ansi_padding bit!,
ansi_nulls bit!, concat_null_yields_null bit!, transaction_isolation_level smallint!, lock_timeout int!,
deadlock_priority int!, row_count bigint!, prev_error int!, nest_level int!, granted_query_memory int!,
executing_managed_code bit!, group_id int!, query_hash binary(8), query_plan_hash binary(8),
statement_sql_handle varbinary(64), statement_context_id bigint, dop int!, parallel_worker_count int,
external_script_request_id uniqueidentifier, is_resumable bit!, page_resource binary(8),
page_server_reads bigint!, dist_statement_id uniqueidentifier!
"""


def _options(session: SessionFacts) -> dict[str, Value]:
    ansi = int(session.ansi_defaults)
    return {
        "session_id": session.spid,
        "database_id": session.database_id,
        "context_info": session.context_info or b"",
        "text_size": session.text_size,
        "language": session.language,
        "date_format": session.date_format,
        "date_first": session.date_first,
        "quoted_identifier": int(session.quoted_identifier),
        "arithabort": int(session.arithabort),
        "ansi_null_dflt_on": ansi,
        "ansi_defaults": 0,
        "ansi_warnings": ansi,
        "ansi_padding": ansi,
        "ansi_nulls": ansi,
        "concat_null_yields_null": ansi,
        "transaction_isolation_level": session.isolation,
        "lock_timeout": session.lock_timeout,
        "row_count": session.row_count,
        "prev_error": session.last_error,
        "group_id": 2,
        "open_transaction_count": session.open_transactions,
    }


def _sessions(scope: Scope) -> Iterator[Row]:
    for session in scope.sessions():
        yield _options(session) | {
            "login_time": session.login_time,
            "host_name": session.host,
            "program_name": session.application,
            "host_process_id": session.client_pid,
            "client_version": 7,
            "client_interface_name": session.library,
            "security_id": session.login_sid,
            "login_name": session.login,
            "status": "running" if session.running else "sleeping",
            "endpoint_id": 4,
            "last_request_start_time": session.request_start,
            "last_request_end_time": session.request_end,
            "is_user_process": 1,
            "original_security_id": session.login_sid,
            "original_login_name": session.original_login,
            "authenticating_database_id": 1,
        }


def _requests(scope: Scope) -> Iterator[Row]:
    for session in scope.sessions():
        if session.running:
            yield _options(session) | {
                "start_time": session.request_start,
                "status": "suspended" if session.command else "running",
                "command": session.command or session.request_command or "SELECT",
                "percent_complete": session.percent,
                "estimated_completion_time": session.milliseconds_left,
                "total_elapsed_time": _elapsed(session),
                "user_id": 1,
                "transaction_id": 0 if session.transaction is None else session.transaction.number,
                "blocking_session_id": 0,
                "wait_type": "BACKUPIO" if session.command.startswith(("BACKUP", "RESTORE")) else None,
                "last_wait_type": "BACKUPIO" if session.command else "MISCELLANEOUS",
                "statement_start_offset": 0,
                "statement_end_offset": -1,
                "sql_handle": _handle(session),
                "dop": 1,
            }


def _handle(session: SessionFacts) -> bytes:
    """By which sys.dm_exec_sql_text finds what the session runs, or ran last."""
    return session.spid.to_bytes(20, "big")


def command_of(session: SessionFacts) -> str:
    """What sysprocesses and sp_who call a session's work."""
    if not session.running:
        return "AWAITING COMMAND"
    return session.command or session.request_command or "SELECT"


def _elapsed(session: SessionFacts) -> int:
    """Milliseconds since the request began."""
    now = dt.datetime.now()
    return max(0, int((now - session.request_start.to_python()).total_seconds() * 1000))


def _connections(scope: Scope) -> Iterator[Row]:
    for session in scope.sessions():
        address, _, port = session.address.rpartition(":")
        yield {
            "session_id": session.spid,
            "most_recent_session_id": session.spid,
            "connect_time": session.login_time,
            "net_transport": "TCP",
            "protocol_type": "TSQL",
            "protocol_version": 1946157060,
            "endpoint_id": 4,
            "encrypt_option": "TRUE" if session.encrypted else "FALSE",
            "auth_scheme": "SQL",
            "node_affinity": 0,
            "net_packet_size": 4096,
            "client_net_address": address or session.address,
            "client_tcp_port": int(port) if port.isdigit() else None,
            "most_recent_sql_handle": _handle(session),
        }


def _sysprocesses(scope: Scope) -> Iterator[Row]:
    for session in scope.sessions():
        yield {
            "spid": session.spid,
            "lastwaittype": "MISCELLANEOUS".ljust(32),
            "dbid": session.database_id,
            "uid": 1,
            "login_time": session.login_time,
            "last_batch": session.request_start,
            "open_tran": session.open_transactions,
            "status": ("runnable" if session.running else "sleeping").ljust(30),
            "sid": session.login_sid,
            "hostname": session.host.ljust(128),
            "program_name": session.application.ljust(128),
            "hostprocess": str(session.client_pid).ljust(10),
            "cmd": command_of(session)[:26].ljust(26),
            "net_library": "TCP/IP".ljust(12),
            "loginame": session.login.ljust(128),
            "sql_handle": _handle(session),
        }


def _host(scope: Scope) -> Iterator[Row]:
    release = _os_release()
    yield {
        "host_platform": "Linux",
        "host_distribution": release.get("NAME", platform.system()),
        "host_release": release.get("VERSION_ID", platform.release()),
        "host_service_pack_level": "",
        "host_sku": None,
        "os_language_version": 0,
        "host_architecture": "X64",
    }


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _sys_info(scope: Scope) -> Iterator[Row]:
    page = os.sysconf("SC_PAGE_SIZE")
    yield {
        "cpu_count": os.cpu_count() or 1,
        "hyperthread_ratio": 1,
        "physical_memory_kb": os.sysconf("SC_PHYS_PAGES") * page // 1024,
        "committed_kb": 0,
        "committed_target_kb": os.sysconf("SC_PHYS_PAGES") * page // 1024,
        "max_workers_count": 512,
        "scheduler_count": os.cpu_count() or 1,
        "sqlserver_start_time": scope.started,
        "virtual_machine_type": 0,
        "virtual_machine_type_desc": "NONE",
    }


VIEWS: Final[tuple[View, ...]] = (
    view("sys.dm_exec_sessions", _SESSION_COLUMNS, _sessions),
    view("sys.dm_exec_requests", _REQUEST_COLUMNS, _requests),
    view(
        "sys.dm_exec_connections",
        "session_id int, most_recent_session_id int, connect_time datetime!, net_transport nvarchar(40)!,"
        "protocol_type nvarchar(40), protocol_version int, endpoint_id int, encrypt_option nvarchar(40)!,"
        "auth_scheme nvarchar(40)!, node_affinity smallint!, num_reads int, num_writes int,"
        " last_read datetime,"
        "last_write datetime, net_packet_size int, client_net_address varchar(48), client_tcp_port int,"
        "local_net_address varchar(48), local_tcp_port int, connection_id uniqueidentifier,"
        "parent_connection_id uniqueidentifier, most_recent_sql_handle varbinary(64)",
        _connections,
    ),
    view(
        "sys.sysprocesses",
        "spid smallint!, kpid smallint!, blocked smallint!, waittype binary(2)!, waittime bigint!,"
        "lastwaittype nchar(32)!, waitresource nchar(256)!, dbid smallint!, uid smallint, cpu int!,"
        "physical_io bigint!, memusage int!, login_time datetime!, last_batch datetime!, ecid smallint!,"
        "open_tran smallint!, status nchar(30)!, sid binary(86)!, hostname nchar(128)!,"
        " program_name nchar(128)!,"
        "hostprocess nchar(10)!, cmd nchar(26)!, nt_domain nchar(128)!, nt_username nchar(128)!,"
        "net_address nchar(12)!, net_library nchar(12)!, loginame nchar(128)!, context_info binary(128)!,"
        "sql_handle binary(20)!, stmt_start int!, stmt_end int!, request_id int!, page_resource binary(8)",
        _sysprocesses,
    ),
    view(
        "sys.dm_os_host_info",
        "host_platform nvarchar(256)!, host_distribution nvarchar(256)!, host_release nvarchar(256)!,"
        "host_service_pack_level nvarchar(256)!, host_sku int, os_language_version int!,"
        "host_architecture nvarchar(256)!",
        _host,
    ),
    view(
        "sys.dm_os_sys_info",
        "cpu_count int!, hyperthread_ratio int!, physical_memory_kb bigint!, committed_kb bigint!,"
        "committed_target_kb bigint!, max_workers_count int!, scheduler_count int!,"
        "sqlserver_start_time datetime!, virtual_machine_type int!, virtual_machine_type_desc nvarchar(60)!",
        _sys_info,
    ),
)

"""sp_get_sqlagent_properties and sp_set_sqlagent_properties.

The limits of history have an effect; the others are kept as they were given, for tools to read. Mail to
operators goes through the one mail server of the notices, whatever profile is named here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.procedures.jobs.messages import MESSAGES
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_MOST_ROWS: Final = 999999
_COLUMNS: Final = (
    "auto_start int, msx_server_name sysname, sqlagent_type int, startup_account nvarchar(255),"
    " sqlserver_restart int, jobhistory_max_rows int, jobhistory_max_rows_per_job int,"
    " errorlog_file nvarchar(255), errorlogging_level int, error_recipient nvarchar(30),"
    " monitor_autostart int, local_host_server sysname, job_shutdown_timeout int,"
    " cmdexec_account varbinary(64), regular_connections int, host_login_name sysname,"
    " host_login_password varbinary(512), login_timeout int, idle_cpu_percent int, idle_cpu_duration int,"
    " oem_errorlog int, sysadmin_only int, email_profile nvarchar(64), email_save_in_sent_folder int,"
    " cpu_poller_enabled int, alert_replace_runtime_tokens int"
)
_DEFAULTS: Final = {
    "auto_start": 1,
    "sqlagent_type": 1,
    "sqlserver_restart": 1,
    "jobhistory_max_rows": 1000,
    "jobhistory_max_rows_per_job": 100,
    "errorlogging_level": 3,
    "monitor_autostart": 1,
    "job_shutdown_timeout": 15,
    "regular_connections": 0,
    "login_timeout": 30,
    "idle_cpu_percent": 10,
    "idle_cpu_duration": 600,
    "oem_errorlog": 0,
    "email_save_in_sent_folder": 0,
    "cpu_poller_enabled": 0,
    "alert_replace_runtime_tokens": 0,
}
_KEPT: Final = {
    "auto_start": range(2),
    "sqlserver_restart": range(2),
    "errorlogging_level": range(1, 8),
    "monitor_autostart": range(2),
    "job_shutdown_timeout": range(5, 601),
    "email_save_in_sent_folder": range(2),
    "cpu_poller_enabled": range(2),
    "alert_replace_runtime_tokens": range(2),
    "use_databasemail": range(2),
    "regular_connections": range(1),
    "login_timeout": range(5, 46),
    "oem_errorlog": range(2),
}
_WORDS: Final = ("error_recipient", "local_host_server", "databasemail_profile")
_NAMES: Final = (
    "@auto_start @sqlserver_restart @jobhistory_max_rows @jobhistory_max_rows_per_job @errorlog_file"
    " @errorlogging_level @error_recipient @monitor_autostart @local_host_server @job_shutdown_timeout"
    " @cmdexec_account @regular_connections @host_login_name @host_login_password @login_timeout"
    " @idle_cpu_percent @idle_cpu_duration @oem_errorlog @sysadmin_only @email_profile"
    " @email_save_in_sent_folder @cpu_poller_enabled @alert_replace_runtime_tokens @use_databasemail"
    " @databasemail_profile"
)
_FIXED: Final = {
    "errorlog_file": None,
    "cmdexec_account": None,
    "host_login_name": None,
    "host_login_password": None,
    "idle_cpu_percent": 10,
    "idle_cpu_duration": 600,
    "sysadmin_only": None,
    "email_profile": None,
}
"""What can't be set to anything else than it is."""


def _get(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    Parameters("sp_get_sqlagent_properties", "", arguments)
    given = {str(name): str(value) for name, value in ask(session, frame, "sp_agent_properties")}
    known = {name: int(given.get(name, default)) for name, default in _DEFAULTS.items()}
    words = {name: given.get(name) for name in ("error_recipient", "local_host_server")}
    yield from result(_COLUMNS, [{**known, **words}])
    return 0


def _set(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """Raises SqlError 14266 for what is not allowed, or can't be changed."""
    given = Parameters("sp_set_sqlagent_properties", _NAMES, arguments)
    changes: dict[str, int | str] = {}
    for name, allowed in _KEPT.items():
        number = given.number(f"@{name}")
        if number is None:
            continue
        if number not in allowed:
            raise _invalid(name, f"{allowed[0]}..{allowed[-1]}" if len(allowed) > 1 else str(allowed[0]))
        changes[name] = number
    changes |= _limits(session, frame, given)
    for name in _WORDS:
        word = given.text(f"@{name}")
        if word is not None:
            changes[name] = word
    for name, fixed in _FIXED.items():
        text = given.text(f"@{name}")
        if text is not None and text != ("" if fixed is None else str(fixed)):
            raise _invalid(name, "NULL" if fixed is None else str(fixed))
    ask(session, frame, "sp_agent_properties_put", json.dumps(changes))
    return 0
    yield


def _limits(session: Session, frame: Frame, given: Parameters) -> dict[str, int | str]:
    """The limits of history: -1 for none, and then 0 for each job."""
    most, of_job = given.number("@jobhistory_max_rows"), given.number("@jobhistory_max_rows_per_job")
    if most is None and of_job is None:
        return {}
    if most is not None and most != -1 and not 2 <= most <= _MOST_ROWS:
        raise _invalid("jobhistory_max_rows", f"-1, 2..{_MOST_ROWS}")
    now = {str(name): str(value) for name, value in ask(session, frame, "sp_agent_properties")}
    most = int(now.get("jobhistory_max_rows", 1000)) if most is None else most
    if most == -1:
        return {"jobhistory_max_rows": -1, "jobhistory_max_rows_per_job": 0}
    kept = int(now.get("jobhistory_max_rows_per_job", 100)) or 100
    if of_job is not None and not 2 <= of_job <= most:
        raise _invalid("jobhistory_max_rows_per_job", f"2..{most}")
    return {
        "jobhistory_max_rows": most,
        "jobhistory_max_rows_per_job": min(kept, most) if of_job is None else of_job,
    }


def _invalid(name: str, allowed: str) -> SqlError:
    return SqlError.of(14266, 16, 1, MESSAGES[14266] % (f"@{name}", allowed))


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_get_sqlagent_properties": _get,
    "sp_set_sqlagent_properties": _set,
}
"""By lower-case name; msdb's."""

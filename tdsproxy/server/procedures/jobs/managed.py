"""``msdb.managed_backup``: procedures that set up managed backup, and what its functions read.

The settings lie beside the agent, which makes policies of them. Parameters and columns are those of
SQL Server Managed Backup; a container may also be an ``s3://`` or ``gs://`` URL or a directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

SCHEMA: Final = "managed_backup"
_INSTANCE: Final = "*"
_ALGORITHMS: Final = ("NO_ENCRYPTION", "AES_128", "AES_192", "AES_256")
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):[0-5]\d$")
_ERROR: Final = 11
_TEXTS: Final = {
    45203: (
        "The parameter @state cannot be NULL, and should be 1 or 0. Specify 1 to start SQL Server Managed"
        " Backup to Windows Azure, or 0 to pause."
    ),
    45204: "The parameter %s cannot be NULL or empty. Provide a valid %s.",
    45205: "No backup setting is supplied. Please specify at least one backup setting to be configured.",
    45206: (
        "The value specified for parameter @type is invalid. The @type parameter value should either be"
        " 'Database' or 'Log'."
    ),
    45207: "%s",
    45208: "SQL Server Managed Backup to Windows Azure master switch is not turned on.",
    45212: "The value specified for parameter %s is invalid. Provide a valid %s.",
    45213: (
        "@full_backup_freq_type, @backup_begin_time, @backup_duration, and @log_backup_freq must be specified"
        " if @scheduling_option is set to 'Custom'"
    ),
    45214: "@days_of_week must be specified if @full_backup_freq_type is set to 'Weekly'",
    45215: "Local caching is not yet supported.",
    45216: (
        "@full_backup_freq_type, @backup_begin_time, @backup_duration, and @log_backup_freq must not be"
        " specified if @scheduling_option is set to 'System'"
    ),
    45217: (
        "@encryptor_type, and @encryptor_name must not be specified if @encryption_algorithm is set to"
        " 'NO_ENCRYPTION'"
    ),
    45218: (
        "@encryptor_type, and @encryptor_name must be specified if @encryption_algorithm is not set to"
        " 'NO_ENCRYPTION'"
    ),
    45219: "@days_of_week must not be specified if @full_backup_freq_type is set to 'Daily'",
}
_PARAMETERS: Final = {
    "SSMBackup2WANotificationEmailIds": False,
    "SSMBackup2WAEnableUserDefinedPolicy": True,
    "SSMBackup2WADebugXevent": True,
    "FileRetentionDebugXevent": True,
    "FileRetentionOperationalXevent": True,
    "StorageOperationDebugXevent": True,
}
"""The parameters of sp_set_parameter, and whether they are true or false."""
_MAIL: Final = re.compile(r"[^@\s;]+@[^@\s;]+(?:\s*;\s*[^@\s;]+@[^@\s;]+)*;?$")


def _refused(number: int, state: int, *words: str) -> SqlError:
    return SqlError.of(number, 17, state, _TEXTS[number] % words)


def _choice(given: Parameters, parameter: str, *values: str) -> str | None:
    """One of some words, of any case. Raises SqlError 14266."""
    text = given.text(parameter)
    if text is None:
        return None
    for value in values:
        if value.lower() == text.lower():
            return value
    raise _refused(45212, 1, parameter, parameter.lstrip("@").replace("_", " "))


def _clock(given: Parameters, parameter: str) -> str | None:
    text = given.text(parameter)
    if text is not None and not _CLOCK.match(text):
        raise _refused(45212, 1, parameter, "time")
    return text


def _put(session: Session, frame: Frame, database: str | None, changes: dict[str, Any]) -> None:
    name = _INSTANCE if database in (None, "", _INSTANCE) else str(database)
    given = {key: value for key, value in changes.items() if value is not None}
    ask(session, frame, "sp_agent_managed_put", name, json.dumps(given))


def _basic(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = "@enable_backup @database_name @container_url @retention_days @credential_name"
    given = Parameters("sp_backup_config_basic", names, arguments)
    enable = given.value("@enable_backup", t.BIT)
    days = given.number("@retention_days")
    url = given.text("@container_url")
    if enable is None and url is None and days is None:
        raise _refused(45205, 1)
    if days is not None and not 1 <= days <= 30:
        raise _refused(45212, 1, "@retention_days", "retention period")
    if given.text("@credential_name") is not None:
        raise _refused(45212, 1, "@credential_name", "credential name")
    changes = {
        "enabled": None if enable is None else bool(enable),
        "url": url,
        "days": days,
    }
    _put(session, frame, given.text("@database_name"), changes)
    return 0
    yield


def _advanced(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = "@database_name @encryption_algorithm @encryptor_type @encryptor_name @local_cache_path"
    given = Parameters("sp_backup_config_advanced", names, arguments)
    algorithm = _choice(given, "@encryption_algorithm", *_ALGORITHMS)
    kind = _choice(given, "@encryptor_type", "CERTIFICATE", "ASYMMETRIC_KEY")
    encryptor = given.text("@encryptor_name")
    if given.text("@local_cache_path") is not None:
        raise _refused(45215, 1)
    if algorithm == "NO_ENCRYPTION" and (kind is not None or encryptor is not None):
        raise _refused(45217, 1)
    if algorithm not in (None, "NO_ENCRYPTION") and (kind is None or encryptor is None):
        raise _refused(45218, 1)
    changes = {"algorithm": algorithm, "encryptor_type": kind, "encryptor": encryptor}
    _put(session, frame, given.text("@database_name"), changes)
    return 0
    yield


def _schedule(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = (
        "@database_name @scheduling_option @full_backup_freq_type @days_of_week @backup_begin_time"
        " @backup_duration @log_backup_freq"
    )
    given = Parameters("sp_backup_config_schedule", names, arguments)
    option = _choice(given, "@scheduling_option", "Custom", "System")
    full = _choice(given, "@full_backup_freq_type", "Daily", "Weekly")
    days = given.text("@days_of_week")
    times = [_clock(given, name) for name in ("@backup_begin_time", "@backup_duration", "@log_backup_freq")]
    if option == "Custom" and (full is None or None in times):
        raise _refused(45213, 1)
    if option == "System" and (full is not None or times != [None] * 3):
        raise _refused(45216, 1)
    if full == "Weekly" and days is None:
        raise _refused(45214, 1)
    if full == "Daily" and days is not None:
        raise _refused(45219, 1)
    if days is not None and not all(part.strip().lower() in _DAYS for part in days.split("|")):
        raise _refused(45212, 1, "@days_of_week", "days of week")
    changes = {
        "custom": None if option is None else option == "Custom",
        "full": full,
        "days_of_week": days,
        "begin": times[0],
        "duration": times[1],
        "log": times[2],
    }
    _put(session, frame, given.text("@database_name"), changes)
    return 0
    yield


def _on_demand(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_backup_on_demand", "@database_name @type", arguments)
    database = given.required("@database_name")
    kind = (given.text("@type") or "").lower()
    if kind not in ("database", "log"):
        raise _refused(45206, 1)
    policy = _policy_of(session, frame, database)
    if policy is None:
        raise _refused(45207, 1, f"Managed backup is not enabled for the database '{database}'.")
    action = "full" if kind == "database" else "log"
    yield from _said(ask(session, frame, "sp_agent_policy_run", "managed", policy, action, database))
    return 0


def _policy_of(session: Session, frame: Frame, database: str) -> str | None:
    """The policy that backs a database up by its settings. Raises SqlError 45208 when none does."""
    for name, own, text, _ in ask(session, frame, "sp_agent_managed"):
        if name == "" and own == "0":
            raise _refused(45208, 1)
        if str(name).lower() == database.lower() and json.loads(str(text)).get("enabled"):
            return f"managed backup of {str(name) if str(own) == '1' else 'instance'}"
    return None


def _said(rows: Sequence[tuple[Any, ...]]) -> Iterator[Message]:
    """The messages of a policy's run. Raises SqlError for its errors."""
    errors = []
    for number, severity, text in rows:
        message = Message(int(number), int(severity), 1, str(text))
        if message.severity >= _ERROR:
            errors.append(message)
        else:
            yield message
    if errors:
        raise SqlError(*errors)


def _switch(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_backup_master_switch", "@new_state", arguments)
    state = given.value("@new_state", t.BIT)
    if state is None:
        raise _refused(45203, 1)
    ask(session, frame, "sp_agent_managed_switch", "1" if state else "0")
    return 0
    yield


def _set_parameter(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_set_parameter", "@parameter_name @parameter_value", arguments)
    name, value = (given.text(f"@parameter_{part}") for part in ("name", "value"))
    if not name:
        raise _refused(45204, 1, "@parameter_name", "parameter name")
    if not value:
        raise _refused(45204, 2, "@parameter_value", "parameter value")
    wanted = next((known for known in _PARAMETERS if known.lower() == name.strip().lower()), None)
    if wanted is None:
        raise _refused(45212, 3, "@parameter_name", "parameter name")
    value = value.strip()
    fits = value.lower() in ("true", "false") if _PARAMETERS[wanted] else _MAIL.match(value) is not None
    if not fits or len(value) > 128:
        raise _refused(45212, 3, "@parameter_value", "parameter value")
    stored = value.lower() if _PARAMETERS[wanted] else value
    ask(session, frame, "sp_agent_managed_flag_put", wanted, stored)
    return 0
    yield


def _diagnostics(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """What managed backup has done, in the last half hour when no time is given."""
    given = Parameters("sp_get_backup_diagnostics", "@xevent_channel @begin_time @end_time", arguments)
    begin, end = (given.value(name, t.DATETIME) for name in ("@begin_time", "@end_time"))
    rows = ask(
        session, frame, "sp_agent_managed_events", begin, end, given.text("@xevent_channel") or "Xevent"
    )
    names = ("event_type", "Event", "Timestamp")
    yield from result(
        "event_type nvarchar(512), Event nvarchar(512), Timestamp datetime",
        [dict(zip(names, row, strict=True)) for row in rows],
    )
    return 0


def _encryption_option(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """The part of BACKUP's WITH clause that managed backup's settings mean, as an OUTPUT parameter.
    ``@encryptor_type``: 0 a certificate, 1 an asymmetric key."""
    names = "@encryption_algorithm @encryptor_type @encryptor_name @encryption_option"
    given = Parameters("sp_get_encryption_option", names, arguments)
    algorithm, kind = given.text("@encryption_algorithm"), given.number("@encryptor_type")
    encryptor = given.text("@encryptor_name")
    if algorithm is None or algorithm.upper() == "NO_ENCRYPTION":
        option = ""
    elif kind not in (0, 1) or encryptor is None:
        raise _refused(45218, 1)
    else:
        word = "SERVER ASYMMETRIC KEY" if kind else "SERVER CERTIFICATE"
        quoted = encryptor.replace("]", "]]")
        option = f"ENCRYPTION (ALGORITHM = {algorithm.upper()}, {word} = [{quoted}])"
    given.give("@encryption_option", option, t.nvarchar(t.MAX))
    return 0
    yield


def _run_policy(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_run_policy", "@source @policy @action @database_name", arguments)
    source, policy, action = (given.required(name) for name in ("@source", "@policy", "@action"))
    database = given.text("@database_name")
    yield from _said(ask(session, frame, "sp_agent_policy_run", source, policy, action, database))
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_backup_config_basic": _basic,
    "sp_backup_config_advanced": _advanced,
    "sp_backup_config_schedule": _schedule,
    "sp_backup_on_demand": _on_demand,
    "sp_backup_master_switch": _switch,
    "sp_set_parameter": _set_parameter,
    "sp_get_backup_diagnostics": _diagnostics,
    "sp_get_encryption_option": _encryption_option,
    "sp_run_policy": _run_policy,
}
"""By lower-case name; of the schema managed_backup in msdb."""

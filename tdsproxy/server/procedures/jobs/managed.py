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
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.procedures.jobs.messages import MESSAGES
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


def _invalid(parameter: str, values: str) -> SqlError:
    return SqlError.of(14266, 16, 1, MESSAGES[14266] % (parameter, values))


def _choice(given: Parameters, parameter: str, *values: str) -> str | None:
    """One of some words, of any case. Raises SqlError 14266."""
    text = given.text(parameter)
    if text is None:
        return None
    for value in values:
        if value.lower() == text.lower():
            return value
    raise _invalid(parameter, ", ".join(values))


def _clock(given: Parameters, parameter: str) -> str | None:
    text = given.text(parameter)
    if text is not None and not _CLOCK.match(text):
        raise SqlError.of(14287, 16, 1, MESSAGES[14287] % (parameter, "time"))
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
    if days is not None and not 1 <= days <= 30:
        raise _invalid("@retention_days", "1..30")
    changes = {
        "enabled": None if enable is None else bool(enable),
        "url": given.text("@container_url"),
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
    if algorithm not in (None, "NO_ENCRYPTION") and encryptor is None:
        raise _invalid("@encryptor_name", "a certificate's name")
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
    if days is not None and not all(part.strip().lower() in _DAYS for part in days.split("|")):
        raise _invalid("@days_of_week", " | ".join(day.capitalize() for day in _DAYS))
    if full == "Weekly" and option == "Custom" and days is None:
        raise _invalid("@days_of_week", " | ".join(day.capitalize() for day in _DAYS))
    changes = {
        "custom": None if option is None else option == "Custom",
        "full": full,
        "days_of_week": days,
        "begin": _clock(given, "@backup_begin_time"),
        "duration": _clock(given, "@backup_duration"),
        "log": _clock(given, "@log_backup_freq"),
    }
    _put(session, frame, given.text("@database_name"), changes)
    return 0
    yield


def _on_demand(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_backup_on_demand", "@database_name @type", arguments)
    database = given.required("@database_name")
    kind = _choice(given, "@type", "Database", "Log") or "Database"
    policy = _policy_of(session, frame, database)
    if policy is None:
        raise SqlError.of(45213, 16, 1, f"Managed backup is not enabled for the database '{database}'.")
    action = "full" if kind == "Database" else "log"
    yield from _said(ask(session, frame, "sp_agent_policy_run", "managed", policy, action, database))
    return 0


def _policy_of(session: Session, frame: Frame, database: str) -> str | None:
    """The policy that backs a database up by its settings."""
    for name, own, text in ask(session, frame, "sp_agent_managed"):
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
    ask(session, frame, "sp_agent_managed_switch", "1" if given.value("@new_state", t.BIT) else "0")
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
    "sp_run_policy": _run_policy,
}
"""By lower-case name; of the schema managed_backup in msdb."""

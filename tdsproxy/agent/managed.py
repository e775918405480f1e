"""Managed backup: the settings that ``msdb.managed_backup``'s procedures write, and the policies they mean.

Settings belong to one database, or (``*``) to the instance: to every user database without its own. With the
system's schedule a full backup is taken each week and after 1 GB of log, a log backup every two hours and
after 5 MB of log; a broken chain is bridged by a full backup whenever the next one finds it.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import msgspec

from tdsproxy.agent.policies import AfterChange, Policy, Retention
from tdsproxy.catalog.listing import NamedSet
from tdsproxy.commands.name_patterns import escaped
from tdsproxy.tsql.values import DateTime, Value

INSTANCE: Final = "*"
SOURCE: Final = "managed"
PREFIX: Final = "managed backup of "
"""What the names of its policies, and so those of its backup sets, begin with."""
EVENTS: Final = (
    ("SSMBackup2WAAdminXevent", False),
    ("SSMBackup2WAOperationalXevent", False),
    ("SSMBackup2WAAnalyticXevent", False),
    ("FileRetentionAdminXevent", False),
    ("FileRetentionAnalyticXevent", False),
    ("SSMBackup2WADebugXevent", True),
    ("FileRetentionOperationalXevent", True),
    ("FileRetentionDebugXevent", True),
    ("StorageOperationDebugXevent", True),
)
"""The kinds of events of SQL Server Managed Backup, and whether one can be switched."""
DEFAULT_DAYS: Final = 30
_NO_ENCRYPTION: Final = "NO_ENCRYPTION"
_CLOCK: Final = re.compile(r"(\d{1,2}):(\d{2})$")
_MEGABYTE: Final = 1 << 20
_GIGABYTE: Final = 1 << 30


class ManagedSettings(msgspec.Struct, frozen=True):
    """``days_of_week`` as the procedure takes it: ``Monday | Friday``; times are ``HH:mm``."""

    enabled: bool = False
    url: str | None = None
    days: int | None = None
    algorithm: str | None = None
    encryptor_type: str | None = None
    encryptor: str | None = None
    custom: bool = False
    full: str = "Weekly"
    days_of_week: str | None = None
    begin: str = "00:00"
    duration: str | None = None
    log: str = "02:00"


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings that hold for a database: its own, filled up from those of the instance."""

    settings: ManagedSettings
    own: bool


def effective(own: ManagedSettings | None, instance: ManagedSettings | None) -> Effective:
    base = instance or ManagedSettings()
    if own is None:
        return Effective(base, own=False)
    filled = {
        name: getattr(base, name)
        for name in ("url", "days", "algorithm", "encryptor_type", "encryptor")
        if getattr(own, name) is None
    }
    return Effective(msgspec.structs.replace(own, **filled), own=True)


def policies_of(settings: dict[str, ManagedSettings], *, switched_on: bool) -> list[Policy]:
    """By database name in any case; ``INSTANCE`` for the instance."""
    if not switched_on:
        return []
    instance = settings.get(INSTANCE)
    made: list[Policy] = []
    named = [name for name in settings if name != INSTANCE]
    for name in named:
        found = effective(settings[name], instance).settings
        if found.enabled:
            made += _policies(name, (escaped(name),), (), found)
    if instance is not None and instance.enabled:
        made += _policies("instance", (INSTANCE,), tuple(map(escaped, named)), instance)
    return made


def _policies(
    name: str, databases: tuple[str, ...], exclude: tuple[str, ...], given: ManagedSettings
) -> list[Policy]:
    days = float(given.days or DEFAULT_DAYS)
    encrypted = given.algorithm is not None and given.algorithm.upper() != _NO_ENCRYPTION
    policy = Policy(
        f"{PREFIX}{name}",
        databases,
        exclude,
        (given.url or "",),
        full=_full(given),
        log=_log(given),
        after_change=None if given.custom else AfterChange(log_bytes=5 * _MEGABYTE),
        compression="default",
        encryption_algorithm=given.algorithm if encrypted else None,
        certificate=given.encryptor if encrypted else None,
        encryptor="ASYMMETRIC KEY" if given.encryptor_type == "ASYMMETRIC_KEY" else "CERTIFICATE",
        retention=Retention(0, 0, 0, 0, age_days=days, window_days=days),
    )
    if given.custom:
        return [policy]
    growth = Policy(
        f"{PREFIX}{name} by growth",
        databases,
        exclude,
        policy.destinations,
        after_change=AfterChange(log_bytes=_GIGABYTE, kind="full"),
        compression="default",
        encryption_algorithm=policy.encryption_algorithm,
        certificate=policy.certificate,
        encryptor=policy.encryptor,
        retention=policy.retention,
    )
    return [policy, growth]


def minutes_of(text: str) -> int | None:
    """Of ``HH:mm``; None when it is none."""
    match = _CLOCK.match(text.strip())
    if match is None or int(match[1]) > 23 or int(match[2]) > 59:
        return None
    return int(match[1]) * 60 + int(match[2])


def _full(given: ManagedSettings) -> str:
    if not given.custom:
        return "weekly sun 00:00"
    if given.full.lower() == "daily":
        return f"daily {given.begin}"
    days = ",".join(part.strip().lower() for part in (given.days_of_week or "Sunday").split("|"))
    return f"weekly {days} {given.begin}"


def _log(given: ManagedSettings) -> str | None:
    if not given.custom:
        return "every 2h"
    minutes = minutes_of(given.log) or 0
    return f"every {minutes}m" if minutes else None


def event_of(*, is_job: bool, succeeded: bool) -> str:
    """The kind of event that a row of a job's history is."""
    if not succeeded:
        return "SSMBackup2WAAdminXevent"
    return "SSMBackup2WAOperationalXevent" if is_job else "SSMBackup2WADebugXevent"


def available(sets: Sequence[NamedSet], days: float) -> list[tuple[Value, ...]]:
    """Rows of fn_available_backups from a database's sets, oldest first, with a row for each missing part of
    the log. A set expires ``days`` after the last backup before the next full one: until then moments
    that only it leads to are within the promised time."""
    rows: list[tuple[Value, ...]] = []
    reached: dict[Value, Decimal] = {}
    for found, last in zip(sets, _ends(sets), strict=True):
        before = reached.get(found.database_guid)
        if found.type == "L" and before is not None and found.first_lsn > before:
            hole = (None, "LOG", None, found.database_guid, before, found.first_lsn, None, None, None)
            rows.append((*hole, None, None, None, None))
        if found.type in "DL":
            reached[found.database_guid] = max(found.last_lsn, before or found.last_lsn)
        rows.append(
            (
                found.device,
                "LOG" if found.type == "L" else "DB",
                _later(last, days),
                found.database_guid,
                found.first_lsn,
                found.last_lsn,
                found.started,
                found.finished,
                found.machine,
                found.last_fork,
                found.first_fork,
                found.fork_point,
                None,
            )
        )
    return rows


def _ends(sets: Sequence[NamedSet]) -> list[DateTime]:
    """For each set when the last one of its database was finished before the next full one."""
    found: list[DateTime] = []
    following: dict[Value, DateTime] = {}
    for item in reversed(sets):
        found.append(following.get(item.database_guid, item.finished))
        following[item.database_guid] = found[-1]
        if item.type == "D":
            del following[item.database_guid]
    return found[::-1]


def _later(moment: DateTime, days: float) -> DateTime:
    return DateTime.of(moment.to_python() + dt.timedelta(days=days))

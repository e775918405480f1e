"""What a policy says: which databases, when, where to, how, and for how long.

Policies come from ``[policy.NAME]`` tables of the configuration file, from ``tdsproxy agent schedule`` and
from ``msdb.managed_backup``'s procedures; all of them are one record, kept as JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from tdsproxy.agent.timetable import parse_timetable
from tdsproxy.commands.name_patterns import matches

DEFAULT_DAILY: Final = 7
DEFAULT_WEEKLY: Final = 4
DEFAULT_MONTHLY: Final = 12
DEFAULT_YEARLY: Final = 7


@dataclass(frozen=True, slots=True)
class Retention:
    """What is kept. ``daily`` to ``yearly`` are how many days, weeks, months and years keep their newest full
    backup (grandfather, father, son); 0 keeps none for that reason.

    ``age_days`` keeps everything younger; ``count`` the newest so many full backups with all that builds on
    them; ``size_bytes`` is the most that all of a database's backups may take, the oldest go first;
    ``window_days`` promises that each moment of so many past days can be restored. None: no such rule.
    What a kept backup or the window needs is kept as well. ``archive_after_days`` moves what is older into
    ``archive_class``, the storage class of an object store.
    """

    daily: int = DEFAULT_DAILY
    weekly: int = DEFAULT_WEEKLY
    monthly: int = DEFAULT_MONTHLY
    yearly: int = DEFAULT_YEARLY
    age_days: float | None = None
    count: int | None = None
    size_bytes: int | None = None
    window_days: float | None = None
    archive_after_days: float | None = None
    archive_class: str | None = None


@dataclass(frozen=True, slots=True)
class AfterChange:
    """A backup because much has changed: after ``commits`` commits or ``log_bytes`` of log, or when a changed
    database has been quiet for ``quiet_seconds``; at most one in ``at_most_every`` seconds. ``kind``: log,
    differential or full. A database in SIMPLE has no log that could be measured: there, only quiet counts."""

    commits: int | None = None
    log_bytes: int | None = None
    quiet_seconds: float | None = None
    at_most_every: float = 60.0
    kind: str = "log"


@dataclass(frozen=True, slots=True)
class Policy:
    """``databases`` and ``exclude`` are names or patterns (``name_patterns``); a pattern never means a system
    database. ``full``, ``differential``, ``log`` and ``verify`` are timetables in words (see
    ``timetable``). ``destinations`` are directories or URLs, ``{database}`` in them is replaced; the first
    gets the backup, the others its mirrors. ``compression`` is an algorithm, or ``default``. ``certificate``
    names what encrypts, which is an ``encryptor``: CERTIFICATE or ASYMMETRIC KEY."""

    name: str
    databases: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ("",)
    full: str | None = None
    differential: str | None = None
    log: str | None = None
    verify: str | None = None
    after_change: AfterChange | None = None
    compression: str | None = None
    encryption_algorithm: str | None = None
    certificate: str | None = None
    retention: Retention | None = None
    encryptor: str = "CERTIFICATE"

    def covers(self, database: str) -> bool:
        """Whether the policy is for a database of this name."""
        name = database.lower()
        if any(matches(name, pattern) for pattern in self.exclude):
            return False
        for pattern in self.databases:
            wanted = pattern.lower()
            if wanted == name or (name not in SYSTEM_NAMES and matches(name, wanted)):
                return True
        return False

    def timetables(self) -> dict[str, str]:
        """What is to be done at times, by action."""
        given = {"full": self.full, "differential": self.differential, "log": self.log, "verify": self.verify}
        return {action: words for action, words in given.items() if words}


SYSTEM_NAMES: Final = frozenset({"master", "model", "msdb", "tempdb"})
KINDS: Final = ("full", "differential", "log")
_ALGORITHMS: Final = ("AES_128", "AES_192", "AES_256")
_UNITS: Final = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_SECONDS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


class PolicyError(ValueError):
    """What is said of a policy can't be meant; one sentence for the user."""


def read_policy(name: str, table: Mapping[str, object]) -> Policy:
    """A policy of the configuration file, or of ``document``. Raises PolicyError."""
    left = {key.replace("-", "_"): value for key, value in table.items()}
    reader = _Reader(name)
    encryption = reader.table(left.pop("encryption", None), "encryption")
    change = reader.table(left.pop("after_change", None), "after_change")
    retention = left.pop("retention", None)
    algorithm = str(encryption.pop("algorithm", "AES_256")).upper() if encryption else None
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise reader.wrong("encryption", f"the algorithm is one of {', '.join(_ALGORITHMS)}")
    certificate = reader.text(encryption.pop("certificate", None), "encryption") if encryption else None
    if algorithm is not None and certificate is None:
        raise reader.wrong("encryption", "it names no certificate")
    compression = left.pop("compression", None)
    if isinstance(compression, bool):
        compression = "default" if compression else None
    made = Policy(
        name,
        reader.texts(left.pop("databases", ()), "databases"),
        reader.texts(left.pop("exclude", ()), "exclude"),
        reader.texts(left.pop("destination", left.pop("destinations", "")), "destination"),
        full=reader.times(left.pop("full", None), "full"),
        differential=reader.times(left.pop("differential", None), "differential"),
        log=reader.times(left.pop("log", None), "log"),
        verify=reader.times(left.pop("verify", None), "verify"),
        after_change=_after_change(reader, change) if change else None,
        compression=reader.text(compression, "compression"),
        encryption_algorithm=algorithm,
        certificate=certificate,
        retention=None if retention is None else _retention(reader, reader.table(retention, "retention")),
    )
    if left or encryption:
        raise reader.wrong(sorted([*left, *encryption])[0], "there is no such key")
    if not made.databases:
        raise reader.wrong("databases", "it names none")
    return made


def document(policy: Policy) -> str:
    """The policy as JSON, as ``from_document`` reads it."""
    return json.dumps(asdict(policy), sort_keys=True)


def from_document(text: str) -> Policy:
    """Raises ValueError for what is no such document."""
    given = json.loads(text)
    for name in ("databases", "exclude", "destinations"):
        given[name] = tuple(given[name])
    if given["after_change"] is not None:
        given["after_change"] = AfterChange(**given["after_change"])
    if given["retention"] is not None:
        given["retention"] = Retention(**given["retention"])
    return Policy(**given)


def _after_change(reader: _Reader, table: dict[str, object]) -> AfterChange:
    made = AfterChange(
        reader.count(table.pop("commits", None), "commits"),
        reader.size(table.pop("log", None), "log"),
        reader.seconds(table.pop("quiet", None), "quiet"),
        reader.seconds(table.pop("at_most_every", "60s"), "at_most_every") or 0.0,
        str(table.pop("type", "log")),
    )
    if made.kind not in KINDS:
        raise reader.wrong("after_change", f"the type is one of {', '.join(KINDS)}")
    if table:
        raise reader.wrong(f"after_change.{min(table)}", "there is no such key")
    if made.commits is None and made.log_bytes is None and made.quiet_seconds is None:
        raise reader.wrong("after_change", "it needs commits, log or quiet")
    return made


def _retention(reader: _Reader, table: dict[str, object]) -> Retention:
    given: dict[str, Any] = {}
    for name in ("daily", "weekly", "monthly", "yearly", "count"):
        if name in table:
            given[name] = reader.count(table.pop(name), name, least=0)
    for name in ("age", "window", "archive_after"):
        if name in table:
            seconds = reader.seconds(table.pop(name), name)
            given[f"{name}_days"] = None if seconds is None else seconds / _SECONDS["d"]
    if "size" in table:
        given["size_bytes"] = reader.size(table.pop("size"), "size")
    if "archive_class" in table:
        given["archive_class"] = reader.text(table.pop("archive_class"), "archive_class")
    if table:
        raise reader.wrong(f"retention.{min(table)}", "there is no such key")
    return Retention(**given)


class _Reader:
    """Values of one policy as they are written."""

    def __init__(self, name: str) -> None:
        self._name = name

    def wrong(self, key: str, why: str) -> PolicyError:
        return PolicyError(f"The policy '{self._name}' has a wrong '{key}': {why}.")

    def table(self, value: object, key: str) -> dict[str, object]:
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self.wrong(key, "it is a table")
        return {str(name).replace("-", "_"): part for name, part in value.items()}

    def text(self, value: object, key: str) -> str | None:
        if value is not None and not isinstance(value, str):
            raise self.wrong(key, "it is a text")
        return value

    def texts(self, value: object, key: str) -> tuple[str, ...]:
        parts = [value] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
            raise self.wrong(key, "it is a text or a list of texts")
        return tuple(parts)

    def times(self, value: object, key: str) -> str | None:
        text = self.text(value, key)
        if text is not None:
            try:
                parse_timetable(text)
            except ValueError as error:
                raise self.wrong(key, str(error).rstrip(".")) from error
        return text

    def count(self, value: object, key: str, least: int = 1) -> int | None:
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise self.wrong(key, f"it is a whole number from {least} on")
        return value

    def size(self, value: object, key: str) -> int | None:
        found = self._measure(value, _UNITS)
        if value is not None and found is None:
            raise self.wrong(key, "it is a size such as 64M")
        return None if found is None else int(found)

    def seconds(self, value: object, key: str) -> float | None:
        found = self._measure(value, _SECONDS)
        if value is not None and found is None:
            raise self.wrong(key, "it is a time such as 30s, 12h or 7d")
        return found

    @staticmethod
    def _measure(value: object, units: Mapping[str, float]) -> float | None:
        if isinstance(value, bool):
            return None
        if isinstance(value, int | float):
            return float(value)
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]?)", value) if isinstance(value, str) else None
        if match is None or (match[2] and match[2].lower() not in units):
            return None
        return float(match[1]) * (units[match[2].lower()] if match[2] else 1)

"""What the operator wants to happen by itself: who is told of what, how long backups stay, trial restores.

They come from the tables ``[notices]``, ``[retention]`` and ``[trials]`` of the configuration and lie, as
JSON, in ``STORE/operation.json`` (mode 0600: addresses of webhooks are secrets), where the keeper finds them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from tdsproxy.agent.notices import Objectives
from tdsproxy.agent.policies import Retention
from tdsproxy.commands.name_patterns import matches
from tdsproxy.store.files import replace_durably

SETTINGS: Final = "operation.json"


class SettingsError(ValueError):
    """Settings that can't be used; the text says which and why."""


class MailSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``password_file`` holds the password of ``user``; ``profile`` is what sp_send_dbmail calls it."""

    host: str
    to: list[str]
    sender: str
    port: int = 25
    user: str | None = None
    password_file: str | None = None
    starttls: bool = False
    profile: str = "default"


class NoticeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who is told (``webhooks``, ``mail``), what must hold (see ``Objectives``), how often that is looked at,
    and after which time something that lasts is told again."""

    webhooks: list[str] = []
    mail: MailSettings | None = None
    full_hours: float | None = None
    any_hours: float | None = None
    log_minutes: float | None = None
    proven_hours: float | None = None
    lag_seconds: float | None = None
    disk_free_percent: float | None = 10.0
    quota_bytes: int | None = None
    interval_seconds: float = 60.0
    repeat_hours: float = 24.0

    @property
    def objectives(self) -> Objectives:
        return Objectives(
            self.full_hours,
            self.any_hours,
            self.log_minutes,
            self.proven_hours,
            self.lag_seconds,
            self.disk_free_percent,
            self.quota_bytes,
        )


class RetentionSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Rules by patterns of database names (``*`` and ``?``, any case), the first that fits holds; run each
    ``every_hours`` (0: only when asked)."""

    databases: dict[str, Retention] = {}
    every_hours: float = 24.0

    def of(self, database: str) -> Retention | None:
        for pattern, rules in self.databases.items():
            if matches(database, pattern):
                return rules
        return None


class TrialSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Trial restores of the databases that fit, one database each ``every_hours``; 0: only when asked."""

    every_hours: float = 0.0
    databases: tuple[str, ...] = ("*",)


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    notices: NoticeSettings = NoticeSettings()
    retention: RetentionSettings = RetentionSettings()
    trials: TrialSettings = TrialSettings()


def settings_of(plain: Mapping[str, Any]) -> Settings:
    """Raises SettingsError."""
    try:
        return msgspec.convert(plain, Settings)
    except msgspec.ValidationError as error:
        raise SettingsError(str(error)) from error


def read_settings(store: Path) -> Settings:
    """Those of a store; the defaults where there are none. Raises SettingsError, OSError."""
    try:
        text = (store / SETTINGS).read_bytes()
    except FileNotFoundError:
        return Settings()
    try:
        return settings_of(json.loads(text))
    except ValueError as error:
        raise SettingsError(str(error)) from error


def write_settings(store: Path, plain: Mapping[str, Any]) -> None:
    """Raises SettingsError, OSError."""
    settings_of(plain)
    content = json.dumps(plain, ensure_ascii=False, indent=1).encode()
    path = store / SETTINGS
    if not path.exists() or path.read_bytes() != content:
        replace_durably(path, content)

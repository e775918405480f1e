"""A server's plain command line without the command-line library, whose import takes longer than the rest.

Only what is beyond doubt is read here: known options, each with its value. Everything else (help, mistakes)
is left to the library, which knows what to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

COMMANDS: Final = {"serve": True, "server": False}
"""Whether the command is the proxy."""

_VALUES: Final = {
    "--store": "store",
    "--config": "config",
    "--listen": "listen",
    "--upstream": "upstream",
    "--backup-dir": "backup_dir",
    "--sa-password-file": "sa_password_file",
    "--tls": "tls",
    "--tls-cert": "tls_cert",
    "--tls-key": "tls_key",
    "--ready-file": "ready_file",
    "--metrics": "metrics",
    "--http": "http",
    "--log-level": "log_level",
}
_LISTS: Final = {"--allow-dir": "allow_dir", "--path-map": "path_map", "--database": "databases"}
_FLAGS: Final[dict[str, tuple[str, Any]]] = {"--no-tls": ("tls", "off"), "--log-json": ("log_json", True)}
_PROXY_ONLY: Final = frozenset({"--upstream"})


@dataclass(frozen=True, slots=True)
class QuickLine:
    """``given`` holds the options by field name."""

    proxy: bool
    given: dict[str, Any] = field(default_factory=dict)
    config: Path | None = None


def read(arguments: Sequence[str]) -> QuickLine | None:
    """The command line, or None when it is the library's."""
    if not arguments or arguments[0] not in COMMANDS:
        return None
    proxy = COMMANDS[arguments[0]]
    given: dict[str, Any] = {}
    words = iter(arguments[1:])
    for word in words:
        name, equals, value = word.partition("=")
        if name in _FLAGS and not equals:
            option, constant = _FLAGS[name]
            given[option] = constant
            continue
        if name not in _VALUES and name not in _LISTS:
            return None
        if name in _PROXY_ONLY and not proxy:
            return None
        if not equals:
            value = next(words, "")
        if not value or value.startswith("--"):
            return None
        if name in _LISTS:
            given.setdefault(_LISTS[name], []).append(value)
        elif _VALUES[name] in given:
            return None
        else:
            given[_VALUES[name]] = value
    config = given.pop("config", None)
    return QuickLine(proxy, given, None if config is None else Path(config))

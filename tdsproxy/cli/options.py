"""Where an option's value comes from: command line, then environment, then the TOML file, then default."""

from __future__ import annotations

import math
import string
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from tdsproxy.agent.policies import Policy
    from tdsproxy.keeper.options import SyncOptions

from tdsproxy.cli.upstream_trust import ANY, upstream_trust

ENVIRONMENT_PREFIX: Final = "TDSPROXY_"
DEFAULT_STORE: Final = Path("data")
TLS_MODES: Final = ("strict", "required", "wanted", "login", "off")
SYSTEM_AUTHORITIES: Final = "system"
MOST_SECONDS: Final = 3600
MOST_CONNECTIONS: Final = 32767
"""SQL Server's own limit."""


class OptionError(Exception):
    """A value that can't be used; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a TCP port; port 0 takes a free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """The options of ``serve`` and ``server``, resolved. ``tls`` is strict, required, wanted, login or off;
    ``upstream_tls`` likewise, or None; ``upstream_ca`` a file, ``system``, ``any``, or None: what was not
    said is as ``upstream_trust`` has it.
    ``capture`` is async, or sync: a commit to the embedded server is acknowledged when it is in the archive
    of the log. ``s3_http`` are the object stores (HOST:PORT) to reach in clear, ``ca_file`` the authorities
    to trust besides the system's. ``log_keep_size`` (bytes) and ``log_keep_time`` (seconds, None: any): how
    much of what is already in log backups a database's archive keeps. ``max_rate``: bytes a second that
    backups and restores together may move, None any."""

    store: Path = DEFAULT_STORE
    listen: Address = Address("127.0.0.1", 1433)
    upstream: Address | None = None
    upstream_tls: str | None = None
    upstream_ca: str | None = None
    upstream_cert_name: str | None = None
    upstream_wait: float = 5.0
    max_connections: int = 1000
    max_connections_per_login: int | None = None
    login_timeout: float = 15.0
    backup_dir: Path | None = None
    allow_dir: tuple[Path, ...] = ()
    path_map: tuple[tuple[str, Path], ...] = ()
    databases: tuple[tuple[str, Path], ...] = ()
    capture: str = "async"
    log_keep_size: int = 1 << 30
    log_keep_time: float | None = None
    max_rate: int | None = None
    s3_http: tuple[str, ...] = ()
    ca_file: Path | None = None
    sync: str | None = None
    sync_secret_file: Path | None = None
    sync_key_file: Path | None = None
    sync_interval: float = 1.0
    follow: str | None = None
    follow_secret_file: Path | None = None
    follow_key_file: Path | None = None
    follow_interval: float = 1.0
    sa_password_file: Path | None = None
    tls: str = "wanted"
    tls_cert: Path | None = None
    tls_key: Path | None = None
    ready_file: Path | None = None
    metrics: Address | None = None
    http: Address | None = None
    notices: dict[str, Any] | None = None
    retention: dict[str, Any] | None = None
    trials: dict[str, Any] | None = None
    log_level: str = "info"
    log_json: bool = False
    policy: tuple[Policy, ...] = ()


def parse_address(text: str, default_port: int = 1433) -> Address:
    """``HOST:PORT``, ``HOST``, ``:PORT`` or ``[IPV6]:PORT``. Raises OptionError."""
    if text.strip().isdecimal():
        # The resolver would take it for an IPv4 address in one number.
        raise OptionError(
            f"'{text}' is not an address: write HOST:PORT, or :{text.strip()} for this machine."
        )
    host, port = text.strip(), ""
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise OptionError(f"'{text}' is not an address of the form HOST:PORT.")
        port = rest[1:]
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not port:
        return Address(host or "127.0.0.1", default_port)
    if not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise OptionError(f"'{text}' does not name a TCP port from 0 to 65535.")
    return Address(host or "127.0.0.1", int(port))


def parse_path_map(text: str) -> tuple[str, Path]:
    """``FROM=TO``; FROM may hold backslashes. Raises OptionError."""
    source, separator, target = text.rpartition("=")
    if not separator or not source.strip() or not target.strip():
        raise OptionError(f"'{text}' is not a path mapping of the form FROM=TO.")
    return source.strip(), Path(target.strip()).absolute()


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise OptionError(f"The option '{name}' takes a text.")
    return value


def _path(value: object, name: str) -> Path:
    if isinstance(value, Path):
        return value.absolute()
    text = _text(value, name)
    if not text:
        raise OptionError(f"The option '{name}' takes a path, not an empty text.")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError:
        raise OptionError(
            f"The option '{name}' names a home directory that can't be found: {text}."
        ) from None


def _address(value: object, name: str) -> Address:
    return parse_address(_text(value, name))


def _table(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise OptionError(f"'{name}' is a table of the configuration file.")
    return {str(key): item for key, item in value.items()}


def _list(value: object, name: str) -> list[str]:
    """A list, or, as the environment gives it, texts separated by semicolons."""
    if isinstance(value, str):
        return [part for part in value.split(";") if part]
    if isinstance(value, list | tuple) and all(isinstance(part, str | Path) for part in value):
        return [str(part) for part in value]
    raise OptionError(f"The option '{name}' takes a list of texts.")


def _paths(value: object, name: str) -> tuple[Path, ...]:
    return tuple(_path(part, name) for part in _list(value, name))


def _hosts(value: object, name: str) -> tuple[str, ...]:
    found = tuple(_list(value, name))
    for host in found:
        parse_address(host, 443)
    return found


def _path_map(value: object, name: str) -> tuple[tuple[str, Path], ...]:
    if isinstance(value, dict):
        return tuple((str(source), _path(target, name)) for source, target in value.items())
    return tuple(parse_path_map(part) for part in _list(value, name))


def _choice(*allowed: str) -> Callable[[object, str], str]:
    def check(value: object, name: str) -> str:
        text = _text(value, name).lower()
        if text not in allowed:
            raise OptionError(f"The option '{name}' is one of {', '.join(allowed)}, not '{value}'.")
        return text

    return check


def _authorities(value: object, name: str) -> str:
    """A file, or one of the words ``system`` and ``any``."""
    text = str(value) if isinstance(value, Path) else _text(value, name)
    return text if text in (SYSTEM_AUTHORITIES, ANY) else str(_path(text, name))


def _number(value: object, name: str) -> float:
    try:
        if isinstance(value, bool):
            raise TypeError
        number = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise OptionError(f"The option '{name}' takes a number.")
    return number


def _seconds(value: object, name: str) -> float:
    number = _number(value, name)
    if not 0 <= number <= MOST_SECONDS:
        raise OptionError(f"The option '{name}' takes seconds from 0 to {MOST_SECONDS}.")
    return number


def _count(value: object, name: str) -> int:
    number = _number(value, name)
    if number != int(number) or not 1 <= number <= MOST_CONNECTIONS:
        raise OptionError(f"The option '{name}' takes a whole number from 1 to {MOST_CONNECTIONS}.")
    return int(number)


def _measure(value: object, name: str, units: Mapping[str, int], example: str) -> float:
    """A number with a unit behind it, or without: then of the smallest."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    number = text.rstrip(string.ascii_letters)
    unit = units.get(text[len(number) :].lower())
    try:
        found = float(number)
    except ValueError:
        found = -1.0
    if unit is None or not 0 <= found < math.inf:
        raise OptionError(f"The option '{name}' takes a number such as {example}.")
    return found * unit


def _size(value: object, name: str) -> int:
    units = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
    return int(_measure(value, name, units, "512M or 4G"))


def _rate(value: object, name: str) -> int:
    rate = _size(value, name)
    if not rate:
        raise OptionError(f"The option '{name}' takes a number such as 50M: bytes a second.")
    return rate


def parse_rate(text: str, name: str) -> int:
    """Bytes a second from ``50M``. Raises OptionError."""
    return _rate(text, name)


def _duration(value: object, name: str) -> float:
    return _measure(value, name, {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}, "12h or 7d")


def parse_size(text: str, name: str) -> int:
    """Bytes from ``512M`` or ``4G``. Raises OptionError."""
    return _size(text, name)


def parse_days(text: str, name: str) -> float:
    """Days from ``12h`` or ``7d``. Raises OptionError."""
    return _duration(text, name) / 86400


def _policies(value: object, name: str) -> tuple[Policy, ...]:
    """``[policy.NAME]`` tables; the environment has none."""
    from tdsproxy.agent.policies import PolicyError, read_policy

    if not isinstance(value, dict) or not all(isinstance(table, dict) for table in value.values()):
        raise OptionError(f"The option '{name}' is a table [{name}.NAME] for each policy.")
    try:
        return tuple(read_policy(str(key), table) for key, table in value.items())
    except PolicyError as error:
        raise OptionError(str(error)) from error


def _flag(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return value
    words = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False}
    words |= {"off": False, "": False}
    if isinstance(value, str) and value.lower() in words:
        return words[value.lower()]
    raise OptionError(f"The option '{name}' is true or false.")


_READERS: Final[dict[str, Callable[[object, str], Any]]] = {
    "store": _path,
    "listen": _address,
    "upstream": _address,
    "upstream_tls": _choice(*TLS_MODES),
    "upstream_ca": _authorities,
    "upstream_cert_name": _text,
    "upstream_wait": _seconds,
    "max_connections": _count,
    "max_connections_per_login": _count,
    "login_timeout": _seconds,
    "backup_dir": _path,
    "allow_dir": _paths,
    "path_map": _path_map,
    "databases": _path_map,
    "capture": _choice("async", "sync"),
    "log_keep_size": _size,
    "log_keep_time": _duration,
    "max_rate": _rate,
    "s3_http": _hosts,
    "ca_file": _path,
    "sync": _text,
    "sync_secret_file": _path,
    "sync_key_file": _path,
    "sync_interval": _seconds,
    "follow": _text,
    "follow_secret_file": _path,
    "follow_key_file": _path,
    "follow_interval": _seconds,
    "sa_password_file": _path,
    "tls": _choice(*TLS_MODES),
    "tls_cert": _path,
    "tls_key": _path,
    "ready_file": _path,
    "metrics": _address,
    "http": _address,
    "notices": _table,
    "retention": _table,
    "trials": _table,
    "log_level": _choice("debug", "info", "warning", "error"),
    "log_json": _flag,
    "policy": _policies,
}


def read_config(path: Path) -> dict[str, object]:
    """The file's keys in option spelling (``backup_dir``). Raises OptionError for a file that can't be read
    and for keys that are no option."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise OptionError(f"The configuration file '{path}' can't be read: {reason}.") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"The configuration file '{path}' is not TOML: {error}.") from error
    except RecursionError:
        raise OptionError(f"The configuration file '{path}' nests its values too deeply.") from None
    for name in ("sync", "follow"):
        table = data.get(name)
        if isinstance(table, dict):
            # [sync] url = "...", secret_file = "...": the same as sync = "...", sync_secret_file = "...".
            del data[name]
            data |= {name if key == "url" else f"{name}_{key}": value for key, value in table.items()}
    normal = {key.replace("-", "_"): value for key, value in data.items()}
    unknown = sorted(key for key in normal if key not in _READERS)
    if unknown:
        raise OptionError(f"The configuration file '{path}' has an unknown key '{unknown[0]}'.")
    return normal


def resolve(
    command_line: Mapping[str, object], environment: Mapping[str, str], config: Path | None
) -> ServeOptions:
    """Merge the sources. ``command_line`` holds options by field name; None and empty lists mean that the
    option was not given. Raises OptionError."""
    from_environment = {
        name: environment[ENVIRONMENT_PREFIX + name.upper()]
        for name in _READERS
        if ENVIRONMENT_PREFIX + name.upper() in environment
    }
    if config is None and environment.get(ENVIRONMENT_PREFIX + "CONFIG"):
        config = Path(environment[ENVIRONMENT_PREFIX + "CONFIG"])
    given = {name: value for name, value in command_line.items() if value is not None and value != []}
    merged: dict[str, object] = {**(read_config(config) if config else {}), **from_environment, **given}
    values = {name: _READERS[name](value, name.replace("_", "-")) for name, value in merged.items()}
    values.setdefault("store", DEFAULT_STORE.absolute())
    options = ServeOptions(**values)
    if (options.tls_cert is None) != (options.tls_key is None):
        raise OptionError("The options 'tls-cert' and 'tls-key' go together.")
    if options.upstream_tls == "off" and options.upstream_ca is not None:
        raise OptionError("The option 'upstream-ca' says nothing while 'upstream-tls' is off.")
    host = "" if options.upstream is None else options.upstream.host
    _mode, authorities = upstream_trust(host, options.upstream_tls, options.upstream_ca)
    if options.upstream_cert_name is not None and authorities is None:
        raise OptionError("The option 'upstream-cert-name' needs 'upstream-ca'.")
    return options


def sync_options(options: ServeOptions) -> SyncOptions | None:
    """For the keeper."""
    from tdsproxy.keeper.options import SyncOptions

    if options.sync is None:
        return None
    return SyncOptions(options.sync, options.sync_secret_file, options.sync_key_file, options.sync_interval)


def follow_options(options: ServeOptions) -> SyncOptions | None:
    """For the keeper."""
    from tdsproxy.keeper.options import SyncOptions

    if options.follow is None:
        return None
    return SyncOptions(options.follow, options.follow_secret_file, None, options.follow_interval)


def names() -> tuple[str, ...]:
    """All option names, as fields."""
    return tuple(field.name for field in fields(ServeOptions))

"""``tdsproxy serve`` and ``tdsproxy server``: the same options, but for those of an upstream."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, CaFile, Config, PathMap, S3Http, Store
from tdsproxy.cli.entry import run_server

Listen = Annotated[
    str | None,
    typer.Option("--listen", help="HOST:PORT to answer on; port 0 takes a free one. [127.0.0.1:1433]"),
]
UpstreamOption = Annotated[
    str | None, typer.Option("--upstream", help="HOST:PORT of the server behind. [the embedded one]")
]
Capture = Annotated[
    str | None,
    typer.Option("--capture", help="sync: acknowledge a commit once it is in the log's archive. [async]"),
]
LogKeepSize = Annotated[
    str | None,
    typer.Option("--log-keep-size", help="Log already backed up that a database keeps, e.g. 4G. [1G]"),
]
MaxRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate", help="Most bytes a second that backups and restores move together, e.g. 50M. [any]"
    ),
]
LogKeepTime = Annotated[
    str | None,
    typer.Option("--log-keep-time", help="For how long it keeps that, e.g. 7d. [any time]"),
]
SyncUrl = Annotated[
    str | None,
    typer.Option("--sync", help="URL of an object store to keep up with this one, at every moment."),
]
SyncSecretFile = Annotated[
    Path | None,
    typer.Option(
        "--sync-secret-file", help="Its credential, as SECRET has it. [the store's own for the URL]"
    ),
]
SyncKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--sync-key-file", help="Passphrase that seals the service master key sent along. [not sent]"
    ),
]
SyncInterval = Annotated[float | None, typer.Option("--sync-interval", help="Seconds between two looks. [1]")]
FollowUrl = Annotated[
    str | None,
    typer.Option("--follow", help="URL that another store is synchronised to: be its standby."),
]
FollowSecretFile = Annotated[
    Path | None, typer.Option("--follow-secret-file", help="Its credential, as SECRET has it.")
]
FollowKeyFile = Annotated[
    Path | None, typer.Option("--follow-key-file", help="The passphrase that the other store seals by.")
]
FollowInterval = Annotated[
    float | None, typer.Option("--follow-interval", help="Seconds between two looks. [1]")
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--sa-password-file", help="File with the password of sa (or TDSPROXY_SA_PASSWORD)."),
]
UpstreamTlsOption = Annotated[
    str | None,
    typer.Option(
        "--upstream-tls",
        help="strict, required, wanted, login or off. [required; wanted for an upstream on loopback]",
    ),
]
UpstreamCa = Annotated[
    str | None,
    typer.Option(
        "--upstream-ca",
        help="Authorities (PEM) that the upstream's certificate must come from, or 'system', or 'any' to"
        " trust any certificate. [system; any for an upstream on loopback, and with wanted, login or off]",
    ),
]
UpstreamCertName = Annotated[
    str | None,
    typer.Option("--upstream-cert-name", help="The name in the upstream's certificate. [its host]"),
]
UpstreamWait = Annotated[
    float | None,
    typer.Option("--upstream-wait", help="Seconds to try an upstream again that does not accept. [5]"),
]
MaxConnections = Annotated[
    int | None, typer.Option("--max-connections", help="Sessions at the same time. [1000]")
]
MaxPerLogin = Annotated[
    int | None,
    typer.Option("--max-connections-per-login", help="Sessions of one login at the same time. [no limit]"),
]
LoginTimeout = Annotated[
    float | None,
    typer.Option("--login-timeout", help="Seconds from connection to login. [15]"),
]
Tls = Annotated[str | None, typer.Option("--tls", help="strict, required, wanted, login or off. [wanted]")]
NoTls = Annotated[bool, typer.Option("--no-tls", help="The same as --tls off.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate (PEM). [a self-signed one]")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")]
ReadyFile = Annotated[
    Path | None,
    typer.Option("--ready-file", help="File to write host, port and pid to when the port answers."),
]
LogLevel = Annotated[str | None, typer.Option("--log-level", help="debug, info, warning or error. [info]")]
Metrics = Annotated[
    str | None,
    typer.Option("--metrics", help="HOST:PORT for Prometheus (/metrics) and /healthz. [off]"),
]
Http = Annotated[str | None, typer.Option("--http", help="HOST:PORT of the status page. [off]")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log as JSON lines.")]

Databases = Annotated[
    list[str] | None,
    typer.Option(
        "--database",
        help="NAME=PATH: the SQLite file of a database that is not STORE/NAME.db; repeated. Several names may"
        " have one file. A table [databases] in the configuration file says the same.",
    ),
]

_OPTIONS: Final[dict[str, Any]] = {
    "store": Store,
    "listen": Listen,
    "upstream": UpstreamOption,
    "upstream_tls": UpstreamTlsOption,
    "upstream_ca": UpstreamCa,
    "upstream_cert_name": UpstreamCertName,
    "upstream_wait": UpstreamWait,
    "backup_dir": BackupDir,
    "allow_dir": AllowDir,
    "path_map": PathMap,
    "databases": Databases,
    "capture": Capture,
    "log_keep_size": LogKeepSize,
    "log_keep_time": LogKeepTime,
    "max_rate": MaxRate,
    "s3_http": S3Http,
    "ca_file": CaFile,
    "sync": SyncUrl,
    "sync_secret_file": SyncSecretFile,
    "sync_key_file": SyncKeyFile,
    "sync_interval": SyncInterval,
    "follow": FollowUrl,
    "follow_secret_file": FollowSecretFile,
    "follow_key_file": FollowKeyFile,
    "follow_interval": FollowInterval,
    "sa_password_file": PasswordFile,
    "tls": Tls,
    "no_tls": NoTls,
    "tls_cert": TlsCert,
    "tls_key": TlsKey,
    "max_connections": MaxConnections,
    "max_connections_per_login": MaxPerLogin,
    "login_timeout": LoginTimeout,
    "ready_file": ReadyFile,
    "metrics": Metrics,
    "http": Http,
    "log_level": LogLevel,
    "log_json": LogJson,
    "config": Config,
}
_OF_AN_UPSTREAM: Final = "upstream"
_FLAGS: Final = frozenset({"no_tls", "log_json"})


def serving(*, proxy: bool) -> Callable[..., None]:
    """The command for the proxy, or that for the embedded server alone."""

    def command(**given: Any) -> None:
        config = given.pop("config")
        if given.pop("no_tls"):
            given["tls"] = "off"
        given["log_json"] = given["log_json"] or None
        raise typer.Exit(run_server(given, config, proxy=proxy))

    parameters = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_default(name), annotation=kind)
        for name, kind in _OPTIONS.items()
        if proxy or not name.startswith(_OF_AN_UPSTREAM)
    ]
    # From this the library makes the options.
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


def _default(name: str) -> bool | None:
    return False if name in _FLAGS else None

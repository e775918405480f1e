"""``tdsproxy``: the commands and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tdsproxy.cli.backup import backup
from tdsproxy.cli.catalog import catalog
from tdsproxy.cli.checksum import checksum
from tdsproxy.cli.common import AllowDir, BackupDir, Config, PathMap, Store
from tdsproxy.cli.dump import dump
from tdsproxy.cli.entry import run_server
from tdsproxy.cli.extract import extract
from tdsproxy.cli.headers import headers
from tdsproxy.cli.history import history
from tdsproxy.cli.recode import recode
from tdsproxy.cli.restore import restore
from tdsproxy.cli.verify import verify

app = typer.Typer(
    name="tdsproxy",
    help="SQL Server's BACKUP and RESTORE for MSSQL-compatible servers whose databases are SQLite files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

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
LogKeepTime = Annotated[
    str | None,
    typer.Option("--log-keep-time", help="For how long it keeps that, e.g. 7d. [any time]"),
]
PasswordFile = Annotated[
    Path | None,
    typer.Option("--sa-password-file", help="File with the password of sa (or TDSPROXY_SA_PASSWORD)."),
]
UpstreamTlsOption = Annotated[
    str | None,
    typer.Option("--upstream-tls", help="strict, required, wanted, login or off. [wanted]"),
]
UpstreamCa = Annotated[
    str | None,
    typer.Option(
        "--upstream-ca",
        help="Authorities (PEM) that the upstream's certificate must come from, or 'system'. "
        "[any certificate is trusted]",
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
LogJson = Annotated[bool, typer.Option("--log-json", help="Log as JSON lines.")]


@app.callback()
def _root() -> None:
    return


@app.command()
def serve(
    store: Store = None,
    listen: Listen = None,
    upstream: UpstreamOption = None,
    upstream_tls: UpstreamTlsOption = None,
    upstream_ca: UpstreamCa = None,
    upstream_cert_name: UpstreamCertName = None,
    upstream_wait: UpstreamWait = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    capture: Capture = None,
    log_keep_size: LogKeepSize = None,
    log_keep_time: LogKeepTime = None,
    sa_password_file: PasswordFile = None,
    tls: Tls = None,
    no_tls: NoTls = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    max_connections: MaxConnections = None,
    max_connections_per_login: MaxPerLogin = None,
    login_timeout: LoginTimeout = None,
    ready_file: ReadyFile = None,
    log_level: LogLevel = None,
    log_json: LogJson = False,
    config: Config = None,
) -> None:
    """The proxy, in front of the embedded server or of another one."""
    status = run_server(
        {
            "store": store,
            "listen": listen,
            "upstream": upstream,
            "upstream_tls": upstream_tls,
            "upstream_ca": upstream_ca,
            "upstream_cert_name": upstream_cert_name,
            "upstream_wait": upstream_wait,
            "backup_dir": backup_dir,
            "allow_dir": allow_dir,
            "path_map": path_map,
            "capture": capture,
            "log_keep_size": log_keep_size,
            "log_keep_time": log_keep_time,
            "sa_password_file": sa_password_file,
            "tls": "off" if no_tls else tls,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "max_connections": max_connections,
            "max_connections_per_login": max_connections_per_login,
            "login_timeout": login_timeout,
            "ready_file": ready_file,
            "log_level": log_level,
            "log_json": log_json or None,
        },
        config,
        proxy=True,
    )
    raise typer.Exit(status)


@app.command()
def server(
    store: Store = None,
    listen: Listen = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    capture: Capture = None,
    log_keep_size: LogKeepSize = None,
    log_keep_time: LogKeepTime = None,
    sa_password_file: PasswordFile = None,
    tls: Tls = None,
    no_tls: NoTls = False,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    max_connections: MaxConnections = None,
    max_connections_per_login: MaxPerLogin = None,
    login_timeout: LoginTimeout = None,
    ready_file: ReadyFile = None,
    log_level: LogLevel = None,
    log_json: LogJson = False,
    config: Config = None,
) -> None:
    """The embedded MSSQL-compatible server alone."""
    status = run_server(
        {
            "store": store,
            "listen": listen,
            "backup_dir": backup_dir,
            "allow_dir": allow_dir,
            "path_map": path_map,
            "capture": capture,
            "log_keep_size": log_keep_size,
            "log_keep_time": log_keep_time,
            "sa_password_file": sa_password_file,
            "tls": "off" if no_tls else tls,
            "tls_cert": tls_cert,
            "tls_key": tls_key,
            "max_connections": max_connections,
            "max_connections_per_login": max_connections_per_login,
            "login_timeout": login_timeout,
            "ready_file": ready_file,
            "log_level": log_level,
            "log_json": log_json or None,
        },
        config,
        proxy=False,
    )
    raise typer.Exit(status)


app.command()(backup)
app.command()(restore)
app.command()(verify)
app.command()(headers)
app.command()(history)
app.command()(extract)
app.command()(dump)
app.command()(checksum)
app.command()(catalog)
app.command()(recode)

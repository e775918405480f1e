"""The options that the commands of the shell share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from tdsproxy.cli.options import ServeOptions, parse_rate, resolve

Store = Annotated[Path | None, typer.Option("--store", help="Directory of the databases. [./data]")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with any of these options.")]
BackupDir = Annotated[
    Path | None, typer.Option("--backup-dir", help="Where relative TO DISK names go. [STORE/backup]")
]
AllowDir = Annotated[
    list[Path] | None, typer.Option("--allow-dir", help="Another directory that DISK may name; repeatable.")
]
PathMap = Annotated[
    list[str] | None,
    typer.Option("--path-map", help="FROM=TO: a script's server path to a directory here; repeatable."),
]
S3Http = Annotated[
    list[str] | None,
    typer.Option("--s3-http", help="HOST:PORT of an S3 store to reach by plain HTTP; repeatable."),
]
CaFile = Annotated[
    Path | None,
    typer.Option("--ca-file", help="Authorities (PEM) to trust for object stores, besides the system's."),
]
MaxRate = Annotated[
    str | None,
    typer.Option(
        "--max-rate", help="Most bytes a second from and to the media, e.g. 50M. [what the keeper was given]"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")]
Database = Annotated[str, typer.Argument(help="Name of the database.", metavar="NAME")]
Media = Annotated[
    list[str],
    typer.Argument(
        help="The media, as DISK names them: relative to the backup directory; several are stripes.",
        metavar="FILE...",
    ),
]
Server = Annotated[
    str | None,
    typer.Option("--server", "-S", help="HOST:PORT. [the address to listen on, 127.0.0.1:1433]"),
]
User = Annotated[str, typer.Option("--user", "-U", help="Login.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        "--password-file",
        help="File with the password (or TDSPROXY_SA_PASSWORD). [STORE/sa_password]",
    ),
]


def rate_of(text: str | None) -> int | None:
    """Bytes a second. Raises OptionError."""
    return None if text is None else parse_rate(text, "max_rate")


def place(
    store: Path | None,
    config: Path | None,
    backup_dir: Path | None = None,
    allow_dir: list[Path] | None = None,
    path_map: list[str] | None = None,
    s3_http: list[str] | None = None,
    ca_file: Path | None = None,
) -> ServeOptions:
    """Where the store and the media are. Raises OptionError."""
    given = {
        "store": store,
        "backup_dir": backup_dir,
        "allow_dir": allow_dir,
        "path_map": path_map,
        "s3_http": s3_http,
        "ca_file": ca_file,
    }
    return resolve(given, os.environ, config)

"""``tdsproxy backup``: BACKUP DATABASE and BACKUP LOG."""

from __future__ import annotations

import datetime as dt
from pathlib import PurePath
from typing import Annotated

import typer

from tdsproxy.cli.common import (
    AllowDir,
    BackupDir,
    Config,
    Database,
    Json,
    MaxRate,
    PathMap,
    Store,
    place,
    rate_of,
)
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.native import Statement
from tdsproxy.cli.progress import display
from tdsproxy.cli.shell import run_statement, show

_ALGORITHMS = {"zstd": "ZSTD", "gzip": "GZIP", "bzip2": "BZIP2", "xz": "XZ"}
_LEVELS = {"low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_CIPHERS = {"aes_128": "AES_128", "aes_192": "AES_192", "aes_256": "AES_256"}


def backup(
    database: Database,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="The media, as DISK names them: relative to the backup directory; several are stripes. "
            "[the database's name with .bak or .trn]",
            metavar="[FILE]...",
        ),
    ] = None,
    differential: Annotated[
        bool, typer.Option("--differential", help="What has changed since the last full backup.")
    ] = False,
    log: Annotated[
        bool, typer.Option("--log", help="BACKUP LOG: what was committed since the last one.")
    ] = False,
    copy_only: Annotated[bool, typer.Option("--copy-only", help="Leave the chain of backups alone.")] = False,
    init: Annotated[bool, typer.Option("--init", help="Overwrite the backup sets on the media.")] = False,
    form: Annotated[
        bool, typer.Option("--format", help="Write a new media set over whatever is there.")
    ] = False,
    timestamp: Annotated[
        bool,
        typer.Option("--timestamp", help="Put the time into the files' names: NAME_20261122_183000.bak."),
    ] = False,
    mirror: Annotated[
        list[str] | None, typer.Option("--mirror", help="A second copy; as often as there are files.")
    ] = None,
    compress: Annotated[bool, typer.Option("--compress", help="Compress the backup set.")] = False,
    algorithm: Annotated[
        str | None, typer.Option("--algorithm", help="zstd, gzip, bzip2 or xz; implies --compress.")
    ] = None,
    level: Annotated[
        str | None, typer.Option("--level", help="low, medium or high; implies --compress.")
    ] = None,
    certificate: Annotated[
        str | None, typer.Option("--certificate", help="Encrypt for this certificate of the store.")
    ] = None,
    cipher: Annotated[str, typer.Option("--cipher", help="aes_128, aes_192 or aes_256.")] = "aes_256",
    checksum: Annotated[bool, typer.Option("--checksum", help="WITH CHECKSUM.")] = False,
    name: Annotated[str | None, typer.Option("--name", help="Name of the backup set.")] = None,
    description: Annotated[
        str | None, typer.Option("--description", help="Description of the backup set.")
    ] = None,
    retain_days: Annotated[
        int | None, typer.Option("--retain-days", min=0, help="Days until the set may be overwritten.")
    ] = None,
    norecovery: Annotated[
        bool, typer.Option("--norecovery", help="With --log: the tail; the database is RESTORING then.")
    ] = False,
    no_truncate: Annotated[
        bool, typer.Option("--no-truncate", help="With --log: also of a damaged database.")
    ] = False,
    max_rate: MaxRate = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """BACKUP DATABASE or LOG, of a served store or of one at rest."""
    if log and differential:
        raise CommandError("A backup is --log or --differential, not both.")
    if (norecovery or no_truncate) and not log:
        raise CommandError("--norecovery and --no-truncate go with --log.")
    given = files or [_file_name(database, log=log)]
    mirrors = mirror or []
    if mirrors and len(mirrors) != len(given):
        raise CommandError(f"A mirror has as many files as the first copy: {len(given)}.")
    if timestamp:
        now = dt.datetime.now()
        given, mirrors = [stamped(f, now) for f in given], [stamped(f, now) for f in mirrors]
    statement = Statement(options=["STATS = 1"])
    kind = "LOG" if log else "DATABASE"
    statement.text = f"BACKUP {kind} {statement.value(database)} TO {statement.devices(given)}"
    if mirrors:
        statement.text += f" MIRROR TO {statement.devices(mirrors)}"
    flags = (
        ("DIFFERENTIAL", differential), ("COPY_ONLY", copy_only), ("FORMAT", form), ("INIT", init),
        ("CHECKSUM", checksum), ("NORECOVERY", norecovery), ("NO_TRUNCATE", no_truncate),
    )  # fmt: skip
    statement.add_flags(flags)
    if compress or algorithm is not None or level is not None:
        statement.options.append(_compression(algorithm, level))
    if certificate is not None:
        word = _word(cipher, _CIPHERS, "--cipher")
        quoted = certificate.replace("]", "]]")
        statement.options.append(f"ENCRYPTION (ALGORITHM = {word}, SERVER CERTIFICATE = [{quoted}])")
    statement.add("NAME", name)
    statement.add("DESCRIPTION", description)
    statement.add("RETAINDAYS", retain_days)
    options = place(store, config, backup_dir, allow_dir, path_map)
    rate = rate_of(max_rate)
    with display(f"backup of {database}", quiet=as_json) as progress:
        outcome = run_statement(options, statement.whole(), statement.variables, progress, rate)
    show(outcome, as_json=as_json)


def stamped(file: str, now: dt.datetime) -> str:
    """``shop.bak`` as ``shop_20261122_183000.bak``."""
    path = PurePath(file)
    return str(path.with_name(f"{path.stem}_{now:%Y%m%d_%H%M%S}{path.suffix}"))


def _file_name(database: str, *, log: bool) -> str:
    plain = "".join("_" if letter in '/\\:*?"<>|\0' else letter for letter in database)
    return plain + (".trn" if log else ".bak")


def _compression(algorithm: str | None, level: str | None) -> str:
    if algorithm is None and level is None:
        return "COMPRESSION"
    words = [f"ALGORITHM = {_word(algorithm or 'zstd', _ALGORITHMS, '--algorithm')}"]
    if level is not None:
        words.append(f"LEVEL = {_word(level, _LEVELS, '--level')}")
    return f"COMPRESSION ({', '.join(words)})"


def _word(given: str, words: dict[str, str], option: str) -> str:
    found = words.get(given.lower())
    if found is None:
        raise CommandError(f"{option} is one of {', '.join(words)}, not '{given}'.")
    return found

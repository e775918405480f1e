"""``tdsproxy history``: which backups there are, in which files, and to which moments they lead."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, PathMap, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions

_RANGES = ("from", "to", "device", "file", "through")
_SETS = (
    "database", "type", "finished", "file", "size", "compressed_size", "copy_only", "encrypted",
    "first_lsn", "last_lsn", "devices",
)  # fmt: skip
_FILES = ("device", "path", "size", "databases")


def history(
    database: Annotated[
        str | None, typer.Argument(help="Only the backups of this database.", metavar="[NAME]")
    ] = None,
    points: Annotated[
        str | None,
        typer.Option(
            "--points", help="The ranges of time to which this database can be restored.", metavar="NAME"
        ),
    ] = None,
    files: Annotated[bool, typer.Option("--files", help="The files that hold the backups.")] = False,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """The backups that were made, and what can be restored."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    if points is not None:
        if database is not None or files:
            raise CommandError("--points stands alone.")
        _points(options, points, as_json=as_json)
    elif files:
        _files(options, database, as_json=as_json)
    else:
        _sets(options, database, as_json=as_json)


def _asked(
    options: ServeOptions, procedure: str, database: str | None, columns: Sequence[str]
) -> list[dict[str, Any]]:
    found = run_statement(options, f"EXEC {procedure} @a1", {"@a1": database})
    return [dict(zip(columns, row.values(), strict=False)) for row in found.rows]


def _points(options: ServeOptions, database: str, *, as_json: bool) -> None:
    rows = _asked(options, "sp_restore_ranges", database, _RANGES)
    if as_json:
        typer.echo(json.dumps({"ranges": rows}, ensure_ascii=False))
        return
    for row in rows:
        where = f"{row['device']} (file {row['file']})" if row["file"] is not None else row["device"]
        span = row["from"] if row["from"] == row["to"] else f"{row['from']} to {row['to']}"
        typer.echo(f"{span}  from {where}, {row['through']}")
    if not rows:
        typer.echo(f"Nothing that is known leads to a state of '{database}'.")


def _sets(options: ServeOptions, database: str | None, *, as_json: bool) -> None:
    rows = [_plain_set(row) for row in _asked(options, "sp_backup_list", database, _SETS)]
    if as_json:
        typer.echo(json.dumps({"backups": rows}, ensure_ascii=False))
        return
    for row in rows:
        marks = [word for word in ("copy_only", "encrypted") if row[word]]
        words = [
            str(row["finished"]), str(row["database"]), str(row["type"]), f"{row['compressed_size']:,} bytes",
            f"{', '.join(row['devices'])} (file {row['file']})", *(word.replace("_", "-") for word in marks),
        ]  # fmt: skip
        typer.echo("  ".join(words))
    if not rows:
        typer.echo("msdb knows of no backups.")


def _plain_set(row: dict[str, Any]) -> dict[str, Any]:
    numbers = {name: int(row[name]) for name in ("file", "size", "compressed_size")}
    flags = {name: row[name] == "1" for name in ("copy_only", "encrypted")}
    return {**row, **numbers, **flags, "devices": str(row["devices"]).split("\n")}


def _files(options: ServeOptions, database: str | None, *, as_json: bool) -> None:
    rows = _asked(options, "sp_backup_file_list", database, _FILES)
    for row in rows:
        row["size"] = None if row["size"] is None else int(row["size"])
        row["databases"] = str(row["databases"]).split("\n")
    if as_json:
        typer.echo(json.dumps({"files": rows}, ensure_ascii=False))
        return
    for row in rows:
        size = "missing" if row["size"] is None else f"{row['size']:,} bytes"
        typer.echo(f"{row['device']}  {size}  {', '.join(row['databases'])}")
    if not rows:
        typer.echo("msdb knows of no backups.")

"""``tdsproxy catalog --rebuild``: msdb's history of backups again, from the media alone."""

from __future__ import annotations

import json
from typing import Annotated, NamedTuple

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, PathMap, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement


class _Set(NamedTuple):
    """A backup set that was found; ``type`` as in msdb (D, I, L)."""

    database: str | int
    type: str | int
    finished: str | int
    device: str | int
    position: str | int
    added: str | int


def catalog(
    places: Annotated[
        list[str] | None,
        typer.Argument(
            help="Media, or directories of media; URLs, too. [the backup directory, those that are allowed,"
            " and what there are credentials for]",
            metavar="[PATH...]",
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Add the backup sets that msdb does not know.")
    ] = False,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Make msdb's history again, from the media alone."""
    if not rebuild:
        raise CommandError("Say --rebuild.")
    options = place(store, config, backup_dir, allow_dir, path_map)
    variables = {f"@a{number}": path for number, path in enumerate(places or (), 1)}
    text = f"EXEC sp_rebuild_history {', '.join(variables)}"
    found = run_statement(options, text, dict(variables))
    rows = [_Set(*map(_plain, row.values())) for row in found.rows]
    if as_json:
        typer.echo(json.dumps({"sets": [row._asdict() for row in rows]}, ensure_ascii=False))
        return
    for row in rows:
        state = "added" if row.added else "known"
        typer.echo(f"{state}  {row.finished}  {row.type}  {row.database}  {row.device}, file {row.position}")
    added = sum(bool(row.added) for row in rows)
    typer.echo(f"{len(rows)} backup sets on the media, {added} added to the history.")


def _plain(value: object) -> str | int:
    return value if isinstance(value, int) else str(value)

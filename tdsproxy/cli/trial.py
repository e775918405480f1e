"""``tdsproxy agent trial``: a restore on trial, with its evidence in msdb."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, PathMap, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement

_COLUMNS = ("database", "moment", "succeeded", "sets", "seconds", "text")


def trial(
    database: Annotated[
        str | None,
        typer.Argument(
            help="The database; without it, the one that was not proven for the longest time.",
            metavar="[NAME]",
        ),
    ] = None,
    moment: Annotated[
        str | None,
        typer.Option("--moment", help="A moment to restore; without it another one is chosen each time."),
    ] = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Restore on trial. A database as it was at some moment, into a scratch file; msdb notes the result."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    found = run_statement(options, "EXEC sp_trial_restore @a1, @a2", {"@a1": database, "@a2": moment})
    if not found.rows:
        raise CommandError("There is no database with a full backup.")
    row = {name: str(value) for name, value in zip(_COLUMNS, found.rows[0].values(), strict=True)}
    succeeded = row["succeeded"] == "1"
    if as_json:
        typer.echo(json.dumps({**row, "succeeded": succeeded}, ensure_ascii=False))
    else:
        verdict = "is proven" if succeeded else "IS NOT RESTORABLE"
        typer.echo(
            f"Database '{row['database']}' as of {row['moment']} {verdict}: {row['sets']} backup sets,"
            f" {row['seconds']} seconds; {row['text']}."
        )
    if not succeeded:
        raise typer.Exit(1)

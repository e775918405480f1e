"""``tdsproxy verify``: RESTORE VERIFYONLY, or a restore into a scratch file that is looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsproxy.cli.common import (
    AllowDir,
    BackupDir,
    Config,
    Json,
    MaxRate,
    Media,
    PathMap,
    Store,
    place,
    rate_of,
)
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.native import Statement, names
from tdsproxy.cli.progress import display
from tdsproxy.cli.shell import plain, run_statement, show
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions


def verify(
    files: Media,
    position: Annotated[int, typer.Option("--file", min=1, help="Position of the backup set.")] = 1,
    checksum: Annotated[bool, typer.Option("--checksum", help="WITH CHECKSUM.")] = False,
    restore: Annotated[
        bool,
        typer.Option(
            "--restore",
            help="Restore into a scratch file: integrity, foreign keys, schema and rows as at backup time.",
        ),
    ] = False,
    run: Annotated[
        Path | None,
        typer.Option("--run", help="Queries to run there, in SQLite's SQL: each row is a problem."),
    ] = None,
    max_rate: MaxRate = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Check a backup. With --restore, by restoring it beside the store. Status 1: it is not sound."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    rate = rate_of(max_rate)
    if restore or run is not None:
        _restored(options, files, position, run, rate, as_json=as_json)
        return
    statement = Statement(options=["STATS = 1", f"FILE = {position}"])
    statement.text = f"RESTORE VERIFYONLY FROM {statement.devices(files)}"
    statement.add_flags((("CHECKSUM", checksum),))
    with display(f"verification of {names(files)}", quiet=as_json) as progress:
        outcome = run_statement(options, statement.whole(), statement.variables, progress, rate)
    show(outcome, as_json=as_json)


def _restored(
    options: ServeOptions,
    files: list[str],
    position: int,
    run: Path | None,
    rate: int | None,
    *,
    as_json: bool,
) -> None:
    from tdsproxy.commands.restore_verification import COLUMNS

    try:
        checks = None if run is None else run.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"'{run}' cannot be read: {error}.") from error
    values: dict[str, Value] = {"@a1": "\n".join(files), "@a2": position, "@a3": checks}
    found = run_statement(options, "EXEC sp_verify_restore @a1, @a2, @a3", values, max_rate=rate)
    rows = [dict(zip(COLUMNS, map(plain, row.values()), strict=True)) for row in found.rows]
    first, problems = rows[0], [str(row["text"]) for row in rows[1:]]
    if as_json:
        typer.echo(json.dumps({**first, "problems": problems}, ensure_ascii=False))
    else:
        for problem in problems:
            typer.echo(problem)
        compared = "nothing to compare with" if first["compared"] is None else f"{first['compared']} compared"
        typer.echo(
            f"Database '{first['database']}' (file {first['file']}) is {first['result']}:"
            f" {first['tables']} tables, {first['rows']} rows; {compared}."
        )
    if problems:
        raise typer.Exit(1)

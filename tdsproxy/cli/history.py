"""``tdsproxy history``: to which moments a database can be restored."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import resolve
from tdsproxy.cli.shell import plain, run_statement

Store = Annotated[Path | None, typer.Option("--store", help="Directory of the databases. [./data]")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with any of these options.")]
_COLUMNS = ("from", "to", "device", "file", "through")


def history(
    points: Annotated[
        str | None,
        typer.Option(
            "--points", help="Database: the ranges of time that STOPAT reaches.", metavar="DATABASE"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """What can be restored."""
    if points is None:
        raise CommandError("Say --points DATABASE.")
    options = resolve({"store": store}, os.environ, config)
    found = run_statement(options, "EXEC sp_restore_ranges @a1", {"@a1": points}, lambda _percent: None)
    rows = [dict(zip(_COLUMNS, list(row.values()), strict=False)) for row in found.rows]
    if as_json:
        typer.echo(
            json.dumps(
                {"ranges": [{name: plain(value) for name, value in row.items()} for row in rows]},
                ensure_ascii=False,
            )
        )
        return
    for row in ({name: str(plain(value)) for name, value in row.items()} for row in rows):
        where = f"{row['device']} (file {row['file']})" if row["file"] != "None" else row["device"]
        span = row["from"] if row["from"] == row["to"] else f"{row['from']} to {row['to']}"
        typer.echo(f"{span}  from {where}, {row['through']}")
    if not rows:
        typer.echo(f"Nothing that is known leads to a state of '{points}'.")

"""``tdsproxy recode``: another codec for backup files that are there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from tdsproxy.cli.errors import CommandError


def recode(
    files: Annotated[
        list[Path],
        typer.Argument(help="A backup file; of a striped media set all its files.", metavar="FILE..."),
    ],
    codec: Annotated[str, typer.Option("--codec", help="zstd, gzip, bzip2, xz, or none.")],
    level: Annotated[str | None, typer.Option("--level", help="low, medium or high. [low]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Compress backup files otherwise. What is in them stays the same."""
    from tdsproxy.commands.recoding import RecodingError, recode_files

    try:
        done = recode_files(files, codec, level)
    except RecodingError as error:
        raise CommandError(str(error)) from error
    if as_json:
        found = {
            "files": [str(path) for path in files],
            "codec": codec.lower(),
            "sets": done.sets,
            "bytes_before": done.bytes_before,
            "bytes_after": done.bytes_after,
        }
        typer.echo(json.dumps(found))
        return
    shown = ", ".join(f"'{path}'" for path in files)
    plural = "" if done.sets == 1 else "s"
    typer.echo(
        f"{shown}: {done.sets} backup set{plural}, codec {codec.lower()}, "
        f"{done.bytes_after} bytes instead of {done.bytes_before}."
    )

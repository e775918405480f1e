"""``tdsproxy agent retention``: which backups stay and why, and what goes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, PathMap, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import OptionError, parse_days, parse_size
from tdsproxy.cli.shell import run_statement

_COLUMNS = ("what", "database", "type", "finished", "size", "devices", "reason", "archive")

Generations = Annotated[
    str | None,
    typer.Option(
        "--keep", help="Days, weeks, months and years that keep their newest backup, e.g. 7,4,12,7."
    ),
]


def retention(
    database: Annotated[
        str | None, typer.Argument(help="Only the backups of this database.", metavar="[NAME]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be deleted, and why not.")
    ] = False,
    keep: Generations = None,
    window: Annotated[
        str | None, typer.Option("--window", help="Every moment of this span stays restorable, e.g. 14d.")
    ] = None,
    age: Annotated[str | None, typer.Option("--age", help="All that is younger stays, e.g. 30d.")] = None,
    count: Annotated[
        int | None,
        typer.Option("--count", min=0, help="So many full backups stay, with what builds on them."),
    ] = None,
    size: Annotated[
        str | None,
        typer.Option("--size", help="The most that a database's backups may take, e.g. 500G."),
    ] = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Delete the backups that no rule keeps. Without rules, those of the configured policies hold."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    policy = _policy(keep, window, age, count, size)
    found = run_statement(
        options,
        "EXEC sp_retention @a1, @a2, @a3",
        {"@a1": "1" if dry_run else "0", "@a2": database, "@a3": policy},
    )
    rows = [dict(zip(_COLUMNS, row.values(), strict=True)) for row in found.rows]
    if as_json:
        typer.echo(
            json.dumps({"dry_run": dry_run, "sets": [_plain(row) for row in rows]}, ensure_ascii=False)
        )
    else:
        _show(rows, dry_run=dry_run)
    if any(row["what"] == "failed" for row in rows):
        raise typer.Exit(1)


def _policy(
    keep: str | None, window: str | None, age: str | None, count: int | None, size: str | None
) -> str | None:
    """As the keeper takes it; None when nothing was given. Raises OptionError."""
    if keep is None and window is None and age is None and count is None and size is None:
        return None
    given: dict[str, Any] = {}
    if keep is not None:
        numbers = keep.split(",")
        if len(numbers) != 4 or not all(number.strip().isdigit() for number in numbers):
            raise OptionError("The option 'keep' takes four numbers such as 7,4,12,7.")
        given = dict(zip(("daily", "weekly", "monthly", "yearly"), map(int, numbers), strict=True))
    elif age is not None or count is not None:
        given = {"daily": 0, "weekly": 0, "monthly": 0, "yearly": 0}
    for name, text in (("window_days", window), ("age_days", age)):
        if text is not None:
            given[name] = parse_days(text, name.removesuffix("_days"))
    if count is not None:
        given["count"] = count
    if size is not None:
        given["size_bytes"] = parse_size(size, "size")
    return json.dumps(given)


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    devices = str(row["devices"]).split("\n") if row["devices"] else []
    return {**row, "size": int(row["size"]), "devices": devices, "archive": row["archive"] == "1"}


def _show(rows: list[dict[str, Any]], *, dry_run: bool) -> None:
    words = {"deleted": "would go" if dry_run else "deleted", "kept": "stays"}
    freed = 0
    for row in rows:
        name = "" if row["database"] is None else f"{row['database']} {row['type']} "
        place = ", ".join(str(row["devices"] or "").split("\n"))
        cold = " [archive tier]" if row["archive"] == "1" else ""
        what = words.get(row["what"], row["what"])
        typer.echo(f"{what:<9} {name}{row['finished']}  {int(row['size']):,} bytes  {place}{cold}")
        typer.echo(f"          {row['reason']}")
        if row["what"] == "deleted":
            freed += int(row["size"])
    number = sum(row["what"] == "deleted" for row in rows)
    verb = "would be deleted" if dry_run else "were deleted"
    typer.echo(f"{number} backup sets {verb}, {freed:,} bytes.")
    if not rows:
        raise CommandError("msdb knows of no backups.")

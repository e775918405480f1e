"""``tdsproxy report``: what was backed up and proven, and what failed, as Markdown or as an HTML page."""

from __future__ import annotations

import datetime as dt
import html as markup
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, PathMap, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement
from tdsproxy.cli.status import fetch, size, span

_WIDTH: Final = 640
_HEIGHT: Final = 120
_KINDS: Final = ("full", "differential", "log")

Table = tuple[str, tuple[str, ...], list[tuple[str, ...]]]
"""A title, the heads of the columns, the rows."""


def report(
    out: Annotated[Path | None, typer.Option("--out", help="File to write. [standard output]")] = None,
    html: Annotated[bool, typer.Option("--html", help="An HTML page with plots, not Markdown.")] = False,
    days: Annotated[int, typer.Option("--days", min=1, help="How far back it looks.")] = 30,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """What was backed up and proven in a time, and what failed."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    found = fetch(options, "timeline")
    errors = run_statement(options, "EXEC xp_readerrorlog @a1", {"@a1": 0}).rows
    since = dt.datetime.fromisoformat(found["time"]) - dt.timedelta(days=days)
    tables = tables_of(found, [tuple(map(str, row.values())) for row in errors], since)
    title = f"Backups of {found['server']}, {days} days to {found['time'].replace('T', ' ')}"
    text = page(title, tables, found, since) if html else markdown(title, tables)
    if out is None:
        typer.echo(text)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CommandError(f"'{out}' can't be written: {error.strerror}.") from error


def tables_of(found: dict[str, Any], errors: Sequence[tuple[str, ...]], since: dt.datetime) -> list[Table]:
    """All that the report tells, oldest events last."""
    begin = since.isoformat()
    backups = [item for item in found["backups"] if (item["finished"] or "") >= begin]
    trials = [item for item in found["trials"] if (item["time"] or "") >= begin]
    return [
        _summary(found, backups, trials),
        _backups(backups),
        (
            "Trial restores",
            ("database", "when", "moment", "sets", "seconds", "result"),
            [
                (
                    item["database"], _time(item["time"]), _time(item["stop_at"]), str(item["sets"]),
                    f"{item['seconds']:.1f}", "sound" if item["succeeded"] else f"FAILED: {item['message']}",
                )
                for item in trials
            ],
        ),
        (
            "Failures",
            ("when", "what"),
            [
                (when[:19], text)
                for when, _, text in reversed(errors)
                if when >= begin.replace("T", " ") and ("failed" in text or "broken" in text)
            ],
        ),
    ]  # fmt: skip


def _summary(found: dict[str, Any], backups: list[Any], trials: list[Any]) -> Table:
    rows: list[tuple[str, ...]] = []
    for item in found["databases"]:
        proven = next((t for t in trials if t["database"] == item["name"] and t["succeeded"]), None)
        full = item["last"].get("full")
        ranges = item["ranges"]
        rows.append(
            (
                item["name"],
                item["recovery_model"],
                size(item["size"]),
                str(sum(backup["database"] == item["name"] for backup in backups)),
                "never" if full is None else f"{span(full['seconds_ago'])} ago",
                f"{_time(ranges[0]['from'])} to {_time(ranges[-1]['to'])}" if ranges else "nothing",
                "not proven" if proven is None else _time(proven["time"]),
                "broken" if item["chain"] == "broken" else "ok",
            )
        )
    heads = ("database", "model", "size", "backups", "last full", "restorable", "last proven", "chain")
    return ("Databases", heads, rows)


def _backups(backups: list[Any]) -> Table:
    rows: list[tuple[str, ...]] = []
    for name in sorted({item["database"] for item in backups}):
        for kind in _KINDS:
            own = [item for item in backups if item["database"] == name and item["type"] == kind]
            if own:
                plain = sum(item["size"] for item in own)
                small = sum(item["compressed_size"] for item in own)
                ratio = f"{small / plain:.2f}" if plain else ""
                rows.append(
                    (name, kind, str(len(own)), size(plain), size(small), ratio, _time(own[-1]["finished"]))
                )
    return ("Backups", ("database", "type", "number", "content", "on media", "ratio", "last"), rows)


def _time(text: str | None) -> str:
    return "" if text is None else text[:19].replace("T", " ")


def markdown(title: str, tables: Sequence[Table]) -> str:
    """Tables as Markdown has them."""
    lines = [f"# {title}"]
    for name, heads, rows in tables:
        lines += ["", f"## {name}", ""]
        if not rows:
            lines.append("None.")
            continue
        lines += [f"| {' | '.join(heads)} |", f"|{'|'.join('---' for _ in heads)}|"]
        lines += [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def page(title: str, tables: Sequence[Table], found: dict[str, Any], since: dt.datetime) -> str:
    """One HTML file without anything from elsewhere."""
    parts = [
        "<!DOCTYPE html>",
        f'<html lang="en"><head><meta charset="utf-8"><title>{markup.escape(title)}</title><style>',
        "body{font:16px/1.4 system-ui,sans-serif;margin:1rem auto;max-width:70rem}",
        "table{border-collapse:collapse}td,th{border:1px solid #8886;padding:.2rem .5rem;text-align:left}",
        "svg{max-width:100%}",
        f"</style></head><body><h1>{markup.escape(title)}</h1>",
    ]
    for name, heads, rows in tables:
        parts.append(f"<h2>{markup.escape(name)}</h2>")
        if not rows:
            parts.append("<p>None.</p>")
            continue
        head = "".join(f"<th>{markup.escape(cell)}</th>" for cell in heads)
        body = "".join(
            "<tr>" + "".join(f"<td>{markup.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
        )
        parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
    parts.append("<h2>Sizes on the media</h2>")
    for item in found["databases"]:
        parts.append(f"<h3>{markup.escape(item['name'])}</h3>{_plot(item['name'], found, since)}")
    return "\n".join([*parts, "</body></html>"]) + "\n"


def _plot(name: str, found: dict[str, Any], since: dt.datetime) -> str:
    """Each full and differential backup as a bar, as high as it is large."""
    end = dt.datetime.fromisoformat(found["time"])
    points = [
        (dt.datetime.fromisoformat(item["finished"]), item["compressed_size"], item["type"])
        for item in found["backups"]
        if item["database"] == name and item["finished"] and item["type"] in ("full", "differential")
    ]
    points = [point for point in points if point[0] >= since]
    if not points:
        return "<p>No backups.</p>"
    whole = max((end - since).total_seconds(), 1.0)
    top = max(point[1] for point in points) or 1
    bars = []
    for when, bytes_, kind in points:
        x = (when - since).total_seconds() / whole * (_WIDTH - 4)
        high = bytes_ / top * (_HEIGHT - 20)
        colour = "#1f5fbf" if kind == "full" else "#78a9ff"
        bars.append(
            f'<rect x="{x:.1f}" y="{_HEIGHT - high:.1f}" width="4" height="{high:.1f}" fill="{colour}">'
            f"<title>{kind} {when:%Y-%m-%d %H:%M}: {size(bytes_)}</title></rect>"
        )
    return (
        f'<svg role="img" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
        f'<text x="0" y="12" font-size="12">up to {size(top)}</text>{"".join(bars)}</svg>'
    )

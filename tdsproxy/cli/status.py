"""``tdsproxy status`` and ``tdsproxy doctor``: what is going on, and what is wrong."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, PathMap, Store, place
from tdsproxy.cli.shell import run_statement

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions

_CLEAR: Final = "\x1b[H\x1b[2J"
_KINDS: Final = ("full", "differential", "log")


def status(
    watch: Annotated[
        float | None, typer.Option("--watch", min=0.1, help="Show it again each so many seconds.")
    ] = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Databases, their backups, and how far back they can go. What runs, which jobs are next."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    while True:
        found = fetch(options)
        if as_json:
            typer.echo(json.dumps(found, ensure_ascii=False))
        else:
            if watch is not None and sys.stdout.isatty():
                typer.echo(_CLEAR, nl=False)
            typer.echo("\n".join(lines(found)))
        if watch is None:
            return
        sys.stdout.flush()
        time.sleep(watch)


def fetch(options: ServeOptions, what: str = "ranges") -> dict[str, Any]:
    """How the store stands, as ``sp_status`` tells it. Raises CommandError."""
    (row,) = run_statement(options, "EXEC sp_status @a1", {"@a1": what}).rows
    found: dict[str, Any] = json.loads(str(next(iter(row.values()))))
    return found


def lines(found: dict[str, Any]) -> list[str]:
    """For people."""
    shown = [f"{found['server']}  {found['time']}"]
    for item in found["databases"]:
        shown += ["", f"{item['name']}  {item['state']}  {item['recovery_model']}  {size(item['size'])}"]
        for kind in _KINDS:
            last = item["last"].get(kind)
            if last is not None:
                devices = ", ".join(last["devices"])
                shown.append(
                    f"  last {kind:<13} {last['finished']}  {span(last['seconds_ago'])} ago  {devices}"
                )
        if not item["last"]:
            shown.append("  no backup")
        shown += [f"  restorable         {_range(edge)}" for edge in item["ranges"]]
        if item["chain"] == "broken":
            shown.append(f"  LOG CHAIN BROKEN   {item['chain_reason']}")
        elif item["capture_lag"] is not None:
            shown.append(f"  log                {item['chain']}, captured to {item['capture_lag']:.1f} s ago")
        if item["at_risk"] is not None:
            risk = "nothing" if item["at_risk"] == 0 else f"the last {span(item['at_risk'])}"
            shown.append(f"  not backed up      {risk}")
    if not found["databases"]:
        shown += ["", "There are no databases."]
    shown += _elsewhere(found.get("sync"), found.get("standby"))
    if found["running"]:
        shown += ["", "Running"]
        for run in found["running"]:
            left = f", {span(run['milliseconds_left'] / 1000)} left" if run["milliseconds_left"] else ""
            shown.append(f"  {run['command']} {run['database']}  {run['percent']:.0f} %{left}")
    if found["jobs"]:
        shown += ["", "Next jobs", *(f"  {job['next_run']}  {job['name']}" for job in found["jobs"][:5])]
    return shown


def _range(edge: dict[str, Any]) -> str:
    return edge["from"] if edge["from"] == edge["to"] else f"{edge['from']} to {edge['to']}"


def _elsewhere(sent: dict[str, Any] | None, followed: dict[str, Any] | None) -> list[str]:
    shown: list[str] = []
    if sent is not None:
        shown += ["", f"Synchronised with {sent['url']}"]
        shown.append(f"  everything up to   {_ago(sent['lag'])}")
        if sent.get("error"):
            shown.append(f"  NOTHING IS SENT    {sent['error']}")
    if followed is not None:
        ended = followed.get("ended")
        shown += ["", f"{'Has taken over from' if ended else 'Standby of'} {followed['url']}"]
        if not ended:
            shown.append(f"  everything up to   {_ago(followed['lag'])}")
        if followed.get("error") and not ended:
            shown.append(f"  NOT FOLLOWED       {followed['error']}")
        for name, known in sorted(followed.get("databases", {}).items()):
            if known.get("error") and not ended:
                shown.append(f"  NOT FOLLOWED       {name}: {known['error']}")
    return shown


def _ago(lag: float | None) -> str:
    return "nothing yet" if lag is None else f"{span(lag)} ago"


def size(number: int) -> str:
    """Bytes in a unit that fits."""
    amount = float(number)
    for unit in ("bytes", "KB", "MB", "GB"):
        if amount < 1024 or unit == "GB":
            break
        amount /= 1024
    return f"{amount:.{0 if unit == 'bytes' else 1}f} {unit}"


def span(seconds: float) -> str:
    """A time span in the unit that fits."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172800, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:.0f} days"


def doctor(
    quick: Annotated[
        bool, typer.Option("--quick", help="Only what is at hand: no reading of databases and media.")
    ] = False,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """Everything that is wrong, each with its remedy. Status 1: errors."""
    options = place(store, config, backup_dir, allow_dir, path_map)
    found = run_statement(options, "EXEC sp_doctor @a1", {"@a1": "1" if quick else "0"})
    names = ("level", "subject", "text", "remedy")
    findings = [dict(zip(names, row.values(), strict=True)) for row in found.rows]
    if as_json:
        typer.echo(json.dumps({"findings": findings}, ensure_ascii=False))
    else:
        for item in findings:
            typer.echo(f"{item['level']!s:<8} {item['subject']!s}: {item['text']!s}")
            if item["remedy"]:
                typer.echo(f"         -> {item['remedy']!s}")
    if any(item["level"] == "error" for item in findings):
        raise typer.Exit(1)

"""``tdsproxy agent jobs``, ``run``, ``stop``, ``history``: a store's jobs, seen and started from a shell."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from tdsproxy.cli.common import Config, Json, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions

_COLUMNS: Final = ("id", "name", "enabled", "doing", "last_outcome", "last_run", "next_run", "last_message")
_POLL_SECONDS: Final = 0.2
_STATUS: Final = ("failed", "succeeded", "retry", "canceled", "in progress")

Name = Annotated[str, typer.Argument(help="The job's name.", metavar="NAME")]


def list_jobs(options: ServeOptions) -> list[dict[str, Any]]:
    """All jobs, with the keys id, name, enabled, doing, last_outcome, last_run, next_run and last_message.
    Raises CommandError."""
    found = run_statement(options, "EXEC sp_agent_jobs")
    return [dict(zip(_COLUMNS, row.values(), strict=True)) for row in found.rows]


def jobs(
    as_json: Json = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """The jobs. What each does, how it last ended, when it runs next."""
    found = list_jobs(place(store, config))
    if as_json:
        typer.echo(json.dumps({"jobs": found}, ensure_ascii=False))
        return
    for job in found:
        off = "" if job["enabled"] == "1" else "  (disabled)"
        typer.echo(f"{job['name']}{off}")
        if job["doing"]:
            typer.echo(f"  runs: {job['doing']}")
        typer.echo(f"  last: {job['last_outcome']}  {job['last_run'] or 'never'}")
        typer.echo(f"  next: {job['next_run'] or 'not scheduled'}")


def run(
    name: Name,
    step: Annotated[str | None, typer.Option("--step", help="The step to begin with.")] = None,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until the job has ended.")] = True,
    store: Store = None,
    config: Config = None,
) -> None:
    """Run a job now."""
    options = place(store, config)
    job = _find(options, name)
    run_statement(options, "EXEC sp_agent_start @a1, @a2", {"@a1": job["id"], "@a2": step})
    if not wait:
        typer.echo(f"Job '{job['name']}' started successfully.")
        return
    while True:
        job = _find(options, name)
        if not job["doing"]:
            break
        time.sleep(_POLL_SECONDS)
    typer.echo(job["last_message"] or "")
    if job["last_outcome"] != "succeeded":
        raise typer.Exit(1)


def stop(name: Name, store: Store = None, config: Config = None) -> None:
    """Stop a job that runs."""
    options = place(store, config)
    job = _find(options, name)
    run_statement(options, "EXEC sp_agent_stop @a1", {"@a1": job["id"]})
    typer.echo(f"Job '{job['name']}' stopped successfully.")


def history(
    name: Annotated[str | None, typer.Argument(help="Only of this job.", metavar="[NAME]")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="So many of the newest rows.")] = 20,
    as_json: Json = False,
    store: Store = None,
    config: Config = None,
) -> None:
    """What jobs did: the newest rows of their history."""
    options = place(store, config)
    job = None if name is None else _find(options, name)["id"]
    found = run_statement(options, "EXEC sp_agent_history @a1, @a2", {"@a1": job, "@a2": str(limit)})
    columns = ("job", "step", "step_name", "status", "date", "time", "duration", "message")
    rows = [dict(zip(columns, map(str, row.values()), strict=True)) for row in found.rows]
    if as_json:
        typer.echo(json.dumps({"history": rows}, ensure_ascii=False))
        return
    for row in rows:
        status = _STATUS[int(row["status"])]
        typer.echo(f"{row['date']} {int(row['time']):06d}  {row['job']}  step {row['step']}  {status}")
        typer.echo(f"  {row['message']}")


def _find(options: ServeOptions, name: str) -> dict[str, Any]:
    for job in list_jobs(options):
        if str(job["name"]).lower() == name.lower():
            return job
    raise CommandError(f"The specified @job_name ('{name}') does not exist.")

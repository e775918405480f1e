"""``tdsproxy agent policies``, ``schedule``, ``unschedule``: backups by timetables, without writing a job."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tdsproxy.agent.policies import Policy, PolicyError, document, from_document, read_policy
from tdsproxy.agent.policy_book import SHELL
from tdsproxy.cli.common import Config, Json, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import OptionError
from tdsproxy.cli.shell import run_statement

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions


def schedule_backup(options: ServeOptions, name: str, **table: Any) -> Policy:
    """Write a policy with the keys of a ``[policy.NAME]`` table (``databases``, ``full``, ``destination``
    ...). Raises OptionError for keys and values that can't be meant, CommandError."""
    try:
        policy = read_policy(name, {key: value for key, value in table.items() if value is not None})
    except PolicyError as error:
        raise OptionError(str(error)) from error
    values = {"@a1": SHELL, "@a2": f"[{document(policy)}]", "@a3": "0"}
    run_statement(options, "EXEC sp_agent_policy_put @a1, @a2, @a3", values)
    return policy


def schedule(
    databases: Annotated[list[str], typer.Argument(help="Names or patterns such as 'shop_*'.")],
    name: Annotated[
        str | None, typer.Option("--name", help="The policy's name. [the first database's]")
    ] = None,
    full: Annotated[
        str | None, typer.Option("--full", help="'daily 02:00', 'weekly sun 02:00', '0 2 * * 0' ...")
    ] = None,
    differential: Annotated[
        str | None, typer.Option("--differential", help="When differential backups are taken.")
    ] = None,
    log: Annotated[
        str | None, typer.Option("--log", help="When log backups are taken, e.g. 'every 15m'.")
    ] = None,
    verify: Annotated[
        str | None, typer.Option("--verify", help="When the newest full backup is restored for trial.")
    ] = None,
    to: Annotated[
        list[str] | None,
        typer.Option("--to", help="A directory or URL; {database} is replaced. Further ones are mirrors."),
    ] = None,
    compression: Annotated[
        str | None, typer.Option("--compression", help="An algorithm, or 'default'.")
    ] = None,
    certificate: Annotated[
        str | None, typer.Option("--certificate", help="Encrypt for this certificate (AES_256).")
    ] = None,
    commits: Annotated[
        int | None, typer.Option("--after-commits", help="A log backup after so many commits.")
    ] = None,
    log_size: Annotated[
        str | None, typer.Option("--after-log", help="A log backup after so much log, e.g. 64M.")
    ] = None,
    quiet: Annotated[
        str | None, typer.Option("--after-quiet", help="A log backup when changes ended, e.g. 30s.")
    ] = None,
    at_most_every: Annotated[
        str | None, typer.Option("--at-most-every", help="The least time between those. [60s]")
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Back databases up by a timetable, or after changes."""
    change = {"commits": commits, "log": log_size, "quiet": quiet, "at_most_every": at_most_every}
    wanted = {key: value for key, value in change.items() if value is not None}
    policy = schedule_backup(
        place(store, config),
        name or databases[0],
        databases=databases,
        destination=to or None,
        full=full,
        differential=differential,
        log=log,
        verify=verify,
        compression=compression,
        encryption=None if certificate is None else {"certificate": certificate},
        after_change=wanted or None,
    )
    typer.echo(f"The policy '{policy.name}' is in force.")


def unschedule(
    name: Annotated[str, typer.Argument(help="The policy's name.")],
    store: Store = None,
    config: Config = None,
) -> None:
    """Remove a policy that 'agent schedule' has made, with its jobs."""
    found = run_statement(
        place(store, config), "EXEC sp_agent_policy_drop @a1, @a2", {"@a1": SHELL, "@a2": name}
    )
    if next(iter(found.rows[0].values())) != "1":
        raise CommandError(f"There is no such policy '{name}'.")
    typer.echo(f"The policy '{name}' is removed.")


def policies(as_json: Json = False, store: Store = None, config: Config = None) -> None:
    """The policies, where they come from, and what they ask for."""
    found = run_statement(place(store, config), "EXEC sp_agent_policies")
    rows = [tuple(map(str, row.values())) for row in found.rows]
    if as_json:
        listed = [{"source": source, **json.loads(text)} for source, _, text in rows]
        typer.echo(json.dumps({"policies": listed}, ensure_ascii=False))
        return
    for source, name, text in rows:
        policy = from_document(text)
        typer.echo(f"{name}  ({source})")
        typer.echo(f"  databases: {', '.join(policy.databases)}")
        for action, words in policy.timetables().items():
            typer.echo(f"  {action}: {words}")
        if policy.after_change is not None:
            typer.echo(f"  after changes: {policy.after_change.kind} backup")
        typer.echo(f"  to: {', '.join(policy.destinations) or 'the backup directory'}")

"""``tdsproxy sync``: where a store is synchronised to, who writes there, and taking that over."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tdsproxy.cli.common import CaFile, Config, Json, S3Http, Store, place
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.shell import run_statement


def sync(
    take_over: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="This store writes there from now on; the one that did is refused. What it sent is kept for"
            " 30 days as a former epoch (restore --all --epoch).",
        ),
    ] = False,
    url: Annotated[
        str | None, typer.Option("--sync", help="The URL, of a store that is not being served.")
    ] = None,
    secret_file: Annotated[
        Path | None, typer.Option("--sync-secret-file", help="Its credential, as SECRET has it.")
    ] = None,
    as_json: Json = False,
    store: Store = None,
    s3_http: S3Http = None,
    ca_file: CaFile = None,
    config: Config = None,
) -> None:
    """Where serve --sync sends to. Who writes there, and taking that over."""
    options = place(store, config, None, None, None, s3_http, ca_file)
    if url is not None:
        options = replace(options, sync=url)
    if secret_file is not None:
        options = replace(options, sync_secret_file=secret_file)
    (row,) = run_statement(options, "EXEC sp_sync @a1", {"@a1": str(int(take_over))}).rows
    found: dict[str, Any] = json.loads(str(next(iter(row.values()))))
    if as_json:
        typer.echo(json.dumps(found, ensure_ascii=False))
    else:
        typer.echo("\n".join(_lines(found)))
    if found["error"]:
        raise CommandError(f"{found['url'] or 'sync'}: {found['error']}.")


def _lines(found: dict[str, Any]) -> list[str]:
    shown = [f"{found['url']}"] if found["url"] else []
    if found.get("taken"):
        shown.append(f"  taken over       as epoch {found['taken']}")
    if "writer" in found:
        whose = "this store" if found["ours"] else found["writer"]
        shown.append(f"  written by       {whose}, epoch {found['epoch']}")
        shown.append(f"  everything up to {_time(found['through_ns'] / 1e9)}")
    if found.get("holder"):
        shown.append(f"  lease            {found['holder']}")
    for former in found.get("former", ()):
        shown.append(f"  former epoch     {former['epoch']}, taken over {_time(former['taken_over'])}")
    state = found.get("state") or {}
    if state.get("error"):
        shown.append(f"  NOTHING IS SENT  {state['error']}")
    return shown


def _time(seconds: float) -> str:
    return f"{dt.datetime.fromtimestamp(seconds).astimezone():%Y-%m-%d %H:%M:%S%z}"

"""``tdsproxy agent``: what runs by itself."""

from __future__ import annotations

import typer

from tdsproxy.cli.retention import retention

agent = typer.Typer(help="Jobs and retention.", no_args_is_help=True, rich_markup_mode=None)
agent.command()(retention)


@agent.callback()
def _root() -> None:
    return

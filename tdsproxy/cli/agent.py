"""``tdsproxy agent``: what runs by itself."""

from __future__ import annotations

import typer

from tdsproxy.cli.agent_jobs import history, jobs, run, stop
from tdsproxy.cli.agent_policies import policies, schedule, unschedule
from tdsproxy.cli.retention import retention
from tdsproxy.cli.trial import trial

agent = typer.Typer(help="Jobs, policies and retention.", no_args_is_help=True, rich_markup_mode=None)
agent.command()(jobs)
agent.command()(run)
agent.command()(stop)
agent.command()(history)
agent.command()(policies)
agent.command()(schedule)
agent.command()(unschedule)
agent.command()(retention)
agent.command()(trial)


@agent.callback()
def _root() -> None:
    return

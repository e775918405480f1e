"""``tdsproxy``: the commands and their options."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from tdsproxy.cli.agent import agent
from tdsproxy.cli.backup import backup
from tdsproxy.cli.catalog import catalog
from tdsproxy.cli.checksum import checksum
from tdsproxy.cli.dump import dump
from tdsproxy.cli.extract import extract
from tdsproxy.cli.headers import headers
from tdsproxy.cli.history import history
from tdsproxy.cli.load import load
from tdsproxy.cli.recode import recode
from tdsproxy.cli.report import report
from tdsproxy.cli.restore import restore
from tdsproxy.cli.run import run
from tdsproxy.cli.serving import serving
from tdsproxy.cli.status import doctor, status
from tdsproxy.cli.sync import sync
from tdsproxy.cli.verify import verify

app = typer.Typer(
    name="tdsproxy",
    help="SQL Server's BACKUP and RESTORE for MSSQL-compatible servers whose databases are SQLite files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"tdsproxy {importlib.metadata.version('tdsproxy')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="The version, and nothing else.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    return


app.command("serve", help="Serve a store. With --upstream, in front of another server.")(serving(proxy=True))
app.command("server", help="The embedded server alone, without the proxy.")(serving(proxy=False))
app.command()(backup)
app.command()(restore)
app.command()(verify)
app.command()(headers)
app.command()(history)
app.command()(run)
app.command()(extract)
app.command()(dump)
app.command()(load)
app.command()(checksum)
app.command()(status)
app.command()(doctor)
app.command()(report)
app.command()(catalog)
app.command()(recode)
app.command()(sync)
app.add_typer(agent, name="agent")

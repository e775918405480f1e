"""``tdsproxy``: the commands and their options."""

from __future__ import annotations

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
from tdsproxy.cli.verify import verify

app = typer.Typer(
    name="tdsproxy",
    help="SQL Server's BACKUP and RESTORE for MSSQL-compatible servers whose databases are SQLite files.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def _root() -> None:
    return


app.command("serve", help="The proxy, in front of the embedded server or of another one.")(
    serving(proxy=True)
)
app.command("server", help="The embedded MSSQL-compatible server alone.")(serving(proxy=False))
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
app.add_typer(agent, name="agent")

"""``tdsproxy catalog --rebuild``, beside a server."""

from __future__ import annotations

import json
from pathlib import Path

import typer
from typer.testing import CliRunner

from tdsproxy.cli.catalog import catalog
from tests.running import running


def test_rebuild(tmp_path: Path) -> None:
    app = typer.Typer()
    app.command()(catalog)
    with running(tmp_path / "store") as server, server.connect() as connection, connection.cursor() as cursor:
        for text in (
            "CREATE DATABASE shop",
            "BACKUP DATABASE shop TO DISK = 'shop.bak'",
            "EXEC msdb.dbo.sp_delete_database_backuphistory 'shop'",
        ):
            cursor.execute(text)
            while cursor.nextset():
                continue
        place = ["--store", str(server.store)]
        found = CliRunner().invoke(app, ["--rebuild", "--json", *place])
        assert found.exit_code == 0, found.output
        (known,) = json.loads(found.output)["sets"]
        assert (known["database"], known["type"], known["position"], known["added"]) == ("shop", "D", 1, 1)
        again = CliRunner().invoke(app, ["--rebuild", *place, "shop.bak"])
        assert again.output.splitlines()[-1] == "1 backup sets on the media, 0 added to the history."
        cursor.execute("SELECT database_name, position FROM msdb.dbo.backupset")
        assert cursor.fetchall() == [("shop", 1)]
        assert CliRunner().invoke(app, place).exit_code == 1

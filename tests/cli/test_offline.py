"""master restored while nothing serves the store, and what a restore replaced brought back from a shell."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdsproxy.catalog.catalog import Catalog
from tdsproxy.cli.app import app
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.offline import restore_offline
from tdsproxy.cli.options import resolve
from tdsproxy.keeper.process import take_lock
from tests.commands.support import Workshop, numbers


def test_a_lost_master(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shop = Workshop(tmp_path, logged=True)
    options = resolve({"store": shop.store, "backup_dir": shop.media}, {}, None)
    shop.run("CREATE DATABASE shop")
    shop.run("BACKUP DATABASE shop TO DISK = '/tmp/shop.bak'")
    assert numbers(shop.run("BACKUP DATABASE master TO DISK = '/tmp/master.bak'"))[-1] == 3014
    refused = shop.run("RESTORE DATABASE master FROM DISK = '/tmp/master.bak' WITH REPLACE")
    assert numbers(refused) == [3108, 3013]
    lock = take_lock(shop.store)
    with pytest.raises(CommandError, match="is being served"):
        restore_offline(options, "master", ["master.bak"], 1)
    os.close(lock)
    shop.close()
    for path in shop.store.glob("master.db*"):
        path.unlink()
    with pytest.raises(CommandError, match="is of database 'shop'"):
        restore_offline(options, "master", ["shop.bak"], 1)
    with pytest.raises(CommandError, match="--offline is for master"):
        restore_offline(options, "shop", ["shop.bak"], 1)
    restore_offline(options, "Master", ["master.bak"], 1)
    assert capsys.readouterr().out == "The master database has been successfully restored.\n"
    with Catalog(shop.store) as catalog:
        found = catalog.databases.find("shop")
        assert found is not None
        assert found.recovery_model.name == "FULL"
    # One that is there is kept.
    restore_offline(options, "master", ["master.bak"], 1)
    assert "What was there before is" in capsys.readouterr().out


def test_the_undo_of_a_restore_as_a_statement(tmp_path: Path) -> None:
    words = ["restore", "shop", "--undo", "shop-1", "--dry-run", "--store", str(tmp_path)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0
    assert done.stdout == "RESTORE DATABASE [shop] FROM DATABASE_SNAPSHOT = N'shop-1';\n"

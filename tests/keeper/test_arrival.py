"""Where media lie, as msdb names them: in a store that was fetched, and as managed backup tells."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tdsproxy.agent.managed import PREFIX, ManagedSettings
from tdsproxy.catalog.databases import DatabaseState
from tdsproxy.commands.context import Context
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest
from tdsproxy.keeper.arrival import arrive
from tdsproxy.keeper.managed_procedures import ManagedProcedures
from tests.commands.support import ADMIN, Workshop, messages


def ask(shop: Workshop, *texts: str) -> None:
    for text in texts:
        assert not [item.text for item in messages(shop.run(text)) if item.severity > 10], text


def test_media_are_named_where_they_lie_now(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    (shop.media / "my_backup").mkdir()
    (shop.media / "my-backup").mkdir()
    ask(
        shop,
        "CREATE DATABASE shop",
        "BACKUP DATABASE shop TO DISK = '/tmp/my_backup/one.bak'",
        "BACKUP DATABASE shop TO DISK = '/tmp/my-backup/two.bak'",
    )
    store, new = shop.store, tmp_path / "new"
    shop.close()
    (database,) = arrive(store, new, "/tmp/my_backup")
    assert database.name == "shop"
    shop = Workshop(tmp_path)
    rows = shop.history("SELECT physical_device_name FROM backupmediafamily ORDER BY media_set_id")
    assert rows == [(f"{new}/one.bak",), ("/tmp/my-backup/two.bak",)]
    found = shop.catalog.databases.find("shop")
    assert found is not None
    assert found.state is DatabaseState.RESTORING
    shop.close()


def test_managed_backups_that_are_lost(tmp_path: Path) -> None:
    shop = Workshop(tmp_path)
    name = f"NAME = '{PREFIX}shop: full backup'"
    ask(
        shop,
        "CREATE DATABASE shop",
        f"BACKUP DATABASE shop TO DISK = '/tmp/mapped.bak' WITH {name}",
        f"BACKUP DATABASE shop TO DISK = 'relative.bak' WITH {name}",
    )

    def no_agent() -> Any:
        raise AssertionError

    context = Context(shop.env, NativeRequest("EXEC x", ADMIN), Operands({}), 0)
    managed = ManagedProcedures(no_agent, lambda database: ManagedSettings())
    assert managed._lost(context) == 0
    (shop.media / "mapped.bak").unlink()
    assert managed._lost(context) == 1
    (shop.store / "backup" / "relative.bak").unlink()
    assert managed._lost(context) == 2
    shop.close()

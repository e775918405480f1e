"""A standby, when the log that it follows is broken: what it says, and the way back."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import apsw
import pytds
import pytest

from tests.keeper.shop import Shop, ids, read_state, tdsproxy, wait_for
from tests.running import Running, running

pytestmark = pytest.mark.slow


def _followed(standby: Running) -> dict[str, Any]:
    return dict(read_state(standby.store, ".follow").get("databases", {}).get("shop", {}))


def _rows(standby: Running) -> list[int]:
    """None while the database is made."""
    with contextlib.suppress(pytds.OperationalError):
        return ids(standby)
    return []


def _unseen_commits(path: Path) -> None:
    """As when the primary was away while somebody wrote and checkpointed."""
    for _ in range(2):
        connection = apsw.Connection(str(path))
        connection.execute("INSERT INTO t VALUES (-1)")
        connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        connection.close()


def test_a_break_is_told_and_a_full_backup_leads_over_it(tmp_path: Path) -> None:
    url = f"file://{tmp_path}/shared"
    sync = ("--sync", url, "--sync-interval", "0.2")
    follow = ("--follow", url, "--follow-interval", "0.2")
    with running(tmp_path / "store", *sync) as server:
        shop = Shop(server)
        shop.insert(2)
        shop.shipped()
        shop.crash()
    with running(tmp_path / "standby", *follow) as standby:
        wait_for(lambda: len(_rows(standby)) == 2)
        _unseen_commits(tmp_path / "store" / "shop.db")
        with running(tmp_path / "store", *sync) as server:
            wait_for(lambda: "where it is broken" in (_followed(standby).get("error") or ""))
            told = tdsproxy("doctor", "--quick", "--store", str(standby.store))
            assert told.returncode == 1
            assert "shop" in told.stdout
            assert "where it is broken" in told.stdout
            assert "RESTORE DATABASE [shop] FROM it WITH NORECOVERY, REPLACE" in told.stdout.replace(
                "\n", " "
            ).replace("  ", " ")
            assert "where it is broken" in tdsproxy("status", "--store", str(standby.store)).stdout
            connection = standby.connect()
            cursor = connection.cursor()
            cursor.execute("EXEC xp_readerrorlog")
            assert any(
                "shop is not followed: its log leads to LSN" in str(row[2]) for row in cursor.fetchall()
            )
            assert ids(standby) == [0, 1]
            # The remedy that doctor names.
            primary = server.connect().cursor()
            primary.execute("BACKUP DATABASE shop TO DISK = 'anew.bak'")
            primary.execute("INSERT shop.dbo.t VALUES (7)")
            wait_for(lambda: (standby.store / "backup" / "anew.bak").exists())
            cursor.execute("RESTORE DATABASE [shop] FROM DISK = 'anew.bak' WITH NORECOVERY, REPLACE")
            connection.close()
            wait_for(lambda: _followed(standby).get("error") is None)
            wait_for(lambda: _rows(standby) == [-1, -1, 0, 1, 7])
            primary.connection.close()

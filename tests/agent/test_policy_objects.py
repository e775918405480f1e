"""A policy whose destination is an object store: its jobs write there, and its retention deletes there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.keeper.shop import wait_for
from tests.objects.s3_server import IDENTITY, KEY, SECRET, s3_server
from tests.running import running

pytestmark = pytest.mark.slow


def _rows(connection: Any, text: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(text)
        return list(cursor.fetchall()) if cursor.description else []


def test_a_policy_backs_up_to_an_object_store_and_clears_up_there(tmp_path: Path) -> None:
    with s3_server() as s3:
        url = s3.bucket("policies")
        config = tmp_path / "tdsproxy.toml"
        config.write_text(
            f'[policy.nightly]\ndatabases = ["shop"]\ndestination = "{url}/{{database}}"\n'
            'full = "0 2 29 2 *"\nlog = "0 3 29 2 *"\nverify = "0 4 29 2 *"\n'
            "[policy.nightly.retention]\ndaily = 0\nweekly = 0\nmonthly = 0\nyearly = 0\ncount = 1\n"
        )
        with running(tmp_path / "store", "--config", str(config)) as server, server.connect() as connection:
            _rows(
                connection,
                f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'",
            )
            _rows(connection, "CREATE DATABASE shop")

            def outcomes(what: str) -> list[int]:
                found = _rows(
                    connection,
                    "SELECT h.run_status FROM msdb.dbo.sysjobhistory h JOIN msdb.dbo.sysjobs j"
                    f" ON j.job_id = h.job_id WHERE j.name = 'policy nightly: {what}' AND h.step_id = 0",
                )
                return [status for (status,) in found]

            for what in ("full backup", "log backup", "full backup", "trial restore"):
                name = f"policy nightly: {what}"
                known = f"SELECT COUNT(*) FROM msdb.dbo.sysjobs WHERE name = '{name}'"
                wait_for(lambda known=known: _rows(connection, known) == [(1,)])
                before = len(outcomes(what))
                _rows(connection, f"EXEC msdb.dbo.sp_start_job N'{name}'")
                wait_for(lambda what=what, before=before: len(outcomes(what)) > before)
                assert set(outcomes(what)) == {1}, _rows(
                    connection, "SELECT message FROM msdb.dbo.sysjobhistory"
                )
            # Of two full backups and a log backup, the newest full one is what the policy promises.
            (left,) = s3.keys("policies")
            assert left.startswith("shop/shop_FULL_")
            named = "SELECT physical_device_name, device_type FROM msdb.dbo.backupmediafamily"
            assert _rows(connection, named) == [(f"{url}/{left}", 9)]
            assert list(server.backup_directory.iterdir()) == []

"""tdsproxy verify: VERIFYONLY, and a restore into a scratch file."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.test_shell import tdsproxy
from tests.commands.support import Workshop, numbers


def test_verify(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, logged=True)
    shop.run("CREATE DATABASE shop")
    shop.fill("shop", "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
    assert numbers(shop.run("BACKUP DATABASE shop TO DISK = '/tmp/shop.bak'"))[-1] == 3014
    shop.close()
    words = ("shop.bak", "--store", str(shop.store), "--backup-dir", str(shop.media))
    done = tdsproxy("verify", *words, "--restore")
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Database 'shop' (file 1) is sound: 1 tables, 2 rows; 2 compared.\n"
    checks = tmp_path / "checks.sql"
    checks.write_text("SELECT x FROM t WHERE x = 2")
    done = tdsproxy("verify", *words, "--run", str(checks), "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert found["result"] == "damaged"
    assert found["problems"] == ["Check: SELECT x FROM t WHERE x = 2 gave (2,)."]

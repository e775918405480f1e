"""FreeTDS's ``tsql``: what a person at a terminal sees."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.clients.available import need
from tests.running import Running

SCRIPT = """\
CREATE DATABASE acc_tsql
go
CREATE TABLE acc_tsql.dbo.t
  (id int IDENTITY PRIMARY KEY, v nvarchar(20) NOT NULL, d decimal(10,2) NULL, b bit, x varbinary(4))
go
INSERT INTO acc_tsql.dbo.t (v, d, b, x) VALUES (N'one', 1.50, 1, 0x00ff), (N'two', NULL, 0, NULL)
go
BACKUP DATABASE acc_tsql TO DISK = N'acc_tsql.bak' WITH INIT, STATS = 10
go
DELETE FROM acc_tsql.dbo.t
go
SELECT COUNT(*) AS gone FROM acc_tsql.dbo.t
go
RESTORE DATABASE acc_tsql FROM DISK = N'acc_tsql.bak' WITH REPLACE
go
EXEC sp_executesql N'SELECT id, v, d, b, x FROM acc_tsql.dbo.t WHERE id <= @n ORDER BY id', N'@n int', @n = 2
go
DROP DATABASE acc_tsql
go
"""


def tsql(server: Running, encryption: str, text: str, tmp_path: Path, password: str | None = None) -> str:
    need("freetds-tsql")
    configuration = tmp_path / "freetds.conf"
    configuration.write_text(
        f"[global]\ntds version = 7.4\nencryption = {encryption}\n"
        f"[sut]\nhost = {server.host}\nport = {server.port}\n"
    )
    run = subprocess.run(
        ["tsql", "-S", "sut", "-U", "sa", "-P", password or server.password],
        input=text,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "FREETDSCONF": str(configuration)},
    )
    return run.stdout + run.stderr


@pytest.mark.parametrize("encryption", ["off", "require"])
def test_backup_accident_restore(served: Running, tmp_path: Path, encryption: str) -> None:
    shown = tsql(served, encryption, SCRIPT, tmp_path)
    assert "Msg 3211 (severity 0" in shown
    assert "100 percent processed." in shown
    assert "Msg 4035 (severity 0" in shown
    assert "Msg 3014 (severity 0" in shown
    lines = [line.strip() for line in shown.splitlines()]
    assert "0" in lines
    assert "1\tone\t1.50\t1\t00ff" in shown
    assert "2\ttwo\tNULL\t0\tNULL" in shown


def test_a_wrong_password_is_18456(served: Running, tmp_path: Path) -> None:
    shown = tsql(served, "request", "SELECT 1\ngo\n", tmp_path, password="wrong")
    assert "Msg 18456" in shown
    assert "Login failed for user 'sa'." in shown

"""What a real SQL Server answered, replayed: columns, rows, DONE tokens, messages and their order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import Running, running

BACKUP_OBSERVATIONS = [
    "server version",
    "setup",
    "backup format compression",
    "filelistonly",
    "restore replace move",
    "restored contents",
    "restore same family without replace",
    "other database setup",
    "restore other database without replace",
    "restore without move onto files in use",
    "restore missing file",
    "headeronly missing file",
    "restore unknown logical file",
    "backup unknown database",
    "backup in transaction",
    "restore in transaction",
    "backup log simple",
    "backup missing directory",
    "backup unknown option",
    "msdb identity",
]
"""Those of gaps-backup.json that hold whole; HEADERONLY differs in the algorithm's name, see below."""


def replay(server: Running, shared: Path, capture: str, tmp_path: Path, *options: str) -> dict[str, str]:
    """The verdict on each observation: ``pass``, or the first difference."""
    password = tmp_path / "password"
    password.write_text(server.password)
    password.chmod(0o600)
    run = subprocess.run(
        [
            sys.executable,
            str(shared / "tools/replay.py"),
            *("--host", server.host, "--port", str(server.port), "--user", "sa"),
            *("--password-file", str(password)),
            *options,
            str(shared / "data/sqlserver-captures" / capture),
        ],
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    verdicts = {}
    for line in run.stdout.splitlines():
        match = re.match(r"(pass|FAIL|skip) (.*?)(?:: (.*))?$", line)
        if match:
            verdicts[match[2]] = "pass" if match[1] == "pass" else f"{match[1]}: {match[3]}"
    assert verdicts, run.stdout + run.stderr
    return verdicts


@pytest.fixture(scope="module")
def backups(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    place = tmp_path_factory.mktemp("captures")
    with running(place / "store", "--path-map", f"/tmp={place / 'store' / 'backup'}") as server:
        return replay(server, shared, "gaps-backup.json", place)


@pytest.mark.parametrize("observation", BACKUP_OBSERVATIONS)
def test_backup_and_restore(backups: dict[str, str], observation: str) -> None:
    assert backups[observation] == "pass"


def test_headeronly_differs_in_the_algorithm_alone(backups: dict[str, str]) -> None:
    verdict = backups["headeronly"]
    assert verdict == "pass" or ("ZSTD" in verdict and "MS_XPRESS" in verdict)

"""What is built to be installed holds all that the program needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.running import running

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(directory), "-t", "wheel", "-t", "sdist"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=200, capture_output=True)
    return directory


def test_the_wheel_runs_alone(built: Path, tmp_path: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    alone = {"PYTHONPATH": str(tmp_path / "site"), "PYTHONSAFEPATH": "1"}
    found = subprocess.run(
        [sys.executable, "-c", "import tdsproxy; print(tdsproxy.__file__)"],
        env={**os.environ, **alone},
        check=True,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert found.stdout.strip() == str(tmp_path / "site" / "tdsproxy" / "__init__.py")
    with running(tmp_path / "store", env=alone) as server, server.connect() as connection:
        cursor = connection.cursor()
        for statement in ("CREATE DATABASE made", "BACKUP DATABASE made TO DISK = 'made.bak' WITH CHECKSUM"):
            cursor.execute(statement)
            while cursor.nextset():
                continue
        assert (server.backup_directory / "made.bak").stat().st_size


def test_the_source_distribution_holds_grammar_tests_and_scripts(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE"} <= names
    assert {"grammar/tsql.ebnf", "tests/conftest.py", "scripts/test", "docs/runbook.md"} <= names


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    unit = tmp_path / "tdsproxy.service"
    text = (ROOT / "docs" / "tdsproxy.service").read_text()
    assert text.count("ExecStart=/usr/local/bin/tdsproxy serve ") == 1
    unit.write_text(text.replace("/usr/local/bin/tdsproxy", sys.executable))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200)
    assert (done.returncode, [line for line in done.stderr.splitlines() if "tdsproxy" in line]) == (0, [])

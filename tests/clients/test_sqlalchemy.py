"""SQLAlchemy's own tests for dialects (``sqlalchemy.testing.suite``): its mssql dialect, the embedded server.

By hand, in ``sqlalchemy_suite``, against any server that has the database and its two schemas::

    pytest -c setup.cfg dialect_suite.py --dburi mssql+pymssql://sa:PASSWORD@HOST:PORT/DATABASE
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.clients.available import need
from tests.running import Running, running

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

SUITE = Path(__file__).parent / "sqlalchemy_suite"
KNOWN_FAILURES: dict[str, str] = {}
"""Tests as ``Class::test[case]`` that fail, and why. One that passes must go from here."""
PASSING = 1290
"""At least so many tests pass; the others are of features that SQL Server or the driver does not have."""


def test_the_dialect_suite(tmp_path: Path) -> None:
    need("pymssql")
    pytest.importorskip("sqlalchemy")
    with running(tmp_path / "store") as server:
        _prepare(server)
        passed, failed, log = _run(server, tmp_path / "report.xml")
    assert failed == set(KNOWN_FAILURES), log
    assert passed >= PASSING, log


def _prepare(server: Running) -> None:
    """The database that the suite is told of, as SQLAlchemy's documentation for SQL Server wants it."""
    with server.connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE DATABASE suite")
        cursor.execute("ALTER DATABASE suite SET READ_COMMITTED_SNAPSHOT ON")
        cursor.execute("USE suite")
        cursor.execute("CREATE SCHEMA test_schema")
        cursor.execute("CREATE SCHEMA test_schema_2")


def _run(server: Running, report: Path) -> tuple[int, set[str], str]:
    """How many tests passed, those that did not, and what the run wrote."""
    address = f"mssql+pymssql://sa:{server.password}@{server.host}:{server.port}/suite"
    run = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "pytest",
                "-c",
                "setup.cfg",
                "-p",
                "no:cacheprovider",
                "-p",
                "no:timeout",
            ),
            *("dialect_suite.py", "--maxfail=1000", "--dburi", address, f"--junitxml={report}"),
        ],
        cwd=SUITE,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
        capture_output=True,
        text=True,
        timeout=1200,
        check=False,
    )
    log = run.stdout[-20_000:] + run.stderr[-4_000:]
    assert report.exists(), log
    passed, failed = 0, set()
    for case in ElementTree.parse(report).iter("testcase"):
        marks = {child.tag for child in case}
        if marks & {"failure", "error"}:
            failed.add(_name(case))
        elif "skipped" not in marks:
            passed += 1
    return passed, failed, log


def _name(case: ElementTree.Element) -> str:
    """The test's name without the dialect, driver and version that the suite adds to each class."""
    group = re.sub(r"_mssql.*$", "", case.get("classname", "").rpartition(".")[2])
    return f"{group}::{case.get('name')}"

"""Fixtures for tests that need the whole product running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from tests.running import Running, running

# The same inputs in each run, wherever it is; no input counts as too slow on a machine that is busy.
settings.register_profile(
    "fixed",
    max_examples=50,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fixed"))
# It mixes constants of the modules into its inputs that happen to be loaded: those depend on which tests this
# process ran before, and so on which worker was free.
providers.is_local_module_file = lambda path: False

LONGEST = (
    "test_sqlalchemy.py",
    "test_running_agent.py",
    "test_sql_tools_service.py",
    "test_url_stores.py",
    "test_captures.py",
    "test_admin_scripts.py",
    "test_kill.py",
    "test_urls.py",
    "test_mssql_cli.py",
    "test_backup_restore.py",
)
"""The files that take longest, in this order."""

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

if (ROOT / ".clients" / "odbc" / "odbcinst.ini").exists():
    # Before any test loads unixODBC, directly or by a client: it reads this once.
    os.environ.setdefault("ODBCSYSINI", str(ROOT / ".clients" / "odbc"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: at the end no worker has one to itself while the others have nothing left."""
    ranks = {name: rank for rank, name in enumerate(LONGEST)}
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: (ranks.get(item.path.name, len(ranks)), item.path not in slow))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of captures and sample data beside the checkout, where it is there."""
    if not SHARED.is_dir():
        pytest.skip("the shared folder is not beside this checkout")
    return SHARED


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """``tdsproxy serve`` over a store of its own: one for the whole run of this worker."""
    with running(tmp_path_factory.mktemp("served") / "store") as server:
        yield server

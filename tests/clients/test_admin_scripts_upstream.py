"""The same scripts through ``tdsproxy serve --upstream``, with a ``tdsproxy server`` in another process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.admin_script_checks import check
from tests.clients.admin_scripts import Scripts
from tests.running import running

pytestmark = pytest.mark.slow

THROUGH = ("01", "02", "03", "05", "08", "10", "11", "12", "14", "16", "22", "25", "27", "28", "31")
"""Native statements with variables, in loops, TRY blocks, dynamic SQL and procedures, and refusals."""


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Scripts]:
    store = tmp_path_factory.mktemp("behind") / "store"
    with (
        running(store, command="server") as server,
        running(store, "--upstream", f"{server.host}:{server.port}") as proxy,
    ):
        found = Scripts(proxy, shared / "admin-scripts", owner=server)
        try:
            yield found
        finally:
            found.close()


@pytest.mark.parametrize("name", THROUGH)
def test_script(scripts: Scripts, name: str) -> None:
    check(scripts, name)

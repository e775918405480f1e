"""Scripts that administrators keep, run unchanged through the proxy: what their headers say must come out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.admin_script_checks import CHECKS, check
from tests.clients.admin_scripts import Scripts
from tests.running import start

QUICK = ("06", "07", "11", "13", "19", "20", "21", "25", "27", "28")


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Scripts]:
    server = start(tmp_path_factory.mktemp("scripts") / "store")
    found = Scripts(server, shared / "admin-scripts")
    try:
        yield found
    finally:
        found.close()
        assert server.stop() == 0


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CHECKS]
)
def test_script(scripts: Scripts, name: str) -> None:
    check(scripts, name)

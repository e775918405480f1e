"""Fixtures of the server's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.support import Client, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A server with ``sa``, on a store of its own."""
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def sa(world: World) -> Client:
    """sa's session in master."""
    return world.login()

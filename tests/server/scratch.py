"""One server for a whole module of tests, each test in a session and an empty database of its own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.support import Client, World

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def shared_world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("world")
    made = World(directory)
    yield made
    made.close()


@pytest.fixture
def sql(shared_world: World) -> Iterator[Client]:
    """sa's session in an empty database."""
    client = shared_world.login()
    name = f"db{next(_NUMBERS)}"
    client.run(f"CREATE DATABASE {name}")
    client.run(f"USE {name}")
    yield client
    client.session.close()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.support import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.close()


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Workshop]:
    """A store whose logs are kept."""
    workshop = Workshop(tmp_path, logged=True)
    yield workshop
    workshop.close()

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.commands.support import Workshop


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path)
    yield workshop
    workshop.catalog.close()

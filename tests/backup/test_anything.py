"""Random databases times random ways to back them up; ``scripts/torture media`` does many more."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.backup.anything import run_case


@pytest.mark.parametrize("seed", range(12))
def test_any_database_any_way(tmp_path: Path, seed: int) -> None:
    assert run_case(seed, tmp_path)

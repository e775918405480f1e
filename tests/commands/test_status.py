"""What the figures of a store say: never more than what its backups bring back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.commands.status import DatabaseStatus, database_statuses
from tests.commands.support import Workshop, messages


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, logged=True)
    yield made
    made.close()


def run(shop: Workshop, *texts: str) -> None:
    for text in texts:
        assert not [item.text for item in messages(shop.run(text)) if item.severity > 10], text


def status(shop: Workshop) -> DatabaseStatus:
    (found,) = database_statuses(shop.env)
    return found


def test_the_backups_of_a_dropped_database_do_not_count_for_its_namesake(shop: Workshop) -> None:
    run(shop, "CREATE DATABASE a", "BACKUP DATABASE a TO DISK = 'a.bak'", "BACKUP LOG a TO DISK = 'a.trn'")
    assert set(status(shop).last) == {"full", "log"}
    run(shop, "DROP DATABASE a", "CREATE DATABASE a")
    assert status(shop).last == {}
    assert status(shop).at_risk is None
    run(shop, "RESTORE DATABASE a FROM DISK = 'a.bak' WITH REPLACE")
    assert set(status(shop).last) == {"full", "log"}


def test_a_backup_to_nowhere_is_none(shop: Workshop) -> None:
    run(shop, "CREATE DATABASE a", "BACKUP DATABASE a TO DISK = 'NUL'")
    assert status(shop).last == {}
    assert status(shop).at_risk is None

"""Of which databases an object store has all that brings them back to the present."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tdsproxy.catalog.history import KnownSet
from tdsproxy.catalog.recovery import LogChain
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync import _Sender
from tdsproxy.keeper.sync_bases import starts
from tdsproxy.keeper.sync_claim import Identity, claim
from tdsproxy.objects.folder import FolderBucket
from tests.commands.support import Workshop, messages

OLD, NEW, OTHER = (UUID(int=number) for number in (101, 102, 103))


def guid(name: str) -> UUID:
    return UUID(bytes=name.encode().ljust(16))


def known(
    name: str,
    first: int,
    last: int,
    fork: UUID = NEW,
    *,
    base: str = "",
    first_fork: UUID | None = None,
    point: int | None = None,
) -> KnownSet:
    """The kind is the first letter of the name."""
    builds_on = guid(base) if base else None
    return KnownSet(guid(name), name[0], first, last, fork, first_fork or fork, point, builds_on, 1, (name,))


LOGS = [known("L1", 10, 20), known("L2", 20, 30), known("L3", 30, 40)]
CHAIN = LogChain(log_backup_lsn=40, first_fork=NEW)


@pytest.mark.parametrize(
    ("sets", "lost", "expected"),
    [
        ([known("D1", 8, 12)], "", {"D1"}),
        ([known("D1", 8, 12)], "D1", set()),
        # Without one of its log backups only what came later leads on.
        ([known("D1", 8, 12), known("D2", 28, 32)], "", {"D1", "D2"}),
        ([known("D1", 8, 12), known("D2", 28, 32)], "L2", {"D2"}),
        ([known("D1", 8, 12), known("D2", 28, 32)], "L3", set()),
        ([known("D1", 8, 12), known("D2", 28, 45)], "L3", {"D2"}),
        # From before the chain that there is.
        ([known("D1", 1, 5)], "", set()),
        # A differential backup leads its base over what is missing.
        ([known("D1", 8, 12), known("I1", 31, 41, base="D1")], "L2", {"D1"}),
        ([known("D1", 8, 12), known("I1", 31, 41, base="D1")], "D1", set()),
        ([known("I1", 31, 41, base="D1")], "", set()),
        # Another database of the family.
        ([known("D1", 8, 50, OTHER)], "", set()),
    ],
)
def test_what_leads_to_the_next_log_backup(sets: list[KnownSet], lost: str, expected: set[str]) -> None:
    found = starts([*sets, *LOGS], CHAIN, NEW, lambda item: item.devices != (lost,))
    assert found == {guid(name) for name in expected}
    assert starts([*sets, *LOGS], LogChain(), NEW, lambda item: True) == frozenset()


@pytest.mark.parametrize(("last", "expected"), [(12, True), (15, True), (16, False)])
def test_what_a_database_did_on_a_fork_that_it_left_is_not_of_its_history(last: int, expected: bool) -> None:
    fulls = [known("D1", 8, last, OLD)]
    goes_over = [known("L1", 10, 30, NEW, first_fork=OLD, point=15)]
    everything = [*fulls, *goes_over]
    chain = LogChain(log_backup_lsn=30, first_fork=NEW)
    assert bool(starts(everything, chain, NEW, lambda item: True)) is expected
    # The same before the first log backup of the new fork.
    chain = LogChain(log_backup_lsn=10, first_fork=OLD, fork_point_lsn=15)
    assert bool(starts(fulls, chain, NEW, lambda item: True)) is expected


class Shop(Workshop):
    """Synchronised, round by round."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, logged=True)
        bucket = FolderBucket(directory / "there")
        options = SyncOptions(f"file://{directory}/there")
        self.sender = _Sender(self.env, options, bucket, str, claim(bucket, str, Identity(self.store)))

    def ask(self, *texts: str) -> None:
        for text in texts:
            assert not [item.text for item in messages(self.run(text)) if item.severity > 10], text

    def unprotected(self) -> list[str]:
        """When all files have arrived."""
        self.sender.round(1, last=True)
        self.sender.round(2)
        return self.sender.unprotected


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.ask("CREATE DATABASE one", "ALTER DATABASE one SET RECOVERY FULL")
    made.fill("one", "CREATE TABLE t (id INTEGER)")
    yield made
    made.sender.close()
    made.close()


def test_a_log_backup_that_is_not_sent_ends_what_was_safe(shop: Shop) -> None:
    assert shop.unprotected() == ["one"]
    shop.ask("BACKUP DATABASE one TO DISK = 'one.bak'")
    assert shop.unprotected() == []
    shop.fill("one", "INSERT INTO t VALUES (1)")
    shop.ask("BACKUP LOG one TO DISK = 'one.trn'")
    assert shop.unprotected() == []
    shop.fill("one", "INSERT INTO t VALUES (2)")
    shop.ask("BACKUP LOG one TO DISK = 'NUL'")
    assert shop.unprotected() == ["one"]
    shop.ask("BACKUP DATABASE one TO DISK = '/tmp/one.bak'")
    assert shop.unprotected() == ["one"]
    shop.ask("BACKUP DATABASE one TO DISK = 'new.bak'")
    assert shop.unprotected() == []


def test_a_full_backup_from_before_a_gap_makes_nothing_safe(shop: Shop) -> None:
    shop.ask("BACKUP DATABASE one TO DISK = 'one.bak'")
    assert shop.unprotected() == []
    # In the same moment, so that no round sees what was between.
    shop.ask("ALTER DATABASE one SET RECOVERY SIMPLE", "ALTER DATABASE one SET RECOVERY FULL")
    shop.ask("BACKUP DATABASE one TO DISK = '/tmp/one.bak'")
    assert shop.unprotected() == ["one"]
    shop.ask("BACKUP DATABASE one TO DISK = 'new.bak' WITH DIFFERENTIAL")
    assert shop.unprotected() == ["one"]
    shop.ask("BACKUP DATABASE one TO DISK = 'newest.bak'")
    assert shop.unprotected() == []


def test_another_database_of_the_family_makes_nothing_safe(shop: Shop) -> None:
    shop.ask(
        "BACKUP DATABASE one TO DISK = '/tmp/one.bak'",
        "RESTORE DATABASE two FROM DISK = '/tmp/one.bak'"
        " WITH MOVE 'one' TO 'two.mdf', MOVE 'one_log' TO 'two.ldf'",
        "BACKUP DATABASE two TO DISK = 'two.bak'",
    )
    assert shop.unprotected() == ["one"]

"""The small part of the campaign ``scripts/torture kill``: some named places, and a killed listener."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, cast

import pytest

from scripts.campaigns.kill import kill_at, named_points, settle_after
from scripts.campaigns.kill_model import Commit, RestoreAttempt, VictimContent, check_chain, check_victim
from scripts.campaigns.kill_statements import backup, restore_over
from scripts.campaigns.kill_world import World
from scripts.campaigns.kill_writers import BankWriter
from scripts.campaigns.outcome import Violation
from scripts.campaigns.product import product, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    """The product with its databases, media and three writing sessions."""
    with product() as made:
        made.start()
        world = World(made, random.Random(1))
        world.build()
        try:
            world.hold()
            yield world
        finally:
            made.kill_everything()
            world.stop()


@pytest.mark.parametrize(
    ("point", "kind"),
    [
        ("backup.before-publish", "init"),
        ("install.renamed", "over"),
        ("install.copying", "overopen"),
    ],
)
def test_a_keeper_that_dies_at_a_named_place(world: World, point: str, kind: str) -> None:
    assert point in named_points()
    assert kill_at(world, point, kind), "the statement does not pass this place any more"
    world.try_anew()


def test_a_gap_between_log_backups_is_seen() -> None:
    sets = [
        {"BackupName": "a", "FirstLSN": 1, "LastLSN": 5},
        {"BackupName": "b", "FirstLSN": 3, "LastLSN": 9},
    ]
    check_chain(sets, "log")
    with pytest.raises(Violation):
        check_chain([*sets, {"BackupName": "c", "FirstLSN": 10, "LastLSN": 11}], "log")


def test_a_listener_that_dies_while_statements_run(world: World) -> None:
    operations = [restore_over(world), backup(world, "bank", "format")]
    threads = world.launch(operations)
    world.product.kill_listener()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    world.hold()
    world.product.start()
    world.disconnect()
    settle_after(world, operations, keeper_lived=True)
    world.try_anew()
    assert world.leftovers() == []
    assert world.product.tracebacks() == []


OLD = VictimContent(1, frozenset({1, 2}))
NEW = VictimContent(7, frozenset({1}))


@pytest.mark.parametrize(
    ("found", "acknowledged"),
    [
        (VictimContent(1, frozenset({1, 2})), True),  # acknowledged, and not there
        (VictimContent(7, frozenset({1, 2})), True),  # a commit of before the restore survived
        (VictimContent(7, frozenset({1, 3})), True),  # a commit of before the restore survived
        (VictimContent(7, frozenset({1})), True),  # a commit of after the restore is lost
        (VictimContent(7, frozenset()), False),  # a commit of the backup is lost
        (VictimContent(1, frozenset({1, 2, 4})), False),  # a commit is lost
        (VictimContent(3, frozenset({1, 2, 3, 4})), False),  # another content
    ],
)
def test_the_campaign_sees_what_is_wrong(found: VictimContent, acknowledged: bool) -> None:
    """Commits 3 and 4 before and after a restore of ``NEW`` over ``OLD``."""
    commits = [Commit(3, 10.0, 11.0), Commit(4, 14.0, 15.0)]
    attempt = RestoreAttempt(NEW, 12.0, 13.0 if acknowledged else None)
    with pytest.raises(Violation):
        check_victim(OLD, commits, attempt, found)


def test_the_campaign_accepts_old_and_new() -> None:
    commits = [Commit(3, 10.0, 11.0), Commit(4, 14.0, 15.0)]
    check_victim(OLD, commits, None, VictimContent(1, frozenset({1, 2, 3, 4})))
    check_victim(OLD, commits, RestoreAttempt(NEW, 12.0, 13.0), VictimContent(7, frozenset({1, 4})))
    broken_off = RestoreAttempt(NEW, 12.0, None)
    check_victim(OLD, commits, broken_off, VictimContent(1, frozenset({1, 2, 3, 4})))
    check_victim(OLD, commits, broken_off, VictimContent(7, frozenset({1, 4})))
    check_victim(OLD, commits, broken_off, VictimContent(7, frozenset({1})))


class _Taken(BankWriter):
    """Whose transactions all meet a number that is taken."""

    def _commit(self) -> None:
        self.began(Commit(self.number + 1, 0.0))
        raise OSError("Violation of PRIMARY KEY constraint 'PK_journal'.")


@pytest.mark.parametrize("cut_off", [True, False])
def test_a_commit_that_was_cut_off_may_be_found_committed_and_no_other(cut_off: bool) -> None:
    writer = _Taken(cast(Any, None), 0)
    if cut_off:
        writer.began(Commit(8, 0.0))
        writer.resume_after(7)
    else:
        writer.resume_after(8)
    writer.start()
    writer.release()
    try:
        assert until(lambda: bool(writer.errors))
    finally:
        writer.stop()
    assert (writer.number, writer.acknowledged) == (8, 8)

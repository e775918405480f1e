"""What a policy's run does for which databases, and that what is not backed up is no success."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tdsproxy.agent.clock import SystemClock
from tdsproxy.agent.policies import Policy
from tdsproxy.agent.policy_runs import PolicyRuns
from tdsproxy.catalog.databases import Database, DatabaseState, new_database
from tdsproxy.commands.request import NativeRequest
from tdsproxy.tsql.replies import Message, Reply
from tests.commands.support import Workshop

STATES = {
    "fine": DatabaseState.ONLINE,
    "lost": DatabaseState.RECOVERY_PENDING,
    "suspect": DatabaseState.SUSPECT,
    "away": DatabaseState.OFFLINE,
    "half": DatabaseState.RESTORING,
}


def databases() -> list[Database]:
    made = [new_database(name, id=number) for number, name in enumerate(STATES, 5)]
    return [replace(database, state=STATES[database.name]) for database in made]


def run(policy: Policy, action: str, only: list[str] | None = None) -> tuple[list[str], list[Message]]:
    """The databases that were backed up, or tried, and the errors."""
    asked: list[str] = []

    def native(request: NativeRequest, cancelled: threading.Event) -> Iterator[Reply]:
        if request.text.startswith("BACKUP"):
            asked.append(str(request.variables["@database"]))
        yield Message(0, 0, 1, "done")

    runs = PolicyRuns(native, databases, lambda name: [], lambda name: False, SystemClock(dt.UTC))
    found = list(runs.run(policy, action, threading.Event(), only))
    return asked, [message for message in found if message.severity > 10]


@pytest.mark.parametrize("action", ["full", "differential"])
def test_what_cannot_be_backed_up_is_tried_unless_it_was_taken_out_of_use(action: str) -> None:
    assert run(Policy("p", ("*",)), action) == (["fine", "lost", "suspect"], [])


def test_a_database_that_is_named_and_is_not_there_is_an_error() -> None:
    _, errors = run(Policy("p", ("go[1]", "go[*]", "x*")), "full")
    assert [error.text for error in errors] == [
        "Policy 'p': database 'go[1]' does not exist.",
        "Policy 'p': database 'go*' does not exist.",
    ]
    asked, errors = run(Policy("p", ("gone", "Fine", "x*")), "full")
    assert asked == ["fine"]
    assert [(error.number, error.text) for error in errors] == [
        (911, "Policy 'p': database 'gone' does not exist.")
    ]
    assert run(Policy("p", ("gone", "fine")), "full", ["fine"]) == (["fine"], [])
    assert run(Policy("managed backup of gone", ("gone",)), "full") == ([], [])


class StoppedClock(SystemClock):
    """It is the same millisecond all the time, as it may be an hour later when summer time ends."""

    def now(self) -> dt.datetime:
        return dt.datetime(2027, 10, 31, 2, 30, 0, 7000, tzinfo=dt.UTC)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path)
    made.run("CREATE DATABASE shop")
    yield made
    made.close()


def policy_runs(shop: Workshop) -> PolicyRuns:
    def native(request: NativeRequest, cancelled: threading.Event) -> Iterator[Reply]:
        yield from shop.run(request.text, variables=dict(request.variables))

    history = shop.catalog.history
    clock = StoppedClock(dt.UTC)
    return PolicyRuns(native, shop.catalog.databases.all, history.listed, history.has_device, clock)


@pytest.mark.parametrize("places", [("/tmp",), ("/tmp/one", "/tmp/two")])
def test_no_backup_takes_the_place_of_another_one(shop: Workshop, places: tuple[str, ...]) -> None:
    runs = policy_runs(shop)
    policy = Policy("p", ("shop",), destinations=places)

    def back_up() -> None:
        found = list(runs.run(policy, "full", threading.Event()))
        assert not [message.text for message in found if message.severity > 10]

    def names() -> list[str]:
        return sorted(path.name for path in (shop.media / Path(places[-1]).relative_to("/tmp")).glob("*.bak"))

    def name(number: int) -> str:
        return f"shop_FULL_20271031_023000_{number:03d}.bak"

    back_up()
    back_up()
    assert names() == [name(7), name(8)]
    # msdb's history was lost.
    shop.catalog.history.forget_database("shop")
    back_up()
    assert names() == [name(7), name(8), name(9)]
    # What msdb knows may be away for a while, or be in an object store.
    for path in shop.media.rglob(name(9)):
        path.unlink()
    back_up()
    assert names() == [name(7), name(8), name(10)]


def test_two_jobs_at_once_write_two_media(shop: Workshop) -> None:
    runs = policy_runs(shop)
    with (
        runs._name("shop_FULL", "bak", [""], threading.Event()) as first,
        runs._name("SHOP_FULL", "bak", [""], threading.Event()) as second,
    ):
        assert first.lower() != second.lower()
    with runs._name("shop_FULL", "bak", [""], threading.Event()) as again:
        assert again == first

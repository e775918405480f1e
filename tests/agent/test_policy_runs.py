"""What a policy's run does for which databases, and that what is not backed up is no success."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tdsproxy.agent.clock import SystemClock
from tdsproxy.agent.policies import Policy
from tdsproxy.agent.policy_runs import PolicyRuns
from tdsproxy.catalog.databases import Database, DatabaseState, new_database
from tdsproxy.commands.request import NativeRequest
from tdsproxy.tsql.replies import Message, Reply

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

    runs = PolicyRuns(native, databases, lambda name: [], SystemClock(dt.UTC))
    found = list(runs.run(policy, action, threading.Event(), only))
    return asked, [message for message in found if message.severity > 10]


@pytest.mark.parametrize("action", ["full", "differential"])
def test_what_cannot_be_backed_up_is_tried_unless_it_was_taken_out_of_use(action: str) -> None:
    assert run(Policy("p", ("*",)), action) == (["fine", "lost", "suspect"], [])


def test_a_database_that_is_named_and_is_not_there_is_an_error() -> None:
    asked, errors = run(Policy("p", ("gone", "Fine", "x*")), "full")
    assert asked == ["fine"]
    assert [(error.number, error.text) for error in errors] == [
        (911, "Policy 'p': database 'gone' does not exist.")
    ]
    assert run(Policy("p", ("gone", "fine")), "full", ["fine"]) == (["fine"], [])
    assert run(Policy("managed backup of gone", ("gone",)), "full") == ([], [])

"""Who is told of what, and when."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest

from tdsproxy.agent.notices import (
    BEHIND,
    BROKEN,
    DISK,
    EVENT,
    LATE,
    QUOTA,
    RAISED,
    RESOLVED,
    UNPROVEN,
    Condition,
    DatabaseFacts,
    Facts,
    Notice,
    Objectives,
    Watch,
    conditions,
)
from tdsproxy.agent.notifier import Mail, Notifier
from tdsproxy.agent.settings import SettingsError, settings_of
from tests.agent.receiver import mail_server, receiver

HOUR = 3600.0
WELL = DatabaseFacts("shop", 100 * HOUR, {"full": HOUR, "log": 60.0}, True, None, 0.1, HOUR)
STRICT = Objectives(24, 12, 15, 48, 10)


def facts(item: DatabaseFacts, **more: object) -> Facts:
    return replace(Facts((item,), {"/data": (50, 100)}), **more)  # type: ignore[arg-type]


def kinds(found: Facts, objectives: Objectives = STRICT) -> list[tuple[str, str]]:
    return [(item.kind, item.subject) for item in conditions(found, objectives)]


def test_a_store_that_is_well_has_no_conditions() -> None:
    assert kinds(facts(WELL)) == []


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (replace(WELL, backups={"full": 25 * HOUR, "differential": HOUR, "log": 1.0}), (LATE, "shop (full)")),
        (replace(WELL, backups={"full": 13 * HOUR, "log": 1.0}), (LATE, "shop (full or differential)")),
        (replace(WELL, backups={"full": HOUR, "log": 901.0}), (LATE, "shop (log)")),
        (replace(WELL, chain_broken="the file was replaced"), (BROKEN, "shop")),
        (replace(WELL, lag=11.0), (BEHIND, "shop")),
        (replace(WELL, proven=49 * HOUR), (UNPROVEN, "shop")),
        (replace(WELL, proven=None), (UNPROVEN, "shop")),
    ],
)
def test_each_objective(item: DatabaseFacts, expected: tuple[str, str]) -> None:
    assert kinds(facts(item)) == [expected]


def test_a_database_without_backups_is_late_when_it_is_old_enough() -> None:
    bare = replace(WELL, backups={}, logged=False)
    assert kinds(facts(bare)) == [(LATE, "shop (full)"), (LATE, "shop (full or differential)")]
    assert kinds(facts(replace(bare, age=HOUR))) == []


def test_space() -> None:
    assert kinds(facts(WELL, free={"/data": (9, 100)})) == [(DISK, "/data")]
    assert kinds(facts(WELL, backup_bytes=91), replace(STRICT, quota_bytes=100)) == [(QUOTA, "backups")]
    assert kinds(facts(WELL, backup_bytes=90), replace(STRICT, quota_bytes=100)) == []


def test_the_watch_tells_beginnings_reminders_and_ends() -> None:
    watch = Watch(repeat_seconds=100)
    wrong = [Condition(LATE, "shop", "late")]
    assert [item.state for item in watch.look(wrong, 0)] == [RAISED]
    assert watch.look(wrong, 99) == []
    assert [item.state for item in watch.look(wrong, 100)] == [RAISED]
    assert watch.present == wrong
    assert [item.state for item in watch.look([], 101)] == [RESOLVED]
    assert watch.look([], 300) == []


def test_a_webhook_that_fails_is_tried_again() -> None:
    with receiver() as found:
        found.fail = 2
        notifier = Notifier((found.url,), None, "SRV", pauses=(0.0, 0.0))
        notifier.send(Notice(LATE, "shop", "It is late.", RAISED))
        notice = found.wait_for(LATE, RAISED)
        notifier.close()
    assert notice["text"] == "[SRV] It is late."
    assert notice["server"] == "SRV"
    assert notice["time"].endswith("Z")


def test_what_cannot_be_delivered_is_logged_without_its_secrets(caplog: pytest.LogCaptureFixture) -> None:
    with receiver() as found:
        found.fail = 10
        notifier = Notifier((found.url,), None, "SRV", pauses=(0.0,))
        with caplog.at_level(logging.ERROR):
            notifier.send(Notice(LATE, "shop", "It is late.", RAISED))
            notifier.close(60)
    (record,) = [found for found in caplog.records if found.name == Notifier.__module__]
    assert record.getMessage() == "a notice can't be delivered to the webhook at 127.0.0.1: HTTPError 500"


def test_mail() -> None:
    with mail_server() as (port, mails):
        mail = Mail("127.0.0.1", ("dba@example.org", "ops@example.org"), "store@example.org", port)
        notifier = Notifier((), mail, "SRV")
        notifier.send(Notice(BROKEN, "shop", "The chain is broken.", EVENT))
        notifier.close(60)
    (text,) = set(mails)  # a mail whose receipt came too late is sent again
    assert "To: dba@example.org, ops@example.org" in text
    assert "Subject: [SRV] broken chain: shop (event)" in text
    assert "The chain is broken." in text


def test_settings_say_what_is_wrong_with_them() -> None:
    found = settings_of(
        {
            "notices": {"webhooks": ["http://127.0.0.1/"], "full_hours": 24},
            "retention": {"databases": {"Sho?": {"daily": 3}, "*": {}}},
        }
    )
    assert found.notices.objectives.full_hours == 24
    rules = found.retention.of("SHOP")
    assert rules is not None
    assert (rules.daily, rules.weekly) == (3, 4)
    other = found.retention.of("other")
    assert other is not None
    assert other.daily == 7
    with pytest.raises(SettingsError, match=r"fulhours.*\$\.notices"):
        settings_of({"notices": {"fulhours": 1}})

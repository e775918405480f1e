"""Policies: what may be said, what it means, and when changes are enough for a backup."""

from __future__ import annotations

import datetime as dt
import random
import tomllib
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from tdsproxy.agent.managed import ManagedSettings, available, policies_of
from tdsproxy.agent.policies import (
    AfterChange,
    Policy,
    PolicyError,
    Retention,
    document,
    from_document,
    read_policy,
)
from tdsproxy.agent.policy_book import CHANGE, FILE, PolicyBook, job_id
from tdsproxy.agent.policy_watch import PolicyWatch
from tdsproxy.agent.schedule import Schedule
from tdsproxy.agent.settings import RetentionSettings
from tdsproxy.agent.timetable import next_cron, parse_timetable
from tdsproxy.catalog.catalog import initialise
from tdsproxy.catalog.databases import Database, new_database
from tdsproxy.catalog.listing import NamedSet
from tdsproxy.tsql.values import DateTime

TEXT = """
databases = ["shop", "tenant_*"]
exclude = ["tenant_test"]
destination = ["/backup/{database}", "s3://host/bucket"]
full = "weekly sun 02:00"
differential = "daily 02:00"
log = "every 15m"
verify = "0 5 * * 0"
compression = "ZSTD"
encryption = {certificate = "vault"}
after-change = {commits = 1000, log = "64M", quiet = "30s", at_most_every = "5m"}
[retention]
daily = 14
window = "30d"
size = "1G"
"""


def test_a_whole_policy() -> None:
    policy = read_policy("nightly", tomllib.loads(TEXT))
    assert policy == Policy(
        "nightly",
        ("shop", "tenant_*"),
        ("tenant_test",),
        ("/backup/{database}", "s3://host/bucket"),
        "weekly sun 02:00",
        "daily 02:00",
        "every 15m",
        "0 5 * * 0",
        AfterChange(1000, 64 << 20, 30.0, 300.0, "log"),
        "ZSTD",
        "AES_256",
        "vault",
        Retention(14, window_days=30.0, size_bytes=1 << 30),
    )
    assert from_document(document(policy)) == policy
    assert [policy.covers(name) for name in ("SHOP", "tenant_1", "tenant_test", "other")] == [
        *(True, True),
        *(False, False),
    ]
    everything = Policy("all", ("*", "master"))
    assert [everything.covers(name) for name in ("x", "msdb", "master")] == [True, False, True]


def test_names_with_characters_of_patterns() -> None:
    """A bracket is a character like all others; what has a database's own settings is about it alone."""
    policy = Policy("p", ("a[1]", "b*"), exclude=("b[2]", "b[*]"))
    names = ("A[1]", "a1", "b1", "b2", "B[2]", "b*", "b[*]")
    assert [name for name in names if policy.covers(name)] == ["A[1]", "b1", "b2"]
    retention = RetentionSettings({"a[1]": Retention(1), "b[?]": Retention(2)})
    found = [retention.of(name) for name in ("a1", "A[1]", "b?", "b1", "b[?]")]
    assert found == [None, Retention(1), Retention(2), None, Retention(2)]
    own = ManagedSettings(enabled=True, custom=True)
    system = ManagedSettings(enabled=True, custom=True)
    named, instance = policies_of({"*": system, "shop*": own}, switched_on=True)
    for name, by_name in (("shop*", True), ("shop1", False), ("shop", False)):
        assert (named.covers(name), instance.covers(name)) == (by_name, not by_name)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("databases = []", "has a wrong 'databases': it names none."),
        ("databases = 'x'\nfull = 'sometimes'", "has a wrong 'full': 'sometimes' is no timetable such as"),
        ("databases = 'x'\nfull = '61 * * * *'", "'61 * * * *' is no cron expression"),
        ("databases = 'x'\nlog = 'every 1s'", "'every 1s' is too often"),
        ("databases = 'x'\ncolour = 'red'", "has a wrong 'colour': there is no such key."),
        ("databases = 'x'\nafter_change = {at_most_every = '5m'}", "it needs commits, log or quiet."),
        ("databases = 'x'\nencryption = {algorithm = 'ROT13'}", "the algorithm is one of"),
        ("databases = 'x'\nretention = {daily = -1}", "it is a whole number from 0 on."),
    ],
)
def test_what_cannot_be_meant(text: str, said: str) -> None:
    with pytest.raises(PolicyError) as refused:
        read_policy("p", tomllib.loads(text))
    assert said in str(refused.value)


def test_timetables() -> None:
    assert parse_timetable("hourly :15") == Schedule(4, 1, 8, 1, active_start_time=1500)
    assert parse_timetable("weekly mon,thu 22:30") == Schedule(8, 2 | 16, active_start_time=223000)
    assert parse_timetable("Monthly 1") == Schedule(16, 1)
    assert parse_timetable("every 2 h") == Schedule(4, 1, 8, 2)
    assert parse_timetable("30 2 * * *") == "30 2 * * *"
    berlin = ZoneInfo("Europe/Berlin")
    found = [dt.datetime(2027, 3, 27, 12, tzinfo=dt.UTC)]
    for _ in range(2):
        following = next_cron("30 2 * * *", found[-1], berlin)
        assert following is not None
        found.append(following)
    assert [moment.astimezone(berlin).strftime("%d %H:%M") for moment in found[1:]] == [
        "28 03:00",
        "29 02:30",
    ]


def test_a_policy_becomes_jobs(tmp_path: Path) -> None:
    with initialise(tmp_path):
        book = PolicyBook(tmp_path, lambda: dt.datetime(2027, 1, 2, 3, 4, 5))
        policy = read_policy("nightly", tomllib.loads(TEXT))
        other = Policy("other", ("x",), full="hourly")
        book.put(FILE, [policy, other], all_of_source=True)
        names = [str(row[0]) for row in book._file.read("SELECT name FROM sysjobs ORDER BY name")]
        assert names == [
            "policy nightly: backup after changes",
            "policy nightly: differential backup",
            "policy nightly: full backup",
            "policy nightly: log backup",
            "policy nightly: trial restore",
            "policy other: full backup",
        ]
        schedules = [str(row[0]) for row in book._file.read("SELECT name FROM sysschedules ORDER BY name")]
        assert schedules == [
            "cron 0 5 * * 0",
            "nightly: daily 02:00",
            "nightly: every 15m",
            "nightly: weekly sun 02:00",
            "other: hourly",
        ]
        book.put(FILE, [other], all_of_source=True)
        assert book.all() == [(FILE, other)]
        assert book._file.read("SELECT COUNT(*) FROM sysjobs") == [(1,)]
        assert book.remove(FILE, "OTHER")
        assert not book.remove(FILE, "other")
        assert book._file.read("SELECT COUNT(*) FROM sysjobs") == [(0,)]
        assert book._file.read("SELECT COUNT(*) FROM sysschedules") == [(0,)]
        book.close()


def test_managed_backup_means_policies() -> None:
    system = ManagedSettings(enabled=True, url="s3://host/bucket", days=7)
    own = ManagedSettings(
        enabled=True, custom=True, full="Weekly", days_of_week="Monday | Friday", begin="17:30", log="00:05"
    )
    off = ManagedSettings(enabled=False)
    made = policies_of({"*": system, "shop": own, "old": off}, switched_on=True)
    assert [(p.name, p.databases, p.exclude, p.full, p.log) for p in made] == [
        ("managed backup of shop", ("shop",), (), "weekly monday,friday 17:30", "every 5m"),
        ("managed backup of instance", ("*",), ("shop", "old"), "weekly sun 00:00", "every 2h"),
        ("managed backup of instance by growth", ("*",), ("shop", "old"), None, None),
    ]
    assert made[0].destinations == ("s3://host/bucket",)
    assert made[0].retention == Retention(0, 0, 0, 0, age_days=7.0, window_days=7.0)
    assert [p.after_change for p in made] == [
        None,
        AfterChange(log_bytes=5 << 20),
        AfterChange(log_bytes=1 << 30, kind="full"),
    ]
    assert policies_of({"*": system}, switched_on=False) == []
    sealed = ManagedSettings(
        enabled=True, algorithm="AES_256", encryptor_type="ASYMMETRIC_KEY", encryptor="vault"
    )
    assert {(p.certificate, p.encryptor) for p in policies_of({"*": sealed}, switched_on=True)} == {
        ("vault", "ASYMMETRIC KEY")
    }


def test_available_backups_expire_with_their_chain_and_show_holes() -> None:
    guid, fork = uuid4(), uuid4()
    day = dt.datetime(2027, 1, 1)

    def named(kind: str, first: int, last: int, days: int) -> NamedSet:
        at = DateTime.of(day + dt.timedelta(days=days))
        return NamedSet(
            f"{kind}{days}", kind, guid, Decimal(first), Decimal(last), at, at, "m", fork, fork, None
        )

    sets = [
        named("D", 10, 10, 0),
        named("L", 10, 20, 1),
        named("L", 30, 40, 2),
        named("D", 40, 40, 7),
        named("L", 40, 50, 8),
    ]
    shown = [
        (row[0], row[1], None if row[2] is None else (row[2].to_python() - day).days, row[4], row[5])
        for row in available(sets, 30)
        if row[2] is None or isinstance(row[2], DateTime)
    ]
    assert shown == [
        ("D0", "DB", 32, 10, 10),
        ("L1", "LOG", 32, 10, 20),
        (None, "LOG", None, 20, 30),
        ("L2", "LOG", 32, 30, 40),
        ("D7", "DB", 38, 40, 40),
        ("L8", "LOG", 38, 40, 50),
    ]


def test_of_many_available_backups_each_expires_with_its_chain() -> None:
    chosen = random.Random(20270101)
    guids, fork, day = [uuid4() for _ in range(3)], uuid4(), dt.datetime(2027, 1, 1)
    sets = []
    for number in range(500):
        at = DateTime.of(day + dt.timedelta(hours=number))
        kind, guid = chosen.choice("DILLLL"), chosen.choice(guids)
        sets.append(NamedSet(str(number), kind, guid, Decimal(0), Decimal(0), at, at, "m", fork, fork, None))
    for place, row in enumerate(available(sets, 7)):
        kin = [item for item in sets[place:] if item.database_guid == sets[place].database_guid]
        ends = [number for number, item in enumerate(kin) if number and item.type == "D"]
        last = kin[: ends[0] if ends else None][-1]
        assert row[0] == str(place)
        assert isinstance(row[2], DateTime)
        assert row[2].to_python() == last.finished.to_python() + dt.timedelta(days=7)


class FakeChanges:
    """Positions that the test sets: in a log, of so many bytes and commits each."""

    def __init__(self) -> None:
        self.at = 100
        self.is_log = True
        self.backed_up_to: int | None = None

    def position(self, database: Database) -> tuple[int, bool]:
        return self.at, self.is_log

    def backed_up(self, database: Database, kind: str) -> int | None:
        return self.backed_up_to

    def bytes_between(self, first: int, last: int) -> int:
        return (last - first) * 1000

    def commits_between(self, database: Database, first: int, last: int) -> int:
        return last - first


@pytest.mark.parametrize(
    "change", [AfterChange(commits=5, at_most_every=60), AfterChange(log_bytes=5000, at_most_every=60)]
)
def test_enough_changes(change: AfterChange) -> None:
    enough = 5
    changes, started = FakeChanges(), list[UUID]()
    database = new_database("shop", id=5, guid=uuid4())
    policy = Policy("p", ("shop",), after_change=change)
    watch = PolicyWatch(lambda: [(FILE, policy)], lambda: [database], changes, started.append)
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    job = job_id(FILE, "p", CHANGE)
    for step in range(enough):
        assert watch.tick(now + dt.timedelta(seconds=step)) is not None
        assert not started
        changes.at += 1
    now += dt.timedelta(seconds=enough)
    watch.tick(now)
    assert started == [job]
    assert watch.take(job) == {"shop"}
    changes.at += enough
    watch.tick(now + dt.timedelta(seconds=59))
    assert started == [job], "at most one in 60 seconds"
    watch.tick(now + dt.timedelta(seconds=60))
    assert started == [job, job]


@pytest.mark.parametrize(("before", "expected"), [(None, 0), (100, 0), (97, 0), (96, 1), (0, 1), (200, 0)])
def test_changes_before_the_watch_count_since_the_last_backup(before: int | None, expected: int) -> None:
    changes, started = FakeChanges(), list[UUID]()
    changes.backed_up_to = before
    database = new_database("shop", id=5, guid=uuid4())
    policy = Policy("p", ("shop",), after_change=AfterChange(commits=4))
    watch = PolicyWatch(lambda: [(FILE, policy)], lambda: [database], changes, started.append)
    watch.tick(dt.datetime(2027, 1, 1, tzinfo=dt.UTC))
    assert len(started) == expected


@pytest.mark.parametrize("is_log", [True, False])
def test_quiet_after_changes(is_log: bool) -> None:
    changes, started = FakeChanges(), list[UUID]()
    changes.is_log = is_log
    database = new_database("shop", id=5, guid=uuid4())
    policy = Policy("p", ("shop",), after_change=AfterChange(quiet_seconds=30, at_most_every=0))

    def start(job: UUID) -> None:
        started.append(job)
        watch.take(job)

    watch = PolicyWatch(lambda: [(FILE, policy)], lambda: [database], changes, start)
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    for second in range(100):
        if second in (10, 20, 30):
            changes.at += 1
        watch.tick(now + dt.timedelta(seconds=second))
        assert len(started) == (second >= 60)
    if not is_log:
        changes.at += 1  # what the backup itself has written
    watch.finished(started[0])
    for second in range(100, 200):
        watch.tick(now + dt.timedelta(seconds=second))
    assert len(started) == 1


@pytest.mark.parametrize("is_log", [True, False])
def test_what_a_failed_backup_was_to_hold_still_waits_for_one(is_log: bool) -> None:
    changes, started = FakeChanges(), list[UUID]()
    changes.is_log = is_log
    databases = [new_database(name, id=number, guid=uuid4()) for number, name in ((5, "shop"), (6, "other"))]
    change = AfterChange(commits=5, quiet_seconds=10, at_most_every=0)
    policy = Policy("p", ("shop", "other"), after_change=change)

    def start(job: UUID) -> None:
        started.append(job)
        assert watch.take(job) == {"shop", "other"}

    watch = PolicyWatch(lambda: [(FILE, policy)], lambda: databases, changes, start)
    job = job_id(FILE, "p", CHANGE)
    now = dt.datetime(2027, 1, 1, tzinfo=dt.UTC)

    def passed(seconds: int, number: int) -> None:
        """So many seconds, after which so many jobs have been started."""
        nonlocal now
        for _ in range(seconds):
            now += dt.timedelta(seconds=1)
            watch.tick(now)
        assert len(started) == number

    passed(1, 0)
    changes.at += 7
    passed(12, 1)
    # Each failure is followed by a longer pause than the one before.
    for number, pause in ((1, 60), (2, 120), (3, 240)):
        watch.finished(job, failed=True)
        passed(pause, number)
        passed(2, number + 1)
    if is_log:
        # That of one database was written although the job has failed, for the other's sake.
        changes.backed_up_to = changes.at
        watch.finished(job, failed=True)
        passed(1000, 4)
    else:
        watch.finished(job)
        passed(1000, 4)
    changes.at += 5
    passed(12, 5)


def test_a_clock_that_was_put_back_lets_no_change_wait() -> None:
    changes, started = FakeChanges(), list[UUID]()
    database = new_database("shop", id=5, guid=uuid4())
    policy = Policy("p", ("shop",), after_change=AfterChange(quiet_seconds=30, at_most_every=60))
    watch = PolicyWatch(lambda: [(FILE, policy)], lambda: [database], changes, started.append)
    wrong, right = dt.datetime(2031, 1, 1, tzinfo=dt.UTC), dt.datetime(2027, 1, 1, tzinfo=dt.UTC)
    watch.tick(wrong)
    for seconds, number in ((0, 1), (100, 2)):
        changes.at += 1
        watch.tick(wrong + dt.timedelta(seconds=seconds))
        watch.tick(right + dt.timedelta(seconds=seconds))
        watch.tick(right + dt.timedelta(seconds=seconds + 60))
        assert len(started) == number
        watch.take(started[-1])

"""When schedules run: every frequency, over both changes of the clock, against a plain walk through time."""

from __future__ import annotations

import datetime as dt
import itertools
from zoneinfo import ZoneInfo

import pytest

from tdsproxy.agent.schedule import Schedule, next_run
from tests.agent.clock_oracle import walk

ZONES = ("Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
"""The last one's clock changes by half an hour, in the other half of the year."""

SCHEDULES = (
    Schedule(1, active_start_date=20270501, active_start_time=103000),
    Schedule(4, 1, active_start_time=23000),
    Schedule(4, 1, active_start_time=20000),
    Schedule(4, 1, active_start_time=13000),
    Schedule(4, 3, active_start_date=20260105, active_start_time=240000 - 50000),
    Schedule(4, 1, 4, 15),
    Schedule(4, 1, 4, 30, active_start_time=1500),
    Schedule(4, 1, 8, 1, active_start_time=3000),
    Schedule(4, 1, 8, 2, active_start_time=20000 - 20000),
    Schedule(4, 2, 8, 3, active_start_time=13000, active_end_time=173000),
    Schedule(8, 1 | 8 | 64, active_start_time=23000),
    Schedule(8, 1, freq_recurrence_factor=2, active_start_date=20260107, active_start_time=13000),
    Schedule(8, 127, 4, 45, freq_recurrence_factor=3, active_start_date=20260110, active_start_time=1500),
    Schedule(16, 31, active_start_time=21500),
    Schedule(16, 29, freq_recurrence_factor=5, active_start_date=20260215, active_start_time=120000),
    Schedule(32, 1, freq_relative_interval=16, active_start_time=23000),
    Schedule(32, 1, freq_relative_interval=2, active_start_time=23000),
    Schedule(32, 8, freq_relative_interval=16, active_start_time=234500),
    Schedule(32, 9, freq_relative_interval=1, freq_recurrence_factor=2, active_start_time=60000),
    Schedule(32, 10, freq_relative_interval=4, active_start_time=13000),
    Schedule(32, 4, freq_relative_interval=8, active_start_date=20260301, active_end_date=20290301),
)


def runs(schedule: Schedule, start: dt.datetime, end: dt.datetime, zone: ZoneInfo) -> list[dt.datetime]:
    found = []
    moment = next_run(schedule, start, zone)
    while moment is not None and moment < end:
        found.append(moment)
        moment = next_run(schedule, moment, zone)
    return found


def compare(schedules: tuple[Schedule, ...], start: dt.datetime, end: dt.datetime, name: str) -> int:
    zone = ZoneInfo(name)
    count = 0
    for schedule, expected in zip(schedules, walk(schedules, start, end, zone), strict=True):
        assert runs(schedule, start, end, zone) == expected, schedule
        count += len(expected)
    return count


def day(year: int, month: int, number: int, hour: int = 0, minute: int = 0) -> dt.datetime:
    return dt.datetime(year, month, number, hour, minute, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("zone", "month", "first"),
    [
        ("Europe/Berlin", 3, 26),
        ("Europe/Berlin", 10, 29),
        ("America/New_York", 3, 12),
        ("America/New_York", 11, 5),
        ("Australia/Lord_Howe", 4, 2),
        ("Australia/Lord_Howe", 10, 1),
    ],
)
def test_around_the_changes_of_the_clock(zone: str, month: int, first: int) -> None:
    start = day(2027, month, first, 6)
    assert compare(SCHEDULES, start, start + dt.timedelta(days=4), zone) > 100


@pytest.mark.slow
@pytest.mark.parametrize("zone", ZONES)
def test_ten_years(zone: str) -> None:
    sparse = [s for s in SCHEDULES if s.freq_subday_type == 1 or s.step_seconds > 2 * 3600]
    assert compare(tuple(sparse), day(2026, 1, 1), day(2036, 1, 1), zone) > 25_000


def wall(moment: dt.datetime | None, zone: str) -> str:
    assert moment is not None
    return moment.astimezone(ZoneInfo(zone)).isoformat()


def test_a_skipped_time_runs_once_behind_the_jump() -> None:
    schedule = Schedule(4, active_start_time=23000)
    berlin = ZoneInfo("Europe/Berlin")
    first = next_run(schedule, day(2027, 3, 27, 12), berlin)
    assert wall(first, "Europe/Berlin") == "2027-03-28T03:00:00+02:00"
    assert first is not None
    assert wall(next_run(schedule, first, berlin), "Europe/Berlin") == "2027-03-29T02:30:00+02:00"


def test_a_repeated_time_runs_the_first_time_only() -> None:
    schedule = Schedule(4, active_start_time=23000)
    berlin = ZoneInfo("Europe/Berlin")
    first = next_run(schedule, day(2027, 10, 30, 12), berlin)
    assert wall(first, "Europe/Berlin") == "2027-10-31T02:30:00+02:00"
    assert first is not None
    assert wall(next_run(schedule, first, berlin), "Europe/Berlin") == "2027-11-01T02:30:00+01:00"


def test_a_short_pace_goes_on_through_the_repeated_hour() -> None:
    schedule = Schedule(4, 1, 2, 60)
    berlin = ZoneInfo("Europe/Berlin")
    start = day(2027, 10, 30, 23, 59)
    found = runs(schedule, start, start + dt.timedelta(hours=3), berlin)
    assert len(found) == 60 * 3 - 1
    assert {b - a for a, b in itertools.pairwise(found)} == {dt.timedelta(minutes=1)}
    start = day(2027, 3, 28, 0, 0)
    found = runs(schedule, start, start + dt.timedelta(hours=3), berlin)
    assert {b - a for a, b in itertools.pairwise(found)} == {dt.timedelta(minutes=1)}


def test_a_window_may_span_midnight() -> None:
    schedule = Schedule(8, 2, 8, 1, active_start_time=223000, active_end_time=13000)
    found = runs(schedule, day(2027, 1, 4), day(2027, 1, 11), ZoneInfo("UTC"))
    assert [moment.strftime("%d %H:%M") for moment in found] == [
        "04 22:30",
        "04 23:30",
        "05 00:30",
        "05 01:30",
    ]


def test_an_end_and_what_no_clock_starts() -> None:
    utc = ZoneInfo("UTC")
    past = Schedule(4, active_end_date=20270101, active_start_time=120000)
    assert next_run(past, day(2027, 1, 1, 11), utc) == day(2027, 1, 1, 12)
    assert next_run(past, day(2027, 1, 1, 12), utc) is None
    assert next_run(Schedule(64), day(2027, 1, 1), utc) is None
    assert next_run(Schedule(128), day(2027, 1, 1), utc) is None
    assert (
        next_run(
            Schedule(16, 31, freq_recurrence_factor=12, active_start_date=20270201), day(2027, 1, 1), utc
        )
        is None
    )

"""When schedules run, found the plain way: by walking through time, with the clock on the wall."""

from __future__ import annotations

import calendar
import datetime as dt
from collections.abc import Sequence
from zoneinfo import ZoneInfo

from tdsproxy.agent.schedule import Schedule

STEP = dt.timedelta(minutes=15)
"""Every schedule's times and every clock change lie on these steps."""


def walk(
    schedules: Sequence[Schedule], start: dt.datetime, end: dt.datetime, zone: ZoneInfo
) -> list[list[dt.datetime]]:
    """Each schedule's runs within (start, end), in UTC."""
    walls = [_slots(schedule) for schedule in schedules]
    steps_of = [_step(schedule) for schedule in schedules]
    days: list[dict[dt.date, bool]] = [{} for _ in schedules]
    fired: list[list[dt.datetime]] = [[] for _ in schedules]
    seen: list[set[dt.datetime]] = [set() for _ in schedules]
    moment = start
    last_wall = moment.astimezone(zone).replace(tzinfo=None)
    while moment < end:
        moment += STEP
        wall = moment.astimezone(zone).replace(tzinfo=None)
        jump = wall - last_wall - STEP
        shown = [wall]
        missed = last_wall + STEP
        while missed < wall:
            shown.append(missed)
            missed += STEP
        last_wall = wall
        for place, schedule in enumerate(schedules):
            steps = steps_of[place]
            for time in shown:
                if time.hour * 60 + time.minute not in walls[place]:
                    continue
                date = time.date()
                if date not in days[place]:
                    days[place][date] = _day(schedule, date)
                if not days[place][date]:
                    continue
                if time != wall and steps and steps <= jump:
                    continue  # a short pace skips what the clock skips
                if time in seen[place] and not (steps and steps <= _repeated(wall, zone)):
                    continue
                seen[place].add(time)
                if moment < end and (not fired[place] or fired[place][-1] != moment):
                    fired[place].append(moment)
    return fired


def _repeated(wall: dt.datetime, zone: ZoneInfo) -> dt.timedelta:
    first, second = (wall.replace(tzinfo=zone, fold=fold).utcoffset() for fold in (0, 1))
    assert first is not None
    assert second is not None
    return first - second


def _step(schedule: Schedule) -> dt.timedelta | None:
    unit = {4: dt.timedelta(minutes=1), 8: dt.timedelta(hours=1)}.get(schedule.freq_subday_type)
    return None if unit is None else unit * schedule.freq_subday_interval


def _slots(schedule: Schedule) -> set[int]:
    """Minutes of the day."""
    first = schedule.active_start_time // 10000 * 60 + schedule.active_start_time // 100 % 100
    last = schedule.active_end_time // 10000 * 60 + schedule.active_end_time // 100 % 100
    step = _step(schedule)
    return {first} if step is None else set(range(first, last + 1, step // dt.timedelta(minutes=1)))


def _day(schedule: Schedule, day: dt.date) -> bool:
    first = dt.date.fromisoformat(str(schedule.active_start_date))
    last = dt.date.fromisoformat(str(schedule.active_end_date))
    if not first <= day <= last:
        return False
    factor = schedule.freq_recurrence_factor
    months = (day.year * 12 + day.month) - (first.year * 12 + first.month)
    name = day.strftime("%A")
    if schedule.freq_type == 1:
        return day == first
    if schedule.freq_type == 4:
        return (day.toordinal() - first.toordinal()) % schedule.freq_interval == 0
    if schedule.freq_type == 8:
        bits = {
            "Sunday": 1,
            "Monday": 2,
            "Tuesday": 4,
            "Wednesday": 8,
            "Thursday": 16,
            "Friday": 32,
            "Saturday": 64,
        }
        # Ordinal 7 was a Sunday: weeks begin on Sundays.
        weeks = day.toordinal() // 7 - first.toordinal() // 7
        return bool(bits[name] & schedule.freq_interval) and weeks % factor == 0
    if schedule.freq_type == 16:
        return day.day == schedule.freq_interval and months % factor == 0
    if months % factor:
        return False
    kinds = {
        1: "Sunday",
        2: "Monday",
        3: "Tuesday",
        4: "Wednesday",
        5: "Thursday",
        6: "Friday",
        7: "Saturday",
    }
    weekend = ("Saturday", "Sunday")
    days = []
    for number in range(1, calendar.monthrange(day.year, day.month)[1] + 1):
        there = dt.date(day.year, day.month, number).strftime("%A")
        kind = schedule.freq_interval
        groups = {8: True, 9: there not in weekend, 10: there in weekend}
        if groups.get(kind, kinds.get(kind) == there):
            days.append(number)
    wanted = {1: 0, 2: 1, 4: 2, 8: 3, 16: -1}[schedule.freq_relative_interval]
    return day.day == days[wanted] if wanted < len(days) else False

"""A schedule in SQL Server's words, as T-SQL: what sp_get_schedule_description says."""

from __future__ import annotations

from typing import Final

_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_OTHER_DAYS: Final = ("day", "week day", "weekend day")
_WHICH: Final = {1: "first", 2: "second", 4: "third", 8: "fourth", 16: "last"}
_UNITS: Final = {2: "second(s)", 4: "minute(s)", 8: "hour(s)"}


def schedule_words(of: str) -> str:
    """An expression over the columns of sysschedules; ``of`` stands before their names (``s.``, ``@``).

    Dates and times are the numbers of the columns, as there.
    """

    def text(column: str) -> str:
        return f"CONVERT(nvarchar(12), {of}{column})"

    def words(column: str, meanings: dict[int, str]) -> str:
        cases = " ".join(f"WHEN {number} THEN N'{word}'" for number, word in meanings.items())
        return f"CASE {of}{column} {cases} END"

    days = " + ".join(
        f"IIF({of}freq_interval & {1 << place} > 0, N'{day}, ', N'')" for place, day in enumerate(_DAYS)
    )
    named = dict(enumerate((*_DAYS, *_OTHER_DAYS), 1))
    every = f"N'Every ' + {text('freq_recurrence_factor')} + N' "
    units = f"N'every ' + {text('freq_subday_interval')} + N' ' + {words('freq_subday_type', _UNITS)}"
    return f"""CASE {of}freq_type
    WHEN 1 THEN N'Once on ' + {text("active_start_date")} + N' at ' + {text("active_start_time")}
    WHEN 64 THEN N'Automatically when SQLServerAgent starts.'
    WHEN 128 THEN N'Whenever the CPU usage has remained below 10 percent for at least 600 seconds.'
    ELSE CASE {of}freq_type WHEN 4 THEN N'Every day '
        WHEN 8 THEN {every}week(s) on ' + REPLACE(RTRIM({days}) + N'|', N',|', N' ')
        WHEN 16 THEN {every}months(s) on day ' + {text("freq_interval")} + N' of that month '
        WHEN 32 THEN {every}months(s) on the ' + {words("freq_relative_interval", _WHICH)} + N' '
            + {words("freq_interval", named)} + N' of that month ' END
        + CASE WHEN {of}freq_subday_type = 1 THEN N'at ' + {text("active_start_time")}
        ELSE {units} + N' between ' + {text("active_start_time")} + N' and '
            + {text("active_end_time")} END END"""

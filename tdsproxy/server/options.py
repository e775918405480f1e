"""SET statements: what they change in a session's options."""

from __future__ import annotations

from typing import Final

from tdsproxy.tsql.date_text import DATE_FORMAT
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.languages import LANGUAGE, US_ENGLISH, find_language
from tdsproxy.tsql.state import Options

ISOLATION_LEVELS: Final = {
    "READ UNCOMMITTED": 1,
    "READ COMMITTED": 2,
    "REPEATABLE READ": 3,
    "SERIALIZABLE": 4,
    "SNAPSHOT": 5,
}
ISOLATION: Final = "TRANSACTION ISOLATION LEVEL"

_ANSI_DEFAULTS: Final = (
    "ANSI_NULLS",
    "ANSI_NULL_DFLT_ON",
    "ANSI_PADDING",
    "ANSI_WARNINGS",
    "CURSOR_CLOSE_ON_COMMIT",
    "IMPLICIT_TRANSACTIONS",
    "QUOTED_IDENTIFIER",
)
_DATE_FORMATS: Final = ("mdy", "dmy", "ymd", "ydm", "myd", "dym")


def initial_options(*, odbc: bool) -> Options:
    """The options that a session starts with: ODBC clients (LOGIN7's OptionFlags2) get the ANSI ones."""
    word = "ON" if odbc else "OFF"
    others = dict.fromkeys(
        ("ANSI_PADDING", "ANSI_WARNINGS", "ANSI_NULL_DFLT_ON", "CONCAT_NULL_YIELDS_NULL"), word
    )
    others.update(ARITHABORT="OFF", TEXTSIZE="2147483647", LOCK_TIMEOUT="-1")
    return Options(quoted_identifier=odbc, ansi_nulls=odbc, others=others)


def set_option(options: Options, name: str, value: str) -> None:
    """Applies ``SET name value``. Raises SqlError for a value that the option does not take."""
    on = value.upper() == "ON"
    if name == "NOCOUNT":
        options.nocount = on
    elif name == "XACT_ABORT":
        options.xact_abort = on
    elif name == "QUOTED_IDENTIFIER":
        options.quoted_identifier = on
    elif name == "ANSI_NULLS":
        options.ansi_nulls = on
    elif name == "ANSI_DEFAULTS":
        for each in _ANSI_DEFAULTS:
            set_option(options, each, value)
    elif name == "DATEFIRST":
        options.date_first = _date_first(value)
    elif name == "DATEFORMAT":
        _set_date_format(options, value)
    elif name == "LANGUAGE":
        language = find_language(value)
        if language is None:
            raise SqlError.of(
                2742,
                16,
                1,
                f"SET LANGUAGE failed because '{value}' is not an official language name or a language"
                f" alias on this SQL Server.",
            )
        options.language = language.name
        options.date_format = language.date_format
        options.date_first = language.date_first
    elif name == ISOLATION:
        options.others[ISOLATION] = value.upper()
    elif name == "TEXTSIZE":
        options.others[name] = str(2147483647 if value in ("-1", "2147483647") else int(value) or 4096)
    else:
        options.others[name] = value.upper() if value.upper() in ("ON", "OFF") else value


def begin_reading(options: Options) -> None:
    """From here on dates are read and written as the session's options say."""
    DATE_FORMAT.set(options.date_format)
    LANGUAGE.set(find_language(options.language) or US_ENGLISH)


def isolation(options: Options) -> int:
    """The isolation level as sys.dm_exec_sessions numbers it."""
    return ISOLATION_LEVELS.get(options.others.get(ISOLATION, "READ COMMITTED"), 2)


def _date_first(value: str) -> int:
    try:
        day = int(value)
    except ValueError:
        day = 0
    if not 1 <= day <= 7:
        raise SqlError.of(2744, 16, 1, f"The SET DATEFIRST value {value} is out of range.")
    return day


def _set_date_format(options: Options, value: str) -> None:
    if value.lower() not in _DATE_FORMATS:
        raise SqlError.of(2741, 16, 1, f"SET DATEFORMAT date order '{value}' is invalid.")
    options.date_format = value.lower()

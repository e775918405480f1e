"""The options of ALTER DATABASE ... SET, each declared once.

The parser takes from here which words are options and what may follow them (error 102), the commands which
need the database for themselves, the views which columns of ``sys.databases`` show them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Final

ON_OFF: Final = ("ON", "OFF")


@dataclass(frozen=True, slots=True)
class SetOptionDef:
    """``values`` are the words that may follow, empty for an option that takes none, None where anything may.

    ``exclusive``: takes effect only when no other session uses the database. ``group``: of the options of one
    group a statement may name one (error 5062). ``columns``: by word, the columns of ``sys.databases`` and
    their values; an option that is on or off in one bit column names that in ``bit`` instead. ``in_system``
    is the state of error 5058 when a system database is named; 0 where it may be set there, too.
    """

    name: str
    values: tuple[str, ...] | None
    exclusive: bool = False
    group: str = ""
    bit: str = ""
    columns: Mapping[str, Mapping[str, int | str]] = field(default_factory=dict)
    in_system: int = 0


def _described(column: str, *words: str) -> dict[str, dict[str, int | str]]:
    """A number and its word in ``column`` and ``column_desc``, counted from 0."""
    return {word: {column: number, f"{column}_desc": word} for number, word in enumerate(words)}


_STATE: Final = tuple(
    SetOptionDef(name, (), exclusive, group, in_system=5)
    for name, group, exclusive in (
        ("SINGLE_USER", "access", True),
        ("RESTRICTED_USER", "access", False),
        ("MULTI_USER", "access", False),
        ("OFFLINE", "state", True),
        ("ONLINE", "state", False),
        ("EMERGENCY", "state", True),
        ("READ_ONLY", "update", True),
        ("READ_WRITE", "update", True),
    )
)
_BITS: Final = tuple(
    SetOptionDef(name, ON_OFF, bit=column)
    for name, column in (
        ("AUTO_CLOSE", "is_auto_close_on"),
        ("AUTO_CREATE_STATISTICS", "is_auto_create_stats_on"),
        ("AUTO_SHRINK", "is_auto_shrink_on"),
        ("AUTO_UPDATE_STATISTICS", "is_auto_update_stats_on"),
        ("AUTO_UPDATE_STATISTICS_ASYNC", "is_auto_update_stats_async_on"),
        ("ANSI_NULL_DEFAULT", "is_ansi_null_default_on"),
        ("ANSI_NULLS", "is_ansi_nulls_on"),
        ("ANSI_PADDING", "is_ansi_padding_on"),
        ("ANSI_WARNINGS", "is_ansi_warnings_on"),
        ("ARITHABORT", "is_arithabort_on"),
        ("CONCAT_NULL_YIELDS_NULL", "is_concat_null_yields_null_on"),
        ("NUMERIC_ROUNDABORT", "is_numeric_roundabort_on"),
        ("QUOTED_IDENTIFIER", "is_quoted_identifier_on"),
        ("RECURSIVE_TRIGGERS", "is_recursive_triggers_on"),
        ("CURSOR_CLOSE_ON_COMMIT", "is_cursor_close_on_commit_on"),
        ("TRUSTWORTHY", "is_trustworthy_on"),
        ("DB_CHAINING", "is_db_chaining_on"),
        ("HONOR_BROKER_PRIORITY", "is_honor_broker_priority_on"),
        ("MEMORY_OPTIMIZED_ELEVATE_TO_SNAPSHOT", "is_memory_optimized_elevate_to_snapshot_on"),
        ("MIXED_PAGE_ALLOCATION", "is_mixed_page_allocation_on"),
        ("TEMPORAL_HISTORY_RETENTION", "is_temporal_history_retention_enabled"),
        ("DATA_RETENTION", "is_data_retention_enabled"),
        ("STALE_PAGE_DETECTION", "is_stale_page_detection_on"),
        ("QUERY_STORE", "is_query_store_on"),
        ("NESTED_TRIGGERS", "is_nested_triggers_on"),
        ("TRANSFORM_NOISE_WORDS", "is_transform_noise_words_on"),
    )
)
_OTHERS: Final = (
    SetOptionDef("READ_COMMITTED_SNAPSHOT", ON_OFF, True, bit="is_read_committed_snapshot_on", in_system=2),
    SetOptionDef(
        "ALLOW_SNAPSHOT_ISOLATION",
        ON_OFF,
        columns=_described("snapshot_isolation_state", "OFF", "ON"),
    ),
    SetOptionDef("DATE_CORRELATION_OPTIMIZATION", ON_OFF, True, bit="is_date_correlation_on"),
    SetOptionDef("ACCELERATED_DATABASE_RECOVERY", ON_OFF, True, bit="is_accelerated_database_recovery_on"),
    SetOptionDef("OPTIMIZED_LOCKING", ON_OFF),
    SetOptionDef("RECOVERY", ("FULL", "BULK_LOGGED", "SIMPLE")),
    SetOptionDef(
        "PAGE_VERIFY",
        ("CHECKSUM", "TORN_PAGE_DETECTION", "NONE"),
        columns=_described("page_verify_option", "NONE", "TORN_PAGE_DETECTION", "CHECKSUM"),
    ),
    SetOptionDef(
        "TORN_PAGE_DETECTION",
        ON_OFF,
        columns={
            "ON": {"page_verify_option": 1, "page_verify_option_desc": "TORN_PAGE_DETECTION"},
            "OFF": {"page_verify_option": 0, "page_verify_option_desc": "NONE"},
        },
    ),
    SetOptionDef(
        "PARAMETERIZATION",
        ("SIMPLE", "FORCED"),
        columns={"SIMPLE": {"is_parameterization_forced": 0}, "FORCED": {"is_parameterization_forced": 1}},
    ),
    SetOptionDef(
        "CURSOR_DEFAULT",
        ("LOCAL", "GLOBAL"),
        columns={"LOCAL": {"is_local_cursor_default": 1}, "GLOBAL": {"is_local_cursor_default": 0}},
    ),
    SetOptionDef(
        "DELAYED_DURABILITY",
        ("DISABLED", "ALLOWED", "FORCED"),
        columns=_described("delayed_durability", "DISABLED", "ALLOWED", "FORCED"),
    ),
    SetOptionDef(
        "CONTAINMENT", ("NONE", "PARTIAL"), True, columns=_described("containment", "NONE", "PARTIAL")
    ),
    SetOptionDef("ENABLE_BROKER", (), True, "broker", columns={"": {"is_broker_enabled": 1}}),
    SetOptionDef("DISABLE_BROKER", (), group="broker", columns={"": {"is_broker_enabled": 0}}),
    SetOptionDef("NEW_BROKER", (), True, "broker", columns={"": {"is_broker_enabled": 1}}),
    SetOptionDef("ERROR_BROKER_CONVERSATIONS", (), True, "broker"),
    SetOptionDef("VARDECIMAL_STORAGE_FORMAT", ON_OFF),
    SetOptionDef("SUSPEND_FOR_SNAPSHOT_BACKUP", ON_OFF),
    SetOptionDef("ENCRYPTION", ("ON", "OFF", "SUSPEND", "RESUME")),
    *(
        SetOptionDef(name, None)
        for name in (
            "COMPATIBILITY_LEVEL",
            "TARGET_RECOVERY_TIME",
            "TWO_DIGIT_YEAR_CUTOFF",
            "DEFAULT_LANGUAGE",
            "DEFAULT_FULLTEXT_LANGUAGE",
            "AUTOMATIC_TUNING",
            "CHANGE_TRACKING",
            "FILESTREAM",
            "HADR",
            "PARTNER",
            "WITNESS",
            "REMOTE_DATA_ARCHIVE",
            "PERSISTENT_LOG_BUFFER",
            "LEDGER",
        )
    ),
)


@cache
def set_options() -> Mapping[str, SetOptionDef]:
    """All options by their words."""
    return {option.name: option for option in (*_STATE, *_BITS, *_OTHERS)}


def first_word(value: str) -> str:
    """The word that says what an option is set to: ON of ``ON (INCREMENTAL = OFF)``."""
    return value.split("(")[0].strip().upper()


def shown_columns(options: Mapping[str, str]) -> dict[str, int | str]:
    """What the options that were set (words and their arguments) change in a row of ``sys.databases``."""
    shown: dict[str, int | str] = {}
    for word, value in options.items():
        option = set_options().get(word)
        if option is None:
            continue
        if option.bit:
            shown[option.bit] = int(first_word(value) != "OFF")
        shown |= option.columns.get(first_word(value), {})
        if word == "TARGET_RECOVERY_TIME":
            shown["target_recovery_time_in_seconds"] = _seconds(value)
        elif word == "TWO_DIGIT_YEAR_CUTOFF" and value.isdecimal():
            shown["two_digit_year_cutoff"] = int(value)
    return shown


def _seconds(value: str) -> int:
    number, _, unit = value.partition(" ")
    return (int(number) if number.isdecimal() else 0) * (60 if unit.strip() == "MINUTES" else 1)

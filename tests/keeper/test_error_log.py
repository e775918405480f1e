"""The error log where it can't be written, and the words of what is written."""

from __future__ import annotations

import datetime as dt
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.keeper.error_log import (
    BACKUP_NUMBERS,
    RESTORE_NUMBERS,
    ErrorLog,
    ErrorLogHandler,
    backup_text,
    restore_text,
)
from tdsproxy.server.system_messages import system_messages


def test_an_error_log_that_cannot_be_written_is_told_once_and_stops_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "not there"
    log = ErrorLog(store)
    handler = ErrorLogHandler(log)
    logger = logging.getLogger("tdsproxy")
    logger.addHandler(handler)
    try:
        log.write("Server", "something happened")
        logging.getLogger("tdsproxy.keeper").error("and something else")
    finally:
        logger.removeHandler(handler)
    told = [record for record in caplog.records if "can't be written" in record.getMessage()]
    assert len(told) == 2
    store.mkdir()
    log.write("Server", "later")
    assert store.joinpath("errorlog").read_text().rstrip().endswith("later")


@pytest.mark.parametrize(
    ("write", "kind", "number"),
    [
        *((backup_text, kind, BACKUP_NUMBERS[kind]) for kind in "DLI"),
        *((restore_text, kind, RESTORE_NUMBERS[kind]) for kind in "DLI"),
    ],
)
def test_backups_and_restores_are_told_in_the_words_of_sys_messages(
    write: Callable[[str, dict[str, Any]], str], kind: str, number: int
) -> None:
    values = {
        "database": "d",
        "created": dt.datetime(2026, 1, 2, 3, 4, 5),
        **dict.fromkeys(("pages", "first", "last", "base", "position"), 1),
        "devices": ["a.bak"],
    }
    pattern = re.sub("%(s|d|I64d)", ".+", re.escape(system_messages()[number].text))
    assert re.fullmatch(pattern, write(kind, values))

"""The error log where it can't be written."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tdsproxy.keeper.error_log import ErrorLog, ErrorLogHandler


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

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator

import pytest

from tdsproxy.keeper.log_format import configure


class _Full(io.StringIO):
    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, quiet = logging.getLogger(), logging.getLogger("asyncio")
    handlers, levels = list(root.handlers), (root.level, quiet.level)
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    quiet.setLevel(levels[1])


def test_a_log_that_cannot_be_written_stops_nothing_and_says_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", _Full())
        configure("INFO", as_json=False)
    logging.getLogger("tdsproxy.test").error("the disk is full")
    assert capsys.readouterr() == ("", "")
    # A message that can't be made is a defect of ours, and is told.
    logging.getLogger("tdsproxy.test").error("%d", "text")
    assert "Traceback" in capsys.readouterr().err

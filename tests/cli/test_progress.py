from __future__ import annotations

import io
import os
import re
import sys
import threading

import pytest

from tdsproxy.cli.progress import Lines, Nothing, display, looked_at
from tdsproxy.commands.request import StatementProgress


class Heard:
    def __init__(self) -> None:
        self.moves: list[tuple[int, int]] = []
        self.enough = threading.Event()

    def told(self, percent: int) -> None:
        raise AssertionError(percent)

    def moved(self, done: int, total: int) -> None:
        self.moves.append((done, total))
        self.enough.set()


def test_no_terminal_gets_a_line_each_ten_percent(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stderr", errors)
    with display("backup of x", quiet=False) as shown:
        assert isinstance(shown, Lines)
        for percent in (1, 9, 10, 11, 37, 99, 100):
            shown.told(percent)
        shown.moved(1, 2)
    expected = [f"{step} percent processed." for step in (10, 30, 90, 100)]
    assert errors.getvalue().splitlines() == expected


def test_json_gets_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with display("backup of x", quiet=True) as shown:
        assert isinstance(shown, Nothing)
        shown.told(50)
        shown.moved(1, 2)
    assert capfd.readouterr() == ("", "")


def test_a_terminal_gets_a_bar_with_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    master, slave = os.openpty()
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    written = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(master, 4096)
            except OSError:
                return
            if not data:
                return
            written.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with display("backup of x", quiet=False) as shown:
            shown.told(3)
            for part in range(1, 9):
                shown.moved(part * 100_000_000, 1_000_000_000)
    reader.join(60)
    os.close(master)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())
    last = [line for line in re.split(r"[\r\n]+", text) if "backup of x" in line][-1]
    # The rate is whatever this machine made of it; the time left follows from it.
    assert re.fullmatch(r"backup of x \S+ +80% [\d.,]+ [kMGTPEZY]?B/s \d+:\d\d:\d\d *", last), last


def test_the_statement_of_the_session_is_looked_at() -> None:
    heard = Heard()
    statements = [
        StatementProgress(51, "BACKUP DATABASE", "a", 10.0, 5, 5, 10, 100),
        StatementProgress(52, "BACKUP DATABASE", "b", 0.0, 0, 5),
        StatementProgress(52, "BACKUP DATABASE", "b", 20.0, 5, 5, 40, 200),
    ]
    with looked_at(heard, 52, lambda: statements):
        assert heard.enough.wait(60)
    assert set(heard.moves) == {(40, 200)}

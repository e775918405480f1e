"""Places at which a process is killed or made slow: only the one that is named, at the time that is named."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tdsproxy.store import crashpoints
from tdsproxy.store.crashpoints import CrashPoint, HoldPoint, SlowPoint


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Whom the place would have killed."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: found.append((pid, number)))
    return found


def test_the_named_place_kills_once_at_the_named_time(killed: list[tuple[int, int]]) -> None:
    point = CrashPoint("a.b:3")
    for name in ("a.b", "a.c", "a.b", "a.d"):
        point.reach(name)
    assert killed == []
    for _ in range(3):
        point.reach("a.b")
    assert killed == [(os.getpid(), signal.SIGKILL)]


def test_another_process_is_killed_once_its_id_is_known(
    killed: list[tuple[int, int]], tmp_path: Path
) -> None:
    victim = tmp_path / "pid"
    point = CrashPoint(f"a@{victim}")
    point.reach("a")
    victim.write_text("4711")
    point.reach("b")
    assert killed == []
    point.reach("a")
    assert killed == [(4711, signal.SIGKILL)]


def test_a_victim_that_has_gone_is_no_error(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait(60)
    (tmp_path / "pid").write_text(str(gone.pid))
    CrashPoint(f"a@{tmp_path / 'pid'}").reach("a")


def test_the_slow_place_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    point = SlowPoint("a=0.5")
    point.reach("b")
    point.reach("a")
    assert waited == [0.5]


def test_what_is_armed_is_reached(monkeypatch: pytest.MonkeyPatch, killed: list[tuple[int, int]]) -> None:
    crashpoints.reach("a")
    monkeypatch.setattr(crashpoints, "_ARMED", CrashPoint("a"))
    monkeypatch.setattr(crashpoints, "_SLOW", SlowPoint("a=0"))
    crashpoints.reach("a")
    assert len(killed) == 1


def test_a_held_place_waits_for_a_file(tmp_path: Path) -> None:
    file = tmp_path / "go on"
    point = HoldPoint(f"a:2={file}")
    point.reach("b")
    point.reach("a")
    passed = threading.Event()

    def reach() -> None:
        point.reach("a")
        passed.set()

    thread = threading.Thread(target=reach)
    thread.start()
    assert not passed.wait(0.05)
    file.touch()
    assert passed.wait(60)
    thread.join(60)

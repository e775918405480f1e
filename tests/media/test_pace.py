from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tdsproxy.backup.operations import BackupOptions, backup_database, verify_set
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.pace import TokenBucket
from tests.backup.making import description, disk
from tests.store import processes


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self._guard = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        with self._guard:
            self.now += seconds


def test_on_the_average_the_rate_holds() -> None:
    clock = Clock()
    bucket = TokenBucket(1000, clock)
    for _ in range(100):
        bucket.take(100, clock.wait)
    # A quarter of a second's worth was there at the beginning.
    assert clock.now == pytest.approx(10_000 / 1000 - 0.25)


def test_who_has_not_moved_anything_for_long_has_no_more_than_a_burst() -> None:
    clock = Clock()
    bucket = TokenBucket(1000, clock)
    clock.now = 3600
    bucket.take(250, clock.wait)
    assert clock.now == 3600
    bucket.take(500, clock.wait)
    assert clock.now == pytest.approx(3600.5)


def test_more_than_a_second_s_worth_at_once() -> None:
    clock = Clock()
    TokenBucket(1000, clock).take(10_250, clock.wait)
    assert clock.now == pytest.approx(10)


def test_a_wait_that_is_broken_off_ends_at_once() -> None:
    cancelled = threading.Event()
    cancelled.set()
    TokenBucket(1).take(10**9, cancelled.wait)


def test_a_rate_is_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        TokenBucket(0)


@pytest.mark.parametrize("stripes", [1, 4])
def test_stripes_share_what_is_allowed(tmp_path: Path, stripes: int) -> None:
    processes.build(tmp_path / "x.db", rows=5, megabytes=3)
    moved: list[int] = []
    names = [disk(tmp_path / f"{number}.bak") for number in range(stripes)]
    media = DeviceSet(tuple(names), pace=moved.append)
    backup_database(tmp_path / "x.db", media, description(), BackupOptions())
    written = sum(medium.path.stat().st_size for medium in names)
    assert 0.98 * written < sum(moved) <= 1.02 * written
    moved.clear()
    verify_set(media, 1)
    assert 0.98 * written < sum(moved) < 1.1 * written

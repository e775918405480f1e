"""What the campaigns that feed readers count as a finding."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from scripts.campaigns import bounds
from scripts.campaigns.outcome import Tally
from scripts.campaigns.readers_seeds import sealed_wal, small_wal
from tdsproxy.log import wal


def fed(work: Callable[[int], object], cases: int = 10) -> Tally:
    tally = Tally()
    bounds.feed(
        "a reader",
        lambda number: (lambda: work(number), f"input {number}"),
        (KeyError,),
        cases,
        time.monotonic() + 60,
        tally,
    )
    assert tally.counts["of a reader"] == cases
    return tally


def test_a_documented_error_is_none() -> None:
    def read(number: int) -> None:
        if number % 2:
            raise KeyError(number)

    assert fed(read).violations == []


def test_any_other_is_one_for_each_place() -> None:
    def read(number: int) -> None:
        if number > 3:
            raise IndexError(number)
        if number > 1:
            raise ValueError(number)

    first, second = fed(read).violations
    assert first.startswith("a reader: ValueError at test_bounds.py:")
    assert first.endswith(": 2; input 2")
    assert "IndexError" in second


def test_what_takes_too_much_memory_is_a_finding() -> None:
    tally = Tally()
    with bounds.bounded(tally):
        bounds.feed(
            "a reader",
            lambda number: (lambda: bytearray(2 * bounds.MEMORY), "a length of 1 GiB"),
            (),
            1,
            time.monotonic() + 60,
            tally,
        )
    (finding,) = tally.violations
    assert "MemoryError" in finding
    assert finding.endswith("a length of 1 GiB")


def test_the_wal_of_the_campaign_is_sound() -> None:
    """Damage under checksums that match means something only when they do."""
    made = small_wal(random.Random(3))
    assert list(wal.verified(made))
    assert sealed_wal(made) == made
    damaged = bytearray(made)
    damaged[wal.HEADER_SIZE + 40] ^= 1
    assert len(list(wal.verified(sealed_wal(bytes(damaged))))) == len(list(wal.verified(made)))

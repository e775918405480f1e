"""How fast media are read and written: one allowance for all that a statement, or a store, moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Final

from tdsproxy.media.device import Part, ReadHandle, WriteHandle

Pace = Callable[[int], None]
"""Called with a number of bytes before they are moved; returns when they may be."""

_BURST_SECONDS: Final = 0.25
"""What was not used of the last quarter of a second may be used at once."""


class TokenBucket:
    """``rate`` bytes a second, whoever moves them, from any thread.

    Whoever takes more than there is waits until it has come in; who comes later waits behind it. So any size
    may be taken, and on the average the rate holds. ``clock`` counts seconds.
    """

    def __init__(self, rate: int, clock: Callable[[], float] = time.monotonic) -> None:
        if rate <= 0:
            raise ValueError("a rate is positive")
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._most = rate * _BURST_SECONDS
        self._there = self._most
        self._looked = clock()

    def take(self, size: int, wait: Callable[[float], object] = time.sleep) -> None:
        """Returns when ``size`` bytes may be moved, having called ``wait`` with seconds; at once when
        ``wait`` comes back early."""
        with self._lock:
            now = self._clock()
            self._there = min(self._most, self._there + (now - self._looked) * self.rate)
            self._looked = now
            self._there -= size
            missing = -self._there
        if missing > 0:
            wait(missing / self.rate)


class PacedReader:
    """A ``ReadHandle`` that is read at a pace."""

    def __init__(self, handle: ReadHandle, pace: Pace) -> None:
        self._handle = handle
        self._pace = pace

    @property
    def name(self) -> str:
        return self._handle.name

    @property
    def is_whole(self) -> bool:
        return self._handle.is_whole

    def size(self) -> int:
        return self._handle.size()

    def read_at(self, offset: int, length: int) -> bytes:
        self._pace(length)
        return self._handle.read_at(offset, length)

    def close(self) -> None:
        self._handle.close()


class PacedWriter:
    """A ``WriteHandle`` that is written at a pace."""

    def __init__(self, handle: WriteHandle, pace: Pace) -> None:
        self._handle = handle
        self._pace = pace

    @property
    def offset(self) -> int:
        return self._handle.offset

    def append(self, parts: Sequence[Part]) -> None:
        self._pace(sum(memoryview(part).nbytes for part in parts))
        self._handle.append(parts)

    def patch(self, offset: int, data: bytes) -> None:
        self._handle.patch(offset, data)

    def sync(self) -> None:
        self._handle.sync()

    def publish(self) -> None:
        self._handle.publish()

    def discard(self) -> None:
        self._handle.discard()

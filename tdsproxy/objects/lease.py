"""One writer of a prefix at a time: an object with an owner and a time, replaced only under its tag.

A holder that does not renew in time loses the lease to whoever asks next, with a higher epoch. What a holder
publishes it publishes under a tag as well (``Bucket.write`` with ``only``), so one that has slept through its
time writes nothing over its successor's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.store import Bucket

SECONDS: Final = 30.0


class LeaseTaken(Exception):
    """Somebody else holds it. ``holder`` is what the holder wrote of itself, ``seconds`` for how long yet."""

    def __init__(self, holder: str, seconds: float) -> None:
        super().__init__(f"{holder} holds the lease for {seconds:.0f} more seconds")
        self.holder = holder
        self.seconds = seconds


@dataclass(slots=True)
class _Held:
    tag: str | None
    epoch: int
    until: float


class Lease:
    """``owner`` is the same for all processes that may follow each other without waiting: of one store.
    Raises ObjectError."""

    def __init__(
        self, bucket: Bucket, key: str, owner: str, about: str, clock: Callable[[], float] = time.time
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._about = about
        self._clock = clock
        self._held: _Held | None = None

    @property
    def epoch(self) -> int:
        """Grows with each change of owners; 0 before the lease was ever held."""
        return self._held.epoch if self._held is not None else 0

    def keep(self) -> None:
        """Hold it, or go on holding it. Raises LeaseTaken."""
        now = self._clock()
        if self._held is not None and now < self._held.until - SECONDS / 2:
            return
        found, tag = self._read()
        epoch = 1
        if found is not None:
            left = float(found.get("until", 0)) - now
            if found.get("owner") != self._owner and left > 0:
                self._held = None
                raise LeaseTaken(str(found.get("about", "")), left)
            epoch = int(found.get("epoch", 0)) + (found.get("owner") != self._owner)
        until = now + SECONDS
        body = json.dumps({"owner": self._owner, "about": self._about, "epoch": epoch, "until": until})
        try:
            written = self._bucket.write(self._key, body.encode(), only=tag, new=found is None)
        except ObjectError as error:
            if error.reason not in (Reason.EXISTS, Reason.CHANGED):
                raise
            self._held = None
            raise LeaseTaken("another process", SECONDS) from error
        self._held = _Held(written, epoch, until)

    def release(self) -> None:
        """Let the next one in at once."""
        if self._held is None:
            return
        body = json.dumps({"owner": self._owner, "about": self._about, "epoch": self._held.epoch, "until": 0})
        held, self._held = self._held, None
        self._bucket.write(self._key, body.encode(), only=held.tag)

    def _read(self) -> tuple[dict[str, Any] | None, str | None]:
        try:
            data, tag = self._bucket.read_all(self._key)
        except ObjectError as error:
            if error.reason is Reason.MISSING:
                return None, None
            raise
        try:
            found = json.loads(data)
        except ValueError:
            found = {}
        return found if isinstance(found, dict) else {}, tag

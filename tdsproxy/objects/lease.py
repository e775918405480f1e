"""One writer of a prefix at a time: an object with a writer and a time, replaced only under its tag.

A holder that does not renew in time loses the lease to whoever asks next. Each holding has an epoch of its
own, which grows. The lease alone does not stop a writer that has slept through its time: what a holder
publishes it publishes under a tag as well (``Bucket.write`` with ``only``), and who takes the lease replaces
what was published before anything else, so that the tag of the sleeper is of no use any more.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection
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
    """``owner`` is who asks, ``about`` what others are shown of him. Owners of ``former`` have ended for sure
    if they held the lease from the same ``place``: they are followed without waiting. An epoch is greater
    than ``floor``. Raises ObjectError."""

    def __init__(
        self,
        bucket: Bucket,
        key: str,
        owner: str,
        about: str,
        clock: Callable[[], float] = time.time,
        *,
        place: str = "",
        former: Collection[str] = (),
        floor: int = 0,
    ) -> None:
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._about = about
        self._clock = clock
        self._place = place
        self._former = former
        self._floor = floor
        self._held: _Held | None = None

    @property
    def epoch(self) -> int:
        """Grows with each holder; 0 before the lease was ever held."""
        return self._held.epoch if self._held is not None else 0

    def keep(self, *, force: bool = False) -> str | None:
        """Hold it, or go on holding it, which is over for good when somebody else has; from whom it was
        taken by ``force`` before its time was over. Raises LeaseTaken."""
        now = self._clock()
        # Not so when the clock was put back.
        if self._held is not None and -1 <= now - (self._held.until - SECONDS) < SECONDS / 2:
            return None
        found, tag = self._read()
        epoch, robbed = self._floor + 1, None
        if found is not None:
            left = float(found.get("until", 0)) - now
            epoch = int(found.get("epoch", 0))
            if found.get("owner") != self._owner:
                if self._held is not None:
                    # Somebody has held it since. Even if he has let it go, this is not what it was.
                    self._held = None
                    raise LeaseTaken(str(found.get("about", "")), max(0.0, left))
                if left > 0 and not self._follows(found):
                    robbed = str(found.get("about", ""))
                    if not force:
                        self._held = None
                        raise LeaseTaken(robbed, left)
                epoch = max(epoch, self._floor) + 1
        self._write(epoch, now + SECONDS, tag)
        return robbed

    def prove(self) -> None:
        """Make sure that the store lets nobody write over what he has not seen. For who holds the lease.
        Raises ObjectError UNCONDITIONAL, LeaseTaken."""
        if self._held is None:
            return
        seen = self._held.tag
        self._write(self._held.epoch, self._held.until + 0.001, seen)
        latest = self._held
        try:
            self._bucket.write(self._key, self._body(latest.epoch, latest.until), only=seen)
        except ObjectError as error:
            if error.reason not in (Reason.EXISTS, Reason.CHANGED):
                raise
            return
        self._held = None
        raise ObjectError(Reason.UNCONDITIONAL)

    def release(self) -> None:
        """Let the next one in at once."""
        if self._held is None:
            return
        held, self._held = self._held, None
        self._bucket.write(self._key, self._body(held.epoch, 0), only=held.tag)

    def _follows(self, found: dict[str, Any]) -> bool:
        """Whether the holder was of this very place, and has ended."""
        here = bool(self._place) and found.get("place") == self._place
        return here and found.get("owner") in self._former

    def _body(self, epoch: int, until: float) -> bytes:
        said = {"owner": self._owner, "place": self._place, "about": self._about}
        return json.dumps({**said, "epoch": epoch, "until": until}).encode()

    def _write(self, epoch: int, until: float, tag: str | None) -> None:
        try:
            written = self._bucket.write(self._key, self._body(epoch, until), only=tag, new=tag is None)
        except ObjectError as error:
            self._held = None
            if error.reason not in (Reason.EXISTS, Reason.CHANGED):
                raise
            raise LeaseTaken("another process", SECONDS) from error
        self._held = _Held(written, epoch, until)

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

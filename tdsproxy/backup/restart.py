"""How a restore that was interrupted goes on where it had come to, instead of from its beginning."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tdsproxy.media.errors import DeviceError

EVERY_BYTES: Final = 256 << 20
"""Of content, after which what was written is made durable and noted."""


@dataclass(frozen=True, slots=True)
class RestartPoint:
    """What of a set's content is durable in the image: its first ``records``, in which lie ``pages`` and
    ``size`` bytes."""

    records: int = 0
    pages: int = 0
    size: int = 0


class Restart:
    """The notes of one restore, of which ``save`` makes each durable. It begins at the point ``at``; the
    image holds everything before that. For one thread at a time."""

    def __init__(
        self,
        save: Callable[[RestartPoint], None],
        at: RestartPoint | None = None,
        every: int = EVERY_BYTES,
    ) -> None:
        self._save = save
        self.at = at or RestartPoint()
        self._every = every

    def is_due(self, point: RestartPoint) -> bool:
        """Whether so much lies between the last noted point and this one that it is worth a note."""
        return point.size - self.at.size >= self._every

    def note(self, point: RestartPoint) -> None:
        """What lies before the point is durable. Raises OSError."""
        self._save(point)
        self.at = point

    def keeps(self, error: BaseException) -> bool:
        """Whether the image stays when this ended the restore: it was the device, and something was noted."""
        return self.at.records > 0 and isinstance(error, DeviceError)

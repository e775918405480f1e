"""What is told of a medium's damage: where it lies, and SQL Server's messages for it."""

from __future__ import annotations

import threading
from typing import Final

from tdsproxy.commands.messages import OsError, message
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.tsql.replies import Message

_DATA_FILE: Final = 1
_MOST_TOLD: Final = 100


def place_of(error: MediaDamaged) -> Message:
    """The place, which SQL Server's messages have no room for."""
    text = f"The {error.part} at byte {error.offset} of '{error.device}': {error.detail}."
    return Message(0, 0, 1, text)


def damage_messages(error: MediaDamaged, database: str = "") -> tuple[Message, ...]:
    """The messages of one damage; ``database`` is the one in the backup set."""
    place = place_of(error)
    if error.part == "media header":
        # A medium whose own header is damaged cannot even be told to be one of ours.
        return place, message(3241, error.device)
    if error.cut_off:
        return place, message(3203, error.device, OsError.END_OF_FILE.words)
    if error.page is not None:
        return place, message(3183, _DATA_FILE, error.page, database)
    return place, message(3189)


class Damages:
    """The damaged pages of a set of which the rest is read; for any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._found: list[MediaDamaged] = []

    def add(self, error: MediaDamaged) -> None:
        with self._lock:
            self._found.append(error)

    def __bool__(self) -> bool:
        return bool(self._found)

    def messages(self, database: str) -> tuple[Message, ...]:
        """Of all, in the order of the pages; of very many the first."""
        found = sorted(self._found, key=lambda error: error.page or 0)[:_MOST_TOLD]
        return tuple(told for error in found for told in damage_messages(error, database))

    def places(self) -> tuple[Message, ...]:
        """Where they lie, in the same way."""
        return tuple(told for told in self.messages("") if told.number == 0)

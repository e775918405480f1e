"""Messages that users have added (sp_addmessage): sys.messages from 50001 on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import apsw

from tdsproxy.catalog.file import CatalogFile

_CREATE: Final = """
CREATE TABLE IF NOT EXISTS __tds_user_messages (
  number INTEGER NOT NULL,
  language INTEGER NOT NULL,
  severity INTEGER NOT NULL,
  logged INTEGER NOT NULL,
  text TEXT NOT NULL,
  PRIMARY KEY (number, language)
)
"""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """``language`` is a LCID (1033 us_english); ``text`` has its parameters in printf's form."""

    number: int
    language: int
    severity: int
    logged: bool
    text: str


class UserMessages:
    """The table of messages in master.db."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    def all(self) -> list[UserMessage]:
        """In the order of their numbers."""
        return self._read("ORDER BY number, language")

    def of(self, number: int) -> list[UserMessage]:
        """A message in all its languages, English first."""
        return self._read("WHERE number = ? ORDER BY language <> 1033, language", number)

    def put(self, message: UserMessage) -> None:
        """Add it, in the place of one with its number and language."""
        with self._file.write():
            self._file.read(_CREATE)
            self._file.read(
                "INSERT OR REPLACE INTO __tds_user_messages VALUES (?, ?, ?, ?, ?)",
                (message.number, message.language, message.severity, int(message.logged), message.text),
            )

    def drop(self, number: int, language: int | None = None) -> None:
        """``language`` None: in all of them."""
        with self._file.write():
            self._file.read(
                "DELETE FROM __tds_user_messages WHERE number = ? AND language = coalesce(?, language)",
                (number, language),
            )

    def _read(self, condition: str, *values: int) -> list[UserMessage]:
        try:
            rows = self._file.read(
                f"SELECT number, language, severity, logged, text FROM __tds_user_messages {condition}",
                values,
            )
        except apsw.SQLError:  # no message was ever added
            return []
        return [
            UserMessage(int(str(number)), int(str(language)), int(str(severity)), bool(logged), str(text))
            for number, language, severity, logged, text in rows
        ]

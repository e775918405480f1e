"""The texts of SQL Server's own messages that this server sends: what sys.messages has below 50001."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Final

import msgspec

from tdsproxy.tsql.evaluator import StoredMessage

if TYPE_CHECKING:
    from tdsproxy.catalog.catalog import Catalog

FIRST_OF_USERS: Final = 50001
FIRST_TO_RAISE: Final = 13000
"""Numbers below are the server's alone."""
ENGLISH: Final = 1033
LOGGED_SEVERITY: Final = 19
"""From here on all of the server's own messages are logged."""
_LOGGED: Final = frozenset({1101, 1105, 9002})
"""Those below that are logged unless sp_altermessage says otherwise."""
_FILE: Final = "messages.tsv"


class SystemMessage(msgspec.Struct, frozen=True):
    """``text`` has its parameters in printf's form, as sys.messages shows it."""

    number: int
    severity: int
    text: str


@cache
def system_messages() -> Mapping[int, SystemMessage]:
    """By number: a line of the file has number, severity and text, parted by tabs."""
    lines = files("tdsproxy.server").joinpath(_FILE).read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        number, severity, text = line.split("\t")
        found[int(number)] = SystemMessage(int(number), int(severity), text)
    return found


def is_logged(catalog: Catalog, number: int, severity: int) -> bool:
    """Whether an error goes into the event log: by its severity, or as its message is marked there."""
    marked = catalog.messages.of(number)
    logged = marked[0].logged if marked else is_logged_by_itself(number, severity)
    return logged or severity >= LOGGED_SEVERITY


def is_logged_by_itself(number: int, severity: int) -> bool:
    """As ``is_logged``, while nothing has been said of the message."""
    return severity >= LOGGED_SEVERITY or number in _LOGGED


def stored_message(catalog: Catalog, number: int) -> StoredMessage | None:
    """What RAISERROR and FORMATMESSAGE know by a number: a user's message, or one of the server's."""
    if number >= FIRST_OF_USERS:
        found = catalog.messages.of(number)
        return StoredMessage(found[0].severity, found[0].text) if found else None
    known = system_messages().get(number)
    return None if known is None or number < FIRST_TO_RAISE else StoredMessage(known.severity, known.text)

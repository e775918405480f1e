"""sp_addmessage, sp_altermessage and sp_dropmessage: the messages of users."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from tdsproxy.catalog.user_messages import UserMessage
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.system_messages import ENGLISH, FIRST_OF_USERS, system_messages
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

LANGUAGES: Final = {
    "us_english": 1033,
    "english": 1033,
    "deutsch": 1031,
    "german": 1031,
    "français": 1036,
    "french": 1036,
    "日本語": 1041,
    "japanese": 1041,
    "español": 3082,
    "spanish": 3082,
    "italiano": 1040,
    "italian": 1040,
    "nederlands": 1043,
    "dutch": 1043,
    "português": 2070,
    "portuguese": 2070,
    "british": 1033,
    "british english": 1033,
}
"""The languages that messages are added in, by their names and aliases."""
_MOST_SEVERE: Final = 25


def _add(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = "@msgnum @severity @msgtext @lang @with_log @replace"
    given = Parameters("sp_addmessage", names, arguments)
    session.rights.require_server_role("serveradmin")
    number, severity, text = given.number("@msgnum"), given.number("@severity"), given.text("@msgtext")
    if number is None or number < FIRST_OF_USERS:
        raise SqlError.of(15040, 16, 1, "User-defined error messages must have an ID greater than 50000.")
    if severity is None or not 1 <= severity <= _MOST_SEVERE:
        raise SqlError.of(
            15041, 16, 1, "User-defined error messages must have a severity level between 1 and 25."
        )
    language = _language(given.text("@lang"))
    known = {each.language: each for each in session.engine.catalog.messages.of(number)}
    instead = (given.text("@replace") or "").lower()
    if language in known and instead != "replace":
        raise SqlError.of(15043, 16, 1, "You must specify 'REPLACE' to overwrite an existing message.")
    english = known.get(ENGLISH)
    if language != ENGLISH and english is None:
        raise SqlError.of(
            15279,
            16,
            1,
            f"You must add the us_english version of this message before you can add the"
            f" '{given.text('@lang')}' version.",
        )
    if language != ENGLISH and english is not None and english.severity != severity:
        raise SqlError.of(
            15304,
            16,
            1,
            f"The severity level of the '{given.text('@lang')}' version of this message must be the same as"
            f" the severity level ({english.severity}) of the us_english version.",
        )
    logged = (given.text("@with_log") or "FALSE").lower() == "true"
    session.engine.catalog.messages.put(UserMessage(number, language, severity, logged, text or ""))
    yield from ()
    return 0


def _alter(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_altermessage", "@message_id @parameter @parameter_value", arguments)
    session.rights.require_server_role("serveradmin")
    number = given.number("@message_id") or 0
    found = _known(session, number) if number >= FIRST_OF_USERS else _of_system(session, number)
    logged = given.required("@parameter_value").lower() == "true"
    if given.required("@parameter").upper() != "WITH_LOG":
        text = "Invalid value given for parameter @parameter. Specify a valid parameter value."
        raise SqlError.of(15021, 16, 1, text)
    for each in found:
        session.engine.catalog.messages.put(replace(each, logged=logged))
    yield from ()
    return 0


def _drop(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_dropmessage", "@msgnum @lang", arguments)
    session.rights.require_server_role("serveradmin")
    number = given.number("@msgnum") or 0
    if number < FIRST_OF_USERS:
        raise SqlError.of(15040, 16, 1, "User-defined error messages must have an ID greater than 50000.")
    wanted = given.text("@lang")
    language = None if wanted is not None and wanted.lower() == "all" else _language(wanted)
    found = _known(session, number)
    if language == ENGLISH and len(found) > 1:
        raise SqlError.of(
            15280,
            16,
            1,
            "All localized versions of this message must be dropped before the us_english version can be"
            " dropped.",
        )
    session.engine.catalog.messages.drop(number, language)
    yield from ()
    return 0


def _known(session: Session, number: int) -> list[UserMessage]:
    """Raises SqlError 15179."""
    found = session.engine.catalog.messages.of(number)
    if not found:
        raise SqlError.of(15179, 16, 1, f"The message number {number} does not exist.")
    return found


def _of_system(session: Session, number: int) -> list[UserMessage]:
    """One of the server's own: only whether it is logged is remembered of it. Raises SqlError 15179."""
    known = system_messages().get(number)
    if known is None:
        return _known(session, number)
    return [UserMessage(number, ENGLISH, known.severity, False, known.text)]


def _language(name: str | None) -> int:
    """The LCID of a language. Raises SqlError 15033."""
    if name is None:
        return ENGLISH
    found = LANGUAGES.get(name.strip().lower())
    if found is None:
        raise SqlError.of(15033, 16, 1, f"'{name}' is not a valid official language name.")
    return found


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_addmessage": _add,
    "sp_altermessage": _alter,
    "sp_dropmessage": _drop,
}

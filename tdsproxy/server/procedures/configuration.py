"""sp_configure and RECONFIGURE."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.catalog import configurations
from tdsproxy.catalog.configurations import Configuration
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Command, Done, Message, Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_LONGEST_RECOVERY: Final = 60
"""Minutes of 'recovery interval' above which RECONFIGURE wants WITH OVERRIDE."""


def _configure(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_configure", "@configname @configvalue", arguments)
    name = given.text("@configname")
    values = session.engine.catalog.configurations
    shows_all = bool(values.in_use(configurations.SHOW_ADVANCED_OPTIONS))
    shown = [item for item in configurations.CONFIGURATIONS if shows_all or not item.advanced]
    if name is not None:
        item = _find(name, shows_all=shows_all)
        value = given.number("@configvalue")
        if value is not None:
            yield _set_value(session, item, value)
            return 0
        shown = [item]
    configured, in_use = values.all_configured(), values.all_in_use()
    yield from result(
        "name nvarchar(35), minimum int, maximum int, config_value int, run_value int",
        [
            {
                "name": item.name,
                "minimum": item.minimum,
                "maximum": item.maximum,
                "config_value": configured[item.id],
                "run_value": in_use[item.id],
            }
            for item in sorted(shown, key=lambda item: item.name.lower())
        ],
    )
    return 0


def _find(name: str, *, shows_all: bool) -> Configuration:
    """Raises SqlError 15123, 15124."""
    found = configurations.find(name)
    if len(found) > 1:
        raise SqlError.of(15124, 16, 1, f"The configuration option '{name}' is not unique.")
    if not found or (found[0].advanced and not shows_all):
        raise SqlError.of(
            15123,
            16,
            1,
            f"The configuration option '{name}' does not exist, or it may be an advanced option.",
        )
    return found[0]


def _set_value(session: Session, item: Configuration, value: int) -> Message:
    """Raises SqlError 574, 15129, 15247."""
    session.rights.require_server_role("serveradmin")
    _require_no_transaction(session)
    if not item.minimum <= value <= item.maximum and value != item.default:
        raise SqlError.of(
            15129, 16, 1, f"'{value}' is not a valid value for configuration option '{item.name}'."
        )
    values = session.engine.catalog.configurations
    old = values.all_configured()[item.id]
    values.configure(item, value)
    return Message(
        15457,
        0,
        1,
        f"Configuration option '{item.name}' changed from {old} to {value}. Run the RECONFIGURE statement to"
        " install.",
        185,
        "sp_configure",
    )


def reconfigure(session: Session, statement: ast.Reconfigure) -> Iterator[Reply]:
    """RECONFIGURE: what sp_configure has set holds from now on. Raises SqlError 574, 5807, 5808, 5812."""
    if not session.rights.is_sysadmin and "serveradmin" not in session.rights.server_roles:
        raise SqlError.of(
            5812, 14, 1, "You do not have permission to run the RECONFIGURE statement.", statement.line
        )
    _require_no_transaction(session)
    values = session.engine.catalog.configurations
    if not statement.override:
        configured = values.all_configured()
        if configured[_id("allow updates")]:
            raise SqlError.of(
                5808, 16, 1, "Ad hoc update to system catalogs is not supported.", statement.line
            )
        if configured[_id("recovery interval (min)")] > _LONGEST_RECOVERY:
            raise SqlError.of(
                5807,
                16,
                1,
                f"Recovery intervals above {_LONGEST_RECOVERY} minutes not recommended. Use the RECONFIGURE"
                " WITH OVERRIDE statement to force this configuration.",
                statement.line,
            )
    values.reconfigure()
    yield Done(Command.NONE)


def _id(name: str) -> int:
    return configurations.find(name)[0].id


def _require_no_transaction(session: Session) -> None:
    if session.transaction_count() > 0:
        raise SqlError.of(574, 16, 0, "CONFIG statement cannot be used inside a user transaction.")


PROCEDURES: Final[dict[str, SystemProcedure]] = {"sp_configure": _configure}

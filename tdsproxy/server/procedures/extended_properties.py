"""sp_addextendedproperty, sp_updateextendedproperty and sp_dropextendedproperty."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from tdsproxy.server.metadata import Metadata
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure
from tdsproxy.server.schema import PropertyInfo
from tdsproxy.server.sysviews.properties import Level, Target, targets
from tdsproxy.store.encoding import to_storage
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_LEVELS: Final = "@level0type @level0name @level1type @level1name @level2type @level2name"
_ADD: Final = "sp_addextendedproperty"
_UPDATE: Final = "sp_updateextendedproperty"
_DROP: Final = "sp_dropextendedproperty"


def _change(verb: str, session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    names = f"@name {_LEVELS}" if verb == _DROP else f"@name @value {_LEVELS}"
    given = Parameters(verb, names, arguments)
    if not given.text("@name"):
        raise SqlError.of(
            15600, 15, 1, f"An invalid parameter or option was specified for procedure '{verb}'."
        )

    def work() -> Iterator[Reply]:
        _apply(verb, session, given)
        return iter(())

    yield from session.evaluator.sql.run(work, frame)
    return 0


def _apply(verb: str, session: Session, given: Parameters) -> None:
    name = given.required("@name")
    session.rights.require_definition("ALTER", session.database)
    schema = session.workspace.schema_of(session.database)
    objects = session.evaluator.objects(session.database)
    target = _target(verb, session, given)
    place = (target.kind, target.major, target.minor)
    found = next(
        (
            item
            for item in objects.properties
            if (item.kind, item.major, item.minor) == place and item.name.lower() == name.lower()
        ),
        None,
    )
    if verb == _ADD and found is not None:
        raise SqlError.of(
            15233,
            16,
            1,
            f"Property cannot be added. Property '{name}' already exists for '{target.path}'.",
        )
    if verb != _ADD and found is None:
        raise SqlError.of(
            15217,
            16,
            2,
            f"Property cannot be updated or deleted. Property '{name}' does not exist for '{target.path}'.",
        )
    metadata = Metadata(session.workspace, schema)
    with session.evaluator.sql.changing(schema, session.database, 1):
        if verb == _DROP and found is not None:
            metadata.drop_property(found)
        else:
            stored = to_storage(given.value("@value", t.SQL_VARIANT), t.SQL_VARIANT)
            text = None if stored is None else str(stored)
            metadata.save_property(PropertyInfo(*place, found.name if found else name, text))


def _target(verb: str, session: Session, given: Parameters) -> Target:
    levels: list[Level] = []
    for number in range(3):
        kind, name = given.text(f"@level{number}type"), given.text(f"@level{number}name")
        if kind is None and name is None:
            break
        if kind is None or name is None:
            raise SqlError.of(
                15600, 15, 1, f"An invalid parameter or option was specified for procedure '{verb}'."
            )
        levels.append((kind.upper(), name))
    objects = session.evaluator.objects(session.database)
    users = session.users_of(session.database)
    for target in targets(objects, users, levels, session.database):
        return target
    path = ".".join(name or "" for _, name in levels)
    raise SqlError.of(
        15135,
        16,
        8,
        f"Object is invalid. Extended properties are not permitted on '{path}',"
        " or the object does not exist.",
    )


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    verb: partial(_change, verb) for verb in (_ADD, _UPDATE, _DROP)
}

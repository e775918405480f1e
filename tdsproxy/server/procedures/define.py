"""What a system procedure is, and how it takes its arguments and gives its rows."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from tdsproxy.server.sysviews.model import default_of, parse_columns
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.scalar import TypedValue
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

Replies = Generator[Reply, None, "int | None"]
SystemProcedure = Callable[["Session", Frame, Sequence[Argument]], Replies]


class Parameters:
    """The arguments of a call by the names of the procedure's parameters.

    Raises SqlError 8144 for too many, 8145 for an unknown name, 8143 for one given twice.
    """

    def __init__(self, procedure: str, names: str, arguments: Sequence[Argument]) -> None:
        self._procedure = procedure
        self._names = names.split()
        self._given: dict[str, Argument] = {}
        for place, argument in enumerate(arguments):
            key = self._key(place, argument)
            if key in self._given:
                raise SqlError.of(
                    8143, 16, 1, f"Parameter '{argument.name or key}' was supplied multiple times."
                )
            self._given[key] = argument

    def _key(self, place: int, argument: Argument) -> str:
        if argument.name is None:
            if place >= len(self._names):
                raise SqlError.of(
                    8144, 16, 2, f"Procedure or function {self._procedure} has too many arguments specified."
                )
            return self._names[place].lower()
        wanted = argument.name.lower()
        wanted = wanted if wanted.startswith("@") else "@" + wanted
        for name in self._names:
            if name.lower() == wanted:
                return wanted
        raise SqlError.of(8145, 16, 1, f"{argument.name} is not a parameter for procedure {self._procedure}.")

    def value(self, name: str, type_: SqlType) -> Value:
        """An argument converted to ``type_``; None when it was not given."""
        argument = self._given.get(name.lower())
        if argument is None or argument.value is None or argument.value.value is None:
            return None
        return convert(argument.value.value, argument.value.type, type_)

    def typed(self, name: str) -> TypedValue | None:
        """An argument as it was given."""
        argument = self._given.get(name.lower())
        return None if argument is None else argument.value

    def text(self, name: str) -> str | None:
        from tdsproxy.tsql import types as t

        value = self.value(name, t.nvarchar(4000))
        return None if value is None else str(value)

    def number(self, name: str) -> int | None:
        from tdsproxy.tsql import types as t

        value = self.value(name, t.INT)
        return value if isinstance(value, int) else None

    def required(self, name: str) -> str:
        """A text argument that has to be given. Raises SqlError 201."""
        found = self.text(name)
        if found is None:
            raise SqlError.of(
                201,
                16,
                4,
                f"Procedure or function '{self._procedure}' expects parameter '{name}',"
                f" which was not supplied.",
            )
        return found

    def give(self, name: str, value: Value, type_: SqlType) -> None:
        """Sets an OUTPUT argument, when one was asked for."""
        argument = self._given.get(name.lower())
        if argument is not None and argument.set is not None:
            argument.set(TypedValue(value, type_))


def result(columns: str, rows: Iterable[dict[str, Value]]) -> Iterator[Reply]:
    """A result set from declared columns (see ``sysviews.model``) and rows by column name."""
    described = parse_columns(columns)
    yield ResultSet(tuple(Column(c.name, c.type, c.nullable) for c in described))
    table = [
        tuple(row.get(c.name, None if c.nullable else default_of(c.type)) for c in described) for row in rows
    ]
    if table:
        yield Rows(table)
    yield Done(Command.SELECT, len(table))

"""Python rows as SQLite tables: eponymous virtual tables whose hidden columns take arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import apsw

from tdsproxy.store.encoding import Stored


def register(
    connection: apsw.Connection,
    name: str,
    rows: Callable[..., Iterable[tuple[Stored, ...]]],
    columns: list[str],
    parameters: list[str],
) -> None:
    """Makes the table ``name`` of a connection; ``rows`` is called with the arguments, NULL for those that
    are not given."""
    connection.create_module(
        name,
        cast("Any", _Module(rows, columns, parameters)),
        use_bestindex_object=True,
        eponymous=True,
        eponymous_only=True,
        read_only=True,
    )


class _Module:
    """An eponymous virtual table: the visible columns, then hidden ones that take the arguments."""

    def __init__(
        self,
        rows: Callable[..., Iterable[tuple[Stored, ...]]],
        columns: list[str],
        parameters: list[str],
    ) -> None:
        self.rows = rows
        self.width = len(columns)
        self.parameters = len(parameters)
        shown = [_quote(name) for name in columns]
        hidden = [f"{_quote(name)} HIDDEN" for name in parameters]
        self.declaration = f"CREATE TABLE ignored({', '.join(shown + hidden)})"

    def Connect(
        self, connection: apsw.Connection, modulename: str, databasename: str, tablename: str, *args: Any
    ) -> tuple[str, _Table]:
        return self.declaration, _Table(self)

    Create = Connect


class _Table:
    def __init__(self, module: _Module) -> None:
        self.module = module

    def BestIndexObject(self, info: apsw.IndexInfo) -> bool:
        """Only the arguments can be used; without all of those that are named, the plan is no good."""
        given: dict[int, int] = {}
        for index in range(info.nConstraint):
            column = info.get_aConstraint_iColumn(index)
            if column < self.module.width:
                continue
            if info.get_aConstraint_op(index) != apsw.SQLITE_INDEX_CONSTRAINT_EQ:
                continue
            if not info.get_aConstraint_usable(index):
                return False
            given[column - self.module.width] = index
        places = []
        for argument, (parameter, index) in enumerate(sorted(given.items()), 1):
            info.set_aConstraintUsage_argvIndex(index, argument)
            info.set_aConstraintUsage_omit(index, True)
            places.append(str(parameter))
        info.idxStr = ",".join(places)
        info.estimatedRows = 200
        info.estimatedCost = 400.0
        return True

    def Open(self) -> _Cursor:
        return _Cursor(self.module)

    def Disconnect(self) -> None:
        return

    Destroy = Disconnect


class _Cursor:
    def __init__(self, module: _Module) -> None:
        self.module = module
        self._arguments: list[Stored] = []
        self._rows: Iterator[tuple[Stored, ...]] = iter(())
        self._row: tuple[Stored, ...] | None = None
        self._number = 0

    def Filter(self, number: int, text: str, values: tuple[Stored, ...]) -> None:
        arguments: list[Stored] = [None] * self.module.parameters
        for place, value in zip((text or "").split(","), values, strict=False):
            arguments[int(place)] = value
        self._arguments = arguments
        self._rows = iter(self.module.rows(*arguments))
        self._number = 0
        self.Next()

    def Eof(self) -> bool:
        return self._row is None

    def Next(self) -> None:
        self._row = next(self._rows, None)
        self._number += 1

    def Column(self, number: int) -> Stored:
        if number < 0 or self._row is None:
            return self._number
        width = self.module.width
        return self._row[number] if number < width else self._arguments[number - width]

    def Rowid(self) -> int:
        return self._number

    def Close(self) -> None:
        self._rows = iter(())


def _quote(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'

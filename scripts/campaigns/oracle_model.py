"""Random transactions, in both dialects of SQL, and what they make of a database. No I/O.

An action is a tuple whose first member is its kind; ``Model`` is what a database holds after them.
"""

from __future__ import annotations

import bisect
import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scripts.campaigns.outcome import check

Action = tuple[Any, ...]
SCHEMA = (
    "CREATE TABLE seq (n INT NOT NULL)",
    "INSERT INTO seq VALUES (0)",
    "CREATE TABLE items (id INT NOT NULL PRIMARY KEY, v INT NOT NULL, body VARCHAR(MAX) NOT NULL)",
)


@dataclass
class Model:
    """By table, its rows: (id, number, length and first character of the text)."""

    items: dict[int, tuple[int, int, str]] = field(default_factory=dict)
    tables: set[int] = field(default_factory=set)

    def apply(self, actions: Iterable[Action]) -> None:
        for kind, *rest in actions:
            getattr(self, f"_{kind}")(*rest)

    def _insert(self, id_: int, v: int, size: int, char: str) -> None:
        self.items[id_] = (v, size, char)

    def _update(self, divisor: int, left: int, by: int) -> None:
        for id_, (v, size, char) in self.items.items():
            if id_ % divisor == left:
                self.items[id_] = (v + by, size, char)

    def _body(self, divisor: int, left: int, size: int, char: str) -> None:
        for id_, (v, _, _) in self.items.items():
            if id_ % divisor == left:
                self.items[id_] = (v, size, char)

    def _delete(self, divisor: int, left: int) -> None:
        self.items = {id_: row for id_, row in self.items.items() if id_ % divisor != left}

    def _create(self, number: int) -> None:
        self.tables.add(number)

    def _drop(self, number: int) -> None:
        self.tables.discard(number)

    def content(self) -> str:
        """Comparable with ``content`` of what was read."""
        return content([[id_, *row] for id_, row in self.items.items()], self.tables)


def content(items: Iterable[Sequence[Any]], tables: Iterable[int]) -> str:
    """The same text for the same rows and tables."""
    return json.dumps([sorted(list(row) for row in items), sorted(tables)])


class Generator:
    """Random transactions of one writer. ``writer`` is unlike every other's, that of dead ones included."""

    def __init__(self, writer: int, rng: random.Random) -> None:
        self._writer = writer
        self._rng = rng
        self._next = 0
        self._tables: list[int] = []

    def action(self) -> Action:
        rng = self._rng
        kind, char = rng.random(), rng.choice("abcdefgh")
        if kind < 0.5:
            self._next += 1
            size = rng.choice((10, 10, 100, 1000, 9000, 60_000 if rng.random() < 0.5 else 10))
            return ("insert", self._writer * 100_000 + self._next, rng.randrange(1000), size, char)
        if kind < 0.65:
            return ("update", rng.randrange(3, 40), rng.randrange(3), rng.randrange(1, 9))
        if kind < 0.72:
            return ("body", rng.randrange(20, 60), rng.randrange(20), rng.choice((5, 500, 5000)), char)
        if kind < 0.85:
            divisor = rng.randrange(5, 20)
            return ("delete", divisor, rng.randrange(divisor))
        if kind < 0.93 or not self._tables:
            self._next += 1
            return ("create", self._writer * 100_000 + self._next)
        return ("drop", rng.choice(self._tables))

    def transaction(self) -> list[Action]:
        """Never two actions on one table in one, so that each can be rolled back by itself."""
        count = self._rng.choice((1, 1, 1, 2, 5, 20 if self._rng.random() < 0.2 else 3))
        actions: list[Action] = []
        for _ in range(count):
            action = self.action()
            if action[0] != "drop" or action not in actions:
                actions.append(action)
        return actions

    def committed(self, actions: Iterable[Action]) -> None:
        """The tables that there are now."""
        for action in actions:
            if action[0] == "create":
                self._tables.append(action[1])
            elif action[0] == "drop":
                self._tables.remove(action[1])


def tsql(action: Action) -> str:
    """In the database at hand."""

    def text(size: int, char: str) -> str:
        return f"REPLICATE(CONVERT(varchar(max), '{char}'), {size})"

    return _statement(action, "dbo.", text, "int")


def sqlite(action: Action) -> str:
    """As SQLite and its shell understand it."""
    return _statement(action, "", lambda size, char: f"printf('%.*c', {size}, '{char}')", "INT")


def _statement(action: Action, schema: str, text: Callable[[int, str], str], integer: str) -> str:
    kind, *rest = action
    if kind == "insert":
        id_, v, size, char = rest
        return f"INSERT INTO {schema}items (id, v, body) VALUES ({id_}, {v}, {text(size, char)})"
    if kind == "update":
        divisor, left, by = rest
        return f"UPDATE {schema}items SET v = v + {by} WHERE id % {divisor} = {left}"
    if kind == "body":
        divisor, left, size, char = rest
        return f"UPDATE {schema}items SET body = {text(size, char)} WHERE id % {divisor} = {left}"
    if kind == "delete":
        divisor, left = rest
        return f"DELETE FROM {schema}items WHERE id % {divisor} = {left}"
    if kind == "create":
        return f"CREATE TABLE {schema}t{rest[0]} (a {integer})"
    return f"DROP TABLE {schema}t{rest[0]}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction: its number in the order of commits, the times just before and after its COMMIT (ns;
    ``after`` None when nobody was told), and what it did."""

    number: int
    before: int
    after: int | None
    actions: tuple[Action, ...]


class Journal:
    """The transactions of all writers. Of two with one number the former was never committed."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        last: dict[int, Entry] = {}
        for entry in sorted(entries, key=lambda entry: entry.before):
            known = last.get(entry.number)
            check(known is None or known.after is None, f"two transactions are number {entry.number}")
            last[entry.number] = entry
        self.entries = [last[number] for number in sorted(last)]
        numbers = [entry.number for entry in self.entries]
        check(numbers == list(range(1, len(numbers) + 1)), "transactions are missing in the journal")
        self._befores = [entry.before for entry in self.entries]

    def span(self, moment: int) -> tuple[int, int]:
        """The lowest and the highest number that can be the last one committed at a moment (ns)."""
        high = bisect.bisect_right(self._befores, moment)
        low = max(
            (e.number for e in self.entries[:high] if e.after is not None and e.after <= moment), default=0
        )
        return low, high

    def gaps(self, length: int) -> list[tuple[int, int]]:
        """Where nothing was committed for that long (ns)."""
        found = []
        for one, other in zip(self.entries, self.entries[1:], strict=False):
            if one.after is not None and other.before - one.after >= length:
                found.append((one.after, other.before))
        return found

    def contents(self, numbers: Iterable[int]) -> dict[int, str]:
        """What the database holds after each of these transactions."""
        wanted = set(numbers)
        model, found = Model(), {}
        for number in range(len(self.entries) + 1):
            if number:
                model.apply(self.entries[number - 1].actions)
            if number in wanted:
                found[number] = model.content()
        return found

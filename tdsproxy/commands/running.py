"""The native statements that run now, and how far they are: what sys.dm_exec_requests shows of them."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from tdsproxy.catalog.names import name_key
from tdsproxy.commands.request import StatementProgress

_MOVING: Final = frozenset({"BACKUP DATABASE", "BACKUP LOG", "RESTORE DATABASE", "RESTORE LOG"})


@dataclass(slots=True)
class RunningStatement:
    """``command`` as in sys.dm_exec_requests; ``started_ns`` by the monotonic clock. ``done`` of ``total``
    are bytes; a total of 0 says that nothing is known yet. ``moved`` counts them over all that it does one
    after the other."""

    spid: int
    command: str
    database: str
    started_ns: int = field(default_factory=time.monotonic_ns)
    done: int = 0
    total: int = 0
    moved: int = 0

    def report(self, done: int, total: int) -> None:
        """What a long operation tells, from any thread."""
        self.moved += done - self.done if done >= self.done else done
        self.done, self.total = done, total

    @property
    def moves(self) -> bool:
        """Whether it is a backup or a restore that has moved something."""
        return self.moved > 0 and self.command in _MOVING

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0

    @property
    def milliseconds_left(self) -> int:
        """As estimated from the pace so far; 0 while nothing is known."""
        if self.fraction <= 0:
            return 0
        elapsed = time.monotonic_ns() - self.started_ns
        return int(elapsed * (1 - self.fraction) / self.fraction) // 10**6


class RunningStatements:
    """Usable from any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._running: list[RunningStatement] = []
        self._moved: dict[str, int] = defaultdict(int)

    @contextmanager
    def note(self, spid: int, command: str, database: str) -> Iterator[RunningStatement]:
        """The statement counts as running within the block."""
        statement = RunningStatement(spid, command, database)
        with self._guard:
            self._running.append(statement)
        try:
            yield statement
        finally:
            with self._guard:
                self._running.remove(statement)
                if statement.moves:
                    self._moved[name_key(database)] += statement.moved

    def all(self) -> list[RunningStatement]:
        with self._guard:
            return list(self._running)

    def moved(self) -> dict[str, int]:
        """The bytes that backups and restores of databases, by the keys of their names, have moved since the
        start, those that run included."""
        with self._guard:
            found = dict(self._moved)
            for statement in self._running:
                if statement.moves:
                    key = name_key(statement.database)
                    found[key] = found.get(key, 0) + statement.moved
            return found

    def progress(self) -> list[StatementProgress]:
        now = time.monotonic_ns()
        return [
            StatementProgress(
                statement.spid,
                statement.command,
                statement.database,
                round(statement.fraction * 100, 2),
                statement.milliseconds_left,
                (now - statement.started_ns) // 10**6,
                statement.done,
                statement.total,
            )
            for statement in self.all()
        ]

    def sessions_on(self, database: str) -> set[int]:
        """The sessions whose statement works on a database, wherever they are themselves."""
        key = name_key(database)
        return {statement.spid for statement in self.all() if name_key(statement.database) == key}

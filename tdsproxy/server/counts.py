"""What a session counts, for sys.dm_os_performance_counters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class SessionCounts:
    """Requests, and by id of the database the transactions that began there and those that have written and
    are committed. The thread that runs the session's requests counts; any thread may read."""

    requests: int = 0
    transactions: dict[int, int] = field(default_factory=dict)
    writes: dict[int, int] = field(default_factory=dict)

    def began(self, database: int) -> None:
        self.transactions[database] = self.transactions.get(database, 0) + 1

    def wrote(self, database: int) -> None:
        self.writes[database] = self.writes.get(database, 0) + 1

    def add(self, other: SessionCounts) -> None:
        self.requests += other.requests
        for mine, others in ((self.transactions, other.transactions), (self.writes, other.writes)):
            for database, number in others.copy().items():
                mine[database] = mine.get(database, 0) + number


@dataclass(frozen=True, slots=True)
class ServerCounts:
    """Of all sessions that this process has served; ``logins`` and ``logouts`` since its start."""

    total: SessionCounts
    logins: int
    logouts: int

    @classmethod
    def of(
        cls, ended: SessionCounts, going_on: Iterable[SessionCounts], logins: int, logouts: int
    ) -> ServerCounts:
        total = SessionCounts()
        total.add(ended)
        for counts in going_on:
            total.add(counts)
        return cls(total, logins, logouts)

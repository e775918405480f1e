"""A database with everything that it ever was: its states, and the transactions between them."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterable
from pathlib import Path

import apsw

from tdsproxy.backup.operations import LogTail
from tdsproxy.log.records import Transaction
from tdsproxy.media.documents import DIFFERENTIAL, FULL, LOG, SetDescription
from tdsproxy.store.header import lock_page
from tdsproxy.store.snapshot import Snapshot
from tests.backup.making import description

FIRST_LSN = 39_000_000_000_800_001
LSN_STEP = 1_000
FIRST_NS = 1_780_000_000_000_000_000
NS_STEP = 10_000_000


def state_of(path: Path) -> bytes:
    """All pages of the last committed state, as a file would hold them."""
    with Snapshot(path) as snapshot:
        pages = bytearray(snapshot.size)
        for first, data in snapshot.stream():
            at = (first - 1) * snapshot.page_size
            pages[at : at + len(data)] = data
        return bytes(pages)


class History:
    """A WAL database to write to. State ``n`` is the one after ``n`` commits; transaction ``n`` leads from it
    to the next, has LSN ``lsn(n)`` and commits at ``ns(n)``."""

    def __init__(self, path: Path, *, page_size: int = 4096, auto_vacuum: int = 0) -> None:
        self.path = path
        self.page_size = page_size
        self.database, self.family, self.fork = uuid.uuid4(), uuid.uuid4(), uuid.uuid4()
        self.connection = apsw.Connection(str(path))
        self.connection.execute(f"PRAGMA page_size={page_size}").fetchall()
        self.connection.execute(f"PRAGMA auto_vacuum={auto_vacuum}").fetchall()
        self.connection.execute("PRAGMA journal_mode=wal").fetchall()
        self.connection.execute("PRAGMA synchronous=OFF").fetchall()
        self.connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)").fetchall()
        self.states = [state_of(path)]
        self.transactions: list[Transaction] = []
        self.random = random.Random(7)

    def lsn(self, number: int) -> int:
        return FIRST_LSN + LSN_STEP * number

    def ns(self, number: int) -> int:
        return FIRST_NS + NS_STEP * number

    @property
    def count(self) -> int:
        return len(self.transactions)

    def commit(self, statement: str, *arguments: object, mark: str | None = None) -> None:
        """One transaction, and what it wrote."""
        self.connection.execute(statement, arguments).fetchall()
        before, after = self.states[-1], state_of(self.path)
        size = self.page_size
        lock = lock_page(size)
        pages = [
            (at // size + 1, after[at : at + size])
            for at in range(0, len(after), size)
            if after[at : at + size] != before[at : at + size] and at // size + 1 != lock
        ]
        number = self.count
        self.transactions.append(
            Transaction(
                self.lsn(number),
                self.lsn(number + 1),
                self.ns(number),
                size,
                len(after) // size,
                pages,
                mark,
                None if mark is None else f"what {mark} means",
            )
        )
        self.states.append(after)

    def work(self, commits: int) -> None:
        """Random changes that grow, shrink and rearrange the database."""
        for _ in range(commits):
            kind = self.random.randrange(10)
            if kind < 5:
                size = self.random.choice((10, 900, 9000))
                self.commit("INSERT INTO t(body) VALUES(?)", self.random.randbytes(size))
            elif kind < 7:
                self.commit(
                    "UPDATE t SET body = ? WHERE id % 5 = ?",
                    self.random.randbytes(300),
                    self.random.randrange(5),
                )
            elif kind < 8:
                self.commit("DELETE FROM t WHERE id % 4 = ?", self.random.randrange(4))
            elif kind < 9:
                self.commit(f"CREATE TABLE t{self.count}(a, b)")
            else:
                self.commit("VACUUM")

    def log(self, first: int, last: int) -> list[Transaction]:
        """Transactions first..last-1."""
        return self.transactions[first:last]

    def tail(self, first: int, meanwhile: Callable[[], None] = lambda: None) -> Callable[[], LogTail]:
        """The log of a data backup that begins at state ``first``; ``meanwhile`` is committed while its
        snapshot is held."""

        def read() -> LogTail:
            meanwhile()
            last = self.count
            return LogTail(self.lsn(last), self.log(first, last), self.ns(last - 1), self.ns(last) - 1)

        return read

    def describe(self, kind: int, first: int, last: int = 0, **members: object) -> SetDescription:
        """A set from state ``first`` to state ``last``."""
        common: dict[str, object] = {
            "backup_type": kind,
            "family_guid": self.family,
            "database_guid": self.database,
            "recovery_fork_guid": self.fork,
            "first_recovery_fork_guid": self.fork,
            "first_lsn": self.lsn(first),
            "checkpoint_lsn": self.lsn(first),
            "last_lsn": self.lsn(max(first, last)),
        }
        return description("x", **(common | members))

    def full(self, first: int, **members: object) -> SetDescription:
        return self.describe(FULL, first, **members)

    def differential(self, first: int, base: SetDescription, **members: object) -> SetDescription:
        return self.describe(
            DIFFERENTIAL,
            first,
            differential_base_guid=base.set_guid,
            differential_base_lsn=base.checkpoint_lsn,
            **members,
        )

    def log_set(self, first: int, last: int, **members: object) -> SetDescription:
        return self.describe(LOG, first, last, **members)

    def changed_since(self, first: int) -> Iterable[int]:
        """The pages that transactions from ``first`` on wrote, as the archive would tell them: when asked."""
        for transaction in self.transactions[first:]:
            for number, _ in transaction.pages:
                yield number

    def close(self) -> None:
        self.connection.close()

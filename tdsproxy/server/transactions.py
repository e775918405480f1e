"""T-SQL's transactions over SQLite's: a counter, names, savepoints, and environment changes.

BEGIN TRANSACTION only counts. SQLite's transaction begins with the first statement that writes (or reads,
above READ COMMITTED): until then each statement sees what others have committed, as READ COMMITTED does, and
no stale snapshot stands in the way of the first write.
"""

from __future__ import annotations

import itertools
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from tdsproxy.server.failures import sqlite_errors
from tdsproxy.server.workspace import DatabaseFile, Workspace, quoted
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.replies import Command, Done, Reply, TransactionBegun, TransactionEnded


class Marks(Protocol):
    """Where the mark of a transaction goes (BEGIN TRANSACTION ... WITH MARK)."""

    def announce(self, databases: Sequence[DatabaseFile], name: str, description: str) -> None:
        """The next commit to these databases, whose write locks are held, carries the mark."""
        ...

    def committed(self, databases: Sequence[DatabaseFile], name: str, description: str) -> None:
        """It has been made."""
        ...

    def failed(self, databases: Sequence[DatabaseFile]) -> None:
        """It was not made."""
        ...


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction as the views of transactions show it: a number that no other one of this server has,
    when it began (seconds since 1970), whether BEGIN TRANSACTION or implicit transactions began it, and the
    descriptor that it has on the wire."""

    number: int
    name: str
    began: float
    by_user: bool
    descriptor: bytes


class Transactions:
    """The transaction state of one session. ``marks`` None: there is no log to mark. ``numbers`` gives the
    numbers of transactions, unique in the server."""

    def __init__(
        self, workspace: Workspace, committed: Callable[[], None], numbers: Iterator[int] | None = None
    ) -> None:
        self._work = workspace
        self._committed = committed
        self._numbers = itertools.count(1) if numbers is None else numbers
        self._current: OpenTransaction | None = None
        self.on_begin: Callable[[], None] = lambda: None
        self.marks: Marks | None = None
        self._mark: str | None = None
        self.count = 0
        self._name: str | None = None
        self._number = 0
        self._saved: list[str] = []
        self._open = False
        self._quiet = False

    @property
    def descriptor(self) -> bytes:
        """The 8 bytes that name the transaction on the wire; zero outside of one."""
        return struct.pack("<Q", self._number) if self.count else bytes(8)

    @property
    def current(self) -> OpenTransaction | None:
        """The open transaction. May be asked from any thread."""
        return self._current

    def ensure(self) -> None:
        """Begins SQLite's transaction within T-SQL's. Raises 3930 when that is lost."""
        if self.lost:
            raise BatchAborted.of(
                3930,
                16,
                1,
                "The current transaction cannot be committed and cannot support operations that write to the"
                " log file. Roll back the transaction.",
            )
        if self.count and not self._open:
            self._work.begin()
            self._open = True

    @property
    def started(self) -> bool:
        """Whether SQLite's transaction has begun."""
        return self._open

    def unstart(self) -> None:
        """Takes back an ``ensure`` after which nothing was done."""
        if self._open:
            self._work.rollback()
            self._open = False

    @property
    def lost(self) -> bool:
        """Whether SQLite has ended the transaction by itself (a full disk, an I/O error): what it held is
        gone, so T-SQL's must end, too."""
        return self._open and not self._work.in_transaction

    def begin(
        self, name: str | None = None, mark: str | None = None, *, implicit: bool = False
    ) -> Iterator[Reply]:
        """``mark`` is the description of a mark that has the transaction's name, None without one;
        ``implicit`` tells that SET IMPLICIT_TRANSACTIONS began it."""
        self.count += 1
        if self.count == 1:
            self._name = name
            self._mark = mark
            self._number += 1
            shown = name or ("implicit_transaction" if implicit else "user_transaction")
            self._note(shown, by_user=True)
            self.on_begin()
            yield TransactionBegun(self.descriptor)
        yield Done(Command.BEGIN_TRANSACTION)

    def begin_quietly(self) -> None:
        """Begins the transaction that a single statement is: the client hears nothing of it."""
        self.count = 1
        self._quiet = True
        self._note("statement", by_user=False)

    def _note(self, name: str, *, by_user: bool) -> None:
        self._current = OpenTransaction(next(self._numbers), name, time.time(), by_user, self.descriptor)

    def commit(self, line: int = 1) -> Iterator[Reply]:
        if not self.count:
            raise SqlError.of(
                3902, 16, 1, "The COMMIT TRANSACTION request has no corresponding BEGIN TRANSACTION.", line
            )
        if self.count == 1:
            descriptor = self.descriptor
            if self.lost:
                yield from self.rollback_all()
                raise BatchAborted.of(
                    3998,
                    16,
                    1,
                    "Uncommittable transaction is detected at the end of the batch. The transaction is rolled"
                    " back.",
                    line,
                )
            if self._open:
                with sqlite_errors(line):
                    self._commit()
                self._committed()
            quiet = self._quiet
            self._end()
            if not quiet:
                yield TransactionEnded(descriptor, committed=True)
        else:
            self.count -= 1
        yield Done(Command.COMMIT)

    def _commit(self) -> None:
        """Marks are announced while the write locks are held: no other commit can take them."""
        marked = self._work.written() if self.marks and self._name and self._mark is not None else []
        if not marked or self.marks is None:
            self._work.commit()
            return
        name, description = self._name or "", self._mark or ""
        self.marks.announce(marked, name, description)
        try:
            self._work.commit()
        except BaseException:
            self.marks.failed(marked)
            raise
        self.marks.committed(marked, name, description)

    def rollback(self, name: str | None = None, line: int = 1) -> Iterator[Reply]:
        if not self.count:
            raise SqlError.of(
                3903, 16, 1, "The ROLLBACK TRANSACTION request has no corresponding BEGIN TRANSACTION.", line
            )
        if name is not None and not self._is_outer(name):
            saved = next((mark for mark in reversed(self._saved) if mark.lower() == name.lower()), None)
            if saved is None:
                raise SqlError.of(
                    6401,
                    16,
                    1,
                    f"Cannot roll back {name}. No transaction or savepoint of that name was found.",
                    line,
                )
            self._work.rollback_to(_mark(saved))
            while self._saved and self._saved[-1] is not saved:
                self._saved.pop()
            yield Done(Command.ROLLBACK)
            return
        yield from self.rollback_all()
        yield Done(Command.ROLLBACK)

    def rollback_all(self) -> Iterator[Reply]:
        """Undoes everything, without a Done."""
        if self.count:
            descriptor = self.descriptor
            quiet = self._quiet
            self._work.rollback()
            self._end()
            if not quiet:
                yield TransactionEnded(descriptor, committed=False)
        elif self._work.in_transaction:
            self._work.rollback()

    def save(self, name: str, line: int = 1) -> Iterator[Reply]:
        if not self.count:
            raise SqlError.of(
                628, 16, 0, "Cannot issue SAVE TRANSACTION when there is no active transaction.", line
            )
        self.ensure()
        self._work.run(f"SAVEPOINT {_mark(name)}")
        self._saved.append(name)
        yield Done(Command.BEGIN_TRANSACTION)

    def _is_outer(self, name: str) -> bool:
        return self._name is not None and self._name.lower() == name.lower()

    def _end(self) -> None:
        self.count = 0
        self._current = None
        self._name = None
        self._mark = None
        self._open = False
        self._quiet = False
        self._saved.clear()


def _mark(name: str) -> str:
    return quoted(f"t_{name.lower()}")

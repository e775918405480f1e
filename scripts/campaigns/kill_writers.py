"""Sessions that commit all the time, and remember what was acknowledged to them."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from scripts.campaigns.kill_model import Commit
from scripts.campaigns.outcome import check
from scripts.campaigns.product import LOST, PATIENCE, Product, rows, run, until


class Writer(threading.Thread):
    """Commits one numbered transaction after the other, from its first ``release`` until ``stop``. ``hold``
    pauses it between two transactions: its fields may be looked at then. An error ends its connection; it
    goes on after ``resume_after``."""

    def __init__(self, product: Product, name: str, pause: float = 0.0) -> None:
        super().__init__(name=name, daemon=True)
        self._product = product
        self._pause = pause
        self._turn = threading.Lock()
        self._turn.acquire()
        self._held = True
        self._connection: Any = None
        self._ended = False
        self.errors: list[str] = []
        self.last = Commit(0, 0.0, 0.0)
        self.number = 0
        self._tried = 0
        self._again = False

    def sql(self, number: int) -> str:
        """The transaction."""
        raise NotImplementedError

    def began(self, commit: Commit) -> None:
        self.last = commit
        self._again = commit.number <= self._tried
        self._tried = max(self._tried, commit.number)

    @property
    def acknowledged(self) -> int:
        """The highest number whose commit was acknowledged."""
        return self.last.number if self.last.ended is not None else self.last.number - 1

    @property
    def possible(self) -> int:
        """The highest number that may have been committed.

        A commit that a SIGKILL cut off between the WAL and its index is not there until the index is made
        anew, or for good when somebody else commits before that.
        """
        return max(self.last.number, self._tried)

    @property
    def harmed(self) -> bool:
        """Whether it met an error that the end of a keeper must not cause."""
        return bool(self.errors)

    def hold(self) -> None:
        """Returns when no transaction runs. Raises Violation when one hangs."""
        check(self._turn.acquire(timeout=PATIENCE), f"{self.name} hangs in a transaction")
        self._held = True

    def connect(self) -> None:
        """Only while held and not broken. Whoever connects to a server that is killed waits long."""
        if self._connection is None:
            self._connection = self._product.connect()

    def release(self) -> None:
        self._held = False
        self._turn.release()

    def resume_after(self, number: int) -> None:
        """Forget errors; the next commit is the one after ``number``. Only while held."""
        if self.errors:
            self._connection = None
        self.number = number
        self.last = Commit(number, 0.0, 0.0)
        self.errors.clear()

    def disconnect(self) -> None:
        """The server is another one from now on. Only while held."""
        self._connection = None

    def stop(self) -> None:
        """Ends it, held or not."""
        self._ended = True
        if self._held:
            self.release()
        if self.is_alive():
            self.join(PATIENCE)

    def run(self) -> None:
        while not self._ended:
            with self._turn:
                if not self._ended and not self.errors:
                    try:
                        self._commit()
                    except LOST as error:
                        if not self._has_come_back(error):
                            self.errors.append(f"{type(error).__name__}: {error}")
            time.sleep(self._pause)

    def _has_come_back(self, error: Exception) -> bool:
        """Whether what a kill cut off is committed after all by now (``possible``): its number is taken."""
        if not self._again or "Violation of PRIMARY KEY" not in str(error):
            return False
        self.last.ended = time.monotonic()
        self.number = self.last.number
        return True

    def _commit(self) -> None:
        commit = Commit(self.number + 1, time.monotonic())
        self.began(commit)
        run(self._connection.cursor(), self.sql(commit.number))
        commit.ended = time.monotonic()
        self.number = commit.number


class BankWriter(Writer):
    """Moves money between two accounts and writes it down, in one transaction."""

    def __init__(self, product: Product, writer: int) -> None:
        super().__init__(product, f"writer {writer}", pause=0.001)
        self.writer = writer

    def sql(self, number: int) -> str:
        return (
            "SET XACT_ABORT ON; BEGIN TRANSACTION;"
            f" INSERT INTO bank.dbo.journal (writer, n, note) VALUES ({self.writer}, {number}, 'n{number}');"
            f" UPDATE bank.dbo.account SET balance = balance - {number} WHERE id = 1;"
            f" UPDATE bank.dbo.account SET balance = balance + {number} WHERE id = 2;"
            " COMMIT"
        )


class Visitor(BankWriter):
    """A bank writer that is a process of its own (``kill_visitor``), which can be killed in the middle of a
    transaction. What was acknowledged to it is read from its record."""

    SCRIPT = Path(__file__).with_name("kill_visitor.py")
    APPLICATION = "visitor"

    def __init__(self, product: Product, writer: int) -> None:
        super().__init__(product, writer)
        self.name = f"visitor {writer}"
        self._record = product.directory / f"visitor-{writer}.record"
        self._process: subprocess.Popen[str] | None = None
        self._killed = False

    def connect(self) -> None:
        if self._connection is not None or self.errors:
            return
        if self._process is None:
            password = self._product.running.password
            self._process = subprocess.Popen(
                [sys.executable, str(self.SCRIPT), str(self._record), password, self.APPLICATION],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        running = self._product.running
        self._ask(f"connect {running.host} {running.port}")
        self._connection = self._process

    def kill(self) -> None:
        """SIGKILL, at any moment."""
        process = self._process
        if process is not None:
            self._killed = True
            process.kill()
            process.wait(PATIENCE)

    @property
    def harmed(self) -> bool:
        return bool(self.errors) and not self._killed

    def forget_process(self) -> None:
        """After ``kill``, while held: returns when the server has ended its session, and with it what was on
        its way. Raises Violation."""
        with self._product.cursor() as cursor:
            text = f"SELECT COUNT(*) FROM sys.dm_exec_sessions WHERE program_name = '{self.APPLICATION}'"
            gone = until(lambda: rows(cursor, text) == [(0,)])
        check(gone, "the session of a killed client stays")
        self._end()

    def stop(self) -> None:
        super().stop()
        self.kill()
        self._end()

    def _end(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                # What it was asked last, and died before it read that, goes nowhere.
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process = self._connection = None
        self._killed = False

    def _commit(self) -> None:
        commit = Commit(self.number + 1, time.monotonic())
        self.began(commit)
        try:
            self._ask(f"commit {self.writer} {commit.number}")
        finally:
            if self._recorded() >= commit.number:
                commit.ended = time.monotonic()
                self.number = commit.number

    def _recorded(self) -> int:
        """The last number in the record."""
        lines = self._record.read_text().split("\n") if self._record.exists() else []
        return int(lines[-2]) if len(lines) > 1 else 0

    def _ask(self, line: str) -> None:
        """Raises OSError when the process has died or answers with an error."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise OSError("the client is dead")
        try:
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            answer = process.stdout.readline().strip()
        except ValueError as error:
            raise OSError(str(error)) from error
        if answer != "ok":
            raise OSError(answer or "the client was killed")


class LateWriter(Writer):
    """Numbered rows in the database that is restored over; ``commits`` are those since the last ``drain``."""

    def __init__(self, product: Product) -> None:
        super().__init__(product, "late writer", pause=0.004)
        self.commits: list[Commit] = []

    def sql(self, number: int) -> str:
        return f"INSERT INTO victim.dbo.late (n) VALUES ({number})"

    @property
    def harmed(self) -> bool:
        """A database that is being restored refuses everybody (927), as SQL Server's does."""
        return any("in the middle of a restore" not in error for error in self.errors)

    def began(self, commit: Commit) -> None:
        super().began(commit)
        self.commits.append(commit)

    def drain(self) -> list[Commit]:
        """Only while held."""
        taken, self.commits = self.commits, []
        return taken

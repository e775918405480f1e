"""The databases, media and operations of the kill campaign, and the checks after a kill."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytds

from scripts.campaigns.kill_model import (
    BankContent,
    Commit,
    Medium,
    RestoreAttempt,
    SetRecord,
    Span,
    VictimContent,
    check_spans,
    check_victim,
)
from scripts.campaigns.kill_writers import BankWriter, LateWriter, Writer
from scripts.campaigns.outcome import check
from scripts.campaigns.product import LOST, Product, integrity, named_rows, rows, run, until

WRITERS = 2
PAGE_ROWS = 300
BODY = 7000
"""``PAGE_ROWS`` rows of ``BODY`` bytes make a database of several runs."""
MOST_SETS = 5

_TABLES = """
CREATE DATABASE bank; CREATE DATABASE victim;
CREATE TABLE bank.dbo.journal (writer int NOT NULL, n int NOT NULL, note varchar(20) NOT NULL,
                               PRIMARY KEY (writer, n));
CREATE TABLE bank.dbo.account (id int PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO bank.dbo.account VALUES (1, 0), (2, 0);
CREATE TABLE bank.dbo.page (id int PRIMARY KEY, version int NOT NULL, body varchar(8000) NOT NULL);
CREATE TABLE victim.dbo.late (n int PRIMARY KEY);
CREATE TABLE victim.dbo.page (id int PRIMARY KEY, version int NOT NULL, body varchar(8000) NOT NULL)
"""


@dataclass
class Operation:
    """One statement on its way. ``error`` None after the thread's end: it was acknowledged."""

    name: str
    sql: str
    begin: Callable[[], None] = lambda: None
    began: float = 0.0
    ended: float | None = None
    error: BaseException | None = None
    usable_after: bool = False

    def perform(self, connection: Any) -> None:
        """Runs it on a connection of its own, which it closes. An error must leave it to be used."""
        try:
            with connection:
                cursor = connection.cursor()
                self.began = time.monotonic()
                try:
                    run(cursor, self.sql)
                    self.ended = time.monotonic()
                except pytds.Error as error:
                    self.error = error
                self.usable_after = rows(cursor, "SELECT 41 + 1") == [(42,)]
        except LOST as error:
            self.error = self.error or error


@dataclass
class World:
    """Everything that is expected, beside the product itself."""

    product: Product
    rng: random.Random
    bank: list[BankWriter] = field(default_factory=list)
    media: dict[str, Medium] = field(default_factory=dict)
    victim: VictimContent = field(default_factory=lambda: VictimContent(0, frozenset()))
    victim_restore: tuple[Operation, VictimContent] | None = None
    fresh: tuple[str, SetRecord, Operation] | None = None
    acknowledged: dict[str, SetRecord] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    serial: int = 0

    def __post_init__(self) -> None:
        self.late = LateWriter(self.product)
        self._released: list[Writer] = []
        self._cut_off: list[Commit] = []
        self.media = {name: Medium(f"{name}.bak") for name in ("append", "init", "format")}

    # ------------------------------------------------------------------ making

    def build(self) -> None:
        """The databases, one acknowledged set on every medium, and the writers."""
        with self.product.cursor() as cursor:
            for statement in _TABLES.split(";"):
                run(cursor, statement)
            for database in ("bank", "victim"):
                self._fill(cursor, database)
        self.bank = [BankWriter(self.product, number) for number in range(WRITERS)]
        for writer in (*self.bank, self.late):
            writer.start()
        for name in self.media:
            self.perform(self.backup("victim", name))
            self.settle()
        self.release()

    def _fill(self, cursor: Any, database: str) -> None:
        for first in range(0, PAGE_ROWS, 100):
            values = ", ".join(f"({first + n}, 0, '{_letter(0) * BODY}')" for n in range(100))
            run(cursor, f"INSERT INTO {database}.dbo.page VALUES {values}")

    def hold(self) -> None:
        """Returns when no writer has a transaction open, and none begins one. Raises Violation."""
        for writer in self._released:
            writer.hold()
        self._released = []

    def release(self, *operations: Operation) -> None:
        """Lets the writers go on, but for one whose commits would be in a backup nobody knows where."""
        for writer in (*self.bank, self.late):
            writer.connect()
        exact = any(operation.sql.startswith("BACKUP DATABASE victim") for operation in operations)
        self._released = [*self.bank] if exact else [*self.bank, self.late]
        for writer in self._released:
            writer.release()

    def disconnect(self) -> None:
        """The writers connect again before they go on: the server is another one."""
        for writer in (*self.bank, self.late):
            writer.disconnect()

    def new_version(self) -> None:
        """Another content of the database that is restored over. Only while held."""
        version = self.victim.version + 1000 + self.rng.randrange(100)
        with self.product.cursor() as cursor:
            run(
                cursor,
                f"UPDATE victim.dbo.page SET version = {version}, body = REPLICATE("
                f"'{_letter(version)}', {BODY})",
            )
        self.victim = VictimContent(version, self.victim.late)

    # ------------------------------------------------------------------ operations; begun while held

    def backup(self, database: str, medium_name: str, more: str = "") -> Operation:
        """BACKUP on a medium: INIT and FORMAT on those of these names, otherwise behind the others."""
        medium = self.media[medium_name]
        self.serial += 1
        label = f"{database}-{self.serial}"
        words = {"append": "NOINIT", "init": "INIT", "format": "FORMAT, INIT"}[medium_name]
        if medium_name == "append" and len(medium.sets) >= MOST_SETS:
            words = "INIT"
        content: BankContent | VictimContent = self.victim
        if database == "bank":
            content = BankContent({w.writer: Span(w.acknowledged, w.possible) for w in self.bank})
        record = SetRecord(label, database, content)

        def begin() -> None:
            medium.begin(record, replaces=words != "NOINIT")

        sql = f"BACKUP DATABASE {database} TO DISK = N'{medium.name}' WITH {words}, NAME = N'{label}'{more}"
        return Operation(f"BACKUP {words}", sql, begin)

    def any_set(self, database: str | None = None) -> tuple[Medium, int, SetRecord]:
        """One of the acknowledged sets and its position."""
        found = [
            (medium, position, record)
            for medium in self.media.values()
            for position, record in enumerate(medium.sets, 1)
            if database is None or record.database == database
        ]
        check(bool(found), f"no backup of {database} is left")
        return self.rng.choice(found)

    def restore_over(self) -> Operation:
        medium, position, record = self.any_set("victim")
        assert isinstance(record.content, VictimContent)
        content = record.content
        sql = f"RESTORE DATABASE victim FROM DISK = N'{medium.name}' WITH FILE = {position}, REPLACE"
        operation = Operation("RESTORE over", sql)

        def begin() -> None:
            self.victim_restore = (operation, content)

        operation.begin = begin
        return operation

    def restore_new(self) -> Operation:
        medium, position, record = self.any_set()
        self.serial += 1
        name = f"fresh{self.serial}"
        operation = Operation("RESTORE new", restore_as(name, medium.name, position, record.database))

        def begin() -> None:
            self.fresh = (name, record, operation)

        operation.begin = begin
        return operation

    def perform(self, operation: Operation) -> None:
        """To its acknowledged end. Raises Violation."""
        operation.begin()
        operation.perform(self.product.connect())
        check(operation.error is None, f"{operation.sql}: {operation.error}")
        self.note_end(operation)

    def launch(self, operations: list[Operation]) -> list[threading.Thread]:
        """Begin them, while held, each in a thread, and let the writers go."""
        threads = [
            threading.Thread(target=operation.perform, args=(self.product.connect(),), daemon=True)
            for operation in operations
        ]
        for writer in (*self.bank, self.late):
            writer.connect()
        for operation in operations:
            operation.begin()
        for thread in threads:
            thread.start()
        self.release(*operations)
        return threads

    # ------------------------------------------------------------------ checks; while held

    def settle(self) -> None:
        """Compares everything with what is expected; from here on it is known. Raises Violation."""
        with self.product.cursor() as cursor:
            check(until(lambda: self._online(cursor)), "a database does not come online again")
            self._settle_media(cursor)
            self._settle_bank(cursor)
            self._settle_victim(cursor)
            self._settle_fresh(cursor)
            self._check_history(cursor)
        names = ["bank", "victim", "master", "msdb"]
        for name, answer in zip(names, integrity([self.product.file(n) for n in names]), strict=True):
            check(answer == "ok", f"integrity_check of {name}: {answer}")

    @staticmethod
    def _online(cursor: Any) -> bool:
        """Whether both databases are; a restore that was killed is finished or undone by the next keeper."""
        found = rows(cursor, "SELECT name FROM sys.databases WHERE state = 0 AND name IN ('bank', 'victim')")
        return len(found) == 2

    def close_bank_spans(self, operation: Operation) -> None:
        """The backup of ``bank`` has ended or broken off by now: no later commit can be in it."""
        for medium in self.media.values():
            for candidate in medium.possible:
                for number, record in enumerate(candidate):
                    if f"N'{record.label}'" in operation.sql and isinstance(record.content, BankContent):
                        spans = {
                            w.writer: Span(record.content.spans[w.writer].low, w.possible) for w in self.bank
                        }
                        candidate[number] = SetRecord(record.label, record.database, BankContent(spans))

    def note_end(self, operation: Operation) -> None:
        """What an operation's acknowledgement says."""
        self.close_bank_spans(operation)
        if operation.error is not None or not operation.name.startswith("BACKUP"):
            return
        for medium in self.media.values():
            if f"N'{medium.name}'" in operation.sql:
                medium.acknowledged()
                record = medium.possible[0][-1]
                self.acknowledged[record.label] = record

    def _settle_media(self, cursor: Any) -> None:
        for medium in self.media.values():
            if not self.product.medium(medium.name).exists():
                medium.seen([])
                continue
            found = named_rows(cursor, f"RESTORE HEADERONLY FROM DISK = N'{medium.name}'")
            check(
                [row["Position"] for row in found] == list(range(1, len(found) + 1)),
                f"{medium.name}: positions {[row['Position'] for row in found]}",
            )
            medium.seen([row["BackupName"] for row in found])
            for position in range(1, len(found) + 1):
                run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'{medium.name}' WITH FILE = {position}")

    def _settle_bank(self, cursor: Any) -> None:
        content = BankContent({w.writer: Span(w.acknowledged, w.possible) for w in self.bank})
        found = self._check_bank(cursor, "bank", content)
        self._resume_bank({writer: count for writer, (count, _, _) in found.items()})

    def _resume_bank(self, counts: dict[int, int]) -> None:
        for writer in self.bank:
            count = counts.get(writer.writer, 0)
            if writer.errors or writer.number != count:
                writer.resume_after(count)

    def recovered(self) -> None:
        """After a start of both processes, while held: a commit that was cut off may have come back."""
        with self.product.cursor() as cursor:
            check(until(lambda: self._online(cursor)), "a database does not come online again")
            self._settle_bank(cursor)
            self._settle_victim(cursor)

    def _check_bank(self, cursor: Any, name: str, content: BankContent) -> dict[int, tuple[int, int, int]]:
        found = {
            row[0]: (row[1], row[2], row[3])
            for row in rows(
                cursor, f"SELECT writer, COUNT(*), MIN(n), MAX(n) FROM {name}.dbo.journal GROUP BY writer"
            )
        }
        check_spans(found, content, name)
        moved = sum(count * (count + 1) // 2 for count, _, _ in found.values())
        balances = [row[0] for row in rows(cursor, f"SELECT balance FROM {name}.dbo.account ORDER BY id")]
        check(balances == [-moved, moved], f"{name}: balances {balances} instead of +-{moved}")
        self._check_pages(cursor, name, 0)
        return found

    def _check_pages(self, cursor: Any, name: str, version: int | None = None) -> int:
        """The version of all pages. Raises Violation when they are of several."""
        (found,) = rows(
            cursor,
            "SELECT COUNT(*), MIN(version), MAX(version), MIN(LEFT(body, 1)), MAX(RIGHT(body, 1)),"
            f" MIN(LEN(body)), MAX(LEN(body)), SUM(id) FROM {name}.dbo.page",
        )
        letter = _letter(found[1] or 0)
        total = PAGE_ROWS * (PAGE_ROWS - 1) // 2
        check(
            found == (PAGE_ROWS, found[1], found[1], letter, letter, BODY, BODY, total)
            and version in (None, found[1]),
            f"{name}: pages {found}, expected version {version}",
        )
        return int(found[1])

    def _content(self, cursor: Any, name: str) -> VictimContent:
        late = frozenset(row[0] for row in rows(cursor, f"SELECT n FROM {name}.dbo.late"))
        return VictimContent(self._check_pages(cursor, name), late)

    def _settle_victim(self, cursor: Any) -> None:
        found = self._content(cursor, "victim")
        attempt = None
        if self.victim_restore is not None:
            operation, content = self.victim_restore
            attempt = RestoreAttempt(content, operation.began, operation.ended)
        commits = self.late.drain()
        check_victim(self.victim, [*self._cut_off, *commits], attempt, found)
        self._cut_off = [
            commit for commit in commits if commit.ended is None and commit.number not in found.late
        ]
        self.victim, self.victim_restore = found, None
        if self.late.errors:
            self.late.resume_after(self.late.possible)

    def _settle_fresh(self, cursor: Any) -> None:
        if self.fresh is None:
            return
        name, record, operation = self.fresh
        self.fresh = None
        known = rows(cursor, f"SELECT state_desc FROM sys.databases WHERE name = '{name}'")
        there = self.product.file(name).exists()
        check(bool(known) == there, f"{name}: file {there}, in sys.databases {known}")
        if operation.error is None:
            check(there, f"{name} was restored and is not there")
        if there:
            check(known == [("ONLINE",)], f"{name} is {known}")
            self.check_restored(cursor, name, record)
            run(cursor, f"DROP DATABASE {name}")
            check(not self.product.file(name).exists(), f"{name} was dropped and its file is there")

    def check_restored(self, cursor: Any, name: str, record: SetRecord) -> None:
        """Whether a database holds what the set was made of. Raises Violation."""
        if isinstance(record.content, BankContent):
            self._check_bank(cursor, name, record.content)
        else:
            found = self._content(cursor, name)
            expected = record.content
            check(
                found == expected,
                f"{name}, restored from {record.label}, has version {found.version} of {expected.version},"
                f" commits {sorted(found.late - expected.late)} too many, without"
                f" {sorted(expected.late - found.late)}",
            )
        (answer,) = integrity([self.product.file(name)])
        check(answer == "ok", f"integrity_check of {name}, restored from {record.label}: {answer}")

    def _check_history(self, cursor: Any) -> None:
        """msdb has each acknowledged backup once; of others at most those that were whole."""
        found = rows(
            cursor, "SELECT name, COUNT(*) FROM msdb.dbo.backupset WHERE name IS NOT NULL GROUP BY name"
        )
        counted = {row[0]: row[1] for row in found}
        missing = self.acknowledged.keys() - counted.keys()
        check(not missing, f"acknowledged backups {sorted(missing)} are not in msdb")
        double = {name: count for name, count in counted.items() if count != 1}
        check(not double, f"msdb has {double}")
        # A set can be whole although nobody was told, and can have been replaced since.
        self.whole |= {record.label for medium in self.media.values() for record in medium.sets}
        unknown = counted.keys() - self.acknowledged.keys() - self.whole
        check(not unknown, f"msdb knows backups that never were: {sorted(unknown)}")

    def try_anew(self) -> None:
        """A backup and a restore work again, the latter of any set. Raises Violation."""
        self.perform(self.backup("victim", "append"))
        medium, position, record = self.any_set()
        with self.product.cursor() as cursor:
            run(cursor, restore_as("scratch", medium.name, position, record.database))
            self.check_restored(cursor, "scratch", record)

    def restore_all(self) -> int:
        """Every set of every medium, restored and compared. Raises Violation."""
        count = 0
        with self.product.cursor() as cursor:
            for medium in self.media.values():
                for position, record in enumerate(medium.sets, 1):
                    run(cursor, restore_as("scratch", medium.name, position, record.database))
                    self.check_restored(cursor, "scratch", record)
                    count += 1
        return count

    def leftovers(self) -> list[str]:
        """Files that no statement should leave; those of a killed one go with the next of its kind."""
        for name in ("init", "format"):
            self.perform(self.backup("victim", name))
        store = self.product.store
        found = [*store.glob(".*.restoring*"), *store.glob(".undo/.*.new"), *store.glob("backup/.*.new")]
        return [path.name for path in found]

    def stop(self) -> None:
        """Ends the writers, held or not."""
        self._released = []
        for writer in (*self.bank, self.late):
            writer.stop()


def restore_as(name: str, medium: str, position: int, database: str) -> str:
    """RESTORE under another name, over what may be there."""
    return (
        f"RESTORE DATABASE {name} FROM DISK = N'{medium}' WITH FILE = {position}, REPLACE,"
        f" MOVE N'{database}' TO N'/var/opt/mssql/data/{name}.mdf',"
        f" MOVE N'{database}_log' TO N'/var/opt/mssql/data/{name}.ldf'"
    )


def _letter(version: int) -> str:
    return chr(ord("A") + version % 26)

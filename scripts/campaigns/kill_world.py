"""The databases and media of the kill campaign, and the checks after a kill."""

from __future__ import annotations

import random
import threading
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
    check_chain,
    check_spans,
    check_victim,
)
from scripts.campaigns.kill_statements import (
    BACKUPS,
    FULLS,
    Operation,
    any_set,
    backup,
    bank_now,
    restore_as,
    restore_chain,
    restore_now,
)
from scripts.campaigns.kill_writers import BankWriter, LateWriter, Writer
from scripts.campaigns.outcome import check
from scripts.campaigns.product import Product, integrity, named_rows, rows, run, until

WRITERS = 2
PAGE_ROWS = 300
BODY = 7000
"""``PAGE_ROWS`` rows of ``BODY`` bytes make a database of several runs."""
MOST_LOGS = 6
DATABASES = ("bank", "victim", "plain")

_PAGES = "CREATE TABLE {}.dbo.page (id int PRIMARY KEY, version int NOT NULL, body varchar(8000) NOT NULL)"
_LATE = "CREATE TABLE {}.dbo.late (n int PRIMARY KEY)"
_TABLES = f"""
CREATE DATABASE bank; CREATE DATABASE victim; CREATE DATABASE plain; ALTER DATABASE plain SET RECOVERY SIMPLE;
CREATE TABLE bank.dbo.journal (writer int NOT NULL, n int NOT NULL, note varchar(20) NOT NULL,
                               PRIMARY KEY (writer, n));
CREATE TABLE bank.dbo.account (id int PRIMARY KEY, balance bigint NOT NULL);
INSERT INTO bank.dbo.account VALUES (1, 0), (2, 0);
{_LATE.format("victim")}; {_LATE.format("plain")};
{_PAGES.format("bank")}; {_PAGES.format("victim")}; {_PAGES.format("plain")}
"""


@dataclass
class World:
    """Everything that is expected, beside the product itself.

    ``bank`` is in FULL and never restored over: its chain is ``base.bak``, ``log.bak`` and ``dif.bak``.
    ``victim`` is in FULL and restored over. ``plain`` is in SIMPLE, and nobody writes to it by himself.
    """

    product: Product
    rng: random.Random
    bank: list[BankWriter] = field(default_factory=list)
    media: dict[str, Medium] = field(default_factory=dict)
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)
    victim: VictimContent = field(default_factory=lambda: VictimContent(0, frozenset()))
    victim_restore: tuple[Operation, VictimContent] | None = None
    plain: VictimContent = field(default_factory=lambda: VictimContent(0, frozenset()))
    fresh: tuple[str, SetRecord, Operation] | None = None
    acknowledged: dict[str, SetRecord] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    serial: int = 0

    def __post_init__(self) -> None:
        self.late = LateWriter(self.product)
        self._released: list[Writer] = []
        self._cut_off: list[Commit] = []
        self._touched: set[str] = set()
        self.media = {name: Medium(f"{name}.bak") for name in BACKUPS}

    @property
    def writers(self) -> list[Writer]:
        return [*self.bank, self.late]

    # ------------------------------------------------------------------ making

    def build(self) -> None:
        """The databases, one acknowledged set on every medium, and the writers."""
        with self.product.cursor() as cursor:
            for statement in _TABLES.split(";"):
                run(cursor, statement)
            for database in DATABASES:
                self._fill(cursor, database)
        self.bank = [BankWriter(self.product, number) for number in range(WRITERS)]
        for writer in self.writers:
            writer.start()
        for name in self.media:
            self.perform(backup(self, "victim", name))
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
        self.connect()
        exact = any(operation.sql.startswith("BACKUP DATABASE victim") for operation in operations)
        self._released = [*self.bank] if exact else self.writers
        for writer in self._released:
            writer.release()

    def connect(self) -> None:
        """Of writers that are not broken. Only while held."""
        for writer in self.writers:
            writer.connect()

    def disconnect(self) -> None:
        """The writers connect again before they go on: the server is another one."""
        for writer in self.writers:
            writer.disconnect()

    def new_version(self, database: str) -> None:
        """Another content of ``victim`` or ``plain``. Only while held."""
        old = self.victim if database == "victim" else self.plain
        version = old.version + 1000 + self.rng.randrange(100)
        with self.product.cursor() as cursor:
            text = f"SET version = {version}, body = REPLICATE('{_letter(version)}', {BODY})"
            run(cursor, f"UPDATE {database}.dbo.page {text}")
        made = VictimContent(version, old.late)
        if database == "victim":
            self.victim = made
        else:
            self.plain = made

    def advance(self) -> None:
        """Some commits of each writer. Held before and after. Raises Violation."""
        before = [writer.number for writer in self.writers]
        self.release()
        moved = until(lambda: all(w.number > n for w, n in zip(self.writers, before, strict=True)))
        self.hold()
        check(moved, "the writers stand still")

    def churn(self, cursor: Any) -> None:
        """Write all pages of ``bank`` anew, with what they hold."""
        run(cursor, "UPDATE bank.dbo.page SET body = body")

    # ------------------------------------------------------------------ running; begun while held

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
        self.connect()
        for operation in operations:
            operation.begin()
        for thread in threads:
            thread.start()
        self.release(*operations)
        return threads

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
        if not operation.name.startswith("BACKUP"):
            return
        for name, medium in self.media.items():
            if f"TO DISK = N'{medium.name}'" in operation.sql:
                self._touched.add(name)
                if operation.error is None:
                    medium.acknowledged()
                    record = medium.possible[0][-1]
                    self.acknowledged[record.label] = record

    # ------------------------------------------------------------------ checks; while held

    def settle(self) -> None:
        """Compares everything with what is expected; from here on it is known. Raises Violation."""
        self.recovered()
        with self.product.cursor() as cursor:
            self._settle_media(cursor)
            self._settle_fresh(cursor)
            self._check_history(cursor)
            self._check_now(cursor)
        names = [*DATABASES, "master", "msdb"]
        for name, answer in zip(names, integrity([self.product.file(n) for n in names]), strict=True):
            check(answer == "ok", f"integrity_check of {name}: {answer}")

    def recovered(self) -> None:
        """After a start of both processes, while held: a commit that was cut off may have come back."""
        with self.product.cursor() as cursor:
            check(until(lambda: self._online(cursor)), "a database does not come online again")
            self._settle_bank(cursor)
            self._settle_victim(cursor)

    @staticmethod
    def _online(cursor: Any) -> bool:
        """Whether all are; a restore that was killed is finished or undone by the next keeper."""
        names = ", ".join(f"'{name}'" for name in DATABASES)
        found = rows(cursor, f"SELECT name FROM sys.databases WHERE state = 0 AND name IN ({names})")
        return len(found) == len(DATABASES)

    def _settle_media(self, cursor: Any) -> None:
        for name in sorted(self._touched):
            medium = self.media[name]
            if not self.product.medium(medium.name).exists():
                medium.seen([])
                continue
            found = named_rows(cursor, f"RESTORE HEADERONLY FROM DISK = N'{medium.name}'")
            check(
                [row["Position"] for row in found] == list(range(1, len(found) + 1)),
                f"{medium.name}: positions {[row['Position'] for row in found]}",
            )
            medium.seen([row["BackupName"] for row in found])
            self.headers |= {row["BackupName"]: row for row in found}
            for position in range(1, len(found) + 1):
                run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'{medium.name}' WITH FILE = {position}")
        self._touched.clear()
        check_chain([self.headers[record.label] for record in self.media["log"].sets], "log.bak")

    def _settle_bank(self, cursor: Any) -> None:
        found = self._check_bank(cursor, "bank", bank_now(self))
        for writer in self.bank:
            count, _, _ = found.get(writer.writer, (0, 0, 0))
            if writer.errors or writer.number != count:
                writer.resume_after(count)

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
        # Of those that were cut off, which may still come back: no later commit has taken their place.
        last = max((commit.number for commit in commits if commit.number in found.late), default=0)
        self._cut_off = [
            commit
            for commit in (*self._cut_off, *commits)
            if commit.ended is None and commit.number not in found.late and commit.number > last
        ]
        self.victim, self.victim_restore = found, None
        if self.late.errors:
            self.late.resume_after(self.late.possible)

    def _settle_fresh(self, cursor: Any) -> None:
        if self.fresh is None:
            return
        name, record, operation = self.fresh
        self.fresh = None
        state = self._state_of_fresh(cursor, name)
        if operation.error is None:
            check(state == "ONLINE", f"{name} was restored and is {state}")
        elif state == "RESTORING" and len(operation.statements) > 1:
            self._restore_again(cursor, operation)
            state = "ONLINE"
        elif state == "RESTORING":
            # A keeper that lives is about to undo it; one that died may have left it all but recovered.
            until(lambda: self._state_of_fresh(cursor, name) != "RESTORING", 5)
            state = self._state_of_fresh(cursor, name)
            if state == "RESTORING":
                run(cursor, f"RESTORE DATABASE {name} WITH RECOVERY")
                state = "ONLINE"
        check(state in ("", "ONLINE"), f"{name} is {state}")
        if state:
            self.check_restored(cursor, name, record)
            run(cursor, f"DROP DATABASE {name}")
            check(not self.product.file(name).exists(), f"{name} was dropped and its file is there")

    def _restore_again(self, cursor: Any, operation: Operation) -> None:
        """All of its statements; what its client had begun may be about to end. Raises Violation."""
        refused: list[Exception] = []

        def restored() -> bool:
            try:
                for statement in operation.statements:
                    run(cursor, statement)
            except pytds.Error as error:
                refused.append(error)
                return False
            return True

        check(until(restored), f"{operation.sql} is refused: {refused[-1:]}")

    def _state_of_fresh(self, cursor: Any, name: str) -> str:
        """Empty when it is not there. A keeper that lives may be about to end what its client had begun."""
        found = {"state": "", "there": False}

        def clear() -> bool:
            known = rows(cursor, f"SELECT state_desc FROM sys.databases WHERE name = '{name}'")
            found["state"] = known[0][0] if known else ""
            found["there"] = self.product.file(name).exists()
            return found["there"] == (found["state"] == "ONLINE")

        check(until(clear), f"{name}: {found}")
        return str(found["state"])

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

    def _check_now(self, cursor: Any) -> None:
        """One statement brings back exactly what ``bank`` holds. Raises Violation."""
        operation = restore_now(self, "scratch")
        for statement in operation.statements:
            run(cursor, statement)
        exact = BankContent({w.writer: Span(w.number, w.number) for w in self.bank})
        self._check_bank(cursor, "scratch", exact)
        self.check_logs()

    def check_logs(self) -> None:
        """Raises Violation."""
        broken = [line for line in self.product.log_text().splitlines() if "bank.db is broken at " in line]
        check(not broken, f"a log was broken, though only processes of ours died: {broken}")

    # ------------------------------------------------------------------ afterwards

    def try_anew(self) -> None:
        """A backup and a restore work again, the latter of any set. Raises Violation."""
        self.perform(backup(self, "victim", "append"))
        medium, position, record = any_set(self)
        with self.product.cursor() as cursor:
            run(cursor, restore_as("scratch", medium.name, position, record.database))
            self.check_restored(cursor, "scratch", record)
        if len(self.media["log"].sets) >= MOST_LOGS:
            self.check_chain_of_media()

    def check_chain_of_media(self) -> None:
        """All of ``bank`` by base and logs, up to a last one; then a new base. Raises Violation."""
        self.perform(backup(self, "bank", "log"))
        self.settle()
        operation = restore_chain(self, "scratch")
        _, record, _ = self._take_fresh(operation)
        with self.product.cursor() as cursor:
            for statement in operation.statements:
                run(cursor, statement)
            self.check_restored(cursor, "scratch", record)
        self.perform(backup(self, "bank", "base"))
        # What follows restores from the new base: the old logs are of no use.
        run_log = backup(self, "bank", "log")
        run_log.statements = [text.replace("NOINIT", "INIT") for text in run_log.statements]
        self.media["log"].possible = [[]]
        self.perform(run_log)
        self.settle()

    def _take_fresh(self, operation: Operation) -> tuple[str, SetRecord, Operation]:
        operation.begin()
        assert self.fresh is not None
        taken, self.fresh = self.fresh, None
        return taken

    def restore_all(self) -> int:
        """Every full set of every medium, restored and compared. Raises Violation."""
        count = 0
        with self.product.cursor() as cursor:
            for name in FULLS:
                medium = self.media[name]
                for position, record in enumerate(medium.sets, 1):
                    run(cursor, restore_as("scratch", medium.name, position, record.database))
                    self.check_restored(cursor, "scratch", record)
                    count += 1
        self.check_chain_of_media()
        return count

    def leftovers(self) -> list[str]:
        """Files that no statement should leave; those of a killed one go with the next of its kind."""
        for name in ("init", "format", "base", "dif", "plain", "plaindif"):
            self.perform(backup(self, "victim", name))
        store = self.product.store
        found = [*store.glob(".*.restoring*"), *store.glob(".undo/.*.new"), *store.glob("backup/.*.new")]
        return [path.name for path in found]

    def stop(self) -> None:
        """Ends the writers, held or not."""
        self._released = []
        for writer in self.writers:
            writer.stop()


def _letter(version: int) -> str:
    return chr(ord("A") + version % 26)

"""A disk that fails: each kind of fault at each call of each operation, one after the other.

While an operation runs one call on a file of the store fails, or all from there on: a write with EIO or
ENOSPC, a sync or a truncation with EIO, a read with EIO, or a write is done by half; or what is read of a
medium or of the archive of the log has another bit. Whatever the operation answers must be true: what was
acknowledged before is there and can be read, the databases are whole, the server lives and does the same
operation when it is asked again. A disk that is slow, and a clock that jumps in the middle, make nothing
fail; of the clock see ``clocks``. A case is a fault that was hit.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import random
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds

from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.power_disk import build_shim, compiler
from scripts.campaigns.product import LOST, Product, integrity, named_rows, product, rows, run, until

WRITE, SYNC, READ, TRUNCATE = 1, 2, 4, 8
PLACES = (1, 2, 3, 4, 5, 6, 8, 10, 13, 17, 22, 29, 38, 50, 80, 120)
"""Which call fails, counted from the operation's begin."""


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    calls: int
    error: int = 0
    shorten: bool = False
    lasting: bool = False
    flip: bool = False
    delay_us: int = 0
    jump_seconds: int = 0
    part: str = ""
    """Only files whose path holds it."""
    only: tuple[str, ...] = ()
    """The operations that meet it; empty is all."""

    @property
    def is_harmless(self) -> bool:
        """Nothing may fail of it."""
        return bool(self.delay_us or self.jump_seconds)


_HOLDER = """
import sys, apsw
connection = apsw.Connection(sys.argv[1])
connection.execute("SELECT count(*) FROM page").fetchall()
print("ready", flush=True)
sys.stdin.read()
"""
_READ_MEDIA = ("full appended", "verify", "restore over", "restore open", "restore new", "stop at")
_READ_LOG = ("full appended", "differential", "log", "stop at")
FAULTS = (
    Fault("one write EIO", WRITE, errno.EIO),
    Fault("no space", WRITE, errno.ENOSPC, lasting=True),
    Fault("writes by half", WRITE, shorten=True, lasting=True),
    Fault("one sync EIO", SYNC, errno.EIO),
    Fault("no sync", SYNC, errno.EIO, lasting=True),
    Fault("one read EIO", READ, errno.EIO),
    Fault("no truncation", TRUNCATE, errno.EIO, lasting=True),
    Fault("another bit of a medium", READ, flip=True, part="/backup/", only=_READ_MEDIA),
    Fault("another bit of the log", READ, flip=True, part="/log/", only=_READ_LOG),
    Fault("slow", WRITE | SYNC | READ | TRUNCATE, delay_us=1_000, lasting=True),
)


class FaultControl:
    """The file that tells the library what fails (``struct control`` of fault_shim.c)."""

    _LAYOUT = struct.Struct("=7i100s2i2q")

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(self._LAYOUT.size))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), self._LAYOUT.size)
        self.path = path

    def arm(self, fault: Fault, place: int) -> None:
        """The ``place``-th call fails."""
        rule = (0, fault.calls, place, fault.error, fault.shorten, fault.lasting, 0, fault.part.encode())
        jump = fault.jump_seconds * 10**9
        packed = self._LAYOUT.pack(*rule, fault.flip, fault.delay_us, jump, self.clock_ns)
        self._map[4:] = packed[4:]
        self._map[0:4] = struct.pack("=i", 1)

    def disarm(self) -> int:
        """How many calls failed."""
        self._map[0:4] = bytes(4)
        return int(self._LAYOUT.unpack_from(self._map)[6])

    @property
    def clock_ns(self) -> int:
        """By how much the clock is wrong."""
        return int(self._LAYOUT.unpack_from(self._map)[-1])


@dataclass(frozen=True, slots=True)
class Operation:
    """``sql`` is the operation, ``after`` what undoes it; ``medium`` is what it writes."""

    name: str
    sql: str
    medium: str = ""
    after: str = ""
    adds: str = ""


OPERATIONS = (
    Operation("commit", "INSERT INTO day.dbo.t VALUES ({next}, REPLICATE('x', 6000))"),
    Operation(
        "full appended",
        "BACKUP DATABASE day TO DISK = 'full.bak' WITH NOINIT, NAME = '{label}'",
        "full.bak",
    ),
    Operation(
        "full anew",
        "BACKUP DATABASE day TO DISK = 'anew.bak' WITH INIT, NAME = '{label}'",
        "anew.bak",
    ),
    Operation(
        "differential",
        "BACKUP DATABASE day TO DISK = 'other.bak' WITH INIT, DIFFERENTIAL, NAME = '{label}'",
        "other.bak",
    ),
    Operation("log", "BACKUP LOG day TO DISK = 'log.bak' WITH NOINIT, NAME = '{label}'", "log.bak"),
    Operation("verify", "RESTORE VERIFYONLY FROM DISK = 'full.bak'"),
    Operation("restore over", "RESTORE DATABASE victim FROM DISK = 'victim.bak' WITH REPLACE"),
    Operation("restore open", "RESTORE DATABASE held FROM DISK = 'held.bak' WITH REPLACE"),
    Operation(
        "restore new",
        "RESTORE DATABASE copy FROM DISK = 'victim.bak' WITH REPLACE,"
        " MOVE 'victim' TO 'copy.mdf', MOVE 'victim_log' TO 'copy.ldf'",
        after="IF DB_ID('copy') IS NOT NULL DROP DATABASE copy",
    ),
    Operation(
        "stop at",
        "RESTORE DATABASE scratch FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{now}',"
        " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
        after="IF DB_ID('scratch') IS NOT NULL DROP DATABASE scratch",
    ),
    Operation(
        "create database",
        "CREATE DATABASE fresh",
        after="IF DB_ID('fresh') IS NOT NULL DROP DATABASE fresh",
    ),
    Operation("shrink", "DBCC SHRINKDATABASE (victim)"),
    Operation("checkpoint", "USE day; CHECKPOINT"),
    Operation(
        "login",
        "CREATE LOGIN visitor WITH PASSWORD = 'Pass-word-9'",
        after="IF SUSER_ID('visitor') IS NOT NULL DROP LOGIN visitor",
    ),
    Operation("history", "EXEC msdb.dbo.sp_delete_backuphistory @oldest_date = '2001-01-01'"),
)


class Shop:
    """The product and what is known of it."""

    def __init__(self, made: Product, control: FaultControl, tally: Tally) -> None:
        self.made = made
        self._control = control
        self._tally = tally
        self._commits: set[int] = set()
        self._begun = 0
        self._sets: dict[str, list[str]] = {}
        self._labels = 0
        self._fork: object = None

    def build(self) -> None:
        with self.made.cursor() as cursor:
            for statement in (
                "CREATE DATABASE day",
                "CREATE TABLE day.dbo.t (n int PRIMARY KEY, body varchar(8000))",
                "CREATE DATABASE victim",
                "CREATE TABLE victim.dbo.page (id int PRIMARY KEY, body varchar(4000))",
                "INSERT INTO victim.dbo.page VALUES "
                + ", ".join(f"({number}, REPLICATE('b', 4000))" for number in range(40)),
                "BACKUP DATABASE victim TO DISK = 'victim.bak' WITH INIT, NAME = 'victim'",
                "CREATE DATABASE held",
                "CREATE TABLE held.dbo.page (id int PRIMARY KEY, body varchar(4000))",
                "INSERT INTO held.dbo.page SELECT id, body FROM victim.dbo.page",
                "BACKUP DATABASE held TO DISK = 'held.bak' WITH INIT, NAME = 'held'",
                "BACKUP DATABASE day TO DISK = 'full.bak' WITH INIT, NAME = 'first'",
            ):
                run(cursor, statement)
        self._sets = {"victim.bak": ["victim"], "full.bak": ["first"]}

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Another process has the database ``held`` open."""
        with subprocess.Popen(
            [sys.executable, "-c", _HOLDER, str(self.made.file("held"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as holder:
            try:
                assert holder.stdout is not None
                check(holder.stdout.readline() == b"ready\n", "nobody can open the database")
                yield
            finally:
                holder.kill()

    # ------------------------------------------------------------------ one case

    def case(self, operation: Operation, fault: Fault, place: int) -> bool:
        """Whether the fault was hit. Raises Violation."""
        where = f"{operation.name}, {fault.name}, call {place}"
        with self.made.cursor() as cursor:
            sql, label, number = self._text(cursor, operation)
            if operation.name == "restore open":
                run(cursor, "UPDATE held.dbo.page SET body = 'former'")
                self._fork = self._fork_of_held(cursor)
        connection = self.made.connect()
        self._control.arm(fault, place)
        failure: Exception | None = None
        try:
            with connection:
                run(connection.cursor(), sql)
        except LOST as error:
            failure = error
        hits = self._control.disarm()
        try:
            check(self.made.listener_lives, f"the listener has ended, {failure}")
            check(not (fault.is_harmless and failure), "it fails")
            self._note(operation, failure, label, number)
            self._answers(failure)
            self._whole(operation, failure is not None)
            if failure is None:
                self._result(operation)
            if operation.after:
                self._run(operation.after)
            if failure is not None:
                self._again(operation)
        except Violation as violation:
            raise Violation(f"{where}: {violation} (it answered {failure})") from failure
        except LOST as error:
            raise Violation(f"{where}: afterwards: {error} (it answered {failure})") from error
        if hits:
            self._tally.add("faults")
            self._tally.add("refused" if failure is not None else "overcome")
        return hits > 0

    def do(self, operation: Operation) -> None:
        """Without a fault."""
        with self.made.cursor() as cursor:
            sql, label, number = self._text(cursor, operation)
            run(cursor, sql)
        self._note(operation, None, label, number)

    def _text(self, cursor: Any, operation: Operation) -> tuple[str, str, int]:
        self._labels += 1
        label = f"set {self._labels}"
        now = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
        self._begun += operation.name == "commit"
        sql = operation.sql.format(next=self._begun, label=label, now=now)
        return sql, label, self._begun

    def _note(self, operation: Operation, failure: Exception | None, label: str, number: int) -> None:
        if operation.name == "commit" and failure is None:
            self._commits.add(number)
        if operation.medium and failure is None:
            kept = [] if "WITH INIT" in operation.sql else self._sets.get(operation.medium, [])
            self._sets[operation.medium] = [*kept, label]

    def _answers(self, failure: Exception | None) -> None:
        if failure is not None:
            check(isinstance(failure, pytds.Error), f"the session was lost: {failure}")
            check("A severe error" not in str(failure), f"an internal error: {failure}")

    def _again(self, operation: Operation) -> None:
        """The same once more, with a disk that is sound."""
        with self.made.cursor() as cursor:
            sql, label, number = self._text(cursor, operation)
        try:
            self._run(sql)
        except LOST as error:
            broken = "BACKUP LOG cannot be performed because there is no current database backup"
            if operation.name != "log" or broken not in str(error):
                raise
            # The log could not be captured, and that is said: a full backup begins a new chain.
            self._tally.add("chains that say they are broken")
            self._run("BACKUP DATABASE day TO DISK = 'full.bak' WITH INIT, NAME = 'first'")
            self._sets["full.bak"] = ["first"]
            return
        self._note(operation, None, label, number)
        if operation.after:
            self._run(operation.after)

    def _run(self, sql: str) -> None:
        with self.made.cursor() as cursor:
            run(cursor, sql)

    # ------------------------------------------------------------------ what must hold

    def _whole(self, operation: Operation, failed: bool) -> None:
        with self.made.cursor() as cursor:
            names = "'day', 'victim'"

            def online() -> bool:
                text = f"SELECT name FROM sys.databases WHERE state = 0 AND name IN ({names})"
                return len(rows(cursor, text)) == 2

            if operation.name == "restore over" and not until(online, 5):
                # It may say so, as long as it can be restored again.
                self._run(operation.sql)
            check(until(online), f"not online: {rows(cursor, 'SELECT name, state_desc FROM sys.databases')}")
            found = {row[0] for row in rows(cursor, "SELECT n FROM day.dbo.t")}
            missing = self._commits - found
            check(not missing, f"acknowledged commits {sorted(missing)} are missing")
            check(max(found, default=0) <= self._begun, f"commits {sorted(found)} were never made")
            count = rows(cursor, "SELECT COUNT(*) FROM victim.dbo.page WHERE body = REPLICATE('b', 4000)")
            check(count == [(40,)], f"victim has {count}")
            self._media(cursor, operation)
            if operation.name == "restore open":
                self._one_of_both(cursor, failed)
        paths = [self.made.file(name) for name in ("day", "victim", "held", "master", "msdb")]
        answers = integrity(paths)
        check(set(answers) == {"ok"}, f"integrity_check: {answers}")

    def _one_of_both(self, cursor: Any, failed: bool) -> None:
        """The database that was restored while another process had it open has the former content or the
        restored one, and what the catalog says of it is the same one's."""
        state = rows(cursor, "SELECT state_desc FROM sys.databases WHERE name = 'held'")
        if failed and state == [("RESTORING",)]:
            # It says so, and can be restored again.
            return
        check(state == [("ONLINE",)], f"held is {state}")
        found = rows(cursor, "SELECT MIN(LEFT(body, 6)), MAX(LEFT(body, 6)), COUNT(*) FROM held.dbo.page")
        former = self._fork_of_held(cursor) == self._fork
        wanted = "former" if former else "bbbbbb"
        check(failed or not former, "held has still the former fork")
        check(found == [(wanted, wanted, 40)], f"held has {found}, and the catalog says it is {wanted}")

    @staticmethod
    def _fork_of_held(cursor: Any) -> object:
        text = "SELECT recovery_fork_guid FROM sys.database_recovery_status WHERE database_id = DB_ID('held')"
        return rows(cursor, text)

    def _result(self, operation: Operation) -> None:
        """What was restored is right."""
        with self.made.cursor() as cursor:
            if operation.name == "restore new":
                count = rows(cursor, "SELECT COUNT(*) FROM copy.dbo.page WHERE body = REPLICATE('b', 4000)")
                check(count == [(40,)], f"copy has {count}")
            elif operation.name == "stop at":
                there = rows(cursor, "SELECT COUNT(*), MAX(n) FROM day.dbo.t")
                found = rows(cursor, "SELECT COUNT(*), MAX(n) FROM scratch.dbo.t")
                check(found == there, f"restored to now: {found} instead of {there}")

    def _media(self, cursor: Any, operation: Operation) -> None:
        """What was acknowledged is on the medium; a set that was refused at most where it was to go."""
        for medium in {operation.medium or "full.bak", "victim.bak"}:
            labels = self._sets.get(medium, [])
            if not labels:
                continue
            found = [
                row["BackupName"] for row in named_rows(cursor, f"RESTORE HEADERONLY FROM DISK = '{medium}'")
            ]
            more = len(found) == len(labels) + 1
            replaced = "WITH INIT" in operation.sql and len(found) == 1
            kept = found[: len(labels)] == labels and (len(found) == len(labels) or more)
            check(kept or replaced, f"{medium} holds {found} instead of {labels}")
            self._sets[medium] = found
            for position in range(max(1, len(found) - 2), len(found) + 1):
                run(cursor, f"RESTORE VERIFYONLY FROM DISK = '{medium}' WITH FILE = {position}")

    def end(self) -> None:
        """What the whole is worth: from the first backup to now. Raises Violation."""
        with self.made.cursor() as cursor:
            before = rows(cursor, "SELECT n FROM day.dbo.t ORDER BY n")
            now = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            try:
                run(cursor, "BACKUP LOG day TO DISK = 'log.bak' WITH NOINIT")
            except LOST as error:
                check("BACKUP LOG cannot be performed" in str(error), f"BACKUP LOG: {error}")
                self._tally.add("chains that say they are broken")
                return
            run(
                cursor,
                f"RESTORE DATABASE final FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{now}',"
                " MOVE 'day' TO 'final.mdf', MOVE 'day_log' TO 'final.ldf'",
            )
            after = rows(cursor, "SELECT n FROM final.dbo.t ORDER BY n")
            check(before == after, f"restored to now: {after} instead of {before}")
            self._tally.add("chains restored to their end")


def pairs(plan: Plan) -> Iterator[tuple[Operation, Fault]]:
    """Of operation and fault, in an order that the seed decides."""
    made = [
        (operation, fault)
        for operation in OPERATIONS
        for fault in FAULTS
        if not fault.only or operation.name in fault.only
    ]
    random.Random(plan.seed).shuffle(made)
    return iter(made[: max(1, round(len(made) * plan.share))])


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    from scripts.campaigns import clocks

    if compiler() is None:
        print("faults: not run, there is no C compiler for the library that lets calls fail", flush=True)
        return
    end = time.monotonic() + plan.seconds
    # A part of the time, however long the rest takes: it comes first.
    with failing_product() as (made, control):
        clocks.jump_often(made, control, plan, time.monotonic() + plan.seconds * 0.25, tally)
    with failing_product() as (made, control):
        shop = Shop(made, control, tally)
        shop.build()
        with shop.held():
            for operation, fault in pairs(plan):
                tally.add("pairs of operation and fault")
                for place in PLACES:
                    if time.monotonic() > end:
                        print("no time left for all faults", flush=True)
                        break
                    hit = guarded(lambda: shop.case(operation, fault, place), tally)  # noqa: B023
                    if not hit or fault.delay_us:
                        break
        guarded(lambda: shop.end() or True, tally)
        for traceback in made.tracebacks():
            tally.violated(f"in the logs: {traceback}")


@contextlib.contextmanager
def failing_product() -> Iterator[tuple[Product, FaultControl]]:
    """A running product with the library."""
    with product() as made:
        library = build_shim(made.directory, "fault_shim")
        control = FaultControl(made.directory / "control")
        made.start(LD_PRELOAD=str(library), FAULT_CONTROL=str(control.path), FAULT_ROOT=str(made.store))
        yield made, control


def guarded(work: Callable[[], bool], tally: Tally) -> bool:
    try:
        return work()
    except Violation as violation:
        tally.violated(str(violation))
        return True

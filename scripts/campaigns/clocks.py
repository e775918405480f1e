"""A clock that jumps in the middle of an operation, ahead and back: part of the campaign ``faults``.

Nothing may fail of it. All commits stay in the order in which they were made, and msdb has the backups in
theirs. A moment that the clock has shown but once is restored exactly, also after later jumps; of one that it
has shown twice it is only said that what comes back is a state that there was.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytds

from scripts.campaigns.faults import OPERATIONS, SYNC, WRITE, Fault, FaultControl, Operation, Shop, guarded
from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import Product, named_rows, rows, run

JUMPS = (
    Fault("the clock an hour ahead", WRITE | SYNC, jump_seconds=3600),
    Fault("the clock an hour back", WRITE | SYNC, jump_seconds=-3600),
    Fault("the clock ten days ahead", WRITE | SYNC, jump_seconds=864_000),
    Fault("the clock ten days back", WRITE | SYNC, jump_seconds=-864_000),
    Fault("the clock two seconds back", WRITE | SYNC, jump_seconds=-2),
)
PLACES = (1, 5)
NAMES = (
    "commit",
    "full appended",
    "full anew",
    "differential",
    "log",
    "verify",
    "restore over",
    "checkpoint",
)
MOST_RESTORED = 12


@dataclass(frozen=True, slots=True)
class Shown:
    """``count`` commits were there when the clock showed ``text``; ``alone``: it never did before."""

    text: str
    count: int
    alone: bool


@dataclass
class Clock:
    """The shop, and the moments to go back to."""

    shop: Shop
    tally: Tally
    shown: list[Shown] = field(default_factory=list)
    latest: str = ""

    def note(self) -> None:
        """This moment. A commit before it and one behind it make it one."""
        with self.shop.made.cursor() as cursor:
            ((text, count),) = rows(
                cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126), (SELECT COUNT(*) FROM day.dbo.t)"
            )
        # Texts of this form are in the order of their times.
        self.shown.append(Shown(str(text), int(count), str(text) > self.latest))
        self.latest = max(self.latest, str(text))

    def check_order(self) -> None:
        """msdb has the backups of the database in the order of its log. Raises Violation."""
        with self.shop.made.cursor() as cursor:
            found = rows(
                cursor,
                "SELECT backup_set_id, last_lsn FROM msdb.dbo.backupset WHERE database_name = 'day'"
                " ORDER BY backup_set_id",
            )
            ends = [row[1] for row in found]
            check(ends == sorted(ends), f"msdb is not in the order of the log: {found}")

    def check_chain(self) -> None:
        """The first full backup and all log backups bring back everything. Raises Violation."""
        with self.shop.made.cursor() as cursor:
            run(cursor, "BACKUP LOG day TO DISK = 'log.bak' WITH NOINIT, NAME = 'the last'")
            there = rows(cursor, "SELECT n FROM day.dbo.t ORDER BY n")
            moves = "MOVE 'day' TO 'chain.mdf', MOVE 'day_log' TO 'chain.ldf'"
            run(cursor, f"RESTORE DATABASE chain FROM DISK = 'full.bak' WITH REPLACE, NORECOVERY, {moves}")
            (first, *_) = named_rows(cursor, "RESTORE HEADERONLY FROM DISK = 'full.bak'")
            for header in named_rows(cursor, "RESTORE HEADERONLY FROM DISK = 'log.bak'"):
                if header["LastLSN"] > first["LastLSN"]:
                    position = header["Position"]
                    run(cursor, f"RESTORE LOG chain FROM DISK = 'log.bak' WITH FILE = {position}, NORECOVERY")
            run(cursor, "RESTORE DATABASE chain WITH RECOVERY")
            found = rows(cursor, "SELECT n FROM chain.dbo.t ORDER BY n")
            check(found == there, f"the chain brings back {len(found)} commits instead of {len(there)}")
            self.tally.add("chains restored to their end")

    def go_back(self, rng: random.Random) -> None:
        """To some of the moments. Raises Violation."""
        for moment in rng.sample(self.shown, min(MOST_RESTORED, len(self.shown))):
            with self.shop.made.cursor() as cursor:
                try:
                    run(
                        cursor,
                        "RESTORE DATABASE moment FROM DISK = 'full.bak' WITH REPLACE,"
                        f" STOPAT = '{moment.text}',"
                        " MOVE 'day' TO 'moment.mdf', MOVE 'day_log' TO 'moment.ldf'",
                    )
                except pytds.Error as error:
                    # Of before the backup, by the clock as it went then.
                    check(not moment.alone, f"STOPAT {moment.text}: {error}")
                    self.tally.add("moments refused that the clock showed twice")
                    continue
                ((count, last),) = rows(cursor, "SELECT COUNT(*), MAX(n) FROM moment.dbo.t")
            check(count == (last or 0), f"STOPAT {moment.text}: {count} commits up to {last}")
            if moment.alone:
                check(count == moment.count, f"STOPAT {moment.text}: {count} commits, not {moment.count}")
                self.tally.add("moments restored and compared")
            else:
                self.tally.add("moments restored that the clock showed twice")


def jumps(plan: Plan) -> Iterator[tuple[Operation, Fault]]:
    """Of operation and jump, in an order that the seed decides."""
    made = [(operation, jump) for operation in OPERATIONS if operation.name in NAMES for jump in JUMPS]
    random.Random(f"{plan.seed} clock").shuffle(made)
    return iter(made[: max(1, round(len(made) * plan.share))])


def jump_often(made: Product, control: FaultControl, plan: Plan, end: float, tally: Tally) -> None:
    """The product runs with the library, and has no databases yet. Raises Violation."""
    shop = Shop(made, control, tally)
    shop.build()
    clock = Clock(shop, tally)
    commit = next(operation for operation in OPERATIONS if operation.name == "commit")
    for operation, jump in jumps(plan):
        tally.add("pairs of operation and jump of the clock")
        for place in PLACES:
            if time.monotonic() > end:
                print("no time left for all jumps of the clock", flush=True)
                break
            shop.do(commit)
            clock.note()
            shop.do(commit)
            if not guarded(lambda: shop.case(operation, jump, place), tally):  # noqa: B023
                break
            guarded(lambda: clock.check_order() or True, tally)
    shop.do(commit)
    guarded(lambda: clock.check_chain() or True, tally)
    guarded(lambda: clock.go_back(random.Random(plan.seed)) or True, tally)
    for traceback in made.tracebacks():
        tally.violated(f"in the logs: {traceback}")

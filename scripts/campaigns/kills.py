"""SIGKILL of keeper, listener, both or a client at random moments, under load: nothing acknowledged is lost.

Several sessions commit, one of them from a process of its own, while backups of each kind, restores,
checkpoints and retention run. After each kill everything is looked at; each backup set on each medium must
verify. What was committed at certain moments is kept, and restored later: by STOPAT, and compared exactly.
A case is a kill. What it does follows from the seed and its number.
"""

from __future__ import annotations

import json
import random
import time
from dataclasses import dataclass, field
from typing import Any

from scripts.campaigns.kill import check_unharmed, settle_after
from scripts.campaigns.kill_model import BankContent, SetRecord, Span
from scripts.campaigns.kill_statements import FULLS, Operation, backup, restore_as, statement
from scripts.campaigns.kill_world import World
from scripts.campaigns.kill_writers import Visitor
from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import LOST, PATIENCE, product, rows, run
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import ServeOptions
from tdsproxy.cli.shell import run_statement

TARGETS = ("keeper", "keeper", "listener", "both", "client", "client")
KINDS = (*FULLS, "log", "log", "dif", "new", "over", "over", "chain", "chaindif", "now", "pages")
SIDE_KINDS = ("", "", "checkpoint", "churn", "retention", "retention")
"""What runs beside these."""
MOST_MOMENTS = 30
KEPT = 2
"""Backups of ``cellar`` that retention keeps."""


@dataclass(frozen=True, slots=True)
class RecordedMoment:
    """What ``bank`` held, exactly, at a time of the server's clock."""

    time: str
    content: BankContent


@dataclass
class Retention(Operation):
    """A backup of ``cellar`` on a medium of its own, and the deletion of those that need not stay."""

    world: KillsWorld | None = None
    medium: str = ""

    def perform(self, connection: Any) -> None:
        assert self.world is not None
        try:
            super().perform(connection)
            if self.error is None:
                self.world.cellar.append(self.medium)
                self.world.retain()
        except (CommandError, OSError) as error:
            self.error = error


@dataclass
class KillsWorld(World):
    """With a client that is a process, moments to go back to, and a database whose backups come and go."""

    moments: list[RecordedMoment] = field(default_factory=list)
    cellar: list[str] = field(default_factory=list)
    """The media of its acknowledged backups, in order."""
    shelved: int = 0

    def build(self) -> None:
        super().build()
        self.hold()
        self.bank.append(Visitor(self.product, len(self.bank)))
        self.bank[-1].start()
        with self.product.cursor() as cursor:
            run(cursor, "CREATE DATABASE cellar")
            run(cursor, "CREATE TABLE cellar.dbo.bottle (n int PRIMARY KEY)")
        # Whose spans say nothing of the new writer.
        for kind in ("base", "log", "dif", *FULLS):
            self.perform(backup(self, "bank", kind))
        self.settle()

    @property
    def visitor(self) -> Visitor:
        found = self.bank[-1]
        assert isinstance(found, Visitor)
        return found

    # ------------------------------------------------------------------ statements

    def side_statement(self, kind: str) -> Operation:
        if kind == "checkpoint":
            return Operation("CHECKPOINT", ["USE bank", "CHECKPOINT"])
        if kind == "churn":
            return Operation("UPDATE of all pages", ["UPDATE bank.dbo.page SET body = body"])
        self.shelved += 1
        medium = f"cellar-{self.shelved}.bak"
        texts = [
            f"INSERT INTO cellar.dbo.bottle VALUES ({self.shelved})",
            f"BACKUP DATABASE cellar TO DISK = N'{medium}' WITH INIT",
        ]
        return Retention("retention", texts, world=self, medium=medium)

    def retain(self) -> None:
        """Retention of ``cellar``. Raises CommandError, OSError."""
        values = {"@a1": "0", "@a2": "cellar", "@a3": json.dumps({"count": KEPT})}
        run_statement(ServeOptions(store=self.product.store), "EXEC sp_retention @a1, @a2, @a3", values)

    # ------------------------------------------------------------------ checks; while held

    def settle(self) -> None:
        # Not those alone that were written to: none may be harmed by anything.
        self._touched.update(self.media)
        super().settle()
        with self.product.cursor() as cursor:
            self._check_cellar(cursor)

    def _check_now(self, cursor: Any) -> None:
        """Later: ``go_back``."""

    def remember(self) -> None:
        """This moment is one to go back to."""
        with self.product.cursor() as cursor:
            ((now,),) = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
        # A commit that was cut off is of before this moment, too, if it comes back.
        exact = BankContent({w.writer: Span(w.number, w.possible) for w in self.bank})
        self.moments = [*self.moments, RecordedMoment(now, exact)][-MOST_MOMENTS:]

    def go_back(self) -> None:
        """To one of the moments, or to now. Raises Violation."""
        self.remember()
        moment = self.rng.choice([self.moments[-1], *self.moments])
        with self.product.cursor() as cursor:
            run(cursor, f"{restore_as('scratch', 'base.bak', 1, 'bank')}, STOPAT = N'{moment.time}'")
            self.check_restored(cursor, "scratch", SetRecord(moment.time, "bank", moment.content))
        self.check_logs()

    def check_chain_of_media(self) -> None:
        """There is a new base afterwards: what was before is out of its reach."""
        super().check_chain_of_media()
        self.moments.clear()

    def _check_cellar(self, cursor: Any) -> None:
        """The newest acknowledged backup stays, whatever became of retention. Others may have had to go:
        a backup can be whole, and newer than they, although nobody was told of it."""
        for medium in self.cellar[-1:]:
            run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'{medium}'")

    def finish_retention(self) -> None:
        """What a killed run began the next one ends. Raises Violation."""
        self.perform(self.side_statement("retention"))
        with self.product.cursor() as cursor:
            known = rows(
                cursor,
                "SELECT f.physical_device_name FROM msdb.dbo.backupset s JOIN msdb.dbo.backupmediafamily f"
                " ON f.media_set_id = s.media_set_id WHERE s.database_name = 'cellar'",
            )
            names = {str(row[0]).rpartition("/")[2] for row in known}
            least = min(KEPT, len(self.cellar))
            check(least <= len(names) <= KEPT, f"retention keeps {sorted(names)} of cellar")
            check(len(known) == len(names), f"msdb knows {sorted(known)} of cellar")
            check(self.cellar[-1] in names, f"retention keeps {sorted(names)}, not {self.cellar[-1]}")
            for name in names:
                run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'{name}'")


def operations_of(world: KillsWorld) -> list[Operation]:
    """One, or two that have neither database nor medium in common, and something beside them."""
    rng = world.rng
    made = [statement(world, rng.choice(KINDS))]
    if rng.random() < 0.4:
        database = "bank" if "victim" in made[0].sql else "victim"
        free = [name for name in ("init", "format") if f"N'{name}.bak'" not in made[0].sql]
        made.append(backup(world, database, rng.choice(free)))
    side = rng.choice(SIDE_KINDS)
    return [*made, world.side_statement(side)] if side else made


def one_kill(world: KillsWorld, tally: Tally, took: dict[str, float]) -> None:
    """The world is held before and after. Raises Violation."""
    rng, made = world.rng, world.product
    operations = operations_of(world)
    target = rng.choice(TARGETS)
    # In the middle of what runs, on a slow machine, too.
    expected = max(took.get(operation.name, 0.2) for operation in operations)
    pause = rng.uniform(0, 1.1) * expected
    threads = world.launch(operations)
    time.sleep(pause)
    kill(world, target)
    for thread, operation in zip(threads, operations, strict=True):
        thread.join(PATIENCE)
        check(not thread.is_alive(), f"kill of {target}: {operation.sql} hangs")
        if operation.error is None and operation.ended is not None:
            spent = operation.ended - operation.began
            took[operation.name] = 0.7 * took.get(operation.name, spent) + 0.3 * spent
    tally.add(f"kills of {target}")
    for operation in operations:
        tally.add(f"{operation.name.split()[0]} {'broken off' if operation.error is not None else 'done'}")
    world.hold()
    if target in ("keeper", "client"):
        # The listener's sessions go on: nothing of theirs may fail but the statement itself.
        for operation in operations:
            check(operation.usable_after, f"the session of {operation.sql} was lost with the {target}")
            whole = target == "keeper" or operation.error is None
            check(whole, f"{operation.sql} failed with another client's death: {operation.error!r}")
        check_unharmed(world, f"kill of {target}")
    else:
        made.start()
        world.disconnect()
    if target == "client":
        world.visitor.forget_process()
    settle_after(world, operations, keeper_lived=target == "listener")


def kill(world: KillsWorld, target: str) -> None:
    made = world.product
    if target == "client":
        world.visitor.kill()
    if target in ("keeper", "both"):
        made.kill_keeper()
    if target in ("listener", "both"):
        made.kill_listener()


def kill_often(world: KillsWorld, plan: Plan, tally: Tally) -> None:
    """As many as the plan says, in its time. Raises Violation."""
    took: dict[str, float] = {}
    for number in range(plan.cases):
        if tally.seconds > plan.seconds * 0.8:
            print(f"no time left for {plan.cases - number} of {plan.cases} kills")
            break
        world.rng = random.Random(f"{plan.seed} {number}")
        print(f"{tally.seconds:.0f} s: kill {number}", flush=True)
        if number % 7 == 0:
            world.new_version("victim")
        one_kill(world, tally, took)
        tally.add("kills")
        if number % 3 == 0:
            world.go_back()
            tally.add("moments restored and compared")
        else:
            world.remember()
        if number % 8 == 7:
            world.try_anew()
        if number % 10 == 9:
            world.finish_retention()


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    with product() as made:
        made.start()
        world = KillsWorld(made, random.Random(plan.seed))
        try:
            world.build()
            kill_often(world, plan, tally)
            tally.add("sets restored at the end", world.restore_all())
            tally.add("acknowledged commits", acknowledged(world))
            check(not world.leftovers(), f"files are left: {world.leftovers()}")
            for traceback in made.tracebacks():
                tally.violated(f"in the logs: {traceback}")
        except (Violation, *LOST):
            for line in made.log_text().splitlines()[-60:]:
                print(f"   log: {line}")
            raise
        finally:
            made.kill_everything()
            world.stop()


def acknowledged(world: KillsWorld) -> int:
    return sum(writer.acknowledged for writer in world.bank) + world.late.acknowledged

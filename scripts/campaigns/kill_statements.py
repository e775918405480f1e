"""The statements of the kill campaign: backups of each kind, and restores through them."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytds

from scripts.campaigns.kill_model import BankContent, Medium, SetRecord, Span, VictimContent
from scripts.campaigns.product import LOST, rows, run

if TYPE_CHECKING:
    from scripts.campaigns.kill_world import World

FULLS = ("append", "init", "format")
"""Media of full backups of any of the two databases; of ``bank`` they are COPY_ONLY."""
BACKUPS = {
    "append": "DATABASE {database} TO DISK = N'{medium}' WITH {init}",
    "init": "DATABASE {database} TO DISK = N'{medium}' WITH INIT",
    "format": "DATABASE {database} TO DISK = N'{medium}' WITH FORMAT, INIT",
    "base": "DATABASE bank TO DISK = N'{medium}' WITH INIT",
    "dif": "DATABASE bank TO DISK = N'{medium}' WITH DIFFERENTIAL, INIT",
    "log": "LOG bank TO DISK = N'{medium}' WITH {init}",
    "plain": "DATABASE plain TO DISK = N'{medium}' WITH INIT",
    "plaindif": "DATABASE plain TO DISK = N'{medium}' WITH DIFFERENTIAL, INIT",
}
"""By medium; each is written in one way only."""
RESTORES = ("new", "over", "overopen", "chain", "chaindif", "now", "plainchain", "pages")
MOST_SETS = 5
READER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
print("open", flush=True)
sys.stdin.read()
"""


@dataclass
class Operation:
    """Statements on their way, one after the other. ``error`` None after the thread's end: all were
    acknowledged."""

    name: str
    statements: Sequence[str]
    begin: Callable[[], None] = lambda: None
    finish: Callable[[], None] = lambda: None
    began: float = 0.0
    ended: float | None = None
    error: BaseException | None = None
    usable_after: bool = False

    @property
    def sql(self) -> str:
        return "; ".join(self.statements)

    def perform(self, connection: Any) -> None:
        """Runs it on a connection of its own, which it closes. An error must leave it to be used."""
        try:
            with connection:
                cursor = connection.cursor()
                self.began = time.monotonic()
                try:
                    for statement in self.statements:
                        run(cursor, statement)
                    self.ended = time.monotonic()
                except pytds.Error as error:
                    self.error = error
                self.usable_after = rows(cursor, "SELECT 41 + 1") == [(42,)]
        except LOST as error:
            self.error = self.error or error
        finally:
            self.finish()


def statement(world: World, kind: str) -> Operation:
    """One of the kinds of statement, on what there is."""
    if kind in BACKUPS:
        return backup(world, world.rng.choice(["bank", "victim"]), kind)
    made: dict[str, Callable[[World], Operation]] = {
        "new": restore_new,
        "over": restore_over,
        "overopen": restore_over_open,
        "chain": restore_chain,
        "chaindif": lambda world: restore_differential(world, "base", "dif"),
        "plainchain": lambda world: restore_differential(world, "plain", "plaindif"),
        "now": restore_now,
        "pages": restore_pages,
    }
    return made[kind](world)


def bank_now(world: World) -> BankContent:
    """What a copy of ``bank`` taken from now on holds, as long as nobody writes."""
    return BankContent({w.writer: Span(w.acknowledged, w.possible) for w in world.bank})


def backup(world: World, database: str, kind: str) -> Operation:
    """BACKUP on the medium of this name; ``database`` counts for full backups only."""
    medium = world.media[kind]
    if kind not in FULLS:
        database = "plain" if kind.startswith("plain") else "bank"
    world.serial += 1
    label = f"{database}-{kind}-{world.serial}"
    init = "INIT" if len(medium.sets) >= MOST_SETS and kind == "append" else "NOINIT"
    text = BACKUPS[kind].format(database=database, medium=medium.name, init=init)
    if database == "bank" and kind in FULLS:
        text += ", COPY_ONLY"
    content: BankContent | VictimContent = world.victim
    if database == "bank":
        content = bank_now(world)
    elif database == "plain":
        content = world.plain
    record = SetRecord(label, database, content)

    def begin() -> None:
        medium.begin(record, replaces="NOINIT" not in text)

    words = text.partition(" WITH ")[2] if kind in FULLS else kind
    return Operation(f"BACKUP {words}", [f"BACKUP {text}, NAME = N'{label}'"], begin)


def any_set(world: World, database: str | None = None) -> tuple[Medium, int, SetRecord]:
    """One of the acknowledged full sets and its position; made when chance has left none of ``database``.
    Only while held."""
    found = [
        (world.media[name], position, record)
        for name in FULLS
        for position, record in enumerate(world.media[name].sets, 1)
        if database is None or record.database == database
    ]
    if not found:
        world.perform(backup(world, database or "victim", "append"))
        return any_set(world, database)
    return world.rng.choice(found)


def restore_over(world: World) -> Operation:
    """RESTORE of a set of ``victim`` over it, while it is written to."""
    medium, position, record = any_set(world, "victim")
    assert isinstance(record.content, VictimContent)
    content = record.content
    text = f"RESTORE DATABASE victim FROM DISK = N'{medium.name}' WITH FILE = {position}, REPLACE"
    operation = Operation("RESTORE over", [text])

    def begin() -> None:
        world.victim_restore = (operation, content)

    operation.begin = begin
    return operation


def restore_over_open(world: World) -> Operation:
    """The same while another process has the file open, which is therefore not replaced by a rename."""
    operation = restore_over(world)
    begin = operation.begin
    readers: list[subprocess.Popen[str]] = []

    def open_and_begin() -> None:
        reader = subprocess.Popen(
            [sys.executable, "-c", READER, str(world.product.store / "victim.db")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        readers.append(reader)
        assert reader.stdout is not None
        reader.stdout.readline()
        begin()

    def finish() -> None:
        for reader in readers:
            reader.kill()
            reader.communicate(timeout=60)

    operation.name, operation.begin, operation.finish = "RESTORE overopen", open_and_begin, finish
    return operation


def _fresh(world: World, name: str, kind: str, statements: Sequence[str], record: SetRecord) -> Operation:
    operation = Operation(f"RESTORE {kind}", statements)

    def begin() -> None:
        world.fresh = (name, record, operation)

    operation.begin = begin
    return operation


def _new_name(world: World) -> str:
    world.serial += 1
    return f"fresh{world.serial}"


def restore_new(world: World) -> Operation:
    """RESTORE of any full set under a name that is free."""
    medium, position, record = any_set(world)
    name = _new_name(world)
    text = restore_as(name, medium.name, position, record.database)
    return _fresh(world, name, "new", [text], record)


def restore_chain(world: World, name: str = "") -> Operation:
    """The base of ``bank`` and all log backups behind it."""
    name = name or _new_name(world)
    base, logs = world.media["base"].sets[0], world.media["log"].sets
    end = world.headers[base.label]["LastLSN"]
    steps, last = [restore_as(name, "base.bak", 1, "bank")], base
    for position, record in enumerate(logs, 1):
        # A set that nobody was told of is whole all the same, and the next one begins where it begins.
        if world.headers[record.label]["LastLSN"] > end:
            steps.append(f"RESTORE LOG {name} FROM DISK = N'log.bak' WITH FILE = {position}")
            end, last = world.headers[record.label]["LastLSN"], record
    return _fresh(world, name, "chain", _unrecovered(steps), last)


def restore_differential(world: World, base_medium: str, medium: str) -> Operation:
    """A full backup and, if it is the base of the differential one, both."""
    name = _new_name(world)
    base, found = world.media[base_medium].sets[0], world.media[medium].sets
    steps, last = [restore_as(name, f"{base_medium}.bak", 1, base.database)], base
    if found:
        of = world.headers[found[0].label]["DifferentialBaseGUID"]
        if of == world.headers[base.label]["BackupSetGUID"]:
            steps.append(f"RESTORE DATABASE {name} FROM DISK = N'{medium}.bak' WITH FILE = 1")
            last = found[0]
    return _fresh(world, name, "differential", _unrecovered(steps), last)


def restore_now(world: World, name: str = "") -> Operation:
    """One statement that brings back ``bank`` as it is at this moment, while nobody writes yet."""
    name = name or _new_name(world)
    with world.product.cursor() as cursor:
        ((now,),) = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")
    text = f"{restore_as(name, 'base.bak', 1, 'bank')}, STOPAT = N'{now}'"
    return _fresh(world, name, "STOPAT", [text], SetRecord("now", "bank", bank_now(world)))


def restore_pages(world: World) -> Operation:
    """Some pages of ``bank``, which is in use, and which they leave as it is."""
    pages = ", ".join(f"1:{world.rng.randrange(2, 400)}" for _ in range(3))
    text = f"RESTORE DATABASE bank PAGE = '{pages}' FROM DISK = N'base.bak' WITH FILE = 1"
    return Operation("RESTORE pages", [text])


def _unrecovered(steps: Sequence[str]) -> list[str]:
    """All but the last with NORECOVERY."""
    return [*(f"{step}, NORECOVERY" for step in steps[:-1]), steps[-1]]


def restore_as(name: str, medium: str, position: int, database: str) -> str:
    """RESTORE under another name, over what may be there."""
    return (
        f"RESTORE DATABASE {name} FROM DISK = N'{medium}' WITH FILE = {position}, REPLACE,"
        f" MOVE N'{database}' TO N'/var/opt/mssql/data/{name}.mdf',"
        f" MOVE N'{database}_log' TO N'/var/opt/mssql/data/{name}.ldf'"
    )

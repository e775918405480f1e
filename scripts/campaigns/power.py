"""The power is cut after every sync of a scripted day: what the disk kept serves, and no answer was a lie.

One day of the product's life runs in its real processes, while a recorder keeps, after each sync, what a
power cut at that instant would leave: once exactly what is durable, once that and a part of what was still on
its way. Later the product is started over each of these remains and asked about everything that had been
acknowledged by then. A case is a cut.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.power_disk import Disk, Recorder, build_shim, compiler
from scripts.campaigns.product import LOST, Product, integrity, named_rows, product, rows, run, until

VICTIM_ROWS = 40
_PASSWORD = "Keys-of-4-days"


@dataclass(frozen=True, slots=True)
class Known:
    """What a client knows at a moment: ``commits`` of database day are there for certain, ``begun`` at most;
    the victim has one of ``versions``; ``sets`` are the acknowledged backup sets on each medium, by name, and
    ``unsure`` are media that a statement is changing; ``things`` are queries that count one."""

    commits: int = 0
    begun: int = 0
    versions: tuple[int, ...] = ()
    sets: dict[str, tuple[str, ...]] = field(default_factory=dict)
    held: dict[str, tuple[int, int]] = field(default_factory=dict)
    unsure: frozenset[str] = frozenset()
    newest: int = 0
    """The highest version that the victim may ever have had."""
    databases: tuple[str, ...] = ()
    things: tuple[str, ...] = ()


@dataclass
class Day:
    """The statements, and what is known after each."""

    product: Product
    known: Known = field(default_factory=Known)

    def run(self, sql: str) -> None:
        with self.product.cursor() as cursor:
            run(cursor, sql)

    def thing(self, sql: str, query: str) -> None:
        self.run(sql)
        self.known = replace(self.known, things=(*self.known.things, query))

    def commit(self, count: int) -> None:
        """So many commits in ``day``, one row each."""
        with self.product.cursor(database="day") as cursor:
            for _ in range(count):
                number = self.known.begun + 1
                self.known = replace(self.known, begun=number)
                run(cursor, f"INSERT INTO t VALUES ({number}, REPLICATE('x', 300))")
                self.known = replace(self.known, commits=number)

    def backup(self, what: str, media: Sequence[str], label: str, options: str = "NOINIT") -> None:
        """One backup; it holds what was committed by now."""
        self.known = replace(self.known, unsure=self.known.unsure | set(media))
        places = ", ".join(f"DISK = '{name}'" for name in media)
        self.run(f"BACKUP {what} TO {places} WITH NAME = '{label}', {options}")
        anew = "NOINIT" not in options
        before = () if anew else self.known.sets.get(media[0], ())
        sets = self.known.sets | dict.fromkeys(media, (*before, label))
        held = self.known.held | {label: (self.known.commits, self.known.begun)}
        self.known = replace(self.known, sets=sets, held=held, unsure=self.known.unsure - set(media))

    def version(self, version: int) -> None:
        versions = (*self.known.versions, version)
        self.known = replace(self.known, versions=versions, newest=max(versions))
        self.run(f"UPDATE victim.dbo.page SET version = {version}")
        self.known = replace(self.known, versions=(version,))

    def restore_victim(self, sql: str, version: int) -> None:
        self.known = replace(self.known, versions=(*self.known.versions, version))
        self.run(sql)
        self.known = replace(self.known, versions=(version,))

    # ------------------------------------------------------------------ the day

    def begin(self) -> None:
        self.run("CREATE DATABASE day")
        self.run("CREATE TABLE day.dbo.t (n int PRIMARY KEY, body varchar(400))")
        self.run("CREATE DATABASE victim")
        self.run("CREATE TABLE victim.dbo.page (id int PRIMARY KEY, version int, body varchar(4000))")
        values = ", ".join(f"({number}, 0, REPLICATE('b', 4000))" for number in range(VICTIM_ROWS))
        self.run(f"INSERT INTO victim.dbo.page VALUES {values}")
        self.known = replace(self.known, databases=("day", "victim"), versions=(0,))

    def go_on(self) -> None:
        self.commit(4)
        self.backup("DATABASE day", ["full.bak"], "full 1", "INIT")
        self.commit(3)
        self.backup("LOG day", ["log.bak"], "log 1", "INIT")
        self.thing(
            "CREATE LOGIN operator1 WITH PASSWORD = 'Pass-word-9'",
            "SELECT COUNT(*) FROM sys.server_principals WHERE name = 'operator1'",
        )
        self.backup("DATABASE victim", ["left.bak", "right.bak"], "stripes", "INIT, COMPRESSION")
        self.version(1)
        self.commit(3)
        self.backup("DATABASE day", ["full.bak"], "difference", "NOINIT, DIFFERENTIAL")
        self.backup("LOG day", ["log.bak"], "log 2")
        self.restore_victim(
            "RESTORE DATABASE victim FROM DISK = 'left.bak', DISK = 'right.bak' WITH REPLACE", 0
        )
        self.version(2)
        self.run("CHECKPOINT")
        self.thing(
            "EXEC sp_addumpdevice 'disk', 'shelf', 'shelf.bak'",
            "SELECT COUNT(*) FROM sys.backup_devices WHERE name = 'shelf'",
        )
        self.backup("DATABASE day", ["again.bak"], "again 1", "INIT")
        self.backup("DATABASE day", ["again.bak"], "again 2", "FORMAT, COMPRESSION")
        self.commit(3)
        self.run(f"CREATE MASTER KEY ENCRYPTION BY PASSWORD = '{_PASSWORD}'")
        self.thing(
            "CREATE CERTIFICATE seal WITH SUBJECT = 'seal'",
            "SELECT COUNT(*) FROM sys.certificates WHERE name = 'seal'",
        )
        self.backup(
            "DATABASE day",
            ["sealed.bak"],
            "sealed",
            "INIT, ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = seal)",
        )
        self.run(
            "RESTORE DATABASE copy FROM DISK = 'full.bak' WITH NORECOVERY,"
            " MOVE 'day' TO 'copy.mdf', MOVE 'day_log' TO 'copy.ldf'"
        )
        self.run("RESTORE DATABASE copy FROM DISK = 'full.bak' WITH FILE = 2, NORECOVERY")
        self.run("RESTORE LOG copy FROM DISK = 'log.bak' WITH FILE = 2, RECOVERY")
        self.run("DROP DATABASE copy")
        self.run("ALTER DATABASE victim SET RECOVERY SIMPLE")
        self.run("DBCC SHRINKDATABASE (victim)")
        self.backup("DATABASE victim", ["simple.bak"], "simple", "INIT")
        self.version(3)
        self.restore_victim("RESTORE DATABASE victim FROM DISK = 'simple.bak' WITH REPLACE", 2)
        self.commit(3)
        self.backup("LOG day", ["log.bak"], "log 3")


@dataclass(frozen=True, slots=True)
class Remains:
    """What a cut left, and what was known."""

    number: int
    kind: str
    place: Path
    known: Known

    @property
    def name(self) -> str:
        return f"cut {self.number}, {self.kind}"


def record(made: Product, plan: Plan) -> tuple[list[Remains], Disk]:
    """Runs the day; the remains of the cuts that are to be tried."""
    directory = made.directory
    library = build_shim(directory)
    pool = directory / "pool"
    pool.mkdir()
    made.store.mkdir(mode=0o700)
    day = Day(made)
    found: list[Remains] = []
    every = max(1, round(1 / plan.share))
    first = random.Random(plan.seed).randrange(every)

    def cut(number: int) -> None:
        if number % every != first:
            return
        rng = random.Random(f"{plan.seed} {number}")
        for kind, choices in (("durable alone", None), ("some more", rng)):
            target = directory / "remains" / f"{number}-{kind.split()[0]}"
            disk.leave(target, choices)
            found.append(Remains(number, kind, target, day.known))

    disk = Disk(made.store, cut, pool=pool)
    recorder = Recorder(disk, directory / "recorder")
    try:
        made.start(**recorder.environment(library))
        day.begin()
        day.go_on()
    finally:
        made.kill_everything()
        recorder.close()
    if recorder.failure is not None:
        raise recorder.failure
    disk.take_all()
    return found, disk


# ---------------------------------------------------------------------- what must hold


def examine(made: Product, disk: Disk, remains: Remains, tally: Tally) -> None:
    """Starts the product over the remains and asks. Raises Violation."""
    disk.put_back(remains.place)
    made.forget_logs()
    try:
        try:
            made.start()
        except AssertionError as error:
            raise Violation(f"{remains.name}: the server does not start: {str(error)[-600:]}") from error
        try:
            with made.cursor() as cursor:
                _examine(made, cursor, remains.known, tally)
        except (*LOST, Violation) as error:
            raise Violation(f"{remains.name}: {error}") from error
        for traceback in made.tracebacks():
            raise Violation(f"{remains.name}: in the logs: {traceback}")
    finally:
        made.kill_everything()


def _examine(made: Product, cursor: Any, known: Known, tally: Tally) -> None:
    _databases(made, cursor, known)
    for query in known.things:
        check(rows(cursor, query) == [(1,)], f"not 1: {query}")
    _media(cursor, known, tally)
    _history(made, cursor, known)
    if "day" in known.databases:
        _chain(cursor, known, tally)


def _databases(made: Product, cursor: Any, known: Known) -> None:
    if not known.databases:
        return
    names = ", ".join(f"'{name}'" for name in known.databases)

    def online() -> bool:
        text = f"SELECT name FROM sys.databases WHERE state = 0 AND name IN ({names})"
        return len(rows(cursor, text)) == len(known.databases)

    check(until(online, 30), f"not online: {rows(cursor, 'SELECT name, state_desc FROM sys.databases')}")
    _commits(cursor, "day", known.commits, None)
    found = rows(cursor, "SELECT COUNT(*), MIN(version), MAX(version) FROM victim.dbo.page")[0]
    check(
        found[0] == VICTIM_ROWS and found[1] == found[2] and found[1] in known.versions,
        f"victim: {found} instead of a version of {known.versions}",
    )
    paths = [made.file(name) for name in (*known.databases, "master", "msdb")]
    answers = integrity(paths)
    check(set(answers) == {"ok"}, f"integrity_check: {answers}")


def _commits(cursor: Any, database: str, low: int, high: int | None) -> int:
    """How many; they are 1 to n without a hole."""
    count, last = rows(cursor, f"SELECT COUNT(*), MAX(n) FROM {database}.dbo.t")[0]
    check(count == (last or 0), f"{database}: {count} commits up to {last}")
    check(
        low <= count and (high is None or count <= high),
        f"{database}: {count} commits instead of {low} to {high}",
    )
    return int(count)


def _media(cursor: Any, known: Known, tally: Tally) -> None:
    for medium, labels in known.sets.items():
        if medium in known.unsure:
            continue
        family = [name for name, others in known.sets.items() if others == labels]
        places = ", ".join(f"DISK = '{name}'" for name in sorted(family) if labels[0] == "stripes") or (
            f"DISK = '{medium}'"
        )
        found = [row["BackupName"] for row in named_rows(cursor, f"RESTORE HEADERONLY FROM {places}")]
        check(found == list(labels), f"{medium} holds {found} instead of {labels}")
        for position in range(1, len(labels) + 1):
            run(cursor, f"RESTORE VERIFYONLY FROM {places} WITH FILE = {position}")
            tally.add("sets verified")
    for medium, label in (("full.bak", "full 1"), ("again.bak", "again 2"), ("sealed.bak", "sealed")):
        if medium in known.unsure or label not in known.sets.get(medium, ()):
            continue
        run(
            cursor,
            f"RESTORE DATABASE scratch FROM DISK = '{medium}' WITH REPLACE,"
            " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
        )
        _commits(cursor, "scratch", *known.held[label])
        run(cursor, "DROP DATABASE scratch")
        tally.add("sets restored")


_HISTORY = (
    "SELECT s.name, s.type, s.database_name, s.position, s.first_lsn, s.last_lsn, s.checkpoint_lsn,"
    " s.database_backup_lsn, s.backup_size, s.compressed_backup_size, s.backup_finish_date, s.backup_set_uuid"
    " FROM msdb.dbo.backupset s WHERE s.name IS NOT NULL ORDER BY s.backup_finish_date, s.name"
)


def _history(made: Product, cursor: Any, known: Known) -> None:
    """msdb knows what was acknowledged, and says of it what the media say."""
    before = {row[0]: row for row in rows(cursor, _HISTORY)}
    missing = known.held.keys() - before.keys()
    check(not missing, f"acknowledged backups {sorted(missing)} are not in msdb")
    run(cursor, "EXEC msdb.dbo.sp_delete_backuphistory @oldest_date = '2100-01-01'")
    rebuild = [sys.executable, "-m", "tdsproxy", "catalog", "--rebuild", "--store", str(made.store)]
    done = subprocess.run(rebuild, capture_output=True, text=True, timeout=120, check=False)
    check(done.returncode == 0, f"catalog --rebuild: {done.stderr}")
    again = {row[0]: row for row in rows(cursor, _HISTORY)}
    for medium, labels in known.sets.items():
        if medium in known.unsure:
            continue
        for label in labels:
            check(label in again, f"the media do not bring back the history of {label}")
            check(again[label] == before[label], f"msdb: {before[label]}, from the media: {again[label]}")


def _chain(cursor: Any, known: Known, tally: Tally) -> None:
    """The log goes on, or says that it is broken; what a restore to now brings is what is there."""
    if "full 1" not in known.held:
        return
    now = _commits(cursor, "day", known.commits, None)
    try:
        run(cursor, "BACKUP LOG day TO DISK = 'after.bak' WITH INIT")
    except LOST as error:
        check("BACKUP LOG cannot be performed" in str(error), f"BACKUP LOG: {error}")
        tally.add("chains that say they are broken")
        return
    moment = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
    run(
        cursor,
        f"RESTORE DATABASE scratch FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{moment}',"
        " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
    )
    _commits(cursor, "scratch", now, now)
    tally.add("chains restored to their end")


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    if compiler() is None:
        print("power: not run, there is no C compiler for the library that tells of syncs", flush=True)
        return
    begun = time.monotonic()
    with product() as made:
        remains, disk = record(made, plan)
        tally.add("syncs", disk.syncs)
        # So that those for which there is time are of the whole day.
        random.Random(plan.seed).shuffle(remains)
        for one in remains:
            if time.monotonic() - begun > plan.seconds:
                left = len(remains) - tally.counts["cuts"]
                print(f"no time left for {left} of {len(remains)} remains", flush=True)
                break
            tally.add("cuts")
            try:
                examine(made, disk, one, tally)
            except Violation as violation:
                tally.violated(str(violation))
            shutil.rmtree(one.place)

"""A disk that lies: a sync says that it is done, and what it was to keep is gone after the power was cut.

What the disk lied about nothing can bring back. But no answer may be wrong: a database is a prefix of its
commits or is refused in a sentence that names it; a backup set restores what it held or is refused; the log
goes on or says that it is broken; what cannot be read does not keep the rest from serving. The day is that
of ``power``. A case is a cut of the power of one lying disk.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from scripts.campaigns.lying_disk import Liar, Liars
from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.power import VICTIM_ROWS, Day, Known
from scripts.campaigns.power_disk import Recorder, build_shim, compiler
from scripts.campaigns.product import LOST, Product, integrity, named_rows, product, rows, run, until

_ROWS: Final = (
    "SELECT COUNT(*), MAX(n), SUM(CASE WHEN body = REPLICATE('x', 300) THEN 0 ELSE 1 END) FROM {}.dbo.t"
)
_NO_TABLE: Final = 208
_RESTORED: Final = (("full.bak", "full 1"), ("again.bak", "again 2"), ("sealed.bak", "sealed"))


@dataclass(frozen=True, slots=True)
class Remains:
    """What the cut of a lying disk left, and what was known."""

    name: str
    place: Path
    known: Known


def record(made: Product, plan: Plan, tally: Tally) -> tuple[list[Remains], Liars]:
    """Runs the day; what is left of each disk that lied."""
    directory = made.directory
    library = build_shim(directory)
    pool = directory / "pool"
    pool.mkdir()
    made.store.mkdir(mode=0o700)
    day = Day(made)
    found: list[Remains] = []

    def cut(liar: Liar) -> None:
        place = directory / "remains" / str(len(found))
        liar.leave(place, None)
        found.append(Remains(liar.name, place, day.known))

    disk = Liars(made.store, pool=pool, on_cut=cut, rng=random.Random(plan.seed), share=plan.share)
    recorder = Recorder(disk, directory / "recorder")
    try:
        made.start(**recorder.environment(library))
        day.begin()
        day.go_on()
        _checkpoint_often(day)
    finally:
        made.kill_everything()
        recorder.close()
    if recorder.failure is not None:
        raise recorder.failure
    disk.cut_all()
    disk.take_all()
    tally.add("syncs", disk.syncs)
    for room, count in sorted(disk.lies.items()):
        tally.add(f"lies about {room}", count)
    random.Random(plan.seed).shuffle(found)
    return found, disk


def _checkpoint_often(day: Day) -> None:
    """What was in the WAL goes into the main files, and the WAL begins anew over what it held."""
    for version in range(4, 10):
        day.version(version)
        day.run("USE victim; CHECKPOINT")
        day.commit(2)
        day.run("USE day; CHECKPOINT")
        day.backup("LOG day", ["log.bak"], f"log {version}")


# ---------------------------------------------------------------------- what must hold


class Examination:
    """The product over what one lying disk left. Raises Violation."""

    def __init__(self, made: Product, known: Known, tally: Tally) -> None:
        self._made = made
        self._known = known
        self._tally = tally

    def run(self) -> None:
        self._made.forget_logs()
        try:
            self._made.start()
        except AssertionError as error:
            self._refused_start(str(error))
            return
        with self._made.cursor() as cursor:
            self._databases(cursor)
            self._things(cursor)
            self._media(cursor)
            self._chain(cursor)
            self._history(cursor)
        for traceback in self._made.tracebacks():
            raise Violation(f"in the logs: {traceback}")

    def _refused_start(self, text: str) -> None:
        """It may be that it can't start; then it says in a sentence of which file."""
        lines = [line for line in text.splitlines() if line.strip()]
        check("Traceback" not in text, f"it does not start: {text[-1500:]}")
        names = ("master.db", "msdb.db", "model.db", "service_master_key", "tls", "sa_password", "log")
        check(any(name in line for line in lines for name in names), f"it does not say why: {text[-600:]}")
        self._tally.add("starts refused by name")

    def _refused(self, error: Exception, *names: str) -> None:
        """Nothing is wrong with an error that says of what it is."""
        text = str(error)
        check("A severe error" not in text and not isinstance(error, OSError), f"an internal error: {error}")
        check(any(name.lower() in text.lower() for name in names), f"it names none of {names}: {error}")

    # ------------------------------------------------------------------ databases

    def _databases(self, cursor: Any) -> None:
        def settled() -> bool:
            return not rows(cursor, "SELECT name FROM sys.databases WHERE state IN (1, 2)")

        until(settled, 30)
        there = dict(rows(cursor, "SELECT name, state FROM sys.databases"))
        whole = []
        for name, examine in (("day", self._day), ("victim", self._victim)):
            if name not in there:
                self._tally.add("databases that are not there")
                continue
            try:
                examine(cursor)
                whole.append(name)
                self._tally.add("databases that are a prefix")
            except LOST as error:
                self._refused(error, name)
                self._tally.add("databases refused by name")
        answers = integrity([self._made.file(name) for name in whole])
        check(set(answers) <= {"ok"}, f"integrity_check of {whole}: {answers}")

    def _day(self, cursor: Any) -> None:
        self._prefix(cursor, "day", 0, self._known.begun)

    def _prefix(self, cursor: Any, database: str, low: int, high: int) -> int:
        """The commits are 1 to n without a hole, with the right content. Raises Violation, pytds.Error."""
        try:
            count, last, wrong = rows(cursor, _ROWS.format(database))[0]
        except LOST as error:
            if getattr(error, "number", None) != _NO_TABLE or low:
                raise
            return 0
        check(count == (last or 0) and not wrong, f"{database}: {count} commits up to {last}, {wrong} wrong")
        check(low <= count <= high, f"{database}: {count} commits instead of {low} to {high}")
        return int(count)

    def _victim(self, cursor: Any, database: str = "victim") -> None:
        try:
            count, low, high, wrong = rows(
                cursor,
                "SELECT COUNT(*), MIN(version), MAX(version),"
                f" SUM(CASE WHEN body = REPLICATE('b', 4000) THEN 0 ELSE 1 END) FROM {database}.dbo.page",
            )[0]
        except LOST as error:
            if getattr(error, "number", None) != _NO_TABLE:
                raise
            return
        if not count and "victim" not in self._known.databases:
            return
        is_one = count in (0, VICTIM_ROWS) and low == high and not wrong
        check(is_one, f"{database}: {count} rows of versions {low} to {high}, {wrong} wrong")
        check((low or 0) <= self._known.newest, f"{database} has version {low}")

    def _things(self, cursor: Any) -> None:
        for query in self._known.things:
            try:
                check(rows(cursor, query) in ([(1,)], [(0,)]), f"neither there nor not: {query}")
            except LOST as error:
                self._refused(error, "master", "msdb")

    # ------------------------------------------------------------------ media

    def _media(self, cursor: Any) -> None:
        for medium, labels in self._known.sets.items():
            family = [name for name, others in self._known.sets.items() if others == labels]
            places = ", ".join(f"DISK = '{name}'" for name in sorted(family) if labels[0] == "stripes") or (
                f"DISK = '{medium}'"
            )
            try:
                found = [row["BackupName"] for row in named_rows(cursor, f"RESTORE HEADERONLY FROM {places}")]
            except LOST as error:
                self._refused(error, *family, medium)
                self._tally.add("media refused by name")
                continue
            if medium not in self._known.unsure:
                strange = [label for label in found if label is not None and label not in self._known.held]
                check(not strange, f"{medium} holds {found}, of which {strange} never were")
            for position, label in enumerate(found, 1):
                self._set(cursor, medium, places, position, label)

    def _set(self, cursor: Any, medium: str, places: str, position: int, label: str | None) -> None:
        try:
            run(cursor, f"RESTORE VERIFYONLY FROM {places} WITH FILE = {position}")
        except LOST as error:
            self._refused(error, medium, *places.split("'")[1::2])
            self._tally.add("sets refused")
            return
        self._tally.add("sets verified")
        if (medium, label) not in _RESTORED or label is None:
            return
        try:
            run(
                cursor,
                f"RESTORE DATABASE scratch FROM {places} WITH REPLACE, FILE = {position},"
                " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
            )
        except LOST as error:
            # The certificate may be what the disk lied about.
            check(
                label == "sealed" and "certificate" in str(error), f"verified, not restored: {label}: {error}"
            )
            return
        low, high = self._known.held.get(label, (0, self._known.begun))
        self._prefix(cursor, "scratch", low, high)
        run(cursor, "DROP DATABASE scratch")
        self._tally.add("sets restored")

    # ------------------------------------------------------------------ the log, and msdb

    def _chain(self, cursor: Any) -> None:
        """What a restore to now brings is what is there, or it says why not."""
        if "full 1" not in self._known.held:
            return
        try:
            now = self._prefix(cursor, "day", 0, self._known.begun)
            run(cursor, "BACKUP LOG day TO DISK = 'after.bak' WITH INIT")
        except LOST as error:
            self._refused(error, "day", "BACKUP LOG cannot be performed")
            self._tally.add("chains that say they are broken")
            # A new one begins.
            self._afterwards(cursor)
            return
        moment = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
        try:
            run(
                cursor,
                f"RESTORE DATABASE scratch FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{moment}',"
                " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
            )
        except LOST as error:
            self._refused(error, "day", "scratch", "full.bak", "log")
            self._tally.add("restores refused")
            return
        self._prefix(cursor, "scratch", now, now)
        self._tally.add("chains restored to their end")

    def _afterwards(self, cursor: Any) -> None:
        """A full backup begins a new chain, if the database is there at all."""
        try:
            now = self._prefix(cursor, "day", 0, self._known.begun)
        except LOST:
            return
        for text in (
            "BACKUP DATABASE day TO DISK = 'anew.bak' WITH INIT",
            "BACKUP LOG day TO DISK = 'after.bak' WITH INIT",
            "RESTORE DATABASE scratch FROM DISK = 'anew.bak' WITH REPLACE, NORECOVERY,"
            " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
            "RESTORE LOG scratch FROM DISK = 'after.bak'",
        ):
            try:
                run(cursor, text)
            except LOST as error:
                raise Violation(f"no new chain begins: {text}: {error}") from error
        self._prefix(cursor, "scratch", now, now)
        self._tally.add("chains begun anew")

    def _history(self, cursor: Any) -> None:
        """msdb can be made again of the media that can be read."""
        try:
            run(cursor, "EXEC msdb.dbo.sp_delete_backuphistory @oldest_date = '2100-01-01'")
        except LOST as error:
            self._refused(error, "msdb")
            return
        rebuild = [sys.executable, "-m", "tdsproxy", "catalog", "--rebuild", "--store", str(self._made.store)]
        done = subprocess.run(rebuild, capture_output=True, text=True, timeout=120, check=False)
        check("Traceback" not in done.stderr, f"catalog --rebuild: {done.stderr[-600:]}")
        listed = {
            row[0] for row in rows(cursor, "SELECT name FROM msdb.dbo.backupset WHERE name IS NOT NULL")
        }
        if not self._known.unsure:
            check(
                listed <= self._known.held.keys(), f"msdb knows of {sorted(listed - self._known.held.keys())}"
            )


def examine(made: Product, disk: Liars, remains: Remains, tally: Tally) -> None:
    """Starts the product over the remains and asks. Raises Violation."""
    disk.put_back(remains.place)
    try:
        Examination(made, remains.known, tally).run()
    except (*LOST, Violation) as error:
        raise Violation(f"{remains.name}: {error}") from error
    finally:
        made.kill_everything()


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    if compiler() is None:
        print("lies: not run, there is no C compiler for the library that tells of syncs", flush=True)
        return
    end = time.monotonic() + plan.seconds
    with product() as made:
        remains, disk = record(made, plan, tally)
        # So that those for which there is time are of the whole day.
        random.Random(plan.seed).shuffle(remains)
        # However long the day has taken, some of its cuts are looked at.
        end = max(end, time.monotonic() + plan.seconds / 2)
        for one in remains:
            if time.monotonic() > end:
                print(f"no time left for {len(remains) - tally.counts['cuts']} of {len(remains)}", flush=True)
                break
            tally.add("cuts")
            try:
                examine(made, disk, one, tally)
            except Violation as violation:
                tally.violated(str(violation))
            shutil.rmtree(one.place)

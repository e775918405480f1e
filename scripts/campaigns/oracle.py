"""Random transactions, random backups in between, and random moments: each restored database is what the
journal of the transactions says, to the last commit at or before the moment."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.campaigns.oracle_chain import SCRIPT, Chain, Found, restore_all
from scripts.campaigns.oracle_model import SCHEMA, Action, Entry, Generator, Journal, tsql
from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import PATIENCE, Product, product, rows, run, until
from tdsproxy.commands.stop_points import time_text
from tdsproxy.log.archive import Archive

SESSIONS = 4
MOMENTS_PER_TRANSACTION = 0.1
BACKUP_EVERY = 25
"""Transactions."""
GAP_NS = 25_000_000
"""So long must nothing have been committed around a moment, by processes of others."""
EXACT_NS = 12_000_000
DISTURB = Path(__file__).resolve().parent.parent.parent / "tests" / "log" / "workload.py"
HOSTILE = "PASSIVE,FULL,RESTART,TRUNCATE,READ"


# ---------------------------------------------------------------------------- sessions of the server


class Session(threading.Thread):
    """Random transactions of one connection; ``entries`` is its journal."""

    def __init__(self, made: Product, number: int, count: int, seed: int) -> None:
        super().__init__(name=f"session {number}", daemon=True)
        self._connection = made.connect(database="x")
        self._rng = random.Random(seed)
        self._generator = Generator(number, self._rng)
        self._count = count
        self.entries: list[Entry] = []
        self.rolled_back = 0
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            cursor = self._connection.cursor()
            while len(self.entries) < self._count:
                self._transaction(cursor)
                if self._rng.random() < 0.004:
                    run(cursor, "DBCC SHRINKDATABASE (x)")
        except Exception as error:  # noqa: BLE001 - handed over to the campaign's thread
            self.error = error
        finally:
            self._connection.close()

    def _transaction(self, cursor: Any) -> None:
        rng = self._rng
        actions = self._generator.transaction()
        run(cursor, "BEGIN TRAN; UPDATE dbo.seq SET n = n + 1")
        ((number,),) = rows(cursor, "SELECT n FROM dbo.seq")
        done: list[Action] = []
        for action in actions:
            if rng.random() < 0.15:
                run(cursor, f"SAVE TRAN s; {tsql(action)}; ROLLBACK TRAN s")
            else:
                run(cursor, tsql(action))
                done.append(action)
        if rng.random() < 0.1:
            run(cursor, "ROLLBACK")
            self.rolled_back += 1
            return
        before = time.time_ns()
        run(cursor, "COMMIT")
        self.entries.append(Entry(number, before, time.time_ns(), tuple(done)))
        self._generator.committed(done)


def by_sessions(
    made: Product, rng: random.Random, count: int, moments: int, tally: Tally, end: float
) -> None:
    """Several connections to the server: exact at any moment. Raises Violation."""
    with made.cursor() as cursor:
        run(cursor, "CREATE DATABASE x")
        for text in SCHEMA:
            run(cursor, text.replace("TABLE ", "TABLE x.dbo.").replace("INTO ", "INTO x.dbo."))
        chain = Chain(made, "x", rng)
        chain.back_up(cursor, "D", tally)
        sessions = [
            Session(made, number, -(-count // SESSIONS), rng.randrange(1 << 30))
            for number in range(1, SESSIONS + 1)
        ]
        for session in sessions:
            session.start()

        def done() -> int:
            return sum(len(session.entries) for session in sessions)

        back_up_meanwhile(chain, cursor, done, lambda: any(s.is_alive() for s in sessions), tally)
        for session in sessions:
            session.join(PATIENCE)
            check(not session.is_alive(), f"{session.name} hangs")
            check(session.error is None, f"{session.name}: {session.error!r}")
        journal = Journal(entry for session in sessions for entry in session.entries)
        tally.add("transactions of sessions", len(journal.entries))
        tally.add("rolled back", sum(session.rolled_back for session in sessions))
        first, last = chain.sets[0].ended, time.time_ns()
        chosen = [rng.randrange(first, last) // 100 * 100 for _ in range(moments)]
        compare(restore_both_ways(chain, cursor, chosen, tally, end), journal, lambda moment: False, tally)
        run(cursor, "DROP DATABASE x")


def back_up_meanwhile(
    chain: Chain, cursor: Any, done: Callable[[], int], alive: Callable[[], bool], tally: Tally
) -> None:
    """A backup now and then, as long as there are transactions. Raises Violation when they stand still."""
    while alive():
        wanted = done() + chain.rng.randrange(1, 2 * BACKUP_EVERY)
        check(until(lambda: done() >= wanted or not alive()), "the writers stand still")  # noqa: B023
        chain.some_backup(cursor, tally)


def restore_both_ways(
    chain: Chain, cursor: Any, moments: Sequence[int], tally: Tally, end: float
) -> list[Found]:
    """Half of the statements with the newest log in the archive alone, then all by media."""
    half = len(moments) // 2
    found = restore_all(chain, cursor, moments[:half], "one statement", tally, end)
    chain.back_up(cursor, "L", tally)
    chain.check_gapless()
    found += restore_all(chain, cursor, moments[half:], "one statement", tally, end)
    return found + restore_all(chain, cursor, moments, "media", tally, end)


def compare(found: Sequence[Found], journal: Journal, uncertain: Callable[[int], bool], tally: Tally) -> None:
    """Every restored database against the journal; all differences count."""
    contents = journal.contents(item.number for item in found)
    for item in found:
        low, high = journal.span(item.moment)
        where = f"{item.how}, {time_text(item.moment)}"
        if item.content != contents.get(item.number):
            tally.violated(f"{where}: not what the first {item.number} transactions make")
        elif low <= item.number <= high:
            tally.add("equal")
        elif uncertain(item.moment):
            tally.add("found late, as the log says itself")
        else:
            tally.violated(f"{where}: {item.number} transactions instead of {low} to {high}")


# ---------------------------------------------------------------------------- other processes


@dataclass
class Writers:
    """Processes that write to a file: ``kinds`` has one letter each, l for the library, s for the shell."""

    path: Path
    work: Path
    kinds: str
    count: int
    rng: random.Random

    def __post_init__(self) -> None:
        self._journals: list[Path] = []
        self._stopped = False
        self._processes = [self._start(kind) for kind in self.kinds]
        self.killed = 0

    def _start(self, kind: str) -> subprocess.Popen[str]:
        number = len(self._journals) + 1
        journal = self.work / f"journal{number}"
        journal.touch()
        self._journals.append(journal)
        words = [str(self.path), str(journal), str(number), str(self.rng.randrange(1 << 30))]
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "write", *words, str(self.count), str(int(kind == "s"))],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert process.stdout is not None
        check(process.stdout.readline() == "ready\n", "a writer does not start")
        return process

    def done(self) -> int:
        return sum(journal.read_bytes().count(b"\n") for journal in self._journals) // 2

    def alive(self) -> bool:
        for process in self._processes:
            check(self._stopped or process.poll() in (None, 0), f"a writer failed with {process.returncode}")
        return any(process.poll() is None for process in self._processes)

    def kill_one(self) -> None:
        """SIGKILL of a writer at any moment; another one takes its place."""
        running = [n for n, process in enumerate(self._processes) if process.poll() is None]
        if running:
            number = self.rng.choice(running)
            os.killpg(self._processes[number].pid, signal.SIGKILL)
            self._processes[number].wait(PATIENCE)
            self._processes[number] = self._start(self.kinds[number])
            self.killed += 1

    def stop(self) -> None:
        """By SIGKILL, those that have not ended."""
        self._stopped = True
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)

    def journal(self) -> Journal:
        """Of a line cut off by a kill nothing had been committed yet, or it only lacks its end."""
        entries: list[Entry] = []
        for journal in self._journals:
            for line in journal.read_text().splitlines(keepends=True):
                if not line.endswith("\n"):
                    break
                number, before, after, actions = json.loads(line)
                if after is None:
                    entries.append(Entry(number, before, None, tuple(tuple(action) for action in actions)))
                else:
                    entries[-1] = Entry(number, before, after, entries[-1].actions)
        return Journal(entries)


@dataclass(frozen=True, slots=True)
class Variant:
    """Which processes write; how many transactions pass between kills (0: none); whether one checkpoints."""

    kinds: str
    kill_every: int = 0
    hostile: bool = False


VARIANTS = {
    "library": Variant("ll"),
    "shell": Variant("sl"),
    "killed": Variant("lls", kill_every=12),
    "hostile": Variant("ls", hostile=True),
}


@contextlib.contextmanager
def disturbed(path: Path, wanted: bool) -> Iterator[None]:
    """With a process that checkpoints all the time, in every way."""
    if not wanted:
        yield
        return
    process = subprocess.Popen([sys.executable, str(DISTURB), "disturb", str(path), "3600", HOSTILE])
    try:
        yield
        check(process.poll() is None, "the process that checkpoints has failed")
    finally:
        process.kill()
        process.wait(PATIENCE)


def by_others(
    made: Product, rng: random.Random, name: str, count: int, moments: int, tally: Tally, end: float
) -> None:
    """Writers in other processes, on a database that they made. Raises Violation."""
    variant = VARIANTS[name]
    database = f"f_{name}"
    work = made.directory / database
    work.mkdir()
    elsewhere, path = work / "made.db", made.file(database)
    subprocess.run([sys.executable, str(SCRIPT), "make", str(elsewhere)], check=True, timeout=PATIENCE)
    elsewhere.replace(path)
    chain = Chain(made, database, rng)
    with made.cursor() as cursor:
        run(cursor, f"ALTER DATABASE {database} SET RECOVERY FULL")
        chain.back_up(cursor, "D", tally)
        writers = Writers(path, work, variant.kinds, count // len(variant.kinds), rng)
        try:
            with disturbed(path, variant.hostile):
                next_kill = variant.kill_every

                def done() -> int:
                    nonlocal next_kill
                    so_far = writers.done()
                    # Each who dies has done a part; those in his place do as much as all.
                    if next_kill and next_kill <= so_far < count:
                        writers.kill_one()
                        next_kill = so_far + variant.kill_every
                    return so_far

                def alive() -> bool:
                    running = writers.alive()
                    if running and variant.kill_every and writers.done() >= count:
                        writers.stop()
                        return False
                    return running

                back_up_meanwhile(chain, cursor, done, alive, tally)
        finally:
            writers.stop()
        journal = writers.journal()
        tally.add(f"transactions of others ({name})", len(journal.entries))
        tally.add("writers killed", writers.killed)
        first = chain.sets[0].ended
        gaps = [gap for gap in journal.gaps(GAP_NS) if gap[0] > first]
        check(bool(gaps), f"{name}: the writers never paused")
        chosen = []
        for _ in range(moments):
            after, before = rng.choice(gaps)
            chosen.append(rng.randrange(after + EXACT_NS, before - 1_000_000) // 100 * 100)
        found = restore_both_ways(chain, cursor, chosen, tally, end)
        ((guid, fork),) = rows(
            cursor,
            "SELECT database_guid, recovery_fork_guid FROM sys.database_recovery_status"
            f" WHERE database_id = DB_ID('{database}')",
        )
        late = late_commits(made, guid, fork, work / "archive")
        tally.peak("ms that a commit was found late", max((b - a for a, b in late), default=0) / 1e6)
        compare(found, journal, lambda moment: any(a <= moment < b for a, b in late), tally)
        run(cursor, f"DROP DATABASE {database}")


def late_commits(made: Product, guid: uuid.UUID, fork: uuid.UUID, copy: Path) -> list[tuple[int, int]]:
    """The spans (ns) in each of which a commit was made, as the archive says of those that it found late."""
    shutil.copytree(made.store / "log" / str(guid).upper() / str(fork).upper(), copy)
    with contextlib.closing(Archive(copy, guid, fork, 0)) as archive:
        return [
            (item.committed_ns - item.late_ns, item.committed_ns)
            for item in archive.read(archive.first_lsn())
            if item.late_ns
        ]


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation. A case is a transaction of the server's sessions; others make a quarter as many."""
    rng = random.Random(plan.seed)
    moments = max(4, round(plan.cases * MOMENTS_PER_TRANSACTION))
    names = list(VARIANTS) if plan.share == 1 else rng.sample(list(VARIANTS), 1)
    with product() as made:
        made.start()
        end = tally.started + plan.seconds
        by_sessions(made, rng, plan.cases, moments, tally, end)
        for name in names:
            by_others(made, rng, name, max(40, plan.cases // 4), max(4, moments // 4), tally, end)
        for line in made.log_text().splitlines():
            if "WARNING" in line or "ERROR" in line:
                print(f"   log: {line}")
        for traceback in made.tracebacks():
            tally.violated(f"in the logs: {traceback}")

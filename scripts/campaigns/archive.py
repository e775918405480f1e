"""The archive alone: everything is killed under about 500 commits a second, then the database is deleted.

Each round: writers in several sessions, a SIGKILL of keeper and listener at the same moment, then ``x.db``,
its WAL and its index are gone. The full backup and the archive of the log bring back, by STOPAT = now, what
was captured. Every other round runs with synchronous capture, where no acknowledged commit may be missing.
Of the others it is counted how many are missing, and how long before the kill the first of them was
acknowledged; in no round may there be a hole: a row without those that its session wrote before.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import threading
import time

from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import LOST, PATIENCE, Product, product, rows, run

SESSIONS = 4
COMMITS_PER_SECOND = 500
GOAL_SECONDS = 0.05


class Writer(threading.Thread):
    """Commits numbers in a session of its own, at a steady pace; ``acknowledged``: when it was told."""

    def __init__(self, made: Product, session: int) -> None:
        super().__init__(name=f"writer {session}", daemon=True)
        self.session = session
        self.acknowledged: list[float] = []
        self._connection = made.connect(database="x")

    def run(self) -> None:
        with contextlib.suppress(*LOST):
            cursor = self._connection.cursor()
            due = time.monotonic()
            while True:
                due += SESSIONS / COMMITS_PER_SECOND
                time.sleep(max(0.0, due - time.monotonic()))
                number = len(self.acknowledged) + 1
                cursor.execute(f"INSERT dbo.t VALUES ({self.session}, {number})")
                self.acknowledged.append(time.monotonic())


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    rng = random.Random(plan.seed)
    begun = time.monotonic()
    for number in range(plan.cases):
        if time.monotonic() - begun > plan.seconds:
            break
        one_round(rng, tally, synchronous=bool(number % 2))


def one_round(rng: random.Random, tally: Tally, *, synchronous: bool) -> None:
    """Kill, delete, restore, compare. Raises Violation."""
    with product() as made:
        capture = "sync" if synchronous else "async"
        made.start(TDSPROXY_CAPTURE=capture)
        with made.cursor(autocommit=True) as cursor:
            run(cursor, "CREATE DATABASE x")
            run(cursor, "CREATE TABLE x.dbo.t (session int, n int, PRIMARY KEY (session, n))")
            run(cursor, "BACKUP DATABASE x TO DISK = 'x.bak'")
        writers = [Writer(made, session) for session in range(SESSIONS)]
        for writer in writers:
            writer.start()
        time.sleep(rng.uniform(0.5, 3.0))
        killed = time.monotonic()
        for pid in (made.keeper_pid(), made.listener_pid):
            if pid is not None:
                os.kill(pid, signal.SIGKILL)
        made.kill_everything()
        for writer in writers:
            writer.join(PATIENCE)
            check(not writer.is_alive(), "a session waits for a server that is gone")
        for suffix in ("", "-wal", "-shm"):
            made.store.joinpath(f"x.db{suffix}").unlink(missing_ok=True)
        made.start()
        with made.cursor(autocommit=True) as cursor:
            now = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            run(cursor, f"RESTORE DATABASE x FROM DISK = 'x.bak' WITH REPLACE, STOPAT = '{now}'")
            found = rows(cursor, "SELECT session, COUNT(*), MAX(n) FROM x.dbo.t GROUP BY session")
        _compare(writers, {row[0]: (row[1], row[2]) for row in found}, killed, tally, capture)


def _compare(
    writers: list[Writer],
    found: dict[int, tuple[int, int]],
    killed: float,
    tally: Tally,
    capture: str,
) -> None:
    missing, since = 0, 0.0
    for writer in writers:
        count, last = found.get(writer.session, (0, 0))
        check(count == last, f"session {writer.session} lacks rows before its row {last}")
        lost = writer.acknowledged[count:]
        missing += len(lost)
        if lost:
            since = max(since, killed - lost[0])
    tally.add(f"rounds {capture}")
    tally.add("commits acknowledged", sum(len(writer.acknowledged) for writer in writers))
    tally.add(f"missing {capture}", missing)
    tally.peak(f"ms before the kill, {capture}", since * 1000)
    if since > GOAL_SECONDS:
        tally.add(f"rounds {capture} over {GOAL_SECONDS * 1000:.0f} ms")
    check(not missing or capture == "async", f"{missing} acknowledged commits are missing")

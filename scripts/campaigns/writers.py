"""Backups of databases that other processes write to: each restore is one prefix of their commits."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import PATIENCE, Product, product, run, until

SCRIPT = Path(__file__).with_name("foreign.py")
BACKUPS = 3
"""Backups of each database while its writers run."""
_COMMITS_BETWEEN = 20
_MOST_COMMITS = 20_000


@dataclass(frozen=True, slots=True)
class Shape:
    """How a database is made."""

    page_size: int
    journal: str
    auto_vacuum: int
    ballast: int
    writers: int

    @classmethod
    def random(cls, rng: random.Random) -> Shape:
        journal = rng.choice(["wal"] * 5 + ["delete", "truncate"])
        return cls(
            rng.choice([512, 1024, 4096, 4096, 8192, 65536]),
            journal,
            rng.choice([0, 0, 1, 2]),
            int(10 ** rng.uniform(3, 7.6)),
            rng.choice([1, 1, 2, 4]),
        )

    @property
    def patience(self) -> float:
        """Seconds that a writer waits for a lock. One writer alone in WAL mode never has to: the backup is
        a reader, and whoever gets SQLITE_BUSY then fails the campaign."""
        return 0.0 if self.journal == "wal" and self.writers == 1 else 20.0


def foreign(command: str, path: Path, *arguments: str) -> str:
    """A command of ``foreign`` to its end, what it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), command, str(path), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    check(done.returncode == 0, f"{command} {path.name}: {done.stderr.strip()[-300:]}")
    return done.stdout


class ForeignWriter:
    """A process that commits; its lines go to a file in ``work``."""

    def __init__(self, path: Path, work: Path, number: int, shape: Shape, seed: int) -> None:
        self._out = work / f"{path.stem}.{number}.commits"
        self._errors = work / f"{path.stem}.{number}.errors"
        self._shape = shape
        options = {"timeout": shape.patience, "most": _MOST_COMMITS, "seed": seed}
        with self._out.open("wb") as out, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(SCRIPT), "write", str(path), str(number), json.dumps(options)],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
            )

    def commits(self) -> int:
        return self._out.read_bytes().count(b"\n")

    def check(self) -> None:
        """Raises Violation when it has failed."""
        ended = self._process.poll() not in (None, 0)
        check(not ended, f"a writer of {self._shape}: {self._errors.read_text()[-300:]}")

    def stop(self) -> None:
        """After the commit at hand. Raises Violation."""
        try:
            self._process.communicate(timeout=PATIENCE)
        finally:
            self._process.kill()
        self.check()


@contextmanager
def written(path: Path, work: Path, shape: Shape, rng: random.Random) -> Iterator[list[ForeignWriter]]:
    """The processes that write to a database; they have ended afterwards."""
    started: list[ForeignWriter] = []
    try:
        for number in range(shape.writers):
            started.append(ForeignWriter(path, work, number, shape, rng.randrange(1 << 30)))
        yield started
    finally:
        for writer in started:
            writer.stop()


def one_database(made: Product, cursor: Any, name: str, rng: random.Random, tally: Tally) -> None:
    """Make it, write to it, back it up several times, restore every backup. Raises Violation."""
    shape = Shape.random(rng)
    made.directory.joinpath("work").mkdir(exist_ok=True)
    path = made.file(name)
    options = {
        "page_size": shape.page_size,
        "journal": shape.journal,
        "auto_vacuum": shape.auto_vacuum,
        "ballast": shape.ballast,
        "seed": rng.randrange(1 << 30),
    }
    # Made elsewhere: what is seen in the store is adopted at once.
    elsewhere = made.directory / "work" / path.name
    foreign("make", elsewhere, json.dumps(options))
    before = json.loads(foreign("check", elsewhere))["ballast"]
    elsewhere.replace(path)
    spans: list[tuple[int, int]] = []
    words = rng.choice(["", ", COMPRESSION", ", CHECKSUM"])
    with written(path, elsewhere.parent, shape, rng) as writers:

        def commits() -> int:
            for writer in writers:
                writer.check()
            return sum(writer.commits() for writer in writers)

        for number in range(BACKUPS):
            wanted = commits() + _COMMITS_BETWEEN
            check(until(lambda wanted=wanted: commits() >= wanted), f"{name}: the writers stand still")  # type: ignore[misc]
            mode = "FORMAT, INIT" if number == 0 else "NOINIT"
            low = commits()
            began = time.monotonic()
            run(cursor, f"BACKUP DATABASE {name} TO DISK = N'{name}.bak' WITH {mode}{words}")
            tally.peak("seconds of a backup", time.monotonic() - began)
            # A commit of each writer may be made and not yet written down.
            spans.append((low, commits() + shape.writers))
            tally.add("backups")
            tally.add("commits while one ran", spans[-1][1] - shape.writers - low)
        tally.add("commits", commits())
    for position, (low, high) in enumerate(spans, 1):
        copy = f"{name}_copy" if position == 1 or rng.random() < 0.5 else "copy"
        run(
            cursor,
            f"RESTORE DATABASE {copy} FROM DISK = N'{name}.bak' WITH FILE = {position}, REPLACE,"
            f" MOVE N'{name}' TO N'/var/opt/mssql/data/{copy}.mdf',"
            f" MOVE N'{name}_log' TO N'/var/opt/mssql/data/{copy}.ldf'",
        )
        found = json.loads(foreign("check", made.file(copy)))
        what = f"{copy} from set {position} of {name} ({shape})"
        count, first, last = found["journal"]
        check(found["integrity"] == "ok", f"{what}: {found['integrity']}")
        check((first, last) == (1, count), f"{what}: {count} commits from {first} to {last}")
        check(found["counter"] == count, f"{what}: counter {found['counter']} of {count}")
        check(low <= count <= high, f"{what}: {count} commits instead of {low} to {high}")
        for writer, own, lowest, highest in found["writers"]:
            check((lowest, highest) == (1, own), f"{what}: {own} of writer {writer}'s {lowest}..{highest}")
        check(found["ballast"] == before, f"{what}: ballast {found['ballast']} instead of {before}")
        tally.add("restores")
    for database in (name, f"{name}_copy"):
        run(cursor, f"DROP DATABASE {database}")
    made.medium(f"{name}.bak").unlink()


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    rng = random.Random(plan.seed)
    with product() as made:
        made.start()
        with made.cursor() as cursor:
            for number in range(plan.cases):
                if tally.seconds > plan.seconds * 0.95:
                    break
                one_database(made, cursor, f"foreign{number}", rng, tally)
                tally.add("databases")
        for traceback in made.tracebacks():
            tally.violated(f"in the logs: {traceback}")

"""Backups of one database while it is written to, and restores of it to a moment."""

from __future__ import annotations

import itertools
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytds

from scripts.campaigns.outcome import Tally, check
from scripts.campaigns.product import PATIENCE, Product, named_rows, run
from tdsproxy.commands.stop_points import time_text

SCRIPT = Path(__file__).with_name("oracle_writer.py")
COPY = "y"


@dataclass(frozen=True, slots=True)
class MadeSet:
    """A backup set; the times are those just before and after the statement (ns)."""

    kind: str
    medium: str
    position: int
    began: int
    ended: int
    header: dict[str, Any]


@dataclass
class Chain:
    """The backups of one database."""

    product: Product
    database: str
    rng: random.Random
    sets: list[MadeSet] = field(default_factory=list)

    def back_up(self, cursor: Any, kind: str, tally: Tally) -> None:
        """D, I or L, on a medium of its own or behind others."""
        text = {"D": "DATABASE", "I": "DATABASE", "L": "LOG"}[kind]
        shared = kind != "D" and self.rng.random() < 0.5
        count = sum(1 for made in self.sets if made.kind == kind)
        medium = f"{self.database}-{kind}{'' if shared else count}.bak"
        position = 1 + sum(1 for made in self.sets if made.medium == medium)
        options = [f"NAME = N'{self.database} {len(self.sets)}'"]
        options += ["DIFFERENTIAL"] if kind == "I" else []
        options += ["COMPRESSION"] if not shared and self.rng.random() < 0.5 else []
        began = time.time_ns()
        run(cursor, f"BACKUP {text} {self.database} TO DISK = N'{medium}' WITH {', '.join(options)}")
        ended = time.time_ns()
        header = named_rows(cursor, f"RESTORE HEADERONLY FROM DISK = N'{medium}'")[position - 1]
        self.sets.append(MadeSet(kind, medium, position, began, ended, header))
        tally.add({"D": "full", "I": "differential", "L": "log"}[kind] + " backups")

    def some_backup(self, cursor: Any, tally: Tally) -> None:
        self.back_up(cursor, self.rng.choice("DIILLLLLL"), tally)

    def _full_before(self, moment: int) -> MadeSet:
        return self.rng.choice([made for made in self.sets if made.kind == "D" and made.ended <= moment])

    def in_one_statement(self, cursor: Any, moment: int) -> None:
        """From any full backup made before the moment."""
        text = f"{self._restore(self._full_before(moment))}, STOPAT = N'{time_text(moment)}'"
        run(cursor, text)

    def by_media(self, cursor: Any, moment: int) -> None:
        """Through a full, perhaps a differential, and log backups. One begun after the moment must exist."""
        base = self._full_before(moment)
        run(cursor, f"{self._restore(base)}, NORECOVERY")
        end = base.header["LastLSN"]
        guid = base.header["BackupSetGUID"]
        fitting = [
            made
            for made in self.sets
            if made.kind == "I" and made.ended <= moment and made.header["DifferentialBaseGUID"] == guid
        ]
        if fitting and self.rng.random() < 0.6:
            chosen = self.rng.choice(fitting)
            run(cursor, f"RESTORE DATABASE {COPY} FROM {_disk(chosen)}, NORECOVERY")
            end = chosen.header["LastLSN"]
        stop = f"STOPAT = N'{time_text(moment)}'"
        may_be_there = False
        for made in self.sets:
            if made.kind != "L" or made.header["LastLSN"] <= end:
                continue
            try:
                run(cursor, f"RESTORE LOG {COPY} FROM {_disk(made)}, {stop}, NORECOVERY")
            except pytds.Error as error:
                # The moment lay in the set before, whose backup ran just then: nothing follows it.
                if not may_be_there or "too recent to apply" not in str(error):
                    raise
                break
            if made.began > moment:
                break
            may_be_there = made.ended >= moment
        run(cursor, f"RESTORE DATABASE {COPY} WITH RECOVERY")

    def _restore(self, made: MadeSet) -> str:
        data = "/var/opt/mssql/data"
        return (
            f"RESTORE DATABASE {COPY} FROM {_disk(made)}, REPLACE,"
            f" MOVE N'{self.database}' TO N'{data}/{COPY}.mdf',"
            f" MOVE N'{self.database}_log' TO N'{data}/{COPY}.ldf'"
        )

    def check_gapless(self) -> None:
        """Raises Violation when a log backup does not begin where the one before it ended."""
        logs = [made.header for made in self.sets if made.kind == "L"]
        for one, other in itertools.pairwise(logs):
            check(one["LastLSN"] == other["FirstLSN"], f"a gap from {one['LastLSN']} to {other['FirstLSN']}")


def _disk(made: MadeSet) -> str:
    return f"DISK = N'{made.medium}' WITH FILE = {made.position}"


class Reader:
    """Reads databases in a process of its own, with the standard library's SQLite."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(SCRIPT), "read"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def read(self, path: Path) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        found = json.loads(self._process.stdout.readline())
        assert isinstance(found, dict)
        return found

    def close(self) -> None:
        self._process.communicate(timeout=PATIENCE)


@contextmanager
def reader() -> Iterator[Reader]:
    made = Reader()
    try:
        yield made
    finally:
        made.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What a restore to a moment gave, and how it was made."""

    moment: int
    how: str
    number: int
    content: str


def restore_all(
    chain: Chain, cursor: Any, moments: Sequence[int], how: str, tally: Tally, end: float
) -> list[Found]:
    """Each of the moments by one way, as long as there is time (monotonic). Raises Violation when a copy is
    damaged."""
    found = []
    with reader() as read:
        for number, moment in enumerate(moments):
            if time.monotonic() > end:
                print(f"no time left for {len(moments) - number} restores by {how}")
                break
            if how == "media":
                chain.by_media(cursor, moment)
            else:
                chain.in_one_statement(cursor, moment)
            row = read.read(chain.product.file(COPY))
            check(row["integrity"] == "ok", f"{how}, {time_text(moment)}: {row['integrity']}")
            found.append(Found(moment, how, row["number"], row["content"]))
            tally.add(f"restores by {how}")
    return found

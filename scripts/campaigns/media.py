"""Backups of any database in any way: what is restored is equal by another SQLite, and damage is noticed."""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path

from scripts.campaigns.outcome import Plan, Tally, check
from tests.backup.anything import Disagreement, fresh, run_case


def main(plan: Plan, tally: Tally) -> None:
    rng = random.Random(plan.seed)
    deadline = time.monotonic() + plan.seconds
    work = Path(tempfile.mkdtemp(prefix="tdsproxy-media-"))
    try:
        for _ in range(plan.cases):
            if time.monotonic() > deadline:
                break
            seed = rng.randrange(1 << 32)
            folder = fresh(work)
            try:
                told = run_case(seed, folder)
            except Disagreement as error:
                check(False, f"case {seed}: {error}")
            except Exception as error:
                raise AssertionError(f"case {seed}") from error
            tally.add("cases")
            tally.add(told.split(":")[0])
            shutil.rmtree(folder)
    finally:
        shutil.rmtree(work, ignore_errors=True)

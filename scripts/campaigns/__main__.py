"""``scripts/torture``: which campaign, and how much of it."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import pytds

from scripts.campaigns.outcome import Plan, Tally, Violation


@dataclass(frozen=True, slots=True)
class Campaign:
    """``full`` is how many cases the whole campaign has."""

    module: str
    full: int


CAMPAIGNS = {
    "kill": Campaign("scripts.campaigns.kill", 80),
    "kills": Campaign("scripts.campaigns.kills", 1_000),
    "archive": Campaign("scripts.campaigns.archive", 20),
    "oracle": Campaign("scripts.campaigns.oracle", 2_000),
    "writers": Campaign("scripts.campaigns.writers", 60),
    "fuzz": Campaign("scripts.campaigns.fuzz", 20_000),
    "codec": Campaign("scripts.campaigns.codec", 1_000_000),
    "readers": Campaign("scripts.campaigns.readers", 1_000_000),
    "power": Campaign("scripts.campaigns.power", 1_000),
    "faults": Campaign("scripts.campaigns.faults", 1_000),
    "lies": Campaign("scripts.campaigns.lies", 400),
    "threads": Campaign("scripts.campaigns.threads", 65),
    "sockets": Campaign("scripts.campaigns.sockets", 20_000),
    "soak": Campaign("scripts.campaigns.soak", 1_200),
    "media": Campaign("scripts.campaigns.media", 400),
    "big": Campaign("scripts.campaigns.big", 10),
}


def run(name: str, plan: Plan) -> bool:
    """Whether nothing was violated."""
    tally = Tally()
    main: Callable[[Plan, Tally], None] = import_module(CAMPAIGNS[name].module).main
    try:
        main(plan, tally)
    except Violation as violation:
        tally.violated(str(violation))
    except (pytds.Error, AssertionError) as error:
        # A statement that must succeed did not, or the product does not start.
        tally.violated(f"{type(error).__name__}: {error}")
        traceback.print_exc()
    print(tally.closing_line(name, plan.seed), flush=True)
    return not tally.violations


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/torture", description="Long campaigns.")
    parser.add_argument("campaign", choices=[*CAMPAIGNS, "all"])
    parser.add_argument("--n", type=int, help="how many cases")
    parser.add_argument("--share", type=int, default=1, help="an N-th of the full number")
    parser.add_argument("--seconds", type=float, default=3_600, help="limit in time of each campaign")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    arguments = parser.parse_args()
    # What a campaign has started ends with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    held = True
    for name in CAMPAIGNS if arguments.campaign == "all" else [arguments.campaign]:
        full = CAMPAIGNS[name].full
        if arguments.campaign == "all" and arguments.n is None and full < arguments.share:
            # A part of one case there is not.
            continue
        cases = arguments.n if arguments.n is not None else max(1, full // arguments.share)
        plan = Plan(cases, min(1.0, cases / full), arguments.seconds, arguments.seed)
        held = run(name, plan) and held
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())

"""Bytes, media and batches of no meaning: the server lives, its other sessions too, and it does not grow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from scripts.campaigns.fuzz_corpus import SET_UP
from scripts.campaigns.fuzz_media import media_fuzzer
from scripts.campaigns.fuzz_sql import SqlFuzzer
from scripts.campaigns.fuzz_wire import WireFuzzer, canary, flood
from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import (
    Product,
    descriptors_of,
    memory_of,
    product,
    run,
    threads_of,
    until,
)

WIRE, SQL, MEDIA = 0.4, 0.5, 0.1
"""The parts of the cases."""
CLIENTS = 3
IDLE = 30
GROWTH = 120 << 20
"""Bytes by which listener and keeper together may have grown between a tenth of a part and its end."""
_MOST_VIOLATIONS = 25


def repeat(one: Callable[[], int], cases: int, deadline: float, tally: Tally) -> None:
    """``one`` until it has done so many cases. A violation is noted, and it goes on."""
    done = 0
    while done < cases and time.monotonic() < deadline:
        try:
            done += one()
        except Violation as violation:
            tally.violated(str(violation))
            done += 1
        if len(tally.violations) >= _MOST_VIOLATIONS:
            return


def in_threads(work: list[Callable[[], None]]) -> None:
    """All at the same time; an exception of one is raised here."""
    failures: list[BaseException] = []

    def guarded(one: Callable[[], None]) -> None:
        try:
            one()
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    threads = [threading.Thread(target=guarded, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure


def weight(made: Product) -> int:
    keeper = made.keeper_pid()
    return memory_of(made.listener_pid) + (memory_of(keeper) if keeper is not None else 0)


def wire(made: Product, plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    cases = max(CLIENTS, int(plan.cases * WIRE))
    deadline = time.monotonic() + plan.seconds * 0.4
    fuzzers = [WireFuzzer(made, plan.seed + number, tally) for number in range(CLIENTS)]

    def all_of(count: int) -> None:
        in_threads([
            lambda fuzzer=fuzzer: repeat(fuzzer.one, count // CLIENTS, deadline, tally)  # type: ignore[misc]
            for fuzzer in fuzzers
        ])  # fmt: skip

    descriptors, threads = descriptors_of(made.listener_pid), threads_of(made.listener_pid)
    with canary(made, tally):
        idle = [socket.create_connection((made.running.host, made.running.port)) for _ in range(IDLE)]
        all_of(cases // 10)
        early = weight(made)
        all_of(cases - cases // 10)
        flood(made, tally)
        for connection in idle:
            connection.close()
    check(made.listener_lives, "the listener has ended")

    def settled() -> bool:
        return (
            descriptors_of(made.listener_pid) <= descriptors + 6
            and threads_of(made.listener_pid) <= threads + 6
        )

    check(
        until(settled, 30),
        f"{descriptors_of(made.listener_pid)} descriptors instead of {descriptors},"
        f" {threads_of(made.listener_pid)} threads instead of {threads}",
    )
    grown = weight(made) - early
    tally.peak("MiB grown on the wire", grown / (1 << 20))
    check(grown < GROWTH, f"listener and keeper have grown by {grown >> 20} MiB")


def sql(made: Product, plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    cases = max(1, int(plan.cases * SQL))
    deadline = time.monotonic() + plan.seconds * 0.4
    fuzzers = [SqlFuzzer(made, plan.seed + 100 + number, tally) for number in range(2)]

    def all_of(count: int) -> None:
        in_threads([
            lambda fuzzer=fuzzer: repeat(fuzzer.one, count // len(fuzzers), deadline, tally)  # type: ignore[misc]
            for fuzzer in fuzzers
        ])  # fmt: skip

    with canary(made, tally):
        all_of(cases // 10)
        early = weight(made)
        all_of(cases - cases // 10)
        for fuzzer in fuzzers:
            fuzzer.close()
    grown = weight(made) - early
    tally.peak("MiB grown by batches", grown / (1 << 20))
    check(grown < GROWTH, f"listener and keeper have grown by {grown >> 20} MiB by batches")


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    with media_fuzzer(plan.seed, tally) as media:
        repeat(media.one, max(1, int(plan.cases * MEDIA)), time.monotonic() + plan.seconds * 0.15, tally)
    with product() as made:
        made.start()
        with made.cursor() as cursor:
            for statement in SET_UP:
                run(cursor, statement)
        sql(made, plan, tally)
        wire(made, plan, tally)
        with made.cursor() as cursor:
            run(cursor, "SELECT 1")
        for traceback in made.tracebacks():
            tally.violated(f"in the logs: {traceback}")

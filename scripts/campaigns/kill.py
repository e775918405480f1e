"""SIGKILL of keeper and listener at each named place, while sessions commit."""

from __future__ import annotations

import random
import re
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytds

from scripts.campaigns.kill_statements import BACKUPS, RESTORES, Operation, backup, statement
from scripts.campaigns.kill_world import World
from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import LOST, PATIENCE, Product, is_running, product, run, until
from tdsproxy.store.crashpoints import VARIABLE

PACKAGE = Path(__file__).resolve().parent.parent.parent / "tdsproxy"
_POINT = re.compile(r"""crashpoints\.reach\(\s*["']([^"']+)["']""")
COMMITTING = 3.0
"""Seconds of commits in which their capture should come by a place."""
CHURNING = 60.0
CERTAIN = {
    "backup.log-written": ("log",),
    "backup.map-kept": ("plain",),
    "backup.before-publish": ("init", "format"),
    "install.before-rename": ("new",),
    "install.after-rename": ("new",),
    "install": ("over",),
    "mend": ("pages",),
    "log.copied": ("churn",),
    "log.barrier": ("churn",),
    "log.checkpointed": ("churn",),
    "log": ("commits", "churn"),
    "restore.differential-written": ("plainchain",),
    "restore.differential-rolled": ("chaindif",),
    "restore.pages-written": ("plainchain", "chaindif"),
    "restore.log-rolled": ("chain",),
    "restore.image-built": ("chain",),
    "restore.image-rolled": ("chain",),
}
"""The statements that pass a place, or those whose names begin so; others are found out."""
NOT_BY_STATEMENTS = ("undo.copied", "restore.image-ready")
"""Places that only the shell's commands and a restore of master pass; ``tests/faults`` kills there."""


def named_points() -> list[str]:
    """Every place that the product names, from its source."""
    found = {name for path in PACKAGE.rglob("*.py") for name in _POINT.findall(path.read_text())}
    return sorted(found - set(NOT_BY_STATEMENTS))


def statements_for(point: str) -> tuple[str, ...]:
    """The statements that may pass a place, the likely ones first."""
    room = point.partition(".")[0]
    certain = CERTAIN.get(point, CERTAIN.get(room, ()))
    if room == "log":
        return certain
    others = (*BACKUPS, *RESTORES) if room == "backup" else (*RESTORES, *BACKUPS)
    return (*certain, *(kind for kind in others if kind not in certain))


def kill_at(world: World, point: str, kind: str, target: str = "keeper") -> bool:
    """A statement during which a process dies at a named place of the keeper's; whether it got there.

    The world is held before and after. Raises Violation.
    """
    place, made = f"{target} at {point} in {kind}", world.product
    if kind.startswith("plain"):
        world.new_version("plain")
    if kind == "chain":
        world.advance()
        world.perform(backup(world, "bank", "log"))
        world.settle()
    restart(world, **{VARIABLE: f"{point}@{made.victim_file}"})
    world.recovered()
    keeper = made.keeper_pid()
    assert keeper is not None
    operations = [] if kind in ("commits", "churn") else [statement(world, kind)]
    # From here on the listener may be killed at any moment.
    world.connect()
    made.arm(keeper if target == "keeper" else made.listener_pid)
    if operations:
        (thread,) = world.launch(operations)
        thread.join(PATIENCE)
        check(not thread.is_alive(), f"{place}: the statement hangs")
        # Its sockets are closed a little before it counts as dead.
        failed = operations[0].error is not None
        killed = until(lambda: is_dead(made, target, keeper), 5.0 if failed else 0.0)
        check(killed == failed, f"{place}: killed {killed}, {operations[0].error!r}")
    else:
        killed = kill_by_commits(world, place, kind, lambda: is_dead(made, target, keeper))
    made.disarm()
    world.hold()
    if target == "keeper":
        check(all(one.usable_after for one in operations), f"{place}: the session is lost, too")
        check_unharmed(world, place)
    else:
        # The keeper is left to end by itself what its client had begun.
        made.kill_listener()
        made.start()
        world.disconnect()
    settle_after(world, operations, keeper_lived=target == "listener")
    return killed


def is_dead(product: Product, target: str, keeper: int) -> bool:
    return not (product.listener_lives if target == "listener" else is_running(keeper))


def kill_by_commits(world: World, place: str, kind: str, is_dead: Callable[[], bool]) -> bool:
    """Commits alone, whose capture kills; whether it did. Raises Violation."""
    world.release()
    enough = threading.Event()
    helper = threading.Thread(target=churn, args=(world, enough), daemon=True)
    if kind == "churn":
        helper.start()
    killed = until(is_dead, CHURNING if kind == "churn" else COMMITTING)
    enough.set()
    if kind == "churn":
        helper.join(PATIENCE)
        check(not helper.is_alive(), f"{place}: an UPDATE hangs")
    return killed


def churn(world: World, stop: threading.Event) -> None:
    """Fill the WAL, so that it is checkpointed."""
    try:
        with world.product.cursor() as cursor:
            while not stop.is_set():
                world.churn(cursor)
    except LOST:
        return


def check_unharmed(world: World, place: str) -> None:
    for writer in world.writers:
        check(not writer.harmed, f"{place}: {writer.name} was hit by the end of the keeper: {writer.errors}")


def restart(world: World, **environment: str) -> None:
    """Both processes anew; while held nothing of the writers' is on its way."""
    world.product.kill_listener()
    keeper = world.product.kill_keeper()
    check(keeper is None or until(lambda: not is_running(keeper)), "the keeper does not die")
    world.product.start(**environment)
    world.disconnect()


def settle_after(world: World, operations: list[Operation], *, keeper_lived: bool) -> None:
    """When the statements have ended, of whatever cause: their ends, and what they left. Raises Violation."""
    if keeper_lived:
        wait_for_statements(world, operations)
    for operation in operations:
        world.note_end(operation)
    world.settle()


def wait_for_statements(world: World, operations: Iterable[Operation]) -> None:
    """A keeper that lives stops what nobody waits for; until then the database counts as in use."""
    names = {
        name for name in ("bank", "victim", "plain") for operation in operations if name in operation.sql
    }

    def idle() -> bool:
        with world.product.cursor() as cursor:
            return all(_is_free(cursor, name) for name in names)

    check(until(idle), "a statement goes on although its client has gone")


def _is_free(cursor: Any, name: str) -> bool:
    try:
        run(cursor, f"BACKUP DATABASE {name} TO DISK = N'NUL' WITH COPY_ONLY")
    except pytds.Error as error:
        check("3023" in str(error) or getattr(error, "number", 0) == 3023, f"{name}: {error}")
        return False
    return True


def kill_at_places(world: World, plan: Plan, tally: Tally) -> None:
    """Each named place, or the plan's share of them, with keeper and listener. Raises Violation."""
    places = [(point, target) for point in named_points() for target in ("keeper", "listener")]
    if plan.share < 1:
        places = world.rng.sample(places, max(2, round(len(places) * plan.share)))
    missed = []
    known: dict[str, str] = {}
    for point, target in places:
        if tally.seconds > plan.seconds * 0.75:
            print(f"no time left for {len(places) - tally.counts['named places']} of {len(places)} places")
            break
        tally.add("named places")
        kinds = [known[point]] if point in known else statements_for(point)
        for kind in kinds if plan.share == 1 else kinds[:2]:
            print(f"{tally.seconds:.0f} s: {target} at {point} in {kind}", flush=True)
            if kill_at(world, point, kind, target):
                known[point] = kind
                tally.add(f"kills of {target} at named places")
                break
        else:
            missed.append(f"{target} at {point}")
            print(f"not passed: {missed[-1]}")
        world.try_anew()
    check(plan.share < 1 or not missed, f"no statement passes these: {', '.join(missed)}")


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    with product() as made:
        made.start()
        world = World(made, random.Random(plan.seed))
        try:
            world.build()
            world.hold()
            kill_at_places(world, plan, tally)
            tally.add("sets restored at the end", world.restore_all())
            tally.add("commits", sum(w.acknowledged for w in world.bank) + world.late.acknowledged)
            check(not world.leftovers(), f"files are left: {world.leftovers()}")
            for traceback in made.tracebacks():
                tally.violated(f"in the logs: {traceback}")
        except Violation:
            for line in made.log_text().splitlines()[-60:]:
                if "is served in clear" not in line:
                    print(f"   log: {line}")
            raise
        finally:
            made.kill_everything()
            world.stop()

"""SIGKILL of keeper and listener, at each named place and at random times, while everything runs."""

from __future__ import annotations

import random
import re
import time
from pathlib import Path
from typing import Any

import pytds

from scripts.campaigns.kill_world import Operation, World
from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import PATIENCE, is_running, product, run, until
from tdsproxy.store.crashpoints import VARIABLE

PACKAGE = Path(__file__).resolve().parent.parent.parent / "tdsproxy"
CERTAIN = ("backup.trailer-written", "backup.published", "install.before-rename", "install.copying")
"""Places that these statements pass for certain; others belong to statements of other kinds."""
_POINT = re.compile(r"""crashpoints\.reach\(\s*["']([^"']+)["']""")
COMMITTING = 3.0
"""Seconds of commits in which their capture should come by a place."""
TARGETS = ("keeper", "listener", "both")


def named_points() -> list[str]:
    """Every place that the product names, from its source."""
    found = {name for path in PACKAGE.rglob("*.py") for name in _POINT.findall(path.read_text())}
    return sorted(found)


def statements_for(point: str) -> list[str]:
    """The statements that may pass a place, by its prefix; the log is captured behind any commit."""
    if point.startswith("log."):
        return ["commits"]
    if point.startswith("backup."):
        return ["append", "init", "format"]
    return ["new", "over"]


def statement(world: World, kind: str) -> Operation:
    """One of the kinds of statement, on what there is."""
    if kind == "new":
        return world.restore_new()
    if kind == "over":
        return world.restore_over()
    return world.backup(world.rng.choice(["bank", "victim"]), kind)


def kill_at(world: World, point: str, kind: str) -> bool:
    """A statement whose keeper dies at a named place; whether it got there. Raises Violation.

    The world is held before and after.
    """
    place = f"{point} in {kind}"
    restart(world, **{VARIABLE: point})
    world.recovered()
    if kind == "commits":
        return kill_by_commits(world, place)
    operation = statement(world, kind)
    keeper = world.product.keeper_pid()
    assert keeper is not None
    (thread,) = world.launch([operation])
    thread.join(PATIENCE)
    world.hold()
    check(not thread.is_alive(), f"{place}: the statement hangs")
    # Its sockets are closed a little before it counts as dead.
    killed = until(lambda: not is_running(keeper), 2.0 if operation.error is not None else 0.0)
    check(killed == (operation.error is not None), f"{place}: killed {killed}, {operation.error!r}")
    check(operation.usable_after, f"{place}: the session that lost its keeper is lost, too")
    world.note_end(operation)
    restart(world)
    world.settle()
    return killed


def kill_by_commits(world: World, place: str) -> bool:
    """Commits alone, whose capture kills the keeper: no session may notice. Raises Violation."""
    keeper = world.product.keeper_pid()
    assert keeper is not None
    world.release()
    killed = until(lambda: not is_running(keeper), COMMITTING)
    world.hold()
    for writer in (*world.bank, world.late):
        check(not writer.harmed, f"{place}: {writer.name} was hit by the end of the keeper: {writer.errors}")
    restart(world)
    world.settle()
    return killed


def restart(world: World, **environment: str) -> None:
    """Both processes anew; while held nothing of the writers' is on its way."""
    world.product.kill_listener()
    keeper = world.product.kill_keeper()
    check(keeper is None or until(lambda: not is_running(keeper)), "the keeper does not die")
    world.product.start(**environment)
    world.disconnect()


def kill_randomly(world: World, tally: Tally, kind_times: dict[str, float]) -> None:
    """Some statements, and a kill at some moment. The world is held before and after. Raises Violation."""
    rng, product = world.rng, world.product
    operations = [statement(world, rng.choice(["append", "init", "format", "new", "over"]))]
    if rng.random() < 0.5:
        # Another database, another medium.
        database = "bank" if "victim" in operations[0].sql else "victim"
        free = [name for name in ("init", "format") if f"N'{name}.bak'" not in operations[0].sql]
        operations.append(world.backup(database, rng.choice(free)))
    target = rng.choice(TARGETS)
    expected = max(kind_times.get(operation.name, 0.3) for operation in operations)
    threads = world.launch(operations)
    time.sleep(rng.uniform(0, 1.2 * expected + 0.02))
    if target != "listener":
        product.kill_keeper()
    if target != "keeper":
        product.kill_listener()
    for thread, operation in zip(threads, operations, strict=True):
        thread.join(PATIENCE)
        check(not thread.is_alive(), f"kill of {target}: {operation.sql} hangs")
    tally.add(f"kills of {target}")
    for operation in operations:
        tally.add(f"{operation.name} {'broken off' if operation.error is not None else 'done'}")
        if operation.ended is not None:
            took = operation.ended - operation.began
            kind_times[operation.name] = 0.7 * kind_times.get(operation.name, took) + 0.3 * took
    if target == "keeper":
        # The listener's sessions go on: nothing of theirs may fail but the statement itself.
        if rng.random() < 0.5:
            time.sleep(0.1)
        world.hold()
        for operation in operations:
            check(operation.usable_after, f"the session of {operation.sql} was lost with the keeper")
        for writer in (*world.bank, world.late):
            check(not writer.harmed, f"{writer.name} was hit by the end of the keeper: {writer.errors}")
    else:
        world.hold()
        product.start()
        world.disconnect()
    settle_after(world, operations, keeper_lived=target == "listener")


def settle_after(world: World, operations: list[Operation], *, keeper_lived: bool) -> None:
    """When the statements have ended, of whatever cause: their ends, and what they left. Raises Violation."""
    if keeper_lived:
        wait_for_statements(world, operations)
    for operation in operations:
        world.note_end(operation)
    world.settle()


def wait_for_statements(world: World, operations: list[Operation]) -> None:
    """A keeper that lives stops what nobody waits for; until then the database counts as in use."""
    names = {name for name in ("bank", "victim") for operation in operations if name in operation.sql}

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


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    rng = random.Random(plan.seed)
    places = [(point, kind) for point in named_points() for kind in statements_for(point)]
    if plan.share < 1:
        places = rng.sample(places, min(len(places), max(2, round(len(places) * plan.share))))
    with product() as made:
        made.start()
        world = World(made, rng)
        world.build()
        try:
            world.hold()
            reached = {}
            for point, kind in places:
                if tally.seconds > plan.seconds * 0.45:
                    break
                hit = kill_at(world, point, kind)
                reached[point] = reached.get(point, False) or hit
                tally.add("kills at named places", int(hit))
                world.try_anew()
            tally.add("named places", sum(reached.values()))
            never = [point for point, hit in reached.items() if not hit]
            if never:
                print(f"not passed by these statements: {', '.join(never)}")
            if plan.share == 1:
                missed = [point for point in CERTAIN if not reached.get(point, True)]
                check(not missed, f"no statement passes {missed}")
            times: dict[str, float] = {}
            for number in range(plan.cases):
                if tally.seconds > plan.seconds * 0.95:
                    break
                if number % 7 == 0:
                    world.new_version()
                kill_randomly(world, tally, times)
                world.try_anew()
                tally.add("random kills")
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

"""How far a statement is, on standard error: a bar with rate and time left on a terminal, else lines."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, Protocol

from tdsproxy.commands.request import StatementProgress

_LINE_PERCENT: Final = 10
_LOOK_SECONDS: Final = 0.5


class Display(Protocol):
    """Hears how far a statement is."""

    def told(self, percent: int) -> None:
        """The statement has said so itself."""

    def moved(self, done: int, total: int) -> None:
        """So many bytes of its content have gone by; from another thread."""


class Nothing:
    """For who does not want to know."""

    def told(self, percent: int) -> None:
        del percent

    def moved(self, done: int, total: int) -> None:
        del done, total


class Lines:
    """SQL Server's own words, each ten percent."""

    def __init__(self) -> None:
        self._said = 0

    def told(self, percent: int) -> None:
        step = percent - percent % _LINE_PERCENT
        if step > self._said:
            self._said = step
            print(f"{step} percent processed.", file=sys.stderr, flush=True)

    def moved(self, done: int, total: int) -> None:
        del done, total


class _Bar:
    def __init__(self, update: Callable[[float, float], object]) -> None:
        self._update = update
        self._bytes = False

    def told(self, percent: int) -> None:
        if not self._bytes:
            self._update(percent, 100)

    def moved(self, done: int, total: int) -> None:
        self._bytes = True
        self._update(done, total)


@contextmanager
def display(title: str, *, quiet: bool) -> Iterator[Display]:
    """What fits standard error."""
    if quiet:
        yield Nothing()
        return
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(title, total=None)
        yield _Bar(lambda done, total: bars.update(task, completed=done, total=total))


@contextmanager
def looked_at(
    shown: Display, spid: int, running: Callable[[], Sequence[StatementProgress]]
) -> Iterator[None]:
    """Looks again and again how far the session's statement is, as long as the block lasts."""
    if isinstance(shown, Nothing | Lines):
        yield
        return
    over = threading.Event()

    def look() -> None:
        while not over.wait(_LOOK_SECONDS):
            for statement in running():
                if statement.spid == spid and statement.total:
                    shown.moved(statement.done, statement.total)

    thread = threading.Thread(target=look, name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

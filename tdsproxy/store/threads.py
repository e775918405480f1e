"""Threads that work as long as their process does, whatever happens to them; how others end is told."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import asyncio

PAUSE_SECONDS: Final = 5.0
ENDED: Final = "ended_thread"
"""The attribute of a log record that names the thread or task that has ended by an error."""
_log = logging.getLogger(__name__)


def lasting_thread(
    work: Callable[[], None], name: str, stop: threading.Event, pause: float = PAUSE_SECONDS
) -> threading.Thread:
    """A daemon thread, not started yet, that does ``work`` until it returns.

    What ends it otherwise, an error that nobody expected, stands in the log with its traceback, and the work
    begins again after ``pause`` seconds, unless ``stop`` is set: a thread that watches or sends must not be
    missing without a word.
    """

    def run() -> None:
        while True:
            try:
                work()
            except BaseException:  # noqa: BLE001 - told, and the work begins again
                _log.exception(
                    "the thread '%s' ended by an error and begins again", name, extra={ENDED: name}
                )
                if stop.wait(pause):
                    return
            else:
                return

    return threading.Thread(target=run, name=name, daemon=True)


def tell_of_ends() -> None:
    """From now on any other thread of this process that ends by an error stands in the log, with its
    traceback, and not in the standard error output alone."""
    threading.excepthook = _thread_ended


def _thread_ended(end: threading.ExceptHookArgs) -> None:
    name = "unknown" if end.thread is None else end.thread.name
    error = end.exc_value or end.exc_type()
    _log.error("the thread '%s' ended by an error", name, exc_info=error, extra={ENDED: name})


def task_ended(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """An exception handler of an event loop: what nobody else handles stands in the log, as for threads."""
    if context.get("exception") is None:
        loop.default_exception_handler(context)
        return
    name_of = getattr(context.get("task") or context.get("future"), "get_name", None)
    name = "event loop" if name_of is None else str(name_of())
    _log.error(
        "the task '%s' ended by an error: %s",
        name,
        context.get("message", "unhandled"),
        exc_info=context["exception"],
        extra={ENDED: name},
    )

"""Threads that work as long as their process does, whatever happens to them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

PAUSE_SECONDS: Final = 5.0
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
                _log.exception("the thread '%s' ended by an error and begins again", name)
                if stop.wait(pause):
                    return
            else:
                return

    return threading.Thread(target=run, name=name, daemon=True)

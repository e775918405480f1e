"""Lets an error that nobody expects come up in any function of the product, in whatever thread calls it.

Python imports this at the start of each process, when its directory is on PYTHONPATH. A file that a campaign
writes (SABOTAGE) names a function and an error; from then on the next calls of it raise the error. What
happened is noted beside that file: ``hit`` in which thread, and ``again`` once it is called after that.
"""

import builtins
import functools
import json
import os
import sys
import threading
import time
from pathlib import Path

_LOOK_SECONDS = 0.02
_COROUTINE = 0x80


class _Sabotage:
    """Of one function."""

    def __init__(self, order, control):
        self.order = order
        self._left = order["times"]
        self._lock = threading.Lock()
        self._notes = f"{control}.{order['number']}"
        module, _, path = order["target"].partition(":")
        *outer, self._name = path.split(".")
        self._owner = sys.modules[module]
        for name in outer:
            self._owner = getattr(self._owner, name)
        self._before = vars(self._owner)[self._name]
        real = self._before.__func__ if isinstance(self._before, staticmethod) else self._before

        @functools.wraps(real)
        def function(*arguments, **named):
            self._reached()
            return real(*arguments, **named)

        @functools.wraps(real)
        async def coroutine(*arguments, **named):
            self._reached()
            return await real(*arguments, **named)

        made = coroutine if real.__code__.co_flags & _COROUTINE else function
        setattr(self._owner, self._name, staticmethod(made) if real is not self._before else made)
        self._note("ready", str(os.getpid()))

    def _reached(self):
        with self._lock:
            self._left -= 1
            left = self._left
        if left >= 0:
            self._note("hit", threading.current_thread().name)
            raise getattr(builtins, self.order["error"])(f"sabotage {self.order['number']}")
        if left == -1:
            self._note("again", threading.current_thread().name)

    def _note(self, kind, text):
        with Path(f"{self._notes}.{kind}").open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")

    def end(self):
        setattr(self._owner, self._name, self._before)


def _watch(control):
    at_work = None
    while True:
        time.sleep(_LOOK_SECONDS)
        try:
            order = json.loads(control.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            continue
        if at_work is not None and at_work.order == order:
            continue
        if at_work is not None:
            at_work.end()
            at_work = None
        if order["target"].partition(":")[0] in sys.modules:
            try:
                at_work = _Sabotage(order, control)
            except (AttributeError, KeyError):
                # The module is being imported.
                continue


if "SABOTAGE" in os.environ:
    threading.Thread(
        target=_watch, args=(Path(os.environ["SABOTAGE"]),), name="saboteur", daemon=True
    ).start()

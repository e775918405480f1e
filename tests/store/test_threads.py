from __future__ import annotations

import logging
import threading

import pytest

from tdsproxy.store.threads import lasting_thread

PATIENCE = 60


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError, SystemExit])
def test_what_ends_a_thread_is_told_and_it_begins_again(
    kind: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    done: list[int] = []

    def work() -> None:
        done.append(len(done))
        if len(done) < 3:
            raise kind("why")

    thread = lasting_thread(work, "watcher", threading.Event(), pause=0.0)
    with caplog.at_level(logging.ERROR):
        thread.start()
        thread.join(PATIENCE)
    assert done == [0, 1, 2]
    told = [record.getMessage() for record in caplog.records]
    assert told == ["the thread 'watcher' ended by an error and begins again"] * 2
    assert "why" in caplog.text


def test_after_the_end_it_does_not_begin_again() -> None:
    done: list[int] = []
    stop = threading.Event()
    stop.set()

    def work() -> None:
        done.append(1)
        raise ZeroDivisionError

    thread = lasting_thread(work, "watcher", stop)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert done == [1]

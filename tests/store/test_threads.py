from __future__ import annotations

import asyncio
import gc
import logging
import threading

import pytest

from tdsproxy.store.threads import ENDED, lasting_thread, task_ended, tell_of_ends

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


def test_other_threads_that_end_by_an_error_are_told_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    tell_of_ends()

    def work() -> None:
        raise ZeroDivisionError("why")

    thread = threading.Thread(target=work, name="worker")
    with caplog.at_level(logging.ERROR):
        thread.start()
        thread.join(PATIENCE)
    (record,) = caplog.records
    assert record.getMessage() == "the thread 'worker' ended by an error"
    assert getattr(record, ENDED) == "worker"
    assert "ZeroDivisionError: why" in caplog.text


def test_tasks_that_end_by_an_error_are_told_of(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError("why")

    async def forget() -> None:
        asyncio.get_running_loop().set_exception_handler(task_ended)
        task = asyncio.create_task(work(), name="sender")
        await asyncio.wait([task])
        del task
        gc.collect()
        # What is no error of a task, and what is of nobody.
        asyncio.get_running_loop().call_exception_handler({"message": "a hint"})
        asyncio.get_running_loop().call_exception_handler({"message": "odd", "exception": OSError("where")})

    with caplog.at_level(logging.ERROR):
        asyncio.run(forget())
    told = {getattr(record, ENDED, None): record.getMessage() for record in caplog.records}
    assert told.keys() == {"sender", None, "event loop"}
    assert told["sender"].startswith("the task 'sender' ended by an error")
    assert told[None] == "a hint"
    assert "ZeroDivisionError: why" in caplog.text
    assert "OSError: where" in caplog.text

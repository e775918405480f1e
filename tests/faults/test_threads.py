"""Errors that nobody expects, in threads and tasks that work by themselves: told, counted, and nobody is left
waiting or told of a success that was none."""

from __future__ import annotations

import asyncio
import io
import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

from tdsproxy.agent.running import JobRun, StepError, StepWork
from tdsproxy.agent.steps import ServerProcess
from tdsproxy.cli.web import Answer, Web, text
from tdsproxy.frontend.worker import SessionWorker
from tdsproxy.keeper.error_log import ErrorLog, ErrorLogHandler
from tdsproxy.keeper.metrics import Counters
from tdsproxy.media.object_upload import Upload
from tdsproxy.objects.store import Bucket
from tdsproxy.store.threads import task_ended, tell_of_ends
from tests.agent.test_jobs import World

PATIENCE = 60


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class BadBucket:
    """Takes one piece, and then comes upon something that nobody expects."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def upload(self, key: str, pieces: Iterator[bytes], part_size: int, concurrency: int) -> None:
        next(pieces)
        raise self._error


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError, SystemExit])
def test_an_upload_that_an_unexpected_error_ended_is_not_finished(kind: type[BaseException]) -> None:
    bucket = cast("Bucket", BadBucket(kind("why")))
    upload = Upload(bucket, "day.bak", 1 << 20, 1, lambda: False, None)
    upload.write(b"page")
    with pytest.raises(kind, match="why"):
        upload.finish()


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> None:
    # pytest has a hook of its own, which is there again afterwards.
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    tell_of_ends()


@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
def test_the_end_of_a_thread_is_in_the_error_log_and_counted(
    kind: type[BaseException], told: None, tmp_path: Path
) -> None:
    counters = Counters()
    handler = ErrorLogHandler(ErrorLog(tmp_path), counters.thread_ended)
    logger = logging.getLogger("tdsproxy")
    logger.addHandler(handler)

    def work() -> None:
        raise kind("why")

    try:
        thread = threading.Thread(target=work, name="watcher of the store")
        thread.start()
        thread.join(PATIENCE)
    finally:
        logger.removeHandler(handler)
    line = f"the thread 'watcher of the store' ended by an error ({kind.__name__}: why)"
    assert line in tmp_path.joinpath("errorlog").read_text()
    found = next(one for one in counters.metrics() if one.name == "tdsproxy_thread_errors_total")
    assert found.samples == [("", {"thread": "watcher of the store"}, 1)]


def test_the_end_of_a_task_that_nobody_awaits_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise ZeroDivisionError("why")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(task_ended)
        task = asyncio.create_task(work(), name="tidying")
        await asyncio.wait({task})
        del task

    asyncio.run(main())
    assert "the task 'tidying' ended by an error" in caplog.text
    assert "why" in caplog.text


def test_a_session_goes_on_behind_a_request_that_an_unexpected_error_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def bad() -> None:
        raise MemoryError("why")

    done = threading.Event()
    worker = SessionWorker("session 51")
    worker.run(bad)
    worker.run(done.set)
    try:
        assert done.wait(PATIENCE)
    finally:
        worker.stop()
    assert "a request ended by an internal error" in caplog.text


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError])
def test_whoever_asks_over_http_is_told_of_an_unexpected_error(
    kind: type[Exception], caplog: pytest.LogCaptureFixture
) -> None:
    def bad(_: object) -> Answer:
        raise kind("why")

    async def main() -> list[bytes]:
        web = Web({"/bad": bad, "/": lambda _: text(200, "well")})
        host, port = await web.start("127.0.0.1", 0)
        answers = []
        for path in (b"/bad", b"/"):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
            async with asyncio.timeout(PATIENCE):
                answers.append(await reader.read())
            writer.close()
        web.close()
        return answers

    failed, well = asyncio.run(main())
    assert failed.startswith(b"HTTP/1.1 500 Internal Server Error")
    assert b"why" not in failed
    assert well.startswith(b"HTTP/1.1 200 OK")
    assert "ended by an internal error: GET /bad" in caplog.text


class Mad:
    """A server for steps that says what nobody can read, and waits."""

    def __init__(self, *_: object, **__: object) -> None:
        self.stdin = io.StringIO()
        self.stdout = io.StringIO("{no json\n")
        self._gone = threading.Event()

    def poll(self) -> int | None:
        return 0 if self._gone.is_set() else None

    def terminate(self) -> None:
        self._gone.set()

    def wait(self, timeout: float | None = None) -> int:
        assert self._gone.wait(PATIENCE)
        return 0


@pytest.mark.usefixtures("told")
def test_a_step_does_not_wait_for_a_server_whose_answers_cannot_be_read(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Mad)
    server = ServerProcess([sys.executable, "-c", "no"])
    work = StepWork("sa", "master", "SELECT 1")
    with pytest.raises(StepError, match="has ended"):
        list(server.run(work, threading.Event()))
    server.close()
    # Whoever waits is told first.
    until(lambda: "the thread 'job server' ended by an error" in caplog.text)


@pytest.mark.parametrize("kind", [ZeroDivisionError, MemoryError, SystemExit])
def test_a_job_that_an_unexpected_error_ends_has_failed_in_its_history(
    kind: type[BaseException],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def bad(_: JobRun) -> None:
        raise kind("why")

    world = World(tmp_path / "store")
    try:
        job = world.job("ok")
        with monkeypatch.context() as changed:
            changed.setattr(JobRun, "run", bad)
            world.agent.start(job, None, "sa")
            world.settle()
        world.agent.start(job, None, "sa")
        world.settle()
        first, second = world.outcomes()
    finally:
        world.agent.close()
        world.file.close()
    assert first.startswith(f"The job failed.  It was ended by an internal error ({kind.__name__})")
    assert second.startswith("The job succeeded.")
    assert "the job 'nightly' ended by an internal error" in caplog.text

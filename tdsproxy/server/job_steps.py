"""``python -m tdsproxy.server.job_steps --store DIR``: runs T-SQL steps of jobs for the agent.

An embedded server without a listener, a client of the store's keeper. It reads requests from standard input
and writes answers to standard output, as ``agent.steps.ServerProcess`` says, and ends with its input.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tdsproxy.server.engine import Engine
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, ResultSet, Rows
from tdsproxy.tsql.script import split_batches

_TEXT = t.nvarchar(4000)


class SessionSteps:
    """Runs steps in sessions of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def run(
        self, login: str, database: str, text: str, cancelled: threading.Event, user: str | None = None
    ) -> Iterator[Message | str]:
        """Messages, and lines of output, as they come; ``user`` is whom of the database the step runs as.
        Raises SqlError when there can be no such session."""
        found = self._engine.catalog.logins.find(login)
        if found is None:
            raise SqlError.of(18456, 14, 1, f"Login failed for user '{login}'.")
        session = self._engine.agent_session(found, database)
        ended = threading.Event()

        def watch() -> None:
            while not ended.is_set():
                if cancelled.wait(0.1):
                    session.cancel()
                    return

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            if user is not None:
                quoted = user.replace("'", "''")
                said = list(session.run_batch(f"EXECUTE AS USER = N'{quoted}'"))
                failed = [reply for reply in said if isinstance(reply, Message) and reply.is_error]
                if failed:
                    yield from failed
                    return
            for batch in split_batches(text):
                for _ in range(batch.count):
                    if cancelled.is_set():
                        return
                    yield from _said(session.run_batch(batch.text))
        finally:
            ended.set()
            watcher.join()
            session.close()


def _said(replies: Iterator[Any]) -> Iterator[Message | str]:
    columns: tuple[Any, ...] = ()
    for reply in replies:
        if isinstance(reply, Message):
            yield reply
        elif isinstance(reply, ResultSet):
            columns = reply.columns
            yield "\t".join(column.name for column in columns)
        elif isinstance(reply, Rows):
            for row in reply.rows:
                shown = (
                    "NULL" if value is None else str(convert(value, column.type, _TEXT))
                    for value, column in zip(row, columns, strict=True)
                )
                yield "\t".join(shown)


class _Serving:
    """Requests of the pipe, each in a thread of its own."""

    def __init__(self, steps: SessionSteps) -> None:
        self._steps = steps
        self._running: dict[int, threading.Event] = {}
        self._guard = threading.Lock()

    def serve(self) -> None:
        """Returns at the end of the input, when what runs has been cancelled and has ended."""
        threads = []
        for line in sys.stdin:
            request = json.loads(line)
            if request.get("cancel"):
                event = self._running.get(request["id"])
                if event is not None:
                    event.set()
                continue
            event = self._running[request["id"]] = threading.Event()
            thread = threading.Thread(target=self._run, args=(request, event), daemon=True)
            threads.append(thread)
            thread.start()
        for event in list(self._running.values()):
            event.set()
        for thread in threads:
            thread.join(5.0)

    def _run(self, request: dict[str, Any], cancelled: threading.Event) -> None:
        id_ = request["id"]
        failure: str | None = None
        try:
            login, database, text = (str(request[name]) for name in ("login", "database", "text"))
            for found in self._steps.run(login, database, text, cancelled, request["user"]):
                if isinstance(found, str):
                    self._answer({"id": id_, "line": found})
                else:
                    self._message(id_, found)
        except SqlError as error:
            for message in error.messages:
                self._message(id_, message)
        except Exception as error:  # noqa: BLE001 - the job's history says it, the agent goes on
            failure = type(error).__name__
        finally:
            self._running.pop(id_, None)
            self._answer({"id": id_, "end": failure})

    def _message(self, id_: int, found: Message) -> None:
        fields = [found.number, found.severity, found.state, found.text, found.line]
        self._answer({"id": id_, "message": fields})

    def _answer(self, answer: dict[str, Any]) -> None:
        with self._guard:
            try:
                sys.stdout.write(json.dumps(answer) + "\n")
                sys.stdout.flush()
            except (BrokenPipeError, ValueError):
                return  # the agent has gone: nobody waits for the answer


def main() -> int:
    import argparse

    from tdsproxy.keeper.client import SyncKeeper

    parser = argparse.ArgumentParser(prog="python -m tdsproxy.server.job_steps")
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--backup-dir", type=Path)
    parser.add_argument("--server-name", default="")
    given = parser.parse_args()
    keeper = SyncKeeper.open(given.store.absolute())
    engine = Engine(given.store, keeper, name=given.server_name or None, backup_directory=given.backup_dir)
    try:
        _Serving(SessionSteps(engine)).serve()
    finally:
        engine.close()
        keeper.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

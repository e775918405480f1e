"""How the steps of jobs are run: native statements here, in the keeper; other T-SQL by a server of its own.

What a step's text holds decides. Steps that only back up or restore need nothing but the keeper, so they
work whatever else is down. Everything else goes to an embedded server without a listener, in a child process
that is started when it is first needed and ends when it has had nothing to do for a while: no T-SQL runs in
the process that owns the store.
"""

from __future__ import annotations

import itertools
import json
import logging
import queue
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from tdsproxy.agent.running import StepError, StepWork
from tdsproxy.catalog.logins import Login
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.replies import Message, Reply
from tdsproxy.tsql.script import split_batches

NativeRunner = Callable[[NativeRequest, threading.Event], Iterator[Reply]]

PolicyRunner = Callable[[str, str, str, threading.Event], Iterator[Message]]
"""Runs an action of a policy: source, name, action."""

_NATIVE: Final = (ast.Backup, ast.Restore)
_POLICY: Final = re.compile(
    r"EXEC msdb\.managed_backup\.sp_run_policy N'((?:[^']|'')*)', N'((?:[^']|'')*)', N'(\w+)'$"
)
_FIRST_SPID: Final = 10
_SPIDS: Final = 40
"""Session numbers of native steps: below those of clients, which begin at 51."""
_POLL_SECONDS: Final = 0.2
_IDLE_SECONDS: Final = 60.0
_END_SECONDS: Final = 10.0
_log = logging.getLogger(__name__)


class AgentSteps:
    """Implements ``running.StepRunner``. ``server`` runs what is not native; ``find_login`` knows the
    roles of a job's owner; ``write`` writes an output file, its name as the job says it; ``policy`` runs what
    the jobs of policies are for."""

    def __init__(
        self,
        native: NativeRunner,
        server: ServerProcess,
        find_login: Callable[[str], Login | None],
        write: Callable[[str, str, bool], None],
        policy: PolicyRunner,
    ) -> None:
        self._native = native
        self._server = server
        self._find_login = find_login
        self._write = write
        self._policy = policy
        self._spids = itertools.cycle(range(_FIRST_SPID, _FIRST_SPID + _SPIDS))

    def run(self, work: StepWork, cancelled: threading.Event) -> Iterator[Message | str]:
        login = self._find_login(work.login)
        if work.subsystem.upper() != "TSQL":
            raise StepError(_refusal(work.subsystem, login))
        policy = _POLICY.match(work.text)
        if policy is not None and login is not None and "sysadmin" in login.roles:
            source, name = (part.replace("''", "'") for part in policy.group(1, 2))
            try:
                yield from self._policy(source, name, policy[3], cancelled)
            except SqlError as error:
                yield from error.messages
            return
        statements = native_statements(work.text)
        if statements is None or work.user or login is None or "sysadmin" not in login.roles:
            yield from self._server.run(work, cancelled)
            return
        session = SessionContext(
            login=login.name,
            database=work.database,
            spid=next(self._spids),
            server_roles=login.roles,
            application="SQLAgent - TSQL JobStep",
        )
        for text, line in statements:
            if cancelled.is_set():
                return
            for reply in self._native(NativeRequest(text, session, line), cancelled):
                if isinstance(reply, Message):
                    yield reply

    def write_output(self, name: str, lines: Sequence[str], *, append: bool) -> None:
        try:
            self._write(name, "".join(f"{line}\n" for line in lines), append)
        except (OSError, SqlError) as error:
            raise StepError(f"Unable to write the output file {name}") from error


def _refusal(subsystem: str, login: Login | None) -> str:
    """Why a step of another subsystem than TSQL is not run: no command of the operating system ever is."""
    if login is None or "sysadmin" not in login.roles:
        return (
            f"Non-SysAdmins have been denied permission to run {subsystem} job steps without a proxy account."
        )
    return (
        f"The {subsystem} subsystem failed to load [see the SQLAGENT.OUT file for details]; The job has been"
        " suspended."
    )


def native_statements(text: str) -> list[tuple[str, int]] | None:
    """The statements and their lines, when there is nothing but BACKUP and RESTORE in the text."""
    found = []
    try:
        for part in split_batches(text):
            for statement in parse(part.text).statements:
                if not isinstance(statement, _NATIVE):
                    return None
                found.append((part.text[statement.pos : statement.end], statement.line + part.first_line - 1))
    except SqlError:
        return None
    return found or None


class ServerProcess:
    """The child process with the embedded server: requests and answers are lines of JSON on its pipes.

    ``{"id", "login", "database", "text", "user"}`` runs a step, ``{"id", "cancel": true}`` ends it soon.
    Answers: ``{"id", "message": [number, severity, state, text, line]}``, ``{"id", "line"}`` of output, and
    ``{"id", "end": null}``, or why it could not be run.
    """

    def __init__(self, command: Sequence[str], idle_seconds: float = _IDLE_SECONDS) -> None:
        self._command = list(command)
        self._idle_seconds = idle_seconds
        self._guard = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._answers: dict[int, queue.SimpleQueue[dict[str, Any]]] = {}
        self._ids = itertools.count(1)
        self._timer: threading.Timer | None = None
        self._closed = False

    @property
    def pid(self) -> int | None:
        """Of the child; None without one."""
        process = self._process
        return None if process is None else process.pid

    def run(self, work: StepWork, cancelled: threading.Event) -> Iterator[Message | str]:
        """As ``running.StepRunner.run``."""
        answers: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        id_ = next(self._ids)
        request = {"login": work.login, "database": work.database, "text": work.text, "user": work.user}
        self._ask({"id": id_, **request}, id_, answers)
        told = False
        try:
            while True:
                if cancelled.is_set() and not told:
                    told = True
                    self._send({"id": id_, "cancel": True})
                try:
                    answer = answers.get(timeout=_POLL_SECONDS)
                except queue.Empty:
                    continue
                if "message" in answer:
                    yield Message(*answer["message"])
                elif "line" in answer:
                    yield str(answer["line"])
                elif answer["end"] is not None:
                    raise StepError(str(answer["end"]))
                else:
                    return
        finally:
            with self._guard:
                self._answers.pop(id_, None)
                if not self._answers:
                    self._end_later()

    def close(self) -> None:
        """Ends the child."""
        with self._guard:
            self._closed = True
        self._end()

    def _ask(self, request: dict[str, Any], id_: int, answers: queue.SimpleQueue[dict[str, Any]]) -> None:
        with self._guard:
            if self._closed:
                raise StepError("The agent is stopping")
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._process is None or self._process.poll() is not None:
                self._start()
            self._answers[id_] = answers
            self._write(request)

    def _start(self) -> None:
        try:
            process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
            )
        except OSError as error:
            raise StepError(f"The server for T-SQL steps can't be started: {error.strerror}") from error
        self._process = process
        threading.Thread(target=self._listen, args=(process,), name="job server", daemon=True).start()

    def _listen(self, process: subprocess.Popen[str]) -> None:
        try:
            for line in process.stdout or ():
                answer = json.loads(line)
                answers = self._answers.get(answer["id"])
                if answers is not None:
                    answers.put(answer)
        finally:
            # Also when it could not be understood: nobody waits for an answer that nobody reads.
            if process.poll() is None:
                process.terminate()
            self._ended(process)

    def _ended(self, process: subprocess.Popen[str]) -> None:
        process.wait()
        with self._guard:
            if self._process is process:
                self._process = None
            for answers in self._answers.values():
                answers.put({"end": "The server for T-SQL steps has ended"})

    def _send(self, request: dict[str, Any]) -> None:
        with self._guard:
            self._write(request)

    def _write(self, request: dict[str, Any]) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        except (OSError, ValueError):
            _log.warning("the server for T-SQL steps has gone")  # its end answers every request

    def _end_later(self) -> None:
        if self._timer is None and not self._closed:
            self._timer = threading.Timer(self._idle_seconds, self._end_if_idle)
            self._timer.daemon = True
            self._timer.start()

    def _end_if_idle(self) -> None:
        with self._guard:
            self._timer = None
            if self._answers:
                return
        self._end()

    def _end(self) -> None:
        with self._guard:
            process, self._process = self._process, None
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""One run of a job: its steps, where each leads, and what history says of them.

Knows no clock, thread or server of its own: ``JobRun`` gets a ``StepRunner``, a book and a ``Clock``.
"""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Final, Protocol
from uuid import UUID

from tdsproxy.agent.book import MESSAGE_LIMIT
from tdsproxy.agent.records import HistoryRow, Job, RunStatus, Step
from tdsproxy.agent.tokens import Tokens
from tdsproxy.tsql.replies import Message

FIRST_ERROR: Final = 11
_STOPPED: Final = "The step was cancelled (stopped) as the result of a stop job request."
_APPEND, _IN_HISTORY, _TO_TABLE, _APPEND_TABLE, _ALL_IN_HISTORY = 2, 4, 8, 16, 32
"""Of sysjobsteps.flags: the output file is appended to; rows go into history, too; all output goes into the
table of logs, instead of what is there, or behind it."""
_QUIT_SUCCESS, _QUIT_FAILURE, _NEXT = 1, 2, 3


class Clock(Protocol):
    """The time, and waiting for it."""

    def now(self) -> dt.datetime:
        """The present, aware, in UTC."""
        ...

    def local(self, moment: dt.datetime) -> dt.datetime:
        """The local time of a moment, naive, as msdb's tables hold it."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Returns after ``seconds``, or at once when ``event`` is set: then True."""
        ...


class Zoned(Clock, Protocol):
    """A clock on a wall."""

    @property
    def zone(self) -> dt.tzinfo: ...


@dataclass(frozen=True, slots=True)
class StepWork:
    """What a runner is to do: ``text`` in ``database`` as ``login``, there as ``user`` when one is named."""

    login: str
    database: str
    text: str
    subsystem: str = "TSQL"
    user: str | None = None


class StepRunner(Protocol):
    """Runs a step's command."""

    def run(self, work: StepWork, cancelled: threading.Event) -> Iterator[Message | str]:
        """Messages of the server, and lines of output, as they come. Setting ``cancelled`` ends it soon.
        Raises StepError when it can't be run."""
        ...

    def write_output(self, name: str, lines: Sequence[str], *, append: bool) -> None:
        """Writes a step's output file. Raises StepError."""
        ...


class StepError(Exception):
    """A step can't be run; the text is for its history."""


class Source(IntEnum):
    """sysjobactivity.run_requested_source."""

    SCHEDULE = 1
    ALERT = 2
    BOOT = 3
    USER = 4
    IDLE = 6


@dataclass(frozen=True, slots=True)
class Invocation:
    """Who wants a job to run. ``who`` is a login, or a schedule as ``12 (name)``. ``due`` (local) is when a
    run should have been that is late."""

    source: Source
    who: str
    due: dt.datetime | None = None
    first_step: str | None = None

    @property
    def words(self) -> str:
        match self.source:
            case Source.SCHEDULE | Source.BOOT | Source.IDLE:
                return f"The Job was invoked by Schedule {self.who}."
            case Source.ALERT:
                return f"The Job was invoked by Alert {self.who}."
        return f"The Job was invoked by User {self.who}."


class RunBook(Protocol):
    """What a run writes down."""

    def begin_step(self, job_id: UUID, step: int, now: dt.datetime) -> None: ...

    def note_step(self, row: HistoryRow) -> None: ...

    def write_log(self, job_id: UUID, step: int, text: str, now: dt.datetime, *, append: bool) -> None:
        """The step's row of sysjobstepslogs."""
        ...


@dataclass(slots=True)
class RunState:
    """What others see of a run, and how they end it: ``stopper`` is who, as history says it. ``ending``: its
    outcome is being written, or was; ``gone``: nothing more follows."""

    job_id: UUID
    invocation: Invocation
    started: dt.datetime
    cancelled: threading.Event
    step: int = 0
    retry: int = 0
    waiting: bool = False
    stopper: str = ""
    ending: bool = False
    gone: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True, slots=True)
class Outcome:
    status: RunStatus
    message: str
    seconds: float


class JobRun:
    """``login`` None: the owner is no login any more, and the job fails."""

    def __init__(
        self, job: Job, login: str | None, state: RunState, book: RunBook, steps: StepRunner, clock: Clock
    ) -> None:
        self._job = job
        self._login = login
        self._state = state
        self._book = book
        self._steps = steps
        self._clock = clock
        self._tokens = Tokens(job.id, job.name, state.started)

    def run(self) -> Outcome:
        """Runs the steps as their actions lead on."""
        start = self._clock.now()
        if self._login is None:
            message = f"The job failed.  The owner () of job {self._job.name} does not have server access."
            return Outcome(RunStatus.FAILED, message, 0)
        status, last, asked = RunStatus.FAILED, None, None
        current = self._first()
        if self._state.invocation.first_step is not None:
            asked = current
        while current is not None and not self._state.cancelled.is_set():
            last = current
            status = self._step(current)
            succeeded = status is RunStatus.SUCCEEDED
            action, to = (
                (current.on_success, current.on_success_to)
                if succeeded
                else (current.on_fail, current.on_fail_to)
            )
            if status is RunStatus.CANCELED:
                break
            if action in (_QUIT_SUCCESS, _QUIT_FAILURE):
                status = RunStatus.SUCCEEDED if action == _QUIT_SUCCESS else RunStatus.FAILED
                break
            current = self._job.step(current.number + 1 if action == _NEXT else to)
        if self._state.cancelled.is_set():
            status = RunStatus.CANCELED
        seconds = (self._clock.now() - start).total_seconds()
        return Outcome(status, self._message(status, last, asked), seconds)

    def _first(self) -> Step | None:
        wanted = self._state.invocation.first_step
        if wanted is not None:
            for step in self._job.steps:
                if step.name.lower() == wanted.lower():
                    return step
        return self._job.step(self._job.start_step)

    def _message(self, status: RunStatus, last: Step | None, asked: Step | None) -> str:
        if status is RunStatus.CANCELED:
            words = f"The job was stopped prior to completion by {self._state.stopper}."
        else:
            words = f"The job {'succeeded' if status is RunStatus.SUCCEEDED else 'failed'}."
        parts = [words, self._state.invocation.words]
        if last is not None:
            parts.append(f"The last step to run was step {last.number} ({last.name}).")
        if asked is not None:
            parts.append(f"The job was requested to start at step {asked.number} ({asked.name}).")
        if self._state.invocation.due is not None:
            parts.append(f"The run was late: it was due at {self._state.invocation.due:%Y-%m-%d %H:%M:%S}.")
        return "  ".join(parts)

    # ------------------------------------------------------------------ one step

    def _step(self, step: Step) -> RunStatus:
        """Runs a step until it succeeds, or its retries are used up."""
        attempts = step.retry_attempts
        self._book.begin_step(self._job.id, step.number, self._clock.local(self._clock.now()))
        for attempt in range(attempts + 1):
            self._state.step, self._state.retry, self._state.waiting = step.number, attempt, False
            row = self._attempt(step, attempt)
            if row.status is RunStatus.FAILED and attempt < attempts:
                row = replace(row, status=RunStatus.RETRY)
            self._book.note_step(row)
            if row.status is not RunStatus.RETRY:
                return row.status
            self._state.waiting = True
            if self._clock.wait(self._state.cancelled, step.retry_minutes * 60):
                return RunStatus.CANCELED
        return RunStatus.FAILED

    def _heading(self, step: Step, began: dt.datetime) -> str:
        """The first line of what an output file gets."""
        moment = self._clock.local(began)
        return (
            f"Job '{self._job.name}' : Step {step.number}, '{step.name}' : Began Executing"
            f" {moment:%Y-%m-%d %H:%M:%S}"
        )

    def _attempt(self, step: Step, attempt: int) -> HistoryRow:
        began = self._clock.now()
        said: list[str] = []
        output: list[str] = []
        worst: Message | None = None
        failure = ""
        work = StepWork(
            self._login or "",
            step.database,
            self._tokens.replace(step, step.command),
            step.subsystem,
            step.user,
        )
        try:
            for found in self._steps.run(work, self._state.cancelled):
                if isinstance(found, str):
                    output.append(found)
                    if step.flags & (_IN_HISTORY | _ALL_IN_HISTORY):
                        said.append(found)
                    continue
                said.append(_history_text(found))
                state = "42000" if found.severity >= FIRST_ERROR else "01000"
                output.append(f"{found.text} [SQLSTATE {state}]")
                if found.severity >= FIRST_ERROR and (worst is None or found.severity > worst.severity):
                    worst = found
            lines = [self._heading(step, began), "", *output]
            if step.flags & (_TO_TABLE | _APPEND_TABLE):
                self._book.write_log(
                    self._job.id,
                    step.number,
                    "".join(f"{line}\r\n" for line in lines),
                    self._clock.local(self._clock.now()),
                    append=bool(step.flags & _APPEND_TABLE),
                )
            if step.output_file:
                self._steps.write_output(step.output_file, lines, append=bool(step.flags & _APPEND))
        except StepError as error:
            failure = str(error)
        if self._state.cancelled.is_set():
            status, ending = RunStatus.CANCELED, _STOPPED
        elif worst is not None or failure:
            status, ending = RunStatus.FAILED, "The step failed."
        else:
            status, ending = RunStatus.SUCCEEDED, "The step succeeded."
        body = "  ".join([*said, *([failure] if failure else [])])
        message = _step_message(self._login or "", body, ending)
        return HistoryRow(
            self._job.id,
            step.number,
            step.name,
            message,
            status,
            self._clock.local(began),
            (self._clock.now() - began).total_seconds(),
            0 if worst is None else worst.number,
            0 if worst is None else worst.severity,
            attempt,
        )


def _step_message(login: str, body: str, ending: str) -> str:
    """What history says of a step; what is too long is cut before its end."""
    head = f"Executed as user: {login}. "
    room = MESSAGE_LIMIT - len(head) - len(ending) - 6
    if len(body) > room:
        body = body[: room - 3] + "..."
    if body:
        body += "  " if body.endswith(".") else ".  "
    return head + body + ending


def _history_text(message: Message) -> str:
    if message.severity >= FIRST_ERROR:
        return f"{message.text} [SQLSTATE 42000] (Error {message.number})"
    return f"{message.text} [SQLSTATE 01000] (Message {message.number})"
